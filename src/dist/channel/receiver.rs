//! Packets in.

use bytes::{Buf, Bytes, BytesMut};

use crate::dist::atom_cache::ReceiveCache;
use crate::dist::control::Judge;
use crate::dist::fragment::{FragmentError, FragmentLimits, Reassembly, Unfinished};
use crate::dist::{Control, Flags, VERSION_MAGIC};
use crate::etf::{self, Atoms, Payload, Reader};
use crate::term::Atom;

use super::{ChannelError, DIST_FRAG_CONT, DIST_FRAG_HEADER, DIST_HEADER, PASS_THROUGH};

/// The length in front of a packet.
const LENGTH_LEN: usize = 4;

/// The most room that [`Receiver::wants`] asks for at once.
const WANTS_MAX: usize = 1 << 20;

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
    /// 128 MiB for a message, in one packet or in fragments, and twice that for 1024 unfinished ones together: OTP has no limits,
    /// and binaries of many megabytes are in use.
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
#[allow(clippy::large_enum_variant, reason = "nearly all are signals, and each is taken apart at once")]
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
    cache: ReceiveCache,
    reassembly: Reassembly,
}

impl Receiver {
    /// Receives from `peer` what was agreed on in `flags`.
    pub fn new(peer: Atom, flags: Flags, limits: Limits) -> Self {
        let reassembly = Reassembly::new(FragmentLimits {
            open_messages: limits.open_messages,
            message_len: limits.message_len,
            buffered_len: limits.buffered_len,
        });
        Self { peer, flags, limits, cache: ReceiveCache::new(), reassembly }
    }

    /// Takes the next whole signal or tick off the front of what was received, or `None` if that takes more bytes. Nothing is copied
    /// but fragments: a signal's payload is a slice of `input`'s buffer.
    ///
    /// # Errors
    /// If the peer broke the protocol; the connection must be closed.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<Option<Received>, ChannelError> {
        while let Some(len) = input.first_chunk().map(|len| u32::from_be_bytes(*len)) {
            if len > self.limits.frame_len {
                return Err(ChannelError::FrameTooLong { len, max: self.limits.frame_len });
            }
            let len = len as usize;
            if input.len() - LENGTH_LEN < len {
                return Ok(None);
            }
            input.advance(LENGTH_LEN);
            if len == 0 {
                return Ok(Some(Received::Tick));
            }
            let packet = input.split_to(len).freeze();
            if let Some(signal) = self.packet(packet)? {
                return Ok(Some(Received::Signal(signal)));
            }
        }
        Ok(None)
    }

    /// How many more bytes to make room for, after [`receive`](Self::receive) returned `None`: what the packet that `input` begins
    /// with still lacks, but at most a mebibyte, so that a peer gets no memory for what it only announces.
    pub fn wants(&self, input: &BytesMut) -> usize {
        let wanted = match input.first_chunk() {
            Some(len) => LENGTH_LEN.saturating_add(u32::from_be_bytes(*len) as usize),
            None => LENGTH_LEN,
        };
        wanted.saturating_sub(input.len()).min(WANTS_MAX)
    }

    fn packet(&mut self, packet: Bytes) -> Result<Option<Control>, ChannelError> {
        if !self.flags.header() {
            let [PASS_THROUGH, VERSION_MAGIC, ..] = *packet else {
                return Err(framing(&packet, "one without distribution header"));
            };
            return self.pass_through(&packet.slice(2..)).map(Some);
        }
        match *packet {
            [VERSION_MAGIC, DIST_HEADER, ..] => {
                let (head, payload) = self.header(&packet, 2)?;
                self.complete(head, &payload).map(Some)
            }
            [VERSION_MAGIC, DIST_FRAG_HEADER, ..] => {
                let (sequence, count, start) = fragment_ids(&packet)?;
                self.reassembly.check_first(sequence, count)?;
                let (head, payload) = self.header(&packet, start)?;
                if count == 1 {
                    return self.complete(head, &payload).map(Some);
                }
                self.reassembly.first(sequence, count, head, packet.len(), &payload)?;
                Ok(None)
            }
            [VERSION_MAGIC, DIST_FRAG_CONT, ..] => {
                let (sequence, fragment, start) = fragment_ids(&packet)?;
                match self.reassembly.next(sequence, fragment, packet.get(start..).unwrap_or_default())? {
                    Some((head, payload)) => self.complete(head, &payload).map(Some),
                    None => Ok(None),
                }
            }
            _ => Err(framing(&packet, "one with distribution header")),
        }
    }

    fn pass_through(&self, terms: &Bytes) -> Result<Control, ChannelError> {
        let (control, len) = Control::decode(terms, &[], &self.judge())?;
        let mut payload = terms.slice(len..);
        if control.wants_payload() {
            match payload.first() {
                None => return Err(ChannelError::NoPayload),
                Some(&VERSION_MAGIC) => payload.advance(1),
                Some(_) => return Err(framing(&payload, "a payload with a version byte")),
            }
        }
        self.complete(Unfinished { control, atoms: Atoms::default() }, &payload)
    }

    /// Reads the distribution header at `start`, and the control message after it.
    fn header(&mut self, packet: &Bytes, start: usize) -> Result<(Unfinished, Bytes), ChannelError> {
        let mut rest = packet.get(start..).unwrap_or_default();
        let atoms = self.cache.read_header(&mut rest)?;
        let terms = packet.slice(packet.len() - rest.len()..);
        let (control, len) = Control::decode(&terms, &atoms, &self.judge())?;
        Ok((Unfinished { control, atoms }, terms.slice(len..)))
    }

    /// Joins a control message with its payload. What follows the payload is ignored, as OTP does.
    fn complete(&self, head: Unfinished, payload: &Bytes) -> Result<Control, ChannelError> {
        let Unfinished { control, atoms } = head;
        control.complete(|| {
            if payload.is_empty() {
                return Err(ChannelError::NoPayload);
            }
            // Checked here, so that a process never meets garbage: it is the connection that fails.
            let mut reader = Reader::new(payload, &atoms);
            reader.skip(&self.limits.term).map_err(ChannelError::Payload)?;
            let bytes = payload.slice(..reader.offset());
            Ok(Payload::with_atoms(bytes, atoms))
        })
    }

    fn judge(&self) -> Judge<'_> {
        Judge { peer: &self.peer, flags: self.flags, limits: &self.limits.term }
    }

    /// The bytes of unfinished messages that are kept.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.reassembly.buffered()
    }
}

/// The sequence id, the fragment id, and where they end.
fn fragment_ids(packet: &[u8]) -> Result<(u64, u64, usize), FragmentError> {
    let id = |at| {
        let bytes = packet.get(at..).and_then(<[u8]>::first_chunk).ok_or(FragmentError::Truncated)?;
        Ok(u64::from_be_bytes(*bytes))
    };
    Ok((id(2)?, id(10)?, 18))
}

fn framing(packet: &[u8], expected: &'static str) -> ChannelError {
    ChannelError::Framing { found: packet.iter().take(2).copied().collect(), expected }
}
