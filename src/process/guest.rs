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
use super::spare::{self, Way};
use crate::world::Mono;

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

    /// Runs the processes that `deliver` wakes, until they wait or have had their turn. They know `way` to another node.
    pub(crate) fn turn<T>(&self, way: &mut Option<Way>, deliver: impl FnOnce() -> T) -> T {
        let turn = Turn::begin(&self.schedulers, self.index);
        if let Some(way) = way.take() {
            spare::keep_way(way);
        }
        let delivered = deliver();
        match self.schedulers.places().get(self.index) {
            None => self.work(&turn, |runnable| runnable.run()),
            Some(place) => {
                cold_path();
                self.work(&turn, |runnable| place.run(runnable));
            }
        }
        if let Some(former) = std::mem::replace(way, spare::any_way()) {
            cold_path();
            drop(former);
        }
        drop(turn);
        self.schedulers.take_over(self.index);
        delivered
    }

    /// Within a turn: schedulers run what has been woken but the last one, which runs here. So whoever blocks this thread has nobody behind
    /// it.
    pub(crate) fn share(&self) {
        self.schedulers.take_over(self.index);
    }

    fn work(&self, turn: &Turn<'_>, run: impl Fn(Arc<dyn Runnable>)) {
        let clock = self.schedulers.clock();
        let (mut runs, mut end) = (0, Mono(u64::MAX));
        while let Some(runnable) = turn.next().or_else(|| self.schedulers.own(self.index)) {
            if runs == 1 {
                cold_path();
                // As in a scheduler's own turn.
                end = deadline::read(clock) + TURN;
            }
            run(runnable);
            runs += 1;
            if runs == RUNS_PER_TURN
                || !coop::has_budget_remaining()
                || runs.is_multiple_of(RUNS_PER_LOOK) && deadline::read(clock) >= end
            {
                cold_path();
                break;
            }
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
