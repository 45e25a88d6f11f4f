//! How much of large messages is on its way at once while small signals go beside them.
//!
//! What the sockets of both ends hold stands before a small signal, and systems let them hold dozens of megabytes. A sender cannot see
//! how much is in them, but it can ask: a peer answers a monitor of a process that is not there at once, and behind all that came
//! before it. Nobody can have the name `undefined`.
//!
//! Source: *Distribution Protocol*, "Control Message" (MONITOR_P, MONITOR_P_EXIT); `erlang:register/2`.

use std::collections::VecDeque;
use std::time::Duration;

use crate::dist::{Control, Item};
use crate::etf::Payload;
use crate::term::{Atom, Pid, Reference};
use crate::world::Mono;

/// Questions that wait for their answers: while one is on its way back, what stands behind the other keeps the peer busy.
const QUESTIONS_MAX: usize = 2;
/// The least that is sent for each question.
const STEP_MIN: usize = 64 << 10;
/// The most: it fills the fastest long way that there is.
const STEP_MAX: usize = 64 << 20;
/// So many answers tell how quick the next one may be.
const ANSWERS: usize = 100;

/// Asks the peer how far it has come, and holds large messages back until it answers.
#[derive(Debug)]
pub(crate) struct Pace {
    question: Control<Payload>,
    reference: Reference,
    /// When those that are not answered were asked, the oldest first.
    asked: VecDeque<Mono>,
    /// How much is sent for each.
    step: usize,
    /// How much of that is sent.
    sent: usize,
    /// How long the quickest of the last answers took, and of those before: ways become longer, too.
    quickest: Duration,
    quickest_before: Duration,
    /// How many those last ones are.
    answers: usize,
    /// Whether an answer came since this was last looked at.
    answered: bool,
}

impl Pace {
    /// `node` is who asks: no process, but the node itself.
    pub(crate) fn new(node: Pid) -> Self {
        // No other reference of the node has this third word.
        let reference = Reference::of_words(node.node.clone(), node.creation, 3, [0, 0, 1, 0, 0]);
        let item = Item::Name(Atom::from_static("undefined"));
        let question = Control::Monitor { from: node, item, reference: reference.clone() };
        Self {
            question,
            reference,
            asked: VecDeque::new(),
            step: STEP_MIN,
            sent: 0,
            quickest: Duration::MAX,
            quickest_before: Duration::MAX,
            answers: 0,
            answered: true,
        }
    }

    pub(super) fn question(&self) -> &Control<Payload> {
        &self.question
    }

    /// Small signals begin to go beside large ones.
    pub(super) fn begin(&mut self) {
        (self.step, self.sent) = (STEP_MIN, 0);
    }

    /// Whether large messages wait for an answer.
    pub(super) fn holds(&self) -> bool {
        self.asked.len() >= QUESTIONS_MAX
    }

    /// So much more of large messages is sent. Returns whether it is time for a question.
    pub(super) fn sends(&mut self, len: usize) -> bool {
        self.sent += len;
        self.sent >= self.step
    }

    pub(super) fn asks(&mut self, now: Mono) {
        self.sent = 0;
        self.asked.push_back(now);
    }

    /// Takes an answer, if it is one. What is sent for a question grows while answers come as soon as ever, and shrinks when they do
    /// not: then more only waits on the way, or for the peer.
    pub(super) fn answered(&mut self, reference: &Reference, now: Mono) -> bool {
        if *reference != self.reference {
            return false;
        }
        let Some(asked) = self.asked.pop_front() else { return true };
        self.answered = true;
        let took = now.since(asked);
        if self.answers == ANSWERS {
            (self.quickest_before, self.quickest, self.answers) = (self.quickest, Duration::MAX, 0);
        }
        self.quickest = self.quickest.min(took);
        self.answers += 1;
        let quickest = self.quickest.min(self.quickest_before);
        let step = match took {
            soon if soon <= quickest + quickest / 4 => self.step * 2,
            late if late > quickest + quickest / 2 => self.step / 2,
            _ => self.step,
        };
        self.step = step.clamp(STEP_MIN, STEP_MAX);
        true
    }

    /// Whether the peer does not answer: nothing came since the last time that this was asked.
    pub(super) fn is_ignored(&mut self) -> bool {
        !std::mem::take(&mut self.answered) && !self.asked.is_empty()
    }
}
