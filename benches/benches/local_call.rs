//! What does a call between two processes of one node cost beside a bare pair of tokio tasks?

use beamline::epmd::EpmdOptions;
use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::node::Node;
use beamline::process::ExitReason;
use beamline::term::Term;
use beamline_benches::{Table, time_async};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

struct Echo;

impl GenServer for Echo {
    type Args = ();
    type Call = i64;
    type Reply = i64;
    type Cast = Term;
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
        Ok(from.reply(n + 1))
    }
}

/// An EPMD port of the benchmark's own.
fn epmd() -> EpmdOptions {
    let mut options = EpmdOptions::default();
    options.port = 24_369;
    options
}

fn main() {
    let runtime = Runtime::new().unwrap_or_else(|error| panic!("{error}"));
    let node = runtime
        .block_on(Node::builder("bench@127.0.0.1").cookie("bench").epmd(epmd()).start())
        .unwrap_or_else(|error| panic!("{error}"));
    let server =
        runtime.block_on(async { Echo::start(&node, ()).await }).unwrap_or_else(|error| panic!("{error}"));

    let (requests, mut inbox) = mpsc::unbounded_channel::<(i64, oneshot::Sender<i64>)>();
    runtime.spawn(async move {
        while let Some((n, reply)) = inbox.recv().await {
            let _ = reply.send(n + 1);
        }
    });

    let subject = |times| {
        let server = server.clone();
        let calls = async move {
            for n in 0..i64::from(times) {
                assert_eq!(server.call(n).await, Ok(n + 1));
            }
        };
        run(&runtime, calls)
    };
    let floor = |times| {
        let requests = requests.clone();
        let calls = async move {
            for n in 0..i64::from(times) {
                let (reply, answer) = oneshot::channel();
                let _ = requests.send((n, reply));
                assert_eq!(answer.await, Ok(n + 1));
            }
        };
        run(&runtime, calls)
    };
    let mut table = Table::new(
        "A call to a gen_server of the same node, with its deadline armed",
        "tokio mpsc and oneshot",
    );
    table.measure("local call", 100_000, subject, floor);
    table.print();
    runtime.block_on(node.stop());
}

/// The caller is a task as well: `block_on`'s own thread would be woken through the system for each reply.
fn run(runtime: &Runtime, work: impl Future<Output = ()> + Send + 'static) -> std::time::Duration {
    let task = runtime.spawn(time_async(work));
    runtime.block_on(task).unwrap_or_else(|error| panic!("{error}"))
}
