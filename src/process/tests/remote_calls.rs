//! Calls to servers of another node, one after the other: what they monitor.

use std::future::IntoFuture;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;

use super::term;
use crate::gen_server::{self, GenServer, Reply, ReplyTo};
use crate::process::{CallError, Context, ExitReason, end_of};
use crate::term::{Pid, Term};
use crate::testing::TestNode;

/// Answers a call with what it was called with, but `ignore`, and `stop`, by which it ends.
pub(super) struct Echo;

impl GenServer for Echo {
    type Args = ();
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;

    async fn init((): (), _: &mut gen_server::Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        call: Term,
        from: ReplyTo<Term>,
        _: &mut gen_server::Context<Self>,
    ) -> Result<Reply, ExitReason> {
        match call.as_atom().map(|atom| &**atom) {
            Some("ignore") => Ok(Reply::Later),
            Some("stop") => Err(ExitReason::Shutdown),
            _ => Ok(from.reply(call)),
        }
    }
}

const TICKS: Duration = Duration::from_secs(120);

async fn cluster() -> ([TestNode; 2], Pid) {
    let nodes = TestNode::cluster(5, ["a@one", "b@two"]).await;
    let echo = Echo::start(&nodes[1], ()).await.expect("it starts").pid().clone();
    (nodes, echo)
}

/// A process that calls as it is told, shows the outcome, and waits for nothing else between calls that come in one list.
fn caller(node: &TestNode) -> (Pid, mpsc::UnboundedSender<Calls>, mpsc::UnboundedReceiver<Outcome>) {
    let (tell, mut told) = mpsc::unbounded_channel::<Calls>();
    let (shown, outcomes) = mpsc::unbounded_channel();
    let pid = node.spawn(|cx: Context<Term>| async move {
        while let Some(calls) = told.recv().await {
            for (to, request) in calls {
                let _ = shown.send(cx.call::<Term, _>(to, term(request)).await);
            }
        }
        ExitReason::Normal
    });
    (pid.expect("there is room"), tell, outcomes)
}

type Calls = Vec<(Pid, &'static str)>;
type Outcome = Result<Term, CallError>;

fn outcomes(shown: &mut mpsc::UnboundedReceiver<Outcome>) -> Vec<Outcome> {
    std::iter::from_fn(|| shown.try_recv().ok()).collect()
}

fn monitored_by(node: &TestNode, pid: &Pid) -> Vec<Pid> {
    node.process_info(pid).expect("it is alive").monitored_by
}

/// How many MONITOR and DEMONITOR signals a process has got.
fn monitors(node: &TestNode, pid: &Pid) -> (usize, usize) {
    let trace = node.trace(pid);
    let count = |what: &str| trace.iter().filter(|line| line.contains(what)).count();
    (count(" monitor "), count(" demonitor "))
}

#[tokio::test(start_paused = true)]
async fn calls_that_follow_one_another_share_a_monitor() {
    let ([a, b], echo) = cluster().await;
    let (caller, tell, mut shown) = caller(&a);
    tell.send(vec![(echo.clone(), "1"), (echo.clone(), "2"), (echo.clone(), "ignore")]).unwrap();
    a.settle().await;
    assert_eq!(outcomes(&mut shown), [Ok(term("1")), Ok(term("2"))]);
    assert_eq!(monitored_by(&b, &echo), std::slice::from_ref(&caller));
    a.advance(TICKS).await;
    assert_eq!(outcomes(&mut shown), [Err(CallError::Timeout(Duration::from_secs(5)))]);
    assert_eq!(monitored_by(&b, &echo), [], "the caller waits for something else");
    assert_eq!(monitors(&b, &echo), (1, 1), "{:?}", b.trace(&echo));
    // One after it has waited has a monitor of its own, and the end of its process ends that.
    tell.send(vec![(echo.clone(), "3")]).unwrap();
    drop(tell);
    a.settle().await;
    assert_eq!(outcomes(&mut shown), [Ok(term("3"))]);
    assert_eq!(monitors(&b, &echo), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn calls_to_two_servers_in_turns_share_a_monitor_of_each() {
    let ([a, b], echo) = cluster().await;
    let other = Echo::start(&b, ()).await.expect("it starts").pid().clone();
    let (caller, tell, mut shown) = caller(&a);
    let calls = [&echo, &other].into_iter().cycle().zip(["1", "2", "3", "4", "ignore"]);
    tell.send(calls.map(|(pid, request)| (pid.clone(), request)).collect()).unwrap();
    a.settle().await;
    assert_eq!(outcomes(&mut shown), ["1", "2", "3", "4"].map(|request| Ok(term(request))));
    for pid in [&echo, &other] {
        assert_eq!(monitored_by(&b, pid), std::slice::from_ref(&caller), "it waits for a call");
    }
    a.advance(TICKS).await;
    for pid in [&echo, &other] {
        assert_eq!(monitored_by(&b, pid), [], "it waits for something else");
        assert_eq!(monitors(&b, pid), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn calls_to_many_servers_in_turns_share_the_monitors_of_so_many() {
    const SHARED: usize = 256;
    let ([a, b], _) = cluster().await;
    let mut servers = Vec::new();
    for _ in 0..SHARED + 2 {
        servers.push(Echo::start(&b, ()).await.expect("it starts").pid().clone());
    }
    let (_, tell, mut shown) = caller(&a);
    // In their order, and against it.
    let calls = servers.iter().chain(servers.iter().rev());
    tell.send(calls.map(|pid| (pid.clone(), "1")).collect()).unwrap();
    a.advance(TICKS).await;
    assert_eq!(outcomes(&mut shown), vec![Ok(term("1")); 2 * servers.len()]);
    for (n, pid) in servers.iter().enumerate() {
        let each = if n < SHARED { 1 } else { 2 };
        assert_eq!(monitors(&b, pid), (each, each), "server {n}");
        assert_eq!(monitored_by(&b, pid), []);
    }
}

#[tokio::test(start_paused = true)]
async fn who_calls_another_server_meanwhile_hears_of_the_end_of_the_first_by_its_next_call_alone() {
    let ([a, b], echo) = cluster().await;
    let other = Echo::start(&b, ()).await.expect("it starts").pid().clone();
    let (_, tell, mut shown) = caller(&a);
    tell.send(vec![(echo.clone(), "1"), (other.clone(), "ignore"), (echo.clone(), "2")]).unwrap();
    a.settle().await;
    b.kill(&echo, ExitReason::Shutdown).await;
    a.settle().await;
    assert_eq!(outcomes(&mut shown), [Ok(term("1"))], "the call of the other goes on");
    a.advance(TICKS).await;
    let timeout = Err(CallError::Timeout(Duration::from_secs(5)));
    assert_eq!(outcomes(&mut shown), [timeout, Err(CallError::NoProc)]);
}

#[tokio::test(start_paused = true)]
async fn a_call_with_the_monitor_of_another_hears_of_the_servers_end() {
    let ([a, _b], echo) = cluster().await;
    let (_, tell, mut shown) = caller(&a);
    tell.send(vec![(echo.clone(), "1"), (echo.clone(), "stop"), (echo.clone(), "2")]).unwrap();
    a.settle().await;
    let ends = [Err(CallError::Exit(ExitReason::Shutdown)), Err(CallError::NoProc)];
    assert_eq!(outcomes(&mut shown), [&[Ok(term("1"))], &ends[..]].concat());
    assert_eq!(a.elapsed(), Duration::ZERO, "not by its deadline");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_end_of_a_process_shares_the_monitor_too() {
    let ([a, b], echo) = cluster().await;
    let (shown, mut seen) = mpsc::unbounded_channel();
    let pid = echo.clone();
    a.spawn(move |cx: Context<Term>| async move {
        assert_eq!(cx.call::<Term, _>(pid.clone(), 1).await, Ok(Term::from(1)));
        let waits = end_of(cx.process().clone(), &pid);
        let given_up = cx.world().timeout(Duration::from_secs(1), waits).await;
        assert!(given_up.is_err(), "it has not ended");
        cx.world().sleep(TICKS).await;
        assert_eq!(cx.call::<Term, _>(pid.clone(), 2).await, Ok(Term::from(2)));
        let _ = shown.send(end_of(cx.process().clone(), &pid).await);
        ExitReason::Normal
    })
    .unwrap();
    a.advance(TICKS).await;
    assert_eq!(monitored_by(&b, &echo), [], "{:?}", b.trace(&echo));
    assert_eq!(monitors(&b, &echo), (1, 1));
    a.advance(TICKS).await;
    assert_eq!(monitors(&b, &echo), (2, 1));
    b.kill(&echo, ExitReason::Shutdown).await;
    assert_eq!(seen.recv().await, Some(ExitReason::Shutdown));
}

#[tokio::test(start_paused = true)]
async fn a_call_with_the_monitor_of_another_hears_of_a_lost_connection() {
    let ([a, b], echo) = cluster().await;
    let (_, tell, mut shown) = caller(&a);
    tell.send(vec![(echo.clone(), "1"), (echo.clone(), "ignore"), (echo.clone(), "2")]).unwrap();
    a.settle().await;
    a.disconnect(b.name());
    a.settle().await;
    let lost = Err(CallError::NoConnection(b.name().clone()));
    assert_eq!(outcomes(&mut shown), [Ok(term("1")), lost, Ok(term("2"))]);
}

#[tokio::test(start_paused = true)]
async fn a_monitor_whose_connection_is_gone_is_no_longer_shared() {
    let ([a, b], echo) = cluster().await;
    let (shown, mut seen) = mpsc::unbounded_channel();
    let node = a.clone();
    let peer = b.name().clone();
    a.spawn(move |cx: Context<Term>| async move {
        for _ in 0..2 {
            let _ = shown.send(cx.call::<Term, _>(echo.clone(), 1).await);
            // No signal of its loss can have reached the process when it calls again.
            node.disconnect(&peer);
            let _ = shown.send(cx.call::<Term, _>(echo.clone(), 2).await);
            cx.world().sleep(Duration::from_secs(1)).await;
        }
        ExitReason::Normal
    })
    .unwrap();
    a.advance(Duration::from_secs(3)).await;
    let lost = Err(CallError::NoConnection(b.name().clone()));
    assert_eq!(outcomes(&mut seen), [Ok(Term::from(1)), lost.clone(), Ok(Term::from(1)), lost]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_be_sent_is_over_though_its_future_is_kept() {
    let (nodes, echo) = cluster().await;
    let (shown, mut outcomes) = mpsc::unbounded_channel();
    let _ = nodes[0].spawn(|cx: Context<Term>| async move {
        let mut call = cx.call::<Term, _>(echo, f64::NAN).into_future();
        let outcome = (&mut call).await;
        let _ = shown.send((outcome, cx.shared().open_calls.load(Ordering::Relaxed)));
        drop(call);
        ExitReason::Normal
    });
    let (outcome, open) = outcomes.recv().await.expect("it is shown");
    assert!(matches!(outcome, Err(CallError::Encode(_))), "{outcome:?}");
    assert_eq!(open, 0);
}
