use std::time::Duration;

use super::*;
use crate::fault::Fault;

fn cut(at_ms: u64, one: &str) -> Timed {
    Timed { at_ms, fault: Fault::Cut { one: one.to_owned(), other: "b".to_owned() } }
}

fn crash(at_ms: u64, node: &str) -> Timed {
    Timed { at_ms, fault: Fault::Crash { node: node.to_owned() } }
}

fn violation(property: &str, at_ms: u64) -> Violation {
    let at = Duration::from_millis(at_ms);
    Violation { property: property.to_owned(), text: String::new(), at, node: None, details: Vec::new() }
}

/// Breaks `one-owner` half a second after a cut of `a` that comes before a crash of `c` and is not yet healed then.
fn oracle(schedule: &Schedule) -> Outcome {
    let cut =
        schedule.faults.iter().find(|timed| matches!(&timed.fault, Fault::Cut { one, .. } if one == "a"));
    let crash =
        schedule.faults.iter().find(|timed| matches!(&timed.fault, Fault::Crash { node } if node == "c"));
    match (cut, crash) {
        (Some(cut), Some(crash)) if cut.at_ms <= crash.at_ms && schedule.heal_at_ms >= crash.at_ms + 500 => {
            Outcome::Violated(violation("one-owner", crash.at_ms + 500))
        }
        _ => Outcome::Passed,
    }
}

fn noise(wanted: &[Timed], until: u64) -> Schedule {
    let mut faults: Vec<Timed> =
        (0..until / 97).map(|n| if n % 3 == 0 { cut(n * 97, "x") } else { crash(n * 97, "y") }).collect();
    faults.extend(wanted.iter().cloned());
    faults.sort_by_key(|timed| timed.at_ms);
    Schedule { faults, heal_at_ms: until }
}

fn shrunk(schedule: &Schedule, max_runs: usize, mut run: impl FnMut(&Schedule) -> Outcome) -> Shrunk {
    let Outcome::Violated(first) = run(schedule) else { panic!("it does not fail at first") };
    shrink(schedule, &first, max_runs, run, |_| ControlFlow::Continue(()))
}

#[test]
fn two_faults_of_sixty_are_left_at_round_times() {
    let schedule = noise(&[cut(1234, "a"), crash(3456, "c")], 6000);
    let shrunk = shrunk(&schedule, MAX_RUNS, oracle);
    assert_eq!(shrunk.schedule.faults, [cut(1000, "a"), crash(3000, "c")]);
    assert!(shrunk.complete);
    assert!((3500..=4000).contains(&shrunk.schedule.heal_at_ms), "{:?}", shrunk.schedule);
    assert_eq!(shrunk.violation, violation("one-owner", 3500));
}

#[test]
fn what_fails_without_any_fault_needs_few_runs_to_show_it() {
    let always = |_: &Schedule| Outcome::Violated(violation("no-leak", 20_000));
    let shrunk = shrunk(&noise(&[], 6000), MAX_RUNS, always);
    assert_eq!(shrunk.schedule, Schedule::default());
    assert!(shrunk.complete);
    assert!(shrunk.runs <= 5, "{}", shrunk.runs);
}

#[test]
fn what_comes_after_the_violation_goes_first() {
    let wanted = [cut(100, "a"), crash(200, "c")];
    let schedule = noise(&wanted, 60_000);
    let mut first = None;
    let _ = shrink(
        &schedule,
        &violation("one-owner", 700),
        1,
        |tried| {
            first = Some(tried.clone());
            oracle(tried)
        },
        |_| ControlFlow::Continue(()),
    );
    let first = first.unwrap();
    assert!(first.faults.len() < 12, "{}", first.faults.len());
    assert!(first.heal_at_ms <= 701);
}

#[test]
fn another_failure_is_another_bug() {
    // Without the cut, another property breaks, or a checker gives up, or the simulator itself does.
    let run = |schedule: &Schedule| match oracle(schedule) {
        Outcome::Passed => match schedule.faults.len() % 3 {
            0 => Outcome::Violated(violation("no-leak", 100)),
            1 => Outcome::Undecided("too long".to_owned()),
            _ => Outcome::Broken("too many ports".to_owned()),
        },
        violated => violated,
    };
    let shrunk = shrunk(&noise(&[cut(1000, "a"), crash(2000, "c")], 6000), MAX_RUNS, run);
    assert_eq!(shrunk.violation.property, "one-owner");
    assert_eq!(shrunk.schedule.faults, [cut(1000, "a"), crash(2000, "c")]);
}

#[test]
fn every_fault_that_is_left_is_needed() {
    // Any four of the crashes: which are left depends on the order, that four are does not.
    let run = |schedule: &Schedule| {
        let crashes = schedule.faults.iter().filter(|timed| matches!(timed.fault, Fault::Crash { .. }));
        match crashes.count() {
            0..4 => Outcome::Passed,
            _ => Outcome::Violated(violation("intensity", 9000)),
        }
    };
    let shrunk = shrunk(&noise(&[], 9000), MAX_RUNS, run);
    assert!(shrunk.complete);
    assert_eq!(shrunk.schedule.faults.len(), 4);
    for index in 0..4 {
        let mut fewer = shrunk.schedule.clone();
        fewer.faults.remove(index);
        assert_eq!(run(&fewer), Outcome::Passed);
    }
}

#[test]
fn the_bounds_hold_and_the_best_so_far_is_kept() {
    let schedule = noise(&[cut(1234, "a"), crash(3456, "c")], 6000);
    let mut runs = 0;
    let bounded = shrunk(&schedule, 7, |tried| {
        runs += 1;
        oracle(tried)
    });
    assert_eq!((bounded.runs, bounded.complete), (7, false));
    assert_eq!(runs, 8, "with the first, that was no part of it");
    assert!(matches!(oracle(&bounded.schedule), Outcome::Violated(_)));
    assert!(bounded.schedule.faults.len() < schedule.faults.len());

    let mut reports = Vec::new();
    let first = violation("one-owner", 3956);
    let stopped = shrink(&schedule, &first, MAX_RUNS, oracle, |progress| {
        reports.push(progress.runs);
        if progress.runs == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(reports, [1, 2, 3, 4]);
    assert_eq!((stopped.runs, stopped.complete), (4, false));
    assert!(matches!(oracle(&stopped.schedule), Outcome::Violated(_)));
}

#[test]
fn no_schedule_is_run_twice() {
    let schedule = noise(&[cut(1234, "a"), crash(3456, "c")], 6000);
    let mut seen = BTreeSet::new();
    let first = violation("one-owner", 3956);
    let _ = shrink(
        &schedule,
        &first,
        MAX_RUNS,
        |tried| {
            assert!(seen.insert(key(tried)), "{tried:?}");
            oracle(tried)
        },
        |_| ControlFlow::Continue(()),
    );
}

#[test]
fn a_regression_is_a_readable_file() {
    let regression = Regression {
        scenario: "registry".to_owned(),
        seed: 7,
        property: "one-owner".to_owned(),
        comment: "The name was owned twice.".to_owned(),
        schedule: Schedule { faults: vec![cut(1000, "a")], heal_at_ms: 2000 },
    };
    let text = regression.to_json();
    let read: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        read,
        serde_json::json!({
            "scenario": "registry",
            "seed": 7,
            "property": "one-owner",
            "comment": "The name was owned twice.",
            "schedule": {
                "faults": [{ "at_ms": 1000, "fault": "cut", "one": "a", "other": "b" }],
                "heal_at_ms": 2000
            }
        })
    );
    assert_eq!(serde_json::from_str::<Regression>(&text).unwrap(), regression);
}
