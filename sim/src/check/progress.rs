//! A cluster that was healed serves.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Checker, Verdict, Violation};
use crate::trace::Event;

/// Each operation that a client asks for when the cluster has had its time after it was healed is answered within a bound, and one is.
/// It reads the reports of [operations](super::Report::invoke).
#[derive(Debug)]
pub struct Progress {
    rest: Duration,
    bound: Duration,
    healed: Option<Duration>,
    /// Operations that must be answered, by client and key.
    open: BTreeMap<(String, String), (Duration, String)>,
    invoked: usize,
    served: usize,
    at: Duration,
}

impl Progress {
    /// From `rest` after the cluster was healed each answer comes within `bound`, and is one.
    pub fn new(rest: Duration, bound: Duration) -> Self {
        Self { rest, bound, healed: None, open: BTreeMap::new(), invoked: 0, served: 0, at: Duration::ZERO }
    }
}

impl Checker for Progress {
    fn property(&self) -> &'static str {
        "progress"
    }

    fn event(&mut self, event: &Event) -> Result<(), Violation> {
        self.at = event.at;
        if event.kind == "healed" {
            self.healed = Some(event.at);
            return Ok(());
        }
        let mut fields = event.detail.splitn(3, ' ');
        let mut field = || fields.next().unwrap_or_default().to_owned();
        match event.kind.as_str() {
            "invoke" => {
                let key = (field(), field());
                if self.healed.is_some_and(|healed| event.at >= healed + self.rest) {
                    self.invoked += 1;
                    self.open.insert(key, (event.at, event.to_string()));
                }
            }
            "return" | "fail" | "unknown" => {
                let key = (field(), field());
                let Some((since, invoked)) = self.open.remove(&key) else { return Ok(()) };
                let took = event.at - since;
                if event.kind != "return" || took > self.bound {
                    let text = format!(
                        "{} after the cluster was healed an operation of {} came to {} in {took:?}",
                        format_args!("{:?}", since - self.healed.unwrap_or_default()),
                        key.0,
                        event.kind
                    );
                    return Err(Violation::by("progress", event, text).with([invoked]));
                }
                self.served += 1;
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> Verdict {
        let late = self.open.values().find(|(since, _)| self.at.saturating_sub(*since) > self.bound);
        if let Some((since, invoked)) = late {
            let text = format!("an operation waits since {:?} for its answer", self.at - *since);
            return Verdict::Violated(Violation::at_end("progress", self.at, text).with([invoked.clone()]));
        }
        if self.healed.is_some() && self.served == 0 {
            let text =
                format!("of {} operations none was answered after the cluster was healed", self.invoked);
            return Verdict::Violated(Violation::at_end("progress", self.at, text));
        }
        Verdict::Holds
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{holds, violated};
    use super::*;

    fn progress() -> Progress {
        Progress::new(Duration::from_secs(1), Duration::from_secs(2))
    }

    #[test]
    fn what_happens_before_the_cluster_has_had_its_time_does_not_count() {
        holds(
            progress(),
            "0 c#1 invoke c k read\n5000 sim healed\n5500 c#1 invoke d k read\n5600 c#1 fail d k timeout\n6000 c#1 invoke e k read\n7000 c#1 return e k 1",
        );
    }

    #[test]
    fn an_answer_that_is_late_or_is_none_is_found() {
        let begin = "1000 sim healed\n2000 c#1 invoke c k read\n";
        violated(progress(), &format!("{begin}4001 c#1 return c k 1"), "came to return in 2.001s");
        violated(progress(), &format!("{begin}2500 c#1 fail c k noproc"), "came to fail");
        violated(progress(), &format!("{begin}5000 c#1 other"), "waits since 3s");
        violated(progress(), &format!("{begin}2500 c#1 other"), "of 1 operations none was answered");
        violated(progress(), "1000 sim healed", "of 0 operations");
    }
}
