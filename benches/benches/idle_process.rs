//! How much memory does an idle gen_server take, with a million of them alive?

use beamline::gen_server::GenServer;
use beamline::term::Term;
use beamline_benches::echo::{Echo, call_bare, free_port, node, runtime, spawn_bare};
use beamline_benches::{Table, in_process, quick, resident_bytes, role};

fn main() {
    if let Some((role, many)) = role() {
        let many: u32 = many.parse().expect("a number");
        println!("{}", each(&role, many));
        // Nobody waits for a million of them to end.
        std::process::exit(0);
    }
    let many = if quick() { "100000" } else { "1000000" };
    let mut table = Table::new(
        "Resident memory of an idle gen_server of a node, registered by its pid, a million alive",
        "bytes",
        "a tokio task with an unbounded mpsc",
    );
    table.sample("idle process, bytes", || in_process("beamline", many), || in_process("bare", many));
    table.print();
}

fn each(role: &str, many: u32) -> f64 {
    let runtime = runtime();
    let node = node(&runtime, "bench@127.0.0.1", free_port());
    if role == "bare" {
        let mut queues = Vec::with_capacity(many as usize);
        let before = resident_bytes("self");
        queues.extend((0..many).map(|_| spawn_bare(&runtime)));
        // Each has run, and waits, when it has answered.
        runtime.block_on(async {
            for queue in &queues {
                call_bare(queue, 0).await;
            }
        });
        return (resident_bytes("self") - before) / f64::from(many);
    }
    let mut servers = Vec::with_capacity(many as usize);
    let before = resident_bytes("self");
    runtime.block_on(async {
        for _ in 0..many {
            servers.push(Echo::<Term>::start(&node, ()).await.expect("it starts"));
        }
    });
    (resident_bytes("self") - before) / f64::from(many)
}
