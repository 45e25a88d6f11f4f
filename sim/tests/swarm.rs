//! Whole nodes under everything that a seed can do to them.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::node::Node;
use beamline::process::ExitReason;
use beamline::term::{Atom, Term};
use beamline::world::World;
use beamline_sim::{Sim, Swarm, run};

const HOSTS: [&str; 3] = ["one", "two", "three"];
const CHAOS: Duration = Duration::from_secs(20);

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

async fn start(world: &World, host: &str) -> Node {
    loop {
        let node = Node::builder(format!("n@{host}")).cookie("simulated").world(world.clone()).start().await;
        match node {
            Ok(node) => return node,
            // Its name may be taken still by the life before, or EPMD may be down.
            Err(error) => world.event("", "not started", &error),
        }
        world.sleep(Duration::from_millis(500)).await;
    }
}

/// Whether every server answers.
async fn all_answer(world: &World, node: &Node) -> bool {
    let mut all = true;
    for peer in HOSTS {
        let server = ("echo", Atom::new(&format!("n@{peer}")).unwrap());
        let answer: Result<String, _> = node.call(server, "hello".to_owned()).await;
        world.event("", "asked", &format_args!("{peer} {answer:?}"));
        all &= answer.is_ok_and(|answer| answer == "hello");
    }
    all
}

fn cluster(sim: &mut Sim) {
    for host in HOSTS {
        sim.service(host, move |world| async move {
            let node = start(&world, host).await;
            let _echo = Echo::start(&node, ()).name("echo").await?;
            loop {
                all_answer(&world, &node).await;
                world.sleep(Duration::from_millis(200)).await;
            }
        });
    }
    sim.client("client", |world| async move {
        let node = start(&world, "client").await;
        world.sleep(CHAOS).await;
        while !all_answer(&world, &node).await {
            world.sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    });
    sim.swarm(Swarm::new().chaos(CHAOS).calm(Duration::from_secs(120)));
}

/// Which of the twenty seeds another process runs, alone.
const ALONE: u64 = 13;

#[test]
#[ignore = "the other process of the test below"]
fn prints_the_hash_of_a_seed() {
    println!("hash {:016x}", run("cluster", cluster, ALONE, None).trace.hash());
}

/// What another process, which runs nothing else, has for a seed.
fn hash_elsewhere() -> String {
    let mut other = Command::new(std::env::current_exe().unwrap());
    let output =
        other.args(["prints_the_hash_of_a_seed", "--exact", "--ignored", "--nocapture"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let hash = text.lines().find_map(|line| line.split_once("hash ")).expect("it prints one").1;
    hash.to_owned()
}

#[test]
fn a_cluster_answers_once_all_is_healed_and_two_runs_of_a_seed_agree() {
    let (mut faults, mut ends) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..20 {
        let first = run("cluster", cluster, seed, None);
        let second = run("cluster", cluster, seed, None);
        assert_eq!(first.trace.difference(&second.trace), None, "seed {seed}");
        assert_eq!(first.outcome.reason(), None, "seed {seed}: {:?}", first.schedule);
        if seed == ALONE {
            assert_eq!(
                format!("{:016x}", first.trace.hash()),
                hash_elsewhere(),
                "after other seeds, and alone"
            );
        }
        let closed = first.trace.events().iter().filter(|event| event.kind == "closed");
        ends.extend(closed.filter_map(|event| Some(event.detail.splitn(3, ' ').nth(2)?.to_owned())));
        for timed in first.schedule.faults {
            let text = serde_json::to_value(timed.fault).unwrap();
            faults.insert(text["fault"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(faults.len(), 24, "each has happened: {faults:?}");
    let expected = ["closed", "epmd down", "half-open", "killed", "power lost", "reset", "timed out"];
    assert!(expected.iter().all(|end| ends.contains(*end)), "each has been seen: {ends:?}");
}
