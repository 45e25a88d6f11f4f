//! Supervisors restart what they should, in the order they should, and give up when they should.
//!
//! Source: *Supervisor Behaviour* in OTP Design Principles; `supervisor` in stdlib.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::lives::{Life, Lives, life_of};
use super::{Checker, Strategy, Verdict, Violation};
use crate::trace::Event;

/// A supervisor restarts no more often within its period than its intensity allows, stops only those children that its strategy says, the
/// last started first, starts them in their order, has all of them running in the end, and none left when it has ended. It reads the reports of
/// [supervisors](super::Report::supervisor) and of what they supervise.
#[derive(Debug, Default)]
pub struct Supervisors {
    lives: Lives,
    trees: BTreeMap<(Life, String), Tree>,
    at: Duration,
}

#[derive(Debug)]
struct Tree {
    strategy: Strategy,
    intensity: usize,
    period: Duration,
    children: Vec<String>,
    /// The children that run, by their place.
    running: BTreeSet<usize>,
    /// Those that somebody else kills.
    killed: BTreeSet<usize>,
    started: BTreeSet<usize>,
    /// The first of those that are to be started again, while there are any.
    restarting: Option<usize>,
    /// The child that was stopped or started last, in this restart.
    last_stop: Option<usize>,
    last_start: Option<usize>,
    /// Since when the children that are to be started again do not run.
    since: BTreeMap<usize, Duration>,
    /// Each from the end that led to it to the start that completed it: a supervisor counts it at some time between.
    restarts: Vec<(Duration, Duration)>,
    stopping: bool,
    ended: bool,
}

impl Tree {
    fn new(fields: &[&str]) -> Option<Self> {
        let [strategy, intensity, period, children @ ..] = fields else { return None };
        Some(Self {
            strategy: Strategy::named(strategy)?,
            intensity: intensity.parse().ok()?,
            period: Duration::from_millis(period.parse().ok()?),
            children: children.iter().map(|it| (*it).to_owned()).collect(),
            running: BTreeSet::new(),
            killed: BTreeSet::new(),
            started: BTreeSet::new(),
            restarting: None,
            last_stop: None,
            last_start: None,
            since: BTreeMap::new(),
            restarts: Vec::new(),
            stopping: false,
            ended: false,
        })
    }

    fn start(&mut self, child: usize, at: Duration) -> Result<(), String> {
        let name = &self.children[child];
        if self.ended {
            return Err(format!("{name} was started when its supervisor had ended"));
        }
        if !self.running.insert(child) {
            return Err(format!("{name} was started while it ran"));
        }
        if self.last_start.is_some_and(|last| child < last) && self.strategy != Strategy::OneForOne {
            let last = self.last_start.unwrap_or_default();
            return Err(format!("{name} was started after {}, which is after it", self.children[last]));
        }
        (self.last_start, self.last_stop) = (Some(child), None);
        let again = !self.started.insert(child);
        if !again {
            return Ok(());
        }
        // With the first that is started again the restart counts.
        let since = match self.strategy {
            Strategy::OneForOne => self.since.remove(&child),
            Strategy::OneForAll | Strategy::RestForOne if self.restarting == Some(child) => {
                std::mem::take(&mut self.since).into_values().min()
            }
            Strategy::OneForAll | Strategy::RestForOne => None,
        };
        if let Some(since) = since {
            self.restarts.push((since, at));
            // OTP counts in whole seconds: what is in a window that is shorter by one is so for it, too.
            let window = self.period.saturating_sub(Duration::from_secs(1));
            let count = self.restarts.iter().filter(|(since, _)| at - *since <= window).count();
            if count > self.intensity {
                let (period, intensity) = (self.period, self.intensity);
                return Err(format!(
                    "{count} restarts within {period:?}, and no more than {intensity} may be"
                ));
            }
        }
        if self.running.len() == self.children.len() {
            (self.restarting, self.last_stop, self.last_start) = (None, None, None);
        }
        Ok(())
    }

    fn end(&mut self, child: usize, at: Duration) -> Result<(), String> {
        self.running.remove(&child);
        self.last_start = None;
        let by_others = self.killed.remove(&child);
        let name = &self.children[child];
        if by_others {
            let first = match self.strategy {
                Strategy::OneForAll => 0,
                Strategy::OneForOne | Strategy::RestForOne => child,
            };
            // A child behind it may have been killed before.
            self.restarting = Some(self.restarting.map_or(first, |known| known.min(first)));
            self.since.entry(child).or_insert(at);
            return Ok(());
        }
        if !self.stopping {
            let may = match self.strategy {
                Strategy::OneForOne => false,
                Strategy::OneForAll | Strategy::RestForOne => {
                    self.restarting.is_some_and(|first| first <= child)
                }
            };
            // With too many restarts the supervisor stops all of them.
            let gives_up = self.restarting.is_some() && self.gives_up(at);
            if !may && !gives_up {
                return Err(format!("{name} was stopped without a reason"));
            }
            if gives_up && !may {
                (self.stopping, self.last_stop) = (true, None);
            }
        }
        if let Some(last) = self.last_stop
            && last < child
        {
            return Err(format!("{name} was stopped after {}, which is before it", self.children[last]));
        }
        self.last_stop = Some(child);
        Ok(())
    }

    /// Whether one more restart may be too many.
    fn gives_up(&self, at: Duration) -> bool {
        let window = self.period + Duration::from_secs(2);
        let within = self.restarts.iter().filter(|(_, until)| at - *until <= window);
        within.count() >= self.intensity
    }
}

impl Checker for Supervisors {
    fn property(&self) -> &'static str {
        "supervisors"
    }

    fn event(&mut self, event: &Event) -> Result<(), Violation> {
        self.at = event.at;
        self.lives.event(event);
        let fields: Vec<_> = event.detail.split(' ').filter(|it| !it.is_empty()).collect();
        let Some((supervisor, rest)) = fields.split_first() else { return Ok(()) };
        let key = (life_of(event), (*supervisor).to_owned());
        if event.kind == "supervisor" {
            if let Some(tree) = Tree::new(rest) {
                self.trees.insert(key, tree);
            }
            return Ok(());
        }
        let Some(tree) = self.trees.get_mut(&key) else { return Ok(()) };
        let child = rest.first().and_then(|child| tree.children.iter().position(|it| it == child));
        let done = match (event.kind.as_str(), child) {
            ("start", Some(child)) => tree.start(child, event.at),
            ("end", Some(child)) => tree.end(child, event.at),
            ("kill", Some(child)) => {
                if tree.running.contains(&child) {
                    tree.killed.insert(child);
                }
                Ok(())
            }
            ("stop", None) => {
                (tree.stopping, tree.last_stop) = (true, None);
                Ok(())
            }
            ("ended", None) => {
                tree.ended = true;
                match tree.running.first() {
                    Some(orphan) => {
                        Err(format!("{} runs, and its supervisor has ended", tree.children[*orphan]))
                    }
                    None if !tree.stopping && !tree.gives_up(event.at) => {
                        Err(format!("it gave up after {} restarts", tree.restarts.len()))
                    }
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        };
        done.map_err(|text| Violation::by("supervisors", event, format!("{supervisor}: {text}")))
    }

    fn finish(&mut self) -> Verdict {
        let unwell = self.trees.iter().find(|((life, _), tree)| {
            self.lives.is_current(life)
                && !tree.ended
                && !tree.stopping
                && tree.running.len() < tree.children.len()
        });
        let violation = unwell.map(|((_, supervisor), tree)| {
            let missing = (0..tree.children.len()).filter(|child| !tree.running.contains(child));
            let missing: Vec<_> = missing.map(|child| tree.children[child].as_str()).collect();
            let text = format!("{supervisor} runs, and its children {missing:?} do not");
            Violation::at_end("supervisors", self.at, text)
        });
        violation.into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{holds, violated};
    use super::*;

    fn run(strategy: &str, rest: &str) -> String {
        let begin = format!("0 a#1 boot\n0 a#1 supervisor s {strategy} 1 5000 x y z\n");
        format!("{begin}1 a#1 start s x\n1 a#1 start s y\n1 a#1 start s z\n{rest}")
    }

    #[test]
    fn each_strategy_stops_and_starts_whom_it_should() {
        let killed = "2 a#1 kill s y\n3 a#1 end s y\n";
        for (strategy, rest) in [
            ("one_for_one", "4 a#1 start s y"),
            (
                "one_for_all",
                "4 a#1 end s z\n4 a#1 end s x\n5 a#1 start s x\n5 a#1 start s y\n5 a#1 start s z",
            ),
            ("rest_for_one", "4 a#1 end s z\n5 a#1 start s y\n5 a#1 start s z"),
        ] {
            holds(Supervisors::default(), &run(strategy, &format!("{killed}{rest}")));
        }
        violated(
            Supervisors::default(),
            &run("one_for_one", &format!("{killed}4 a#1 start s y\n5 a#1 end s x")),
            "x was stopped without a reason",
        );
        violated(
            Supervisors::default(),
            &run("rest_for_one", &format!("{killed}3 a#1 end s x")),
            "x was stopped",
        );
        violated(
            Supervisors::default(),
            &run("one_for_all", &format!("{killed}4 a#1 end s x\n4 a#1 end s z")),
            "z was stopped after x",
        );
        violated(
            Supervisors::default(),
            &run(
                "one_for_all",
                &format!("{killed}4 a#1 end s z\n4 a#1 end s x\n5 a#1 start s y\n5 a#1 start s x"),
            ),
            "x was started after y",
        );
    }

    #[test]
    fn one_restart_too_many_is_found() {
        let twice =
            "2000 a#1 kill s y\n2000 a#1 end s y\n2001 a#1 start s y\n3000 a#1 kill s z\n3000 a#1 end s z\n";
        violated(
            Supervisors::default(),
            &run("one_for_one", &format!("{twice}3001 a#1 start s z")),
            "2 restarts within 5s",
        );
        let gives_up = "3001 a#1 end s y\n3001 a#1 end s x\n3002 a#1 ended s";
        holds(Supervisors::default(), &run("one_for_one", &format!("{twice}{gives_up}")));
        let later = "2000 a#1 kill s y\n2000 a#1 end s y\n2001 a#1 start s y\n8000 a#1 kill s z\n8000 a#1 end s z\n8001 a#1 start s z";
        holds(Supervisors::default(), &run("one_for_one", later));
    }

    #[test]
    fn orphans_and_children_that_never_come_back_are_found() {
        violated(
            Supervisors::default(),
            &run("one_for_one", "2 a#1 stop s\n3 a#1 end s z\n3 a#1 end s y\n4 a#1 ended s"),
            "x runs, and its supervisor has ended",
        );
        violated(
            Supervisors::default(),
            &run("one_for_one", "2 a#1 kill s y\n3 a#1 end s y"),
            "[\"y\"] do not",
        );
        violated(
            Supervisors::default(),
            &run("one_for_one", "2 a#1 stop s\n3 a#1 end s x\n3 a#1 end s y"),
            "y was stopped after x",
        );
        holds(
            Supervisors::default(),
            &run("one_for_one", "2 a#1 stop s\n3 a#1 end s z\n3 a#1 end s y\n3 a#1 end s x\n4 a#1 ended s"),
        );
        violated(
            Supervisors::default(),
            &run(
                "one_for_one",
                "2 a#1 kill s x\n2 a#1 end s x\n2 a#1 kill s y\n2 a#1 end s y\n2 a#1 kill s z\n2 a#1 end s z\n3 a#1 ended s",
            ),
            "it gave up after 0 restarts",
        );
    }

    #[test]
    fn a_host_that_starts_anew_starts_anew() {
        holds(
            Supervisors::default(),
            &run("one_for_one", "9 a#2 boot\n9 a#2 supervisor s one_for_one 1 5000 x\n10 a#2 start s x"),
        );
    }
}
