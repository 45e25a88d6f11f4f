//! OTP's `pg`: named groups of processes, known on all nodes of a cluster.
//!
//! A scope is a [`gen_server`](crate::gen_server) of the type [`Scope`], registered under the scope's name, which is `pg` unless
//! an application has one of its own. Scopes of the same name on connected nodes, Erlang's or of this library, find each other
//! and tell each other of their members. Nothing is started by itself:
//!
//! ```
//! # use beamline::{gen_server::{GenServer, StartError}, node::Node, pg::{Limits, Scope}};
//! # async fn example(node: &Node) -> Result<(), StartError> {
//! Scope::start(node, Limits::default()).name("pg").await?;
//! # Ok(())
//! # }
//! ```
//!
//! or under a supervisor, with `ChildSpec::worker::<Scope>("pg", Limits::default()).name("pg")`. [`Node::pg`](crate::node::Node::pg)
//! then has OTP's functions:
//!
//! | function | what it does |
//! |---|---|
//! | [`join`](ScopeRef::join), [`leave`](ScopeRef::leave) | has processes of this node join or leave a group; there is a group as long as it has members |
//! | [`get_members`](ScopeRef::get_members), [`get_local_members`](ScopeRef::get_local_members) | who is in a group |
//! | [`which_groups`](ScopeRef::which_groups), [`which_local_groups`](ScopeRef::which_local_groups) | which groups there are |
//! | [`monitor`](ScopeRef::monitor), [`monitor_scope`](ScopeRef::monitor_scope), [`demonitor`](ScopeRef::demonitor) | has a process told of changes, as [`GroupEvent`]s |
//!
//! Membership is known eventually, not at once: a join is known on the own node when it returns, and elsewhere when the other
//! node's scope has heard of it. A process that ends leaves all its groups; those of a node that is lost leave until it is back.
//! A process may join a group several times and is then a member as often. Reading asks nobody: it looks at a table.
//!
//! [`phoenix`] has what Elixir's `Phoenix.PubSub` makes of it.
//!
//! Source: `pg` in kernel.

mod client;
mod core;
mod message;
pub mod phoenix;
mod server;
mod table;

pub use self::client::{ScopeError, ScopeRef};
pub use self::message::{Action, GroupEvent};
pub use self::server::{Limits, Scope};

#[cfg(test)]
mod tests;
