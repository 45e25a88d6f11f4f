//! OTP's `global`: names that hold on all nodes of a cluster, and locks.
//!
//! A node takes no part in it unless it is started with [`Builder::global`](crate::node::Builder::global): then it is visible, but shares no names, and
//! nothing on Erlang's side waits for it. One that takes part has all names of its cluster, and is connected to all of its nodes.
//!
//! ```no_run
//! # use beamline::{global::{self, GlobalError}, node::Node, term::{Atom, Pid}};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::builder("shop@127.0.0.1").cookie("secret").global(global::Options::default()).start().await?;
//! node.connect("app@127.0.0.1").await?;
//! node.global().sync().await?;
//! println!("{:?}", node.global().registered_names());
//! # Ok(())
//! # }
//! ```
//!
//! | function | what it does |
//! |---|---|
//! | [`register_name`](Global::register_name), [`re_register_name`](Global::re_register_name), [`unregister_name`](Global::unregister_name) | gives a name to a process of any node, or takes it away |
//! | [`whereis_name`](Global::whereis_name), [`registered_names`](Global::registered_names), [`send`](Global::send) | who has a name |
//! | [`sync`](Global::sync) | waits until this node has all names |
//! | [`set_lock`](Locks::set_lock), [`del_lock`](Locks::del_lock), [`trans`](Locks::trans) | locks, of a process, on all nodes or some |
//!
//! To register takes a lock on all nodes of the cluster, and so the answer of each of them. A name that two partitions have when they
//! join is decided by a [`Resolve`].
//!
//! **Overlapping partitions are prevented** unless an option says otherwise, as from OTP 25 on: when a node loses its connection to another, those
//! that hear of it disconnect from that one too, so that a cluster falls into parts that do not overlap. Nodes that take part must reach
//! each other, all of them; a client that does not is better [hidden](crate::node::Builder::hidden), or takes no part.
//!
//! Source: *global* and `global.erl` in kernel.

mod client;
mod core;
mod export;
mod locker;
mod locks;
mod message;
mod names;
mod registrar;
mod resolve;
mod server;
mod table;
#[cfg(test)]
mod tests;

pub use self::client::{Global, GlobalError};
pub use self::export::functions;
pub use self::locks::Locks;
pub use self::resolve::Resolve;
pub(crate) use self::server::start;
pub use self::table::LockId;

use self::table::Table;
use crate::process::Local;
use crate::term::{Atom, Pid, Term};

/// How a node takes part in `global`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Kernel's parameter of this name: whether the node disconnects from nodes to which others have lost the connection, and has others
    /// do so. It is to be the same on all nodes. On by default.
    pub prevent_overlapping_partitions: bool,
    /// How many bytes the names and locks may take: their external form, and 256 for each. Further names are not taken in, which is logged;
    /// further locks are refused. By default 64 MiB.
    pub table_len: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { prevent_overlapping_partitions: true, table_len: 64 << 20 }
    }
}

impl Options {
    /// Sets [`prevent_overlapping_partitions`](Self::prevent_overlapping_partitions).
    #[must_use]
    pub fn prevent_overlapping_partitions(mut self, prevent: bool) -> Self {
        self.prevent_overlapping_partitions = prevent;
        self
    }

    /// Sets [`table_len`](Self::table_len).
    #[must_use]
    pub fn table_len(mut self, len: usize) -> Self {
        self.table_len = len;
        self
    }
}

const NAME: Atom = Atom::from_static("global_name_server");

/// What `global` itself locks when names change.
fn global_resource() -> Term {
    Term::atom("global")
}

/// A process of this node that has ended has no name any more, even if the name server does not know it yet.
fn whereis(local: &Local, table: &Table, name: &Term) -> Option<Pid> {
    let pid = table.read().names.get(name)?.pid.clone();
    (!local.is_local(&pid.node) || local.process(&pid).is_some()).then_some(pid)
}
