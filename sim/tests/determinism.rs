//! A seed is a run: the same one, however often and wherever it is run.

use std::process::Command;

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
        let run = || {
            let output = Command::new(env!("CARGO_BIN_EXE_sim"))
                .args(["replay", "5", "--scenario", name, "--trace"])
                .output()
                .unwrap();
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let (first, second) = (run(), run());
        let difference = first.lines().zip(second.lines()).find(|(left, right)| left != right);
        assert_eq!(difference, None, "{name}");
        assert_eq!(first.lines().count(), second.lines().count(), "{name}");
        let here = scenario.run(5, None).passed().unwrap();
        assert_eq!(
            first.lines().last(),
            Some(format!("{:016x}", here.hash()).as_str()),
            "{name}: and this process"
        );
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
