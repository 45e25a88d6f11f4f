//! Tests without a cluster, without sockets, and without sleeps.
//!
//! A [`TestNode`] is a [`Node`](crate::node::Node) on virtual time: an hour passes as soon as nothing else is left to do. Its network is
//! in memory, and all that is left to chance comes from a seed, so that a test that fails once fails again. A [`Probe`] is a process that
//! the test holds.
//!
//! | to | use |
//! |---|---|
//! | let time pass, exactly | [`TestNode::advance`] |
//! | wait until nothing is left to do, now | [`TestNode::settle`] |
//! | say what a process is to receive | [`Probe::expect`], [`expect_where`](Probe::expect_where), [`expect_none`](Probe::expect_none), [`expect_among`](Probe::expect_among) |
//! | see how a process ends | [`Probe::monitor`] and [`expect_down`](Probe::expect_down); [`link`](Probe::link) and [`expect_exit`](Probe::expect_exit) |
//! | stand in for a server | [`Probe::register`], [`expect_call`](Probe::expect_call), [`expect_cast`](Probe::expect_cast) |
//! | see a supervisor at work | [`TestNode::kill`], [`expect_restart`](TestNode::expect_restart), [`expect_registered`](TestNode::expect_registered) |
//! | see what happened | [`TestNode::trace`] |
//! | see what was [printed](crate::io) | [`TestNode::printed`] |
//! | find what was left behind | [`TestNode::assert_clean`] |
//! | have several nodes | [`TestNode::cluster`] |
//!
//! Time is tokio's own, paused, so that `tokio::time` in a server under test is virtual too. That needs a test on one thread and tokio's
//! feature `test-util`, for tests only:
//!
//! ```toml
//! [dev-dependencies]
//! tokio = { version = "1", features = ["macros", "rt", "test-util"] }
//! ```
//!
//! ```
//! use std::time::Duration;
//! use beamline::prelude::*;
//! use beamline::testing::TestNode;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! # a_reminder_comes_an_hour_later().await;
//! # }
//! // #[tokio::test(start_paused = true)]
//! async fn a_reminder_comes_an_hour_later() {
//!     const HOUR: Duration = Duration::from_secs(3600);
//!     let node = TestNode::new(7).await;
//!     let mut probe = node.probe();
//!     let to = probe.pid().clone();
//!     let reminder = node.spawn(|cx| async move {
//!         cx.world().sleep(HOUR).await;
//!         let _ = cx.send(&to, ("lunch", 12));
//!         ExitReason::Normal
//!     });
//!     let reminder = reminder.unwrap();
//!     probe.monitor(&reminder);
//!     probe.expect_none(HOUR - Duration::from_millis(1)).await;
//!     let (what, when): (String, i64) = probe.expect(Duration::from_millis(1)).await;
//!     assert_eq!((what.as_str(), when), ("lunch", 12));
//!     assert_eq!(probe.expect_down(&reminder, Duration::ZERO).await, ExitReason::Normal);
//!     node.assert_clean().await;
//! }
//! ```
//!
//! What a test starts beside the node's own processes, with `tokio::spawn`, threads or real sockets, is outside of all this: the node
//! does not wait for it, and its order is the system's.

mod disk;
mod network;
mod node;
mod probe;
mod trace;
mod world;

pub use self::disk::{MemoryDisk, Torn};
pub use self::node::TestNode;
pub use self::probe::{Probe, ProbeReply, Watched};

#[cfg(test)]
mod tests;
