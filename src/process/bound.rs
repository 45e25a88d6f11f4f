//! Mailboxes with a bound, and what becomes of a message that finds one full.
//!
//! What counts is a message that waits: it has a permit, which it gives back when it is received or dropped. A process without a
//! bound has nothing of all this: its queue takes a message at once, and only one that does not asks why.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::{AnyProcess, Destination, Process, ProcessMessage, Pushed, Received, Relation, Shared, Signal};
use crate::etf::{EncodeError, Payload, Token};
use crate::term::{Atom, Reference, Term};

const FALLBACK: Atom = Atom::from_static("fallback");

/// A process whose mailbox is full says so at most once in this time.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// How many messages may wait for a process, and what becomes of one more.
///
/// Exit signals, `DOWN`s, node events, replies, [`sys`](crate::sys) messages and the process's own
/// timers do not count and are always taken. No sender ever waits. Without a bound a mailbox takes all, as in OTP.
///
/// ```
/// use beamline::gen_server::{GenServer, Message, Start};
/// use beamline::process::{Fallback, Mailbox, OnFull};
///
/// fn with_bound<S: GenServer>(start: Start<S>) -> Start<S> {
///     start.mailbox(Mailbox::bounded(1000).on_full(OnFull::Fallback(Fallback::new("overflow", "orders"))))
/// }
/// ```
#[derive(Debug)]
pub struct Mailbox<M> {
    max: usize,
    on_full: OnFull<M>,
}

/// What becomes of a message that finds a full mailbox.
#[derive(Debug)]
#[non_exhaustive]
pub enum OnFull<M> {
    /// It is refused: a sender of the same node gets an error, [`SendError::MailboxFull`](super::SendError::MailboxFull) or
    /// [`CallError::MailboxFull`](super::CallError::MailboxFull); one from another node is dropped and
    /// [counted](crate::node::Node::dropped_messages), and its sender not told, as of any message that reaches nobody.
    Refuse,
    /// It goes to another process.
    Fallback(Fallback<M>),
    /// The process ends, with the reason `{mailbox_full, Bound}`; it cannot trap that. The message is refused, too.
    Kill,
}

/// Where messages go that find a full mailbox.
///
/// A message in its external form (from another node, or of a type that is not the process's own) becomes
/// `{fallback, Process, Tag, Message}`, where `Process` is the name of the process that did not take it, or else its pid. A local
/// message of the process's own type has no external form; it goes to a function, if [one is given](Fallback::typed).
///
/// Refused is what cannot fall back: a typed message without a function, and what the other process does not take either: there
/// is none, or its mailbox is full, too. A message falls back once at most.
pub struct Fallback<M> {
    to: Destination,
    tag: Term,
    typed: Option<Box<dyn Fn(M) + Send + Sync>>,
}

impl<M> std::fmt::Debug for Fallback<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fallback").field("to", &self.to).field("tag", &self.tag).finish_non_exhaustive()
    }
}

impl<M> Mailbox<M> {
    /// At most so many messages wait; further ones are [refused](OnFull::Refuse).
    pub fn bounded(messages: usize) -> Self {
        Self { max: messages, on_full: OnFull::Refuse }
    }

    /// What becomes of further messages.
    pub fn on_full(mut self, on_full: OnFull<M>) -> Self {
        self.on_full = on_full;
        self
    }
}

impl<M> Fallback<M> {
    /// Messages go to the process `to`, with a `tag` that tells it what they are.
    pub fn new(to: impl Into<Destination>, tag: impl Into<Term>) -> Self {
        Self { to: to.into(), tag: tag.into(), typed: None }
    }

    /// Typed messages of this node go to `take`. It runs in the sender's turn, and must not send to the process that was full.
    pub fn typed(mut self, take: impl Fn(M) + Send + Sync + 'static) -> Self {
        self.typed = Some(Box::new(take));
        self
    }
}

/// A bound, whatever the type of the process's messages.
pub(crate) type AnyBound = Arc<dyn Any + Send + Sync>;

/// The bound of one process.
struct Bound<M> {
    room: Arc<Room>,
    on_full: OnFull<M>,
}

impl<M: 'static> From<Mailbox<M>> for AnyBound {
    fn from(mailbox: Mailbox<M>) -> Self {
        let Mailbox { max, on_full } = mailbox;
        let room = Room {
            max,
            taken: AtomicUsize::new(0),
            killed: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            reported: AtomicU64::new(0),
        };
        Arc::new(Bound { room: Arc::new(room), on_full })
    }
}

/// How much room a mailbox has.
#[derive(Debug)]
struct Room {
    max: usize,
    taken: AtomicUsize,
    killed: AtomicBool,
    /// How many messages found it full since the last report, and when that was.
    refused: AtomicU64,
    reported: AtomicU64,
}

/// The right of one message to wait.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Room>);

impl Permit {
    fn get(room: &Arc<Room>) -> Option<Self> {
        let one_more = |taken: usize| (taken < room.max).then_some(taken + 1);
        // It orders nothing: the queue does.
        room.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Self(room.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A message that counts.
pub(crate) struct Counted<M> {
    pub(super) message: Received<M>,
    pub(super) permit: Permit,
}

impl<M> Counted<M> {
    pub(super) fn message(&self) -> &Received<M> {
        &self.message
    }

    #[cold]
    pub(super) fn receive(self) -> Received<M> {
        let Self { message, permit } = self;
        // It waits no longer.
        drop(permit);
        message
    }
}

/// How a message in its external form is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taking {
    /// As all are.
    Message,
    /// As a priority message, if it is one to an alias that takes them.
    Priority,
    /// It has fallen back from another process.
    Fallen,
    /// Whatever the bound.
    Always,
}

impl<M: ProcessMessage> Process<M> {
    fn bound(&self) -> Option<Arc<Bound<M>>> {
        let bound = self.shared.state().rare.as_ref()?.bound.clone()?;
        bound.downcast().ok()
    }

    /// Queues a message that the queue has not taken at once: it has a bound, is traced, or the process has ended.
    #[cold]
    pub(super) fn push_counted(&self, message: Signal<M>, taking: Taking) -> Pushed {
        if self.trace(&message) && self.bound().is_none() {
            return self.push_always(message);
        }
        let message = match message {
            Signal::Message(message) => Received::Own(message),
            Signal::Term(message) => Received::Term(message),
            Signal::Relation(relation) => match *relation {
                Relation::Alias { alias, message, .. } => {
                    return self.push_counted_to_alias(alias, message, taking);
                }
                relation => return self.push_always(Signal::Relation(Box::new(relation))),
            },
            counted @ Signal::Counted(_) => return self.push_always(counted),
        };
        if taking == Taking::Always || matches!(&message, Received::Term(message) if is_system(message)) {
            return self.push_always(Signal::from(message));
        }
        let Some(bound) = self.bound() else { return Pushed::Ended };
        match Permit::get(&bound.room) {
            Some(permit) => self.push_always(Signal::Counted(Box::new(Counted { message, permit }))),
            None => self.full(&bound, message, taking),
        }
    }

    /// It counts from now on, although the process has yet to see whether the alias is active.
    fn push_counted_to_alias(&self, alias: Reference, message: Payload, taking: Taking) -> Pushed {
        let mut permit = None;
        if taking != Taking::Always {
            let Some(bound) = self.bound() else { return Pushed::Ended };
            permit = Permit::get(&bound.room);
            if permit.is_none() {
                return self.full(&bound, Received::Term(message), taking);
            }
        }
        let priority = taking == Taking::Priority;
        self.push_always(Signal::Relation(Box::new(Relation::Alias { alias, message, priority, permit })))
    }

    /// As [`Process::push_counted`], for a relation, which does not count.
    #[cold]
    pub(super) fn push_relation_always(&self, relation: Box<Relation>) -> Result<(), Box<Relation>> {
        let relation = Signal::Relation(relation);
        self.trace(&relation);
        match self.mailbox.push_always(relation, || self.wake_up()) {
            Err(Signal::Relation(relation)) => Err(relation),
            _ => Ok(()),
        }
    }

    pub(crate) fn push_always(&self, signal: Signal<M>) -> Pushed {
        if self.mailbox.push_always(signal, || self.wake_up()).is_ok() {
            Pushed::Taken
        } else {
            Pushed::Ended
        }
    }

    fn full(&self, bound: &Bound<M>, message: Received<M>, taking: Taking) -> Pushed {
        let Bound { room, on_full } = bound;
        room.report(&self.shared);
        match on_full {
            OnFull::Fallback(fallback) if taking != Taking::Fallen => self.fall_back(fallback, message),
            OnFull::Refuse | OnFull::Fallback(_) => Pushed::Full,
            OnFull::Kill => {
                if !room.killed.swap(true, Ordering::Relaxed) {
                    let full = Relation::MailboxFull { bound: room.max };
                    let _ = self.push_relation(Box::new(full));
                }
                Pushed::Full
            }
        }
    }

    fn fall_back(&self, fallback: &Fallback<M>, message: Received<M>) -> Pushed {
        match message {
            Received::Own(message) => match &fallback.typed {
                Some(take) => {
                    take(message);
                    Pushed::Taken
                }
                None => Pushed::Full,
            },
            Received::Term(message) => match self.shared.send_fallback(&fallback.to, &fallback.tag, &message)
            {
                Ok(true) => Pushed::Taken,
                Ok(false) => Pushed::Full,
                Err(error) => {
                    tracing::error!(%error, "the tag of a fallback has no external form");
                    Pushed::Full
                }
            },
        }
    }
}

impl Shared {
    /// Returns whether the fallback has taken the message.
    fn send_fallback(&self, to: &Destination, tag: &Term, message: &Payload) -> Result<bool, EncodeError> {
        let name = self.name();
        self.local.send_fallen(&self.pid, to, &|writer| {
            writer.tuple(4)?;
            writer.atom(&FALLBACK);
            match &name {
                Some(name) => writer.atom(name),
                None => writer.pid(&self.pid),
            }
            crate::etf::serialize(tag, writer)?;
            message.write(writer);
            Ok(())
        })
    }
}

impl Room {
    /// Says now and then that there is none.
    fn report(&self, process: &Shared) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        // Zero if it was never said.
        let now = process.local.world.clock.mono().0.max(1);
        let last = self.reported.load(Ordering::Relaxed);
        if last != 0 && u128::from(now.saturating_sub(last)) < REPORT_INTERVAL.as_nanos() {
            return;
        }
        // One of several senders says it.
        if self.reported.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let messages = self.refused.swap(0, Ordering::Relaxed);
        let name = process.name().map_or_else(String::new, |name| name.to_string());
        tracing::warn!(pid = %process.pid, name, bound = self.max, messages, "mailbox full");
    }
}

/// Whether it is `{system, From, Message}`, which `sys` sends.
fn is_system(message: &Payload) -> bool {
    let mut reader = message.reader();
    matches!(reader.next_token(), Ok(Token::Tuple(3)))
        && matches!(reader.next_token(), Ok(Token::Atom(tag)) if tag == "system")
}
