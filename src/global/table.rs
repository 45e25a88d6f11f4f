//! The names and the locks that a node knows of: the name server writes them, everybody reads.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::registrar::Registration;
use super::server::NameServer;
use crate::process::Process;
use crate::term::{Atom, Pid, Term};

/// `{ResourceId, LockRequesterId}`: what is locked, and for whom. Several processes may hold a lock for one requester.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockId {
    /// What is locked.
    pub resource: Term,
    /// For whom.
    pub requester: Term,
}

impl LockId {
    /// A lock of a resource, for a requester; a process's own pid is usual.
    pub fn new(resource: impl Into<Term>, requester: impl Into<Term>) -> Self {
        Self { resource: resource.into(), requester: requester.into() }
    }

    pub(super) fn from_term(term: &Term) -> Option<Self> {
        let [resource, requester] = term.as_tuple()? else { return None };
        Some(Self::new(resource.clone(), requester.clone()))
    }

    pub(super) fn to_term(&self) -> Term {
        Term::tuple([self.resource.clone(), self.requester.clone()])
    }
}

/// A registered name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Registered {
    pub(super) pid: Pid,
    /// What decides if the name turns out to be registered twice: a fun.
    pub(super) method: Term,
    /// The node that registered the name of a process which is on none that takes part.
    pub(super) external: Option<Atom>,
}

/// A lock that is set.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Held {
    pub(super) requester: Term,
    pub(super) by: Vec<Pid>,
}

#[derive(Default)]
pub(super) struct Entries {
    pub(super) names: BTreeMap<Term, Registered>,
    /// A process has one name.
    pub(super) of_pids: BTreeMap<Pid, Term>,
    pub(super) locks: BTreeMap<Term, Held>,
    /// The processes, once they run.
    pub(super) server: Option<NameServer>,
    pub(super) registrar: Option<Arc<Process<Registration>>>,
}

/// The names and the locks.
#[derive(Default)]
pub(super) struct Table(RwLock<Entries>);

impl Table {
    // What runs under the lock leaves the table whole wherever it could panic.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn registered(&self, name: &Term) -> Option<Registered> {
        self.read().names.get(name).cloned()
    }

    /// Whether nobody else has the lock.
    pub(super) fn can_set_lock(&self, id: &LockId) -> bool {
        self.read().locks.get(&id.resource).is_none_or(|held| held.requester == id.requester)
    }

    /// Whether somebody has `global`'s own lock: names change, or nodes join.
    pub(super) fn is_global_lock_set(&self) -> bool {
        self.read().locks.contains_key(&super::global_resource())
    }
}
