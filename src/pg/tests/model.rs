//! Several scopes whose messages, monitors and connections are played in random order, against a plain list of who has joined
//! where, and against what an Erlang scope would make of the same messages.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::core::pid;
use crate::pg::core::{Change, Core, Effect, Watch};
use crate::pg::message::{Action, Message};
use crate::pg::table::Table;
use crate::term::{Pid, Term};

const NODES: [&str; 3] = ["a@h", "b@h", "c@h"];

type Groups = BTreeMap<Term, Vec<Pid>>;

#[derive(Debug, Clone)]
enum Op {
    Join(usize, u8, Vec<u8>),
    Leave(usize, u8, Vec<u8>),
    Exit(usize, u8),
    /// So many of what one node has sent the other arrive.
    Arrive(usize, usize, usize),
    Connect(usize, usize),
    /// The connection is lost, and so much of what was under way with it.
    Disconnect(usize, usize, usize, usize),
    Restart(usize),
    /// All that is under way arrives.
    Settle,
}

fn op() -> impl Strategy<Value = Op> {
    let node = || 0..NODES.len();
    let group = || 0..3_u8;
    let pids = || prop::collection::vec(0..3_u8, 1..3);
    prop_oneof![
        6 => (node(), group(), pids()).prop_map(|(node, group, pids)| Op::Join(node, group, pids)),
        4 => (node(), group(), pids()).prop_map(|(node, group, pids)| Op::Leave(node, group, pids)),
        1 => (node(), 0..3_u8).prop_map(|(node, pid)| Op::Exit(node, pid)),
        12 => (node(), node(), 1..4_usize).prop_map(|(from, to, n)| Op::Arrive(from, to, n)),
        4 => (node(), node()).prop_map(|(a, b)| Op::Connect(a, b)),
        1 => (node(), node(), 0..4_usize, 0..4_usize).prop_map(|(a, b, n, m)| Op::Disconnect(a, b, n, m)),
        1 => node().prop_map(Op::Restart),
        1 => Just(Op::Settle),
    ]
}

/// What is under way from one node to another.
#[derive(Debug)]
enum Item {
    /// To a scope, by its pid; or to whichever there is.
    Message(Option<Pid>, Message),
    NodeUp,
    Down(Pid),
}

/// What an Erlang scope keeps of others: the rules of `pg.erl`, which fails where this panics.
#[derive(Default)]
struct Erlang(BTreeMap<Pid, Groups>);

impl Erlang {
    fn told(&mut self, message: &Message) {
        match message {
            Message::Discover(peer) => {
                self.0.entry(peer.clone()).or_default();
            }
            Message::Sync(peer, groups) => {
                self.0.insert(peer.clone(), groups.iter().cloned().collect());
            }
            Message::Join(peer, group, pids) => {
                if let Some(groups) = self.0.get_mut(peer) {
                    groups.entry(group.clone()).or_default().extend_from_slice(pids);
                }
            }
            Message::Leave(peer, pids, left) => {
                let Some(groups) = self.0.get_mut(peer) else { return };
                for group in left {
                    let members = groups.get_mut(group).expect("maps:get/2 fails in an Erlang scope");
                    subtract(members, pids);
                    if members.is_empty() {
                        groups.remove(group);
                    }
                }
            }
        }
    }
}

fn subtract(from: &mut Vec<Pid>, what: &[Pid]) {
    for pid in what {
        if let Some(at) = from.iter().position(|it| it == pid) {
            from.remove(at);
        }
    }
}

fn add(to: &mut Groups, from: &Groups) {
    for (group, pids) in from {
        to.entry(group.clone()).or_default().extend_from_slice(pids);
    }
}

fn sorted(mut groups: Groups) -> Groups {
    groups.retain(|_, pids| {
        pids.sort();
        !pids.is_empty()
    });
    groups
}

struct Node {
    core: Core,
    this: Pid,
    table: Table,
    /// What somebody who monitors the scope has been told since it started.
    heard: Groups,
    watches: BTreeSet<Watch>,
    /// The connections over which others were met.
    met_over: BTreeMap<Pid, u32>,
    erlang: Erlang,
    /// Who has joined here: the model.
    joined: Vec<(Term, Pid)>,
}

impl Node {
    fn new(name: &'static str, life: u32) -> Self {
        let this = pid(name, 1000 + life);
        Self {
            core: Core::new(this.clone(), usize::MAX),
            this,
            table: Table::default(),
            heard: Groups::new(),
            watches: BTreeSet::new(),
            met_over: BTreeMap::new(),
            erlang: Erlang::default(),
            joined: Vec::new(),
        }
    }

    fn local(&self) -> Groups {
        let mut groups = Groups::new();
        for (group, pid) in &self.joined {
            groups.entry(group.clone()).or_default().push(pid.clone());
        }
        groups
    }
}

struct Cluster {
    nodes: Vec<Node>,
    lives: u32,
    connections: u32,
    connected: BTreeMap<(usize, usize), u32>,
    under_way: BTreeMap<(usize, usize), VecDeque<Item>>,
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

fn group(n: u8) -> Term {
    Term::tuple([Term::atom("group"), Term::from(i64::from(n))])
}

impl Cluster {
    fn new() -> Self {
        let nodes = NODES.iter().map(|name| Node::new(name, 0)).collect();
        Self { nodes, lives: 0, connections: 0, connected: BTreeMap::new(), under_way: BTreeMap::new() }
    }

    fn index(pid: &Pid) -> usize {
        NODES.iter().position(|name| pid.node == *name).expect("it is a node of the cluster")
    }

    fn connection(&self, a: usize, b: usize) -> Option<u32> {
        self.connected.get(&pair(a, b)).copied()
    }

    fn is_connected(&self, a: usize, b: usize) -> bool {
        self.connection(a, b).is_some()
    }

    fn queue(&mut self, from: usize, to: usize) -> &mut VecDeque<Item> {
        self.under_way.entry((from, to)).or_default()
    }

    fn follow(&mut self, at: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Monitor(watch) => {
                    assert!(self.nodes[at].watches.insert(watch.clone()), "{watch:?} is monitored already");
                    if let Watch::Peer(peer) = watch {
                        let to = Self::index(&peer);
                        let Some(connection) = self.connection(at, to) else {
                            // It was not met.
                            let node = &mut self.nodes[at];
                            let watch = Watch::Peer(peer.clone());
                            node.watches.remove(&watch);
                            node.erlang.0.remove(&peer);
                            node.core.down(watch);
                            return;
                        };
                        self.nodes[at].met_over.insert(peer.clone(), connection);
                        if self.nodes[to].this != peer {
                            self.queue(to, at).push_back(Item::Down(peer));
                        }
                    }
                }
                Effect::Demonitor(watch) => {
                    assert!(self.nodes[at].watches.remove(&watch), "{watch:?} is not monitored");
                }
                Effect::Send(to, message) => {
                    for pid in to {
                        let to = Self::index(&pid);
                        let met_over = self.nodes[at].met_over[&pid];
                        if self.connection(at, to) == Some(met_over) {
                            self.queue(at, to).push_back(Item::Message(Some(pid), message.clone()));
                        }
                    }
                }
                Effect::Discover(node) => {
                    let to =
                        NODES.iter().position(|name| node == *name).expect("it is a node of the cluster");
                    if self.is_connected(at, to) {
                        let discover = Message::Discover(self.nodes[at].this.clone());
                        self.queue(at, to).push_back(Item::Message(None, discover));
                    }
                }
                Effect::Change(change) => {
                    let node = &mut self.nodes[at];
                    node.table.apply(&change);
                    let Change { action, group, pids, .. } = change;
                    assert!(!pids.is_empty(), "nothing has changed");
                    let members = node.heard.entry(group).or_default();
                    match action {
                        Action::Join => members.extend(pids),
                        Action::Leave => {
                            let before = members.len();
                            subtract(members, &pids);
                            assert_eq!(members.len(), before - pids.len(), "who leaves was there");
                        }
                    }
                }
            }
        }
    }

    fn arrive(&mut self, from: usize, to: usize) -> bool {
        let Some(item) = self.queue(from, to).pop_front() else { return false };
        let node = &mut self.nodes[to];
        let effects = match item {
            Item::Message(pid, _) if pid.as_ref().is_some_and(|pid| *pid != node.this) => return true,
            Item::Message(_, message) => {
                node.erlang.told(&message);
                node.core.told(message)
            }
            Item::NodeUp => node.core.node_up(pid(NODES[from], 0).node),
            Item::Down(peer) => {
                node.erlang.0.remove(&peer);
                let watch = Watch::Peer(peer);
                if !node.watches.remove(&watch) {
                    return true;
                }
                node.core.down(watch)
            }
        };
        self.follow(to, effects);
        true
    }

    fn settle(&mut self) {
        let mut rounds = 0;
        loop {
            let mut any = false;
            for from in 0..NODES.len() {
                for to in 0..NODES.len() {
                    any |= self.arrive(from, to);
                }
            }
            rounds += 1;
            assert!(rounds < 10_000, "they never come to rest");
            if !any {
                return;
            }
        }
    }

    fn connect(&mut self, a: usize, b: usize) {
        if a != b && !self.is_connected(a, b) {
            self.connections += 1;
            self.connected.insert(pair(a, b), self.connections);
            self.queue(a, b).push_back(Item::NodeUp);
            self.queue(b, a).push_back(Item::NodeUp);
        }
    }

    /// Those who monitor a scope hear of its end, or of the loss of its node.
    fn lose(&mut self, from: usize, to: usize) {
        let lost = self.nodes[from].this.clone();
        let watches = self.nodes[to].watches.iter();
        let peers = watches.filter_map(|watch| match watch {
            Watch::Peer(peer) if Self::index(peer) == from => Some(peer.clone()),
            _ => None,
        });
        let known: Vec<_> = peers.filter(|peer| *peer == lost).collect();
        self.queue(from, to).extend(known.into_iter().map(Item::Down));
    }

    fn play(&mut self, op: Op) {
        let pids = |node: usize, ids: Vec<u8>| -> Vec<Pid> {
            ids.into_iter().map(|id| pid(NODES[node], u32::from(id))).collect()
        };
        match op {
            Op::Join(at, n, ids) => {
                let pids = pids(at, ids);
                let node = &mut self.nodes[at];
                node.joined.extend(pids.iter().map(|pid| (group(n), pid.clone())));
                let effects = node.core.join_local(group(n), pids);
                self.follow(at, effects);
            }
            Op::Leave(at, n, ids) => {
                let pids = pids(at, ids);
                let node = &mut self.nodes[at];
                for pid in &pids {
                    let is = |it: &(Term, Pid)| it.0 == group(n) && it.1 == *pid;
                    if let Some(found) = node.joined.iter().position(is) {
                        node.joined.remove(found);
                    }
                }
                let effects = node.core.leave_local(group(n), pids);
                self.follow(at, effects);
            }
            Op::Exit(at, id) => {
                let pid = pid(NODES[at], u32::from(id));
                let node = &mut self.nodes[at];
                node.joined.retain(|(_, member)| *member != pid);
                let watch = Watch::Member(pid);
                if node.watches.remove(&watch) {
                    let effects = node.core.down(watch);
                    self.follow(at, effects);
                }
            }
            Op::Arrive(from, to, n) => {
                for _ in 0..n {
                    self.arrive(from, to);
                }
            }
            Op::Connect(a, b) => self.connect(a, b),
            Op::Disconnect(a, b, n, m) => {
                if self.connected.remove(&pair(a, b)).is_some() {
                    for (from, to, kept) in [(a, b, n), (b, a, m)] {
                        // What was not of the connection is not lost with it.
                        let mut at = 0;
                        self.queue(from, to).retain(|item| {
                            at += 1;
                            at <= kept || !matches!(item, Item::Message(..))
                        });
                        self.lose(from, to);
                    }
                }
            }
            Op::Restart(at) => {
                for to in 0..NODES.len() {
                    if to != at && self.is_connected(at, to) {
                        self.lose(at, to);
                    }
                }
                self.lives += 1;
                self.nodes[at] = Node::new(NODES[at], self.lives);
                for (to, name) in NODES.iter().enumerate() {
                    // What waited for the former one is gone.
                    self.queue(to, at).retain(|item| matches!(item, Item::Message(..)));
                    if to != at && self.is_connected(at, to) {
                        let effects = self.nodes[at].core.node_up(pid(name, 0).node);
                        self.follow(at, effects);
                    }
                }
            }
            Op::Settle => {
                self.settle();
                self.check();
            }
        }
    }

    /// Nothing is under way: everybody knows who is where.
    fn check(&self) {
        for (at, node) in self.nodes.iter().enumerate() {
            let mut expected = node.local();
            let mut erlang = node.local();
            for (other, it) in self.nodes.iter().enumerate() {
                if self.is_connected(at, other) {
                    add(&mut expected, &it.local());
                }
            }
            for told in node.erlang.0.values() {
                add(&mut erlang, told);
            }
            let expected = sorted(expected);
            let table = node.table.read();
            let all = table.iter().map(|(group, members)| (group.clone(), members.all.clone())).collect();
            assert_eq!(sorted(all), expected, "of {}", NODES[at]);
            assert_eq!(sorted(node.heard.clone()), expected, "as {} has told", NODES[at]);
            assert_eq!(sorted(erlang), expected, "were {} Erlang's", NODES[at]);
            let local = table.iter().map(|(group, members)| (group.clone(), members.local.clone())).collect();
            assert_eq!(sorted(local), sorted(node.local()), "on {} itself", NODES[at]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_all_agree_in_the_end(ops in prop::collection::vec(op(), 1..80)) {
        let mut cluster = Cluster::new();
        for op in ops {
            cluster.play(op);
        }
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            cluster.connect(a, b);
        }
        cluster.settle();
        cluster.check();
        // And when all have left, nothing is held but two scopes.
        for node in 0..NODES.len() {
            for id in 0..3 {
                cluster.play(Op::Exit(node, id));
            }
        }
        cluster.settle();
        for node in &cluster.nodes {
            prop_assert_eq!(node.core.held(), 2 * crate::pg::core::ENTRY_LEN);
            prop_assert!(node.table.read().is_empty());
        }
    }
}
