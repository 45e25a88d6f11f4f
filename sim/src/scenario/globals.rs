//! Names of `global` under chaos.

use std::time::Duration;

use beamline::global::{LockId, Options, Resolve};
use beamline::node::Node;
use beamline::process::{Context, ExitReason};
use beamline::term::{Atom, Term};
use beamline::world::{BoxFuture, World};

use super::census::{self, Dice, HOSTS, Quiet, SILENCE, node_of, process};
use super::traffic::{self, Echo};
use crate::check::{Convergence, Linearizability, Nodes, Report};
use crate::{Body, Sim, Swarm};

const NAMES: [&str; 3] = ["red", "green", "blue"];

/// How long a node's `global` may take to have the names of all, once they are connected: lockers wait up to 3 seconds between two
/// attempts, and registrars up to 8.
const SYNC: Duration = Duration::from_secs(25);

/// Processes of three nodes want the same global names, while partitions come and go.
pub(super) fn globals(sim: &mut Sim) {
    for host in HOSTS {
        sim.service(host, move |world| program(world, host));
    }
    census::add_with(sim, &["n@one", "n@two", "n@three"], Swarm::new(), SYNC);
    census::serves_when_quiet(sim);
    sim.check(Convergence::default());
    sim.check(Nodes::default().silence(SILENCE));
    sim.check(Linearizability::new(Echo));
}

async fn program(world: World, host: &'static str) -> Body {
    let take_part = |builder: beamline::node::Builder| builder.global(Options::default());
    let node = census::start_with(&world, &node_of(host), false, take_part).await;
    let quiet = Quiet::default();
    traffic::start(&node, &quiet, 1).await?;
    let before = node.process_count();
    for number in 0..2 {
        let quiet = quiet.clone();
        node.spawn(move |cx| keep_claimant(cx, number, quiet))?;
    }
    census::started(&node, before, 2 * 2).await;
    census::take_part(&node, quiet, look).await?;
    std::future::pending().await
}

/// Starts one after the other of those who want names.
async fn keep_claimant(mut cx: Context<Term>, number: usize, quiet: Quiet) -> ExitReason {
    loop {
        let quiet = quiet.clone();
        let Ok(pid) = cx.spawn(move |cx| claimant(cx, number, quiet)) else {
            return ExitReason::atom("system_limit");
        };
        cx.monitor(&pid);
        cx.receive().await;
    }
}

/// Wants a name, has it for a while, and gives it back or ends with it.
async fn claimant(cx: Context<Term>, number: usize, quiet: Quiet) -> ExitReason {
    let world = cx.world().clone();
    let (report, mut dice) = (Report::new(&world), Dice::new(&world, "claimant"));
    let global = cx.global();
    let resolve = [Resolve::RandomExit, Resolve::RandomNotify, Resolve::NotifyAll];
    for _ in 0..1 + dice.below(10) {
        world.sleep(dice.millis(1, 800)).await;
        while quiet.is_set() {
            world.sleep(Duration::from_secs(1)).await;
        }
        let name = Atom::from_static(NAMES[dice.below(3) as usize]);
        match global.register_name_with(name.clone(), cx.pid(), &resolve[number]).await {
            Ok(true) => report.sometimes("a global name is registered"),
            Ok(false) => report.sometimes("a global name is taken"),
            Err(error) => world.event("", "global", &error),
        }
        world.sleep(dice.millis(1, 800)).await;
        if global.whereis_name(name.clone()).as_ref() == Some(cx.pid()) && dice.below(2) == 0 {
            let _ = global.unregister_name(name).await;
        }
    }
    ExitReason::Normal
}

/// Who has each name, as each node sees it, and whether anything is locked still.
fn look(node: Node) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let (report, global) = (Report::new(node.world()), node.global());
        for name in NAMES {
            let who = global.whereis_name(Atom::from_static(name));
            let who = who.map_or_else(|| "nobody".to_owned(), |pid| process(&pid));
            report.view(&format!("global/{name}"), node.name().as_str(), &who);
        }
        let held = node.spawn(|cx| async move {
            let id = LockId::new(Atom::from_static("global"), cx.pid().clone());
            let free = cx.global_locks().nodes([cx.node_name().clone()]).retries(0).set_lock(&id).await;
            Report::new(cx.world()).view(
                "global-lock",
                cx.node_name().as_str(),
                &if free { "free" } else { "held" },
            );
            ExitReason::Normal
        });
        if held.is_ok() {
            node.world().sleep(Duration::from_millis(10)).await;
        }
    })
}
