//! Supervisors as processes, on virtual time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::gen_server::{Context, GenServer, Reply, ReplyTo, Server, Start, StartError};
use crate::process::{Call, Caller, ExitReason, Local};
use crate::supervisor::*;
use crate::term::{Atom, Term};
use crate::testing::TestNode;
use crate::world::World;

/// What children did, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[derive(Clone)]
struct Args {
    name: &'static str,
    log: Log,
    /// How many starts fail.
    fails: Arc<Mutex<u32>>,
    /// Whether its end hangs.
    stubborn: bool,
    /// Whether it panics as soon as it has started.
    crashes: bool,
}

impl Args {
    fn new(name: &'static str, log: &Log) -> Self {
        Self { name, log: log.clone(), fails: Arc::default(), stubborn: false, crashes: false }
    }
}

struct Child(Args);

impl GenServer for Child {
    type Args = Args;
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;

    async fn init(args: Args, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        {
            let mut fails = args.fails.lock().unwrap();
            if *fails > 0 {
                *fails -= 1;
                args.log.note(format!("{} fails", args.name));
                return Err(ExitReason::atom("not_yet"));
            }
        }
        args.log.note(format!("{} starts", args.name));
        cx.trap_exit(true);
        if args.crashes {
            cx.continue_with(Term::atom("crash"));
        }
        Ok(Self(args))
    }

    async fn handle_call(
        &mut self,
        ask: Term,
        from: ReplyTo<Term>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        if !ask.is_atom("hello") {
            cx.stop(ask.clone().into());
        }
        Ok(from.reply(ask))
    }

    async fn handle_continue(&mut self, _: Term, _: &mut Context<Self>) -> Result<(), ExitReason> {
        panic!("as fast as it can")
    }

    async fn terminate(&mut self, reason: &ExitReason, cx: &mut Context<Self>) {
        if self.0.stubborn {
            cx.world().sleep(Duration::from_secs(3600)).await;
        }
        self.0.log.note(format!("{} ends {reason}", self.0.name));
    }
}

fn local() -> Arc<Local> {
    Arc::new(Local::new(Atom::from_static("test@127.0.0.1"), 4, World::tokio(), 200_000))
}

pub(super) async fn start(
    local: &Arc<Local>,
    spec: SupervisorSpec,
) -> Result<Server<Supervisor>, StartError> {
    Start::<Supervisor>::new(local.clone(), None, spec).await
}

fn worker(id: &'static str, log: &Log) -> ChildSpec {
    ChildSpec::worker::<Child>(id, Args::new(id, log)).name(id)
}

/// Ends a registered child with `reason`, and waits until it has.
async fn end(local: &Arc<Local>, name: &str, reason: Term) {
    let process = local.names.get(name).unwrap_or_else(|| panic!("{name} runs"));
    let child = process.clone().into_any().downcast().expect("it is a child");
    let child = Server::<Child>::new(child);
    let _ = child.call(reason).await;
    process.shared().end().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_ends_comes_back_under_its_name() {
    let (local, log) = (local(), Log::default());
    let spec = SupervisorSpec::one_for_one().child(worker("a", &log)).child(worker("b", &log));
    let supervisor = start(&local, spec).await.unwrap();
    let before = supervisor.which_children().await.unwrap();
    assert_eq!(before.iter().map(|child| child.id.to_string()).collect::<Vec<_>>(), ["b", "a"]);
    end(&local, "a", Term::atom("crash")).await;
    let after = supervisor.which_children().await.unwrap();
    assert_eq!(after[0], before[0], "the other is left alone");
    assert_ne!(after[1].status, before[1].status, "a new life has a pid of its own");
    assert_eq!(Some(local.names.get("a").unwrap().pid()), after[1].status.pid());
    assert_eq!(log.take(), ["a starts", "b starts", "a ends crash", "a starts"]);
    assert_eq!(supervisor.stop(ExitReason::Shutdown).await, ExitReason::Shutdown);
    assert_eq!(log.take(), ["b ends shutdown", "a ends shutdown"]);
    assert_eq!(local.table.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_strategies_take_others_along() {
    for (spec, expected) in [
        (
            SupervisorSpec::one_for_all(),
            &["c ends shutdown", "a ends shutdown", "a starts", "b starts", "c starts"][..],
        ),
        (SupervisorSpec::rest_for_one(), &["c ends shutdown", "b starts", "c starts"]),
        (SupervisorSpec::one_for_one(), &["b starts"]),
    ] {
        let (local, log) = (local(), Log::default());
        let spec = spec.child(worker("a", &log)).child(worker("b", &log)).child(worker("c", &log));
        let supervisor = start(&local, spec).await.unwrap();
        log.take();
        end(&local, "b", Term::atom("crash")).await;
        supervisor.which_children().await.unwrap();
        assert_eq!(log.take()[1..], *expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_undoes_the_others_and_says_which() {
    let (local, log) = (local(), Log::default());
    let bad = Args { fails: Arc::new(Mutex::new(1)), ..Args::new("bad", &log) };
    let spec = SupervisorSpec::one_for_one()
        .child(worker("a", &log))
        .child(worker("b", &log))
        .child(ChildSpec::worker::<Child>("bad", bad))
        .child(worker("c", &log));
    let error = start(&local, spec).await.unwrap_err();
    assert_eq!(error.to_string(), "init failed: {shutdown,{failed_to_start_child,bad,not_yet}}");
    assert_eq!(log.take(), ["a starts", "b starts", "bad fails", "b ends shutdown", "a ends shutdown"]);
    assert_eq!(local.table.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn specifications_that_otp_refuses_are_refused_in_its_words() {
    let (local, log) = (local(), Log::default());
    let twice = SupervisorSpec::one_for_one().child(worker("a", &log)).child(worker("a", &log));
    let significant = || worker("a", &log).significant(true);
    let never = SupervisorSpec::one_for_one().child(significant());
    let permanent =
        SupervisorSpec::one_for_one().auto_shutdown(AutoShutdown::AnySignificant).child(significant());
    for (spec, expected) in [
        (twice, "{start_spec,{duplicate_child_name,a}}"),
        (never, "{start_spec,{bad_combination,[{auto_shutdown,never},{significant,true}]}}"),
        (permanent, "{start_spec,{bad_combination,[{restart,permanent},{significant,true}]}}"),
    ] {
        let error = start(&local, spec).await.unwrap_err();
        assert_eq!(error.to_string(), format!("init failed: {expected}"));
    }
    // A name that is taken.
    let supervisor = start(&local, SupervisorSpec::one_for_one().child(worker("a", &log))).await.unwrap();
    let other = ChildSpec::worker::<Child>("other", Args::new("other", &log)).name("a");
    let error = supervisor.start_child(other).await.unwrap_err();
    let taken = local.names.get("a").unwrap().pid().clone();
    let ChildError::Start { reason, .. } = error else { panic!("{error}") };
    assert_eq!(reason.to_string(), format!("{{already_started,{taken}}}"));
    assert_eq!(log.take(), ["a starts"]);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_end_is_killed_after_its_time() {
    let (local, log) = (local(), Log::default());
    let stubborn = Args { stubborn: true, ..Args::new("stubborn", &log) };
    let spec = SupervisorSpec::one_for_one()
        .child(ChildSpec::worker::<Child>("stubborn", stubborn.clone()))
        .child(ChildSpec::worker::<Child>("brutal", stubborn).shutdown(Shutdown::BrutalKill));
    let supervisor = start(&local, spec).await.unwrap();
    let begin = local.world.clock.mono();
    assert_eq!(supervisor.terminate_child(Term::atom("brutal")).await, Ok(()));
    assert_eq!(local.world.clock.mono().since(begin), Duration::ZERO);
    assert_eq!(supervisor.terminate_child(Term::atom("stubborn")).await, Ok(()));
    assert_eq!(local.world.clock.mono().since(begin), Duration::from_secs(5));
    let count = supervisor.count_children().await.unwrap();
    assert_eq!((count.specs, count.active, count.workers), (2, 0, 2));
}

#[tokio::test(start_paused = true)]
async fn an_init_that_hangs_is_a_start_that_failed_if_it_is_asked_for() {
    let (local, log) = (local(), Log::default());
    let spec = SupervisorSpec::one_for_one().child(worker("a", &log));
    let supervisor = start(&local, spec).await.unwrap();
    let world = local.world.clone();
    let hangs = ChildSpec::new("hangs", move |parent| {
        let (parent, world) = (parent.clone(), world.clone());
        async move {
            // What the start function itself does is not bounded: the server's `init` is.
            let _ = (&parent, &world);
            parent.start_link::<Hangs>(()).await
        }
    });
    let error = supervisor.start_child(hangs.start_timeout(Duration::from_secs(2))).await.unwrap_err();
    assert!(error.to_string().ends_with("timeout"), "{error}");
    assert_eq!(supervisor.count_children().await.unwrap().specs, 1);
    assert_eq!(local.table.len(), 2);
}

struct Hangs;

impl GenServer for Hangs {
    type Args = ();
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, ExitReason> {
        std::future::pending().await
    }

    async fn handle_call(
        &mut self,
        ask: Term,
        from: ReplyTo<Term>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(ask))
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_storm_is_counted_exactly_and_leaves_nothing() {
    const INNER: u32 = 7;
    const OUTER: u32 = 20;
    let (local, log) = (local(), Log::default());
    let storm = Args { crashes: true, ..Args::new("storm", &log) };
    let inner = SupervisorSpec::one_for_one()
        .intensity(INNER, Duration::from_secs(3600))
        .child(ChildSpec::worker::<Child>("storm", storm).name("storm"));
    let outer = SupervisorSpec::one_for_one()
        .intensity(OUTER, Duration::from_secs(3600))
        .child(ChildSpec::supervisor("inner", inner).name("inner"));
    let outer = start(&local, outer).await.unwrap();
    assert_eq!(outer.ended().await, ExitReason::Shutdown);
    let log = log.take();
    let starts = log.iter().filter(|line| *line == "storm starts").count();
    assert_eq!(starts as u32, (INNER + 1) * (OUTER + 1));
    assert_eq!(log.len(), 2 * starts, "each life has its end");
    assert_eq!(local.table.len(), 0);
    assert!(local.names.all().is_empty());
}

async fn sys(local: &Arc<Local>, server: &Server<Supervisor>, request: &'static str) {
    let (caller, to) = (Caller::Node(local.clone()), server.pid().clone().into());
    let request = Atom::from_static(request);
    let answer: Call<Atom, Atom> = Call::labelled(caller, to, Atom::from_static("system"), request);
    assert_eq!(answer.await, Ok(Atom::from_static("ok")));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_again_is_tried_again_while_calls_are_answered() {
    let (node, log) = (TestNode::new(1).await, Log::default());
    let local = node.local();
    let args = Args::new("a", &log);
    let fails = args.fails.clone();
    let spec = SupervisorSpec::one_for_one()
        .intensity(10, Duration::from_secs(5))
        .child(ChildSpec::worker::<Child>("a", args).name("a"));
    let supervisor = start(local, spec).await.unwrap();
    *fails.lock().unwrap() = 3;
    // The questions wait behind the end of the child, and are answered before the next attempt.
    sys(local, &supervisor, "suspend").await;
    end(local, "a", Term::atom("crash")).await;
    let questions = async { tokio::join!(supervisor.which_children(), supervisor.which_children()) };
    let (resumed, seen) = tokio::join!(biased; async {
        tokio::task::yield_now().await;
        sys(local, &supervisor, "resume").await;
    }, questions);
    let () = resumed;
    for children in [seen.0, seen.1] {
        assert_eq!(children.unwrap()[0].status, ChildStatus::Restarting);
    }
    node.expect_registered("a", Duration::ZERO).await;
    assert_eq!(log.take(), ["a starts", "a ends crash", "a fails", "a fails", "a fails", "a starts"]);
    // Once more than may be.
    *fails.lock().unwrap() = 1000;
    end(local, "a", Term::atom("crash")).await;
    assert_eq!(supervisor.ended().await, ExitReason::Shutdown);
    let failed = log.take().iter().filter(|line| *line == "a fails").count();
    assert_eq!(failed, 10 - 4, "four restarts were before, and the last that counts is not made");
}

#[tokio::test(start_paused = true)]
async fn backoff_puts_restarts_off() {
    let (node, log) = (TestNode::new(1).await, Log::default());
    let (min, max) = (Duration::from_millis(100), Duration::from_secs(1));
    let spec = SupervisorSpec::one_for_one()
        .intensity(100, Duration::from_secs(5))
        .child(worker("a", &log).backoff(min, max));
    let supervisor = start(node.local(), spec).await.unwrap();
    let restart = async || {
        let (begin, old) = (node.elapsed(), node.whereis("a").expect("it runs"));
        end(node.local(), "a", Term::atom("crash")).await;
        let shown = supervisor.which_children().await.unwrap();
        assert_eq!(shown[0].status, ChildStatus::Restarting);
        node.expect_restart("a", &old, 2 * max).await;
        node.elapsed() - begin
    };
    for most in [100, 200, 400, 800, 1000, 1000].map(Duration::from_millis) {
        let wait = restart().await;
        assert!((most / 2..=most).contains(&wait), "{wait:?} instead of {most:?}");
    }
    // One that ran for long begins anew.
    node.advance(Duration::from_secs(2)).await;
    assert!(restart().await <= min);
}

#[tokio::test(start_paused = true)]
async fn a_child_of_a_kind_that_waits_for_its_restart_is_terminated_by_its_last_pid() {
    const MINUTE: Duration = Duration::from_secs(60);
    let (node, log) = (TestNode::new(1).await, Log::default());
    let args = Args::new("any", &log);
    let fails = args.fails.clone();
    let template = Template::worker::<Child, ()>(move |()| args.clone()).backoff(MINUTE, MINUTE);
    let spec = SupervisorSpec::simple_one_for_one(template).intensity(100, MINUTE);
    let supervisor = start(node.local(), spec).await.unwrap();
    // Before its first restart, and after some that failed.
    for waits in [Duration::ZERO, 5 * MINUTE] {
        let pid = supervisor.start_child_with(()).await.unwrap().expect("it runs");
        *fails.lock().unwrap() = 100;
        node.kill(&pid, ExitReason::Kill).await;
        node.advance(waits).await;
        assert_eq!(supervisor.which_children().await.unwrap()[0].status, ChildStatus::Restarting);
        assert_eq!(supervisor.terminate_child(pid).await, Ok(()));
        *fails.lock().unwrap() = 0;
        log.take();
        node.advance(5 * MINUTE).await;
        assert_eq!(log.take(), [""; 0], "it does not come back");
        assert_eq!(supervisor.which_children().await, Ok(vec![]));
    }
}

/// Source: `start_children/2` in `supervisor.erl`.
#[tokio::test(start_paused = true)]
async fn a_child_that_chooses_not_to_run_is_known_unless_it_is_temporary() {
    let ignores = |id| ChildSpec::new(id, |_| async { Ok(StartedPid::from(None)) });
    let spec = SupervisorSpec::one_for_one()
        .child(ignores("permanent"))
        .child(ignores("temporary").restart(Restart::Temporary));
    let supervisor = start(&local(), spec).await.unwrap();
    let children = supervisor.which_children().await.unwrap();
    let shown: Vec<_> = children.iter().map(|child| (child.id.to_string(), &child.status)).collect();
    assert_eq!(shown, [("permanent".to_owned(), &ChildStatus::Undefined)]);
}

#[tokio::test(start_paused = true)]
async fn significant_children_take_the_supervisor_along() {
    for (auto_shutdown, after_first) in
        [(AutoShutdown::AnySignificant, true), (AutoShutdown::AllSignificant, false)]
    {
        let (local, log) = (local(), Log::default());
        let significant = |id| worker(id, &log).restart(Restart::Transient).significant(true);
        let spec = SupervisorSpec::one_for_one()
            .auto_shutdown(auto_shutdown)
            .child(significant("a"))
            .child(significant("b"))
            .child(worker("c", &log));
        let supervisor = start(&local, spec).await.unwrap();
        // What ends by order of its supervisor does not count.
        if !after_first {
            end(&local, "a", Term::atom("normal")).await;
            assert_eq!(supervisor.count_children().await.unwrap().active, 2);
            end(&local, "b", Term::atom("crash")).await;
            assert_eq!(supervisor.count_children().await.unwrap().active, 2, "it is restarted");
        }
        end(&local, "b", Term::atom("normal")).await;
        assert_eq!(supervisor.ended().await, ExitReason::Shutdown);
        assert_eq!(
            log.take().last().map(String::as_str),
            Some(if after_first { "a ends shutdown" } else { "c ends shutdown" })
        );
    }
}

/// Waits until nothing is left to be done: virtual time passes only then.
async fn settled(local: &Local) {
    local.world.sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_children_stop_in_reverse_order() {
    const CHILDREN: usize = 100_000;
    let (local, log) = (local(), Log::default());
    let spec = SupervisorSpec::one_for_one().intensity(u32::MAX, Duration::from_secs(3600));
    let supervisor = start(&local, spec).await.unwrap();
    let mut pids = Vec::with_capacity(CHILDREN);
    for n in 0..CHILDREN {
        let child = Numbered { n, log: log.clone() };
        let child = ChildSpec::worker::<Numbered>("child", child).id(Term::from(n as i64));
        pids.push(supervisor.start_child(child).await.unwrap().expect("it runs"));
    }
    assert_eq!(supervisor.count_children().await.unwrap().active, CHILDREN);
    // All end at once, and all come back.
    for pid in &pids {
        local.send_exit(&local.pid(0, 0), pid, &ExitReason::Kill);
    }
    settled(&local).await;
    assert!(pids.iter().all(|pid| local.process(pid).is_none()), "their first lives are over");
    let count = supervisor.count_children().await.unwrap();
    assert_eq!((count.specs, count.active), (CHILDREN, CHILDREN));
    assert_eq!(supervisor.stop(ExitReason::Shutdown).await, ExitReason::Shutdown);
    let stopped: Vec<usize> = log.take().iter().map(|n| n.parse().unwrap()).collect();
    assert!(stopped.iter().copied().eq((0..CHILDREN).rev()), "the last that was started stops first");
    assert_eq!(local.table.len(), 0);
}

#[derive(Clone)]
struct Numbered {
    n: usize,
    log: Log,
}

impl GenServer for Numbered {
    type Args = Self;
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;

    async fn init(this: Self, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.trap_exit(true);
        Ok(this)
    }

    async fn handle_call(
        &mut self,
        ask: Term,
        from: ReplyTo<Term>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(ask))
    }

    async fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        self.log.note(self.n.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn children_of_one_kind_come_and_go() {
    const CHILDREN: usize = 10_000;
    let (local, log) = (local(), Log::default());
    let kept = log.clone();
    let template = Template::worker::<Numbered, usize>(move |n| Numbered { n, log: kept.clone() });
    let spec = SupervisorSpec::simple_one_for_one(template).intensity(u32::MAX, Duration::from_secs(3600));
    let supervisor = start(&local, spec).await.unwrap();
    let wrong = supervisor.start_child_with("text").await.unwrap_err();
    assert!(wrong.to_string().contains("usize"), "{wrong}");
    let mut pids = Vec::new();
    for n in 0..CHILDREN {
        pids.push(supervisor.start_child_with(n).await.unwrap().unwrap());
    }
    let count = supervisor.count_children().await.unwrap();
    assert_eq!((count.specs, count.active, count.workers), (1, CHILDREN, CHILDREN));
    for pid in &pids[..CHILDREN / 2] {
        local.send_exit(&local.pid(0, 0), pid, &ExitReason::Kill);
    }
    settled(&local).await;
    let children = supervisor.which_children().await.unwrap();
    let runs = |child: &&ChildInfo| child.status.pid().is_some_and(|pid| local.process(pid).is_some());
    assert_eq!(children.iter().filter(runs).count(), CHILDREN);
    // One that is not known by its id, and by a pid only while it runs.
    assert_eq!(supervisor.terminate_child(Term::atom("some")).await, Err(ChildError::SimpleOneForOne));
    assert_eq!(supervisor.terminate_child(pids[CHILDREN - 1].clone()).await, Ok(()));
    assert_eq!(supervisor.terminate_child(pids[CHILDREN - 1].clone()).await, Ok(()));
    assert_eq!(supervisor.restart_child(Term::atom("some")).await, Err(ChildError::SimpleOneForOne));
    assert_eq!(supervisor.count_children().await.unwrap().active, CHILDREN - 1);
    supervisor.stop(ExitReason::Shutdown).await;
    let mut stopped: Vec<usize> = log.take().iter().map(|n| n.parse().unwrap()).collect();
    stopped.sort_unstable();
    assert!(stopped.into_iter().eq(0..CHILDREN), "each stopped once: those killed did not say so");
    assert_eq!(local.table.len(), 0);
}
