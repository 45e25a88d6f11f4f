//! Tests of beamline against live Erlang and Elixir nodes.
//!
//! [`Cluster::start`] finds the `erl` to test against and makes room for a cluster of its nodes, of `fixture-node`s and
//! of nodes in the test itself. [`puppet`] is a process that does what a script says, in Erlang and in Rust.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests against programs of this host"
)]

mod cluster;
mod erl;
mod fixture;
pub mod puppet;

pub use cluster::{COOKIE, Cluster, eventually, within};
pub use erl::{Erl, ErlNode, ErlNodeBuilder, StockEpmd, erl, skipped};
pub use fixture::{Fixture, fixture_command};

/// A TCP port that nothing listened on a moment ago.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports");
    listener.local_addr().expect("a bound socket has an address").port()
}
