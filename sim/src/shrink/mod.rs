//! Makes a schedule that breaks a property small: by delta debugging, with whole runs as the judge.

mod stored;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

pub use self::stored::{Regression, RegressionError, parse_schedule, read_schedule};
use crate::check::Violation;
use crate::fault::{Schedule, Timed};
use crate::run::Outcome;

/// How many runs a shrinking takes at most, unless told otherwise.
pub const MAX_RUNS: usize = 200;

/// A schedule that was made as small as its bounds allowed.
#[derive(Debug, Clone, PartialEq)]
pub struct Shrunk {
    /// The smallest one found.
    pub schedule: Schedule,
    /// What it breaks: the property that was broken at first.
    pub violation: Violation,
    /// How many runs that took.
    pub runs: usize,
    /// Whether nothing smaller was left to try; otherwise a bound was reached.
    pub complete: bool,
}

/// How far a shrinking has come, after each run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Runs so far.
    pub runs: usize,
    /// How many faults the best schedule so far has.
    pub faults: usize,
    /// When it heals.
    pub heal_at_ms: u64,
}

/// Shrinks a schedule that led to `violation`. `run` runs another one with the same seed; a step counts only if the
/// same property is broken again, since another failure would be another bug. It ends when nothing smaller is left
/// to try, after `max_runs` runs, or when `progress`, which sees the time, says so.
pub fn shrink(
    schedule: &Schedule,
    violation: &Violation,
    max_runs: usize,
    run: impl FnMut(&Schedule) -> Outcome,
    progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Shrunk {
    let best = Shrunk { schedule: schedule.clone(), violation: violation.clone(), runs: 0, complete: false };
    let mut search = Search { best, max_runs, run, progress, tried: BTreeSet::from([key(schedule)]) };
    let end = search.all();
    search.best.complete = end.is_continue();
    search.best
}

// Data of strings and numbers: it has a text in any case.
fn key(schedule: &Schedule) -> String {
    serde_json::to_string(schedule).unwrap_or_default()
}

struct Search<R, P> {
    best: Shrunk,
    max_runs: usize,
    run: R,
    progress: P,
    /// The passes meet the same schedules again and again.
    tried: BTreeSet<String>,
}

/// Breaks off when a bound is reached.
type Step<T> = ControlFlow<(), T>;

impl<R: FnMut(&Schedule) -> Outcome, P: FnMut(Progress) -> ControlFlow<()>> Search<R, P> {
    fn all(&mut self) -> Step<()> {
        self.truncate()?;
        loop {
            let before = self.best.schedule.clone();
            self.remove()?;
            self.heal_earlier()?;
            self.round()?;
            if self.best.schedule == before {
                return ControlFlow::Continue(());
            }
        }
    }

    /// Whether this one breaks the property too; then it is the best from now on.
    fn accept(&mut self, schedule: Schedule) -> Step<bool> {
        if !self.tried.insert(key(&schedule)) {
            return ControlFlow::Continue(false);
        }
        if self.best.runs >= self.max_runs {
            return ControlFlow::Break(());
        }
        let outcome = (self.run)(&schedule);
        self.best.runs += 1;
        let property = &self.best.violation.property;
        let accepted = match outcome {
            Outcome::Violated(violation) if violation.property == *property => {
                self.best.violation = violation;
                self.best.schedule = schedule;
                true
            }
            _ => false,
        };
        let Shrunk { schedule, runs, .. } = &self.best;
        let faults = schedule.faults.len();
        (self.progress)(Progress { runs: *runs, faults, heal_at_ms: schedule.heal_at_ms })?;
        ControlFlow::Continue(accepted)
    }

    /// Without what comes after the violation.
    fn truncate(&mut self) -> Step<()> {
        let at_ms = u64::try_from(self.best.violation.at.as_millis()).unwrap_or(u64::MAX);
        let mut shorter = self.best.schedule.clone();
        shorter.faults.retain(|timed| timed.at_ms <= at_ms);
        if shorter.heal_at_ms > at_ms {
            shorter.heal_at_ms = at_ms + 1;
        }
        self.accept(shorter).map_continue(drop)
    }

    /// Without parts of the faults: first all, then halves, then ever smaller pieces, at last each alone, until none
    /// can be spared.
    fn remove(&mut self) -> Step<()> {
        let mut size = self.best.schedule.faults.len();
        while size > 0 {
            let mut spared = false;
            let mut start = 0;
            while start < self.best.schedule.faults.len() {
                let mut fewer = self.best.schedule.clone();
                let end = (start + size).min(fewer.faults.len());
                fewer.faults.drain(start..end);
                if self.accept(fewer)? {
                    // What came after the piece is now where it was.
                    spared = true;
                } else {
                    start += size;
                }
            }
            if size > 1 {
                size = size.div_ceil(2);
            } else if !spared {
                break;
            }
        }
        ControlFlow::Continue(())
    }

    /// Healed as soon as the last fault is done, or else after part of the time from then on.
    fn heal_earlier(&mut self) -> Step<()> {
        let Schedule { faults, heal_at_ms } = &self.best.schedule;
        let last = faults.last().map_or(0, |timed| timed.at_ms);
        let left = heal_at_ms.saturating_sub(last);
        for eighths in [0, 1, 2, 4] {
            let heal_at_ms = last + left * eighths / 8;
            if self.accept(Schedule { heal_at_ms, ..self.best.schedule.clone() })? {
                break;
            }
        }
        ControlFlow::Continue(())
    }

    /// At round times: all of them, and where that changes too much, each alone.
    fn round(&mut self) -> Step<()> {
        for unit in [1000, 100, 10] {
            let mut rounded = self.best.schedule.clone();
            for timed in &mut rounded.faults {
                timed.at_ms -= timed.at_ms % unit;
            }
            rounded.heal_at_ms = rounded.heal_at_ms.next_multiple_of(unit);
            if self.accept(rounded)? {
                continue;
            }
            let mut index = 0;
            while index < self.best.schedule.faults.len() {
                let mut rounded = self.best.schedule.clone();
                let timed: &mut Timed = &mut rounded.faults[index];
                timed.at_ms -= timed.at_ms % unit;
                rounded.faults.sort_by_key(|timed| timed.at_ms);
                self.accept(rounded)?;
                index += 1;
            }
        }
        ControlFlow::Continue(())
    }
}
