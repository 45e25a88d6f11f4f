//! How much simulated time passes in a second of real time, for three idle hosts, for three nodes that are connected, and for three that
//! call each other all the time. Run it with `--release`, or see what the profile of tests does.

use std::time::Duration;

use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::node::Node;
use beamline::process::ExitReason;
use beamline::term::{Atom, Term};
use beamline_sim::Sim;

const HOSTS: [&str; 3] = ["one", "two", "three"];
const SIMULATED: Duration = Duration::from_secs(60);

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

/// Three nodes; each calls each other at every interval.
fn nodes(sim: &mut Sim, interval: Duration) {
    for host in HOSTS {
        sim.service(host, move |world| async move {
            let node =
                Node::builder(format!("n@{host}")).cookie("simulated").world(world.clone()).start().await?;
            let _echo = Echo::start(&node, ()).name("echo").await?;
            loop {
                for peer in HOSTS.iter().filter(|peer| **peer != host) {
                    let server = ("echo", Atom::new(&format!("n@{peer}"))?);
                    let _: Result<String, _> = node.call(server, "hello".to_owned()).await;
                }
                world.sleep(interval).await;
            }
        });
    }
}

#[expect(clippy::disallowed_methods, reason = "this measures real time")]
fn measure(what: &str, setup: impl Fn(&mut Sim)) {
    let mut sim = Sim::new(1);
    setup(&mut sim);
    let start = std::time::Instant::now();
    sim.run_for(SIMULATED).unwrap();
    let took = start.elapsed().as_secs_f64();
    let events = sim.trace().events().len();
    println!(
        "{what:<16} {:>6.0} simulated seconds a second, {events} events",
        SIMULATED.as_secs_f64() / took
    );
}

fn main() {
    measure("idle hosts", |sim| {
        for host in HOSTS {
            sim.service(host, |_| std::future::pending());
        }
    });
    measure("connected nodes", |sim| nodes(sim, Duration::from_secs(1)));
    measure("busy nodes", |sim| nodes(sim, Duration::from_millis(1)));
}
