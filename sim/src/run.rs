//! One run of a scenario, from its seed to what came of it.

use std::time::Duration;

use crate::check::Violation;
use crate::fault::Schedule;
use crate::sim::Sim;
use crate::trace::Trace;

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All that must hold did.
    Passed,
    /// Something did not.
    Violated(Violation),
    /// A checker could not find out, and why.
    Undecided(String),
    /// The scenario or the simulator failed, not what was simulated.
    Broken(String),
}

/// A run that has ended.
#[derive(Debug, Clone)]
pub struct Run {
    /// The scenario's name.
    pub scenario: String,
    /// Decides all that the schedule does not.
    pub seed: u64,
    /// The faults.
    pub schedule: Schedule,
    /// What else was drawn, by name: how many nodes, which kinds of faults.
    pub drawn: Vec<(String, String)>,
    /// What came of it.
    pub outcome: Outcome,
    /// What happened.
    pub trace: Trace,
    /// How much simulated time it took.
    pub simulated: Duration,
}

impl Run {
    /// What happened, if all that must hold did.
    ///
    /// # Errors
    /// If something did not, in the words of a report.
    pub fn passed(self) -> Result<Trace, String> {
        match self.outcome {
            Outcome::Passed => Ok(self.trace),
            Outcome::Violated(violation) => Err(format!("{}: {}", violation.property, violation.text)),
            Outcome::Undecided(why) | Outcome::Broken(why) => Err(why),
        }
    }
}

/// Runs a scenario once, with the faults that the seed draws, or with those that are given.
pub fn run(name: &str, setup: impl Fn(&mut Sim), seed: u64, schedule: Option<&Schedule>) -> Run {
    let mut sim = Sim::new(seed);
    setup(&mut sim);
    if let Some(schedule) = schedule {
        sim.set_schedule(schedule.clone());
    }
    let schedule = sim.schedule().clone();
    let (outcome, trace) = match sim.run() {
        Ok(trace) => (Outcome::Passed, trace),
        Err(failure) => (Outcome::Broken(failure.reason), failure.trace),
    };
    let simulated = trace.events().last().map(|event| event.at).unwrap_or_default();
    Run { scenario: name.to_owned(), seed, schedule, drawn: Vec::new(), outcome, trace, simulated }
}
