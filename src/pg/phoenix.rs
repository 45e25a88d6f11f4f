//! Topics that are shared with Elixir's `Phoenix.PubSub` over its default adapter, which stands on `pg`.
//!
//! A [`PubSub`] is a gen_server that is started under the name that it has in the Phoenix application; the scope that all of
//! Phoenix's use is to be started first:
//!
//! ```
//! # use beamline::{gen_server::{GenServer, StartError}, node::Node, pg::{Limits, Scope, phoenix}};
//! # async fn example(node: &Node) -> Result<(), StartError> {
//! Scope::start(node, Limits::default()).name(phoenix::SCOPE).await?;
//! phoenix::PubSub::start(node, phoenix::Options::default()).name("Elixir.MyApp.PubSub").await?;
//! # Ok(())
//! # }
//! ```
//!
//! or under a supervisor that is `rest_for_one`, in this order. [`Node::pubsub`](crate::node::Node::pubsub) then subscribes processes to topics and broadcasts.
//! What is broadcast by any node of the cluster reaches the subscribers of all as it is; Phoenix's channels, for one, send maps with the key
//! `__struct__`.
//!
//! Source: `Phoenix.PubSub.PG2` of phoenix_pubsub 2.1 and 2.2.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use serde::{Deserialize, Serialize};

use super::ScopeRef;
use crate::etf::{self, EncodeError};
use crate::gen_server::{Context, GenServer, Reply, ReplyTo, Server};
use crate::node::Node;
use crate::process::{self, CallError, Caller, Down, ExitReason, ProcessMessage};
use crate::term::{Atom, Binary, Pid, Reference, Term};

/// The scope of all of Phoenix's groups.
pub const SCOPE: Atom = Atom::from_static("Elixir.Phoenix.PubSub");

const DISPATCHER: Atom = SCOPE;

/// How a [`PubSub`] is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// How many processes take what other nodes broadcast: at least as many as the others' `pool_size` (or `broadcast_pool_size`), as they choose among
    /// theirs, and what goes to one that is not there is lost. By default 1, as in Phoenix.
    pub pool_size: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { pool_size: 1 }
    }
}

/// Who is subscribed to what on this node. The server writes, whoever broadcasts reads.
#[derive(Default)]
struct Topics(RwLock<BTreeMap<Binary, Vec<Pid>>>);

impl Topics {
    fn subscribers(&self, topic: &[u8]) -> Vec<Pid> {
        let topics = self.0.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(topic).cloned().unwrap_or_default()
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Binary, Vec<Pid>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the process was subscribed.
    fn unsubscribe(&self, topic: &Binary, pid: &Pid) -> bool {
        let mut topics = self.write();
        let Some(subscribers) = topics.get_mut(topic) else { return false };
        let before = subscribers.len();
        subscribers.retain(|subscriber| subscriber != pid);
        let was = subscribers.len() < before;
        if subscribers.is_empty() {
            topics.remove(topic);
        }
        was
    }
}

/// The subscriptions, as long as the server runs.
struct Shown(Arc<Topics>);

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.write().clear();
    }
}

/// A running `Phoenix.PubSub`: a gen_server that is to be started under its name. Without one it does not start (`badarg`).
pub struct PubSub {
    topics: Shown,
    /// The monitor of each subscriber, and its topics, once each.
    subscribers: BTreeMap<Pid, (Reference, Vec<Binary>)>,
}

/// What it is asked by processes of its node. There are methods for it.
#[doc(hidden)]
#[derive(Deserialize)]
pub enum Ask {
    #[serde(skip)]
    Subscribe(Binary, Pid),
    #[serde(skip)]
    Unsubscribe(Binary, Pid),
}

impl GenServer for PubSub {
    type Args = Options;
    type Call = Ask;
    type Reply = ();
    type Cast = Term;
    type Info = Down;

    async fn init(options: Options, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        let name = cx.shared().name().ok_or_else(|| ExitReason::atom("badarg"))?;
        let topics = Shown(cx.local().shown_by(&name));
        for number in 1..=options.pool_size {
            let worker = cx.start_link::<Worker>(topics.0.clone());
            worker.name(group(&name, number)?).await?;
        }
        Ok(Self { topics, subscribers: BTreeMap::new() })
    }

    async fn handle_call(
        &mut self,
        ask: Ask,
        from: ReplyTo<()>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        match ask {
            Ask::Subscribe(topic, pid) => {
                let monitor = || (cx.monitor(&pid), Vec::new());
                let (_, topics) = self.subscribers.entry(pid.clone()).or_insert_with(monitor);
                if !topics.contains(&topic) {
                    topics.push(topic.clone());
                }
                self.topics.0.write().entry(topic).or_default().push(pid);
            }
            Ask::Unsubscribe(topic, pid) => {
                self.topics.0.unsubscribe(&topic, &pid);
                if let Some((monitor, topics)) = self.subscribers.get_mut(&pid) {
                    topics.retain(|it| *it != topic);
                    if topics.is_empty() {
                        cx.demonitor(monitor);
                        self.subscribers.remove(&pid);
                    }
                }
            }
        }
        Ok(from.reply(()))
    }

    async fn handle_info(&mut self, down: Down, _: &mut Context<Self>) -> Result<(), ExitReason> {
        let Some(pid) = down.3.as_pid() else { return Ok(()) };
        for topic in self.subscribers.remove(pid).map(|(_, topics)| topics).unwrap_or_default() {
            self.topics.0.unsubscribe(&topic, pid);
        }
        Ok(())
    }
}

/// The group of a worker, which is its name, too.
fn group(pubsub: &Atom, number: usize) -> Result<Atom, crate::term::AtomError> {
    match number {
        1 => Atom::new(&format!("{}.Adapter", pubsub.as_str())),
        _ => Atom::new(&format!("{}.Adapter_{number}", pubsub.as_str())),
    }
}

/// Takes what other nodes broadcast.
struct Worker(Arc<Topics>);

/// It is asked nothing.
#[derive(Deserialize)]
enum Nothing {}

/// `{forward_to_local, Topic, Message, Dispatcher}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Forward {
    ForwardToLocal(Binary, Term, Atom),
}

impl GenServer for Worker {
    type Args = Arc<Topics>;
    type Call = Nothing;
    type Reply = ();
    type Cast = Nothing;
    type Info = Forward;

    async fn init(topics: Arc<Topics>, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        let group = cx.shared().name().ok_or_else(|| ExitReason::atom("badarg"))?;
        cx.pg(SCOPE).join(group, [cx.pid().clone()]).await?;
        Ok(Self(topics))
    }

    async fn handle_call(
        &mut self,
        nothing: Nothing,
        _: ReplyTo<()>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        match nothing {}
    }

    async fn handle_info(&mut self, forward: Forward, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        // A dispatcher is a module of Elixir's; what it does for processes that subscribed without further ado is to send.
        let Forward::ForwardToLocal(topic, message, _) = forward;
        for pid in self.0.subscribers(&topic) {
            // One that has ended is about to be unsubscribed.
            let _ = cx.send(pid, message.clone());
        }
        Ok(())
    }
}

/// `Phoenix.PubSub`'s functions for one of this node.
///
/// ```
/// # use beamline::{node::Node, process::CallError, term::Term};
/// # async fn example(node: &Node) -> Result<(), Box<dyn std::error::Error>> {
/// let pubsub = node.pubsub("Elixir.MyApp.PubSub");
/// let listener = node.spawn(|mut cx| async move {
///     println!("{}", cx.receive().await);
///     beamline::process::ExitReason::Normal
/// })?;
/// pubsub.subscribe("user:123", &listener).await?;
/// pubsub.broadcast("user:123", &(beamline::term::Atom::from("user_update"), 123))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PubSubRef {
    caller: Caller,
    name: Atom,
    topics: Arc<Topics>,
    scope: ScopeRef,
}

impl std::fmt::Debug for PubSubRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PubSubRef({})", self.name)
    }
}

impl PubSubRef {
    fn new(caller: Caller, name: Atom) -> Self {
        let topics = caller.local().shown_by(&name);
        let scope = ScopeRef::new(caller.local().clone(), SCOPE);
        Self { caller, name, topics, scope }
    }

    /// `subscribe/2`, for a process of this node: it is sent what is broadcast to the topic, as often as it has subscribed.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn subscribe(&self, topic: &str, pid: &Pid) -> Result<(), CallError> {
        self.ask(Ask::Subscribe(topic.as_bytes().into(), pid.clone())).await
    }

    /// `unsubscribe/2`, however often the process has subscribed.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn unsubscribe(&self, topic: &str, pid: &Pid) -> Result<(), CallError> {
        self.ask(Ask::Unsubscribe(topic.as_bytes().into(), pid.clone())).await
    }

    /// `broadcast/3`: to the subscribers of all nodes.
    ///
    /// # Errors
    /// If the message has no external form. Where there is nobody, nobody gets it.
    pub fn broadcast<T: Serialize + ?Sized>(&self, topic: &str, message: &T) -> Result<(), EncodeError> {
        self.send(topic, message, None)
    }

    /// `broadcast_from/4`: to all but one process.
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    pub fn broadcast_from<T: Serialize + ?Sized>(
        &self,
        from: &Pid,
        topic: &str,
        message: &T,
    ) -> Result<(), EncodeError> {
        self.send(topic, message, Some(from))
    }

    /// `local_broadcast/3`: to the subscribers of this node.
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    pub fn local_broadcast<T: Serialize + ?Sized>(
        &self,
        topic: &str,
        message: &T,
    ) -> Result<(), EncodeError> {
        self.send_local(topic, &etf::to_term(message)?, None);
        Ok(())
    }

    /// `direct_broadcast/4`: to the subscribers of one other node.
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    pub fn direct_broadcast<T: Serialize + ?Sized>(
        &self,
        node: impl Into<Atom>,
        topic: &str,
        message: &T,
    ) -> Result<(), EncodeError> {
        let message = etf::to_term(message)?;
        if let Some(group) = self.group() {
            self.forward((group, node).into(), topic, message);
        }
        Ok(())
    }

    /// The group that broadcasts go to. There are as many as there are workers in a node's pool, but the first is always among them.
    fn group(&self) -> Option<Atom> {
        group(&self.name, 1).ok()
    }

    fn send<T: Serialize + ?Sized>(
        &self,
        topic: &str,
        message: &T,
        from: Option<&Pid>,
    ) -> Result<(), EncodeError> {
        let message = etf::to_term(message)?;
        let workers = self.group().map(|group| self.scope.get_members(group)).unwrap_or_default();
        for worker in workers {
            if !self.caller.local().is_local(&worker.node) {
                self.forward(worker.into(), topic, message.clone());
            }
        }
        self.send_local(topic, &message, from);
        Ok(())
    }

    fn forward(&self, to: process::Destination, topic: &str, message: Term) {
        let forward = Forward::ForwardToLocal(topic.as_bytes().into(), message, DISPATCHER);
        if let Err(error) = self.caller.send(&to, forward) {
            tracing::debug!(%error, %to, "a broadcast is not forwarded");
        }
    }

    fn send_local(&self, topic: &str, message: &Term, from: Option<&Pid>) {
        for pid in self.topics.subscribers(topic.as_bytes()) {
            if Some(&pid) != from {
                // One that has ended is about to be unsubscribed.
                let _ = self.caller.send(&pid.into(), message.clone());
            }
        }
    }

    /// The topics that somebody of this node is subscribed to.
    #[cfg(test)]
    pub(super) fn subscribed_topics(&self) -> Vec<String> {
        self.topics.write().keys().map(|topic| String::from_utf8_lossy(topic).into_owned()).collect()
    }

    async fn ask(&self, ask: Ask) -> Result<(), CallError> {
        let process = self.caller.local().names.get(&self.name).ok_or(CallError::NoProc)?;
        let process = process.into_any().downcast().map_err(|_| CallError::NoProc)?;
        Server::<PubSub>::new(process).call(ask).infinity().await
    }
}

impl Node {
    /// `Phoenix.PubSub`'s functions for one of this node, such as `Elixir.MyApp.PubSub`.
    pub fn pubsub(&self, name: impl Into<Atom>) -> PubSubRef {
        PubSubRef::new(Caller::Node(self.local().clone()), name.into())
    }
}

impl<M: ProcessMessage> process::Context<M> {
    /// `Phoenix.PubSub`'s functions for one of this node, such as `Elixir.MyApp.PubSub`.
    pub fn pubsub(&self, name: impl Into<Atom>) -> PubSubRef {
        PubSubRef::new(Caller::Process(self.process().clone()), name.into())
    }
}
