//! Handshake messages in a byte stream.

use bytes::{Bytes, BytesMut};

use super::{HandshakeError, HandshakeFault, Phase};

/// How long the length in front of a handshake message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthPrefix {
    /// 16 bits: TCP.
    Two,
    /// 32 bits: TLS.
    Four,
}

/// Cuts a byte stream into handshake messages, and frames those that are sent.
#[derive(Debug)]
pub struct Framer {
    prefix: LengthPrefix,
}

impl Framer {
    /// The most bytes a handshake message may have. The longest legal one has a name of 255 bytes, the rest is room for fields to come.
    pub const MESSAGE_LEN_MAX: usize = 4096;

    /// A framer for a transport.
    pub fn new(prefix: LengthPrefix) -> Self {
        Self { prefix }
    }

    /// Takes the next whole message off the front of what was received, or `None` if more bytes are needed. What follows it stays
    /// in `input`.
    ///
    /// # Errors
    /// If the message is longer than [`Self::MESSAGE_LEN_MAX`].
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, HandshakeError> {
        let _ = (self.prefix, input, HandshakeFault::WrongCookie, Phase::SendName);
        todo!()
    }

    /// Appends messages with their lengths to what is sent.
    pub fn send(&self, messages: &[Vec<u8>], out: &mut BytesMut) {
        let _ = (messages, out);
        todo!()
    }
}
