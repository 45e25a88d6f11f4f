//! What the stories are for does happen in them.

use beamline_sim::check::Sometimes;
use beamline_sim::{Event, Outcome, scenario};

/// Something that happens, and the events that show it.
type Fact = (&'static str, fn(&Event) -> bool);

/// What must be seen in some run of a story.
fn seen(name: &str, seeds: u64, facts: &[Fact]) {
    let scenario = scenario::find(name).expect("it is a story");
    let mut sometimes = Sometimes::new([]);
    for (fact, is_it) in facts {
        sometimes = sometimes.event(fact, *is_it);
    }
    for seed in 0..seeds {
        let run = scenario.run(seed, None);
        assert_eq!(run.outcome, Outcome::Passed, "{name}, seed {seed}");
        sometimes.run(&run.trace);
    }
    println!("{name}: {:?} in {seeds} runs", sometimes.seen());
    sometimes.all().unwrap_or_else(|never| panic!("{name}: {never}"));
}

#[test]
fn calls_are_lost_and_monitors_fire_for_every_reason() {
    seen(
        "calls",
        4,
        &[
            ("a call has no answer", |event| event.kind == "unknown"),
            ("a connection is lost", |event| event.kind == "nodedown" && event.node != "client"),
            ("a node has a second life", |event| event.kind == "boot" && event.incarnation > 1),
        ],
    );
    seen(
        "relations",
        6,
        &[
            ("a monitored process ends", |event| event.kind == "down" && event.detail.ends_with(" normal")),
            ("it had ended before", |event| event.kind == "down" && event.detail.ends_with(" noproc")),
            ("its node is lost", |event| event.kind == "down" && event.detail.ends_with(" noconnection")),
            ("a linked process ends", |event| event.kind == "told_exit" && event.detail.ends_with(" tired")),
            ("its link's node is lost", |event| {
                event.kind == "told_exit" && event.detail.ends_with(" noconnection")
            }),
        ],
    );
}

#[test]
fn supervisors_restart_and_give_up() {
    seen(
        "supervision",
        4,
        &[
            ("a child is killed", |event| event.kind == "kill"),
            ("a supervisor gives up", |event| event.kind == "ended"),
        ],
    );
}

#[test]
fn names_are_fought_for_and_epmd_is_taken_over() {
    seen("names", 2, &[("a name is taken", |event| event.kind == "sometimes")]);
    seen(
        "epmd-failover",
        6,
        &[
            ("another node runs the daemon", |event| event.kind == "epmd regained"),
            ("a registration is lost", |event| event.kind == "epmd lost"),
        ],
    );
}
