//! How partitions of a cluster join, and how they are kept from overlapping: the name server without its process.
//!
//! Source: "Connection algorithm" and "Prevent Overlapping Partitions Algorithm" in `global.erl` in kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Options;
use super::locker::{Him, NewNodes, ToLocker};
use super::message::{
    Entry, LOST_CONNECTION_VSN, Message, Op, Resolved, VERIFY_CONNECT_VSN, VSN, VSN_MIN, entry_term,
    external_term, known_term, op_term, tagged,
};
use super::names::{Names, Watch};
use super::table::{LockId, Table};
use crate::term::{Atom, Pid, Term};
use crate::world::Mono;

/// How long it is remembered that a node lost a connection.
const LOST_CONNECTION_TIME: Duration = Duration::from_secs(60 * 60);
/// How many of those are remembered: past it the eldest is forgotten.
const LOST_CONNECTIONS_MAX: usize = 1 << 16;
/// How many nodes other nodes may tell of.
const NODES_MAX: usize = 1 << 14;

/// What the name server's process is to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    Monitor(Watch),
    Demonitor(Watch),
    /// Tells another node's name server, over the connection that stands.
    Cast(Atom, Term),
    Send(Atom, Term),
    /// That the connection to the second is lost, unless this node is about to stop.
    Lost(Atom, Term),
    Locker(ToLocker),
    /// Looks for names that both partitions have.
    Resolve {
        node: Atom,
        tag: i64,
        names: Vec<Entry>,
    },
    /// Connects to a node, and says that this one is in sync with it.
    SyncOther(Atom),
    /// Tries again to join a node's partition, after a while that depends on how often it was tried.
    RestartLater(Atom, u32),
    Disconnect(Atom),
    /// Whoever waits for the node to be in sync, or gone.
    Synced(Atom),
}

/// An attempt to join another node's partition.
#[derive(Debug)]
struct Session {
    tag: i64,
    his: Option<His>,
    /// Until both nodes have their partitions locked, and this one has the other's names.
    exchange: Exchange,
    /// Until both have worked out what is to be done.
    saved: Option<Saved>,
    lock: Option<LockId>,
}

#[derive(Debug)]
struct His {
    vsn: i64,
    tag: Term,
}

#[derive(Debug)]
enum Exchange {
    Open,
    LockIsSet,
    Names(Vec<Entry>),
}

#[derive(Debug)]
enum Saved {
    Ours(Vec<Op>),
    His(Resolved),
}

/// What a node says first.
#[derive(Debug)]
struct Hello {
    vsn: i64,
    tag: Term,
    locker: Pid,
}

/// Why a node is known no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    Disconnected,
    /// It was told to be: its `nodedown` tells nobody anything.
    Removed,
}

pub(super) struct Core {
    node: Atom,
    locker: Pid,
    prevent_overlapping_partitions: bool,
    pub(super) names: Names,
    /// The nodes that have the same names, with the versions that they speak.
    known: BTreeMap<Atom, i64>,
    /// Those that are about to.
    pending: BTreeMap<Atom, i64>,
    /// Those that are about to be disconnected.
    removing: BTreeSet<Atom>,
    pub(super) synced: BTreeSet<Atom>,
    sessions: BTreeMap<Atom, Session>,
    /// How often the attempts with a node were given up, since the last one that succeeded.
    restarts: BTreeMap<Atom, u32>,
    /// What nodes said of which no `nodeup` has come.
    early: BTreeMap<Atom, Hello>,
    next_tag: i64,
    /// Tells this life of the node from its others.
    creation: i64,
    next_loss: i64,
    lost: BTreeMap<(Atom, Atom), (Term, i64, Mono)>,
    pub(super) effects: Vec<Effect>,
}

impl Core {
    pub(super) fn new(node: Atom, creation: i64, locker: Pid, table: Arc<Table>, options: &Options) -> Self {
        Self {
            node,
            locker,
            prevent_overlapping_partitions: options.prevent_overlapping_partitions,
            names: Names::new(table, options.table_len),
            known: BTreeMap::new(),
            pending: BTreeMap::new(),
            removing: BTreeSet::new(),
            synced: BTreeSet::new(),
            sessions: BTreeMap::new(),
            restarts: BTreeMap::new(),
            early: BTreeMap::new(),
            next_tag: 1,
            creation,
            next_loss: 1,
            lost: BTreeMap::new(),
            effects: Vec::new(),
        }
    }

    pub(super) fn known(&self) -> impl Iterator<Item = &Atom> {
        self.known.keys()
    }

    fn cast(&mut self, node: &Atom, message: Term) {
        self.effects.push(Effect::Cast(node.clone(), message));
    }

    fn tell_locker(&mut self, message: ToLocker) {
        self.effects.push(Effect::Locker(message));
    }

    /// Something that is neither about a name or a lock of this node nor asks for an answer.
    pub(super) fn told(&mut self, message: Message, now: Mono) {
        match message {
            Message::InitConnect { vsn, tag, node, locker } => {
                self.init_connect(node, Hello { vsn, tag, locker });
            }
            Message::InitConnectAck { node, mine, theirs } => self.init_connect_ack(&node, &mine, &theirs),
            Message::CancelConnect { node, tag } => {
                if self.tag(&node) == Some(tag) {
                    self.restart_connect(&node);
                }
            }
            Message::LockSet { locker, set, tag } => {
                let node = &locker.node;
                // A version that has no tags in it is believed.
                if tag.is_none() || tag == self.tag(node) {
                    self.tell_locker(ToLocker::LockSet { locker, set, tag });
                } else if set {
                    // Its locker waits for an answer to an attempt that is none any more, with all of its partition locked.
                    let node = node.clone();
                    let refused = [self.locker.clone().into(), false.into(), Term::nil()];
                    self.cast(&node, tagged("lock_set", refused));
                }
            }
            Message::Exchange { node, names, tag } => match self.sessions.get_mut(&node) {
                Some(session) if session.tag == tag => {
                    if matches!(session.exchange, Exchange::LockIsSet) {
                        session.exchange = Exchange::Open;
                        self.effects.push(Effect::Resolve { node, tag, names });
                    } else {
                        session.exchange = Exchange::Names(names);
                    }
                }
                _ => self.cancel(&node, tag),
            },
            Message::Resolved { node, resolved, tag } => match self.sessions.get_mut(&node) {
                Some(session) if session.tag == tag => match session.saved.take() {
                    Some(Saved::Ours(ops)) => self.resolved(&node, ops, resolved),
                    None | Some(Saved::His(_)) => session.saved = Some(Saved::His(resolved)),
                },
                _ => self.cancel(&node, tag),
            },
            Message::NewNodes { node: _, ops, external, nodes, lock } => {
                let added = self.add_to_known(&nodes);
                self.sync_others(added.iter());
                self.names.apply(&ops, &external, lock.as_ref(), &mut self.effects);
                self.tell_locker(ToLocker::AddToKnown(added));
            }
            Message::InSync { node } => {
                if self.synced.len() < NODES_MAX {
                    self.synced.insert(node.clone());
                }
                self.effects.push(Effect::Synced(node.clone()));
                // Not to be cancelled: it is done.
                self.pending.remove(&node);
                self.restarts.remove(&node);
                self.end_session(&node, None);
            }
            Message::LostConnection { from, creation, id, node } => {
                self.lost_connection(from, creation, id, node, now);
            }
            Message::RemoveConnection { node } => {
                if self.is_potentially_known(&node) {
                    self.effects.push(Effect::Disconnect(node.clone()));
                    self.gone(&node, Gone::Removed);
                    tracing::warn!(peer = %node, "global disconnects a node, to prevent overlapping partitions");
                } else if self.removing.contains(&node) {
                    // Each has told the other to disconnect, and left it to the other: in Erlang they stay connected, and share no
                    // names, until something else disconnects them.
                    self.effects.push(Effect::Disconnect(node));
                }
            }
            Message::NodeUp(node) => self.node_up(&node),
            Message::NodeDown(node) => {
                self.effects.push(Effect::Synced(node.clone()));
                self.gone(&node, Gone::Disconnected);
            }
            Message::Whereis { .. } | Message::Down(_) | Message::Nothing => {}
        }
    }

    fn tag(&self, node: &Atom) -> Option<i64> {
        self.sessions.get(node).map(|session| session.tag)
    }

    fn node_up(&mut self, node: &Atom) {
        if self.known.contains_key(node) || self.sessions.contains_key(node) {
            return;
        }
        let tag = self.next_tag;
        self.next_tag += 1;
        let session = Session { tag, his: None, exchange: Exchange::Open, saved: None, lock: None };
        self.sessions.insert(node.clone(), session);
        let known = self.known.iter().map(|(node, vsn)| (node.clone().into(), Term::from(*vsn)));
        let locker = [Term::atom("no_longer_a_pid"), Term::map(known), self.locker.clone().into()];
        let vsn = Term::tuple([Term::from(VSN), Term::from(tag)]);
        let init_connect = tagged("init_connect", [vsn, self.node.clone().into(), tagged("locker", locker)]);
        self.cast(node, init_connect);
        if let Some(hello) = self.early.remove(node) {
            self.init_connect(node.clone(), hello);
        }
    }

    fn init_connect(&mut self, node: Atom, hello: Hello) {
        if hello.vsn < VSN_MIN || node == self.node || hello.locker.node != node {
            tracing::info!(peer = %node, vsn = hello.vsn, "global cannot speak with a node");
            return;
        }
        if self.pending.contains_key(&node) {
            // It has begun anew in the middle of an attempt. Both are given up, and there is a third.
            self.send_cancel_connect(&node, hello.tag.clone());
            self.restart_connect(&node);
        }
        let Some(session) = self.sessions.get_mut(&node) else {
            if self.early.len() < NODES_MAX {
                self.early.insert(node, hello);
            }
            return;
        };
        let Hello { vsn: his_vsn, tag, locker } = hello;
        let (vsn, my_tag) = (his_vsn.min(VSN), session.tag);
        session.his = Some(His { vsn, tag: tag.clone() });
        self.pending.insert(node.clone(), his_vsn);
        self.tell_locker(ToLocker::Him(Him { locker, vsn, tag: my_tag, his_tag: tag.clone() }));
        if his_vsn >= VERIFY_CONNECT_VSN {
            let ack = tagged("init_connect_ack", [self.node.clone().into(), tag, Term::from(my_tag)]);
            self.effects.push(Effect::Send(node, ack));
        }
    }

    fn init_connect_ack(&mut self, node: &Atom, mine: &Term, theirs: &Term) {
        let session = self.sessions.get(node);
        let agreed = session.is_some_and(|session| {
            Term::from(session.tag) == *mine && session.his.as_ref().is_some_and(|his| his.tag == *theirs)
        });
        if !agreed {
            self.send_cancel_connect(node, theirs.clone());
            self.restart_connect(node);
        }
    }

    fn send_cancel_connect(&mut self, node: &Atom, his_tag: Term) {
        let cancel = tagged("cancel_connect", [self.node.clone().into(), his_tag]);
        self.effects.push(Effect::Send(node.clone(), cancel));
    }

    /// The two nodes do not mean the same attempt: it is given up, and there is another one.
    fn restart_connect(&mut self, node: &Atom) {
        let was_up = self.end_session(node, None);
        self.pending.remove(node);
        if !was_up {
            return;
        }
        let times = self.restarts.entry(node.clone()).or_default();
        *times += 1;
        match *times {
            1 => self.node_up(node),
            // Both nodes do this. At once, they could go on in step and never meet, which Erlang leaves to chance.
            times => self.effects.push(Effect::RestartLater(node.clone(), times)),
        }
    }

    /// Gives up an attempt of this node, that need not be the present one.
    fn cancel(&mut self, node: &Atom, tag: i64) {
        self.tell_locker(ToLocker::Cancel { node: node.clone(), tag, new_nodes: None });
    }

    /// Ends the attempt with a node, done or given up; says whether there was one.
    fn end_session(&mut self, node: &Atom, new_nodes: Option<NewNodes>) -> bool {
        self.early.remove(node);
        let Some(Session { tag, his, .. }) = self.sessions.remove(node) else { return false };
        self.tell_locker(ToLocker::Cancel { node: node.clone(), tag, new_nodes });
        if let (Some(vsn), Some(his)) = (self.pending.get(node), his)
            && *vsn >= VERIFY_CONNECT_VSN
        {
            self.send_cancel_connect(node, his.tag);
        }
        true
    }

    /// Our locker and his have locked both partitions: nobody changes names meanwhile.
    pub(super) fn lock_is_set(&mut self, node: &Atom, tag: i64, lock: LockId) {
        let Some(session) = self.sessions.get_mut(node).filter(|session| session.tag == tag) else {
            return self.cancel(node, tag);
        };
        let names = Term::list(self.names.entries().iter().map(entry_term));
        let his_tag = session.his.as_ref().map_or_else(Term::nil, |his| his.tag.clone());
        let exchange = tagged("exchange", [self.node.clone().into(), names, Term::nil(), his_tag]);
        self.effects.push(Effect::Cast(node.clone(), exchange));
        session.lock = Some(lock);
        if let Exchange::Names(names) = std::mem::replace(&mut session.exchange, Exchange::LockIsSet) {
            session.exchange = Exchange::Open;
            self.effects.push(Effect::Resolve { node: node.clone(), tag, names });
        }
    }

    /// What is to be done in this partition, and in his, as far as it is worked out here.
    pub(super) fn exchange_ops(&mut self, node: &Atom, tag: i64, ops: Vec<Op>, his_ops: &[Op]) {
        let Some(session) = self.sessions.get_mut(node).filter(|session| session.tag == tag) else {
            return self.cancel(node, tag);
        };
        let his = session.his.as_ref().map(|his| (his.vsn, his.tag.clone()));
        let saved = session.saved.take();
        let (vsn, his_tag) = his.unwrap_or((VSN, Term::nil()));
        let resolved = tagged(
            "resolved",
            [
                self.node.clone().into(),
                Term::list(his_ops.iter().map(op_term)),
                known_term(&self.known, vsn),
                Term::atom("unused"),
                Term::list(self.names.externals().iter().map(external_term)),
                his_tag,
            ],
        );
        self.cast(node, resolved);
        match saved {
            Some(Saved::His(his)) => self.resolved(node, ops, his),
            None | Some(Saved::Ours(_)) => {
                if let Some(session) = self.sessions.get_mut(node) {
                    session.saved = Some(Saved::Ours(ops));
                }
            }
        }
    }

    /// Both nodes know what is to be done. It is done, and the rest of this partition is told.
    fn resolved(&mut self, node: &Atom, mut ops: Vec<Op>, his: Resolved) {
        ops.extend(his.ops);
        let (vsn, lock) = match self.sessions.get(node) {
            Some(session) => (session.his.as_ref().map_or(VSN, |his| his.vsn), session.lock.clone()),
            None => return,
        };
        let mut nodes: Vec<(Atom, i64)> = vec![(node.clone(), 0)];
        nodes.extend(his.known.iter().cloned());
        for (node, vsn) in &mut nodes {
            if *vsn == 0 {
                *vsn = self.vsn_of(node);
            }
        }
        self.sync_others(his.known.iter().map(|(node, _)| node));
        self.names.apply(&ops, &his.external, lock.as_ref(), &mut self.effects);
        self.effects.push(Effect::Synced(node.clone()));
        for (other, _) in &his.known {
            self.pending.remove(other);
            self.end_session(other, None);
        }
        let info = [
            tagged("vsn", [Term::from(vsn)]),
            tagged("lock", [lock.as_ref().map_or_else(|| Term::atom("undefined"), LockId::to_term)]),
        ];
        let told = |vsn| {
            tagged(
                "new_nodes",
                [
                    self.node.clone().into(),
                    Term::list(ops.iter().map(op_term)),
                    Term::list(his.external.iter().map(external_term)),
                    known_term(nodes.iter().map(|(node, vsn)| (node, vsn)), vsn),
                    Term::list(info.clone()),
                ],
            )
        };
        // The locker sends it: so it is there before the lock is gone.
        let new_nodes = self.known.iter().map(|(known, vsn)| (known.clone(), told(*vsn))).collect();
        self.pending.remove(node);
        self.restarts.remove(node);
        self.end_session(node, Some(NewNodes(new_nodes)));
        let added = self.add_to_known(&nodes);
        self.tell_locker(ToLocker::AddToKnown(added));
        self.synced.insert(node.clone());
    }

    fn vsn_of(&self, node: &Atom) -> i64 {
        if *node == self.node {
            return VSN;
        }
        self.known.get(node).or_else(|| self.pending.get(node)).copied().unwrap_or(0)
    }

    fn sync_others<'a>(&mut self, nodes: impl Iterator<Item = &'a Atom>) {
        for node in nodes.take(NODES_MAX).filter(|node| **node != self.node) {
            self.effects.push(Effect::SyncOther(node.clone()));
        }
    }

    /// Returns those that were not.
    fn add_to_known(&mut self, nodes: &[(Atom, i64)]) -> Vec<Atom> {
        let mut added = Vec::new();
        for (node, vsn) in nodes {
            if *node == self.node {
                continue;
            }
            let len = self.known.len();
            match self.known.get_mut(node) {
                Some(known) => {
                    if *known <= 0 {
                        *known = *vsn;
                    }
                }
                None if len < NODES_MAX => {
                    self.known.insert(node.clone(), *vsn);
                    added.push(node.clone());
                }
                None => {
                    tracing::error!(peer = %node, "global knows too many nodes, and does not take in this one")
                }
            }
        }
        added
    }

    /// A node that was to be connected to is.
    pub(super) fn connected(&mut self, node: &Atom) {
        // It may have taken long: if the node was lost meanwhile, there is another attempt, which must not be taken for done.
        if self.known.contains_key(node) {
            let in_sync = tagged("in_sync", [self.node.clone().into(), true.into()]);
            self.cast(node, in_sync);
        }
    }

    /// A node that was to be connected to could not be.
    pub(super) fn not_connected(&mut self, node: &Atom) {
        tracing::warn!(peer = %node, "global failed to connect to a node");
        self.effects.push(Effect::Synced(node.clone()));
        self.gone(node, Gone::Disconnected);
    }

    // Its locks and names go as their processes do: they are monitored.
    fn gone(&mut self, node: &Atom, why: Gone) {
        self.end_session(node, None);
        self.tell_locker(ToLocker::RemoveFromKnown(node.clone()));
        match why {
            Gone::Removed => {
                self.removing.insert(node.clone());
            }
            Gone::Disconnected => {
                if !self.removing.remove(node) {
                    self.inform_connection_loss(node);
                }
            }
        }
        self.pending.remove(node);
        self.restarts.remove(node);
        self.known.remove(node);
        self.synced.remove(node);
    }

    fn is_potentially_known(&self, node: &Atom) -> bool {
        self.known.contains_key(node) || self.pending.contains_key(node)
    }

    fn inform_connection_loss(&mut self, node: &Atom) {
        if !self.prevent_overlapping_partitions {
            return;
        }
        let id = self.next_loss;
        self.next_loss += 1;
        let lost = [self.node.clone().into(), Term::from(self.creation), Term::from(id), node.clone().into()];
        self.tell_of_loss(&tagged("lost_connection", lost), node);
    }

    fn tell_of_loss(&mut self, message: &Term, except: &Atom) {
        let nodes = self.known.iter().chain(&self.pending);
        let told = nodes.filter(|(node, vsn)| *node != except && **vsn >= LOST_CONNECTION_VSN);
        let told: BTreeSet<&Atom> = told.map(|(node, _)| node).collect();
        self.effects.extend(told.into_iter().map(|node| Effect::Lost(node.clone(), message.clone())));
    }

    fn lost_connection(&mut self, from: Atom, creation: Term, id: i64, node: Atom, now: Mono) {
        if !self.prevent_overlapping_partitions {
            return;
        }
        let key = (from.clone(), node.clone());
        if self.lost.get(&key).is_some_and(|(its, known, _)| *its == creation && id <= *known) {
            return;
        }
        let lost = [from.clone().into(), creation.clone(), Term::from(id), node.clone().into()];
        self.tell_of_loss(&tagged("lost_connection", lost), &from);
        self.lost.retain(|_, (_, _, at)| now.since(*at) < LOST_CONNECTION_TIME);
        if self.lost.len() >= LOST_CONNECTIONS_MAX {
            let eldest = self.lost.iter().min_by_key(|(_, (_, _, at))| *at).map(|(key, _)| key.clone());
            eldest.map(|eldest| self.lost.remove(&eldest));
        }
        self.lost.insert(key, (creation, id, now));
        // All others remove this node, then; it need not be removed from them by this one.
        let removed = if node == self.node { from } else { node };
        if !self.is_potentially_known(&removed) {
            return;
        }
        if self.vsn_of(&removed) < LOST_CONNECTION_VSN {
            self.effects.push(Effect::Disconnect(removed.clone()));
        } else {
            let remove = tagged("remove_connection", [self.node.clone().into()]);
            self.effects.push(Effect::Send(removed.clone(), remove));
        }
        tracing::warn!(peer = %removed, "global has a node disconnect from this one, to prevent overlapping partitions");
        self.gone(&removed, Gone::Removed);
    }
}
