//! Mistakes that are planted in the library, to see that each is found: a simulator that finds none of these finds no real one.
//!
//! `cargo test -p beamline-sim --test planted -- --ignored --nocapture` prints the table of `docs/simulation.md`.

use beamline_sim::{Outcome, Sim, run, scenario};

/// A mistake, the story that shows it, and the property that it breaks.
#[derive(Clone, Copy)]
struct Mistake {
    name: &'static str,
    scenario: &'static str,
    property: &'static str,
}

const fn mistake(name: &'static str, scenario: &'static str, property: &'static str) -> Mistake {
    Mistake { name, scenario, property }
}

/// Within how many seeds each must be found.
const SEEDS: u64 = 20;

const MISTAKES: [Mistake; 14] = [
    mistake("sent-twice", "calls", "order"),
    mistake("any-creation", "calls", "order"),
    mistake("whole-frames", "calls", "wire"),
    mistake("half-open-kept", "calls", "nodes"),
    mistake("down-lost", "relations", "monitors"),
    mistake("second-down", "relations", "monitors"),
    mistake("no-flush", "relations", "monitors"),
    mistake("link-kept", "relations", "links"),
    mistake("half-unlink", "relations", "links"),
    mistake("hash-order", "relations", "determinism"),
    mistake("one-restart-more", "supervision", "supervisors"),
    mistake("name-stolen", "names", "convergence"),
    mistake("pg-kept", "groups", "convergence"),
    mistake("creation-again", "epmd-failover", "convergence"),
];

/// What a run shows, if it shows something; of a mistake that breaks none of the run's properties, whether a second run differs.
fn shows(mistake: Mistake, seed: u64) -> Option<String> {
    let scenario = scenario::find(mistake.scenario).expect("it is a story");
    let run = || {
        let setup = |sim: &mut Sim| {
            sim.plant(mistake.name);
            (scenario.setup)(sim);
        };
        run(scenario.name, setup, seed, None)
    };
    let first = run();
    match first.outcome {
        Outcome::Violated(violation) => Some(violation.property),
        Outcome::Passed if mistake.property == "determinism" => {
            first.trace.difference(&run().trace).map(|_| "determinism".to_owned())
        }
        Outcome::Passed => None,
        other => panic!("{} with seed {seed}: {other:?}", mistake.name),
    }
}

/// How many seeds it takes from this one on, and which properties they break.
fn seeds_to_detection(mistake: Mistake, from: u64, at_most: u64) -> Option<(u64, String)> {
    (0..at_most).find_map(|count| shows(mistake, from + count).map(|property| (count + 1, property)))
}

fn is_found(name: &str) {
    let mistake = MISTAKES.into_iter().find(|it| it.name == name).expect("it is a mistake");
    let Some((seeds, property)) = seeds_to_detection(mistake, 0, SEEDS) else {
        panic!("{name} was not found within {SEEDS} seeds")
    };
    println!("{name}: {property}, with {seeds} seeds");
    assert_eq!(property, mistake.property, "{name}");
}

macro_rules! found {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                is_found($name);
            }
        )*
    };
}

found! {
    a_message_that_is_sent_again_after_a_reconnect: "sent-twice",
    a_message_to_a_former_life_of_a_node: "any-creation",
    a_read_that_is_taken_for_a_whole_frame: "whole-frames",
    a_silent_peer_that_is_never_taken_for_dead: "half-open-kept",
    a_monitor_that_is_set_while_a_connection_fails: "down-lost",
    a_monitor_that_is_kept_when_it_has_fired: "second-down",
    a_demonitor_that_leaves_its_message: "no-flush",
    a_link_that_is_kept_when_the_other_end_has_ended: "link-kept",
    an_unlink_that_is_not_heeded: "half-unlink",
    an_order_that_differs_from_run_to_run: "hash-order",
    a_supervisor_that_restarts_once_too_often: "one-restart-more",
    a_name_that_is_given_to_a_second_process: "name-stolen",
    a_member_of_a_dead_node_that_stays_in_its_group: "pg-kept",
    a_creation_that_is_given_out_again: "creation-again",
}

#[test]
#[ignore = "it takes minutes, and prints a table for the documentation"]
fn table() {
    println!(
        "| mistake | story | found by | seeds to detection, from 0, 1000, 2000, 3000, 4000 |\n|---|---|---|---|"
    );
    for mistake in MISTAKES {
        let counts = (0..5).map(|start| match seeds_to_detection(mistake, start * 1000, 40) {
            Some((seeds, property)) if property == mistake.property => seeds.to_string(),
            Some((seeds, property)) => format!("{seeds} ({property})"),
            None => "more than 40".to_owned(),
        });
        let counts: Vec<_> = counts.collect();
        let Mistake { name, scenario, property } = mistake;
        println!("| `{name}` | {scenario} | {property} | {} |", counts.join(", "));
    }
}
