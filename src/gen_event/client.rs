//! Telling managers, and asking them.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Ask, Event, EventHandler, EventManager, HandlerId, NewHandler};
use crate::gen_server::Server;
use crate::node::Node;
use crate::process::{Call, CallError, Caller, Context, Destination, ProcessMessage, SendError};
use crate::term::{Atom, Pid, Term};

/// Why a handler was not added, or did not take another's place.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HandlerError {
    /// What the manager answered: `{error, Reason}` of an `init` that returned an error, `{'EXIT', Reason}` of one that crashed
    /// or that there is not.
    #[error("the handler is not added: {0}")]
    NotAdded(Term),
    /// The manager did not answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// `ok`, or why not.
fn added(answer: Term) -> Result<(), HandlerError> {
    if answer.is_atom("ok") { Ok(()) } else { Err(HandlerError::NotAdded(answer)) }
}

/// `gen_event`'s functions for a manager of this node: its event and its handlers are moved to it.
impl<E: Event> Server<EventManager<E>> {
    /// `gen_event:notify/2`.
    ///
    /// # Errors
    /// As [`Server::cast`].
    pub fn notify(&self, event: E) -> Result<(), SendError> {
        self.cast(event)
    }

    /// `gen_event:sync_notify/2`: waits until all handlers have handled the event, for as long as that takes.
    ///
    /// # Errors
    /// If the manager has ended.
    pub async fn sync_notify(&self, event: E) -> Result<(), CallError> {
        self.call(Ask::SyncNotify(event)).infinity().await.map(drop)
    }

    /// `gen_event:add_handler/3`.
    ///
    /// # Errors
    /// If the handler is not added.
    pub async fn add_handler<H: EventHandler<Event = E>>(
        &self,
        id: impl Into<HandlerId>,
        args: H::Args,
    ) -> Result<(), HandlerError> {
        self.add(NewHandler::new::<H>(id, args), None).await
    }

    /// `gen_event:add_sup_handler/3`: the handler is removed when the process `supervisor` ends, which is sent
    /// `{gen_event_EXIT, Handler, Reason}` if the handler is removed before. The two processes are linked.
    ///
    /// # Errors
    /// If the handler is not added.
    pub async fn add_sup_handler<H: EventHandler<Event = E>>(
        &self,
        id: impl Into<HandlerId>,
        args: H::Args,
        supervisor: &Pid,
    ) -> Result<(), HandlerError> {
        self.add(NewHandler::new::<H>(id, args), Some(supervisor.clone())).await
    }

    async fn add(&self, new: NewHandler<E>, supervised: Option<Pid>) -> Result<(), HandlerError> {
        added(self.call(Ask::Add(new, supervised)).infinity().await?)
    }

    /// `gen_event:delete_handler/3`: what the handler's [`terminate`](EventHandler::terminate) returned, or
    /// `{error, module_not_found}`.
    ///
    /// # Errors
    /// If the manager has ended.
    pub async fn delete_handler(
        &self,
        id: impl Into<HandlerId>,
        args: impl Into<Term>,
    ) -> Result<Term, CallError> {
        self.call(Ask::DeleteHandler(id.into().to_term(), args.into())).infinity().await
    }

    /// `gen_event:swap_handler/3`: terminates a handler with `args`, and adds `new` with what that left. The process that
    /// supervised the old one supervises the new one.
    ///
    /// # Errors
    /// If the new handler is not added.
    pub async fn swap_handler(
        &self,
        old: impl Into<HandlerId>,
        args: impl Into<Term>,
        new: NewHandler<E>,
    ) -> Result<(), HandlerError> {
        let swap = Ask::Swap(old.into().to_term(), args.into(), new, None);
        added(self.call(swap).infinity().await?)
    }

    /// `gen_event:swap_sup_handler/3`: as [`swap_handler`](Self::swap_handler), and the process `supervisor` supervises the new one.
    ///
    /// # Errors
    /// If the new handler is not added.
    pub async fn swap_sup_handler(
        &self,
        old: impl Into<HandlerId>,
        args: impl Into<Term>,
        new: NewHandler<E>,
        supervisor: &Pid,
    ) -> Result<(), HandlerError> {
        let swap = Ask::Swap(old.into().to_term(), args.into(), new, Some(supervisor.clone()));
        added(self.call(swap).infinity().await?)
    }

    /// `gen_event:which_handlers/1`: `Module` or `{Module, Id}` of each, the one that was added last first.
    ///
    /// # Errors
    /// If the manager has ended.
    pub async fn which_handlers(&self) -> Result<Vec<Term>, CallError> {
        let handlers = self.call(Ask::WhichHandlers).infinity().await?;
        Ok(handlers.as_list().unwrap_or_default().to_vec())
    }

    /// `gen_event:call/3,4` to one handler: a deadline of 5 seconds unless another is set. A handler that is not there is answered with
    /// `{error, bad_module}`, one that fails with `{error, Reason}`; both only a reply type such as [`Term`] or `Result` can hold.
    pub fn call_handler<Q: Serialize, R>(
        &self,
        id: impl Into<HandlerId>,
        request: Q,
    ) -> Call<HandlerCall<Q>, R> {
        let caller = Caller::Node(self.local().clone());
        Call::new(caller, self.pid().into(), handler_call(id.into(), request))
    }
}

/// `{call, Handler, Request}`.
type HandlerCall<Q> = (Atom, Term, Q);

fn handler_call<Q>(id: HandlerId, request: Q) -> HandlerCall<Q> {
    (Atom::from_static("call"), id.to_term(), request)
}

/// `gen_event`'s functions for a manager of any node, from [`Node::gen_event`] or [`Context::gen_event`].
///
/// ```
/// # use beamline::{node::Node, term::Term};
/// # async fn example(node: &Node) -> Result<(), Box<dyn std::error::Error>> {
/// let alarms = node.gen_event(("alarm_handler", "shop@127.0.0.1"));
/// alarms.notify(("set_alarm".to_owned(), 7))?;
/// let reply: Term = alarms.call("alarm_handler", Term::atom("get_alarms")).await?;
/// # Ok(())
/// # }
/// ```
pub struct EventManagerRef {
    caller: Caller,
    to: Destination,
}

impl EventManagerRef {
    pub(super) fn of(caller: Caller, to: Destination) -> Self {
        Self { caller, to }
    }

    fn request<R: DeserializeOwned>(&self, request: Term) -> Call<Term, R> {
        // OTP's managers look at no call's label, as ours do not.
        Call::new(self.caller.clone(), self.to.clone(), request).infinity()
    }

    fn tagged<R: DeserializeOwned>(&self, tag: &'static str, rest: Vec<Term>) -> Call<Term, R> {
        self.request(Term::tuple([Term::atom(tag)].into_iter().chain(rest).collect::<Vec<_>>()))
    }

    /// `gen_event:notify/2`.
    ///
    /// # Errors
    /// If there is no such process on this node, or the event has no external form.
    pub fn notify<T: Serialize + Send + 'static>(&self, event: T) -> Result<(), SendError> {
        self.caller.send(&self.to, (Atom::from_static("notify"), event))
    }

    /// `gen_event:sync_notify/2`: waits until all handlers have handled the event, for as long as that takes.
    ///
    /// # Errors
    /// If there is no such manager, or it ends first.
    pub async fn sync_notify<T: Serialize + Send + Sync + 'static>(&self, event: T) -> Result<(), CallError> {
        let request = (Atom::from_static("sync_notify"), event);
        let answer: Term = Call::new(self.caller.clone(), self.to.clone(), request).infinity().await?;
        if answer.is_atom("ok") { Ok(()) } else { Err(CallError::Exit(answer.into())) }
    }

    /// `gen_event:call/3,4` to one handler: a deadline of 5 seconds unless another is set. A handler that is not there is answered with
    /// `{error, bad_module}`, one that fails with `{error, Reason}`; both only a reply type such as [`Term`] or `Result` can hold.
    pub fn call<Q: Serialize, R>(&self, id: impl Into<HandlerId>, request: Q) -> Call<HandlerCall<Q>, R> {
        Call::new(self.caller.clone(), self.to.clone(), handler_call(id.into(), request))
    }

    /// `gen_event:add_handler/3`.
    ///
    /// # Errors
    /// If the handler is not added.
    pub async fn add_handler(
        &self,
        id: impl Into<HandlerId>,
        args: impl Into<Term>,
    ) -> Result<(), HandlerError> {
        added(self.tagged("add_handler", vec![id.into().to_term(), args.into()]).await?)
    }

    /// `gen_event:add_sup_handler/3`: see [`Server::add_sup_handler`].
    ///
    /// # Errors
    /// If the handler is not added.
    pub async fn add_sup_handler(
        &self,
        id: impl Into<HandlerId>,
        args: impl Into<Term>,
        supervisor: &Pid,
    ) -> Result<(), HandlerError> {
        let rest = vec![id.into().to_term(), args.into(), supervisor.clone().into()];
        added(self.tagged("add_sup_handler", rest).await?)
    }

    /// `gen_event:delete_handler/3`: what the handler's `terminate` returned, or `{error, module_not_found}`.
    ///
    /// # Errors
    /// If there is no such manager, or it ends first.
    pub async fn delete_handler(
        &self,
        id: impl Into<HandlerId>,
        args: impl Into<Term>,
    ) -> Result<Term, CallError> {
        self.tagged("delete_handler", vec![id.into().to_term(), args.into()]).await
    }

    /// `gen_event:swap_handler/3`: terminates a handler with its arguments, and adds another with what that left.
    ///
    /// # Errors
    /// If the new handler is not added.
    pub async fn swap_handler(
        &self,
        (old, args): (impl Into<HandlerId>, impl Into<Term>),
        (new, new_args): (impl Into<HandlerId>, impl Into<Term>),
    ) -> Result<(), HandlerError> {
        let rest = vec![old.into().to_term(), args.into(), new.into().to_term(), new_args.into()];
        added(self.tagged("swap_handler", rest).await?)
    }

    /// `gen_event:swap_sup_handler/3`: as [`swap_handler`](Self::swap_handler), and the process `supervisor` supervises the new one.
    ///
    /// # Errors
    /// If the new handler is not added.
    pub async fn swap_sup_handler(
        &self,
        (old, args): (impl Into<HandlerId>, impl Into<Term>),
        (new, new_args): (impl Into<HandlerId>, impl Into<Term>),
        supervisor: &Pid,
    ) -> Result<(), HandlerError> {
        let (old, new) = (old.into().to_term(), new.into().to_term());
        let rest = vec![old, args.into(), new, new_args.into(), supervisor.clone().into()];
        added(self.tagged("swap_sup_handler", rest).await?)
    }

    /// `gen_event:which_handlers/1`: `Module` or `{Module, Id}` of each, the one that was added last first.
    ///
    /// # Errors
    /// If there is no such manager, or it ends first.
    pub async fn which_handlers(&self) -> Result<Vec<Term>, CallError> {
        self.request(Term::atom("which_handlers")).await
    }

    /// Ends the manager in order; answered when its handlers have ended. For another reason than `normal` there is
    /// [`Sys::terminate`](crate::sys::Sys::terminate).
    ///
    /// # Errors
    /// If there is no such manager.
    pub async fn stop(&self) -> Result<(), CallError> {
        self.request::<Term>(Term::atom("stop")).await.map(drop)
    }
}

impl Node {
    /// `gen_event`'s functions for a manager of any node.
    pub fn gen_event(&self, to: impl Into<Destination>) -> EventManagerRef {
        EventManagerRef::of(Caller::Node(self.local().clone()), to.into())
    }
}

impl<M: ProcessMessage> Context<M> {
    /// `gen_event`'s functions for a manager of any node.
    pub fn gen_event(&self, to: impl Into<Destination>) -> EventManagerRef {
        EventManagerRef::of(Caller::Process(self.process().clone()), to.into())
    }
}
