//! Control messages: what the signals between processes of two nodes look like.
//!
//! Source: *Distribution Protocol*, "Control Messages" and the sections after it.

mod decode;
mod encode;

use std::num::NonZeroU64;

use crate::etf::Payload;
use crate::term::{Atom, Pid, Reference};

pub use self::decode::ControlError;
pub(crate) use self::decode::Judge;

/// Who a message or an `exit/2` goes to.
#[derive(Debug, Clone, Eq)]
pub enum Target {
    /// A process.
    Pid(Pid),
    /// The process registered under a name on the receiving node.
    Name(Atom),
    /// The process behind an alias.
    Alias(Reference),
}

impl PartialEq for Target {
    // Inlined: what is written by the last message's writer is compared with each.
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pid(one), Self::Pid(other)) => one == other,
            (Self::Alias(one), Self::Alias(other)) => one == other,
            (Self::Name(one), Self::Name(other)) => one == other,
            _ => false,
        }
    }
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
    SpawnRequest(Box<SpawnRequest<P>>),
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

/// What SPAWN_REQUEST asks for. It is apart, as it would make every signal that is moved larger by half.
#[derive(Debug, Clone)]
pub struct SpawnRequest<P> {
    /// The request, and the monitor if one is asked for.
    pub id: Reference,
    /// The parent.
    pub from: Pid,
    /// The new process's group leader.
    pub group_leader: Pid,
    /// The module.
    pub module: Atom,
    /// The function.
    pub function: Atom,
    /// The arity that the tuple tells; the length of the argument list counts.
    pub arity: u8,
    /// The list of options, unexamined.
    pub options: Payload,
    /// The list of arguments, unexamined.
    pub arguments: P,
}

/// The number of a control message's operation, the first element of its tuple.
pub(super) mod op {
    pub(super) const LINK: u8 = 1;
    pub(super) const SEND: u8 = 2;
    pub(super) const EXIT: u8 = 3;
    pub(super) const UNLINK: u8 = 4;
    pub(super) const REG_SEND: u8 = 6;
    pub(super) const GROUP_LEADER: u8 = 7;
    pub(super) const EXIT2: u8 = 8;
    pub(super) const SEND_TT: u8 = 12;
    pub(super) const EXIT_TT: u8 = 13;
    pub(super) const REG_SEND_TT: u8 = 16;
    pub(super) const EXIT2_TT: u8 = 18;
    pub(in crate::dist) const MONITOR_P: u8 = 19;
    pub(in crate::dist) const DEMONITOR_P: u8 = 20;
    pub(super) const MONITOR_P_EXIT: u8 = 21;
    pub(super) const SEND_SENDER: u8 = 22;
    pub(super) const SEND_SENDER_TT: u8 = 23;
    pub(super) const PAYLOAD_EXIT: u8 = 24;
    pub(super) const PAYLOAD_EXIT_TT: u8 = 25;
    pub(super) const PAYLOAD_EXIT2: u8 = 26;
    pub(super) const PAYLOAD_EXIT2_TT: u8 = 27;
    pub(super) const PAYLOAD_MONITOR_P_EXIT: u8 = 28;
    pub(super) const SPAWN_REQUEST: u8 = 29;
    pub(super) const SPAWN_REQUEST_TT: u8 = 30;
    pub(super) const SPAWN_REPLY: u8 = 31;
    pub(super) const SPAWN_REPLY_TT: u8 = 32;
    pub(super) const ALIAS_SEND: u8 = 33;
    pub(super) const ALIAS_SEND_TT: u8 = 34;
    pub(super) const UNLINK_ID: u8 = 35;
    pub(super) const UNLINK_ID_ACK: u8 = 36;
    pub(super) const ALTACT_SIG_SEND: u8 = 37;
}

/// Flags of ALTACT_SIG_SEND.
mod altact {
    pub(super) const PRIORITY: i64 = 1;
    pub(super) const TOKEN: i64 = 2;
    pub(super) const ALIAS: i64 = 4;
    pub(super) const NAME: i64 = 8;
    pub(super) const EXIT: i64 = 16;
}

/// Flags of SPAWN_REPLY.
mod spawned {
    pub(super) const LINK: i64 = 1;
    pub(super) const MONITOR: i64 = 2;
}

impl<P> Control<P> {
    /// The same signal with another payload.
    pub(crate) fn try_map<Q, E>(self, f: impl FnOnce(P) -> Result<Q, E>) -> Result<Control<Q>, E> {
        Ok(match self {
            Self::Send { from, to, message, priority } => {
                Control::Send { from, to, message: f(message)?, priority }
            }
            Self::Exit { from, to, reason } => Control::Exit { from, to, reason: f(reason)? },
            Self::Exit2 { from, to, reason, priority } => {
                Control::Exit2 { from, to, reason: f(reason)?, priority }
            }
            Self::MonitorExit { item, to, reference, reason } => {
                Control::MonitorExit { item, to, reference, reason: f(reason)? }
            }
            Self::SpawnRequest(request) => {
                let SpawnRequest { id, from, group_leader, module, function, arity, options, arguments } =
                    *request;
                let arguments = f(arguments)?;
                let request =
                    SpawnRequest { id, from, group_leader, module, function, arity, options, arguments };
                Control::SpawnRequest(Box::new(request))
            }
            Self::Link { from, to } => Control::Link { from, to },
            Self::Unlink { from, to } => Control::Unlink { from, to },
            Self::UnlinkId { id, from, to } => Control::UnlinkId { id, from, to },
            Self::UnlinkIdAck { id, from, to } => Control::UnlinkIdAck { id, from, to },
            Self::GroupLeader { leader, to } => Control::GroupLeader { leader, to },
            Self::Monitor { from, item, reference } => Control::Monitor { from, item, reference },
            Self::Demonitor { from, item, reference } => Control::Demonitor { from, item, reference },
            Self::SpawnReply { id, to, link, monitor, result } => {
                Control::SpawnReply { id, to, link, monitor, result }
            }
        })
    }
}

#[cfg(test)]
mod tests;
