//! The handshake: who the two ends are, what they can do, and that both know the cookie.
//!
//! Source: *Distribution Protocol*, "Distribution Handshake". Version 6, and the opening of version 5 from a peer.

mod acceptor;
mod digest;
mod error;
mod framer;
mod initiator;
mod message;

use crate::term::Atom;

use self::message::check_host;
pub(crate) use self::message::check_node_name;
use super::Flags;

pub use self::acceptor::{Acceptor, AcceptorStep, Answer, Introduction, NameRequest};
pub use self::error::{
    HandshakeError, HandshakeFault, NodeNameError, Phase, Refusal, Undecodable, Violation,
};
pub use self::framer::{Framer, LengthPrefix};
pub use self::initiator::{AliveQuestion, Initiator, InitiatorStep};

/// What this end says of itself.
#[derive(Debug, Clone)]
pub struct Local {
    name: Atom,
    creation: u32,
    flags: Flags,
    mandatory: Flags,
}

impl Local {
    /// A node with a full name (`name@host`); demands [`Flags::MANDATORY_26`] of its peers.
    ///
    /// # Errors
    /// If the name is none that a node can have, or has characters that the handshake cannot carry (above 255).
    pub fn new(name: Atom, creation: u32, flags: Flags) -> Result<Self, NodeNameError> {
        check_node_name(&name)?;
        if name.chars().any(|c| u8::try_from(c).is_err()) {
            return Err(NodeNameError::NotLatin1);
        }
        Ok(Self { name, creation, flags, mandatory: Flags::MANDATORY_26 })
    }

    /// An initiator that asks its peer for a name, on this host.
    ///
    /// # Errors
    /// If the host cannot be part of a node's name.
    pub fn unnamed(host: Atom, flags: Flags) -> Result<Self, NodeNameError> {
        check_host(&host)?;
        if host.chars().any(|c| u8::try_from(c).is_err()) {
            return Err(NodeNameError::NotLatin1);
        }
        let flags = flags | Flags::NAME_ME;
        Ok(Self { name: host, creation: 0, flags, mandatory: Flags::MANDATORY_26 })
    }

    /// Demands other flags of the peer.
    pub fn demand(self, mandatory: Flags) -> Self {
        Self { mandatory, ..self }
    }
}

/// A finished handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Established {
    /// The peer.
    pub peer: Atom,
    /// The peer's incarnation.
    pub creation: u32,
    /// What both ends can do.
    pub flags: Flags,
    /// What the peer says that it can do.
    pub peer_flags: Flags,
    /// The name and creation that the peer gave to an initiator who asked for them.
    pub named: Option<(Atom, u32)>,
    /// Whether this connection takes the place of one that the acceptor believed to be alive: it closes that one now, before
    /// it sends the last message.
    pub replaces: bool,
}

/// What to do if a peer's connection attempt meets one of our own to it that is not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simultaneous {
    /// Ours goes on: answer `nok`.
    KeepMine,
    /// Theirs goes on: drop ours and answer `ok_simultaneous`.
    TakeTheirs,
}

/// Decides between two simultaneous attempts: the node whose name is greater wins.
pub fn simultaneous(mine: &Atom, peer: &Atom) -> Simultaneous {
    if mine.as_bytes() > peer.as_bytes() { Simultaneous::KeepMine } else { Simultaneous::TakeTheirs }
}

#[cfg(test)]
mod tests;
