//! Erlang's external term format.
//!
//! Source: *External Term Format* (`erl_ext_dist`) in the ERTS User's Guide.

mod error;
mod limits;
mod payload;
mod reader;
mod serde;
mod tags;
mod writer;

pub use self::error::{DecodeError, DecodeErrorKind, EncodeError};
pub use self::limits::Limits;
pub use self::payload::Payload;
pub use self::reader::{Reader, Token};
pub use self::serde::{deserialize, from_bytes, from_slice, from_term, serialize, to_term, to_vec};
pub use self::writer::{AtomRefs, Encoded, Writer};
