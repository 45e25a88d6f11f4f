//! What a process is related to: links with the UNLINK_ID protocol, monitors in both directions, aliases and
//! open calls. Plain data, owned by the process.
//!
//! Source: *Distribution Protocol*, "Link Protocol", in the ERTS User's Guide.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::{ConnectionId, ExitReason};
use crate::etf::Payload;
use crate::term::{Atom, Pid, Reference};

/// The outcome of a call, as the waiting caller gets it.
pub(super) type CallOutcome = Result<Payload, ExitReason>;

#[derive(Default)]
pub(super) struct Relations {
    links: BTreeMap<Pid, Link>,
    /// What this process monitors.
    monitors: BTreeMap<Reference, Monitor>,
    /// Who monitors this process.
    watchers: BTreeMap<(Pid, Reference), Watcher>,
    aliases: BTreeMap<Reference, ()>,
    calls: BTreeMap<Reference, oneshot::Sender<CallOutcome>>,
    unlink_id: u64,
}

#[derive(Debug)]
struct Link {
    connection: Option<ConnectionId>,
    /// The id of an unlink that is not acknowledged yet: the link is inactive while there is one.
    unlinking: Option<u64>,
}

/// What a monitor watches, as its DOWN message names it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Monitored {
    Process(Pid),
    Name(Atom, Atom),
}

#[derive(Debug)]
pub(super) struct Monitor {
    pub(super) target: Monitored,
    /// The local process that a name stood for when the monitor was set.
    pub(super) bound: Option<Pid>,
    pub(super) connection: Option<ConnectionId>,
}

#[derive(Debug)]
pub(super) struct Watcher {
    /// The name by which the process is monitored, if it is.
    pub(super) name: Option<Atom>,
    connection: Option<ConnectionId>,
}

/// What the loss of a connection takes with it.
#[derive(Default)]
pub(super) struct Lost {
    pub(super) links: Vec<Pid>,
    pub(super) monitors: Vec<Reference>,
}

impl Relations {
    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty()
            && self.monitors.is_empty()
            && self.watchers.is_empty()
            && self.aliases.is_empty()
            && self.calls.is_empty()
    }

    /// `link/1`. Returns whether a LINK is to be sent.
    pub(super) fn link(&mut self, to: &Pid) -> bool {
        match self.links.get_mut(to) {
            Some(link) if link.unlinking.is_none() => false,
            Some(link) => {
                // A late acknowledgement of the former unlink must not end the new link.
                link.unlinking = None;
                true
            }
            None => {
                self.links.insert(to.clone(), Link { connection: None, unlinking: None });
                true
            }
        }
    }

    /// Remembers the connection that a link goes over.
    pub(super) fn link_over(&mut self, to: &Pid, connection: Option<ConnectionId>) {
        if let Some(link) = self.links.get_mut(to) {
            link.connection = connection;
        }
    }

    /// `unlink/1`. Returns the id of the UNLINK_ID that is to be sent.
    pub(super) fn unlink(&mut self, to: &Pid) -> Option<u64> {
        let link = self.links.get_mut(to).filter(|link| link.unlinking.is_none())?;
        self.unlink_id = self.unlink_id.checked_add(1).unwrap_or(1);
        link.unlinking = Some(self.unlink_id);
        Some(self.unlink_id)
    }

    pub(super) fn link_received(&mut self, from: Pid, connection: Option<ConnectionId>) {
        // An inactive entry stays so: both ends then agree on "not linked".
        self.links.entry(from).or_insert(Link { connection, unlinking: None });
    }

    pub(super) fn unlink_received(&mut self, from: &Pid) {
        if self.links.get(from).is_some_and(|link| link.unlinking.is_none()) {
            self.links.remove(from);
        }
    }

    pub(super) fn unlink_acknowledged(&mut self, from: &Pid, id: u64) {
        if self.links.get(from).is_some_and(|link| link.unlinking == Some(id)) {
            self.links.remove(from);
        }
    }

    /// Removes the link because the other end exited. Returns whether it was active.
    pub(super) fn link_exited(&mut self, from: &Pid) -> bool {
        self.links.remove(from).is_some_and(|link| link.unlinking.is_none())
    }

    pub(super) fn monitor(&mut self, reference: Reference, monitor: Monitor) {
        self.monitors.insert(reference, monitor);
    }

    pub(super) fn monitor_over(
        &mut self,
        reference: &Reference,
        connection: Option<ConnectionId>,
        bound: Option<Pid>,
    ) {
        if let Some(monitor) = self.monitors.get_mut(reference) {
            monitor.connection = connection;
            monitor.bound = bound;
        }
    }

    pub(super) fn demonitor(&mut self, reference: &Reference) -> Option<Monitor> {
        self.monitors.remove(reference)
    }

    pub(super) fn watch(
        &mut self,
        from: Pid,
        reference: Reference,
        name: Option<Atom>,
        connection: Option<ConnectionId>,
    ) {
        self.watchers.insert((from, reference), Watcher { name, connection });
    }

    pub(super) fn unwatch(&mut self, from: Pid, reference: Reference) {
        self.watchers.remove(&(from, reference));
    }

    pub(super) fn alias(&mut self, alias: Reference) {
        self.aliases.insert(alias, ());
    }

    pub(super) fn unalias(&mut self, alias: &Reference) -> bool {
        self.aliases.remove(alias).is_some()
    }

    pub(super) fn is_alias(&self, alias: &Reference) -> bool {
        self.aliases.contains_key(alias)
    }

    pub(super) fn open_call(&mut self, reference: Reference, caller: oneshot::Sender<CallOutcome>) {
        self.calls.insert(reference, caller);
    }

    pub(super) fn close_call(&mut self, reference: &Reference) -> Option<oneshot::Sender<CallOutcome>> {
        self.calls.remove(reference)
    }

    /// Forgets what went over a lost connection, and tells what the process must hear of.
    pub(super) fn connection_lost(&mut self, connection: ConnectionId) -> Lost {
        let mut lost = Lost::default();
        self.links.retain(|pid, link| {
            if link.connection != Some(connection) {
                return true;
            }
            if link.unlinking.is_none() {
                lost.links.push(pid.clone());
            }
            false
        });
        lost.monitors = self
            .monitors
            .iter()
            .filter(|(_, monitor)| monitor.connection == Some(connection))
            .map(|(reference, _)| reference.clone())
            .collect();
        self.watchers.retain(|_, watcher| watcher.connection != Some(connection));
        lost
    }

    /// All connections that relations go over.
    pub(super) fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        let links = self.links.values().filter_map(|link| link.connection);
        let monitors = self.monitors.values().filter_map(|monitor| monitor.connection);
        let watchers = self.watchers.values().filter_map(|watcher| watcher.connection);
        links.chain(monitors).chain(watchers)
    }

    /// Takes all apart when the process ends.
    #[expect(clippy::type_complexity, reason = "three lists, used at one place")]
    pub(super) fn into_parts(
        self,
    ) -> (Vec<Pid>, BTreeMap<(Pid, Reference), Watcher>, BTreeMap<Reference, Monitor>) {
        let links =
            self.links.into_iter().filter(|(_, link)| link.unlinking.is_none()).map(|(pid, _)| pid).collect();
        (links, self.watchers, self.monitors)
    }
}
