//! When a connection is idle, and when its peer is dead.

use std::time::Duration;

use crate::world::Mono;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    /// Nothing to do.
    Nothing,
    /// Nothing was written since the last check: send a tick.
    Send,
    /// Nothing was received for a tick time: close the connection (`net_tick_timeout`).
    Dead,
}

/// Keeps a connection alive, and finds out when its peer is not: `net_ticktime` and `net_tickintensity`.
#[derive(Debug)]
pub struct Ticker {
    interval: Duration,
    next: Mono,
}

impl Ticker {
    /// Checks `intensity` times in `ticktime` (OTP's defaults: 4 times in 60 seconds; all nodes of a cluster use the same).
    pub fn new(ticktime: Duration, intensity: u32, hidden: bool, now: Mono) -> Self {
        let _ = hidden;
        Self { interval: ticktime / intensity, next: now }
    }

    /// When to check next.
    pub fn next(&self) -> Mono {
        self.next
    }

    /// Checks. `received` and `written` are counts (of bytes) since the connection was set up; any change is life. `queued` is whether
    /// something waits to be written.
    pub fn check(&mut self, now: Mono, received: u64, written: u64, queued: bool) -> Tick {
        let _ = (now, received, written, queued, self.interval);
        todo!()
    }
}
