//! When a connection is idle, and when its peer is dead.
//!
//! Source: the kernel application's `net_ticktime` and `net_tickintensity`.

use std::time::Duration;

use crate::world::Mono;

/// A tick is a packet of no bytes: only its length goes out.
const TICK_LEN: u64 = 4;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    /// Nothing to do.
    Nothing,
    /// The peer has not heard of this node since the last check: send a tick.
    Send,
    /// Nothing arrived for a tick time: close the connection (`net_tick_timeout`).
    Dead,
}

/// Keeps a connection alive, and finds out when its peer is not.
#[derive(Debug)]
pub struct Ticker {
    interval: Duration,
    intensity: u32,
    hidden: bool,
    next: Mono,
    received: u64,
    written: u64,
    /// Checks in a row that found nothing received.
    silent: u32,
}

impl Ticker {
    /// Checks `intensity` times in `ticktime`. All nodes of a cluster use the same tick time; OTP's defaults are 60 seconds and 4.
    ///
    /// `hidden` is whether the peer is; those are sent a tick also when only nothing was received.
    ///
    /// # Panics
    /// If `intensity` is 0.
    pub fn new(ticktime: Duration, intensity: u32, hidden: bool, now: Mono) -> Self {
        let interval = ticktime / intensity;
        Self { interval, intensity, hidden, next: now + interval, received: 0, written: 0, silent: 0 }
    }

    /// When to check next.
    pub fn next(&self) -> Mono {
        self.next
    }

    /// Checks, at the time [`next`](Self::next) or later. `received` and `written` count the bytes since the connection was set up,
    /// ticks included. Any byte received is a sign of life, so a large packet on a slow connection is not mistaken for silence.
    /// `queued` is whether anything waits to be written: it will do as a tick.
    pub fn check(&mut self, now: Mono, received: u64, written: u64, queued: bool) -> Tick {
        // From now, not from when it was due: a node that was suspended does not charge its peers for that.
        self.next = now + self.interval;
        let heard = received != self.received;
        let wrote = written > self.written;
        self.received = received;
        self.written = self.written.max(written);

        self.silent = if heard { 0 } else { self.silent + 1 };
        if self.silent >= self.intensity {
            return Tick::Dead;
        }
        let idle = !wrote || (self.hidden && !heard);
        if !idle || queued {
            return Tick::Nothing;
        }
        // The tick's own bytes are no reason to leave out the next one.
        self.written += TICK_LEN;
        Tick::Send
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ticker(hidden: bool) -> Ticker {
        Ticker::new(4 * SECOND, 4, hidden, Mono(0))
    }

    #[test]
    fn an_idle_connection_is_ticked_four_times_in_a_tick_time() {
        let mut ticker = ticker(false);
        let mut written = 0;
        for second in 1..=20 {
            assert_eq!(ticker.next(), Mono(0) + second * SECOND);
            assert_eq!(ticker.check(ticker.next(), u64::from(second), written, false), Tick::Send);
            // A tick may be written only after the next check.
            if second % 3 != 0 {
                written = 4 * u64::from(second);
            }
        }
    }

    #[test]
    fn what_was_written_or_waits_to_be_written_stands_in_for_a_tick() {
        let mut ticker = ticker(false);
        assert_eq!(ticker.check(Mono(0) + SECOND, 1, 100, false), Tick::Nothing);
        assert_eq!(ticker.check(Mono(0) + 2 * SECOND, 2, 100, true), Tick::Nothing);
        assert_eq!(ticker.check(Mono(0) + 3 * SECOND, 3, 100, false), Tick::Send);
    }

    #[test]
    fn a_silent_peer_is_dead_after_a_tick_time_and_at_most_a_quarter_more() {
        // Heard just before a check, and just after one.
        for heard_at in [Duration::from_millis(999), Duration::from_millis(1001)] {
            let mut ticker = ticker(false);
            let dead_at = loop {
                let now = ticker.next();
                let received = u64::from(now >= Mono(0) + heard_at);
                if ticker.check(now, received, 0, false) == Tick::Dead {
                    break now;
                }
            };
            let silence = dead_at.since(Mono(0) + heard_at);
            assert!(silence >= 4 * SECOND && silence <= 5 * SECOND, "{silence:?}");
        }
    }

    #[test]
    fn a_byte_within_the_tick_time_keeps_the_peer_alive() {
        let mut ticker = ticker(false);
        for step in 0..40_u64 {
            let now = ticker.next();
            assert_ne!(ticker.check(now, step / 3, step, false), Tick::Dead);
        }
    }

    #[test]
    fn a_hidden_peer_is_ticked_also_while_only_we_write() {
        let mut ticker = ticker(true);
        assert_eq!(ticker.check(Mono(0) + SECOND, 0, 10, false), Tick::Send);
        assert_eq!(ticker.check(Mono(0) + 2 * SECOND, 5, 20, false), Tick::Nothing);
    }

    #[test]
    fn time_that_this_node_was_suspended_is_not_charged_to_its_peer() {
        let mut ticker = ticker(false);
        ticker.check(Mono(0) + SECOND, 1, 1, false);
        assert_ne!(ticker.check(Mono(0) + 3600 * SECOND, 1, 2, false), Tick::Dead);
        assert_eq!(ticker.next(), Mono(0) + 3601 * SECOND);
    }
}
