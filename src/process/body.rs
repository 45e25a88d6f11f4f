//! The body of a process, and who runs it: one at a time, without a lock.
//!
//! A process is queued at most once, and runs on one thread at a time, which its state says already. A lock around the body would
//! say it again, with two more atomic operations each time that the process runs.
#![expect(
    unsafe_code,
    reason = "what the state says of the body is said to the compiler here, and nowhere else"
)]

use std::cell::UnsafeCell;
use std::hint::cold_path;
use std::sync::atomic::{AtomicU8, Ordering};

/// It is queued, or is to be once it no longer runs. Without this bit and the next it waits.
const WOKEN: u8 = 1;
/// Somebody has the body.
const RUNNING: u8 = 2;
/// Nobody gets it any more; who has it drops it.
const ENDED: u8 = 4;

/// The body of a process, the process's state, and its ticket: the reference to the process with which it is queued and run. While it
/// waits the ticket lies here, so that no reference is counted when it is woken, and none when it has run.
pub(super) struct Body<T, K> {
    state: AtomicU8,
    body: UnsafeCell<Option<T>>,
    ticket: UnsafeCell<Option<K>>,
}

// SAFETY: `with` alone refers to the body. It lets one thread in at a time: who has set `RUNNING` where neither it nor `ENDED` was
// set, until it clears it, and then who has set `ENDED`, if it found `RUNNING` clear, else who clears that. `take_ticket` and
// `put_ticket` alone refer to the ticket, for who runs, and for who has set the first of `WOKEN` and `ENDED` where no bit was set.
// Setting a bit acquires what clearing one released. So both are handed from thread to thread, for which `Send` is all that is
// needed, and a shared `Body` never shares them.
unsafe impl<T: Send, K: Send> Sync for Body<T, K> {}

impl<T, K> Default for Body<T, K> {
    fn default() -> Self {
        Self { state: AtomicU8::new(0), body: UnsafeCell::new(None), ticket: UnsafeCell::new(None) }
    }
}

/// What comes after a run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After<T, K> {
    Waits,
    /// It was woken meanwhile, and is to be queued.
    Woken(K),
    /// The process has ended. The body, if it is left over, is to be dropped, and the ticket in any case.
    Ended(Option<T>, Option<K>),
}

/// What another thread sees of the state.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Running,
    Woken,
    Waiting,
}

impl<T, K> Body<T, K> {
    /// To be called by who is let in, as said above.
    fn with<R>(&self, f: impl FnOnce(&mut Option<T>) -> R) -> R {
        // SAFETY: as said above, there is no other reference. This one ends with the call.
        f(unsafe { &mut *self.body.get() })
    }

    /// To be called by whose the ticket is, as said above.
    #[inline]
    fn take_ticket(&self) -> Option<K> {
        // SAFETY: as said above, there is no other reference. This one ends here.
        unsafe { &mut *self.ticket.get() }.take()
    }

    /// As [`Body::take_ticket`].
    #[inline]
    fn put_ticket(&self, ticket: K) {
        // SAFETY: as said above, there is no other reference. This one ends here.
        *unsafe { &mut *self.ticket.get() } = Some(ticket);
    }

    /// Puts the body in. It counts as woken: the process is to be queued, with a ticket. Or returns it, for a process that has ended
    /// already.
    pub(super) fn put(&self, body: T) -> Result<(), Option<T>> {
        if self.state.fetch_or(RUNNING | WOKEN, Ordering::AcqRel) & ENDED != 0 {
            self.state.store(ENDED, Ordering::Release);
            return Err(Some(body));
        }
        self.with(|it| *it = Some(body));
        match self.state.fetch_and(!RUNNING, Ordering::AcqRel) & ENDED {
            0 => Ok(()),
            _ => Err(self.with(Option::take)),
        }
    }

    /// Says that there is something to do. Returns the ticket if the process is to be queued for that.
    #[inline]
    pub(super) fn wake(&self) -> Option<K> {
        // Always written, also where nothing changes: the process is to see all that was done before it was woken.
        match self.state.fetch_or(WOKEN, Ordering::AcqRel) {
            0 => self.take_ticket(),
            _ => None,
        }
    }

    /// Runs the body, which is gone once it has ended: `run` takes it out then. To be called with the ticket of who was queued.
    ///
    /// # Safety
    /// `this` must be valid for as long as the ticket is not dropped. Once the process waits another thread may wake it, run it and
    /// drop the ticket: nothing of it is to be touched then.
    #[inline]
    pub(super) unsafe fn run(this: *const Self, ticket: K, run: impl FnOnce(&mut Option<T>)) -> After<T, K> {
        // SAFETY: the ticket is here. After the last access below, where it may not be any more, this is not used.
        let this = unsafe { &*this };
        let before = this.state.swap(RUNNING, Ordering::AcqRel);
        debug_assert_eq!(before & RUNNING, 0, "there is one ticket");
        if before & ENDED != 0 {
            cold_path();
            // What the swap has taken away.
            this.state.store(ENDED, Ordering::Release);
            return After::Ended(None, Some(ticket));
        }
        let ended = this.with(|body| {
            run(body);
            body.is_none()
        });
        if ended {
            cold_path();
            this.state.store(ENDED, Ordering::Release);
            return After::Ended(None, Some(ticket));
        }
        this.put_ticket(ticket);
        match this.state.fetch_and(!RUNNING, Ordering::AcqRel) & (WOKEN | ENDED) {
            0 => After::Waits,
            // It was put there just now.
            WOKEN => this.take_ticket().map_or(After::Waits, After::Woken),
            _ => {
                cold_path();
                After::Ended(this.with(Option::take), this.take_ticket())
            }
        }
    }

    /// The process has ended. Returns what is left here to be dropped: if it runs who runs it drops that, and if it is queued the ticket is
    /// not here.
    pub(super) fn end(&self) -> (Option<T>, Option<K>) {
        let before = self.state.fetch_or(ENDED, Ordering::AcqRel);
        if before & (RUNNING | ENDED) != 0 {
            return (None, None);
        }
        (self.with(Option::take), if before == 0 { self.take_ticket() } else { None })
    }

    pub(super) fn seen(&self) -> Seen {
        match self.state.load(Ordering::Relaxed) {
            state if state & RUNNING != 0 => Seen::Running,
            state if state & WOKEN != 0 => Seen::Woken,
            _ => Seen::Waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    /// As a process's, but counted: it is dropped once.
    type Ticket = Arc<()>;

    fn run<T>(body: &Body<T, Ticket>, ticket: Ticket, f: impl FnOnce(&mut Option<T>)) -> After<T, Ticket> {
        // SAFETY: the body outlives all tickets.
        unsafe { Body::run(body, ticket, f) }
    }

    #[test]
    fn threads_that_wake_and_run_one_body_are_in_it_one_at_a_time_and_miss_nothing() {
        const WAKES: u32 = 20_000;
        let body = Body::<(u32, u32), Ticket>::default();
        let asked = AtomicU8::new(0);
        assert_eq!(body.put((0, 0)), Ok(()));
        // As a scheduler does: who is told to queue the body runs it, again and again as long as it was woken meanwhile.
        let run_with = |ticket: Ticket| {
            let mut next = ticket;
            loop {
                let after = run(&body, next, |body| {
                    let (runs, seen) = body.as_mut().expect("it has not ended");
                    *runs += 1;
                    *seen = u32::from(asked.load(Ordering::Relaxed));
                });
                match after {
                    After::Woken(ticket) => next = ticket,
                    after => return assert_eq!(after, After::Waits),
                }
            }
        };
        let wake = || {
            if let Some(ticket) = body.wake() {
                run_with(ticket);
            }
        };
        let ticket = Ticket::default();
        thread::scope(|scope| {
            let run_first = || run_with(ticket.clone());
            scope.spawn(run_first);
            for _ in 0..4 {
                scope.spawn(|| (0..WAKES).for_each(|_| wake()));
            }
        });
        assert_eq!(Arc::strong_count(&ticket), 2, "the body has it again");
        asked.store(7, Ordering::Relaxed);
        wake();
        assert_eq!(body.seen(), Seen::Waiting);
        let (Some((runs, seen)), Some(_)) = body.end() else { panic!("nobody runs it") };
        assert!((2..=4 * WAKES + 2).contains(&runs), "{runs} runs");
        assert_eq!(seen, 7, "what was done before it was woken");
        assert_eq!(Arc::strong_count(&ticket), 1);
    }

    #[test]
    fn threads_that_run_wake_and_end_one_body_drop_it_and_its_ticket_once() {
        for _ in 0..2_000 {
            let (body, owned, ticket) = (Body::<Arc<()>, Ticket>::default(), Arc::new(()), Ticket::default());
            thread::scope(|scope| {
                scope.spawn(|| {
                    if body.put(owned.clone()).is_err() {
                        return;
                    }
                    let mut next = Some(ticket.clone());
                    while let Some(ticket) = next {
                        next = match run(&body, ticket, |_| {}) {
                            After::Waits => body.wake(),
                            After::Woken(ticket) => Some(ticket),
                            After::Ended(..) => None,
                        };
                    }
                });
                scope.spawn(|| drop(body.end()));
                scope.spawn(|| drop(body.end()));
            });
            assert_eq!((Arc::strong_count(&owned), Arc::strong_count(&ticket)), (1, 1));
        }
    }

    #[test]
    fn a_body_that_runs_when_its_process_ends_is_dropped_by_who_runs_it() {
        let body = Body::default();
        let (owned, ticket) = (Arc::new(()), Ticket::default());
        assert_eq!(body.put(owned.clone()), Ok(()));
        assert_eq!(body.wake(), None, "it is woken already");
        let after = run(&body, ticket.clone(), |it| {
            assert_eq!(body.end(), (None, None), "it runs");
            assert!(it.is_some());
        });
        assert_eq!(after, After::Ended(Some(owned.clone()), Some(ticket.clone())));
        drop(after);
        assert_eq!((Arc::strong_count(&owned), Arc::strong_count(&ticket)), (1, 1));
        assert_eq!(body.wake(), None, "nobody is to queue what has ended");
        assert_eq!(body.put(owned.clone()), Err(Some(owned)));
    }

    #[test]
    fn a_process_that_ends_while_it_is_queued_leaves_its_ticket_to_who_has_it() {
        let body = Body::default();
        let ticket = Ticket::default();
        assert_eq!(body.put(1), Ok(()));
        assert_eq!(body.end(), (Some(1), None));
        let after = run(&body, ticket.clone(), |_| panic!("it has ended"));
        assert_eq!(after, After::Ended(None, Some(ticket)));
        assert_eq!(body.end(), (None, None));
    }

    #[test]
    fn a_body_that_ends_is_gone() {
        let body = Body::default();
        let ticket = Ticket::default();
        assert_eq!(body.put(1), Ok(()));
        let after = run(&body, ticket.clone(), |it| {
            assert_eq!(body.seen(), Seen::Running);
            assert_eq!(body.wake(), None);
            *it = None;
        });
        assert_eq!(after, After::Ended(None, Some(ticket)));
        assert_eq!(body.end(), (None, None));
    }
}
