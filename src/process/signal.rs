//! Everything that reaches a process.

use crate::etf::Payload;
use crate::process::bound::{Counted, Permit};
use crate::process::{ConnectionId, ExitReason, Received, SpawnReply};
use crate::term::{Atom, Pid, Reference};

/// One entry of a process's queue. `M` is what the process itself understands; it is moved, never encoded.
pub(crate) enum Signal<M> {
    /// A message of the process's own type.
    Message(M),
    /// A message in its external form: from another node, or from a process that sent another type.
    Term(Payload),
    /// A signal that acts at once, also while a callback awaits. Boxed: rare, and larger than most messages.
    Relation(Box<Relation>),
    /// A message to a process whose mailbox has a bound.
    Counted(Box<Counted<M>>),
}

impl<M> Signal<M> {
    /// The message, which does not count any more.
    #[inline(always)]
    pub(crate) fn receive(self) -> Received<M> {
        match self {
            Self::Message(message) => Received::Own(message),
            Self::Term(message) => Received::Term(message),
            Self::Counted(counted) => counted.receive(),
            Self::Relation(_) => unreachable!("relations are applied, not received"),
        }
    }

    /// The message, if it came in its external form; or the one of the process's own type.
    pub(crate) fn message(&self) -> Result<&Payload, Option<&M>> {
        match self {
            Self::Message(message) => Err(Some(message)),
            Self::Term(message) => Ok(message),
            Self::Counted(counted) => match counted.message() {
                Received::Own(message) => Err(Some(message)),
                Received::Term(message) => Ok(message),
            },
            Self::Relation(_) => Err(None),
        }
    }
}

impl<M> From<Received<M>> for Signal<M> {
    fn from(message: Received<M>) -> Self {
        match message {
            Received::Own(message) => Self::Message(message),
            Received::Term(message) => Self::Term(message),
        }
    }
}

/// The signals that are not messages. Source: *Processes*, "Signals", in the Erlang Reference Manual.
#[derive(Debug)]
pub(crate) enum Relation {
    /// A link is set up from the other side.
    Link { from: Pid, connection: Option<ConnectionId> },
    /// The other side removes its link and waits for an acknowledgement.
    Unlink { from: Pid, id: u64 },
    /// The other side has removed the link too.
    UnlinkAck { from: Pid, id: u64 },
    /// A linked process has ended.
    LinkExit { from: Pid, reason: ExitReason },
    /// `exit/2`.
    Exit { from: Pid, reason: ExitReason },
    /// Another process wants to know when this one ends.
    Monitor { from: Pid, reference: Reference, name: Option<Atom>, connection: Option<ConnectionId> },
    /// It no longer does.
    Demonitor { from: Pid, reference: Reference },
    /// A monitored process has ended.
    Down { reference: Reference, reason: ExitReason },
    /// A message to one of the process's aliases.
    Alias { alias: Reference, message: Payload, priority: bool, permit: Option<Permit> },
    /// A message found no room, and the process ends for that.
    MailboxFull { bound: usize },
    /// The process has another group leader.
    GroupLeader { leader: Pid },
    /// The answer to a request for a process.
    SpawnReply { reference: Reference, reply: SpawnReply, connection: Option<ConnectionId> },
    /// A connection is lost, and with it all relations over it.
    NoConnection { connection: ConnectionId },
}
