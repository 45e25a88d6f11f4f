//! The simulated world of beamline: whole nodes, on simulated hosts, in one thread, from one seed.
//!
//! A [`Sim`] gives each node a [`World`](beamline::world::World) whose network, clocks and randomness come from
//! the seed. The same seed gives the same [`Trace`], in every process, on stable Rust.
//!
//! What goes wrong is data: a [`Schedule`] of [`Fault`]s, which a [`Swarm`] draws from the seed, or which is given. [`run`] goes through the phases
//! of a run: chaos, as the schedule says; then all is healed; then calm, in which the programs of nodes and clients must return; then each
//! [`Checker`](check::Checker) says whether what it looks for holds. A panic, a program that returns an error, or one that does not return
//! is a violation, too.
//!
//! ```
//! use std::time::Duration;
//! use beamline_sim::{Outcome, Sim, Swarm, run};
//!
//! fn setup(sim: &mut Sim) {
//!     sim.service("server", |world| async move {
//!         let mut listener = world.net.listen("0.0.0.0", 80).await?;
//!         loop {
//!             drop(listener.accept().await?);
//!         }
//!     });
//!     sim.client("client", |world| async move {
//!         // Whatever happens to the server and to the wire, once all is healed it answers.
//!         world.sleep(Duration::from_secs(2)).await;
//!         while world.net.connect("server", 80).await.is_err() {}
//!         Ok(())
//!     });
//!     sim.swarm(Swarm::new().chaos(Duration::from_secs(2)).calm(Duration::from_secs(40)));
//! }
//!
//! for seed in 0..5 {
//!     let run = run("doors", setup, seed, None);
//!     assert_eq!(run.outcome, Outcome::Passed, "seed {seed}: {:?}", run.schedule);
//! }
//! ```
//!
//! A simulation can be driven by hand as well, to see what one fault does:
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
