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

/// The body of a process and the process's state.
pub(super) struct Body<T> {
    state: AtomicU8,
    body: UnsafeCell<Option<T>>,
}

// SAFETY: `with` alone refers to the body, and lets one thread in at a time: who has set `RUNNING` where it was clear, until it
// clears it. Setting it acquires what clearing it released. So the body is handed from thread to thread, for which `T: Send` is
// all that is needed, and a shared `Body` never shares it.
unsafe impl<T: Send> Sync for Body<T> {}

impl<T> Default for Body<T> {
    fn default() -> Self {
        Self { state: AtomicU8::new(0), body: UnsafeCell::new(None) }
    }
}

/// What comes after a run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After<T> {
    Waits,
    /// It was woken meanwhile, and is to be queued.
    Woken,
    /// The process has ended. The body, if it is left over, is to be dropped.
    Ended(Option<T>),
}

/// What another thread sees of the state.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Running,
    Woken,
    Waiting,
}

impl<T> Body<T> {
    /// To be called by who has set `RUNNING` where it was clear, and by nobody else before that one clears it.
    fn with<R>(&self, f: impl FnOnce(&mut Option<T>) -> R) -> R {
        // SAFETY: as said above, there is no other reference. This one ends with the call.
        f(unsafe { &mut *self.body.get() })
    }

    /// Puts the body in, which runs when it is woken; or returns it, for a process that has ended already.
    pub(super) fn put(&self, body: T) -> Option<T> {
        if self.state.fetch_or(RUNNING, Ordering::AcqRel) & RUNNING != 0 {
            return Some(body);
        }
        self.with(|it| *it = Some(body));
        match self.let_go() {
            After::Ended(body) => body,
            After::Waits | After::Woken => None,
        }
    }

    /// Says that there is something to do. Returns whether the process is to be queued for that.
    #[inline]
    pub(super) fn wake(&self) -> bool {
        // Always written, also where nothing changes: the process is to see all that was done before it was woken.
        self.state.fetch_or(WOKEN, Ordering::AcqRel) == 0
    }

    /// Runs the body, which is gone once it has ended: `run` takes it out then. To be called for who was queued.
    #[inline]
    pub(super) fn run(&self, run: impl FnOnce(&mut Option<T>)) -> After<T> {
        let before = self.state.swap(RUNNING, Ordering::AcqRel);
        if before & (RUNNING | ENDED) != 0 {
            cold_path();
            // What the swap has taken away. Who is in there, if somebody is, goes on.
            self.state.fetch_or(before, Ordering::AcqRel);
            return if before & RUNNING == 0 { self.let_go() } else { After::Ended(None) };
        }
        let ended = self.with(|body| {
            run(body);
            body.is_none()
        });
        if ended {
            cold_path();
            self.state.store(ENDED, Ordering::Release);
            return After::Ended(None);
        }
        self.let_go()
    }

    #[inline]
    fn let_go(&self) -> After<T> {
        match self.state.fetch_and(!RUNNING, Ordering::AcqRel) & (WOKEN | ENDED) {
            0 => After::Waits,
            WOKEN => After::Woken,
            _ => {
                cold_path();
                After::Ended(self.end())
            }
        }
    }

    /// The process has ended. Returns the body, unless it runs: then who runs it drops it.
    pub(super) fn end(&self) -> Option<T> {
        if self.state.fetch_or(ENDED | RUNNING, Ordering::AcqRel) & RUNNING != 0 {
            return None;
        }
        let body = self.with(Option::take);
        self.state.store(ENDED, Ordering::Release);
        body
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

    #[test]
    fn threads_that_wake_and_run_one_body_are_in_it_one_at_a_time_and_miss_nothing() {
        const WAKES: u32 = 20_000;
        let body = Body::<(u32, u32)>::default();
        let asked = AtomicU8::new(0);
        assert_eq!(body.put((0, 0)), None);
        // As a scheduler does: who is told to queue the body runs it, again and again as long as it was woken meanwhile.
        let queue = || {
            if !body.wake() {
                return;
            }
            loop {
                let after = body.run(|body| {
                    let (runs, seen) = body.as_mut().expect("it has not ended");
                    *runs += 1;
                    *seen = u32::from(asked.load(Ordering::Relaxed));
                });
                if after != After::Woken {
                    assert_eq!(after, After::Waits);
                    return;
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..WAKES).for_each(|_| queue()));
            }
        });
        asked.store(7, Ordering::Relaxed);
        queue();
        assert_eq!(body.seen(), Seen::Waiting);
        let (runs, seen) = body.end().expect("nobody runs it");
        assert!((1..=4 * WAKES + 1).contains(&runs), "{runs} runs");
        assert_eq!(seen, 7, "what was done before it was woken");
    }

    #[test]
    fn a_body_that_runs_when_its_process_ends_is_dropped_by_who_runs_it() {
        let body = Body::default();
        let owned = Arc::new(());
        assert_eq!(body.put(owned.clone()), None);
        assert!(body.wake());
        let after = body.run(|it| {
            assert_eq!(body.end(), None, "it runs");
            assert!(it.is_some());
        });
        assert_eq!(after, After::Ended(Some(owned.clone())));
        drop(after);
        assert_eq!(Arc::strong_count(&owned), 1);
        assert!(!body.wake(), "nobody is to queue what has ended");
        assert_eq!(body.run(|_| panic!("it has ended")), After::Ended(None));
        assert_eq!(body.put(owned.clone()), Some(owned));
    }

    #[test]
    fn a_body_that_ends_is_gone_and_one_is_never_entered_twice() {
        let body = Body::default();
        assert_eq!(body.put(1), None);
        assert!(body.wake());
        let after = body.run(|it| {
            assert_eq!(body.seen(), Seen::Running);
            // By who was not told to.
            assert_eq!(body.run(|_| panic!("somebody is in it")), After::Ended(None));
            assert!(!body.wake());
            *it = None;
        });
        assert_eq!(after, After::Ended(None));
        assert_eq!(body.end(), None);
    }
}
