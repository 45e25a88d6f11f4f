//! The signal queue of a process: one queue, in order of arrival, whatever the signal's kind.
//!
//! Its reader takes it whole, so a lock is held once a batch; a sender wakes the reader only if it waits.

use std::collections::VecDeque;
use std::hint::{cold_path, spin_loop};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Waker;
use std::time::Duration;

use super::scheduler::Schedulers;
use super::signal::Signal;
use super::signals::Signals;
use super::{First, ProcessMessage};
use crate::etf::Payload;

/// With each so many more that are queued, the receiver is behind a sender that lets nobody else run.
const LONG: usize = 8192;

/// For so long a queue keeps the memory of a burst. To get it from the system again, page by page, takes longer than to fill and to
/// empty it.
pub(super) const KEPT: Duration = Duration::from_secs(1);

/// So often who finds a queue locked pauses before each further try, until it waits for the lock. A pause takes 10 to 60 ns.
const PAUSES: [u32; 3] = [16, 32, 64];

pub(crate) struct SignalQueue<M: ProcessMessage> {
    queue: Mutex<Queue<M>>,
    /// Whether there are relations among the queued signals, so that a poll takes no lock where there are none. Changed under the lock.
    relations: AtomicBool,
    /// What is first, if anything is queued, so that a process takes no lock to see that there is nothing for it. Changed under the lock.
    first: AtomicU8,
}

/// Nothing is queued.
const EMPTY: u8 = 0;
/// A message of the process's own type is first.
const OWN: u8 = 1;
/// A message in its external form is.
const TERM: u8 = 2;
/// Another signal is.
const OTHER: u8 = 3;

struct Queue<M: ProcessMessage> {
    /// The first of the signals, if there are any. A process whose signals come one at a time needs no more than this.
    first: Option<Signal<M>>,
    /// Those behind it.
    rest: Signals<M>,
    /// So many of them, from the front, are messages: they were looked at when a relation behind them was applied, and are not again,
    /// however long the queue. What does not fit is looked at again.
    messages: u32,
    /// Of who polls a process that no scheduler runs.
    waker: Option<Waker>,
    takes: Takes,
}

/// What a queue takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    All,
    /// It has a bound, or is traced: nothing that has yet to be counted or told.
    Counted,
    /// The process has ended.
    Nothing,
}

/// What was in the queue.
pub(super) enum Taken<M> {
    Nothing,
    /// This, and what is in the inbox now.
    Messages(Signal<M>),
    /// Relations too, behind so many messages, all in the inbox: they are to be applied before anything is received.
    Relations {
        messages: usize,
    },
}

/// A queue that was taken, with so many messages before its first relation.
pub(super) struct Batch<M> {
    pub(super) signals: VecDeque<Signal<M>>,
    pub(super) messages: usize,
}

impl<M: ProcessMessage> Default for SignalQueue<M> {
    fn default() -> Self {
        let queue =
            Queue { first: None, rest: Signals::default(), messages: 0, waker: None, takes: Takes::All };
        Self { queue: Mutex::new(queue), relations: AtomicBool::new(false), first: AtomicU8::new(EMPTY) }
    }
}

/// Not to be called under the lock, as it may take a while.
fn all<M: ProcessMessage>((first, mut rest): (Option<Signal<M>>, Signals<M>)) -> VecDeque<Signal<M>> {
    let mut signals = rest.take();
    if let Some(first) = first {
        signals.push_front(first);
    }
    signals
}

#[inline(always)]
fn take_own<M>(first: &mut Option<Signal<M>>) -> Option<M> {
    match first {
        Some(Signal::Message(_)) => match first.take() {
            Some(Signal::Message(message)) => Some(message),
            _ => None,
        },
        _ => None,
    }
}

#[inline(always)]
fn take_term<M>(first: &mut Option<Signal<M>>) -> Option<Payload> {
    match first {
        Some(Signal::Term(_)) => match first.take() {
            Some(Signal::Term(message)) => Some(message),
            _ => None,
        },
        _ => None,
    }
}

#[inline(always)]
fn kind<M>(signal: &Signal<M>) -> u8 {
    match signal {
        Signal::Message(_) => OWN,
        Signal::Term(_) => TERM,
        Signal::Relation(_) | Signal::Counted(_) => OTHER,
    }
}

impl<M: ProcessMessage> Queue<M> {
    /// Takes all signals.
    fn take(&mut self) -> (Option<Signal<M>>, Signals<M>) {
        (self.first.take(), std::mem::take(&mut self.rest))
    }
}

impl<M: ProcessMessage> SignalQueue<M> {
    #[inline(always)]
    fn lock(&self) -> MutexGuard<'_, Queue<M>> {
        match self.queue.try_lock() {
            Ok(queue) => queue,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => self.lock_later(),
        }
    }

    /// Somebody else has the lock, for a few dozen nanoseconds. Who has it is left alone with it for a while, and so goes on in its own
    /// cache: two threads that ask for it all the time have the queue in neither, and each signal takes as long as several.
    #[cold]
    #[inline(never)]
    fn lock_later(&self) -> MutexGuard<'_, Queue<M>> {
        for pauses in PAUSES {
            for _ in 0..pauses {
                spin_loop();
            }
            if let Ok(queue) = self.queue.try_lock() {
                return queue;
            }
        }
        // Nothing that can panic runs under the lock, so what a poisoned one guards is whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message, which is made where it is queued; gives it back if the process has ended, or the queue has a bound or is traced.
    /// `wake` is for a process that schedulers run.
    #[inline(always)]
    pub(super) fn push<F: FnOnce() -> Signal<M>>(&self, make: F, wake: impl FnOnce()) -> Result<(), F> {
        self.push_if(make, |takes| takes == Takes::All, wake)
    }

    /// Queues a signal whatever the bound; gives it back if the process has ended.
    pub(super) fn push_always(&self, signal: Signal<M>, wake: impl FnOnce()) -> Result<(), Signal<M>> {
        self.push_if(|| signal, |takes| takes != Takes::Nothing, wake).map_err(|signal| signal())
    }

    #[inline(always)]
    fn push_if<F: FnOnce() -> Signal<M>>(
        &self,
        make: F,
        is_taken: impl FnOnce(Takes) -> bool,
        wake: impl FnOnce(),
    ) -> Result<(), F> {
        let mut long = false;
        let (wakes, waker) = {
            let mut queue = self.lock();
            if !is_taken(queue.takes) {
                return Err(make);
            }
            let signal = make();
            let relation = matches!(signal, Signal::Relation(_));
            if relation {
                cold_path();
                self.relations.store(true, Ordering::Release);
            }
            // A process that has received all waits for the next one. If it waits for something else, it is polled once in vain.
            let first = queue.first.is_none();
            if first {
                self.first.store(kind(&signal), Ordering::Release);
                queue.first = Some(signal);
            } else {
                long = queue.rest.push_back(signal).is_multiple_of(LONG);
            }
            if first || relation { (true, queue.waker.clone()) } else { (false, None) }
        };
        match waker {
            Some(waker) => {
                cold_path();
                waker.wake();
            }
            None if wakes => wake(),
            None => {}
        }
        if long {
            Schedulers::share_next();
        }
        Ok(())
    }

    /// As [`SignalQueue::push`], for messages in their external form, all at once, which are taken out then. Returns whether they are.
    pub(super) fn push_terms(&self, messages: &mut Vec<Payload>, wake: impl FnOnce()) -> bool {
        let mut queue = self.lock();
        // Who polls a process that no scheduler runs is woken for each.
        if queue.takes != Takes::All || queue.waker.is_some() {
            return false;
        }
        let mut messages = messages.drain(..).map(Signal::Term);
        let before = queue.rest.len();
        let wakes = queue.first.is_none();
        if wakes && let Some(first) = messages.next() {
            self.first.store(kind(&first), Ordering::Release);
            queue.first = Some(first);
        }
        for message in messages {
            queue.rest.push_back(message);
        }
        let long = before / LONG != queue.rest.len() / LONG;
        drop(queue);
        if wakes {
            wake();
        }
        if long {
            Schedulers::share_next();
        }
        true
    }

    /// From now on messages are to be counted, or told.
    pub(super) fn set_bounded(&self) {
        self.lock().takes = Takes::Counted;
    }

    /// Registers who is to be woken, as no scheduler runs the process.
    pub(super) fn wake_with(&self, waker: Waker) {
        self.lock().waker = Some(waker);
    }

    /// If relations are queued, takes the whole queue, to be given back by [`SignalQueue::restore`].
    #[inline(always)]
    pub(super) fn take_relations(&self) -> Option<Batch<M>> {
        // One that is queued after this look wakes the process again.
        if self.relations.load(Ordering::Acquire) { Some(self.take_all()) } else { None }
    }

    #[inline(never)]
    #[hot(relations)]
    fn take_all(&self) -> Batch<M> {
        let mut queue = self.lock();
        self.relations.store(false, Ordering::Relaxed);
        self.first.store(EMPTY, Ordering::Release);
        let messages = std::mem::take(&mut queue.messages) as usize;
        let (first, mut rest) = queue.take();
        if !rest.is_all_whole() {
            cold_path();
            drop(queue);
            return Batch { signals: all((first, rest)), messages };
        }
        let mut signals = rest.take();
        if signals.back().is_some_and(|last| !matches!(last, Signal::Relation(_))) {
            // It goes back there.
            queue.rest = rest;
        }
        drop(queue);
        if let Some(first) = first {
            signals.push_front(first);
        }
        Batch { signals, messages }
    }

    /// Puts what [`SignalQueue::take_relations`] left back in front of what has arrived since.
    #[hot(relations)]
    pub(super) fn restore(&self, batch: Batch<M>) {
        let mut signals = batch.signals;
        if signals.is_empty() {
            return;
        }
        let mut queue = self.lock();
        let Queue { first, rest, messages, .. } = &mut *queue;
        *messages = u32::try_from(signals.len()).unwrap_or(u32::MAX);
        signals.extend(first.take());
        let rest = rest.get();
        signals.append(rest);
        *first = signals.pop_front();
        *rest = signals;
        self.first.store(first.as_ref().map_or(EMPTY, kind), Ordering::Release);
    }

    /// Takes all that is queued, the rest of it into `inbox`, which is empty; if nothing is, the next message wakes the process.
    #[inline(always)]
    pub(super) fn take_into(&self, inbox: &mut Signals<M>) -> Taken<M> {
        // One that is queued after this look wakes the process.
        if self.is_empty() {
            if inbox.is_large() {
                self.keep(inbox);
            }
            return Taken::Nothing;
        }
        let mut queue = self.lock();
        let Some(first) = queue.first.take() else { return Taken::Nothing };
        self.first.store(EMPTY, Ordering::Release);
        if !queue.rest.is_empty() {
            std::mem::swap(&mut queue.rest, inbox);
        }
        let messages = std::mem::take(&mut queue.messages) as usize;
        if !self.relations.load(Ordering::Relaxed) {
            return Taken::Messages(first);
        }
        cold_path();
        self.relations.store(false, Ordering::Relaxed);
        drop(queue);
        inbox.get().push_front(first);
        Taken::Relations { messages }
    }

    /// Whether nothing is queued. The next signal wakes the process then.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first.load(Ordering::Acquire) == EMPTY
    }

    /// What is first. If it is nothing, the next signal wakes the process.
    #[inline(always)]
    pub(super) fn first(&self) -> First {
        match self.first.load(Ordering::Acquire) {
            EMPTY => First::Nothing,
            _ if self.relations.load(Ordering::Relaxed) => {
                cold_path();
                First::Other
            }
            OWN => First::Own,
            TERM => First::Term,
            _ => First::Other,
        }
    }

    /// As [`SignalQueue::take_into`] if a message of the process's own type is first, and nothing but messages is queued: it is moved once.
    #[inline(always)]
    pub(super) fn take_own_into(&self, inbox: &mut Signals<M>) -> Option<M> {
        self.take_first_into(OWN, take_own, inbox)
    }

    /// As [`SignalQueue::take_own_into`], if a message in its external form is first.
    #[inline(always)]
    pub(super) fn take_term_into(&self, inbox: &mut Signals<M>) -> Option<Payload> {
        self.take_first_into(TERM, take_term, inbox)
    }

    #[inline(always)]
    fn take_first_into<T>(
        &self,
        kind: u8,
        take: impl FnOnce(&mut Option<Signal<M>>) -> Option<T>,
        inbox: &mut Signals<M>,
    ) -> Option<T> {
        if self.first.load(Ordering::Acquire) != kind {
            return None;
        }
        let mut queue = self.lock();
        if self.relations.load(Ordering::Relaxed) {
            return None;
        }
        // It may be another one by now.
        let first = take(&mut queue.first)?;
        self.first.store(EMPTY, Ordering::Release);
        if !queue.rest.is_empty() {
            std::mem::swap(&mut queue.rest, inbox);
        }
        queue.messages = 0;
        Some(first)
    }

    /// Has the memory of a burst where the next one is queued, still in the cache.
    #[cold]
    pub(super) fn keep(&self, inbox: &mut Signals<M>) {
        let mut queue = self.lock();
        if queue.rest.is_empty() && queue.rest.capacity() < inbox.capacity() {
            std::mem::swap(&mut queue.rest, inbox);
        }
    }

    /// Gives back what bursts have left allocated, here and in the inbox, which is empty.
    pub(super) fn shrink(&self, inbox: &mut Signals<M>) {
        if inbox.is_large() {
            *inbox = Signals::default();
        }
        let mut queue = self.lock();
        if queue.rest.is_empty() && queue.rest.is_large() {
            let rest = std::mem::take(&mut queue.rest);
            drop(queue);
            // Not under the lock: it may take a while.
            drop(rest);
        }
    }

    /// Whether there is any memory where signals are queued behind the first.
    #[cfg(test)]
    pub(super) fn is_allocated(&self) -> bool {
        self.lock().rest.is_allocated()
    }

    /// How many bytes there are where signals are queued.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.lock().rest.capacity()
    }

    /// How many messages are queued.
    pub(super) fn messages(&self) -> usize {
        let mut queue = self.lock();
        if !self.relations.load(Ordering::Relaxed) {
            return usize::from(queue.first.is_some()) + queue.rest.len();
        }
        let known = queue.messages as usize;
        let Queue { first, rest, .. } = &mut *queue;
        let others = first.iter().chain(&*rest.get()).skip(known);
        known + others.filter(|signal| !matches!(signal, Signal::Relation(_))).count()
    }

    /// Refuses all further signals and returns those that were queued.
    pub(super) fn close(&self) -> VecDeque<Signal<M>> {
        let mut queue = self.lock();
        queue.takes = Takes::Nothing;
        queue.waker = None;
        let taken = queue.take();
        drop(queue);
        all(taken)
    }

    /// Removes the first queued signal that `is_it` finds.
    pub(super) fn remove_first(&self, is_it: impl Fn(&Signal<M>) -> bool) {
        let mut queue = self.lock();
        let Queue { first, rest, .. } = &mut *queue;
        let found = first.iter().chain(&*rest.get()).position(is_it);
        let Some(at) = found else { return };
        match at.checked_sub(1) {
            None => queue.first = queue.rest.pop_front(),
            Some(at) => drop(queue.rest.get().remove(at)),
        }
        queue.messages -= u32::from(at < queue.messages as usize);
        self.first.store(queue.first.as_ref().map_or(EMPTY, kind), Ordering::Release);
    }
}
