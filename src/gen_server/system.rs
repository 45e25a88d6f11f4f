//! System messages to a server: see [`sys`](crate::sys).

use std::any::type_name;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::context::Suspension;
use super::server::{parent_exit, receive_within};
use super::{Context, GenServer, Message};
use crate::etf::Payload;
use crate::process::{ExitReason, GenMessage, Received, ReplyAddress, Signal};
use crate::sys::{self, Request};
use crate::term::{Atom, Term};

/// The next message of a server that was sent system messages: one that has waited, or the next that it may take.
pub(super) async fn receive<S: GenServer>(
    cx: &mut Context<S>,
    timeout: Option<Duration>,
) -> Received<Message<S>> {
    loop {
        let system = cx.make_suspension();
        if system.suspended {
            let signal = poll_fn(|task| cx.poll_signal(task)).await;
            if is_for(&signal, cx) {
                return signal.receive();
            }
            // It counts on: a mailbox with a bound has no more room for being suspended.
            let waiting = &mut cx.make_suspension().waiting;
            waiting.push_back(signal);
            let messages = waiting.len();
            cx.set_aside(messages);
            continue;
        }
        return match (system.waiting.pop_front(), timeout) {
            (Some(waiting), _) => waiting.receive(),
            (None, Some(timeout)) => receive_within(cx, timeout).await,
            (None, None) => cx.receive_signal().await,
        };
    }
}

/// Whether a suspended server takes a message: a system message, or what ends it.
fn is_for<S: GenServer>(signal: &Signal<Message<S>>, cx: &Context<S>) -> bool {
    match signal.message() {
        Err(own) => matches!(own, Some(Message::System(_))),
        Ok(message) => {
            matches!(S::read(message.clone()), GenMessage::System { .. })
                || parent_exit(cx, message).is_some()
        }
    }
}

/// Answers a system message.
///
/// # Errors
/// The reason if it ends the server.
pub(super) fn handle<S: GenServer>(
    server: &S,
    cx: &mut Context<S>,
    from: &ReplyAddress,
    request: &Payload,
) -> Result<(), ExitReason> {
    let now = cx.world().clock.wall();
    let system = cx.make_suspension();
    let mut end = None;
    let answer = match Request::read(request.term(), &mut system.debug, now) {
        Request::GetState if from.takes_ok_state() => {
            Term::tuple([Atom::from_static("ok").into(), server.state()])
        }
        Request::GetState => server.state(),
        Request::GetStatus => status(server, cx),
        Request::Suspend => {
            system.suspended = true;
            Atom::from_static("ok").into()
        }
        Request::Resume => {
            system.suspended = false;
            Atom::from_static("ok").into()
        }
        Request::Terminate(reason) => {
            end = Some(reason);
            Atom::from_static("ok").into()
        }
        Request::Callback(function) => sys::callback_failed(S::behaviour().0, function),
        Request::Answer(answer) => answer,
    };
    if let Err(error) = from.reply(cx.local(), cx.pid(), &answer) {
        tracing::error!(%error, "an answer to a system message has no external form");
    }
    end.map_or(Ok(()), Err)
}

/// As it is known to others: its name if it has one, else its pid.
fn name<S: GenServer>(cx: &Context<S>) -> Term {
    cx.shared().name().map_or_else(|| cx.pid().clone().into(), Term::from)
}

/// `{status, Pid, {module, Module}, [Dictionary, SysState, Parent, Debug, Misc]}`.
fn status<S: GenServer>(server: &S, cx: &mut Context<S>) -> Term {
    let atom = |text| Term::from(Atom::from_static(text));
    let titled = |title: &str, value: Term| Term::tuple([Term::charlist(title), value]);
    let data = |entries: Vec<Term>| Term::tuple([atom("data"), Term::list(entries)]);
    let parent = Term::from(cx.parent().unwrap_or(cx.pid()).clone());
    let name = name(cx);
    let pid = Term::from(cx.pid().clone());
    let system = cx.make_suspension();
    let sys_state = atom(if system.suspended { "suspended" } else { "running" });
    let logged = system.debug.as_ref().map(sys::Debug::logged).unwrap_or_default();
    let (module, header) = S::behaviour();
    let misc = Term::list([
        Term::tuple([atom("header"), Term::charlist(&format!("{header} {name}"))]),
        data(vec![
            titled("Status", sys_state.clone()),
            titled("Parent", parent.clone()),
            titled("Logged events", Term::list(logged)),
        ]),
        data(vec![titled("State", server.state())]),
    ]);
    let init = Atom::new(type_name::<S>()).unwrap_or(Atom::from_static("rust"));
    let initial_call =
        Term::tuple([atom("$initial_call"), Term::tuple([init.into(), atom("init"), Term::from(1)])]);
    Term::tuple([
        atom("status"),
        pid,
        Term::tuple([atom("module"), atom(module)]),
        Term::list([Term::list([initial_call]), sys_state, parent, Term::list([]), misc]),
    ])
}

/// Replies that were sent while somebody looks, each with who it was for.
#[derive(Clone, Default)]
pub(super) struct Replies(Arc<Mutex<Vec<(Term, Term)>>>);

impl Replies {
    pub(super) fn note(&self, to: Term, reply: Term) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((to, reply));
    }

    fn take(&self) -> Vec<(Term, Term)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Notes a message, if somebody looks.
pub(super) fn see<S: GenServer>(server: &S, message: &Payload, cx: &mut Context<S>) {
    begin(server, cx, || message.term());
}

/// As [`see`], for a message that was moved here: what is in it is not a term.
// By value: what its caller borrows would be kept while the server is idle.
pub(super) fn see_own<S: GenServer>(server: &S, message: Message<S>, cx: &mut Context<S>) -> Message<S> {
    let tag = match &message {
        Message::Call(..) => "$gen_call",
        Message::Cast(_) => "$gen_cast",
        Message::Info(_) => "$info",
        Message::System(_) => return message,
    };
    begin(server, cx, || Term::tuple([Term::from(Atom::from_static(tag)), Term::from("typed".to_owned())]));
    message
}

fn begin<S: GenServer>(server: &S, cx: &mut Context<S>, message: impl FnOnce() -> Term) {
    let Some(Suspension { debug: Some(_), seen, replies, .. }) = cx.suspension() else { return };
    let message = message();
    // What was sent between messages belongs to none.
    replies.take();
    *seen = Some(message.clone());
    cx.note(|| server.event_in(&message));
}

/// Where the reply to the message that is handled now is to be noted.
pub(super) fn reply_seen<S: GenServer>(cx: &mut Context<S>) -> Option<Replies> {
    let Suspension { seen, replies, .. } = cx.suspension()?;
    seen.as_ref().map(|_| replies.clone())
}

/// Notes what the callback has led to that has handled a message.
pub(super) fn seen<S: GenServer>(server: &S, cx: &mut Context<S>) {
    let Some(message) = cx.take_seen() else { return };
    let from = message.as_tuple().and_then(|message| message.get(1));
    let reply = cx.take_replies().into_iter().find(|(to, _)| Some(to) == from);
    if let Some(event) = server.event_out(&message, reply.map(|(_, reply)| reply)) {
        cx.note(|| event);
    }
}

impl<S: GenServer> Context<S> {
    /// Notes an event, if somebody looks.
    pub(crate) fn note(&mut self, event: impl FnOnce() -> Term) {
        if !self.is_looked_at() {
            return;
        }
        let name = name(self);
        if let Some(Suspension { debug: Some(debug), .. }) = self.suspension() {
            debug.event(&name, event());
        }
    }

    /// Whether somebody looks at the server's events.
    pub(crate) fn is_looked_at(&mut self) -> bool {
        self.suspension().is_some_and(|system| system.debug.is_some())
    }

    /// The message that is handled now, if somebody looks.
    pub(crate) fn take_seen(&mut self) -> Option<Term> {
        self.suspension()?.seen.take()
    }

    /// The replies since this was last called, each with who it was for, if somebody looks.
    pub(crate) fn take_replies(&mut self) -> Vec<(Term, Term)> {
        self.suspension().map(|system| system.replies.take()).unwrap_or_default()
    }
}
