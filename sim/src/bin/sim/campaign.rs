//! Many runs: scenarios by their seeds, some at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use beamline_sim::harness::{Bounds, Stopwatch, Subject, Watchdog, double_run, investigate};
use beamline_sim::report::{DoubleRun, Finding, Header, Report, fault_kind, hash_of_hashes};
use beamline_sim::{Outcome, Run, scenario};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::Failure;
use crate::one::{folder, shrink_bar, style};
use crate::subject::{Story, find};

/// Run scenarios by their seeds; the first that fails is run twice, shrunk, reported and drawn.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which scenario, or all.
    #[arg(long, value_name = "NAME")]
    scenario: String,
    /// Which seeds: A..B, one alone, or A.. with a time budget.
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    seeds: Seeds,
    /// How many runs at a time; as many as there are cores if nothing is said.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Run each seed a second time in another process, and compare: in this program, or in PROGRAM, a sim that was
    /// built otherwise.
    #[arg(long, value_name = "PROGRAM", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    double: Option<String>,
    /// Begin no run any more after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    time_budget: Option<u64>,
    /// Write a summary as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the report, the trace, the timeline and the schedule of a finding go; target/sim/SCENARIO-SEED if nothing
    /// is said.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How many seconds a run may take before it counts as hung: its seed is named, and the program ends with 3.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    watchdog: u64,
}

/// From this one to before that one, if there is an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seeds {
    start: u64,
    end: Option<u64>,
}

fn seeds(text: &str) -> Result<Seeds, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is not a seed"));
    let seeds = match text.split_once("..") {
        None => {
            let start = number(text)?;
            Seeds { start, end: Some(start.saturating_add(1)) }
        }
        Some((start, "")) => Seeds { start: number(start)?, end: None },
        Some((start, end)) => Seeds { start: number(start)?, end: Some(number(end)?) },
    };
    if seeds.end.is_some_and(|end| end <= seeds.start) {
        return Err("there is no seed in it".to_owned());
    }
    Ok(seeds)
}

/// What came of the runs of a scenario.
#[derive(Debug, Clone, Default, Serialize)]
struct Tally {
    scenario: String,
    seeds: u64,
    passed: u64,
    /// How many runs were the same in a second process.
    doubled: u64,
    undecided: Vec<u64>,
    events: u64,
    simulated_ms: u64,
    /// How often each kind of fault was in a schedule.
    faults: BTreeMap<String, u64>,
    /// In how many runs each thing was seen that is to happen sometimes: the details of events of that kind.
    sometimes: BTreeMap<String, u64>,
    /// A hash of the hashes of all runs in the order of their seeds: on the same lock file it changes when what the
    /// runs do does.
    hash: String,
}

#[derive(Serialize)]
struct Summary<'a> {
    header: Header,
    result: Finding,
    scenarios: &'a [Tally],
    report: Option<&'a Report>,
}

/// A run that is not let pass.
struct Found {
    story: usize,
    run: Run,
    double: Option<DoubleRun>,
}

#[derive(Default)]
struct State {
    tallies: Vec<Tally>,
    /// By scenario and seed.
    hashes: BTreeMap<(usize, u64), u64>,
    /// The one that comes first in the order of the runs, whichever job was first to end.
    found: Option<(u64, Found)>,
    undecided: Option<(u64, Found)>,
}

struct Campaign<'a> {
    args: &'a Args,
    stories: Vec<Story>,
    bar: ProgressBar,
    time: Stopwatch,
    next: AtomicU64,
    stop: AtomicBool,
    state: Mutex<State>,
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    if args.seeds.end.is_none() && args.time_budget.is_none() {
        return Err("seeds without an end need a --time-budget".to_owned());
    }
    let scenarios = match args.scenario.as_str() {
        "all" => scenario::ALL.iter().collect(),
        name => vec![find(name)?],
    };
    let patience = args.watchdog;
    let watchdog = Watchdog::start(Duration::from_secs(patience));
    let second = args.double.as_ref().filter(|program| !program.is_empty()).map(PathBuf::from);
    let tally =
        |scenario: &&scenario::Scenario| Tally { scenario: scenario.name.to_owned(), ..Tally::default() };
    let tallies = scenarios.iter().map(tally).collect();
    let story = |scenario| Story { scenario, watchdog: watchdog.clone(), patience, second: second.clone() };
    let stories: Vec<Story> = scenarios.into_iter().map(story).collect();
    let bar = match args.seeds.end {
        Some(end) => ProgressBar::new((end - args.seeds.start).saturating_mul(stories.len() as u64)),
        None => ProgressBar::new_spinner(),
    };
    bar.set_style(style(if args.seeds.end.is_some() {
        "{wide_bar} {pos}/{len} runs, {msg}, {eta} left"
    } else {
        "{spinner} {pos} runs, {msg}, {elapsed}"
    }));
    let state = Mutex::new(State { tallies, ..State::default() });
    let (time, next, stop) = (Stopwatch::start(), AtomicU64::new(0), AtomicBool::new(false));
    let campaign = Campaign { args, stories, bar, time, next, stop, state };
    campaign.go()
}

impl Campaign<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn go(&self) -> Result<u8, Failure> {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.args.jobs.unwrap_or_else(cores).max(1);
        thread::scope(|scope| {
            for job in 0..jobs {
                // As much as a main thread has: what a run does must not depend on where it runs.
                let builder = thread::Builder::new().name(format!("job {job}")).stack_size(8 << 20);
                builder.spawn_scoped(scope, || self.job()).map_err(|error| error.to_string())?;
            }
            Ok::<(), Failure>(())
        })?;
        self.bar.finish_and_clear();
        self.conclude()
    }

    /// Takes one run after the other until there is none left.
    fn job(&self) {
        let stories = self.stories.len() as u64;
        while !self.stop.load(Ordering::Relaxed) {
            if self.args.time_budget.is_some_and(|budget| self.time.elapsed() >= Duration::from_secs(budget))
            {
                return;
            }
            // All scenarios of a seed come before the next seed, so that a budget is spent on all of them.
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(seed) = self.args.seeds.start.checked_add(number / stories) else { return };
            if self.args.seeds.end.is_some_and(|end| seed >= end) {
                return;
            }
            let index = usize::try_from(number % stories).unwrap_or_default();
            let story = &self.stories[index];
            let run = story.run(seed, None);
            let double = self.args.double.is_some().then(|| double_run(story, &run, None));
            self.record(number, Found { story: index, run, double });
        }
    }

    fn record(&self, number: u64, ran: Found) {
        let mut state = self.lock();
        let Found { story, run, double } = &ran;
        state.hashes.insert((*story, run.seed), run.trace.hash());
        let tally = &mut state.tallies[*story];
        tally.seeds += 1;
        tally.events += run.trace.events().len() as u64;
        tally.simulated_ms += u64::try_from(run.simulated.as_millis()).unwrap_or_default();
        for timed in &run.schedule.faults {
            *tally.faults.entry(fault_kind(&timed.fault)).or_default() += 1;
        }
        let sometimes = run.trace.events().iter().filter(|event| event.kind == "sometimes");
        for fact in sometimes.map(|event| event.detail.clone()).collect::<BTreeSet<_>>() {
            *tally.sometimes.entry(fact).or_default() += 1;
        }
        let agreed = match double {
            None => true,
            Some(DoubleRun::Agreed { .. }) => {
                tally.doubled += 1;
                true
            }
            Some(_) => false,
        };
        match (&run.outcome, agreed) {
            (Outcome::Passed, true) => tally.passed += 1,
            (Outcome::Undecided(_), true) => {
                tally.undecided.push(run.seed);
                if state.undecided.as_ref().is_none_or(|(other, _)| number < *other) {
                    state.undecided = Some((number, ran));
                }
            }
            _ => {
                // Runs that have begun before it still end, and one of them may come before it.
                self.stop.store(true, Ordering::Relaxed);
                if state.found.as_ref().is_none_or(|(other, _)| number < *other) {
                    state.found = Some((number, ran));
                }
            }
        }
        let simulated: u64 = state.tallies.iter().map(|tally| tally.simulated_ms).sum();
        self.bar.inc(1);
        self.bar.set_message(format!("{:.0} simulated s/s", self.rate(simulated)));
    }

    fn rate(&self, simulated_ms: u64) -> f64 {
        Duration::from_millis(simulated_ms).as_secs_f64() / self.time.elapsed().as_secs_f64().max(0.001)
    }

    /// Says what came of it all, the finding last: it is what one looks for.
    fn conclude(&self) -> Result<u8, Failure> {
        let mut state = self.lock();
        let State { tallies, hashes, found, undecided } = &mut *state;
        for (index, tally) in tallies.iter_mut().enumerate() {
            let runs = hashes.range((index, 0)..=(index, u64::MAX)).map(|(_, hash)| *hash);
            tally.hash = format!("{:016x}", hash_of_hashes(runs));
            tally.undecided.sort_unstable();
        }
        let simulated: u64 = tallies.iter().map(|tally| tally.simulated_ms).sum();
        let (rate, wall) = (self.rate(simulated), self.time.elapsed().as_secs_f64());
        let report = match found.take().or_else(|| undecided.take()) {
            Some((_, found)) => Some(self.investigate(found)?),
            None => None,
        };
        for tally in tallies.iter() {
            println!("{}", line(tally, self.args.double.is_some()));
            for (fact, runs) in &tally.sometimes {
                println!("  {fact}: in {runs} runs");
            }
        }
        println!(
            "{:.0} simulated seconds in {wall:.1} s: {rate:.0} a second",
            Duration::from_millis(simulated).as_secs_f64()
        );
        let result = report.as_ref().map_or(Finding::Passed, |report| report.result);
        if let Some(path) = &self.args.json {
            let summary =
                Summary { header: Header::here(), result, scenarios: tallies, report: report.as_ref() };
            let text = serde_json::to_string_pretty(&summary).map_err(|error| error.to_string())? + "\n";
            std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        if let Some(report) = &report {
            print!("\n{report}");
        }
        Ok(result.exit_code())
    }

    fn investigate(&self, found: Found) -> Result<Report, Failure> {
        let Found { story, run, double } = found;
        let story = &self.stories[story];
        let double = double.unwrap_or_else(|| double_run(story, &run, None));
        if let (DoubleRun::NotRun { why }, Outcome::Passed) = (&double, &run.outcome) {
            return Err(format!("{}, seed {}: no second run: {why}", run.scenario, run.seed));
        }
        let out = self.args.out.clone().unwrap_or_else(|| folder(&run.scenario, run.seed));
        let bounds = Bounds::default();
        let report =
            shrink_bar(bounds, |progress| investigate(story, run, None, double, bounds, &out, progress));
        report.map_err(|error| format!("{}: {error}", out.display()))
    }
}

fn line(tally: &Tally, doubled: bool) -> String {
    let Tally { scenario, seeds, passed, undecided, events, hash, .. } = tally;
    let mut text = format!("{scenario:<20} {passed} of {seeds} passed");
    if doubled {
        text += &format!(", {} the same twice", tally.doubled);
    }
    if !undecided.is_empty() {
        text += &format!(", undecided: seeds {undecided:?}");
    }
    let faults: u64 = tally.faults.values().sum();
    text + &format!("; {faults} faults, {events} events, {hash}")
}
