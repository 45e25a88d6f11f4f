//! What must happen in some run: a simulation in which it never does tests nothing.

use std::collections::BTreeMap;

use crate::trace::{Event, Trace};

type IsIt = Box<dyn Fn(&Event) -> bool>;

/// Counts over many runs in how many of them a fact was seen.
pub struct Sometimes {
    facts: Vec<(String, IsIt)>,
    seen: BTreeMap<String, usize>,
    runs: usize,
}

impl Sometimes {
    /// Facts that programs [report](super::Report::sometimes).
    pub fn new<'a>(facts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut this = Self { facts: Vec::new(), seen: BTreeMap::new(), runs: 0 };
        for fact in facts {
            let reported = fact.to_owned();
            this = this.event(fact, move |event| event.kind == "sometimes" && event.detail == reported);
        }
        this
    }

    /// And one that is an event of another kind.
    pub fn event(mut self, fact: &str, is_it: impl Fn(&Event) -> bool + 'static) -> Self {
        self.facts.push((fact.to_owned(), Box::new(is_it)));
        self.seen.insert(fact.to_owned(), 0);
        self
    }

    /// Looks at a run.
    pub fn run(&mut self, trace: &Trace) {
        self.runs += 1;
        for (fact, is_it) in &self.facts {
            if trace.events().iter().any(is_it) {
                *self.seen.entry(fact.clone()).or_default() += 1;
            }
        }
    }

    /// In how many runs each was seen.
    pub fn seen(&self) -> &BTreeMap<String, usize> {
        &self.seen
    }

    /// # Errors
    /// If there were facts that no run has shown, with their names.
    pub fn all(&self) -> Result<(), String> {
        let never: Vec<_> = self.seen.iter().filter(|(_, runs)| **runs == 0).map(|(fact, _)| fact).collect();
        if never.is_empty() { Ok(()) } else { Err(format!("never seen in {} runs: {never:?}", self.runs)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Report;
    use super::*;
    use crate::Sim;

    fn trace(fact: &'static str) -> Trace {
        let mut sim = Sim::new(1);
        sim.node("one", move |world| async move {
            Report::new(&world).sometimes(fact);
            Ok(())
        });
        sim.run().unwrap()
    }

    #[test]
    fn what_no_run_has_shown_is_named() {
        let mut sometimes = Sometimes::new(["rain", "snow"]).event("boot", |event| event.kind == "boot");
        sometimes.run(&trace("rain"));
        sometimes.run(&trace("rain"));
        assert_eq!(sometimes.all().unwrap_err(), "never seen in 2 runs: [\"snow\"]");
        sometimes.run(&trace("snow"));
        sometimes.all().unwrap();
        assert_eq!(sometimes.seen().values().copied().collect::<Vec<_>>(), [3, 2, 1]);
    }
}
