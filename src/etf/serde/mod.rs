//! The mapping between Rust types and terms, straight to and from bytes.

use bytes::Bytes;
use serde::de::{Deserialize, DeserializeOwned};
use serde::ser::Serialize;

use super::{DecodeError, EncodeError, Reader, Writer};
use crate::term::Term;

/// Writes a value as one term, without a version byte.
///
/// # Errors
/// If the value has no external form; the error names the place in it. What was written until then is of no use.
pub fn serialize<T: Serialize + ?Sized>(value: &T, writer: &mut Writer) -> Result<(), EncodeError> {
    let _ = (value, writer);
    todo!()
}

/// Reads one term, without a version byte, into its type.
///
/// # Errors
/// If the bytes are not a term, or the term is not of that type; the error names the place.
pub fn deserialize<'de, T: Deserialize<'de>>(reader: &mut Reader<'de>) -> Result<T, DecodeError> {
    let _ = reader;
    todo!()
}

/// A value as Erlang's `term_to_binary` writes it: with a version byte, atoms spelled out.
///
/// # Errors
/// As [`serialize`].
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let _ = value;
    todo!()
}

/// What `term_to_binary` wrote, with its version byte. Strings and byte slices may borrow from the input.
///
/// # Errors
/// As [`deserialize`].
pub fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, DecodeError> {
    let _ = bytes;
    todo!()
}

/// As [`from_slice`], and binaries of type [`Term`] are slices of the input instead of copies.
///
/// # Errors
/// As [`deserialize`].
pub fn from_bytes<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, DecodeError> {
    let _ = bytes;
    todo!()
}

/// A value as a term.
///
/// # Errors
/// As [`serialize`].
pub fn to_term<T: Serialize + ?Sized>(value: &T) -> Result<Term, EncodeError> {
    let _ = value;
    todo!()
}

/// A term as a value of a type.
///
/// # Errors
/// As [`deserialize`].
pub fn from_term<T: DeserializeOwned>(term: &Term) -> Result<T, DecodeError> {
    let _ = term;
    todo!()
}
