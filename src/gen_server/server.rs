//! The loop of a server.

use std::any::type_name;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::{Context, GenServer, Message, Reply, ReplyTo, StartError};
use crate::etf::{DecodeError, Payload};
use crate::process::{self, ExitReason, GenMessage, Received, RegisterError};
use crate::term::{Atom, Pid};
use crate::world::panic_text;

const TIMEOUT: Atom = Atom::from_static("timeout");
const EXIT: Atom = Atom::from_static("EXIT");

/// The body of a server's process.
pub(super) async fn run<S: GenServer>(
    cx: process::Context<Message<S>>,
    parent: Option<Pid>,
    name: Option<Atom>,
    args: S::Args,
    started: oneshot::Sender<Result<(), StartError>>,
) -> ExitReason {
    if let Some(name) = name
        && let Err(error) = cx.register(name)
    {
        let error = match error {
            RegisterError::Taken { pid, .. } => StartError::AlreadyStarted(pid),
            error => StartError::Name(error),
        };
        // Nobody else is to hear of a process that never was a server.
        let _ = started.send(Err(error));
        return ExitReason::Normal;
    }
    let mut cx = Context::<S>::new(cx, parent);
    let init = guard::<S, _>("init", S::init(args, &mut cx)).await;
    let mut server = match init {
        Ok(server) => server,
        Err(reason) => {
            // Before the parent hears of it, so that it can start another under the name at once.
            cx.give_up_name();
            report::<S>(&cx, &reason);
            let _ = started.send(Err(StartError::Init(reason.clone())));
            return reason;
        }
    };
    // Who waited may have given up; the server is linked to it, or meant to outlive it.
    let _ = started.send(Ok(()));
    let reason = serve(&mut server, &mut cx).await;
    let terminated = guard::<S, _>("terminate", async {
        server.terminate(&reason, &mut cx).await;
        Ok(())
    });
    let reason = terminated.await.err().unwrap_or(reason);
    report::<S>(&cx, &reason);
    reason
}

/// Handles messages until something ends the server.
async fn serve<S: GenServer>(server: &mut S, cx: &mut Context<S>) -> ExitReason {
    loop {
        if let Some(reason) = cx.next.stop.take() {
            return reason;
        }
        let handled = match cx.next.continue_with.take() {
            Some(with) => guard::<S, _>("handle_continue", server.handle_continue(with, cx)).await,
            None => match receive(cx).await {
                Received::Own(message) => handle(server, message, cx).await,
                Received::Term(message) => handle_term(server, message, cx).await,
            },
        };
        if let Err(reason) = handled {
            return reason;
        }
    }
}

async fn receive<S: GenServer>(cx: &mut Context<S>) -> Received<Message<S>> {
    let Some(timeout) = cx.next.timeout.take() else { return cx.receive_signal().await };
    let world = cx.world().clone();
    match world.timeout(timeout, cx.receive_signal()).await {
        Ok(message) => message,
        Err(_) => Received::Term(timeout_message()),
    }
}

fn timeout_message() -> Payload {
    Payload::from_writer(|writer| {
        writer.atom(&TIMEOUT);
        Ok(())
    })
    .unwrap_or_else(|error| unreachable!("an atom has an external form: {error}"))
}

async fn handle<S: GenServer>(
    server: &mut S,
    message: Message<S>,
    cx: &mut Context<S>,
) -> Result<(), ExitReason> {
    match message {
        Message::Call(call, from) => {
            guard::<S, _>("handle_call", server.handle_call(call, from, cx)).await.map(|_: Reply| ())
        }
        Message::Cast(cast) => guard::<S, _>("handle_cast", server.handle_cast(cast, cx)).await,
        Message::Info(info) => guard::<S, _>("handle_info", server.handle_info(info, cx)).await,
    }
}

async fn handle_term<S: GenServer>(
    server: &mut S,
    message: Payload,
    cx: &mut Context<S>,
) -> Result<(), ExitReason> {
    let message = match GenMessage::new(message) {
        GenMessage::Call { from, request } => match request.decode() {
            Ok(call) => {
                let local = cx.shared().local().clone();
                let from = ReplyTo::term(from, local, cx.pid().clone());
                Message::Call(call, from)
            }
            Err(error) => {
                unknown::<S>(cx, "call", &error);
                let badarg = (Atom::from_static("badarg"), error.to_string());
                let error: Result<(), _> = Err(badarg);
                if let Err(error) = from.reply(cx.local(), cx.pid(), &error) {
                    tracing::error!(%error, "a reply has no external form");
                }
                return Ok(());
            }
        },
        GenMessage::Cast(request) => match decode::<S, _>(cx, "cast", &request) {
            Some(cast) => Message::Cast(cast),
            None => return Ok(()),
        },
        GenMessage::Info(info) => {
            if let Some(reason) = parent_exit(cx, &info) {
                return Err(reason);
            }
            match decode::<S, _>(cx, "info", &info) {
                Some(info) => Message::Info(info),
                None => return Ok(()),
            }
        }
    };
    handle(server, message, cx).await
}

/// The reason, if the message is the trapped exit of the server's parent: the server ends with it.
fn parent_exit<S: GenServer>(cx: &Context<S>, info: &Payload) -> Option<ExitReason> {
    let parent = cx.parent.as_ref()?;
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
fn unknown<S: GenServer>(cx: &mut Context<S>, kind: &'static str, error: &DecodeError) {
    cx.local().count_dropped("not understood");
    if cx.first_unknown(kind) {
        tracing::warn!(
            pid = %cx.pid(), server = type_name::<S>(), kind, %error,
            "a message is not understood; further ones of this kind are only counted"
        );
    }
}

/// Runs a callback; a panic in it becomes an exit reason.
async fn guard<S, T>(
    function: &'static str,
    callback: impl Future<Output = Result<T, ExitReason>>,
) -> Result<T, ExitReason> {
    let mut callback = pin!(callback);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| callback.as_mut().poll(cx))) {
        Ok(polled) => polled,
        Err(panic) => Poll::Ready(Err(ExitReason::panic(panic_text(&*panic), type_name::<S>(), function))),
    })
    .await
}

/// As OTP: an orderly end is quiet, anything else is an error report.
fn report<S: GenServer>(cx: &Context<S>, reason: &ExitReason) {
    if !reason.is_orderly() {
        let name = cx.shared().name().map_or_else(String::new, |name| name.to_string());
        tracing::error!(pid = %cx.pid(), name, server = type_name::<S>(), %reason, "gen_server terminating");
    }
}
