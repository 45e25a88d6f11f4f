//! What checkers know of hosts and connections, from the events of the library.

use std::collections::{BTreeMap, BTreeSet};

use crate::fault::Fault;
use crate::trace::Event;

/// One life of a host.
pub(super) type Life = (String, u32);

pub(super) fn life_of(event: &Event) -> Life {
    (event.node.clone(), event.incarnation)
}

/// The node and the peer of a `nodeup` or a `nodedown`. Atoms are written in Erlang's syntax, with quotes.
pub(super) fn node_and_peer(event: &Event) -> Option<(&str, &str)> {
    let (node, peer) = event.detail.split_once(' ')?;
    Some((node.trim_matches('\''), peer.trim_matches('\'')))
}

/// The host of a process that is named `NAME/NODE`, or of a node.
pub(super) fn host_of(process: &str) -> &str {
    process.rsplit('@').next().unwrap_or_default()
}

/// The node of a process that is named `NAME/NODE`.
pub(super) fn node_of(process: &str) -> &str {
    process.split_once('/').map_or(process, |(_, node)| node)
}

/// Which lives hosts live, and who is connected to whom, as each node sees it.
#[derive(Debug, Default)]
pub(super) struct Lives {
    /// More than one while a twin runs beside it.
    alive: BTreeMap<String, BTreeSet<u32>>,
    twins: BTreeSet<Life>,
    /// Where there was one.
    twinned: BTreeSet<String>,
    /// Where the next that begins is a twin.
    twin_next: BTreeSet<String>,
    /// By the life of the host, its node, and the peer.
    up: BTreeSet<(Life, String, String)>,
}

impl Lives {
    /// Returns the lives that end by the event.
    pub(super) fn event(&mut self, event: &Event) -> Vec<Life> {
        match event.kind.as_str() {
            "boot" => {
                let alive = self.alive.entry(event.node.clone()).or_default();
                if self.twin_next.remove(&event.node) && !alive.is_empty() {
                    alive.insert(event.incarnation);
                    self.twinned.insert(event.node.clone());
                    self.twins.insert(life_of(event));
                    return Vec::new();
                }
                let over = std::mem::replace(alive, [event.incarnation].into());
                over.into_iter().map(|incarnation| (event.node.clone(), incarnation)).collect()
            }
            "fault" => match serde_json::from_str(&event.detail) {
                Ok(Fault::Crash { node } | Fault::PowerLoss { node } | Fault::Restart { node }) => {
                    self.twin_next.remove(&node);
                    let over = self.alive.get_mut(&node).map(std::mem::take).unwrap_or_default();
                    over.into_iter().map(|incarnation| (node.clone(), incarnation)).collect()
                }
                Ok(Fault::Twin { node }) => {
                    self.twin_next.insert(node);
                    Vec::new()
                }
                _ => Vec::new(),
            },
            "healed" => {
                let twins = std::mem::take(&mut self.twins);
                let mut is_over = |(host, incarnation): &Life| {
                    self.alive.get_mut(host).is_some_and(|alive| alive.remove(incarnation))
                };
                twins.into_iter().filter(|life| is_over(life)).collect()
            }
            "nodeup" | "nodedown" => {
                let Some((node, peer)) = node_and_peer(event) else { return Vec::new() };
                let key = (life_of(event), node.to_owned(), peer.to_owned());
                if event.kind == "nodeup" {
                    self.up.insert(key);
                } else {
                    self.up.remove(&key);
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Whether a host still lives that life.
    pub(super) fn is_current(&self, (host, incarnation): &Life) -> bool {
        self.alive.get(host).is_none_or(|alive| alive.contains(incarnation))
    }

    /// Whether there were ever two of a host's program at once, so that its name says little.
    pub(super) fn was_twinned(&self, host: &str) -> bool {
        self.twinned.contains(host)
    }

    /// Whether there is a host of that name.
    pub(super) fn has_host(&self, host: &str) -> bool {
        self.alive.contains_key(host)
    }

    /// Whether a node sees another one connected.
    pub(super) fn is_up(&self, life: &Life, node: &str, peer: &str) -> bool {
        self.up.contains(&(life.clone(), node.to_owned(), peer.to_owned()))
    }

    /// Who sees whom connected, of the hosts that live on.
    pub(super) fn all_up(&self) -> impl Iterator<Item = (&Life, &str, &str)> {
        let alive = self.up.iter().filter(|(life, _, _)| self.is_current(life));
        alive.map(|(life, node, peer)| (life, node.as_str(), peer.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lives(events: &[(&str, u32, &str, &str)]) -> Vec<Life> {
        let mut lives = Lives::default();
        let mut over = Vec::new();
        for (node, incarnation, kind, detail) in events {
            let (node, kind, detail) = ((*node).to_owned(), (*kind).to_owned(), (*detail).to_owned());
            let event =
                Event { at: std::time::Duration::ZERO, node, incarnation: *incarnation, kind, detail };
            over.extend(lives.event(&event));
        }
        assert!(over.iter().all(|life| !lives.is_current(life)));
        over
    }

    #[test]
    fn a_life_ends_with_a_crash_or_a_next_one_and_that_of_a_twin_when_all_is_healed() {
        let fault = |fault: &'static str| ("sim", 0, "fault", fault);
        let boot = |incarnation| ("a", incarnation, "boot", "");
        let a = |incarnation| ("a".to_owned(), incarnation);
        assert_eq!(lives(&[boot(1), boot(2)]), [a(1)]);
        let crash = fault(r#"{"fault":"crash","node":"a"}"#);
        assert_eq!(lives(&[boot(1), crash, boot(2)]), [a(1)]);
        let twin = fault(r#"{"fault":"twin","node":"a"}"#);
        assert_eq!(lives(&[boot(1), twin, boot(2)]), []);
        assert_eq!(lives(&[boot(1), twin, boot(2), ("sim", 0, "healed", "")]), [a(2)]);
        assert_eq!(lives(&[boot(1), twin, boot(2), crash, boot(3)]), [a(1), a(2)]);
        // None is started beside one that does not run.
        assert_eq!(lives(&[boot(1), crash, twin, boot(2), boot(3)]), [a(1), a(2)]);
    }
}
