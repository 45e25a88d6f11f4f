//! Deadlines of calls, without a timer for each.
//!
//! A process has one alarm, its task's. A call that waits in it asks for the alarm to go off no later than its deadline; calls that
//! follow one another mostly find it set to an earlier time already, and leave it. When it goes off, whoever still waits looks
//! at the clock and asks again. Most calls have their reply before that, so the clock is not read for a call: its deadline is counted from the
//! reading that its scheduler makes next, some microseconds later. A caller that is no process, or waits behind a waker of its own, has a timer only once it has waited for
//! a while: until then it is on a list, and most replies come sooner.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::hint::cold_path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Sleep;

use super::Local;
use super::scheduler::InTurn;
use crate::world::{Clock, Mono, World};

thread_local! {
    /// The process that this thread polls. It means something only during that one poll.
    static POLLED: Polled = const {
        Polled { process: Cell::new(0), at: Cell::new(NEVER), within: Cell::new(u64::MAX) }
    };
    /// How the scheduler that this thread runs reads the clock. It means something only during its turn.
    static READINGS: Readings =
        const { Readings { clock: Cell::new(0), last: Cell::new(Mono(0)), next: InTurn::new(), used: InTurn::new() } };
}

/// In cells of their own: what is moved as a whole right after a part was written waits for it.
struct Polled {
    /// By its waker. Zero if none is polled, and nothing is wanted then.
    process: Cell<usize>,
    at: Cell<Mono>,
    within: Cell<u64>,
}

impl Polled {
    fn is(&self, cx: &Context<'_>) -> bool {
        self.process.get() == identity(cx)
    }

    fn wanted(&self) -> Wanted {
        Wanted { at: self.at.get(), within: self.within.get() }
    }

    fn want(&self, wanted: Wanted) {
        self.at.set(wanted.at);
        self.within.set(wanted.within);
    }
}

/// When a process wants its alarm: whichever is sooner.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) at: Mono,
    /// In nanoseconds from now, which was not looked for on the clock.
    within: u64,
}

impl Wanted {
    const NOTHING: Self = Self { at: NEVER, within: u64::MAX };
}

struct Readings {
    /// The clock that is read. Zero if no scheduler runs.
    clock: Cell<usize>,
    last: Cell<Mono>,
    /// The next one, if a deadline is counted from it.
    next: InTurn<Arc<Reading>>,
    /// One that a call no longer needs, for the next call: as it is if its deadline counts from the same, else for what it takes.
    used: InTurn<Arc<Reading>>,
}

impl Readings {
    /// A turn ends: what began in it has its reading, and there is again what was there before it. Apart, as a closure's code lies where the
    /// compiler puts it.
    #[inline(never)]
    #[hot]
    fn restore(&self, clock: &Arc<dyn Clock>, (id, last, next): (usize, Mono, Option<Arc<Reading>>)) {
        if let Some(next) = self.next.take() {
            next.0.store(clock.mono().0, Ordering::Release);
        }
        if let Some(used) = self.used.take() {
            cold_path();
            drop(used);
        }
        self.clock.set(id);
        self.last.set(last);
        if next.is_some() {
            cold_path();
            self.next.replace(next);
        }
    }

    /// One that is not made yet.
    fn unmade(&self) -> Arc<Reading> {
        let unmade = Reading(AtomicU64::new(NEVER.0));
        if let Some(mut used) = self.used.take()
            && let Some(reading) = Arc::get_mut(&mut used)
        {
            *reading = unmade;
            return used;
        }
        Arc::new(unmade)
    }

    /// As `Arc::clone`, without counting if a call has just left the same one.
    fn counted(&self, next: &Arc<Reading>) -> Arc<Reading> {
        match self.used.take() {
            Some(used) if Arc::ptr_eq(&used, next) => used,
            other => {
                self.used.replace(other);
                next.clone()
            }
        }
    }
}

/// A reading of the clock, once it is made.
struct Reading(AtomicU64);

fn clock_id(clock: &Arc<dyn Clock>) -> usize {
    Arc::as_ptr(clock).addr()
}

/// Reads the clock. Deadlines that began since this scheduler's last reading are counted from this one.
pub(super) fn read(clock: &Arc<dyn Clock>) -> Mono {
    let now = clock.mono();
    READINGS.with(|readings| {
        if readings.clock.get() == clock_id(clock) {
            readings.last.set(now);
            if let Some(next) = readings.next.take() {
                next.0.store(now.0, Ordering::Release);
            }
        }
    });
    now
}

/// The turn of a scheduler, for deadlines: what began in it has its reading when this is dropped.
pub(super) struct TurnReadings<'a> {
    clock: &'a Arc<dyn Clock>,
    /// Those of another node, if a process of it runs a runtime of its own within its turn.
    outer: (usize, Mono, Option<Arc<Reading>>),
}

impl<'a> TurnReadings<'a> {
    pub(super) fn begin(clock: &'a Arc<dyn Clock>) -> Self {
        let outer = READINGS.with(|readings| {
            (readings.clock.replace(clock_id(clock)), readings.last.take(), readings.next.take())
        });
        Self { clock, outer }
    }
}

impl TurnReadings<'_> {
    #[inline(always)]
    pub(super) fn restore(&mut self) {
        READINGS.with(|readings| readings.restore(self.clock, std::mem::take(&mut self.outer)));
    }
}

impl Drop for TurnReadings<'_> {
    fn drop(&mut self) {
        self.restore();
    }
}

const NEVER: Mono = Mono(u64::MAX);

fn after(time: Mono, nanos: u64) -> Mono {
    Mono(time.0.saturating_add(nanos))
}

/// Tells wakers apart; those of one task are the same to it.
fn identity(cx: &Context<'_>) -> usize {
    cx.waker().data() as usize
}

/// The poll of a process's body. What the body returns does not pass through here: it is large, and mostly nothing.
pub(super) struct Polling {
    /// One process may run inside another, as a call from outside any process does.
    outer: usize,
    wanted: Wanted,
}

impl Polling {
    #[inline]
    pub(super) fn begin(cx: &Context<'_>) -> Self {
        POLLED.with(|polled| {
            let outer = polled.process.replace(identity(cx));
            let mut wanted = Wanted::NOTHING;
            if outer != 0 {
                cold_path();
                wanted = polled.wanted();
                polled.want(Wanted::NOTHING);
            }
            Self { outer, wanted }
        })
    }

    /// Returns when the process wants the alarm.
    #[inline]
    pub(super) fn end(self) -> Wanted {
        POLLED.with(Polled::wanted)
    }
}

impl Drop for Polling {
    #[inline]
    #[hot]
    fn drop(&mut self) {
        POLLED.with(|polled| {
            polled.process.set(self.outer);
            polled.want(self.wanted);
        });
    }
}

/// The process that this thread polls, as the address of what it is. Zero if it polls none.
pub(super) fn polled() -> usize {
    POLLED.with(|polled| polled.process.get())
}

/// The alarm of a process.
#[derive(Default)]
pub(super) struct Alarm {
    // Most processes need none: an idle one should be small.
    sleep: Option<(Pin<Box<Sleep>>, Mono)>,
}

impl Alarm {
    /// Whether it has gone off. It is off then.
    pub(super) fn take_elapsed(&mut self) -> bool {
        let elapsed = self.sleep.as_ref().is_some_and(|(sleep, _)| sleep.is_elapsed());
        if elapsed {
            self.sleep = None;
        }
        elapsed
    }

    /// Has it go off when it is wanted, or before.
    #[inline(always)]
    pub(super) fn set(&mut self, wanted: Wanted, world: &World, cx: &mut Context<'_>) {
        let mut due = wanted.at;
        if wanted.within < u64::MAX {
            // Time has passed since the last reading, if anything.
            let last = READINGS.with(|readings| {
                if readings.clock.get() == clock_id(&world.clock) { readings.last.get() } else { Mono(0) }
            });
            if !self.goes_off_by(after(last, wanted.within)) {
                due = due.min(after(read(&world.clock), wanted.within));
            }
        }
        if due != NEVER && !self.goes_off_by(due) {
            self.set_to(due, world, cx);
        }
    }

    fn goes_off_by(&self, due: Mono) -> bool {
        self.sleep.as_ref().is_some_and(|(_, set)| *set <= due)
    }

    #[cold]
    fn set_to(&mut self, due: Mono, world: &World, cx: &mut Context<'_>) {
        // At least the timer's resolution, so that a clock that lags behind the timer does not make this spin.
        let wait = due.since(world.clock.mono()).max(Duration::from_millis(1));
        let mut sleep = Box::pin(world.sleep(wait));
        if sleep.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        self.sleep = Some((sleep, due));
    }
}

/// How long a caller that is no process waits before it has a timer of its own.
const GRACE: Duration = Duration::from_secs(1);
/// Calls that one task makes within so short a time share an entry in the list.
const SHARED: Duration = Duration::from_millis(50);

/// Callers that are no processes, for as long as they are expected to have their reply sooner than it takes to arm a timer and
/// disarm it. Each is woken once, when it has waited for about [`GRACE`].
#[derive(Default)]
pub(super) struct Graces {
    waiting: Mutex<VecDeque<(Mono, Waker)>>,
    any: Notify,
    closed: AtomicBool,
}

impl Graces {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<(Mono, Waker)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, now: Mono, waker: &Waker) {
        let mut waiting = self.waiting();
        if let Some((since, last)) = waiting.back()
            && now.since(*since) < SHARED
            && last.will_wake(waker)
        {
            return;
        }
        waiting.push_back((now, waker.clone()));
        let first = waiting.len() == 1;
        drop(waiting);
        if first {
            self.any.notify_one();
        }
    }

    /// Wakes who has waited, until the node is gone.
    pub(super) async fn run(self: Arc<Self>, world: World) {
        loop {
            let since = self.waiting().front().map(|(since, _)| *since);
            let Some(since) = since else {
                if self.closed.load(Ordering::Acquire) {
                    return;
                }
                self.any.notified().await;
                continue;
            };
            let left = (since + GRACE).since(world.clock.mono());
            if left > Duration::ZERO {
                world.sleep(left).await;
            }
            let now = world.clock.mono();
            let mut due = Vec::new();
            {
                let mut waiting = self.waiting();
                while let Some((since, _)) = waiting.front()
                    && *since + GRACE <= now
                {
                    due.extend(waiting.pop_front().map(|(_, waker)| waker));
                }
            }
            due.into_iter().for_each(Waker::wake);
        }
    }

    /// The node is gone.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.any.notify_one();
    }
}

/// The deadline of one call.
#[derive(Default)]
pub(crate) struct Deadline {
    began: Began,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Drop for Deadline {
    #[inline]
    fn drop(&mut self) {
        self.end();
    }
}

impl Deadline {
    /// Its reading is for the next call's.
    #[inline(always)]
    pub(super) fn end(&mut self) {
        if let Began::Reading(reading) = std::mem::take(&mut self.began) {
            READINGS.with(|readings| {
                if readings.clock.get() == 0 {
                    cold_path();
                    return drop(reading);
                }
                if let Some(former) = readings.used.replace(Some(reading)) {
                    cold_path();
                    drop(former);
                }
            });
        }
    }
}

/// When a call began, or since when its time is counted.
#[derive(Default)]
enum Began {
    /// It has not.
    #[default]
    Not,
    At(Mono),
    /// At this reading, as it was the next one.
    Reading(Arc<Reading>),
}

impl Deadline {
    /// Whether `timeout` has passed since the first time that this was asked. If not, the caller is woken when it has.
    #[inline]
    #[hot]
    pub(crate) fn poll(&mut self, timeout: Duration, local: &Local, cx: &mut Context<'_>) -> Poll<()> {
        if let Began::Not = self.began
            && timeout > Duration::ZERO
            && POLLED.with(|polled| polled.is(cx))
        {
            let next = READINGS.with(|readings| {
                if readings.clock.get() != clock_id(&local.world.clock) {
                    return None;
                }
                let next = readings.next.take().unwrap_or_else(|| readings.unmade());
                let own = readings.counted(&next);
                readings.next.replace(Some(next));
                Some(own)
            });
            if let Some(next) = next {
                self.began = Began::Reading(next);
                let within = (Mono(0) + timeout).0;
                POLLED.with(|polled| polled.within.set(polled.within.get().min(within)));
                return Poll::Pending;
            }
        }
        self.poll_again(timeout, local, cx)
    }

    #[cold]
    fn poll_again(&mut self, timeout: Duration, local: &Local, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sleep) = &mut self.sleep {
            return sleep.as_mut().poll(cx);
        }
        let world = &local.world;
        let now = read(&world.clock);
        let began = match &self.began {
            Began::Not => now,
            Began::At(began) => *began,
            // Not made yet on another thread: it began just now.
            Began::Reading(reading) => now.min(Mono(reading.0.load(Ordering::Acquire))),
        };
        self.began = Began::At(began);
        let at = began + timeout;
        if now >= at {
            return Poll::Ready(());
        }
        let is_polled = POLLED.with(|polled| {
            let is = polled.is(cx);
            if is {
                polled.at.set(polled.at.get().min(at));
            }
            is
        });
        if is_polled {
            return Poll::Pending;
        }
        let left = at.since(now);
        let waited = timeout.saturating_sub(left);
        if left > GRACE
            && waited < GRACE.saturating_sub(SHARED)
            && let Some(graces) = local.graces()
        {
            graces.wait(now, cx.waker());
            return Poll::Pending;
        }
        // At least the timer's resolution, so that a clock that lags behind the timer does not end the wait too early.
        self.sleep.insert(Box::pin(world.sleep(left.max(Duration::from_millis(1))))).as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_used_again_once_no_call_counts_from_it() {
        READINGS.with(|readings| {
            let of_a_call = Arc::new(Reading(AtomicU64::new(5)));
            readings.used.replace(Some(of_a_call.clone()));
            let new = readings.unmade();
            assert!(!Arc::ptr_eq(&new, &of_a_call));
            assert_eq!(of_a_call.0.load(Ordering::Relaxed), 5, "a call counts from it still");
            let at = Arc::as_ptr(&of_a_call);
            readings.used.replace(Some(of_a_call));
            let again = readings.unmade();
            assert_eq!(Arc::as_ptr(&again), at);
            assert_eq!(again.0.load(Ordering::Relaxed), NEVER.0, "it is not made yet");
            assert!(readings.used.take().is_none());
        });
    }

    #[test]
    fn a_call_counts_from_the_next_reading_and_not_from_one_that_another_has_left() {
        READINGS.with(|readings| {
            let (former, next) = (Arc::new(Reading(AtomicU64::new(5))), readings.unmade());
            readings.used.replace(Some(former.clone()));
            let counted = readings.counted(&next);
            assert!(Arc::ptr_eq(&counted, &next));
            assert_eq!((Arc::strong_count(&next), Arc::strong_count(&former)), (2, 2), "that is kept");
            readings.used.replace(Some(counted));
            assert!(Arc::ptr_eq(&readings.counted(&next), &next));
            assert_eq!(Arc::strong_count(&next), 1, "the one that was left was taken, and is dropped");
            assert!(readings.used.take().is_none());
        });
    }
}
