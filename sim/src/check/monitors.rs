//! Every monitor leads to one `DOWN`.
//!
//! Source: `monitor/2` and `demonitor/2` in *erlang*.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::lives::{Life, Lives, host_of, life_of, node_and_peer, node_of};
use super::{Checker, Verdict, Violation};
use crate::trace::Event;

/// Each monitor gets one `DOWN` when its target ends or the connection to it is lost, none before that, none after
/// [`demonitor`](super::Report::demonitor). It reads the reports of lives, monitors and `DOWN`s.
#[derive(Debug, Default)]
pub struct Monitors {
    lives: Lives,
    running: BTreeSet<String>,
    /// Where a process began.
    began: BTreeMap<String, Life>,
    ledger: BTreeMap<(Life, String, String), Entry>,
    at: Duration,
}

#[derive(Debug)]
struct Entry {
    target: String,
    set: String,
    /// Whether something has happened that a `DOWN` is due for, and what.
    due: Option<String>,
    /// It is not certain that one is due, but one may come.
    may: bool,
    done: Option<&'static str>,
}

impl Monitors {
    fn open(&mut self) -> impl Iterator<Item = (&(Life, String, String), &mut Entry)> {
        self.ledger.iter_mut().filter(|(_, entry)| entry.done.is_none() && entry.due.is_none())
    }

    fn over(&mut self, event: &Event, is_it: impl Fn(&Life, &str, &Entry) -> bool) {
        let why = event.to_string();
        for ((life, owner, _), entry) in self.open() {
            if is_it(life, owner, entry) {
                entry.due = Some(why.clone());
            }
        }
    }
}

impl Checker for Monitors {
    fn property(&self) -> &'static str {
        "monitors"
    }

    fn event(&mut self, event: &Event) -> Result<(), Violation> {
        self.at = event.at;
        let over = self.lives.event(event);
        if !over.is_empty() {
            let gone = self.began.iter().filter(|(_, began)| over.contains(began));
            let gone: BTreeSet<String> = gone.map(|(process, _)| process.clone()).collect();
            self.running.retain(|process| !gone.contains(process));
            self.over(event, |_, _, entry| gone.contains(&entry.target));
        }
        let life = life_of(event);
        match event.kind.as_str() {
            "start" => {
                self.running.insert(event.detail.clone());
                self.began.insert(event.detail.clone(), life);
                return Ok(());
            }
            "end" => {
                self.running.remove(&event.detail);
                self.over(event, |_, _, entry| entry.target == event.detail);
                // It took its monitors with it.
                self.ledger.retain(|(of, owner, _), _| (of, owner) != (&life, &event.detail));
                return Ok(());
            }
            "nodedown" => {
                let Some((node, peer)) = node_and_peer(event) else { return Ok(()) };
                self.over(event, |of, owner, entry| {
                    *of == life && node_of(owner) == node && node_of(&entry.target) == peer
                });
                return Ok(());
            }
            "monitor" | "demonitor" | "down" => {}
            _ => return Ok(()),
        }
        let mut fields = event.detail.splitn(3, ' ');
        let mut field = || fields.next().unwrap_or_default().to_owned();
        let (owner, number, rest) = (field(), field(), field());
        let key = (life, owner, number);
        if event.kind == "monitor" {
            let (life, owner, _) = &key;
            let near = node_of(owner) == node_of(&rest);
            let may = !self.running.contains(&rest)
                || !(near || self.lives.is_up(life, node_of(owner), node_of(&rest)));
            let set = event.to_string();
            self.ledger.insert(key, Entry { target: rest, set, due: None, may, done: None });
            return Ok(());
        }
        let (running, lives) = (&self.running, &self.lives);
        let Some(entry) = self.ledger.get_mut(&key) else {
            return Err(Violation::by("monitors", event, format!("a {} of no monitor", event.kind)));
        };
        let violation = |entry: &Entry, text: String| {
            Err(Violation::by("monitors", event, text).with([entry.set.clone()]))
        };
        match (event.kind.as_str(), entry.done) {
            ("demonitor", None) => entry.done = Some("demonitor"),
            ("demonitor", Some(_)) => {}
            (_, Some("down")) => {
                return violation(entry, format!("{} got a second DOWN of {}", key.1, entry.target));
            }
            (_, Some(_)) => {
                let text =
                    format!("{} got a DOWN of {} after it had taken the monitor back", key.1, entry.target);
                return violation(entry, text);
            }
            (_, None)
                if entry.due.is_none()
                    && !entry.may
                    && running.contains(&entry.target)
                    && !lives.was_twinned(host_of(&entry.target)) =>
            {
                let text = format!(
                    "{} was told that {} is down ({rest}), which runs on a node that it stayed connected to",
                    key.1, entry.target
                );
                return violation(entry, text);
            }
            (_, None) => entry.done = Some("down"),
        }
        Ok(())
    }

    fn finish(&mut self) -> Verdict {
        let lives = &self.lives;
        let overdue = self.ledger.iter().find(|((life, owner, _), entry)| {
            let ended = entry.due.is_some() || !self.running.contains(&entry.target);
            // Where nobody was seen running from the start, nothing is known.
            let known = entry.due.is_some() || self.began.contains_key(&entry.target);
            entry.done.is_none() && ended && known && lives.is_current(life) && self.running.contains(owner)
        });
        let violation = overdue.map(|((_, owner, _), entry)| {
            let text = format!("{owner} was never told that {} is down", entry.target);
            let mut violation = Violation::at_end("monitors", self.at, text)
                .with([entry.set.clone()])
                .with(entry.due.clone());
            violation.node = Some(host_of(owner).to_owned());
            violation
        });
        violation.into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{holds, violated};
    use super::*;

    const BEGIN: &str = "0 a#1 boot\n0 b#1 boot\n1 a#1 nodeup n@a n@b\n1 a#1 start w/n@a\n1 b#1 start t/n@b\n2 a#1 monitor w/n@a 1 t/n@b\n";

    fn run(rest: &str) -> String {
        format!("{BEGIN}{rest}")
    }

    #[test]
    fn one_down_for_an_end_a_lost_connection_or_a_crash_is_as_it_should_be() {
        holds(Monitors::default(), &run(""));
        holds(Monitors::default(), &run("3 b#1 end t/n@b\n4 a#1 down w/n@a 1 normal"));
        holds(Monitors::default(), &run("3 a#1 nodedown n@a n@b\n4 a#1 down w/n@a 1 noconnection"));
        holds(Monitors::default(), &run("3 b#2 boot\n4 a#1 down w/n@a 1 noconnection"));
        holds(Monitors::default(), &run("3 a#1 demonitor w/n@a 1\n4 b#1 end t/n@b"));
        // A DOWN is on its way while the target is seen to end.
        holds(Monitors::default(), &run("3 b#1 end t/n@b\n4 a#1 demonitor w/n@a 1"));
    }

    #[test]
    fn a_down_that_never_came_is_found() {
        violated(Monitors::default(), &run("3 b#1 end t/n@b"), "never told that t/n@b");
        violated(Monitors::default(), &run("3 a#1 nodedown n@a n@b\n4 a#1 nodeup n@a n@b"), "never told");
        violated(Monitors::default(), &run("3 b#2 boot"), "never told");
        // Who has ended itself, or whose host has, is not told.
        holds(Monitors::default(), &run("3 b#1 end t/n@b\n4 a#1 end w/n@a"));
        holds(Monitors::default(), &run("3 b#1 end t/n@b\n4 a#2 boot"));
    }

    #[test]
    fn a_second_down_and_one_after_demonitor_are_found() {
        let down = "3 b#1 end t/n@b\n4 a#1 down w/n@a 1 normal\n";
        violated(Monitors::default(), &run(&format!("{down}5 a#1 down w/n@a 1 noconnection")), "second DOWN");
        violated(
            Monitors::default(),
            &run("3 a#1 demonitor w/n@a 1\n4 b#1 end t/n@b\n5 a#1 down w/n@a 1 normal"),
            "after it had taken the monitor back",
        );
        violated(Monitors::default(), &run("3 a#1 down w/n@a 2 normal"), "of no monitor");
    }

    #[test]
    fn a_down_needs_a_cause() {
        violated(Monitors::default(), &run("3 a#1 down w/n@a 1 noconnection"), "stayed connected");
        // Without a connection, making one may fail.
        holds(
            Monitors::default(),
            "0 a#1 boot\n0 b#1 boot\n1 a#1 start w/n@a\n1 b#1 start t/n@b\n2 a#1 monitor w/n@a 1 t/n@b\n3 a#1 down w/n@a 1 noconnection",
        );
    }
}
