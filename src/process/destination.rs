//! Where a message, a call or a monitor goes.

use std::fmt;

use crate::term::{Atom, Pid, Reference};

/// Where a message goes: whatever stands left of `!` in Erlang.
///
/// ```
/// use beamline::process::Destination;
///
/// let local: Destination = "counter".into();
/// let remote: Destination = ("counter", "shop@127.0.0.1").into();
/// assert_eq!(remote.to_string(), "{counter, 'shop@127.0.0.1'}");
/// # let _ = local;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Destination {
    /// A process, on any node.
    Pid(Pid),
    /// The process registered under a name on this node.
    Name(Atom),
    /// The process registered under a name on a node.
    Remote(Atom, Atom),
    /// The process behind an alias.
    Alias(Reference),
}

impl From<Pid> for Destination {
    fn from(pid: Pid) -> Self {
        Self::Pid(pid)
    }
}

impl From<&Pid> for Destination {
    fn from(pid: &Pid) -> Self {
        Self::Pid(pid.clone())
    }
}

impl From<Atom> for Destination {
    fn from(name: Atom) -> Self {
        Self::Name(name)
    }
}

impl From<&'static str> for Destination {
    fn from(name: &'static str) -> Self {
        Self::Name(Atom::from_static(name))
    }
}

impl<N: Into<Atom>, H: Into<Atom>> From<(N, H)> for Destination {
    fn from((name, node): (N, H)) -> Self {
        Self::Remote(name.into(), node.into())
    }
}

impl From<Reference> for Destination {
    fn from(alias: Reference) -> Self {
        Self::Alias(alias)
    }
}

impl From<&Reference> for Destination {
    fn from(alias: &Reference) -> Self {
        Self::Alias(alias.clone())
    }
}

impl fmt::Display for Destination {
    /// In Erlang's syntax.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pid(pid) => pid.fmt(f),
            Self::Name(name) => name.fmt(f),
            Self::Remote(name, node) => write!(f, "{{{name}, {node}}}"),
            Self::Alias(alias) => alias.fmt(f),
        }
    }
}
