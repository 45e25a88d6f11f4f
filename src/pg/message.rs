//! What scopes tell each other, and what they tell those who monitor groups.

use serde::{Deserialize, Serialize};

use crate::term::{Atom, Pid, Reference, Term};

/// What happened to members of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// They have joined.
    Join,
    /// They have left, ended, or were lost with their node.
    Leave,
}

/// The message of [`monitor`](super::ScopeRef::monitor) and [`monitor_scope`](super::ScopeRef::monitor_scope):
/// `{Reference, join | leave, Group, Pids}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupEvent(
    /// The monitor.
    pub Reference,
    /// What happened.
    pub Action,
    /// The group.
    pub Term,
    /// Whom it happened to: a process is there as many times as it has joined or left.
    pub Vec<Pid>,
);

/// What a scope tells another one; the first pid is its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    Discover(Pid),
    /// All its members. Sent as a cast, all others are plain messages.
    Sync(Pid, Vec<(Term, Vec<Pid>)>),
    Join(Pid, Term, Vec<Pid>),
    /// One entry for each membership.
    Leave(Pid, Vec<Pid>, Vec<Term>),
}

/// What a scope is told, by other scopes or by its node.
#[derive(Debug, PartialEq)]
pub(super) enum Told {
    Scope(Message),
    NodeUp(Atom),
    NodeDown,
    Down(Reference),
}

impl Told {
    /// `None` of anything else.
    pub(super) fn from_term(term: &Term) -> Option<Self> {
        let [tag, rest @ ..] = term.as_tuple()? else { return None };
        let message = match (tag.as_atom()?.as_str(), rest) {
            // A version of the protocol may follow.
            ("discover", [peer] | [peer, _]) => Message::Discover(peer.as_pid()?.clone()),
            ("join", [peer, group, who]) => Message::Join(peer.as_pid()?.clone(), group.clone(), pids(who)?),
            ("leave", [peer, who, groups]) => {
                Message::Leave(peer.as_pid()?.clone(), pids(who)?, groups.as_list()?.to_vec())
            }
            ("nodeup", [node]) => return Some(Self::NodeUp(node.as_atom()?.clone())),
            ("nodedown", [_]) => return Some(Self::NodeDown),
            ("DOWN", [reference, _, _, _]) => return Some(Self::Down(reference.as_reference()?.clone())),
            _ => return None,
        };
        Some(Self::Scope(message))
    }
}

impl Message {
    /// The scope that says it.
    pub(super) fn sender(&self) -> &Pid {
        match self {
            Self::Discover(pid) | Self::Sync(pid, _) | Self::Join(pid, ..) | Self::Leave(pid, ..) => pid,
        }
    }

    /// `{sync, Peer, [{Group, Pids}]}`. `None` of anything else.
    pub(super) fn from_cast(cast: &Term) -> Option<Self> {
        let [tag, peer, groups] = cast.as_tuple()? else { return None };
        let group = |group: &Term| match group.as_tuple()? {
            [group, who] => Some((group.clone(), pids(who)?)),
            _ => None,
        };
        let groups = groups.as_list()?.iter().map(group).collect::<Option<_>>()?;
        tag.is_atom("sync").then_some(())?;
        Some(Self::Sync(peer.as_pid()?.clone(), groups))
    }
}

/// `Pid | [Pid]`.
fn pids(term: &Term) -> Option<Vec<Pid>> {
    match term.as_pid() {
        Some(pid) => Some(vec![pid.clone()]),
        None => term.as_list()?.iter().map(|pid| pid.as_pid().cloned()).collect(),
    }
}
