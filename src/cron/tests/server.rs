//! Servers and jobs on virtual time, which begins on Thursday, 1 January 2026, at midnight in Greenwich.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use super::time;
use crate::cron::{Cron, Job, LOOK_AGAIN, Schedule};
use crate::gen_server::{Context, GenServer, Reply, ReplyTo, Server};
use crate::node::Node;
use crate::process::{ExitReason, TimerReference};
use crate::term::{Atom, Term};
use crate::testing::TestNode;
use crate::world::{Clock, Mono, World};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn schedule(line: &str, zone: &str) -> Schedule {
    Schedule::parse(line, zone).unwrap()
}

/// Says when it got its messages, and takes its time for each. A call cancels its schedule.
struct Clerk {
    seen: mpsc::UnboundedSender<SystemTime>,
    takes: Duration,
    timer: TimerReference,
}

impl GenServer for Clerk {
    type Args = (Schedule, Duration, mpsc::UnboundedSender<SystemTime>);
    type Call = ();
    type Reply = bool;
    type Cast = Term;
    type Info = Term;

    async fn init((schedule, takes, seen): Self::Args, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        let timer = cx.send_cron(schedule, Atom::from_static("tick").into());
        Ok(Self { seen, takes, timer })
    }

    async fn handle_call(
        &mut self,
        (): (),
        from: ReplyTo<bool>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        let cancelled = cx.cancel_timer(self.timer).is_some();
        Ok(from.reply(cancelled))
    }

    async fn handle_info(&mut self, info: Term, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        assert_eq!(info, Atom::from_static("tick").into());
        self.seen.send(cx.world().clock.wall()).unwrap();
        if !self.takes.is_zero() {
            cx.world().sleep(self.takes).await;
        }
        Ok(())
    }
}

type Seen = mpsc::UnboundedReceiver<SystemTime>;

async fn clerk(node: &Node, schedule: Schedule, takes: Duration) -> (Server<Clerk>, Seen) {
    let (seen, times) = mpsc::unbounded_channel();
    (Clerk::start(node, (schedule, takes, seen)).await.unwrap(), times)
}

/// What came, to the second: a timer may be late by a millisecond, and must not be early.
fn take(seen: &mut Seen) -> Vec<String> {
    let mut times = Vec::new();
    while let Ok(at) = seen.try_recv() {
        let at = jiff::Timestamp::try_from(at).unwrap();
        assert!(at.subsec_millisecond() < 5, "{at}");
        times.push(jiff::Timestamp::from_second(at.as_second()).unwrap().to_string());
    }
    times
}

#[tokio::test(start_paused = true)]
async fn a_server_gets_its_messages_at_the_times_of_its_schedule_over_days() {
    let test = TestNode::new(1).await;
    let (node, clock) = settable(&test).await;
    // From noon on the day before the clocks change.
    let noon = time("2026-03-28T12:00:00Z").duration_since(clock.wall()).unwrap();
    clock.ahead.store(noon.as_secs() as i64, Ordering::Relaxed);
    let (server, mut seen) =
        clerk(&node, schedule("30 2,7 * * sun-mon", "Europe/Oslo"), Duration::ZERO).await;
    test.advance(20 * HOUR).await;
    assert_eq!(take(&mut seen), ["2026-03-29T01:00:00Z", "2026-03-29T05:30:00Z"]);
    test.advance(2 * DAY).await;
    assert_eq!(take(&mut seen), ["2026-03-30T00:30:00Z", "2026-03-30T05:30:00Z"]);
    let (server_of_all, mut all) = clerk(&node, schedule("0 * * * *", "Europe/Oslo"), Duration::ZERO).await;
    test.advance(HOUR).await;
    assert_eq!(take(&mut all), ["2026-03-31T09:00:00Z"]);
    assert_eq!(server_of_all.call(()).await, Ok(true));
    assert_eq!(server_of_all.call(()).await, Ok(false));
    test.advance(2 * HOUR).await;
    assert_eq!(take(&mut all), [""; 0]);
    server.stop(ExitReason::Normal).await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_gets_one_message_for_all_that_it_missed() {
    let node = TestNode::new(2).await;
    let (_server, mut seen) = clerk(&node, schedule("* * * * *", "UTC"), 10 * MINUTE + 30 * SECOND).await;
    node.advance(22 * MINUTE).await;
    // The second has waited since 00:02, the third since 00:12.
    assert_eq!(take(&mut seen), ["2026-01-01T00:01:00Z", "2026-01-01T00:11:30Z", "2026-01-01T00:22:00Z"]);
}

/// The clock of a test, whose wall can be set.
struct Settable {
    clock: Arc<dyn Clock>,
    ahead: AtomicI64,
}

impl Clock for Settable {
    fn mono(&self) -> Mono {
        self.clock.mono()
    }

    fn wall(&self) -> SystemTime {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let by = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 { self.clock.wall() - by } else { self.clock.wall() + by }
    }
}

/// A node beside the test's own, with such a clock.
async fn settable(test: &TestNode) -> (Node, Arc<Settable>) {
    let clock = Arc::new(Settable { clock: test.world().clock.clone(), ahead: AtomicI64::new(0) });
    let world = World { clock: clock.clone(), ..test.world().clone() };
    (Node::builder("set@test").cookie("test").world(world).start().await.unwrap(), clock)
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_forward_is_followed_soon_and_what_it_skips_comes_once() {
    let test = TestNode::new(3).await;
    let (node, clock) = settable(&test).await;
    let (_server, mut seen) = clerk(&node, schedule("0 * * * *", "UTC"), Duration::ZERO).await;
    test.advance(90 * MINUTE).await;
    assert_eq!(take(&mut seen), ["2026-01-01T01:00:00Z"]);
    // Half past one becomes half past six.
    clock.ahead.store(5 * 3600, Ordering::Relaxed);
    let set = clock.wall();
    test.advance(LOOK_AGAIN).await;
    let first = seen.try_recv().unwrap();
    assert!(first >= set && first <= set + LOOK_AGAIN, "{first:?}");
    assert_eq!(take(&mut seen), [""; 0]);
    test.advance(HOUR).await;
    assert_eq!(take(&mut seen), ["2026-01-01T07:00:00Z"]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_brings_no_time_twice() {
    let test = TestNode::new(4).await;
    let (node, clock) = settable(&test).await;
    let (_server, mut seen) = clerk(&node, schedule("*/10 * * * *", "UTC"), Duration::ZERO).await;
    test.advance(125 * MINUTE).await;
    assert_eq!(take(&mut seen).len(), 12);
    // Five past two becomes five to two.
    clock.ahead.store(-600, Ordering::Relaxed);
    test.advance(14 * MINUTE).await;
    assert_eq!(take(&mut seen), [""; 0]);
    test.advance(MINUTE).await;
    assert_eq!(take(&mut seen), ["2026-01-01T02:10:00Z"]);
}

#[tokio::test(start_paused = true)]
async fn jobs_run_beside_each_other_and_outlive_their_panics() {
    let node = TestNode::new(5).await;
    let mut probe = node.probe();
    let runs = Arc::new(AtomicU32::new(0));
    let count = runs.clone();
    let every_minute = schedule("* * * * *", "UTC");
    let jobs = vec![
        Job::run("broken", every_minute.clone(), move || {
            let run = count.fetch_add(1, Ordering::Relaxed);
            assert!(run % 2 == 1, "making the future panics");
            async move { panic!("so does running it") }
        }),
        Job::send("tell", schedule("30 * * * * *", "UTC"), probe.pid(), Atom::from_static("half")),
        Job::send("nobody", every_minute.clone(), "nobody", Atom::from_static("lost")),
    ];
    let cron = Cron::start(&node, jobs).name("cron").await.unwrap();
    for minutes in 0..4 {
        assert_eq!(probe.expect::<Atom>(MINUTE).await, "half");
        assert_eq!(runs.load(Ordering::Relaxed), minutes);
    }
    // Three and a half minutes have passed.
    let next = cron.list().await.unwrap();
    let minute = Some(time("2026-01-01T00:04:00Z"));
    let half = Some(time("2026-01-01T00:04:30Z"));
    assert_eq!(next.into_values().collect::<Vec<_>>(), [minute, minute, half]);
    assert_eq!(cron.remove("tell").await, Ok(true));
    assert_eq!(cron.remove("tell").await, Ok(false));
    probe.expect_none(5 * MINUTE).await;
    assert_eq!(runs.load(Ordering::Relaxed), 8);

    // Another of the name takes its place.
    let again = Job::send("broken", every_minute, probe.pid(), Atom::from_static("mended"));
    cron.add(again).await.unwrap();
    assert_eq!(probe.expect::<Atom>(MINUTE).await, "mended");
    assert_eq!(probe.expect::<Atom>(MINUTE).await, "mended");
    assert_eq!(runs.load(Ordering::Relaxed), 8);
    cron.stop(ExitReason::Normal).await;
    probe.expect_none(5 * MINUTE).await;
    node.assert_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_still_runs_is_not_started_again() {
    let node = TestNode::new(6).await;
    let (started, mut seen) = mpsc::unbounded_channel();
    let world = node.world().clone();
    let work = move || {
        let (started, world) = (started.clone(), world.clone());
        async move {
            started.send(world.clock.wall()).unwrap();
            world.sleep(150 * SECOND).await;
        }
    };
    let cron = Cron::start(&node, vec![Job::run("slow", schedule("* * * * *", "UTC"), work)]).await.unwrap();
    node.advance(6 * MINUTE).await;
    assert_eq!(take(&mut seen), ["2026-01-01T00:01:00Z", "2026-01-01T00:04:00Z"]);
    // What runs is given up when the server ends.
    cron.stop(ExitReason::Normal).await;
    node.settle().await;
    assert!(seen.is_closed() || seen.recv().await.is_none());
}
