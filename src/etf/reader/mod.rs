//! A pull parser: one token at a time, no recursion, no allocation from a length that the input claims.

mod short;
mod skip;

pub(super) use self::short::integer;

use std::borrow::Cow;

use super::tags::*;
use super::{DecodeError, DecodeErrorKind};
use crate::term::{ATOM_CHARS_MAX, Atom, FunHead, Pid, Port, REFERENCE_WORDS_MAX, Reference};

/// The most free variables that a fun may have.
pub(crate) const FREE_VARIABLES_MAX: usize = 255;

/// Text of an old float: `%.20e`, padded with zeros.
const FLOAT_TEXT_LEN: usize = 31;
/// The old identifiers have two bits of creation.
const OLD_CREATION_MAX: u8 = 3;
/// The first word of an old reference has 18 bits.
const OLD_REFERENCE_MAX: u32 = 1 << 18;

/// One step of a term. Composite terms announce themselves with a header; their elements follow as tokens.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Token<'a> {
    /// An integer that fits 64 bits, whatever its form on the wire.
    Integer(i64),
    /// A larger integer: sign and little-endian magnitude without leading zeros.
    BigInteger {
        /// Below zero.
        negative: bool,
        /// Little-endian, the last byte is not zero.
        magnitude: &'a [u8],
    },
    /// A finite float.
    Float(f64),
    /// An atom, spelled out or by its number in the distribution header.
    Atom(Atom),
    /// A binary.
    Binary(&'a [u8]),
    /// A bit string whose last byte has `bits` (1 to 7) used bits, from the high end.
    BitString {
        /// The bytes, the unused bits of the last one as received.
        bytes: &'a [u8],
        /// How many bits of the last byte count.
        bits: u8,
    },
    /// A list of small integers in its short form (STRING_EXT): it has no element tokens and no tail. It may be empty.
    String(&'a [u8]),
    /// The empty list.
    Nil,
    /// A list of so many elements (at least one), which follow, and then its tail. The tail may be a list again, which continues this one.
    List(usize),
    /// A tuple of so many elements, which follow.
    Tuple(usize),
    /// A map of so many pairs; key, value, key, value follow. Equal keys are not looked for here, [`Reader::skip`] does.
    Map(usize),
    /// A pid.
    Pid(Pid),
    /// A port.
    Port(Port),
    /// A reference.
    Reference(Reference),
    /// `fun Module:Function/Arity`.
    Export {
        /// The module.
        module: Atom,
        /// The function.
        function: Atom,
        /// The arity.
        arity: u8,
    },
    /// An internal fun; as many terms as `free` follow.
    Fun {
        /// What identifies it.
        head: Box<FunHead>,
        /// How many free variables follow.
        free: usize,
    },
    /// A native record of OTP 29: the names of its fields follow as so many atoms, then as many values.
    Record {
        /// The module that defines it.
        module: Atom,
        /// Its name.
        name: Atom,
        /// Whether other modules may look into it.
        exported: bool,
        /// How many fields it has.
        fields: usize,
    },
}

/// Reads tokens from bytes.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    input: &'a [u8],
    /// What of it is not read yet.
    pub(super) rest: &'a [u8],
    pub(super) atoms: &'a [Atom],
}

impl<'a> Reader<'a> {
    /// Reads terms without a version byte from `input`; `atoms` are those of the distribution header, if there was one.
    pub fn new(input: &'a [u8], atoms: &'a [Atom]) -> Self {
        Self { input, rest: input, atoms }
    }

    /// The offset of the next token from the start of the input.
    #[inline]
    pub fn offset(&self) -> usize {
        self.input.len() - self.rest.len()
    }

    /// The next token. A container's count is at most the bytes left, so it may be reserved, though not at each level of
    /// a nested term: only [`Reader::skip`] knows that all counts are true.
    ///
    /// # Errors
    /// If the bytes there are not a term.
    #[inline]
    pub fn next_token(&mut self) -> Result<Token<'a>, DecodeError> {
        let at = self.offset();
        let tag = self.u8()?;
        Ok(match tag {
            SMALL_INTEGER_EXT => Token::Integer(i64::from(self.u8()?)),
            INTEGER_EXT => Token::Integer(i64::from(self.u32()? as i32)),
            SMALL_ATOM_UTF8_EXT | ATOM_CACHE_REF => Token::Atom(self.atom_tagged(tag, at)?),
            BINARY_EXT => {
                let len = self.u32()? as usize;
                Token::Binary(self.take(len)?)
            }
            SMALL_TUPLE_EXT => {
                let count = usize::from(self.u8()?);
                Token::Tuple(self.count(count, 1)?)
            }
            NIL_EXT => Token::Nil,
            _ => return self.rarer_token(tag, at),
        })
    }

    /// The tokens that are not worth being inlined.
    fn rarer_token(&mut self, tag: u8, at: usize) -> Result<Token<'a>, DecodeError> {
        Ok(match tag {
            ATOM_UTF8_EXT | SMALL_ATOM_EXT | ATOM_EXT => Token::Atom(self.atom_tagged(tag, at)?),
            LIST_EXT => {
                let count = self.u32()? as usize;
                if count == 0 {
                    // Only its tail is there. A chain of such heads has to be a loop, not a recursion.
                    self.empty_list_heads()?;
                    return self.next_token();
                }
                Token::List(self.count(count, 1)?)
            }
            MAP_EXT => {
                let count = self.u32()? as usize;
                Token::Map(self.count(count, 2)?)
            }
            STRING_EXT => {
                let len = usize::from(self.u16()?);
                Token::String(self.take(len)?)
            }
            NEW_PID_EXT | PID_EXT => Token::Pid(self.pid_tagged(tag, at)?),
            NEWER_REFERENCE_EXT | NEW_REFERENCE_EXT | REFERENCE_EXT => {
                Token::Reference(self.reference_tagged(tag, at)?)
            }
            NEW_FLOAT_EXT => Token::Float(self.float(at)?),
            SMALL_BIG_EXT => {
                let len = usize::from(self.u8()?);
                self.big(len)?
            }
            LARGE_BIG_EXT => {
                let len = self.u32()? as usize;
                self.big(len)?
            }
            LARGE_TUPLE_EXT => {
                let count = self.u32()? as usize;
                Token::Tuple(self.count(count, 1)?)
            }
            BIT_BINARY_EXT => {
                let (bytes, bits) = self.bit_string(at)?;
                if bits == 8 { Token::Binary(bytes) } else { Token::BitString { bytes, bits } }
            }
            V4_PORT_EXT | NEW_PORT_EXT | PORT_EXT => Token::Port(self.port_tagged(tag, at)?),
            EXPORT_EXT => {
                let (module, function, arity) = (self.atom()?, self.atom()?, self.arity()?);
                Token::Export { module, function, arity }
            }
            NEW_FUN_EXT => self.fun(at)?,
            RECORD_EXT => {
                let (fields, exported) = (self.u32()? as usize, self.u8()? == 1);
                let fields = self.count(fields, 2)?;
                Token::Record { exported, module: self.atom()?, name: self.atom()?, fields }
            }
            FLOAT_EXT => Token::Float(self.float_text(at)?),
            _ => return Err(DecodeError::new(DecodeErrorKind::Tag(tag), at)),
        })
    }

    #[cold]
    pub(crate) fn truncated(&self) -> DecodeError {
        DecodeError::new(DecodeErrorKind::Truncated, self.offset())
    }

    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let Some((bytes, rest)) = self.rest.split_at_checked(len) else { return Err(self.truncated()) };
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((bytes, rest)) = self.rest.split_first_chunk::<N>() else { return Err(self.truncated()) };
        self.rest = rest;
        Ok(*bytes)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        let Some((byte, rest)) = self.rest.split_first() else { return Err(self.truncated()) };
        self.rest = rest;
        Ok(*byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// A count of things that take at least `each` bytes.
    #[inline]
    fn count(&self, count: usize, each: usize) -> Result<usize, DecodeError> {
        if count > self.left() / each { Err(self.truncated()) } else { Ok(count) }
    }

    /// Steps over an empty list, if one is there.
    #[inline]
    pub(crate) fn eat_nil(&mut self) -> bool {
        match self.rest.split_first() {
            Some((&NIL_EXT, rest)) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Steps over list heads without elements.
    fn empty_list_heads(&mut self) -> Result<(), DecodeError> {
        while self.rest.starts_with(&[LIST_EXT, 0, 0, 0, 0]) {
            self.take(5)?;
        }
        Ok(())
    }

    fn float(&mut self, at: usize) -> Result<f64, DecodeError> {
        let value = f64::from_bits(u64::from_be_bytes(self.array()?));
        if value.is_finite() { Ok(value) } else { Err(DecodeError::new(DecodeErrorKind::Float, at)) }
    }

    #[cold]
    fn float_text(&mut self, at: usize) -> Result<f64, DecodeError> {
        let bytes = self.take(FLOAT_TEXT_LEN)?;
        let text = bytes.split(|byte| *byte == 0).next().and_then(|text| std::str::from_utf8(text).ok());
        text.and_then(|text| text.trim_matches(' ').parse().ok())
            .filter(|value: &f64| value.is_finite())
            .ok_or_else(|| DecodeError::new(DecodeErrorKind::Float, at))
    }

    fn big(&mut self, len: usize) -> Result<Token<'a>, DecodeError> {
        let negative = self.u8()? != 0;
        let bytes = self.take(len)?;
        let magnitude = bytes.iter().rposition(|byte| *byte != 0).map_or(&[][..], |last| &bytes[..=last]);
        if let Some(value) = small_from_magnitude(negative, magnitude) {
            return Ok(Token::Integer(value));
        }
        Ok(Token::BigInteger { negative, magnitude })
    }

    /// The bytes, and the used bits of the last: 8 if the string is empty.
    fn bit_string(&mut self, at: usize) -> Result<(&'a [u8], u8), DecodeError> {
        let (len, bits) = (self.u32()? as usize, self.u8()?);
        let bytes = self.take(len)?;
        match (len, bits) {
            // OTP 25 reads it, later ones do not.
            (0, 0) => Ok((bytes, 8)),
            (1.., 1..=8) => Ok((bytes, bits)),
            _ => Err(DecodeError::new(DecodeErrorKind::Bits { len, bits }, at)),
        }
    }

    /// An atom where only an atom may stand.
    #[inline]
    pub(crate) fn atom(&mut self) -> Result<Atom, DecodeError> {
        let at = self.offset();
        let tag = self.u8()?;
        self.atom_tagged(tag, at)
    }

    #[inline]
    fn atom_tagged(&mut self, tag: u8, at: usize) -> Result<Atom, DecodeError> {
        match self.atom_text(tag, at)? {
            AtomText::Ref(atom) => Ok(atom.clone()),
            AtomText::Utf8(text) => Ok(Atom::from_checked(text)),
            AtomText::Latin1(bytes) => {
                Ok(Atom::from_checked(&bytes.iter().map(|byte| char::from(*byte)).collect::<String>()))
            }
        }
    }

    /// The text of the next term if it is an atom, else nothing is read.
    #[inline]
    pub(crate) fn atom_str(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        let at = self.offset();
        let Some((&tag, rest)) = self.rest.split_first() else { return Err(self.truncated()) };
        if !matches!(tag, SMALL_ATOM_UTF8_EXT | ATOM_CACHE_REF | ATOM_UTF8_EXT | SMALL_ATOM_EXT | ATOM_EXT) {
            return Ok(None);
        }
        self.rest = rest;
        Ok(Some(match self.atom_text(tag, at)? {
            AtomText::Ref(atom) => Cow::Borrowed(atom.as_str()),
            AtomText::Utf8(text) => Cow::Borrowed(text),
            AtomText::Latin1(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if text.is_ascii() => Cow::Borrowed(text),
                _ => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
            },
        }))
    }

    /// Steps over an atom, checked.
    #[inline]
    fn skip_atom(&mut self, tag: u8, at: usize) -> Result<(), DecodeError> {
        if tag == SMALL_ATOM_UTF8_EXT
            && let Some((len, rest)) = self.rest.split_first()
            && let Some((text, rest)) = rest.split_at_checked(usize::from(*len))
            && text.is_ascii()
        {
            self.rest = rest;
            return Ok(());
        }
        self.atom_text(tag, at).map(drop)
    }

    /// An atom's text, checked.
    #[inline]
    fn atom_text(&mut self, tag: u8, at: usize) -> Result<AtomText<'a>, DecodeError> {
        let fault = |kind| Err(DecodeError::new(kind, at));
        let (len, latin1) = match tag {
            SMALL_ATOM_UTF8_EXT => (usize::from(self.u8()?), false),
            ATOM_CACHE_REF => {
                let index = self.u8()?;
                return match self.atoms.get(usize::from(index)) {
                    Some(atom) => Ok(AtomText::Ref(atom)),
                    None => fault(DecodeErrorKind::AtomRef { index, len: self.atoms.len() }),
                };
            }
            ATOM_UTF8_EXT => (usize::from(self.u16()?), false),
            SMALL_ATOM_EXT => (usize::from(self.u8()?), true),
            ATOM_EXT => (usize::from(self.u16()?), true),
            _ => return fault(DecodeErrorKind::Expected(tag, "an atom")),
        };
        let bytes = self.take(len)?;
        if latin1 {
            return if len > ATOM_CHARS_MAX {
                fault(DecodeErrorKind::AtomLength)
            } else {
                Ok(AtomText::Latin1(bytes))
            };
        }
        let Ok(text) = std::str::from_utf8(bytes) else { return fault(DecodeErrorKind::AtomText) };
        if len > ATOM_CHARS_MAX && text.chars().count() > ATOM_CHARS_MAX {
            return fault(DecodeErrorKind::AtomLength);
        }
        Ok(AtomText::Utf8(text))
    }

    fn old_creation(&mut self, at: usize) -> Result<u32, DecodeError> {
        match self.u8()? {
            creation @ 0..=OLD_CREATION_MAX => Ok(u32::from(creation)),
            _ => Err(DecodeError::new(DecodeErrorKind::Identifier, at)),
        }
    }

    fn pid_tagged(&mut self, tag: u8, at: usize) -> Result<Pid, DecodeError> {
        if tag != NEW_PID_EXT && tag != PID_EXT {
            return Err(DecodeError::new(DecodeErrorKind::Expected(tag, "a pid"), at));
        }
        let (node, id, serial) = (self.atom()?, self.u32()?, self.u32()?);
        let creation = if tag == NEW_PID_EXT { self.u32()? } else { self.old_creation(at)? };
        Ok(Pid { node, id, serial, creation })
    }

    fn port_tagged(&mut self, tag: u8, at: usize) -> Result<Port, DecodeError> {
        let node = self.atom()?;
        let id = if tag == V4_PORT_EXT { u64::from_be_bytes(self.array()?) } else { u64::from(self.u32()?) };
        let creation = if tag == PORT_EXT { self.old_creation(at)? } else { self.u32()? };
        Ok(Port { node, id, creation })
    }

    fn reference_tagged(&mut self, tag: u8, at: usize) -> Result<Reference, DecodeError> {
        let fault = |kind| DecodeError::new(kind, at);
        let len = if tag == REFERENCE_EXT { 1 } else { usize::from(self.u16()?) };
        if len > REFERENCE_WORDS_MAX {
            return Err(fault(DecodeErrorKind::ReferenceWords(len)));
        }
        let node = self.atom()?;
        let mut words = [0; REFERENCE_WORDS_MAX];
        let creation = match tag {
            NEWER_REFERENCE_EXT => self.u32()?,
            NEW_REFERENCE_EXT => self.old_creation(at)?,
            _ => 0,
        };
        for word in &mut words[..len] {
            *word = self.u32()?;
        }
        let creation = if tag == REFERENCE_EXT { self.old_creation(at)? } else { creation };
        if tag != NEWER_REFERENCE_EXT && words[0] >= OLD_REFERENCE_MAX {
            return Err(fault(DecodeErrorKind::Identifier));
        }
        Reference::new(node, creation, &words[..len])
            .ok_or_else(|| fault(DecodeErrorKind::ReferenceWords(len)))
    }

    /// An integer where only a small one may stand.
    #[inline]
    pub(crate) fn small_integer(&mut self) -> Result<i64, DecodeError> {
        let at = self.offset();
        let tag = self.u8()?;
        match tag {
            SMALL_INTEGER_EXT => Ok(i64::from(self.u8()?)),
            INTEGER_EXT => Ok(i64::from(self.u32()? as i32)),
            SMALL_BIG_EXT => {
                let len = usize::from(self.u8()?);
                match self.big(len)? {
                    Token::Integer(value) => Ok(value),
                    _ => Err(DecodeError::new(DecodeErrorKind::Identifier, at)),
                }
            }
            _ => Err(DecodeError::new(DecodeErrorKind::Expected(tag, "a small integer"), at)),
        }
    }

    fn arity(&mut self) -> Result<u8, DecodeError> {
        let at = self.offset();
        let arity = self.small_integer()?;
        u8::try_from(arity).map_err(|_| DecodeError::new(DecodeErrorKind::Arity(arity), at))
    }

    fn fun(&mut self, at: usize) -> Result<Token<'a>, DecodeError> {
        // OTP 23 sometimes writes too large a size, and nobody needs it.
        self.u32()?;
        let (arity, uniq, index, free) = (self.u8()?, self.array()?, self.u32()?, self.u32()? as usize);
        if free > FREE_VARIABLES_MAX {
            return Err(DecodeError::new(DecodeErrorKind::FreeVariables(free), at));
        }
        let (module, old_index, old_uniq) = (self.atom()?, self.small_integer()?, self.small_integer()?);
        let at = self.offset();
        let tag = self.u8()?;
        let pid = self.pid_tagged(tag, at)?;
        let free = self.count(free, 1)?;
        Ok(Token::Fun {
            head: Box::new(FunHead { arity, uniq, index, module, old_index, old_uniq, pid }),
            free,
        })
    }
}

enum AtomText<'a> {
    Ref(&'a Atom),
    Utf8(&'a str),
    Latin1(&'a [u8]),
}

/// The value of a magnitude (little-endian, without leading zeros), if it fits 64 bits.
fn small_from_magnitude(negative: bool, magnitude: &[u8]) -> Option<i64> {
    let mut bytes = [0; 8];
    bytes.get_mut(..magnitude.len())?.copy_from_slice(magnitude);
    let value = u64::from_le_bytes(bytes);
    if negative { 0_i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}
