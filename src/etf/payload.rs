//! A term that is still in its external form: what a remote message is until its receiver decodes it.

use std::fmt;
use std::hint::cold_path;
use std::ops::{Deref, Range};
use std::sync::Arc;

use ::serde::Serialize;
use ::serde::de::DeserializeOwned;
use bytes::{Buf, Bytes, BytesMut};
use smallvec::SmallVec;

use super::serde::Source;
use super::{DecodeError, EncodeError, Reader, Writer, decode, serde};
use crate::term::{Atom, Term};

/// One encoded term (without version byte), with the atoms that it refers to by number.
///
/// Its bytes were checked when it was made, so decoding it fails only where the type does not fit.
#[derive(Debug, Clone)]
pub struct Payload {
    bytes: TermBytes,
    atoms: Atoms,
}

/// A short one is a copy: what shares a buffer is counted by who reads it, and once more by who has handled it, on another thread.
#[derive(Clone)]
enum TermBytes {
    Short { start: u8, end: u8, bytes: [u8; SHORT_MAX] },
    Shared(Bytes),
}

/// What takes no more room than `Bytes`.
const SHORT_MAX: usize = 22;

impl Deref for TermBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Short { start, end, bytes } => {
                bytes.get(usize::from(*start)..usize::from(*end)).unwrap_or_default()
            }
            Self::Shared(bytes) => bytes,
        }
    }
}

impl TermBytes {
    /// What binaries may be slices of.
    #[inline]
    fn shared(&self) -> Option<&Bytes> {
        match self {
            Self::Short { .. } => None,
            Self::Shared(bytes) => Some(bytes),
        }
    }
}

impl fmt::Debug for TermBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// The atoms of a distribution header. Shared: all parts of a message refer to them, and one message mostly to the same as the last.
///
/// One pointer: every queued signal is as large as the largest.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Atoms(Option<Arc<SmallVec<[Atom; FEW]>>>);

/// So many atoms, as most messages have at most, take one allocation.
const FEW: usize = 6;

impl Deref for Atoms {
    type Target = [Atom];

    #[inline]
    fn deref(&self) -> &[Atom] {
        let Some(atoms) = &self.0 else { return &[] };
        if atoms.spilled() {
            cold_path();
        }
        atoms
    }
}

impl From<Vec<Atom>> for Atoms {
    fn from(atoms: Vec<Atom>) -> Self {
        Self((!atoms.is_empty()).then(|| Arc::new(atoms.into())))
    }
}

impl From<&[Atom]> for Atoms {
    fn from(atoms: &[Atom]) -> Self {
        Self((!atoms.is_empty()).then(|| Arc::new(atoms.iter().cloned().collect())))
    }
}

impl fmt::Debug for Atoms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Payload {
    /// A place where there is no term yet.
    pub(crate) fn none() -> Self {
        Self { bytes: TermBytes::Short { start: 0, end: 0, bytes: [0; SHORT_MAX] }, atoms: Atoms::default() }
    }

    /// Takes one checked term: see [`Reader::skip`].
    #[cfg(test)]
    pub(crate) fn new(bytes: Bytes, atoms: Vec<Atom>) -> Self {
        Self::with_atoms(bytes, atoms.into())
    }

    /// Takes one checked term, and the atoms of its packet.
    pub(crate) fn with_atoms(bytes: Bytes, atoms: Atoms) -> Self {
        Self { bytes: TermBytes::Shared(bytes), atoms }
    }

    /// Cuts off the first `end` bytes of what was received, and takes the checked term of `len` bytes at `start` of them.
    #[inline(always)]
    pub(crate) fn cut_off(input: &mut BytesMut, end: usize, start: usize, len: usize, atoms: Atoms) -> Self {
        let rest = input.get(start..).unwrap_or_default();
        if len <= SHORT_MAX
            && let Some(term) = rest.get(..len)
        {
            // With what follows, if there is enough, so that the compiler knows how much it is.
            let bytes = rest.first_chunk().copied().unwrap_or_else(|| {
                let mut bytes = [0; SHORT_MAX];
                bytes[..len].copy_from_slice(term);
                bytes
            });
            input.advance(end);
            return Self { bytes: TermBytes::Short { start: 0, end: len as u8, bytes }, atoms };
        }
        let mut bytes = input.split_to(end).freeze();
        bytes.advance(start);
        if bytes.len() > len {
            cold_path();
            // What follows the term is ignored.
            bytes.truncate(len);
        }
        Self { bytes: TermBytes::Shared(bytes), atoms }
    }

    /// A value in its external form.
    ///
    /// # Errors
    /// If the value has none.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        let mut writer = Writer::new();
        super::serialize(value, &mut writer)?;
        Ok(Self::with_atoms(writer.into_bytes(), Atoms::default()))
    }

    /// A reader over the term.
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(&self.bytes, &self.atoms)
    }

    /// The value, decoded straight into its type.
    ///
    /// # Errors
    /// If the term is not of that type; the error names the place.
    #[hot]
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        serde::read(&mut self.reader(), Source::Checked(self.bytes.shared()))
    }

    /// The term. Binaries are slices of the received buffer.
    pub fn term(&self) -> Term {
        let term = decode::build(&mut self.reader(), self.bytes.shared());
        debug_assert!(term.is_ok(), "a payload is checked before it is made");
        term.unwrap_or_default()
    }

    /// The term that `write` writes.
    pub(crate) fn from_writer(
        write: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
    ) -> Result<Self, EncodeError> {
        let mut writer = Writer::new();
        write(&mut writer)?;
        Ok(Self::with_atoms(writer.into_bytes(), Atoms::default()))
    }

    /// A term inside this one: `range` is where a reader found it.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        let mut slice = self.clone();
        match &mut slice.bytes {
            TermBytes::Short { start, end, .. } => {
                *end = *start + range.end as u8;
                *start += range.start as u8;
            }
            TermBytes::Shared(bytes) => *bytes = bytes.slice(range),
        }
        slice
    }

    /// As [`Payload::slice`], the term at the end of this one.
    pub(crate) fn into_last(mut self, start: usize) -> Self {
        match &mut self.bytes {
            TermBytes::Short { start: first, .. } => *first += start as u8,
            TermBytes::Shared(bytes) => bytes.advance(start),
        }
        self
    }

    /// How many bytes the term takes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no term, which does not happen.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Copies the term into a writer, its numbered atoms renumbered or spelled out.
    pub fn write(&self, writer: &mut Writer) {
        if self.atoms.is_empty() {
            return match &self.bytes {
                TermBytes::Short { .. } => writer.raw(&self.bytes),
                TermBytes::Shared(bytes) => writer.shared_raw(bytes),
            };
        }
        let written = writer.term(&self.term());
        debug_assert!(written.is_ok(), "what was decoded has an external form");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_cut_off_whatever_its_length_and_what_follows() {
        for len in 0..40 {
            let binary = Term::from(Bytes::from(vec![7; len]));
            let term = Term::tuple([Term::from(1), binary.clone()]);
            let bytes = [&[104, 2, 97, 1, 109][..], &(len as u32).to_be_bytes(), &vec![7; len]].concat();
            for after in [0, 1, 40] {
                let (front, end) = (b"front", b"end");
                let packet = [front, &bytes[..], end].concat();
                let mut input = BytesMut::from(&[&packet[..], &vec![9; after]].concat()[..]);
                let atoms = Atoms::default();
                let payload = Payload::cut_off(&mut input, packet.len(), front.len(), bytes.len(), atoms);
                assert_eq!(input, vec![9; after]);
                assert_eq!((payload.term(), payload.len()), (term.clone(), bytes.len()));
                assert_eq!(payload.decode::<(u8, Term)>().unwrap(), (1, binary.clone()));
                let inner = payload.slice(2..bytes.len());
                assert_eq!((inner.slice(0..2).term(), inner.len()), (Term::from(1), bytes.len() - 2));
                assert_eq!(inner.into_last(2).term(), binary);
                let mut writer = Writer::new();
                payload.write(&mut writer);
                assert_eq!(writer.into_bytes(), bytes);
            }
        }
        assert_eq!(size_of::<Payload>(), size_of::<Bytes>() + size_of::<usize>(), "{SHORT_MAX} bytes fit");
    }
}
