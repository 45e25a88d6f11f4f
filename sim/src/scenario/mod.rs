//! Stories about clusters. `sim run --scenario NAME` runs one.

mod calls;
mod census;
pub mod cluster;
pub mod epmd;
mod failover;
mod globals;
mod groups;
mod names;
mod reconnect;
mod relations;
mod supervision;
mod traffic;

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
    Scenario {
        name: "calls",
        about: "processes call and cast to servers of all nodes, by name and by pid",
        setup: calls::calls,
    },
    Scenario {
        name: "relations",
        about: "processes link to others of all nodes that come and go, and monitor them",
        setup: relations::relations,
    },
    Scenario {
        name: "supervision",
        about: "children of supervisors are killed, at times more often than their supervisor puts up with",
        setup: supervision::supervision,
    },
    Scenario {
        name: "reconnect",
        about: "nodes drop their connections and make them again at any time, while others send over them",
        setup: reconnect::storm,
    },
    Scenario {
        name: "simultaneous",
        about: "nodes drop their connections and make them again, all at the same moment",
        setup: reconnect::simultaneous,
    },
    Scenario {
        name: "epmd-failover",
        about: "nodes of one host stop and start, and take turns in running its EPMD",
        setup: failover::failover,
    },
    Scenario {
        name: "names",
        about: "processes want the same names, hold them for a while, and are called by them",
        setup: names::names,
    },
    Scenario {
        name: "groups",
        about: "processes join groups of pg, leave them and end",
        setup: groups::groups,
    },
    Scenario {
        name: "global",
        about: "processes want the same global names, while partitions come and go",
        setup: globals::globals,
    },
];

/// The story of that name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}
