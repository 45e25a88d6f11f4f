//! Simulations as tests: `cargo test` runs them over their seeds, and the environment says otherwise where need be.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::watchdog::RUN_LIMIT;
use super::{Bounds, Stopwatch, Subject, Watchdog, double_run, investigate, run_caught};
use crate::fault::Schedule;
use crate::report::{DoubleRun, trace_text};
use crate::run::{Outcome, Run};
use crate::shrink::{Regression, read_schedule};
use crate::sim::Sim;

/// How many seeds a test runs if nothing is said.
pub(super) const SEEDS: u64 = 20;

/// Tells a process that it is the second run of a test.
const SECOND: &str = "BEAMLINE_SIM_SECOND";

/// A simulation as a test: it is run for each of its seeds, and the first that does not pass is run a second time in
/// another process, shrunk, and reported; the test then panics with the report, and report, trace, timeline and schedule are
/// in `target/sim/NAME`. The first seed is run twice in any case: a test that is not deterministic fails.
///
/// A `regression.json` that is moved from there to the folder `regressions` beside `Cargo.toml`, under any name, is
/// replayed before the seeds: a seed means another run when what is drawn from it changes, a schedule stays.
///
/// The environment says which seeds:
///
/// - `BEAMLINE_SIM_SEED=N` runs one, and with `BEAMLINE_SIM_SCHEDULE=FILE` with the faults of that file: a
///   `regression.json`, or a [`Schedule`] as JSON.
/// - `BEAMLINE_SIM_SEEDS=N` sets how many.
/// - `BEAMLINE_SIM_TIME=SECONDS` runs fresh ones, as many as fit into that time.
///
/// ```
/// use std::time::Duration;
///
/// beamline_sim::Test::new("sleeper").seeds(0..3).run(|sim| {
///     sim.node("one", |world| async move {
///         world.sleep(Duration::from_secs(1)).await;
///         Ok(())
///     });
/// });
/// ```
#[derive(Debug, Clone)]
pub struct Test {
    name: String,
    seeds: Range<u64>,
    /// What the test harness calls it, where that is known.
    function: Option<String>,
}

/// Runs a simulation as the test function of this path, crate and all: what the attribute `#[beamline::sim]` calls.
///
/// # Panics
/// If a seed does not pass, with the report.
pub fn test(path: &str, seeds: Option<Range<u64>>, setup: impl Fn(&mut Sim)) {
    let function = path.split_once("::").map_or(path, |(_, function)| function);
    let mut test = Test::new(function.replace("::", "-"));
    test.function = Some(function.to_owned());
    if let Some(seeds) = seeds {
        test = test.seeds(seeds);
    }
    test.run(setup);
}

impl Test {
    /// A test of this name, which is that of its folder in `target/sim` too. It has 20 seeds, from 0 on.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), seeds: 0..SEEDS, function: None }
    }

    /// Sets which seeds are run.
    pub fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// Runs them. `setup` is called anew for each: it says which nodes there are, what they do and what must hold.
    ///
    /// # Panics
    /// If one does not pass, with the report.
    pub fn run(self, setup: impl Fn(&mut Sim)) {
        let watchdog = Watchdog::start(RUN_LIMIT);
        let subject = Tested { test: &self, setup: &setup, watchdog };
        if let Ok(second) = std::env::var(SECOND) {
            subject.be_second(&second);
            return;
        }
        let variable = |name: &str| std::env::var(name).ok();
        let plan = Plan::new(variable, self.seeds.clone(), fresh).unwrap_or_else(|why| panic!("{why}"));
        subject.run_all(&plan);
    }
}

fn fresh() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "fresh seeds are other ones every time")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    // Short enough to be typed, and far from those that are written down.
    u64::try_from(now.as_millis()).unwrap_or_default()
}

/// Which seeds, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) seeds: Range<u64>,
    pub(super) budget: Option<Duration>,
    pub(super) schedule: Option<PathBuf>,
    /// Whether what is stored is run before them.
    pub(super) replays: bool,
}

impl Plan {
    pub(super) fn new(
        variable: impl Fn(&str) -> Option<String>,
        seeds: Range<u64>,
        fresh: impl FnOnce() -> u64,
    ) -> Result<Self, String> {
        let number = |name: &str| match variable(name) {
            None => Ok(None),
            Some(text) => match text.trim().parse::<u64>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(format!("{name} must be a whole number, not {text:?}")),
            },
        };
        let (one, count, time) =
            (number("BEAMLINE_SIM_SEED")?, number("BEAMLINE_SIM_SEEDS")?, number("BEAMLINE_SIM_TIME")?);
        let schedule = variable("BEAMLINE_SIM_SCHEDULE").map(PathBuf::from);
        if schedule.is_some() && one.is_none() {
            return Err("BEAMLINE_SIM_SCHEDULE needs the BEAMLINE_SIM_SEED that it belongs to".to_owned());
        }
        if let Some(seed) = one {
            let seeds = seed..seed.saturating_add(1);
            return Ok(Self { seeds, budget: None, schedule, replays: false });
        }
        let budget = time.map(Duration::from_secs);
        let start = if budget.is_some() { fresh() } else { seeds.start };
        let end = match (count, budget) {
            (Some(count), _) => start.saturating_add(count),
            (None, Some(_)) => u64::MAX,
            (None, None) => seeds.end,
        };
        if start >= end {
            return Err(format!("a test without seeds tests nothing: {start}..{end}"));
        }
        Ok(Self { seeds: start..end, budget, schedule: None, replays: true })
    }
}

/// What a second process is to run, and where it leaves the trace.
#[derive(Serialize, Deserialize)]
struct Second {
    name: String,
    seed: u64,
    schedule: Option<Schedule>,
    trace: PathBuf,
}

struct Tested<'a, F> {
    test: &'a Test,
    setup: &'a F,
    watchdog: Watchdog,
}

impl<F: Fn(&mut Sim)> Tested<'_, F> {
    fn run_all(&self, plan: &Plan) {
        let name = &self.test.name;
        let time = Stopwatch::start();
        if plan.replays {
            self.run_stored(&root().join("regressions"));
        }
        let given = plan.schedule.as_deref();
        let schedule = given.map(|path| read_schedule(path).unwrap_or_else(|why| panic!("{why}")));
        let (mut runs, mut simulated) = (0, Duration::ZERO);
        for seed in plan.seeds.clone() {
            if runs > 0 && plan.budget.is_some_and(|budget| time.elapsed() >= budget) {
                break;
            }
            println!("{name}: seed {seed}");
            // One seed is run twice whatever comes of it: what escapes the seeds would be noticed only with a failure,
            // and that failure could not be repeated.
            simulated += self.run_one(seed, given, schedule.as_ref(), runs == 0);
            runs += 1;
        }
        let (simulated, wall) = (simulated.as_secs_f64(), time.elapsed().as_secs_f64());
        let rate = simulated / wall.max(0.001);
        println!("{name}: {runs} seeds passed, {simulated:.0} simulated seconds, {rate:.0} a second");
    }

    /// What once was wrong with this test comes first.
    fn run_stored(&self, folder: &Path) {
        if !folder.is_dir() {
            return;
        }
        let name = &self.test.name;
        let stored = Regression::read_all(folder).unwrap_or_else(|why| panic!("{why}"));
        for (file, stored) in stored.iter().filter(|(_, stored)| stored.scenario == *name) {
            println!("{name}: regressions/{file}.json: {}", stored.comment);
            let path = folder.join(file).with_extension("json");
            self.run_one(stored.seed, Some(&path), Some(&stored.schedule), false);
        }
    }

    /// Runs one, and gives back how much simulated time it took. One that does not pass ends the test.
    fn run_one(&self, seed: u64, given: Option<&Path>, schedule: Option<&Schedule>, twice: bool) -> Duration {
        let run = self.run(seed, schedule);
        let passed = run.outcome == Outcome::Passed;
        if !passed || twice {
            let double = double_run(self, &run, schedule);
            if !passed || matches!(double, DoubleRun::Differed { .. }) {
                self.fail(run, given, double);
            }
        }
        run.simulated
    }

    fn fail(&self, run: Run, given: Option<&Path>, double: DoubleRun) -> ! {
        let out = self.out();
        let (name, seed) = (&self.test.name, run.seed);
        println!("{name}: seed {seed} did not pass");
        match investigate(self, run, given, double, Bounds::default(), &out, |_| {}) {
            Ok(report) => panic!("{report}"),
            Err(why) => {
                panic!("{name}: seed {seed} did not pass, and {} cannot be written: {why}", out.display())
            }
        }
    }

    fn out(&self) -> PathBuf {
        target().join("sim").join(&self.test.name)
    }

    /// The name that the test harness filters by: that of the thread it runs a test in.
    fn function(&self) -> Option<String> {
        let thread = std::thread::current();
        let of_thread = || thread.name().filter(|name| *name != "main").map(str::to_owned);
        self.test.function.clone().or_else(of_thread)
    }

    fn be_second(&self, second: &str) {
        // A test that runs several simulations is only asked for one of them.
        let Ok(second) = serde_json::from_str::<Second>(second) else { return };
        if second.name == self.test.name {
            let run = self.run(second.seed, second.schedule.as_ref());
            // Without a file the first process says that there was no second run.
            let _ = std::fs::write(&second.trace, trace_text(&run));
        }
    }
}

impl<F: Fn(&mut Sim)> Subject for Tested<'_, F> {
    fn run(&self, seed: u64, schedule: Option<&Schedule>) -> Run {
        let name = &self.test.name;
        self.watchdog.watch(name, seed, || run_caught(name, self.setup, seed, schedule))
    }

    fn run_elsewhere(&self, seed: u64, schedule: Option<&Schedule>) -> Result<(String, String), String> {
        let out = self.out();
        let text = |error: &dyn std::fmt::Display| error.to_string();
        std::fs::create_dir_all(&out).map_err(|e| text(&e))?;
        let trace = out.join("second.txt");
        let _ = std::fs::remove_file(&trace);
        let (name, schedule) = (self.test.name.clone(), schedule.cloned());
        let second = Second { name, seed, schedule, trace: trace.clone() };
        let second = serde_json::to_string(&second).map_err(|e| text(&e))?;
        let mut command = Command::new(std::env::current_exe().map_err(|e| text(&e))?);
        match self.function() {
            Some(function) => command.args([&function, "--exact", "--include-ignored"]),
            // A program of its own, or a harness that runs all in one thread: what it was asked for it does again.
            None => command.args(std::env::args().skip(1)),
        };
        command.env(SECOND, second);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().map_err(|e| text(&e))?;
        let happened =
            std::fs::read_to_string(&trace).map_err(|_| "the second process left no trace".to_owned())?;
        let _ = std::fs::remove_file(&trace);
        Ok(("a second process".to_owned(), happened))
    }

    fn command(&self, seed: u64, schedule: Option<&Path>) -> String {
        let package = std::env::var("CARGO_PKG_NAME").map(|name| format!(" -p {name}")).unwrap_or_default();
        let schedule =
            schedule.map(|path| format!(" BEAMLINE_SIM_SCHEDULE={}", path.display())).unwrap_or_default();
        let program = std::env::current_exe().unwrap_or_default();
        // Where cargo puts tests, and nothing else that is run.
        let is_test = program.parent().is_some_and(|folder| folder.ends_with("deps"));
        let run = match self.function() {
            Some(function) => format!("cargo test{package} {function} -- --exact --nocapture"),
            None if is_test => format!("cargo test{package} {}", self.test.name),
            None => std::env::args().collect::<Vec<_>>().join(" "),
        };
        format!("BEAMLINE_SIM_SEED={seed}{schedule} {run}")
    }
}

/// Where the package is, whose test this is.
fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// Where cargo builds: the folder above this program that cargo marked as its own, else `target`.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    target.map_or_else(|| PathBuf::from("target"), Path::to_owned)
}
