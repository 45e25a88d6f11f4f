//! The simulated world of beamline: whole nodes, on simulated hosts, in one thread, from one seed.
//!
//! A [`Sim`] gives each node a [`World`](beamline::world::World) whose network, clocks and randomness come from
//! the seed. The same seed gives the same [`Trace`], in every process, on stable Rust.
//!
//! ```
//! use std::time::Duration;
//!
//! let mut sim = beamline_sim::Sim::new(7);
//! sim.service("server", |world| async move {
//!     let mut listener = world.net.listen("0.0.0.0", 80).await?;
//!     loop {
//!         drop(listener.accept().await?);
//!     }
//! });
//! sim.node("client", |world| async move {
//!     world.sleep(Duration::from_secs(1)).await;
//!     world.net.connect("server", 80).await?;
//!     world.event("", "hello", &"there");
//!     Ok(())
//! });
//! let trace = sim.run().unwrap();
//! assert!(trace.events().iter().any(|event| event.to_string().ends_with("client#1 hello there")));
//! ```
//!
//! As a test it is run by many seeds, and the first that does not pass is shrunk, reported and drawn: see [`Test`].
//!
//! ```
//! #[beamline::sim(seeds = 0..200)]
//! fn every_node_comes_up(sim: &mut beamline_sim::Sim) {
//!     for host in ["one", "two", "three"] {
//!         sim.node(host, move |world| async move {
//!             let name = format!("app@{host}");
//!             let node = beamline::node::Node::builder(name).cookie("secret").world(world).start().await?;
//!             node.stop().await;
//!             Ok(())
//!         });
//!     }
//! }
//! ```

pub mod check;
mod clock;
mod entropy;
mod fault;
pub mod harness;
mod network;
pub mod report;
mod run;
pub mod scenario;
pub mod shrink;
mod sim;
mod swarm;
mod timeline;
mod trace;

pub use self::fault::{Fault, Schedule, Timed};
pub use self::harness::{Test, test};
pub use self::network::{SYN_PATIENCE, TCP_PATIENCE, WINDOW};
pub use self::run::{Outcome, Run, run};
pub use self::sim::{Body, EPOCH, Failure, Sim};
pub use self::swarm::{Kind, Swarm};
pub use self::timeline::timeline;
pub use self::trace::{Difference, Event, Trace};
