//! A small harness: what is measured and its floor take turns in one run, so that noise of the machine meets both, and
//! what is printed is the ratio of their medians.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]

use std::time::{Duration, Instant};

/// Rounds of each subject. An odd number has a median.
const ROUNDS: usize = 9;

/// One row: a subject beside its floor.
pub struct Row {
    name: String,
    subject: Spread,
    floor: Spread,
}

/// Nanoseconds an operation: minimum, median and maximum over the rounds.
#[derive(Debug, Clone, Copy)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        Self { min: samples[0], median: samples[samples.len() / 2], max: samples[samples.len() - 1] }
    }
}

/// A table of rows, printed as Markdown.
pub struct Table {
    question: &'static str,
    floor: &'static str,
    rows: Vec<Row>,
}

impl Table {
    /// A table that answers `question`; `floor` says what the subjects are compared with.
    pub fn new(question: &'static str, floor: &'static str) -> Self {
        Self { question, floor, rows: Vec::new() }
    }

    /// Measures a subject and its floor in turns. Each closure runs its operation so many times as it is told, and returns how long
    /// that took.
    pub fn measure(
        &mut self,
        name: impl Into<String>,
        operations: u32,
        mut subject: impl FnMut(u32) -> Duration,
        mut floor: impl FnMut(u32) -> Duration,
    ) {
        let name = name.into();
        eprint!("{name} ");
        // Not counted: caches, allocator and branch predictor warm up.
        subject(operations / 4 + 1);
        floor(operations / 4 + 1);
        let (mut subjects, mut floors) = (Vec::new(), Vec::new());
        let each = |took: Duration| took.as_nanos() as f64 / f64::from(operations);
        for _ in 0..ROUNDS {
            subjects.push(each(subject(operations)));
            floors.push(each(floor(operations)));
            eprint!(".");
        }
        eprintln!();
        self.rows.push(Row { name, subject: Spread::of(subjects), floor: Spread::of(floors) });
    }

    /// Prints the table.
    pub fn print(&self) {
        println!("\n{}\n", self.question);
        println!("| | median ns | min to max | floor: {} | ratio |", self.floor);
        println!("|---|---:|---:|---:|---:|");
        for Row { name, subject, floor } in &self.rows {
            println!(
                "| {name} | {:.0} | {:.0} to {:.0} | {:.0} | {:.2} |",
                subject.median,
                subject.min,
                subject.max,
                floor.median,
                subject.median / floor.median
            );
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
