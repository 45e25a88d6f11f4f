//! What breaks a connection, and what cannot be sent over it.

use crate::dist::atom_cache::HeaderError;
use crate::dist::fragment::FragmentError;
use crate::dist::{ControlError, Flags};
use crate::etf::{DecodeError, EncodeError};

/// The peer broke the protocol or exceeded a limit: the connection must be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// A packet is larger than this node takes.
    #[error("a packet of {len} bytes; at most {max} are taken")]
    FrameTooLong {
        /// What the packet claims.
        len: u32,
        /// The limit.
        max: u32,
    },
    /// A packet does not begin as was agreed: with a distribution header, or without one.
    #[error("a packet begins with {found:?}; {expected} was agreed on")]
    Framing {
        /// Its first two bytes, as far as there are any.
        found: Vec<u8>,
        /// What they should announce.
        expected: &'static str,
    },
    /// A distribution header breaks the protocol.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A fragment breaks the protocol or a limit.
    #[error(transparent)]
    Fragment(#[from] FragmentError),
    /// A control message breaks the protocol.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A control message announces a payload, but the packet has none.
    #[error("the payload is missing")]
    NoPayload,
    /// A payload is no term.
    #[error("undecodable payload: {0}")]
    Payload(DecodeError),
}

/// A signal that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutgoingError {
    /// A value in it has no external form.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The peer does not know this signal.
    #[error("the peer does not know this signal: it has not agreed to {0:?}")]
    NotAgreed(Flags),
    /// It needs a packet of more than 4 GiB, and the peer takes no fragments.
    #[error("a signal of {0} bytes needs fragments, which the peer does not take")]
    TooLong(usize),
}
