//! A process as a scheduler runs it: whether it waits, is queued or runs, and its body.
#![expect(unsafe_code, reason = "a process runs with the reference to it that it keeps while it waits")]

use std::future::Future;
use std::hint::cold_path;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::body::{After, Body, Seen};
use super::scheduler::{Runnable, Schedulers};
use super::{Process, ProcessMessage, Status};

/// What a scheduler knows of a process. That of a process which its caller polls stays empty.
#[derive(Default)]
pub(super) struct Task {
    body: Body<Polled, Arc<dyn Runnable>>,
    /// How many bytes the body takes.
    body_size: AtomicU32,
    /// How many messages the process has taken out of its queue and not received yet. It is here because the process stores it with each
    /// of them, and its senders are not to wait for that: they look here only when they wake it.
    unreceived: AtomicU32,
    /// How many messages it has received, up to the last time that it waited. Only the process itself counts.
    reductions: AtomicU64,
    /// Which of its callbacks runs, or ran last, for panics and the watchdog.
    callback: AtomicU8,
}

/// What is polled, and the waker that it is polled with, which would otherwise be made and dropped each time.
struct Polled {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    waker: Waker,
}

impl<M: ProcessMessage> Process<M> {
    /// Has the process run, for the first time and whenever it is woken.
    pub(super) fn begin(self: &Arc<Self>, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let waker = Waker::from(self.clone());
        self.task.body_size.store(size_of_val(&*future) as u32, Ordering::Relaxed);
        match self.task.body.put(Polled { future, waker }) {
            Ok(()) => Schedulers::enqueue(self.clone(), self.node()),
            Err(body) => drop_body(body),
        }
    }

    /// Has the process run, if it is one that schedulers run.
    #[inline(always)]
    pub(super) fn wake_up(&self) {
        if let Some(ticket) = self.task.body.wake() {
            Schedulers::enqueue(ticket, self.node());
        }
    }
}

/// Drops what a process owned: nothing here, if it runs somewhere else, and is dropped there.
#[cold]
fn drop_body(body: Option<Polled>) {
    // A destructor of the program's may panic, which is no reason to take the scheduler along.
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(body)));
    if let Err(panic) = dropped {
        tracing::error!(
            panic = crate::world::panic_text(&*panic),
            "what a process owned panicked when dropped"
        );
    }
}

impl Task {
    pub(super) fn unreceived(&self) -> usize {
        self.unreceived.load(Ordering::Relaxed) as usize
    }

    #[inline]
    pub(super) fn set_unreceived(&self, messages: usize) {
        self.unreceived.store(messages as u32, Ordering::Relaxed);
    }

    pub(super) fn reductions(&self) -> u64 {
        self.reductions.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn count_received(&self, messages: u32) {
        self.reductions.store(self.reductions() + u64::from(messages), Ordering::Relaxed);
    }

    pub(super) fn body_size(&self) -> usize {
        self.body_size.load(Ordering::Relaxed) as usize
    }

    pub(super) fn callback(&self) -> u8 {
        self.callback.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn set_callback(&self, callback: u8) {
        self.callback.store(callback, Ordering::Relaxed);
    }

    pub(super) fn status(&self) -> Status {
        match self.body.seen() {
            Seen::Running => Status::Running,
            Seen::Woken => Status::Runnable,
            Seen::Waiting => Status::Waiting,
        }
    }

    pub(super) fn set_ended(&self) {
        // They hold the process, which holds them.
        let (body, ticket) = self.body.end();
        drop_body(body);
        drop(ticket);
    }
}

impl<M: ProcessMessage> Wake for Process<M> {
    fn wake(self: Arc<Self>) {
        self.wake_up();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_up();
    }
}

impl<M: ProcessMessage> Runnable for Process<M> {
    #[hot]
    fn run(self: Arc<Self>) {
        self.run_body();
    }

    fn schedulers(&self) -> &Arc<Schedulers> {
        self.shared.local.schedulers()
    }

    fn node(&self) -> usize {
        Arc::as_ptr(&self.shared.local).addr()
    }

    fn numbers(&self) -> (u32, u32) {
        (self.shared.pid.id, self.shared.pid.serial)
    }
}

impl<M: ProcessMessage> Process<M> {
    #[inline(always)]
    fn run_body(self: Arc<Self>) {
        let process = Arc::as_ptr(&self);
        let run = |body: &mut Option<Polled>| {
            let Some(Polled { future, waker }) = body else {
                cold_path();
                return;
            };
            let mut cx = Context::from_waker(waker);
            let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx)));
            if let Ok(Poll::Pending) = polled {
                return;
            }
            cold_path();
            // What the body holds must be released before others hear of the end.
            drop_body(body.take());
            if let Err(panic) = polled {
                // SAFETY: the process runs, with its ticket.
                unsafe { &*process }.panicked(&*panic);
            }
        };
        // SAFETY: the ticket is a reference to the process.
        match unsafe { Body::run(&raw const (*process).task.body, self, run) } {
            // It may be gone.
            After::Waits => {}
            After::Woken(ticket) => Schedulers::enqueue_last(ticket),
            After::Ended(body, ticket) => {
                drop_body(body);
                drop(ticket);
            }
        }
    }
}
