//! How fast do casts reach a server of another node, small ones and 1 MiB each?

use beamline::term::Term;
use beamline_benches::echo::{node, run_in_process, runtime};
use beamline_benches::peer::{Peer, Tcp, time_tcp};
use beamline_benches::{Table, wire};
use bytes::Bytes;

/// A process yields so often, and is suspended while the connection has too much queued.
const SMALL_BUDGET: u32 = 100;

fn main() {
    let peer = Peer::start();
    let runtime = runtime();
    let node = node(&runtime, "bench@127.0.0.1", peer.epmd_port);

    let mut table = Table::new(
        "A cast to another node over loopback, until the server has taken it: the sender ends with a call",
        "ns",
        "bare TCP of as many bytes, many a write",
    );
    let big = Term::from(Bytes::from(vec![7; 1 << 20]));
    for (name, term, budget, times) in
        [("small", Term::from(42), SMALL_BUDGET, 200_000), ("1 MiB", big, 1, 500)]
    {
        let subject = |times| {
            let term = term.clone();
            run_in_process(&runtime, &node, move |cx| async move {
                let server = Peer::server(0);
                for n in 0..times {
                    cx.cast(server.clone(), &term).expect("it has an external form");
                    if n % budget == 0 {
                        cx.yield_now().await;
                    }
                }
                let reply = cx.call::<Term, _>(server, 42).infinity().await;
                assert!(reply.is_ok(), "{reply:?}");
            })
        };
        let floor = |times: u32| {
            let len = wire::cast_len(&term) * times as usize;
            let tcp = runtime.block_on(Tcp::connect(peer.tcp_port(), len, 1));
            time_tcp(&runtime, &[tcp], 1, if budget == 1 { 1 << 20 } else { 1 << 16 })
        };
        table.measure(format!("remote one-way, {name}"), times, subject, floor);
    }
    table.print();
    runtime.block_on(node.stop());
}
