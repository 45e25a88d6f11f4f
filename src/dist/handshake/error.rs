//! Why a handshake failed, and whose fault it was.

use std::fmt;

use crate::term::Atom;

use super::super::MissingFlags;

/// The message that a handshake was waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// The initiator's name and flags (message 1).
    SendName,
    /// The acceptor's verdict (message 2), or the initiator's answer to `alive`.
    Status,
    /// The acceptor's name, flags and challenge (message 3).
    SendChallenge,
    /// The initiator's proof and challenge (message 4), in version 5 after the rest of its flags.
    ChallengeReply,
    /// The acceptor's proof (message 5).
    ChallengeAck,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SendName => "send_name",
            Self::Status => "send_status",
            Self::SendChallenge => "send_challenge",
            Self::ChallengeReply => "send_challenge_reply",
            Self::ChallengeAck => "send_challenge_ack",
        })
    }
}

/// A handshake that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("handshake with {}, at {phase}: {fault}", peer.as_ref().map_or("an unknown node", Atom::as_str))]
pub struct HandshakeError {
    /// The peer, if its name is known.
    pub peer: Option<Atom>,
    /// What was awaited, or just received.
    pub phase: Phase,
    /// What went wrong.
    pub fault: HandshakeFault,
    pub(super) reply: Option<Vec<u8>>,
}

impl HandshakeError {
    /// The last message to send before the connection is closed, if the protocol has one for this fault.
    pub fn reply(&self) -> Option<&[u8]> {
        self.reply.as_deref()
    }
}

/// What went wrong in a handshake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeFault {
    /// The peer sent bytes that are not the message expected here.
    #[error("{0}")]
    Undecodable(Undecodable),
    /// The peer sent a message whose content breaks the protocol.
    #[error("{0}")]
    Violation(Violation),
    /// The peer lacks flags that this node demands.
    #[error("the peer lacks {0}")]
    Incompatible(MissingFlags),
    /// The peer's digest does not match: the two nodes have different cookies.
    #[error("the peer has another cookie")]
    WrongCookie,
    /// One of the two ends does not want the connection.
    #[error("{0}")]
    Refused(Refusal),
}

impl From<Undecodable> for HandshakeFault {
    fn from(fault: Undecodable) -> Self {
        Self::Undecodable(fault)
    }
}

impl From<Violation> for HandshakeFault {
    fn from(fault: Violation) -> Self {
        Self::Violation(fault)
    }
}

impl From<Refusal> for HandshakeFault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<NodeNameError> for HandshakeFault {
    fn from(fault: NodeNameError) -> Self {
        Self::Violation(Violation::NodeName(fault))
    }
}

/// Why bytes are not the message that is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Undecodable {
    /// The message ends too early.
    #[error("the message ends too early")]
    Truncated,
    /// Bytes after a digest.
    #[error("the message goes on after its digest")]
    TrailingBytes,
    /// Another message than the one expected, or none.
    #[error("a message with tag {0} is not expected here")]
    Tag(u8),
    /// An opening of another version than 5 and 6.
    #[error("handshake version {0} is not known")]
    Version(u16),
    /// A text that is no status.
    #[error("not a status")]
    Status,
    /// The message is longer than any legal one.
    #[error("a message of {len} bytes; at most {max} are legal")]
    TooLong {
        /// What the length in front of it says.
        len: u32,
        /// The limit.
        max: u32,
    },
}

/// How the content of a message breaks the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The peer's name, or the name that it gave us, cannot be a node's name.
    #[error("{0}")]
    NodeName(#[from] NodeNameError),
    /// The acceptor is another node than the one that was called.
    #[error("the node there is {0}")]
    WrongNode(Atom),
    /// The acceptor gives a name to an initiator that has one.
    #[error("the peer gives a name that nobody asked for")]
    NamedUnasked,
    /// The acceptor does not give a name to an initiator that has none.
    #[error("the peer does not give the name that it was asked for")]
    NotNamed,
}

/// Why one end does not want a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The acceptor keeps an attempt of its own; an initiator waits for that one (`nok`).
    #[error("the acceptor's own attempt goes on")]
    Nok,
    /// The acceptor does not allow the initiator (`not_allowed`).
    #[error("not allowed")]
    NotAllowed,
    /// The connection that the acceptor still has is the right one (`alive`, answered with `false`).
    #[error("the earlier connection stays")]
    Alive,
}

/// A text that cannot be a node's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeNameError {
    /// Not exactly one `@`.
    #[error("a node's name has one '@'")]
    At,
    /// Nothing before or after the `@`.
    #[error("a node's name has text on both sides of its '@'")]
    Empty,
    /// More than 255 characters.
    #[error("a node's name has at most 255 characters")]
    TooLong,
    /// Characters that the handshake cannot carry.
    #[error("a node's name has only Latin-1 characters")]
    NotLatin1,
}
