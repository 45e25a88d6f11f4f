//! What happened in a run: its events in order, and a hash of all of them.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use beamline::world::Probe;
use serde::{Deserialize, Serialize};

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

/// Something that happened. As text it is a line: simulated nanoseconds, `node#incarnation`, kind, detail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, since the simulation began.
    pub at: Duration,
    /// The host it happened on, and `sim` for what is done to the cluster.
    pub node: String,
    /// Which life of the host's program, from 1 on; 0 for `sim`.
    pub incarnation: u32,
    /// What kind of thing.
    pub kind: String,
    /// The rest.
    pub detail: String,
}

impl Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at.as_nanos(), self.node)?;
        if self.incarnation > 0 {
            write!(f, "#{}", self.incarnation)?;
        }
        write!(f, " {} {}", self.kind, self.detail)
    }
}

/// The events of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    hash: Fnv,
    events: Vec<Event>,
}

impl FromIterator<Event> for Trace {
    fn from_iter<I: IntoIterator<Item = Event>>(events: I) -> Self {
        let mut trace = Self::default();
        for event in events {
            trace.push(event);
        }
        trace
    }
}

/// Where two runs that should be the same part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// How many events they have in common.
    pub common: usize,
    /// What then happened in the first, if anything did.
    pub left: Option<Event>,
    /// What then happened in the second.
    pub right: Option<Event>,
}

impl Trace {
    /// A hash of every event; equal for equal runs.
    pub fn hash(&self) -> u64 {
        self.hash.0
    }

    /// The events, in the order in which they happened.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Where this run and another part; `None` if they are the same.
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        let common = self.events.iter().zip(&other.events).take_while(|(left, right)| left == right).count();
        let (left, right) = (self.events.get(common).cloned(), other.events.get(common).cloned());
        (left.is_some() || right.is_some()).then_some(Difference { common, left, right })
    }

    fn push(&mut self, event: Event) {
        self.hash.write(event.to_string().as_bytes());
        self.hash.write(b"\n");
        self.events.push(event);
    }
}

/// Something that no run may have, whatever its checkers say: a panic, or a program that failed.
#[derive(Debug, Clone)]
pub(crate) struct Mishap {
    pub(crate) property: &'static str,
    pub(crate) event: Event,
}

/// In what tokio says of a socket that is made where no driver waits for it, as in a simulated node.
const NO_SOCKETS: &str = "IO is disabled";

const HINT: &str = "\nThere is no real input and output in a simulated node: connect and listen through World::net, and use World::clock \
                    and World::disk for time and files.";

/// What all nodes of a run write to.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    trace: Trace,
    /// The mistakes that a test has asked for.
    planted: BTreeSet<&'static str>,
    mishap: Option<Mishap>,
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

    pub(crate) fn plant(&self, mistake: &'static str) {
        self.lock().planted.insert(mistake);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(crate) fn record(
        &self,
        at: Duration,
        (node, incarnation): (&str, u32),
        kind: &str,
        detail: &dyn Display,
    ) {
        let event = Event {
            at,
            node: node.to_owned(),
            incarnation,
            kind: kind.to_owned(),
            detail: detail.to_string(),
        };
        let mut state = self.lock();
        if state.closed {
            return;
        }
        // In a callback, a panic ends its process and no more; but this one is the test's mistake.
        let real = matches!(kind, "panic" | "exit") && event.detail.contains(NO_SOCKETS);
        if kind == "panic" || real {
            let mut event = event.clone();
            if real {
                event.detail.push_str(HINT);
            }
            state.mishap.get_or_insert(Mishap { property: "panic", event });
        }
        state.trace.push(event);
    }

    /// The program of a node has failed.
    pub(crate) fn program_failed(&self, at: Duration, (node, incarnation): (&str, u32), error: &dyn Display) {
        let (kind, detail) = ("failed".to_owned(), error.to_string());
        let event = Event { at, node: node.to_owned(), incarnation, kind, detail };
        let mut state = self.lock();
        if !state.closed {
            state.trace.push(event.clone());
            state.mishap.get_or_insert(Mishap { property: "program", event });
        }
    }

    /// The first mishap so far.
    pub(crate) fn mishap(&self) -> Option<Mishap> {
        self.lock().mishap.clone()
    }

    /// Hands on the events from `start` on, until one is refused; how many there are now.
    pub(crate) fn each_from<E>(
        &self,
        start: usize,
        mut look: impl FnMut(&Event) -> Result<(), E>,
    ) -> Result<usize, E> {
        let state = self.lock();
        let events = state.trace.events();
        events.iter().skip(start).try_for_each(&mut look)?;
        Ok(events.len())
    }

    pub(crate) fn trace(&self) -> Trace {
        self.lock().trace.clone()
    }

    pub(crate) fn take(&self) -> Trace {
        std::mem::take(&mut self.lock().trace)
    }
}

/// One incarnation of a node, as it reports to the trace.
pub(crate) struct NodeProbe {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) node: String,
    pub(crate) incarnation: u32,
}

impl Probe for NodeProbe {
    fn planted(&self, mistake: &str) -> bool {
        self.recorder.lock().planted.contains(mistake)
    }

    fn event(&self, node: &str, kind: &'static str, detail: &dyn Display) {
        let Some(at) = turmoil::sim_elapsed() else { return };
        let place = (self.node.as_str(), self.incarnation);
        if node.is_empty() {
            self.recorder.record(at, place, kind, detail);
        } else {
            // Of one of several nodes that the host has.
            self.recorder.record(at, place, kind, &format_args!("{node} {detail}"));
        }
    }
}
