//! The loop of a server.

use std::any::type_name;
use std::future::{Future, poll_fn};
use std::hint::cold_path;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use serde::de::DeserializeOwned;

use super::{Context, GenServer, Message, ReplyTo, StartError, system};
use crate::etf::{DecodeError, Payload};
use crate::process::{
    AnyProcess, Deadline, ExitReason, First, GenMessage, Giver, Process, Received, RegisterError,
    ReplyAddress,
};
use crate::term::{Atom, Pid, Term};
use crate::world::panic_text;

const TIMEOUT: Atom = Atom::from_static("timeout");
const EXIT: Atom = Atom::from_static("EXIT");

/// The callbacks, by the numbers under which their process knows which one runs: for panics and the watchdog.
pub(super) struct Callback;

impl Callback {
    const NAMES: [&'static str; 7] =
        ["init", "handle_call", "handle_cast", "handle_info", "handle_continue", "terminate", "system"];
    const INIT: u8 = 0;
    const CALL: u8 = 1;
    const CAST: u8 = 2;
    const INFO: u8 = 3;
    const CONTINUE: u8 = 4;
    const TERMINATE: u8 = 5;
    const SYSTEM: u8 = 6;

    pub(super) fn name(callback: u8) -> &'static str {
        Self::NAMES.get(usize::from(callback)).copied().unwrap_or_default()
    }
}

/// What a server starts with.
pub(super) struct Init<S: GenServer> {
    pub(super) name: Option<Atom>,
    pub(super) args: S::Args,
    pub(super) started: Giver<Result<(), StartError>>,
}

/// The body of a server's process.
#[expect(
    clippy::manual_async_fn,
    reason = "it would keep its arguments twice: an idle server should be small"
)]
pub(super) fn run<S: GenServer>(
    mut cx: Context<S>,
    init: Box<Init<S>>,
) -> impl Future<Output = ExitReason> + Send + 'static {
    async move {
        // Boxed, so that a server that has started is no larger for what its start needed.
        let mut server = match Box::pin(start(&mut cx, init)).await {
            Ok(server) => server,
            Err(reason) => return reason,
        };
        let reason = {
            let process = cx.process().clone();
            guard(process, serve(&mut server, &mut cx)).await.unwrap_or_else(|reason| reason)
        };
        let reason = {
            let process = cx.process().clone();
            process.set_callback(Callback::TERMINATE);
            guard(process, server.terminate(&reason, &mut cx)).await.map_or_else(|panic| panic, |()| reason)
        };
        report(&cx, &reason, Some(&server));
        reason
    }
}

/// Makes the state, and tells who waits how that went.
async fn start<S: GenServer>(cx: &mut Context<S>, init: Box<Init<S>>) -> Result<S, ExitReason> {
    let Init { name, args, started } = *init;
    if let Some(name) = name
        && let Err(error) = cx.register(name)
    {
        let error = match error {
            RegisterError::Taken { pid, .. } => StartError::AlreadyStarted(pid),
            error => StartError::Name(error),
        };
        // Nobody else is to hear of a process that never was a server.
        started.give(Err(error));
        return Err(ExitReason::Normal);
    }
    let process = cx.process().clone();
    process.set_callback(Callback::INIT);
    let init = guard(process, S::init(args, cx)).await.flatten();
    match &init {
        // Who waited may have given up; the server is linked to it, or meant to outlive it.
        Ok(_) => started.give(Ok(())),
        Err(reason) => {
            report::<S>(cx, reason, None);
            // Before the parent hears of it, so that it can start another under the name at once.
            cx.give_up_name();
            started.give(Err(StartError::Init(reason.clone())));
        }
    }
    init
}

/// Handles messages until something ends the server.
async fn serve<S: GenServer>(server: &mut S, cx: &mut Context<S>) -> ExitReason {
    loop {
        // Most messages: they are not moved by way of what else could be received. And nothing of this is kept while the server waits.
        let first = first(cx);
        let message = if first == First::Nothing {
            cx.queued().await;
            continue;
        } else if first == First::Term {
            match take_term(server, cx) {
                Ok(Some(message)) => message,
                Ok(None) => continue,
                Err(reason) => {
                    cold_path();
                    return reason;
                }
            }
        } else if first == First::Own
            && let Some(message) = cx.pop_or_take_own()
        {
            message
        } else {
            let mut timeout = None;
            if let Some(asked) = cx.asked() {
                if let Some(reason) = asked.stop.take() {
                    cold_path();
                    return reason;
                }
                if let Some(with) = asked.continue_with.take() {
                    cold_path();
                    cx.process().set_callback(Callback::CONTINUE);
                    if let Err(reason) = server.handle_continue(with, cx).await {
                        return reason;
                    }
                    continue;
                }
                timeout = asked.timeout;
            }
            let received = match (cx.suspension().is_some(), timeout) {
                (false, None) => cx.receive_signal().await,
                (false, Some(timeout)) => receive_within(cx, timeout).await,
                // Boxed: somebody looks, or has, and a server that nobody looks at is smaller without.
                (true, timeout) => Box::pin(system::receive(cx, timeout)).await,
            };
            match received {
                Received::Own(message) => match cx.suspension() {
                    None => message,
                    Some(_) => system::see_own(server, message, cx),
                },
                Received::Term(message) => {
                    let whole = cx.is_looked_at().then(|| message.clone());
                    match understand(server, S::read(message), whole, cx) {
                        Ok(Some(message)) => message,
                        Ok(None) => continue,
                        Err(reason) => {
                            cold_path();
                            return reason;
                        }
                    }
                }
            }
        };
        let handled = match message {
            Message::Call(call, from) => {
                cx.begin(Callback::CALL);
                server.handle_call(call, from, cx).await.map(|_| ())
            }
            Message::Cast(cast) => {
                cx.begin(Callback::CAST);
                server.handle_cast(cast, cx).await
            }
            Message::Info(info) => {
                cx.begin(Callback::INFO);
                server.handle_info(info, cx).await
            }
            Message::System(system) => {
                cold_path();
                cx.process().set_callback(Callback::SYSTEM);
                system.act(server, cx);
                continue;
            }
        };
        if let Err(reason) = handled {
            cold_path();
            return reason;
        }
        if cx.suspension().is_some() {
            cold_path();
            system::seen(server, cx);
        }
    }
}

/// What the server receives next, if it has nothing else to do. Apart from [`serve`], whose code lies where the compiler puts it.
#[inline(never)]
#[hot]
fn first<S: GenServer>(cx: &Context<S>) -> First {
    if cx.asks() {
        cold_path();
        return First::Other;
    }
    cx.first()
}

/// Takes a message in its external form, if it is there still, and decodes it as [`understand`] does. Apart as [`first`] is.
#[inline(never)]
#[hot]
fn take_term<S: GenServer>(server: &mut S, cx: &mut Context<S>) -> Result<Option<Message<S>>, ExitReason> {
    match cx.pop_or_take_term() {
        Some(message) => understand(server, S::read(message), None, cx),
        None => {
            cold_path();
            Ok(None)
        }
    }
}

/// The next message, or the atom `timeout` if none arrives in time.
// Not an `async fn`, which would keep its arguments twice: an idle server should be small.
pub(super) fn receive_within<S: GenServer>(
    cx: &mut Context<S>,
    timeout: Duration,
) -> impl Future<Output = Received<Message<S>>> {
    let mut deadline = Deadline::default();
    poll_fn(move |task| match cx.poll_receive(task) {
        Poll::Pending => deadline.poll(timeout, cx.local(), task).map(|()| Received::Term(timeout_message())),
        received => received,
    })
}

fn timeout_message() -> Payload {
    Payload::from_writer(|writer| {
        writer.atom(&TIMEOUT);
        Ok(())
    })
    .unwrap_or_else(|error| unreachable!("an atom has an external form: {error}"))
}

/// Decodes a message into the server's own; `whole` is the message if somebody looks. `None` if there is nothing more to do with it: it is a
/// system message, or not understood.
#[hot]
fn understand<S: GenServer>(
    server: &mut S,
    message: GenMessage,
    whole: Option<Payload>,
    cx: &mut Context<S>,
) -> Result<Option<Message<S>>, ExitReason> {
    if let Some(whole) = &whole
        && !matches!(message, GenMessage::System { .. })
    {
        cold_path();
        system::see(server, whole, cx);
    }
    let understood = match message {
        GenMessage::Call { from, request } => match request.decode() {
            Ok(call) => {
                let local = cx.shared().local().clone();
                let reply = whole.and_then(|_| system::reply_seen(cx));
                Some(Message::Call(call, ReplyTo::term(from, local, cx.pid().clone(), reply)))
            }
            Err(error) => {
                refuse_call(cx, &from, &error);
                None
            }
        },
        GenMessage::Cast(request) => decode::<S, _>(cx, "cast", &request).map(Message::Cast),
        GenMessage::System { from, request } => {
            cold_path();
            cx.process().set_callback(Callback::SYSTEM);
            return system::handle(server, cx, &from, &request).map(|()| None);
        }
        GenMessage::Info(info) => {
            if let Some(reason) = parent_exit(cx, &info) {
                return Err(reason);
            }
            decode::<S, _>(cx, "info", &info).map(Message::Info)
        }
    };
    if understood.is_none() {
        cold_path();
        cx.begin(Callback::INFO);
        if cx.suspension().is_some() {
            system::seen(server, cx);
        }
    }
    Ok(understood)
}

/// Answers a call that the server does not understand.
#[cold]
fn refuse_call<S: GenServer>(cx: &mut Context<S>, from: &ReplyAddress, error: &DecodeError) {
    unknown::<S>(cx, "call", error);
    let badarg = (Atom::from_static("badarg"), error.to_string());
    let error: Result<(), _> = Err(badarg);
    if let Err(error) = from.reply(cx.local(), cx.pid(), &error) {
        tracing::error!(%error, "a reply has no external form");
    }
}

/// The reason, if the message is the trapped exit of the server's parent: the server ends with it.
pub(super) fn parent_exit<S: GenServer>(cx: &Context<S>, info: &Payload) -> Option<ExitReason> {
    let parent = cx.parent()?;
    let (tag, pid, reason) = info.decode::<(Atom, Pid, ExitReason)>().ok()?;
    (tag == EXIT && pid == *parent).then_some(reason)
}

fn decode<S: GenServer, T: DeserializeOwned>(
    cx: &mut Context<S>,
    kind: &'static str,
    message: &Payload,
) -> Option<T> {
    match message.decode() {
        Ok(message) => Some(message),
        Err(error) => {
            unknown::<S>(cx, kind, &error);
            None
        }
    }
}

/// Counts a message that the server does not understand, and logs the first of its kind.
#[cold]
fn unknown<S: GenServer>(cx: &mut Context<S>, kind: &'static str, error: &DecodeError) {
    cx.local().count_dropped("not understood");
    if cx.first_unknown(kind) {
        tracing::warn!(
            pid = %cx.pid(), server = type_name::<S>(), kind, %error,
            "a message is not understood; further ones of this kind are only counted"
        );
    }
}

pin_project! {
    /// Runs callbacks; a panic in one becomes an exit reason.
    struct Guard<S: GenServer, F> {
        #[pin]
        callbacks: F,
        process: Arc<Process<Message<S>>>,
    }
}

fn guard<S: GenServer, F: Future>(process: Arc<Process<Message<S>>>, callbacks: F) -> Guard<S, F> {
    Guard { callbacks, process }
}

impl<S: GenServer, F: Future> Future for Guard<S, F> {
    type Output = Result<F::Output, ExitReason>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match catch_unwind(AssertUnwindSafe(|| this.callbacks.poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => {
                let (server, callback) = this.process.callback();
                Poll::Ready(Err(ExitReason::panic(panic_text(&*panic), server, callback)))
            }
        }
    }
}

/// A crash report, with what OTP's says: an orderly end is quiet.
fn report<S: GenServer>(cx: &Context<S>, reason: &ExitReason, server: Option<&S>) {
    if reason.is_orderly() || !tracing::enabled!(target: CRASH_REPORT, tracing::Level::ERROR) {
        return;
    }
    let name = cx.shared().name().map_or_else(String::new, |name| name.to_string());
    // What is left of a state after a panic may not bear to be looked at.
    let state = server.map(|server| catch_unwind(AssertUnwindSafe(|| server.state().to_string())));
    let state = state.transpose().ok().flatten().unwrap_or_default();
    let process = cx.process();
    tracing::error!(
        target: CRASH_REPORT,
        pid = %cx.pid(),
        registered_name = name,
        initial_call = type_name::<S>(),
        callback = process.callback().1,
        %reason,
        state,
        ancestors = %Term::list(cx.ancestors()),
        message_queue_len = process.message_queue_len(),
        "gen_server terminating"
    );
}

const CRASH_REPORT: &str = "beamline::crash_report";
