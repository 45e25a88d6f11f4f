//! A connection that stands: the driver of [`dist::channel`](crate::dist::channel).
//!
//! Senders encode in their own tasks, and queue under a short lock. Who finds nobody writing writes himself, so that a lone signal is
//! on its way at once; while signals follow one another, all but the first are left to the writer's task, which comes to its turn
//! when the thread has nothing else to do, and takes all that is queued with one vectored write.

use std::collections::{BTreeSet, HashMap};
use std::future::poll_fn;
use std::hash::BuildHasherDefault;
use std::hint::cold_path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::yield_now;

use super::DisconnectReason;
use super::half::Half;
use super::name_monitors::NameMonitors;
use crate::dist::channel::{Fresh, Outgoing, OutgoingError, Pace, Sender};
use crate::dist::handshake::Established;
use crate::dist::{Control, Flags, Item, Tick, Ticker};
use crate::etf::{self, EncodeError, Writer as TermWriter};
use crate::process::{Busy, ConnectionId, Number, Write};
use crate::term::{Atom, Pid, Reference};
use crate::world::{Clock, Mono};

/// How much one vectored write takes at most: enough to fill a socket's buffer, little enough that a tick waits for no more.
const TRANSMIT_BYTES: usize = 1 << 20;
/// How many such writes a sender does before it leaves the rest to the writer's task.
const TRANSMITS_MAX: usize = 8;
/// Signals that follow one another so closely share writes, unless something arrived in between that they may be the answer to. The
/// writer's task is far quicker; this is for a sender that computes and lets nobody else run, so that what it sends now and then is
/// on its way at once.
const BURST: Duration = Duration::from_millis(1);
/// With so many signals queued, a sender does not wait for the writer's task: more would not make a write much cheaper.
const WRITE_SIGNALS: u32 = 128;
/// Nor with so many that answer messages which came together: the peer would have nothing to do meanwhile, and then all of it at once.
const WRITE_ANSWERS: u32 = 32;
/// Nor with so many bytes.
const WRITE_BYTES: usize = 64 << 10;
/// What may wait for the next signal to take it along.
const LATER_BYTES_MAX: usize = 4 << 10;

/// Who of the node sent last where nobody was writing, and when. What two threads mix up costs a write, or a moment.
#[derive(Default)]
pub(super) struct LastSent {
    sender: AtomicU64,
    at: AtomicU64,
}

impl LastSent {
    /// Whether this message of the sender's follows another one of its own, to whatever node.
    fn follows(&self, sender: &Pid, now: Mono) -> bool {
        let sender = numbers(sender);
        let same = self.sender.load(Ordering::Relaxed) == sender;
        let close = now.since(Mono(self.at.load(Ordering::Relaxed))) < BURST;
        self.sender.store(sender, Ordering::Relaxed);
        self.at.store(now.0, Ordering::Relaxed);
        same && close
    }
}

/// One connection, from the end of its handshake until it is lost.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) peer: Atom,
    pub(super) creation: u32,
    pub(super) flags: Flags,
    out: Mutex<Out>,
    clock: Arc<dyn Clock>,
    /// One for all of the node's connections.
    last_sent: Arc<LastSent>,
    busy: Arc<Busy>,
    busy_limit: usize,
    /// Wakes the writer's task.
    handed_over: Notify,
    /// That the connection is closed, for the reader's task.
    closing: AtomicBool,
    /// Wakes who waits until all that was queued is written.
    idle: Notify,
    received: AtomicU64,
    /// How many messages have arrived, and whether the last one came with others.
    messages: AtomicU64,
    crowded: AtomicBool,
    /// How many came alone since one that did not.
    lone_messages: AtomicU32,
    written: AtomicU64,
    torn_down: AtomicBool,
}

struct Out {
    queue: Sender,
    /// So many signals were queued since the last write.
    signals: u32,
    writer: Writer,
    /// When a sender last found nobody writing, but for lone answers, and how many messages had arrived.
    written_at: Mono,
    messages_then: u64,
    /// Whether the burst since then began with an answer to one of several messages.
    answers: bool,
    /// The local processes with relations over this connection. They are of this node, so their numbers tell them apart.
    interested: HashMap<u64, Pid, BuildHasherDefault<Number>>,
    name_monitors: NameMonitors,
    closed: Option<DisconnectReason>,
    /// Whether somebody waits for all to be written.
    idle_awaited: bool,
    /// The reader's task, to be woken when the connection is closed.
    reader: Option<Waker>,
}

impl Out {
    fn is_worth_a_write(&self) -> bool {
        let signals = if self.answers { WRITE_ANSWERS } else { WRITE_SIGNALS };
        self.signals >= signals || self.queue.queued_bytes() >= WRITE_BYTES
    }

    /// Takes what one vectored write takes.
    #[inline(always)]
    fn transmit_into(&mut self, half: &mut Half, clock: &dyn Clock) {
        self.signals = 0;
        if !self.queue.transmit_small(&mut half.small) {
            cold_path();
            self.queue.transmit_into(TRANSMIT_BYTES, &mut half.chunks, &|| clock.mono());
        }
    }

    /// The process is to hear of the connection's loss.
    #[hot(relations)]
    fn interest(&mut self, pid: &Pid) {
        self.interested.entry(numbers(pid)).or_insert_with(|| pid.clone());
    }
}

fn numbers(pid: &Pid) -> u64 {
    u64::from(pid.id) << 32 | u64::from(pid.serial)
}

enum Writer {
    /// Nobody writes: the next sender does.
    Idle(Box<Half>),
    /// A sender or the writer's task writes, and goes on until the queue is empty.
    Writing,
    /// Somebody has left the rest to the writer's task.
    HandedOver(Box<Half>),
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
        node: Pid,
        established: &Established,
        half: Half,
        busy_limit: usize,
        clock: Arc<dyn Clock>,
        last_sent: Arc<LastSent>,
    ) -> Self {
        let out = Out {
            queue: Sender::new(established.flags).paced(Pace::new(node)),
            signals: 0,
            writer: Writer::Idle(Box::new(half)),
            written_at: Mono::default(),
            messages_then: 0,
            answers: false,
            interested: HashMap::default(),
            name_monitors: NameMonitors::default(),
            closed: None,
            idle_awaited: false,
            reader: None,
        };
        Self {
            id,
            peer: established.peer.clone(),
            creation: established.creation,
            flags: established.flags,
            out: Mutex::new(out),
            clock,
            last_sent,
            busy: Arc::default(),
            busy_limit,
            handed_over: Notify::new(),
            closing: AtomicBool::new(false),
            idle: Notify::new(),
            received: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            crowded: AtomicBool::new(false),
            lone_messages: AtomicU32::new(0),
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
    pub(super) fn push(&self, outgoing: Outgoing) -> Pushed {
        self.queue(None, None, Write::Now, |queue| queue.push(outgoing))
    }

    /// Encodes a signal in the caller's task, and queues it as [`Connection::push`] does.
    #[inline(always)]
    pub(super) fn send<P>(
        &self,
        sender: Option<&Pid>,
        interest: Option<&Pid>,
        control: &Control<P>,
        payload: impl FnOnce(&P, &mut TermWriter) -> Result<(), EncodeError>,
        write: Write,
    ) -> Result<Pushed, OutgoingError> {
        if let Control::Monitor { .. } | Control::Demonitor { .. } = control {
            cold_path();
            return self.send_monitor(sender, interest, control, write);
        }
        Fresh::with(self.flags, sender, control, payload, |signal| {
            self.queue(sender, interest, write, |queue| queue.push_fresh(signal))
        })
    }

    /// A signal without payload, which is written under the lock if it can be.
    #[hot(relations)]
    fn send_monitor<P>(
        &self,
        sender: Option<&Pid>,
        interest: Option<&Pid>,
        control: &Control<P>,
        write: Write,
    ) -> Result<Pushed, OutgoingError> {
        let mut failed = None;
        let pushed = self.queue(sender, interest, write, |queue| {
            if queue.push_monitor(sender, control) {
                return;
            }
            match Outgoing::encode(self.flags, sender, control, |_, _| Ok(())) {
                Ok(outgoing) => queue.push(outgoing),
                Err(error) => failed = Some(error),
            }
        });
        failed.map_or(Ok(pushed), Err)
    }

    fn queue(
        &self,
        sender: Option<&Pid>,
        interest: Option<&Pid>,
        write: Write,
        push: impl FnOnce(&mut Sender),
    ) -> Pushed {
        let mut out = self.out();
        if out.closed.is_some() {
            cold_path();
            return Pushed::Closed;
        }
        if let Some(pid) = interest {
            cold_path();
            out.interest(pid);
        }
        push(&mut out.queue);
        out.signals = out.signals.saturating_add(1);
        if write == Write::Later {
            cold_path();
            if out.queue.queued_bytes() < LATER_BYTES_MAX {
                return Pushed::Queued;
            }
        }
        self.write_in_turn(out, sender, write)
    }

    /// Writes what is queued, or leaves it to who writes already.
    #[hot]
    fn write_in_turn<'a>(
        &'a self,
        mut out: MutexGuard<'a, Out>,
        sender: Option<&Pid>,
        write: Write,
    ) -> Pushed {
        let half = match std::mem::replace(&mut out.writer, Writer::Writing) {
            Writer::Idle(half) if !self.in_burst(&mut out, sender, write) => half,
            Writer::Idle(half) => {
                cold_path();
                out.writer = Writer::HandedOver(half);
                self.handed_over.notify_one();
                return self.pushed(&out, sender);
            }
            // The writer's task has not come to its turn. If it has a rest, the socket is full.
            Writer::HandedOver(half) if half.is_done() && out.is_worth_a_write() => {
                cold_path();
                half
            }
            other => {
                cold_path();
                out.writer = other;
                return self.pushed(&out, sender);
            }
        };
        self.write_now(out, half, sender)
    }

    #[inline(always)]
    fn write_now<'a>(
        &'a self,
        mut out: MutexGuard<'a, Out>,
        mut half: Box<Half>,
        sender: Option<&Pid>,
    ) -> Pushed {
        for _ in 0..TRANSMITS_MAX {
            out.transmit_into(&mut half, &*self.clock);
            drop(out);
            // The writer's task registers itself if the socket is full: this poll only tries.
            let written = match half.poll_write(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(len)) => {
                    self.note_written(len);
                    true
                }
                // An error is met again, and reported, by the writer's task.
                other => {
                    cold_path();
                    drop(other);
                    false
                }
            };
            out = self.out();
            if out.closed.is_some() {
                cold_path();
                return Pushed::Closed;
            }
            self.clear_busy(&out);
            if !half.is_done() || !written {
                cold_path();
                break;
            }
            if out.queue.is_empty() || !out.queue.has_next() {
                if let Writer::Idle(other) | Writer::HandedOver(other) =
                    std::mem::replace(&mut out.writer, Writer::Idle(half))
                {
                    // There is one.
                    cold_path();
                    drop(other);
                }
                self.tell_idle(&mut out);
                // Mostly nothing is left, which is not looked through.
                if out.queue.queued_bytes() == 0 {
                    return Pushed::Queued;
                }
                cold_path();
                return self.pushed(&out, sender);
            }
        }
        out.writer = Writer::HandedOver(half);
        self.handed_over.notify_one();
        self.pushed(&out, sender)
    }

    /// Whether the signal is one of many, which share a write if this one waits a moment: it answers one of several messages that one
    /// read brought, or it comes right after another without anything having arrived in between that it could be the answer to. The
    /// messages of one sender may go to several nodes: each node's first would have a write of its own, and a read there.
    fn in_burst(&self, out: &mut Out, sender: Option<&Pid>, write: Write) -> bool {
        let messages = self.messages.load(Ordering::Relaxed);
        let answers = std::mem::replace(&mut out.messages_then, messages) != messages;
        let crowded = self.crowded.load(Ordering::Relaxed);
        if answers && !crowded && write == Write::Now {
            // Whenever that is: a lone call reads no clock here.
            (out.written_at, out.answers) = (Mono::default(), false);
            return false;
        }
        cold_path();
        let now = self.clock.mono();
        let follows =
            write == Write::Soon && sender.is_some_and(|sender| self.last_sent.follows(sender, now));
        let close = follows || now.since(out.written_at) < BURST;
        out.written_at = now;
        if answers {
            out.answers = crowded;
            return crowded;
        }
        // What a write of answers has left are more of them.
        out.answers &= close;
        close
    }

    /// A sender is suspended for what its own signals wait for: small calls go on beside another process's large message.
    fn pushed(&self, out: &Out, sender: Option<&Pid>) -> Pushed {
        if out.queue.queued_before(sender) > self.busy_limit {
            self.busy.set();
            Pushed::Busy(self.busy.clone())
        } else {
            Pushed::Queued
        }
    }

    /// Lets the suspended senders go on once half of what may be queued has drained.
    fn clear_busy(&self, out: &Out) {
        if self.busy.is_set() {
            cold_path();
            if out.queue.queued_bytes() <= self.busy_limit / 2 {
                self.busy.clear();
            }
        }
    }

    /// Whether something waits for the writer's task.
    pub(super) fn is_handed_over(&self) -> bool {
        matches!(self.out().writer, Writer::HandedOver(_))
    }

    /// Lets those go on who wait for all to be written.
    #[inline]
    fn tell_idle(&self, out: &mut Out) {
        if std::mem::take(&mut out.idle_awaited) {
            cold_path();
            self.idle.notify_waiters();
        }
    }

    /// Waits until all that was queued is written, or the connection is closed.
    pub(super) async fn flushed(&self) {
        loop {
            let mut idle = std::pin::pin!(self.idle.notified());
            idle.as_mut().enable();
            {
                let mut out = self.out();
                if out.closed.is_some() {
                    return;
                }
                out.idle_awaited = true;
                if matches!(out.writer, Writer::Idle(_)) {
                    if out.queue.is_empty() {
                        return;
                    }
                    if out.queue.has_next() {
                        self.write_in_turn(out, None, Write::Now);
                        continue;
                    }
                }
            }
            idle.await;
        }
    }

    /// Registers a process that is to hear of the connection's loss. Returns whether the connection stands.
    #[hot(relations)]
    pub(super) fn interest(&self, pid: &Pid) -> bool {
        let mut out = self.out();
        if out.closed.is_some() {
            return false;
        }
        out.interest(pid);
        true
    }

    /// A local process has ended, or is related to none of the peer's any more.
    pub(super) fn forget(&self, pid: &Pid) {
        let mut out = self.out();
        if out.interested.remove(&numbers(pid)).is_some() {
            out.name_monitors.forget(pid);
        }
    }

    #[hot(relations)]
    pub(super) fn remember_name_monitor(&self, reference: &Reference, process: &Pid) {
        self.out().name_monitors.insert(reference, process);
    }

    #[hot(relations)]
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
            self.closing.store(true, Ordering::Release);
        }
        let reader = out.reader.take();
        drop(out);
        if let Some(reader) = reader {
            reader.wake();
        }
        self.handed_over.notify_one();
        self.idle.notify_waiters();
        self.busy.clear();
    }

    /// Why the connection is closed, if it is.
    #[inline]
    pub(super) fn closed(&self) -> Option<DisconnectReason> {
        if !self.closing.load(Ordering::Acquire) {
            return None;
        }
        cold_path();
        self.out().closed.clone()
    }

    /// Has the reader's task woken when the connection is closed. Returns whether it is already.
    pub(super) fn wake_reader_with(&self, waker: &Waker) -> bool {
        let mut out = self.out();
        out.reader = Some(waker.clone());
        out.closed.is_some()
    }

    /// Notes what a read has brought.
    pub(super) fn note_received(&self, bytes: usize) {
        // Only the reader's task counts.
        self.received.store(self.received.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
    }

    /// Notes what a write has taken: only who has the half that writes counts.
    fn note_written(&self, bytes: usize) {
        self.written.store(self.written.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
    }

    /// Notes that a message has arrived, alone or with others, before it is delivered.
    pub(super) fn note_message(&self, crowded: bool) {
        self.crowded.store(crowded, Ordering::Relaxed);
        // Only the reader's task counts.
        self.messages.store(self.messages.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let lone = if crowded { 0 } else { self.lone_messages.load(Ordering::Relaxed).saturating_add(1) };
        self.lone_messages.store(lone, Ordering::Relaxed);
    }

    /// How many messages have come alone since one that did not, or since they were forgotten.
    pub(super) fn lone_messages(&self) -> u32 {
        self.lone_messages.load(Ordering::Relaxed)
    }

    pub(super) fn forget_lone_messages(&self) {
        self.lone_messages.store(0, Ordering::Relaxed);
    }

    /// Whether the last message came with others.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    /// The processes that must hear that the connection is lost. Nobody can register any more.
    pub(super) fn take_interested(&self) -> BTreeSet<Pid> {
        std::mem::take(&mut self.out().interested).into_values().collect()
    }

    /// Drains what senders could not write themselves, until the connection is closed.
    pub(super) async fn write(self: Arc<Self>) {
        loop {
            self.handed_over.notified().await;
            // Those who run before this thread is out of work may have more to send.
            yield_now().await;
            let taken = {
                let mut out = self.out();
                if out.closed.is_some() {
                    return;
                }
                match std::mem::replace(&mut out.writer, Writer::Writing) {
                    Writer::HandedOver(half) => Some(half),
                    other => {
                        out.writer = other;
                        None
                    }
                }
            };
            let Some(mut half) = taken else { continue };
            loop {
                while !half.is_done() {
                    match poll_fn(|cx| half.poll_write(cx)).await {
                        Ok(len) => {
                            self.note_written(len);
                        }
                        Err(error) => return self.close(error.into()),
                    }
                }
                {
                    let mut out = self.out();
                    if out.closed.is_some() {
                        return;
                    }
                    self.clear_busy(&out);
                    out.transmit_into(&mut half, &*self.clock);
                    if half.is_done() {
                        out.writer = Writer::Idle(half);
                        self.tell_idle(&mut out);
                        break;
                    }
                }
                // Between two writes of a large message the thread looks at its sockets and runs who waits.
                yield_now().await;
            }
        }
    }

    /// How many bytes it has read and written.
    pub(super) fn traffic(&self) -> (u64, u64) {
        (self.received.load(Ordering::Relaxed), self.written.load(Ordering::Relaxed))
    }

    /// Sends a tick if one is due; tells whether the peer is dead.
    pub(super) fn tick(&self, ticker: &mut Ticker) -> Tick {
        let (received, written) = self.traffic();
        let mut out = self.out();
        let queued = !matches!(out.writer, Writer::Idle(_));
        let tick = ticker.check(self.clock.mono(), received, written, queued);
        if out.closed.is_none() {
            if tick == Tick::Send {
                out.queue.push_tick();
            }
            if out.queue.has_next() {
                self.write_in_turn(out, None, Write::Now);
            }
        }
        tick
    }

    /// Returns whether the end of a monitor was the peer's answer to how far it has come with large messages. They go on then.
    pub(super) fn answered(&self, reference: &Reference) -> bool {
        let mut out = self.out();
        let answered = out.queue.answered(reference, self.clock.mono());
        if answered && out.queue.has_next() {
            self.write_in_turn(out, None, Write::Now);
        }
        answered
    }

    /// Answers the peer that asks how far this node has come.
    pub(super) fn answer(&self, name: &Atom, to: &Pid, reference: &Reference) {
        let (item, to, reference) = (Item::Name(name.clone()), to.clone(), reference.clone());
        let reason = Atom::from_static("noproc");
        let control = Control::MonitorExit { item, to, reference, reason };
        let queued = Fresh::with(self.flags, None, &control, etf::serialize, |signal| {
            self.queue(None, None, Write::Now, |queue| queue.push_aside(signal))
        });
        if let Err(error) = queued {
            tracing::error!(peer = %self.peer, %error, "a monitor is not answered");
        }
    }

    /// Large messages do not wait for a peer that does not answer. To be called once in a while.
    pub(super) fn relax(&self) {
        let mut out = self.out();
        out.queue.relax();
        if out.closed.is_none() && out.queue.has_next() {
            self.write_in_turn(out, None, Write::Now);
        }
    }
}
