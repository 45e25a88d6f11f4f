//! Messages that arrive in fragments.
//!
//! Source: *Distribution Protocol*, "Distribution Header for Fragmented Messages".

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::etf::Atoms;

use super::Control;

/// The most bytes of payload that a fragment carries when we send, as in OTP: small enough that a tick or another process's message
/// does not wait long.
pub(crate) const FRAGMENT_LEN: usize = 64 << 10;

/// The same for the later fragments of a message that is alone: for the receiver, a fragment is a read.
pub(crate) const LONE_FRAGMENT_LEN: usize = 256 << 10;

/// Smaller ones are not worth keeping.
const POOLED_LEN_MIN: usize = 128 << 10;

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
    pub(crate) control: Control,
    pub(crate) atoms: Atoms,
}

#[derive(Debug)]
struct Sequence {
    head: Unfinished,
    /// Its own buffer: later fragments are read straight into it.
    payload: Vec<u8>,
    /// The fragment that is due next.
    next: u64,
    /// What counts against the limits: the payload so far, and the whole first packet.
    len: usize,
}

/// Buffers that are to be used again: the memory of a large message is expensive to get, as the system clears it page by page.
#[derive(Debug)]
struct Pool {
    buffers: Mutex<Vec<Vec<u8>>>,
    /// The most bytes that are kept.
    bytes_max: usize,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The smallest buffer that has room for a message of this length, or the largest that there is.
    fn take(&self, len: usize) -> Vec<u8> {
        let mut buffers = self.lock();
        let room = |at: &usize| buffers[*at].capacity();
        let fits = (0..buffers.len()).filter(|at| room(at) >= len).min_by_key(room);
        let found = fits.or_else(|| (0..buffers.len()).max_by_key(room));
        found.map(|at| buffers.swap_remove(at)).unwrap_or_default()
    }

    /// Moves what is in the buffer to one that has room for a message of this length, if there is one.
    fn exchange(&self, buffer: &mut Vec<u8>, len: usize) {
        let mut larger = self.take(len);
        if larger.capacity() > buffer.capacity() {
            larger.extend_from_slice(buffer);
            std::mem::swap(buffer, &mut larger);
        }
        self.give(larger);
    }

    fn give(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() < POOLED_LEN_MIN {
            return;
        }
        buffer.clear();
        let mut buffers = self.lock();
        let kept: usize = buffers.iter().map(Vec::capacity).sum();
        if kept + buffer.capacity() <= self.bytes_max {
            buffers.push(buffer);
        }
    }

    fn clear(&self) {
        let buffers = std::mem::take(&mut *self.lock());
        drop(buffers);
    }
}

/// A whole payload. Its buffer returns to the pool with the last slice of it.
struct Pooled {
    payload: Vec<u8>,
    pool: Arc<Pool>,
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.payload
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.payload));
    }
}

/// Puts fragments together again.
#[derive(Debug)]
pub(crate) struct Reassembly {
    limits: FragmentLimits,
    pool: Arc<Pool>,
    open: BTreeMap<u64, Sequence>,
    /// The sum of all sequences' lengths.
    buffered: usize,
}

impl Reassembly {
    pub(crate) fn new(limits: FragmentLimits) -> Self {
        // As much as may be under way may be kept for what comes next.
        let pool = Arc::new(Pool { buffers: Mutex::default(), bytes_max: limits.buffered_len });
        Self { limits, pool, open: BTreeMap::new(), buffered: 0 }
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
        // What the peer announces chooses among buffers that are there.
        let announced = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(FRAGMENT_LEN);
        let mut buffer = self.pool.take(announced);
        buffer.extend_from_slice(payload);
        let payload = buffer;
        self.open.insert(sequence, Sequence { head, payload, next: count - 1, len: packet_len });
        Ok(())
    }

    /// Begins a later fragment of `len` bytes, of which none is here yet.
    pub(crate) fn begin(&mut self, sequence: u64, fragment: u64, len: usize) -> Result<(), FragmentError> {
        if sequence == 0 || fragment == 0 {
            return Err(FragmentError::Zero);
        }
        let Some(open) = self.open.get(&sequence) else { return Err(FragmentError::Unknown(sequence)) };
        if open.next != fragment {
            return Err(FragmentError::Order { sequence, expected: open.next, found: fragment });
        }
        self.grow(open.len, len)?;
        if let Some(open) = self.open.get_mut(&sequence) {
            open.len += len;
            open.next -= 1;
            let left = usize::try_from(fragment).unwrap_or(usize::MAX).saturating_mul(len);
            let announced = open.payload.len().saturating_add(left);
            // The first fragment may be shorter than the others, but is never longer than one of ours.
            let longer = len > FRAGMENT_LEN && open.payload.len() <= FRAGMENT_LEN;
            if longer && open.payload.capacity() < announced {
                self.pool.exchange(&mut open.payload, announced);
            }
        }
        Ok(())
    }

    /// What there is of a sequence's payload, to be continued with the bytes of the fragment that has begun.
    pub(crate) fn payload(&mut self, sequence: u64) -> Option<&mut Vec<u8>> {
        self.open.get_mut(&sequence).map(|open| &mut open.payload)
    }

    /// All bytes of the fragment that had begun are there; if it was the last one, yields the message.
    pub(crate) fn end(&mut self, sequence: u64) -> Option<(Unfinished, Bytes)> {
        self.open.get(&sequence).filter(|open| open.next == 0)?;
        let done = self.open.remove(&sequence)?;
        self.buffered -= done.len;
        let mut payload = done.payload;
        if payload.capacity() > 2 * payload.len() + FRAGMENT_LEN {
            // Its buffer was that of a larger message, and whoever keeps the message must not keep all of that.
            let exact = payload.as_slice().to_vec();
            self.pool.give(std::mem::replace(&mut payload, exact));
        }
        let pooled = Pooled { payload, pool: self.pool.clone() };
        Some((done.head, Bytes::from_owner(pooled)))
    }

    /// Gives up the memory that is kept for the next message.
    pub(crate) fn relax(&self) {
        self.pool.clear();
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
