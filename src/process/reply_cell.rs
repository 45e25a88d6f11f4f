//! A place for one value that a process or task waits for: a reply, or the outcome of a start.
//!
//! As a one-shot channel, but it takes nothing of the budget that the runtime gives a task: who waits here is let on by one
//! message, and processes share their scheduler's budget.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

type Cell<T> = Mutex<State<T>>;

enum State<T> {
    Empty,
    Waiting(Waker),
    Full(T),
    /// The value is taken, or one of the two sides is gone.
    Closed,
}

/// The side that gives the value. Dropped without, who waits is told so.
pub(crate) struct Giver<T>(Option<Arc<Cell<T>>>);

/// The side that waits for the value.
pub(crate) struct Taker<T>(Option<Arc<Cell<T>>>);

/// No value will come.
#[derive(Debug)]
pub(crate) struct Dropped;

pub(crate) fn reply_cell<T>() -> (Giver<T>, Taker<T>) {
    let cell = Arc::new(Mutex::new(State::Empty));
    (Giver(Some(cell.clone())), Taker(Some(cell)))
}

/// As [`reply_cell`], for who waits already.
pub(crate) fn reply_cell_awaited_by<T>(cx: &Context<'_>) -> (Giver<T>, Taker<T>) {
    let cell = Arc::new(Mutex::new(State::Waiting(cx.waker().clone())));
    (Giver(Some(cell.clone())), Taker(Some(cell)))
}

fn lock<T>(cell: &Cell<T>) -> MutexGuard<'_, State<T>> {
    // Nothing that can panic runs under the lock.
    cell.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts `new` in place of what waits for it.
fn settle<T>(cell: &Cell<T>, new: State<T>) {
    let former = {
        let mut state = lock(cell);
        match *state {
            State::Empty | State::Waiting(_) => std::mem::replace(&mut *state, new),
            State::Full(_) | State::Closed => return drop_unlocked(state, new),
        }
    };
    if let State::Waiting(waker) = former {
        waker.wake();
    }
}

/// A value's destructor may be anybody's code.
fn drop_unlocked<T>(state: MutexGuard<'_, State<T>>, value: State<T>) {
    drop(state);
    drop(value);
}

impl<T> Giver<T> {
    /// Gives the value; it is dropped if nobody waits any more.
    pub(crate) fn give(mut self, value: T) {
        if let Some(cell) = self.0.take() {
            settle(&cell, State::Full(value));
        }
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.0.as_ref().is_none_or(|cell| matches!(*lock(cell), State::Closed))
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        if let Some(cell) = self.0.take() {
            settle(&cell, State::Closed);
        }
    }
}

impl<T> Future for Taker<T> {
    type Output = Result<T, Dropped>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(cell) = &self.0 else { return Poll::Ready(Err(Dropped)) };
        let mut state = lock(cell);
        match &*state {
            State::Waiting(waker) if waker.will_wake(cx.waker()) => Poll::Pending,
            State::Empty | State::Waiting(_) => {
                let former = std::mem::replace(&mut *state, State::Waiting(cx.waker().clone()));
                drop_unlocked(state, former);
                Poll::Pending
            }
            State::Full(_) | State::Closed => {
                let value = std::mem::replace(&mut *state, State::Closed);
                drop(state);
                self.0 = None;
                match value {
                    State::Full(value) => Poll::Ready(Ok(value)),
                    _ => Poll::Ready(Err(Dropped)),
                }
            }
        }
    }
}

impl<T> Drop for Taker<T> {
    fn drop(&mut self) {
        if let Some(cell) = self.0.take() {
            let mut state = lock(&cell);
            let former = std::mem::replace(&mut *state, State::Closed);
            drop_unlocked(state, former);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_value_reaches_who_waits_and_an_end_without_one_too() {
        let (giver, taker) = reply_cell();
        let waits = async { taker.await.map_err(|Dropped| "dropped") };
        let gives = async {
            tokio::task::yield_now().await;
            giver.give(7);
        };
        assert_eq!(tokio::join!(waits, gives).0, Ok(7));

        let (giver, taker) = reply_cell::<i32>();
        let waits = async { taker.await.is_err() };
        let drops = async {
            tokio::task::yield_now().await;
            drop(giver);
        };
        assert!(tokio::join!(waits, drops).0);

        let (giver, taker) = reply_cell();
        giver.give(8);
        assert_eq!(taker.await.ok(), Some(8), "given before anybody waited");
    }

    #[test]
    fn a_giver_learns_that_nobody_waits_and_its_value_is_dropped() {
        let (giver, taker) = reply_cell();
        assert!(!giver.is_abandoned());
        drop(taker);
        assert!(giver.is_abandoned());
        let value = Arc::new(());
        giver.give(value.clone());
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
