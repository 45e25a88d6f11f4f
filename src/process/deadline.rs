//! Deadlines of calls, without a timer for each.
//!
//! A process has one alarm, its task's. A call that waits in it asks for the alarm to go off no later than its deadline; calls that
//! follow one another mostly find it set to an earlier time already, and leave it. When it goes off, whoever still waits looks
//! at the clock and asks again. A caller that is no process, or waits behind a waker of its own, has a timer.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

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

/// The deadline of one call.
#[derive(Default)]
pub(crate) struct Deadline {
    at: Option<Mono>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Whether `timeout` has passed since the first time that this was asked. If not, the caller is woken when it has.
    pub(crate) fn poll(&mut self, timeout: Duration, world: &World, cx: &mut Context<'_>) -> Poll<()> {
        let (polled, wanted) = POLLED.get();
        if polled != identity(cx) || self.sleep.is_some() {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(world.sleep(timeout)));
            return sleep.as_mut().poll(cx);
        }
        let now = world.clock.mono();
        let at = *self.at.get_or_insert(now + timeout);
        if now >= at {
            return Poll::Ready(());
        }
        POLLED.set((polled, wanted.min(at)));
        Poll::Pending
    }
}
