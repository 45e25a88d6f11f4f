//! Nodes and their daemons.

use std::time::Duration;

use beamline::epmd::{
    EpmdOptions, Registered, Registration, Server, ServerOptions, Status, names, port_please,
};
use beamline::world::World;

use crate::Sim;

const PORT: u16 = 4369;

/// Two nodes, each with the daemon of its host, which is embedded since registration is for local nodes only: they
/// find each other, and a third host that asks both daemons finds them.
pub fn look_up(sim: &mut Sim) {
    for (name, port, peer) in [("one", 9101, "two"), ("two", 9102, "one")] {
        sim.node(name, move |world| async move {
            let registered =
                Registered::start(&world, EpmdOptions::default(), Registration::new(name, port)).await?;
            world.event("", "creation", &registered.creation());
            let found = wait_for(&world, peer, peer).await?;
            world.event("", "found", &format_args!("{peer} {}", found.port));
            // Its peer may still have to find it.
            world.sleep(Duration::from_secs(2)).await;
            registered.unregister().await;
            Ok(())
        });
    }
    sim.node("observer", |world| async move {
        for name in ["one", "two"] {
            let found = wait_for(&world, name, name).await?;
            let listed = names(&world, name, PORT).await?;
            if listed.nodes != [(name.to_owned(), found.port)] {
                return Err(format!("{name} is not what its daemon lists: {listed:?}").into());
            }
            world.event("", "found", &format_args!("{name} {}", found.port));
        }
        Ok(())
    });
}

/// Three nodes on one host share the daemon that the first runs; when that node's part ends another takes over,
/// and nobody's registration or creation is lost.
pub fn takeover(sim: &mut Sim) {
    sim.node("host", |world| async move {
        let mut nodes = Vec::new();
        for (name, port) in [("a", 9001), ("b", 9002), ("c", 9003)] {
            nodes.push(
                Registered::start(&world, EpmdOptions::default(), Registration::new(name, port)).await?,
            );
        }
        let creations: Vec<_> = nodes.iter().map(Registered::creation).collect();
        // The first of them started the daemon. Dropped, it goes without a word, and the daemon with it.
        drop(nodes.remove(0));
        for node in &mut nodes {
            while node.changed().await != Status::Registered {}
        }
        let kept: Vec<_> = nodes.iter().map(Registered::creation).collect();
        if kept != creations[1..] {
            return Err(format!("creations changed from {creations:?} to {kept:?}").into());
        }
        world.event("", "kept", &format_args!("{kept:?}"));
        // The observer may still have to see it.
        world.sleep(Duration::from_secs(2)).await;
        for node in nodes {
            node.unregister().await;
        }
        Ok(())
    });
    sim.node("observer", |world| async move {
        loop {
            if let Ok(answer) = names(&world, "host", PORT).await {
                let mut nodes = answer.nodes;
                nodes.sort();
                world.event("", "listed", &format_args!("{nodes:?}"));
                if nodes == [("b".to_owned(), 9002), ("c".to_owned(), 9003)] {
                    return Ok(());
                }
            }
            world.sleep(Duration::from_millis(10)).await;
        }
    });
}

/// A daemon alone, for scenarios with nodes that run none.
///
/// # Errors
/// If its port is taken.
pub async fn daemon(world: World) -> crate::Body {
    let server = Server::start(&world, ServerOptions::default()).await?;
    server.ended().await;
    Ok(())
}

async fn wait_for(
    world: &World,
    host: &str,
    name: &str,
) -> Result<Registration, Box<dyn std::error::Error + Send + Sync>> {
    loop {
        match port_please(world, host, PORT, name).await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) => world.event("", "not yet", &error),
        }
        world.sleep(Duration::from_millis(100)).await;
    }
}
