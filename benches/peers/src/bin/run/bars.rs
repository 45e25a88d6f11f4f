//! What each row must reach beside whom.

use crate::Samples;

/// Whom a row is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Against {
    /// What is measured beside it in the same program.
    Floor,
    /// The best of the Rust libraries that did the same work.
    Rust,
    Otp,
    Eetf,
    /// One figure for all machines, in the row's own unit.
    Figure(u32),
}

use Against::{Eetf, Figure, Floor, Otp, Rust};

/// The Rust libraries among the peers.
const RUST: [&str; 5] = ["xtra", "kameo", "ractor", "actix", "ractor_cluster"];

/// A row must take at most so many times what the other takes. A bar of "at least twice as fast" is a half.
type Bar = (&'static str, f64, Against);

const BARS: &[Bar] = &[
    ("local call", 1.0, Floor),
    ("local call", 0.5, Rust),
    ("local call", 0.12, Otp),
    ("120 pairs", 1.0 / 2.0, Rust),
    ("120 pairs", 1.0 / 20.0, Otp),
    ("one-way 1 to 1", 1.0 / 2.0, Rust),
    ("one-way 1 to 1", 1.0 / 6.0, Otp),
    ("one-way 4 to 1", 1.0 / 2.0, Rust),
    ("one-way 4 to 1", 1.0 / 6.0, Otp),
    ("one-way 1 to 1, one thread", 1.0 / 2.0, Rust),
    ("one-way 4 to 1, one thread", 1.0 / 2.0, Rust),
    ("start a server", 1.0 / 5.0, Otp),
    ("stop a server", 1.0 / 5.0, Otp),
    // 500 000 a second.
    ("start a server", 1.0, Figure(2_000)),
    ("idle process, bytes", 1.0, Figure(700)),
    // Here the system chooses the core that it wakes each end on, for ours and for the floor each by itself,
    ("remote call, integer", 1.05, Floor),
    ("remote call, string", 1.05, Floor),
    ("remote call, tuple with a pid", 1.05, Floor),
    // and here it cannot.
    ("remote call, integer, one core", 1.05, Floor),
    ("remote call, string, one core", 1.05, Floor),
    ("remote call, tuple with a pid, one core", 1.05, Floor),
    ("remote call, busy polling", 1.4, Floor),
    ("120 remote pairs", 1.0 / 7.0, Otp),
    ("120 remote pairs", 1.0 / 4.0, Rust),
    ("remote one-way, small", 1.0 / 8.0, Otp),
    ("system calls a queued message", 1.0 / 20.0, Floor),
    ("remote call, 1 MiB", 1.05, Floor),
    ("remote one-way, 1 MiB", 1.0 / 0.9, Floor),
    ("encode tuple", 1.0 / 2.0, Otp),
    ("encode ints1000", 1.0 / 2.0, Otp),
    ("encode map100", 1.0 / 2.0, Otp),
    ("encode props50", 1.0 / 2.0, Otp),
    ("encode bin1m", 1.0 / 2.0, Otp),
    ("encode tuple", 1.0, Eetf),
    ("encode ints1000", 1.0, Eetf),
    ("encode map100", 1.0, Eetf),
    ("encode props50", 1.0, Eetf),
    ("encode bin1m", 1.0, Eetf),
    ("decode tuple", 1.0 / 1.3, Otp),
    ("decode ints1000", 1.0 / 1.3, Otp),
    ("decode map100", 1.0 / 1.3, Otp),
    ("decode props50", 1.0 / 1.3, Otp),
    ("decode bin1m", 1.0 / 1.3, Otp),
    ("decode map100", 1.0 / 3.0, Eetf),
    // `binary_to_term` knows one kind of result: ours into Rust types is held against it too. A type of a binary says no more
    // than a term does, so there is no bar for that one.
    ("decode tuple, typed", 1.0 / 3.0, Otp),
    ("decode ints1000, typed", 1.0 / 3.0, Otp),
    ("decode map100, typed", 1.0 / 3.0, Otp),
    ("decode props50, typed", 1.0 / 3.0, Otp),
    ("decode map100, typed", 1.0 / 3.0, Eetf),
    // 5 ms.
    ("start to first pong", 1.0, Figure(5_000_000)),
    // 6 MiB.
    ("idle node, bytes", 1.0, Figure(6 << 20)),
    ("99th percentile beside 100 MB", 10.0, Floor),
    // Four times a connection's busy limit, of the 64 MiB that are sent.
    ("sender, its peer is stopped, bytes", 1.0, Figure(4 << 20)),
    // Eight times what its mailbox takes: a node that reads no less for a slow process reads in large pieces.
    ("peer, its process is slow and bounded, bytes", 1.0, Figure(8 << 20)),
    ("call, a million alive", 1.5, Floor),
    ("cast, a million alive", 1.5, Floor),
    ("call to 100, a million alive", 1.5, Floor),
    ("cast by pid to 100, a million alive", 1.5, Floor),
    ("remote call, 200 peers, one core", 1.5, Floor),
    ("remote cast, 200 peers", 1.5, Floor),
    ("remote call to each of 200 peers, one core", 1.5, Floor),
    ("remote cast to each of 200 peers", 1.5, Floor),
];

/// Where a bare program that does the same work misses a bar in the same run, the bar lies below the machine's floor. Then the bar is
/// that program, with a margin as wide as that of a call over loopback.
const MACHINE_MARGIN: f64 = 1.05;

/// What a run can say of the bars.
pub struct Run {
    /// Not only some questions.
    pub all_asked: bool,
    /// What is not installed is no fault of ours.
    pub otp_installed: bool,
    /// As above.
    pub strace_installed: bool,
    /// As above.
    pub taskset_installed: bool,
}

/// Names each bar that the samples fall short of, and each that they say nothing of. True if all are reached.
pub fn hold(samples: &Samples, run: &Run) -> bool {
    let (mut reached, mut short, mut below, mut unmeasured, mut skipped) = (0, 0, 0, 0, 0);
    println!();
    for &(row, factor, against) in BARS {
        if !run.all_asked && samples.median(row, "beamline").is_none() {
            skipped += 1;
            continue;
        }
        if against == Otp && !run.otp_installed {
            skipped += 1;
            println!("skipped, Erlang/OTP is not installed: {row}");
            continue;
        }
        if row.starts_with("system calls") && !run.strace_installed {
            skipped += 1;
            println!("skipped, strace is not installed or may not trace: {row}");
            continue;
        }
        if row.ends_with("one core") && !run.taskset_installed {
            skipped += 1;
            println!("skipped, taskset is not installed or may not be used: {row}");
            continue;
        }
        let beside = |peer| samples.ratio(row, "beamline", peer).map(|ratio| (peer, ratio));
        let ratio = match against {
            Floor => beside("floor"),
            Otp => beside("otp"),
            Eetf => beside("eetf"),
            // Of the best of them ours is the most.
            Rust => RUST.into_iter().filter_map(beside).max_by(|a, b| a.1.total_cmp(&b.1)),
            Figure(value) => {
                let ours = samples.median(row, "beamline");
                ours.map(|ours| ("the bar's figure", ours / f64::from(value)))
            }
        };
        let Some((whom, ratio)) = ratio else {
            unmeasured += 1;
            println!("not measured: {row}, against {against:?}");
            continue;
        };
        let machine = samples.ratio(row, "machine", whom);
        let beside_machine = samples.ratio(row, "beamline", "machine");
        if ratio <= factor {
            reached += 1;
        } else if let Some(machine) = machine.filter(|machine| *machine > factor)
            && beside_machine.is_some_and(|ratio| ratio <= MACHINE_MARGIN)
        {
            below += 1;
            println!(
                "below the machine's floor: {row} is {ratio:.3} x {whom}, must be at most {factor:.3}; a bare program takes {machine:.3} x {whom}"
            );
        } else {
            short += 1;
            let bare = machine.map(|machine| format!("; a bare program takes {machine:.3} x {whom}"));
            println!(
                "falls short: {row} is {ratio:.3} x {whom}, must be at most {factor:.3}{}",
                bare.unwrap_or_default()
            );
        }
    }
    println!(
        "\n{} bars: {reached} reached, {short} fall short, {below} below the machine's floor, {unmeasured} not measured, {skipped} skipped",
        BARS.len()
    );
    short == 0 && unmeasured == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Run =
        Run { all_asked: true, otp_installed: true, strace_installed: true, taskset_installed: true };

    /// All rows: ours take one, the others so much.
    fn samples(theirs: f64, whom: &[&str]) -> Samples {
        let mut samples = Samples::default();
        for (row, ..) in BARS {
            samples.add(&format!("{row}\tbeamline\t1\n"));
            for who in whom {
                samples.add(&format!("{row}\t{who}\t{theirs}\n"));
            }
        }
        samples
    }

    #[test]
    fn bars_are_reached_by_ratio() {
        let everybody = ["floor", "otp", "kameo", "eetf"];
        assert!(hold(&samples(20.0, &everybody), &ALL));
        assert!(!hold(&samples(19.9, &everybody), &ALL));
    }

    #[test]
    fn the_best_of_the_rust_libraries_counts() {
        let mut samples = samples(20.0, &["floor", "otp", "kameo", "eetf"]);
        samples.add("120 pairs\tactix\t1.9\n");
        assert!(!hold(&samples, &ALL));
    }

    #[test]
    fn a_bar_that_a_bare_program_misses_lies_below_the_floor() {
        let run = |machine: f64| {
            let mut samples = samples(20.0, &["floor", "otp", "kameo", "eetf"]);
            samples.add("120 pairs\tactix\t1.9\n");
            samples.add(&format!("120 pairs\tmachine\t{machine}\n"));
            hold(&samples, &ALL)
        };
        assert!(run(1.0));
        assert!(!run(0.9), "the bare program reaches it");
        let mut samples = samples(20.0, &["floor", "otp", "kameo", "eetf"]);
        samples.add("120 pairs\tactix\t1.0\n120 pairs\tmachine\t0.9\n");
        assert!(!hold(&samples, &ALL), "ours takes more than the bare program");
    }

    #[test]
    fn a_question_that_was_not_asked_has_no_bars() {
        let mut samples = Samples::default();
        samples.add("call, a million alive\tbeamline\t1\ncall, a million alive\tfloor\t1\n");
        assert!(!hold(&samples, &ALL));
        assert!(hold(&samples, &Run { all_asked: false, ..ALL }));
    }

    #[test]
    fn what_is_not_measured_fails_unless_it_is_not_installed() {
        let without_otp = samples(20.0, &["floor", "kameo", "eetf"]);
        assert!(!hold(&without_otp, &ALL));
        assert!(hold(&without_otp, &Run { otp_installed: false, ..ALL }));
        let mut without_taskset = Samples::default();
        for line in samples(20.0, &["floor", "otp", "kameo", "eetf"]).lines().lines() {
            if !line.contains("one core") {
                without_taskset.add(line);
            }
        }
        assert!(!hold(&without_taskset, &ALL));
        assert!(hold(&without_taskset, &Run { taskset_installed: false, ..ALL }));
    }
}
