//! What a process can do: its own view of itself and of the world.

use std::future::{Future, poll_fn};
use std::hint::cold_path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::apply::apply_all;
use super::call::{Call, Caller, demonitor};
use super::mailbox::Taken;
use super::relations::{Monitor, Monitored};
use super::signals::Signals;
use super::timer::{Fire, Timers};
use super::{
    AnyProcess, Attention, ConnectionId, Delivery, Destination, ExitReason, Local, Process, ProcessMessage,
    Received, RegisterError, RemoteSpawn, Shared, Signal, SpawnOpt, SpawnOptions, TimerReference, Write,
    spawn,
};
use crate::etf::{EncodeError, Writer};
use crate::term::{Atom, Pid, Reference, Term};
use crate::world::{Mono, World};

/// A local send that found nobody, or a message that cannot be sent.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no such process on this node.
    #[error("no such process: {0}")]
    NoProc(Destination),
    /// As many messages wait for the process as may, and it refuses further ones ([`OnFull`](super::OnFull)).
    #[error("the mailbox of {0} is full")]
    MailboxFull(Destination),
    /// The message has no external form.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// The message of a monitor: `{'DOWN', Reference, process, Item, Reason}`.
///
/// A variant of a process's own info type, `#[serde(rename = "DOWN")] Down(Reference, Atom, Term, ExitReason)`, receives it too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "DOWN")]
pub struct Down(
    /// The tag, `'DOWN'`.
    pub Atom,
    /// The monitor.
    pub Reference,
    /// `process`.
    pub Atom,
    /// What was monitored: a pid, or `{Name, Node}`.
    pub Term,
    /// Why it ended.
    pub ExitReason,
);

/// The messages of `monitor_node` and `monitor_nodes`: `{nodeup, Node}` and `{nodedown, Node}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeEvent {
    /// A node is connected.
    NodeUp(Atom),
    /// The connection to a node is lost, or could not be made.
    NodeDown(Atom),
}

/// A process's own view of itself. `M` is what it is sent without encoding.
pub struct Context<M: ProcessMessage> {
    pub(super) process: Arc<Process<M>>,
    pub(super) inbox: Signals<M>,
    /// Since it last waited.
    pub(super) received: u32,
}

impl<M: ProcessMessage> Context<M> {
    pub(super) fn new(process: Arc<Process<M>>) -> Self {
        Self { process, inbox: Signals::default(), received: 0 }
    }

    pub(crate) fn process(&self) -> &Arc<Process<M>> {
        &self.process
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.process.shared
    }

    pub(crate) fn local(&self) -> &Local {
        &self.process.shared.local
    }

    /// `self/0`.
    pub fn pid(&self) -> &Pid {
        &self.process.shared.pid
    }

    /// `node/0`.
    pub fn node_name(&self) -> &Atom {
        &self.local().node
    }

    /// The world that the process's node lives in: its clock, its randomness, its network.
    pub fn world(&self) -> &World {
        &self.local().world
    }

    /// `!`: sends a message. It is moved to a local process that understands its type, and encoded for any other.
    ///
    /// # Errors
    /// If there is no such process on this node, it has too many messages, or this one has no external form. A message to
    /// another node that cannot be delivered is dropped silently, as in Erlang.
    pub fn send<T: Serialize + Send + 'static>(
        &self,
        to: impl Into<Destination>,
        message: T,
    ) -> Result<(), SendError> {
        self.shared().send(&to.into(), message)
    }

    /// `gen_server:cast/2` to any server.
    ///
    /// # Errors
    /// As [`Context::send`].
    pub fn cast<T: Serialize>(&self, to: impl Into<Destination>, request: &T) -> Result<(), SendError> {
        self.shared().cast(&to.into(), request)
    }

    /// `gen_server:call/2` to any server: a deadline of 5 seconds unless another is set.
    pub fn call<R, Q: Serialize>(&self, to: impl Into<Destination>, request: Q) -> Call<Q, R> {
        Call::new(Caller::Process(self.process.clone()), to.into(), request)
    }

    /// `link/1`. A process that is dead or cannot be reached answers with an exit signal, `noproc` or `noconnection`.
    pub fn link(&self, to: &Pid) {
        let shared = self.shared();
        if *to != shared.pid && shared.relations(|relations| relations.link(to)) {
            let connection = shared.local.send_link(&shared.pid, to);
            shared.relations(|relations| relations.link_over(to, connection));
        }
    }

    /// `unlink/1`. No exit of that process arrives afterwards, but one that is in the queue already stays there.
    pub fn unlink(&self, to: &Pid) {
        let shared = self.shared();
        if let Some(Some(id)) = shared.with_relations(|relations| relations.unlink(to)) {
            shared.local.send_unlink(&shared.pid, to, id);
        }
    }

    /// `monitor/2`: the process gets one [`Down`] when the other ends, at once if there is none.
    pub fn monitor(&self, to: impl Into<Destination>) -> Reference {
        let shared = self.shared();
        let reference = shared.make_reference();
        let target = match to.into() {
            Destination::Pid(pid) => Monitored::Process(pid),
            Destination::Name(name) => Monitored::Name(name, shared.local.node.clone()),
            Destination::Remote(name, node) => Monitored::Name(name, node),
            // An alias names a process of this node, or nobody that could be asked.
            Destination::Alias(alias) => match shared.local.process_of_alias(&alias) {
                Some(process) => Monitored::Process(process.pid().clone()),
                None => Monitored::Process(shared.local.pid(u32::MAX, u32::MAX)),
            },
        };
        let monitor = Monitor { target: target.clone(), bound: None, connection: None };
        shared.relations(|relations| relations.monitor(reference.clone(), monitor));
        let (connection, bound) = shared.local.send_monitor(&shared.pid, &target, &reference, Write::Now);
        // A pid of this node says it all.
        if connection.is_some() || matches!(target, Monitored::Name(..)) {
            shared.relations(|relations| relations.monitor_over(&reference, connection, bound));
        }
        reference
    }

    /// The connection that a monitor goes over.
    pub(crate) fn monitored_over(&self, reference: &Reference) -> Option<ConnectionId> {
        self.shared().with_relations(|relations| relations.monitored_over(reference)).flatten()
    }

    /// Sends a message to another node over a certain connection, or not at all.
    pub(crate) fn send_over<T: Serialize>(
        &self,
        connection: ConnectionId,
        to: &Destination,
        message: &T,
    ) -> Result<(), SendError> {
        let shared = self.shared();
        let encode = |writer: &mut Writer| crate::etf::serialize(message, writer);
        // As in Erlang, a message that cannot be delivered to another node is dropped silently.
        let delivery = shared.local.send_over(connection, &shared.pid, to, &encode)?;
        shared.sent(to, delivery.unwrap_or(Delivery::Done))
    }

    /// `demonitor/2` with `flush`: no [`Down`] of this monitor arrives afterwards. Returns whether the monitor was still
    /// there.
    pub fn demonitor(&mut self, reference: &Reference) -> bool {
        if demonitor(self.shared(), reference, Write::Now) {
            return true;
        }
        if self.world().planted("no-flush") {
            return false;
        }
        // It has fired. Its message may wait.
        if self.inbox.is_empty() {
            match self.take() {
                Taken::Nothing => {}
                Taken::Messages(first) => self.inbox.get().push_front(first),
                Taken::Relations { messages } => {
                    if let Some(reason) = apply_all(&self.process.shared, self.inbox.get(), messages) {
                        self.exit_with(reason);
                    }
                }
            }
        }
        let is_down = |signal: &Signal<M>| match signal {
            Signal::Term(message) => super::gen_call::is_down(message, reference),
            Signal::Message(_) | Signal::Relation(_) | Signal::Counted(_) => false,
        };
        if let Some(at) = self.inbox.get().iter().position(is_down) {
            self.inbox.get().remove(at);
        } else {
            self.process.mailbox.remove_first(is_down);
        }
        self.process.task.set_unreceived(self.inbox.len());
        false
    }

    /// `process_info(self(), message_queue_len)`: how many messages wait for the process.
    pub fn message_queue_len(&self) -> usize {
        self.process.message_queue_len()
    }

    /// `exit/2`: sends an exit signal.
    pub fn exit(&self, to: &Pid, reason: ExitReason) {
        self.shared().local.send_exit(self.pid(), to, &reason);
    }

    /// `process_flag(trap_exit, Flag)`: with it, exit signals arrive as messages `{'EXIT', Pid, Reason}`. Returns the former value.
    pub fn trap_exit(&self, trap: bool) -> bool {
        self.shared().trap_exit.swap(trap, Ordering::Relaxed)
    }

    /// `register/2` of the process itself.
    ///
    /// # Errors
    /// If the name is taken, or the process has one.
    pub fn register(&self, name: impl Into<Atom>) -> Result<(), RegisterError> {
        let name = name.into();
        if self.world().planted("name-stolen") {
            self.unregister(&name);
        }
        self.shared().local.names.register(name, self.process.clone())
    }

    /// `unregister/1`. Returns whether the name was registered.
    pub fn unregister(&self, name: &Atom) -> bool {
        self.shared().local.names.unregister(name)
    }

    /// `whereis/1`.
    pub fn whereis(&self, name: &str) -> Option<Pid> {
        self.shared().local.names.get(name).map(|process| process.pid().clone())
    }

    /// `alias/0`: a reference to which messages can be sent until it is deactivated with [`Context::unalias`].
    pub fn alias(&self) -> Reference {
        let shared = self.shared();
        let alias = shared.make_reference();
        shared.relations(|relations| relations.alias(alias.clone(), false));
        alias
    }

    /// `alias/1` with the option `priority`: an alias that takes [priority messages](Context::send_priority), too. Who knows it can have
    /// the process receive its messages before those of all others.
    ///
    /// Source: EEP 76, *Priority Messages*; `alias/1` in OTP 28.
    pub fn alias_priority(&self) -> Reference {
        let shared = self.shared();
        let alias = shared.make_reference();
        shared.relations(|relations| relations.alias(alias.clone(), true));
        alias
    }

    /// `erlang:send/3` with the option `priority`: the process behind the alias receives the message before all ordinary ones, after
    /// the priority messages that it has already, if the alias [takes them](Context::alias_priority); one that does not, and
    /// a node before OTP 28, take it as an ordinary message.
    ///
    /// A process that receives one message after another, and awaits nothing in between, looks for priority messages after 256.
    ///
    /// # Errors
    /// As [`Context::send`].
    pub fn send_priority<T: Serialize>(&self, alias: &Reference, message: &T) -> Result<(), SendError> {
        self.shared().send_priority(alias, message)
    }

    /// `unalias/1`: messages to the alias are dropped from now on. Returns whether it was active.
    pub fn unalias(&self, alias: &Reference) -> bool {
        self.shared().with_relations(|relations| relations.unalias(alias)) == Some(true)
    }

    /// `group_leader/0`: where output of the process goes. Inherited from the process that spawned it; that of a process which
    /// the node started is the node's first process, which does nothing with it.
    pub fn group_leader(&self) -> Pid {
        self.shared().heritage().group_leader.clone()
    }

    /// `group_leader/2` of the process itself. Processes that it has spawned already keep theirs.
    pub fn set_group_leader(&self, leader: Pid) {
        self.shared().set_group_leader(leader);
    }

    /// `application:get_application/0`: the application that the process was started in.
    pub fn application(&self) -> Option<Atom> {
        self.shared().heritage().application.clone()
    }

    /// A variable of the process's environment: its own, or inherited from the process that spawned it; else its
    /// application's, or the node's ([`Builder::env`](crate::node::Builder::env)).
    pub fn env(&self, key: &str) -> Option<Term> {
        self.shared().heritage().env.get(key).cloned()
    }

    /// `$ancestors`: the process that spawned this one, the one that spawned that, and so on, at most 32; each by the name
    /// that it had then, or else by its pid.
    pub fn ancestors(&self) -> Vec<Term> {
        self.shared().heritage().ancestors.clone()
    }

    /// `make_ref/0`.
    pub fn make_reference(&self) -> Reference {
        self.shared().make_reference()
    }

    /// `nodes/0`: the visible nodes that this one is connected to.
    pub fn nodes(&self) -> Vec<Atom> {
        self.local().distribution().map(|distribution| distribution.nodes()).unwrap_or_default()
    }

    /// `monitor_node/2`: with `on`, the process gets [`NodeEvent::NodeDown`] once when the connection to `node` is lost, at once if
    /// there is none and none can be made.
    pub fn monitor_node(&self, node: impl Into<Atom>, on: bool) {
        let shared = self.shared();
        shared.state().monitors_nodes = true;
        if let Some(distribution) = shared.local.distribution() {
            distribution.monitor_node(&node.into(), &shared.pid, on);
        }
    }

    /// `net_kernel:monitor_nodes/1`: with `on`, the process gets a [`NodeEvent`] for each visible node that comes or goes.
    pub fn monitor_nodes(&self, on: bool) {
        let shared = self.shared();
        shared.state().monitors_nodes = true;
        if let Some(distribution) = shared.local.distribution() {
            distribution.monitor_nodes(&shared.pid, on);
        }
    }

    /// Spawns a process that receives terms; see [`Node::spawn`](crate::node::Node::spawn).
    ///
    /// # Errors
    /// If the node has as many processes as it may.
    pub fn spawn<F>(&self, body: impl FnOnce(Context<Term>) -> F) -> Result<Pid, super::SystemLimit>
    where
        F: Future<Output = ExitReason> + Send + 'static,
    {
        let options =
            SpawnOptions { heritage: Some(self.shared().childrens_heritage()), ..SpawnOptions::default() };
        spawn(&self.shared().local, options, body)
            .map(|process| process.shared.pid.clone())
            .ok_or(super::SystemLimit)
    }

    /// As [`Context::spawn`], linked to this process before it runs.
    ///
    /// # Errors
    /// If the node has as many processes as it may.
    pub fn spawn_link<F>(&self, body: impl FnOnce(Context<Term>) -> F) -> Result<Pid, super::SystemLimit>
    where
        F: Future<Output = ExitReason> + Send + 'static,
    {
        self.spawn_linked(body).map(|process| process.shared.pid.clone()).ok_or(super::SystemLimit)
    }

    /// `spawn_opt/2`: as [`Context::spawn`], with options.
    ///
    /// # Errors
    /// If the node has as many processes as it may.
    pub fn spawn_opt<F>(
        &self,
        options: SpawnOpt,
        body: impl FnOnce(Context<Term>) -> F,
    ) -> Result<Pid, super::SystemLimit>
    where
        F: Future<Output = ExitReason> + Send + 'static,
    {
        options.spawn(&self.shared().local, Some(self.shared()), body)
    }

    /// `spawn_request/5`: a process of another node, or of this one, that runs a function there which is exported. An Erlang node exports all that
    /// it has; one of this library what [`Node::export`](crate::node::Node::export) names. What is not there is no error of the request: the process
    /// ends with `undef`.
    ///
    /// ```
    /// # use beamline::{process::{Context, SpawnError}, term::Term};
    /// # async fn example(cx: &Context<Term>) -> Result<(), SpawnError> {
    /// let beep = [Term::charlist("wake up~n"), Term::nil()];
    /// let spawned = cx.spawn_request("app@127.0.0.1", "io", "format", beep).monitor().await?;
    /// println!("{} runs there", spawned.pid);
    /// # Ok(())
    /// # }
    /// ```
    pub fn spawn_request(
        &self,
        node: impl Into<Atom>,
        module: impl Into<Atom>,
        function: impl Into<Atom>,
        arguments: impl IntoIterator<Item = Term>,
    ) -> RemoteSpawn {
        let arguments = arguments.into_iter().collect();
        RemoteSpawn::new(self.process.clone(), node.into(), module.into(), function.into(), arguments)
    }

    pub(crate) fn spawn_linked<N: ProcessMessage, F>(
        &self,
        body: impl FnOnce(Context<N>) -> F,
    ) -> Option<Arc<Process<N>>>
    where
        F: Future<Output = ExitReason> + Send + 'static,
    {
        let options = SpawnOptions { link: Some(self.shared()), ..SpawnOptions::default() };
        spawn(&self.shared().local, options, body)
    }

    /// `erlang:send_after/3` to the process itself.
    pub fn send_after(&self, after: Duration, message: M) -> TimerReference {
        self.start_timer(after, Fire::Message(message))
    }

    /// `timer:send_interval/2` to the process itself: `make` makes each message. An interval of zero is one millisecond.
    pub fn send_interval(
        &self,
        every: Duration,
        mut make: impl FnMut() -> M + Send + 'static,
    ) -> TimerReference {
        let every = every.max(Duration::from_millis(1));
        self.send_again(every, move |due, now| {
            // From when it was due, not from now: an interval does not drift. Periods slept through fire once.
            let next = due + every;
            (Some(make()), Some(if next <= now { now + every } else { next }))
        })
    }

    /// A timer that goes on for as long as `again` says when it is due next, which must be later than now. It is given when it was due,
    /// and the time now.
    pub(crate) fn send_again(
        &self,
        after: Duration,
        again: impl FnMut(Mono, Mono) -> (Option<M>, Option<Mono>) + Send + 'static,
    ) -> TimerReference {
        self.start_timer(after, Fire::Repeat(Box::new(again)))
    }

    /// `erlang:send_after/3` to any process. The timer ends with this process.
    pub fn send_after_to<T: Serialize + Send + 'static>(
        &self,
        after: Duration,
        to: impl Into<Destination>,
        message: T,
    ) -> TimerReference {
        let to = to.into();
        let fire = move |shared: &Shared| {
            // Nobody waits for the outcome of a timer.
            let _ = shared.send(&to, message);
        };
        self.start_timer(after, Fire::Do(Box::new(fire)))
    }

    fn start_timer(&self, after: Duration, fire: Fire<M>) -> TimerReference {
        let due = self.world().clock.mono() + after;
        let reference = self.process.timers().get_or_insert_default().start(due, fire);
        self.shared().notice(Attention::TIMERS);
        reference
    }

    /// `erlang:cancel_timer/1`: returns how long it had left, or `None` if it has fired or was cancelled.
    pub fn cancel_timer(&self, timer: TimerReference) -> Option<Duration> {
        let due = self.process.timers().as_mut()?.cancel(timer)?;
        Some(due.since(self.world().clock.mono()))
    }

    /// Lets other processes run, and waits while a connection that this process sent to has too much queued.
    // It keeps nothing of the context, so that a body whose messages cannot be shared can await it.
    pub fn yield_now(&self) -> impl Future<Output = ()> + Send + use<M> {
        let mut yielded = false;
        poll_fn(move |cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }
}

impl Context<Term> {
    /// Waits for the next message. Cancel safe.
    pub async fn receive(&mut self) -> Term {
        match self.receive_signal().await {
            Received::Own(term) => term,
            Received::Term(message) => message.term(),
        }
    }
}

impl<M: ProcessMessage> Process<M> {
    pub(super) fn timers(&self) -> MutexGuard<'_, Option<Box<Timers<M>>>> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    pub(crate) fn local(&self) -> &Arc<Local> {
        &self.local
    }

    pub(crate) fn send<T: Serialize + Send + 'static>(
        &self,
        to: &Destination,
        message: T,
    ) -> Result<(), SendError> {
        self.sent(to, self.local.send(&self.pid, to, message)?)
    }

    fn send_priority<T: Serialize>(&self, alias: &Reference, message: &T) -> Result<(), SendError> {
        let to = alias.into();
        self.sent(&to, self.local.send_priority(&self.pid, &to, message)?)
    }

    pub(crate) fn cast<T: Serialize + ?Sized>(&self, to: &Destination, request: &T) -> Result<(), SendError> {
        self.sent(to, self.local.cast(&self.pid, to, request)?)
    }

    /// Notes what a send led to.
    #[inline]
    pub(super) fn sent(&self, to: &Destination, delivery: Delivery) -> Result<(), SendError> {
        if let Delivery::Done = delivery {
            return Ok(());
        }
        cold_path();
        self.not_done(to, delivery)
    }

    #[inline(never)]
    fn not_done(&self, to: &Destination, delivery: Delivery) -> Result<(), SendError> {
        match delivery {
            Delivery::Done => Ok(()),
            Delivery::NoProc => Err(SendError::NoProc(to.clone())),
            Delivery::Full => Err(SendError::MailboxFull(to.clone())),
            Delivery::Busy(busy) => {
                self.state().rare().busy = Some(busy);
                self.notice(Attention::SUSPENDED);
                Ok(())
            }
        }
    }
}
