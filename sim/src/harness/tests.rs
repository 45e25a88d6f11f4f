use std::cell::RefCell;
use std::collections::BTreeMap;

use super::test::{Plan, SEEDS};
use super::*;
use crate::check::Violation;
use crate::fault::{Fault, Timed};
use crate::trace::Event;

fn plan(variables: &[(&str, &str)]) -> Result<Plan, String> {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    Plan::new(|name| variables.get(name).map(|&value| value.to_owned()), 5..5 + SEEDS, || 1_000_000)
}

#[test]
fn the_environment_says_which_seeds() {
    let seeds = |variables: &[(&str, &str)]| plan(variables).map(|plan| plan.seeds);
    assert_eq!(seeds(&[]), Ok(5..25));
    assert_eq!(seeds(&[("BEAMLINE_SIM_SEED", " 7 ")]), Ok(7..8));
    assert_eq!(seeds(&[("BEAMLINE_SIM_SEED", "7"), ("BEAMLINE_SIM_SEEDS", "100")]), Ok(7..8));
    assert_eq!(seeds(&[("BEAMLINE_SIM_SEEDS", "100")]), Ok(5..105));
    let timed = plan(&[("BEAMLINE_SIM_TIME", "60")]).unwrap();
    assert_eq!((timed.seeds, timed.budget), (1_000_000..u64::MAX, Some(Duration::from_secs(60))));
    let replays = |variables: &[(&str, &str)]| plan(variables).unwrap().replays;
    assert!(replays(&[]) && !replays(&[("BEAMLINE_SIM_SEED", "7")]), "one seed is one run");
    let both = plan(&[("BEAMLINE_SIM_TIME", "60"), ("BEAMLINE_SIM_SEEDS", "3")]).unwrap();
    assert_eq!(both.seeds, 1_000_000..1_000_003);
}

#[test]
fn what_the_environment_says_wrongly_is_refused() {
    for (variables, why) in [
        ([("BEAMLINE_SIM_SEED", "x")], r#"BEAMLINE_SIM_SEED must be a whole number, not "x""#),
        ([("BEAMLINE_SIM_TIME", "1.5")], r#"BEAMLINE_SIM_TIME must be a whole number, not "1.5""#),
        ([("BEAMLINE_SIM_SEEDS", "0")], "a test without seeds tests nothing: 5..5"),
        (
            [("BEAMLINE_SIM_SCHEDULE", "x.json")],
            "BEAMLINE_SIM_SCHEDULE needs the BEAMLINE_SIM_SEED that it belongs to",
        ),
    ] {
        assert_eq!(plan(&variables), Err(why.to_owned()));
    }
}

/// Breaks a property when `a` crashes, whatever else is done.
struct Fragile {
    /// What the second process says, if it is not the same.
    elsewhere: Option<Result<(String, String), String>>,
    runs: RefCell<u32>,
}

impl Fragile {
    fn new(elsewhere: Option<Result<(String, String), String>>) -> Self {
        Self { elsewhere, runs: RefCell::new(0) }
    }
}

fn schedule() -> Schedule {
    let fault = |n: u64| match n {
        5 => Fault::Crash { node: "a".into() },
        _ => Fault::Pause { node: format!("b{n}") },
    };
    Schedule { faults: (0..9).map(|n| Timed { at_ms: n * 111, fault: fault(n) }).collect(), heal_at_ms: 2000 }
}

impl Subject for Fragile {
    fn run(&self, seed: u64, given: Option<&Schedule>) -> Run {
        *self.runs.borrow_mut() += 1;
        let schedule = given.cloned().unwrap_or_else(schedule);
        let crash = schedule.faults.iter().find(|timed| matches!(timed.fault, Fault::Crash { .. }));
        let outcome = crash.map_or(Outcome::Passed, |crash| {
            let at = Duration::from_millis(crash.at_ms);
            let (property, text) = ("alive".into(), "a is gone".into());
            Outcome::Violated(Violation { property, text, at, node: Some("a".into()), details: vec![] })
        });
        let event = |timed: &Timed| Event {
            at: Duration::from_millis(timed.at_ms),
            node: "sim".into(),
            incarnation: 0,
            kind: "fault".into(),
            detail: serde_json::to_string(&timed.fault).unwrap(),
        };
        let trace = schedule.faults.iter().map(event).collect();
        let simulated = Duration::from_secs(3);
        Run { scenario: "fragile".into(), seed, schedule, drawn: vec![], outcome, trace, simulated }
    }

    fn run_elsewhere(&self, seed: u64, given: Option<&Schedule>) -> Result<(String, String), String> {
        let same = || Ok(("a second process".to_owned(), trace_text(&self.run(seed, given))));
        self.elsewhere.clone().unwrap_or_else(same)
    }

    fn command(&self, seed: u64, schedule: Option<&Path>) -> String {
        format!("again {seed} {schedule:?}")
    }
}

fn found(subject: &Fragile, folder: &str) -> (Report, std::path::PathBuf) {
    let out = std::env::temp_dir().join(format!("beamline-sim-{folder}-{}", std::process::id()));
    let run = subject.run(7, None);
    let double = double_run(subject, &run, None);
    let report = investigate(subject, run, None, double, Bounds::default(), &out, |_| {}).unwrap();
    (report, out)
}

#[test]
fn a_finding_is_shrunk_and_everything_of_it_is_written() {
    let (report, out) = found(&Fragile::new(None), "finding");
    assert_eq!(report.result, Finding::Violation);
    assert_eq!(report.schedule, schedule(), "what the seed drew");
    let smaller = report.shrunk.as_ref().unwrap();
    assert_eq!(smaller.schedule.faults.len(), 1);
    assert_eq!(report.events, 1, "the run that is shown is the shrunk one");
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    assert_eq!(read("report.txt"), report.to_string());
    assert_eq!(serde_json::from_str::<Report>(&read("report.json")).unwrap(), report);
    assert_eq!(read("trace.txt").lines().count(), 3);
    assert!(read("timeline.html").contains("a is gone"));
    let stored = Regression::read(&out.join("regression.json")).unwrap();
    assert_eq!((stored.seed, stored.property.as_str()), (7, "alive"));
    assert_eq!(stored.schedule, smaller.schedule);
    assert_eq!(crate::shrink::read_schedule(&out.join("regression.json")).unwrap(), smaller.schedule);
    std::fs::remove_dir_all(out).unwrap();
}

#[test]
fn a_finding_that_does_not_repeat_is_not_shrunk() {
    let other = Ok(("a second process".to_owned(), "something else\n".to_owned()));
    let subject = Fragile::new(Some(other));
    let (report, out) = found(&subject, "differs");
    assert_eq!(report.result, Finding::NonDeterministic);
    assert_eq!((report.shrunk, *subject.runs.borrow()), (None, 1));
    assert!(!out.join("regression.json").exists());
    std::fs::remove_dir_all(out).unwrap();
}

#[test]
fn without_a_second_process_a_finding_is_one_still() {
    let (report, out) = found(&Fragile::new(Some(Err("no such program".to_owned()))), "alone");
    assert_eq!(report.result, Finding::Violation);
    assert!(report.shrunk.is_some());
    assert!(report.to_string().contains("double run     not run: no such program\n"));
    std::fs::remove_dir_all(out).unwrap();
}
