//! The process `global_name_server`.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand_core::Rng;

use super::core::{Core, Effect};
use super::locker::{Locker, ToLocker, name_server};
use super::locks::RandomSleep;
use super::message::{Message, Op, VSN, external_term};
use super::names::{Locked, Watch};
use super::registrar::Registrar;
use super::resolve::resolve;
use super::table::{LockId, Table};
use super::{NAME, Options};
use crate::process::{
    AnyProcess, Context, ExitReason, GenMessage, Giver, Local, Process, ProcessMessage, Received,
    ReplyAddress, Signal, SpawnOptions, spawn,
};
use crate::term::{Atom, Pid, Reference, Term};
use crate::world::Mono;

/// What its helpers tell the name server, and this node's processes.
pub(super) enum Inside {
    LockIsSet {
        node: Atom,
        tag: i64,
        lock: LockId,
    },
    ExchangeOps {
        node: Atom,
        tag: i64,
        ops: Vec<Op>,
        his_ops: Vec<Op>,
    },
    /// A node that was to be connected to is, or could not be.
    Connected(Atom),
    NotConnected(Atom),
    /// It is time to try again with a node.
    Restart(Atom),
    Whereis {
        name: Term,
        from: (Pid, Term),
    },
    Sync(BTreeSet<Atom>, Giver<()>),
}

impl ProcessMessage for Inside {
    type Brief = std::convert::Infallible;

    fn from_brief(brief: Self::Brief) -> Self {
        match brief {}
    }

    fn take(value: &mut dyn Any) -> Option<Self> {
        value.downcast_mut::<Option<Self>>()?.take()
    }
}

/// The way to the name server, for its helpers.
#[derive(Clone)]
pub(super) struct NameServer(Arc<Process<Inside>>);

impl NameServer {
    pub(super) fn push(&self, message: Inside) {
        // If it has ended, so does the node.
        let _ = self.0.push_always(Signal::Message(message));
    }
}

/// Who waits for nodes to be in sync.
enum Syncer {
    Call(ReplyAddress),
    Here(Giver<()>),
}

struct Server {
    cx: Context<Inside>,
    core: Core,
    table: Arc<Table>,
    locker: Arc<Process<ToLocker>>,
    monitors: BTreeMap<Watch, Reference>,
    watches: BTreeMap<Reference, Watch>,
    syncers: Vec<(BTreeSet<Atom>, Syncer)>,
    random: RandomSleep,
}

/// Starts the name server and its helpers, before there is a connection.
pub(crate) fn start(local: &Arc<Local>, options: &Options, hidden: bool) {
    let table: Arc<Table> = local.shown_by(&NAME);
    let started = spawn(local, SpawnOptions::default(), |cx: Context<Inside>| {
        if !hidden {
            cx.monitor_nodes(true);
        }
        let server = NameServer(cx.process().clone());
        let locker = cx.spawn_linked(|locker| Locker::new(locker, server, table.clone()).run());
        let registrar = cx.spawn_linked(|registrar| Registrar::new(registrar, table.clone()).run());
        let mut random = cx.world().entropy.fork("global");
        // As Erlang's: within what is a small integer there, and above all creations.
        let creation = (random.next_u64() >> 5 & !0xFFFF_FFFF) as i64 + i64::from(cx.local().creation);
        let random = RandomSleep::new(random);
        // Now: whoever has the node may ask.
        {
            let mut table = table.write();
            table.registrar = registrar;
            table.server = Some(NameServer(cx.process().clone()));
        }
        let options = options.clone();
        async move {
            let Some(locker) = locker else { return ExitReason::atom("system_limit") };
            let pid = locker.pid().clone();
            let core = Core::new(cx.node_name().clone(), creation, pid, table.clone(), &options);
            let (monitors, watches, syncers) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
            Server { cx, core, table, locker, monitors, watches, syncers, random }.run().await
        }
    });
    if let Some(process) = started {
        // Nobody can have the name yet.
        let _ = local.names.register(NAME, process);
    }
    for function in super::resolve::functions(local) {
        local.functions.export(function);
    }
}

impl Server {
    async fn run(mut self) -> ExitReason {
        loop {
            match self.cx.receive_signal().await {
                Received::Own(message) => self.inside(message),
                Received::Term(message) => match GenMessage::new(message) {
                    GenMessage::Call { from, request } => self.called(from, &request.term()),
                    GenMessage::Cast(cast) => self.told(Message::from_cast(&cast.term())),
                    GenMessage::Info(info) => self.told(Message::from_info(&info.term())),
                    GenMessage::System { .. } => {}
                },
            }
            self.follow();
        }
    }

    fn inside(&mut self, message: Inside) {
        match message {
            Inside::LockIsSet { node, tag, lock } => self.core.lock_is_set(&node, tag, lock),
            Inside::ExchangeOps { node, tag, ops, his_ops } => {
                self.core.exchange_ops(&node, tag, ops, &his_ops);
            }
            Inside::Connected(node) => self.core.connected(&node),
            Inside::NotConnected(node) => self.core.not_connected(&node),
            Inside::Restart(node) => {
                if self.cx.nodes().contains(&node) {
                    self.core.told(Message::NodeUp(node), Mono::default());
                }
            }
            Inside::Whereis { name, from } => self.whereis(name, from),
            Inside::Sync(nodes, giver) => self.sync(nodes, Syncer::Here(giver)),
        }
    }

    fn told(&mut self, message: Option<Message>) {
        match message {
            Some(Message::Down(reference)) => {
                if let Some(watch) = self.watches.remove(&reference) {
                    self.monitors.remove(&watch);
                    let effects = &mut self.core.effects;
                    self.core.names.down(watch, effects);
                }
            }
            Some(Message::Whereis { name, from }) => self.whereis(name, from),
            Some(message) => {
                let now = self.cx.world().clock.mono();
                self.core.told(message, now);
            }
            None => self.cx.local().count_dropped("not understood by global"),
        }
    }

    fn called(&mut self, from: ReplyAddress, request: &Term) {
        let reply = match request {
            Term::Atom(what) => match what.as_str() {
                "get_known" => nodes(self.core.known()),
                "get_synced" => nodes(self.core.synced.iter()),
                "get_protocol_version" => Term::from(VSN),
                "get_names_ext" => Term::list(self.core.names.externals().iter().map(external_term)),
                _ => return self.cx.local().count_dropped("not understood by global"),
            },
            request => match self.asked(&from, request) {
                Some(reply) => reply,
                None => return,
            },
        };
        self.follow();
        if let Err(error) = from.reply(self.cx.local(), self.cx.pid(), &reply) {
            tracing::error!(%error, "global cannot answer");
        }
    }

    fn asked(&mut self, from: &ReplyAddress, request: &Term) -> Option<Term> {
        let Core { names, effects, .. } = &mut self.core;
        let [what, of @ ..] = request.as_tuple()? else { return None };
        Some(match (what.as_atom()?.as_str(), of) {
            ("set_lock", [id]) => names.set_lock(&LockId::from_term(id)?, from.pid(), effects).into(),
            ("del_lock", [id]) => {
                names.del_lock(&LockId::from_term(id)?, from.pid(), effects);
                true.into()
            }
            ("register", [name, pid, method]) => {
                let entry = (name.clone(), pid.as_pid()?.clone(), method.clone());
                names.insert(entry, None, Locked::By(from.pid()), effects);
                Term::atom("yes")
            }
            ("register_ext", [name, pid, method, node]) => {
                let entry = (name.clone(), pid.as_pid()?.clone(), method.clone());
                names.insert(entry, node.as_atom().cloned(), Locked::By(from.pid()), effects);
                Term::atom("yes")
            }
            ("unregister", [name]) => {
                names.delete(name, effects);
                Term::atom("ok")
            }
            ("sync", [nodes]) => {
                let nodes = nodes.as_list()?.iter().filter_map(|node| node.as_atom().cloned()).collect();
                self.sync(nodes, Syncer::Call(from.clone()));
                return None;
            }
            _ => {
                self.cx.local().count_dropped("not understood by global");
                return None;
            }
        })
    }

    fn whereis(&mut self, name: Term, from: (Pid, Term)) {
        if self.table.is_global_lock_set() {
            // Names are about to change.
            let (server, wait) = (NameServer(self.cx.process().clone()), self.random.up_to(5));
            let _ = self.cx.spawn(|cx| async move {
                cx.world().sleep(wait).await;
                server.push(Inside::Whereis { name, from });
                ExitReason::Normal
            });
            return;
        }
        let (pid, tag) = from;
        let found = super::whereis(self.cx.local(), &self.table, &name);
        let found = found.map_or_else(|| Term::atom("undefined"), Term::from);
        let _ = self.cx.send(&pid, (tag, found));
    }

    fn sync(&mut self, mut nodes: BTreeSet<Atom>, syncer: Syncer) {
        let connected = self.cx.nodes();
        nodes.retain(|node| connected.contains(node) && !self.core.synced.contains(node));
        self.syncers.push((nodes, syncer));
        self.answer_syncers();
    }

    fn answer_syncers(&mut self) {
        let (done, waiting) =
            std::mem::take(&mut self.syncers).into_iter().partition(|(of, _)| of.is_empty());
        self.syncers = waiting;
        let done: Vec<_> = done;
        for (_, syncer) in done {
            match syncer {
                Syncer::Here(giver) => giver.give(()),
                Syncer::Call(from) => {
                    drop(from.reply(self.cx.local(), self.cx.pid(), &Atom::from_static("ok")))
                }
            }
        }
    }

    fn follow(&mut self) {
        for effect in std::mem::take(&mut self.core.effects) {
            match effect {
                Effect::Monitor(watch) => {
                    let reference = self.cx.monitor(watch.pid());
                    self.monitors.insert(watch.clone(), reference.clone());
                    self.watches.insert(reference, watch);
                }
                Effect::Demonitor(watch) => {
                    if let Some(reference) = self.monitors.remove(&watch) {
                        self.watches.remove(&reference);
                        self.cx.demonitor(&reference);
                    }
                }
                Effect::Cast(node, message) => cast_to(&self.cx, &node, &message),
                Effect::Send(node, message) => self.send(&node, &message),
                Effect::Lost(node, message) => {
                    let stops = self.cx.local().distribution().is_none_or(|it| it.is_stopping());
                    if !stops {
                        self.send(&node, &message);
                    }
                }
                // If it has ended, so does this one.
                Effect::Locker(message) => drop(self.locker.push_always(Signal::Message(message))),
                Effect::Resolve { node, tag, names } => {
                    let (server, table) = (NameServer(self.cx.process().clone()), self.table.clone());
                    let _ = self.cx.spawn(|cx| async move {
                        let (ops, his_ops) = resolve(&cx, &table, names, &node).await;
                        server.push(Inside::ExchangeOps { node, tag, ops, his_ops });
                        ExitReason::Normal
                    });
                }
                Effect::SyncOther(node) => self.sync_other(node),
                Effect::RestartLater(node, times) => {
                    let (server, wait) = (NameServer(self.cx.process().clone()), self.random.up_to(times));
                    let _ = self.cx.spawn(|cx| async move {
                        cx.world().sleep(wait).await;
                        server.push(Inside::Restart(node));
                        ExitReason::Normal
                    });
                }
                Effect::Disconnect(node) => {
                    if let Some(distribution) = self.cx.local().distribution() {
                        distribution.disconnect(&node);
                    }
                }
                Effect::Synced(node) => {
                    for (nodes, _) in &mut self.syncers {
                        nodes.remove(&node);
                    }
                    self.answer_syncers();
                }
            }
        }
    }

    fn sync_other(&self, node: Atom) {
        let server = NameServer(self.cx.process().clone());
        let _ = self.cx.spawn(|cx| async move {
            let connected = match cx.local().distribution() {
                Some(distribution) => distribution.connect(node.clone()).await,
                None => false,
            };
            server.push(if connected { Inside::Connected(node) } else { Inside::NotConnected(node) });
            ExitReason::Normal
        });
    }

    fn send(&self, node: &Atom, message: &Term) {
        let Some(connection) = self.cx.local().distribution().and_then(|it| it.connection_to(node)) else {
            return;
        };
        let _ = self.cx.send_over(connection, &name_server(node), message);
    }
}

fn nodes<'a>(nodes: impl Iterator<Item = &'a Atom>) -> Term {
    Term::list(nodes.map(|node| Term::from(node.clone())))
}

/// Tells another node's name server something, over the connection that stands: if there is none, a `nodedown` is on its way.
pub(super) fn cast_to<M: ProcessMessage>(cx: &Context<M>, node: &Atom, message: &Term) {
    const GEN_CAST: Atom = Atom::from_static("$gen_cast");
    let Some(connection) = cx.local().distribution().and_then(|it| it.connection_to(node)) else { return };
    let _ = cx.send_over(connection, &name_server(node), &(GEN_CAST, message));
}
