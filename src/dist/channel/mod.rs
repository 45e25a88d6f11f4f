//! An established connection: packets in, packets out. The two directions share nothing.
//!
//! Source: *Distribution Protocol*, "Protocol between Connected Nodes".

mod error;
mod fresh;
mod front;
mod monitor;
mod pace;
mod receiver;
mod sender;

pub use self::error::{ChannelError, OutgoingError};
pub(crate) use self::fresh::Fresh;
pub(crate) use self::pace::Pace;
pub(crate) use self::receiver::Next;
pub use self::receiver::{Limits, Received, Receiver};
pub use self::sender::{Outgoing, Sender};

/// Begins a packet without distribution header.
const PASS_THROUGH: u8 = 112;
/// After the version: a distribution header.
const DIST_HEADER: u8 = 68;
/// After the version: the distribution header of a message in fragments, and its first one.
const DIST_FRAG_HEADER: u8 = 69;
/// After the version: a later fragment.
const DIST_FRAG_CONT: u8 = 70;

#[cfg(test)]
mod tests;
