//! What a server can do besides answering.

use std::collections::VecDeque;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::system::Replies;
use super::{GenServer, Message, Server, Start};
use crate::process::{self, AnyProcess, ExitReason, Signal, TimerReference};
use crate::sys::Debug;
use crate::term::{Pid, Term};

/// A server's view of itself; it has all that [a process](process::Context) has.
pub struct Context<S: GenServer> {
    process: process::Context<Message<S>>,
    // Most servers have nothing of it: an idle one should be small.
    rare: Option<Box<Rare<S>>>,
}

/// What few servers have.
struct Rare<S: GenServer> {
    parent: Option<Pid>,
    next: Asked<S>,
    tasks: Tasks,
    unknown: Vec<&'static str>,
    /// Boxed: most servers are never sent a system message.
    system: Option<Box<Suspension<S>>>,
}

/// What system messages have made of the server.
pub(super) struct Suspension<S: GenServer> {
    pub(super) suspended: bool,
    /// What arrived while it was suspended.
    pub(super) waiting: VecDeque<Signal<Message<S>>>,
    pub(super) debug: Option<Debug>,
    /// The message that is handled now, if somebody looks.
    pub(super) seen: Option<Term>,
    /// What was answered meanwhile.
    pub(super) replies: Replies,
}

impl<S: GenServer> Default for Suspension<S> {
    fn default() -> Self {
        Self {
            suspended: false,
            waiting: VecDeque::new(),
            debug: None,
            seen: None,
            replies: Replies::default(),
        }
    }
}

impl<S: GenServer> Default for Rare<S> {
    fn default() -> Self {
        Self {
            parent: None,
            next: Asked::default(),
            tasks: Tasks::default(),
            unknown: Vec::new(),
            system: None,
        }
    }
}

/// What a callback asked for.
pub(super) struct Asked<S: GenServer> {
    pub(super) stop: Option<ExitReason>,
    pub(super) continue_with: Option<S::Info>,
    pub(super) timeout: Option<Duration>,
}

impl<S: GenServer> Default for Asked<S> {
    fn default() -> Self {
        Self { stop: None, continue_with: None, timeout: None }
    }
}

/// The server's tasks end with it.
#[derive(Default)]
struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl<S: GenServer> Context<S> {
    pub(super) fn new(process: process::Context<Message<S>>, parent: Option<Pid>) -> Self {
        let mut cx = Self { process, rare: None };
        if parent.is_some() {
            cx.rare().parent = parent;
        }
        cx
    }

    fn rare(&mut self) -> &mut Rare<S> {
        self.rare.get_or_insert_default()
    }

    pub(crate) fn parent(&self) -> Option<&Pid> {
        self.rare.as_ref()?.parent.as_ref()
    }

    /// Whether the last callback asked for something, or somebody looks at the server.
    #[inline(always)]
    pub(super) fn asks(&self) -> bool {
        let Some(Rare { next: Asked { stop, continue_with, timeout }, system, .. }) = self.rare.as_deref()
        else {
            return false;
        };
        stop.is_some() || continue_with.is_some() || timeout.is_some() || system.is_some()
    }

    /// What the last callback asked for, if it did.
    #[inline]
    pub(super) fn asked(&mut self) -> Option<&mut Asked<S>> {
        self.rare.as_mut().map(|rare| &mut rare.next)
    }

    /// A callback begins: it is what the process does now, and a timeout that was asked for before has no effect any more.
    #[inline]
    pub(super) fn begin(&mut self, callback: u8) {
        self.process.process().set_callback(callback);
        if let Some(rare) = &mut self.rare {
            rare.next.timeout = None;
        }
    }

    /// What system messages have made of the server, if there were any.
    #[inline]
    pub(super) fn suspension(&mut self) -> Option<&mut Suspension<S>> {
        self.rare.as_mut()?.system.as_deref_mut()
    }

    pub(super) fn make_suspension(&mut self) -> &mut Suspension<S> {
        self.rare().system.get_or_insert_default()
    }

    /// Why the last callback wants to stop, if it does.
    pub(crate) fn take_stop(&mut self) -> Option<ExitReason> {
        self.asked()?.stop.take()
    }

    /// Whether a message of this kind is the first that the server does not understand.
    pub(super) fn first_unknown(&mut self, kind: &'static str) -> bool {
        let unknown = &mut self.rare().unknown;
        let first = !unknown.contains(&kind);
        if first {
            unknown.push(kind);
        }
        first
    }

    pub(super) fn give_up_name(&self) {
        if let Some(name) = self.process.shared().name() {
            self.process.unregister(&name);
        }
    }

    /// The server's own typed handle, to give to others.
    pub fn server(&self) -> Server<S> {
        Server::new(self.process.process().clone())
    }

    /// Ends the server after this callback, with `reason`.
    pub fn stop(&mut self, reason: ExitReason) {
        self.rare().next.stop = Some(reason);
    }

    /// `{continue, With}`: calls [`handle_continue`](GenServer::handle_continue) after this callback, before any message.
    pub fn continue_with(&mut self, with: S::Info) {
        self.rare().next.continue_with = Some(with);
    }

    /// If no message arrives within `timeout` after this callback, [`handle_info`](GenServer::handle_info) gets the atom `timeout`.
    pub fn timeout(&mut self, timeout: Duration) {
        self.rare().next.timeout = Some(timeout);
    }

    /// Sends the server `info` after a while.
    pub fn send_after(&self, after: Duration, info: impl Into<S::Info>) -> TimerReference {
        self.process.send_after(after, Message::Info(info.into()))
    }

    /// Sends the server `info` again and again.
    pub fn send_interval(&self, every: Duration, info: S::Info) -> TimerReference
    where
        S::Info: Clone,
    {
        self.process.send_interval(every, move || Message::Info(info.clone()))
    }

    /// Runs `work` beside the server, whose messages go on; it ends with the server. A [`ReplyTo`](super::ReplyTo) moved into it makes it
    /// the answer to a call.
    pub fn task(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        let task = self.process.world().spawn(work);
        let tasks = &mut self.rare().tasks.0;
        tasks.retain(|task| !task.is_finished());
        tasks.push(task.abort_handle());
    }

    /// Starts a server that is linked to this one before it runs.
    pub fn start_link<C: GenServer>(&self, args: C::Args) -> Start<C> {
        let parent: Arc<dyn AnyProcess> = self.process.process().clone();
        Start::new(parent.shared().local().clone(), Some(parent), args)
    }
}

impl<S: GenServer> Deref for Context<S> {
    type Target = process::Context<Message<S>>;

    fn deref(&self) -> &Self::Target {
        &self.process
    }
}

impl<S: GenServer> DerefMut for Context<S> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.process
    }
}
