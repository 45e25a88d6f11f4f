//! The Erlang Port Mapper Daemon: where a node's name becomes a port.
//!
//! [`message`] and [`registry`] are pure; [`client`] and [`server`] connect them to a [`World`](crate::world::World).
//! A node calls [`Registered::start`], which registers it with the daemon in reach and, if none is, runs one.
//!
//! Source: *Distribution Protocol*, "EPMD Protocol" in the ERTS User's Guide; where that is silent, what
//! OTP 25's `epmd` was seen to do.

pub mod client;
mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod message;
pub mod registry;
pub mod server;

pub use self::client::{EpmdOptions, Registered, Status, names, port_please};
pub use self::error::EpmdError;
pub use self::message::{MessageError, Names, Registration, Request};
pub use self::server::{Server, ServerOptions};

/// The port of the daemon if nothing else is said.
pub const EPMD_PORT: u16 = 4369;
