//! Writes terms in the forms that Erlang/OTP itself sends.

use bytes::{Bytes, BytesMut};

use super::EncodeError;
use crate::term::{Atom, Pid, Port, Reference};

/// The distinct atoms of one distribution packet, in the order of their first use: at most 255; later ones are
/// spelled out in the term.
#[derive(Debug, Default)]
pub struct AtomRefs {
    atoms: Vec<Atom>,
}

impl AtomRefs {
    /// The atoms, by their number in the packet.
    pub fn atoms(&self) -> &[Atom] {
        &self.atoms
    }
}

/// What a [`Writer`] wrote: a chain of buffers, so that a large binary is passed on without being copied.
#[derive(Debug, Default)]
pub struct Encoded {
    /// The parts, in order.
    pub parts: Vec<Bytes>,
    /// The atoms that the terms refer to by number; empty if they are spelled out.
    pub atoms: AtomRefs,
}

/// Writes terms, token by token, in the order in which a [`Reader`](super::Reader) reads them. The caller answers for as many
/// elements following a header as it announces.
#[derive(Debug, Default)]
pub struct Writer {
    out: BytesMut,
    atoms: Option<AtomRefs>,
}

impl Writer {
    /// A writer that spells atoms out.
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer that collects atoms for a distribution header and writes ATOM_CACHE_REF in their place.
    pub fn with_atom_refs() -> Self {
        Self { out: BytesMut::new(), atoms: Some(AtomRefs::default()) }
    }

    /// How many bytes are written, in all parts.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Whether nothing is written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was written.
    pub fn finish(self) -> Encoded {
        let _ = (self.out, self.atoms);
        todo!()
    }

    /// Bytes as they are: a version byte, or terms that are encoded already.
    pub fn raw(&mut self, bytes: &[u8]) {
        let _ = bytes;
        todo!()
    }

    /// An integer.
    pub fn integer(&mut self, value: i64) {
        let _ = value;
        todo!()
    }

    /// An unsigned integer.
    pub fn unsigned(&mut self, value: u64) {
        let _ = value;
        todo!()
    }

    /// An integer of any size: sign and little-endian magnitude.
    pub fn big_integer(&mut self, negative: bool, magnitude: &[u8]) -> Result<(), EncodeError> {
        let _ = (negative, magnitude);
        todo!()
    }

    /// A float.
    ///
    /// # Errors
    /// NaN and infinities have no external form.
    pub fn float(&mut self, value: f64) -> Result<(), EncodeError> {
        let _ = value;
        todo!()
    }

    /// An atom.
    pub fn atom(&mut self, atom: &Atom) {
        let _ = atom;
        todo!()
    }

    /// An atom of a text known to the program (a field or variant name), without making an [`Atom`] first where it is not needed.
    ///
    /// # Errors
    /// More than 255 characters.
    pub fn atom_text(&mut self, text: &str) -> Result<(), EncodeError> {
        let _ = text;
        todo!()
    }

    /// A binary, copied.
    pub fn binary(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let _ = bytes;
        todo!()
    }

    /// A binary; a large one becomes a part of its own instead of being copied.
    pub fn shared_binary(&mut self, bytes: &Bytes) -> Result<(), EncodeError> {
        let _ = bytes;
        todo!()
    }

    /// A bit string with `bits` (1 to 7) used bits in its last byte.
    pub fn bit_string(&mut self, bytes: &[u8], bits: u8) -> Result<(), EncodeError> {
        let _ = (bytes, bits);
        todo!()
    }

    /// A proper list of bytes, in its short form where it fits.
    pub fn byte_list(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let _ = bytes;
        todo!()
    }

    /// The empty list.
    pub fn nil(&mut self) {
        todo!()
    }

    /// A list of `len` (at least 1) elements, which follow, and then its tail.
    pub fn list(&mut self, len: usize) -> Result<(), EncodeError> {
        let _ = len;
        todo!()
    }

    /// A tuple of `len` elements, which follow.
    pub fn tuple(&mut self, len: usize) -> Result<(), EncodeError> {
        let _ = len;
        todo!()
    }

    /// A map of `len` pairs, which follow.
    pub fn map(&mut self, len: usize) -> Result<(), EncodeError> {
        let _ = len;
        todo!()
    }

    /// A pid.
    pub fn pid(&mut self, pid: &Pid) {
        let _ = pid;
        todo!()
    }

    /// A port.
    pub fn port(&mut self, port: &Port) {
        let _ = port;
        todo!()
    }

    /// A reference.
    pub fn reference(&mut self, reference: &Reference) {
        let _ = reference;
        todo!()
    }

    /// `fun Module:Function/Arity`.
    pub fn export(&mut self, module: &Atom, function: &Atom, arity: u8) {
        let _ = (module, function, arity);
        todo!()
    }
}
