//! A key-value service with a mistake that no test of one machine shows, and the simulation that finds it.
//!
//! `cargo run -p beamline-sim --example kv` runs seeds until one shows the mistake, and leaves a report and a timeline in `target/sim/kv`; `cargo run -p beamline-sim --example kv -- fixed` runs as many
//! without it. `-- serve kv@127.0.0.1 kv@127.0.0.1` runs a node of the service itself: its own name, and those of all, the primary first.

mod service;
mod simulation;

use beamline::world::World;

use crate::service::Config;

const SEEDS: u64 = 40;

#[tokio::main]
async fn serve(name: &str, nodes: &[String]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let config = Config { nodes: nodes.to_vec(), reads_go_on: true };
    let node = service::start(World::tokio(), name, &config).await?;
    println!("{} serves", node.name());
    node.stopped().await;
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [word, name, nodes @ ..] = args.as_slice()
        && word == "serve"
    {
        return serve(name, nodes);
    }
    let reads_go_on = args.first().is_none_or(|word| word != "fixed");
    // As a test would: the first seed that shows it is shrunk and reported, with the timeline.
    beamline_sim::Test::new("kv").seeds(0..SEEDS).run(|sim| simulation::setup(sim, reads_go_on));
    println!("{SEEDS} seeds, and all holds");
    Ok(())
}

#[cfg(test)]
mod tests {
    use beamline_sim::{Outcome, run};

    use super::*;

    /// The first of some seeds that shows it.
    fn found(reads_go_on: bool) -> Option<(u64, String)> {
        (0..12).find_map(|seed| {
            match run("kv", |sim| simulation::setup(sim, reads_go_on), seed, None).outcome {
                Outcome::Passed => None,
                Outcome::Violated(violation) => Some((seed, violation.property)),
                other => panic!("seed {seed}: {other:?}"),
            }
        })
    }

    #[test]
    fn the_mistake_is_found_and_without_it_all_holds() {
        let (_, property) = found(true).expect("a node that cannot reach the primary answers with what was");
        assert_eq!(property, "linearizability");
        assert_eq!(found(false), None);
    }
}
