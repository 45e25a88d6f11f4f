//! The process that registers and unregisters names, one at a time, with `global`'s own lock on all nodes that have the same names.
//!
//! Source: `trans_all_known` and "The registrar is a helper process" in `global.erl` in kernel.

use std::any::Any;
use std::sync::Arc;

use super::locker::name_server;
use super::locks::{RandomSleep, del_lock, delete_global_lock, set_lock_on_nodes};
use super::message::{Entry, tagged};
use super::table::{LockId, Table};
use crate::process::{
    AnyProcess, Context, Destination, ExitReason, Giver, ProcessMessage, Received, multi_call,
};
use crate::term::{Atom, Term};

/// What it is asked.
pub(super) struct Registration {
    pub(super) what: What,
    pub(super) done: Giver<bool>,
}

pub(super) enum What {
    /// Unless somebody has the name.
    Register(Entry),
    ReRegister(Entry),
    Unregister(Term),
}

impl ProcessMessage for Registration {
    type Brief = std::convert::Infallible;

    fn from_brief(brief: Self::Brief) -> Self {
        match brief {}
    }

    fn take(value: &mut dyn Any) -> Option<Self> {
        value.downcast_mut::<Option<Self>>()?.take()
    }
}

pub(super) struct Registrar {
    cx: Context<Registration>,
    table: Arc<Table>,
}

impl Registrar {
    pub(super) fn new(cx: Context<Registration>, table: Arc<Table>) -> Self {
        Self { cx, table }
    }

    pub(super) async fn run(mut self) -> ExitReason {
        let process: Arc<dyn AnyProcess> = self.cx.process().clone();
        let id = LockId::new(super::global_resource(), self.cx.pid().clone());
        loop {
            let Received::Own(Registration { what, done }) = self.cx.receive_signal().await else { continue };
            let nodes = self.set_lock_known(&process, &id).await;
            let did = self.act(&process, what, &nodes).await;
            delete_global_lock(&process, &id, &nodes).await;
            done.give(did);
        }
    }

    async fn act(&self, process: &Arc<dyn AnyProcess>, what: What, nodes: &[Atom]) -> bool {
        let register = |(name, pid, method): Entry| tagged("register", [name, pid.into(), method]);
        let request = match what {
            What::Register(entry) => {
                let (name, pid, _) = &entry;
                let taken = super::whereis(self.cx.local(), &self.table, name).is_some();
                let other = self.table.read().of_pids.get(pid).cloned();
                if let Some(other) = &other
                    && !taken
                {
                    tracing::error!(%pid, %name, %other, "a process is not registered under several global names");
                }
                if taken || other.is_some() {
                    return false;
                }
                register(entry)
            }
            What::ReRegister(entry) => register(entry),
            What::Unregister(name) => tagged("unregister", [name]),
        };
        let _ = multi_call(process, nodes.iter().map(name_server), &request).await;
        true
    }

    /// Locks all nodes that have the same names, and returns them.
    async fn set_lock_known(&self, process: &Arc<dyn AnyProcess>, id: &LockId) -> Vec<Atom> {
        let mut sleep = RandomSleep::new(self.cx.world().entropy.fork("global registrar"));
        loop {
            let known = self.get_known(process).await;
            let nodes: Vec<Atom> = [self.cx.node_name()].into_iter().chain(&known).cloned().collect();
            let boss = nodes.iter().max().cloned();
            // The greatest first, where all who lock the partition meet.
            if set_lock_on_nodes(process, &self.table, id, boss.as_slice()).await {
                if set_lock_on_nodes(process, &self.table, id, &nodes).await {
                    let now_known = self.get_known(process).await;
                    if now_known.iter().all(|node| known.contains(node)) {
                        return nodes;
                    }
                }
                del_lock(process, id, boss.as_slice()).await;
            }
            self.cx.world().sleep(sleep.next()).await;
        }
    }

    async fn get_known(&self, process: &Arc<dyn AnyProcess>) -> Vec<Atom> {
        let server = [Destination::Name(super::NAME)];
        let replies = multi_call(process, server.into_iter(), &Atom::from_static("get_known")).await;
        let known = replies.first().and_then(|reply| reply.as_ref().ok()).and_then(Term::as_list);
        known.unwrap_or_default().iter().filter_map(|node| node.as_atom().cloned()).collect()
    }
}
