//! The timers of one process: they fire into its own queue, on its node's clock, and end with it.

use std::collections::BTreeMap;

use crate::process::Shared;
use crate::world::Mono;

/// A running timer, to be cancelled with [`Context::cancel_timer`](super::Context::cancel_timer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerReference {
    due: Mono,
    number: u64,
}

/// What a timer does when it is due.
pub(super) enum Fire<M> {
    Message(M),
    Repeat(Again<M>),
    Do(Box<dyn FnOnce(&Shared) + Send>),
}

/// Asked when a repeating timer is due, with when it was to be and the time now: the message, if there is one, and when to be asked again.
pub(super) type Again<M> = Box<dyn FnMut(Mono, Mono) -> (Option<M>, Option<Mono>) + Send>;

pub(super) struct Timers<M> {
    // By due time, then in the order of their making.
    timers: BTreeMap<TimerReference, Fire<M>>,
    /// A repeating timer keeps the reference that its maker holds.
    repeating: BTreeMap<TimerReference, TimerReference>,
    number: u64,
}

impl<M> Default for Timers<M> {
    fn default() -> Self {
        Self { timers: BTreeMap::new(), repeating: BTreeMap::new(), number: 0 }
    }
}

impl<M> Timers<M> {
    pub(super) fn start(&mut self, due: Mono, fire: Fire<M>) -> TimerReference {
        self.number += 1;
        let reference = TimerReference { due, number: self.number };
        if let Fire::Repeat(..) = fire {
            self.repeating.insert(reference, reference);
        }
        self.timers.insert(reference, fire);
        reference
    }

    /// Stops a timer. Returns when it would have been due.
    pub(super) fn cancel(&mut self, reference: TimerReference) -> Option<Mono> {
        let current = self.repeating.remove(&reference).unwrap_or(reference);
        self.timers.remove(&current).map(|_| current.due)
    }

    pub(super) fn len(&self) -> usize {
        self.timers.len()
    }

    pub(super) fn next_due(&self) -> Option<Mono> {
        self.timers.first_key_value().map(|(reference, _)| reference.due)
    }

    /// Takes the next timer that is due, as what it is to do now.
    pub(super) fn fire(&mut self, now: Mono) -> Option<Fire<M>> {
        loop {
            let entry = self.timers.first_entry().filter(|entry| entry.key().due <= now)?;
            let (reference, fire) = entry.remove_entry();
            let Fire::Repeat(mut again) = fire else { return Some(fire) };
            let (message, due) = again(reference.due, now);
            if let Some(due) = due {
                let next = TimerReference { due, number: reference.number };
                if let Some(current) = self.repeating.values_mut().find(|current| **current == reference) {
                    *current = next;
                }
                self.timers.insert(next, Fire::Repeat(again));
            } else {
                self.repeating.retain(|_, current| *current != reference);
            }
            if let Some(message) = message {
                return Some(Fire::Message(message));
            }
        }
    }
}
