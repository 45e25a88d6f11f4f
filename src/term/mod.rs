//! Erlang's terms as Rust values.

mod accessors;
mod atom;
mod atom_text;
mod bigint;
mod binary;
mod compare;
mod deep;
mod display;
mod fun;
mod identifier;
mod list;
mod map;
mod parse;
mod serde;
#[cfg(test)]
pub(crate) mod strategy;
#[cfg(test)]
mod tests;
mod text;
#[expect(unsafe_code, reason = "it says why")]
mod utf8;

pub use self::atom::{ATOM_CHARS_MAX, Atom, AtomError};
pub use self::bigint::BigInt;
pub use self::binary::Binary;
pub use self::fun::{Fun, FunHead, Record};
pub use self::identifier::{Pid, Port, REFERENCE_WORDS_MAX, Reference};
pub use self::list::{BitString, ImproperList, Terms};
pub use self::map::{IntoIter as MapIntoIter, Map};
pub use self::parse::{ParseError, ParseErrorKind};
pub use self::serde::Charlist;

pub(crate) use self::atom_text::text_hash;
pub(crate) use self::binary::INLINE_MAX;
pub(crate) use self::compare::bits_term;
pub(crate) use self::text::{is_printable, write_float, write_quoted};
pub(crate) use self::utf8::{text, words};

/// Any Erlang term.
///
/// Equality is Erlang's `=:=`: `1` and `1.0` differ, and so do `0.0` and `-0.0` (as from OTP 27 on). The order is
/// that of [`Term::erlang_cmp`], with terms that are only `==` told apart by their types.
///
/// Terms may nest to any depth: cloning, comparing, hashing, printing and dropping them do not recurse.
#[non_exhaustive]
pub enum Term {
    /// An integer that fits 64 bits.
    Integer(i64),
    /// A larger integer. What fits 64 bits becomes a [`Term::Integer`] when it is decoded, parsed or made by `From`.
    BigInt(BigInt),
    /// A float. Only finite ones have an external form.
    Float(f64),
    /// An atom.
    Atom(Atom),
    /// A pid.
    Pid(Pid),
    /// A port.
    Port(Box<Port>),
    /// A reference.
    Reference(Box<Reference>),
    /// A fun, internal or external.
    Fun(Box<Fun>),
    /// A binary. A long decoded one is a slice of the bytes that it came in, and keeps all of them alive.
    Binary(Binary),
    /// A string of bits whose number is not a multiple of eight.
    BitString(Box<BitString>),
    /// A proper list; `[]` is the one without elements.
    List(Terms),
    /// A list whose last tail is not a list: `[a | b]`.
    ImproperList(ImproperList),
    /// A tuple.
    Tuple(Terms),
    /// A map.
    Map(Map),
    /// A native record of OTP 29, kept so that it can be sent on.
    Record(Box<Record>),
}

const _: () = assert!(size_of::<Term>() <= 40);
