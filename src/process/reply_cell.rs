//! A place for one value that a process or task waits for: a reply, or the outcome of a start.
//!
//! A one-shot channel that takes nothing of the budget which the runtime gives a task: who waits here is let on by one message, and
//! processes share their scheduler's budget. It is made with the waker of who will wait, so that a call takes one atomic operation
//! here, the giver's.
#![expect(
    unsafe_code,
    reason = "two sides share an allocation that neither counts: its state says whose it is"
)]

use std::cell::UnsafeCell;
use std::future::Future;
use std::hint::cold_path;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};

use super::spare;

/// Nothing is given yet. Who wants to touch what is in the cell holds it first.
const OPEN: u8 = 0;
/// One side holds it, for a few instructions.
const HELD: u8 = 1;
/// The giver is done. The cell is the taker's.
const GIVEN: u8 = 2;
/// The taker is gone. The cell is the giver's.
const ABANDONED: u8 = 3;

struct Cell<T> {
    state: AtomicU8,
    inner: UnsafeCell<Inner<T>>,
}

struct Inner<T> {
    /// Wakes who waits, if somebody does.
    waker: Option<Waker>,
    value: Option<T>,
}

impl<T> Cell<T> {
    /// Holds the cell; or returns the state, if it is one side's for good.
    fn hold(&self) -> Result<(), u8> {
        loop {
            match self.state.compare_exchange(OPEN, HELD, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                // For a few instructions, unless the system takes the thread away that has it.
                Err(HELD) => {
                    cold_path();
                    std::thread::yield_now();
                }
                Err(state) => return Err(state),
            }
        }
    }
}

/// One side's pointer to the cell. There is one on each side.
struct Side<T>(NonNull<Cell<T>>, PhantomData<Cell<T>>);

// SAFETY: the cell's two sides may be on two threads. What is in it, a waker and a `T`, is handed from one to the other and never
// shared, for which `T: Send` is all that is needed: it is touched by who holds the cell, or whose it is, and either begins with a
// reading of the state (Acquire) that sees what the other side wrote (Release) when it let go. `&Side` gives no more than the state.
unsafe impl<T: Send> Send for Side<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Side<T> {}

impl<T> Side<T> {
    fn cell(&self) -> &Cell<T> {
        // SAFETY: the allocation lives until `free`, which one side calls, and only once the state says that the other is done with
        // it. A side that has let go for good (`GIVEN` by the giver, `ABANDONED` by the taker) is not used again: both are consumed.
        unsafe { self.0.as_ref() }
    }

    fn state(&self) -> u8 {
        self.cell().state.load(Ordering::Acquire)
    }

    /// Lets go of the cell that is held. With `GIVEN` or `ABANDONED` it may be gone at once, and nothing of it is touched afterwards.
    fn let_go(&self, state: u8) {
        self.cell().state.store(state, Ordering::Release);
    }

    /// To be called by who holds the cell, or whose it is.
    fn with<R>(&self, f: impl FnOnce(&mut Inner<T>) -> R) -> R {
        // SAFETY: as the caller promises, there is no other reference. This one ends with the call.
        f(unsafe { &mut *self.cell().inner.get() })
    }

    /// To be called by whose the cell is, which has then seen the other side's last access. Nothing follows.
    fn free(&self) {
        // SAFETY: it was a box, leaked, and the other side no longer uses it.
        spare::drop_box(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// The side that gives the value. Dropped without, who waits is told so.
pub(crate) struct Giver<T>(Side<T>);

/// The side that waits for the value.
pub(crate) struct Taker<T>(Side<T>);

/// No value will come.
#[derive(Debug)]
pub(crate) struct Dropped;

pub(crate) fn reply_cell<T>() -> (Giver<T>, Taker<T>) {
    make(None)
}

/// A cell whose taker is woken by `waker`, also if it is not polled before.
pub(crate) fn reply_cell_for<T>(waker: &Waker) -> (Giver<T>, Taker<T>) {
    make(Some(spare::clone_waker(waker)))
}

fn make<T>(waker: Option<Waker>) -> (Giver<T>, Taker<T>) {
    let inner = UnsafeCell::new(Inner { waker, value: None });
    let cell = NonNull::from(Box::leak(spare::make(Cell { state: AtomicU8::new(OPEN), inner })));
    (Giver(Side(cell, PhantomData)), Taker(Side(cell, PhantomData)))
}

impl<T> Giver<T> {
    /// Gives the value; it is dropped if nobody waits any more.
    #[hot]
    pub(crate) fn give(self, value: T) {
        // What it does when it is dropped is done here.
        let giver = std::mem::ManuallyDrop::new(self);
        giver.end(Some(value));
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.0.state() == ABANDONED
    }

    /// The last that is done with it.
    #[inline(always)]
    fn end(&self, value: Option<T>) {
        let Self(side) = self;
        if side.cell().hold().is_err() {
            cold_path();
            // Nobody but the taker ends it before, by leaving.
            side.free();
            return;
        }
        let (former, waker) =
            side.with(|inner| (std::mem::replace(&mut inner.value, value), inner.waker.take()));
        if let Some(former) = former {
            cold_path();
            drop(former);
        }
        side.let_go(GIVEN);
        if let Some(waker) = waker {
            waker.wake_by_ref();
            spare::keep_waker(waker);
        }
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        self.end(None);
    }
}

impl<T> Taker<T> {
    /// As if it is dropped.
    #[inline(always)]
    pub(crate) fn leave(self) {
        std::mem::ManuallyDrop::new(self).end();
    }

    #[inline(always)]
    fn end(&mut self) {
        let Self(side) = self;
        if side.state() == GIVEN || side.cell().hold().is_err() {
            side.free();
            return;
        }
        cold_path();
        let waker = side.with(|inner| inner.waker.take());
        side.let_go(ABANDONED);
        drop(waker);
    }

    /// The value, if it is there.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<T> {
        let Self(side) = self;
        // It is given: the taker alone is left.
        if side.state() == GIVEN { side.with(|inner| inner.value.take()) } else { None }
    }
}

// The value is not in it.
impl<T> Unpin for Taker<T> {}

impl<T> Future for Taker<T> {
    type Output = Result<T, Dropped>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self(side) = &*self;
        if side.state() != GIVEN {
            // Before the cell is held: it is somebody else's code.
            let waker = spare::clone_waker(cx.waker());
            if side.cell().hold().is_ok() {
                let former = side.with(|inner| inner.waker.replace(waker));
                side.let_go(OPEN);
                if let Some(former) = former {
                    cold_path();
                    drop(former);
                }
                return Poll::Pending;
            }
        }
        // It is given: the taker alone is left.
        Poll::Ready(side.with(|inner| inner.value.take()).ok_or(Dropped))
    }
}

impl<T> Drop for Taker<T> {
    #[inline]
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;
    use std::thread;

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

    #[test]
    fn sides_on_two_threads_leave_in_any_order_and_nothing_is_lost_or_kept() {
        struct Wakes(AtomicU8);
        impl Wake for Wakes {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let value = Arc::new(());
        let rounds = if cfg!(miri) { 50 } else { 5000 };
        for round in 0..rounds {
            let wakes: [_; 2] = std::array::from_fn(|_| Arc::new(Wakes(AtomicU8::new(0))));
            let wakers = wakes.clone().map(Waker::from);
            let (giver, mut taker) = reply_cell_for(&wakers[0]);
            let given = value.clone();
            let taken = thread::scope(|scope| {
                scope.spawn(move || match round % 4 {
                    3 => drop(giver),
                    _ => giver.give(given),
                });
                // Sometimes it waits with another waker, sometimes not at all.
                let mut polled = Poll::Pending;
                for _ in 0..round % 3 {
                    polled = Pin::new(&mut taker).poll(&mut Context::from_waker(&wakers[1]));
                    if polled.is_ready() {
                        break;
                    }
                }
                if polled.is_pending() && round % 5 == 0 {
                    drop(taker);
                    return None;
                }
                Some((polled, taker))
            });
            if let Some((polled, mut taker)) = taken {
                let woken = wakes.iter().map(|wakes| wakes.0.load(Ordering::Relaxed)).sum::<u8>();
                assert!(polled.is_ready() || woken == 1, "it was woken {woken} times");
                let outcome = match polled {
                    Poll::Pending => Pin::new(&mut taker).poll(&mut Context::from_waker(&wakers[1])),
                    ready => ready,
                };
                let Poll::Ready(outcome) = outcome else { panic!("the giver is done") };
                assert_eq!(outcome.is_ok(), round % 4 != 3);
            }
            assert!(wakes.iter().zip(wakers).all(|(wakes, waker)| {
                drop(waker);
                Arc::strong_count(wakes) == 1
            }));
        }
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
