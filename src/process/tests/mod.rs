//! Processes of one node, without other nodes: each test has a table of its own and virtual time.

mod bound;
mod guest;
mod heritage;
mod message_queue;
mod priority;
mod relations;
mod remote_calls;
mod scheduling;
mod signals;
mod timers;

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    AnyBound, AnyProcess, Context, ExitReason, Local, Mailbox, Process, Pushed, SpawnOptions, spawn,
};
use crate::etf::Payload;
use crate::term::{Atom, Pid, Term};
use crate::world::World;

fn local() -> Arc<Local> {
    Arc::new(Local::new(Atom::from_static("test@127.0.0.1"), 4, World::tokio(), 1000))
}

fn start<F>(local: &Arc<Local>, body: impl FnOnce(Context<Term>) -> F) -> Pid
where
    F: Future<Output = ExitReason> + Send + 'static,
{
    spawn(local, SpawnOptions::default(), body).expect("there is room").pid().clone()
}

/// A process that shows every message it gets.
fn observer(
    local: &Arc<Local>,
    setup: impl FnOnce(&Context<Term>) + Send + 'static,
) -> (Pid, mpsc::UnboundedReceiver<Term>) {
    let (seen, messages) = mpsc::unbounded_channel();
    let pid = start(local, |mut cx| async move {
        setup(&cx);
        loop {
            let message = cx.receive().await;
            if message.is_atom("finish") || seen.send(message).is_err() {
                return ExitReason::Normal;
            }
        }
    });
    (pid, messages)
}

/// A process that ends with the reason that it is sent.
async fn mortal(mut cx: Context<Term>) -> ExitReason {
    ExitReason::from(cx.receive().await)
}

fn send(local: &Local, to: &Pid, message: Term) {
    // Whether there is a receiver is what the tests find out.
    let _ = local.send(&local.pid(0, 0), &to.into(), message);
}

/// Delivers a message as from another node, whose sender is not told what becomes of it.
fn deliver(local: &Local, to: &Pid, message: &impl Serialize) {
    let message = Payload::encode(message).expect("it has an external form");
    let pushed = local.process(to).map_or(Pushed::Ended, |process| process.push_term(message));
    local.delivered(pushed, "no such process");
}

/// As [`deliver`] for one after the other, which come together.
fn deliver_together<T: Serialize>(
    local: &Local,
    to: &Arc<dyn AnyProcess>,
    messages: impl IntoIterator<Item = T>,
) {
    let messages =
        messages.into_iter().map(|message| Payload::encode(&message).expect("it has an external form"));
    to.push_terms(&mut messages.collect(), &mut |pushed| local.delivered(pushed, "no such process"));
}

fn term(text: &str) -> Term {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A process that receives a message whenever it is told to, and shows it.
struct Slow {
    process: Arc<Process<Term>>,
    receive: mpsc::UnboundedSender<()>,
    messages: mpsc::UnboundedReceiver<Term>,
}

impl Slow {
    fn start(
        local: &Arc<Local>,
        mailbox: impl Into<Option<Mailbox<Term>>>,
        setup: impl FnOnce(&Context<Term>) + Send + 'static,
    ) -> Self {
        let (receive, mut told) = mpsc::unbounded_channel();
        let (seen, messages) = mpsc::unbounded_channel();
        let options = SpawnOptions { bound: mailbox.into().map(AnyBound::from), ..SpawnOptions::default() };
        let process = spawn(local, options, |mut cx: Context<Term>| async move {
            setup(&cx);
            while let Some(()) = told.recv().await {
                let message = cx.receive().await;
                if seen.send(message).is_err() {
                    break;
                }
            }
            ExitReason::Normal
        });
        Self { process: process.expect("there is room"), receive, messages }
    }

    fn pid(&self) -> &Pid {
        self.process.pid()
    }

    async fn receive(&mut self) -> Option<Term> {
        let _ = self.receive.send(());
        self.messages.recv().await
    }
}

/// Lets the processes do what they can.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}
