//! How long does a program take from its start to a node's first pong, and how much memory does an idle node take?

use std::time::Duration;

use beamline::node::Node;
use beamline_benches::echo::{free_port, runtime};
use beamline_benches::peer::{Peer, Tcp};
use beamline_benches::{Table, in_process, resident_bytes, role, time};

fn main() {
    if let Some((role, port)) = role()
        && role != "peer"
    {
        run(&role, port.parse().expect("a port"));
        return;
    }
    let peer = Peer::start();
    let started = |role: &str, port: u16| {
        let took: Duration = time(1, || assert_eq!(in_process(role, &port.to_string()), 1.0));
        took.as_nanos() as f64
    };
    let mut start = Table::new(
        "From the start of a program to its node's first pong, and its end",
        "ns",
        "a program's first round trip over bare TCP",
    );
    start.sample(
        "start to first pong",
        || started("pong", peer.epmd_port),
        || started("tcp", peer.tcp_port()),
    );
    start.print();
    let mut idle = Table::new("Resident memory of an idle node", "bytes", "a program with tokio's runtime");
    let port = free_port().to_string();
    idle.sample("idle node, bytes", || in_process("node", &port), || in_process("runtime", "0"));
    idle.print();
}

fn run(role: &str, port: u16) {
    let runtime = runtime();
    let result = match role {
        "tcp" => {
            let tcp = runtime.block_on(Tcp::connect(port, 1, 1));
            runtime.block_on(tcp.round_trips(1, 1));
            1.0
        }
        "pong" => {
            let builder = Node::builder("bench@127.0.0.1").cookie("bench").epmd_port(port);
            let node = runtime.block_on(builder.start()).expect("it starts");
            f64::from(u8::from(runtime.block_on(node.ping("peer@127.0.0.1"))))
        }
        "node" => {
            let builder = Node::builder("bench@127.0.0.1").cookie("bench").epmd_port(port);
            let _node = runtime.block_on(builder.start()).expect("it starts");
            resident_bytes("self")
        }
        _ => {
            // Its threads have run.
            runtime.block_on(runtime.spawn(async {})).expect("it does not panic");
            resident_bytes("self")
        }
    };
    println!("{result}");
}
