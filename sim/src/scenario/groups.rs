//! Groups of processes under chaos.

use beamline::gen_server::GenServer;
use beamline::node::Node;
use beamline::pg::{Limits, Scope};
use beamline::process::{Context, ExitReason};
use beamline::term::{Atom, Term};
use beamline::world::{BoxFuture, World};

use super::census::{self, Dice, HOSTS, Quiet, SILENCE, node_of, process};
use super::traffic::{self, Echo};
use crate::check::{Convergence, Linearizability, Nodes, Report};
use crate::{Body, Sim, Swarm};

const GROUPS: [&str; 3] = ["red", "green", "blue"];
const MEMBERS: usize = 3;

/// Processes of three nodes join groups, leave them and end.
pub(super) fn groups(sim: &mut Sim) {
    for host in HOSTS {
        sim.service(host, move |world| program(world, host));
    }
    census::add(sim, &["n@one", "n@two", "n@three"], Swarm::new());
    census::serves(sim);
    sim.check(Convergence::default());
    sim.check(Nodes::default().silence(SILENCE));
    sim.check(Linearizability::new(Echo));
}

async fn program(world: World, host: &'static str) -> Body {
    let node = census::start(&world, &node_of(host), false).await;
    let quiet = Quiet::default();
    Scope::start(&node, Limits::default()).name("pg").await?;
    traffic::start(&node, &quiet, 1).await?;
    let before = node.process_count();
    for _ in 0..MEMBERS {
        let quiet = quiet.clone();
        node.spawn(|cx| keep_member(cx, quiet))?;
    }
    census::started(&node, before, 2 * MEMBERS).await;
    census::take_part(&node, quiet, look).await?;
    std::future::pending().await
}

/// Starts one member after the other.
async fn keep_member(mut cx: Context<Term>, quiet: Quiet) -> ExitReason {
    loop {
        let quiet = quiet.clone();
        let Ok(pid) = cx.spawn(|cx| member(cx, quiet)) else { return ExitReason::atom("system_limit") };
        cx.monitor(&pid);
        cx.receive().await;
    }
}

async fn member(cx: Context<Term>, quiet: Quiet) -> ExitReason {
    let world = cx.world().clone();
    let (pg, mut dice) = (cx.pg("pg"), Dice::new(&world, "member"));
    let mut turns = 1 + dice.below(20);
    while turns > 0 {
        world.sleep(dice.millis(1, 400)).await;
        if quiet.is_set() {
            continue;
        }
        turns -= 1;
        let group = Atom::from_static(GROUPS[dice.below(3) as usize]);
        let done = match dice.below(3) {
            0 => pg.leave(group, [cx.pid().clone()]).await.map(drop),
            _ => pg.join(group, [cx.pid().clone()]).await,
        };
        if let Err(error) = done {
            world.event("", "pg", &error);
        }
    }
    ExitReason::Normal
}

/// Who is in each group, as each node sees it.
fn look(node: Node) -> BoxFuture<'static, ()> {
    let (report, pg) = (Report::new(node.world()), node.pg("pg"));
    for group in GROUPS {
        let members = pg.get_members(Atom::from_static(group));
        let mut members: Vec<_> = members.iter().map(process).collect();
        members.sort();
        report.view(&format!("group/{group}"), node.name().as_str(), &members.join(" "));
    }
    Box::pin(async {})
}
