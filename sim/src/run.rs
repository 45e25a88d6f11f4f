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

impl Outcome {
    /// What is wrong, in the words of a report; `None` if nothing is.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Passed => None,
            Self::Violated(violation) => Some(format!("{}: {}", violation.property, violation.text)),
            Self::Undecided(why) => Some(format!("undecided: {why}")),
            Self::Broken(why) => Some(format!("broken: {why}")),
        }
    }
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
        match self.outcome.reason() {
            None => Ok(self.trace),
            Some(reason) => Err(reason),
        }
    }
}

/// Runs a scenario once, with the faults that the seed draws, or with those that are given.
///
/// Without given ones, a schedule that the setup itself sets comes before what its [`Swarm`](crate::Swarm) would draw.
pub fn run(name: &str, setup: impl Fn(&mut Sim), seed: u64, schedule: Option<&Schedule>) -> Run {
    let mut sim = Sim::new(seed);
    setup(&mut sim);
    match schedule {
        Some(schedule) => sim.set_schedule(schedule.clone()),
        None => sim.draw_schedule(),
    }
    let (schedule, drawn) = (sim.schedule().clone(), sim.drawn().to_vec());
    let outcome = sim.drive();
    let simulated = sim.elapsed();
    Run { scenario: name.to_owned(), seed, schedule, drawn, outcome, trace: sim.into_trace(), simulated }
}
