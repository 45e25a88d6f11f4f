//! Monitors of calls that outlive them, for further calls to the same processes of other nodes.

use std::hint::cold_path;

use smallvec::SmallVec;

use super::ConnectionId;
use super::relations::{Monitor, Monitored};
use crate::term::{Pid, Reference};

/// So many processes' monitors are kept: of who calls more of them in turns, those of the first ones.
const MONITORS_MAX: usize = 256;

/// The monitor of a call that has ended.
pub(super) struct Kept {
    pub(super) reference: Reference,
    pub(super) pid: Pid,
    pub(super) connection: ConnectionId,
    /// The number of the call that has it now.
    pub(super) call: Option<u64>,
}

impl Kept {
    pub(super) fn into_monitor(self) -> (Reference, Monitor) {
        let target = Monitored::Process(self.pid);
        (self.reference, Monitor { target, bound: None, connection: Some(self.connection) })
    }
}

/// Those of a process, until it waits for something else than a call.
#[derive(Default)]
pub(super) struct KeptMonitors {
    /// Mostly it is one.
    all: SmallVec<[Kept; 1]>,
    /// Where the last one was found: the next is most often the same, or the one behind it.
    last: usize,
}

impl KeptMonitors {
    pub(super) fn has_room(&self) -> bool {
        self.all.len() < MONITORS_MAX
    }

    pub(super) fn add(&mut self, kept: Kept) {
        self.all.push(kept);
    }

    #[inline]
    pub(super) fn find(&mut self, is: impl Fn(&Kept) -> bool) -> Option<&mut Kept> {
        let all = self.all.as_mut_slice();
        let at = position(all, &mut self.last, is)?;
        all.get_mut(at)
    }

    pub(super) fn remove(&mut self, is: impl Fn(&Kept) -> bool) -> Option<Kept> {
        let kept = position(&self.all, &mut self.last, is).map(|at| self.all.swap_remove(at));
        if self.all.is_empty() {
            // Who called many does not keep memory for many.
            *self = Self::default();
        }
        kept
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.all.iter()
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = Kept> {
        self.all.into_iter()
    }
}

#[inline(always)]
fn position(all: &[Kept], last: &mut usize, is: impl Fn(&Kept) -> bool) -> Option<usize> {
    if all.get(*last).is_some_and(&is) {
        return Some(*last);
    }
    cold_path();
    let from = all.len().min(*last);
    let mut places = (from..all.len()).chain(0..from);
    *last = places.find(|at| is(&all[*at]))?;
    Some(*last)
}
