//! Our state machines and Erlang's do the same with the same events.

use std::collections::VecDeque;
use std::time::Duration;

use beamline::gen_server::{GenServer, Reply, ReplyTo};
use beamline::gen_statem::{
    Context, Event, GenStatem, Statem, Time, Timeout, Transition, keep_state, next_state, repeat_state,
};
use beamline::node::Node;
use beamline::process::ExitReason;
use beamline::term::{Atom, Pid, Term};
use beamline_interop::{Cluster, within};
use serde::{Deserialize, Serialize};

const STATEM: &str = include_str!("erlang/statem.erl");
/// As in `statem.erl`.
const LIMIT: usize = 80;
/// As long as no test takes.
const LONG: i64 = 3_600_000;
const LISTS: u64 = 400;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    A,
    B,
    C,
}

/// An event that says what is to be done with it, and in the state enter calls that follow.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Script(u32, Goto, Vec<Do>, Vec<(Goto, Vec<Do>)>);

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Goto {
    Keep,
    Repeat,
    Next(State),
    Stop(Atom),
    StopAndReply(i64),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Do {
    Postpone,
    NextEvent(Kind, Script),
    Start(Which, When, Script),
    Update(Which, Script),
    Cancel(Which),
    Reply(i64),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Cast,
    Info,
    Internal,
    Timeout(Which),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Which {
    Event,
    State,
    Named(Atom),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum When {
    After(i64),
    At(i64),
    Infinity,
}

type Init = (Vec<(Goto, Vec<Do>)>, Vec<Do>);

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Call(Script),
    Cast(Script),
    Info(Script),
    /// Until the machine has been called so often.
    Await(usize),
}

impl From<&Which> for Timeout {
    fn from(which: &Which) -> Self {
        match which {
            Which::Event => Self::Event,
            Which::State => Self::State,
            Which::Named(name) => Self::named(name.clone()),
        }
    }
}

/// The data of a machine that does what its events say.
struct Data {
    collector: Pid,
    count: usize,
    froms: VecDeque<ReplyTo<i64>>,
    trace: Vec<(State, Term, Term)>,
    enters: VecDeque<(Goto, Vec<Do>)>,
}

trait Scripted:
    GenStatem<State = State, Call = Script, Reply = i64, Cast = Script, Info = Script, Internal = Script>
{
}

impl<M> Scripted for M where
    M: GenStatem<State = State, Call = Script, Reply = i64, Cast = Script, Info = Script, Internal = Script>
{
}

impl Data {
    fn new<M: Scripted>((enters, actions): Init, collector: Pid, cx: &Context<M>) -> (Transition<M>, Self) {
        let (count, froms, trace) = (0, VecDeque::new(), Vec::new());
        let mut data = Self { collector, count, froms, trace, enters: enters.into() };
        let transition = data.act(next_state(State::A), actions, None, cx);
        (transition, data)
    }

    fn handle<M: Scripted>(
        &mut self,
        event: Event<M>,
        state: State,
        cx: &Context<M>,
    ) -> Result<Transition<M>, ExitReason> {
        if self.count == LIMIT {
            return Err(ExitReason::atom("limit"));
        }
        self.count += 1;
        let named = |name: &'static str| Term::from(Atom::from_static(name));
        let (kind, Script(id, goto, actions, enters)) = match &event {
            Event::Enter(old) => {
                let (goto, actions) = self.enters.pop_front().unwrap_or((Goto::Keep, Vec::new()));
                // Erlang loses the data of a return that it refuses.
                if !matches!(goto, Goto::Next(to) if to != state) {
                    self.trace.push((state, named("enter"), beamline::etf::to_term(old)?));
                }
                return self.go(goto, actions, event, cx);
            }
            Event::Call(script, _) => (named("call"), script.clone()),
            Event::Cast(script) => (named("cast"), script.clone()),
            Event::Info(script) => (named("info"), script.clone()),
            Event::Internal(script) => (named("internal"), script.clone()),
            Event::Timeout(timeout, script) => {
                let kind = match timeout {
                    Timeout::Event => named("timeout"),
                    Timeout::State => named("state_timeout"),
                    Timeout::Named(name) => Term::tuple([named("timeout"), name.clone()]),
                };
                (kind, script.clone())
            }
        };
        self.trace.push((state, kind, Term::from(i64::from(id))));
        self.enters = enters.into();
        self.go(goto, actions, event, cx)
    }

    fn go<M: Scripted>(
        &mut self,
        goto: Goto,
        actions: Vec<Do>,
        event: Event<M>,
        cx: &Context<M>,
    ) -> Result<Transition<M>, ExitReason> {
        let postpone = actions.iter().any(|action| matches!(action, Do::Postpone));
        let event = match event {
            Event::Call(_, from) if !postpone => {
                self.froms.push_back(from);
                None
            }
            event => Some(event),
        };
        let transition = match goto {
            Goto::Keep => keep_state(),
            Goto::Repeat => repeat_state(),
            Goto::Next(state) => next_state(state),
            Goto::Stop(reason) => return Err(Term::from(reason).into()),
            Goto::StopAndReply(reply) => {
                let _ = self.act::<M>(keep_state(), vec![Do::Reply(reply)], None, cx);
                return Err(ExitReason::atom("stopped"));
            }
        };
        Ok(self.act(transition, actions, event, cx))
    }

    fn act<M: Scripted>(
        &mut self,
        mut transition: Transition<M>,
        actions: Vec<Do>,
        mut event: Option<Event<M>>,
        cx: &Context<M>,
    ) -> Transition<M> {
        for action in actions {
            transition = match action {
                Do::Postpone => match event.take() {
                    Some(event) => transition.postpone(event),
                    None => transition,
                },
                Do::NextEvent(kind, script) => transition.next_event(match kind {
                    Kind::Cast => Event::Cast(script),
                    Kind::Info => Event::Info(script),
                    Kind::Internal => Event::Internal(script),
                    Kind::Timeout(which) => Event::Timeout(Timeout::from(&which), script),
                }),
                Do::Start(which, when, script) => {
                    let ms = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or_default());
                    let time = match when {
                        When::After(after) => Time::After(ms(after)),
                        When::At(at) => Time::At(cx.world().clock.mono() + ms(at)),
                        When::Infinity => Time::Infinity,
                    };
                    match which {
                        Which::Event => transition.event_timeout(time, script),
                        Which::State => transition.state_timeout(time, script),
                        Which::Named(name) => transition.timeout(name, time, script),
                    }
                }
                Do::Update(which, script) => transition.update_timeout(Timeout::from(&which), script),
                Do::Cancel(which) => transition.cancel_timeout(Timeout::from(&which)),
                Do::Reply(reply) => match self.froms.pop_front() {
                    Some(from) => transition.reply(from, reply),
                    None => transition,
                },
            };
        }
        transition
    }

    fn term(&self) -> Term {
        let count = Term::from(i64::try_from(self.count).unwrap_or_default());
        Term::map([(Atom::from_static("count").into(), count)])
    }

    fn terminate<M: Scripted>(&mut self, reason: &ExitReason, state: State, cx: &Context<M>) {
        let trace = std::mem::take(&mut self.trace);
        let _ = cx.send(&self.collector, (Atom::from_static("trace"), reason.clone(), state, trace));
    }
}

macro_rules! scripted {
    ($machine:ident) => {
        struct $machine<const ENTER: bool>(Data);

        impl<const ENTER: bool> GenStatem for $machine<ENTER> {
            const STATE_ENTER: bool = ENTER;
            type Args = (Init, Pid);
            type State = State;
            type Call = Script;
            type Reply = i64;
            type Cast = Script;
            type Info = Script;
            type Internal = Script;

            async fn init(
                (init, collector): (Init, Pid),
                cx: &mut Context<Self>,
            ) -> Result<(Transition<Self>, Self), ExitReason> {
                let (transition, data) = Data::new(init, collector, cx);
                Ok((transition, Self(data)))
            }

            $machine!();

            async fn terminate(&mut self, reason: &ExitReason, state: &State, cx: &mut Context<Self>) {
                self.0.terminate(reason, *state, cx);
            }

            fn data(&self) -> Term {
                self.0.term()
            }
        }
    };
}

macro_rules! HandleEvent {
    () => {
        async fn handle_event(
            &mut self,
            event: Event<Self>,
            state: &State,
            cx: &mut Context<Self>,
        ) -> Result<Transition<Self>, ExitReason> {
            self.0.handle(event, *state, cx)
        }
    };
}

macro_rules! StateFunctions {
    () => {
        beamline::state_functions!(State { A => a, B => b, C => c });
    };
}

scripted!(HandleEvent);
scripted!(StateFunctions);

type Handled<M> = Result<Transition<M>, ExitReason>;

impl<const ENTER: bool> StateFunctions<ENTER> {
    async fn a(&mut self, event: Event<Self>, cx: &mut Context<Self>) -> Handled<Self> {
        self.0.handle(event, State::A, cx)
    }

    async fn b(&mut self, event: Event<Self>, cx: &mut Context<Self>) -> Handled<Self> {
        self.0.handle(event, State::B, cx)
    }

    async fn c(&mut self, event: Event<Self>, cx: &mut Context<Self>) -> Handled<Self> {
        self.0.handle(event, State::C, cx)
    }
}

/// Starts machines for Erlang.
struct Machines;

impl GenServer for Machines {
    type Args = ();
    type Call = ((bool, bool), Init, Pid);
    type Reply = Pid;
    type Cast = Term;
    type Info = Term;

    async fn init((): (), _: &mut beamline::gen_server::Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        (mode, init, collector): Self::Call,
        from: ReplyTo<Pid>,
        cx: &mut beamline::gen_server::Context<Self>,
    ) -> Result<Reply, ExitReason> {
        cx.trap_exit(true);
        let args = (init, collector);
        let pid = match mode {
            (false, false) => cx.start_link::<Statem<HandleEvent<false>>>(args).await?.pid().clone(),
            (false, true) => cx.start_link::<Statem<HandleEvent<true>>>(args).await?.pid().clone(),
            (true, false) => cx.start_link::<Statem<StateFunctions<false>>>(args).await?.pid().clone(),
            (true, true) => cx.start_link::<Statem<StateFunctions<true>>>(args).await?.pid().clone(),
        };
        Ok(from.reply(pid))
    }
}

/// Random numbers by a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn state(&mut self) -> State {
        [State::A, State::B, State::C][self.below(3) as usize]
    }

    fn which(&mut self) -> Which {
        match self.below(4) {
            0 => Which::Event,
            1 => Which::State,
            2 => Which::Named(Atom::from_static("x")),
            _ => Which::Named(Atom::from_static("y")),
        }
    }

    fn script(&mut self, id: &mut u32, depth: u32) -> Script {
        *id += 1;
        let own = *id;
        let goto = match self.below(40) {
            0 => Goto::Stop(Atom::from_static(["normal", "shutdown", "enough"][self.below(3) as usize])),
            1 => Goto::StopAndReply(i64::from(own)),
            2..6 => Goto::Repeat,
            6..20 => Goto::Next(self.state()),
            _ => Goto::Keep,
        };
        let mut actions = self.actions(id, depth);
        for _ in 0..self.below(3) {
            let at = self.below(actions.len() as u64 + 1) as usize;
            if depth > 0 && self.one_in(2) {
                let kind = match self.below(6) {
                    0 => Kind::Cast,
                    1 => Kind::Info,
                    2 => Kind::Timeout(self.which()),
                    _ => Kind::Internal,
                };
                actions.insert(at, Do::NextEvent(kind, self.script(id, depth - 1)));
            }
        }
        if self.one_in(4) {
            let at = self.below(actions.len() as u64 + 1) as usize;
            actions.insert(at, Do::Postpone);
        }
        let enters = (0..self.below(3)).map(|_| self.enter(id, depth)).collect();
        Script(own, goto, actions, enters)
    }

    fn actions(&mut self, id: &mut u32, depth: u32) -> Vec<Do> {
        let mut actions = Vec::new();
        for _ in 0..self.below(4) {
            match self.below(6) {
                0 | 1 => actions.push(Do::Reply(i64::from(*id))),
                2 => actions.push(Do::Cancel(self.which())),
                _ if depth == 0 => {}
                3 => actions.push(Do::Update(self.which(), self.script(id, depth - 1))),
                _ => {
                    let when = match self.below(6) {
                        0 => When::Infinity,
                        1 => When::After(LONG),
                        2 => When::At(LONG),
                        _ => When::After(0),
                    };
                    actions.push(Do::Start(self.which(), when, self.script(id, depth - 1)));
                }
            }
        }
        actions
    }

    /// What a state enter call does: now and then what it must not, after all else.
    fn enter(&mut self, id: &mut u32, depth: u32) -> (Goto, Vec<Do>) {
        let mut actions = self.actions(id, depth.min(1));
        match self.below(60) {
            0 => return (Goto::Next(self.state()), Vec::new()),
            1 => return (Goto::Stop(Atom::from_static("entered")), Vec::new()),
            2 => return (Goto::StopAndReply(-1), Vec::new()),
            3 => actions.push(Do::Postpone),
            4 => actions.push(Do::NextEvent(Kind::Internal, self.script(id, 0))),
            5..10 => return (Goto::Repeat, actions),
            _ => {}
        }
        (Goto::Keep, actions)
    }

    fn list(&mut self) -> (Init, Vec<Step>) {
        let mut id = 0;
        let enters = (0..self.below(2)).map(|_| self.enter(&mut id, 1)).collect();
        let mut actions = self.actions(&mut id, 1);
        if self.one_in(2) {
            actions.push(Do::NextEvent(Kind::Internal, self.script(&mut id, 1)));
        }
        let steps = (0..2 + self.below(10)).map(|_| {
            let script = self.script(&mut id, 2);
            match self.below(4) {
                0 => Step::Cast(script),
                1 => Step::Info(script),
                _ => Step::Call(script),
            }
        });
        let steps = steps.collect();
        ((enters, actions), steps)
    }
}

/// What a machine did: why it ended, in which state, each call of a callback, and the replies.
type Outcome = (Term, Term, Vec<(State, Term, Term)>, Vec<Term>);

async fn run(node: &Node, at: &str, mode: (bool, bool), init: &Init, steps: &[Step]) -> Outcome {
    let request = (Atom::new(at).unwrap(), mode, init.clone(), steps.to_vec());
    node.call(("statem", "erl@127.0.0.1"), request).timeout(Duration::from_secs(60)).await.unwrap()
}

async fn compare(node: &Node, what: &str, mode: (bool, bool), init: &Init, steps: &[Step]) -> Outcome {
    let ours = node.name().as_str().to_owned();
    let erlang = run(node, "erlang", mode, init, steps).await;
    let beamline = run(node, &ours, mode, init, steps).await;
    assert_eq!(
        beamline,
        erlang,
        "{what}, (state functions, state enter) {mode:?}\ninit {}\nsteps {}",
        beamline::etf::to_term(init).unwrap(),
        beamline::etf::to_term(steps).unwrap()
    );
    erlang
}

/// An Erlang node that runs machines, and a node of ours that has some.
async fn nodes(cluster: &Cluster) -> (beamline_interop::ErlNode, Node) {
    let mut erl = cluster.erl("erl").start().await;
    erl.load(STATEM).await;
    erl.eval("statem:start()").await;
    let node = cluster.node("ours").await;
    Machines::start(&node, ()).name("machines").await.unwrap();
    (erl, node)
}

#[tokio::test(flavor = "multi_thread")]
async fn random_events_do_the_same_to_our_machine_and_to_erlangs() {
    let Some(cluster) = Cluster::start().await else { return };
    let (_erl, node) = nodes(&cluster).await;
    let (mut callbacks, mut seen) = (0, std::collections::BTreeMap::<String, u32>::new());
    for seed in 0..LISTS {
        let mode = (seed & 1 != 0, seed & 2 != 0);
        let (init, steps) = Random(seed).list();
        let what = format!("seed {seed}");
        let compared = compare(&node, &what, mode, &init, &steps);
        let (reason, _, trace, replies) = within("a list", compared).await;
        callbacks += trace.len();
        let kinds = trace.iter().map(|(_, kind, _)| kind.to_string());
        let replied = replies.iter().filter(|reply| reply.as_integer().is_some()).map(|_| "reply".to_owned());
        for what in kinds.chain(replied).chain([format!("ended: {reason}")]) {
            *seen.entry(what).or_default() += 1;
        }
    }
    // The lists do what they are for.
    println!("{callbacks} callbacks: {seen:?}");
    for what in [
        "call",
        "cast",
        "info",
        "internal",
        "enter",
        "timeout",
        "state_timeout",
        "{timeout,x}",
        "reply",
        "ended: normal",
        "ended: enough",
        "ended: limit",
        "ended: stopped",
        "ended: bad_state_enter_action_from_state_function",
        "ended: bad_state_enter_return_from_state_function",
    ] {
        assert!(seen.contains_key(what), "no list has {what}: {seen:?}");
    }
}

/// An event that only keeps the state.
fn noted(id: u32) -> Script {
    Script(id, Goto::Keep, Vec::new(), Vec::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn timeouts_that_elapse_come_in_the_same_order() {
    let Some(cluster) = Cluster::start().await else { return };
    let (_erl, node) = nodes(&cluster).await;
    let named = |name| Which::Named(Atom::from_static(name));
    let start = |which, when, id| Do::Start(which, when, noted(id));
    let script = |actions| Script(1, Goto::Keep, actions, Vec::new());
    let lists = [
        // All kinds, relative and absolute, and a point in the past, whose event cancels the event timeout.
        (
            5,
            vec![Step::Cast(script(vec![
                start(named("x"), When::At(400), 2),
                start(Which::State, When::After(300), 3),
                start(Which::Event, When::After(100), 4),
                start(named("y"), When::After(200), 5),
                start(named("z"), When::At(0), 6),
            ]))],
        ),
        // An update, a restart and a cancel of what runs; what a state change cancels.
        (
            5,
            vec![
                Step::Cast(script(vec![
                    start(named("x"), When::After(2000), 2),
                    start(Which::State, When::After(2000), 3),
                    start(named("y"), When::After(300), 4),
                    start(named("z"), When::After(500), 5),
                ])),
                Step::Cast(Script(
                    6,
                    Goto::Next(State::B),
                    vec![
                        Do::Update(named("y"), noted(7)),
                        start(named("x"), When::After(400), 8),
                        Do::Cancel(named("w")),
                    ],
                    Vec::new(),
                )),
            ],
        ),
        // A timeout's event is postponed, and comes again after the change of state that another one brings.
        (
            4,
            vec![Step::Cast(script(vec![
                Do::Start(
                    named("x"),
                    When::After(100),
                    Script(2, Goto::Keep, vec![Do::Postpone], Vec::new()),
                ),
                Do::Start(
                    Which::State,
                    When::After(300),
                    Script(3, Goto::Next(State::C), Vec::new(), Vec::new()),
                ),
            ]))],
        ),
    ];
    for (count, mut steps) in lists {
        steps.push(Step::Await(count));
        let init = (Vec::new(), Vec::new());
        let compared = compare(&node, "a list of timeouts", (false, false), &init, &steps);
        let (_, _, trace, _) = within("a list of timeouts", compared).await;
        assert_eq!(trace.len(), count, "{trace:?}");
    }
}
