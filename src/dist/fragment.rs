//! Messages that arrive in fragments.
//!
//! Source: *Distribution Protocol*, "Distribution Header for Fragmented Messages".

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use crate::etf::{Atoms, Payload};

use super::Control;

/// The most bytes of payload that a fragment carries when we send, as in OTP: small enough that a tick or another process's message
/// does not wait long.
pub(crate) const FRAGMENT_LEN: usize = 64 << 10;

/// A fragment that breaks the protocol or a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FragmentError {
    /// The packet ends before its sequence and fragment ids do.
    #[error("the packet ends within the fragment's ids")]
    Truncated,
    /// Neither id may be 0.
    #[error("a fragment with id 0")]
    Zero,
    /// A first fragment of a sequence that is under way already.
    #[error("sequence {0} begins a second time")]
    Duplicate(u64),
    /// A later fragment of a sequence that never began.
    #[error("sequence {0} has no first fragment")]
    Unknown(u64),
    /// Fragments count down to 1.
    #[error("fragment {found} of sequence {sequence} where {expected} is due")]
    Order {
        /// The sequence.
        sequence: u64,
        /// The fragment that is due.
        expected: u64,
        /// The fragment that came.
        found: u64,
    },
    /// Too many sequences are under way.
    #[error("more than {0} messages in fragments at once")]
    TooMany(usize),
    /// A message is larger than this node takes.
    #[error("a message in fragments of more than {0} bytes")]
    TooLong(usize),
    /// All messages under way together are larger than this node takes.
    #[error("messages in fragments of more than {0} bytes together")]
    TooMuch(usize),
}

/// How much of unfinished messages is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FragmentLimits {
    pub(crate) open_messages: usize,
    pub(crate) message_len: usize,
    pub(crate) buffered_len: usize,
}

/// A message whose payload is or may be unfinished.
#[derive(Debug)]
pub(crate) struct Unfinished {
    pub(crate) control: Control<Option<Payload>>,
    pub(crate) atoms: Atoms,
}

#[derive(Debug)]
struct Sequence {
    head: Unfinished,
    /// Copied, because a slice of a few bytes would keep the whole buffer that was read into.
    payload: BytesMut,
    /// The fragment that is due next.
    next: u64,
    /// What counts against the limits: the payload so far, and the whole first packet.
    len: usize,
}

/// Puts fragments together again.
#[derive(Debug)]
pub(crate) struct Reassembly {
    limits: FragmentLimits,
    open: BTreeMap<u64, Sequence>,
    /// The sum of all sequences' lengths.
    buffered: usize,
}

impl Reassembly {
    pub(crate) fn new(limits: FragmentLimits) -> Self {
        Self { limits, open: BTreeMap::new(), buffered: 0 }
    }

    /// Whether a first fragment with these ids is legal. Asked before its header changes the atom cache.
    pub(crate) fn check_first(&self, sequence: u64, count: u64) -> Result<(), FragmentError> {
        if sequence == 0 || count == 0 {
            return Err(FragmentError::Zero);
        }
        if self.open.contains_key(&sequence) {
            return Err(FragmentError::Duplicate(sequence));
        }
        Ok(())
    }

    /// Opens a sequence of `count` fragments, of which the first one, legal by [`Self::check_first`], is here.
    pub(crate) fn first(
        &mut self,
        sequence: u64,
        count: u64,
        head: Unfinished,
        packet_len: usize,
        payload: &[u8],
    ) -> Result<(), FragmentError> {
        if self.open.len() >= self.limits.open_messages {
            return Err(FragmentError::TooMany(self.limits.open_messages));
        }
        self.grow(0, packet_len)?;
        let payload = BytesMut::from(payload);
        self.open.insert(sequence, Sequence { head, payload, next: count - 1, len: packet_len });
        Ok(())
    }

    /// Takes a later fragment; if it is the last one, yields the message.
    pub(crate) fn next(
        &mut self,
        sequence: u64,
        fragment: u64,
        payload: &[u8],
    ) -> Result<Option<(Unfinished, Bytes)>, FragmentError> {
        if sequence == 0 || fragment == 0 {
            return Err(FragmentError::Zero);
        }
        let Some(open) = self.open.get(&sequence) else { return Err(FragmentError::Unknown(sequence)) };
        if open.next != fragment {
            return Err(FragmentError::Order { sequence, expected: open.next, found: fragment });
        }
        self.grow(open.len, payload.len())?;
        if let Some(open) = self.open.get_mut(&sequence) {
            open.payload.extend_from_slice(payload);
            open.len += payload.len();
            open.next -= 1;
        }
        if fragment > 1 {
            return Ok(None);
        }
        Ok(self.open.remove(&sequence).map(|done| {
            self.buffered -= done.len;
            (done.head, done.payload.freeze())
        }))
    }

    /// Makes room for `more` bytes of a sequence of `len`.
    fn grow(&mut self, len: usize, more: usize) -> Result<(), FragmentError> {
        if len.saturating_add(more) > self.limits.message_len {
            return Err(FragmentError::TooLong(self.limits.message_len));
        }
        if self.buffered.saturating_add(more) > self.limits.buffered_len {
            return Err(FragmentError::TooMuch(self.limits.buffered_len));
        }
        self.buffered += more;
        Ok(())
    }

    /// The bytes that are kept.
    #[cfg(test)]
    pub(crate) fn buffered(&self) -> usize {
        self.buffered
    }
}
