//! The text of an atom: short ones in place, longer ones shared.
//!
//! Each message has a dozen atoms, nearly all of them short, which are copied and compared again and again: so a short text has one
//! form only, whatever it was made of, and two are compared as they lie there, without a call and without looking for where they end.

#![allow(
    unsafe_code,
    reason = "the bytes of a short text are checked when it is made, and read far more often"
)]

use std::hint::cold_path;
use std::sync::Arc;

use super::utf8::words as short_words;

/// The most bytes that are kept in place.
const SHORT_MAX: usize = 23;

pub(super) enum Text {
    /// The bytes behind the text are zero.
    Short(Len, [u8; SHORT_MAX]),
    /// A longer one of the program.
    Static(&'static str),
    /// Any other longer one.
    Shared(Shared),
}

/// A text that few atoms have: what drops an atom, which is a part of most functions, drops it aside.
pub(super) struct Shared(Arc<str>);

/// The length of a short text. An `enum`, so that the other forms have their places in what is no length.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[rustfmt::skip]
pub(super) enum Len {
    L0, L1, L2, L3, L4, L5, L6, L7, L8, L9, L10, L11, L12, L13, L14, L15, L16, L17, L18, L19, L20, L21, L22, L23,
}

#[rustfmt::skip]
const LENS: [Len; SHORT_MAX + 1] = [
    Len::L0, Len::L1, Len::L2, Len::L3, Len::L4, Len::L5, Len::L6, Len::L7, Len::L8, Len::L9, Len::L10, Len::L11, Len::L12,
    Len::L13, Len::L14, Len::L15, Len::L16, Len::L17, Len::L18, Len::L19, Len::L20, Len::L21, Len::L22, Len::L23,
];

impl Text {
    #[inline]
    pub(super) fn new(text: &str) -> Self {
        match LENS.get(text.len()) {
            Some(len) => Self::Short(*len, padded(text.as_bytes())),
            None => Self::Shared(Shared(text.into())),
        }
    }

    pub(super) const fn from_static(text: &'static str) -> Self {
        if text.len() > SHORT_MAX {
            return Self::Static(text);
        }
        let mut bytes = [0; SHORT_MAX];
        let mut at = 0;
        while at < text.len() {
            bytes[at] = text.as_bytes()[at];
            at += 1;
        }
        Self::Short(LENS[text.len()], bytes)
    }

    #[inline]
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Short(len, bytes) => {
                let bytes = &bytes[..*len as usize];
                // SAFETY: they were copied from a text of this length, and nothing changes them.
                unsafe { std::str::from_utf8_unchecked(bytes) }
            }
            Self::Static(text) => {
                cold_path();
                text
            }
            Self::Shared(Shared(text)) => {
                cold_path();
                text
            }
        }
    }

    /// How long a text of at most 16 bytes is that is kept in place, and its bytes, the first one lowest.
    #[inline(always)]
    pub(super) fn short(&self) -> Option<(usize, [u64; 2])> {
        match self {
            Self::Short(len, bytes) if *len as usize <= 16 => {
                let [first, second, _] = words(bytes);
                Some((*len as usize, [first, second]))
            }
            _ => None,
        }
    }

    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// A hash of it, the same in each run of each program.
    #[inline]
    pub(super) fn hash(&self) -> u32 {
        let Self::Short(len, bytes) = self else { return text_hash(self.as_str().as_bytes()) };
        let [a, b, c] = words(bytes);
        fold(mix(mix(mix(*len as u64, a), b), c))
    }
}

impl Clone for Text {
    #[inline(always)]
    fn clone(&self) -> Self {
        if let Self::Shared(Shared(text)) = self {
            cold_path();
            return Self::Shared(Shared(text.clone()));
        }
        // As a whole, not a byte and 23 more: whoever reads a value in other pieces than it was written in waits for the writes.
        // SAFETY: the other forms own nothing, so that two of the same bytes are as good as one.
        unsafe { std::ptr::read(self) }
    }
}

impl Drop for Shared {
    #[inline(always)]
    fn drop(&mut self) {
        cold_path();
    }
}

impl PartialEq for Text {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Short(len, bytes), Self::Short(other_len, other)) => {
                let ([a, b, c], [d, e, f]) = (words(bytes), words(other));
                (a ^ d) | (b ^ e) | (c ^ f) | (*len as u64 ^ *other_len as u64) == 0
            }
            // One that is short has no other form.
            (Self::Short(..), _) | (_, Self::Short(..)) => {
                cold_path();
                false
            }
            _ => {
                cold_path();
                self.as_str() == other.as_str()
            }
        }
    }
}

/// All bytes of a short text; the last word begins within the second one.
#[inline]
fn words(bytes: &[u8; SHORT_MAX]) -> [u64; 3] {
    let word = |at: usize| match bytes[at..].first_chunk() {
        Some(word) => u64::from_le_bytes(*word),
        None => 0,
    };
    [word(0), word(8), word(SHORT_MAX - 8)]
}

/// At most 23 bytes, and zeros. It is put together in registers: a copy of a length that the compiler does not know is a call, and reading what
/// several small writes have left is slow.
#[inline]
fn padded(text: &[u8]) -> [u8; SHORT_MAX] {
    let [first, second, third] = match (short_words(text), text.as_chunks().0, text.last_chunk()) {
        (Some([first, second]), ..) => [first, second, 0],
        (None, [first, second, ..], Some(last)) => {
            let third = u64::from_le_bytes(*last) >> (8 * (24 - text.len()));
            [u64::from_le_bytes(*first), u64::from_le_bytes(*second), third]
        }
        _ => [0; 3],
    };
    let mut bytes = [0; SHORT_MAX];
    bytes[..8].copy_from_slice(&first.to_le_bytes());
    bytes[8..16].copy_from_slice(&second.to_le_bytes());
    bytes[16..].copy_from_slice(&third.to_le_bytes()[..SHORT_MAX - 16]);
    bytes
}

#[inline]
fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word ^ 0xcbf2_9ce4_8422_2325) * 0x9E37_79B9_7F4A_7C15;
    (product as u64) ^ (product >> 64) as u64
}

#[inline]
fn fold(hash: u64) -> u32 {
    (hash ^ hash >> 32) as u32
}

/// A hash for short texts, by words of 8 bytes, and where it costs little if somebody picks some that collide.
#[inline]
pub(crate) fn text_hash(bytes: &[u8]) -> u32 {
    let (words, _) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(bytes.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    // It may overlap the one before it.
    let last = match bytes.last_chunk() {
        Some(last) => u64::from_le_bytes(*last),
        None => short_words(bytes).map_or(0, |[word, _]| word),
    };
    fold(mix(hash, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_the_same_form_whatever_it_was_made_of() {
        let all: &'static str = "0123456789abcdefghijklmnopqrstuvwxyz";
        for len in 0..=all.len() {
            let (text, fixed) = (Text::new(&all[..len]), Text::from_static(&all[..len]));
            assert_eq!((text.as_str(), fixed.as_str()), (&all[..len], &all[..len]));
            assert!(text == fixed && text.hash() == fixed.hash(), "{len} bytes");
            assert!(text == text.clone(), "{len} bytes");
            assert_eq!(matches!(text, Text::Short(..)), len <= SHORT_MAX, "{len} bytes");
        }
        assert_eq!(size_of::<Text>(), 24);
    }

    #[test]
    fn texts_are_the_same_where_all_of_their_bytes_are() {
        for len in 0..40 {
            let text: String = ('!'..).take(len).collect();
            for at in 0..len {
                let mut other = text.clone().into_bytes();
                other[at] ^= 1;
                let other = String::from_utf8(other).unwrap();
                assert!(Text::new(&text) != Text::new(&other), "{len} bytes, that at {at} differs");
                assert_ne!(Text::new(&text).hash(), Text::new(&other).hash(), "{len} bytes, {at}");
                assert_ne!(text_hash(text.as_bytes()), text_hash(other.as_bytes()), "{len} bytes, {at}");
            }
            let longer = format!("{text}\0");
            assert!(Text::new(&text) != Text::new(&longer), "a zero is a byte like others");
        }
    }
}
