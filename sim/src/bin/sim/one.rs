//! One run: again, or with fewer faults.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use beamline_sim::harness::{Bounds, Subject, Watchdog, double_run, investigate, write};
use beamline_sim::report::{DoubleRun, Header, Report, trace_text};
use beamline_sim::shrink::{MAX_RUNS, Progress, parse_schedule, read_schedule};
use beamline_sim::{Outcome, Schedule};
use indicatif::{ProgressBar, ProgressStyle};

use crate::Failure;
use crate::subject::{Story, find};

/// Run one seed again, and say what came of it.
#[derive(clap::Args)]
pub(crate) struct ReplayArgs {
    /// The seed.
    seed: u64,
    /// Of which scenario.
    #[arg(long, value_name = "NAME")]
    scenario: String,
    /// The faults, instead of those that the seed draws: a regression.json or a schedule as JSON; - is the standard input.
    #[arg(long, value_name = "FILE")]
    schedule: Option<PathBuf>,
    /// Print all that happens, a line each: nanoseconds, node#incarnation, kind, detail.
    #[arg(long)]
    trace: bool,
    /// Write the report, the trace and the timeline to this folder, also if the run passes.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How many seconds the run may take before it counts as hung.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    watchdog: u64,
}

/// Find the fewest faults with which a seed still breaks the same property.
#[derive(clap::Args)]
pub(crate) struct ShrinkArgs {
    /// The seed.
    seed: u64,
    /// Of which scenario.
    #[arg(long, value_name = "NAME")]
    scenario: String,
    /// The faults to begin with, instead of those that the seed draws.
    #[arg(long, value_name = "FILE")]
    schedule: Option<PathBuf>,
    /// How many runs it may take.
    #[arg(long, value_name = "N", default_value_t = MAX_RUNS)]
    max_runs: usize,
    /// How many seconds it may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    max_time: u64,
    /// Where the report, the trace, the timeline and the shrunk schedule go; target/sim/SCENARIO-SEED if nothing is said.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How many seconds a run may take before it counts as hung.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    watchdog: u64,
}

fn schedule(path: Option<&Path>) -> Result<Option<Schedule>, Failure> {
    if path.is_none() {
        return Ok(None);
    }
    if let Some(path) = file(path) {
        return read_schedule(path).map(Some);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| format!("the standard input: {error}"))?;
    parse_schedule(&text).map(Some)
}

/// A schedule's file, where it is one.
fn file(path: Option<&Path>) -> Option<&Path> {
    path.filter(|path| path.as_os_str() != "-")
}

fn story(scenario: &str, patience: u64) -> Result<Story, Failure> {
    let watchdog = Watchdog::start(Duration::from_secs(patience));
    Ok(Story { scenario: find(scenario)?, watchdog, patience, second: None })
}

pub(crate) fn replay(args: &ReplayArgs) -> Result<u8, Failure> {
    let story = story(&args.scenario, args.watchdog)?;
    let schedule = schedule(args.schedule.as_deref())?;
    let run = story.run(args.seed, schedule.as_ref());
    let text = trace_text(&run);
    if args.trace {
        print!("{text}");
    } else if run.outcome == Outcome::Passed {
        let simulated = run.simulated.as_secs_f64();
        println!("passed: {} events, {simulated:.3} s simulated", run.trace.events().len());
        println!("{:016x}", run.trace.hash());
    }
    let double = DoubleRun::NotRun { why: "a replay runs once".to_owned() };
    let mut report =
        Report::new(Header::here(), &run, double, story.command(args.seed, file(args.schedule.as_deref())));
    if let Some(out) = &args.out {
        write(&mut report, &run, out).map_err(|error| format!("{}: {error}", out.display()))?;
    }
    if run.outcome != Outcome::Passed {
        eprint!("{report}");
    }
    Ok(report.result.exit_code())
}

pub(crate) fn shrink(args: &ShrinkArgs) -> Result<u8, Failure> {
    let story = story(&args.scenario, args.watchdog)?;
    let schedule = schedule(args.schedule.as_deref())?;
    let run = story.run(args.seed, schedule.as_ref());
    if run.outcome == Outcome::Passed {
        println!("{}, seed {} passes: there is nothing to shrink", args.scenario, args.seed);
        return Ok(0);
    }
    let out = args.out.clone().unwrap_or_else(|| folder(&args.scenario, args.seed));
    let bounds = Bounds { runs: args.max_runs, time: Duration::from_secs(args.max_time) };
    let double = double_run(&story, &run, schedule.as_ref());
    let given = file(args.schedule.as_deref());
    let report =
        shrink_bar(bounds, |progress| investigate(&story, run, given, double, bounds, &out, progress));
    let report = report.map_err(|error| format!("{}: {error}", out.display()))?;
    print!("{report}");
    Ok(report.result.exit_code())
}

/// Where the files of a finding go if nothing is said.
pub(crate) fn folder(scenario: &str, seed: u64) -> PathBuf {
    Path::new("target/sim").join(format!("{scenario}-{seed}"))
}

/// Shows on a terminal how far a shrinking has come.
pub(crate) fn shrink_bar<T>(bounds: Bounds, work: impl FnOnce(&mut dyn FnMut(Progress)) -> T) -> T {
    let bar = ProgressBar::new(bounds.runs as u64);
    bar.set_style(style("shrinking {wide_bar} {pos} of at most {len} runs, {msg}"));
    let done = work(&mut |Progress { runs, faults, .. }| {
        bar.set_position(runs as u64);
        bar.set_message(format!("{faults} faults left"));
    });
    bar.finish_and_clear();
    done
}

pub(crate) fn style(template: &str) -> ProgressStyle {
    // A constant, which a test of every command shows to be right.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
