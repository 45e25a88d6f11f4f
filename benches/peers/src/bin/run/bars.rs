//! What each row must reach beside whom.

use crate::Samples;

/// Whom a row is held against.
#[derive(Clone, Copy)]
enum Against {
    Floor,
    /// The best of the Rust libraries that did the same work.
    Rust,
    Otp,
    Eetf,
    /// A figure, in the row's own unit.
    Figure(f64),
}

use Against::{Eetf, Figure, Floor, Otp, Rust};

/// A row must take at most so many times what the other takes.
type Bar = (&'static str, f64, Against);

const BARS: &[Bar] = &[
    ("local call", 1.0, Floor),
    ("local call", 0.5, Rust),
    ("local call", 0.12, Otp),
    ("120 pairs", 0.5, Rust),
    ("120 pairs", 1.0 / 20.0, Otp),
    ("one-way 1 to 1", 0.5, Rust),
    ("one-way 1 to 1", 1.0 / 6.0, Otp),
    ("one-way 4 to 1", 0.5, Rust),
    ("one-way 4 to 1", 1.0 / 6.0, Otp),
    ("start a server", 0.2, Otp),
    ("start a server", 1.0, Figure(2_000.0)),
    ("stop a server", 0.2, Otp),
    ("idle process, bytes", 1.0, Figure(700.0)),
    ("remote call, integer", 1.05, Floor),
    ("remote call, string", 1.05, Floor),
    ("remote call, tuple with a pid", 1.05, Floor),
    ("120 remote pairs", 1.0 / 7.0, Otp),
    ("120 remote pairs", 0.25, Rust),
    ("remote one-way, small", 1.0 / 8.0, Otp),
    ("remote call, 1 MiB", 1.05, Floor),
    ("remote one-way, 1 MiB", 1.0 / 0.9, Floor),
    ("encode tuple", 0.5, Otp),
    ("encode ints1000", 0.5, Otp),
    ("encode map100", 0.5, Otp),
    ("encode props50", 0.5, Otp),
    ("encode bin1m", 0.5, Otp),
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
    ("decode tuple, typed", 1.0 / 3.0, Otp),
    ("decode ints1000, typed", 1.0 / 3.0, Otp),
    ("decode map100, typed", 1.0 / 3.0, Otp),
    ("decode props50, typed", 1.0 / 3.0, Otp),
    ("start to first pong", 1.0, Figure(5e6)),
    ("idle node, bytes", 1.0, Figure(6.0 * 1024.0 * 1024.0)),
];

/// Names each bar that the samples fall short of, or do not say anything of. False if one falls short.
pub fn hold(samples: &Samples) -> bool {
    let (mut short, mut reached) = (0, 0);
    for &(row, factor, against) in BARS {
        let other = |peer| samples.other(row, peer).map(|value| (peer, value));
        let reference = match against {
            Floor => other("floor"),
            Otp => other("otp"),
            Eetf => other("eetf"),
            Rust => {
                ["xtra", "kameo", "ractor"].into_iter().filter_map(other).min_by(|a, b| a.1.total_cmp(&b.1))
            }
            Figure(value) => Some(("the bar", value)),
        };
        let (Some(ours), Some((peer, theirs))) = (samples.median(row, "beamline"), reference) else {
            println!("not measured: {row}");
            continue;
        };
        if ours <= factor * theirs {
            reached += 1;
        } else {
            short += 1;
            println!("falls short: {row} is {:.2} x {peer}, must be at most {factor:.2}", ours / theirs);
        }
    }
    println!("{reached} bars reached, {short} fall short");
    short == 0
}
