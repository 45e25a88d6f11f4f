//! The rules of [`core`](super::super::core) against OTP's, written down a second time the way `supervisor.erl` has them: functions over a list in
//! reverse order of start, which act at once instead of planning.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use crate::process::ExitReason;
use crate::supervisor::core::{Core, Key, Policy, Status, Step};
use crate::supervisor::spec::{AutoShutdown, Flags, Restart, Strategy as Restarting};
use crate::term::{Atom, Pid, Term};
use crate::world::Mono;

/// What the next start of a child leads to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Runs,
    Fails,
    Ignores,
}

#[derive(Debug, Clone)]
enum Op {
    /// The child at this place ends.
    Exit(usize, Why),
    /// So do two, before the supervisor hears of either.
    ExitBoth(usize, usize, Why),
    /// Calls.
    Terminate(usize),
    RestartChild(usize),
    Delete(usize),
    StartChild(Kind, bool),
    /// What the coming starts of the child at this place lead to.
    Script(usize, Vec<Outcome>),
    /// The next message of the supervisor to itself arrives.
    Tick,
    Pass(Duration),
}

#[derive(Debug, Clone, Copy)]
enum Why {
    Normal,
    Shutdown,
    ShutdownWith,
    Crash,
    Killed,
}

impl Why {
    fn reason(self) -> ExitReason {
        match self {
            Self::Normal => ExitReason::Normal,
            Self::Shutdown => ExitReason::Shutdown,
            Self::ShutdownWith => ExitReason::ShutdownWith(Term::atom("why")),
            Self::Crash => ExitReason::atom("crash"),
            Self::Killed => ExitReason::Killed,
        }
    }

    fn is_orderly(self) -> bool {
        matches!(self, Self::Normal | Self::Shutdown | Self::ShutdownWith)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Permanent,
    Transient,
    Temporary,
}

impl Kind {
    fn restart(self) -> Restart {
        match self {
            Self::Permanent => Restart::Permanent,
            Self::Transient => Restart::Transient,
            Self::Temporary => Restart::Temporary,
        }
    }
}

/// What children do, and what was done to them.
#[derive(Default)]
struct Stage {
    scripts: BTreeMap<u32, VecDeque<Outcome>>,
    last_pid: u32,
    trace: Vec<Did>,
}

/// What was done, in order.
#[derive(Debug, PartialEq)]
enum Did {
    Start(u32, Outcome),
    Stop(u32, u32),
    Ended,
}

impl Stage {
    /// Starts the child of an id. `Err` if that fails, `Ok(None)` if it does not want to run.
    fn start(&mut self, id: u32) -> Result<Option<u32>, ()> {
        let outcome = self.scripts.entry(id).or_default().pop_front().unwrap_or(Outcome::Runs);
        self.trace.push(Did::Start(id, outcome));
        match outcome {
            Outcome::Runs => {
                self.last_pid += 1;
                Ok(Some(self.last_pid))
            }
            Outcome::Fails => Err(()),
            Outcome::Ignores => Ok(None),
        }
    }

    fn stop(&mut self, id: u32, pid: u32) {
        self.trace.push(Did::Stop(id, pid));
    }
}

/// OTP's `#child{}`.
#[derive(Debug, Clone)]
struct ModelChild {
    id: u32,
    kind: Kind,
    significant: bool,
    pid: ModelPid,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum ModelPid {
    Undefined,
    Restarting,
    Pid(u32),
}

/// OTP's `#state{}`.
struct Model {
    flags: Flags,
    /// The last that was started comes first.
    children: Vec<ModelChild>,
    restarts: Vec<u64>,
    casts: VecDeque<u32>,
    stage: Stage,
    now: Duration,
    ended: bool,
}

impl Model {
    fn simple(&self) -> bool {
        self.flags.strategy == Restarting::SimpleOneForOne
    }

    fn at(&self, id: u32) -> Option<usize> {
        self.children.iter().position(|child| child.id == id)
    }

    fn terminate_children(&mut self, mut children: Vec<ModelChild>) -> Vec<ModelChild> {
        for child in &children {
            if let ModelPid::Pid(pid) = child.pid {
                self.stage.stop(child.id, pid);
            }
        }
        children.retain(|child| child.kind != Kind::Temporary);
        for child in &mut children {
            child.pid = ModelPid::Undefined;
        }
        children
    }

    /// Starts children from the last of the list to the first. `Err` names the one that failed.
    fn start_children(&mut self, children: &mut Vec<ModelChild>) -> Result<(), u32> {
        let mut at = children.len();
        while at > 0 {
            at -= 1;
            match self.stage.start(children[at].id) {
                Ok(Some(pid)) => children[at].pid = ModelPid::Pid(pid),
                Ok(None) if children[at].kind == Kind::Temporary => {
                    children.remove(at);
                }
                Ok(None) => children[at].pid = ModelPid::Undefined,
                Err(()) => return Err(children[at].id),
            }
        }
        Ok(())
    }

    fn del_child(&mut self, id: u32) {
        let Some(at) = self.at(id) else { return };
        if self.simple() || self.children[at].kind == Kind::Temporary {
            self.children.remove(at);
        } else {
            self.children[at].pid = ModelPid::Undefined;
        }
    }

    fn exit(&mut self, pid: u32, why: Why) {
        let Some(child) = self.children.iter().find(|child| child.pid == ModelPid::Pid(pid)).cloned() else {
            return;
        };
        let restarts = match child.kind {
            Kind::Permanent => true,
            Kind::Transient => !why.is_orderly(),
            Kind::Temporary => false,
        };
        if restarts {
            return self.restart(child.id);
        }
        self.del_child(child.id);
        if !child.significant {
            return;
        }
        let ends = match self.flags.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant if self.simple() => self.children.is_empty(),
            AutoShutdown::AllSignificant => {
                !self.children.iter().any(|child| child.significant && child.pid != ModelPid::Undefined)
            }
        };
        if ends {
            self.shutdown();
        }
    }

    fn restart(&mut self, id: u32) {
        let now = self.now.as_secs();
        let first = now.saturating_sub(self.flags.period.as_secs());
        self.restarts.retain(|restart| *restart >= first);
        self.restarts.push(now);
        if self.restarts.len() > self.flags.intensity as usize {
            self.del_child(id);
            return self.shutdown();
        }
        let Some(at) = self.at(id) else { return };
        match self.flags.strategy {
            Restarting::OneForOne | Restarting::SimpleOneForOne => match self.stage.start(id) {
                // A dynamic child that ignores its restart is kept under no pid.
                Ok(pid) => self.children[at].pid = pid.map_or(ModelPid::Undefined, ModelPid::Pid),
                Err(()) => self.again(id),
            },
            Restarting::RestForOne => {
                let before = self.children.split_off(at + 1);
                self.restart_multiple(id);
                self.children.extend(before);
            }
            Restarting::OneForAll => {
                self.restart_multiple(id);
            }
        }
    }

    fn restart_multiple(&mut self, id: u32) {
        let mut children = std::mem::take(&mut self.children);
        // It has ended itself.
        if let Some(child) = children.iter_mut().find(|child| child.id == id) {
            child.pid = ModelPid::Undefined;
        }
        let mut children = self.terminate_children(children);
        let failed = self.start_children(&mut children).err();
        self.children = children;
        if let Some(failed) = failed {
            self.again(failed);
        }
    }

    fn again(&mut self, id: u32) {
        if let Some(at) = self.at(id) {
            self.children[at].pid = ModelPid::Restarting;
        }
        self.casts.push_back(id);
    }

    fn tick(&mut self) {
        if let Some(id) = self.casts.pop_front()
            && self.at(id).is_some_and(|at| self.children[at].pid == ModelPid::Restarting)
        {
            self.restart(id);
        }
    }

    fn shutdown(&mut self) {
        let children = std::mem::take(&mut self.children);
        self.children = self.terminate_children(children);
        self.ended = true;
        self.stage.trace.push(Did::Ended);
    }

    fn show(&self) -> Vec<(u32, ModelPid)> {
        self.children.iter().map(|child| (child.id, child.pid)).collect()
    }
}

/// The core, and a driver without processes.
struct Ours {
    core: Core<()>,
    casts: VecDeque<Key>,
    stage: Stage,
    now: Mono,
    ended: bool,
}

fn pid(id: u32) -> Pid {
    Pid { node: Atom::from_static("test@host"), id, serial: 0, creation: 1 }
}

fn id_term(id: u32) -> Term {
    Term::from(i64::from(id))
}

impl Ours {
    fn id(&self, key: Key) -> u32 {
        self.core.child(key).and_then(|child| child.id.as_integer()).map_or(u32::MAX, |id| id as u32)
    }

    fn key(&self, id: u32) -> Option<Key> {
        self.core.children().find(|(_, child)| child.id == id_term(id)).map(|(key, _)| key)
    }

    fn work(&mut self) {
        while let Some(step) = self.core.next() {
            match step {
                Step::Start(key) => match self.stage.start(self.id(key)) {
                    Ok(started) => self.core.started(key, started.map(pid), self.now),
                    Err(()) => self.core.start_failed(key),
                },
                Step::Stop(key, pid) => {
                    self.stage.stop(self.id(key), pid.id);
                    self.core.stopped(key);
                }
                Step::TryAgain(key, delay) => {
                    assert_eq!(delay, None);
                    self.casts.push_back(key);
                }
                Step::Shutdown(_) => {
                    self.core.stop_all();
                    self.ended = true;
                }
            }
        }
        if self.ended {
            self.stage.trace.push(Did::Ended);
        }
    }

    fn show(&self) -> Vec<(u32, ModelPid)> {
        let children = self.core.children().rev().map(|(key, child)| {
            let pid = match &child.status {
                Status::Undefined => ModelPid::Undefined,
                Status::Restarting(_) => ModelPid::Restarting,
                Status::Running(pid) => ModelPid::Pid(pid.id),
            };
            (self.id(key), pid)
        });
        children.collect()
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![3 => Just(Kind::Permanent), 2 => Just(Kind::Transient), 2 => Just(Kind::Temporary)]
}

fn ops() -> impl Strategy<Value = Op> {
    let why = prop_oneof![
        1 => Just(Why::Normal),
        1 => Just(Why::Shutdown),
        1 => Just(Why::ShutdownWith),
        3 => Just(Why::Crash),
        1 => Just(Why::Killed)
    ];
    let outcome =
        prop_oneof![2 => Just(Outcome::Runs), 3 => Just(Outcome::Fails), 1 => Just(Outcome::Ignores)];
    let at = 0..6_usize;
    prop_oneof![
        6 => (at.clone(), why.clone()).prop_map(|(at, why)| Op::Exit(at, why)),
        2 => (at.clone(), at.clone(), why).prop_map(|(a, b, why)| Op::ExitBoth(a, b, why)),
        1 => at.clone().prop_map(Op::Terminate),
        1 => at.clone().prop_map(Op::RestartChild),
        1 => at.clone().prop_map(Op::Delete),
        1 => (kinds(), any::<bool>()).prop_map(|(kind, significant)| Op::StartChild(kind, significant)),
        3 => (at, prop::collection::vec(outcome, 1..4)).prop_map(|(at, outcomes)| Op::Script(at, outcomes)),
        3 => Just(Op::Tick),
        1 => (0..3000_u64).prop_map(|ms| Op::Pass(Duration::from_millis(ms))),
    ]
}

fn flags() -> impl Strategy<Value = Flags> {
    let strategy = prop_oneof![
        Just(Restarting::OneForOne),
        Just(Restarting::OneForAll),
        Just(Restarting::RestForOne),
        Just(Restarting::SimpleOneForOne)
    ];
    let auto = prop_oneof![
        Just(AutoShutdown::Never),
        Just(AutoShutdown::AnySignificant),
        Just(AutoShutdown::AllSignificant)
    ];
    (strategy, auto, 0..8_u32, 1..4_u64).prop_map(|(strategy, auto_shutdown, intensity, period)| Flags {
        strategy,
        intensity,
        period: Duration::from_secs(period),
        auto_shutdown,
    })
}

/// Runs both, and compares them after every step.
fn run(flags: &Flags, children: &[(Kind, bool)], ops: &[Op]) -> Result<(), TestCaseError> {
    let simple = flags.strategy == Restarting::SimpleOneForOne;
    let mut ours = Ours {
        core: Core::new(flags.clone()),
        casts: VecDeque::new(),
        stage: Stage::default(),
        now: Mono::default(),
        ended: false,
    };
    let mut model = Model {
        flags: flags.clone(),
        children: Vec::new(),
        restarts: Vec::new(),
        casts: VecDeque::new(),
        stage: Stage::default(),
        now: Duration::ZERO,
        ended: false,
    };
    let mut next_id = 0;
    // Children of one kind are of one kind.
    let common = children.first().copied().unwrap_or((Kind::Permanent, false));
    let mut begin = children.iter().map(|(kind, significant)| Op::StartChild(*kind, *significant));
    let all = begin.by_ref().chain(ops.iter().cloned());
    for op in all {
        // Which child a place means is the same for both: they agree on the children.
        let at = |at: usize| model.children.len().checked_sub(1).map(|last| last - at % (last + 1));
        let of = |place: usize| at(place).map(|at| model.children[at].clone());
        match &op {
            Op::Exit(place, why) => {
                let child = [of(*place)];
                exit(&mut ours, &mut model, &child, *why);
            }
            Op::ExitBoth(a, b, why) => {
                let both = [of(*a), of(*b)];
                exit(&mut ours, &mut model, &both, *why);
            }
            Op::Terminate(place) => {
                if let Some(child) = of(*place) {
                    if let ModelPid::Pid(pid) = child.pid {
                        model.stage.stop(child.id, pid);
                    }
                    model.del_child(child.id);
                    let key = ours.key(child.id).expect("both have it");
                    if let Some(Status::Running(pid)) = ours.core.child(key).map(|child| child.status.clone())
                    {
                        ours.stage.stop(child.id, pid.id);
                    }
                    ours.core.stopped(key);
                }
            }
            Op::RestartChild(place) => {
                if let Some(child) = of(*place).filter(|child| !simple && child.pid == ModelPid::Undefined) {
                    let key = ours.key(child.id).expect("both have it");
                    let at = model.at(child.id).expect("it was found");
                    // Nothing but the pid changes, and nothing at all if it fails.
                    if let Ok(pid) = model.stage.start(child.id) {
                        model.children[at].pid = pid.map_or(ModelPid::Undefined, ModelPid::Pid);
                    }
                    if let Ok(started) = ours.stage.start(child.id) {
                        ours.core.started(key, started.map(pid), ours.now);
                    }
                }
            }
            Op::Delete(place) => {
                if let Some(child) = of(*place).filter(|child| !simple && child.pid == ModelPid::Undefined) {
                    model.children.retain(|it| it.id != child.id);
                    let key = ours.key(child.id).expect("both have it");
                    ours.core.remove(key);
                }
            }
            Op::StartChild(kind, significant) => {
                let (kind, significant) = if simple { common } else { (*kind, *significant) };
                next_id += 1;
                let id = next_id;
                if let Ok(started) = model.stage.start(id)
                    && (started.is_some() || !simple && kind != Kind::Temporary)
                {
                    let pid = started.map_or(ModelPid::Undefined, ModelPid::Pid);
                    model.children.insert(0, ModelChild { id, kind, significant, pid });
                }
                if let Ok(started) = ours.stage.start(id)
                    && (started.is_some() || !simple && kind != Kind::Temporary)
                {
                    let policy = Policy { restart: kind.restart(), significant, backoff: None };
                    let key = ours.core.add(id_term(id), policy, ());
                    ours.core.started(key, started.map(pid), ours.now);
                }
            }
            Op::Script(place, outcomes) => {
                if let Some(child) = of(*place) {
                    // A dynamic child that ignores its restart is an error in OTP.
                    let outcomes = outcomes.iter().copied().filter(|it| !simple || *it != Outcome::Ignores);
                    let outcomes: VecDeque<_> = outcomes.collect();
                    model.stage.scripts.insert(child.id, outcomes.clone());
                    ours.stage.scripts.insert(child.id, outcomes);
                }
            }
            Op::Tick => {
                model.tick();
                if let Some(key) = ours.casts.pop_front() {
                    ours.core.try_again(key, ours.now);
                    ours.work();
                }
            }
            Op::Pass(time) => {
                model.now += *time;
                ours.now = ours.now + *time;
            }
        }
        prop_assert_eq!(&ours.stage.trace, &model.stage.trace, "{:?}", op);
        (ours.stage.trace, model.stage.trace) = Default::default();
        prop_assert_eq!(ours.ended, model.ended, "{:?}", op);
        if ours.ended {
            break;
        }
        prop_assert_eq!(ours.show(), model.show(), "{:?}", op);
    }
    Ok(())
}

fn exit(ours: &mut Ours, model: &mut Model, children: &[Option<ModelChild>], why: Why) {
    let pids = children.iter().flatten().filter_map(|child| match child.pid {
        ModelPid::Pid(pid) => Some(pid),
        ModelPid::Restarting | ModelPid::Undefined => None,
    });
    for id in pids.collect::<Vec<_>>() {
        // The second may have been stopped with the first, or the supervisor have ended.
        if !model.ended {
            model.exit(id, why);
        }
        if !ours.ended {
            ours.core.exited(&pid(id), &why.reason(), ours.now);
            ours.work();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn decides_as_otp(
        flags in flags(),
        children in prop::collection::vec((kinds(), any::<bool>()), 0..6),
        ops in prop::collection::vec(ops(), 0..20),
    ) {
        run(&flags, &children, &ops)?;
    }
}
