//! How signals of one program's nodes share a connection: writes, turns, and readers that look again before they wait.

mod common;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll, Waker, ready};
use std::time::{Duration, SystemTime};

use beamline::epmd::EpmdOptions;
use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::node::{Builder, Node};
use beamline::process::ExitReason;
use beamline::term::{Atom, Term};
use beamline::world::{BoxFuture, BoxWrite, Clock, Conn, Listener, Mono, Network, World};
use bytes::Bytes;
use tokio::io::AsyncWrite;

fn builder(name: &str, epmd: &EpmdOptions) -> Builder {
    Node::builder(name).cookie("c").epmd(epmd.clone()).listen("127.0.0.1", 0)
}

fn epmd() -> EpmdOptions {
    let mut options = EpmdOptions::default();
    options.port = common::free_port();
    options
}

/// Counts its casts, and answers a call with their number; `stop` as the call ends it after the answer.
#[derive(Default)]
struct Count(i64);

impl GenServer for Count {
    type Args = ();
    type Call = Term;
    type Reply = i64;
    type Cast = Term;
    type Info = Term;

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self::default())
    }

    async fn handle_call(
        &mut self,
        call: Term,
        from: ReplyTo<i64>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        let reply = from.reply(self.0);
        if call.is_atom("stop") { Err(ExitReason::Shutdown) } else { Ok(reply) }
    }

    async fn handle_cast(&mut self, _: Term, _: &mut Context<Self>) -> Result<(), ExitReason> {
        self.0 += 1;
        Ok(())
    }
}

/// What a test knows of the connections that were made with a network, and does to them.
#[derive(Default)]
struct Wire {
    writes: AtomicUsize,
    /// As a peer that does not read: nothing can be written.
    stalled: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Wire {
    fn go_on(&self) {
        self.stalled.store(false, Ordering::Release);
        self.waiting.lock().unwrap().drain(..).for_each(Waker::wake);
    }

    fn poll_ready(&self, cx: &TaskContext<'_>) -> Poll<()> {
        // Under the lock, so that who waits is not overlooked.
        let mut waiting = self.waiting.lock().unwrap();
        if self.stalled.load(Ordering::Acquire) {
            waiting.push(cx.waker().clone());
            return Poll::Pending;
        }
        self.writes.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(())
    }
}

/// The real network behind a wire.
struct Wired {
    net: Arc<dyn Network>,
    wire: Arc<Wire>,
}

impl Wired {
    fn world(wire: &Arc<Wire>) -> World {
        let real = World::tokio();
        World { net: Arc::new(Self { net: real.net.clone(), wire: wire.clone() }), ..real }
    }
}

impl Network for Wired {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Conn>> {
        Box::pin(async move {
            let mut conn = self.net.connect(host, port).await?;
            conn.write = Box::new(WiredWrite { inner: conn.write, wire: self.wire.clone() });
            Ok(conn)
        })
    }

    fn listen<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        self.net.listen(host, port)
    }
}

struct WiredWrite {
    inner: BoxWrite,
    wire: Arc<Wire>,
}

impl AsyncWrite for WiredWrite {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.wire.poll_ready(cx));
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.wire.poll_ready(cx));
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn signals_that_follow_one_another_share_writes_and_a_lone_one_has_its_own() {
    const CASTS: i64 = 10_000;
    let epmd = epmd();
    let wire = Arc::new(Wire::default());
    let writes = || wire.writes.load(Ordering::Relaxed);
    let one = builder("one@127.0.0.1", &epmd).start().await.expect("the node starts");
    let other =
        builder("other@127.0.0.1", &epmd).world(Wired::world(&wire)).start().await.expect("the node starts");
    Count::start(&one, ()).name("count").await.expect("it starts");
    let counted = || other.call::<i64, _>(("count", "one@127.0.0.1"), Term::from(0));
    assert_eq!(counted().await, Ok(0));

    let before = writes();
    for _ in 0..20 {
        assert_eq!(counted().await, Ok(0));
    }
    let calls = writes() - before;
    assert!(calls <= 21, "{calls} writes for 20 calls");

    let before = writes();
    let (done, casts) = tokio::sync::oneshot::channel();
    let caster = other.spawn(|cx| async move {
        for n in 0..CASTS {
            cx.cast(("count", "one@127.0.0.1"), &n).expect("it is sent");
            if n % 100 == 0 {
                cx.yield_now().await;
            }
        }
        let counted = cx.call::<i64, _>(("count", "one@127.0.0.1"), Term::from(0)).await;
        let _ = done.send(counted);
        ExitReason::Normal
    });
    caster.expect("there is room");
    assert_eq!(casts.await.expect("it casts"), Ok(CASTS));
    let casts = writes() - before;
    // Fewer than the socket's buffer alone would bring about.
    assert!(casts <= CASTS as usize / 100, "{casts} writes for {CASTS} casts");
}

/// A clock that goes when it is told to.
struct Stepped {
    micros: AtomicU64,
    real: Arc<dyn Clock>,
}

impl Clock for Stepped {
    fn mono(&self) -> Mono {
        Mono::default() + Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }

    fn wall(&self) -> SystemTime {
        self.real.wall()
    }
}

#[tokio::test]
async fn casts_of_one_process_share_writes_also_where_they_go_to_several_nodes_in_turn() {
    const NODES: usize = 5;
    const ROUNDS: i64 = 4;
    const CASTS: i64 = 10;
    let epmd = epmd();
    let wire = Arc::new(Wire::default());
    let mut counts = Vec::new();
    let mut nodes = Vec::new();
    for n in 0..NODES {
        let node = builder(&format!("node_{n}@127.0.0.1"), &epmd).start().await.expect("the node starts");
        let count = Count::start(&node, ()).name("count").await.expect("it starts");
        counts.push(((Atom::from_static("count"), node.name().clone()), count));
        nodes.push(node);
    }
    let world = Wired::world(&wire);
    let clock = Arc::new(Stepped { micros: AtomicU64::new(1_000_000), real: world.clock.clone() });
    let world = World { clock: clock.clone(), ..world };
    let other = builder("other@127.0.0.1", &epmd).world(world).start().await.expect("the node starts");
    let (tell, told) = tokio::sync::oneshot::channel();
    let written = wire.clone();
    let caster = other.spawn(move |cx| async move {
        for (count, _) in &counts {
            assert_eq!(cx.call::<i64, _>(count.clone(), Term::from(0)).await, Ok(0));
        }
        let before = written.writes.load(Ordering::Relaxed);
        for round in 1..=ROUNDS {
            for (count, there) in &counts {
                for _ in 0..CASTS {
                    cx.cast(count.clone(), &0).expect("it is sent");
                }
                while there.call(Term::from(0)).await != Ok(CASTS * round) {
                    cx.yield_now().await;
                }
                // A node's turn comes back after longer than a burst may take, and the process's own after less.
                clock.micros.fetch_add(300, Ordering::Relaxed);
            }
        }
        let _ = tell.send(written.writes.load(Ordering::Relaxed) - before);
        ExitReason::Normal
    });
    caster.expect("there is room");
    let writes = told.await.expect("it casts");
    let bursts = NODES * ROUNDS as usize;
    // The first to each node may be the answer to what came from there: it has a write of its own.
    assert!(writes <= bursts + NODES, "{writes} writes for {bursts} times {CASTS} casts");
}

#[tokio::test]
async fn answers_to_many_who_ask_at_once_share_writes_but_not_all_of_them_one() {
    const ASKED: u32 = 300;
    let epmd = epmd();
    let wire = Arc::new(Wire::default());
    let one = builder("one@127.0.0.1", &epmd).start().await.expect("the node starts");
    let other =
        builder("other@127.0.0.1", &epmd).world(Wired::world(&wire)).start().await.expect("the node starts");
    Count::start(&other, ()).name("count").await.expect("it starts");
    // This end is the one whose writes are counted.
    assert!(other.ping("one@127.0.0.1").await);
    let before = wire.writes.load(Ordering::Relaxed);
    let (tell, told) = tokio::sync::oneshot::channel();
    let caller = one.spawn(|mut cx| async move {
        for n in 0..ASKED {
            let from = Term::tuple([cx.pid().clone().into(), Term::from(n)]);
            let call = Term::tuple([Term::atom("$gen_call"), from, Term::from(0)]);
            cx.send(("count", "other@127.0.0.1"), call).expect("it is sent");
        }
        for n in 0..ASKED {
            let answer: Term = cx.receive().await;
            assert_eq!(answer, Term::tuple([Term::from(n), Term::from(0)]));
        }
        let _ = tell.send(());
        ExitReason::Normal
    });
    caller.expect("there is room");
    told.await.expect("all are answered");
    let writes = wire.writes.load(Ordering::Relaxed) - before;
    // So that who asked has something to do before the last answer is there.
    assert!((5..=20).contains(&writes), "{writes} writes for {ASKED} answers");
}

#[tokio::test]
async fn a_process_is_suspended_for_what_its_own_signals_wait_for_and_for_no_more() {
    const LARGE: i64 = 10;
    const SMALL: i64 = 100;
    let epmd = epmd();
    let wire = Arc::new(Wire::default());
    let one = builder("one@127.0.0.1", &epmd).start().await.expect("the node starts");
    let other =
        builder("other@127.0.0.1", &epmd).world(Wired::world(&wire)).start().await.expect("the node starts");
    for name in ["large", "small"] {
        Count::start(&one, ()).name(name).await.expect("it starts");
    }
    assert!(other.ping("one@127.0.0.1").await);
    wire.stalled.store(true, Ordering::Release);
    let sent = [Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0))];
    let send = |name: &'static str, len: usize, times: i64, sent: &Arc<AtomicI64>| {
        let sent = sent.clone();
        let sender = other.spawn(move |cx| async move {
            let message = Term::from(Bytes::from(vec![7; len]));
            for _ in 0..times {
                cx.cast((name, "one@127.0.0.1"), &message).expect("it is sent");
                sent.fetch_add(1, Ordering::Relaxed);
                cx.yield_now().await;
            }
            ExitReason::Normal
        });
        sender.expect("there is room");
    };
    // Twice the busy limit each.
    send("large", 2 << 20, LARGE, &sent[0]);
    let sent_by = |n: usize| sent[n].load(Ordering::Relaxed);
    while sent_by(0) == 0 {
        tokio::task::yield_now().await;
    }
    send("small", 10, SMALL, &sent[1]);
    while sent_by(1) < SMALL {
        tokio::task::yield_now().await;
    }
    assert_eq!(sent_by(0), 1, "suspended after the first, while the other process sent all of its own");

    wire.go_on();
    let counted = async |name| other.call::<i64, _>((name, "one@127.0.0.1"), Term::from(0)).await;
    // Of other senders than these calls, so they may come later.
    while counted("large").await != Ok(LARGE) || counted("small").await != Ok(SMALL) {}
}

#[tokio::test]
async fn a_server_that_ends_after_its_reply_leaves_the_caller_no_down() {
    let epmd = epmd();
    let one = builder("one@127.0.0.1", &epmd).start().await.expect("the node starts");
    let other = builder("other@127.0.0.1", &epmd).start().await.expect("the node starts");
    let (tell, told) = tokio::sync::oneshot::channel();
    Count::start(&one, ()).name("count").await.expect("it starts");
    let caller = other.spawn(|mut cx| async move {
        let count = ("count", "one@127.0.0.1");
        let reply = cx.call::<i64, _>(count, Term::atom("stop")).await;
        // Until the end of the server has arrived here, too.
        while cx.call::<i64, _>(count, Term::from(0)).await.is_ok() {}
        cx.send(cx.pid(), Term::atom("last")).expect("it is alive");
        let _ = tell.send((reply, cx.receive().await));
        ExitReason::Normal
    });
    caller.expect("there is room");
    let (reply, first) = told.await.expect("it tells");
    assert_eq!(reply, Ok(0));
    assert_eq!(first, Term::atom("last"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_polling_carries_small_and_large_messages_and_outlives_idle_times() {
    let epmd = epmd();
    let within = Duration::from_millis(5);
    let start = |name| builder(name, &epmd).busy_poll(within).start();
    let one = start("one@127.0.0.1").await.expect("the node starts");
    let other = start("other@127.0.0.1").await.expect("the node starts");
    Count::start(&one, ()).name("count").await.expect("it starts");
    let count = ("count", "one@127.0.0.1");
    let large = Term::from(Bytes::from(vec![7; 5 << 20]));
    for round in 1..=3 {
        for _ in 0..100 {
            assert_eq!(other.call::<i64, _>(count, Term::from(0)).await, Ok(round - 1));
        }
        other.cast(count, &large).expect("it is sent");
        // Of another sender than the cast, so it may overtake it.
        while other.call::<i64, _>(count, Term::from(0)).await != Ok(round) {}
        // Now the readers wait to be told.
        other.world().sleep(within * 4).await;
    }
    one.stop().await;
    // The other end of the connection was closed, and that is seen.
    while !other.nodes().is_empty() {
        other.world().sleep(within).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_calls_are_answered_while_another_process_sends_large_messages() {
    let epmd = epmd();
    let one = builder("one@127.0.0.1", &epmd).start().await.expect("the node starts");
    let other = builder("other@127.0.0.1", &epmd).start().await.expect("the node starts");
    Count::start(&one, ()).name("bulk").await.expect("it starts");
    Count::start(&one, ()).name("count").await.expect("it starts");
    let (begin, begun) = tokio::sync::oneshot::channel();
    let (done, bulk) = tokio::sync::oneshot::channel();
    let sender = other.spawn(|cx| async move {
        let large = Term::from(Bytes::from(vec![7; 100 << 20]));
        // The connection is made for it.
        cx.cast(("bulk", "one@127.0.0.1"), &large).expect("it is sent");
        let _ = begin.send(());
        for _ in 1..3 {
            cx.yield_now().await;
            cx.cast(("bulk", "one@127.0.0.1"), &large).expect("it is sent");
        }
        let counted = cx.call::<i64, _>(("bulk", "one@127.0.0.1"), Term::from(0)).infinity().await;
        let _ = done.send(counted);
        ExitReason::Normal
    });
    sender.expect("there is room");
    begun.await.expect("it sends");
    let mut bulk = std::pin::pin!(bulk);
    let mut calls = 0;
    let counted = loop {
        tokio::select! {
            biased;
            counted = bulk.as_mut() => break counted,
            reply = other.call::<i64, _>(("count", "one@127.0.0.1"), Term::from(0)) => {
                assert_eq!(reply, Ok(0));
                calls += 1;
            }
        }
    };
    assert_eq!(counted.expect("it sends"), Ok(3));
    assert!(calls >= 10, "only {calls} calls beside 300 MB");
}
