//! Does memory stay bounded where a node takes nothing, or a process takes messages more slowly than they are sent?

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::node::Node;
use beamline::process::{CallError, ExitReason, Mailbox};
use beamline::term::{Atom, Term};
use beamline_benches::echo::{node, run_in_process, runtime};
use beamline_benches::peer::Peer;
use beamline_benches::{Table, in_process, quick, resident_bytes, resident_bytes_max, role};
use bytes::Bytes;
use tokio::runtime::Runtime;

/// What is sent is so many times a connection's busy limit, which is 1 MiB.
const MESSAGES: u64 = 1024;
const MESSAGE_LEN: usize = 1 << 16;
/// How many of them the mailbox with a bound takes.
const BOUND: usize = 16;
/// A sender that has sent nothing for so long is suspended.
const SUSPENDED_AFTER: Duration = Duration::from_millis(200);

/// Takes its time with each cast.
struct Slow;

impl GenServer for Slow {
    type Args = ();
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        call: Term,
        from: ReplyTo<Term>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(call))
    }

    async fn handle_cast(&mut self, _: Term, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let world = cx.world().clone();
        world.sleep(Duration::from_millis(1)).await;
        Ok(())
    }
}

/// The process of the peer that has that name.
fn process(name: &'static str) -> (Atom, Atom) {
    (Atom::from_static(name), Peer::server(0).1)
}

fn main() {
    if let Some((role, argument)) = role()
        && role == "sender"
    {
        let (epmd_port, peer) = argument.split_once(':').expect("a port and a process");
        println!("{}", growth_while_stopped(epmd_port.parse().expect("a port"), peer));
        return;
    }
    let start = || {
        Peer::start_with(|runtime, node, _| {
            runtime.block_on(async {
                Slow::start(node, ()).name("slow").await.expect("it starts");
                let bounded = Slow::start(node, ()).mailbox(Mailbox::bounded(BOUND));
                bounded.name("bounded").await.expect("it starts");
            });
        })
    };
    // The child that is the peer does not return from here.
    drop(start());
    let sent = || MESSAGES as f64 * MESSAGE_LEN as f64;
    let mut table = Table::new(
        "By how much resident memory grows, at most, while 64 KiB binaries are cast to a receiver that falls behind",
        "bytes",
        "all that is sent",
    );
    if quick() {
        table.rounds_max(3);
    }
    let stopped = || {
        let peer = start();
        in_process("sender", &format!("{}:{}", peer.epmd_port, peer.id()))
    };
    table.sample("sender, its peer is stopped, bytes", stopped, sent);
    let slow = |name| move || growth_of_receiver(&start(), process(name));
    table.sample("peer, its process is slow, bytes", slow("slow"), sent);
    table.sample("peer, its process is slow and bounded, bytes", slow("bounded"), sent);
    table.print();
}

async fn send(cx: &beamline::process::Context<Term>, to: (Atom, Atom), sent: &AtomicU64) {
    for _ in 0..MESSAGES {
        // Each has memory of its own.
        let binary = Term::from(Bytes::from(vec![7; MESSAGE_LEN]));
        cx.cast(to.clone(), &binary).expect("it has an external form");
        sent.fetch_add(1, Ordering::Relaxed);
        cx.yield_now().await;
    }
    // A mailbox that is full takes no call either.
    let reply = loop {
        match cx.call::<Term, _>(to.clone(), 42).timeout(SUSPENDED_AFTER).await {
            Err(CallError::Timeout(_)) => {}
            reply => break reply,
        }
    };
    assert!(reply.is_ok(), "{reply:?}");
}

/// The sender's, while the operating system does not run the peer.
fn growth_while_stopped(epmd_port: u16, peer: &str) -> f64 {
    let runtime = runtime();
    let node = node(&runtime, "bench@127.0.0.1", epmd_port);
    warm_up(&runtime, &node);
    let before = resident_bytes("self");
    signal("-STOP", peer);
    let sent = Arc::new(AtomicU64::new(0));
    let watched = sent.clone();
    let peer = peer.to_owned();
    let watcher = std::thread::spawn(move || {
        let mut last = u64::MAX;
        while last != watched.load(Ordering::Relaxed) {
            last = watched.load(Ordering::Relaxed);
            std::thread::sleep(SUSPENDED_AFTER);
        }
        signal("-CONT", &peer);
        last
    });
    run_in_process(&runtime, &node, |cx| async move { send(&cx, Peer::server(0), &sent).await });
    let suspended_at = watcher.join().expect("it does not panic");
    assert!(suspended_at < MESSAGES, "the sender was never suspended");
    let growth = resident_bytes_max("self") - before;
    runtime.block_on(node.stop());
    growth
}

/// The peer's, while its process works on each message for a millisecond.
fn growth_of_receiver(peer: &Peer, to: (Atom, Atom)) -> f64 {
    let runtime = runtime();
    let node = node(&runtime, "bench@127.0.0.1", peer.epmd_port);
    warm_up(&runtime, &node);
    let pid = peer.id().to_string();
    let before = resident_bytes(&pid);
    let sent = AtomicU64::new(0);
    run_in_process(&runtime, &node, |cx| async move { send(&cx, to, &sent).await });
    let growth = resident_bytes_max(&pid) - before;
    runtime.block_on(node.stop());
    growth
}

fn warm_up(runtime: &Runtime, node: &Node) {
    run_in_process(runtime, node, |cx| async move {
        let reply = cx.call::<Term, _>(Peer::server(0), 42).await;
        assert!(reply.is_ok(), "{reply:?}");
    });
}

fn signal(signal: &str, process: &str) {
    assert!(Command::new("kill").args([signal, process]).status().is_ok_and(|status| status.success()));
}
