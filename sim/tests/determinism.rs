//! A seed is a run: the same one, however often and wherever it is run.

use std::process::Command;

use beamline_sim::report::trace_text;
use beamline_sim::{Sim, scenario};

#[test]
fn one_seed_gives_one_trace_and_another_seed_another() {
    for scenario in scenario::ALL {
        let name = scenario.name;
        let first = scenario.run(1, None).passed().unwrap_or_else(|failure| panic!("{name}: {failure}"));
        let other = scenario.run(2, None).passed().unwrap_or_else(|failure| panic!("{name}: {failure}"));
        let second = scenario.run(1, None).passed().unwrap_or_else(|failure| panic!("{name}: {failure}"));
        assert_eq!(first.difference(&second), None, "{name}: seed 1 before and after seed 2");
        assert_eq!(first.hash(), second.hash());
        assert_ne!(first.hash(), other.hash(), "{name}: seeds 1 and 2");
    }
}

#[test]
fn two_processes_give_one_trace() {
    for scenario in scenario::ALL {
        let name = scenario.name;
        let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
        let output = command.args(["replay", "5", "--scenario", name, "--trace"]).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let there = String::from_utf8(output.stdout).unwrap();
        let here = trace_text(&scenario.run(5, None));
        let difference = here.lines().zip(there.lines()).find(|(left, right)| left != right);
        assert_eq!(difference, None, "{name}");
        assert_eq!(here.lines().count(), there.lines().count(), "{name}");
    }
}

#[test]
fn what_escapes_the_seed_is_found_by_its_first_event() {
    // A planted leak: a value that does not come from the seed.
    let leaky = |salt: u64| {
        let mut sim = Sim::new(1);
        sim.node("one", move |world| async move {
            world.event("", "before", &"");
            world.event("", "leak", &salt);
            Ok(())
        });
        sim.run().unwrap()
    };
    let difference = leaky(1).difference(&leaky(2)).expect("the leak is seen");
    assert!(difference.left.unwrap().to_string().ends_with("one#1 leak 1"));
    assert!(difference.right.unwrap().to_string().ends_with("one#1 leak 2"));
    assert_eq!(difference.common, 2, "boot and before");
}
