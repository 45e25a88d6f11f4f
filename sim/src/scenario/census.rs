//! What all stories with faults have in common: nodes that work until they are told to be quiet, and a client that tells them, once
//! the cluster was healed, and has them say what they see.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use beamline::gen_server::{Context, GenServer, Reply, ReplyTo, StartError};
use beamline::node::{Builder, Node};
use beamline::process::ExitReason;
use beamline::term::{Atom, Pid, Term};
use beamline::world::{BoxFuture, World};
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use crate::check::{Leaks, Progress, Report, Wire};
use crate::{Body, Sim, Swarm};

/// The hosts of most stories; each has one node.
pub(super) const HOSTS: [&str; 3] = ["one", "two", "three"];

/// For how long there are faults.
pub(super) const CHAOS: Duration = Duration::from_secs(20);

/// How long the cluster then has to come to rest: silence is noticed, and what is being set up is done or given up.
pub(super) const REST: Duration = Duration::from_secs(8);

/// After how much silence a node takes another for dead: at most a quarter more than its tick time, on a clock that may be slow.
pub(super) const SILENCE: Duration = Duration::from_millis(6500);

/// How long what nodes have begun may take to end, once they are quiet.
const QUIET: Duration = Duration::from_secs(5);

/// The node of a host.
pub(super) fn node_of(host: &str) -> String {
    format!("n@{host}")
}

/// How a process is named in reports.
pub(super) fn process(pid: &Pid) -> String {
    format!("p{}.{}.{}/{}", pid.id, pid.serial, pid.creation, pid.node.as_str())
}

/// Starts a node, as often as it takes: EPMD may be down.
pub(super) async fn start(world: &World, name: &str, hidden: bool) -> Node {
    start_with(world, name, hidden, |builder| builder).await
}

/// As [`start`], with further settings.
pub(super) async fn start_with(
    world: &World,
    name: &str,
    hidden: bool,
    configure: impl Fn(Builder) -> Builder,
) -> Node {
    loop {
        let builder = Node::builder(name).cookie("simulated").hidden(hidden).world(world.clone());
        let builder = builder.net_ticktime(Duration::from_secs(4), 4).net_setuptime(Duration::from_secs(3));
        match configure(builder).start().await {
            Ok(node) => return node,
            Err(error) => world.event("", "not started", &error),
        }
        world.sleep(Duration::from_millis(500)).await;
    }
}

/// What a program leaves to chance, from the seed.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    pub(super) fn new(world: &World, label: &str) -> Self {
        Self(world.entropy.fork(label))
    }

    pub(super) fn below(&mut self, end: u32) -> u32 {
        self.0.next_u32() % end.max(1)
    }

    pub(super) fn millis(&mut self, from: u32, to: u32) -> Duration {
        Duration::from_millis((from + self.below(to - from)).into())
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(u32::try_from(from.len()).unwrap_or(u32::MAX)) as usize)
    }

    pub(super) fn host(&mut self) -> &'static str {
        HOSTS[self.below(3) as usize]
    }
}

/// Whether a node's work is over.
#[derive(Clone, Default)]
pub(super) struct Quiet(Arc<AtomicBool>);

impl Quiet {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Says what a node sees in the end.
pub(super) type Look = Box<dyn Fn(Node) -> BoxFuture<'static, ()> + Send + Sync>;

/// The server that tells its node to be quiet, and to say what it sees.
struct Census {
    node: Node,
    quiet: Quiet,
    look: Look,
}

impl GenServer for Census {
    type Args = (Node, Quiet, Look);
    type Call = Atom;
    type Reply = Atom;
    type Cast = Term;
    type Info = Term;

    async fn init((node, quiet, look): Self::Args, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        for (what, count) in usage(&node) {
            Report::new(cx.world()).usage_before(what, count);
        }
        Ok(Self { node, quiet, look })
    }

    async fn handle_call(
        &mut self,
        call: Atom,
        from: ReplyTo<Atom>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        if call == "quiet" {
            self.quiet.0.store(true, Ordering::Relaxed);
        } else {
            (self.look)(self.node.clone()).await;
            for (what, count) in usage(&self.node) {
                Report::new(cx.world()).usage_after(what, count);
            }
        }
        Ok(from.reply(call))
    }
}

/// What a node's processes hold. What those of stories monitor on purpose is their own affair, and a scope of pg monitors all members: of all
/// other servers the monitors count, too.
fn usage(node: &Node) -> [(&'static str, usize); 5] {
    let infos: Vec<_> = node.processes().iter().filter_map(|pid| node.process_info(pid)).collect();
    let servers = infos.iter().filter(|info| {
        info.initial_call.is_some() && info.registered_name.as_ref().is_none_or(|name| *name != "pg")
    });
    [
        ("processes", infos.len()),
        ("timers", infos.iter().map(|info| info.timers).sum()),
        ("calls", infos.iter().map(|info| info.calls).sum()),
        ("aliases", infos.iter().map(|info| info.aliases).sum()),
        ("monitors", servers.map(|info| info.monitors.len()).sum()),
    ]
}

/// Waits until a node has so many processes more than `before`, however slow it is.
pub(super) async fn started(node: &Node, before: usize, more: usize) {
    while node.process_count() < before + more {
        node.world().sleep(Duration::from_millis(1)).await;
    }
}

/// Starts the census of a node whose work has begun.
pub(super) async fn take_part(
    node: &Node,
    quiet: Quiet,
    look: impl Fn(Node) -> BoxFuture<'static, ()> + Send + Sync + 'static,
) -> Result<(), StartError> {
    let look: Look = Box::new(look);
    Census::start(node, (node.clone(), quiet, look)).name("census").await.map(drop)
}

/// Nothing more to say.
pub(super) fn no_look(_: Node) -> BoxFuture<'static, ()> {
    Box::pin(async {})
}

/// Adds the client, what faults there are, and what must hold in every story.
pub(super) fn add(sim: &mut Sim, nodes: &'static [&'static str], swarm: Swarm) {
    add_with(sim, nodes, swarm, QUIET);
}

/// As [`add`], where what nodes have begun may take longer to end.
pub(super) fn add_with(sim: &mut Sim, nodes: &'static [&'static str], swarm: Swarm, quiet: Duration) {
    sim.client("client", move |world| census(world, nodes, quiet));
    sim.swarm(swarm.chaos(CHAOS).calm(Duration::from_secs(60)));
    sim.check(Wire);
    // To each other node of its host and back, to each of other hosts, to EPMD and back; one more may be on its way.
    let sockets = if nodes.len() == 1 { 21 } else { 5 };
    sim.check(Leaks::default().sockets(sockets));
}

/// All requests are answered once the cluster has come to rest.
pub(super) fn serves(sim: &mut Sim) {
    sim.check(Progress::new(REST, Duration::from_secs(2)));
}

/// As [`serves`], where nodes disturb each other until they are told to be quiet.
pub(super) fn serves_when_quiet(sim: &mut Sim) {
    sim.check(Progress::new(REST + QUIET, Duration::from_secs(2)));
}

async fn census(world: World, nodes: &'static [&'static str], quiet: Duration) -> Body {
    let report = Report::new(&world);
    world.sleep(CHAOS + REST).await;
    report.hidden("census@client");
    let client = start(&world, "census@client", true).await;
    for word in ["quiet", "look"] {
        for node in nodes {
            let operation = report.invoke("client", &format!("census/{node}"), &word);
            let call = client.call::<Atom, _>(("census", Atom::new(node)?), Atom::from(word));
            match call.timeout(Duration::from_secs(5)).await {
                Ok(_) => operation.returned(&word),
                Err(error) => operation.failed(&error),
            }
        }
        if word == "quiet" {
            world.sleep(quiet).await;
        }
    }
    client.stop().await;
    Ok(())
}
