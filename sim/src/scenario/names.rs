//! Registered names under chaos.

use std::time::Duration;

use beamline::gen_server::{Context, GenServer, Reply, ReplyTo, StartError};
use beamline::node::Node;
use beamline::process::ExitReason;
use beamline::term::{Atom, Pid, Term};
use beamline::world::{BoxFuture, World};

use super::census::{self, Dice, HOSTS, Quiet, SILENCE, node_of, process};
use super::traffic::{self, Echo};
use crate::check::{Convergence, Linearizability, Nodes, Report};
use crate::{Body, Sim, Swarm};

const NAMES: [&str; 2] = ["red", "blue"];

/// Processes of each of three nodes want the same names, hold them for a while, and are called by them.
pub(super) fn names(sim: &mut Sim) {
    for host in HOSTS {
        sim.service(host, move |world| program(world, host));
    }
    census::add(sim, &["n@one", "n@two", "n@three"], Swarm::new());
    census::serves(sim);
    sim.check(Convergence::default());
    sim.check(Nodes::default().silence(SILENCE));
    sim.check(Linearizability::new(Echo));
}

/// Has a name for as long as it lives, and says who it is.
struct Holder {
    report: Report,
    name: String,
    holder: String,
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.report.releases(&self.name, &self.holder);
    }
}

impl GenServer for Holder {
    type Args = &'static str;
    type Call = Atom;
    type Reply = Pid;
    type Cast = Term;
    type Info = Term;

    async fn init(name: &'static str, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        let (report, holder) = (Report::new(cx.world()), process(cx.pid()));
        let name = format!("{name}/{}", cx.node_name().as_str());
        report.holds(&name, &holder);
        Ok(Self { report, name, holder })
    }

    async fn handle_call(
        &mut self,
        _: Atom,
        from: ReplyTo<Pid>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(cx.pid().clone()))
    }
}

async fn program(world: World, host: &'static str) -> Body {
    let node = census::start(&world, &node_of(host), false).await;
    let quiet = Quiet::default();
    traffic::start(&node, &quiet, 1).await?;
    for name in NAMES {
        for number in 0..2 {
            world.spawn(claim(node.clone(), name, number, quiet.clone()));
        }
    }
    // Every name has its first holder, however slow the node is.
    while NAMES.iter().any(|name| node.whereis(name).is_none()) {
        world.sleep(Duration::from_millis(1)).await;
    }
    census::take_part(&node, quiet, look).await?;
    std::future::pending().await
}

/// Wants a name again and again; in the end somebody has it.
async fn claim(node: Node, name: &'static str, number: u32, quiet: Quiet) {
    let world = node.world().clone();
    let (report, mut dice) = (Report::new(&world), Dice::new(&world, &format!("{name} {number}")));
    loop {
        match Holder::start(&node, name).name(name).await {
            Ok(holder) => {
                world.sleep(dice.millis(1, 2000)).await;
                while quiet.is_set() {
                    world.sleep(Duration::from_secs(1)).await;
                }
                match dice.below(2) {
                    0 => drop(holder.stop(ExitReason::Normal).await),
                    _ => node.exit(holder.pid(), ExitReason::Kill),
                }
            }
            Err(StartError::AlreadyStarted(_)) => {
                report.sometimes("a name is taken");
                world.sleep(dice.millis(1, 300)).await;
            }
            Err(error) => world.event("", "not held", &error),
        }
    }
}

/// Who has each name, as each node sees it.
fn look(node: Node) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let report = Report::new(node.world());
        for host in HOSTS {
            for name in NAMES {
                let Ok(of) = Atom::new(&node_of(host)) else { return };
                let call = node.call::<Pid, _>((name, of), Atom::from_static("who"));
                let who = match call.timeout(Duration::from_secs(1)).await {
                    Ok(pid) => process(&pid),
                    Err(error) => error.to_string(),
                };
                report.view(&format!("{name}/{}", node_of(host)), node.name().as_str(), &who);
            }
        }
    })
}
