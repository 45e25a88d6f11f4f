//! What does a call between two processes of one node cost beside a bare pair of tokio tasks?

use beamline::gen_server::GenServer;
use beamline_benches::Table;
use beamline_benches::echo::{Echo, call_bare, free_port, node, run, run_in_process, runtime, spawn_bare};

fn main() {
    let runtime = runtime();
    let node = node(&runtime, "bench@127.0.0.1", free_port());
    let server = runtime.block_on(async { Echo::<i64>::start(&node, ()).await }).expect("it starts");
    let bare = spawn_bare(runtime.handle());

    let calls = |times: u32| {
        let server = server.clone();
        async move {
            for n in 0..i64::from(times) {
                assert_eq!(server.call(n).await, Ok(n));
            }
        }
    };
    let floor = |times: u32| {
        let bare = bare.clone();
        run(&runtime, async move {
            for n in 0..i64::from(times) {
                assert_eq!(call_bare(&bare, n).await, n);
            }
        })
    };
    let mut table = Table::new(
        "A call to a gen_server of the same node, with its deadline armed",
        "ns",
        "tokio mpsc and oneshot",
    );
    table.measure("local call from a task", 100_000, |times| run(&runtime, calls(times)), floor);
    let subject = |times| {
        let work = calls(times);
        run_in_process(&runtime, &node, |_| work)
    };
    table.measure("local call", 100_000, subject, floor);
    table.print();
    runtime.block_on(node.stop());
}
