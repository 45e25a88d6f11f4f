//! What do the start and the stop of a gen_server cost, with 100 000 of them alive?

use beamline::gen_server::{Context, GenServer, Server};
use beamline::gen_server::{Reply, ReplyTo};
use beamline::node::Node;
use beamline::process::ExitReason;
use beamline::term::Term;
use beamline_benches::Table;
use beamline_benches::echo::{Bare, free_port, node, run, run_in_process, runtime};
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{mpsc, oneshot};

/// Ends when it is cast.
struct Idle;

impl GenServer for Idle {
    type Args = ();
    type Call = i64;
    type Reply = i64;
    type Cast = ();
    type Info = Term;

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        n: i64,
        from: ReplyTo<i64>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(n))
    }

    async fn handle_cast(&mut self, (): (), _: &mut Context<Self>) -> Result<(), ExitReason> {
        Err(ExitReason::Normal)
    }
}

/// How a process that has told servers to stop hears of the end of each.
#[derive(Clone, Copy)]
enum End {
    /// It awaits each as this library offers it. OTP offers nothing but monitors.
    Awaited,
    /// It monitors all before, and receives what the monitors say.
    Monitored,
}

/// How long start and stop took, by a process as OTP's.
fn servers(runtime: &Runtime, node: &Node, many: u32, end: End) -> (Duration, Duration) {
    let (give, take) = oneshot::channel();
    let starter = node.clone();
    let start = run_in_process(runtime, node, move |_| async move {
        let mut servers = Vec::new();
        for _ in 0..many {
            servers.push(Idle::start(&starter, ()).await.expect("it starts"));
        }
        let _ = give.send(servers);
    });
    let servers: Vec<Server<Idle>> = runtime.block_on(take).expect("they started");
    let stop = run_in_process(runtime, node, move |mut cx| async move {
        if let End::Monitored = end {
            for server in &servers {
                cx.monitor(server.pid());
            }
        }
        for server in &servers {
            server.cast(()).expect("it is alive");
        }
        for server in servers {
            match end {
                End::Awaited => drop(server.stop(ExitReason::Shutdown).await),
                End::Monitored => drop(cx.receive().await),
            }
        }
    });
    (start, stop)
}

/// The same for bare tasks with a queue. Each says when it has started.
fn tasks(runtime: &Runtime, many: u32) -> (Duration, Duration) {
    let (give, take) = oneshot::channel();
    let start = run(runtime, async move {
        let mut tasks = Vec::new();
        for _ in 0..many {
            let (queue, mut inbox) = mpsc::unbounded_channel::<Bare>();
            let (started, wait) = oneshot::channel();
            let task = Handle::current().spawn(async move {
                let _ = started.send(());
                while inbox.recv().await.is_some() {}
            });
            wait.await.expect("it starts");
            tasks.push((queue, task));
        }
        let _ = give.send(tasks);
    });
    let tasks = runtime.block_on(take).expect("they started");
    let stop = run(runtime, async move {
        // Without its sender a task's queue ends.
        let tasks: Vec<_> = tasks.into_iter().map(|(_, task)| task).collect();
        for task in tasks {
            task.await.expect("it does not panic");
        }
    });
    (start, stop)
}

fn main() {
    let runtime = runtime();
    let node = node(&runtime, "bench@127.0.0.1", free_port());
    let mut table = Table::new(
        "100 000 gen_servers: each is started, its init awaited; then all are told to stop, and the end of each awaited",
        "ns",
        "a tokio task with an unbounded mpsc",
    );
    let (subject, floor) = (|many, end| servers(&runtime, &node, many, end), |many| tasks(&runtime, many));
    table.measure("start a server", 100_000, |many| subject(many, End::Awaited).0, |many| floor(many).0);
    table.measure("stop a server", 100_000, |many| subject(many, End::Awaited).1, |many| floor(many).1);
    table.measure(
        "stop a server, monitored",
        100_000,
        |many| subject(many, End::Monitored).1,
        |many| floor(many).1,
    );
    table.print();
    runtime.block_on(node.stop());
}
