//! Writes terms in the forms that Erlang/OTP itself sends.

mod atom_refs;
mod reuse;

use std::hint::cold_path;

use bytes::{BufMut, Bytes};

pub use self::atom_refs::AtomRefs;
pub(crate) use self::atom_refs::ListId;
pub(crate) use self::reuse::Checkpoint;
use super::tags::*;
use super::{DecodeError, DecodeErrorKind, EncodeError, Limits, Reader, f64Bits};
use crate::term::{
    Atom, AtomError, Binary, FunHead, INLINE_MAX, Pid, Port, REFERENCE_WORDS_MAX, Reference, words,
};

/// From this length on a shared binary becomes a part of its own: below it a copy costs less than another part to write.
const OWN_PART_LEN: usize = 4096;

/// What a writer has room for at first: most messages need no more.
const FIRST_LEN: usize = 128;

/// The most bytes that are written with their tag at once.
const TAGGED_MAX: usize = 9;

/// Atoms up to so long are written at once, with what stands before them.
const SHORT_ATOM_MAX: usize = 14;

/// A reference whose node has a number.
const REFERENCE_HEAD_LEN: usize = 3 + 2 + 4;

/// What a [`Writer`] wrote: a chain of buffers, so that a large binary is passed on without being copied.
#[derive(Debug, Default)]
pub struct Encoded {
    /// The parts, in order.
    pub parts: Vec<Bytes>,
    /// The atoms that the terms refer to by number; empty if they are spelled out.
    pub atoms: AtomRefs,
}

impl Encoded {
    /// How many bytes there are, in all parts.
    pub fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The parts as one buffer, without a copy if it is one already.
    pub fn into_bytes(mut self) -> Bytes {
        match self.parts.len() {
            0 => Bytes::new(),
            1 => self.parts.swap_remove(0),
            _ => self.parts.concat().into(),
        }
    }
}

/// An internal fun whose free variables are being written.
#[must_use = "a fun has to be ended"]
#[derive(Debug)]
pub struct FunMark {
    size_at: usize,
}

/// A tag and a count of 32 bits.
pub(super) const COUNTED_LEN: usize = 5;
/// The tag and the length of a list in its short form.
const STRING_HEAD_LEN: usize = 3;

/// A list or a map that is being written.
#[derive(Debug)]
pub(crate) struct Mark {
    /// The part that its head is in, and where.
    part: usize,
    at: usize,
    expected: usize,
}

/// Writes terms, token by token, in the order in which a [`Reader`](super::Reader) reads them. The caller answers for as many
/// elements following a header as it announces.
#[derive(Debug, Default)]
pub struct Writer {
    parts: Vec<Bytes>,
    parts_len: usize,
    out: Vec<u8>,
    atoms: Option<AtomRefs>,
    /// Funs begun and not ended: their size goes before them, so all of them has to stay in `out`.
    open_funs: u32,
}

impl Writer {
    /// A writer that spells atoms out, and has no room yet.
    pub(super) const EMPTY: Self =
        Self { parts: Vec::new(), parts_len: 0, out: Vec::new(), atoms: None, open_funs: 0 };

    /// A writer that spells atoms out.
    pub fn new() -> Self {
        Self { out: Vec::with_capacity(FIRST_LEN), ..Self::default() }
    }

    /// A writer that collects atoms for a distribution header and writes ATOM_CACHE_REF in their place.
    pub fn with_atom_refs() -> Self {
        Self { atoms: Some(AtomRefs::default()), ..Self::new() }
    }

    /// A writer that spells atoms out, into a buffer that is empty.
    pub(super) fn with_buffer(buffer: Vec<u8>) -> Self {
        Self { out: buffer, ..Self::default() }
    }

    /// How many bytes are written, in all parts.
    pub fn len(&self) -> usize {
        self.parts_len + self.out.len()
    }

    /// Whether nothing is written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was written.
    pub fn finish(mut self) -> Encoded {
        if !self.out.is_empty() {
            self.parts.push(self.out.into());
        }
        Encoded { parts: self.parts, atoms: self.atoms.unwrap_or_default() }
    }

    /// What was written, as one buffer. Most often it is one, and then nothing is allocated for the parts.
    pub(crate) fn into_bytes(self) -> Bytes {
        if self.parts.is_empty() { self.out.into() } else { self.finish().into_bytes() }
    }

    /// As [`Writer::into_bytes`], for who wants to own it.
    pub(super) fn into_vec(self) -> Vec<u8> {
        if self.parts.is_empty() { self.out } else { self.finish().parts.concat() }
    }

    /// Makes room for so many values at once, if they are short.
    #[inline]
    pub(super) fn expect(&mut self, values: usize) {
        self.out.reserve(values.saturating_mul(COUNTED_LEN));
    }

    /// Bytes as they are: a version byte, or terms that are encoded already.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.put_slice(bytes);
    }

    /// Shared bytes as they are: large ones become a part of their own.
    #[inline]
    pub fn shared_raw(&mut self, bytes: &Bytes) {
        if bytes.len() < OWN_PART_LEN || self.open_funs > 0 { self.raw(bytes) } else { self.part(bytes) }
    }

    /// Adds bytes as a part of their own.
    fn part(&mut self, bytes: &Bytes) {
        if !self.out.is_empty() {
            self.parts_len += self.out.len();
            self.parts.push(std::mem::take(&mut self.out).into());
        }
        self.parts_len += bytes.len();
        self.parts.push(bytes.clone());
    }

    #[inline]
    fn tagged<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) {
        // In one piece: the buffer looks for room at each.
        let mut whole = [0; TAGGED_MAX];
        whole[0] = tag;
        whole[1..=N].copy_from_slice(&bytes);
        self.out.extend_from_slice(&whole[..=N]);
    }

    #[inline]
    fn counted(&mut self, tag: u8, count: usize) -> Result<(), EncodeError> {
        let count_u32 = u32::try_from(count).map_err(|_| EncodeError::TooLong(count))?;
        self.tagged(tag, count_u32.to_be_bytes());
        Ok(())
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        if let Ok(byte) = u8::try_from(value) {
            self.tagged(SMALL_INTEGER_EXT, [byte]);
        } else if let Ok(value) = i32::try_from(value) {
            self.tagged(INTEGER_EXT, value.to_be_bytes());
        } else {
            self.small_big(value < 0, value.unsigned_abs());
        }
    }

    /// An unsigned integer.
    pub fn unsigned(&mut self, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.integer(value),
            Err(_) => self.small_big(false, value),
        }
    }

    #[cold]
    fn small_big(&mut self, negative: bool, magnitude: u64) {
        let len = 8 - magnitude.leading_zeros() as usize / 8;
        self.tagged(SMALL_BIG_EXT, [len as u8, u8::from(negative)]);
        self.out.put_slice(&magnitude.to_le_bytes()[..len]);
    }

    /// An integer of any size: sign and little-endian magnitude.
    ///
    /// # Errors
    /// If the magnitude does not fit a term.
    pub fn big_integer(&mut self, negative: bool, magnitude: &[u8]) -> Result<(), EncodeError> {
        let len = magnitude.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let magnitude = &magnitude[..len];
        let mut low = [0; 8];
        if let Some(low_bytes) = low.get_mut(..len) {
            low_bytes.copy_from_slice(magnitude);
            let value = u64::from_le_bytes(low);
            match if negative { 0_i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() } {
                Some(value) => self.integer(value),
                None => self.small_big(negative, value),
            }
            return Ok(());
        }
        match u8::try_from(len) {
            Ok(len) => self.tagged(SMALL_BIG_EXT, [len]),
            Err(_) => self.counted(LARGE_BIG_EXT, len)?,
        }
        self.out.put_u8(u8::from(negative));
        self.out.put_slice(magnitude);
        Ok(())
    }

    /// A float.
    ///
    /// # Errors
    /// NaN and infinities have no external form.
    pub fn float(&mut self, value: f64) -> Result<(), EncodeError> {
        if !value.is_finite() {
            return Err(EncodeError::NotFinite(f64Bits(value.to_bits())));
        }
        self.tagged(NEW_FLOAT_EXT, value.to_be_bytes());
        Ok(())
    }

    /// An atom.
    #[inline(always)]
    pub fn atom(&mut self, atom: &Atom) {
        if self.atoms.is_none() {
            match atom.short() {
                Some((len, words)) if len <= SHORT_ATOM_MAX => self.short_atom(len, words),
                _ => self.spelled_atom(atom.as_str()),
            }
        } else {
            self.numbered_atom(atom);
        }
    }

    /// An atom of a text known to the program (a field or variant name), without making an [`Atom`] first where it is not needed.
    ///
    /// # Errors
    /// More than 255 characters.
    pub fn atom_text(&mut self, text: &str) -> Result<(), EncodeError> {
        Atom::check(text).map_err(|error: AtomError| EncodeError::Atom(error))?;
        if self.atoms.is_none() {
            self.spelled_atom(text);
        } else {
            self.numbered_atom(&Atom::from_checked(text));
        }
        Ok(())
    }

    /// The number of an atom, if it gets one.
    #[inline]
    fn number(&mut self, atom: &Atom) -> Option<u8> {
        self.atoms.as_mut()?.number(atom)
    }

    /// An atom by its number, if it gets one.
    #[hot]
    fn numbered_atom(&mut self, atom: &Atom) {
        match self.number(atom) {
            Some(number) => self.tagged(ATOM_CACHE_REF, [number]),
            None => {
                cold_path();
                self.spelled_atom(atom.as_str());
            }
        }
    }

    /// An atom of at most [`SHORT_ATOM_MAX`] bytes, which lie in two words and have zeros behind them.
    #[inline(always)]
    fn short_atom(&mut self, len: usize, [low, high]: [u64; 2]) {
        // More than it is, and the rest taken back: a copy of a length known to the compiler takes no call.
        let end = self.out.len() + 2 + len;
        let head = u128::from(SMALL_ATOM_UTF8_EXT) | (len as u128) << 8;
        let whole = head | u128::from(low) << 16 | u128::from(high) << (16 + 64);
        self.out.extend_from_slice(&whole.to_le_bytes());
        self.out.truncate(end);
    }

    /// The text has at most 255 characters, which are at most 1020 bytes.
    #[inline(always)]
    fn spelled_atom(&mut self, text: &str) {
        if text.len() <= SHORT_ATOM_MAX
            && let Some(words) = words(text.as_bytes())
        {
            return self.short_atom(text.len(), words);
        }
        match u8::try_from(text.len()) {
            Ok(len) => {
                // Room for all of it.
                self.out.reserve(2 + text.len());
                self.out.extend_from_slice(&[SMALL_ATOM_UTF8_EXT, len]);
            }
            Err(_) => self.tagged(ATOM_UTF8_EXT, (text.len() as u16).to_be_bytes()),
        }
        self.out.extend_from_slice(text.as_bytes());
    }

    /// A binary, copied.
    ///
    /// # Errors
    /// If it does not fit a term.
    pub fn binary(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.counted(BINARY_EXT, bytes.len())?;
        self.out.put_slice(bytes);
        Ok(())
    }

    /// A binary; a large one becomes a part of its own instead of being copied.
    ///
    /// # Errors
    /// If it does not fit a term.
    #[inline]
    pub fn shared_binary(&mut self, bytes: &Bytes) -> Result<(), EncodeError> {
        self.counted(BINARY_EXT, bytes.len())?;
        self.shared_raw(bytes);
        Ok(())
    }

    /// A binary of a term: shared if it is large.
    #[inline]
    pub(crate) fn term_binary(&mut self, binary: &Binary) -> Result<(), EncodeError> {
        match binary.shared() {
            Some(bytes) => self.shared_binary(bytes),
            None => self.binary(binary),
        }
    }

    /// A binary of the first `len` of some bytes. Where there is room all of them are written and the others taken back: a
    /// copy of a length known to the compiler takes no call.
    #[inline]
    pub(super) fn inline_binary(&mut self, bytes: &[u8; INLINE_MAX], len: usize) {
        let head = [BINARY_EXT, 0, 0, 0, len as u8];
        if self.out.capacity() - self.out.len() >= head.len() + bytes.len() {
            self.out.extend_from_slice(&head);
            let start = self.out.len();
            self.out.extend_from_slice(bytes);
            self.out.truncate(start + len);
        } else {
            self.out.extend_from_slice(&head);
            self.out.extend_from_slice(&bytes[..len]);
        }
    }

    /// A bit string with `bits` (1 to 7) used bits in its last byte, from the high end.
    ///
    /// # Errors
    /// If there are no bytes, `bits` is out of its range, or it does not fit a term.
    pub fn bit_string(&mut self, bytes: &[u8], bits: u8) -> Result<(), EncodeError> {
        let (Some((last, whole)), 1..=7) = (bytes.split_last(), bits) else {
            return Err(EncodeError::Bits { len: bytes.len(), bits });
        };
        self.counted(BIT_BINARY_EXT, bytes.len())?;
        self.out.put_u8(bits);
        self.out.put_slice(whole);
        self.out.put_u8(last & (0xff << (8 - bits)));
        Ok(())
    }

    /// A proper list of bytes, in its short form where it fits.
    ///
    /// # Errors
    /// If it does not fit a term.
    pub fn byte_list(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        match u16::try_from(bytes.len()) {
            Ok(0) => self.nil(),
            Ok(_) => self.string(bytes.len(), bytes.iter().copied()),
            Err(_) => {
                self.list(bytes.len())?;
                for byte in bytes {
                    self.tagged(SMALL_INTEGER_EXT, [*byte]);
                }
                self.nil();
            }
        }
        Ok(())
    }

    /// A list in its short form, of 1 to 65535 bytes.
    pub(super) fn string(&mut self, len: usize, bytes: impl Iterator<Item = u8>) {
        self.tagged(STRING_EXT, (len as u16).to_be_bytes());
        self.out.extend(bytes);
    }

    /// The empty list.
    pub fn nil(&mut self) {
        self.out.put_u8(NIL_EXT);
    }

    /// A list of `len` (at least 1) elements, which follow, and then its tail.
    ///
    /// # Errors
    /// If the count does not fit a term.
    pub fn list(&mut self, len: usize) -> Result<(), EncodeError> {
        self.counted(LIST_EXT, len)
    }

    /// A tuple of `len` elements, which follow.
    ///
    /// # Errors
    /// If the count does not fit a term.
    #[inline]
    pub fn tuple(&mut self, len: usize) -> Result<(), EncodeError> {
        match u8::try_from(len) {
            Ok(len) => self.tagged(SMALL_TUPLE_EXT, [len]),
            Err(_) => {
                cold_path();
                self.counted(LARGE_TUPLE_EXT, len)?;
            }
        }
        Ok(())
    }

    /// The head of a control tuple: how many elements it has, and the first of them.
    #[inline(always)]
    pub(crate) fn operation(&mut self, len: u8, operation: u8) {
        self.out.extend_from_slice(&[SMALL_TUPLE_EXT, len, SMALL_INTEGER_EXT, operation]);
    }

    /// A map of `len` pairs, which follow.
    ///
    /// # Errors
    /// If the count does not fit a term.
    pub fn map(&mut self, len: usize) -> Result<(), EncodeError> {
        self.counted(MAP_EXT, len)
    }

    /// Begins a list whose length is only expected, up to [`Writer::end_list`].
    pub(crate) fn begin_list(&mut self, expected: usize) -> Result<Mark, EncodeError> {
        let mark = Mark { part: self.parts.len(), at: self.out.len(), expected };
        self.list(expected)?;
        Ok(mark)
    }

    /// Begins a map whose length is only expected, up to [`Writer::end_map`].
    pub(crate) fn begin_map(&mut self, expected: usize) -> Result<Mark, EncodeError> {
        let mark = Mark { part: self.parts.len(), at: self.out.len(), expected };
        self.map(expected)?;
        Ok(mark)
    }

    /// Ends a proper list of `len` elements, and gives it the form in which Erlang sends it.
    pub(crate) fn end_list(&mut self, mark: Mark, len: usize) -> Result<(), EncodeError> {
        if len == 0 {
            // Nothing was written behind the head.
            self.out.truncate(mark.at);
            self.nil();
            return Ok(());
        }
        // If all elements take two bytes, all of them may be small integers, which is what the short form is for.
        let elements = mark.at + COUNTED_LEN;
        if mark.part == self.parts.len() && self.out.len() - elements == len * 2 {
            let (pairs, _) = self.out[elements..].as_chunks::<2>();
            if len <= usize::from(u16::MAX) && pairs.iter().all(|[tag, _]| *tag == SMALL_INTEGER_EXT) {
                let bytes = mark.at + STRING_HEAD_LEN;
                for index in 0..len {
                    self.out[bytes + index] = self.out[elements + index * 2 + 1];
                }
                self.out.truncate(bytes + len);
                self.out[mark.at] = STRING_EXT;
                self.out[mark.at + 1..bytes].copy_from_slice(&(len as u16).to_be_bytes());
                return Ok(());
            }
        }
        self.correct(mark, len)?;
        self.nil();
        Ok(())
    }

    /// Ends a map of `len` pairs. If that was not expected, its keys may be anything, and are looked at.
    #[inline]
    pub(crate) fn end_map(&mut self, mark: Mark, len: usize) -> Result<(), EncodeError> {
        if len == mark.expected { Ok(()) } else { self.end_unexpected_map(mark, len) }
    }

    #[cold]
    fn end_unexpected_map(&mut self, mark: Mark, len: usize) -> Result<(), EncodeError> {
        let (part, at) = (mark.part, mark.at);
        self.patch(mark, len)?;
        let mut bytes = self.parts.get(part..).unwrap_or_default().concat();
        bytes.extend_from_slice(&self.out);
        let atoms = self.atoms.as_ref().map_or(&[][..], AtomRefs::atoms);
        match Reader::new(&bytes[at..], atoms).skip(&Limits::default()) {
            Err(error @ DecodeError { kind: DecodeErrorKind::DuplicateKey, .. }) => {
                Err(EncodeError::Refused(error.kind.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Corrects an expected count.
    #[inline]
    fn correct(&mut self, mark: Mark, len: usize) -> Result<(), EncodeError> {
        if len == mark.expected { Ok(()) } else { self.patch(mark, len) }
    }

    #[cold]
    fn patch(&mut self, mark: Mark, len: usize) -> Result<(), EncodeError> {
        let count = u32::try_from(len).map_err(|_| EncodeError::TooLong(len))?.to_be_bytes();
        let field = mark.at + 1..mark.at + COUNTED_LEN;
        match self.parts.get_mut(mark.part) {
            None => self.out[field].copy_from_slice(&count),
            // A large binary has come between. What is written of a part is shared, and so is copied; it is short.
            Some(part) => {
                let mut copy = part.to_vec();
                copy[field].copy_from_slice(&count);
                *part = copy.into();
            }
        }
        Ok(())
    }

    /// A pid.
    #[hot]
    pub fn pid(&mut self, pid: &Pid) {
        if let Some(number) = self.number(&pid.node) {
            // In one piece: the buffer looks for room at each.
            let mut whole = [NEW_PID_EXT, ATOM_CACHE_REF, number, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let (numbers, _) = whole[3..].as_chunks_mut::<4>();
            for (place, number) in numbers.iter_mut().zip([pid.id, pid.serial, pid.creation]) {
                *place = number.to_be_bytes();
            }
            self.out.extend_from_slice(&whole);
            return;
        }
        cold_path();
        self.out.put_u8(NEW_PID_EXT);
        self.spelled_atom(pid.node.as_str());
        self.out.put_u32(pid.id);
        self.out.put_u32(pid.serial);
        self.out.put_u32(pid.creation);
    }

    /// A port.
    pub fn port(&mut self, port: &Port) {
        // The older form has 28 bits, though its field has 32.
        let small = u32::try_from(port.id).ok().filter(|id| *id < 1 << 28);
        self.out.put_u8(if small.is_some() { NEW_PORT_EXT } else { V4_PORT_EXT });
        self.atom(&port.node);
        match small {
            Some(id) => self.out.put_u32(id),
            None => self.out.put_u64(port.id),
        }
        self.out.put_u32(port.creation);
    }

    /// A reference.
    #[hot]
    pub fn reference(&mut self, reference: &Reference) {
        let words = reference.words();
        if let Some(number) = self.number(&reference.node) {
            // In one piece, with room for more words than it has, which is taken back.
            let end = self.out.len() + REFERENCE_HEAD_LEN + 4 * words.len();
            let mut whole = [0; REFERENCE_HEAD_LEN + 4 * REFERENCE_WORDS_MAX];
            let head = [NEWER_REFERENCE_EXT, 0, words.len() as u8, ATOM_CACHE_REF, number];
            whole[..head.len()].copy_from_slice(&head);
            let (numbers, _) = whole[head.len()..].as_chunks_mut::<4>();
            numbers[0] = reference.creation.to_be_bytes();
            for (place, word) in numbers[1..].iter_mut().zip(reference.padded_words()) {
                *place = word.to_be_bytes();
            }
            self.out.extend_from_slice(&whole);
            self.out.truncate(end);
            return;
        }
        cold_path();
        self.tagged(NEWER_REFERENCE_EXT, (words.len() as u16).to_be_bytes());
        self.spelled_atom(reference.node.as_str());
        self.out.put_u32(reference.creation);
        for word in words {
            self.out.put_u32(*word);
        }
    }

    /// `fun Module:Function/Arity`.
    pub fn export(&mut self, module: &Atom, function: &Atom, arity: u8) {
        self.out.put_u8(EXPORT_EXT);
        self.atom(module);
        self.atom(function);
        self.tagged(SMALL_INTEGER_EXT, [arity]);
    }

    /// An internal fun of `free` free variables, which follow, and then [`Writer::end_fun`].
    ///
    /// # Errors
    /// If there are more free variables than a fun can have.
    pub fn fun(&mut self, head: &FunHead, free: usize) -> Result<FunMark, EncodeError> {
        if free > super::reader::FREE_VARIABLES_MAX {
            return Err(EncodeError::TooLong(free));
        }
        self.out.put_u8(NEW_FUN_EXT);
        let mark = FunMark { size_at: self.out.len() };
        self.open_funs += 1;
        self.out.put_u32(0);
        self.out.put_u8(head.arity);
        self.out.put_slice(&head.uniq);
        self.out.put_u32(head.index);
        self.out.put_u32(free as u32);
        self.atom(&head.module);
        self.integer(head.old_index);
        self.integer(head.old_uniq);
        self.pid(&head.pid);
        Ok(mark)
    }

    /// Ends the innermost internal fun.
    ///
    /// # Errors
    /// If it does not fit a term.
    pub fn end_fun(&mut self, mark: FunMark) -> Result<(), EncodeError> {
        self.open_funs -= 1;
        let size = self.out.len() - mark.size_at;
        let size = u32::try_from(size).map_err(|_| EncodeError::TooLong(size))?;
        self.out[mark.size_at..][..4].copy_from_slice(&size.to_be_bytes());
        Ok(())
    }

    /// A native record; as many values as it has fields follow.
    ///
    /// # Errors
    /// If the count does not fit a term.
    pub fn record(
        &mut self,
        module: &Atom,
        name: &Atom,
        exported: bool,
        fields: &[Atom],
    ) -> Result<(), EncodeError> {
        self.counted(RECORD_EXT, fields.len())?;
        self.out.put_u8(u8::from(exported));
        self.atom(module);
        self.atom(name);
        for field in fields {
            self.atom(field);
        }
        Ok(())
    }
}
