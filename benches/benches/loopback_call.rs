//! What does a call between two nodes, each an operating-system process, cost over loopback beside bare TCP? And if nodes look for
//! what comes instead of being woken for it, beside sockets whose both ends do? And what does it cost where the system cannot choose on
//! which core it wakes each end?

use std::sync::mpsc;
use std::time::Duration;

use beamline::node::Node;
use beamline::process::Destination;
use beamline::term::{Atom, Term};
use beamline_benches::bare_calls::BareCalls;
use beamline_benches::echo::{node, run_in_process, runtime};
use beamline_benches::peer::{Peer, Tcp, start_servers, time_settled_tcp, time_spinning_tcp};
use beamline_benches::{Table, again_on_one_core, on_one_core, time_async, wire};
use bytes::Bytes;
use tokio::runtime::Runtime;

const BUSY_PEER: &str = "busy_peer@127.0.0.1";
/// Where the system chooses the cores, so many calls come before each sample, by the same task, and do not count: two threads that have just begun
/// to talk share a core for some 50 ms, where a call takes less, before each is woken on one of its own. How long they do depends on what ran before.
const SETTLING: u32 = 5_000;

fn main() {
    let peer = Peer::start_with(|runtime, _, epmd_port| {
        // It lives as long as the program.
        let busy = busy_node(runtime, BUSY_PEER, epmd_port);
        start_servers(runtime, &busy, 1);
        std::mem::forget(busy);
    });
    let one_core = on_one_core();
    let place = if one_core { ", one core" } else { "" };
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
    let call = |node: &Node, to: &Destination, term: &Term, settling: u32, times: u32| {
        let (to, term) = (to.clone(), term.clone());
        let (tell, took) = mpsc::channel();
        run_in_process(&runtime, node, move |cx| async move {
            let call = async |times| {
                for _ in 0..times {
                    let reply = cx.call::<Term, _>(to.clone(), term.clone()).await;
                    assert!(reply.is_ok(), "{reply:?}");
                }
            };
            call(settling).await;
            let _ = tell.send(time_async(call(times)).await);
        });
        took.recv().expect("it has told")
    };
    let tcp = |(request_len, reply_len), settling| {
        let tcp = runtime.block_on(Tcp::connect(peer.tcp_port(), request_len, reply_len));
        let runtime = &runtime;
        move |times| time_settled_tcp(runtime, &tcp, settling, times)
    };
    let by_pid = |node: &Node, peer: &'static str| {
        Destination::from(Peer::pids(&runtime, node, &Atom::from_static(peer))[0].clone())
    };
    let server = by_pid(&node, "peer@127.0.0.1");
    let bare_calls = BareCalls::connect(&runtime, peer.bare_calls_port);
    for (name, term, times) in terms {
        if one_core && name == "1 MiB" {
            continue;
        }
        let settling = if one_core || name == "1 MiB" { 0 } else { SETTLING };
        let subject = |times| call(&node, &server, &term, settling, times);
        let floor = tcp(wire::call_len(&term), settling);
        table.measure(format!("remote call, {name}{place}"), times, subject, floor);
    }
    let settling = if one_core { 0 } else { SETTLING };
    let (name, term) = (Peer::server(0).into(), Term::from(42));
    // A row of its own, not what a bar is held against: with a better codec than ours it would take less.
    let bare = |times| bare_calls.time(&runtime, &term, settling, times);
    let floor = tcp(wire::call_len(&term), settling);
    table.measure(format!("remote call of a bare program{place}"), 5_000, bare, floor);
    let subject = |times| call(&node, &name, &term, settling, times);
    let floor = tcp(wire::call_to_name_len(&term), settling);
    table.measure(format!("remote call to a name{place}"), 5_000, subject, floor);
    if one_core {
        table.print();
        return runtime.block_on(node.stop());
    }
    let busy = busy_node(&runtime, "busy_bench@127.0.0.1", peer.epmd_port);
    let server = by_pid(&busy, BUSY_PEER);
    let (request_len, reply_len) = wire::call_len(&term);
    let subject = |times| call(&busy, &server, &term, 0, times);
    let floor = |times| time_spinning_tcp(peer.spinning_port, request_len, reply_len, times);
    table.measure("remote call, busy polling", 20_000, subject, floor);
    table.print();
    runtime.block_on(busy.stop());
    runtime.block_on(node.stop());
    drop(peer);
    again_on_one_core();
}

fn busy_node(runtime: &Runtime, name: &str, epmd_port: u16) -> Node {
    let builder = Node::builder(name).cookie("bench").epmd_port(epmd_port);
    let started = runtime.block_on(builder.busy_poll(Duration::from_micros(100)).start());
    started.unwrap_or_else(|error| panic!("{name}: {error}"))
}
