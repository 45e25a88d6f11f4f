//! The gate that every task of a simulated node passes before it is polled: while it is shut the node stands
//! still, as under SIGSTOP or a migrating virtual machine; it may also let few through, or in another order. In production there is none.

use std::future::poll_fn;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

/// Decides when the tasks of a simulated node may run.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    paused: bool,
    /// How many polls each refill allows, and how many of them are left.
    budget: Option<(u32, u32)>,
    /// Decides whether a task is put off, and in how many of a hundred cases it is.
    shake: Option<(ChaCha8Rng, u8)>,
    polls: u64,
    /// Who waits for the next poll.
    watcher: Option<Waker>,
    waiting: Vec<Waker>,
}

impl Gate {
    /// Stops the node's tasks: from now on none is polled.
    pub fn pause(&self) {
        self.lock().paused = true;
    }

    /// Lets the node's tasks run on, in the order in which they were held.
    pub fn resume(&self) {
        self.open(|state| state.paused = false);
    }

    /// Slows the node: between two calls of [`refill`](Self::refill) only so many polls are let through. `None` ends that.
    pub fn slow(&self, polls: Option<u32>) {
        self.open(|state| state.budget = polls.map(|polls| (polls, polls)));
    }

    /// Lets a slow node's tasks be polled as often again. For whoever drives its time, at even intervals.
    pub fn refill(&self) {
        if self.lock().budget.is_some() {
            self.open(|state| {
                if let Some((polls, left)) = &mut state.budget {
                    *left = *polls;
                }
            });
        }
    }

    /// Puts off tasks that are ready, in so many of a hundred cases, so that they run in another order. 0 ends that.
    pub fn shake(&self, percent: u8, rng: ChaCha8Rng) {
        // Past that, nearly nothing would ever run.
        self.lock().shake = (percent > 0).then_some((rng, percent.min(95)));
    }

    /// Changes what holds tasks, and lets those that are held try again.
    fn open(&self, change: impl FnOnce(&mut State)) {
        let waiting = {
            let mut state = self.lock();
            change(&mut state);
            if state.paused { Vec::new() } else { std::mem::take(&mut state.waiting) }
        };
        for waker in waiting {
            waker.wake();
        }
    }

    /// How often a task was let through: while this stays as it is, none has anything to do.
    pub fn polls(&self) -> u64 {
        self.lock().polls
    }

    /// Waits until a task is let through that is not among the first `polls`. For one at a time who waits.
    pub async fn polled(&self, polls: u64) {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.polls > polls {
                return Poll::Ready(());
            }
            state.watcher = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Ready if the task may be polled now; else its waker is kept until the gate opens.
    pub(super) fn poll_admit(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.paused
            && let Some((rng, percent)) = &mut state.shake
            && rng.next_u32() % 100 < u32::from(*percent)
        {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let paused = state.paused;
        let admitted = match &mut state.budget {
            _ if paused => false,
            None => true,
            Some((_, left)) => {
                let admitted = *left > 0;
                *left = left.saturating_sub(1);
                admitted
            }
        };
        if admitted {
            state.polls += 1;
            if let Some(watcher) = state.watcher.take() {
                watcher.wake();
            }
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
