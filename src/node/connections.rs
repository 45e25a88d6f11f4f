//! The table of connections: one for each peer, from the first attempt until it is lost.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasherDefault;
use std::hint::cold_path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::connection::{Connection, Pushed};
use super::pending::{Attempt, Incoming};
use super::{ConnectError, DisconnectReason, Inner};
use crate::dist::channel::OutgoingError;
use crate::dist::handshake::{Simultaneous, simultaneous};
use crate::dist::{Control, handshake};
use crate::etf::{EncodeError, Payload, Writer};
use crate::process::{
    ConnectionId, Distribution, Encode, Link, Local, NodeEvent, Relation, Sent, Spares, SpawnReply,
    TextHasher, Traffic, Way, Write,
};
use crate::term::{Atom, Pid};
use crate::world::BoxFuture;

/// What is known of a peer.
pub(super) enum Peer {
    /// An attempt is under way, ours or the peer's.
    Pending(Arc<Attempt>),
    /// A connection stands.
    Up(Arc<Connection>),
}

pub(super) type Peers = HashMap<Atom, Peer, BuildHasherDefault<TextHasher>>;

#[derive(Default)]
pub(super) struct NodeMonitors {
    /// `monitor_node/2`: how often each process asked.
    nodes: BTreeMap<Atom, BTreeMap<Pid, usize>>,
    /// `net_kernel:monitor_nodes/1`.
    all: BTreeSet<Pid>,
}

impl Inner {
    fn peers(&self) -> RwLockReadGuard<'_, Peers> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn peers_mut(&self) -> RwLockWriteGuard<'_, Peers> {
        self.peers.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn up(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Arc<Connection>>> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn node_monitors(&self) -> MutexGuard<'_, NodeMonitors> {
        self.node_monitors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_id(&self) -> ConnectionId {
        ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed))
    }

    /// The connection to a peer, if one stands.
    #[hot(relations)]
    pub(super) fn connection(&self, peer: &Atom) -> Option<Arc<Connection>> {
        match self.peers().get(peer) {
            Some(Peer::Up(connection)) => Some(connection.clone()),
            Some(Peer::Pending(_)) | None => None,
        }
    }

    /// All connections that stand, by the peer's name.
    #[expect(clippy::disallowed_methods, reason = "they are put in order")]
    pub(super) fn connections(&self) -> Vec<Arc<Connection>> {
        let up = |peer: &Peer| match peer {
            Peer::Up(connection) => Some(connection.clone()),
            Peer::Pending(_) => None,
        };
        let mut all: Vec<_> = self.peers().values().filter_map(up).collect();
        all.sort_unstable_by(|a, b| a.peer.cmp(&b.peer));
        all
    }

    /// Connects to a peer, or waits for the attempt that is under way.
    pub(super) async fn connect(self: &Arc<Self>, peer: &Atom) -> Result<(), ConnectError> {
        let (waiter, outcome) = oneshot::channel();
        match self.find_or_dial(peer) {
            None => return Err(ConnectError::NotAllowed(peer.clone())),
            Some(Found::Up(_)) => return Ok(()),
            Some(Found::Pending(attempt)) => {
                if let Some(outcome) = attempt.wait(waiter) {
                    return outcome;
                }
            }
        }
        outcome.await.unwrap_or(Err(ConnectError::Closed))
    }

    fn find_or_dial(self: &Arc<Self>, peer: &Atom) -> Option<Found> {
        let found = |peer: &Peer| match peer {
            Peer::Up(connection) => Found::Up(connection.clone()),
            Peer::Pending(attempt) => Found::Pending(attempt.clone()),
        };
        if let Some(known) = self.peers().get(peer) {
            return Some(found(known));
        }
        if *peer == self.local.node || self.is_stopping() || handshake::check_node_name(peer).is_err() {
            return None;
        }
        let mut peers = self.peers_mut();
        if let Some(known) = peers.get(peer) {
            return Some(found(known));
        }
        let attempt = Arc::new(Attempt::new(self.next_id(), peer.clone()));
        peers.insert(peer.clone(), Peer::Pending(attempt.clone()));
        let task = self.local.world.spawn(self.clone().dial(peer.clone(), attempt.clone()));
        attempt.run_by(task.abort_handle());
        drop(peers);
        Some(Found::Pending(attempt))
    }

    /// Decides on a peer that introduces itself, and enters its attempt in the table.
    ///
    /// Source: *Distribution Protocol*, "Semigraphic View" of the handshake and its status messages.
    pub(super) fn introduce(&self, peer: &Atom, incoming: &Incoming) -> handshake::Answer {
        use handshake::Answer;
        if *peer == self.local.node {
            return Answer::Nok;
        }
        if self.is_stopping() {
            return Answer::NotAllowed;
        }
        let mut peers = self.peers_mut();
        let (attempt, answer) = match peers.get(peer) {
            // The attempt that follows gets its place in the table once the peer has proved who it is.
            Some(Peer::Up(_)) => return Answer::Alive,
            Some(Peer::Pending(attempt)) => match simultaneous(&self.local.node, peer) {
                Simultaneous::KeepMine => return Answer::Nok,
                Simultaneous::TakeTheirs => (attempt.clone(), Answer::OkSimultaneous),
            },
            None => {
                let attempt = Arc::new(Attempt::new(self.next_id(), peer.clone()));
                peers.insert(peer.clone(), Peer::Pending(attempt.clone()));
                (attempt, Answer::Ok)
            }
        };
        incoming.take_over(attempt);
        answer
    }

    /// A peer that was thought alive has proved that it connects anew: its attempt takes the place of its former connection, or of what
    /// this node has begun since that was lost.
    ///
    /// `None` if the latter goes on, or another attempt of the peer's got there first.
    pub(super) fn replace(&self, peer: &Atom, task: AbortHandle) -> Option<Arc<Attempt>> {
        if let Some(former) = self.connection(peer) {
            former.close(DisconnectReason::Replaced);
            self.disconnected(&former);
        }
        let mut peers = self.peers_mut();
        let attempt = match peers.get(peer) {
            Some(Peer::Up(_)) => return None,
            Some(Peer::Pending(attempt)) => match simultaneous(&self.local.node, peer) {
                Simultaneous::KeepMine => return None,
                Simultaneous::TakeTheirs => attempt.clone(),
            },
            None => {
                let attempt = Arc::new(Attempt::new(self.next_id(), peer.clone()));
                peers.insert(peer.clone(), Peer::Pending(attempt.clone()));
                attempt
            }
        };
        attempt.run_by(task);
        Some(attempt)
    }

    /// A handshake is done: the connection takes its place in the table, and what waited for it is sent.
    ///
    /// `None` if another attempt has taken this one's place.
    pub(super) fn connected(
        &self,
        attempt: &Arc<Attempt>,
        make: impl FnOnce(ConnectionId) -> Connection,
    ) -> Option<Arc<Connection>> {
        let mut peers = self.peers_mut();
        match peers.get(&attempt.peer) {
            Some(Peer::Pending(pending)) if Arc::ptr_eq(attempt, pending) => {}
            _ => return None,
        }
        let connection = Arc::new(make(attempt.id));
        self.node_event(&connection, true);
        attempt.succeeded(&self.local, &connection);
        peers.insert(connection.peer.clone(), Peer::Up(connection.clone()));
        self.up().insert(attempt.id, connection.clone());
        Some(connection)
    }

    /// An attempt failed: whoever waits for it hears so.
    pub(super) fn connect_failed(&self, attempt: &Arc<Attempt>, error: &ConnectError) {
        let peer = &attempt.peer;
        // Held to the end, so that nobody hears of a next attempt before the end of this one.
        let mut peers = self.peers_mut();
        match peers.get(peer) {
            Some(Peer::Pending(pending)) if Arc::ptr_eq(pending, attempt) => peers.remove(peer),
            _ => return,
        };
        let (interested, waiters) = attempt.failed(error);
        if !self.local.world.planted("down-lost") {
            self.lost(attempt.id, interested);
        }
        self.send_node_downs(peer);
        for waiter in waiters {
            let _ = waiter.send(Err(error.clone()));
        }
    }

    /// A connection is lost: all that went over it ends with `noconnection`, and then the node is down.
    pub(super) fn disconnected(&self, connection: &Arc<Connection>) {
        if !connection.tear_down() {
            return;
        }
        // Held to the end, so that nobody hears of a next connection before the end of this one.
        let mut peers = self.peers_mut();
        if let Some(Peer::Up(current)) = peers.get(&connection.peer)
            && Arc::ptr_eq(current, connection)
        {
            peers.remove(&connection.peer);
        }
        self.up().remove(&connection.id);
        let (read, written) = connection.traffic();
        self.read_before.fetch_add(read, Ordering::Relaxed);
        self.written_before.fetch_add(written, Ordering::Relaxed);
        self.lost(connection.id, connection.take_interested());
        self.send_node_downs(&connection.peer);
        self.node_event(connection, false);
    }

    fn lost(&self, connection: ConnectionId, interested: BTreeSet<Pid>) {
        if self.local.world.planted("hash-order") {
            let unordered: std::collections::HashSet<Pid> = interested.into_iter().collect();
            for pid in unordered {
                let _ = self.local.deliver_relation(&pid, Relation::NoConnection { connection });
            }
            return;
        }
        for pid in interested {
            let _ = self.local.deliver_relation(&pid, Relation::NoConnection { connection });
        }
    }

    /// The messages of `monitor_node/2`.
    fn send_node_downs(&self, peer: &Atom) {
        let watchers = self.node_monitors().nodes.remove(peer).unwrap_or_default();
        if let Ok(message) = Payload::encode(&NodeEvent::NodeDown(peer.clone())) {
            for (pid, times) in watchers {
                for _ in 0..times {
                    self.local.deliver_always(&pid, message.clone());
                }
            }
        }
    }

    /// The messages of `net_kernel:monitor_nodes/1`, which tells of visible nodes only.
    fn node_event(&self, connection: &Connection, up: bool) {
        let kind = if up { "nodeup" } else { "nodedown" };
        self.local.world.event(&self.local.node, kind, &connection.peer);
        if !connection.is_visible() {
            return;
        }
        let peer = connection.peer.clone();
        let event = if up { NodeEvent::NodeUp(peer) } else { NodeEvent::NodeDown(peer) };
        let watchers = self.node_monitors().all.clone();
        if let Ok(message) = Payload::encode(&event) {
            for pid in watchers {
                self.local.deliver_always(&pid, message.clone());
            }
        }
    }
}

/// Sends one signal over a connection.
#[inline(always)]
fn send_one(
    local: &Local,
    connection: &Connection,
    sender: Option<&Pid>,
    interest: Option<&Pid>,
    control: &Control<Encode<'_>>,
    write: Write,
) -> Result<Sent, EncodeError> {
    let encode = |encode: &Encode<'_>, writer: &mut Writer| encode(writer);
    let id = connection.id;
    match connection.send(sender, interest, control, encode, write) {
        Ok(Pushed::Queued) => Ok(Sent::Queued { connection: id, busy: None }),
        Ok(Pushed::Busy(busy)) => {
            cold_path();
            Ok(Sent::Queued { connection: id, busy: Some(busy) })
        }
        Ok(Pushed::Closed) => {
            cold_path();
            Ok(Sent::NoConnection)
        }
        Err(OutgoingError::Encode(error)) => {
            cold_path();
            Err(error)
        }
        Err(error) => {
            cold_path();
            // What its sender waits for has come.
            let answered = unsent(local, &connection.peer, control, &error);
            Ok(if answered { Sent::Queued { connection: id, busy: None } } else { Sent::NoConnection })
        }
    }
}

#[hot(relations)]
fn send_on(
    local: &Local,
    connection: &Connection,
    sender: Option<&Pid>,
    interest: Option<&Pid>,
    signals: &[Control<Encode<'_>>],
    write: Write,
) -> Result<Sent, EncodeError> {
    let mut sent = Sent::NoConnection;
    for (index, control) in signals.iter().enumerate() {
        // They go together.
        let write = if index + 1 < signals.len() { Write::Later } else { write };
        sent = send_one(local, connection, sender, interest, control, write)?;
        if matches!(sent, Sent::NoConnection) {
            break;
        }
    }
    Ok(sent)
}

/// A signal has no form that the peer understands. Whoever asks it for a process is answered, as Erlang's runtime does; returns whether that is it.
pub(super) fn unsent<P>(local: &Local, peer: &Atom, control: &Control<P>, error: &OutgoingError) -> bool {
    if let (Control::SpawnRequest(request), OutgoingError::NotAgreed(_)) = (control, error) {
        let (id, from) = (&request.id, &request.from);
        let result = Err(Atom::from_static("notsup"));
        let reply = SpawnReply { link: false, monitor: false, result };
        let reply = Relation::SpawnReply { reference: id.clone(), reply, connection: None };
        // Who has ended waits no more.
        let _ = local.deliver_relation(from, reply);
        return true;
    }
    tracing::error!(%peer, %error, "a signal cannot be sent");
    false
}

enum Found {
    Up(Arc<Connection>),
    Pending(Arc<Attempt>),
}

impl Found {
    #[hot]
    fn id(&self) -> ConnectionId {
        match self {
            Self::Up(connection) => connection.id,
            Self::Pending(attempt) => attempt.id,
        }
    }
}

impl Connection {
    /// Makes the way in `spares` the one over this connection.
    #[inline]
    pub(super) fn lead(self: &Arc<Self>, local: &Local, spares: &mut Spares) {
        if !spares.way.as_ref().is_some_and(|way| way.is_over(self.id)) {
            cold_path();
            spares.way = Some(Way::new(local, self.peer.clone(), Some(self.clone())));
        }
    }
}

impl Link for Connection {
    #[hot]
    fn id(&self) -> ConnectionId {
        self.id
    }

    #[hot]
    fn send(
        &self,
        local: &Local,
        sender: &Pid,
        control: &Control<Encode<'_>>,
        write: Write,
    ) -> Result<Sent, EncodeError> {
        send_one(local, self, Some(sender), None, control, write)
    }
}

impl Distribution for Inner {
    #[hot(relations)]
    fn send(
        &self,
        node: &Atom,
        sender: Option<&Pid>,
        interest: Option<&Pid>,
        mut signals: &[Control<Encode<'_>>],
        write: Write,
    ) -> Result<Sent, EncodeError> {
        // They go over one connection: who monitors hears of the loss of the one that its monitor went over.
        let mut begun = None;
        loop {
            // Mostly it stands.
            let found = match self.connection(node) {
                Some(connection) => Some(Found::Up(connection)),
                None => self.this.upgrade().and_then(|this| this.find_or_dial(node)),
            };
            match found {
                None => return Ok(Sent::NoConnection),
                Some(found) if begun.is_some_and(|begun| begun != found.id()) => {
                    return Ok(Sent::NoConnection);
                }
                Some(Found::Pending(attempt)) => {
                    let mut last = None;
                    while let [signal, rest @ ..] = signals {
                        last = attempt.push(&self.options, sender, interest, signal)?;
                        if last.is_none() {
                            // It was decided meanwhile.
                            break;
                        }
                        begun = Some(attempt.id);
                        signals = rest;
                    }
                    if let Some(sent) = last {
                        return Ok(sent);
                    }
                }
                Some(Found::Up(connection)) => {
                    return send_on(&self.local, &connection, sender, interest, signals, write);
                }
            }
        }
    }

    fn traffic(&self) -> Traffic {
        let (read, written) = (&self.read_before, &self.written_before);
        let before = Traffic {
            connections: 0,
            read: read.load(Ordering::Relaxed),
            written: written.load(Ordering::Relaxed),
        };
        self.up().values().fold(before, |all, connection| {
            let (read, written) = connection.traffic();
            Traffic {
                connections: all.connections + 1,
                read: all.read + read,
                written: all.written + written,
            }
        })
    }

    fn forget(&self, connection: ConnectionId, process: &Pid) {
        let found = self.up().get(&connection).cloned();
        if let Some(connection) = found {
            connection.forget(process);
        }
    }

    fn monitor_node(&self, node: &Atom, process: &Pid, on: bool) {
        {
            let mut monitors = self.node_monitors();
            let times = monitors.nodes.entry(node.clone()).or_default().entry(process.clone()).or_default();
            *times = if on { *times + 1 } else { times.saturating_sub(1) };
            if *times == 0 {
                let watchers = monitors.nodes.get_mut(node).map(|watchers| {
                    watchers.remove(process);
                    watchers.is_empty()
                });
                if watchers == Some(true) {
                    monitors.nodes.remove(node);
                }
                return;
            }
        }
        let found = self.this.upgrade().and_then(|this| this.find_or_dial(node));
        if found.is_none() {
            self.send_node_downs(node);
        }
    }

    fn monitor_nodes(&self, process: &Pid, on: bool) {
        let mut monitors = self.node_monitors();
        if on {
            monitors.all.insert(process.clone());
        } else {
            monitors.all.remove(process);
        }
    }

    fn process_ended(&self, process: &Pid) {
        let mut monitors = self.node_monitors();
        monitors.all.remove(process);
        monitors.nodes.retain(|_, watchers| {
            watchers.remove(process);
            !watchers.is_empty()
        });
    }

    fn nodes(&self) -> Vec<Atom> {
        let connections = self.connections();
        connections.iter().filter(|it| it.is_visible()).map(|it| it.peer.clone()).collect()
    }

    fn connect(&self, node: Atom) -> BoxFuture<'static, bool> {
        let this = self.this.upgrade();
        Box::pin(async move {
            match this {
                Some(this) => Self::connect(&this, &node).await.is_ok(),
                None => false,
            }
        })
    }

    fn disconnect(&self, node: &Atom) {
        if let Some(connection) = self.connection(node) {
            connection.close(DisconnectReason::Requested);
        }
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping()
    }

    fn link(&self, node: &Atom) -> Option<Arc<dyn Link>> {
        self.connection(node).map(|connection| connection as Arc<dyn Link>)
    }

    fn connection_to(&self, node: &Atom) -> Option<ConnectionId> {
        self.connection(node).map(|connection| connection.id)
    }

    fn send_over(
        &self,
        connection: ConnectionId,
        sender: &Pid,
        control: &Control<Encode<'_>>,
    ) -> Result<Sent, EncodeError> {
        let signals = std::slice::from_ref(control);
        let found = self.up().get(&connection).cloned();
        match found {
            Some(connection) => send_on(&self.local, &connection, Some(sender), None, signals, Write::Now),
            None => {
                cold_path();
                Ok(Sent::NoConnection)
            }
        }
    }
}
