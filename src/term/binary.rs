//! Binaries. As in Erlang's own runtime short ones are part of the value, and long ones are shared: a short one then
//! costs no count of references, and does not keep alive the whole message that it came in.
//!
//! Source: *Efficiency Guide*, "Constructing and Matching Binaries" (heap binaries and reference-counted binaries).

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem;
use std::ops::Deref;

use bytes::Bytes;

/// The most bytes that are kept in the value itself.
pub(crate) const INLINE_MAX: usize = 23;

/// A binary. A long one is not copied where that can be avoided: a decoded one is a slice of the message that it came in
/// (and keeps all of it alive), a large one is sent from where it is.
///
/// ```
/// use beamline::term::Binary;
///
/// let binary = Binary::from(vec![1, 2, 3]);
/// assert_eq!(binary[..], [1, 2, 3]);
/// ```
#[derive(Clone)]
pub struct Binary(Repr);

#[derive(Clone)]
enum Repr {
    /// What is behind the first `len` bytes has no meaning.
    Inline {
        len: u8,
        bytes: [u8; INLINE_MAX],
    },
    Shared(Bytes),
}

const _: () = assert!(size_of::<Binary>() == size_of::<Bytes>());

impl Binary {
    /// The empty binary.
    pub const fn new() -> Self {
        Self(Repr::Inline { len: 0, bytes: [0; INLINE_MAX] })
    }

    /// A copy of these bytes.
    pub fn copy_from_slice(bytes: &[u8]) -> Self {
        Self::short(bytes).unwrap_or_else(|| Self(Repr::Shared(Bytes::copy_from_slice(bytes))))
    }

    fn short(bytes: &[u8]) -> Option<Self> {
        let mut copy = [0; INLINE_MAX];
        copy.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self(Repr::Inline { len: bytes.len() as u8, bytes: copy }))
    }

    /// The first `len` of these bytes, at most all: a copy of a length known to the compiler takes no call.
    #[inline]
    pub(crate) fn begin_of(bytes: &[u8; INLINE_MAX], len: usize) -> Self {
        debug_assert!(len <= INLINE_MAX);
        // Word by word through registers: a copy of all goes through memory, in words that overlap, and is waited for there.
        let mut copy = [0; INLINE_MAX];
        let (mut to, mut from) = (&mut copy[..], &bytes[..]);
        take_word::<8>(&mut to, &mut from);
        take_word::<8>(&mut to, &mut from);
        take_word::<4>(&mut to, &mut from);
        take_word::<2>(&mut to, &mut from);
        take_word::<1>(&mut to, &mut from);
        Self(Repr::Inline { len: len.min(INLINE_MAX) as u8, bytes: copy })
    }

    /// A slice of `source`, which it has to be a part of.
    pub(crate) fn slice_of(source: &Bytes, bytes: &[u8]) -> Self {
        Self::short(bytes).unwrap_or_else(|| Self(Repr::Shared(source.slice_ref(bytes))))
    }

    /// The bytes if they are shared, so that they can be passed on as they are.
    #[inline]
    pub(crate) fn shared(&self) -> Option<&Bytes> {
        if let Repr::Shared(bytes) = &self.0 { Some(bytes) } else { None }
    }

    /// The bytes if they are in the value itself: the first so many of these.
    #[inline]
    pub(crate) fn inline(&self) -> Option<(&[u8; INLINE_MAX], usize)> {
        match &self.0 {
            Repr::Inline { len, bytes } => Some((bytes, usize::from(*len).min(INLINE_MAX))),
            Repr::Shared(_) => None,
        }
    }

    /// The bytes, for who wants to own them; long ones are not copied.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Repr::Inline { .. } => Bytes::copy_from_slice(&self),
            Repr::Shared(bytes) => bytes,
        }
    }
}

/// Copies so many of the first bytes, and steps over them.
#[inline(always)]
fn take_word<const N: usize>(to: &mut &mut [u8], from: &mut &[u8]) {
    if let (Some((word, after)), Some((first, rest))) =
        (mem::take(to).split_first_chunk_mut::<N>(), from.split_first_chunk::<N>())
    {
        *word = *first;
        (*to, *from) = (after, rest);
    }
}

impl Deref for Binary {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            // The length is never more, which the compiler does not know.
            Repr::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Repr::Shared(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Binary {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for Binary {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl Default for Binary {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Bytes> for Binary {
    fn from(bytes: Bytes) -> Self {
        Self::short(&bytes).unwrap_or(Self(Repr::Shared(bytes)))
    }
}

impl From<Vec<u8>> for Binary {
    fn from(bytes: Vec<u8>) -> Self {
        Self::short(&bytes).unwrap_or_else(|| Self(Repr::Shared(bytes.into())))
    }
}

impl From<String> for Binary {
    /// Its UTF-8.
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&[u8]> for Binary {
    fn from(bytes: &[u8]) -> Self {
        Self::copy_from_slice(bytes)
    }
}

impl From<Binary> for Bytes {
    fn from(binary: Binary) -> Self {
        binary.into_bytes()
    }
}

impl FromIterator<u8> for Binary {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Self {
        bytes.into_iter().collect::<Vec<u8>>().into()
    }
}

impl fmt::Debug for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Binary").field(&self[..].escape_ascii().to_string()).finish()
    }
}

impl PartialEq for Binary {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl Eq for Binary {}

impl PartialEq<[u8]> for Binary {
    fn eq(&self, other: &[u8]) -> bool {
        self[..] == *other
    }
}

impl PartialEq<Bytes> for Binary {
    fn eq(&self, other: &Bytes) -> bool {
        self[..] == other[..]
    }
}

impl PartialOrd for Binary {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Binary {
    /// Byte by byte; a prefix comes first.
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self[..].cmp(&other[..])
    }
}

impl Hash for Binary {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self[..].hash(state);
    }
}
