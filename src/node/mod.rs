//! A node: what makes a program part of an Erlang, Elixir or beamline cluster.
//!
//! [`Node::builder`] registers with EPMD (or runs its own), listens, and from then on connects to other nodes and is
//! connected to. Its processes reach those of any connected node as they reach each other.

mod builder;
mod connection;
mod connections;
mod error;
mod half;
mod handshake;
#[cfg_attr(not(target_os = "linux"), allow(unused, reason = "nothing waits that way there"))]
mod lone;
mod name_monitors;
mod net_kernel;
mod options;
mod pending;
mod reading;
mod router;
mod tasks;
mod transport;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tokio::sync::Notify;

use crate::epmd;
use crate::global::Global;
use crate::io::Io;
use crate::process::{
    AnyProcess, Call, Caller, ConnectionId, Context, Delivery, Destination, ExitReason, Local, ProcessInfo,
    RegisterError, Relation, SendError, SpawnOpt, SpawnOptions, SystemLimit, spawn,
};
use crate::rpc::{Function, Rpc};
use crate::term::{Atom, Pid, Reference, Term};
use crate::world::{BoxFuture, World};

pub use self::builder::{Builder, NodeStartError};
pub use self::error::{ConnectError, DisconnectReason};

use self::connection::{Connection, LastSent};
use self::connections::{NodeMonitors, Peers};
use self::options::Options;

/// How long a node that stops waits for its peers to take what it has sent.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// A running node. Clones are handles to the same node; it stops when the last one is dropped, or with [`Node::stop`].
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
    // Its tasks hold `inner`, so that cannot tell when the program has lost interest.
    _running: Arc<Running>,
}

struct Running(Arc<Inner>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.begin_stop();
    }
}

/// What a node is, to its own tasks.
pub(crate) struct Inner {
    local: Arc<Local>,
    options: Options,
    port: u16,
    peers: RwLock<Peers>,
    /// The connections among them that stand.
    up: Mutex<BTreeMap<ConnectionId, Arc<Connection>>>,
    last_sent: Arc<LastSent>,
    node_monitors: Mutex<NodeMonitors>,
    next_connection: AtomicU64,
    handshakes: AtomicU64,
    entropy: Mutex<ChaCha8Rng>,
    stopping: AtomicBool,
    stop: Notify,
    /// What is done first when the node stops in order.
    before_stop: OnceLock<BeforeStop>,
    /// Why it stops, if it does so by itself.
    why: OnceLock<ExitReason>,
    stopped: Notify,
    /// Connections that are not wholly closed, and who waits for fewer of them.
    live: AtomicU64,
    closed: Notify,
    /// What connections that are no more have read and written.
    read_before: AtomicU64,
    written_before: AtomicU64,
    epmd: Mutex<Option<epmd::Registered>>,
    this: Weak<Self>,
}

type BeforeStop = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Stops a node from within.
#[derive(Clone)]
pub(crate) struct Stopper(Weak<Inner>);

impl Stopper {
    /// Stops the node in order, because of `why`.
    pub(crate) fn stop(&self, why: ExitReason) {
        let Some(inner) = self.0.upgrade() else { return };
        // The first reason is the one that counts.
        if inner.why.set(why).is_ok() {
            inner.local.world.clone().spawn(async move {
                inner.prepare_stop().await;
                inner.begin_stop();
            });
        }
    }
}

impl Inner {
    /// Stops what is to end before the node does, within its time.
    async fn prepare_stop(&self) {
        if let Some(before_stop) = self.before_stop.get() {
            let _ = self.local.world.timeout(self.options.shutdown_timeout, before_stop()).await;
        }
    }

    fn entropy(&self) -> MutexGuard<'_, ChaCha8Rng> {
        self.entropy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn take_registration(&self) -> Option<epmd::Registered> {
        self.epmd.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits until what was sent to other nodes is written.
    async fn flush(&self) {
        let all = async {
            for connection in self.connections() {
                connection.flushed().await;
            }
        };
        // A peer that reads no more must not hold this node up.
        let _ = self.local.world.timeout(FLUSH_TIME, all).await;
    }

    fn begin_stop(&self) {
        if self.stopping.swap(true, Ordering::AcqRel) {
            return;
        }
        self.stop.notify_waiters();
        self.stop.notify_one();
        // First: to others the node is lost as a whole, and none of its processes was killed.
        for connection in self.connections() {
            connection.close(DisconnectReason::Stopping);
        }
        for process in self.local.table.all() {
            let kill = Relation::Exit { from: process.pid().clone(), reason: ExitReason::Kill };
            let _ = process.push_relation(Box::new(kill));
        }
        drop(self.take_registration());
        self.stopped.notify_waiters();
    }
}

impl Node {
    /// Prepares a node called `name@host`. A host with a dot makes a long name, one without a short name.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }

    /// The node's name.
    pub fn name(&self) -> &Atom {
        &self.inner.local.node
    }

    /// Which of the lives of its name the node lives, as EPMD gave it.
    pub fn creation(&self) -> u32 {
        self.inner.local.creation
    }

    /// The port on which the node listens for others.
    pub fn port(&self) -> u16 {
        self.inner.port
    }

    /// The world that the node lives in.
    pub fn world(&self) -> &World {
        &self.inner.local.world
    }

    /// Connects to another node, if it is not connected already. Sending to it does that too.
    ///
    /// # Errors
    /// The error tells what is wrong: an unknown name, another cookie, missing capabilities, nobody there.
    pub async fn connect(&self, node: impl Into<Atom>) -> Result<(), ConnectError> {
        self.inner.connect(&node.into()).await
    }

    /// Closes the connection to a node. Returns whether there was one.
    pub fn disconnect(&self, node: &str) -> bool {
        let Ok(node) = Atom::new(node) else { return false };
        let connection = self.inner.connection(&node);
        if let Some(connection) = &connection {
            connection.close(DisconnectReason::Requested);
        }
        connection.is_some()
    }

    /// `nodes/0`: the visible nodes that this one is connected to.
    pub fn nodes(&self) -> Vec<Atom> {
        self.nodes_that(Connection::is_visible)
    }

    /// `nodes(hidden)`: the hidden nodes that this one is connected to.
    pub fn hidden_nodes(&self) -> Vec<Atom> {
        self.nodes_that(|connection| !connection.is_visible())
    }

    fn nodes_that(&self, is_it: impl Fn(&Connection) -> bool) -> Vec<Atom> {
        let connections = self.inner.connections();
        connections.iter().filter(|connection| is_it(connection)).map(|it| it.peer.clone()).collect()
    }

    /// `net_adm:ping/1`: connects to the node, and asks whether it takes this one for its own.
    pub async fn ping(&self, node: impl Into<Atom>) -> bool {
        self.try_ping(node).await.is_ok()
    }

    /// As [`Node::ping`], with the reason of a failure.
    ///
    /// # Errors
    /// If the node cannot be connected to, or does not answer within 7 seconds.
    pub async fn try_ping(&self, node: impl Into<Atom>) -> Result<(), ConnectError> {
        let node = node.into();
        if node == *self.name() {
            return Ok(());
        }
        self.inner.connect(&node).await?;
        let request = (Atom::from_static("is_auth"), self.name().clone());
        let call = self.call::<Atom, _>((net_kernel::NAME, node.clone()), request);
        match call.timeout(Duration::from_secs(7)).await {
            Ok(answer) if answer == "yes" => Ok(()),
            _ => Err(ConnectError::NoAnswer(node)),
        }
    }

    /// Spawns a process that receives terms; what it returns is its exit reason.
    ///
    /// ```
    /// # use beamline::{node::Node, process::ExitReason, term::Term};
    /// # async fn example(node: &Node) {
    /// let pid = node.spawn(|mut cx| async move {
    ///     let message = cx.receive().await;
    ///     println!("{message}");
    ///     ExitReason::Normal
    /// });
    /// # let _ = pid;
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the node has as many processes as it may.
    pub fn spawn<F>(&self, body: impl FnOnce(Context<Term>) -> F) -> Result<Pid, SystemLimit>
    where
        F: Future<Output = ExitReason> + Send + 'static,
    {
        spawn(&self.inner.local, SpawnOptions::default(), body)
            .map(|process| process.pid().clone())
            .ok_or(SystemLimit)
    }

    /// As [`Node::spawn`], with options.
    ///
    /// # Errors
    /// If the node has as many processes as it may.
    pub fn spawn_opt<F>(
        &self,
        options: SpawnOpt,
        body: impl FnOnce(Context<Term>) -> F,
    ) -> Result<Pid, SystemLimit>
    where
        F: Future<Output = ExitReason> + Send + 'static,
    {
        options.spawn(&self.inner.local, None, body)
    }

    /// Sends a message from outside any process. A local process gets it moved if it understands the type.
    ///
    /// # Errors
    /// If there is no such process on this node, it has too many messages, or this one has no external form.
    pub fn send<T: Serialize + Send + 'static>(
        &self,
        to: impl Into<Destination>,
        message: T,
    ) -> Result<(), SendError> {
        let (local, to) = (&self.inner.local, to.into());
        outcome(local.send(&local.pid(0, 0), &to, message)?, to)
    }

    /// `gen_server:call/2` from outside any process.
    pub fn call<R, Q: Serialize>(&self, to: impl Into<Destination>, request: Q) -> Call<Q, R> {
        Call::new(Caller::Node(self.inner.local.clone()), to.into(), request)
    }

    /// `gen_server:cast/2` from outside any process.
    ///
    /// # Errors
    /// As [`Node::send`].
    pub fn cast<T: Serialize>(&self, to: impl Into<Destination>, request: &T) -> Result<(), SendError> {
        let (local, to) = (&self.inner.local, to.into());
        outcome(local.cast(&local.pid(0, 0), &to, request)?, to)
    }

    /// Sends an exit signal to a process of any node, as `exit/2` does.
    pub fn exit(&self, pid: &Pid, reason: ExitReason) {
        let from = self.inner.local.pid(0, 0);
        self.inner.local.send_exit(&from, pid, &reason);
    }

    /// `register/2`.
    ///
    /// # Errors
    /// If the name is taken, the process has one, or there is no such process on this node.
    pub fn register(&self, name: impl Into<Atom>, pid: &Pid) -> Result<(), RegisterError> {
        let process = self.inner.local.process(pid).ok_or(RegisterError::NoProc)?;
        self.inner.local.names.register(name.into(), process)
    }

    /// `unregister/1`. Returns whether the name was registered.
    pub fn unregister(&self, name: &str) -> bool {
        Atom::new(name).is_ok_and(|name| self.inner.local.names.unregister(&name))
    }

    /// `whereis/1`.
    pub fn whereis(&self, name: &str) -> Option<Pid> {
        self.inner.local.names.get(name).map(|process| process.pid().clone())
    }

    /// `registered/0`.
    pub fn registered(&self) -> Vec<Atom> {
        self.inner.local.names.all()
    }

    /// `is_process_alive/1`, for a process of this node.
    pub fn is_process_alive(&self, pid: &Pid) -> bool {
        self.inner.local.process(pid).is_some()
    }

    /// `process_info/1`, for a process of this node that is alive.
    pub fn process_info(&self, pid: &Pid) -> Option<ProcessInfo> {
        Some(ProcessInfo::of(&*self.inner.local.process(pid)?))
    }

    /// `processes/0`: those of this node that are alive.
    pub fn processes(&self) -> Vec<Pid> {
        self.inner.local.table.all().iter().map(|process| process.pid().clone()).collect()
    }

    /// How many processes are alive.
    pub fn process_count(&self) -> usize {
        self.inner.local.table.len()
    }

    /// How many messages were dropped because nobody was there to receive them, since the node started.
    pub fn dropped_messages(&self) -> u64 {
        self.inner.local.dropped()
    }

    /// Exports a function: from now on other nodes may run it, by [`rpc`](crate::rpc), or in a process that they spawn here. It takes the place of a
    /// former one of its name and arity.
    pub fn export(&self, function: Function) {
        self.inner.local.functions.export(function.0);
    }

    /// Takes a function back, with all of its arities; says whether it was exported. What runs already runs on.
    pub fn revoke(&self, module: impl Into<Atom>, function: impl Into<Atom>) -> bool {
        self.inner.local.functions.revoke(&module.into(), &function.into())
    }

    /// The functions of another node. What they print comes to this node's `user`.
    pub fn rpc(&self, node: impl Into<Atom>) -> Rpc {
        Rpc::new(self.inner.local.clone(), None, node.into())
    }

    /// The names that hold on all nodes that take part in `global`.
    pub fn global(&self) -> Global {
        Global::new(self.inner.local.clone())
    }

    /// A layer of `tracing-subscriber` that sends this program's events to the logger of an Erlang node.
    #[cfg(feature = "logger")]
    pub fn logger(&self, node: impl Into<Atom>) -> crate::logger::LoggerLayer {
        crate::logger::LoggerLayer::new(&self.inner.local, node.into())
    }

    /// A device of any node, to print to.
    pub fn io(&self, device: impl Into<Destination>) -> Io {
        Io::new(self.inner.local.clone(), device.into())
    }

    /// `make_ref/0`.
    pub fn make_reference(&self) -> Reference {
        self.inner.local.make_reference()
    }

    /// Waits until the node stops, and returns why: another reason than `normal` if it does so by itself, because a permanent
    /// [application](crate::application) has ended.
    pub async fn stopped(&self) -> ExitReason {
        let mut stopped = std::pin::pin!(self.inner.stopped.notified());
        stopped.as_mut().enable();
        if !self.inner.is_stopping() {
            stopped.await;
        }
        self.inner.why.get().cloned().unwrap_or(ExitReason::Normal)
    }

    pub(crate) fn stopper(&self) -> Stopper {
        Stopper(self.inner.this.clone())
    }

    /// What is done first when the node stops in order. Set once.
    pub(crate) fn before_stop(
        &self,
        before_stop: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) {
        let _ = self.inner.before_stop.set(Box::new(before_stop));
    }

    /// Stops the node: its applications stop, its name is free, its processes are killed, and its connections are closed once what is queued for them is
    /// sent and its peers have closed them too, or after a second each.
    pub async fn stop(self) {
        self.inner.prepare_stop().await;
        let registration = self.inner.take_registration();
        self.inner.flush().await;
        self.inner.begin_stop();
        let closed = async {
            loop {
                let mut fewer = std::pin::pin!(self.inner.closed.notified());
                fewer.as_mut().enable();
                if self.inner.live.load(Ordering::Acquire) == 0 {
                    return;
                }
                fewer.await;
            }
        };
        let _ = self.inner.local.world.timeout(FLUSH_TIME, closed).await;
        if let Some(registration) = registration {
            registration.unregister().await;
        }
    }

    pub(crate) fn local(&self) -> &Arc<Local> {
        &self.inner.local
    }
}

/// What a program that is no process learns of its message. It is not suspended for a busy connection: there is nobody to suspend.
fn outcome(delivery: Delivery, to: Destination) -> Result<(), SendError> {
    match delivery {
        Delivery::NoProc => Err(SendError::NoProc(to)),
        Delivery::Full => Err(SendError::MailboxFull(to)),
        Delivery::Done | Delivery::Busy(_) => Ok(()),
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("name", self.name())
            .field("creation", &self.creation())
            .finish_non_exhaustive()
    }
}
