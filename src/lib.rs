//! beamline: a production actor library that speaks Erlang's distribution natively.
//!
//! A program that embeds it *is* a node of an Erlang, Elixir or beamline cluster: it registers with EPMD or runs its own, shakes hands,
//! and hosts processes that any node can call, link to and monitor.
//!
//! ```no_run
//! use beamline::prelude::*;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::builder("shop@127.0.0.1").cookie("secret").start().await?;
//! let reply: Term = node.call(("counter", "app@127.0.0.1"), Atom::from("get")).await?;
//! println!("{reply}");
//! # Ok(())
//! # }
//! ```
//!
//! | module | what it has |
//! |---|---|
//! | [`node`] | [`Node`](node::Node): starting, connecting, and requests from outside any process |
//! | [`gen_server`] | servers: a state and what it does with calls, casts and messages |
//! | [`gen_statem`] | state machines: a state, and what each does with events |
//! | [`supervisor`] | processes that start others, and start them again when they end |
//! | [`application`] | trees of processes that are started and stopped by name, in the order of their dependencies |
//! | [`sys`] | looking into a running server, and suspending it |
//! | [`gen_event`] | event managers: handlers that come and go, and are told what happens |
//! | [`global`] | names and locks that hold on all nodes of a cluster |
//! | [`pg`] | named groups of processes, known on all nodes of a cluster |
//! | `cron` | schedules in cron's syntax, with time zones (the cargo feature `cron`) |
//! | [`io`] | printing to devices of any node, and `io_lib:format` |
//! | [`rpc`] | calling functions of other nodes, and exporting some to them |
//! | [`observer`] | what Erlang's tools ask a node whose inside they show |
//! | `logger` | what this program logs, as events of Erlang's loggers (the cargo feature `logger`) |
//! | [`process`] | bare processes, exit reasons, where messages go, what can go wrong with them |
//! | [`term`] | Erlang's terms: values, order, syntax |
//! | [`etf`] | their external form, limits, and [the mapping](etf#rust-types-as-terms) to Rust types |
//! | [`dist`], [`epmd`] | the protocols alone, as state machines without sockets or clocks |
//! | [`testing`] | a node for tests: virtual time, no sockets, and processes that the test itself holds |
//! | `tls` | distribution over TLS (the cargo feature `tls`) |
//! | [`world`] | what a node needs of the outside; a simulation has one of its own |

// The derive macros name the library as its users do.
extern crate self as beamline;
// All of the library places functions.
#[macro_use(hot)]
extern crate beamline_macros;

pub use beamline_macros::{Protocol, sim};

pub mod application;
#[cfg(feature = "cron")]
pub mod cron;
pub mod dist;
pub mod epmd;
pub mod etf;
#[doc(hidden)]
pub mod fuzzing;
pub mod gen_event;
pub mod gen_server;
pub mod gen_statem;
pub mod global;
pub mod io;
#[cfg(feature = "logger")]
pub mod logger;
pub mod node;
pub mod observer;
pub mod pg;
pub mod process;
pub mod rpc;
pub mod supervisor;
pub mod sys;
pub mod term;
pub mod testing;
#[cfg(feature = "tls")]
pub mod tls;
pub mod world;

/// What most programs use: `use beamline::prelude::*`.
pub mod prelude {
    pub use crate::Protocol;
    pub use crate::gen_server::{Context, GenServer, Reply, ReplyTo, Server};
    pub use crate::node::Node;
    pub use crate::process::{CallError, ExitReason};
    pub use crate::term::{Atom, Pid, Reference, Term};
}

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
