//! What name servers tell each other.
//!
//! Source: "Messages in the protocol" in `global.erl` in kernel.

use crate::term::{Atom, Pid, Reference, Term};

use super::table::LockId;

/// The version of the protocol that is spoken here: that of OTP 25 and later.
pub(super) const VSN: i64 = 8;
/// From this version on attempts to connect are confirmed and cancelled.
pub(super) const VERIFY_CONNECT_VSN: i64 = 8;
/// From this version on nodes tell of lost connections, and of each other's versions.
pub(super) const LOST_CONNECTION_VSN: i64 = 7;
/// The eldest version that can be spoken with.
pub(super) const VSN_MIN: i64 = 5;

/// A name, its process, and what decides if it is registered twice.
pub(super) type Entry = (Term, Pid, Term);
/// A name of a process that is on no node which takes part, and the node that registered it.
pub(super) type External = (Term, Pid, Atom);

/// What is to be done to the names of a partition.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Op {
    Insert(Entry),
    Delete(Term),
}

/// What another node's name server says, or this node itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Message {
    InitConnect {
        vsn: i64,
        tag: Term,
        node: Atom,
        locker: Pid,
    },
    InitConnectAck {
        node: Atom,
        mine: Term,
        theirs: Term,
    },
    CancelConnect {
        node: Atom,
        tag: i64,
    },
    LockSet {
        locker: Pid,
        set: bool,
        tag: Option<i64>,
    },
    Exchange {
        node: Atom,
        names: Vec<Entry>,
        tag: i64,
    },
    Resolved {
        node: Atom,
        resolved: Resolved,
        tag: i64,
    },
    NewNodes {
        node: Atom,
        ops: Vec<Op>,
        external: Vec<External>,
        nodes: Vec<(Atom, i64)>,
        lock: Option<LockId>,
    },
    InSync {
        node: Atom,
    },
    LostConnection {
        from: Atom,
        creation: Term,
        id: i64,
        node: Atom,
    },
    RemoveConnection {
        node: Atom,
    },
    Whereis {
        name: Term,
        from: (Pid, Term),
    },
    NodeUp(Atom),
    NodeDown(Atom),
    Down(Reference),
    /// Of versions that are long gone.
    Nothing,
}

/// What another node has worked out.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Resolved {
    pub(super) ops: Vec<Op>,
    pub(super) known: Vec<(Atom, i64)>,
    pub(super) external: Vec<External>,
}

impl Message {
    /// A cast. `None` of anything unknown.
    pub(super) fn from_cast(term: &Term) -> Option<Self> {
        let [tag, rest @ ..] = term.as_tuple()? else { return None };
        Some(match (tag.as_atom()?.as_str(), rest) {
            ("init_connect", [vsn, node, init]) => {
                let [vsn, tag, ..] = vsn.as_tuple()? else { return None };
                let [locker, _, _, pid] = init.as_tuple()? else { return None };
                locker.is_atom("locker").then_some(())?;
                Self::InitConnect {
                    vsn: vsn.as_integer()?,
                    tag: tag.clone(),
                    node: atom(node)?,
                    locker: pid.as_pid()?.clone(),
                }
            }
            ("lock_set", [pid, set, _known, tag @ ..]) => Self::LockSet {
                locker: pid.as_pid()?.clone(),
                set: set.as_bool()?,
                tag: match tag {
                    [] => None,
                    [tag] => Some(tag.as_integer()?),
                    _ => return None,
                },
            },
            ("exchange", [node, names, _external, tag]) => {
                Self::Exchange { node: atom(node)?, names: list(names, entry)?, tag: tag.as_integer()? }
            }
            ("resolved", [node, ops, known, _unused, external_names, tag]) => Self::Resolved {
                node: atom(node)?,
                resolved: Resolved {
                    ops: list(ops, op)?,
                    known: list(known, known_node)?,
                    external: list(external_names, external)?,
                },
                tag: tag.as_integer()?,
            },
            ("new_nodes", [node, ops, external_names, nodes, info]) => Self::NewNodes {
                node: atom(node)?,
                ops: list(ops, op)?,
                external: list(external_names, external)?,
                nodes: list(nodes, known_node)?,
                lock: info.as_list()?.iter().find_map(|info| match info.as_tuple()? {
                    [key, lock] if key.is_atom("lock") => LockId::from_term(lock),
                    _ => None,
                }),
            },
            ("in_sync", [node, _is_known]) => Self::InSync { node: atom(node)? },
            ("async_del_name" | "async_del_lock", [_, _]) => Self::Nothing,
            _ => return None,
        })
    }

    /// A message that is no cast. `None` of anything unknown.
    pub(super) fn from_info(term: &Term) -> Option<Self> {
        let [tag, rest @ ..] = term.as_tuple()? else { return None };
        Some(match (tag.as_atom()?.as_str(), rest) {
            ("nodeup", [node]) => Self::NodeUp(atom(node)?),
            ("nodedown", [node]) => Self::NodeDown(atom(node)?),
            ("DOWN", [reference, _, _, _]) => Self::Down(reference.as_reference()?.clone()),
            ("init_connect_ack", [node, mine, theirs]) => {
                Self::InitConnectAck { node: atom(node)?, mine: mine.clone(), theirs: theirs.clone() }
            }
            ("cancel_connect", [node, tag]) => {
                Self::CancelConnect { node: atom(node)?, tag: tag.as_integer()? }
            }
            ("lost_connection", [from, creation, id, node]) => Self::LostConnection {
                from: atom(from)?,
                creation: creation.clone(),
                id: id.as_integer()?,
                node: atom(node)?,
            },
            ("remove_connection", [node]) => Self::RemoveConnection { node: atom(node)? },
            ("whereis", [name, from]) => {
                let [pid, tag] = from.as_tuple()? else { return None };
                Self::Whereis { name: name.clone(), from: (pid.as_pid()?.clone(), tag.clone()) }
            }
            _ => return None,
        })
    }
}

fn atom(term: &Term) -> Option<Atom> {
    term.as_atom().cloned()
}

fn list<T>(term: &Term, element: impl Fn(&Term) -> Option<T>) -> Option<Vec<T>> {
    term.as_list()?.iter().map(element).collect()
}

fn entry(term: &Term) -> Option<Entry> {
    match term.as_tuple()? {
        [name, pid, method] => Some((name.clone(), pid.as_pid()?.clone(), method.clone())),
        _ => None,
    }
}

fn external(term: &Term) -> Option<External> {
    match term.as_tuple()? {
        [name, pid, node] => Some((name.clone(), pid.as_pid()?.clone(), atom(node)?)),
        _ => None,
    }
}

fn op(term: &Term) -> Option<Op> {
    match term.as_tuple()? {
        [tag, of] if tag.is_atom("insert") => Some(Op::Insert(entry(of)?)),
        [tag, name] if tag.is_atom("delete") => Some(Op::Delete(name.clone())),
        _ => None,
    }
}

/// `{Node, Vsn}`, or of older versions `Node`, whose version is not known.
fn known_node(term: &Term) -> Option<(Atom, i64)> {
    match term {
        Term::Atom(node) => Some((node.clone(), 0)),
        term => match term.as_tuple()? {
            [node, vsn] => Some((atom(node)?, vsn.as_integer()?)),
            _ => None,
        },
    }
}

/// `{Tag, Elements…}`.
pub(super) fn tagged(tag: &'static str, elements: impl IntoIterator<Item = Term>) -> Term {
    Term::tuple([Term::atom(tag)].into_iter().chain(elements))
}

pub(super) fn entry_term((name, pid, method): &Entry) -> Term {
    Term::tuple([name.clone(), pid.clone().into(), method.clone()])
}

pub(super) fn external_term((name, pid, node): &External) -> Term {
    Term::tuple([name.clone(), pid.clone().into(), node.clone().into()])
}

pub(super) fn op_term(op: &Op) -> Term {
    match op {
        Op::Insert(entry) => tagged("insert", [entry_term(entry)]),
        Op::Delete(name) => tagged("delete", [name.clone()]),
    }
}

/// The nodes with their versions, for a node that speaks `vsn`: before 7 without.
pub(super) fn known_term<'a>(known: impl IntoIterator<Item = (&'a Atom, &'a i64)>, vsn: i64) -> Term {
    Term::list(known.into_iter().map(|(node, known_vsn)| {
        let node = Term::from(node.clone());
        if vsn < LOST_CONNECTION_VSN { node } else { Term::tuple([node, Term::from(*known_vsn)]) }
    }))
}
