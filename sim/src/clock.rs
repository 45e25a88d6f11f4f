//! Simulated clocks: all run at the runtime's rate, each from a point of its own, so that no code gets away with
//! comparing one node's clock to another's.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use beamline::world::{Clock, Mono};

use crate::sim::EPOCH;
use crate::trace::Recorder;

pub(crate) struct NodeClock {
    pub(crate) recorder: Arc<Recorder>,
    /// What the monotonic clock showed when the simulation began.
    pub(crate) mono_start: Duration,
    /// How far the wall clock is ahead of the simulation's.
    pub(crate) wall_ahead: Duration,
}

impl NodeClock {
    fn elapsed(&self) -> Duration {
        // A node that is being torn down is outside of time: the runtime would show it the system's.
        if self.recorder.is_closed() { Duration::ZERO } else { turmoil::sim_elapsed().unwrap_or_default() }
    }
}

impl Clock for NodeClock {
    fn mono(&self) -> Mono {
        Mono::default() + self.mono_start + self.elapsed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + EPOCH + self.wall_ahead + self.elapsed()
    }
}
