//! What several test programs need.
#![allow(dead_code, reason = "each program uses what it needs")]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the system knows which ports are free"
)]

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// A port that nothing listens on.
///
/// It lies below those that the system gives to sockets which ask for any, so that no other socket of the test takes it
/// meanwhile, and each test program has a range of its own.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let range = 10_000 + (std::process::id() % 200) as u16 * 100;
    loop {
        let port = range + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until `is_it` holds.
pub(crate) async fn eventually(is_it: impl Fn() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !is_it() {
        assert!(std::time::Instant::now() < end, "not within 30 s");
        tokio::task::yield_now().await;
    }
}
