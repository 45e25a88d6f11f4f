//! A connection that stands: the driver of [`dist::channel`](crate::dist::channel).
//!
//! Senders encode in their own tasks, queue under a short lock and, if the connection is idle, write themselves;
//! otherwise the writer's task drains all that is queued with vectored writes.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::sync::Notify;

use super::{DisconnectReason, Inner};
use crate::dist::channel::{Outgoing, Received, Receiver, Sender};
use crate::dist::handshake::Established;
use crate::dist::{Flags, Tick, Ticker};
use crate::process::{Busy, ConnectionId, Write};
use crate::term::{Atom, Pid, Reference};
use crate::world::{BoxRead, BoxWrite, Clock, Mono};

/// How much one vectored write takes: enough to fill a socket's buffer, little enough that a tick waits for no more.
const TRANSMIT_BYTES: usize = 256 << 10;
/// Slices in one vectored write; systems take at most 1024.
const TRANSMIT_SLICES: usize = 64;
/// Senders that follow one another so closely are not waiting for answers: less than a round trip takes, more than a send does.
const BURST: Duration = Duration::from_micros(15);
/// What may wait for the next signal to take it along.
const LATER_BYTES_MAX: usize = 4 << 10;
/// How long a connection without ticks sleeps between them.
const NEVER: Duration = Duration::from_secs(365 * 86_400);
const READ_CAPACITY: usize = 64 << 10;

/// One connection, from the end of its handshake until it is lost.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) peer: Atom,
    pub(super) creation: u32,
    pub(super) flags: Flags,
    out: Mutex<Out>,
    clock: Arc<dyn Clock>,
    busy: Arc<Busy>,
    busy_limit: usize,
    /// Wakes the writer's task.
    handed_over: Notify,
    /// Wakes the reader's task, to end it.
    closing: Notify,
    /// Wakes who waits until all that was queued is written.
    idle: Notify,
    received: AtomicU64,
    written: AtomicU64,
    torn_down: AtomicBool,
}

struct Out {
    queue: Sender,
    writer: Writer,
    /// When a sender last wrote, or would have.
    written_at: Mono,
    /// The local processes with relations over this connection.
    interested: BTreeSet<Pid>,
    /// Whom the peer's monitors by name found.
    name_monitors: BTreeMap<Reference, Pid>,
    closed: Option<DisconnectReason>,
}

enum Writer {
    /// Nobody writes: the next sender does.
    Idle(BoxWrite),
    /// A sender or the writer's task writes, and goes on until the queue is empty.
    Writing,
    /// A sender has left the rest to the writer's task.
    HandedOver(BoxWrite, Chunks),
}

/// What a vectored write is to send.
#[derive(Default)]
struct Chunks(std::collections::VecDeque<Bytes>);

impl Chunks {
    fn advance(&mut self, mut len: usize) {
        while let Some(first) = self.0.front_mut() {
            if len < first.len() {
                first.advance(len);
                return;
            }
            len -= first.len();
            self.0.pop_front();
        }
    }

    fn poll_write(&mut self, writer: &mut BoxWrite, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut total = 0;
        while !self.0.is_empty() {
            let mut slices = [IoSlice::new(&[]); TRANSMIT_SLICES];
            let count = self.0.len().min(TRANSMIT_SLICES);
            for (slice, chunk) in slices.iter_mut().zip(&self.0) {
                *slice = IoSlice::new(chunk);
            }
            match Pin::new(&mut *writer).poll_write_vectored(cx, &slices[..count]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(len)) => {
                    total += len;
                    self.advance(len);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                // What was written counts now; the rest is tried again with a waker that listens.
                Poll::Pending if total > 0 => return Poll::Ready(Ok(total)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(total))
    }
}

/// What queuing a signal led to.
pub(super) enum Pushed {
    Queued,
    /// Queued, but the sender must wait before it goes on.
    Busy(Arc<Busy>),
    Closed,
}

impl Connection {
    pub(super) fn new(
        id: ConnectionId,
        established: &Established,
        write: BoxWrite,
        busy_limit: usize,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let out = Out {
            queue: Sender::new(established.flags),
            writer: Writer::Idle(write),
            written_at: Mono::default(),
            interested: BTreeSet::new(),
            name_monitors: BTreeMap::new(),
            closed: None,
        };
        Self {
            id,
            peer: established.peer.clone(),
            creation: established.creation,
            flags: established.flags,
            out: Mutex::new(out),
            clock,
            busy: Arc::default(),
            busy_limit,
            handed_over: Notify::new(),
            closing: Notify::new(),
            idle: Notify::new(),
            received: AtomicU64::new(0),
            written: AtomicU64::new(0),
            torn_down: AtomicBool::new(false),
        }
    }

    /// Whether the caller is the one to tear down what depends on the connection.
    pub(super) fn tear_down(&self) -> bool {
        !self.torn_down.swap(true, Ordering::AcqRel)
    }

    pub(super) fn is_visible(&self) -> bool {
        self.flags.contains(Flags::PUBLISHED)
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an encoded signal, and writes it if nobody else is writing.
    pub(super) fn push(&self, outgoing: Outgoing, interest: Option<&Pid>, write: Write) -> Pushed {
        let mut out = self.out();
        if out.closed.is_some() {
            return Pushed::Closed;
        }
        if let Some(pid) = interest
            && !out.interested.contains(pid)
        {
            out.interested.insert(pid.clone());
        }
        out.queue.push(outgoing);
        if write == Write::Later && out.queue.queued_bytes() < LATER_BYTES_MAX {
            return Pushed::Queued;
        }
        self.write_if_idle(out)
    }

    /// Writes what is queued unless somebody does already.
    fn write_if_idle(&self, mut out: MutexGuard<'_, Out>) -> Pushed {
        match std::mem::replace(&mut out.writer, Writer::Writing) {
            Writer::Idle(write) if self.in_burst(&mut out) => {
                out.writer = Writer::HandedOver(write, Chunks::default());
                self.handed_over.notify_one();
                self.pushed(&out)
            }
            Writer::Idle(mut write) => {
                let mut chunks = Chunks(out.queue.transmit(TRANSMIT_BYTES).into());
                drop(out);
                // The writer's task registers itself if the socket is full: this poll only tries.
                let polled = chunks.poll_write(&mut write, &mut Context::from_waker(Waker::noop()));
                if let Poll::Ready(Ok(len)) = polled {
                    self.written.fetch_add(len as u64, Ordering::Relaxed);
                }
                let mut out = self.out();
                if out.closed.is_some() {
                    return Pushed::Closed;
                }
                if chunks.0.is_empty() && out.queue.is_empty() && matches!(polled, Poll::Ready(Ok(_))) {
                    out.writer = Writer::Idle(write);
                    self.idle.notify_waiters();
                } else {
                    // An error is met again, and reported, by the writer's task.
                    out.writer = Writer::HandedOver(write, chunks);
                    self.handed_over.notify_one();
                }
                self.pushed(&out)
            }
            other => {
                out.writer = other;
                self.pushed(&out)
            }
        }
    }

    /// Whether the last write by a sender was a moment ago. The next is left to the writer's task then: by its turn more will have
    /// come, and one write takes all.
    fn in_burst(&self, out: &mut Out) -> bool {
        let now = self.clock.mono();
        let burst = now.since(out.written_at) < BURST;
        out.written_at = now;
        burst
    }

    fn pushed(&self, out: &Out) -> Pushed {
        if out.queue.queued_bytes() > self.busy_limit {
            self.busy.set();
            Pushed::Busy(self.busy.clone())
        } else {
            Pushed::Queued
        }
    }

    /// Waits until all that was queued is written, or the connection is closed.
    pub(super) async fn flushed(&self) {
        loop {
            let mut idle = std::pin::pin!(self.idle.notified());
            idle.as_mut().enable();
            {
                let out = self.out();
                if out.closed.is_some() {
                    return;
                }
                if matches!(out.writer, Writer::Idle(_)) {
                    if out.queue.is_empty() {
                        return;
                    }
                    self.write_if_idle(out);
                    continue;
                }
            }
            idle.await;
        }
    }

    /// Registers a process that is to hear of the connection's loss. Returns whether the connection stands.
    pub(super) fn interest(&self, pid: &Pid) -> bool {
        let mut out = self.out();
        if out.closed.is_some() {
            return false;
        }
        out.interested.insert(pid.clone());
        true
    }

    /// A local process has ended, or is related to none of the peer's any more.
    pub(super) fn forget(&self, pid: &Pid) {
        let mut out = self.out();
        if out.interested.remove(pid) {
            out.name_monitors.retain(|_, bound| bound != pid);
        }
    }

    pub(super) fn remember_name_monitor(&self, reference: &Reference, process: &Pid) {
        self.out().name_monitors.insert(reference.clone(), process.clone());
    }

    pub(super) fn forget_name_monitor(&self, reference: &Reference) -> Option<Pid> {
        self.out().name_monitors.remove(reference)
    }

    /// Closes the connection: its reader ends, and tears down what depends on it.
    pub(super) fn close(&self, reason: DisconnectReason) {
        let mut out = self.out();
        if out.closed.is_none() {
            out.closed = Some(reason);
            // Dropping the half shuts the socket down; whoever writes drops it on finding the connection closed.
            out.writer = Writer::Writing;
            out.queue = Sender::new(self.flags);
        }
        drop(out);
        self.closing.notify_one();
        self.handed_over.notify_one();
        self.idle.notify_waiters();
        self.busy.clear();
    }

    fn closed(&self) -> Option<DisconnectReason> {
        self.out().closed.clone()
    }

    /// The processes that must hear that the connection is lost. Nobody can register any more.
    pub(super) fn take_interested(&self) -> BTreeSet<Pid> {
        std::mem::take(&mut self.out().interested)
    }

    /// Drains what senders could not write themselves, until the connection is closed.
    pub(super) async fn write(self: Arc<Self>) {
        loop {
            self.handed_over.notified().await;
            let taken = {
                let mut out = self.out();
                if out.closed.is_some() {
                    return;
                }
                match std::mem::replace(&mut out.writer, Writer::Writing) {
                    Writer::HandedOver(write, chunks) => Some((write, chunks)),
                    other => {
                        out.writer = other;
                        None
                    }
                }
            };
            let Some((mut write, mut chunks)) = taken else { continue };
            loop {
                while !chunks.0.is_empty() {
                    match poll_fn(|cx| chunks.poll_write(&mut write, cx)).await {
                        Ok(len) => {
                            self.written.fetch_add(len as u64, Ordering::Relaxed);
                        }
                        Err(error) => return self.close(DisconnectReason::Io(error.kind())),
                    }
                }
                let mut out = self.out();
                if out.closed.is_some() {
                    return;
                }
                if out.queue.queued_bytes() <= self.busy_limit / 2 {
                    self.busy.clear();
                }
                chunks = Chunks(out.queue.transmit(TRANSMIT_BYTES).into());
                if chunks.0.is_empty() {
                    out.writer = Writer::Idle(write);
                    self.idle.notify_waiters();
                    break;
                }
            }
        }
    }

    /// Reads and delivers signals, and keeps the connection alive, until it is closed. Returns why it was.
    pub(super) async fn read(
        &self,
        inner: &Inner,
        read: &mut BoxRead,
        mut input: BytesMut,
        mut ticker: Option<Ticker>,
    ) -> DisconnectReason {
        let mut receiver = Receiver::new(self.peer.clone(), self.flags, inner.options.channel);
        let world = &inner.local.world;
        let until =
            |next: Option<Mono>| world.sleep(next.map_or(NEVER, |next| next.since(world.clock.mono())));
        // One timer from tick to tick: a read costs none.
        let mut sleep = pin!(until(ticker.as_ref().map(Ticker::next)));
        loop {
            loop {
                match receiver.receive(&mut input) {
                    Ok(Some(Received::Signal(signal))) => inner.receive(self, signal),
                    Ok(Some(Received::Tick)) => {}
                    Ok(None) => break,
                    Err(error) => return DisconnectReason::Protocol(error),
                }
            }
            input.reserve(receiver.wants(&input).max(READ_CAPACITY));
            tokio::select! {
                biased;
                () = self.closing.notified() => {
                    if let Some(reason) = self.closed() {
                        return reason;
                    }
                }
                read = read.read_buf(&mut input) => match read {
                    Ok(0) => return DisconnectReason::Closed,
                    Ok(len) => {
                        self.received.fetch_add(len as u64, Ordering::Relaxed);
                    }
                    Err(error) => return DisconnectReason::Io(error.kind()),
                },
                () = sleep.as_mut() => {
                    if let Some(ticker) = &mut ticker
                        && self.tick(ticker, inner) == Tick::Dead
                    {
                        return DisconnectReason::NetTickTimeout;
                    }
                    sleep.set(until(ticker.as_ref().map(Ticker::next)));
                }
            }
        }
    }

    fn tick(&self, ticker: &mut Ticker, inner: &Inner) -> Tick {
        let (received, written) =
            (self.received.load(Ordering::Relaxed), self.written.load(Ordering::Relaxed));
        let mut out = self.out();
        let queued = !matches!(out.writer, Writer::Idle(_));
        let tick = ticker.check(inner.local.world.clock.mono(), received, written, queued);
        if out.closed.is_none() {
            if tick == Tick::Send {
                out.queue.push_tick();
            }
            if !out.queue.is_empty() {
                self.write_if_idle(out);
            }
        }
        tick
    }
}
