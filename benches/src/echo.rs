//! The server that is called, and bare tokio doing the same.

use std::marker::PhantomData;
use std::time::Duration;

use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::node::Node;
use beamline::process::{self, ExitReason};
use beamline::term::Term;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, oneshot};

use crate::time_async;

/// Replies to a call with what it was called with, and drops what it is cast.
pub struct Echo<T>(PhantomData<T>);

impl<T: Serialize + DeserializeOwned + Send + 'static> GenServer for Echo<T> {
    type Args = ();
    type Call = T;
    type Reply = T;
    type Cast = T;
    type Info = Term;

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self(PhantomData))
    }

    async fn handle_call(
        &mut self,
        call: T,
        from: ReplyTo<T>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(call))
    }
}

/// What the bare task takes.
pub enum Bare {
    /// Dropped.
    Cast(i64),
    /// Sent back.
    Call(i64, oneshot::Sender<i64>),
}

/// A bare tokio task that does as [`Echo`] does, until its senders are gone.
pub fn spawn_bare(runtime: &Handle) -> mpsc::UnboundedSender<Bare> {
    let (requests, mut inbox) = mpsc::unbounded_channel();
    runtime.spawn(async move {
        while let Some(request) = inbox.recv().await {
            match request {
                Bare::Cast(n) => drop(std::hint::black_box(n)),
                Bare::Call(n, reply) => drop(reply.send(n)),
            }
        }
    });
    requests
}

/// Calls a bare task.
pub async fn call_bare(to: &mpsc::UnboundedSender<Bare>, n: i64) -> i64 {
    let (reply, answer) = oneshot::channel();
    let _ = to.send(Bare::Call(n, reply));
    answer.await.expect("it replies")
}

/// A multi-threaded runtime as `#[tokio::main]` makes it.
pub fn runtime() -> Runtime {
    Runtime::new().expect("threads")
}

/// A runtime that is the thread of whoever waits for its work.
pub fn runtime_of_one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("an event queue")
}

/// A node, with an EPMD of its own at that port.
pub fn node(runtime: &Runtime, name: &str, epmd_port: u16) -> Node {
    let builder = Node::builder(name).cookie("bench").epmd_port(epmd_port).processes_max(2_000_000);
    runtime.block_on(builder.start()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A port where nobody listens.
#[expect(clippy::disallowed_types, reason = "it asks the system for a port")]
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

/// How long work takes as a task: `block_on`'s own thread would be woken through the system for each reply.
pub fn run(runtime: &Runtime, work: impl Future<Output = ()> + Send + 'static) -> Duration {
    output(runtime, time_async(work))
}

/// What work returns as a task.
pub fn output<T: Send + 'static>(runtime: &Runtime, work: impl Future<Output = T> + Send + 'static) -> T {
    runtime.block_on(runtime.spawn(work)).unwrap_or_else(|error| panic!("{error}"))
}

/// How long all of the works take, as tasks at the same time.
pub fn run_all<F: Future<Output = ()> + Send + 'static>(
    runtime: &Runtime,
    works: impl IntoIterator<Item = F>,
) -> Duration {
    let works: Vec<F> = works.into_iter().collect();
    run(runtime, async move {
        let tasks: Vec<_> = works.into_iter().map(|work| Handle::current().spawn(work)).collect();
        for task in tasks {
            task.await.unwrap_or_else(|error| panic!("{error}"));
        }
    })
}

/// How long work takes in a process of the node.
pub fn run_in_process<F>(
    runtime: &Runtime,
    node: &Node,
    work: impl FnOnce(process::Context<Term>) -> F + Send + 'static,
) -> Duration
where
    F: Future<Output = ()> + Send + 'static,
{
    run_in_processes(runtime, node, [work])
}

/// How long all of the works take, each in a process of the node, at the same time.
pub fn run_in_processes<F>(
    runtime: &Runtime,
    node: &Node,
    works: impl IntoIterator<Item = impl FnOnce(process::Context<Term>) -> F + Send + 'static>,
) -> Duration
where
    F: Future<Output = ()> + Send + 'static,
{
    let works: Vec<_> = works.into_iter().collect();
    let node = node.clone();
    run(runtime, async move {
        let ends = works.into_iter().map(|work| {
            let (done, end) = oneshot::channel();
            let spawned = node.spawn(|cx| async move {
                work(cx).await;
                let _ = done.send(());
                ExitReason::Normal
            });
            spawned.expect("room for a process");
            end
        });
        for end in ends.collect::<Vec<_>>() {
            end.await.expect("it does not panic");
        }
    })
}
