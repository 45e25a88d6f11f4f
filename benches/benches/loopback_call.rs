//! What does a call between two nodes, each an operating-system process, cost over loopback beside bare TCP? And if nodes look for
//! what comes instead of being woken for it, beside sockets whose both ends do?

use std::time::Duration;

use beamline::gen_server::GenServer;
use beamline::node::Node;
use beamline::term::{Atom, Term};
use beamline_benches::echo::{Echo, node, run_in_process, runtime};
use beamline_benches::peer::{Peer, Tcp, time_spinning_tcp, time_tcp};
use beamline_benches::{Table, wire};
use bytes::Bytes;
use tokio::runtime::Runtime;

fn main() {
    let peer = Peer::start_with(|runtime, _, epmd_port| {
        // It lives as long as the program.
        let busy = busy_node(runtime, "busy_peer@127.0.0.1", epmd_port);
        let echo = runtime.block_on(async { Echo::<Term>::start(&busy, ()).name("echo_0").await });
        echo.expect("it starts");
        std::mem::forget(busy);
    });
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
                let server = Peer::server(0);
                for _ in 0..times {
                    let reply = cx.call::<Term, _>(server.clone(), term.clone()).await;
                    assert!(reply.is_ok(), "{reply:?}");
                }
            })
        };
        let floor = |times| time_tcp(&runtime, std::slice::from_ref(&tcp), times, usize::MAX);
        table.measure(format!("remote call, {name}"), times, subject, floor);
    }
    let busy = busy_node(&runtime, "busy_bench@127.0.0.1", peer.epmd_port);
    let server = (Peer::server(0).0, Atom::from_static("busy_peer@127.0.0.1"));
    let (request_len, reply_len) = wire::call_len(&42.into());
    let subject = |times| {
        let server = server.clone();
        run_in_process(&runtime, &busy, move |cx| async move {
            for _ in 0..times {
                let reply = cx.call::<Term, _>(server.clone(), 42).await;
                assert!(reply.is_ok(), "{reply:?}");
            }
        })
    };
    let floor = |times| time_spinning_tcp(peer.spinning_port, request_len, reply_len, times);
    table.measure("remote call, busy polling", 20_000, subject, floor);
    table.print();
    runtime.block_on(busy.stop());
    runtime.block_on(node.stop());
}

fn busy_node(runtime: &Runtime, name: &str, epmd_port: u16) -> Node {
    let builder = Node::builder(name).cookie("bench").epmd_port(epmd_port);
    let started = runtime.block_on(builder.busy_poll(Duration::from_micros(100)).start());
    started.unwrap_or_else(|error| panic!("{name}: {error}"))
}
