//! Does a message to another node cost more where 200 nodes are connected than where one is? Calls, one at a time, are asked on one core.

use std::time::Duration;

use beamline::node::Node;
use beamline::process::Destination;
use beamline::term::{Atom, Term};
use beamline_benches::echo::{node, run_in_process, runtime};
use beamline_benches::peer::{Peer, Tcp, start_servers, time_tcp_in_turn};
use beamline_benches::{Table, again_on_one_core, on_one_core, wire};
use tokio::runtime::Runtime;

const MANY: u32 = 200;
/// So few that the processor's own cache holds what they all take.
const SOME: usize = 32;
/// A sender yields so often, as in `loopback_one_way`.
const BUDGET: u32 = 100;

/// A node on threads of its own, with the servers that it knows, each on another node.
struct Hub {
    runtime: Runtime,
    node: Node,
    servers: Vec<(Atom, Atom)>,
}

impl Hub {
    fn new(name: &str, epmd_port: u16, servers: Vec<(Atom, Atom)>) -> Self {
        let runtime = runtime();
        let node = node(&runtime, name, epmd_port);
        for (_, peer) in &servers {
            runtime.block_on(node.connect(peer.clone())).unwrap_or_else(|error| panic!("{peer}: {error}"));
        }
        assert_eq!(node.nodes().len(), servers.len());
        Self { runtime, node, servers }
    }

    /// Calls, in turn, so many of the servers.
    fn call(&self, servers: usize, times: u32) -> Duration {
        self.call_each(self.servers[..servers].iter().cloned().map(Destination::from).collect(), times)
    }

    /// The first server of each of so many of the peers, as one who calls it again and again knows it.
    fn by_pid(&self, peers: usize) -> Vec<Destination> {
        let pid = |peer| Peer::pids(&self.runtime, &self.node, peer)[0].clone().into();
        self.servers[..peers].iter().map(|(_, peer)| pid(peer)).collect()
    }

    fn call_each(&self, servers: Vec<Destination>, times: u32) -> Duration {
        run_in_process(&self.runtime, &self.node, move |cx| async move {
            for (_, server) in (0..times).zip(servers.iter().cycle()) {
                let reply = cx.call::<Term, _>(server.clone(), 42).await;
                assert!(reply.is_ok(), "{reply:?}");
            }
        })
    }

    /// Casts to so many of the servers, a burst to each in turn, until each has taken all.
    fn cast(&self, servers: usize, times: u32) -> Duration {
        let servers = self.servers[..servers].to_vec();
        run_in_process(&self.runtime, &self.node, move |cx| async move {
            for (_, server) in (0..times / BUDGET).zip(servers.iter().cycle()) {
                for _ in 0..BUDGET {
                    cx.cast(server.clone(), &42).expect("it has an external form");
                }
                cx.yield_now().await;
            }
            for server in &servers {
                let reply = cx.call::<Term, _>(server.clone(), 42).infinity().await;
                assert!(reply.is_ok(), "{reply:?}");
            }
        })
    }
}

fn main() {
    let peer = Peer::start_with(|runtime, _, epmd_port| {
        // They live as long as the program.
        std::mem::forget((1..=MANY).map(|n| one_of_many(runtime, n, epmd_port)).collect::<Vec<Node>>());
    });
    let one = Hub::new("one@127.0.0.1", peer.epmd_port, vec![Peer::server(0)]);
    let of_many = |n| (Atom::from_static("echo_0"), Atom::new(&name(n)).expect("a short name"));
    let many = Hub::new("many@127.0.0.1", peer.epmd_port, (1..=MANY).map(of_many).collect());

    let mut table = Table::new(
        "A message to another node where 200 are connected: to one of them, and to each in turn",
        "ns",
        "the same where one is connected",
    );
    let all = MANY as usize;
    if on_one_core() {
        let floor = |times| one.call(1, times);
        table.measure("remote call, 200 peers, one core", 5_000, |times| many.call(1, times), floor);
        for servers in [SOME, all] {
            let row = format!("remote call to each of {servers} peers, one core");
            table.measure(row, 5_000, |times| many.call(servers, times), floor);
        }
        let (of_one, of_some) = (one.by_pid(1), many.by_pid(SOME));
        table.measure(
            format!("remote call by pid to each of {SOME} peers, one core"),
            5_000,
            |times| many.call_each(of_some.clone(), times),
            |times| one.call_each(of_one.clone(), times),
        );
        // What the system alone takes longer for.
        let (request_len, reply_len) = wire::call_to_name_len(&42.into());
        let connect = |_| one.runtime.block_on(Tcp::connect(peer.tcp_port(), request_len, reply_len));
        let connections: Vec<Tcp> = (0..MANY).map(connect).collect();
        let bare = |connections, times| time_tcp_in_turn(&one.runtime, connections, times);
        table.measure(
            "bare TCP to each of 200 peers, one core",
            5_000,
            |times| bare(&connections, times),
            |times| bare(&connections[..1], times),
        );
    } else {
        let floor = |times| one.cast(1, times);
        table.measure("remote cast, 200 peers", 200_000, |times| many.cast(1, times), floor);
        // So many that the calls at the end, which wait for each peer, do not count.
        table.measure("remote cast to each of 200 peers", 1_000_000, |times| many.cast(all, times), floor);
    }
    table.print();
    drop(peer);
    if !on_one_core() {
        again_on_one_core();
    }
    // 200 connections are not waited for.
    std::process::exit(0);
}

fn name(n: u32) -> String {
    format!("peer_{n}@127.0.0.1")
}

fn one_of_many(runtime: &Runtime, n: u32, epmd_port: u16) -> Node {
    let node = node(runtime, &name(n), epmd_port);
    start_servers(runtime, &node, 1);
    node
}
