//! Nodes come and go in turn, and each of two sees the other or neither does.
//!
//! Source: `monitor_nodes/1` in *net_kernel*.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::lives::{Life, Lives, host_of, life_of, node_and_peer, node_of};
use super::{Checker, Verdict, Violation};
use crate::fault::Fault;
use crate::trace::Event;

/// On each node a peer comes before it goes and goes before it comes again; who [monitors nodes](super::Report::monitors_nodes) is
/// told of all that, in order; and once the cluster has come to rest no node sees another one that does not see it.
#[derive(Debug, Default)]
pub struct Nodes {
    lives: Lives,
    /// After how much silence of a peer's host a node must take the peer for dead.
    silence: Option<Duration>,
    /// When each node last heard something from a peer's host, or began to listen.
    heard: BTreeMap<(Life, String), Duration>,
    paused: BTreeSet<String>,
    hidden: BTreeSet<String>,
    /// What each observer is still to be told.
    observers: BTreeMap<(Life, String), VecDeque<String>>,
    at: Duration,
}

impl Nodes {
    /// And no node takes another one for connected from whose host it has heard nothing for as long.
    pub fn silence(mut self, limit: Duration) -> Self {
        self.silence = Some(limit);
        self
    }

    /// What was sent to a paused host waits there: it has heard nothing yet.
    fn resume(&mut self, host: &str) {
        self.paused.remove(host);
        for ((life, _), heard) in &mut self.heard {
            if life.0 == host {
                *heard = self.at;
            }
        }
    }

    fn hear(&mut self, life: Life, host: &str) {
        self.heard.insert((life, host.to_owned()), self.at);
    }

    /// Who was silent for too long to whom.
    fn silent(&self) -> Option<(String, Duration)> {
        let limit = self.silence?;
        let mut up = self.lives.all_up().filter(|(life, _, _)| !self.paused.contains(&life.0));
        up.find_map(|(life, node, peer)| {
            let heard = self.heard.get(&(life.clone(), host_of(peer).to_owned()))?;
            let silent = self.at.saturating_sub(*heard);
            let text =
                format!("{node} has heard nothing from {peer} for {silent:?}, and takes it for connected");
            (silent > limit).then_some((text, silent))
        })
    }
}

impl Checker for Nodes {
    fn property(&self) -> &'static str {
        "nodes"
    }

    fn event(&mut self, event: &Event) -> Result<(), Violation> {
        self.at = event.at;
        let life = life_of(event);
        let violation = |text: String| Err(Violation::by("nodes", event, text));
        if let Some((text, _)) = self.silent() {
            return violation(text);
        }
        match event.kind.as_str() {
            "nodeup" | "nodedown" => {
                let Some((node, peer)) = node_and_peer(event) else { return Ok(()) };
                let is_up = self.lives.is_up(&life, node, peer);
                if event.kind == "nodeup" && is_up {
                    return violation(format!("on {node} {peer} came twice, and did not go between"));
                }
                self.heard.insert((life.clone(), host_of(peer).to_owned()), event.at);
                if event.kind == "nodedown" && !is_up {
                    return violation(format!("on {node} {peer} went, and had not come"));
                }
                for ((of, observer), untold) in &mut self.observers {
                    if !self.hidden.contains(peer) && *of == life && node_of(observer) == node {
                        untold.push_back(format!("{} {peer}", event.kind));
                    }
                }
            }
            "got" => {
                if let Some(host) = event.detail.split(' ').nth(1) {
                    self.hear(life, host);
                }
            }
            "fault" => match serde_json::from_str(&event.detail) {
                Ok(Fault::Pause { node }) => {
                    self.paused.insert(node);
                }
                Ok(Fault::Resume { node }) => self.resume(&node),
                _ => {}
            },
            "healed" => {
                for host in std::mem::take(&mut self.paused) {
                    self.resume(&host);
                }
            }
            "monitor_nodes" => {
                self.observers.entry((life, event.detail.clone())).or_default();
            }
            "hidden" => {
                self.hidden.insert(event.detail.clone());
            }
            "end" => {
                self.observers.remove(&(life, event.detail.clone()));
            }
            "told_node" => {
                let Some((observer, told)) = event.detail.split_once(' ') else { return Ok(()) };
                let Some(untold) = self.observers.get_mut(&(life, observer.to_owned())) else {
                    return Ok(());
                };
                if untold.pop_front().as_deref() != Some(told) {
                    return violation(format!(
                        "{observer} was told {told}, which was not what happened next"
                    ));
                }
            }
            _ => {}
        }
        self.lives.event(event);
        Ok(())
    }

    fn finish(&mut self) -> Verdict {
        for ((life, observer), untold) in &self.observers {
            if let Some(missing) = untold.front()
                && self.lives.is_current(life)
            {
                let text = format!("{observer} was never told {missing}");
                return Verdict::Violated(Violation::at_end("nodes", self.at, text));
            }
        }
        let up: BTreeSet<_> = self.lives.all_up().map(|(_, node, peer)| (node, peer)).collect();
        let one_sided = up.iter().find(|(node, peer)| {
            // Of a node that is not of the run nothing is known.
            let known = up.iter().any(|(other, _)| other == peer) || self.lives.has_host(host_of(peer));
            known && !up.contains(&(*peer, *node))
        });
        let violation = one_sided.map(|(node, peer)| {
            let text = format!("{node} is connected to {peer}, which is not connected to it");
            Violation::at_end("nodes", self.at, text)
        });
        violation.into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{holds, violated};
    use super::*;

    #[test]
    fn nodes_that_come_and_go_in_turn_are_as_they_should_be() {
        holds(
            Nodes::default(),
            "0 a#1 boot\n0 b#1 boot\n1 a#1 monitor_nodes o/n@a\n2 a#1 nodeup n@a n@b\n2 b#1 nodeup n@b n@a\n3 a#1 told_node o/n@a nodeup n@b
             4 a#1 nodedown n@a n@b\n5 b#1 nodedown n@b n@a\n6 a#1 told_node o/n@a nodedown n@b",
        );
        // A new life begins with nobody.
        holds(
            Nodes::default(),
            "0 a#1 boot\n0 b#1 boot\n1 a#1 nodeup n@a n@b\n1 b#1 nodeup n@b n@a\n2 a#2 boot\n3 b#1 nodedown n@b n@a\n4 a#2 nodeup n@a n@b\n4 b#1 nodeup n@b n@a",
        );
    }

    #[test]
    fn what_comes_twice_or_goes_twice_is_found() {
        violated(Nodes::default(), "1 a#1 nodeup n@a n@b\n2 a#1 nodeup n@a n@b", "came twice");
        violated(Nodes::default(), "1 a#1 nodedown n@a n@b", "had not come");
    }

    #[test]
    fn what_an_observer_was_not_told_or_was_told_wrongly_is_found() {
        let begin = "0 a#1 boot\n1 a#1 monitor_nodes o/n@a\n2 a#1 nodeup n@a n@b\n";
        violated(Nodes::default(), begin, "never told nodeup n@b");
        violated(
            Nodes::default(),
            &format!("{begin}3 a#1 told_node o/n@a nodedown n@b"),
            "told nodedown n@b, which was not",
        );
        let twice = "3 a#1 told_node o/n@a nodeup n@b\n4 a#1 told_node o/n@a nodeup n@b";
        violated(Nodes::default(), &format!("{begin}{twice}"), "which was not what happened next");
        holds(Nodes::default(), &format!("{begin}3 a#2 boot"));
        holds(Nodes::default(), &format!("0 b#1 hidden n@b\n{begin}"));
    }

    #[test]
    fn a_connection_that_one_side_has_not_noticed_the_end_of_is_found() {
        violated(
            Nodes::default(),
            "0 a#1 boot\n0 b#1 boot\n1 a#1 nodeup n@a n@b\n1 b#1 nodeup n@b n@a\n2 b#1 nodedown n@b n@a",
            "n@a is connected to n@b, which is not",
        );
    }

    #[test]
    fn a_peer_that_is_silent_for_too_long_and_taken_for_connected_is_found() {
        let nodes = || Nodes::default().silence(Duration::from_secs(5));
        let up = "0 a#1 boot\n0 b#1 boot\n1000 a#1 nodeup n@a 'n@b'\n1000 b#1 nodeup n@b 'n@a'\n4000 b#1 got 1 a 0 9\n";
        violated(nodes(), &format!("{up}6001 a#1 other"), "n@a has heard nothing from n@b for 5.001s");
        let heard = "5000 a#1 got 1 b 0 9\n";
        holds(nodes(), &format!("{up}{heard}8000 a#1 other"));
        violated(nodes(), &format!("{up}{heard}9500 a#1 other"), "n@b has heard nothing from n@a for 5.5s");
        let paused = "2000 sim fault {\"fault\":\"pause\",\"node\":\"a\"}\n";
        let resumed = "7000 sim fault {\"fault\":\"resume\",\"node\":\"a\"}\n";
        holds(nodes(), &format!("{up}{paused}{resumed}9000 a#1 other"));
    }
}
