//! Calls: a request, a monitor, an alias for the reply, and a deadline.
//!
//! Source: `gen:call/4` in stdlib's `gen.erl`.

use std::future::{Future, IntoFuture, poll_fn};
use std::hint::cold_path;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::deadline::{Deadline, polled};
use super::gen_call::{ALIAS, GEN_CALL, reply_reference};
use super::relations::{CallOutcome, Closed, Monitor, Monitored, Relations};
use super::{
    AnyProcess, Attention, Delivery, Destination, ExitReason, Local, SendError, Shared, Taker, Write,
    reply_cell, run_inline,
};
use crate::etf::{DecodeError, EncodeError, Payload, Writer};
use crate::term::{Atom, Pid, Reference, Term};
use crate::world::BoxFuture;

/// How long a call waits unless it says otherwise, as in OTP.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a call has no reply.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No reply came in time. The server may still have done the work; a late reply is dropped.
    #[error("no reply within {0:?}")]
    Timeout(Duration),
    /// There is no such process.
    #[error("no such process (noproc)")]
    NoProc,
    /// The node cannot be reached, or was lost while the call waited.
    #[error("no connection to {0}")]
    NoConnection(Atom),
    /// The server ended before it replied.
    #[error("the server ended: {0}")]
    Exit(ExitReason),
    /// A process cannot wait for itself.
    #[error("a process called itself")]
    CallsItself,
    /// The reply is of another type.
    #[error("the reply does not fit: {0}")]
    Decode(#[from] DecodeError),
    /// The request has no external form.
    #[error("the request cannot be sent: {0}")]
    Encode(#[from] EncodeError),
    /// As many messages wait for the server as may, and it refuses further ones ([`OnFull`](super::OnFull)). Only a server of
    /// this node says so.
    #[error("the server's mailbox is full")]
    MailboxFull,
    /// The node has as many processes as it may, or is stopping.
    #[error("the node takes no more processes")]
    SystemLimit,
}

impl CallError {
    /// The reason with which an Erlang process would end.
    pub(super) fn to_exit_reason(&self) -> ExitReason {
        match self {
            Self::Timeout(_) => ExitReason::atom("timeout"),
            Self::NoProc => ExitReason::NoProc,
            Self::NoConnection(node) => {
                ExitReason::Term(Term::tuple([Atom::from_static("nodedown").into(), node.clone().into()]))
            }
            Self::Exit(reason) => reason.clone(),
            Self::CallsItself => ExitReason::atom("calling_self"),
            Self::MailboxFull => ExitReason::atom("mailbox_full"),
            Self::Decode(_) | Self::Encode(_) | Self::SystemLimit => ExitReason::Term(Term::tuple([
                Atom::from_static("badarg").into(),
                Term::from(self.to_string()),
            ])),
        }
    }
}

/// A call that is sent when it is awaited.
///
/// Dropping its future gives the call up; the server may still do the work.
#[must_use = "a call is sent when it is awaited"]
pub struct Call<Q, R> {
    caller: Caller,
    to: Destination,
    label: Atom,
    request: Q,
    timeout: Option<Duration>,
    reply: PhantomData<fn() -> R>,
}

/// Who calls.
#[derive(Clone)]
pub(crate) enum Caller {
    Process(Arc<dyn AnyProcess>),
    /// Nobody in particular: the call is a process of its own.
    Node(Arc<Local>),
}

impl Caller {
    /// Who calls, to those who answer.
    pub(crate) fn pid(&self) -> Pid {
        match self {
            Self::Process(process) => process.pid().clone(),
            Self::Node(local) => local.pid(0, 0),
        }
    }

    pub(crate) fn local(&self) -> &Arc<Local> {
        match self {
            Self::Process(process) => process.shared().local(),
            Self::Node(local) => local,
        }
    }

    /// `!`. One that is no process is not suspended for a busy connection.
    pub(crate) fn send<T: Serialize + Send + 'static>(
        &self,
        to: &Destination,
        message: T,
    ) -> Result<(), SendError> {
        match self {
            Self::Process(process) => process.shared().send(to, message),
            Self::Node(local) => match local.send(&self.pid(), to, message)? {
                Delivery::NoProc => Err(SendError::NoProc(to.clone())),
                Delivery::Full => Err(SendError::MailboxFull(to.clone())),
                Delivery::Done | Delivery::Busy(_) => Ok(()),
            },
        }
    }
}

impl<Q, R> Call<Q, R> {
    pub(crate) fn new(caller: Caller, to: Destination, request: Q) -> Self {
        Self::labelled(caller, to, GEN_CALL, request)
    }

    /// A request of `gen`'s form under another label, `{Label, From, Request}`.
    pub(crate) fn labelled(caller: Caller, to: Destination, label: Atom, request: Q) -> Self {
        Self { caller, to, label, request, timeout: Some(DEFAULT_TIMEOUT), reply: PhantomData }
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

impl<Q, R> IntoFuture for Call<Q, R>
where
    Q: Serialize + Send + Sync + 'static,
    R: DeserializeOwned + Send + 'static,
{
    type Output = Result<R, CallError>;
    type IntoFuture = CallFuture<Q, R>;

    #[inline]
    fn into_future(self) -> Self::IntoFuture {
        let Self { caller, to, label, request, timeout, .. } = self;
        CallFuture(match caller {
            Caller::Process(process) => {
                let call = ProcessCall { process, open: None };
                Calling::Process { call, sent: false, to, label, request, timeout }
            }
            // Apart, as it takes far more memory.
            Caller::Node(local) => Calling::Node(Box::pin(async move {
                let run = run_inline(&local, |cx| async move {
                    let mut call = ProcessCall { process: cx.process().clone(), open: None };
                    open(call.process.shared(), &mut call.open, &to, &label, &request)?;
                    call.wait(timeout).await
                });
                match run.await {
                    Ok(outcome) => Ok(outcome?.decode()?),
                    Err(None) => Err(CallError::SystemLimit),
                    Err(Some(reason)) => Err(CallError::Exit(reason)),
                }
            })),
        })
    }
}

/// A [`Call`] that is awaited: sent with the first poll.
// Neither boxed nor an `async` block, whose code lies where the compiler puts it.
#[must_use = "a call is sent when it is awaited"]
pub struct CallFuture<Q, R>(Calling<Q, R>);

#[expect(clippy::large_enum_variant, reason = "most are a process's, and a box is an allocation for each")]
enum Calling<Q, R> {
    Process {
        call: ProcessCall,
        sent: bool,
        to: Destination,
        label: Atom,
        request: Q,
        timeout: Option<Duration>,
    },
    Node(BoxFuture<'static, Result<R, CallError>>),
}

// Nothing points into it.
impl<Q, R> Unpin for CallFuture<Q, R> {}

impl<Q: Serialize, R: DeserializeOwned> Future for CallFuture<Q, R> {
    type Output = Result<R, CallError>;

    #[hot]
    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let (call, sent, to, label, request, timeout) = match &mut self.0 {
            Calling::Process { call, sent, to, label, request, timeout } => {
                (call, sent, to, label, request, timeout)
            }
            Calling::Node(call) => {
                cold_path();
                return call.as_mut().poll(cx);
            }
        };
        let shared = call.process.shared();
        if !std::mem::replace(sent, true)
            && let Err(error) = open(shared, &mut call.open, to, label, request)
        {
            cold_path();
            call.close();
            return Poll::Ready(Err(error));
        }
        let Some(open) = &mut call.open else { panic!("a call is polled after its end") };
        let Poll::Ready(reply) = open.poll(shared, *timeout, cx) else { return Poll::Pending };
        // Decoded where it is found: a result of a result is moved for each.
        let outcome = reply.and_then(|reply| Ok(reply.decode()?));
        call.close();
        Poll::Ready(outcome)
    }
}

/// A call of a process. Its process waits no more once it is dropped.
struct ProcessCall {
    process: Arc<dyn AnyProcess>,
    /// What [`close`](Self::close) ends, and nothing else.
    open: Option<ManuallyDrop<OpenCall>>,
}

/// A call that is under way.
struct OpenCall {
    reference: Reference,
    reply: Taker<CallOutcome>,
    node: Atom,
    deadline: Deadline,
}

#[hot]
fn open<Q: Serialize + ?Sized>(
    shared: &Shared,
    place: &mut Option<ManuallyDrop<OpenCall>>,
    to: &Destination,
    label: &Atom,
    request: &Q,
) -> Result<(), CallError> {
    let local = &shared.local;
    // A pid is copied only if it is to be monitored.
    let (pid, other, node) = match to {
        Destination::Pid(pid) => (Some(pid), None, &pid.node),
        _ => {
            cold_path();
            let (other, node) = monitored(local, to)?;
            (None, other, node)
        }
    };
    let itself = match pid {
        Some(pid) => *pid == shared.pid,
        None => {
            cold_path();
            other.as_ref().is_some_and(|other| calls_itself(shared, other))
        }
    };
    if itself {
        cold_path();
        return Err(CallError::CallsItself);
    }
    let target = || pid.map(|pid| Monitored::Process(pid.clone())).or_else(|| other.clone());
    let reference = shared.make_reference();
    let (caller, reply) = reply_cell();
    // Before anything is sent: a reply may come at once.
    shared.open_calls.fetch_add(1, Ordering::AcqRel);
    let kept = shared.relations(|relations| relations.open_call(reference.clone(), caller, pid, target));
    let call = OpenCall { reference, reply, node: node.clone(), deadline: Deadline::default() };
    let call = place.insert(ManuallyDrop::new(call));
    let message = |writer: &mut Writer| {
        writer.tuple(3)?;
        writer.atom(label);
        writer.tuple(2)?;
        writer.pid(&shared.pid);
        writer.list(1)?;
        writer.atom(&ALIAS);
        writer.reference(&call.reference);
        crate::etf::serialize(request, writer)
    };
    // What is wrong with the destination arrives as the monitor's DOWN.
    if let Some(connection) = kept
        && let Some(delivery) = local.send_over(connection, &shared.pid, to, &message)?
    {
        let _ = shared.sent(to, delivery);
        return Ok(());
    }
    cold_path();
    let target = target();
    if let (Some(_), Some(target)) = (kept, &target) {
        shared.relations(|relations| relations.monitor_anew(&call.reference, target));
    }
    let delivery = match &target {
        Some(target) if !local.is_local(node) => {
            let (connection, delivery) =
                local.send_remote_call(&shared.pid, target, &call.reference, to, &message)?;
            shared.relations(|relations| relations.monitor_over(&call.reference, connection, None));
            delivery
        }
        target => {
            if let Some(target) = target {
                let (connection, bound) =
                    local.send_monitor(&shared.pid, target, &call.reference, Write::Later);
                shared.relations(|relations| relations.monitor_over(&call.reference, connection, bound));
            }
            local.send_encoded(&shared.pid, to, &message)?
        }
    };
    if let Delivery::Full = delivery {
        return Err(CallError::MailboxFull);
    }
    let _ = shared.sent(to, delivery);
    Ok(())
}

/// What a call monitors, and the node of whom it calls.
#[inline(never)]
#[hot(relations)]
fn monitored<'a>(local: &'a Local, to: &'a Destination) -> Result<(Option<Monitored>, &'a Atom), CallError> {
    Ok(match to {
        Destination::Pid(pid) => (Some(Monitored::Process(pid.clone())), &pid.node),
        Destination::Name(name) => (Some(Monitored::Name(name.clone(), local.node.clone())), &local.node),
        Destination::Remote(name, node) => (Some(Monitored::Name(name.clone(), node.clone())), node),
        Destination::Alias(alias) if local.is_local(&alias.node) => {
            let process = local.process_of_alias(alias).ok_or(CallError::NoProc)?;
            (Some(Monitored::Process(process.pid().clone())), &local.node)
        }
        // Which process it stands for is known to its own node only: nothing but the deadline ends the wait for it.
        Destination::Alias(alias) => (None, &alias.node),
    })
}

/// Calls several servers at once, each with the same request, and waits for all without a limit.
pub(crate) async fn multi_call<Q: Serialize>(
    process: &Arc<dyn AnyProcess>,
    to: impl Iterator<Item = Destination>,
    request: &Q,
) -> Vec<Result<Term, CallError>> {
    // All are asked before any is waited for.
    let call = |to| {
        let mut call = ProcessCall { process: process.clone(), open: None };
        open(process.shared(), &mut call.open, &to, &GEN_CALL, request).map(|()| call)
    };
    let calls: Vec<_> = to.map(call).collect();
    let mut replies = Vec::with_capacity(calls.len());
    for call in calls {
        replies.push(match call {
            Ok(call) => call.wait(None).await.and_then(|reply| Ok(reply.decode()?)),
            Err(error) => Err(error),
        });
    }
    replies
}

/// Waits until `pid` has ended, and returns why: `noproc` if it had already. What the process receives meanwhile stays in its queue.
pub(crate) fn end_of(
    process: Arc<dyn AnyProcess>,
    pid: &Pid,
) -> impl Future<Output = ExitReason> + Send + use<> {
    let shared = process.shared();
    let (caller, end) = reply_cell();
    let reference = shared.make_reference();
    let target = Monitored::Process(pid.clone());
    shared.open_calls.fetch_add(1, Ordering::AcqRel);
    let kept = shared.relations(|relations| {
        relations.open_call(reference.clone(), caller, Some(pid), || Some(target.clone()))
    });
    let node = pid.node.clone();
    // The loss of a kept one's connection ends the wait, too.
    if kept.is_none() {
        let (connection, bound) = shared.local.send_monitor(&shared.pid, &target, &reference, Write::Now);
        shared.relations(|relations| relations.monitor_over(&reference, connection, bound));
    }
    let open = OpenCall { reference, reply: end, node, deadline: Deadline::default() };
    let mut call = ProcessCall { process, open: Some(ManuallyDrop::new(open)) };
    async move {
        let Some(open) = &mut call.open else { return ExitReason::NoProc };
        match (&mut open.reply).await {
            Ok(Err(reason)) => reason,
            // Nobody has the reference to answer with, and a process that has ended waits no more.
            Ok(Ok(_)) | Err(_) => ExitReason::NoProc,
        }
    }
}

/// A process that asks in place of somebody: when that one waits no more, nobody is left behind who does.
pub(crate) struct Asking<'a> {
    local: &'a Arc<Local>,
    pid: Pid,
}

impl<'a> Asking<'a> {
    pub(crate) fn new(local: &'a Arc<Local>, pid: &Pid) -> Self {
        Self { local, pid: pid.clone() }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.local.send_exit(&self.pid, &self.pid, &ExitReason::Kill);
    }
}

#[inline]
#[hot(relations)]
fn calls_itself(shared: &Shared, target: &Monitored) -> bool {
    match target {
        Monitored::Process(pid) => *pid == shared.pid,
        Monitored::Name(name, node) => {
            *node == shared.local.node
                && shared.local.names.get(name).is_some_and(|it| *it.pid() == shared.pid)
        }
    }
}

impl OpenCall {
    #[inline(always)]
    fn poll(
        &mut self,
        shared: &Shared,
        timeout: Option<Duration>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<Payload, CallError>> {
        let Poll::Ready(outcome) = Pin::new(&mut self.reply).poll(cx) else {
            let Some(limit) = timeout else { return Poll::Pending };
            let elapsed = self.deadline.poll(limit, &shared.local, cx);
            return elapsed.map(|()| Err(CallError::Timeout(limit)));
        };
        Poll::Ready(match outcome {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(reason)) => Err(self.failed(shared, Some(reason))),
            Err(_) => Err(self.failed(shared, None)),
        })
    }

    #[cold]
    fn failed(&self, shared: &Shared, reason: Option<ExitReason>) -> CallError {
        match reason {
            Some(ExitReason::NoProc) => CallError::NoProc,
            Some(ExitReason::NoConnection) => CallError::NoConnection(self.node.clone()),
            Some(reason) => CallError::Exit(reason),
            // The calling process has ended, and with it its relations.
            None => CallError::Exit(shared.exit_reason().cloned().unwrap_or(ExitReason::Killed)),
        }
    }
}

impl ProcessCall {
    async fn wait(mut self, timeout: Option<Duration>) -> Result<Payload, CallError> {
        let Self { process, open: Some(open) } = &mut self else { panic!("nothing is waited for") };
        poll_fn(|cx| open.poll(process.shared(), timeout, cx)).await
    }

    /// Whatever ended the wait: the alias is inactive and the monitor gone, or left to the process's next call of the same server if
    /// that comes before the process waits for anything but a call.
    #[inline]
    #[hot]
    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let OpenCall { reference, reply, mut deadline, .. } = ManuallyDrop::into_inner(open);
        let process = &self.process;
        let shared = process.shared();
        shared.open_calls.fetch_sub(1, Ordering::AcqRel);
        let keep = Arc::as_ptr(process).addr() == polled();
        let closed = match &mut shared.state().rare {
            Some(rare) => rare.relations.close_call(&reference, keep),
            None => Closed::Nothing,
        };
        match closed {
            Closed::Kept if shared.has(Attention::MONITORS) => {}
            Closed::Kept => shared.notice(Attention::MONITORS),
            Closed::Nothing => {}
            Closed::Demonitor(reference, monitor) => {
                cold_path();
                send_demonitor(shared, &monitor, &reference, Write::Later);
            }
        }
        reply.leave();
        deadline.end();
    }
}

impl Drop for ProcessCall {
    #[inline(always)]
    fn drop(&mut self) {
        if self.open.is_some() {
            cold_path();
            self.close();
        }
    }
}

/// The process waits for something else than a call: the monitors of those that it has called go.
#[inline]
pub(super) fn release_monitors(shared: &Shared) {
    if shared.open_calls.load(Ordering::Acquire) == 0 {
        release_kept(shared);
    }
}

#[cold]
fn release_kept(shared: &Shared) {
    shared.forget(Attention::MONITORS);
    while let Some((reference, monitor)) = shared.with_relations(Relations::release_kept).flatten() {
        send_demonitor(shared, &monitor, &reference, Write::Later);
    }
}

/// `demonitor/1`.
pub(super) fn demonitor(shared: &Shared, reference: &Reference, write: Write) -> bool {
    let Some(Some(monitor)) = shared.with_relations(|relations| relations.demonitor(reference)) else {
        return false;
    };
    send_demonitor(shared, &monitor, reference, write);
    true
}

#[hot(relations)]
fn send_demonitor(shared: &Shared, monitor: &Monitor, reference: &Reference, write: Write) {
    shared.local.send_demonitor(&shared.pid, &monitor.target, monitor.bound.as_ref(), reference, write);
}

/// Hands a message to the call that it is the reply to, or back.
#[hot]
pub(super) fn give_reply(shared: &Shared, message: Payload) -> Result<(), Payload> {
    let Some((reference, start)) = reply_reference(&message) else { return Err(message) };
    let Some(Some(caller)) = shared.with_relations(|relations| relations.take_caller(&reference)) else {
        cold_path();
        return Err(message);
    };
    // A caller that has just given up does not want it.
    caller.give(Ok(message.into_last(start)));
    Ok(())
}
