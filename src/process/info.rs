//! What a process is and has, for whoever looks: `erlang:process_info/1`.

use std::sync::atomic::Ordering;

use super::relations::Related;
use super::{AnyProcess, Destination};
use crate::term::{Atom, Pid, Term};

/// Whether a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// A scheduler runs it now.
    Running,
    /// It waits for a scheduler.
    Runnable,
    /// It waits for a message, a timer, or whatever else it awaits.
    Waiting,
}

/// A process, as it was at one moment. Its signals go on meanwhile: those in its queue that set up or end relations do not show yet.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// The process.
    pub pid: Pid,
    /// Its name, if it has one.
    pub registered_name: Option<Atom>,
    /// What began it: the type of a server, or nothing that has a name.
    pub initial_call: Option<&'static str>,
    /// The callback that runs, or ran last.
    pub callback: &'static str,
    /// Whether it runs.
    pub status: Status,
    /// How many messages wait.
    pub message_queue_len: usize,
    /// How many messages it has received, up to the last time that it waited for one.
    pub reductions: u64,
    /// How many bytes it takes itself, its state included. What that has allocated is not known, and neither is the state of one that runs.
    pub memory: usize,
    /// Who it is linked to.
    pub links: Vec<Pid>,
    /// What it monitors.
    pub monitors: Vec<Destination>,
    /// Who monitors it, as often as they do.
    pub monitored_by: Vec<Pid>,
    /// How many of its timers are running.
    pub timers: usize,
    /// How many calls of it wait for an answer.
    pub calls: usize,
    /// How many aliases it has.
    pub aliases: usize,
    /// Whether exit signals arrive as messages.
    pub trap_exit: bool,
    /// Where its output goes.
    pub group_leader: Pid,
    /// The application that it was started in.
    pub application: Option<Atom>,
    /// Who spawned it, who spawned that, and so on, by name or pid.
    pub ancestors: Vec<Term>,
}

impl ProcessInfo {
    pub(crate) fn of(process: &dyn AnyProcess) -> Self {
        let shared = process.shared();
        let Related { links, monitors, monitored_by } =
            shared.with_relations(|relations| relations.related()).unwrap_or_default();
        let heritage = shared.heritage();
        let usage = process.usage();
        let (initial_call, callback) = process.callback();
        Self {
            pid: shared.pid.clone(),
            registered_name: shared.name(),
            initial_call,
            callback,
            status: process.status(),
            message_queue_len: process.message_queue_len(),
            reductions: process.reductions(),
            memory: process.memory(),
            links,
            monitors,
            monitored_by,
            timers: usage.timers,
            calls: usage.open_calls,
            aliases: usage.aliases,
            trap_exit: shared.trap_exit.load(Ordering::Relaxed),
            group_leader: heritage.group_leader.clone(),
            application: heritage.application.clone(),
            ancestors: heritage.ancestors.clone(),
        }
    }

    /// In the form of Erlang's `process_info/1`, as far as a native process has what that names, with `monitors` and `monitored_by`.
    pub fn to_term(&self) -> Term {
        let atom = |text| Term::from(Atom::from_static(text));
        let pids = |pids: &[Pid]| Term::list(pids.iter().cloned().map(Term::from).collect::<Vec<_>>());
        let call = |module: Option<&str>, function: &'static str, arity: i64| {
            let module = module.and_then(|module| Atom::new(module).ok());
            Term::tuple([
                module.map_or_else(|| atom("erlang"), Term::from),
                atom(function),
                Term::from(arity),
            ])
        };
        let initial_call = match self.initial_call {
            Some(module) => call(Some(module), "init", 1),
            None => call(None, "apply", 2),
        };
        let monitors = self.monitors.iter().map(|item| match item {
            Destination::Pid(pid) => Term::tuple([atom("process"), pid.clone().into()]),
            Destination::Remote(name, node) => {
                let item = Term::tuple([Term::from(name.clone()), Term::from(node.clone())]);
                Term::tuple([atom("process"), item])
            }
            Destination::Name(name) => Term::tuple([atom("process"), name.clone().into()]),
            Destination::Alias(alias) => Term::tuple([atom("process"), alias.clone().into()]),
        });
        let status = match self.status {
            Status::Running => "running",
            Status::Runnable => "runnable",
            Status::Waiting => "waiting",
        };
        let dictionary = [
            Term::tuple([atom("$initial_call"), initial_call.clone()]),
            Term::tuple([atom("$ancestors"), Term::list(self.ancestors.clone())]),
        ];
        let name = self.registered_name.clone().map(|name| ("registered_name", Term::from(name)));
        let items = [
            ("current_function", call(self.initial_call, self.callback, 0)),
            ("initial_call", initial_call),
            ("status", atom(status)),
            ("message_queue_len", Term::from(i64::try_from(self.message_queue_len).unwrap_or(i64::MAX))),
            ("reductions", Term::from(i64::try_from(self.reductions).unwrap_or(i64::MAX))),
            ("memory", Term::from(i64::try_from(self.memory).unwrap_or(i64::MAX))),
            ("links", pids(&self.links)),
            ("dictionary", Term::list(dictionary)),
            ("trap_exit", self.trap_exit.into()),
            ("priority", atom("normal")),
            ("group_leader", self.group_leader.clone().into()),
            ("monitors", Term::list(monitors.collect::<Vec<_>>())),
            ("monitored_by", pids(&self.monitored_by)),
        ];
        let items = name.into_iter().chain(items);
        Term::list(items.map(|(key, value)| Term::tuple([atom(key), value])).collect::<Vec<_>>())
    }
}
