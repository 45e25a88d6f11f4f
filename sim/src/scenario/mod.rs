//! Whole stories, each a function from a seed to what happened. `sim NAME SEED` runs one.

pub mod cluster;
pub mod epmd;

use crate::{Failure, Trace};

/// A story: from a seed to what happened.
pub type Scenario = fn(u64) -> Result<Trace, Failure>;

/// All stories, by name.
pub const ALL: &[(&str, Scenario)] = &[
    ("epmd", epmd::look_up),
    ("epmd-takeover", epmd::takeover),
    ("cluster", cluster::call_across),
    ("cluster-restart", cluster::restart),
];

/// The story of that name.
pub fn find(name: &str) -> Option<Scenario> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, scenario)| *scenario)
}
