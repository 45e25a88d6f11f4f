//! A small harness: what is measured and its floor take turns in one run, so that noise of the machine meets both, and
//! what is printed is the median of their ratios.
//!
//! Every benchmark takes `--quick` (fewer rounds of less work), `--rounds N`, and `--tsv`, which prints each sample as
//! `row TAB beamline|floor|machine TAB value` for a program to read.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]

pub mod bare_calls;
pub mod echo;
pub mod markdown;
pub mod peer;
pub mod terms;
pub mod wire;

use std::time::{Duration, Instant};

use markdown::number;

/// One row: a subject beside its floor.
pub struct Row {
    name: String,
    subject: Spread,
    floor: Spread,
    ratio: f64,
    /// What a bare program takes that does the subject's work, where that is not what the floor is, and its ratio to the floor.
    machine: Option<(f64, f64)>,
}

/// Minimum, median and maximum over the rounds.
#[derive(Debug, Clone, Copy)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    fn of(samples: &[f64]) -> Self {
        let mut samples = samples.to_vec();
        samples.sort_by(f64::total_cmp);
        Self { min: samples[0], median: samples[samples.len() / 2], max: samples[samples.len() - 1] }
    }

    fn range(&self) -> String {
        format!("{} to {}", number(self.min), number(self.max))
    }
}

/// The median of what each round says: a machine that is slow for some seconds is so for both in the same rounds, and the medians of the two
/// may be of different ones.
fn ratio(subjects: &[f64], floors: &[f64]) -> f64 {
    let ratios: Vec<f64> = subjects.iter().zip(floors).map(|(subject, floor)| subject / floor).collect();
    Spread::of(&ratios).median
}

/// Whether the program was asked for a quick run.
pub fn quick() -> bool {
    has("--quick")
}

fn has(flag: &str) -> bool {
    std::env::args().any(|arg| arg == flag)
}

/// What follows a flag on the command line.
pub(crate) fn option(flag: &str) -> Option<String> {
    std::env::args().skip_while(|arg| arg != flag).nth(1)
}

/// A table of rows, printed as Markdown. Of every value less is better.
pub struct Table {
    question: &'static str,
    unit: &'static str,
    floor: &'static str,
    rounds: usize,
    rows: Vec<Row>,
}

impl Table {
    /// A table that answers `question` in `unit`s; `floor` says what the subjects are compared with.
    pub fn new(question: &'static str, unit: &'static str, floor: &'static str) -> Self {
        // An odd number has a median, and of fewer than seven a noisy machine makes anything.
        let usual = if quick() { 7 } else { 9 };
        let rounds = option("--rounds").and_then(|rounds| rounds.parse().ok()).unwrap_or(usual);
        Self { question, unit, floor, rounds, rows: Vec::new() }
    }

    /// Takes fewer rounds, where a sample takes seconds.
    pub fn rounds_max(&mut self, rounds: usize) {
        self.rounds = self.rounds.min(rounds);
    }

    /// Measures a subject and its floor in turns, in nanoseconds an operation. Each closure runs its operation so many times as it is told,
    /// and returns how long that took.
    pub fn measure(
        &mut self,
        name: impl Into<String>,
        operations: u32,
        subject: impl FnMut(u32) -> Duration,
        floor: impl FnMut(u32) -> Duration,
    ) {
        self.measure_beside(name, operations, subject, floor, |_| None);
    }

    /// As [`Table::measure`], with what a bare program takes that does the subject's work, as in [`Table::sample_beside`].
    pub fn measure_beside(
        &mut self,
        name: impl Into<String>,
        operations: u32,
        mut subject: impl FnMut(u32) -> Duration,
        mut floor: impl FnMut(u32) -> Duration,
        mut machine: impl FnMut(u32) -> Option<Duration>,
    ) {
        let operations = if quick() { operations / 5 } else { operations };
        // Not counted: caches and branch predictor warm up, and the allocator gets what the work takes from the system, page by page.
        subject(operations);
        floor(operations);
        machine(operations);
        let each = |took: Duration| took.as_nanos() as f64 / f64::from(operations);
        let machine = || machine(operations).map(each);
        self.sample_beside(name, || each(subject(operations)), || each(floor(operations)), machine);
    }

    /// Takes samples of a subject and its floor in turns, as the closures return them.
    pub fn sample(
        &mut self,
        name: impl Into<String>,
        subject: impl FnMut() -> f64,
        floor: impl FnMut() -> f64,
    ) {
        self.sample_beside(name, subject, floor, || None);
    }

    /// As [`Table::sample`], with what a bare program takes that does the subject's work: no program takes less on this machine.
    pub fn sample_beside(
        &mut self,
        name: impl Into<String>,
        mut subject: impl FnMut() -> f64,
        mut floor: impl FnMut() -> f64,
        mut machine: impl FnMut() -> Option<f64>,
    ) {
        let name = name.into();
        eprint!("{name} ");
        let (mut subjects, mut floors, mut machines) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.rounds.max(1) {
            subjects.push(subject());
            floors.push(floor());
            machines.extend(machine());
            eprint!(".");
        }
        eprintln!();
        if has("--tsv") {
            subjects.iter().for_each(|value| println!("{name}\tbeamline\t{value}"));
            floors.iter().for_each(|value| println!("{name}\tfloor\t{value}"));
            machines.iter().for_each(|value| println!("{name}\tmachine\t{value}"));
        }
        let machine =
            (!machines.is_empty()).then(|| (Spread::of(&machines).median, ratio(&machines, &floors)));
        let (subject, floor) = (Spread::of(&subjects), Spread::of(&floors));
        self.rows.push(Row { name, subject, floor, ratio: ratio(&subjects, &floors), machine });
    }

    /// Prints the table.
    pub fn print(&self) {
        if has("--tsv") {
            return;
        }
        let header = [
            String::new(),
            format!("median, {}", self.unit),
            "min to max".to_owned(),
            "floor".to_owned(),
            "min to max".to_owned(),
            "ratio".to_owned(),
        ];
        let mut rows = vec![header.to_vec()];
        rows.extend(self.rows.iter().map(|Row { name, subject, floor, ratio, .. }| {
            vec![
                name.clone(),
                number(subject.median),
                subject.range(),
                number(floor.median),
                floor.range(),
                number(*ratio),
            ]
        }));
        println!("\n{}; floor: {}\n\n{}", self.question, self.floor, markdown::table(&rows));
        for Row { name, machine, .. } in &self.rows {
            if let Some((took, ratio)) = machine {
                let (took, ratio) = (number(*took), number(*ratio));
                println!(
                    "A bare program that does the work of `{name}` takes {took} {}, {ratio} x the floor.",
                    self.unit
                );
            }
        }
    }
}

/// Runs `operation` so many times, and returns how long that took.
pub fn time(times: u32, mut operation: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..times {
        operation();
    }
    start.elapsed()
}

/// How long a future takes.
pub async fn time_async(future: impl Future<Output = ()>) -> Duration {
    let start = Instant::now();
    future.await;
    start.elapsed()
}

/// The resident memory of a process (`self` is this one), in bytes.
pub fn resident_bytes(process: &str) -> f64 {
    status_bytes(process, "VmRSS:")
}

/// The most that a process was ever resident in, in bytes.
pub fn resident_bytes_max(process: &str) -> f64 {
    status_bytes(process, "VmHWM:")
}

fn status_bytes(process: &str, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field");
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
    kilobytes * 1024.0
}

/// Runs this program again as `role` with one argument, and returns the number that it prints.
pub fn in_process(role: &str, argument: &str) -> f64 {
    let exe = std::env::current_exe().expect("a path");
    let output = std::process::Command::new(exe).args(["--role", role, argument]).output().expect("it runs");
    let stdout = String::from_utf8_lossy(&output.stdout);
    stdout
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("{role}: {stdout}{}", String::from_utf8_lossy(&output.stderr)))
}

/// The role in which a program is [`again_on_one_core`].
const ONE_CORE: &str = "one_core";

/// Whether this program is confined to one core, with those that it starts.
pub fn on_one_core() -> bool {
    role().is_some_and(|(role, _)| role == ONE_CORE)
}

/// Runs this program again with the same flags, confined to one core, where it prints a table of its own. Elsewhere the system chooses the
/// core that it wakes each end on, and on a virtual machine to wake one that sleeps can take longer than all else.
pub fn again_on_one_core() {
    let exe = std::env::current_exe().expect("a path");
    let mut command = std::process::Command::new("taskset");
    command.args(["-c", "0"]).arg(exe).args(std::env::args().skip(1)).args(["--role", ONE_CORE, "0"]);
    if !command.status().is_ok_and(|status| status.success()) {
        println!("taskset is not installed, or may not be used here: nothing is measured on one core.");
    }
}

/// The role that this program was started in, with its argument, if another one started it.
pub fn role() -> Option<(String, String)> {
    let role = option("--role")?;
    let argument = option(&role)?;
    Some((role, argument))
}
