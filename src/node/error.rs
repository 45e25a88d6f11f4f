//! Why two nodes are not connected.

use std::io;
use std::sync::Arc;

use crate::dist::channel::ChannelError;
use crate::dist::handshake::{HandshakeError, Undecodable};
use crate::epmd::EpmdError;
use crate::term::Atom;
#[cfg(feature = "tls")]
use crate::tls::TlsError;

/// Why a connection could not be made.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The text is no node name, or it is this node's own, or this node is stopping.
    #[error("this node does not connect to {0}")]
    NotAllowed(Atom),
    /// This node's own name cannot be used in a handshake.
    #[error("{0} is not a node's name")]
    NodeName(Atom),
    /// EPMD on the peer's host does not answer.
    #[error("EPMD was no help: {0}")]
    Epmd(Arc<EpmdError>),
    /// EPMD knows no such node: it is not running.
    #[error("no node {0} is registered with EPMD")]
    Unknown(Atom),
    /// The handshake failed; the error says whose fault it is.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The peer sent what cannot be a handshake message.
    #[error("the peer does not speak the distribution protocol: {0}")]
    Framing(Undecodable),
    /// The peer speaks TLS, and this node does not: it has no [`Builder::tls`](super::Builder).
    #[error("the peer speaks TLS, and this node does not")]
    SpeaksTls,
    /// There is no TLS with the peer; the error says whose fault it is.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The peer closed the connection. In mid-handshake that is how a node says that the cookies differ.
    #[error("the peer closed the connection; are the cookies equal?")]
    Closed,
    /// The handshake took too long. A peer that waits for TLS, or cannot make sense of it, may do so in silence.
    #[error("the handshake took longer than the setup time; do both ends speak TLS, or neither?")]
    Timeout,
    /// The connection stands, but the node does not answer as one.
    #[error("{0} does not answer")]
    NoAnswer(Atom),
    /// The system's network failed.
    #[error("{0}")]
    Io(io::ErrorKind),
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        #[cfg(feature = "tls")]
        if let Some(error) = TlsError::of(&error) {
            return Self::Tls(error);
        }
        Self::Io(error.kind())
    }
}

impl From<Undecodable> for ConnectError {
    fn from(error: Undecodable) -> Self {
        match error {
            // How a record of TLS begins, a handshake's or an alert, taken for a length.
            Undecodable::TooLong { len: 0x1603 | 0x1503, .. } => Self::SpeaksTls,
            error => Self::Framing(error),
        }
    }
}

/// Why a connection was lost.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The peer closed it.
    #[error("the peer closed the connection")]
    Closed,
    /// Nothing arrived for a tick time.
    #[error("nothing arrived for a tick time (net_tick_timeout)")]
    NetTickTimeout,
    /// The peer broke the protocol or a limit.
    #[error("the peer broke the protocol: {0}")]
    Protocol(ChannelError),
    /// The system's network failed.
    #[error("{0}")]
    Io(io::ErrorKind),
    /// What came was not the peer's own TLS, or the peer found it so.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// This program asked for it.
    #[error("disconnected on request")]
    Requested,
    /// The peer has made a new connection.
    #[error("replaced by a new connection from the peer")]
    Replaced,
    /// This node stops.
    #[error("this node stops")]
    Stopping,
}

impl From<io::Error> for DisconnectReason {
    fn from(error: io::Error) -> Self {
        #[cfg(feature = "tls")]
        if let Some(error) = TlsError::of(&error) {
            return Self::Tls(error);
        }
        Self::Io(error.kind())
    }
}
