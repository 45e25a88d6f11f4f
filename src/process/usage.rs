//! What a process has: as `process_info/2` tells it, as far as somebody asks.

use std::sync::atomic::Ordering;

use super::{AnyProcess, Process, ProcessMessage};
use crate::term::Atom;

/// How much a process has of everything that ends with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) name: Option<Atom>,
    pub(crate) timers: usize,
    pub(crate) open_calls: usize,
    pub(crate) links: usize,
    pub(crate) monitors: usize,
    pub(crate) monitored_by: usize,
    pub(crate) aliases: usize,
    /// Messages that wait.
    pub(crate) queued: usize,
}

impl<M: ProcessMessage> Process<M> {
    pub(super) fn usage_now(&self) -> Usage {
        let mut usage = self.shared.with_relations(|relations| relations.usage()).unwrap_or_default();
        usage.name = self.shared.name();
        usage.timers = self.timers().as_ref().map_or(0, |timers| timers.len());
        usage.open_calls = self.shared.open_calls.load(Ordering::Acquire) as usize;
        usage.queued = self.message_queue_len();
        usage
    }
}
