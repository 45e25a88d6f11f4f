//! The process that locks this node's partition, so that it can join another one.
//!
//! Source: "The locker is a satellite process" and what follows in `global.erl` in kernel.

use std::any::Any;
use std::collections::{BTreeSet, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use super::locks::{del_lock, set_lock_on_nodes};
use super::message::{Message, VERIFY_CONNECT_VSN, tagged};
use super::server::{Inside, NameServer};
use super::table::{LockId, Table};
use super::{NAME, global_resource};
use crate::process::{AnyProcess, Context, Destination, ExitReason, ProcessMessage, Received};
use crate::term::{Atom, Pid, Term};

/// A node whose partition is to join this one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Him {
    pub(super) locker: Pid,
    pub(super) vsn: i64,
    pub(super) tag: i64,
    pub(super) his_tag: Term,
}

/// What the nodes of this partition are told about another one that has joined.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NewNodes(pub(super) Vec<(Atom, Term)>);

/// What the name server of this node tells its locker.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ToLocker {
    Him(Him),
    /// The attempt with a node is over: it succeeded, and the others are to be told; or it is given up.
    Cancel {
        node: Atom,
        tag: i64,
        new_nodes: Option<NewNodes>,
    },
    /// What the other node's locker says.
    LockSet {
        locker: Pid,
        set: bool,
        tag: Option<i64>,
    },
    AddToKnown(Vec<Atom>),
    RemoveFromKnown(Atom),
}

impl ProcessMessage for ToLocker {
    type Brief = std::convert::Infallible;

    fn from_brief(brief: Self::Brief) -> Self {
        match brief {}
    }

    fn take(value: &mut dyn Any) -> Option<Self> {
        value.downcast_mut::<Option<Self>>()?.take()
    }
}

impl ToLocker {
    fn received(received: Received<Self>) -> Option<Self> {
        match received {
            Received::Own(message) => Some(message),
            // A locker that does not know this one any more says so without its name server.
            Received::Term(message) => match Message::from_cast(&message.term()) {
                Some(Message::LockSet { locker, set, tag }) => Some(Self::LockSet { locker, set, tag }),
                _ => None,
            },
        }
    }
}

pub(super) struct Locker {
    cx: Context<ToLocker>,
    server: NameServer,
    table: Arc<Table>,
    /// What has come, and waits until something else is done.
    waiting: VecDeque<ToLocker>,
    /// Those of this host, which come first, and all others.
    near: Vec<Him>,
    far: Vec<Him>,
    known: BTreeSet<Atom>,
    /// There is no reason to wait after a success.
    just_synced: bool,
    random: ChaCha8Rng,
}

impl Locker {
    pub(super) fn new(cx: Context<ToLocker>, server: NameServer, table: Arc<Table>) -> Self {
        let random = cx.world().entropy.fork("global locker");
        let (waiting, known) = (VecDeque::new(), BTreeSet::new());
        let (near, far) = (Vec::new(), Vec::new());
        Self { cx, server, table, waiting, near, far, known, just_synced: false, random }
    }

    pub(super) async fn run(mut self) -> ExitReason {
        loop {
            self.take_all().await;
            if let Some(message) = self.waiting.pop_front() {
                self.handle(message).await;
                continue;
            }
            let patience = match (self.near.is_empty() && self.far.is_empty(), self.known.len() as u64) {
                (true, _) => None,
                _ if self.just_synced => Some(Duration::ZERO),
                // Only to get started.
                (_, 0) => Some(Duration::from_millis(200)),
                // Not at once, or another node of the partition that wants the lock too would hardly ever get it.
                (_, known) => Some(Duration::from_millis((1000 + 100 * known).min(3000))),
            };
            self.just_synced = false;
            match patience {
                None => self.receive().await,
                Some(patience) => {
                    let world = self.cx.world().clone();
                    if world.timeout(patience, self.receive()).await.is_err()
                        && !self.table.is_global_lock_set()
                    {
                        self.select_node().await;
                    }
                }
            }
        }
    }

    /// Waits for the next message, and puts it behind those that wait.
    async fn receive(&mut self) {
        let received = self.cx.receive_signal().await;
        self.waiting.extend(ToLocker::received(received));
    }

    /// All that has come up to now.
    async fn take_all(&mut self) {
        poll_fn(|cx| {
            while let Poll::Ready(received) = self.cx.poll_receive(cx) {
                self.waiting.extend(ToLocker::received(received));
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Waits for a message of a certain kind; others wait on.
    async fn wait_for<T>(&mut self, mut wanted: impl FnMut(&ToLocker) -> Option<T>) -> T {
        let mut seen = 0;
        loop {
            while let Some(message) = self.waiting.get(seen) {
                if let Some(found) = wanted(message) {
                    self.waiting.remove(seen);
                    return found;
                }
                seen += 1;
            }
            self.receive().await;
        }
    }

    async fn handle(&mut self, message: ToLocker) {
        match message {
            ToLocker::Him(him) => {
                let is_near = host(&him.locker.node) == host(self.cx.node_name());
                if is_near { &mut self.near } else { &mut self.far }.push(him);
            }
            ToLocker::Cancel { node, tag, new_nodes } => {
                self.tell(new_nodes);
                self.remove(&node, tag);
            }
            ToLocker::LockSet { set: false, .. } => {}
            ToLocker::LockSet { locker, set: true, tag } => self.he_has_locked(locker, tag).await,
            ToLocker::AddToKnown(nodes) => self.known.extend(nodes),
            ToLocker::RemoveFromKnown(node) => drop(self.known.remove(&node)),
        }
    }

    /// The other locker was first.
    async fn he_has_locked(&mut self, locker: Pid, tag: Option<i64>) {
        let him = self.near.iter().chain(&self.far).find(|him| him.locker.node == locker.node);
        let Some(him) = him.filter(|him| tag.is_none_or(|tag| tag == him.tag)).cloned() else {
            let refused = tagged("lock_set", [self.cx.pid().clone().into(), false.into(), Term::nil()]);
            return self.cast(&locker.node, &refused);
        };
        let lock = self.lock_id(&locker);
        let set = self.lock_nodes_safely(&lock, None).await;
        self.send_lock_set(&him, set);
        if set {
            let locked: Vec<Atom> = self.known.iter().chain([self.cx.node_name()]).cloned().collect();
            self.both_have_locked(&him, lock, &locked).await;
        } else {
            self.just_synced = false;
        }
    }

    /// One of those who wait, whoever it is.
    async fn select_node(&mut self) {
        let known = &self.known;
        let others = if self.near.is_empty() { &mut self.far } else { &mut self.near };
        others.retain(|him| !known.contains(&him.locker.node));
        let Some(last) = others.len().checked_sub(1) else { return };
        let him = others[(self.random.next_u64() % (last as u64 + 1)) as usize].clone();
        let lock = self.lock_id(&him.locker);
        // His node too: so that his partition cannot be locked by anybody else meanwhile.
        if !self.lock_nodes_safely(&lock, Some(&him.locker.node)).await {
            return;
        }
        let us = [self.cx.node_name(), &him.locker.node];
        let locked: Vec<Atom> = self.known.iter().chain(us).cloned().collect();
        self.send_lock_set(&him, true);
        let answer = self.wait_for(|message| match message {
            ToLocker::LockSet { locker, set, tag } if locker.node == him.locker.node => {
                tag.is_none_or(|tag| tag == him.tag).then_some(if *set { Ok(()) } else { Err(None) })
            }
            ToLocker::Cancel { node, tag, new_nodes } if *node == him.locker.node && *tag == him.tag => {
                Some(Err(Some(new_nodes.clone())))
            }
            _ => None,
        });
        match answer.await {
            Ok(()) => self.both_have_locked(&him, lock, &locked).await,
            Err(cancelled) => {
                if let Some(new_nodes) = cancelled {
                    self.tell(new_nodes);
                    self.remove(&him.locker.node, him.tag);
                }
                self.delete_global_lock(&lock, &locked).await;
            }
        }
    }

    /// The name server takes it from here, until it says that the lock is to go.
    async fn both_have_locked(&mut self, him: &Him, lock: LockId, locked: &[Atom]) {
        let (node, tag) = (&him.locker.node, him.tag);
        self.server.push(Inside::LockIsSet { node: node.clone(), tag, lock: lock.clone() });
        let new_nodes = self.wait_for(|message| match message {
            ToLocker::Cancel { node: its, tag: its_tag, new_nodes } if its == node && *its_tag == tag => {
                Some(new_nodes.clone())
            }
            _ => None,
        });
        let new_nodes = new_nodes.await;
        self.tell(new_nodes);
        self.delete_global_lock(&lock, locked).await;
        self.just_synced = true;
        self.remove(node, tag);
    }

    fn tell(&self, new_nodes: Option<NewNodes>) {
        for (node, message) in new_nodes.into_iter().flat_map(|NewNodes(told)| told) {
            self.cast(&node, &message);
        }
    }

    fn send_lock_set(&self, him: &Him, set: bool) {
        let known = Term::list(self.known.iter().map(|node| Term::from(node.clone())));
        let message = [self.cx.pid().clone().into(), set.into(), known];
        let tag = (him.vsn >= VERIFY_CONNECT_VSN).then(|| him.his_tag.clone());
        self.cast(&him.locker.node, &tagged("lock_set", message.into_iter().chain(tag)));
    }

    /// Tells another node's name server something, if it is connected.
    fn cast(&self, node: &Atom, message: &Term) {
        super::server::cast_to(&self.cx, node, message);
    }

    fn remove(&mut self, node: &Atom, tag: i64) {
        let is_another = |him: &Him| him.locker.node != *node || him.tag != tag;
        self.near.retain(is_another);
        self.far.retain(is_another);
    }

    /// Both lockers lock for the same requester: what both partitions have is locked by both, and stays so until the last is done.
    fn lock_id(&self, his: &Pid) -> LockId {
        let mut both = [Term::from(self.cx.pid().clone()), Term::from(his.clone())];
        both.sort();
        LockId { resource: global_resource(), requester: Term::list(both) }
    }

    /// Locks the partition: its greatest node first, where all who lock it meet; then this node and `extra`, then the rest.
    async fn lock_nodes_safely(&mut self, lock: &LockId, extra: Option<&Atom>) -> bool {
        let me = self.cx.node_name().clone();
        let first = self.known.iter().chain([&me]).max().unwrap_or(&me).clone();
        // This node is not locked first, only looked at: that could stop somebody who has locked the greatest.
        if first != me && !self.table.can_set_lock(lock) {
            return false;
        }
        if !self.set_lock(lock, std::slice::from_ref(&first)).await {
            return false;
        }
        self.take_all().await;
        self.update_known();
        let second: Vec<Atom> =
            [Some(&me), extra].into_iter().flatten().filter(|node| **node != first).cloned().collect();
        if !self.set_lock(lock, &second).await {
            self.del_lock(lock, &[first]).await;
            return false;
        }
        let rest: Vec<Atom> = self.known.iter().filter(|node| **node != first).cloned().collect();
        if !self.set_lock(lock, &rest).await {
            let so_far: Vec<Atom> = [first].into_iter().chain(second).collect();
            self.del_lock(lock, &so_far).await;
            return false;
        }
        true
    }

    /// What is known, before anything else that waits.
    fn update_known(&mut self) {
        for message in std::mem::take(&mut self.waiting) {
            match message {
                ToLocker::AddToKnown(nodes) => self.known.extend(nodes),
                ToLocker::RemoveFromKnown(node) => drop(self.known.remove(&node)),
                message => self.waiting.push_back(message),
            }
        }
    }

    async fn set_lock(&self, lock: &LockId, nodes: &[Atom]) -> bool {
        let process: Arc<dyn AnyProcess> = self.cx.process().clone();
        set_lock_on_nodes(&process, &self.table, lock, nodes).await
    }

    async fn del_lock(&self, lock: &LockId, nodes: &[Atom]) {
        let process: Arc<dyn AnyProcess> = self.cx.process().clone();
        del_lock(&process, lock, nodes).await;
    }

    async fn delete_global_lock(&self, lock: &LockId, nodes: &[Atom]) {
        let process: Arc<dyn AnyProcess> = self.cx.process().clone();
        super::locks::delete_global_lock(&process, lock, nodes).await;
    }
}

fn host(node: &str) -> &str {
    node.split_once('@').map_or("", |(_, host)| host)
}

/// The name server of a node.
pub(super) fn name_server(node: &Atom) -> Destination {
    Destination::Remote(NAME, node.clone())
}
