//! What does a call between two nodes, each an operating-system process, cost over loopback beside bare TCP?

use beamline::term::Term;
use beamline_benches::echo::{node, run_in_process, runtime};
use beamline_benches::peer::{Peer, Tcp, time_tcp};
use beamline_benches::{Table, wire};
use bytes::Bytes;

fn main() {
    let peer = Peer::start();
    let runtime = runtime();
    let node = node(&runtime, "bench@127.0.0.1", peer.epmd_port);

    let mut table = Table::new(
        "A call to a gen_server of another node over loopback, with its deadline armed",
        "ns",
        "bare TCP of as many bytes",
    );
    let terms: [(&str, Term, u32); 4] = [
        ("integer", 42.into(), 5_000),
        ("string", "twelve bytes".into(), 5_000),
        ("tuple with a pid", Term::tuple([wire::client().into()]), 5_000),
        ("1 MiB", Bytes::from(vec![7; 1 << 20]).into(), 200),
    ];
    for (name, term, times) in terms {
        let (request_len, reply_len) = wire::call_len(&term);
        let tcp = runtime.block_on(Tcp::connect(peer.tcp_port(), request_len, reply_len));
        let subject = |times| {
            let term = term.clone();
            run_in_process(&runtime, &node, move |cx| async move {
                for _ in 0..times {
                    let reply = cx.call::<Term, _>(Peer::server(0), term.clone()).await;
                    assert!(reply.is_ok(), "{reply:?}");
                }
            })
        };
        let floor = |times| time_tcp(&runtime, std::slice::from_ref(&tcp), times, usize::MAX);
        table.measure(format!("remote call, {name}"), times, subject, floor);
    }
    table.print();
    runtime.block_on(node.stop());
}
