//! Simulated clocks: each from a point of its own, so that no code gets away with comparing one node's clock to another's; they may drift,
//! and the wall clock may jump.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use beamline::world::{Clock, Mono};
use rand_core::Rng;

use crate::sim::EPOCH;
use crate::trace::Recorder;

/// How far a clock may drift, in millionths: half as fast, twice as fast.
const PPM_RANGE: (i32, i32) = (-500_000, 1_000_000);

/// The clocks of a host, which outlive its programs.
pub(crate) struct HostClock {
    recorder: Arc<Recorder>,
    state: Mutex<State>,
}

struct State {
    /// What the monotonic clock showed when its rate was last set, and when that was.
    shown: Duration,
    set_at: Duration,
    ppm: i32,
    /// How far the wall clock is ahead of the monotonic one, in nanoseconds.
    wall_ahead: i128,
}

impl HostClock {
    /// A clock that shows what the stream says.
    pub(crate) fn new(recorder: Arc<Recorder>, mut draw: impl Rng) -> Self {
        let shown = Duration::from_secs(u64::from(draw.next_u32() % 3600));
        let ahead = Duration::from_millis(u64::from(draw.next_u32() % 3000));
        let wall_ahead = nanos(EPOCH + ahead) - nanos(shown);
        Self { recorder, state: Mutex::new(State { shown, set_at: Duration::ZERO, ppm: 0, wall_ahead }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elapsed(&self) -> Duration {
        // A node that is being torn down is outside of time: the runtime would show it the system's.
        if self.recorder.is_closed() { Duration::ZERO } else { turmoil::sim_elapsed().unwrap_or_default() }
    }

    /// From `now` on the clocks run faster by so many millionths.
    pub(crate) fn drift(&self, now: Duration, ppm: i32) {
        let mut state = self.lock();
        state.shown = state.mono(now);
        state.set_at = now;
        state.ppm = ppm.clamp(PPM_RANGE.0, PPM_RANGE.1);
    }

    /// The wall clock jumps, back if negative.
    pub(crate) fn jump(&self, by_ms: i64) {
        self.lock().wall_ahead += i128::from(by_ms) * 1_000_000;
    }
}

fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

fn duration(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
}

impl State {
    fn mono(&self, now: Duration) -> Duration {
        let rate = 1_000_000 + i128::from(self.ppm);
        self.shown + duration(nanos(now.saturating_sub(self.set_at)) * rate / 1_000_000)
    }
}

impl Clock for HostClock {
    fn mono(&self) -> Mono {
        Mono::default() + self.lock().mono(self.elapsed())
    }

    fn wall(&self) -> SystemTime {
        let state = self.lock();
        SystemTime::UNIX_EPOCH + duration(nanos(state.mono(self.elapsed())) + state.wall_ahead)
    }

    fn to_timer(&self, local: Duration) -> Duration {
        let rate = 1_000_000 + i128::from(self.lock().ppm);
        if rate == 1_000_000 {
            return local;
        }
        // Rounded up: a timer may be late, and never early.
        duration((nanos(local).saturating_mul(1_000_000) + rate - 1) / rate)
    }
}
