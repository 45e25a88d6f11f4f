//! Stories about clusters. `sim run --scenario NAME` runs one.

pub mod cluster;
pub mod epmd;

use crate::{Run, Schedule, Sim};

/// A story.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it is about, in a sentence.
    pub about: &'static str,
    /// Says which nodes there are, what they do, what must hold and what may be done to them.
    pub setup: fn(&mut Sim),
}

impl Scenario {
    /// Runs it once, with the faults that the seed draws or with those that are given.
    pub fn run(&self, seed: u64, schedule: Option<&Schedule>) -> Run {
        crate::run::run(self.name, self.setup, seed, schedule)
    }
}

/// All stories.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "epmd",
        about: "nodes find each other through the daemons of their hosts",
        setup: epmd::look_up,
    },
    Scenario {
        name: "epmd-takeover",
        about: "the node that runs its host's daemon goes, and another takes over",
        setup: epmd::takeover,
    },
    Scenario {
        name: "cluster",
        about: "three nodes start at once and call each other's servers",
        setup: cluster::call_across,
    },
    Scenario {
        name: "cluster-restart",
        about: "a node crashes and starts again, and the others tell its lives apart",
        setup: cluster::restart,
    },
];

/// The story of that name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}
