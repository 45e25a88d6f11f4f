//! OTP's `sys`: looking into a running server, and stopping it for a while.
//!
//! Every server answers system messages, from Rust through [`Node::sys`](crate::node::Node::sys) and from Erlang through the
//! functions of its own `sys`. They are not messages of the server: no callback sees them, and they are answered also while the
//! server is suspended.
//!
//! | request | answer |
//! |---|---|
//! | [`get_state`](Sys::get_state) | what [`GenServer::state`](crate::gen_server::GenServer::state) returns |
//! | [`get_status`](Sys::get_status) | the same with the parent, whether it is suspended, and the log, in OTP's form |
//! | [`suspend`](Sys::suspend), [`resume`](Sys::resume) | between the two only system messages are handled, the others wait |
//! | [`trace`](Sys::trace), [`log`](Sys::log), [`statistics`](Sys::statistics) | events of the server: to `tracing`, kept, counted |
//! | [`terminate`](Sys::terminate) | the server ends in order, with that reason |
//!
//! A function that Erlang wants to run in the server (`sys:replace_state/2`, `sys:install/2`) cannot be run natively, and is answered as one
//! that fails; from Rust, [`Server::replace_state`](crate::gen_server::Server::replace_state) changes a state in place.
//!
//! Source: `sys.erl` in stdlib.

mod client;
mod debug;

use std::time::SystemTime;

use crate::process::ExitReason;
use crate::term::{Atom, Term};

pub use self::client::{State, Sys};

pub(crate) use self::debug::Debug;

/// What a system message asks of its server.
#[derive(Debug, PartialEq)]
pub(crate) enum Request {
    GetState,
    GetStatus,
    Suspend,
    Resume,
    Terminate(ExitReason),
    /// To call this function of its behaviour, which would run code that is not here: it fails.
    Callback(&'static str),
    /// Answered so, after which the server goes on.
    Answer(Term),
}

const OK: Atom = Atom::from_static("ok");
const ERROR: Atom = Atom::from_static("error");

impl Request {
    /// Reads a request, and does what concerns debugging only.
    pub(crate) fn read(request: Term, debug: &mut Option<Debug>, now: SystemTime) -> Self {
        let unknown = |request| {
            let unknown = Term::tuple([Atom::from_static("unknown_system_msg").into(), request]);
            Self::Answer(Term::tuple([ERROR.into(), unknown]))
        };
        if let Some(atom) = request.as_atom() {
            return match atom.as_str() {
                "get_state" => Self::GetState,
                "get_status" => Self::GetStatus,
                "suspend" => Self::Suspend,
                "resume" => Self::Resume,
                _ => unknown(request),
            };
        }
        match request.as_tuple() {
            Some([tag, reason]) if tag.is_atom("terminate") => Self::Terminate(reason.clone().into()),
            Some([tag, command]) if tag.is_atom("debug") => Self::Answer(Debug::command(debug, command, now)),
            // A function runs where its code is, and that is not here.
            Some([tag, _function]) if tag.is_atom("replace_state") => Self::Callback("system_replace_state"),
            Some([tag, _module, _version, _extra]) if tag.is_atom("change_code") => {
                Self::Callback("system_code_change")
            }
            _ => unknown(request),
        }
    }
}

/// `{error, {callback_failed, {Module, Function}, {error, undef}}}`.
pub(crate) fn callback_failed(module: &'static str, function: &'static str) -> Term {
    let atom = |text| Term::from(Atom::from_static(text));
    let failed = Term::tuple([
        atom("callback_failed"),
        Term::tuple([atom(module), atom(function)]),
        Term::tuple([atom("error"), atom("undef")]),
    ]);
    Term::tuple([ERROR.into(), failed])
}

#[cfg(test)]
mod tests;
