//! How much memory does an idle gen_server take, with a million of them alive?

use beamline::gen_server::GenServer;
use beamline_benches::echo::{Echo, call_bare, free_port, node, runtime, spawn_bare};
use beamline_benches::{Table, in_process, quick, resident_bytes, role};

fn main() {
    if let Some((role, many)) = role() {
        let many: u32 = many.parse().expect("a number");
        println!("{}", each(&role, many));
        // Nobody waits for a million of them to end.
        std::process::exit(0);
    }
    let many = if quick() { "50000" } else { "1000000" };
    let mut table = Table::new(
        "Resident memory of an idle gen_server that a node knows by its pid and that has answered a call, a million alive",
        "bytes",
        "a tokio task with an unbounded mpsc",
    );
    table.sample("idle process, bytes", || in_process("beamline", many), || in_process("bare", many));
    table.print();
}

fn each(role: &str, many: u32) -> f64 {
    let runtime = runtime();
    let node = node(&runtime, "bench@127.0.0.1", free_port());
    let grown = if role == "bare" {
        let spawner = runtime.handle().clone();
        runtime.spawn(async move {
            let mut queues = Vec::with_capacity(many as usize);
            let before = resident_bytes("self");
            for _ in 0..many {
                let queue = spawn_bare(&spawner);
                // It has run, and waits, when it has answered.
                call_bare(&queue, 0).await;
                queues.push(queue);
            }
            resident_bytes("self") - before
        })
    } else {
        runtime.spawn(async move {
            let mut servers = Vec::with_capacity(many as usize);
            let before = resident_bytes("self");
            for _ in 0..many {
                let server = Echo::<i64>::start(&node, ()).await.expect("it starts");
                assert_eq!(server.call(0).await, Ok(0));
                servers.push(server);
            }
            resident_bytes("self") - before
        })
    };
    runtime.block_on(grown).expect("it does not panic") / f64::from(many)
}
