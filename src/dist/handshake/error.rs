//! Why a handshake failed, and whose fault it was.

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
    Challenge,
    /// The initiator's proof and challenge (message 4).
    ChallengeReply,
    /// The acceptor's proof (message 5).
    ChallengeAck,
}

/// A handshake that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("handshake with {}: {fault}", peer.as_ref().map_or("an unknown node", Atom::as_str))]
pub struct HandshakeError {
    /// The peer, if its name is known.
    pub peer: Option<Atom>,
    /// What was awaited.
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
    /// The peer's digest does not match: the two nodes have different cookies.
    #[error("the peer has another cookie")]
    WrongCookie,
    /// The peer lacks flags that this node demands.
    #[error("the peer lacks {0}")]
    Incompatible(MissingFlags),
    /// One of the two ends does not want the connection.
    #[error("{0}")]
    Refused(Refusal),
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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
