//! beamline: a production actor library that speaks Erlang's distribution natively.
//!
//! A program that embeds it is a node of an Erlang, Elixir or beamline cluster.

// The derive macros name the library as its users do.
extern crate self as beamline;

pub use beamline_macros::Protocol;

pub mod dist;
pub mod epmd;
pub mod etf;
#[doc(hidden)]
pub mod fuzzing;
pub mod gen_server;
pub mod node;
pub mod process;
pub mod term;
pub mod world;

/// What most programs use: `use beamline::prelude::*`.
pub mod prelude {
    pub use crate::Protocol;
    pub use crate::gen_server::{Context, GenServer, Reply, ReplyTo};
    pub use crate::node::Node;
    pub use crate::process::{CallError, ExitReason};
    pub use crate::term::{Atom, Pid, Reference, Term};
}

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
