//! The gate that every task of a simulated node passes before it is polled: while it is shut the node stands
//! still, as under SIGSTOP or a migrating virtual machine. In production there is none.

use std::future::poll_fn;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// Decides when the tasks of a simulated node may run.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    paused: bool,
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
        let waiting = {
            let mut state = self.lock();
            state.paused = false;
            std::mem::take(&mut state.waiting)
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
        if !state.paused {
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
