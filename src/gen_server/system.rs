//! System messages to a server: see [`sys`](crate::sys).

use std::any::type_name;
use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::server::{parent_exit, receive_within};
use super::{Context, GenServer, Message};
use crate::etf::Payload;
use crate::process::{ExitReason, GenMessage, Received, ReplyAddress, Signal};
use crate::sys::{Event, Request};
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
    let logged = system.debug.as_ref().map(crate::sys::Debug::logged).unwrap_or_default();
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

/// A message that is handled while somebody looks.
pub(super) struct Seen {
    /// Who waits, if it is a call.
    from: Option<Term>,
    reply: Arc<OnceLock<Term>>,
}

/// Notes a message, if somebody looks.
pub(super) fn see<S: GenServer>(message: &GenMessage, cx: &mut Context<S>) {
    let tagged = |tag, rest: &[Term]| {
        let elements = [Term::from(Atom::from_static(tag))].into_iter().chain(rest.iter().cloned());
        Term::tuple(elements.collect::<Vec<_>>())
    };
    let term = || match message {
        GenMessage::Call { from, request } => {
            let from = from.to_term();
            Some((tagged("$gen_call", &[from.clone(), request.term()]), Some(from)))
        }
        GenMessage::Cast(request) => Some((tagged("$gen_cast", &[request.term()]), None)),
        GenMessage::Info(info) => Some((info.term(), None)),
        GenMessage::System { .. } => None,
    };
    begin(cx, term);
}

/// As [`see`], for a message that was moved here: what is in it is not a term.
pub(super) fn see_own<S: GenServer>(message: &Message<S>, cx: &mut Context<S>) {
    let term = || {
        let tag = match message {
            Message::Call(..) => "$gen_call",
            Message::Cast(_) => "$gen_cast",
            Message::Info(_) => "$info",
            Message::System(_) => return None,
        };
        let typed = Term::from("typed".to_owned());
        Some((Term::tuple([Atom::from_static(tag).into(), typed]), None))
    };
    begin(cx, term);
}

fn begin<S: GenServer>(cx: &mut Context<S>, message: impl FnOnce() -> Option<(Term, Option<Term>)>) {
    let name = name(cx);
    let Some(system) = cx.suspension() else { return };
    let Some(debug) = &mut system.debug else { return };
    if let Some((message, from)) = message() {
        debug.event(&name, &Event::In(message));
        system.seen = Some(Seen { from, reply: Arc::default() });
    }
}

/// Where the reply to the message that is handled now is to be noted.
pub(super) fn reply_seen<S: GenServer>(cx: &mut Context<S>) -> Option<Arc<OnceLock<Term>>> {
    Some(cx.suspension()?.seen.as_ref()?.reply.clone())
}

/// Notes what the callback has led to that has handled a message.
pub(super) fn seen<S: GenServer>(server: &S, cx: &mut Context<S>) {
    let name = name(cx);
    let Some(system) = cx.suspension() else { return };
    if let (Some(Seen { from, reply }), Some(debug)) = (system.seen.take(), &mut system.debug) {
        let state = server.state();
        let event = match (from, reply.get()) {
            (Some(to), Some(reply)) => Event::Out { reply: reply.clone(), to, state },
            _ => Event::NoReply(state),
        };
        debug.event(&name, &event);
    }
}
