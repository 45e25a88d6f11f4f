//! Runs that are written by hand.

use std::time::Duration;

use super::{Checker, Verdict};
use crate::trace::Event;

/// Runs a checker over `MILLISECONDS HOST#INCARNATION KIND DETAIL`, a line each.
pub(super) fn check(mut checker: impl Checker, run: &str) -> Verdict {
    for line in run.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut fields = line.splitn(4, ' ');
        let mut field = || fields.next().unwrap_or_default();
        let (at, place, kind, detail) = (field(), field(), field(), field());
        let (node, incarnation) = place.split_once('#').unwrap_or((place, "0"));
        let event = Event {
            at: Duration::from_millis(at.parse().expect("a time")),
            node: node.to_owned(),
            incarnation: incarnation.parse().expect("an incarnation"),
            kind: kind.to_owned(),
            detail: detail.to_owned(),
        };
        if let Err(violation) = checker.event(&event) {
            return Verdict::Violated(violation);
        }
    }
    checker.finish()
}

/// As [`check`], of a run in which all holds.
pub(super) fn holds(checker: impl Checker, run: &str) {
    assert_eq!(check(checker, run), Verdict::Holds);
}

/// As [`check`], of a run in which something does not, and the text says so.
pub(super) fn violated(checker: impl Checker, run: &str, text: &str) {
    match check(checker, run) {
        Verdict::Violated(violation) => assert!(violation.text.contains(text), "{violation:?}"),
        other => panic!("{other:?}"),
    }
}
