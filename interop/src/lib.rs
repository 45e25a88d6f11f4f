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

use std::sync::atomic::{AtomicU16, Ordering};

pub use cluster::{COOKIE, Cluster, eventually, eventually_of, within};
pub use erl::{Erl, ErlNode, ErlNodeBuilder, StockEpmd, erl, shared_dir, skipped};
pub use fixture::{Fixture, fixture_command};

/// A port that nothing listens on.
///
/// It lies below those that the system gives to sockets which ask for any, so that no other socket of the test takes it
/// meanwhile, and each test program has a range of its own.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let range = 10_000 + (std::process::id() % 200) as u16 * 100;
    loop {
        let port = range + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
