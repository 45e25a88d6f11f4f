use super::built::utc;
use super::*;
use crate::check::Violation;
use crate::fault::{Fault, Timed};
use crate::trace::Trace;

fn event(at_ms: u64, node: &str, incarnation: u32, kind: &str, detail: &str) -> Event {
    let at = Duration::from_millis(at_ms);
    Event { at, node: node.into(), incarnation, kind: kind.into(), detail: detail.into() }
}

fn cut(at_ms: u64) -> Timed {
    Timed { at_ms, fault: Fault::Cut { one: "a".into(), other: "b".into() } }
}

fn violated() -> Run {
    let crash = serde_json::to_string(&Fault::Crash { node: "b".into() }).unwrap();
    let mut events = vec![
        event(0, "a", 1, "boot", ""),
        event(0, "b", 1, "boot", ""),
        event(5, "a", 1, "connected", "1 a:40000 b:4369"),
        event(900, "sim", 0, "fault", &crash),
    ];
    events.extend((0..60).map(|n| event(1000 + n, "a", 1, "step", &n.to_string())));
    events.push(event(2000, "a", 1, "sent", "1 b 0 10 00"));
    events.push(event(3000, "a", 1, "step", "after the violation"));
    let violation = Violation {
        property: "one-owner".into(),
        text: "The name x is owned by a and by b.".into(),
        at: Duration::from_millis(2500),
        node: Some("a".into()),
        details: vec!["x: a#1".into(), "x: b#1".into()],
    };
    Run {
        scenario: "names".into(),
        seed: 7,
        schedule: Schedule { faults: vec![cut(1000)], heal_at_ms: 5000 },
        drawn: vec![("nodes".into(), "2".into())],
        outcome: Outcome::Violated(violation),
        trace: events.into_iter().collect(),
        simulated: Duration::from_secs(3),
    }
}

fn report(run: &Run) -> Report {
    let double = DoubleRun::compare(run, "a second process", &trace_text(run));
    Report::new(Header::default(), run, double, "sim replay 7 --scenario names".into())
}

#[test]
fn the_text_says_what_is_broken_how_to_repeat_it_and_how_the_hosts_were() {
    let run = violated();
    let mut report = report(&run);
    let Outcome::Violated(violation) = run.outcome.clone() else { unreachable!() };
    let shrunk = Shrunk { schedule: run.schedule.clone(), violation, runs: 12, complete: true };
    let before = Schedule { faults: vec![cut(1), cut(2), cut(1000)], heal_at_ms: 9000 };
    let first = Run { schedule: before, drawn: vec![("nodes".into(), "3".into())], ..run };
    report.set_shrunk(&first, &shrunk, "sim replay 7 --schedule x".into());
    let text = report.to_string();
    let head = "VIOLATION of one-owner: names, seed 7\n\n  The name x is owned by a and by b.\n  \
                seen 2.500 s into the run, at a\n\nrun it again   sim replay 7 --scenario names\n\
                double run     agreed (a second process)\n";
    assert!(text.starts_with(head), "{text}");
    for part in [
        "(3 faults, healed at 9.000 s)",
        "drawn          nodes: 3\n",
        "Shrunk from 3 faults to 1 in 12 runs",
        "     1.000 s  cut a | b\n     5.000 s  all is healed\n  sim replay 7 --schedule x\n",
        "Counter-example:\n  x: a#1\n  x: b#1\n",
        "Hosts when it was seen:\n  a            alive       #1   b (1)\n  b            crashed     #1   no connections\n",
        "Last events of sim:\n   0.900000 fault crash b\n",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    assert!(!text.contains("after the violation"));
    assert_eq!(report.last["a"].len(), LAST_EVENTS);
    assert!(report.last["a"].last().unwrap().ends_with("step 59"));
}

#[test]
fn the_json_has_it_all_in_one_order_and_is_read_back() {
    let report = report(&violated());
    let json = report.to_json();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["result"], "violation");
    assert_eq!(value["double"]["double_run"], "agreed");
    assert_eq!(value["schedule"]["faults"][0]["fault"], "cut");
    assert_eq!(value["nodes"]["a"]["connections"]["b"], 1);
    assert_eq!(json, self::report(&violated()).to_json());
}

#[test]
fn a_run_that_differs_says_so_first_and_names_the_event() {
    let run = violated();
    let mut events = run.trace.events().to_vec();
    events[3] = event(901, "a", 1, "leak", "0x7f");
    let other = Run { trace: events.into_iter().collect::<Trace>(), ..run.clone() };
    let double = DoubleRun::compare(&run, "a second process", &trace_text(&other));
    let report = Report::new(Header::default(), &run, double, "sim replay 7".into());
    assert_eq!(report.result, Finding::NonDeterministic);
    let text = report.to_string();
    assert!(text.starts_with("NOT DETERMINISTIC: names, seed 7"), "{text}");
    assert!(text.contains("DIFFERED (a second process) after 3 events; then\n"), "{text}");
    assert!(text.contains("second: 901000000 a#1 leak 0x7f\n"), "{text}");
}

#[test]
fn a_run_that_ends_early_differs_too() {
    let run = violated();
    let shorter: Trace = run.trace.events()[..10].iter().cloned().collect();
    let shorter = Run { trace: shorter, ..run.clone() };
    let DoubleRun::Differed { common, second, .. } = DoubleRun::compare(&run, "", &trace_text(&shorter))
    else {
        panic!("they are not the same")
    };
    assert_eq!(common, 10);
    assert!(second.unwrap().starts_with("violated one-owner"));
}

#[test]
fn every_outcome_has_its_exit_code() {
    let of = |outcome| report(&Run { outcome, ..violated() });
    assert_eq!(of(Outcome::Passed).result.exit_code(), 0);
    assert_eq!(report(&violated()).result.exit_code(), 1);
    assert_eq!(Finding::NonDeterministic.exit_code(), 2);
    let undecided = of(Outcome::Undecided("too many operations".into()));
    assert_eq!(undecided.result.exit_code(), 3);
    assert!(undecided.to_string().starts_with("UNDECIDED: names, seed 7\n\n  too many operations\n"));
    let broken = of(Outcome::Broken("out of ports".into()));
    assert_eq!(broken.result.exit_code(), 3);
    assert!(broken.to_string().starts_with("BROKEN, not a finding: names, seed 7"));
}

#[test]
fn times_are_those_of_the_calendar() {
    // As `date -u -d @N` says.
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_399, "2000-02-28T23:59:59Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (1_735_689_599, "2024-12-31T23:59:59Z"),
        (1_767_225_600, "2026-01-01T00:00:00Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
    ] {
        assert_eq!(utc(Duration::from_secs(seconds)), text);
    }
}
