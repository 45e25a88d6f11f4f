//! Erlang's external term format.
//!
//! Source: *External Term Format* (`erl_ext_dist`) in the ERTS User's Guide.
//!
#![doc = include_str!("serde/mapping.md")]

mod decode;
mod encode;
mod error;
#[cfg(test)]
mod golden;
mod limits;
mod payload;
mod reader;
mod serde;
mod tags;
#[cfg(test)]
mod tests;
mod writer;

pub use self::decode::decode;
pub use self::encode::{to_bytes, to_bytes_compressed};
pub use self::error::{DecodeError, DecodeErrorKind, EncodeError, Mismatch, f64Bits};
pub use self::limits::Limits;
pub(crate) use self::payload::Atoms;
pub use self::payload::Payload;
pub use self::reader::{Reader, Token};
pub(crate) use self::serde::{ATOM, NATIVE, take_term, with_writer};
pub use self::serde::{deserialize, from_bytes, from_slice, from_term, serialize, to_term, to_vec};
pub(crate) use self::tags::{
    ATOM_CACHE_REF, NEW_PID_EXT, NEWER_REFERENCE_EXT, SMALL_INTEGER_EXT, SMALL_TUPLE_EXT, VERSION_MAGIC,
};
pub use self::writer::{AtomRefs, Encoded, FunMark, Writer};
pub(crate) use self::writer::{Checkpoint, ListId};
