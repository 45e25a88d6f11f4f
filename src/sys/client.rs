//! Sending system messages.

use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer};

use crate::node::Node;
use crate::process::{Call, Caller, Context, Destination, ExitReason, ProcessMessage};
use crate::term::{Atom, Term};

/// The label of a system message, `{system, From, Request}`.
const SYSTEM: Atom = Atom::from_static("system");

/// System messages to one server of any node, from [`Node::sys`] or [`Context::sys`]. Each is sent when it is awaited, and waits for
/// 5 seconds unless it is given another time, as a call does.
///
/// ```
/// # use beamline::{node::Node, process::CallError};
/// # async fn example(node: &Node) -> Result<(), CallError> {
/// let counter = node.sys(("counter", "shop@127.0.0.1"));
/// counter.suspend().await?;
/// println!("it holds {}", counter.get_state().await?);
/// counter.resume().await?;
/// # Ok(())
/// # }
/// ```
pub struct Sys {
    caller: Caller,
    to: Destination,
}

/// The state of a server, as [`Sys::get_state`] tells it.
///
/// From OTP 26.1 on it comes as `{ok, State}`, before as it is. So of a server of an older node whose state is itself `{ok, _}` this has
/// what is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct State(pub Term);

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let reply = Term::deserialize(deserializer)?;
        Ok(Self(match reply.as_tuple() {
            Some([tag, state]) if tag.is_atom("ok") => state.clone(),
            _ => reply,
        }))
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Sys {
    fn call<R: DeserializeOwned>(&self, request: Term) -> Call<Term, R> {
        Call::labelled(self.caller.clone(), self.to.clone(), SYSTEM, request)
    }

    fn debug<R: DeserializeOwned>(&self, what: &'static str, flag: impl Into<Term>) -> Call<Term, R> {
        let atom = |text| Term::from(Atom::from_static(text));
        self.call(Term::tuple([atom("debug"), Term::tuple([atom(what), flag.into()])]))
    }

    /// `sys:get_state/1`.
    pub fn get_state(&self) -> Call<Term, State> {
        self.call(Atom::from_static("get_state").into())
    }

    /// `sys:get_status/1`: `{status, Pid, {module, Module}, [Dictionary, SysState, Parent, Debug, Misc]}`.
    pub fn get_status(&self) -> Call<Term, Term> {
        self.call(Atom::from_static("get_status").into())
    }

    /// `sys:suspend/1`.
    pub fn suspend(&self) -> Call<Term, Atom> {
        self.call(Atom::from_static("suspend").into())
    }

    /// `sys:resume/1`.
    pub fn resume(&self) -> Call<Term, Atom> {
        self.call(Atom::from_static("resume").into())
    }

    /// `sys:trace/2`: each event of a server of this library becomes an event of `tracing`, target `beamline::sys`.
    pub fn trace(&self, on: bool) -> Call<Term, Atom> {
        self.debug("trace", on)
    }

    /// `sys:log/2`: keeps the last `len` events, or none any more. One that keeps some already goes on as before.
    pub fn log(&self, len: Option<u32>) -> Call<Term, Atom> {
        match len {
            Some(len) => self.debug("log", Term::tuple([true.into(), Term::from(i64::from(len))])),
            None => self.debug("log", false),
        }
    }

    /// `sys:log(Name, get)`: `{ok, Events}`, oldest first.
    pub fn logged(&self) -> Call<Term, Result<Vec<Term>, Term>> {
        self.debug("log", Atom::from_static("get"))
    }

    /// `sys:statistics/2`: counts messages from now on, or no longer.
    pub fn count(&self, on: bool) -> Call<Term, Atom> {
        self.debug("statistics", on)
    }

    /// `sys:statistics(Name, get)`: `{ok, Statistics}`.
    pub fn statistics(&self) -> Call<Term, Result<Term, Term>> {
        self.debug("statistics", Atom::from_static("get"))
    }

    /// `sys:no_debug/1`.
    pub fn no_debug(&self) -> Call<Term, Atom> {
        self.call(Term::tuple([Atom::from_static("debug").into(), Atom::from_static("no_debug").into()]))
    }

    /// `sys:terminate/2`: the server ends in order, with `reason`; answered before it has.
    pub fn terminate(&self, reason: &ExitReason) -> Call<Term, Atom> {
        self.call(Term::tuple([Atom::from_static("terminate").into(), reason.to_term()]))
    }
}

impl Node {
    /// System messages to a server of any node.
    pub fn sys(&self, to: impl Into<Destination>) -> Sys {
        Sys { caller: Caller::Node(self.local().clone()), to: to.into() }
    }
}

impl<M: ProcessMessage> Context<M> {
    /// System messages to a server of any node.
    pub fn sys(&self, to: impl Into<Destination>) -> Sys {
        Sys { caller: Caller::Process(self.process().clone()), to: to.into() }
    }
}
