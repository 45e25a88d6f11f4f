//! How do 120 processes, each calling a server of its own on another node, share their connection?

use beamline::process::{Context, Destination};
use beamline::term::Term;
use beamline_benches::echo::{node, run_in_processes, runtime};
use beamline_benches::peer::{Peer, SERVERS, Tcp, time_tcp};
use beamline_benches::{Table, wire};

fn main() {
    let peer = Peer::start();
    let runtime = runtime();
    let node = node(&runtime, "bench@127.0.0.1", peer.epmd_port);
    let mut table = Table::new(
        "A call of 120 remote pairs that call at the same time: the time that passes by the calls of all",
        "ns",
        "120 bare TCP connections",
    );
    let by_pid = Peer::pids(&runtime, &node, &Peer::server(0).1).into_iter().map(Destination::from);
    let by_name = (0..SERVERS).map(|n| Destination::from(Peer::server(n)));
    let rows: [(_, Vec<Destination>, _); 2] = [
        ("120 remote pairs", by_pid.collect(), wire::call_len(&42.into())),
        ("120 remote pairs, by name", by_name.collect(), wire::call_to_name_len(&42.into())),
    ];
    for (row, servers, (request_len, reply_len)) in rows {
        let connections: Vec<Tcp> = (0..SERVERS)
            .map(|_| runtime.block_on(Tcp::connect(peer.tcp_port(), request_len, reply_len)))
            .collect();
        let subject = |calls: u32| {
            let caller = |server: Destination| {
                move |cx: Context<Term>| async move {
                    for _ in 0..calls / SERVERS {
                        let reply = cx.call::<Term, _>(server.clone(), 42).await;
                        assert!(reply.is_ok(), "{reply:?}");
                    }
                }
            };
            run_in_processes(&runtime, &node, servers.iter().cloned().map(caller))
        };
        let floor = |calls: u32| time_tcp(&runtime, &connections, calls / SERVERS, usize::MAX);
        table.measure(row, SERVERS * 500, subject, floor);
    }
    table.print();
    runtime.block_on(node.stop());
}
