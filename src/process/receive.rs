//! How a process receives.

use std::future::Future;
use std::hint::cold_path;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use super::apply::apply_all;
use super::mailbox::{Batch, Taken};
use super::{Attention, Context, ExitReason, ProcessMessage, Signal};
use crate::etf::Payload;

/// After so many messages in a row a process lets others run, as an Erlang process does after its reductions.
const MESSAGES_PER_TURN: u32 = 256;

/// A received message.
#[derive(Debug)]
pub(crate) enum Received<M> {
    Own(M),
    Term(Payload),
}

/// Waits for the next message.
// Not a `poll_fn`, which is inlined only if it is short.
pub(crate) struct Receive<'a, M: ProcessMessage>(&'a mut Context<M>);

impl<M: ProcessMessage> Future for Receive<'_, M> {
    type Output = Received<M>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Received<M>> {
        self.0.poll_receive(cx)
    }
}

/// What a process is to receive next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    Nothing,
    /// A message of its own type, most likely.
    Own,
    /// A message in its external form.
    Term,
    /// Something else, or something is to be done before.
    Other,
}

/// Waits until something arrives, or may have: there was nothing to receive just now.
pub(crate) struct Queued<'a, M: ProcessMessage> {
    cx: &'a mut Context<M>,
    waits: bool,
}

impl<M: ProcessMessage> Future for Queued<'_, M> {
    type Output = ();

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<()> {
        let Self { cx, waits } = &mut *self;
        if std::mem::replace(waits, true) {
            return Poll::Ready(());
        }
        cx.wait();
        Poll::Pending
    }
}

impl<M: ProcessMessage> Context<M> {
    /// Waits for the next message. Cancel safe.
    pub(crate) fn receive_signal(&mut self) -> Receive<'_, M> {
        Receive(self)
    }

    /// To be awaited where there is [nothing](First::Nothing) to receive: waits until there may be something, which it leaves where it
    /// is. A wait that returns a message moves it out of its frame.
    #[inline(always)]
    pub(crate) fn queued(&mut self) -> Queued<'_, M> {
        Queued { cx: self, waits: false }
    }

    /// What there is to receive, while the turn is not over and no priority message waits.
    #[inline(always)]
    pub(crate) fn first(&self) -> First {
        if self.received >= MESSAGES_PER_TURN || self.shared().has(Attention::PRIORITY) {
            cold_path();
            return First::Other;
        }
        let received = self.inbox.first();
        if received != First::Nothing {
            return received;
        }
        match self.process.mailbox.first() {
            First::Own | First::Term if self.inbox.is_large() => First::Other,
            queued => queued,
        }
    }

    #[inline(always)]
    fn wait(&mut self) {
        // The memory of a burst goes back to where the next one is queued.
        if self.inbox.is_large() {
            cold_path();
            self.limit_inbox();
            self.process.mailbox.keep(&mut self.inbox);
        }
        self.begin_wait();
    }

    fn yield_turn<T>(&mut self, cx: &mut TaskContext<'_>) -> Poll<T> {
        self.count_received();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// There is nothing to receive.
    #[inline(always)]
    fn begin_wait(&mut self) {
        self.count_received();
        if self.shared().has(Attention::KEPT) {
            cold_path();
            self.shared().forget(Attention::KEPT);
            self.shared().forget(Attention::KEEPS);
            self.process.mailbox.shrink(&mut self.inbox);
        }
    }

    /// Has the process's task end it as soon as the body awaits.
    pub(super) fn exit_with(&mut self, reason: ExitReason) {
        // Behind the signal that ends it there may be others that must be answered, and the body is dropped first.
        self.process.mailbox.restore(Batch { signals: self.inbox.take(), messages: 0 });
        self.process.task.set_unreceived(0);
        self.shared().state().rare().exiting = Some(Box::new(reason));
        self.shared().notice(Attention::EXITING);
    }

    #[inline(always)]
    pub(crate) fn poll_receive(&mut self, cx: &mut TaskContext<'_>) -> Poll<Received<M>> {
        self.poll_signal(cx).map(Signal::receive)
    }

    /// The next message, if it is of the process's own type, as [`Context::first`] says: it is moved once on its way, where
    /// [`Context::poll_receive`] moves it from one result into the next. A burst's memory is looked after elsewhere.
    #[inline(always)]
    pub(crate) fn pop_or_take_own(&mut self) -> Option<M> {
        let message = if self.inbox.is_kept() {
            self.inbox.pop_own()?
        } else {
            self.process.mailbox.take_own_into(&mut self.inbox)?
        };
        self.received += 1;
        self.process.task.set_unreceived(self.inbox.len());
        Some(message)
    }

    /// As [`Context::pop_or_take_own`], if the message is in its external form.
    #[inline(always)]
    pub(crate) fn pop_or_take_term(&mut self) -> Option<Payload> {
        let message = if self.inbox.is_kept() {
            self.inbox.pop_term()?
        } else {
            self.process.mailbox.take_term_into(&mut self.inbox)?
        };
        self.received += 1;
        self.process.task.set_unreceived(self.inbox.len());
        Some(message)
    }

    /// Its turn is over.
    fn count_received(&mut self) {
        self.process.task.count_received(std::mem::take(&mut self.received));
    }

    /// How many received messages wait to be handled, besides those in the queue.
    pub(crate) fn set_aside(&self, messages: usize) {
        self.process.task.set_unreceived(self.inbox.len() + messages);
    }

    /// As [`Context::poll_receive`]; a message that counts goes on counting until it is [received](Signal::receive).
    // Inlined, so that a message goes from the queue to its callback without a stop.
    #[inline(always)]
    pub(crate) fn poll_signal(&mut self, cx: &mut TaskContext<'_>) -> Poll<Signal<M>> {
        if self.received >= MESSAGES_PER_TURN {
            cold_path();
            return self.yield_turn(cx);
        }
        loop {
            if self.shared().has(Attention::PRIORITY)
                && let Some(message) = self.shared().pop_priority()
            {
                cold_path();
                self.received += 1;
                return Poll::Ready(Signal::Term(message));
            }
            let signal = match self.inbox.pop_front() {
                Some(signal) => signal,
                None => match self.take() {
                    Taken::Messages(first) => first,
                    Taken::Relations { messages } => {
                        if self.apply(messages) {
                            continue;
                        }
                        return Poll::Pending;
                    }
                    Taken::Nothing => {
                        self.begin_wait();
                        return Poll::Pending;
                    }
                },
            };
            self.received += 1;
            self.process.task.set_unreceived(self.inbox.len());
            // They are applied when the queue is taken.
            debug_assert!(!matches!(signal, Signal::Relation(_)), "a relation among the messages");
            return Poll::Ready(signal);
        }
    }

    /// A burst's memory is here now: from now on it is kept for a while.
    fn limit_inbox(&mut self) {
        self.inbox.limit();
        if !self.shared().has(Attention::KEEPS) {
            self.shared().notice(Attention::KEEPS);
        }
    }

    /// Takes what is queued; the inbox is empty.
    #[inline(always)]
    pub(super) fn take(&mut self) -> Taken<M> {
        if self.inbox.is_large() {
            cold_path();
            self.limit_inbox();
        }
        self.process.mailbox.take_into(&mut self.inbox)
    }

    /// Applies the relations in the inbox, which are behind so many messages. Returns whether the process goes on.
    #[cold]
    fn apply(&mut self, messages: usize) -> bool {
        if let Some(reason) = apply_all(&self.process.shared, self.inbox.get(), messages) {
            self.exit_with(reason);
            return false;
        }
        self.process.task.set_unreceived(self.inbox.len());
        true
    }
}
