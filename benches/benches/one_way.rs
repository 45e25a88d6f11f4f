//! How fast do casts reach a server of the same node, from one sender and from four?

use beamline::gen_server::GenServer;
use beamline_benches::Table;
use beamline_benches::echo::{Bare, Echo, call_bare, free_port, node, run_all, runtime, spawn_bare};

fn main() {
    let runtime = runtime();
    let node = node(&runtime, "bench@127.0.0.1", free_port());
    let server = runtime.block_on(async { Echo::<i64>::start(&node, ()).await }).expect("it starts");
    let bare = spawn_bare(&runtime);

    let mut table = Table::new(
        "A cast, until the server has taken it: each sender ends with a call",
        "ns",
        "tokio's unbounded mpsc",
    );
    for senders in [1, 4] {
        let subject = |casts: u32| {
            let sender = || {
                let server = server.clone();
                async move {
                    for n in 0..i64::from(casts / senders) {
                        server.cast(n).expect("it is alive");
                    }
                    // Some have more queued before them than takes the usual 5 seconds on a busy machine.
                    assert_eq!(server.call(0).infinity().await, Ok(0));
                }
            };
            run_all(&runtime, (0..senders).map(|_| sender()))
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
        table.measure(format!("one-way {senders} to 1"), 1_000_000, subject, floor);
    }
    table.print();
    runtime.block_on(node.stop());
}
