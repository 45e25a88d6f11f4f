//! The watchdog: names a callback that holds its thread for long.
//!
//! A scheduler says which process it runs, in a place of its own. The watchdog looks there from time to time, from a thread that
//! nothing in the runtime can hold up, and finds the same run of the same process again if that neither awaits nor returns.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::scheduler::{Runnable, Schedulers};
use super::{AnyProcess, Local};
use crate::world::World;

/// It looks so many times within the time that is too long.
const LOOKS: u32 = 8;
const INTERVAL_MIN: Duration = Duration::from_millis(1);
/// So that its thread ends within this time of its node.
const INTERVAL_MAX: Duration = Duration::from_secs(1);

/// In the place of a process where there is none. No process has this number: there are fewer.
const NOBODY: u64 = u64::MAX;

/// What a scheduler says of itself. In a cache line of its own.
#[repr(align(64))]
pub(super) struct Place {
    /// The process that runs now or ran last in this turn, by the numbers of its pid.
    process: AtomicU64,
    /// How many have run.
    runs: AtomicU64,
}

impl Default for Place {
    fn default() -> Self {
        Self { process: AtomicU64::new(NOBODY), runs: AtomicU64::new(0) }
    }
}

impl Place {
    pub(super) fn run(&self, runnable: Arc<dyn Runnable>) {
        let (id, serial) = runnable.numbers();
        self.process.store(u64::from(id) << 32 | u64::from(serial), Ordering::Relaxed);
        // This scheduler alone changes it.
        let runs = self.runs.load(Ordering::Relaxed);
        runnable.run();
        self.runs.store(runs.wrapping_add(1), Ordering::Relaxed);
    }

    pub(super) fn idle(&self) {
        self.process.store(NOBODY, Ordering::Relaxed);
    }

    fn look(&self) -> Option<(u32, u32, u64)> {
        let process = self.process.load(Ordering::Relaxed);
        let runs = self.runs.load(Ordering::Relaxed);
        (process != NOBODY).then_some(((process >> 32) as u32, process as u32, runs))
    }
}

/// What a process does, as far as others can see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Activity {
    /// The type of the server.
    pub(crate) server: &'static str,
    /// Its callback that ran last.
    pub(crate) callback: &'static str,
    /// Changes whenever it receives one of several messages.
    pub(crate) unreceived: usize,
}

/// What is to be said of a scheduler.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// What it runs has taken that long already.
    Blocks(Duration),
    /// What was named has ended at last, after about that long.
    Ended(Duration),
}

/// What the watchdog has seen of one scheduler.
struct Seen<R> {
    running: Option<R>,
    since: Duration,
    named: bool,
}

impl<R> Default for Seen<R> {
    fn default() -> Self {
        Self { running: None, since: Duration::ZERO, named: false }
    }
}

impl<R: PartialEq + Clone> Seen<R> {
    /// Takes in what is running `now`. What is found is of what ran before.
    fn look(&mut self, limit: Duration, now: Duration, running: Option<R>) -> Option<(R, Finding)> {
        let took = now.saturating_sub(self.since);
        if running == self.running {
            if self.named || took < limit {
                return None;
            }
            let blocks = running?;
            self.named = true;
            return Some((blocks, Finding::Blocks(took)));
        }
        let named = std::mem::replace(self, Self { running, since: now, named: false });
        let ended = named.running.filter(|_| named.named)?;
        Some((ended, Finding::Ended(took)))
    }
}

/// Who was seen running, in which of its scheduler's runs, and doing what.
type Running = ((u32, u32, u64), Option<Activity>);

/// Watches the schedulers of a node until it is gone. Does nothing where time is virtual.
pub(super) fn start(world: &World, limit: Duration, schedulers: &Arc<Schedulers>, local: Weak<Local>) {
    let schedulers = Arc::downgrade(schedulers);
    let mut seen: Vec<Seen<Running>> = Vec::new();
    let look = move |now| {
        let (Some(schedulers), Some(local)) = (schedulers.upgrade(), local.upgrade()) else { return false };
        seen.resize_with(schedulers.places().len(), Seen::default);
        for (place, seen) in schedulers.places().iter().zip(&mut seen) {
            let running = place.look().map(|at @ (id, serial, _)| {
                let activity = local.table.get(id, serial).map(|process| process.activity());
                (at, activity)
            });
            if let Some((running, finding)) = seen.look(limit, now, running) {
                say(&local, &running, &finding);
            }
        }
        !schedulers.is_closed()
    };
    let interval = (limit / LOOKS).clamp(INTERVAL_MIN, INTERVAL_MAX);
    world.clock.watch(interval, Box::new(look));
}

fn say(local: &Local, ((id, serial, _), activity): &Running, finding: &Finding) {
    let pid = local.pid(*id, *serial);
    let process: Option<Arc<dyn AnyProcess>> = local.process(&pid);
    let name = process.as_ref().and_then(|process| process.shared().name());
    let name = name.map_or_else(String::new, |name| name.to_string());
    let (server, callback) = activity.as_ref().map_or(("", ""), |it| (it.server, it.callback));
    match finding {
        Finding::Blocks(for_so_long) => {
            let waiting = process.map_or(0, |process| process.message_queue_len());
            tracing::warn!(
                %pid, name, server, callback, milliseconds = for_so_long.as_millis() as u64, waiting,
                "a callback neither awaits nor returns: it holds up its thread"
            );
        }
        Finding::Ended(took) => tracing::warn!(
            %pid, name, server, callback, milliseconds = took.as_millis() as u64,
            "the callback that held up its thread has ended, or awaits"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(80);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn each_long_run_is_named_once_and_its_end_said_once() {
        let mut seen = Seen::default();
        let mut look = |now, running| seen.look(LIMIT, ms(now), running);
        // What is new at each look is never long.
        for now in 0..50 {
            assert_eq!(look(now * 10, Some(now)), None);
        }
        // Seen for the first time at 500.
        for now in [500, 540, 579] {
            assert_eq!(look(now, Some(100)), None);
        }
        assert_eq!(look(580, Some(100)), Some((100, Finding::Blocks(ms(80)))));
        for now in 59..200 {
            assert_eq!(look(now * 10, Some(100)), None);
        }
        assert_eq!(look(2000, Some(101)), Some((100, Finding::Ended(ms(1500)))));
        assert_eq!(look(2080, Some(101)), Some((101, Finding::Blocks(ms(80)))));
        assert_eq!(look(2090, None), Some((101, Finding::Ended(ms(90)))));
        // Nobody runs for as long as nobody has to.
        for now in 210..250 {
            assert_eq!(look(now * 10, None), None);
        }
    }
}
