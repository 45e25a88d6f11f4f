//! The checks, one file a group.

mod control;
mod epmd;
mod fragments;
mod handshake;
mod header;
mod load;
mod nodes;
mod relations;
mod services;
mod spawn;
mod terms;
mod ticks;

use crate::target::Target;
use crate::{Failure, Outcome};

/// Which checks run one after another. The lanes run side by side, so that the long waits overlap.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Those that share the registered processes of the node under test.
    Services,
    /// Those that wait for the node's clock.
    Waits,
    /// Those that start a node.
    Starts,
}

/// One check.
#[derive(Clone)]
pub(crate) struct Check {
    pub(crate) number: u8,
    pub(crate) name: &'static str,
    pub(crate) lane: Lane,
    pub(crate) run: fn(&Target) -> Result<Outcome, Failure>,
}

const fn check(
    number: u8,
    name: &'static str,
    lane: Lane,
    run: fn(&Target) -> Result<Outcome, Failure>,
) -> Check {
    Check { number, name, lane, run }
}

/// All of them, in the order of their numbers.
pub(crate) fn all() -> Vec<Check> {
    let groups: [&[Check]; _] = [
        epmd::CHECKS,
        handshake::CHECKS,
        ticks::CHECKS,
        terms::CHECKS,
        header::CHECKS,
        fragments::CHECKS,
        control::CHECKS,
        relations::CHECKS,
        spawn::CHECKS,
        services::CHECKS,
        nodes::CHECKS,
        load::CHECKS,
    ];
    let mut all = groups.concat();
    all.sort_by_key(|check| check.number);
    all
}

/// Why a check that needs a node of its own is not run.
fn no_start() -> Result<Outcome, Failure> {
    Ok(Outcome::Skipped("needs a node that the suite starts itself (--start)".to_owned()))
}
