//! The signal queue of a process: one queue, in order of arrival, whatever the signal's kind.
//!
//! Its reader takes it whole, so a lock is held once a batch; a sender wakes the reader only if it waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::signal::{Relation, Signal};

/// What a burst may leave allocated in an idle queue.
const IDLE_CAPACITY_MAX: usize = 64;

pub(crate) struct Mailbox<M> {
    queue: Mutex<Queue<M>>,
    /// How many of the queued signals are relations, so that a poll takes no lock where there are none. Changed under the lock.
    relations: AtomicUsize,
}

struct Queue<M> {
    signals: VecDeque<Signal<M>>,
    /// So many of them, from the front, are messages: they were looked at when a relation behind them was applied, and are not again,
    /// however long the queue.
    messages: usize,
    waker: Option<Waker>,
    /// The process waits for a message, so that one must wake it.
    waiting: bool,
    closed: bool,
}

/// What was in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Nothing,
    Messages,
    /// Relations too, behind so many messages: they are to be applied before anything is received.
    Relations {
        messages: usize,
    },
}

/// A queue that was taken, with so many messages before its first relation.
pub(super) struct Batch<M> {
    pub(super) signals: VecDeque<Signal<M>>,
    pub(super) messages: usize,
}

impl<M> Default for Mailbox<M> {
    fn default() -> Self {
        let queue =
            Queue { signals: VecDeque::new(), messages: 0, waker: None, waiting: false, closed: false };
        Self { queue: Mutex::new(queue), relations: AtomicUsize::new(0) }
    }
}

impl<M> Mailbox<M> {
    fn lock(&self) -> MutexGuard<'_, Queue<M>> {
        // Nothing that can panic runs under the lock, so what a poisoned one guards is whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a signal; gives it back if the process has ended.
    pub(crate) fn push(&self, signal: Signal<M>) -> Result<(), Signal<M>> {
        let waker = {
            let mut queue = self.lock();
            if queue.closed {
                return Err(signal);
            }
            let relation = matches!(signal, Signal::Relation(_));
            if relation {
                self.relations.fetch_add(1, Ordering::Release);
            }
            queue.signals.push_back(signal);
            if queue.waiting || relation {
                queue.waiting = false;
                queue.waker.clone()
            } else {
                None
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Registers who is to be woken.
    pub(super) fn wake_with(&self, waker: Waker) {
        self.lock().waker = Some(waker);
    }

    /// If relations are queued, takes the whole queue, to be given back by [`Mailbox::restore`].
    pub(super) fn take_relations(&self) -> Option<Batch<M>> {
        // One that is queued after this look wakes the process again.
        if self.relations.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut queue = self.lock();
        self.relations.store(0, Ordering::Relaxed);
        Some(Batch {
            signals: std::mem::take(&mut queue.signals),
            messages: std::mem::take(&mut queue.messages),
        })
    }

    /// Puts what [`Mailbox::take_relations`] left back in front of what has arrived since.
    pub(super) fn restore(&self, batch: Batch<M>) {
        let mut signals = batch.signals;
        if signals.is_empty() {
            return;
        }
        let mut queue = self.lock();
        queue.messages = signals.len();
        signals.append(&mut queue.signals);
        queue.signals = signals;
    }

    /// Takes all that is queued into `inbox`, which is empty; if nothing is, the next message wakes the process.
    pub(super) fn take_into(&self, inbox: &mut VecDeque<Signal<M>>) -> Taken {
        let mut queue = self.lock();
        if queue.signals.is_empty() {
            queue.waiting = true;
            if inbox.capacity() > IDLE_CAPACITY_MAX {
                inbox.shrink_to(0);
            }
            return Taken::Nothing;
        }
        queue.waiting = false;
        std::mem::swap(&mut queue.signals, inbox);
        let messages = std::mem::take(&mut queue.messages);
        match self.relations.swap(0, Ordering::Relaxed) {
            0 => Taken::Messages,
            _ => Taken::Relations { messages },
        }
    }

    /// Refuses all further signals and returns those that were queued.
    pub(super) fn close(&self) -> VecDeque<Signal<M>> {
        let mut queue = self.lock();
        queue.closed = true;
        queue.waker = None;
        std::mem::take(&mut queue.signals)
    }

    /// Removes the first queued signal that `is_it` finds.
    pub(super) fn remove_first(&self, is_it: impl Fn(&Signal<M>) -> bool) {
        let mut queue = self.lock();
        if let Some(at) = queue.signals.iter().position(is_it) {
            queue.signals.remove(at);
            queue.messages -= usize::from(at < queue.messages);
        }
    }

    /// A relation for a process of any message type.
    pub(super) fn push_relation(&self, relation: Box<Relation>) -> Result<(), Box<Relation>> {
        match self.push(Signal::Relation(relation)) {
            Err(Signal::Relation(relation)) => Err(relation),
            _ => Ok(()),
        }
    }
}
