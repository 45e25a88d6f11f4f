//! How many instructions do a thousand calls and a thousand casts take between two processes of a node?

use beamline::gen_server::{GenServer, Server};
use beamline::node::Node;
use beamline_benches::echo::{Echo, free_port, node, run_in_process, runtime_of_one_thread};
use gungraun::{library_benchmark, library_benchmark_group, main};
use tokio::runtime::Runtime;

/// On one thread, so that all is counted and nothing depends on which thread is faster.
struct Pair {
    runtime: Runtime,
    node: Node,
    server: Server<Echo<i64>>,
}

fn pair() -> Pair {
    let runtime = runtime_of_one_thread();
    let node = node(&runtime, "bench@127.0.0.1", free_port());
    let server = runtime.block_on(async { Echo::<i64>::start(&node, ()).await }).expect("it starts");
    let pair = Pair { runtime, node, server };
    // What is allocated once is.
    thousand_casts(&pair);
    thousand_calls(&pair);
    pair
}

fn thousand_calls(pair: &Pair) {
    let server = pair.server.clone();
    run_in_process(&pair.runtime, &pair.node, |_| async move {
        for n in 0..1_000 {
            assert_eq!(server.call(n).await, Ok(n));
        }
    });
}

fn thousand_casts(pair: &Pair) {
    let server = pair.server.clone();
    run_in_process(&pair.runtime, &pair.node, |_| async move {
        for n in 0..1_000 {
            server.cast(n).expect("it is alive");
        }
        assert_eq!(server.call(0).await, Ok(0));
    });
}

#[library_benchmark(setup = pair)]
#[bench::local()]
fn calls(pair: Pair) -> Pair {
    thousand_calls(&pair);
    pair
}

#[library_benchmark(setup = pair)]
#[bench::local()]
fn casts(pair: Pair) -> Pair {
    thousand_casts(&pair);
    pair
}

library_benchmark_group!(name = mailbox, benchmarks = [calls, casts]);
main!(library_benchmark_groups = mailbox);
