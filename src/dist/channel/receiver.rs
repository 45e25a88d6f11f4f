//! Packets in.

use bytes::BytesMut;

use crate::dist::{Control, Flags};
use crate::etf;
use crate::term::Atom;

use super::ChannelError;

/// What a connection's receiving half refuses to grow past.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes of one packet.
    pub frame_len: u32,
    /// The most bytes of one message that arrives in fragments.
    pub message_len: usize,
    /// How many messages may be under way in fragments at once.
    pub open_messages: usize,
    /// The most bytes of all messages that are under way in fragments.
    pub buffered_len: usize,
    /// Limits on each term.
    pub term: etf::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_len: 128 << 20,
            message_len: 128 << 20,
            open_messages: 1024,
            buffered_len: 256 << 20,
            term: etf::Limits::default(),
        }
    }
}

/// What arrived.
#[derive(Debug)]
pub enum Received {
    /// The peer is alive.
    Tick,
    /// A signal.
    Signal(Control),
}

/// The receiving half of a connection.
#[derive(Debug)]
pub struct Receiver {
    peer: Atom,
    flags: Flags,
    limits: Limits,
}

impl Receiver {
    /// Receives from `peer` what was agreed on in `flags`.
    pub fn new(peer: Atom, flags: Flags, limits: Limits) -> Self {
        Self { peer, flags, limits }
    }

    /// Takes the next whole signal or tick off the front of what was received, or `None` if that takes more bytes.
    ///
    /// # Errors
    /// If the peer broke the protocol; the connection must be closed.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<Option<Received>, ChannelError> {
        let _ = (&self.peer, self.flags, self.limits, input);
        todo!()
    }

    /// How many more bytes to make room for, after [`receive`](Self::receive) returned `None`: what the packet that `input` begins
    /// with still lacks, within bounds, so that a peer gets no memory for what it only announces.
    pub fn wants(&self, input: &BytesMut) -> usize {
        let _ = input;
        todo!()
    }
}
