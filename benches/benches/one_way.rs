//! How fast do casts reach a server of the same node, from one sender and from four, on tokio's threads and on one alone?

use beamline::gen_server::GenServer;
use beamline_benches::Table;
use beamline_benches::echo::{
    Bare, Echo, call_bare, free_port, node, run_all, run_in_processes, runtime, runtime_of_one_thread,
    spawn_bare,
};
use tokio::runtime::Runtime;

fn main() {
    let mut table = Table::new(
        "A cast, until the server has taken it: each sender ends with a call",
        "ns",
        "tokio's unbounded mpsc",
    );
    rows(&mut table, runtime(), "");
    rows(&mut table, runtime_of_one_thread(), ", one thread");
    table.print();
}

fn rows(table: &mut Table, runtime: Runtime, on: &str) {
    let node = node(&runtime, "bench@127.0.0.1", free_port());
    let server = runtime.block_on(async { Echo::<i64>::start(&node, ()).await }).expect("it starts");
    let bare = spawn_bare(runtime.handle());
    for senders in [1, 4] {
        let subject = |casts: u32| {
            let sender = |_| {
                let server = server.clone();
                move |_| async move {
                    for n in 0..i64::from(casts / senders) {
                        server.cast(n).expect("it is alive");
                    }
                    // Some have more queued before them than takes the usual 5 seconds on a busy machine.
                    assert_eq!(server.call(0).infinity().await, Ok(0));
                }
            };
            run_in_processes(&runtime, &node, (0..senders).map(sender))
        };
        let floor = |casts: u32| {
            let sender = || {
                let bare = bare.clone();
                async move {
                    for n in 0..i64::from(casts / senders) {
                        bare.send(Bare::Cast(n)).unwrap_or_else(|_| panic!("it is alive"));
                    }
                    call_bare(&bare, 0).await;
                }
            };
            run_all(&runtime, (0..senders).map(|_| sender()))
        };
        table.measure(format!("one-way {senders} to 1{on}"), 1_000_000, subject, floor);
    }
    runtime.block_on(node.stop());
}
