//! OTP's `gen_server`: a process that keeps a state and answers calls.
//!
//! | callback | when | returns |
//! |---|---|---|
//! | [`init`](GenServer::init) | first, in the new process; whoever starts it waits | the state, or why it does not start |
//! | [`handle_call`](GenServer::handle_call) | for a call | the reply, now or [later](Reply::Later) |
//! | [`handle_cast`](GenServer::handle_cast) | for a cast | |
//! | [`handle_info`](GenServer::handle_info) | for any other message, trapped exits and `DOWN` among them | |
//! | [`handle_continue`](GenServer::handle_continue) | at once after a callback that [asked](Context::continue_with) for it | |
//! | [`terminate`](GenServer::terminate) | last, unless an exit signal ended the process | |
//!
//! An error returned from a callback ends the server with that reason, and so does a panic, with a reason that carries
//! its text; [`Context::stop`] ends it in order. A message that does not decode into the server's type never ends it: a call is
//! answered with `{error, {badarg, Text}}`, anything else is counted and logged.
//!
//! A local message of the server's own type is moved; anything else is decoded, straight into that type, in the server's task.
//!
//! Source: `gen_server` in stdlib.

mod client;
mod context;
mod reply;
mod server;
mod start;
mod system;

use std::any::{Any, type_name};
use std::future::Future;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::etf::Payload;
use crate::process::{ExitReason, GenMessage, ProcessMessage};
use crate::term::Term;

pub use self::client::{Client, Request, Server, ServerRef};
pub use self::context::Context;
pub use self::reply::{Reply, ReplyTo};
pub use self::start::{Start, StartError};

/// A call enum with a reply type for each variant: made by [`#[derive(Protocol)]`](crate::Protocol).
pub trait Protocol: Serialize + Send + Sync + 'static {
    /// All replies, one variant for each call; encoded as what is in the variant.
    type Reply: Serialize + Send + 'static;
}

/// A server: its state, and what it does with messages.
///
/// ```
/// use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
/// use beamline::process::ExitReason;
/// use beamline::term::Term;
/// use serde::Deserialize;
///
/// struct Counter(i64);
///
/// #[derive(Deserialize)]
/// #[serde(rename_all = "snake_case")]
/// enum Ask {
///     Get,
///     Add(i64),
/// }
///
/// impl GenServer for Counter {
///     type Args = i64;
///     type Call = Ask;
///     type Reply = i64;
///     type Cast = Term;
///     type Info = Term;
///
///     async fn init(start: i64, _: &mut Context<Self>) -> Result<Self, ExitReason> {
///         Ok(Self(start))
///     }
///
///     async fn handle_call(
///         &mut self,
///         ask: Ask,
///         from: ReplyTo<i64>,
///         _: &mut Context<Self>,
///     ) -> Result<Reply, ExitReason> {
///         if let Ask::Add(n) = ask {
///             self.0 += n;
///         }
///         Ok(from.reply(self.0))
///     }
/// }
/// ```
pub trait GenServer: Sized + Send + 'static {
    /// What [`init`](Self::init) makes the state of.
    type Args: Send + 'static;
    /// The calls that it answers.
    type Call: DeserializeOwned + Send + 'static;
    /// What it answers them with.
    type Reply: Serialize + Send + 'static;
    /// The casts that it takes.
    type Cast: DeserializeOwned + Send + 'static;
    /// The other messages that it takes; [`Term`] takes all. Exits, `DOWN`s and node events are messages like any other, in
    /// their Erlang form.
    type Info: DeserializeOwned + Send + 'static;

    /// Makes the state, in the new process. Whoever starts the server waits for it.
    fn init(
        args: Self::Args,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<Self, ExitReason>> + Send;

    /// Answers a call through `from`, now or later.
    fn handle_call(
        &mut self,
        call: Self::Call,
        from: ReplyTo<Self::Reply>,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<Reply, ExitReason>> + Send;

    /// Handles a cast. By default it is dropped.
    fn handle_cast(
        &mut self,
        cast: Self::Cast,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), ExitReason>> + Send {
        let _ = (cast, cx);
        async { Ok(()) }
    }

    /// Handles any other message. By default it is dropped.
    fn handle_info(
        &mut self,
        info: Self::Info,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), ExitReason>> + Send {
        let _ = (info, cx);
        async { Ok(()) }
    }

    /// Goes on with what a callback put off, before any other message. By default as [`handle_info`](Self::handle_info).
    fn handle_continue(
        &mut self,
        with: Self::Info,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), ExitReason>> + Send {
        self.handle_info(with, cx)
    }

    /// Cleans up. Not called when an exit signal ends the process, unless the process traps exits and its parent sent it.
    fn terminate(&mut self, reason: &ExitReason, cx: &mut Context<Self>) -> impl Future<Output = ()> + Send {
        let _ = (reason, cx);
        async {}
    }

    /// What `sys:get_state/1` and `get_status/1` show: the state as a term. By default the name of its type.
    fn state(&self) -> Term {
        Term::from(type_name::<Self>().to_owned())
    }

    /// Tells calls, casts and other messages apart. By default in the words of `gen_server`; a behaviour that is built on this one and has
    /// others, as `gen_event` has, reads them here.
    fn read(message: Payload) -> GenMessage {
        GenMessage::new(message)
    }

    /// The module that `sys:get_status/1` names, and how its header begins. A behaviour that is built on this one says its own.
    fn behaviour() -> (&'static str, &'static str) {
        ("gen_server", "Status for generic server")
    }

    /// What `sys` notes of a message that arrives: `{in, Message}`. A behaviour that is built on this one notes it in its own words.
    #[doc(hidden)]
    fn event_in(&self, message: &Term) -> Term {
        Term::tuple([Term::atom("in"), message.clone()])
    }

    /// What `sys` notes when a message has been handled, with the reply if that was sent: `{out, Reply, From, State}` or `{noreply, State}`.
    #[doc(hidden)]
    fn event_out(&self, message: &Term, reply: Option<Term>) -> Option<Term> {
        Some(match (message.as_tuple(), reply) {
            (Some([_, from, _]), Some(reply)) => {
                Term::tuple([Term::atom("out"), reply, from.clone(), self.state()])
            }
            _ => Term::tuple([Term::atom("noreply"), self.state()]),
        })
    }

    /// Takes an info out of `value`, an `Option<T>`, if `T` is a type that this server is sent without encoding. By default that is
    /// [`Info`](Self::Info) alone; a behaviour that keeps messages of its own beside those of its users takes theirs here.
    fn take_info(value: &mut dyn Any) -> Option<Self::Info> {
        value.downcast_mut::<Option<Self::Info>>()?.take()
    }

    /// Starts a server of `node`, linked to nothing.
    fn start(node: &crate::node::Node, args: Self::Args) -> Start<Self> {
        Start::new(node.local().clone(), None, args)
    }
}

/// What a server is sent without encoding.
// With a tag of its own, a word, whose unused values also tell signals and what is received apart: so all of these have their fields
// in the same places, and moving one into the other needs no second store beside the first, which a load would have to wait for.
#[repr(usize)]
pub enum Message<S: GenServer> {
    /// A call, and who waits for its reply.
    Call(S::Call, ReplyTo<S::Reply>),
    /// A cast.
    Cast(S::Cast),
    /// Any other message.
    Info(S::Info),
    /// A system message of this node: it is handled also while the server is suspended.
    System(System<S>),
}

/// What a system message of this node does to its server.
// In a mutex only so that it can be shared, as what a server is sent can be; boxed, because all messages are as large as the largest.
#[doc(hidden)]
pub struct System<S: GenServer>(Box<Mutex<Act<S>>>);

type Act<S> = Box<dyn FnOnce(&mut S, &mut Context<S>) + Send>;

impl<S: GenServer> System<S> {
    pub(crate) fn new(act: impl FnOnce(&mut S, &mut Context<S>) + Send + 'static) -> Self {
        Self(Box::new(Mutex::new(Box::new(act))))
    }

    fn act(self, server: &mut S, cx: &mut Context<S>) {
        let act = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        act(server, cx);
    }
}

impl<S: GenServer> ProcessMessage for Message<S> {
    type Brief = S::Cast;

    #[inline(always)]
    fn brief(self) -> Result<S::Cast, Self> {
        match self {
            Self::Cast(cast) => Ok(cast),
            other => Err(other),
        }
    }

    #[inline(always)]
    fn from_brief(cast: S::Cast) -> Self {
        Self::Cast(cast)
    }

    fn take(value: &mut dyn Any) -> Option<Self> {
        S::take_info(value).map(Self::Info)
    }

    fn module() -> Option<&'static str> {
        Some(type_name::<S>())
    }

    fn callback(number: u8) -> &'static str {
        server::Callback::name(number)
    }

    fn describe(&self) -> String {
        match self {
            Self::Call(..) => format!("a call of type {}", type_name::<S::Call>()),
            Self::Cast(_) => format!("a cast of type {}", type_name::<S::Cast>()),
            Self::Info(_) => format!("a message of type {}", type_name::<S::Info>()),
            Self::System(_) => "a system message".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
