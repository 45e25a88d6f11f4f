//! What can go wrong with applications.

use crate::process::{CallError, ExitReason};
use crate::term::{Atom, Term};

/// Why an application was not loaded, started or stopped.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplicationError {
    /// There is none of that name on the node.
    #[error("no application {0} is loaded (not_loaded)")]
    NotLoaded(Atom),
    /// There is one of that name already.
    #[error("an application {0} is loaded already (already_loaded)")]
    AlreadyLoaded(Atom),
    /// It runs, or is being started.
    #[error("the application {0} is started already (already_started)")]
    AlreadyStarted(Atom),
    /// It does not run: one that is to be stopped, or one that the application depends on.
    #[error("the application {0} is not started (not_started)")]
    NotStarted(Atom),
    /// It runs, and must be stopped first.
    #[error("the application {0} runs (running)")]
    Running(Atom),
    /// Applications depend on each other in a circle.
    #[error("applications depend on each other: {}", .0.iter().map(Atom::to_string).collect::<Vec<_>>().join(" -> "))]
    Cycle(Vec<Atom>),
    /// Its root, or one of its start phases, failed.
    #[error("the application {name} did not start: {reason}")]
    Start {
        /// The application.
        name: Atom,
        /// Why it did not start; `{start_phase, Phase, Reason}` if it was one of these.
        reason: ExitReason,
    },
    /// The node does not let others start or stop it.
    #[error("the application {0} may not be started or stopped from another node (not_allowed)")]
    NotAllowed(Atom),
    /// The node's application controller did not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Another node answered with an error of its own.
    #[error("the other node refused: {0}")]
    Remote(Term),
}

impl ApplicationError {
    /// As OTP's `application` returns it.
    pub(super) fn to_term(&self) -> Term {
        let about =
            |what, name: &Atom| Term::tuple([Term::from(Atom::from_static(what)), Term::from(name.clone())]);
        match self {
            Self::NotLoaded(name) => about("not_loaded", name),
            Self::AlreadyLoaded(name) => about("already_loaded", name),
            Self::AlreadyStarted(name) => about("already_started", name),
            Self::NotStarted(name) => about("not_started", name),
            Self::Running(name) => about("running", name),
            Self::NotAllowed(name) => about("not_allowed", name),
            Self::Cycle(names) => {
                let names = names.iter().cloned().map(Term::from).collect::<Vec<_>>();
                Term::tuple([Atom::from_static("dependency_cycle").into(), Term::list(names)])
            }
            Self::Start { name, reason } => {
                let start = Atom::from_static("start").into();
                let args = Term::list([Atom::from_static("normal").into(), Term::list([])]);
                Term::tuple([reason.to_term(), Term::tuple([name.clone().into(), start, args])])
            }
            Self::Call(error) => ExitReason::from(error.clone()).to_term(),
            Self::Remote(term) => term.clone(),
        }
    }
}

/// A node stopped by itself: `{application_terminated, Name, Reason}` of a permanent application, or of a transient one that failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the node stopped by itself: {0}")]
pub struct Terminated(
    /// Why.
    pub ExitReason,
);
