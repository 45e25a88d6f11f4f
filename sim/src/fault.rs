//! Faults as data: what is done to a cluster, and when. A schedule is drawn before a run, apart from all other randomness,
//! so that one can be printed, edited and shrunk without changing what is left of it.

use std::fmt::{self, Display};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Something that is done to a cluster. Nodes are named by their hosts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// The wire between two hosts is cut in silence, in both directions: what is sent waits, dials get no answer, and connections
    /// break with a timeout if it lasts longer than their patience.
    Cut {
        /// One host.
        one: String,
        /// The other.
        other: String,
    },
    /// As [`Cut`](Self::Cut), in one direction.
    CutOneWay {
        /// What this host sends
        from: String,
        /// does not reach this one.
        to: String,
    },
    /// Mends a wire in both directions, however it was cut: what waited arrives.
    Mend {
        /// One host.
        one: String,
        /// The other.
        other: String,
    },
    /// Only hosts of one group reach each other; a host in no group reaches none.
    Partition {
        /// The groups.
        groups: Vec<Vec<String>>,
    },
    /// Mends all wires.
    MendAll,
    /// Connections between two hosts are reset, in the middle of what is sent.
    Reset {
        /// One host.
        one: String,
        /// The other.
        other: String,
    },
    /// Connections between two hosts are gone for one, while the other is not told.
    HalfOpen {
        /// Who has lost them.
        gone: String,
        /// Who has not noticed.
        left: String,
    },
    /// How fast a wire is, in one direction.
    Bandwidth {
        /// What this host sends
        from: String,
        /// to this one
        to: String,
        /// takes a millisecond for so many bytes; none: no limit.
        bytes_per_ms: Option<u32>,
    },
    /// How long a wire is.
    Latency {
        /// One host.
        one: String,
        /// The other.
        other: String,
        /// The shortest time that a message takes.
        min_ms: u32,
        /// The longest.
        max_ms: u32,
    },
    /// How many bytes a host reads or writes at most at once; none: as many as there are.
    Chunks {
        /// The host.
        node: String,
        /// How many.
        max_len: Option<u32>,
    },
    /// A node's process is killed: its connections close.
    Crash {
        /// The host.
        node: String,
    },
    /// A host loses power: its connections are left half-open, and its disk loses what was not synced.
    PowerLoss {
        /// The host.
        node: String,
    },
    /// A host that crashed, lost power or runs starts its program anew, in a new incarnation.
    Restart {
        /// The host.
        node: String,
    },
    /// A node stands still; its sockets stay.
    Pause {
        /// The host.
        node: String,
    },
    /// It goes on.
    Resume {
        /// The host.
        node: String,
    },
    /// A node's tasks are polled only so many times a millisecond; none: no limit.
    Slow {
        /// The host.
        node: String,
        /// How often.
        polls_per_ms: Option<u32>,
    },
    /// A node's tasks that are ready are put off with this probability, in percent.
    Shake {
        /// The host.
        node: String,
        /// How often.
        percent: u8,
    },
    /// A node's wall clock jumps.
    ClockJump {
        /// The host.
        node: String,
        /// How far; back if negative.
        by_ms: i64,
    },
    /// A node's clocks run faster by so many millionths, slower if negative.
    ClockDrift {
        /// The host.
        node: String,
        /// How much faster.
        ppm: i32,
    },
    /// EPMD on a host dies: nobody reaches it, and who was registered is not.
    EpmdDown {
        /// The host.
        node: String,
    },
    /// EPMD on a host can be reached again.
    EpmdUp {
        /// The host.
        node: String,
    },
    /// A host's program is started a second time beside the first, under the same name.
    Twin {
        /// The host.
        node: String,
    },
    /// A disk takes so long to sync; none: no time.
    SlowDisk {
        /// The host.
        node: String,
        /// How long.
        sync_ms: Option<u32>,
    },
    /// A disk fails all that is asked of it, as one with an error of input or output does.
    BadDisk {
        /// The host.
        node: String,
        /// Whether it does from now on.
        fails: bool,
    },
}

impl Display for Fault {
    /// One line of JSON, as traces have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// A fault and its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// When, in milliseconds since the simulation began.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub fault: Fault,
}

/// What is done to a cluster in a run. At its end all is healed, whether the faults say so or not.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Schedule {
    /// In the order of their times.
    pub faults: Vec<Timed>,
    /// When all is healed: from then on the cluster must come to rest and serve.
    pub heal_at_ms: u64,
}

impl Schedule {
    /// When all is healed.
    pub fn heal_at(&self) -> Duration {
        Duration::from_millis(self.heal_at_ms)
    }
}
