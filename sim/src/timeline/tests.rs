use super::picture::{Arrow, Band, Bar, Operation, Strip};
use super::*;
use crate::fault::{Fault, Schedule};
use crate::trace::Trace;

fn event(at_ms: u64, node: &str, incarnation: u32, kind: &str, detail: &str) -> Event {
    let at = Duration::from_millis(at_ms);
    Event { at, node: node.into(), incarnation, kind: kind.into(), detail: detail.into() }
}

fn done(at_ms: u64, fault: &Fault) -> Event {
    event(at_ms, "sim", 0, "fault", &serde_json::to_string(fault).unwrap())
}

fn host(name: &str) -> String {
    name.to_owned()
}

fn picture(events: &[Event]) -> Picture {
    Picture::new(events, Duration::from_secs(10))
}

const S: u64 = 1_000_000;

#[test]
fn a_host_lives_pauses_crashes_and_lives_again() {
    let events = [
        event(0, "a", 1, "boot", ""),
        event(0, "b", 1, "boot", ""),
        done(1000, &Fault::Pause { node: host("a") }),
        done(2000, &Fault::Resume { node: host("a") }),
        done(3000, &Fault::Crash { node: host("a") }),
        event(4000, "a", 2, "boot", ""),
        done(5000, &Fault::Pause { node: host("a") }),
        event(6000, "sim", 0, "healed", ""),
    ];
    let picture = picture(&events);
    assert_eq!(picture.lanes, ["a", "b"]);
    assert_eq!(picture.healed, Some(6 * S));
    let bar = |from: u64, to: u64, state, incarnation| Bar {
        lane: 0,
        from: from * S,
        to: to * S,
        state,
        incarnation,
    };
    let bars: Vec<Bar> = picture.bars.iter().filter(|bar| bar.lane == 0).cloned().collect();
    assert_eq!(
        bars,
        [
            bar(0, 1, State::Alive, 1),
            bar(1, 2, State::Paused, 1),
            bar(2, 3, State::Alive, 1),
            bar(3, 4, State::Crashed, 1),
            bar(4, 5, State::Alive, 2),
            bar(5, 6, State::Paused, 2),
            bar(6, 10, State::Alive, 2),
        ]
    );
}

#[test]
fn an_arrow_ends_where_its_last_byte_is_read_and_nowhere_if_it_never_is() {
    let events = [
        event(100, "a", 1, "sent", "7 b 0 10 00"),
        event(110, "a", 1, "sent", "7 b 10 5 00"),
        // The other direction of the connection counts its own bytes.
        event(115, "b", 1, "sent", "7 a 0 10 00"),
        event(120, "b", 1, "got", "7 a 0 9"),
        event(130, "b", 1, "got", "7 a 9 3"),
        event(140, "a", 1, "sent", "8 b 0 1 00"),
        event(150, "b", 1, "got", "7 a 12 3"),
        event(160, "a", 1, "sent", "9 a 0 1 00"),
    ];
    let arrow = |event, from, to, read: Option<u64>, len| Arrow {
        event,
        from,
        to,
        read: read.map(|at| at * 1000),
        len,
    };
    assert_eq!(
        picture(&events).arrows,
        [
            arrow(0, 0, 1, Some(130), 10),
            arrow(1, 0, 1, Some(150), 5),
            arrow(2, 1, 0, None, 10),
            arrow(5, 0, 1, None, 1),
        ]
    );
}

#[test]
fn wires_are_cut_in_one_direction_or_both_until_they_are_mended_or_all_is_healed() {
    let events = [
        done(1000, &Fault::CutOneWay { from: host("b"), to: host("a") }),
        done(2000, &Fault::Cut { one: host("a"), other: host("b") }),
        done(3000, &Fault::Mend { one: host("b"), other: host("a") }),
        done(4000, &Fault::Partition { groups: vec![vec![host("a"), host("b")], vec![host("c")]] }),
        done(5000, &Fault::Partition { groups: vec![vec![host("b"), host("c")], vec![host("a")]] }),
        event(6000, "sim", 0, "healed", ""),
    ];
    let band =
        |from: u64, to: u64, one, other, one_way| Band { from: from * S, to: to * S, one, other, one_way };
    assert_eq!(
        picture(&events).bands,
        [
            band(1, 2, 1, 0, true),
            band(2, 3, 0, 1, false),
            band(4, 6, 0, 2, false),
            band(4, 5, 1, 2, false),
            band(5, 6, 0, 1, false),
        ]
    );
}

#[test]
fn what_a_host_has_to_bear_ends_when_it_is_lifted() {
    let events = [
        done(1000, &Fault::Slow { node: host("a"), polls_per_ms: Some(3) }),
        done(2000, &Fault::EpmdDown { node: host("b") }),
        done(3000, &Fault::Slow { node: host("a"), polls_per_ms: None }),
    ];
    assert_eq!(
        picture(&events).strips,
        [
            Strip { lane: 0, from: S, to: 3 * S, text: "slow" },
            Strip { lane: 1, from: 2 * S, to: 10 * S, text: "no EPMD" },
        ]
    );
}

#[test]
fn an_operation_lasts_from_its_call_to_its_answer_and_overlapping_ones_have_rows() {
    let events = [
        event(1000, "a", 1, "invoke", "one.0 key read"),
        event(2000, "a", 1, "invoke", "two.0 key write 3"),
        event(3000, "a", 1, "return", "one.0 key 7"),
        event(4000, "a", 1, "invoke", "one.0 key read"),
        event(5000, "a", 1, "unknown", "two.0 key timeout"),
    ];
    let operation = |event, row, from: u64, to: u64, end: Option<usize>, known| Operation {
        lane: 0,
        row,
        from: from * S,
        to: to * S,
        event,
        end,
        known,
    };
    assert_eq!(
        picture(&events).operations,
        [
            operation(0, 0, 1, 3, Some(2), true),
            operation(1, 1, 2, 5, Some(4), false),
            operation(3, 0, 4, 10, None, false),
        ]
    );
}

#[test]
fn a_program_that_is_started_twice_does_not_end_the_life_of_the_first() {
    let events = [
        event(0, "a", 1, "boot", ""),
        done(1000, &Fault::Twin { node: host("a") }),
        event(1001, "a", 2, "boot", ""),
        event(5000, "sim", 0, "healed", ""),
        done(6000, &Fault::Crash { node: host("a") }),
        event(7000, "a", 3, "boot", ""),
    ];
    let picture = picture(&events);
    let lives: Vec<u32> = picture.bars.iter().map(|bar| bar.incarnation).collect();
    assert_eq!(lives, [1, 1, 3], "alive, crashed, alive");
    assert_eq!(picture.strips, [Strip { lane: 0, from: S, to: 5 * S, text: "started twice" }]);
}

#[test]
fn a_hosts_state_at_a_moment_has_its_connections() {
    let events = [
        event(0, "a", 1, "boot", ""),
        event(0, "b", 1, "boot", ""),
        event(100, "a", 1, "connected", "1 a:40000 b:4369"),
        event(101, "b", 1, "accepted", "1 b:4369 a:40000"),
        event(102, "a", 1, "connected", "2 a:40001 b:5000"),
        event(200, "a", 1, "closed", "1 b eof"),
        done(300, &Fault::PowerLoss { node: host("b") }),
    ];
    let at = |ms| picture(&events).hosts_at(&events, Duration::from_millis(ms));
    let before = at(150);
    assert_eq!(before["a"].connections, BTreeMap::from([(host("b"), 2)]));
    assert_eq!((before["b"].state, before["b"].incarnation), (Some(State::Alive), 1));
    let after = at(300);
    assert_eq!(after["a"].connections, BTreeMap::from([(host("b"), 1)]));
    assert_eq!(after["b"].state, Some(State::Crashed));
    assert!(after["b"].connections.is_empty());
}

#[test]
fn no_text_of_a_run_escapes_into_the_page() {
    let text = "</script><script>alert(1)</script> {{data}}";
    let trace: Trace = [event(1, "a", 1, "boot", text)].into_iter().collect();
    let violation = Violation {
        property: text.into(),
        text: text.into(),
        at: Duration::ZERO,
        node: None,
        details: vec![],
    };
    let run = Run {
        scenario: text.into(),
        seed: 1,
        schedule: Schedule::default(),
        drawn: Vec::new(),
        outcome: Outcome::Violated(violation),
        trace,
        simulated: Duration::from_secs(1),
    };
    let page = timeline(&run);
    assert!(!page.contains("<script>alert"), "{page}");
    let (_, data) = page.split_once("type=\"application/json\">").unwrap();
    let (data, _) = data.split_once("</script>").unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["events"][0][4], text);
    assert_eq!(data["violation"]["text"], text);
}

#[test]
fn a_fault_is_told_in_words() {
    let groups = vec![vec![host("a"), host("b")], vec![host("c")]];
    for (fault, text) in [
        (Fault::Cut { one: host("a"), other: host("b") }, "cut a | b"),
        (Fault::CutOneWay { from: host("a"), to: host("b") }, "cut a → b"),
        (Fault::Partition { groups }, "partition a b | c"),
        (Fault::MendAll, "mend all"),
        (Fault::PowerLoss { node: host("a") }, "power loss a"),
        (Fault::ClockJump { node: host("a"), by_ms: -20 }, "clock of a -20 ms"),
        (Fault::EpmdDown { node: host("a") }, "epmd down a"),
    ] {
        assert_eq!(words(&fault), text);
    }
}
