//! Whole nodes: they find each other through EPMD, shake hands, and call each other's servers.

use std::time::Duration;

use beamline::gen_server::{Context, GenServer, Reply, ReplyTo, Server};
use beamline::node::Node;
use beamline::process::ExitReason;
use beamline::term::{Atom, Term};
use beamline::world::World;

use crate::{Fault, Schedule, Sim, Timed};

const HOSTS: [&str; 3] = ["one", "two", "three"];

/// Gives back what it is called with.
struct Echo;

impl GenServer for Echo {
    type Args = ();
    type Call = String;
    type Reply = String;
    type Cast = Term;
    type Info = Term;

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        text: String,
        from: ReplyTo<String>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(text))
    }
}

async fn start(
    world: &World,
    host: &str,
) -> Result<(Node, Server<Echo>), Box<dyn std::error::Error + Send + Sync>> {
    let node = Node::builder(format!("n@{host}")).cookie("simulated").world(world.clone()).start().await?;
    world.event("", "up", &node.creation());
    let echo = Echo::start(&node, ()).name("echo").await?;
    Ok((node, echo))
}

/// Pings every other node until it answers, and then calls its server.
async fn reach(world: &World, node: &Node, host: &str) -> crate::Body {
    for peer in HOSTS.iter().filter(|peer| **peer != host) {
        let peer = Atom::new(&format!("n@{peer}"))?;
        while !node.ping(peer.clone()).await {
            world.event("", "pang", &peer);
            world.sleep(Duration::from_millis(100)).await;
        }
        world.event("", "pong", &peer);
        let text = format!("from {host} to {peer}");
        let echoed: String = node.call(("echo", peer.clone()), text.clone()).await?;
        if echoed != text {
            return Err(format!("{peer} answered {echoed:?} to {text:?}").into());
        }
        world.event("", "called", &peer);
    }
    Ok(())
}

/// Three nodes start at once, each with an EPMD of its own, and each calls a server of each other.
pub fn call_across(sim: &mut Sim) {
    for host in HOSTS {
        sim.node(host, move |world| async move {
            let (node, _echo) = start(&world, host).await?;
            reach(&world, &node, host).await?;
            // By then the others have called this one too, and none has stopped.
            world.sleep(Duration::from_secs(1)).await;
            let peers = node.nodes();
            world.event("", "nodes", &format_args!("{peers:?}"));
            if peers.len() != 2 {
                return Err(format!("{host} is connected to {peers:?}").into());
            }
            world.sleep(Duration::from_secs(1)).await;
            node.stop().await;
            Ok(())
        });
    }
}

/// A node crashes and starts again: the others lose it, find it again, and tell its lives apart.
pub fn restart(sim: &mut Sim) {
    for host in ["one", "two"] {
        sim.node(host, move |world| async move {
            let (node, _echo) = start(&world, host).await?;
            reach(&world, &node, host).await?;
            while node.nodes().len() == 2 {
                world.sleep(Duration::from_millis(10)).await;
            }
            world.event("", "lost", &"n@three");
            reach(&world, &node, host).await?;
            world.sleep(Duration::from_secs(2)).await;
            node.stop().await;
            Ok(())
        });
    }
    sim.service("three", |world| async move {
        let (_node, _echo) = start(&world, "three").await?;
        std::future::pending().await
    });
    let node = || "three".to_owned();
    let faults = vec![
        Timed { at_ms: 2000, fault: Fault::Crash { node: node() } },
        Timed { at_ms: 2200, fault: Fault::Restart { node: node() } },
    ];
    sim.set_schedule(Schedule { faults, heal_at_ms: 2200 });
}
