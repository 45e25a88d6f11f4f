//! A process as a scheduler runs it: whether it waits, is queued or runs, and its body.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

use super::scheduler::{Runnable, Schedulers};
use super::{Process, ProcessMessage, Status};

/// It is queued, or is to be once it no longer runs. Without this bit and the next it waits.
const WOKEN: u8 = 1;
const RUNNING: u8 = 2;
const ENDED: u8 = 4;

/// What a scheduler knows of a process. That of a process which its caller polls stays empty.
#[derive(Default)]
pub(super) struct Task {
    state: AtomicU8,
    /// How many messages the process has taken out of its queue and not received yet. It is here because the process stores it with each
    /// of them, and its senders are not to wait for that: they look here only when they wake it.
    unreceived: AtomicU32,
    /// How many messages it has received, up to the last time that it waited. Only the process itself counts.
    reductions: AtomicU64,
    /// Which of its callbacks runs, or ran last, for panics and the watchdog.
    callback: AtomicU8,
    body: Mutex<Option<Body>>,
}

/// With the waker that it is polled with, which would otherwise be made and dropped each time.
struct Body {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    waker: Waker,
}

impl Task {
    fn body(&self) -> MutexGuard<'_, Option<Body>> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: ProcessMessage> Process<M> {
    /// Has the process run, for the first time and whenever it is woken.
    pub(super) fn begin(self: &Arc<Self>, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let waker = Waker::from(self.clone());
        // First: who finds the waker may wake the process at once.
        *self.task.body() = Some(Body { future, waker: waker.clone() });
        self.mailbox.wake_with(waker);
        self.clone().wake();
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

    /// What its body takes, which is not known while it runs.
    pub(super) fn body_size(&self) -> usize {
        let body = self.body.try_lock();
        body.ok().and_then(|body| body.as_ref().map(|body| size_of_val(&*body.future))).unwrap_or(0)
    }

    pub(super) fn callback(&self) -> u8 {
        self.callback.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn set_callback(&self, callback: u8) {
        self.callback.store(callback, Ordering::Relaxed);
    }

    pub(super) fn status(&self) -> Status {
        match self.state.load(Ordering::Relaxed) {
            state if state & RUNNING != 0 => Status::Running,
            state if state & WOKEN != 0 => Status::Runnable,
            _ => Status::Waiting,
        }
    }

    pub(super) fn set_ended(&self) {
        self.state.fetch_or(ENDED, Ordering::AcqRel);
        self.drop_body();
    }

    fn drop_body(&self) {
        // It holds the process, which holds it.
        let body = self.body().take();
        // A destructor of the program's may panic, which is no reason to take the scheduler along.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(body)));
        if let Err(panic) = dropped {
            tracing::error!(
                panic = crate::world::panic_text(&*panic),
                "what a process owned panicked when dropped"
            );
        }
    }
}

impl<M: ProcessMessage> Wake for Process<M> {
    fn wake(self: Arc<Self>) {
        // Always written, also where nothing changes: the process is to see all that was done before it was woken.
        if self.task.state.fetch_or(WOKEN, Ordering::AcqRel) == 0 {
            Schedulers::enqueue(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.task.state.fetch_or(WOKEN, Ordering::AcqRel) == 0 {
            Schedulers::enqueue(self.clone());
        }
    }
}

impl<M: ProcessMessage> Runnable for Process<M> {
    fn run(self: Arc<Self>) {
        if self.task.state.swap(RUNNING, Ordering::AcqRel) & ENDED != 0 {
            self.task.state.store(ENDED, Ordering::Release);
            return;
        }
        let polled = catch_unwind(AssertUnwindSafe(|| match &mut *self.task.body() {
            Some(Body { future, waker }) => future.as_mut().poll(&mut Context::from_waker(waker)).is_ready(),
            None => true,
        }));
        let ended = polled.unwrap_or_else(|panic| {
            // What the body holds must be released before others hear of the end.
            self.task.drop_body();
            self.panicked(&*panic);
            true
        });
        if ended {
            self.task.state.store(ENDED, Ordering::Release);
            self.task.drop_body();
        } else if self.task.state.fetch_and(!RUNNING, Ordering::AcqRel) & WOKEN != 0 {
            Schedulers::enqueue_last(self);
        }
    }

    fn schedulers(&self) -> &Arc<Schedulers> {
        self.shared.local.schedulers()
    }

    fn numbers(&self) -> (u32, u32) {
        (self.shared.pid.id, self.shared.pid.serial)
    }
}
