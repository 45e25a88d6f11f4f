//! Erlang's terms as Rust values.

mod atom;
mod identifier;
mod serde;

pub use self::atom::{Atom, AtomError};
pub use self::identifier::{Pid, Port, Reference};

use bytes::Bytes;

/// Any Erlang term.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Term {
    /// An integer that fits 64 bits.
    Integer(i64),
    /// An atom.
    Atom(Atom),
    /// A pid.
    Pid(Pid),
    /// A reference.
    Reference(Reference),
    /// A binary.
    Binary(Bytes),
}
