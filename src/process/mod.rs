//! Processes, and the signals between them.
//!
//! A process is a task with one queue. Everything that reaches it is a signal in that queue, in order of arrival:
//! messages wait until the process receives them; links, monitors and exits act at once, also while the process
//! awaits something, so an exit signal ends it at its await point. A panic ends the process with an exit reason that
//! carries the panic's text, and nothing else.
//!
//! ```text
//! sender ── Signal ──▶ Mailbox ──▶ Run (the task): relations ──▶ Relations, exits
//!                                  └─ body: Context::receive ──▶ messages
//! ```
//!
//! Source: *Processes* in the Erlang Reference Manual.

mod apply;
mod body;
mod bound;
mod call;
mod context;
mod deadline;
mod destination;
mod distribution;
mod exit;
mod functions;
mod gen_call;
mod guest;
mod heritage;
mod info;
mod kept;
mod local;
mod mailbox;
mod names;
mod priority;
mod receive;
mod relations;
mod reply_cell;
mod run;
mod scheduler;
mod signal;
mod signals;
pub(crate) mod spare;
mod spawn_opt;
mod table;
mod task;
mod timer;
mod trace;
mod usage;
mod watchdog;

use std::any::{Any, type_name};
use std::convert::Infallible;
use std::future::poll_fn;
use std::hint::cold_path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};

use crate::etf::Payload;
use crate::term::{Atom, Pid, Reference};

pub use self::bound::{Fallback, Mailbox, OnFull};
pub use self::call::{Call, CallError, CallFuture};
pub use self::context::{Context, Down, NodeEvent, SendError};
pub use self::destination::Destination;
pub use self::exit::ExitReason;
pub use self::functions::{Raise, RemoteSpawn, SpawnError, Spawned};
pub use self::gen_call::{GenMessage, ReplyAddress};
pub use self::info::{ProcessInfo, Status};
pub use self::names::RegisterError;
pub use self::spawn_opt::SpawnOpt;
pub use self::timer::TimerReference;

pub(crate) use self::bound::{AnyBound, Taking};
pub(crate) use self::call::{Asking, Caller, DEFAULT_TIMEOUT, end_of, multi_call};
pub(crate) use self::deadline::Deadline;
pub(crate) use self::distribution::{
    Busy, ConnectionId, Delivery, Distribution, Encode, Link, Sent, Traffic, Write,
};
pub(crate) use self::functions::{
    ANY_MODULE, Exported, Failed, Invocation, NoValue, Outcome, Run, SpawnReply, SpawnRequest,
};
pub(crate) use self::gen_call::labelled_call;
pub(crate) use self::guest::Guest;
pub(crate) use self::heritage::Heritage;
pub(crate) use self::local::{Local, is_reference_of};
pub(crate) use self::names::{Found, TextHasher};
pub(crate) use self::receive::{First, Received};
pub(crate) use self::relations::Number;
pub(crate) use self::reply_cell::{Giver, Taker, reply_cell, reply_cell_for};
pub(crate) use self::run::{SpawnOptions, run_inline, spawn};
pub(crate) use self::signal::{Relation, Signal};
pub(crate) use self::spare::{Spares, Way};
pub(crate) use self::usage::Usage;

use self::mailbox::SignalQueue;
use self::priority::PriorityQueue;
use self::relations::Relations;
use self::task::Task;
use self::timer::Timers;
use self::watchdog::Activity;

/// The messages that a process understands without decoding: they are moved to it.
pub trait ProcessMessage: Send + Sized + 'static {
    /// A smaller form, in which those messages wait that come in bursts: a queued message is as large as the largest. `Infallible` if none has one.
    #[doc(hidden)]
    type Brief: Send + 'static;

    /// The message in that form; or the message, if it has none.
    #[doc(hidden)]
    #[inline(always)]
    fn brief(self) -> Result<Self::Brief, Self> {
        Err(self)
    }

    #[doc(hidden)]
    fn from_brief(brief: Self::Brief) -> Self;

    /// Takes the message out of `value`, an `Option<T>`, if `T` is a type that this process is sent.
    fn take(value: &mut dyn Any) -> Option<Self>;

    /// The module whose `init` the process began in, if it is a server's.
    #[doc(hidden)]
    fn module() -> Option<&'static str> {
        None
    }

    /// The name of the callback that has this number in a process of this type, for logs.
    #[doc(hidden)]
    fn callback(number: u8) -> &'static str {
        let _ = number;
        "run"
    }

    /// The message, for who traces the process. Most types have no text, so it is what is known of any.
    #[doc(hidden)]
    fn describe(&self) -> String {
        type_name::<Self>().to_owned()
    }
}

impl ProcessMessage for crate::term::Term {
    type Brief = Infallible;

    fn from_brief(brief: Infallible) -> Self {
        match brief {}
    }

    fn take(value: &mut dyn Any) -> Option<Self> {
        value.downcast_mut::<Option<Self>>()?.take()
    }

    fn describe(&self) -> String {
        self.to_string()
    }
}

/// The node has as many processes as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node takes no more processes (system_limit)")]
pub struct SystemLimit;

/// What became of a value that was offered to a process.
pub(crate) enum Pushed {
    Taken,
    /// The process does not understand the type: it is to be encoded.
    OtherType,
    Ended,
    /// As many messages wait for it as may.
    Full,
}

/// A process, whatever its message type.
pub(crate) trait AnyProcess: Send + Sync {
    fn shared(&self) -> &Shared;
    fn pid(&self) -> &Pid;
    /// Queues a message in its external form.
    fn push_term(&self, message: Payload) -> Pushed;
    /// As [`AnyProcess::push_term`], for a message that is no message like any other.
    fn push_term_as(&self, message: Payload, taking: Taking) -> Pushed;
    /// As [`AnyProcess::push_term`] for one after the other, which it takes out, with what became of each that was not taken.
    fn push_terms(&self, messages: &mut Vec<Payload>, refused: &mut dyn FnMut(Pushed));
    /// Queues a message to an alias.
    fn push_to_alias(&self, alias: &Reference, message: Payload, taking: Taking) -> Pushed;
    /// Moves a message of the process's own type out of `value`, an `Option<T>`.
    fn push_value(&self, value: &mut dyn Any) -> Pushed;
    fn push_relation(&self, relation: Box<Relation>) -> Result<(), Box<Relation>>;
    /// How many messages wait for the process. While it receives some, those that it takes at this moment may be missing.
    fn message_queue_len(&self) -> usize;
    fn activity(&self) -> Activity;
    /// How many messages it has received.
    fn reductions(&self) -> u64;
    /// How many bytes it takes itself, with its body: what that has allocated is not known.
    fn memory(&self) -> usize;
    fn status(&self) -> Status;
    /// The type of a server, and the callback that runs or ran last.
    fn callback(&self) -> (Option<&'static str>, &'static str);
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    fn usage(&self) -> Usage;
    /// Drops what the process has: its runtime is gone, and there is nobody left to tell.
    fn abandon(&self);
}

/// A process that understands `M`.
pub(crate) struct Process<M: ProcessMessage> {
    shared: Shared,
    mailbox: SignalQueue<M>,
    // Most processes have none: an idle one should be small.
    timers: Mutex<Option<Box<Timers<M>>>>,
    task: Task,
}

/// The part of a process that does not depend on its message type.
// In this order, so that what the process looks at for each message it receives is not in one cache line with the lock of its mailbox, which
// each sender takes.
#[repr(C)]
pub(crate) struct Shared {
    /// What the process's task must look at besides its signals.
    attention: AtomicU8,
    trap_exit: AtomicBool,
    /// Calls that wait for a reply. While there are none, no message needs to be looked into.
    open_calls: AtomicU32,
    pid: Pid,
    local: Arc<Local>,
    state: Mutex<State>,
    references: AtomicU64,
    exit_reason: OnceLock<Box<ExitReason>>,
}

/// Something that a process's task must look at. Mostly there is nothing, and one load says so.
#[derive(Clone, Copy)]
struct Attention(u8);

impl Attention {
    /// It sent to a connection that has too much queued.
    const SUSPENDED: Self = Self(1);
    const TIMERS: Self = Self(2);
    /// A signal that it received ends it.
    const EXITING: Self = Self(4);
    /// Priority messages wait.
    const PRIORITY: Self = Self(8);
    /// Its queue keeps the memory of a burst, until the alarm goes off.
    const KEEPS: Self = Self(16);
    /// It has: the memory is to be given back when nothing is left to receive.
    const KEPT: Self = Self(32);
    /// Monitors of calls stand, for further ones to the same processes.
    const MONITORS: Self = Self(64);
}

#[derive(Default)]
struct State {
    // Most processes have nothing of it: an idle one should be small.
    rare: Option<Box<Rare>>,
    /// None if it is the node's.
    heritage: Option<Arc<Heritage>>,
    monitors_nodes: bool,
    /// Nothing can be registered with the process any more.
    ended: bool,
    /// Its name is free, and everybody related to it was told.
    gone: bool,
}

/// What few processes have.
#[derive(Default)]
struct Rare {
    relations: Relations,
    name: Option<Atom>,
    busy: Option<Arc<Busy>>,
    exiting: Option<Box<ExitReason>>,
    bound: Option<AnyBound>,
    priority: Option<Box<PriorityQueue>>,
    /// What those inherit that it spawns, once it has spawned one.
    childrens_heritage: Option<Arc<Heritage>>,
    /// Who waits for the end of the process and is no process itself.
    end_wakers: Vec<Waker>,
}

impl State {
    #[inline]
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

impl Shared {
    fn new(pid: Pid, local: Arc<Local>, trap_exit: bool, heritage: Option<Arc<Heritage>>) -> Self {
        Self {
            pid,
            local,
            state: Mutex::new(State { heritage, ..State::default() }),
            trap_exit: AtomicBool::new(trap_exit),
            open_calls: AtomicU32::new(0),
            attention: AtomicU8::new(0),
            references: AtomicU64::new(1),
            exit_reason: OnceLock::new(),
        }
    }

    fn has(&self, attention: Attention) -> bool {
        self.attention.load(Ordering::Acquire) & attention.0 != 0
    }

    fn has_any(&self) -> bool {
        self.attention.load(Ordering::Acquire) != 0
    }

    /// Whether there is anything but that.
    fn has_more_than(&self, attention: Attention) -> bool {
        self.attention.load(Ordering::Acquire) & !attention.0 != 0
    }

    fn notice(&self, attention: Attention) {
        self.attention.fetch_or(attention.0, Ordering::AcqRel);
    }

    fn forget(&self, attention: Attention) {
        self.attention.fetch_and(!attention.0, Ordering::AcqRel);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What runs under the lock leaves the state whole wherever it could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn relations<R>(&self, f: impl FnOnce(&mut Relations) -> R) -> R {
        f(&mut self.state().rare().relations)
    }

    /// As [`Shared::relations`], but nothing is made where there are none.
    fn with_relations<R>(&self, f: impl FnOnce(&mut Relations) -> R) -> Option<R> {
        self.state().rare.as_mut().map(|rare| f(&mut rare.relations))
    }

    /// A reference whose words name this process, so that a message to it as an alias finds its way.
    fn make_reference(&self) -> Reference {
        let (low, high) = local::reference_words(self.references.fetch_add(1, Ordering::Relaxed));
        let words = [low, high, self.pid.id, self.pid.serial, 0];
        Reference::of_words(self.pid.node.clone(), self.pid.creation, 4, words)
    }

    pub(crate) fn name(&self) -> Option<Atom> {
        self.state().rare.as_ref()?.name.clone()
    }

    fn set_name(&self, name: &Atom) -> Result<(), RegisterError> {
        let mut state = self.state();
        if state.ended {
            return Err(RegisterError::NoProc);
        }
        if let Some(name) = &state.rare().name {
            return Err(RegisterError::Named(name.clone()));
        }
        state.rare().name = Some(name.clone());
        state.forget_childrens_heritage();
        Ok(())
    }

    fn clear_name(&self) {
        let mut state = self.state();
        state.rare().name = None;
        state.forget_childrens_heritage();
    }

    /// Waits until the process has ended, and returns why.
    pub(crate) async fn end(&self) -> ExitReason {
        poll_fn(|cx| self.poll_end(cx)).await
    }

    pub(crate) fn poll_end(&self, cx: &TaskContext<'_>) -> Poll<ExitReason> {
        {
            let mut state = self.state();
            if !state.gone {
                let wakers = &mut state.rare().end_wakers;
                if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                    wakers.push(cx.waker().clone());
                }
                return Poll::Pending;
            }
        }
        // It is set first.
        Poll::Ready(self.exit_reason().cloned().unwrap_or(ExitReason::Killed))
    }

    /// Why the process ended, once it has.
    pub(crate) fn exit_reason(&self) -> Option<&ExitReason> {
        self.exit_reason.get().map(|reason| &**reason)
    }
}

impl<M: ProcessMessage> Process<M> {
    /// Queues a message of the process's own type.
    #[inline(always)]
    pub(crate) fn push(&self, message: M) -> Pushed {
        self.push_message(|| Signal::Message(message), Taking::Message)
    }

    /// Says which of its callbacks runs, in the numbers of [`ProcessMessage::callback`].
    #[inline]
    pub(crate) fn set_callback(&self, callback: u8) {
        self.task.set_callback(callback);
    }

    /// What the process is, and which of its callbacks runs or ran last.
    pub(crate) fn callback(&self) -> (&'static str, &'static str) {
        (M::module().unwrap_or("process"), M::callback(self.task.callback()))
    }

    /// Straight to the call that waits for it, which the process need not hand it on to in a turn of its own; or back, if it is no reply.
    #[inline(always)]
    fn reply(&self, message: Payload) -> Result<(), Payload> {
        if self.shared.open_calls.load(Ordering::Acquire) == 0 {
            return Err(message);
        }
        let Some(_) = &self.shared.local.world.probe else {
            return call::give_reply(&self.shared, message);
        };
        cold_path();
        call::give_reply(&self.shared, message.clone())?;
        trace::trace_reply(self, &message);
        Ok(())
    }

    // Inlined, so that a message is made where it is queued.
    #[inline(always)]
    fn push_message(&self, make: impl FnOnce() -> Signal<M>, taking: Taking) -> Pushed {
        match self.mailbox.push(make, || self.wake_up()) {
            Ok(()) => Pushed::Taken,
            Err(make) => {
                cold_path();
                self.push_counted(make(), taking)
            }
        }
    }
}

impl<M: ProcessMessage> AnyProcess for Process<M> {
    #[hot]
    fn shared(&self) -> &Shared {
        &self.shared
    }

    #[hot]
    fn pid(&self) -> &Pid {
        &self.shared.pid
    }

    #[hot]
    fn push_term(&self, message: Payload) -> Pushed {
        self.push_term_as(message, Taking::Message)
    }

    fn push_terms(&self, messages: &mut Vec<Payload>, refused: &mut dyn FnMut(Pushed)) {
        let calls = self.shared.open_calls.load(Ordering::Acquire) != 0;
        if !calls && self.mailbox.push_terms(messages, || self.wake_up()) {
            return;
        }
        cold_path();
        for message in messages.drain(..) {
            match self.push_term(message) {
                Pushed::Taken => {}
                pushed => refused(pushed),
            }
        }
    }

    #[inline(always)]
    fn push_term_as(&self, message: Payload, taking: Taking) -> Pushed {
        match self.reply(message) {
            Ok(()) => Pushed::Taken,
            Err(message) => self.push_message(|| Signal::Term(message), taking),
        }
    }

    #[hot]
    fn push_to_alias(&self, alias: &Reference, message: Payload, taking: Taking) -> Pushed {
        let Err(message) = self.reply(message) else { return Pushed::Taken };
        cold_path();
        let priority = taking == Taking::Priority;
        let message = Relation::Alias { alias: alias.clone(), message, priority, permit: None };
        self.push_message(|| Signal::Relation(Box::new(message)), taking)
    }

    fn push_value(&self, value: &mut dyn Any) -> Pushed {
        match M::take(value) {
            None => Pushed::OtherType,
            Some(message) => self.push(message),
        }
    }

    #[hot(relations)]
    fn push_relation(&self, relation: Box<Relation>) -> Result<(), Box<Relation>> {
        match self.mailbox.push(|| Signal::Relation(relation), || self.wake_up()).map_err(|signal| signal()) {
            Err(Signal::Relation(relation)) => self.push_relation_always(relation),
            _ => Ok(()),
        }
    }

    fn usage(&self) -> Usage {
        self.usage_now()
    }

    fn status(&self) -> Status {
        self.task.status()
    }

    fn callback(&self) -> (Option<&'static str>, &'static str) {
        (M::module(), M::callback(self.task.callback()))
    }

    fn reductions(&self) -> u64 {
        self.task.reductions()
    }

    fn memory(&self) -> usize {
        size_of_val(self) + self.task.body_size()
    }

    fn activity(&self) -> Activity {
        let (server, callback) = self.callback();
        Activity { server, callback, unreceived: self.task.unreceived() }
    }

    fn message_queue_len(&self) -> usize {
        self.mailbox.messages() + self.task.unreceived() + self.shared.priority_messages()
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn abandon(&self) {
        self.task.set_ended();
        drop(self.mailbox.close());
    }
}

#[cfg(test)]
mod tests;
