//! What checkers know of hosts and connections, from the events of the library.

use std::collections::{BTreeMap, BTreeSet};

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

/// Which life each host lives, and who is connected to whom, as each node sees it.
#[derive(Debug, Default)]
pub(super) struct Lives {
    incarnations: BTreeMap<String, u32>,
    /// By the life of the host, its node, and the peer.
    up: BTreeSet<(Life, String, String)>,
}

impl Lives {
    pub(super) fn event(&mut self, event: &Event) {
        match event.kind.as_str() {
            "boot" => {
                self.incarnations.insert(event.node.clone(), event.incarnation);
            }
            "nodeup" | "nodedown" => {
                let Some((node, peer)) = node_and_peer(event) else { return };
                let key = (life_of(event), node.to_owned(), peer.to_owned());
                if event.kind == "nodeup" {
                    self.up.insert(key);
                } else {
                    self.up.remove(&key);
                }
            }
            _ => {}
        }
    }

    /// Whether a host still lives that life.
    pub(super) fn is_current(&self, (host, incarnation): &Life) -> bool {
        self.incarnations.get(host).is_none_or(|current| current == incarnation)
    }

    /// Whether there is a host of that name.
    pub(super) fn has_host(&self, host: &str) -> bool {
        self.incarnations.contains_key(host)
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
