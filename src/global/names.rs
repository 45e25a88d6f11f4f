//! What is registered and locked on this node, and whose processes it hangs on.

use std::sync::Arc;

use super::core::Effect;
use super::message::{Entry, External, Op};
use super::table::{Held, LockId, Registered, Table};
use crate::etf::Payload;
use crate::term::{Atom, Pid, Term};

/// Why a process is monitored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Watch {
    /// The name is its.
    Name(Term, Pid),
    /// It holds a lock of the resource.
    Lock(Term, Pid),
}

impl Watch {
    pub(super) fn pid(&self) -> &Pid {
        let (Self::Name(_, pid) | Self::Lock(_, pid)) = self;
        pid
    }
}

/// Who asks for a name to be registered: that one must have `global`'s lock still.
#[derive(Debug, Clone, Copy)]
pub(super) enum Locked<'a> {
    /// A registrar.
    By(&'a Pid),
    /// Two partitions that join, with this lock.
    With(Option<&'a LockId>),
}

/// What an entry takes besides its terms.
const ENTRY_LEN: usize = 256;

pub(super) struct Names {
    table: Arc<Table>,
    /// How many bytes the entries may take, and do.
    len_max: usize,
    len: usize,
    /// Whether `global`'s own lock went last because who held it was lost.
    lock_down: bool,
}

impl Names {
    pub(super) fn new(table: Arc<Table>, len_max: usize) -> Self {
        Self { table, len_max, len: 0, lock_down: false }
    }

    /// All of them, to be told to another partition.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let table = self.table.read();
        let entry = |(name, it): (&Term, &Registered)| (name.clone(), it.pid.clone(), it.method.clone());
        table.names.iter().map(entry).collect()
    }

    pub(super) fn externals(&self) -> Vec<External> {
        let table = self.table.read();
        let external = |(name, it): (&Term, &Registered)| {
            it.external.as_ref().map(|node| (name.clone(), it.pid.clone(), node.clone()))
        };
        table.names.iter().filter_map(external).collect()
    }

    /// Registers a name, in place of who had it.
    pub(super) fn insert(
        &mut self,
        (name, pid, method): Entry,
        external: Option<Atom>,
        locked: Locked<'_>,
        effects: &mut Vec<Effect>,
    ) {
        self.delete(&name, effects);
        // Who had the lock is lost, and with it the right: this comes late.
        if !self.is_still_locked(locked) {
            return;
        }
        let len = len_of([&name, &method]);
        if self.len + len > self.len_max {
            tracing::error!(%name, len_max = self.len_max, "global has too many names, and does not take this one in");
            return;
        }
        self.len += len;
        effects.push(Effect::Monitor(Watch::Name(name.clone(), pid.clone())));
        let mut table = self.table.write();
        table.of_pids.insert(pid.clone(), name.clone());
        table.names.insert(name, Registered { pid, method, external });
    }

    pub(super) fn delete(&mut self, name: &Term, effects: &mut Vec<Effect>) {
        let mut table = self.table.write();
        let Some(Registered { pid, method, .. }) = table.names.remove(name) else { return };
        if table.of_pids.get(&pid) == Some(name) {
            table.of_pids.remove(&pid);
        }
        drop(table);
        self.len -= len_of([name, &method]);
        effects.push(Effect::Demonitor(Watch::Name(name.clone(), pid)));
    }

    /// What two partitions that join have worked out.
    pub(super) fn apply(
        &mut self,
        ops: &[Op],
        externals: &[External],
        lock: Option<&LockId>,
        effects: &mut Vec<Effect>,
    ) {
        for op in ops {
            match op {
                Op::Insert(entry @ (name, pid, _)) => {
                    let external = externals.iter().find(|(its, process, _)| its == name && process == pid);
                    let external = external.map(|(_, _, node)| node.clone());
                    self.insert(entry.clone(), external, Locked::With(lock), effects);
                }
                Op::Delete(_) => {}
            }
        }
        for op in ops {
            if let Op::Delete(name) = op {
                self.delete(name, effects);
            }
        }
    }

    fn is_still_locked(&self, locked: Locked<'_>) -> bool {
        match (self.table.read().locks.get(&super::global_resource()), locked) {
            (Some(held), Locked::By(pid)) => held.by.contains(pid),
            (Some(held), Locked::With(lock)) => lock.is_some_and(|lock| lock.requester == held.requester),
            (None, _) => !self.lock_down,
        }
    }

    /// Sets a lock for `pid` too; says whether nobody else has it.
    pub(super) fn set_lock(&mut self, id: &LockId, pid: &Pid, effects: &mut Vec<Effect>) -> bool {
        if !self.table.can_set_lock(id) {
            return false;
        }
        let mut table = self.table.write();
        if let Some(held) = table.locks.get_mut(&id.resource) {
            if held.by.contains(pid) {
                return true;
            }
            if self.len + ENTRY_LEN <= self.len_max {
                self.len += ENTRY_LEN;
                held.by.push(pid.clone());
                effects.push(Effect::Monitor(Watch::Lock(id.resource.clone(), pid.clone())));
                return true;
            }
        }
        let len = len_of([&id.resource, &id.requester]) + ENTRY_LEN;
        if self.len + len > self.len_max {
            tracing::error!(resource = %id.resource, len_max = self.len_max, "global has too many locks, and refuses this one");
            return false;
        }
        self.len += len;
        let held = Held { requester: id.requester.clone(), by: vec![pid.clone()] };
        table.locks.insert(id.resource.clone(), held);
        effects.push(Effect::Monitor(Watch::Lock(id.resource.clone(), pid.clone())));
        true
    }

    pub(super) fn del_lock(&mut self, id: &LockId, pid: &Pid, effects: &mut Vec<Effect>) {
        let is = self.table.read().locks.get(&id.resource).is_some_and(|held| held.requester == id.requester);
        if is && self.release(&id.resource, pid, false) {
            effects.push(Effect::Demonitor(Watch::Lock(id.resource.clone(), pid.clone())));
        }
    }

    /// The process holds the lock no longer. Returns whether it did.
    fn release(&mut self, resource: &Term, pid: &Pid, down: bool) -> bool {
        let mut table = self.table.write();
        let Some(held) = table.locks.get_mut(resource) else { return false };
        let Some(at) = held.by.iter().position(|it| it == pid) else { return false };
        held.by.remove(at);
        self.len -= ENTRY_LEN;
        if held.by.is_empty() {
            self.len -= len_of([resource, &held.requester]);
            table.locks.remove(resource);
            if *resource == super::global_resource() {
                self.lock_down = down;
            }
        }
        true
    }

    /// A process that was monitored is gone.
    pub(super) fn down(&mut self, watch: Watch, effects: &mut Vec<Effect>) {
        match watch {
            Watch::Name(name, pid) => {
                if self.table.registered(&name).is_some_and(|it| it.pid == pid) {
                    self.delete(&name, effects);
                }
            }
            Watch::Lock(resource, pid) => drop(self.release(&resource, &pid, true)),
        }
    }
}

fn len_of(terms: [&Term; 2]) -> usize {
    let len = |term| Payload::encode(term).map_or(0, |payload| payload.len());
    terms.into_iter().map(len).sum::<usize>() + ENTRY_LEN
}
