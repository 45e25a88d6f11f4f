//! What must hold in every run.
//!
//! A checker reads the events of a run, those of the library and those that programs [report](Report), and finds what should not have
//! happened. Each has one property:
//!
//! | checker | what it finds |
//! |---|---|
//! | [`Order`] | messages or signals of one process to another that came twice, out of order, or not at all over a connection that stood |
//! | [`Monitors`] | a monitor with two `DOWN`s, with none although it should have one, with one after `demonitor` or without a cause |
//! | [`Links`] | half a link, and an exit that was not told |
//! | [`Nodes`] | `nodeup` and `nodedown` that do not alternate, or were not told; two nodes of which only one sees the other |
//! | [`Supervisors`] | more restarts than the intensity, children stopped or started out of order, orphans |
//! | [`Convergence`] | views that differ after the cluster was healed, and names with two owners |
//! | [`Leaks`] | processes, monitors and more that are left over |
//! | [`Progress`] | requests without an answer after the cluster was healed |
//! | [`Wire`] | connections that are closed for what came over them |
//! | [`Linearizability`] | answers that no single copy of the data could have given |
//!
//! [`Sometimes`] looks at many runs: it finds what never happened in any.

mod convergence;
mod leaks;
mod linearizability;
mod links;
mod lives;
mod monitors;
mod nodes;
mod order;
mod progress;
mod report;
mod sometimes;
mod supervisor;
#[cfg(test)]
mod testing;
mod wire;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::convergence::Convergence;
pub use self::leaks::Leaks;
pub use self::linearizability::{Linearizability, Model, Register};
pub use self::links::Links;
pub use self::monitors::Monitors;
pub use self::nodes::Nodes;
pub use self::order::Order;
pub use self::progress::Progress;
pub use self::report::{Life, Operation, Report, Strategy};
pub use self::sometimes::Sometimes;
pub use self::supervisor::Supervisors;
pub use self::wire::Wire;

use crate::trace::Event;

/// A property that was broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The name of the [`Checker`]. A failure that is shrunk stays one of the same property.
    pub property: String,
    /// What went wrong, in a sentence.
    pub text: String,
    /// When it was seen, since the simulation began.
    pub at: Duration,
    /// The host it is about, where it is about one.
    pub node: Option<String>,
    /// The counter-example: a line each.
    pub details: Vec<String>,
}

impl Violation {
    /// Something that an event shows.
    pub fn by(property: &str, event: &Event, text: impl Into<String>) -> Self {
        Self {
            property: property.to_owned(),
            text: text.into(),
            at: event.at,
            node: Some(event.node.clone()),
            details: vec![event.to_string()],
        }
    }

    /// Something that is wrong at the end of a run.
    pub fn at_end(property: &str, at: Duration, text: impl Into<String>) -> Self {
        Self { property: property.to_owned(), text: text.into(), at, node: None, details: Vec::new() }
    }

    /// With more of the counter-example.
    pub fn with(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(details);
        self
    }
}

/// What a checker says at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not.
    Violated(Violation),
    /// It could not be found out, and why: never a pass.
    Undecided(String),
}

impl From<Option<Violation>> for Verdict {
    fn from(violation: Option<Violation>) -> Self {
        violation.map_or(Self::Holds, Self::Violated)
    }
}

/// Looks at what happens in a run.
pub trait Checker {
    /// The property's name, as reports have it: one word, or several with hyphens.
    fn property(&self) -> &'static str;

    /// Something happened.
    ///
    /// # Errors
    /// If by that the property is broken.
    fn event(&mut self, event: &Event) -> Result<(), Violation> {
        let _ = event;
        Ok(())
    }

    /// The run is over: all faults were healed, and the cluster had its time to come to rest.
    fn finish(&mut self) -> Verdict {
        Verdict::Holds
    }
}
