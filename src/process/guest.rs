//! Running processes on the thread of who delivers to them.
//!
//! A reader that never sleeps would hand each message to a scheduler, which is another task, and give up its turn: the runtime then wakes
//! another of its threads, through the system, to look for work. Instead it is a scheduler itself for as long as what it has delivered
//! has something to do.

use std::hint::cold_path;
use std::sync::Arc;

use tokio::task::coop;

use super::deadline;
use super::scheduler::{RUNS_PER_LOOK, RUNS_PER_TURN, Runnable, Schedulers, TURN, Turn};
use super::spare::Spares;
use crate::world::Clock;

/// A place among the schedulers of a node for who is none.
pub(crate) struct Guest {
    schedulers: Arc<Schedulers>,
    index: usize,
}

impl Guest {
    /// `None` if there are as many as can be already.
    pub(super) fn new(schedulers: &Arc<Schedulers>) -> Option<Self> {
        let index = schedulers.invite()?;
        Some(Self { schedulers: schedulers.clone(), index })
    }

    /// Runs the processes that `deliver` wakes, until they wait or have had their turn. What was kept for them is in `spares`.
    pub(crate) fn turn<T>(&self, spares: &mut Spares, deliver: impl FnOnce() -> T) -> T {
        let turn = Turn::begin(&self.schedulers, self.index);
        spares.lend();
        let delivered = deliver();
        match self.schedulers.places().get(self.index) {
            None => self.work(&turn, |runnable| runnable.run()),
            Some(place) => {
                cold_path();
                self.work(&turn, |runnable| place.run(runnable));
            }
        }
        spares.take_back();
        turn.end();
        self.schedulers.take_over(self.index);
        delivered
    }

    /// Within a turn: schedulers run what has been woken but the last one, which runs here. So whoever blocks this thread has nobody behind
    /// it.
    pub(crate) fn share(&self) {
        self.schedulers.take_over(self.index);
    }

    fn work(&self, turn: &Turn<'_>, run: impl Fn(Arc<dyn Runnable>)) {
        let next = || turn.next().or_else(|| self.schedulers.own(self.index));
        let Some(first) = next() else {
            cold_path();
            return;
        };
        run(first);
        let Some(second) = next() else { return };
        cold_path();
        run_on(self.schedulers.clock(), second, next, run);
    }
}

/// Runs a process and those behind it, for as long as a turn may take. One has run already.
#[inline(never)]
fn run_on(
    clock: &Arc<dyn Clock>,
    mut runnable: Arc<dyn Runnable>,
    next: impl Fn() -> Option<Arc<dyn Runnable>>,
    run: impl Fn(Arc<dyn Runnable>),
) {
    // As in a scheduler's own turn.
    let end = deadline::read(clock) + TURN;
    for runs in 2_u32.. {
        run(runnable);
        if runs == RUNS_PER_TURN
            || !coop::has_budget_remaining()
            || runs.is_multiple_of(RUNS_PER_LOOK) && deadline::read(clock) >= end
        {
            return;
        }
        match next() {
            Some(another) => runnable = another,
            None => return,
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // A turn that panicked has left something.
        self.schedulers.take_over(self.index);
        self.schedulers.leave(self.index);
    }
}
