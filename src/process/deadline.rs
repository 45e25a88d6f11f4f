//! Deadlines of calls, without a timer for each.
//!
//! A process has one alarm, its task's. A call that waits in it asks for the alarm to go off no later than its deadline; calls that
//! follow one another mostly find it set to an earlier time already, and leave it. When it goes off, whoever still waits looks
//! at the clock and asks again. A caller that is no process, or waits behind a waker of its own, has a timer only once it has waited for
//! a while: until then it is on a list, and most replies come sooner.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Sleep;

use super::Local;
use crate::world::{Mono, World};

thread_local! {
    /// The process that this thread polls, by its waker, and when that process wants its alarm. It means something only
    /// during that one poll.
    static POLLED: Cell<(usize, Mono)> = const { Cell::new((0, NEVER)) };
}

const NEVER: Mono = Mono(u64::MAX);

/// Tells wakers apart; those of one task are the same to it.
fn identity(cx: &Context<'_>) -> usize {
    cx.waker().data() as usize
}

/// Polls the body of a process; returns when it wants the alarm, too.
pub(super) fn poll_process<T>(cx: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> T) -> (T, Mono) {
    // One process may run inside another, as a call from outside any process does.
    let outer = POLLED.replace((identity(cx), NEVER));
    let polled = poll(cx);
    let (_, wanted) = POLLED.replace(outer);
    (polled, wanted)
}

/// The process that this thread polls, as the address of what it is. Zero if it polls none.
pub(super) fn polled() -> usize {
    POLLED.get().0
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

    /// Has it go off at `due` at the latest.
    pub(super) fn set(&mut self, due: Mono, world: &World, cx: &mut Context<'_>) {
        if due == NEVER || self.sleep.as_ref().is_some_and(|(_, set)| *set <= due) {
            return;
        }
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
    at: Option<Mono>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Whether `timeout` has passed since the first time that this was asked. If not, the caller is woken when it has.
    pub(crate) fn poll(&mut self, timeout: Duration, local: &Local, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sleep) = &mut self.sleep {
            return sleep.as_mut().poll(cx);
        }
        let world = &local.world;
        let now = world.clock.mono();
        let at = *self.at.get_or_insert(now + timeout);
        if now >= at {
            return Poll::Ready(());
        }
        let (polled, wanted) = POLLED.get();
        if polled == identity(cx) {
            POLLED.set((polled, wanted.min(at)));
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
