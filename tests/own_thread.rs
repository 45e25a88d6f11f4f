//! Connections over loopback whose messages come one by one, until a thread of their own reads them: what is true of others is true of these.

mod common;

use std::sync::mpsc;
use std::thread::{ThreadId, current};
use std::time::Duration;

use beamline::epmd::EpmdOptions;
use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::node::Node;
use beamline::process::{self, ExitReason};
use beamline::term::Term;
use tokio::runtime::{Builder, Runtime};

const PATIENCE: Duration = Duration::from_secs(30);
const SERVER: (&str, &str) = ("server", "one@127.0.0.1");
const BLOCKER: (&str, &str) = ("blocker", "one@127.0.0.1");

/// Longer than a process may run that has such a thread.
const SLOW: Duration = Duration::from_micros(500);

/// A call that takes so long.
fn slow() -> Term {
    Term::atom("slow")
}

/// Answers a call with what it was called with, and tells what it takes, on which thread.
struct Server(mpsc::Sender<(Term, ThreadId)>);

impl GenServer for Server {
    type Args = mpsc::Sender<(Term, ThreadId)>;
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;

    async fn init(seen: Self::Args, _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self(seen))
    }

    async fn handle_call(
        &mut self,
        call: Term,
        from: ReplyTo<Term>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        if call == slow() {
            // Nobody sends.
            let _ = mpsc::channel::<()>().1.recv_timeout(SLOW);
        }
        let _ = self.0.send((call.clone(), current().id()));
        Ok(from.reply(call))
    }

    async fn handle_cast(&mut self, cast: Term, _: &mut Context<Self>) -> Result<(), ExitReason> {
        let _ = self.0.send((cast, current().id()));
        Ok(())
    }
}

/// Blocks its thread with each cast until it is let go.
struct Blocker(mpsc::Sender<ThreadId>, mpsc::Receiver<()>);

impl GenServer for Blocker {
    type Args = (mpsc::Sender<ThreadId>, mpsc::Receiver<()>);
    type Call = i64;
    type Reply = i64;
    type Cast = i64;
    type Info = Term;

    async fn init((began, goes_on): Self::Args, _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self(began, goes_on))
    }

    async fn handle_call(
        &mut self,
        call: i64,
        from: ReplyTo<i64>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(call))
    }

    async fn handle_cast(&mut self, _: i64, _: &mut Context<Self>) -> Result<(), ExitReason> {
        let _ = self.0.send(current().id());
        let _ = self.1.recv_timeout(PATIENCE);
        Ok(())
    }
}

async fn node(name: &str, epmd: &EpmdOptions) -> Node {
    let builder = Node::builder(name).cookie("c").epmd(epmd.clone()).listen("127.0.0.1", 0);
    builder.start().await.expect("the node starts")
}

/// Two nodes that are connected, and what the first one's servers tell.
struct Nodes {
    runtime: Runtime,
    /// Those that run the runtime's tasks.
    workers: Vec<ThreadId>,
    epmd: EpmdOptions,
    one: Node,
    other: Node,
    seen: mpsc::Receiver<(Term, ThreadId)>,
    began: mpsc::Receiver<ThreadId>,
    go_on: mpsc::Sender<()>,
}

impl Nodes {
    fn start(runtime: Runtime, workers: Vec<ThreadId>) -> Self {
        let ((sees, seen), (begins, began), (go_on, goes_on)) =
            (mpsc::channel(), mpsc::channel(), mpsc::channel());
        let mut epmd = EpmdOptions::default();
        epmd.port = common::free_port();
        let (one, other) = runtime.block_on(async {
            let (one, other) = (node("one@127.0.0.1", &epmd).await, node("other@127.0.0.1", &epmd).await);
            Server::start(&one, sees).name("server").await.expect("it starts");
            Blocker::start(&one, (begins, goes_on)).name("blocker").await.expect("it starts");
            other.connect("one@127.0.0.1").await.expect("they connect");
            (one, other)
        });
        Self { runtime, workers, epmd, one, other, seen, began, go_on }
    }

    fn on_two_threads() -> Self {
        let (starts, started) = mpsc::channel();
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().on_thread_start(move || {
            let _ = starts.send(current().id());
        });
        let runtime = builder.build().expect("a runtime");
        let workers = (0..2).map(|_| started.recv_timeout(PATIENCE).expect("a thread")).collect();
        Self::start(runtime, workers)
    }

    /// Returns on which thread the server took it.
    fn call(&self, with: impl Into<Term>) -> ThreadId {
        let with = with.into();
        let reply = self.runtime.block_on(async { self.other.call::<Term, _>(SERVER, with.clone()).await });
        assert_eq!(reply.as_ref(), Ok(&with));
        let (seen, thread) = self.seen.recv_timeout(PATIENCE).expect("it was called");
        assert_eq!(seen, with);
        thread
    }

    /// Calls until a thread that is none of the runtime's has run the server.
    fn call_until_it_has_its_own_thread(&self) -> ThreadId {
        for n in 0_i64..100_000 {
            let thread = self.call(n);
            if !self.workers.contains(&thread) {
                return thread;
            }
        }
        panic!("no thread of its own after so many calls")
    }
}

#[test]
fn who_blocks_that_thread_holds_up_nobody_else() {
    let nodes = Nodes::on_two_threads();
    let mut blocked = false;
    // Between two calls the thread may have given up.
    while !blocked {
        let thread = nodes.call_until_it_has_its_own_thread();
        nodes.other.cast(BLOCKER, &0).expect("it is sent");
        blocked = nodes.began.recv_timeout(PATIENCE).expect("it is cast") == thread;
        if !blocked {
            nodes.go_on.send(()).expect("it waits");
        }
    }
    for n in 0_i64..1000 {
        nodes.call(n);
    }
    nodes.go_on.send(()).expect("it waits");
    nodes.call_until_it_has_its_own_thread();
}

#[test]
fn what_is_sent_arrives_in_order_while_its_reader_changes() {
    const ROUNDS: i64 = 20;
    const CASTS: i64 = 1000;
    let nodes = Nodes::on_two_threads();
    for _ in 0..ROUNDS {
        nodes.call_until_it_has_its_own_thread();
        // At once, so that it is given up.
        for n in 0..CASTS {
            nodes.other.cast(SERVER, &n).expect("it is sent");
        }
        for n in 0..CASTS {
            let seen = nodes.seen.recv_timeout(PATIENCE).expect("a cast");
            assert_eq!(seen.0, n.into());
        }
    }
}

/// Answers a call with what a server of a third node answers.
struct Relay;

impl GenServer for Relay {
    type Args = ();
    type Call = i64;
    type Reply = i64;
    type Cast = Term;
    type Info = Term;

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        call: i64,
        from: ReplyTo<i64>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        let answer = cx.call::<i64, _>(("server", "third@127.0.0.1"), call).await;
        Ok(from.reply(answer.map_or(-1, |answer| answer + 1)))
    }
}

#[test]
fn who_is_run_there_calls_a_third_node_before_it_answers() {
    let nodes = Nodes::on_two_threads();
    let (sees, seen) = mpsc::channel();
    nodes.runtime.block_on(async {
        let third = node("third@127.0.0.1", &nodes.epmd).await;
        Server::start(&third, sees).name("server").await.expect("it starts");
        Relay::start(&nodes.one, ()).name("relay").await.expect("it starts");
        let relay = ("relay", "one@127.0.0.1");
        // Far more than give it its own thread.
        for n in 0..2000_i64 {
            assert_eq!(nodes.other.call::<i64, _>(relay, n).await, Ok(n + 1));
            assert_eq!(seen.recv_timeout(PATIENCE).expect("it was called").0, n.into());
        }
        third.stop().await;
    });
}

#[test]
fn large_messages_arrive_whole_on_a_connection_that_had_its_own_thread() {
    let nodes = Nodes::on_two_threads();
    nodes.call_until_it_has_its_own_thread();
    for len in [4000, 5000, 100_000, 3_000_000] {
        nodes.call("x".repeat(len).as_str());
    }
}

#[test]
fn a_long_message_ends_that_thread() {
    let nodes = Nodes::on_two_threads();
    nodes.call_until_it_has_its_own_thread();
    nodes.call("x".repeat(10_000).as_str());
    let thread = nodes.call(0_i64);
    assert!(nodes.workers.contains(&thread));
}

#[test]
fn a_slow_process_ends_that_thread() {
    let nodes = Nodes::on_two_threads();
    nodes.call_until_it_has_its_own_thread();
    // Fewer than give it another one.
    let ends = (0..60).any(|_| nodes.workers.contains(&nodes.call(slow())));
    assert!(ends, "it had its own thread for 60 slow calls");
}

#[test]
fn a_node_stops_whose_connection_has_its_own_thread() {
    let nodes = Nodes::on_two_threads();
    nodes.call_until_it_has_its_own_thread();
    nodes.runtime.block_on(nodes.one.stop());
    let gone = nodes.runtime.block_on(async { nodes.other.call::<Term, _>(SERVER, 1).await });
    assert!(gone.is_err(), "{gone:?}");
}

#[test]
fn a_runtime_ends_whose_node_has_such_a_connection() {
    let nodes = Nodes::on_two_threads();
    nodes.call_until_it_has_its_own_thread();
    let Nodes { runtime, .. } = nodes;
    let (end, ended) = mpsc::channel();
    std::thread::spawn(move || {
        drop(runtime);
        let _ = end.send(());
    });
    ended.recv_timeout(PATIENCE).expect("it ends");
}

#[test]
fn a_runtime_ends_whose_peers_go_on_sending() {
    let nodes = Nodes::on_two_threads();
    let of_peer = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let peer = of_peer.block_on(node("peer@127.0.0.1", &nodes.epmd));
    of_peer.block_on(peer.connect("one@127.0.0.1")).expect("they connect");
    let (end, ended) = mpsc::channel::<()>();
    let sending = std::thread::spawn(move || {
        // One by one, until it is enough.
        while ended.recv_timeout(Duration::from_millis(1)) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = peer.cast(SERVER, &0);
        }
    });
    let has_its_own_thread = |(_, thread)| !nodes.workers.contains(&thread);
    while !has_its_own_thread(nodes.seen.recv_timeout(PATIENCE).expect("a cast")) {}
    let (drops, dropped) = mpsc::channel();
    let Nodes { runtime, .. } = nodes;
    std::thread::spawn(move || {
        drop(runtime);
        let _ = drops.send(());
    });
    dropped.recv_timeout(PATIENCE).expect("it ends");
    drop(end);
    sending.join().expect("it sends");
}

#[test]
fn a_node_that_only_listens_tells_its_peer_that_it_lives() {
    // Who hears nothing for so long gives its peer up.
    const TICKTIME: Duration = Duration::from_secs(1);
    let nodes = Nodes::on_two_threads();
    let ticking = |name| {
        let builder = Node::builder(name).cookie("c").epmd(nodes.epmd.clone()).listen("127.0.0.1", 0);
        builder.net_ticktime(TICKTIME, 4).start()
    };
    let (sees, seen) = mpsc::channel();
    let (loses, lost) = mpsc::channel();
    let (_listener, caster) = nodes.runtime.block_on(async {
        let listener = ticking("listener@127.0.0.1").await.expect("it starts");
        Server::start(&listener, sees).name("server").await.expect("it starts");
        let caster = ticking("caster@127.0.0.1").await.expect("it starts");
        caster.connect("listener@127.0.0.1").await.expect("they connect");
        let watch = |mut cx: process::Context<Term>| async move {
            cx.monitor_node("listener@127.0.0.1", true);
            let _ = loses.send(cx.receive().await);
            ExitReason::Normal
        };
        caster.spawn(watch).expect("it starts");
        (listener, caster)
    });
    let mut on_its_own_thread = 0;
    // One by one, for more than twice as long.
    for n in 0_i64..2500 {
        assert_eq!(lost.recv_timeout(Duration::from_millis(1)), Err(mpsc::RecvTimeoutError::Timeout));
        caster.cast(("server", "listener@127.0.0.1"), &n).expect("it is sent");
        let (cast, thread) = seen.recv_timeout(PATIENCE).expect("a cast");
        assert_eq!(cast, n.into());
        on_its_own_thread += u32::from(!nodes.workers.contains(&thread));
    }
    assert_ne!(on_its_own_thread, 0);
}

#[test]
fn who_has_one_thread_for_all_keeps_it() {
    let nodes =
        Nodes::start(Builder::new_current_thread().enable_all().build().expect("a runtime"), Vec::new());
    for n in 0_i64..1000 {
        assert_eq!(nodes.call(n), current().id());
    }
}
