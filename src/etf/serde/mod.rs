//! The mapping between Rust types and terms that `mapping.md` tells of: through serde, straight to and from bytes.

mod baton;
mod de;
mod describe;
mod fault;
mod path;
mod ser;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::de::{Deserialize, DeserializeOwned};
use serde::ser::Serialize;

use self::de::Deserializer;
use self::fault::Fault;
use self::ser::Serializer;
use super::tags::{COMPRESSED, VERSION_MAGIC};
use super::{DecodeError, DecodeErrorKind, EncodeError, Limits, Reader, Writer};
use crate::term::Term;

pub(crate) use self::baton::{ATOM, NATIVE, take_term, with_writer};

/// Writes a value as one term, without a version byte.
///
/// # Errors
/// If the value has no external form; the error names the place in it. What was written until then is of no use.
pub fn serialize<T: Serialize + ?Sized>(value: &T, writer: &mut Writer) -> Result<(), EncodeError> {
    value.serialize(Serializer::new(writer))
}

/// Reads one term, without a version byte, into its type.
///
/// # Errors
/// If the bytes are not a term, or the term is not of that type; the error names the place.
pub fn deserialize<'de, T: Deserialize<'de>>(reader: &mut Reader<'de>) -> Result<T, DecodeError> {
    read(reader, Source::Unchecked(None))
}

/// As [`deserialize`], for what is known of the source.
pub(super) fn read<'de, T: Deserialize<'de>>(
    reader: &mut Reader<'de>,
    source: Source<'de>,
) -> Result<T, DecodeError> {
    let mut deserializer = Deserializer::new(reader.clone(), source);
    let value = T::deserialize(&mut deserializer)?;
    *reader = deserializer.into_reader();
    Ok(value)
}

/// What is known of the bytes that a reader reads.
#[derive(Clone, Copy)]
pub(super) enum Source<'de> {
    /// [`Reader::skip`] has seen them. Binaries may be slices of them if they are shared.
    Checked(Option<&'de Bytes>),
    /// Nobody has checked them. As above.
    Unchecked(Option<&'de Bytes>),
}

/// A value as Erlang's `term_to_binary` writes it: with a version byte, atoms spelled out.
///
/// ```
/// let bytes = beamline::etf::to_vec(&("a", 1_u8, [true; 0])).unwrap();
/// assert_eq!(bytes, [131, 104, 3, 109, 0, 0, 0, 1, b'a', 97, 1, 104, 0]);
/// ```
///
/// # Errors
/// As [`serialize`].
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    written(value).map(Writer::into_vec)
}

/// The version byte and the value.
fn written<T: Serialize + ?Sized>(value: &T) -> Result<Writer, EncodeError> {
    let mut writer = Writer::new();
    writer.raw(&[VERSION_MAGIC]);
    serialize(value, &mut writer)?;
    Ok(writer)
}

/// What `term_to_binary` wrote, with its version byte. Strings and byte slices may borrow from the input. Bytes
/// after the term are not looked at, and a compressed term is refused: [`from_bytes`] reads one.
///
/// ```
/// let name: &str = beamline::etf::from_slice(&[131, 109, 0, 0, 0, 2, b'j', b'o']).unwrap();
/// assert_eq!(name, "jo");
/// ```
///
/// # Errors
/// As [`deserialize`].
pub fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, DecodeError> {
    whole(bytes, Source::Unchecked(None))
}

fn whole<'de, T: Deserialize<'de>>(bytes: &'de [u8], source: Source<'de>) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes, &[]);
    match reader.u8()? {
        VERSION_MAGIC => read(&mut reader, source),
        other => Err(DecodeError::new(DecodeErrorKind::Version(other), 0)),
    }
}

/// As [`from_slice`], but binaries of type [`Term`] and [`Binary`](crate::term::Binary) are slices of the input
/// instead of copies, and the term may be compressed.
///
/// # Errors
/// As [`deserialize`].
pub fn from_bytes<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, DecodeError> {
    if bytes.get(1) == Some(&COMPRESSED) {
        let (term, _) = super::decode(bytes, &Limits::default())?;
        return from_term(&term);
    }
    whole(bytes, Source::Unchecked(Some(bytes)))
}

/// A value as a term.
///
/// # Errors
/// As [`serialize`].
pub fn to_term<T: Serialize + ?Sized>(value: &T) -> Result<Term, EncodeError> {
    let bytes = written(value)?.into_bytes();
    let term = super::decode(&bytes, &Limits::default());
    // It is past a limit, or a map has two equal keys.
    term.map(|(term, _)| term).map_err(|error| EncodeError::Refused(error.to_string()))
}

/// A term as a value of a type. Offsets in errors are those in its external form.
///
/// # Errors
/// As [`deserialize`]; a term that has no external form is not of any type.
pub fn from_term<T: DeserializeOwned>(term: &Term) -> Result<T, DecodeError> {
    let bytes = super::to_bytes(term).map_err(|error| Fault::unencodable(&error))?;
    whole(&bytes, Source::Unchecked(Some(&bytes)))
}
