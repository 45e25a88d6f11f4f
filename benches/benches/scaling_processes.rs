//! Does a message cost more where a million processes are alive than where a hundred are?

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use beamline::gen_server::{self, GenServer, Reply, ReplyTo, Server};
use beamline::node::Node;
use beamline::process::{Context, ExitReason};
use beamline::term::{Pid, Term};
use beamline_benches::echo::{free_port, node, run_in_process, runtime};
use beamline_benches::{Table, quick};
use tokio::runtime::Runtime;

const FEW: usize = 100;

/// Replies with what it is called with, and counts what all of its kind are cast.
struct Counting {
    taken: Arc<AtomicU32>,
}

impl GenServer for Counting {
    type Args = Arc<AtomicU32>;
    type Call = i64;
    type Reply = i64;
    type Cast = i64;
    type Info = Term;

    async fn init(taken: Self::Args, _: &mut gen_server::Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self { taken })
    }

    async fn handle_call(
        &mut self,
        call: i64,
        from: ReplyTo<i64>,
        _: &mut gen_server::Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(call))
    }

    async fn handle_cast(&mut self, _: i64, _: &mut gen_server::Context<Self>) -> Result<(), ExitReason> {
        self.taken.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// The servers that messages go to, in turn.
#[derive(Clone)]
struct Targets {
    servers: Arc<[Server<Counting>]>,
    pids: Arc<[Pid]>,
}

/// A node with so many servers, on threads of its own.
struct Crowd {
    runtime: Runtime,
    node: Node,
    servers: Vec<Server<Counting>>,
    taken: Arc<AtomicU32>,
}

impl Crowd {
    fn new(name: &str, many: usize) -> Self {
        let runtime = runtime();
        let node = node(&runtime, name, free_port());
        let taken = Arc::new(AtomicU32::new(0));
        let (starter, counter) = (node.clone(), taken.clone());
        let started = runtime.spawn(async move {
            let mut servers = Vec::with_capacity(many);
            for _ in 0..many {
                servers.push(Counting::start(&starter, counter.clone()).await.expect("it starts"));
            }
            servers
        });
        let servers = runtime.block_on(started).expect("it does not panic");
        Self { runtime, node, servers, taken }
    }

    /// So many of the servers, from all over the table, in an order in which those that were made together are far apart.
    fn targets(&self, many: usize) -> Targets {
        let step = self.servers.len() / many;
        // A prime that divides no power of ten visits each once.
        let servers: Arc<[_]> = (0..many).map(|n| self.servers[n * 7_919 % many * step].clone()).collect();
        Targets { pids: servers.iter().map(|server| server.pid().clone()).collect(), servers }
    }

    fn call(&self, targets: &Targets, times: u32) -> Duration {
        let servers = targets.servers.clone();
        run_in_process(&self.runtime, &self.node, move |_| async move {
            for (n, server) in (0..i64::from(times)).zip(servers.iter().cycle()) {
                assert_eq!(server.call(n).await, Ok(n));
            }
        })
    }

    fn cast(&self, targets: &Targets, times: u32) -> Duration {
        let servers = targets.servers.clone();
        self.run_until_taken(times, move |_, n| {
            servers[n as usize % servers.len()].cast(n.into()).expect("it is alive");
        })
    }

    /// Each looks the process up.
    fn cast_by_pid(&self, targets: &Targets, times: u32) -> Duration {
        let pids = targets.pids.clone();
        self.run_until_taken(times, move |cx, n| {
            cx.cast(&pids[n as usize % pids.len()], &n).expect("it is alive");
        })
    }

    fn run_until_taken(&self, times: u32, cast: impl Fn(&Context<Term>, u32) + Send + 'static) -> Duration {
        let taken = self.taken.clone();
        taken.store(0, Ordering::Relaxed);
        run_in_process(&self.runtime, &self.node, move |cx| async move {
            for n in 0..times {
                cast(&cx, n);
            }
            while taken.load(Ordering::Relaxed) < times {
                cx.yield_now().await;
            }
        })
    }
}

fn main() {
    let few = Crowd::new("few@127.0.0.1", FEW);
    let many = Crowd::new("many@127.0.0.1", if quick() { 100_000 } else { 1_000_000 });
    let mut table = Table::new(
        "A message where a million processes are alive: to one of them, to a hundred from all over the table, to each in turn",
        "ns",
        "the same where a hundred are alive",
    );
    let mut row = |name: &str,
                   times: u32,
                   targets: (usize, usize),
                   ask: fn(&Crowd, &Targets, u32) -> Duration| {
        let (of_few, of_many) = (few.targets(targets.0), many.targets(targets.1));
        table.measure(name, times, |times| ask(&many, &of_many, times), |times| ask(&few, &of_few, times));
    };
    row("call, a million alive", 100_000, (1, 1), Crowd::call);
    row("cast, a million alive", 500_000, (1, 1), Crowd::cast);
    row("call to 100, a million alive", 100_000, (FEW, FEW), Crowd::call);
    row("cast by pid to 100, a million alive", 200_000, (FEW, FEW), Crowd::cast_by_pid);
    // Here no cache has the receiver, whoever made it: it is shown, and no bar holds it.
    let all = many.servers.len();
    row("call to each of a million", 100_000, (FEW, all), Crowd::call);
    row("cast by pid to each of a million", 200_000, (FEW, all), Crowd::cast_by_pid);
    table.print();
    // Nobody waits for a million of them to end.
    std::process::exit(0);
}
