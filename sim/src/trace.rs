//! What happened in a run: its events in order, and a hash of all of them.

use std::fmt::{Display, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use beamline::world::Probe;

/// FNV-1a: short, and the same in every release of Rust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fnv(pub(crate) u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The events of a run, each a line: simulated nanoseconds, `node#incarnation`, kind, detail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    hash: Fnv,
    events: Vec<String>,
}

/// Where two runs that should be the same part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// How many events they have in common.
    pub common: usize,
    /// What then happened in the first, if anything did.
    pub left: Option<String>,
    /// What then happened in the second.
    pub right: Option<String>,
}

impl Trace {
    /// A hash of every event; equal for equal runs.
    pub fn hash(&self) -> u64 {
        self.hash.0
    }

    /// The events, in the order in which they happened.
    pub fn events(&self) -> &[String] {
        &self.events
    }

    /// Where this run and another part; `None` if they are the same.
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        let common = self.events.iter().zip(&other.events).take_while(|(left, right)| left == right).count();
        let (left, right) = (self.events.get(common).cloned(), other.events.get(common).cloned());
        (left.is_some() || right.is_some()).then_some(Difference { common, left, right })
    }

    fn push(&mut self, event: String) {
        self.hash.write(event.as_bytes());
        self.hash.write(b"\n");
        self.events.push(event);
    }
}

/// What all nodes of a run write to.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    trace: Trace,
    panics: Vec<String>,
    // While a node is torn down there is no simulated time, and what it does then is no part of the run.
    closed: bool,
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_closed(&self, closed: bool) {
        self.lock().closed = closed;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(crate) fn record(&self, at: Duration, node: &str, kind: &str, detail: &dyn Display) {
        let mut event = String::new();
        // Writing to a string cannot fail.
        let _ = write!(event, "{} {node} {kind} {detail}", at.as_nanos());
        let mut state = self.lock();
        if state.closed {
            return;
        }
        if kind == "panic" {
            state.panics.push(event.clone());
        }
        state.trace.push(event);
    }

    /// The panics so far.
    pub(crate) fn panics(&self) -> Vec<String> {
        self.lock().panics.clone()
    }

    pub(crate) fn take(&self) -> Trace {
        std::mem::take(&mut self.lock().trace)
    }
}

/// One incarnation of a node, as it reports to the trace.
pub(crate) struct NodeProbe {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) node: String,
}

impl Probe for NodeProbe {
    fn event(&self, node: &str, kind: &'static str, detail: &dyn Display) {
        let Some(at) = turmoil::sim_elapsed() else { return };
        if node.is_empty() {
            self.recorder.record(at, &self.node, kind, detail);
        } else {
            self.recorder.record(at, &format!("{}/{node}", self.node), kind, detail);
        }
    }
}
