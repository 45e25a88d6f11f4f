//! Locks, on as many nodes as they are to hold on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use super::locker::name_server;
use super::message::tagged;
use super::table::{LockId, Table};
use crate::process::{AnyProcess, Context, ProcessMessage, multi_call};
use crate::term::{Atom, Term};

/// `global:set_lock/3`, `del_lock/2` and `trans/4`, for a process: from [`Context::global_locks`].
///
/// A lock is for a resource and a requester, either of them any term: who locks with the same requester has it too, all others have to
/// wait. It is set on this node and all that are connected when it is asked for, unless [`nodes`](Self::nodes) says otherwise, and it ends
/// with the process at the latest. Nodes that take no part in `global` have no say.
///
/// ```
/// # use beamline::{global::LockId, process::Context, term::{Atom, Term}};
/// # async fn example(cx: &Context<Term>) {
/// let id = LockId::new(Atom::from("ledger"), cx.pid().clone());
/// let total = cx.global_locks().trans(&id, async || 6 * 7).await;
/// assert_eq!(total, Some(42));
/// # }
/// ```
#[derive(Clone)]
pub struct Locks {
    process: Arc<dyn AnyProcess>,
    nodes: Option<Vec<Atom>>,
    retries: Option<u32>,
}

impl std::fmt::Debug for Locks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Locks({})", self.process.pid())
    }
}

impl Locks {
    /// On these nodes, and no others; without any a lock is always set.
    #[must_use]
    pub fn nodes(mut self, nodes: impl IntoIterator<Item = impl Into<Atom>>) -> Self {
        self.nodes = Some(nodes.into_iter().map(Into::into).collect());
        self
    }

    /// How often it is tried again if somebody else has the lock, after a random time of up to 1/4 second at first and 8 seconds at last;
    /// without end by default.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// `global:set_lock/3`: locks; says whether that was done.
    pub async fn set_lock(&self, id: &LockId) -> bool {
        let nodes = self.all_nodes();
        let local = self.process.shared().local();
        let table = local.shown_by(&super::NAME);
        let mut sleep = RandomSleep::new(local.world.entropy.fork("global lock"));
        loop {
            if set_lock_on_nodes(&self.process, &table, id, &nodes).await {
                return true;
            }
            if self.retries.is_some_and(|retries| sleep.times >= retries) {
                return false;
            }
            local.world.sleep(sleep.next()).await;
        }
    }

    /// `global:del_lock/2`: the process holds the lock no longer.
    pub async fn del_lock(&self, id: &LockId) {
        del_lock(&self.process, id, &self.all_nodes()).await;
    }

    /// `global:trans/4`: does something while the lock is set. `None` if it was not.
    pub async fn trans<R>(&self, id: &LockId, function: impl AsyncFnOnce() -> R) -> Option<R> {
        // It is to go where it was set.
        let this = Self { nodes: Some(self.all_nodes()), ..self.clone() };
        if !this.set_lock(id).await {
            return None;
        }
        let result = function().await;
        this.del_lock(id).await;
        Some(result)
    }

    fn all_nodes(&self) -> Vec<Atom> {
        let local = self.process.shared().local();
        self.nodes.clone().unwrap_or_else(|| {
            let others = local.distribution().map(|distribution| distribution.nodes()).unwrap_or_default();
            [local.node.clone()].into_iter().chain(others).collect()
        })
    }
}

impl<M: ProcessMessage> Context<M> {
    /// Locks that this process sets, on all nodes or some.
    pub fn global_locks(&self) -> Locks {
        Locks { process: self.process().clone(), nodes: None, retries: None }
    }
}

/// How long to wait until a lock is tried again.
pub(super) struct RandomSleep {
    random: ChaCha8Rng,
    times: u32,
}

impl RandomSleep {
    pub(super) fn new(random: ChaCha8Rng) -> Self {
        Self { random, times: 0 }
    }

    pub(super) fn next(&mut self) -> Duration {
        self.times = self.times.saturating_add(1);
        self.up_to(self.times)
    }

    /// As it is after so many tries.
    pub(super) fn up_to(&mut self, times: u32) -> Duration {
        let most = if times > 5 { 8000 } else { (1000 << times) / 8 };
        Duration::from_millis(1 + self.random.next_u64() % most)
    }
}

/// Sets a lock once on all of some nodes, or on none.
pub(super) async fn set_lock_on_nodes(
    process: &Arc<dyn AnyProcess>,
    table: &Table,
    id: &LockId,
    nodes: &[Atom],
) -> bool {
    if nodes.is_empty() {
        return true;
    }
    // This node is looked at before others are asked.
    if nodes.len() > 1 && nodes.contains(&process.pid().node) && !table.can_set_lock(id) {
        return false;
    }
    let replies =
        multi_call(process, nodes.iter().map(name_server), &tagged("set_lock", [id.to_term()])).await;
    // Who has no name server, or is gone, has no say.
    let said = |what| nodes.iter().zip(&replies).filter(move |(_, reply)| reply.as_ref().ok() == Some(&what));
    if said(Term::atom("false")).next().is_none() {
        return true;
    }
    let set: Vec<Atom> = said(Term::atom("true")).map(|(node, _)| node.clone()).collect();
    del_lock(process, id, &set).await;
    false
}

pub(super) async fn del_lock(process: &Arc<dyn AnyProcess>, id: &LockId, nodes: &[Atom]) {
    let _ = multi_call(process, nodes.iter().map(name_server), &tagged("del_lock", [id.to_term()])).await;
}

/// `global`'s own lock goes from the greatest node last, which is where it is set first.
pub(super) async fn delete_global_lock(process: &Arc<dyn AnyProcess>, id: &LockId, nodes: &[Atom]) {
    let mut nodes: BTreeSet<Atom> = nodes.iter().cloned().collect();
    let boss = nodes.pop_last();
    let others: Vec<Atom> = nodes.into_iter().collect();
    del_lock(process, id, &others).await;
    del_lock(process, id, boss.as_slice()).await;
}
