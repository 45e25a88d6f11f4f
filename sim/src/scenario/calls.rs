//! Calls and casts under chaos.

use beamline::world::World;

use super::census::{self, HOSTS, Quiet, SILENCE};
use super::traffic::{self, Echo};
use crate::check::{Linearizability, Nodes, Order};
use crate::{Body, Sim, Swarm};

/// Processes of three nodes call and cast to servers of all of them.
pub(super) fn calls(sim: &mut Sim) {
    for host in HOSTS {
        sim.service(host, move |world| program(world, host));
    }
    census::add(sim, &["n@one", "n@two", "n@three"], Swarm::new());
    census::serves(sim);
    sim.check(Order::default());
    sim.check(Nodes::default().silence(SILENCE));
    sim.check(Linearizability::new(Echo));
}

async fn program(world: World, host: &'static str) -> Body {
    let node = census::start(&world, &census::node_of(host), false).await;
    let quiet = Quiet::default();
    traffic::start(&node, &quiet, 3).await?;
    census::take_part(&node, quiet, census::no_look).await?;
    std::future::pending().await
}
