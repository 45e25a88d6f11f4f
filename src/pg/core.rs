//! Who joined here, who is told of it, and what the scopes of other nodes have told.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::message::{Action, Message};
use super::table::take_all;
use crate::etf::Payload;
use crate::term::{Atom, Pid, Term};

/// What a membership counts towards the limit of a node, in bytes: about what it takes.
pub(super) const MEMBER_LEN: usize = 64;
/// What a group counts besides its name's external form, and a scope besides its groups.
pub(super) const ENTRY_LEN: usize = 256;

/// A scope, without its process.
pub(super) struct Core {
    this: Pid,
    /// How much the scopes of one other node may make this one hold.
    limit: usize,
    /// The groups of each process that joined here: a group as many times as it has joined it.
    local: BTreeMap<Pid, Vec<Term>>,
    /// The scopes of other nodes.
    peers: BTreeMap<Pid, Peer>,
    /// What counts towards the limit, by node.
    held: BTreeMap<Atom, Account>,
}

/// What the scopes of a node make this one hold.
#[derive(Default)]
struct Account {
    len: usize,
    /// Something was not taken in, and that was logged.
    exceeded: bool,
}

/// What is known of another scope.
#[derive(Default)]
struct Peer {
    groups: BTreeMap<Term, Held>,
    /// Whether it has been told of all local members. Before, it is told of no change: an Erlang scope that hears of a leave
    /// from a group which it does not know crashes.
    synced: bool,
}

/// What another scope has told of a group.
#[derive(Default)]
struct Held {
    /// What the group's name counts.
    len: usize,
    pids: Vec<Pid>,
}

/// Why a process is monitored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Watch {
    /// It has joined a group.
    Member(Pid),
    /// It is another node's scope.
    Peer(Pid),
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Effect {
    Monitor(Watch),
    Demonitor(Watch),
    /// Sends to the scopes that these processes are, without connecting to their nodes.
    Send(Vec<Pid>, Message),
    /// Sends `{discover, This}` to the scope of the same name on a node.
    Discover(Atom),
    Change(Change),
}

/// A change of a group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub(super) action: Action,
    pub(super) group: Term,
    pub(super) pids: Vec<Pid>,
    /// Whether they joined here.
    pub(super) local: bool,
}

fn remote(action: Action, group: Term, pids: Vec<Pid>) -> Option<Effect> {
    (!pids.is_empty()).then_some(Effect::Change(Change { action, group, pids, local: false }))
}

impl Core {
    pub(super) fn new(this: Pid, limit: usize) -> Self {
        Self { this, limit, local: BTreeMap::new(), peers: BTreeMap::new(), held: BTreeMap::new() }
    }

    /// A visible node is connected, or was when the scope started.
    pub(super) fn node_up(&self, node: Atom) -> Vec<Effect> {
        if node == self.this.node { Vec::new() } else { vec![Effect::Discover(node)] }
    }

    /// Processes of this node join.
    pub(super) fn join_local(&mut self, group: Term, pids: Vec<Pid>) -> Vec<Effect> {
        if pids.is_empty() {
            return Vec::new();
        }
        let mut effects = Vec::new();
        for pid in &pids {
            match self.local.entry(pid.clone()) {
                Entry::Occupied(groups) => groups.into_mut().push(group.clone()),
                Entry::Vacant(none) => {
                    effects.push(Effect::Monitor(Watch::Member(pid.clone())));
                    none.insert(vec![group.clone()]);
                }
            }
        }
        let change = Change { action: Action::Join, group: group.clone(), pids: pids.clone(), local: true };
        effects.push(Effect::Change(change));
        self.broadcast(Message::Join(self.this.clone(), group, pids), &mut effects);
        effects
    }

    /// Processes of this node leave. Nothing is to be done if none of them had joined.
    pub(super) fn leave_local(&mut self, group: Term, pids: Vec<Pid>) -> Vec<Effect> {
        let (mut effects, mut left) = (Vec::new(), Vec::new());
        for pid in pids {
            let Some(groups) = self.local.get_mut(&pid) else { continue };
            let Some(at) = groups.iter().position(|it| *it == group) else { continue };
            groups.remove(at);
            if groups.is_empty() {
                self.local.remove(&pid);
                effects.push(Effect::Demonitor(Watch::Member(pid.clone())));
            }
            left.push(pid);
        }
        // Nobody is told of a leave that was none: an Erlang scope that does not know the group would crash.
        if !left.is_empty() {
            let change =
                Change { action: Action::Leave, group: group.clone(), pids: left.clone(), local: true };
            effects.push(Effect::Change(change));
            self.broadcast(Message::Leave(self.this.clone(), left, vec![group]), &mut effects);
        }
        effects
    }

    /// A monitored process has ended, or cannot be reached any more.
    pub(super) fn down(&mut self, watch: Watch) -> Vec<Effect> {
        let mut effects = Vec::new();
        match watch {
            Watch::Member(pid) => {
                let Some(groups) = self.local.remove(&pid) else { return effects };
                effects.extend(groups.iter().map(|group| {
                    let (group, pids) = (group.clone(), vec![pid.clone()]);
                    Effect::Change(Change { action: Action::Leave, group, pids, local: true })
                }));
                self.broadcast(Message::Leave(self.this.clone(), vec![pid], groups), &mut effects);
            }
            Watch::Peer(pid) => {
                let Some(peer) = self.peers.remove(&pid) else { return effects };
                self.release(&pid.node, ENTRY_LEN);
                for (group, told) in peer.groups {
                    self.release(&pid.node, told.cost());
                    effects.extend(remote(Action::Leave, group, told.pids));
                }
            }
        }
        effects
    }

    /// What another scope says.
    pub(super) fn told(&mut self, message: Message) -> Vec<Effect> {
        match message {
            Message::Discover(peer) => self.discover(peer),
            Message::Sync(peer, groups) => self.sync(&peer, groups),
            Message::Join(peer, group, pids) => self.join(&peer, group, pids),
            Message::Leave(peer, pids, groups) => self.leave(&peer, &pids, groups),
        }
    }

    fn discover(&mut self, peer: Pid) -> Vec<Effect> {
        let known = self.peers.contains_key(&peer);
        let mut effects = Vec::new();
        if !known && !self.meet(&peer, &mut effects) {
            return effects;
        }
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.synced = true;
        }
        let sync = Message::Sync(self.this.clone(), self.all_local());
        effects.push(Effect::Send(vec![peer.clone()], sync));
        if !known {
            effects.push(Effect::Send(vec![peer], Message::Discover(self.this.clone())));
        }
        effects
    }

    /// Enters a scope that was not known. Returns whether that is possible.
    fn meet(&mut self, peer: &Pid, effects: &mut Vec<Effect>) -> bool {
        if *peer == self.this || !self.hold(&peer.node, ENTRY_LEN) {
            return false;
        }
        self.peers.insert(peer.clone(), Peer::default());
        effects.push(Effect::Monitor(Watch::Peer(peer.clone())));
        true
    }

    /// What the scope has told before is replaced, and what differs has changed.
    fn sync(&mut self, from: &Pid, groups: Vec<(Term, Vec<Pid>)>) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !self.peers.contains_key(from) && !self.meet(from, &mut effects) {
            return effects;
        }
        let before =
            self.peers.get_mut(from).map(|peer| std::mem::take(&mut peer.groups)).unwrap_or_default();
        for told in before.values() {
            self.release(&from.node, told.cost());
        }
        for (group, pids) in groups {
            self.take(from, group, pids);
        }
        let Some(now) = self.peers.get(from) else { return effects };
        for (group, told) in &now.groups {
            let mut joined = told.pids.clone();
            if let Some(before) = before.get(group) {
                take_all(&mut joined, &before.pids);
            }
            effects.extend(remote(Action::Join, group.clone(), joined));
        }
        for (group, mut told) in before {
            if let Some(now) = now.groups.get(&group) {
                take_all(&mut told.pids, &now.pids);
            }
            effects.extend(remote(Action::Leave, group, told.pids));
        }
        effects
    }

    fn join(&mut self, from: &Pid, group: Term, pids: Vec<Pid>) -> Vec<Effect> {
        // One that is not known is lost, and its message was late; or it has not been discovered yet, and then there will be a sync.
        if !self.peers.contains_key(from) {
            return Vec::new();
        }
        let joined = self.take(from, group.clone(), pids);
        remote(Action::Join, group, joined).into_iter().collect()
    }

    fn leave(&mut self, from: &Pid, pids: &[Pid], groups: Vec<Term>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for group in groups {
            let Some(Peer { groups: known, .. }) = self.peers.get_mut(from) else { return effects };
            let Some(told) = known.get_mut(&group) else { continue };
            let left = take_all(&mut told.pids, pids);
            let mut freed = left.len() * MEMBER_LEN;
            if told.pids.is_empty() {
                freed += told.len;
                known.remove(&group);
            }
            self.release(&from.node, freed);
            effects.extend(remote(Action::Leave, group, left));
        }
        effects
    }

    /// Enters what a scope tells, as far as its node's limit allows. Returns who has joined.
    fn take(&mut self, from: &Pid, group: Term, mut pids: Vec<Pid>) -> Vec<Pid> {
        // Processes join on their own node, so that nobody can say it of another's.
        pids.retain(|pid| pid.node == from.node);
        for pid in &mut pids {
            // One name for all: each may have brought its own.
            pid.node = from.node.clone();
        }
        if pids.is_empty() {
            return pids;
        }
        let known = self.peers.get(from).is_some_and(|peer| peer.groups.contains_key(&group));
        let mut new = None;
        if !known {
            // Whatever the name came in is not kept alive by it.
            let Ok(own) = Payload::encode(&group) else { return Vec::new() };
            let len = ENTRY_LEN + own.len();
            if !self.hold(&from.node, len) {
                return Vec::new();
            }
            new = Some((own.term(), len));
        }
        let held = self.held.get(&from.node).map_or(0, |account| account.len);
        let room = self.limit.saturating_sub(held) / MEMBER_LEN;
        if room < pids.len() {
            self.exceed(&from.node);
            pids.truncate(room);
        }
        self.hold(&from.node, pids.len() * MEMBER_LEN);
        let Some(peer) = self.peers.get_mut(from) else { return Vec::new() };
        match new {
            Some((_, len)) if pids.is_empty() => self.release(&from.node, len),
            Some((group, len)) => {
                peer.groups.insert(group, Held { len, pids: pids.clone() });
            }
            None => peer.groups.entry(group).or_default().pids.extend_from_slice(&pids),
        }
        pids
    }

    /// Counts towards the limit of a node. Returns whether there was room.
    fn hold(&mut self, node: &Atom, len: usize) -> bool {
        let account = self.held.entry(node.clone()).or_default();
        let held = account.len.saturating_add(len);
        if held > self.limit {
            self.exceed(node);
            return false;
        }
        account.len = held;
        true
    }

    fn release(&mut self, node: &Atom, len: usize) {
        let Some(account) = self.held.get_mut(node) else { return };
        account.len = account.len.saturating_sub(len);
        if account.len == 0 {
            self.held.remove(node);
        }
    }

    /// There was no room. It is said once, or a node could fill the log.
    fn exceed(&mut self, node: &Atom) {
        if let Some(account) = self.held.get_mut(node)
            && !std::mem::replace(&mut account.exceeded, true)
        {
            tracing::warn!(%node, limit = self.limit, "pg: the node has too many members: further ones are not taken in");
        }
    }

    fn all_local(&self) -> Vec<(Term, Vec<Pid>)> {
        let mut groups: BTreeMap<&Term, Vec<Pid>> = BTreeMap::new();
        for (pid, joined) in &self.local {
            for group in joined {
                groups.entry(group).or_default().push(pid.clone());
            }
        }
        groups.into_iter().map(|(group, pids)| (group.clone(), pids)).collect()
    }

    fn broadcast(&self, message: Message, effects: &mut Vec<Effect>) {
        let synced = self.peers.iter().filter(|(_, peer)| peer.synced);
        let to: Vec<_> = synced.map(|(pid, _)| pid.clone()).collect();
        if !to.is_empty() {
            effects.push(Effect::Send(to, message));
        }
    }

    /// What counts towards limits now.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.values().map(|account| account.len).sum()
    }
}

impl Held {
    fn cost(&self) -> usize {
        self.len + self.pids.len() * MEMBER_LEN
    }
}
