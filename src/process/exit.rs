//! Exit reasons: why a process ended, in the form that links and monitors carry to any node.

use std::any::Any;
use std::fmt;

use crate::process::CallError;
use crate::term::{Atom, Term};

/// Why a process ended, or why another one wants it to.
///
/// Anything that is not one of Erlang's well-known reasons is kept verbatim as [`ExitReason::Term`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ExitReason {
    /// `normal`: the process is done. Linked processes are not disturbed.
    Normal,
    /// `shutdown`: ordered by its supervisor. Not a crash.
    Shutdown,
    /// `{shutdown, Term}`: as `shutdown`, with a word on why.
    ShutdownWith(Term),
    /// `kill`: sent with `exit/2` it cannot be trapped.
    Kill,
    /// `killed`: what others see of a process that was sent `kill`.
    Killed,
    /// `noproc`: there is no such process.
    NoProc,
    /// `noconnection`: the connection to its node is lost, or could not be made.
    NoConnection,
    /// Any other reason.
    Term(Term),
}

const NORMAL: Atom = Atom::from_static("normal");
const SHUTDOWN: Atom = Atom::from_static("shutdown");
const KILL: Atom = Atom::from_static("kill");
const KILLED: Atom = Atom::from_static("killed");
const NOPROC: Atom = Atom::from_static("noproc");
const NOCONNECTION: Atom = Atom::from_static("noconnection");

impl ExitReason {
    /// A reason that is one atom.
    pub fn atom(text: &'static str) -> Self {
        Term::from(Atom::from_static(text)).into()
    }

    /// The reason of a process that panicked: `{{rust_panic, Text}, [{Module, Function, 0, []}]}`, the shape of an Erlang crash,
    /// so that Erlang's loggers and tools print it as one.
    pub(crate) fn panic(text: &str, module: &str, function: &'static str) -> Self {
        let module = Atom::new(module).unwrap_or(Atom::from_static("rust"));
        let frame = Term::tuple([
            Term::from(module),
            Term::from(Atom::from_static(function)),
            Term::from(0),
            Term::list([]),
        ]);
        let what = Term::tuple([Term::from(Atom::from_static("rust_panic")), Term::from(text.to_owned())]);
        Self::Term(Term::tuple([what, Term::list([frame])]))
    }

    /// Whether OTP counts it as an orderly end that nobody needs to read about: `normal`, `shutdown`, `{shutdown, _}`.
    pub fn is_orderly(&self) -> bool {
        matches!(self, Self::Normal | Self::Shutdown | Self::ShutdownWith(_))
    }

    /// The reason as a term.
    pub fn to_term(&self) -> Term {
        match self {
            Self::Normal => NORMAL.into(),
            Self::Shutdown => SHUTDOWN.into(),
            Self::ShutdownWith(why) => Term::tuple([SHUTDOWN.into(), why.clone()]),
            Self::Kill => KILL.into(),
            Self::Killed => KILLED.into(),
            Self::NoProc => NOPROC.into(),
            Self::NoConnection => NOCONNECTION.into(),
            Self::Term(term) => term.clone(),
        }
    }
}

impl From<Term> for ExitReason {
    fn from(term: Term) -> Self {
        if let Some(atom) = term.as_atom() {
            return match atom.as_str() {
                "normal" => Self::Normal,
                "shutdown" => Self::Shutdown,
                "kill" => Self::Kill,
                "killed" => Self::Killed,
                "noproc" => Self::NoProc,
                "noconnection" => Self::NoConnection,
                _ => Self::Term(term),
            };
        }
        match term.as_tuple() {
            Some([tag, why]) if tag.as_atom() == Some(&SHUTDOWN) => Self::ShutdownWith(why.clone()),
            _ => Self::Term(term),
        }
    }
}

impl<E: std::error::Error + 'static> From<E> for ExitReason {
    /// For `?`: a failed call gives the reason with which an Erlang process would end, any other error
    /// `{rust_error, Text}`.
    fn from(error: E) -> Self {
        let any: &dyn Any = &error;
        match any.downcast_ref::<CallError>() {
            Some(error) => error.to_exit_reason(),
            None => Self::Term(Term::tuple([
                Atom::from_static("rust_error").into(),
                Term::from(error.to_string()),
            ])),
        }
    }
}

impl From<&ExitReason> for Term {
    fn from(reason: &ExitReason) -> Self {
        reason.to_term()
    }
}

impl fmt::Display for ExitReason {
    /// In Erlang's syntax.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_term(), f)
    }
}

impl serde::Serialize for ExitReason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_term().serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for ExitReason {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Term::deserialize(deserializer).map(Self::from)
    }
}
