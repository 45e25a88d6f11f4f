//! A pull parser: one token at a time, no recursion, no allocation from a length that the input claims.

use super::{DecodeError, Limits};
use crate::term::{Atom, Pid, Port, Reference};

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
    /// A list of small integers in its short form (STRING_EXT): it has no element tokens and no tail.
    String(&'a [u8]),
    /// The empty list.
    Nil,
    /// A list of so many elements, which follow, and then its tail.
    List(usize),
    /// A tuple of so many elements, which follow.
    Tuple(usize),
    /// A map of so many pairs; key, value, key, value follow.
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
        /// The arity.
        arity: u8,
        /// The module's MD5.
        uniq: [u8; 16],
        /// Index in the module's fun table.
        index: u32,
        /// The module.
        module: Atom,
        /// Old-style index.
        old_index: i64,
        /// Old-style hash.
        old_uniq: i64,
        /// Its creator.
        pid: Pid,
        /// How many free variables follow.
        free: usize,
    },
}

/// Reads tokens from bytes.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    input: &'a [u8],
    offset: usize,
    atoms: &'a [Atom],
}

impl<'a> Reader<'a> {
    /// Reads terms without a version byte from `input`; `atoms` are those of the distribution header, if there was one.
    pub fn new(input: &'a [u8], atoms: &'a [Atom]) -> Self {
        Self { input, offset: 0, atoms }
    }

    /// The offset of the next token from the start of the input.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The next token.
    ///
    /// # Errors
    /// If the bytes there are not a term.
    pub fn next_token(&mut self) -> Result<Token<'a>, DecodeError> {
        let _ = (self.input, self.atoms);
        todo!()
    }

    /// Skips one whole term, checking all of it against `limits`, without recursion.
    ///
    /// # Errors
    /// If the bytes there are not a term.
    pub fn skip(&mut self, limits: &Limits) -> Result<(), DecodeError> {
        let _ = limits;
        todo!()
    }
}
