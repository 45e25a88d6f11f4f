//! Handshake messages in a byte stream.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Undecodable;

/// How long the length in front of a handshake message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthPrefix {
    /// 16 bits: TCP.
    Two,
    /// 32 bits: TLS.
    Four,
}

/// Cuts a byte stream into handshake messages, and frames those that are sent.
#[derive(Debug, Clone, Copy)]
pub struct Framer {
    prefix: LengthPrefix,
}

impl Framer {
    /// The most bytes a handshake message may have. The longest legal one so far has 19 bytes and a name of 255; the rest is room
    /// for fields to come.
    pub const MESSAGE_LEN_MAX: u32 = 4096;

    /// A framer for a transport.
    pub fn new(prefix: LengthPrefix) -> Self {
        Self { prefix }
    }

    /// Takes the next whole message off the front of what was received, or `None` if more bytes are needed. What follows it stays
    /// in `input`: after the handshake that is the connection's first packet.
    ///
    /// # Errors
    /// If the message is longer than [`Self::MESSAGE_LEN_MAX`], as soon as its length is known.
    pub fn receive(self, input: &mut BytesMut) -> Result<Option<Bytes>, Undecodable> {
        let (prefix_len, len) = match self.prefix {
            LengthPrefix::Two => (2, input.first_chunk().map(|len| u16::from_be_bytes(*len).into())),
            LengthPrefix::Four => (4, input.first_chunk().map(|len| u32::from_be_bytes(*len))),
        };
        let Some(len) = len else { return Ok(None) };
        if len > Self::MESSAGE_LEN_MAX {
            return Err(Undecodable::TooLong { len, max: Self::MESSAGE_LEN_MAX });
        }
        let len = len as usize;
        if input.len() < prefix_len + len {
            return Ok(None);
        }
        input.advance(prefix_len);
        Ok(Some(input.split_to(len).freeze()))
    }

    /// Appends messages with their lengths to what is sent.
    pub fn send<M: AsRef<[u8]>>(self, messages: &[M], out: &mut BytesMut) {
        for message in messages {
            let message = message.as_ref();
            match self.prefix {
                LengthPrefix::Two => out.put_u16(message.len() as u16),
                LengthPrefix::Four => out.put_u32(message.len() as u32),
            }
            out.put_slice(message);
        }
    }
}
