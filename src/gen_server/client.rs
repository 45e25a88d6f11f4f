//! Calling and casting, typed.

use std::any::Any;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Context, GenServer, Message, Protocol, ReplyTo, System};
use crate::node::Node;
use crate::process::{
    AnyProcess, Call, CallError, Caller, DEFAULT_TIMEOUT, Deadline, Delivery, Destination, ExitReason, Local,
    Process, Pushed, SendError, Signal, Taker, reply_cell, reply_cell_for, spare,
};
use crate::term::Pid;
use crate::world::BoxFuture;

/// A typed handle to a server of this node: calls and casts are moved to it, not encoded.
pub struct Server<S: GenServer> {
    process: Arc<Process<Message<S>>>,
}

impl<S: GenServer> Clone for Server<S> {
    fn clone(&self) -> Self {
        Self { process: self.process.clone() }
    }
}

impl<S: GenServer> std::fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({})", self.pid())
    }
}

impl<S: GenServer> Server<S> {
    pub(crate) fn new(process: Arc<Process<Message<S>>>) -> Self {
        Self { process }
    }

    pub(crate) fn local(&self) -> &Arc<Local> {
        self.process.shared().local()
    }

    /// The server's pid: plain data, to be sent, stored, linked to and monitored.
    pub fn pid(&self) -> &Pid {
        self.process.pid()
    }

    /// The server of a pid of this node, if it is alive and of this type.
    pub fn of(node: &Node, pid: &Pid) -> Option<Self> {
        let process = node.local().process(pid)?.into_any().downcast::<Process<Message<S>>>().ok()?;
        Some(Self { process })
    }

    /// The server that is registered under a name of this node, if it is of this type.
    pub fn named(node: &Node, name: &str) -> Option<Self> {
        let process = node.local().names.get(name)?.into_any().downcast().ok()?;
        Some(Self { process })
    }

    /// Whether the server has not ended.
    pub fn is_alive(&self) -> bool {
        self.process.shared().exit_reason().is_none()
    }

    /// Calls the server; waits at most 5 seconds unless the request says otherwise.
    pub fn call(&self, call: S::Call) -> Request<S::Call, S::Reply, S::Reply> {
        Request::local(spare::clone_server(&self.process), call, Some)
    }

    /// Casts to the server.
    ///
    /// # Errors
    /// If it has ended, or too many messages.
    #[inline]
    pub fn cast(&self, cast: S::Cast) -> Result<(), SendError> {
        self.push(Message::Cast(cast))
    }

    /// Sends the server a message for its [`handle_info`](GenServer::handle_info).
    ///
    /// # Errors
    /// As [`Server::cast`].
    pub fn send(&self, info: impl Into<S::Info>) -> Result<(), SendError> {
        self.push(Message::Info(info.into()))
    }

    /// Hands a message on to the server that another one of its kind did not take, a call with who waits for its reply.
    ///
    /// # Errors
    /// As [`Server::cast`].
    pub fn forward(&self, message: Message<S>) -> Result<(), SendError> {
        self.push(message)
    }

    #[inline(always)]
    fn push(&self, message: Message<S>) -> Result<(), SendError> {
        match self.process.push(message) {
            Pushed::Taken => Ok(()),
            Pushed::Full => Err(SendError::MailboxFull(self.pid().clone().into())),
            Pushed::Ended | Pushed::OtherType => Err(SendError::NoProc(self.pid().clone().into())),
        }
    }

    /// Queues a system message, whatever waits already. Returns whether the server is alive.
    fn system(&self, act: impl FnOnce(&mut S, &mut Context<S>) + Send + 'static) -> bool {
        let message = Signal::Message(Message::System(System::new(act)));
        matches!(self.process.push_always(message), Pushed::Taken)
    }

    /// Waits until the server has ended, and returns why it did.
    pub async fn ended(&self) -> ExitReason {
        self.process.shared().end().await
    }

    /// `gen_server:stop/3`: the server ends with `reason` after what it was sent before, and calls its
    /// [`terminate`](GenServer::terminate); waits until it has ended, and returns why it did.
    pub async fn stop(&self, reason: ExitReason) -> ExitReason {
        // It may have ended already, which is what was wanted.
        self.system(|_, cx| cx.stop(reason));
        self.process.shared().end().await
    }

    /// `sys:replace_state/2`: changes the state in place, also while the server is suspended, and returns what `change` does.
    ///
    /// # Errors
    /// If the server has ended, or does so before.
    pub async fn replace_state<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, CallError> {
        let (from, outcome) = reply_cell();
        if !self.system(|server, _| from.give(change(server))) {
            return Err(CallError::NoProc);
        }
        match outcome.await {
            Ok(outcome) => Ok(outcome),
            Err(_) => Err(ended(self.process.shared().end().await)),
        }
    }
}

/// A typed view of a server anywhere: of this node or another one, by pid, name or alias. What it is sent is encoded, and
/// whether it understands that is known to the server only.
pub struct ServerRef<P> {
    local: Arc<Local>,
    to: Destination,
    protocol: PhantomData<fn(P)>,
}

impl<P> Clone for ServerRef<P> {
    fn clone(&self) -> Self {
        Self { local: self.local.clone(), to: self.to.clone(), protocol: PhantomData }
    }
}

impl<P> std::fmt::Debug for ServerRef<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServerRef({})", self.to)
    }
}

impl<P> ServerRef<P> {
    pub(super) fn new(local: Arc<Local>, to: Destination) -> Self {
        Self { local, to, protocol: PhantomData }
    }

    /// Casts to the server. What it understands is not said by its protocol, which is of calls.
    ///
    /// # Errors
    /// If there is no such process on this node, or the request has no external form.
    pub fn cast<T: Serialize>(&self, request: &T) -> Result<(), SendError> {
        match self.local.cast(&self.local.pid(0, 0), &self.to, request)? {
            Delivery::NoProc => Err(SendError::NoProc(self.to.clone())),
            Delivery::Full => Err(SendError::MailboxFull(self.to.clone())),
            Delivery::Done | Delivery::Busy(_) => Ok(()),
        }
    }
}

impl Node {
    /// A typed view of a server of any node.
    pub fn server<P: Protocol>(&self, to: impl Into<Destination>) -> ServerRef<P> {
        ServerRef::new(self.local().clone(), to.into())
    }
}

/// What `#[derive(Protocol)]` makes its client methods of.
pub trait Client<P: Protocol> {
    /// Calls, and takes the reply's value out of the reply enum.
    fn request<T: DeserializeOwned + Send + 'static>(
        &self,
        call: P,
        unwrap: fn(P::Reply) -> Option<T>,
    ) -> Request<P, P::Reply, T>;
}

impl<P: Protocol, S: GenServer<Call = P, Reply = P::Reply>> Client<P> for Server<S> {
    fn request<T: DeserializeOwned + Send + 'static>(
        &self,
        call: P,
        unwrap: fn(P::Reply) -> Option<T>,
    ) -> Request<P, P::Reply, T> {
        Request::local(spare::clone_server(&self.process), call, unwrap)
    }
}

impl<P: Protocol> Client<P> for ServerRef<P> {
    fn request<T: DeserializeOwned + Send + 'static>(
        &self,
        call: P,
        _: fn(P::Reply) -> Option<T>,
    ) -> Request<P, P::Reply, T> {
        let call = Call::<P, T>::new(Caller::Node(self.local.clone()), self.to.clone(), call);
        Request::new(State::Remote {
            call: Box::new(move |timeout| {
                let call = match timeout {
                    Some(timeout) => call.timeout(timeout),
                    None => call.infinity(),
                };
                Box::pin(call.into_future())
            }),
        })
    }
}

/// A local server, as a request knows it.
trait Serves<Q, A>: Send + Sync {
    fn push_call(&self, call: Q, from: ReplyTo<A>) -> Pushed;
    fn process(&self) -> &dyn AnyProcess;
    fn local(&self) -> &Local;
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<S: GenServer> Serves<S::Call, S::Reply> for Process<Message<S>> {
    fn push_call(&self, call: S::Call, from: ReplyTo<S::Reply>) -> Pushed {
        self.push(Message::Call(call, from))
    }

    fn process(&self) -> &dyn AnyProcess {
        self
    }

    fn local(&self) -> &Local {
        self.shared().local()
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// The server of a request, kept for the next one when this is dropped.
struct Called<Q, A>(Option<Arc<dyn Serves<Q, A>>>);

impl<Q, A> Drop for Called<Q, A> {
    #[inline]
    fn drop(&mut self) {
        if spare::in_turn()
            && let Some(server) = self.0.take()
        {
            spare::keep_server(server.into_any());
        }
    }
}

/// A call that is sent when it is awaited. Dropping it gives the call up; the server may still do the work.
#[must_use = "a call is sent when it is awaited"]
pub struct Request<Q, A, T> {
    state: State<Q, A, T>,
    timeout: Option<Duration>,
    deadline: Deadline,
}

// Nothing in it is pinned.
impl<Q, A, T> Unpin for Request<Q, A, T> {}

type Unwrap<A, T> = fn(A) -> Option<T>;
type Calling<T> = BoxFuture<'static, Result<T, CallError>>;

enum State<Q, A, T> {
    Remote {
        call: Box<dyn FnOnce(Option<Duration>) -> Calling<T> + Send>,
    },
    /// To another node, or as a term: a call with a deadline of its own.
    Calling(Calling<T>),
    /// What is not sent yet has a call, what waits has a reply. Neither: the server dropped the call without a reply. It ends, or the caller waits
    /// in vain.
    // In one, so that nothing is moved when the call is sent.
    Local {
        server: Called<Q, A>,
        unwrap: Unwrap<A, T>,
        call: Option<Q>,
        reply: Option<Taker<A>>,
    },
    Done,
}

impl<Q, A, T> Request<Q, A, T> {
    fn new(state: State<Q, A, T>) -> Self {
        Self { state, timeout: Some(DEFAULT_TIMEOUT), deadline: Deadline::default() }
    }

    /// Waits for at most `timeout` instead of 5 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Waits for as long as it takes.
    pub fn infinity(mut self) -> Self {
        self.timeout = None;
        self
    }
}

impl<Q, A, T> Request<Q, A, T> {
    fn local<S>(server: Arc<Process<Message<S>>>, call: Q, unwrap: Unwrap<A, T>) -> Self
    where
        S: GenServer<Call = Q, Reply = A>,
    {
        let server = Called(Some(server));
        Self::new(State::Local { server, unwrap, call: Some(call), reply: None })
    }
}

impl<Q, A: Serialize, T> Future for Request<Q, A, T> {
    type Output = Result<T, CallError>;

    // Inlined as far as a reply that is there, which then goes from the one who gave it to the one who waits without a stop.
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let State::Local { reply: Some(reply), unwrap, .. } = &mut this.state
            && let Some(reply) = reply.take()
        {
            let value = unwrap(reply);
            debug_assert!(value.is_some(), "the handler replied to another kind of call");
            // What is left goes with the request, which is dropped now that it is ready.
            return Poll::Ready(value.ok_or_else(wrong_reply));
        }
        let polled = this.poll_state(cx);
        if polled.is_ready() {
            this.state = State::Done;
        }
        polled
    }
}

impl<Q, A: Serialize, T> Request<Q, A, T> {
    // Not inlined, so that its result does not go through where the one above is made.
    #[inline(never)]
    fn poll_state(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<T, CallError>> {
        let Self { state, timeout, deadline } = self;
        if let State::Remote { .. } = state
            && let State::Remote { call } = std::mem::replace(state, State::Done)
        {
            *state = State::Calling(call(*timeout));
        }
        let (server, unwrap, call, reply) = match state {
            State::Local { server: Called(Some(server)), unwrap, call, reply } => {
                (&**server, unwrap, call, reply)
            }
            State::Calling(call) => return call.as_mut().poll(cx),
            State::Done | State::Remote { .. } | State::Local { .. } => return Poll::Pending,
        };
        if let Some(call) = call.take() {
            // The reply wakes who waits, also one that is there already.
            let (from, taker) = reply_cell_for(cx.waker());
            match server.push_call(call, ReplyTo::local(from)) {
                Pushed::Taken => *reply = Some(taker),
                Pushed::Full => return Poll::Ready(Err(CallError::MailboxFull)),
                Pushed::Ended | Pushed::OtherType => return Poll::Ready(Err(CallError::NoProc)),
            }
        } else {
            if let Some(taker) = reply {
                match Pin::new(taker).poll(cx) {
                    Poll::Ready(Ok(value)) => return Poll::Ready(unwrap(value).ok_or_else(wrong_reply)),
                    Poll::Ready(Err(_)) => *reply = None,
                    Poll::Pending => {}
                }
            }
            if reply.is_none()
                && let Poll::Ready(reason) = server.process().shared().poll_end(cx)
            {
                return Poll::Ready(Err(ended(reason)));
            }
        }
        match *timeout {
            Some(timeout) => {
                deadline.poll(timeout, server.local(), cx).map(|()| Err(CallError::Timeout(timeout)))
            }
            None => Poll::Pending,
        }
    }
}

fn ended(reason: ExitReason) -> CallError {
    match reason {
        ExitReason::NoProc => CallError::NoProc,
        reason => CallError::Exit(reason),
    }
}

/// A handler that answers one variant of its protocol with the reply of another.
fn wrong_reply() -> CallError {
    CallError::Exit(ExitReason::atom("bad_return_value"))
}
