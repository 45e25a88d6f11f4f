//! Erlang distribution: handshake, channel and control messages as pure state machines.
//!
//! Bytes and facts go in, bytes and facts come out; nothing here waits, reads a clock or draws a random number.
//! Source: *Distribution Protocol* (`erl_dist_protocol`) in the ERTS User's Guide.

mod atom_cache;
pub mod channel;
mod control;
mod flags;
mod fragment;
pub(crate) mod fuzzing;
pub mod handshake;
mod tick;

pub use self::atom_cache::HeaderError;
pub use self::control::{Control, ControlError, Item, SpawnRequest, Target};
pub use self::flags::{Flags, MissingFlags};
pub use self::fragment::FragmentError;
pub use self::tick::{Tick, Ticker};

/// Begins a packet, or a term that no distribution header stands in front of.
const VERSION_MAGIC: u8 = 131;
