//! A link has two ends or none.
//!
//! Source: *Distribution Protocol*, "Link Protocol"; `link/1` in *erlang*.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::lives::{Life, Lives, host_of, life_of, node_and_peer, node_of};
use super::{Checker, Verdict, Violation};
use crate::trace::Event;

/// Once the cluster has come to rest no process is linked to one that is not linked to it, and each that linked was told of the end of the
/// other, or of the loss of the connection. It reads the reports of lives and of links; the processes trap exits.
#[derive(Debug, Default)]
pub struct Links {
    lives: Lives,
    running: BTreeMap<String, Life>,
    /// Who linked to whom, and what has happened that the first must be told of.
    open: BTreeMap<(String, String), Open>,
    /// What each says of itself in the end.
    ends: BTreeMap<String, (Life, BTreeSet<String>)>,
    at: Duration,
}

#[derive(Debug)]
struct Open {
    life: Life,
    linked: String,
    due: Option<String>,
}

impl Links {
    fn over(&mut self, event: &Event, is_it: impl Fn(&Life, &str, &str) -> bool) {
        for ((owner, target), open) in &mut self.open {
            if open.due.is_none() && is_it(&open.life, owner, target) {
                open.due = Some(event.to_string());
            }
        }
    }
}

impl Checker for Links {
    fn property(&self) -> &'static str {
        "links"
    }

    fn event(&mut self, event: &Event) -> Result<(), Violation> {
        self.at = event.at;
        let over = self.lives.event(event);
        if !over.is_empty() {
            let gone = self.running.iter().filter(|(_, of)| over.contains(of));
            let gone: BTreeSet<String> = gone.map(|(process, _)| process.clone()).collect();
            self.running.retain(|process, _| !gone.contains(process));
            self.open.retain(|_, open| !over.contains(&open.life));
            self.ends.retain(|_, (of, _)| !over.contains(of));
            self.over(event, |_, _, target| gone.contains(target));
        }
        let life = life_of(event);
        let mut fields = event.detail.split(' ');
        let mut field = || fields.next().unwrap_or_default().to_owned();
        match event.kind.as_str() {
            "start" => {
                self.running.insert(event.detail.clone(), life);
            }
            "end" => {
                self.running.remove(&event.detail);
                self.open.retain(|(owner, _), _| *owner != event.detail);
                self.ends.remove(&event.detail);
                self.over(event, |_, _, target| target == event.detail);
            }
            "nodedown" => {
                let Some((node, peer)) = node_and_peer(event) else { return Ok(()) };
                self.over(event, |of, owner, target| {
                    *of == life && node_of(owner) == node && node_of(target) == peer
                });
            }
            "link" => {
                let open = Open { life, linked: event.to_string(), due: None };
                self.open.entry((field(), field())).or_insert(open);
            }
            "unlink" | "told_exit" => {
                self.open.remove(&(field(), field()));
            }
            "links" => {
                let owner = field();
                let targets = fields.filter(|it| !it.is_empty()).map(str::to_owned).collect();
                self.ends.insert(owner, (life, targets));
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> Verdict {
        let untold = self.open.iter().find(|((owner, target), open)| {
            let over = open.due.is_some() || !self.running.contains_key(target);
            over && self.running.contains_key(owner) && self.lives.is_current(&open.life)
        });
        if let Some(((owner, target), open)) = untold {
            let text = format!("{owner} was linked to {target}, and never told of its end");
            let mut violation =
                Violation::at_end("links", self.at, text).with([open.linked.clone()]).with(open.due.clone());
            violation.node = Some(host_of(owner).to_owned());
            return Verdict::Violated(violation);
        }
        for (owner, (_, targets)) in &self.ends {
            for target in targets {
                let half = match self.ends.get(target) {
                    Some((_, others)) => !others.contains(owner),
                    None => !self.running.contains_key(target),
                };
                if half {
                    let text = format!("{owner} is linked to {target}, which is not linked to it");
                    return Verdict::Violated(Violation::at_end("links", self.at, text));
                }
            }
        }
        Verdict::Holds
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{holds, violated};
    use super::*;

    const BEGIN: &str =
        "0 a#1 boot\n0 b#1 boot\n1 a#1 start p/n@a\n1 b#1 start q/n@b\n2 a#1 link p/n@a q/n@b\n";

    fn run(rest: &str) -> String {
        format!("{BEGIN}{rest}")
    }

    #[test]
    fn a_link_with_two_ends_or_none_is_as_it_should_be() {
        holds(Links::default(), &run("9 a#1 links p/n@a q/n@b\n9 b#1 links q/n@b p/n@a"));
        holds(Links::default(), &run("3 a#1 unlink p/n@a q/n@b\n9 a#1 links p/n@a\n9 b#1 links q/n@b"));
        let told = "3 a#1 nodedown n@a n@b\n3 a#1 told_exit p/n@a q/n@b noconnection\n";
        holds(Links::default(), &run(&format!("{told}9 a#1 links p/n@a\n9 b#1 links q/n@b")));
        holds(
            Links::default(),
            &run("3 b#1 end q/n@b\n4 a#1 told_exit p/n@a q/n@b normal\n9 a#1 links p/n@a"),
        );
        holds(Links::default(), &run("3 b#1 end q/n@b\n4 a#2 boot"));
    }

    #[test]
    fn half_a_link_is_found() {
        violated(
            Links::default(),
            &run("9 a#1 links p/n@a q/n@b\n9 b#1 links q/n@b"),
            "p/n@a is linked to q/n@b, which is not",
        );
        violated(
            Links::default(),
            &run("3 a#1 unlink p/n@a q/n@b\n9 a#1 links p/n@a\n9 b#1 links q/n@b p/n@a"),
            "q/n@b is linked to p/n@a, which is not",
        );
        violated(
            Links::default(),
            "1 b#1 start q/n@b\n9 b#1 links q/n@b p/n@a",
            "q/n@b is linked to p/n@a, which is not",
        );
    }

    #[test]
    fn an_end_that_was_not_told_is_found() {
        violated(Links::default(), &run("3 b#1 end q/n@b"), "never told of its end");
        violated(Links::default(), &run("3 b#2 boot"), "never told of its end");
        violated(Links::default(), &run("3 a#1 nodedown n@a n@b"), "never told of its end");
    }
}
