//! The way to other nodes: what a node's processes need of its connections.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use super::Local;
use crate::dist::Control;
use crate::etf::{EncodeError, Writer};
use crate::term::{Atom, Pid};
use crate::world::BoxFuture;

/// Tells one connection of a node from every other, former ones to the same peer included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// Writes what a signal carries.
pub(crate) type Encode<'a> = &'a (dyn Fn(&mut Writer) -> Result<(), EncodeError> + 'a);

/// The way to other nodes.
pub(crate) trait Distribution: Send + Sync {
    /// Queues signals for `node`, one behind the other, connecting to it first if need be.
    ///
    /// With `interest`, the local process is told with [`Relation::NoConnection`] when the connection that the signals
    /// went over is lost, or could not be made.
    ///
    /// [`Write::Later`] leaves them queued for the next signal to the node to take along, or the next tick.
    ///
    /// # Errors
    /// If a value in a signal has no external form: that one and those behind it are not sent.
    fn send(
        &self,
        node: &Atom,
        sender: Option<&Pid>,
        interest: Option<&Pid>,
        signals: &[Control<Encode<'_>>],
        write: Write,
    ) -> Result<Sent, EncodeError>;

    /// A process that had relations over a connection has none any more.
    fn forget(&self, connection: ConnectionId, process: &Pid);

    /// Sends the process `{nodedown, Node}` when the connection to `node` is lost, once for each call; `on` false takes
    /// one call back.
    fn monitor_node(&self, node: &Atom, process: &Pid, on: bool);

    /// Sends the process `{nodeup, Node}` and `{nodedown, Node}` for all visible nodes from now on, or no longer.
    fn monitor_nodes(&self, process: &Pid, on: bool);

    /// The process has ended: forgets its `monitor_node` and `monitor_nodes`.
    fn process_ended(&self, process: &Pid);

    /// How many connections there are, and how many bytes all there ever were have read and written.
    fn traffic(&self) -> Traffic;

    /// The visible nodes that this one is connected to.
    fn nodes(&self) -> Vec<Atom>;

    /// Connects to a node, if it is not connected; says whether it is then.
    fn connect(&self, node: Atom) -> BoxFuture<'static, bool>;

    /// Closes the connection to a node, if there is one.
    fn disconnect(&self, node: &Atom);

    /// Whether the node is about to stop, and closes all its connections.
    fn is_stopping(&self) -> bool;

    /// The way over the connection to `node`, if one stands.
    fn link(&self, node: &Atom) -> Option<Arc<dyn Link>>;

    /// The connection to `node`, if one stands.
    fn connection_to(&self, node: &Atom) -> Option<ConnectionId>;

    /// As [`Distribution::send`], over this connection or not at all.
    ///
    /// # Errors
    /// If a value in the signal has no external form.
    fn send_over(
        &self,
        connection: ConnectionId,
        sender: &Pid,
        control: &Control<Encode<'_>>,
    ) -> Result<Sent, EncodeError>;
}

/// The way over one connection, for as long as it stands.
pub(crate) trait Link: Send + Sync {
    fn id(&self) -> ConnectionId;

    /// As [`Distribution::send`], of the node `local`, over this connection or not at all.
    ///
    /// # Errors
    /// If a value in the signal has no external form.
    fn send(
        &self,
        local: &Local,
        sender: &Pid,
        control: &Control<Encode<'_>>,
        write: Write,
    ) -> Result<Sent, EncodeError>;
}

/// What a node's connections have done.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Traffic {
    pub(crate) connections: usize,
    pub(crate) read: u64,
    pub(crate) written: u64,
}

/// When a signal is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    Now,
    /// At once, unless its sender sent another one to any node just before: a message that nobody waits for an answer to.
    Soon,
    /// It goes with the next one: what a call sends besides its request is not worth a write of its own.
    Later,
}

/// Where a signal went.
pub(crate) enum Sent {
    /// It is queued.
    Queued { connection: ConnectionId, busy: Option<Arc<Busy>> },
    /// There is no connection, and none may be made.
    NoConnection,
}

/// What became of a message, as far as this node knows.
pub(crate) enum Delivery {
    Done,
    /// There is no such process on this node.
    NoProc,
    /// As many messages wait for it as may.
    Full,
    /// It is queued for a connection that has too much queued: the sender must wait before it goes on.
    Busy(Arc<Busy>),
}

/// A connection with more queued than its limit: senders suspend until it has drained.
#[derive(Default)]
pub(crate) struct Busy {
    busy: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Busy {
    pub(crate) fn set(&self) {
        self.busy.store(true, Ordering::Release);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    pub(crate) fn clear(&self) {
        if self.busy.swap(false, Ordering::AcqRel) {
            let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            for waker in waiting {
                waker.wake();
            }
        }
    }

    /// Whether the caller may go on; if not, it is woken when it may.
    pub(crate) fn poll(&self, waker: &Waker) -> bool {
        if !self.is_set() {
            return true;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Checked again under the lock, so that no `clear` falls between.
        if !self.is_set() {
            return true;
        }
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
        false
    }
}
