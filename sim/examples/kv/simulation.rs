//! The test: the service on three simulated hosts, clients that ask it, faults of the network, and what must hold.

use std::time::Duration;

use beamline::node::Node;
use beamline::term::Atom;
use beamline::world::World;
use beamline_sim::check::{Linearizability, Progress, Register, Report};
use beamline_sim::{Body, Kind, Sim, Swarm};
use rand_core::Rng;

use crate::service::{self, Answer, Ask, Config};

const HOSTS: [&str; 3] = ["one", "two", "three"];
const CHAOS: Duration = Duration::from_secs(20);

fn name_of(host: &str) -> String {
    format!("kv@{host}")
}

/// Says what there is. Without the mistake, it should hold.
pub(crate) fn setup(sim: &mut Sim, reads_go_on: bool) {
    let config = Config { nodes: HOSTS.map(name_of).to_vec(), reads_go_on };
    for host in HOSTS {
        let config = config.clone();
        sim.service(host, move |world| {
            let config = config.clone();
            async move {
                // The same function that `main` calls.
                let _node = service::start(world, &name_of(host), &config).await?;
                std::future::pending().await
            }
        });
    }
    sim.client("client", clients);
    // Its data is in memory alone, so no process of it dies here.
    let wires = [Kind::Cut, Kind::CutOneWay, Kind::Partition, Kind::Reset, Kind::HalfOpen, Kind::Latency];
    sim.swarm(Swarm::new().chaos(CHAOS).only(wires));
    sim.check(Linearizability::new(Register));
    sim.check(Progress::new(Duration::from_secs(10), Duration::from_secs(3)));
}

/// Three clients, each of another node.
async fn clients(world: World) -> Body {
    let node = Node::builder("clients@client").cookie("kv").hidden(true).world(world.clone()).start().await?;
    let clients = HOSTS.map(|host| world.spawn(client(world.clone(), node.clone(), host)));
    for client in clients {
        client.await??;
    }
    Ok(())
}

async fn client(world: World, node: Node, host: &'static str) -> Body {
    let (report, mut random) = (Report::new(&world), world.entropy.fork(host));
    let started = world.clock.mono();
    let server = (Atom::new("kv")?, Atom::new(&name_of(host))?);
    // One that does not know what became of its request is another one from then on.
    let mut lives = 0;
    for number in 0.. {
        world.sleep(Duration::from_millis((50 + random.next_u32() % 400).into())).await;
        if world.clock.mono().since(started) > CHAOS + Duration::from_secs(15) {
            break;
        }
        let name = format!("{host}.{lives}");
        let key = if random.next_u32().is_multiple_of(2) { "left" } else { "right" };
        let value = format!("{host}-{number}");
        let (ask, operation) = if random.next_u32().is_multiple_of(2) {
            let operation = report.invoke(&name, key, &format!("write {value}"));
            (Ask::Put(key.to_owned(), value), operation)
        } else {
            (Ask::Get(key.to_owned()), report.invoke(&name, key, &"read"))
        };
        match node.call::<Answer, _>(server.clone(), ask).timeout(Duration::from_secs(3)).await {
            Ok(Answer::Value(value)) => operation.returned(&value.unwrap_or("none".to_owned())),
            Ok(Answer::Done) => operation.returned(&"ok"),
            Ok(Answer::Unknown) => {
                operation.unknown(&"the primary did not answer");
                lives += 1;
            }
            Err(error) => {
                operation.unknown(&error);
                lives += 1;
            }
        }
    }
    Ok(())
}
