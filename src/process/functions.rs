//! Functions that other nodes may run here, and the processes in which they do: SPAWN_REQUEST, from both sides.
//!
//! Nothing is run that was not exported. As in Erlang, a request for something else is no error of the request: the process starts, and ends
//! with `undef`.
//!
//! Source: *Distribution Protocol*, "Control Messages", SPAWN_REQUEST; `spawn_request/5` in *erlang*.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context as TaskContext, Poll};
use std::time::SystemTime;

use super::{
    AnyProcess, ConnectionId, Context, Destination, Encode, ExitReason, Heritage, Local, Relation,
    SpawnOptions, Write, reply_cell, spawn,
};
use crate::dist::{self, Control};
use crate::etf::{Payload, Writer};
use crate::term::{Atom, Pid, Reference, Term};
use crate::world::{BoxFuture, panic_text};

/// How a function fails, as one of Erlang's does: `erlang:error/1`, `exit/1`, `throw/1`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Raise {
    /// `error(Term)`: a fault, with a stack that names the function.
    Error(Term),
    /// `exit(Term)`: the end of the process that runs the function.
    Exit(Term),
    /// `throw(Term)`: another way to return.
    Throw(Term),
}

impl Raise {
    /// `error(Reason)`.
    pub fn error(reason: impl Into<Term>) -> Self {
        Self::Error(reason.into())
    }

    /// `exit(Reason)`.
    pub fn exit(reason: impl Into<Term>) -> Self {
        Self::Exit(reason.into())
    }

    /// `throw(Thrown)`.
    pub fn throw(thrown: impl Into<Term>) -> Self {
        Self::Throw(thrown.into())
    }
}

/// How a call of a function failed, and with which stack if it was a fault.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) raise: Raise,
    pub(crate) stack: Term,
}

impl Failed {
    /// The reason with which a process ends that runs nothing else.
    pub(crate) fn into_exit_reason(self) -> ExitReason {
        match self.raise {
            Raise::Exit(reason) => reason.into(),
            Raise::Error(reason) => ExitReason::Term(Term::tuple([reason, self.stack])),
            Raise::Throw(thrown) => {
                let nocatch = Term::tuple([Term::atom("nocatch"), thrown]);
                ExitReason::Term(Term::tuple([nocatch, self.stack]))
            }
        }
    }
}

/// `[{Module, Function, ArgumentsOrArity, []}]`.
pub(crate) fn stack(module: &Atom, function: &Atom, arguments: Term) -> Term {
    let frame = [module.clone().into(), function.clone().into(), arguments, Term::nil()];
    Term::list([Term::tuple(frame)])
}

/// A call of an exported function.
pub(crate) struct Invocation {
    /// The process that it runs in.
    pub(crate) cx: Context<Term>,
    /// The node that asks for it.
    pub(crate) caller: Atom,
    pub(crate) arguments: Vec<Term>,
}

pub(crate) type Outcome = Result<Term, NoValue>;

/// Why a function returned nothing.
pub(crate) enum NoValue {
    Raised(Raise),
    /// It does not take these arguments.
    NoClause(Vec<Term>),
}

pub(crate) type Run = Arc<dyn Fn(Invocation) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// The module of functions that every module has, as `module_info/1`.
pub(crate) const ANY_MODULE: Atom = Atom::from_static("_");

/// A function under its name.
#[derive(Clone)]
pub(crate) struct Exported {
    pub(crate) module: Atom,
    pub(crate) function: Atom,
    pub(crate) arity: usize,
    /// Who may run it, if not all may.
    pub(crate) nodes: Option<Arc<[Atom]>>,
    pub(crate) run: Run,
}

/// The functions of a node. By module and function, each with those of its arities.
#[derive(Default)]
pub(crate) struct Functions(RwLock<BTreeMap<(Atom, Atom), Vec<Exported>>>);

impl Functions {
    /// Exports a function, in place of a former one of its name and arity.
    pub(crate) fn export(&self, exported: Exported) {
        let mut functions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let arities = functions.entry((exported.module.clone(), exported.function.clone())).or_default();
        arities.retain(|it| it.arity != exported.arity);
        arities.push(exported);
    }

    /// Takes a function back, with all of its arities; says whether it was there.
    pub(crate) fn revoke(&self, module: &Atom, function: &Atom) -> bool {
        let mut functions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        functions.remove(&(module.clone(), function.clone())).is_some()
    }

    /// Whether there is such a function, for anybody.
    pub(crate) fn is_exported(&self, module: &Atom, function: &Atom, arity: usize) -> bool {
        let functions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let arities = functions.get(&(module.clone(), function.clone()));
        arities.is_some_and(|arities| arities.iter().any(|it| it.arity == arity))
    }

    /// Whether there is any function of a module.
    pub(crate) fn has_module(&self, module: &Atom) -> bool {
        let functions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        functions.keys().any(|(it, _)| it == module)
    }

    fn find(&self, module: &Atom, function: &Atom, arity: usize, caller: &Atom) -> Option<Run> {
        let functions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let of = |module: &Atom| {
            let arities = functions.get(&(module.clone(), function.clone()))?;
            arities.iter().find(|it| it.arity == arity)
        };
        let found = of(module).or_else(|| of(&ANY_MODULE))?;
        let may = found.nodes.as_ref().is_none_or(|nodes| nodes.contains(caller));
        may.then(|| found.run.clone())
    }

    /// Runs a function in the process of `cx`. Who may not run it is told that it is not there.
    pub(crate) async fn apply(
        &self,
        cx: Context<Term>,
        caller: Atom,
        module: &Atom,
        function: &Atom,
        arguments: Vec<Term>,
    ) -> Result<Term, Failed> {
        let arity = arguments.len();
        let failed = |reason: &'static str, arguments: Term| Failed {
            raise: Raise::Error(Term::atom(reason)),
            stack: stack(module, function, arguments),
        };
        let Some(run) = self.find(module, function, arity, &caller) else {
            tracing::info!(%caller, %module, %function, arity, "not exported");
            return Err(failed("undef", Term::list(arguments)));
        };
        let running = catch_unwind(AssertUnwindSafe(|| run(Invocation { cx, caller, arguments })));
        let outcome = match running {
            Ok(running) => Caught(running).await,
            Err(panic) => Err(panic_text(&*panic).to_owned()),
        };
        let here = || stack(module, function, Term::from(arity as i64));
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(NoValue::Raised(raise))) => Err(Failed { raise, stack: here() }),
            Ok(Err(NoValue::NoClause(arguments))) => Err(failed("function_clause", Term::list(arguments))),
            Err(panic) => {
                tracing::error!(%module, %function, panic, "an exported function panicked");
                let reason = Term::tuple([Term::atom("rust_panic"), Term::from(panic)]);
                Err(Failed { raise: Raise::Error(reason), stack: here() })
            }
        }
    }
}

/// A future whose panic is a value.
struct Caught(BoxFuture<'static, Outcome>);

impl Future for Caught {
    type Output = Result<Outcome, String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(outcome)) => Poll::Ready(Ok(outcome)),
            Err(panic) => Poll::Ready(Err(panic_text(&*panic).to_owned())),
        }
    }
}

/// What is asked for, and by whom.
pub(crate) struct SpawnRequest {
    pub(crate) id: Reference,
    pub(crate) from: Pid,
    pub(crate) group_leader: Pid,
    pub(crate) module: Atom,
    pub(crate) function: Atom,
    pub(crate) options: Term,
    /// A list. It is decoded in the new process.
    pub(crate) arguments: Payload,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct SpawnReply {
    pub(crate) link: bool,
    pub(crate) monitor: bool,
    pub(crate) result: Result<Pid, Atom>,
}

/// Whether Erlang takes this option of a process's memory or scheduling, which one of ours does not have.
fn is_of_memory(name: &Term, value: &Term) -> bool {
    let one_of = |atoms: &[&str]| atoms.iter().any(|atom| value.is_atom(atom));
    match name.as_atom().map(Atom::as_str) {
        Some("priority") => one_of(&["low", "normal", "high", "max"]),
        Some("message_queue_data") => one_of(&["on_heap", "off_heap"]),
        Some("async_dist") => one_of(&["true", "false"]),
        Some("max_heap_size") => matches!(value, Term::Integer(0..) | Term::Map(_)),
        Some("fullsweep_after" | "min_heap_size" | "min_bin_vheap_size") => {
            matches!(value, Term::Integer(0..))
        }
        _ => false,
    }
}

/// `link` and `monitor`. None if there is an option that Erlang does not know, or with such a value.
fn options(options: &Term) -> Option<(bool, bool)> {
    let (mut link, mut monitor) = (false, false);
    for option in options.as_list()? {
        match (option.as_atom().map(Atom::as_str), option.as_tuple()) {
            (Some("link"), _) => link = true,
            (Some("monitor"), _) => monitor = true,
            // Its own options are the asking node's business.
            (_, Some([tag, Term::List(_)])) if tag.is_atom("monitor") => monitor = true,
            (_, Some([tag, value])) if is_of_memory(tag, value) => {}
            _ => return None,
        }
    }
    Some((link, monitor))
}

impl Local {
    /// Starts the process that was asked for, over this connection if it was from outside. `begin` is called with the answer before the process
    /// runs: so that comes before any of its signals.
    pub(crate) fn spawn_requested(
        self: &Arc<Self>,
        request: SpawnRequest,
        connection: Option<ConnectionId>,
        begin: impl FnOnce(SpawnReply),
    ) {
        let refused = |error: &'static str| SpawnReply {
            link: false,
            monitor: false,
            result: Err(Atom::from_static(error)),
        };
        let Some((link, monitor)) = options(&request.options) else {
            return begin(refused("badopt"));
        };
        let SpawnRequest { id, from, group_leader, module, function, arguments, .. } = request;
        let heritage = Heritage { group_leader, ..(*self.heritage()).clone() };
        let options = SpawnOptions { heritage: Some(Arc::new(heritage)), ..SpawnOptions::default() };
        let mut begin = Some(begin);
        let spawned = spawn(self, options, |cx: Context<Term>| {
            if let Some(begin) = begin.take() {
                begin(SpawnReply { link, monitor, result: Ok(cx.pid().clone()) });
            }
            let caller = from.node.clone();
            let relate = |relation| {
                let _ = cx.process().push_relation(Box::new(relation));
            };
            if link {
                relate(Relation::Link { from: from.clone(), connection });
            }
            if monitor {
                relate(Relation::Monitor { from, reference: id, name: None, connection });
            }
            let (local, pid, leader) = (self.clone(), cx.pid().clone(), cx.group_leader());
            async move {
                let Term::List(arguments) = arguments.term() else { return ExitReason::atom("badarg") };
                let arguments = arguments.into_vec();
                let run = local.functions.apply(cx, caller, &module, &function, arguments);
                let is_exit = |failed: &Failed| matches!(failed.raise, Raise::Exit(_));
                match run.await {
                    Ok(_) => ExitReason::Normal,
                    Err(failed) if is_exit(&failed) => failed.into_exit_reason(),
                    Err(failed) => {
                        let reason = failed.into_exit_reason();
                        local.log_failed(&pid, &leader, &reason);
                        reason
                    }
                }
            }
        });
        if let (None, Some(begin)) = (spawned, begin) {
            begin(refused("system_limit"));
        }
    }

    /// What is logged of a process that fails: at the node of its group leader, too, whose output it is.
    ///
    /// Source: `send_error_term_to_logger` in `erts/emulator/beam/utils.c`, whose text it is.
    fn log_failed(&self, pid: &Pid, leader: &Pid, reason: &ExitReason) {
        tracing::error!(%pid, %reason, "a process that was spawned from outside failed");
        if self.is_local(&leader.node) {
            return;
        }
        let time = self.world.clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let tags = [(Term::atom("tag"), Term::atom("error")), (Term::atom("emulator"), true.into())];
        let meta = Term::map([
            (Term::atom("pid"), pid.clone().into()),
            (Term::atom("gl"), leader.clone().into()),
            (Term::atom("time"), Term::from(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))),
            (Term::atom("error_logger"), Term::map(tags)),
        ]);
        let arguments = Term::list([pid.clone().into(), pid.node.clone().into(), reason.to_term()]);
        let text = Term::charlist("Error in process ~p on node ~p with exit value:~n~p~n");
        let event = Term::tuple([Term::atom("log"), Term::atom("error"), text, arguments, meta]);
        let to = Destination::from((Atom::from_static("logger_proxy"), leader.node.clone()));
        // Whoever reads the log is not there: it is in this node's.
        let _ = self.send(pid, &to, event);
    }

    /// A process was spawned for one that does not wait for it any more, or has ended.
    pub(crate) fn abandon_spawned(
        &self,
        parent: &Pid,
        id: &Reference,
        spawned: &SpawnReply,
        reason: &'static str,
    ) {
        let Ok(pid) = &spawned.result else { return };
        if spawned.monitor {
            let target = super::relations::Monitored::Process(pid.clone());
            self.send_demonitor(parent, &target, None, id, Write::Now);
        }
        if spawned.link {
            self.send_link_exit(parent, pid, &ExitReason::atom(reason));
        }
    }
}

/// A request for a process, from [`Context::spawn_request`].
#[must_use = "nothing is asked for until it is awaited"]
pub struct RemoteSpawn {
    process: Arc<dyn AnyProcess>,
    node: Atom,
    module: Atom,
    function: Atom,
    arguments: Vec<Term>,
    link: bool,
    monitor: bool,
}

/// A process that was spawned on request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spawned {
    /// The process.
    pub pid: Pid,
    /// Its monitor, if one was asked for.
    pub monitor: Option<Reference>,
}

/// Why no process was spawned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The connection is lost, or cannot be made.
    #[error("no connection to {0}")]
    NoConnection(Atom),
    /// The other node says why: `notsup`, `badopt`, `system_limit`.
    #[error("{node} spawns nothing: {reason}")]
    Refused {
        /// The node.
        node: Atom,
        /// What it said.
        reason: Atom,
    },
}

impl RemoteSpawn {
    pub(crate) fn new(
        process: Arc<dyn AnyProcess>,
        node: Atom,
        module: Atom,
        function: Atom,
        arguments: Vec<Term>,
    ) -> Self {
        Self { process, node, module, function, arguments, link: false, monitor: false }
    }

    /// Links the new process with the one that asks, before it runs.
    pub fn link(mut self) -> Self {
        self.link = true;
        self
    }

    /// Has the process that asks monitor the new one, from before it runs.
    pub fn monitor(mut self) -> Self {
        self.monitor = true;
        self
    }

    /// Asks, and answers nobody: the process that asks may end.
    pub(crate) fn cast(self) {
        let id = self.process.shared().make_reference();
        self.send(&id);
    }

    async fn spawn(self) -> Result<Spawned, SpawnError> {
        let shared = self.process.shared();
        let id = shared.make_reference();
        let (giver, taker) = reply_cell();
        shared.relations(|relations| relations.open_spawn(id.clone(), giver));
        let connection = self.send(&id);
        shared.relations(|relations| relations.spawn_over(&id, connection));
        match taker.await {
            Ok(Ok(pid)) => Ok(Spawned { pid, monitor: self.monitor.then_some(id) }),
            Ok(Err(reason)) if reason == "noconnection" => Err(SpawnError::NoConnection(self.node)),
            Ok(Err(reason)) => Err(SpawnError::Refused { node: self.node, reason }),
            // Only if this process has ended, and does not come back here.
            Err(_) => Err(SpawnError::NoConnection(self.node)),
        }
    }

    /// Returns the connection that the request goes over. An answer that is known at once waits in the process's queue.
    fn send(&self, id: &Reference) -> Option<ConnectionId> {
        let shared = self.process.shared();
        let local = shared.local();
        let group_leader = shared.heritage().group_leader.clone();
        let flags = [(self.link, "link"), (self.monitor, "monitor")];
        let options = Term::list(flags.iter().filter(|(on, _)| *on).map(|(_, option)| Term::atom(option)));
        let answer = |reply| {
            let reply = Relation::SpawnReply { reference: id.clone(), reply, connection: None };
            let _ = local.deliver_relation(&shared.pid, reply);
        };
        let noconnection =
            || SpawnReply { link: false, monitor: false, result: Err(Atom::from_static("noconnection")) };
        let (Ok(encoded), Ok(arguments)) = (Payload::encode(&options), Payload::encode(&self.arguments))
        else {
            // A float that is none, as deep as may be: nothing that another node could be sent.
            answer(SpawnReply { result: Err(Atom::from_static("badarg")), ..noconnection() });
            return None;
        };
        if local.is_local(&self.node) {
            let request = SpawnRequest {
                id: id.clone(),
                from: shared.pid.clone(),
                group_leader,
                module: self.module.clone(),
                function: self.function.clone(),
                options,
                arguments,
            };
            local.spawn_requested(request, None, answer);
            return None;
        }
        let encode = |writer: &mut Writer| {
            arguments.write(writer);
            Ok(())
        };
        let request = dist::SpawnRequest {
            id: id.clone(),
            from: shared.pid.clone(),
            group_leader,
            module: self.module.clone(),
            function: self.function.clone(),
            arity: u8::try_from(self.arguments.len()).unwrap_or(u8::MAX),
            options: encoded,
            arguments: &encode as Encode<'_>,
        };
        let control = Control::SpawnRequest(Box::new(request));
        let connection = local.remote(&self.node, &shared.pid, Some(&shared.pid), control, Write::Now);
        if connection.is_none() {
            answer(noconnection());
        }
        connection
    }
}

impl IntoFuture for RemoteSpawn {
    type Output = Result<Spawned, SpawnError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.spawn())
    }
}
