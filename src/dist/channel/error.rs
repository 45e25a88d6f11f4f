//! What breaks a connection.

use crate::dist::ControlError;
use crate::etf::EncodeError;

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
    /// A control message breaks the protocol.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// A signal that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutgoingError {
    /// A value in it has no external form.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// It needs a packet of more than 4 GiB, and the peer takes no fragments.
    #[error("a signal of {0} bytes needs fragments, which the peer does not take")]
    TooLong(usize),
}
