//! The phases of a run, and what ends it.

use std::time::Duration;

use beamline_sim::check::{Checker, Verdict, Violation};
use beamline_sim::{Event, Fault, Kind, Outcome, Schedule, Sim, Swarm, Timed, run};

fn name() -> String {
    "one".to_owned()
}

/// A node that returns a second after it was started, and says so.
fn ticker(sim: &mut Sim) {
    sim.node("one", |world| async move {
        world.sleep(Duration::from_secs(1)).await;
        world.event("", "second", &"");
        Ok(())
    });
}

fn violation(outcome: &Outcome) -> &Violation {
    match outcome {
        Outcome::Violated(violation) => violation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_broken_is_healed_and_must_then_return_before_the_calm_ends() {
    let schedule = Schedule {
        faults: vec![Timed { at_ms: 100, fault: Fault::Crash { node: name() } }],
        heal_at_ms: 5000,
    };
    let setup = |sim: &mut Sim| {
        ticker(sim);
        sim.swarm(Swarm::new().calm(Duration::from_secs(2)));
    };
    let done = run("crash", setup, 1, Some(&schedule));
    let trace = done.passed().unwrap();
    let kinds: Vec<_> = trace.events().iter().map(|event| (event.kind.as_str(), event.incarnation)).collect();
    let expected = [("boot", 1), ("fault", 0), ("healed", 0), ("boot", 2), ("second", 2), ("finished", 2)];
    assert_eq!(kinds, expected);
    assert_eq!(trace.events()[1].detail, r#"{"fault":"crash","node":"one"}"#);

    let slow = |sim: &mut Sim| {
        ticker(sim);
        sim.swarm(Swarm::new().calm(Duration::from_millis(500)));
    };
    let done = run("crash", slow, 1, Some(&schedule));
    let violation = violation(&done.outcome);
    assert_eq!((violation.property.as_str(), violation.node.as_deref()), ("progress", Some("one")));
    assert_eq!(violation.at, Duration::from_millis(5500));
}

#[test]
fn a_program_that_fails_and_a_task_that_panics_are_violations() {
    let failing = |sim: &mut Sim| sim.service("one", |_| async { Err("it is broken".into()) });
    let done = run("failing", failing, 1, None);
    // A service alone is not waited for, so that nothing has happened yet.
    assert_eq!(done.outcome, Outcome::Passed);
    let failing = |sim: &mut Sim| {
        failing(sim);
        sim.client("client", |_| std::future::pending());
    };
    let done = run("failing", failing, 1, None);
    assert_eq!(violation(&done.outcome).property, "program");
    assert!(violation(&done.outcome).text.contains("it is broken"));

    let panicking = |sim: &mut Sim| {
        sim.node("one", |world| async move {
            world.spawn(async { panic!("planted") });
            std::future::pending().await
        });
    };
    let done = run("panicking", panicking, 1, None);
    assert_eq!(violation(&done.outcome).property, "panic");
    assert!(violation(&done.outcome).text.contains("planted"));
}

struct AtMost(u32);

impl Checker for AtMost {
    fn property(&self) -> &'static str {
        "at-most"
    }

    fn event(&mut self, event: &Event) -> Result<(), Violation> {
        if event.kind == "second" {
            match self.0.checked_sub(1) {
                Some(left) => self.0 = left,
                None => {
                    return Err(Violation {
                        property: self.property().to_owned(),
                        text: "one too many".to_owned(),
                        at: event.at,
                        node: Some(event.node.clone()),
                        details: vec![event.to_string()],
                    });
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Verdict {
        if self.0 > 0 { Verdict::Undecided(format!("{} are missing", self.0)) } else { Verdict::Holds }
    }
}

#[test]
fn a_checker_sees_every_event_and_the_first_violation_ends_the_run() {
    let with = |max| {
        move |sim: &mut Sim| {
            sim.node("one", |world| async move {
                for _ in 0..3 {
                    world.sleep(Duration::from_secs(1)).await;
                    world.event("", "second", &"");
                }
                Ok(())
            });
            sim.check(AtMost(max));
        }
    };
    assert_eq!(run("three", with(3), 1, None).outcome, Outcome::Passed);
    let done = run("three", with(1), 1, None);
    assert_eq!(violation(&done.outcome).property, "at-most");
    assert!(done.simulated < Duration::from_millis(2100), "{:?}", done.simulated);
    assert_eq!(
        run("three", with(4), 1, None).outcome,
        Outcome::Undecided("at-most: 1 are missing".to_owned())
    );
}

#[test]
fn a_seed_draws_faults_for_nodes_and_never_for_clients() {
    let setup = |sim: &mut Sim| {
        ticker(sim);
        let wait = sim.draw("wait", 1..4);
        sim.client("client", move |world| async move {
            world.sleep(Duration::from_secs(wait)).await;
            Ok(())
        });
        sim.swarm(Swarm::new().only([Kind::Crash, Kind::Pause]).chaos(Duration::from_secs(3)));
    };
    let mut kinds = Vec::new();
    for seed in 0..20 {
        let done = run("drawn", setup, seed, None);
        assert_eq!(done.outcome, Outcome::Passed, "seed {seed}");
        assert_eq!(done.drawn[0].0, "wait");
        assert_eq!(done.schedule.heal_at_ms, 3000);
        kinds.push(done.drawn[1].clone());
        let boots =
            done.trace.events().iter().filter(|event| (&*event.node, &*event.kind) == ("client", "boot"));
        assert_eq!(boots.count(), 1);
        let again = run("drawn", setup, seed, Some(&done.schedule));
        assert_eq!(again.trace.difference(&done.trace), None, "the schedule is all that was drawn");
    }
    for text in ["", "crash", "pause", "crash pause"] {
        assert!(kinds.contains(&("faults".to_owned(), text.to_owned())), "{kinds:?}");
    }
}

#[test]
fn a_fault_that_cannot_be_done_is_the_scenarios_mistake() {
    let schedule = |node: &str| Schedule {
        faults: vec![Timed { at_ms: 0, fault: Fault::Pause { node: node.to_owned() } }],
        heal_at_ms: 1,
    };
    let setup = |sim: &mut Sim| sim.client("client", |_| async { Ok(()) });
    for node in ["client", "nobody"] {
        let done = run("mistaken", setup, 1, Some(&schedule(node)));
        assert!(matches!(&done.outcome, Outcome::Broken(why) if why.contains(node)), "{:?}", done.outcome);
    }
}
