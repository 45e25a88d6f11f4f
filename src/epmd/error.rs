//! What can go wrong with a daemon.

use std::io;
use std::time::Duration;

use super::MessageError;

/// Why a daemon could not be asked, or did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EpmdError {
    /// The daemon refuses the name: another living node has it.
    #[error("EPMD at {daemon} refuses the name {name}: another node is registered under it")]
    NameTaken {
        /// The name, without its host.
        name: String,
        /// The daemon, as host and port.
        daemon: String,
    },
    /// Nothing can be reached where the daemon should be.
    #[error("no EPMD in reach at {daemon}: {source}")]
    NoDaemon {
        /// The daemon, as host and port.
        daemon: String,
        /// What the network said.
        source: io::Error,
    },
    /// There is no daemon and the node cannot run its own.
    #[error("no EPMD at {daemon}, and none can be run on {address}: {source}")]
    Listen {
        /// The daemon, as host and port.
        daemon: String,
        /// Where the embedded one would listen.
        address: String,
        /// What the network said.
        source: io::Error,
    },
    /// The daemon ended the connection without a whole answer: it does so for requests that it does not allow.
    #[error("EPMD at {daemon} closed the connection after {received} bytes of its answer")]
    Closed {
        /// The daemon, as host and port.
        daemon: String,
        /// How much of an answer had arrived.
        received: usize,
    },
    /// The connection to the daemon broke.
    #[error("the connection to EPMD at {daemon} broke: {source}")]
    Broken {
        /// The daemon, as host and port.
        daemon: String,
        /// What the network said.
        source: io::Error,
    },
    /// The daemon does not answer.
    #[error("EPMD at {daemon} did not answer within {after:?}")]
    Timeout {
        /// The daemon, as host and port.
        daemon: String,
        /// How long was waited.
        after: Duration,
    },
    /// What answers there does not speak EPMD's protocol.
    #[error("what listens at {daemon} does not answer as EPMD: {source}")]
    Protocol {
        /// The daemon, as host and port.
        daemon: String,
        /// The fault in its answer.
        source: MessageError,
    },
    /// The request cannot be asked of any daemon; nothing was sent.
    #[error("not a request to EPMD: {0}")]
    Request(#[from] MessageError),
}
