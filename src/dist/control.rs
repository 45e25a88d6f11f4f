//! Control messages: what the signals between processes of two nodes look like.
//!
//! Source: *Distribution Protocol*, "Control Messages" and the sections after it.

use std::num::NonZeroU64;

use crate::etf::{DecodeError, Payload, Reader, Writer};
use crate::term::{Atom, Pid, Reference};

use super::Flags;

/// Who a message or an `exit/2` goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A process.
    Pid(Pid),
    /// The process registered under a name on the receiving node.
    Name(Atom),
    /// The process behind an alias.
    Alias(Reference),
}

/// What a monitor watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A process.
    Pid(Pid),
    /// The process registered under a name on the receiving node.
    Name(Atom),
}

/// A signal between processes of two nodes, whichever of its forms it has on the wire.
///
/// `P` is what follows or ends the control tuple: a received signal has it as a checked [`Payload`], a sent one as whatever
/// the sender encodes. Trace tokens of the `_TT` forms are dropped.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Control<P = Payload> {
    /// A message (SEND, SEND_SENDER, REG_SEND, ALIAS_SEND, ALTACT_SIG_SEND).
    Send {
        /// Who sent it; the oldest form does not say.
        from: Option<Pid>,
        /// Who receives it.
        to: Target,
        /// The message.
        message: P,
        /// Whether it goes before ordinary messages (OTP 28).
        priority: bool,
    },
    /// Sets up a link (LINK).
    Link {
        /// Who links.
        from: Pid,
        /// Who gets linked.
        to: Pid,
    },
    /// Removes a link in the way of a peer without UNLINK_ID (UNLINK).
    Unlink {
        /// Who unlinks.
        from: Pid,
        /// Whose link goes.
        to: Pid,
    },
    /// Removes a link; wants to be acknowledged (UNLINK_ID).
    UnlinkId {
        /// To be repeated in the acknowledgement.
        id: NonZeroU64,
        /// Who unlinks.
        from: Pid,
        /// Whose link goes.
        to: Pid,
    },
    /// Acknowledges an [`UnlinkId`](Self::UnlinkId) (UNLINK_ID_ACK).
    UnlinkIdAck {
        /// As in the request.
        id: NonZeroU64,
        /// Who acknowledges.
        from: Pid,
        /// Who had unlinked.
        to: Pid,
    },
    /// A link broke (EXIT, PAYLOAD_EXIT).
    Exit {
        /// Who ended.
        from: Pid,
        /// Who was linked to it.
        to: Pid,
        /// Why.
        reason: P,
    },
    /// An exit signal from `exit/2` (EXIT2, PAYLOAD_EXIT2, ALTACT_SIG_SEND).
    Exit2 {
        /// Who sent it.
        from: Pid,
        /// Who receives it; other than a pid only with ALTACT_SIG.
        to: Target,
        /// The reason.
        reason: P,
        /// Whether its message goes before ordinary messages (OTP 28).
        priority: bool,
    },
    /// Changes a process's group leader (GROUP_LEADER).
    GroupLeader {
        /// The new leader.
        leader: Pid,
        /// Whose leader it becomes.
        to: Pid,
    },
    /// Sets up a monitor (MONITOR_P).
    Monitor {
        /// Who watches.
        from: Pid,
        /// What is watched.
        item: Item,
        /// The monitor.
        reference: Reference,
    },
    /// Removes a monitor (DEMONITOR_P).
    Demonitor {
        /// Who watched.
        from: Pid,
        /// What was watched.
        item: Item,
        /// The monitor.
        reference: Reference,
    },
    /// A monitored process ended (MONITOR_P_EXIT, PAYLOAD_MONITOR_P_EXIT).
    MonitorExit {
        /// What was watched, as in the monitor's request.
        item: Item,
        /// Who watched.
        to: Pid,
        /// The monitor.
        reference: Reference,
        /// Why it ended.
        reason: P,
    },
    /// Asks for a new process (SPAWN_REQUEST).
    SpawnRequest {
        /// The request, and the monitor if one is asked for.
        id: Reference,
        /// The parent.
        from: Pid,
        /// The new process's group leader.
        group_leader: Pid,
        /// The module.
        module: Atom,
        /// The function.
        function: Atom,
        /// The arity that the tuple tells; the length of the argument list counts.
        arity: u8,
        /// The list of options, unexamined.
        options: Payload,
        /// The list of arguments, unexamined.
        arguments: P,
    },
    /// Answers a [`SpawnRequest`](Self::SpawnRequest) (SPAWN_REPLY).
    SpawnReply {
        /// The request.
        id: Reference,
        /// The parent.
        to: Pid,
        /// Whether a link was set up.
        link: bool,
        /// Whether a monitor was set up.
        monitor: bool,
        /// The new process, or what was wrong.
        result: Result<Pid, Atom>,
    },
}

/// A control message that breaks the protocol: the connection must be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Its bytes are not a term.
    #[error("undecodable control message: {0}")]
    Undecodable(#[from] DecodeError),
}

impl<P> Control<P> {
    /// Writes the control tuple in the newest form that `flags` allow, and what follows it.
    pub(crate) fn encode<E>(
        &self,
        flags: Flags,
        writer: &mut Writer,
        payload: impl FnOnce(&P, &mut Writer) -> Result<(), E>,
    ) -> Result<usize, E> {
        let _ = (flags, writer, payload);
        todo!()
    }
}

impl Control<Option<Payload>> {
    /// Reads a control tuple.
    pub(crate) fn decode(reader: &mut Reader<'_>, peer: &Atom, flags: Flags) -> Result<Self, ControlError> {
        let _ = (reader, peer, flags);
        todo!()
    }
}
