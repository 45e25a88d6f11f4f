//! Tests of beamline against live Erlang and Elixir nodes.
//!
//! [`erl`] finds the `erl` to test against and [`Erl::node`] starts a node of it, in which a test evaluates
//! Erlang expressions.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests against programs of this host"
)]

mod erl;

pub use erl::{Erl, ErlNode, ErlNodeBuilder, StockEpmd, erl};

/// A TCP port that nothing listened on a moment ago.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports");
    listener.local_addr().expect("a bound socket has an address").port()
}
