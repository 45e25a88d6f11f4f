//! How do 120 processes, each calling a server of its own, share the node?

use beamline::gen_server::{GenServer, Server};
use beamline_benches::Table;
use beamline_benches::echo::{
    Echo, call_bare, free_port, node, run_all, run_in_processes, runtime, spawn_bare,
};

const PAIRS: u32 = 120;

fn main() {
    let runtime = runtime();
    let node = node(&runtime, "bench@127.0.0.1", free_port());
    let start = || runtime.block_on(async { Echo::<i64>::start(&node, ()).await }).expect("it starts");
    let servers: Vec<_> = (0..PAIRS).map(|_| start()).collect();
    let bares: Vec<_> = (0..PAIRS).map(|_| spawn_bare(runtime.handle())).collect();

    let subject = |calls: u32| {
        let caller = |server: Server<Echo<i64>>| {
            move |_| async move {
                for n in 0..i64::from(calls / PAIRS) {
                    assert_eq!(server.call(n).await, Ok(n));
                }
            }
        };
        run_in_processes(&runtime, &node, servers.iter().cloned().map(caller))
    };
    let floor = |calls: u32| {
        run_all(
            &runtime,
            bares.iter().cloned().map(|bare| async move {
                for n in 0..i64::from(calls / PAIRS) {
                    assert_eq!(call_bare(&bare, n).await, n);
                }
            }),
        )
    };
    let mut table = Table::new(
        "A call of 120 pairs that call at the same time: the time that passes by the calls of all",
        "ns",
        "tokio mpsc and oneshot",
    );
    table.measure("120 pairs", PAIRS * 10_000, subject, floor);
    table.print();
    runtime.block_on(node.stop());
}
