//! What happened in a test.

use std::collections::VecDeque;
use std::fmt::{self, Display};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::world::TestClock;
use crate::term::Pid;
use crate::world::Probe;

/// So many events are kept, the last ones.
const EVENTS_MAX: usize = 100_000;

/// Keeps what the nodes of a test tell.
pub(super) struct Recorder {
    pub(super) clock: Arc<TestClock>,
    pub(super) events: Mutex<VecDeque<Event>>,
}

pub(super) struct Event {
    at: Duration,
    what: What,
}

enum What {
    Signal {
        to: Pid,
        from: Option<Pid>,
        signal: String,
    },
    /// The end of a process, by its numbers.
    Exit {
        node: String,
        numbers: String,
        reason: String,
    },
    Other {
        node: String,
        kind: &'static str,
        detail: String,
    },
}

impl Event {
    /// Whether the process got it, sent it, or ended with it.
    pub(super) fn is_of(&self, pid: &Pid) -> bool {
        match &self.what {
            What::Signal { to, from, .. } => to == pid || from.as_ref() == Some(pid),
            What::Exit { node, numbers, .. } => {
                *node == *pid.node && *numbers == format!("{}.{}", pid.id, pid.serial)
            }
            What::Other { .. } => false,
        }
    }
}

impl Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} ", self.at.as_secs(), self.at.subsec_millis())?;
        match &self.what {
            What::Signal { to, from: None, signal } => write!(f, "{to} gets {signal}"),
            What::Signal { to, from: Some(from), signal } => write!(f, "{to} gets {signal}, sent by {from}"),
            What::Exit { node, numbers, reason } => write!(f, "<{node}.{numbers}> ends: {reason}"),
            What::Other { node, kind, detail } => write!(f, "{node} {kind} {detail}"),
        }
    }
}

impl Recorder {
    pub(super) fn events(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, what: What) {
        let at = self.clock.elapsed();
        let mut events = self.events();
        if events.len() == EVENTS_MAX {
            events.pop_front();
        }
        events.push_back(Event { at, what });
    }
}

impl Probe for Recorder {
    fn event(&self, node: &str, kind: &'static str, detail: &dyn Display) {
        let (node, detail) = (node.to_owned(), detail.to_string());
        self.push(match detail.split_once(' ') {
            Some((numbers, reason)) if kind == "exit" => {
                What::Exit { node, numbers: numbers.to_owned(), reason: reason.to_owned() }
            }
            _ => What::Other { node, kind, detail },
        });
    }

    fn traces_signals(&self) -> bool {
        true
    }

    fn signal(&self, to: &Pid, from: Option<&Pid>, signal: &dyn Display) {
        self.push(What::Signal { to: to.clone(), from: from.cloned(), signal: signal.to_string() });
    }
}
