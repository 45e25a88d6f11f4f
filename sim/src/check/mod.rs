//! What must hold in every run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

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
