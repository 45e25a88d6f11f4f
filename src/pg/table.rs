//! Who is in which group, for all to read.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::core::Change;
use super::message::Action;
use crate::term::{Pid, Term};

/// A scope's groups. Its server writes, everybody reads.
#[derive(Default)]
pub(super) struct Table(RwLock<BTreeMap<Term, Members>>);

/// The members of a group, in the order in which they joined.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) all: Vec<Pid>,
    pub(super) local: Vec<Pid>,
}

impl Table {
    // What runs under the lock leaves the table whole wherever it could panic.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Term, Members>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Term, Members>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn clear(&self) {
        let groups = std::mem::take(&mut *self.write());
        // Not under the lock.
        drop(groups);
    }

    pub(super) fn apply(&self, change: &Change) {
        let Change { action, group, pids, local } = change;
        let mut groups = self.write();
        match action {
            Action::Join => {
                let members = groups.entry(group.clone()).or_default();
                members.all.extend_from_slice(pids);
                if *local {
                    members.local.extend_from_slice(pids);
                }
            }
            Action::Leave => {
                let Some(members) = groups.get_mut(group) else { return };
                take_all(&mut members.all, pids);
                if *local {
                    take_all(&mut members.local, pids);
                }
                if members.all.is_empty() {
                    groups.remove(group);
                }
            }
        }
    }
}

/// Takes each pid out once for each time that it is in `what`, and returns those that were there.
pub(super) fn take_all(from: &mut Vec<Pid>, what: &[Pid]) -> Vec<Pid> {
    if let [pid] = what {
        let at = from.iter().position(|it| it == pid);
        return at.map(|at| from.remove(at)).into_iter().collect();
    }
    let mut times: BTreeMap<&Pid, usize> = BTreeMap::new();
    for pid in what {
        *times.entry(pid).or_default() += 1;
    }
    let (taken, left) = std::mem::take(from).into_iter().partition(|pid| match times.get_mut(pid) {
        Some(times) if *times > 0 => {
            *times -= 1;
            true
        }
        _ => false,
    });
    *from = left;
    taken
}
