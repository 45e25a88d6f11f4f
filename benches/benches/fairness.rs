//! Does a process that sends 100 MB binaries make others wait that call over the same connection?

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use beamline::node::Node;
use beamline::term::Term;
use beamline_benches::echo::{node, run_in_process, runtime};
use beamline_benches::peer::{Peer, Tcp};
use beamline_benches::{Table, quick, wire};
use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

const BINARY_LEN: usize = 100_000_000;
/// Of fewer calls a percentile says nothing; more are made while a sample has time.
const CALLS_MIN: usize = 20;
const SAMPLE_MAX: Duration = Duration::from_secs(1);

fn main() {
    let peer = Peer::start();
    let runtime = runtime();
    let node = node(&runtime, "bench@127.0.0.1", peer.epmd_port);
    let calls = if quick() { 500 } else { 5_000 };
    let binary = Term::from(Bytes::from(vec![7; BINARY_LEN]));

    let loaded = || {
        let stop = Arc::new(AtomicBool::new(false));
        let here = runtime.enter();
        let (sent, ended) = sender(&node, binary.clone(), stop.clone());
        drop(here);
        runtime.block_on(sent).expect("it sends");
        let nanoseconds = percentile_99(&runtime, &node, calls);
        stop.store(true, Ordering::Relaxed);
        runtime.block_on(ended).expect("all of it arrives");
        nanoseconds
    };
    // Not counted: the first large messages of a connection find no memory that was used before.
    loaded();
    let mut table = Table::new(
        "The 99th percentile of a small call, while another process sends 100 MB binaries over the same connection",
        "ns",
        "the same while nothing else is sent",
    );
    let bare = || Some(bare_percentile_99(&runtime, peer.tcp_port(), calls));
    table.sample_beside(
        "99th percentile beside 100 MB",
        loaded,
        || percentile_99(&runtime, &node, calls),
        bare,
    );
    table.print();
    runtime.block_on(node.stop());
}

/// A process that sends without end. Says when the first is sent, and when the peer has taken the last one.
fn sender(
    node: &Node,
    binary: Term,
    stop: Arc<AtomicBool>,
) -> (oneshot::Receiver<()>, oneshot::Receiver<()>) {
    let ((begun, sent), (end, ended)) = (oneshot::channel(), oneshot::channel());
    let spawned = node.spawn(|cx| async move {
        let mut begun = Some(begun);
        while !stop.load(Ordering::Relaxed) {
            cx.cast(Peer::server(1), &binary).expect("it has an external form");
            begun.take().map(|begun| begun.send(()));
            // It is suspended here while the connection is busy.
            cx.yield_now().await;
        }
        let reply = cx.call::<Term, _>(Peer::server(1), 42).infinity().await;
        assert!(reply.is_ok(), "{reply:?}");
        let _ = end.send(());
        beamline::process::ExitReason::Normal
    });
    spawned.expect("room for a process");
    (sent, ended)
}

fn percentile_99(runtime: &Runtime, node: &Node, calls: usize) -> f64 {
    let (give, take) = oneshot::channel();
    run_in_process(runtime, node, move |cx| async move {
        let mut took = Vec::with_capacity(calls);
        let begun = Instant::now();
        let server = Peer::server(0);
        while took.len() < calls && (took.len() < CALLS_MIN || begun.elapsed() < SAMPLE_MAX) {
            let start = Instant::now();
            let reply = cx.call::<Term, _>(server.clone(), 42).infinity().await;
            assert!(reply.is_ok(), "{reply:?}");
            took.push(start.elapsed());
        }
        let _ = give.send(took);
    });
    of_99(runtime.block_on(take).expect("it ends"))
}

fn of_99(mut took: Vec<Duration>) -> f64 {
    took.sort();
    took[took.len() * 99 / 100].as_nanos() as f64
}

/// Round trips of as many bytes on a bare socket of their own, while another one carries 100 MB at a time to the same peer: what the
/// system alone makes them wait.
fn bare_percentile_99(runtime: &Runtime, port: u16, calls: usize) -> f64 {
    let (request_len, reply_len) = wire::call_to_name_len(&42.into());
    let large = runtime.block_on(Tcp::connect(port, BINARY_LEN, 1));
    let small = runtime.block_on(Tcp::connect(port, request_len, reply_len));
    let stop = Arc::new(AtomicBool::new(false));
    let sender = runtime.spawn({
        let stop = stop.clone();
        async move {
            while !stop.load(Ordering::Relaxed) {
                large.clone().round_trips(1, 1 << 20).await;
            }
        }
    });
    let took = runtime.block_on(runtime.spawn(async move {
        let mut took = Vec::with_capacity(calls);
        for _ in 0..calls {
            let start = Instant::now();
            small.clone().round_trips(1, usize::MAX).await;
            took.push(start.elapsed());
        }
        took
    }));
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(sender).expect("all of it arrives");
    of_99(took.expect("it ends"))
}
