//! A term that is still in its external form: what a remote message is until its receiver decodes it.

use std::fmt;
use std::hint::cold_path;
use std::ops::Deref;
use std::sync::Arc;

use ::serde::Serialize;
use ::serde::de::DeserializeOwned;
use bytes::{Buf, Bytes};
use smallvec::SmallVec;

use super::serde::Source;
use super::{DecodeError, EncodeError, Reader, Writer, decode, serde};
use crate::term::{Atom, Term};

/// One encoded term (without version byte), with the atoms that it refers to by number.
///
/// Its bytes were checked when it was made, so decoding it fails only where the type does not fit.
#[derive(Debug, Clone)]
pub struct Payload {
    bytes: Bytes,
    atoms: Atoms,
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
        Self { bytes: Bytes::new(), atoms: Atoms::default() }
    }

    /// Takes one checked term: see [`Reader::skip`].
    #[cfg(test)]
    pub(crate) fn new(bytes: Bytes, atoms: Vec<Atom>) -> Self {
        Self::with_atoms(bytes, atoms.into())
    }

    /// Takes one checked term, and the atoms of its packet.
    pub(crate) fn with_atoms(bytes: Bytes, atoms: Atoms) -> Self {
        Self { bytes, atoms }
    }

    /// A value in its external form.
    ///
    /// # Errors
    /// If the value has none.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        let mut writer = Writer::new();
        super::serialize(value, &mut writer)?;
        Ok(Self { bytes: writer.into_bytes(), atoms: Atoms::default() })
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
        serde::read(&mut self.reader(), Source::Checked(&self.bytes))
    }

    /// The term. Binaries are slices of the received buffer.
    pub fn term(&self) -> Term {
        let term = decode::build(&mut self.reader(), Some(&self.bytes));
        debug_assert!(term.is_ok(), "a payload is checked before it is made");
        term.unwrap_or_default()
    }

    /// The term that `write` writes.
    pub(crate) fn from_writer(
        write: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
    ) -> Result<Self, EncodeError> {
        let mut writer = Writer::new();
        write(&mut writer)?;
        Ok(Self { bytes: writer.into_bytes(), atoms: Atoms::default() })
    }

    /// A term inside this one: `range` is where a reader found it.
    pub(crate) fn slice(&self, range: std::ops::Range<usize>) -> Self {
        Self { bytes: self.bytes.slice(range), atoms: self.atoms.clone() }
    }

    /// As [`Payload::slice`], the term at the end of this one.
    pub(crate) fn into_last(mut self, start: usize) -> Self {
        self.bytes.advance(start);
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
            return writer.shared_raw(&self.bytes);
        }
        let written = writer.term(&self.term());
        debug_assert!(written.is_ok(), "what was decoded has an external form");
    }
}
