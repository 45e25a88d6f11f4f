//! Nodes of one host that take turns in running its EPMD.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use beamline::epmd::names;
use beamline::node::Node;
use beamline::world::{BoxFuture, World};

use super::census::{self, CHAOS, Dice, Quiet, REST};
use crate::check::{Convergence, Report};
use crate::{Body, Sim, Swarm};

const NAMES: [&str; 3] = ["a", "b", "c"];
const PORT: u16 = 4369;

/// Three nodes of one host stop and start at any time, and the first that finds no EPMD runs it: in the end all are registered, each under
/// its own port, and no life of a name has had the number of another one.
pub(super) fn failover(sim: &mut Sim) {
    sim.service("host", program);
    sim.client("observer", |world| async move {
        // After all are quiet, and before all are asked what they see.
        world.sleep(CHAOS + REST + Duration::from_secs(4)).await;
        let mut listed = names(&world, "host", PORT).await?.nodes;
        listed.retain(|(name, _)| NAMES.contains(&name.as_str()));
        listed.sort();
        Report::new(&world).view("epmd", "observer", &format_args!("{listed:?}"));
        Ok(())
    });
    census::add(sim, &["n@host"], Swarm::new());
    census::serves_when_quiet(sim);
    sim.check(Convergence::default());
}

/// The ports of those that run.
type Ports = Arc<Mutex<BTreeMap<String, u16>>>;

async fn program(world: World) -> Body {
    let (quiet, ports) = (Quiet::default(), Ports::default());
    for name in NAMES {
        world.spawn(live(world.clone(), name, quiet.clone(), ports.clone()));
    }
    world.sleep(Duration::from_secs(1)).await;
    let node = census::start(&world, "n@host", false).await;
    let look = move |node: Node| -> BoxFuture<'static, ()> {
        let ports = ports.lock().unwrap_or_else(PoisonError::into_inner);
        let ports: Vec<_> = ports.iter().collect();
        Report::new(node.world()).view("epmd", "host", &format_args!("{ports:?}"));
        Box::pin(async {})
    };
    census::take_part(&node, quiet, look).await?;
    std::future::pending().await
}

/// A node stops and starts again and again; in the end it runs.
async fn live(world: World, name: &'static str, quiet: Quiet, ports: Ports) {
    let set = |port: Option<u16>| {
        let mut ports = ports.lock().unwrap_or_else(PoisonError::into_inner);
        match port {
            Some(port) => ports.insert(name.to_owned(), port),
            None => ports.remove(name),
        };
    };
    let (report, mut dice) = (Report::new(&world), Dice::new(&world, name));
    for life in 1.. {
        let node = census::start(&world, &format!("{name}@host"), false).await;
        set(Some(node.port()));
        report.holds(&format!("creation/{name}/{}", node.creation()), &format!("life{life}"));
        world.sleep(dice.millis(100, 6000)).await;
        while quiet.is_set() {
            world.sleep(Duration::from_secs(1)).await;
        }
        set(None);
        match dice.below(2) {
            0 => node.stop().await,
            // Without a word, as one that is killed.
            _ => drop(node),
        }
        world.sleep(dice.millis(1, 2000)).await;
    }
}
