//! Pids, ports and references: plain data that can be sent, stored and compared. Identity is the node, its
//! creation (which of the node's lives) and the numbers.

use super::Atom;
use std::hint::cold_path;

/// A process identifier.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pid {
    /// The node that the process runs on.
    pub node: Atom,
    /// The process's number.
    pub id: u32,
    /// The high part of the process's number.
    pub serial: u32,
    /// The node's incarnation.
    pub creation: u32,
}

/// A port identifier.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Port {
    /// The node that the port is open on.
    pub node: Atom,
    /// The port's number.
    pub id: u64,
    /// The node's incarnation.
    pub creation: u32,
}

/// The most 32-bit words a reference may have.
pub const REFERENCE_WORDS_MAX: usize = 5;

/// A reference: of a monitor, a timer, a call, or a process alias.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The node that made it.
    pub node: Atom,
    /// That node's incarnation.
    pub creation: u32,
    len: u8,
    // Words past `len` are zero, so that derived equality holds.
    words: [u32; REFERENCE_WORDS_MAX],
}

impl Reference {
    /// A reference of these words, as they stand on the wire.
    ///
    /// Returns `None` if there are more than five.
    pub fn new(node: Atom, creation: u32, words: &[u32]) -> Option<Self> {
        let mut all = [0; REFERENCE_WORDS_MAX];
        all.get_mut(..words.len())?.copy_from_slice(words);
        Some(Self { node, creation, len: words.len() as u8, words: all })
    }

    /// The first `len` of these words, at most five; the others are zero.
    #[inline]
    pub(crate) fn of_words(node: Atom, creation: u32, len: usize, words: [u32; REFERENCE_WORDS_MAX]) -> Self {
        debug_assert!(len <= words.len() && words[len..].iter().all(|word| *word == 0));
        Self { node, creation, len: len as u8, words }
    }

    /// The words, and zeros behind them.
    #[inline]
    pub(crate) fn padded_words(&self) -> &[u32; REFERENCE_WORDS_MAX] {
        &self.words
    }

    /// Gives it other words, as many as it has, in the form of the wire.
    #[inline]
    pub(crate) fn set_words(&mut self, bytes: &[u8]) {
        let (words, _) = bytes.as_chunks();
        debug_assert_eq!(words.len(), usize::from(self.len));
        // As those of processes have: no loop is left.
        if let [a, b, c, d] = words {
            let of = |bytes: &[u8; 4]| u32::from_be_bytes(*bytes);
            [self.words[0], self.words[1], self.words[2], self.words[3]] = [of(a), of(b), of(c), of(d)];
            return;
        }
        cold_path();
        for (word, bytes) in self.words.iter_mut().zip(words) {
            *word = u32::from_be_bytes(*bytes);
        }
    }

    /// The words, in the order of the wire.
    #[inline]
    pub fn words(&self) -> &[u32] {
        &self.words[..usize::from(self.len)]
    }
}
