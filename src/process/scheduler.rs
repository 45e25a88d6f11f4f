//! Schedulers: which process runs next, and on which thread.
//!
//! A node has as many schedulers as its runtime has worker threads. Each is one task of the runtime with a run queue of its own, and
//! runs the processes in it one after another. So a message between two processes costs neither a task of the runtime nor a
//! system call: the receiver runs next on the scheduler that the sender runs on. A scheduler without work takes some from the
//! others, and is woken for that when one has more to do than the next few processes.
//!
//! Source: *Processes and scheduling* in the ERTS internal documentation, "Run queues" and "Migration".

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::hint::cold_path;
use std::mem::ManuallyDrop;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::{coop, yield_now};

use super::Local;
use super::deadline::{self, TurnReadings};
use super::spare;
use super::watchdog::{self, Place};
use crate::world::{Clock, Mono, World};

/// So many processes run before other tasks of the runtime, its sockets and timers have their turn,
pub(super) const RUNS_PER_TURN: u32 = 4096;
/// or for so long, whichever is less: the runtime wakes another of its threads for each turn that ends with more to do.
pub(super) const TURN: Duration = Duration::from_micros(200);
/// So many connections can have a thread of their own at a time: mostly it sleeps.
const GUESTS_MAX: usize = 64;
/// After so many runs a scheduler looks at the clock.
pub(super) const RUNS_PER_LOOK: u32 = 16;
/// After so many looks into its queue a scheduler looks first at what was put to all of them, so that its own processes cannot keep
/// others waiting.
const LOOKS_PER_INJECTED: u32 = 4;
/// So many processes run out of turn before the queue has its turn: what two that talk to each other may take of others' time.
const RUNS_OUT_OF_TURN: u32 = 16;
/// From so many queued processes on, half of them are worth another scheduler's while, which costs a wake of its thread.
const WORTH_TAKING: usize = 2;
/// The bits of a mask.
const SCHEDULERS_MAX: usize = 64;

thread_local! {
    /// The scheduler that this thread runs. It means something only during its turn.
    static CURRENT: Current =
        const { Current { node: Cell::new(0), index: Cell::new(0), next: InTurn::new(), in_a_row: Cell::new(0) } };
}

struct Current {
    /// Tells the schedulers of one node from those of another.
    node: Cell<usize>,
    index: Cell<usize>,
    /// What runs next: the process that was woken last, with what woke it still in the cache. If there is one already, it goes to
    /// the end of the queue.
    next: InTurn<Arc<dyn Runnable>>,
    /// So many processes ran out of turn, one after another.
    in_a_row: Cell<u32>,
}

/// What a thread has within a turn, which leaves nothing. So there is nothing to drop with the thread, and an access does not look
/// whether that was done already.
pub(super) struct InTurn<T>(Cell<ManuallyDrop<Option<T>>>);

impl<T> InTurn<T> {
    pub(super) const fn new() -> Self {
        Self(Cell::new(ManuallyDrop::new(None)))
    }

    #[inline]
    pub(super) fn take(&self) -> Option<T> {
        self.replace(None)
    }

    #[inline]
    pub(super) fn replace(&self, value: Option<T>) -> Option<T> {
        ManuallyDrop::into_inner(self.0.replace(ManuallyDrop::new(value)))
    }
}

/// A process, as a scheduler knows it.
pub(super) trait Runnable: Send + Sync {
    /// Runs it until it waits for something.
    fn run(self: Arc<Self>);
    fn schedulers(&self) -> &Arc<Schedulers>;
    /// Its node's [number](Schedulers::node).
    fn node(&self) -> usize;
    /// Those of its pid.
    fn numbers(&self) -> (u32, u32);
}

/// The schedulers of a node.
pub(crate) struct Schedulers {
    /// How many there are.
    many: usize,
    /// Theirs, and behind them those of guests.
    each: Box<[RunQueue]>,
    /// A bit for each guest.
    guests: AtomicU64,
    /// What was put to no scheduler in particular: from other tasks, threads, timers and sockets.
    injected: RunQueue,
    /// Tells the thread that did so last from others.
    injector: AtomicUsize,
    /// A bit for each scheduler that sleeps.
    asleep: AtomicU64,
    closed: AtomicBool,
    /// One for each scheduler and guest, if there is a watchdog.
    places: Box<[Place]>,
    world: World,
    local: Weak<Local>,
}

// Aligned to cache lines: each scheduler writes to its own with every process that it queues.
#[derive(Default)]
#[repr(align(64))]
struct RunQueue {
    runnable: Mutex<VecDeque<Arc<dyn Runnable>>>,
    /// For who only wants to know whether it is worth a lock. Changed under the lock.
    len: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

impl RunQueue {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<dyn Runnable>>> {
        self.runnable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In the order that all threads agree on, as is what a scheduler says before it looks here: that it sleeps. So either it sees what was put here,
    /// or who put it here, with a fence before looking who sleeps, sees that this one does.
    #[inline]
    fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    /// Returns how many are queued then.
    #[inline(always)]
    fn push(&self, runnable: Arc<dyn Runnable>) -> usize {
        let mut queue = self.lock();
        queue.push_back(runnable);
        let len = queue.len();
        self.len.store(len, Ordering::Relaxed);
        len
    }

    #[inline]
    fn pop(&self) -> Option<Arc<dyn Runnable>> {
        if self.len() == 0 { None } else { self.pop_some() }
    }

    #[inline(never)]
    fn pop_some(&self) -> Option<Arc<dyn Runnable>> {
        let mut queue = self.lock();
        let runnable = queue.pop_front();
        self.len.store(queue.len(), Ordering::Relaxed);
        runnable
    }

    /// Takes half of what is queued, from the front, and none of less than `least`.
    fn take_half(&self, least: usize) -> VecDeque<Arc<dyn Runnable>> {
        if self.len() < least {
            return VecDeque::new();
        }
        let mut queue = self.lock();
        if queue.len() < least {
            return VecDeque::new();
        }
        let half = queue.len().div_ceil(2);
        let rest = queue.split_off(half);
        self.len.store(rest.len(), Ordering::Relaxed);
        std::mem::replace(&mut *queue, rest)
    }

    fn take_all(&self) -> VecDeque<Arc<dyn Runnable>> {
        let mut queue = self.lock();
        self.len.store(0, Ordering::Relaxed);
        std::mem::take(&mut *queue)
    }

    fn extend(&self, more: VecDeque<Arc<dyn Runnable>>) {
        if more.is_empty() {
            return;
        }
        let mut queue = self.lock();
        queue.extend(more);
        self.len.store(queue.len(), Ordering::Relaxed);
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Schedulers {
    /// Starts the schedulers of a node, as tasks of the runtime that this is called in.
    pub(super) fn start(world: &World, local: &Arc<Local>) -> Arc<Self> {
        let many = world.threads().clamp(1, SCHEDULERS_MAX);
        let schedulers = Arc::new(Self {
            many,
            each: (0..many + GUESTS_MAX).map(|_| RunQueue::default()).collect(),
            guests: AtomicU64::new(0),
            injected: RunQueue::default(),
            injector: AtomicUsize::new(0),
            asleep: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            places: (0..if local.watchdog().is_some() { many + GUESTS_MAX } else { 0 })
                .map(|_| Place::default())
                .collect(),
            world: world.clone(),
            local: Arc::downgrade(local),
        });
        for index in 0..many {
            // What can panic in a process is caught there.
            world.spawn_as_is(Scheduler { schedulers: schedulers.clone(), index, looks: 0 });
        }
        if let Some(limit) = local.watchdog() {
            watchdog::start(world, limit, &schedulers, Arc::downgrade(local));
        }
        schedulers
    }

    /// Has a process of the [node](Runnable::node) run: by the scheduler that runs on this thread, if one of its node does.
    #[inline]
    pub(super) fn enqueue(runnable: Arc<dyn Runnable>, node: usize) {
        CURRENT.with(|current| {
            if current.node.get() != node {
                return Self::inject(runnable);
            }
            // The scheduler runs until it has nothing left.
            if current.in_a_row.get() < RUNS_OUT_OF_TURN {
                if let Some(former) = current.next.replace(Some(runnable)) {
                    Self::push_behind(current, former);
                }
            } else {
                Self::push_behind(current, runnable);
            }
        });
    }

    /// Queues a process at the scheduler that runs.
    #[inline(never)]
    fn push_behind(current: &Current, runnable: Arc<dyn Runnable>) {
        // The process is counted, which is this scheduler's, and not the schedulers, which are everybody's.
        runnable.schedulers().push_own(current.index.get(), runnable.clone());
    }

    /// Has a process run that was woken from elsewhere.
    #[inline(never)]
    fn inject(runnable: Arc<dyn Runnable>) {
        let schedulers = runnable.schedulers().clone();
        if schedulers.closed.load(Ordering::Acquire) {
            cold_path();
            return;
        }
        let queued = schedulers.injected.push(runnable);
        // Either a scheduler that falls asleep sees what was put here, or this sees that it sleeps.
        std::sync::atomic::fence(Ordering::SeqCst);
        // A scheduler that is woken for the first of several comes for the rest, too. But the runtime runs it on the thread that woke
        // it, which may have more to do, so another thread wakes another one.
        let thread = CURRENT.with(|current| std::ptr::from_ref(current).addr());
        let another = schedulers.injector.swap(thread, Ordering::Relaxed) != thread;
        if queued == 1 || another || schedulers.all_asleep() {
            schedulers.wake_one();
        }
    }

    /// Has a process run again that was woken while it ran: after the others.
    #[inline(never)]
    pub(super) fn enqueue_last(runnable: Arc<dyn Runnable>) {
        CURRENT.with(|current| match current.node.get() == runnable.node() {
            true => Self::push_behind(current, runnable),
            false => Self::inject(runnable),
        });
    }

    /// The process that runs sends a lot to one that waits for its turn on this thread: a scheduler that sleeps takes that one.
    pub(super) fn share_next() {
        CURRENT.with(|current| {
            let Some(next) = current.next.take() else { return };
            let schedulers = next.schedulers().clone();
            // Not where others wait to run, who would have more of it.
            let alone = schedulers.each[current.index.get()].len() == 0 && schedulers.injected.len() == 0;
            if !alone || schedulers.asleep.load(Ordering::Relaxed) == 0 {
                current.next.replace(Some(next));
                return;
            }
            schedulers.injected.push(next);
            // As where something is injected.
            std::sync::atomic::fence(Ordering::SeqCst);
            schedulers.wake_another();
        });
    }

    /// Queues a process at the scheduler that this thread runs. If there is enough for another one, it is woken.
    fn push_own(&self, index: usize, runnable: Arc<dyn Runnable>) {
        if self.each[index].push(runnable) < WORTH_TAKING {
            return;
        }
        // As where something is injected.
        std::sync::atomic::fence(Ordering::SeqCst);
        self.wake_another();
    }

    /// Wakes a scheduler that sleeps, from the turn of another one.
    fn wake_another(&self) {
        if self.wake_one() && self.many > 1 {
            // The runtime keeps the task that was woken last for this thread, which has enough to do. This one takes its place. It is
            // a new one each time: to wake one that waits to run does not move it.
            drop(self.world.spawn_as_is(async {}));
        }
    }

    /// Tells nodes apart.
    fn node(&self) -> usize {
        self.local.as_ptr().addr()
    }

    pub(super) fn all_asleep(&self) -> bool {
        self.asleep.load(Ordering::Relaxed).count_ones() as usize == self.many
    }

    #[cfg(test)]
    pub(super) fn any_asleep(&self) -> bool {
        self.asleep.load(Ordering::Relaxed) != 0
    }

    /// Wakes a scheduler that sleeps. Returns whether there was one.
    #[inline(always)]
    fn wake_one(&self) -> bool {
        loop {
            let asleep = self.asleep.load(Ordering::Relaxed);
            if asleep == 0 {
                return false;
            }
            let index = asleep.trailing_zeros() as usize;
            if self.asleep.fetch_and(!(1 << index), Ordering::SeqCst) & (1 << index) != 0 {
                // Under the lock: that of a task only queues it.
                if let Some(waker) = &*self.each[index].waker() {
                    waker.wake_by_ref();
                }
                return true;
            }
        }
    }

    /// Whether there is something that a scheduler without work could take.
    fn any_to_take(&self) -> bool {
        self.injected.len() > 0 || self.in_use().iter().any(|queue| queue.len() >= WORTH_TAKING)
    }

    /// The queues of schedulers, and those of guests up to the last one that is here.
    #[inline]
    fn in_use(&self) -> &[RunQueue] {
        let guests = u64::BITS - self.guests.load(Ordering::Relaxed).leading_zeros();
        &self.each[..self.many + guests as usize]
    }

    /// The number of a guest that is new here.
    pub(super) fn invite(&self) -> Option<usize> {
        let place = |guests: u64| Some(guests.trailing_ones() as usize).filter(|place| *place < GUESTS_MAX);
        let add = |guests| Some(guests | 1 << place(guests)?);
        let before = self.guests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok()?;
        Some(self.many + place(before)?)
    }

    pub(super) fn leave(&self, guest: usize) {
        self.guests.fetch_and(!(1 << (guest - self.many)), Ordering::Relaxed);
    }

    /// The next process in a guest's queue.
    #[inline]
    pub(super) fn own(&self, guest: usize) -> Option<Arc<dyn Runnable>> {
        let queue = &self.each[guest];
        if queue.len() == 0 {
            return None;
        }
        cold_path();
        queue.pop_some()
    }

    /// A scheduler runs what a guest has left.
    #[inline]
    pub(super) fn take_over(&self, guest: usize) {
        if self.each[guest].len() > 0 {
            cold_path();
            self.take_over_some(guest);
        }
    }

    #[cold]
    fn take_over_some(&self, guest: usize) {
        let left = self.each[guest].take_all();
        self.injected.extend(left);
        // As where something is injected.
        std::sync::atomic::fence(Ordering::SeqCst);
        self.wake_one();
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.world.clock
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The node is gone: its schedulers end.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for waker in self.each.iter().filter_map(|queue| queue.waker().take()) {
            waker.wake();
        }
    }

    fn clear(&self) {
        for queue in self.each.iter().chain([&self.injected]) {
            let gone = std::mem::take(&mut *queue.lock());
            queue.len.store(0, Ordering::Relaxed);
            // Dropped outside the lock: what a process owns may wake others.
            drop(gone);
        }
    }
}

/// The task of one scheduler.
struct Scheduler {
    schedulers: Arc<Schedulers>,
    index: usize,
    looks: u32,
}

/// Says which scheduler this thread runs, until it is dropped.
pub(super) struct Turn<'a> {
    schedulers: &'a Schedulers,
    index: usize,
    /// That of another node, if a process of it runs a runtime of its own within its turn.
    outer: (usize, usize, Option<Arc<dyn Runnable>>, u32),
    readings: TurnReadings<'a>,
    spare: spare::Turn,
}

impl<'a> Turn<'a> {
    pub(super) fn begin(schedulers: &'a Schedulers, index: usize) -> Self {
        let outer = CURRENT.with(|current| {
            let outer =
                (current.node.get(), current.index.get(), current.next.take(), current.in_a_row.get());
            current.node.set(schedulers.node());
            current.index.set(index);
            current.in_a_row.set(0);
            outer
        });
        Self {
            schedulers,
            index,
            outer,
            readings: TurnReadings::begin(&schedulers.world.clock),
            spare: spare::Turn::begin(),
        }
    }

    /// The process that runs out of turn, if there is one.
    pub(super) fn next(&self) -> Option<Arc<dyn Runnable>> {
        CURRENT.with(|current| {
            let next = current.next.take();
            current.in_a_row.set(if next.is_some() { current.in_a_row.get() + 1 } else { 0 });
            next
        })
    }

    /// The next process from a queue.
    #[inline(always)]
    fn next_queued(&self, looks: &mut u32) -> Option<Arc<dyn Runnable>> {
        let Schedulers { each, injected, .. } = self.schedulers;
        let own = &each[self.index];
        *looks = looks.wrapping_add(1);
        let injected_first = looks.is_multiple_of(LOOKS_PER_INJECTED) && injected.len() > 0;
        let queue = if !injected_first && own.len() > 0 {
            own
        } else if injected_first || injected.len() == 1 {
            // One is taken as it is: the queue keeps its room.
            injected
        } else if self.schedulers.any_to_take() {
            return self.take_some();
        } else {
            return None;
        };
        // Another scheduler may have been here since.
        queue.pop().or_else(|| self.take_some())
    }

    /// The next process from whichever queue has any; with it come others.
    #[cold]
    fn take_some(&self) -> Option<Arc<dyn Runnable>> {
        let each = self.schedulers.in_use();
        let own = &each[self.index];
        if let Some(runnable) = own.pop() {
            return Some(runnable);
        }
        let others = (1..each.len()).map(|next| &each[(self.index + next) % each.len()]);
        let mut taken = self.schedulers.injected.take_half(1);
        for queue in others {
            if !taken.is_empty() {
                break;
            }
            taken = queue.take_half(WORTH_TAKING);
        }
        let first = taken.pop_front();
        own.extend(taken);
        first
    }

    /// Runs processes until there are none, or the turn is over. Returns whether the scheduler sleeps.
    #[inline]
    fn work(&self, looks: &mut u32, run: impl Fn(Arc<dyn Runnable>)) -> bool {
        let schedulers = self.schedulers;
        let bit = 1 << self.index;
        let (mut runs, mut end) = (0, Mono(u64::MAX));
        while runs < RUNS_PER_TURN && coop::has_budget_remaining() {
            if let Some(runnable) = self.next().or_else(|| self.next_queued(looks)) {
                if runs == 1 {
                    cold_path();
                    // A turn of one run, as most are where little is to do, does not wait for a reading of the clock.
                    end = deadline::read(&schedulers.world.clock) + TURN;
                }
                run(runnable);
                runs += 1;
                if runs.is_multiple_of(RUNS_PER_LOOK) && deadline::read(&schedulers.world.clock) >= end {
                    break;
                }
                continue;
            }
            schedulers.asleep.fetch_or(bit, Ordering::SeqCst);
            if !schedulers.any_to_take() {
                return true;
            }
            schedulers.asleep.fetch_and(!bit, Ordering::SeqCst);
        }
        false
    }
}

impl Turn<'_> {
    /// As if it is dropped, which takes a call for each of its parts.
    #[inline(always)]
    pub(super) fn end(self) {
        let mut turn = ManuallyDrop::new(self);
        turn.restore();
        turn.readings.restore();
        turn.spare.restore();
    }

    #[inline(always)]
    fn restore(&mut self) {
        if let Some(place) = self.schedulers.places.get(self.index) {
            cold_path();
            place.idle();
        }
        let left = CURRENT.with(|current| {
            let (node, index, next, in_a_row) = std::mem::take(&mut self.outer);
            current.node.set(node);
            current.index.set(index);
            current.in_a_row.set(in_a_row);
            current.next.replace(next)
        });
        if let Some(left) = left {
            cold_path();
            // Behind the others, or two that talk to each other would have every turn.
            self.schedulers.each[self.index].push(left);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.restore();
    }
}

impl Future for Scheduler {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { schedulers, index, looks } = &mut *self;
        {
            let mut waker = schedulers.each[*index].waker();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                cold_path();
                *waker = Some(cx.waker().clone());
            }
        }
        // After the waker is there, so that either who closes finds it or this sees that it is closed.
        if schedulers.closed.load(Ordering::Acquire) {
            cold_path();
            return Poll::Ready(());
        }
        let bit = 1 << *index;
        // Who woke it has done that already.
        if schedulers.asleep.load(Ordering::Relaxed) & bit != 0 {
            cold_path();
            schedulers.asleep.fetch_and(!bit, Ordering::SeqCst);
        }
        let turn = Turn::begin(schedulers, *index);
        // Apart, so that nobody pays for a watchdog that has none.
        let asleep = match schedulers.places.get(*index) {
            None => turn.work(looks, |runnable| runnable.run()),
            Some(place) => turn.work(looks, |runnable| place.run(runnable)),
        };
        if asleep {
            return Poll::Pending;
        }
        // Not `wake_by_ref`, for which the runtime would wake another of its threads.
        let again = pin!(yield_now()).poll(cx);
        debug_assert!(again.is_pending(), "a yield comes back later");
        Poll::Pending
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // With its runtime, or because its node is gone.
        self.schedulers.closed.store(true, Ordering::Release);
        self.schedulers.clear();
        if let Some(local) = self.schedulers.local.upgrade() {
            for process in local.table.all() {
                process.abandon();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queues_of_two_schedulers_are_in_no_common_cache_line() {
        let queues = [RunQueue::default(), RunQueue::default()];
        let at = queues.each_ref().map(|queue| std::ptr::from_ref(queue).addr());
        assert_eq!((at[0] % 64, at[1] % 64), (0, 0));
    }
}
