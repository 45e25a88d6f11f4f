//! Handlers whatever their type, and how they come to be.

use std::any::type_name;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Context, Event, EventHandler, HandlerId, Next, Terminate};
use crate::etf::Payload;
use crate::process::ExitReason;
use crate::term::{Atom, Term};
use crate::world::{BoxFuture, panic_text};

/// What a callback came to; the error is what OTP's manager sees of a handler that fails: what it returned, or `{'EXIT', Reason}`.
pub(super) type Outcome<T> = Result<T, Term>;

/// A handler of any type. Each callback's panics are caught here.
pub(super) trait Handler<E: Event>: Send {
    fn handle_event<'a>(
        &'a mut self,
        event: &'a E,
        cx: &'a mut Context<E>,
    ) -> BoxFuture<'a, Outcome<Next<E>>>;
    fn handle_call<'a>(
        &'a mut self,
        call: Term,
        cx: &'a mut Context<E>,
    ) -> BoxFuture<'a, Outcome<(Term, Next<E>)>>;
    fn handle_info<'a>(
        &'a mut self,
        info: &'a Term,
        cx: &'a mut Context<E>,
    ) -> BoxFuture<'a, Outcome<Next<E>>>;
    fn terminate<'a>(&'a mut self, why: Terminate, cx: &'a mut Context<E>) -> BoxFuture<'a, Outcome<Term>>;
    fn state(&self) -> Term;
}

/// A handler of a type that is known.
struct Typed<H>(H);

impl<H: EventHandler> Handler<H::Event> for Typed<H> {
    fn handle_event<'a>(
        &'a mut self,
        event: &'a H::Event,
        cx: &'a mut Context<H::Event>,
    ) -> BoxFuture<'a, Outcome<Next<H::Event>>> {
        Box::pin(async move {
            let handled =
                catch::<H, _>("handle_event", async { self.0.handle_event(event, cx).await }).await?;
            handled.map_err(|reason| reason.to_term())
        })
    }

    fn handle_call<'a>(
        &'a mut self,
        call: Term,
        cx: &'a mut Context<H::Event>,
    ) -> BoxFuture<'a, Outcome<(Term, Next<H::Event>)>> {
        Box::pin(async move {
            let call = match decode(&call) {
                Ok(call) => call,
                Err(error) => return Ok((error, Next::Ok)),
            };
            let handled = catch::<H, _>("handle_call", async { self.0.handle_call(call, cx).await }).await?;
            let (reply, next) = handled.map_err(|reason| reason.to_term())?;
            Ok((encode(&reply), next))
        })
    }

    fn handle_info<'a>(
        &'a mut self,
        info: &'a Term,
        cx: &'a mut Context<H::Event>,
    ) -> BoxFuture<'a, Outcome<Next<H::Event>>> {
        Box::pin(async move {
            let handled = catch::<H, _>("handle_info", async { self.0.handle_info(info, cx).await }).await?;
            handled.map_err(|reason| reason.to_term())
        })
    }

    fn terminate<'a>(
        &'a mut self,
        why: Terminate,
        cx: &'a mut Context<H::Event>,
    ) -> BoxFuture<'a, Outcome<Term>> {
        Box::pin(catch::<H, _>("terminate", async move { self.0.terminate(why, cx).await }))
    }

    fn state(&self) -> Term {
        self.0.state()
    }
}

/// Runs a callback; its panic becomes `{'EXIT', Reason}`, as `catch` makes it of an Erlang handler's.
async fn catch<H, T>(callback: &'static str, run: impl Future<Output = T> + Send) -> Outcome<T> {
    let mut run = pin!(run);
    poll_fn(|task| match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(task))) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => {
            let reason = ExitReason::panic(panic_text(&*panic), type_name::<H>(), callback);
            Poll::Ready(Err(exit(reason.to_term())))
        }
    })
    .await
}

fn exit(reason: Term) -> Term {
    Term::tuple([Term::atom("EXIT"), reason])
}

fn badarg(error: &dyn std::fmt::Display) -> Term {
    Term::tuple([Term::atom("badarg"), Term::from(error.to_string())])
}

/// # Errors
/// `{error, {badarg, Text}}`.
fn decode<T: DeserializeOwned>(term: &Term) -> Result<T, Term> {
    let error = |error: &dyn std::fmt::Display| Term::tuple([Term::atom("error"), badarg(error)]);
    let payload = Payload::encode(term).map_err(|it| error(&it))?;
    payload.decode().map_err(|it| error(&it))
}

fn encode<T: Serialize>(reply: &T) -> Term {
    match Payload::encode(reply) {
        Ok(reply) => reply.term(),
        Err(error) => {
            tracing::error!(%error, "a handler's reply has no external form");
            Term::tuple([Term::atom("error"), badarg(&error)])
        }
    }
}

/// A handler that was made, or what `add_handler` returns instead.
pub(super) type Made<E> = Outcome<Box<dyn Handler<E>>>;

/// Makes a handler, with what the one that it takes the place of left.
type Init<E> = Box<dyn for<'a> FnOnce(Option<Term>, &'a mut Context<E>) -> BoxFuture<'a, Made<E>> + Send>;

fn init<H: EventHandler>(args: H::Args) -> Init<H::Event> {
    Box::new(move |previous, cx| {
        Box::pin(async move {
            let made = catch::<H, _>("init", async {
                match previous {
                    None => H::init(args, cx).await,
                    Some(previous) => H::init_swapped(args, previous, cx).await,
                }
            });
            match made.await? {
                Ok(handler) => Ok(Box::new(Typed(handler)) as Box<dyn Handler<H::Event>>),
                Err(reason) => Err(Term::tuple([Term::atom("error"), reason.to_term()])),
            }
        })
    })
}

/// A handler that is to be added.
pub struct NewHandler<E: Event> {
    /// A [`HandlerId`], unless it came from elsewhere.
    pub(super) id: Term,
    make: Make<E>,
}

enum Make<E: Event> {
    // In a mutex only so that it can be shared, as what a server is sent can be.
    Typed(Mutex<Init<E>>),
    /// By the module's name, with these arguments.
    Named(Term),
}

impl<E: Event> NewHandler<E> {
    /// A handler of the type `H`.
    pub fn new<H: EventHandler<Event = E>>(id: impl Into<HandlerId>, args: H::Args) -> Self {
        Self { id: id.into().to_term(), make: Make::Typed(Mutex::new(init::<H>(args))) }
    }

    /// A handler of the module that its id names, which has to be among the manager's [`Modules`].
    pub fn named(id: impl Into<HandlerId>, args: impl Into<Term>) -> Self {
        Self::of_term(id.into().to_term(), args.into())
    }

    pub(super) fn of_term(id: Term, args: Term) -> Self {
        Self { id, make: Make::Named(args) }
    }

    pub(super) async fn make(
        self,
        previous: Option<Term>,
        modules: &Modules<E>,
        cx: &mut Context<E>,
    ) -> Outcome<(HandlerId, Box<dyn Handler<E>>)> {
        let Some(id) = HandlerId::from_term(&self.id) else {
            return Err(exit(badarg(&"a handler is known by an atom or by {Module, Id}")));
        };
        let init = match self.make {
            Make::Typed(init) => init.into_inner().unwrap_or_else(PoisonError::into_inner),
            Make::Named(args) => match modules.0.get(&id.module) {
                Some(module) => module(args)?,
                None => return Err(undefined(&id.module, args, previous)),
            },
        };
        let handler = init(previous, cx).await?;
        Ok((id, handler))
    }
}

/// What OTP's manager gets of a module that is not there: `{'EXIT', {undef, [{Module, init, [Args], []}]}}`.
fn undefined(module: &Atom, args: Term, previous: Option<Term>) -> Term {
    let args = match previous {
        Some(previous) => Term::tuple([args, previous]),
        None => args,
    };
    let call = [module.clone().into(), Term::atom("init"), Term::list([args]), Term::nil()];
    exit(Term::tuple([Term::atom("undef"), Term::list([Term::tuple(call)])]))
}

type Offer<E> = Box<dyn Fn(Term) -> Outcome<Init<E>> + Send + Sync>;

/// The handlers that a manager can be told to add by name, from any node: none, unless its owner offers them.
pub struct Modules<E: Event>(BTreeMap<Atom, Offer<E>>);

impl<E: Event> Default for Modules<E> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<E: Event> Modules<E> {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Handlers of the type `H` can be added under this name, with arguments that are terms. Arguments that do not decode
    /// are answered as a crash of `init`: `{'EXIT', {badarg, Text}}`.
    pub fn offer<H>(mut self, module: impl Into<Atom>) -> Self
    where
        H: EventHandler<Event = E>,
        H::Args: DeserializeOwned,
    {
        let offer = |args: Term| {
            let error = |error: &dyn std::fmt::Display| exit(badarg(error));
            let args = Payload::encode(&args).map_err(|it| error(&it))?;
            Ok(init::<H>(args.decode().map_err(|it| error(&it))?))
        };
        self.0.insert(module.into(), Box::new(offer));
        self
    }
}
