//! What is told about a run that did not pass: enough to repeat it, to understand it and to keep it.

mod built;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::built::Header;
use crate::fault::{Fault, Schedule};
use crate::run::{Outcome, Run};
use crate::shrink::Shrunk;
use crate::timeline::{Picture, State, fault, words};
use crate::trace::{Event, Fnv};

/// How many of each host's last events a report has.
pub const LAST_EVENTS: usize = 50;

/// What came of a run, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Finding {
    /// All that must hold did.
    Passed,
    /// A property was broken.
    Violation,
    /// A checker could not find out.
    Undecided,
    /// The scenario or the simulator failed.
    Broken,
    /// The same run came out otherwise the second time: nothing else that is said of it is to be believed.
    NonDeterministic,
}

impl Finding {
    /// The exit code of a program that ends with this: 0 passed, 1 a violation, 2 non-determinism, 3 undecided, or the
    /// scenario or the simulator failed.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Violation => 1,
            Self::NonDeterministic => 2,
            Self::Undecided | Self::Broken => 3,
        }
    }
}

/// Whether a second run of the same seed and schedule was the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "double_run", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DoubleRun {
    /// It was.
    Agreed {
        /// What ran it.
        by: String,
    },
    /// It was not.
    Differed {
        /// What ran it.
        by: String,
        /// How many lines of the trace they have in common.
        common: usize,
        /// What then happened in the first, if anything did.
        first: Option<String>,
        /// What then happened in the second.
        second: Option<String>,
    },
    /// There was none, and why.
    NotRun {
        /// Why.
        why: String,
    },
}

impl DoubleRun {
    /// Compares a run's trace with the text of another's, which `by` ran.
    pub fn compare(run: &Run, by: &str, other: &str) -> Self {
        let ours = trace_text(run);
        let by = by.to_owned();
        if ours == other {
            return Self::Agreed { by };
        }
        let common = ours.lines().zip(other.lines()).take_while(|(left, right)| left == right).count();
        let line = |text: &str| text.lines().nth(common).map(str::to_owned);
        Self::Differed { by, common, first: line(&ours), second: line(other) }
    }
}

impl Display for DoubleRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agreed { by } => write!(f, "agreed ({by})"),
            Self::Differed { by, common, first, second } => {
                writeln!(f, "DIFFERED ({by}) after {common} events; then")?;
                writeln!(f, "    first:  {}", first.as_deref().unwrap_or("(it ended)"))?;
                write!(f, "    second: {}", second.as_deref().unwrap_or("(it ended)"))
            }
            Self::NotRun { why } => write!(f, "not run: {why}"),
        }
    }
}

/// A run's events as text, a line each, and its hash and what came of it as the last two.
pub fn trace_text(run: &Run) -> String {
    let mut text = String::new();
    for event in run.trace.events() {
        text += &event.to_string();
        text.push('\n');
    }
    let outcome = match &run.outcome {
        Outcome::Passed => "passed".to_owned(),
        Outcome::Violated(violation) => format!("violated {}: {}", violation.property, violation.text),
        Outcome::Undecided(why) => format!("undecided: {why}"),
        Outcome::Broken(why) => format!("broken: {why}"),
    };
    text + &outcome + &format!("\n{:016x}\n", run.trace.hash())
}

/// A hash of a schedule, as reports have it.
pub fn schedule_hash(schedule: &Schedule) -> String {
    let mut hash = Fnv::default();
    // Data of strings and numbers: it has a text in any case.
    hash.write(serde_json::to_string(schedule).unwrap_or_default().as_bytes());
    format!("{:016x}", hash.0)
}

/// A hash of the hashes of many runs.
pub fn hash_of_hashes(hashes: impl IntoIterator<Item = u64>) -> u64 {
    let mut all = Fnv::default();
    for hash in hashes {
        all.write(&hash.to_be_bytes());
    }
    all.0
}

/// The name of a kind of fault, as schedules have it.
pub fn fault_kind(fault: &Fault) -> String {
    let value = serde_json::to_value(fault).unwrap_or_default();
    value.get("fault").and_then(|kind| kind.as_str()).unwrap_or_default().to_owned()
}

/// A schedule made small.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Smaller {
    /// The command that repeats the run with no other faults.
    pub command: String,
    /// How many faults there were before.
    pub faults_before: usize,
    /// How many runs it took.
    pub runs: usize,
    /// Whether nothing smaller was left to try within the bounds.
    pub complete: bool,
    /// Its hash.
    pub hash: String,
    /// The faults.
    pub schedule: Schedule,
}

/// How a host was when the property broke, or at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// `alive`, `paused`, `crashed`, or `not started`.
    pub state: String,
    /// Which life of its program.
    pub incarnation: u32,
    /// Its open connections, by the host at their other end.
    pub connections: BTreeMap<String, usize>,
}

/// The files beside a report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// All events, as text.
    pub trace: Option<String>,
    /// The run as a picture.
    pub timeline: Option<String>,
    /// The schedule, as a regression to be kept.
    pub schedule: Option<String>,
}

/// A report. As text ([`Display`]) and as JSON it says the same, in one order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Of which program, and when.
    pub header: Header,
    /// What came of the run.
    pub result: Finding,
    /// The scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// The one command that repeats the run.
    pub command: String,
    /// The property that was broken.
    pub property: Option<String>,
    /// What went wrong, in a sentence.
    pub text: String,
    /// When, in milliseconds of simulated time.
    pub at_ms: Option<u64>,
    /// The host that it is about.
    pub node: Option<String>,
    /// Whether a second run agreed.
    pub double: DoubleRun,
    /// A hash of the schedule that the seed drew.
    pub schedule_hash: String,
    /// A hash of all that happened in the run that the report shows: of the shrunk schedule, if there is one.
    pub trace_hash: String,
    /// How many events that run has.
    pub events: usize,
    /// How much simulated time it took, in milliseconds.
    pub simulated_ms: u64,
    /// What was drawn beside the schedule.
    pub drawn: Vec<(String, String)>,
    /// The schedule that the seed drew.
    pub schedule: Schedule,
    /// The same made small.
    pub shrunk: Option<Smaller>,
    /// The counter-example.
    pub details: Vec<String>,
    /// How the hosts were.
    pub nodes: BTreeMap<String, HostReport>,
    /// Their last events, and those of `sim`, without the bytes that were sent and read.
    pub last: BTreeMap<String, Vec<String>>,
    /// What else was written.
    pub files: Files,
}

impl Report {
    /// A report of `run`, which is the first of its seed, or the run of the shrunk schedule if there is one.
    pub fn new(header: Header, run: &Run, double: DoubleRun, command: String) -> Self {
        let (result, property, text, details, at, node) = match &run.outcome {
            Outcome::Passed => {
                (Finding::Passed, None, "all that must hold did".to_owned(), vec![], None, None)
            }
            Outcome::Violated(v) => {
                let (property, details) = (Some(v.property.clone()), v.details.clone());
                (Finding::Violation, property, v.text.clone(), details, Some(v.at), v.node.clone())
            }
            Outcome::Undecided(why) => (Finding::Undecided, None, why.clone(), vec![], None, None),
            Outcome::Broken(why) => (Finding::Broken, None, why.clone(), vec![], None, None),
        };
        let result = match double {
            DoubleRun::Differed { .. } => Finding::NonDeterministic,
            _ => result,
        };
        let events = run.trace.events();
        let seen = at.unwrap_or(run.simulated);
        Self {
            header,
            result,
            scenario: run.scenario.clone(),
            seed: run.seed,
            command,
            property,
            text,
            at_ms: at.map(millis),
            node,
            double,
            schedule_hash: schedule_hash(&run.schedule),
            trace_hash: format!("{:016x}", run.trace.hash()),
            events: events.len(),
            simulated_ms: millis(run.simulated),
            drawn: run.drawn.clone(),
            schedule: run.schedule.clone(),
            shrunk: None,
            details,
            nodes: nodes(events, seen),
            last: last(events, seen),
            files: Files::default(),
        }
    }

    /// Says that the run is that of a shrunk schedule, which `command` repeats; `first` was the run of what the seed
    /// drew.
    pub fn set_shrunk(&mut self, first: &Run, shrunk: &Shrunk, command: String) {
        self.schedule = first.schedule.clone();
        self.schedule_hash = schedule_hash(&first.schedule);
        self.drawn = first.drawn.clone();
        self.shrunk = Some(Smaller {
            command,
            faults_before: first.schedule.faults.len(),
            runs: shrunk.runs,
            complete: shrunk.complete,
            hash: schedule_hash(&shrunk.schedule),
            schedule: shrunk.schedule.clone(),
        });
    }

    /// The report as JSON.
    pub fn to_json(&self) -> String {
        // Strings and numbers always have a text.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

fn millis(at: Duration) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}

fn nodes(events: &[Event], at: Duration) -> BTreeMap<String, HostReport> {
    let hosts = Picture::new(events, at).hosts_at(events, at);
    let report = |(name, host): (String, crate::timeline::HostState)| {
        let state = match host.state {
            Some(State::Alive) => "alive",
            Some(State::Paused) => "paused",
            Some(State::Crashed) => "crashed",
            None => "not started",
        };
        let (incarnation, connections) = (host.incarnation, host.connections);
        (name, HostReport { state: state.to_owned(), incarnation, connections })
    };
    hosts.into_iter().map(report).collect()
}

fn last(events: &[Event], at: Duration) -> BTreeMap<String, Vec<String>> {
    let mut last: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // From the end, so that a long run is not copied for the few lines of it that are kept.
    // Bytes that were sent and read would leave no room for what they meant; the trace has them.
    let told = |event: &&Event| !matches!(event.kind.as_str(), "sent" | "got");
    for event in events.iter().rev().skip_while(|event| event.at > at).filter(told) {
        let lines = last.entry(event.node.clone()).or_default();
        if lines.len() < LAST_EVENTS {
            lines.push(line(event));
        }
    }
    last.values_mut().for_each(|lines| lines.reverse());
    last
}

/// An event under the name of its host: seconds, incarnation, kind, detail.
fn line(event: &Event) -> String {
    let Event { at, incarnation, kind, detail, .. } = event;
    let detail = fault(event).map_or_else(|| detail.clone(), |fault| words(&fault));
    let life = if *incarnation == 0 { String::new() } else { format!(" #{incarnation}") };
    let text = format!("{:>11.6}{life} {kind} {detail}", at.as_secs_f64());
    text.trim_end().replace('\n', "\n            ")
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scenario, seed) = (&self.scenario, self.seed);
        match (self.result, &self.property) {
            (Finding::NonDeterministic, _) => writeln!(
                f,
                "NOT DETERMINISTIC: {scenario}, seed {seed}: the same run came out otherwise the second time.\n\
                 Find what escapes the seed first: neither the command below nor the rest is to be believed. Most often it is a real clock\n\
                 (use World::clock, or tokio's), random numbers (World::entropy), the order of a HashMap (a BTreeMap), `select!` that is\n\
                 not `biased`, a thread, a static."
            )?,
            (Finding::Violation, Some(property)) => {
                writeln!(f, "VIOLATION of {property}: {scenario}, seed {seed}")?;
            }
            (Finding::Undecided, _) => writeln!(f, "UNDECIDED: {scenario}, seed {seed}")?,
            (Finding::Passed, _) => writeln!(f, "passed: {scenario}, seed {seed}")?,
            _ => writeln!(f, "BROKEN, not a finding: {scenario}, seed {seed}")?,
        }
        writeln!(f, "\n  {}", self.text.replace('\n', "\n  "))?;
        if let Some(at) = self.at_ms {
            let node = self.node.as_ref().map(|node| format!(", at {node}")).unwrap_or_default();
            writeln!(f, "  seen {} into the run{node}", seconds(at))?;
        }
        writeln!(f, "\nrun it again   {}", self.command)?;
        writeln!(f, "double run     {}", self.double)?;
        let (events, simulated) = (self.events, seconds(self.simulated_ms));
        writeln!(f, "trace          {} ({events} events, {simulated} simulated)", self.trace_hash)?;
        let faults = self.schedule.faults.len();
        let healed = seconds(self.schedule.heal_at_ms);
        writeln!(f, "schedule       {} ({faults} faults, healed at {healed})", self.schedule_hash)?;
        for (name, value) in &self.drawn {
            writeln!(f, "drawn          {name}: {value}")?;
        }
        for (name, path) in [
            ("trace", &self.files.trace),
            ("timeline", &self.files.timeline),
            ("schedule", &self.files.schedule),
        ] {
            if let Some(path) = path {
                writeln!(f, "file           {name}: {path}")?;
            }
        }
        write!(f, "{}", self.header)?;
        if let Some(Smaller { command, faults_before, runs, complete, hash, schedule }) = &self.shrunk {
            let left = if *complete { "" } else { "; a bound was reached before all was tried" };
            writeln!(
                f,
                "\nShrunk from {faults_before} faults to {} in {runs} runs ({hash}{left}):",
                schedule.faults.len()
            )?;
            write_schedule(f, schedule)?;
            writeln!(f, "  {command}")?;
        } else if !self.schedule.faults.is_empty() {
            writeln!(f, "\nSchedule:")?;
            write_schedule(f, &self.schedule)?;
        }
        if !self.details.is_empty() {
            writeln!(f, "\nCounter-example:")?;
            for detail in &self.details {
                writeln!(f, "  {detail}")?;
            }
        }
        let when = if self.at_ms.is_some() { "when it was seen" } else { "at the end" };
        writeln!(f, "\nHosts {when}:")?;
        for (name, HostReport { state, incarnation, connections }) in &self.nodes {
            let connections: Vec<String> =
                connections.iter().map(|(peer, n)| format!("{peer} ({n})")).collect();
            let connections =
                if connections.is_empty() { "no connections".to_owned() } else { connections.join(", ") };
            writeln!(f, "  {name:<12} {state:<11} #{incarnation:<3} {connections}")?;
        }
        for (name, lines) in &self.last {
            writeln!(f, "\nLast events of {name}:")?;
            for line in lines {
                writeln!(f, "{line}")?;
            }
        }
        Ok(())
    }
}

fn write_schedule(f: &mut fmt::Formatter<'_>, schedule: &Schedule) -> fmt::Result {
    for timed in &schedule.faults {
        writeln!(f, "  {:>10}  {}", seconds(timed.at_ms), words(&timed.fault))?;
    }
    writeln!(f, "  {:>10}  all is healed", seconds(schedule.heal_at_ms))
}
