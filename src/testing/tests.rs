//! The kit, by what a test that uses it sees.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::TestNode;
use crate::Protocol;
use crate::gen_server::{Context, GenServer, Reply, ReplyTo};
use crate::process::{self, CallError, ExitReason, SendError};
use crate::term::{Atom, Term};
use crate::world::panic_text;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn term(text: &str) -> Term {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What the future panics with.
async fn failure<T>(future: impl Future<Output = T>) -> String {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(_)) => panic!("it does not fail"),
        Err(panic) => Poll::Ready(panic_text(&*panic).to_owned()),
    })
    .await
}

/// The end of a process with its last send.
fn done(sent: Result<(), SendError>) -> ExitReason {
    sent.map_or_else(ExitReason::from, |()| ExitReason::Normal)
}

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[derive(Debug, Serialize, Deserialize, Protocol)]
#[serde(rename_all = "snake_case")]
enum Ask {
    #[reply(i64)]
    Count,
    #[reply(())]
    Panic,
    #[reply(())]
    Never,
}

/// Counts its ticks, one in a while.
struct Clockwork {
    ticks: i64,
    forgotten: Vec<ReplyTo<AskReply>>,
}

impl GenServer for Clockwork {
    type Args = Duration;
    type Call = Ask;
    type Reply = AskReply;
    type Cast = Term;
    type Info = Term;

    async fn init(every: Duration, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.send_interval(every, Term::atom("tick"));
        Ok(Self { ticks: 0, forgotten: Vec::new() })
    }

    async fn handle_call(
        &mut self,
        ask: Ask,
        from: ReplyTo<AskReply>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(match ask {
            Ask::Count => from.reply(AskReply::Count(self.ticks)),
            Ask::Panic => panic!("out of luck"),
            Ask::Never => {
                self.forgotten.push(from);
                Reply::Later
            }
        })
    }

    async fn handle_info(&mut self, _: Term, _: &mut Context<Self>) -> Result<(), ExitReason> {
        self.ticks += 1;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn time_goes_on_by_exactly_what_is_said_and_all_that_is_due_has_happened() {
    let node = TestNode::new(1).await;
    let clockwork = Clockwork::start(&node, SECOND).await.unwrap();
    let start = node.elapsed();
    let mut count = 0;
    for millis in [1, 998, 1, 999, 1, 60_000, 3_600_000, 5 * 3_600_000 + 1] {
        let step = Duration::from_millis(millis);
        let before = node.elapsed();
        node.advance(step).await;
        assert_eq!(node.elapsed() - before, step);
        // Asked without a turn for others: what is due at the end of the step is done.
        count = clockwork.count().await.unwrap();
        assert_eq!(count, i64::try_from((node.elapsed() - start).as_secs()).unwrap(), "{millis} ms");
        assert_eq!(node.elapsed() - before, step, "a call takes no time");
    }
    assert!(count > 6 * 3600);
    node.settle().await;
    assert_eq!(clockwork.count().await, Ok(count), "no time passes while a node settles");
}

#[tokio::test(start_paused = true)]
async fn what_is_due_happens_in_the_order_of_its_time() {
    let node = TestNode::new(1).await;
    let mut probe = node.probe();
    for delay in [7, 3, 90_000, 5, 1, 3_600_000] {
        let to = probe.pid().clone();
        let sleeper = node.spawn(move |cx| async move {
            cx.world().sleep(Duration::from_millis(delay)).await;
            done(cx.send(&to, delay))
        });
        sleeper.unwrap();
    }
    let start = node.elapsed();
    node.advance(2 * HOUR).await;
    assert_eq!(node.elapsed() - start, 2 * HOUR);
    let mut delays = Vec::new();
    for _ in 0..6 {
        delays.push(probe.expect::<u64>(Duration::ZERO).await);
    }
    assert_eq!(delays, [1, 3, 5, 7, 90_000, 3_600_000]);
    probe.expect_none(SECOND).await;
    node.assert_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_is_waited_for_to_the_very_end_and_not_a_moment_longer() {
    let node = TestNode::new(1).await;
    let mut probe = node.probe();
    let start = node.elapsed();
    let late = |to: &crate::term::Pid, after: Duration| {
        let to = to.clone();
        let process = node.spawn(move |cx| async move {
            cx.world().sleep(after).await;
            done(cx.send(&to, Term::atom("late")))
        });
        process.unwrap()
    };
    late(probe.pid(), SECOND);
    assert_eq!(probe.expect::<Term>(SECOND).await, term("late"));
    assert_eq!(node.elapsed() - start, SECOND);
    late(probe.pid(), SECOND + MS);
    let text = failure(probe.expect::<Atom>(SECOND)).await;
    assert_has(&text, &["expected a message of type", "Atom", "within 1s, but nothing came", "seed 1"]);
    assert_has(&text, &["after 2s of virtual time", "src/testing/tests.rs:"]);
    assert_eq!(probe.expect::<Term>(MS).await, term("late"));
}

#[tokio::test(start_paused = true)]
async fn a_failed_expectation_shows_what_came_and_what_is_queued() {
    let node = TestNode::new(42).await;
    let mut probe = node.probe();
    let to = probe.pid().clone();
    let send = |text| node.send(&to, term(text)).unwrap();
    send("{price, 7}");
    send("[second]");
    send("third");
    let text = failure(probe.expect::<i64>(SECOND)).await;
    assert_has(&text, &["expected a message of type i64, but got {price,7}: "]);
    assert_has(&text, &["queued 1: [second]", "queued 2: third", "seed 42", "after 0ns"]);
    let text = failure(probe.expect_where::<Term>(SECOND, |term| term.is_atom("third"))).await;
    assert_has(
        &text,
        &["expected a certain message of type", "but got [second]: it does not fit", "queued 1: third"],
    );
    let text = failure(probe.expect_none(SECOND)).await;
    assert_has(&text, &["expected no message for 1s, but got third"]);
    send("hello");
    let text = failure(probe.expect_call::<Term>(SECOND)).await;
    assert_has(&text, &["expected a call of type", "but got hello: it is no call"]);
    send("hello");
    let text = failure(probe.expect_cast::<Term>(SECOND)).await;
    assert_has(&text, &["expected a cast of type", "but got hello: it is no cast"]);
    probe.cast(&to, &7).unwrap();
    let text = failure(probe.expect_cast::<String>(SECOND)).await;
    assert_has(&text, &["but got {'$gen_cast',7}: "]);
    node.kill(&to, ExitReason::Shutdown).await;
    let text = failure(probe.expect::<Term>(SECOND)).await;
    assert_has(&text, &["nothing came", "the probe has ended: shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn expectations_take_messages_in_order_and_one_kind_looks_further() {
    let node = TestNode::new(1).await;
    let mut probe = node.probe();
    // More than a process takes in one go.
    for n in 0..1000 {
        node.send(probe.pid(), n).unwrap();
    }
    assert_eq!(probe.expect_among::<i64>(SECOND, |n| *n == 700).await, 700);
    assert_eq!(probe.expect_where::<i64>(SECOND, |n| *n == 0).await, 0);
    for n in (1..1000).filter(|n| *n != 700) {
        assert_eq!(probe.expect::<i64>(Duration::ZERO).await, n);
    }
    let text = failure(probe.expect_among::<i64>(SECOND, |n| *n == 700)).await;
    assert_has(&text, &["expected a certain message of type i64 within 1s, but none came"]);
    probe.expect_none(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_process_is_seen_through_monitors_and_links() {
    let node = TestNode::new(1).await;
    let mut probe = node.probe();
    let clockwork = Clockwork::start(&node, HOUR).await.unwrap();
    let monitor = probe.monitor(clockwork.pid());
    let asked = clockwork.panic().await;
    assert!(matches!(asked, Err(CallError::Exit(_))), "{asked:?}");
    let reason = probe.expect_down(&monitor, Duration::ZERO).await.to_string();
    assert_has(&reason, &["rust_panic", "out of luck", "handle_call"]);

    probe.monitor(clockwork.pid());
    assert_eq!(probe.expect_down(clockwork.pid(), SECOND).await, ExitReason::NoProc);

    probe.trap_exit(true);
    let other = Clockwork::start(&node, HOUR).await.unwrap();
    probe.link(other.pid());
    probe.monitor(other.pid());
    node.kill(other.pid(), ExitReason::Kill).await;
    assert_eq!(probe.expect_exit(other.pid(), Duration::ZERO).await, ExitReason::Killed);
    let text = failure(probe.expect_down(clockwork.pid(), Duration::ZERO)).await;
    assert_has(&text, &["expected the DOWN of <test@test.", "but got {'DOWN',", "it is another's"]);
    let text = failure(probe.expect_exit(other.pid(), SECOND)).await;
    assert_has(&text, &["expected the EXIT of", "nothing came"]);

    // One that does not trap ends with the process that it is linked to.
    let probe = node.probe();
    let third = Clockwork::start(&node, HOUR).await.unwrap();
    probe.link(third.pid());
    node.kill(third.pid(), ExitReason::atom("oops")).await;
    assert!(!node.is_process_alive(probe.pid()));
}

#[tokio::test(start_paused = true)]
async fn a_probe_stands_in_for_a_server() {
    let node = TestNode::new(1).await;
    let mut probe = node.probe();
    probe.register("clockwork").unwrap();
    let client = node.server::<Ask>("clockwork");
    let calls = node.world().spawn(async move { (client.count().await, client.count().await) });
    let (ask, from) = probe.expect_call::<Ask>(SECOND).await;
    assert!(matches!(ask, Ask::Count));
    from.reply(&7);
    let (_, never) = probe.expect_call::<Ask>(SECOND).await;
    let limit = Duration::from_secs(5);
    let start = node.elapsed();
    assert_eq!(calls.await.unwrap(), (Ok(7), Err(CallError::Timeout(limit))));
    assert_eq!(node.elapsed() - start, limit);
    never.reply(&8);
    node.cast("clockwork", &("set", 3)).unwrap();
    assert_eq!(probe.expect_cast::<(String, i64)>(SECOND).await.1, 3);
    probe.expect_none(HOUR).await;
    drop(probe);
    node.settle().await;
    assert_eq!(node.whereis("clockwork"), None, "it ends when it is dropped");
    node.assert_clean().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_left_behind_is_named() {
    let node = TestNode::new(1).await;
    let probe = node.probe();
    node.assert_clean().await;
    let clockwork = Clockwork::start(&node, HOUR).name("clockwork").await.unwrap();
    probe.monitor(clockwork.pid());
    let to = clockwork.pid().clone();
    let caller = node.spawn(move |cx| async move {
        cx.link(&to);
        let _ = cx.call::<Term, _>(&to, Atom::from("never")).infinity().await;
        ExitReason::Normal
    });
    let text = failure(node.assert_clean()).await;
    let left = format!("{} registered as clockwork: 1 timer, 1 link, monitored by 2", clockwork.pid());
    assert_has(&text, &["test@test is not clean: 2 processes left", &left]);
    assert_has(&text, &[&format!("{}: 1 open call, 1 link", caller.unwrap()), "src/testing/tests.rs:"]);
    node.kill(clockwork.pid(), ExitReason::Kill).await;
    node.assert_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_name_is_waited_for_and_a_restart_is_another_process() {
    let node = TestNode::new(1).await;
    let spawn_named = |after: Duration| {
        let process = node.spawn(move |mut cx| async move {
            cx.world().sleep(after).await;
            cx.register("worker").expect("the name is free");
            cx.receive().await.into()
        });
        process.unwrap();
    };
    spawn_named(SECOND);
    let first = node.expect_registered("worker", SECOND).await;
    assert_eq!(node.elapsed(), SECOND);
    let text = failure(node.expect_restart("worker", &first, SECOND)).await;
    assert_has(&text, &["expected worker to be registered to another process within 1s", "still has it"]);
    node.kill(&first, ExitReason::Shutdown).await;
    spawn_named(HOUR);
    let text = failure(node.expect_restart("worker", &first, SECOND)).await;
    assert_has(&text, &["but nobody has it", "registered: logger_proxy, net_kernel, rex, user", "after 3s"]);
    assert_ne!(node.expect_restart("worker", &first, HOUR).await, first);
}

#[tokio::test(start_paused = true)]
async fn nodes_of_one_test_reach_each_other_without_sockets() {
    let [a, b] = TestNode::cluster(3, ["a@one", "b@two"]).await;
    assert_eq!((a.nodes(), b.nodes()), (vec![Atom::from("b@two")], vec![Atom::from("a@one")]));
    let clockwork = Clockwork::start(&a, SECOND).name("clockwork").await.unwrap();
    let mut probe = b.probe();
    probe.monitor(clockwork.pid());
    b.advance(10 * SECOND).await;
    assert_eq!(b.server::<Ask>(("clockwork", "a@one")).count().await, Ok(10));
    // Past many ticks of the connection.
    b.advance(HOUR).await;
    assert_eq!(b.nodes(), ["a@one"]);
    // It ends as a node does, not as a process.
    let start = b.elapsed();
    let probes = a.probe();
    drop((a, probes));
    assert_eq!(probe.expect_down(clockwork.pid(), SECOND).await, ExitReason::NoConnection);
    assert_eq!(b.elapsed(), start);
    assert!(b.nodes().is_empty());
}

/// Two servers that talk over two nodes, with chance from the world and time that passes; some work for the real processor between.
async fn scenario(seed: u64, work: u64) -> Vec<String> {
    let [a, b] = TestNode::cluster(seed, ["a@one", "b@two"]).await;
    let clockwork = Clockwork::start(&a, 700 * MS).name("clockwork").await.unwrap();
    let mut probe = b.probe();
    let drawn = Arc::new(Mutex::new(0));
    for n in 0..20 {
        use rand_core::Rng;
        let delay = a.world().entropy.fork("delay").next_u64() % 5000;
        *drawn.lock().unwrap() += delay;
        let to = probe.pid().clone();
        let process = a.spawn(move |cx| async move {
            cx.world().sleep(Duration::from_millis(delay)).await;
            let x = (0..work).fold(delay, |x, n| std::hint::black_box(x.rotate_left(7) ^ n));
            let count = cx.call::<i64, _>("clockwork", Atom::from("count")).await;
            done(cx.send(&to, (n, count.unwrap_or(-1), x == 0)))
        });
        process.unwrap();
    }
    b.advance(3 * SECOND).await;
    a.kill(clockwork.pid(), ExitReason::Kill).await;
    b.advance(3 * SECOND).await;
    for _ in 0..20 {
        probe.expect::<(i64, i64, bool)>(SECOND).await;
    }
    let mut trace = b.trace_all();
    trace.push(drawn.lock().unwrap().to_string());
    trace
}

#[test]
fn the_same_seed_gives_the_same_trace_however_fast_the_machine() {
    let run = |seed, work| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(scenario(seed, work))
    };
    let first = run(5, 1000);
    assert!(first.len() > 50, "{first:#?}");
    for work in [1000, 0, 30_000] {
        assert_eq!(run(5, work), first);
    }
    assert_ne!(run(6, 0), first, "another seed is another run");
}

#[tokio::test(start_paused = true)]
async fn a_trace_shows_what_a_process_got_and_sent_and_its_end() {
    let node = TestNode::new(1).await;
    let mut probe = node.probe();
    let echo = node.spawn(|mut cx| async move {
        let Some((to, what)) = cx.receive().await.as_tuple().map(|pair| (pair[0].clone(), pair[1].clone()))
        else {
            return ExitReason::Normal;
        };
        let to = to.as_pid().expect("a pid").clone();
        let _ = cx.send(&to, what);
        cx.receive().await.into()
    });
    let echo = echo.unwrap();
    node.send(&echo, Term::tuple([probe.pid().clone().into(), term("{hello, 1}")])).unwrap();
    probe.expect::<Term>(SECOND).await;
    node.advance(1500 * MS).await;
    node.kill(&echo, ExitReason::atom("done")).await;
    let (to, own) = (probe.pid(), format!("<test@test.{}.{}>", echo.id, echo.serial));
    let trace = node.trace(&echo);
    let expected = [
        format!("0.000 {echo} gets {{{to},{{hello,1}}}}"),
        format!("0.000 {to} gets {{hello,1}}, sent by {echo}"),
        format!("1.500 {echo} gets an exit signal of <test@test.0.0/{}>: done", echo.creation),
        format!("1.500 {own} ends: done"),
    ];
    assert_eq!(trace, expected);
    // What is moved has no text, and a reply goes straight to its call.
    let clockwork = Clockwork::start(&node, SECOND).await.unwrap();
    let _ = clockwork.count().await;
    let caller = probe.call::<i64, _>(clockwork.pid(), Atom::from("count")).await;
    assert_eq!(caller, Ok(0));
    node.advance(SECOND).await;
    let trace = node.trace(clockwork.pid()).join("\n");
    assert_has(&trace, &["gets a call of type", "Ask", "{'$gen_call',{", "gets the reply {[alias|", "2.500"]);
    assert_has(&trace, &[&format!("gets a monitor of {}", probe.pid()), "gets a message of type"]);
}

#[tokio::test]
#[should_panic(expected = "write #[tokio::test(start_paused = true)]")]
async fn real_time_is_refused() {
    let _ = TestNode::new(1).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "goes on and on without waiting")]
async fn a_task_that_never_waits_is_an_error_and_not_a_hang() {
    let node = TestNode::new(1).await;
    node.world().spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    node.settle().await;
}

/// How often tasks of the test's nodes run while so much time passes.
async fn wake_ups(node: &TestNode, time: Duration) -> u64 {
    node.settle().await;
    let polls = || node.world().gate.as_ref().expect("a test's nodes have one").polls();
    let before = polls();
    node.advance(time).await;
    polls() - before
}

#[tokio::test(start_paused = true)]
async fn a_node_sleeps_through_weeks_in_which_nothing_is_due() {
    let [idle] = TestNode::cluster(1, ["idle@test"]).await;
    assert_eq!(wake_ups(&idle, 24 * 30 * HOUR).await, 0);
    let sheep = idle.spawn(|mut cx: process::Context<Term>| async move {
        cx.send_after(24 * 20 * HOUR, Term::atom("done"));
        cx.receive().await.into()
    });
    let sheep = sheep.expect("the node has room");
    assert!(wake_ups(&idle, 24 * 30 * HOUR).await < 5);
    assert!(!idle.is_process_alive(&sheep));
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_connected_wake_for_their_ticks_only() {
    let [a, _b] = TestNode::cluster(1, ["a@test", "b@test"]).await;
    // Four times a minute each of the two sends a tick, and gets one.
    assert!(wake_ups(&a, 10 * HOUR).await <= 10 * 60 * 4 * 2 * 2);
}
