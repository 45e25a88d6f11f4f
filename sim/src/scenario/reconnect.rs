//! Connections that come and go all the time.

use std::time::Duration;

use beamline::node::Node;
use beamline::process::{Context, ExitReason};
use beamline::term::{Atom, Term};
use beamline::world::World;

use super::census::{self, Dice, HOSTS, Quiet, SILENCE, node_of, process};
use super::traffic::{self, Echo};
use crate::check::{Linearizability, Nodes, Order, Report};
use crate::{Body, Sim, Swarm};

/// Each of three nodes drops its connections and makes them again at any time, while others send over them.
pub(super) fn storm(sim: &mut Sim) {
    add(sim, |node, quiet| Box::pin(break_at_any_time(node, quiet)));
}

/// Three nodes drop their connections and make them again, all at the same moment.
pub(super) fn simultaneous(sim: &mut Sim) {
    add(sim, |node, quiet| Box::pin(break_together(node, quiet)));
}

type Break = fn(Node, Quiet) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn add(sim: &mut Sim, breaks: Break) {
    for host in HOSTS {
        sim.service(host, move |world| program(world, host, breaks));
    }
    census::add(sim, &["n@one", "n@two", "n@three"], Swarm::new());
    census::serves_when_quiet(sim);
    sim.check(Order::default());
    sim.check(Nodes::default().silence(SILENCE));
    sim.check(Linearizability::new(Echo));
}

async fn program(world: World, host: &'static str, breaks: Break) -> Body {
    let node = census::start(&world, &node_of(host), false).await;
    let quiet = Quiet::default();
    node.spawn(observer)?;
    traffic::start(&node, &quiet, 1).await?;
    world.spawn(breaks(node.clone(), quiet.clone()));
    census::take_part(&node, quiet, census::no_look).await?;
    std::future::pending().await
}

/// Reports which nodes come and go.
async fn observer(mut cx: Context<Term>) -> ExitReason {
    let (report, name) = (Report::new(cx.world()), process(cx.pid()));
    let _life = report.life(&name);
    report.monitors_nodes(&name);
    cx.monitor_nodes(true);
    loop {
        let message = cx.receive().await;
        if let Some([change, peer]) = message.as_tuple()
            && let Some(peer) = peer.as_atom()
        {
            report.node_event(&name, change.is_atom("nodeup"), peer.as_str());
        }
    }
}

async fn break_at_any_time(node: Node, quiet: Quiet) {
    let world = node.world().clone();
    let mut dice = Dice::new(&world, "break");
    while !quiet.is_set() {
        world.sleep(dice.millis(20, 800)).await;
        let peer = node_of(dice.host());
        if dice.below(2) == 0 {
            node.disconnect(&peer);
        } else {
            let node = node.clone();
            let ping = async move {
                let Ok(peer) = Atom::new(&peer) else { return };
                node.ping(peer).await;
            };
            world.spawn(ping);
        }
    }
}

async fn break_together(node: Node, quiet: Quiet) {
    let world = node.world().clone();
    // All started at the same moment, and all clocks are about as fast.
    while !quiet.is_set() {
        world.sleep(Duration::from_secs(1)).await;
        for host in HOSTS {
            node.disconnect(&node_of(host));
        }
        for host in HOSTS {
            let node = node.clone();
            let ping = async move {
                let Ok(peer) = Atom::new(&node_of(host)) else { return };
                node.ping(peer).await;
            };
            world.spawn(ping);
        }
    }
}
