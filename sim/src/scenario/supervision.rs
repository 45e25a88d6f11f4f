//! Supervision trees under chaos.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use beamline::gen_server::{Context, GenServer, Reply, ReplyTo, Server, StartError};
use beamline::node::Node;
use beamline::process::{self, ExitReason};
use beamline::supervisor::{ChildSpec, Supervisor, SupervisorSpec};
use beamline::term::{Pid, Term};
use beamline::world::World;

use super::census::{self, Dice, HOSTS, Quiet, node_of};
use super::traffic::{self, Echo};
use crate::check::{Life, Linearizability, Report, Strategy, Supervisors};
use crate::{Body, Sim, Swarm};

const CHILDREN: [&str; 3] = ["x", "y", "z"];
const INTENSITY: u32 = 3;
const PERIOD: Duration = Duration::from_secs(5);

/// On each of three nodes children of a supervisor are killed, at times more often than it puts up with.
pub(super) fn supervision(sim: &mut Sim) {
    let strategies = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
    let strategy = strategies[usize::try_from(sim.draw("strategy", 0..3)).unwrap_or(0)];
    for host in HOSTS {
        sim.service(host, move |world| program(world, host, strategy));
    }
    census::add(sim, &["n@one", "n@two", "n@three"], Swarm::new());
    census::serves(sim);
    sim.check(Supervisors::default());
    sim.check(Linearizability::new(Echo));
}

/// The children that run, each with its supervisor.
#[derive(Clone, Default)]
struct Running(Arc<Mutex<BTreeMap<&'static str, (Pid, String)>>>);

impl Running {
    fn set(&self, child: &'static str, pid: &Pid, supervisor: &str) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(child, (pid.clone(), supervisor.to_owned()));
    }

    fn get(&self, child: &str) -> Option<(Pid, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(child).cloned()
    }
}

struct Child {
    _life: Life,
}

impl GenServer for Child {
    type Args = (String, &'static str, Running);
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;

    async fn init(
        (supervisor, name, running): Self::Args,
        cx: &mut Context<Self>,
    ) -> Result<Self, ExitReason> {
        running.set(name, cx.pid(), &supervisor);
        Ok(Self { _life: Report::new(cx.world()).child(&supervisor, name) })
    }

    async fn handle_call(
        &mut self,
        call: Term,
        from: ReplyTo<Term>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(call))
    }
}

async fn program(world: World, host: &'static str, strategy: Strategy) -> Body {
    let node = census::start(&world, &node_of(host), false).await;
    let (quiet, report) = (Quiet::default(), Report::new(&world));
    traffic::start(&node, &quiet, 1).await?;
    let running = Running::default();
    let mut tree = 1;
    let mut supervisor = start(&node, &report, strategy, tree, &running).await?;
    let (killed, of) = (quiet.clone(), node.clone());
    let killable = running.clone();
    node.spawn(|cx| killer(cx, of, killed, killable))?;
    census::take_part(&node, quiet, census::no_look).await?;
    loop {
        supervisor.ended().await;
        report.ended(&format!("tree{tree}"));
        tree += 1;
        supervisor = start(&node, &report, strategy, tree, &running).await?;
    }
}

async fn start(
    node: &Node,
    report: &Report,
    strategy: Strategy,
    tree: u32,
    running: &Running,
) -> Result<Server<Supervisor>, StartError> {
    let name = format!("tree{tree}");
    report.supervisor(&name, strategy, (INTENSITY, PERIOD), &CHILDREN);
    let spec = match strategy {
        Strategy::OneForOne => SupervisorSpec::one_for_one(),
        Strategy::OneForAll => SupervisorSpec::one_for_all(),
        Strategy::RestForOne => SupervisorSpec::rest_for_one(),
    };
    let spec = CHILDREN.into_iter().fold(spec.intensity(INTENSITY, PERIOD), |spec, child| {
        let args = (name.clone(), child, running.clone());
        spec.child(ChildSpec::worker::<Child>(child, args).name(child))
    });
    Supervisor::start(node, spec).await
}

/// Kills children.
async fn killer(cx: process::Context<Term>, node: Node, quiet: Quiet, running: Running) -> ExitReason {
    let world = cx.world().clone();
    let (report, mut dice) = (Report::new(&world), Dice::new(&world, "killer"));
    loop {
        // In a burst, or not for a while.
        let pause = if dice.below(3) == 0 { dice.millis(500, 4000) } else { dice.millis(1, 300) };
        world.sleep(pause).await;
        let child = CHILDREN[dice.below(3) as usize];
        if let Some((pid, supervisor)) = running.get(child)
            && !quiet.is_set()
            && node.whereis(child).as_ref() == Some(&pid)
        {
            report.kills(&supervisor, child);
            let reason = if dice.below(2) == 0 { ExitReason::Kill } else { ExitReason::atom("boom") };
            cx.exit(&pid, reason);
        }
    }
}
