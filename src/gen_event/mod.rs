//! OTP's `gen_event`: a process that tells events to handlers, which come and go.
//!
//! | callback | when | returns |
//! |---|---|---|
//! | [`init`](EventHandler::init) | when the handler is added | the handler, or why it is not added |
//! | [`init_swapped`](EventHandler::init_swapped) | when it takes the place of another | the same |
//! | [`handle_event`](EventHandler::handle_event) | for an event, of `notify` and `sync_notify` | [`Next`] |
//! | [`handle_call`](EventHandler::handle_call) | for a call to this handler | the reply, and [`Next`] |
//! | [`handle_info`](EventHandler::handle_info) | for any other message to the manager | [`Next`] |
//! | [`terminate`](EventHandler::terminate) | last, whatever ended it | a term, for whoever deleted it or takes its place |
//!
//! The manager is a [`gen_server`] of the type [`EventManager`], started, named, linked and supervised as any other. An
//! event reaches the handlers in turn, the one that was added last first. A handler that returns an error or panics is
//! removed; the manager and the other handlers go on. The process that a handler was added for with `add_sup_handler` is
//! sent `{gen_event_EXIT, Handler, Reason}` when the handler is removed, and when that process ends, the handler is removed.
//!
//! | the handler is removed because | [`Terminate`] | `Reason` |
//! |---|---|---|
//! | `delete_handler` | `Args(Args)` | `normal` |
//! | it returned [`Next::Remove`] | `RemoveHandler` | `normal` |
//! | it is swapped | `Args(Args)` | `{swapped, NewHandler, Pid}` |
//! | it returned an error | `Error(Reason)` | what it returned |
//! | it panicked | `Error({'EXIT', Reason})` | `{'EXIT', Reason}` |
//! | its process ended | `ParentStopped(Reason)` | `shutdown` |
//! | the manager ends | `Stop` | `shutdown` |
//! | it returned [`Next::Swap`] for one that is not made | | `crash`, of the new handler |
//!
//! From any node all of OTP's functions work on a manager of this one; `add_handler` and `swap_handler` name handlers that its
//! owner has [offered](Modules), and no others. An event of this node is moved to the manager and shared by its handlers; one
//! of another node is decoded into the manager's event type once. Managers of other nodes are reached through
//! [`Node::gen_event`](crate::node::Node::gen_event).
//!
//! Source: `gen_event` in stdlib.

mod client;
mod handler;
mod manager;
mod message;

use std::any::type_name;
use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::gen_server;
use crate::process::ExitReason;
use crate::term::{Atom, Term};

pub use self::client::{EventManagerRef, HandlerError};
pub use self::handler::{Modules, NewHandler};
pub use self::manager::EventManager;
pub use self::message::{Ask, Info};

/// What a manager's events can be: [`Term`] is one such type.
pub trait Event: DeserializeOwned + Send + Sync + 'static {}

impl<T: DeserializeOwned + Send + Sync + 'static> Event for T {}

/// The manager's context, as its handlers see it: they run in its process.
pub type Context<E> = gen_server::Context<EventManager<E>>;

/// A handler of events: its state, and what it does with them.
///
/// ```
/// use beamline::gen_event::{Context, EventHandler, EventManager, Modules, Next};
/// use beamline::node::Node;
/// use beamline::process::ExitReason;
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// #[serde(rename_all = "snake_case")]
/// enum Alarm {
///     Set(String),
///     Clear(String),
/// }
///
/// struct Active(Vec<String>);
///
/// impl EventHandler for Active {
///     type Args = ();
///     type Event = Alarm;
///     type Call = ();
///     type Reply = Vec<String>;
///
///     async fn init((): (), _: &mut Context<Alarm>) -> Result<Self, ExitReason> {
///         Ok(Self(Vec::new()))
///     }
///
///     async fn handle_event(&mut self, event: &Alarm, _: &mut Context<Alarm>) -> Result<Next<Alarm>, ExitReason> {
///         match event {
///             Alarm::Set(id) => self.0.push(id.clone()),
///             Alarm::Clear(id) => self.0.retain(|active| active != id),
///         }
///         Ok(Next::Ok)
///     }
///
///     async fn handle_call(
///         &mut self,
///         (): (),
///         _: &mut Context<Alarm>,
///     ) -> Result<(Vec<String>, Next<Alarm>), ExitReason> {
///         Ok((self.0.clone(), Next::Ok))
///     }
/// }
///
/// # async fn example(node: &Node) -> Result<(), Box<dyn std::error::Error>> {
/// use beamline::gen_server::GenServer;
/// let alarms = EventManager::start(node, Modules::new()).name("alarms").await?;
/// alarms.add_handler::<Active>("active", ()).await?;
/// alarms.notify(Alarm::Set("disk".into()))?;
/// let active: Vec<String> = alarms.call_handler("active", ()).await?;
/// # Ok(())
/// # }
/// ```
pub trait EventHandler: Sized + Send + 'static {
    /// What [`init`](Self::init) makes the handler of.
    type Args: Send + 'static;
    /// The manager's events.
    type Event: Event;
    /// The calls that it answers. One that does not decode is answered with `{error, {badarg, Text}}`, and the handler stays.
    type Call: DeserializeOwned + Send + 'static;
    /// What it answers them with.
    type Reply: Serialize + Send + 'static;

    /// Makes the handler. An error is what `add_handler` returns, as `{error, Reason}`.
    fn init(
        args: Self::Args,
        cx: &mut Context<Self::Event>,
    ) -> impl Future<Output = Result<Self, ExitReason>> + Send;

    /// Makes the handler in place of another, `init({Args, Term})` in OTP: `previous` is what the other's
    /// [`terminate`](Self::terminate) returned, or the atom `error` if there was no such handler. By default as
    /// [`init`](Self::init).
    fn init_swapped(
        args: Self::Args,
        previous: Term,
        cx: &mut Context<Self::Event>,
    ) -> impl Future<Output = Result<Self, ExitReason>> + Send {
        let _ = previous;
        Self::init(args, cx)
    }

    /// Handles an event.
    fn handle_event(
        &mut self,
        event: &Self::Event,
        cx: &mut Context<Self::Event>,
    ) -> impl Future<Output = Result<Next<Self::Event>, ExitReason>> + Send;

    /// Answers a call. The reply is sent when this has returned: there is no later one.
    fn handle_call(
        &mut self,
        call: Self::Call,
        cx: &mut Context<Self::Event>,
    ) -> impl Future<Output = Result<(Self::Reply, Next<Self::Event>), ExitReason>> + Send;

    /// Handles any other message that the manager gets, trapped exits among them. By default it is dropped.
    fn handle_info(
        &mut self,
        info: &Term,
        cx: &mut Context<Self::Event>,
    ) -> impl Future<Output = Result<Next<Self::Event>, ExitReason>> + Send {
        let _ = (info, cx);
        async { Ok(Next::Ok) }
    }

    /// Cleans up, and says what is left: to whoever deletes the handler, or to the handler that takes its place. After a panic
    /// the state is what the panic left.
    fn terminate(
        &mut self,
        why: Terminate,
        cx: &mut Context<Self::Event>,
    ) -> impl Future<Output = Term> + Send {
        let _ = (why, cx);
        async { Term::atom("ok") }
    }

    /// What `sys:get_state/1` shows of it. By default the name of its type.
    fn state(&self) -> Term {
        Term::from(type_name::<Self>().to_owned())
    }
}

/// What becomes of a handler after a callback.
pub enum Next<E: Event> {
    /// `{ok, State}`: it goes on.
    Ok,
    /// `remove_handler`: it is removed.
    Remove,
    /// `{swap_handler, Args1, State, Handler2, Args2}`: it is terminated with these arguments, and another takes its place.
    Swap(Term, NewHandler<E>),
}

/// Why a handler is terminated.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Terminate {
    /// The arguments of `delete_handler` or of a swap.
    Args(Term),
    /// `stop`: the manager ends.
    Stop,
    /// `{stop, Reason}`: the process that the handler was added for has ended.
    ParentStopped(ExitReason),
    /// `remove_handler`: the handler removed itself.
    RemoveHandler,
    /// `{error, Reason}`: a callback returned this error, or panicked (`{'EXIT', Reason}`).
    Error(Term),
}

impl Terminate {
    /// The argument of OTP's `terminate/2`.
    pub fn to_term(&self) -> Term {
        match self {
            Self::Args(args) => args.clone(),
            Self::Stop => Term::atom("stop"),
            Self::ParentStopped(reason) => Term::tuple([Term::atom("stop"), reason.to_term()]),
            Self::RemoveHandler => Term::atom("remove_handler"),
            Self::Error(reason) => Term::tuple([Term::atom("error"), reason.clone()]),
        }
    }
}

/// What a handler is known by in its manager: `Module`, or `{Module, Id}` where there are several. Nothing keeps two handlers
/// from being known by the same; requests then find the one that was added last.
///
/// ```
/// use beamline::gen_event::HandlerId;
///
/// assert_eq!(HandlerId::from("logger").to_term().to_string(), "logger");
/// assert_eq!(HandlerId::from(("logger", 2)).to_term().to_string(), "{logger,2}");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct HandlerId {
    module: Atom,
    /// `false` if there is none, as in OTP.
    id: Term,
}

impl HandlerId {
    /// The module: for a handler of this library any name that tells it apart.
    pub fn module(&self) -> &Atom {
        &self.module
    }

    /// `Module` or `{Module, Id}`.
    pub fn to_term(&self) -> Term {
        match self.id.as_bool() {
            Some(false) => self.module.clone().into(),
            _ => Term::tuple([self.module.clone().into(), self.id.clone()]),
        }
    }

    fn from_term(term: &Term) -> Option<Self> {
        match (term.as_atom(), term.as_tuple()) {
            (Some(module), _) => Some(Self::from(module.clone())),
            (None, Some([module, id])) => Some(Self { module: module.as_atom()?.clone(), id: id.clone() }),
            _ => None,
        }
    }
}

impl From<Atom> for HandlerId {
    fn from(module: Atom) -> Self {
        Self { module, id: false.into() }
    }
}

impl From<&'static str> for HandlerId {
    fn from(module: &'static str) -> Self {
        Atom::from_static(module).into()
    }
}

impl<M: Into<Atom>, I: Into<Term>> From<(M, I)> for HandlerId {
    fn from((module, id): (M, I)) -> Self {
        Self { module: module.into(), id: id.into() }
    }
}

#[cfg(test)]
mod tests;
