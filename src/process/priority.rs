//! Priority messages: received before all ordinary ones, in the order in which they came.
//!
//! They have a queue of their own, which a process has once it has had one.
//!
//! Source: EEP 76, *Priority Messages*, as it is in OTP 28.

use std::collections::VecDeque;

use super::bound::Permit;
use super::{Attention, Shared};
use crate::etf::Payload;

/// What waits; with its permit, if the process's mailbox has a bound.
pub(super) type PriorityQueue = VecDeque<(Payload, Option<Permit>)>;

impl Shared {
    pub(super) fn push_priority(&self, message: Payload, permit: Option<Permit>) {
        self.state().rare().priority.get_or_insert_default().push_back((message, permit));
        self.notice(Attention::PRIORITY);
    }

    #[cold]
    pub(super) fn pop_priority(&self) -> Option<Payload> {
        let mut state = self.state();
        let queue = state.rare.as_mut()?.priority.as_mut()?;
        let message = queue.pop_front();
        if queue.is_empty() {
            self.forget(Attention::PRIORITY);
        }
        // Its permit goes: it waits no longer.
        message.map(|(message, _)| message)
    }

    pub(super) fn priority_messages(&self) -> usize {
        if !self.has(Attention::PRIORITY) {
            return 0;
        }
        let state = self.state();
        state.rare.as_ref().and_then(|rare| rare.priority.as_ref()).map_or(0, |queue| queue.len())
    }
}
