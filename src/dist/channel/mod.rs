//! An established connection: packets in, packets out. The two directions share nothing.
//!
//! Source: *Distribution Protocol*, "Protocol between Connected Nodes".

mod error;
mod receiver;
mod sender;

pub use self::error::{ChannelError, OutgoingError};
pub use self::receiver::{Limits, Received, Receiver};
pub use self::sender::{Outgoing, Sender};
