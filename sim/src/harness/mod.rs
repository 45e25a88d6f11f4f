//! What is done about a run that did not pass: it is run twice, shrunk, reported and drawn.

mod test;
#[cfg(test)]
mod tests;
mod watchdog;

use std::any::Any;
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

pub use self::test::{Test, test};
pub use self::watchdog::{Stopwatch, Watchdog};
use crate::fault::Schedule;
use crate::report::{DoubleRun, Finding, Header, Report, trace_text};
use crate::run::{Outcome, Run, run};
use crate::shrink::{MAX_RUNS, Progress, Regression, shrink};
use crate::sim::Sim;
use crate::timeline::timeline;
use crate::trace::Trace;

/// The name of the file that a shrunk schedule is written to.
const REGRESSION: &str = "regression.json";

/// How much wall time a shrinking takes at most, unless told otherwise.
pub const MAX_SHRINK_TIME: Duration = Duration::from_secs(120);

/// Something that can be run by seed: a scenario, or a test.
pub trait Subject {
    /// Runs it once, with the faults that the seed draws or with those that are given.
    fn run(&self, seed: u64, schedule: Option<&Schedule>) -> Run;

    /// Runs it in another process, and gives back what that is called and the run's [`trace_text`].
    ///
    /// # Errors
    /// If it could not be run, and why.
    fn run_elsewhere(&self, seed: u64, schedule: Option<&Schedule>) -> Result<(String, String), String>;

    /// The command that repeats the run of a seed, with the faults of a file if one is given.
    fn command(&self, seed: u64, schedule: Option<&Path>) -> String;
}

/// Bounds of a shrinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// How many runs; [`MAX_RUNS`] if nothing is said.
    pub runs: usize,
    /// How much wall time; [`MAX_SHRINK_TIME`] if nothing is said.
    pub time: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { runs: MAX_RUNS, time: MAX_SHRINK_TIME }
    }
}

/// As [`run`], but a panic of the setup or of the simulator is a broken run and not the end of the program.
pub fn run_caught(name: &str, setup: impl Fn(&mut Sim), seed: u64, schedule: Option<&Schedule>) -> Run {
    catch_unwind(AssertUnwindSafe(|| run(name, setup, seed, schedule))).unwrap_or_else(|panic| Run {
        scenario: name.to_owned(),
        seed,
        schedule: schedule.cloned().unwrap_or_default(),
        drawn: Vec::new(),
        outcome: Outcome::Broken(format!("the simulation itself panicked: {}", panic_text(&*panic))),
        trace: Trace::default(),
        simulated: Duration::ZERO,
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(not a text)")
}

/// Runs it a second time elsewhere, and compares.
pub fn double_run(subject: &dyn Subject, run: &Run, schedule: Option<&Schedule>) -> DoubleRun {
    match subject.run_elsewhere(run.seed, schedule) {
        Ok((by, text)) => DoubleRun::compare(run, &by, &text),
        Err(why) => DoubleRun::NotRun { why },
    }
}

/// What there is to say about a run, which had the faults of the file `given` or those that its seed drew, and of which
/// `double` says whether it came out the same twice. If a property is broken,
/// and a second run did not differ, its schedule is shrunk. The report, the trace, the timeline and the schedule are
/// written to the folder `out`, which is made if need be.
///
/// # Errors
/// If they cannot be written.
pub fn investigate(
    subject: &dyn Subject,
    first: Run,
    given: Option<&Path>,
    double: DoubleRun,
    bounds: Bounds,
    out: &Path,
    mut progress: impl FnMut(Progress),
) -> io::Result<Report> {
    let believed = !matches!(double, DoubleRun::Differed { .. });
    let shrunk = match &first.outcome {
        Outcome::Violated(violation) if believed => {
            let time = Stopwatch::start();
            let run = |schedule: &Schedule| subject.run(first.seed, Some(schedule)).outcome;
            Some(shrink(&first.schedule, violation, bounds.runs, run, |step| {
                progress(step);
                if time.elapsed() < bounds.time { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            }))
        }
        _ => None,
    };
    // What was not made smaller is shown as it was.
    let shown = match &shrunk {
        Some(shrunk) if shrunk.schedule != first.schedule => subject.run(first.seed, Some(&shrunk.schedule)),
        _ => first.clone(),
    };
    let mut report = Report::new(Header::here(), &shown, double, subject.command(first.seed, given));
    if let Some(shrunk) = &shrunk {
        let command = subject.command(first.seed, Some(&out.join(REGRESSION)));
        report.set_shrunk(&first, shrunk, command);
    }
    write(&mut report, &shown, out)?;
    Ok(report)
}

/// Writes a report and what belongs to it into a folder, which is made if need be.
///
/// # Errors
/// If that cannot be.
pub fn write(report: &mut Report, run: &Run, out: &Path) -> io::Result<()> {
    std::fs::create_dir_all(out)?;
    let file = |name: &str, text: &str| {
        let path = out.join(name);
        std::fs::write(&path, text)?;
        io::Result::Ok(Some(path.display().to_string()))
    };
    report.files.trace = file("trace.txt", &trace_text(run))?;
    report.files.timeline = file("timeline.html", &timeline(run))?;
    if report.result == Finding::Violation {
        let regression = Regression {
            scenario: run.scenario.clone(),
            seed: run.seed,
            property: report.property.clone().unwrap_or_default(),
            comment: report.text.clone(),
            schedule: run.schedule.clone(),
        };
        report.files.schedule = file(REGRESSION, &regression.to_json())?;
    }
    file("report.txt", &report.to_string())?;
    file("report.json", &report.to_json())?;
    Ok(())
}
