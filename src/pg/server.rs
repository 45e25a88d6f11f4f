//! A scope's process.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::core::{Change, Core, Effect, Watch};
use super::message::{GroupEvent, Message, Told};
use super::table::Table;
use crate::gen_server::{Context, GenServer, Reply, ReplyTo};
use crate::process::{ConnectionId, Destination, ExitReason};
use crate::term::{Atom, Pid, Reference, Term};

/// What other nodes may make a scope hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How many bytes the members that one other node tells of may take: 64 for each membership, 256 and its name's external
    /// form for each group. What is past it is not taken in, and logged. By default 64 MiB, about a million memberships.
    pub node_len: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { node_len: 64 << 20 }
    }
}

/// A running scope: a gen_server that is to be started under the scope's name. Without one it does not start (`badarg`).
pub struct Scope {
    name: Atom,
    core: Core,
    table: Shown,
    monitored: BTreeMap<Reference, Monitored>,
    watches: BTreeMap<Watch, Reference>,
    /// The connections over which the scopes of other nodes were met. What is meant for them goes over these or not at all: over a
    /// next one a scope hears of this one anew, and an Erlang scope that hears of a leave before crashes.
    met_over: BTreeMap<Pid, ConnectionId>,
    /// Who is told of all changes.
    scope_monitors: BTreeMap<Reference, Pid>,
    /// Who is told of a group's.
    group_monitors: BTreeMap<Term, BTreeMap<Reference, Pid>>,
}

/// The groups, as long as the scope runs: those of one that has ended are not to be seen.
struct Shown(Arc<Table>);

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// Why a process is monitored.
enum Monitored {
    Watch(Watch),
    ByScope,
    ByGroup(Term),
}

/// What a scope is asked by processes of its node. There are methods for it.
#[doc(hidden)]
#[derive(Deserialize)]
pub enum Ask {
    #[serde(skip)]
    Join(Term, Vec<Pid>),
    #[serde(skip)]
    Leave(Term, Vec<Pid>),
    #[serde(skip)]
    Monitor(Term, Pid),
    #[serde(skip)]
    MonitorScope(Pid),
    #[serde(skip)]
    Demonitor(Reference),
}

/// What it answers.
#[doc(hidden)]
#[derive(Serialize)]
pub enum Answer {
    Done(bool),
    Members(Reference, Vec<Pid>),
    Groups(Reference, BTreeMap<Term, Vec<Pid>>),
}

impl GenServer for Scope {
    type Args = Limits;
    type Call = Ask;
    type Reply = Answer;
    type Cast = Term;
    type Info = Term;

    async fn init(limits: Limits, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        let name = cx.shared().name().ok_or_else(|| ExitReason::atom("badarg"))?;
        let table = Shown(cx.local().shown_by(&name));
        let mut scope = Self {
            name,
            core: Core::new(cx.pid().clone(), limits.node_len),
            table,
            monitored: BTreeMap::new(),
            watches: BTreeMap::new(),
            met_over: BTreeMap::new(),
            scope_monitors: BTreeMap::new(),
            group_monitors: BTreeMap::new(),
        };
        // First: a node that connects meanwhile is discovered twice, which does no harm.
        cx.monitor_nodes(true);
        for node in cx.nodes() {
            let effects = scope.core.node_up(node);
            scope.follow(effects, cx);
        }
        Ok(scope)
    }

    async fn handle_call(
        &mut self,
        ask: Ask,
        from: ReplyTo<Answer>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        let answer = match ask {
            Ask::Join(group, pids) => {
                let effects = self.core.join_local(group, pids);
                self.follow(effects, cx);
                Answer::Done(true)
            }
            Ask::Leave(group, pids) => {
                let effects = self.core.leave_local(group, pids);
                let joined = !effects.is_empty();
                self.follow(effects, cx);
                Answer::Done(joined)
            }
            Ask::Monitor(group, pid) => {
                let reference = cx.monitor(&pid);
                let members = self.table.0.read().get(&group).map(|members| members.all.clone());
                self.group_monitors.entry(group.clone()).or_default().insert(reference.clone(), pid);
                self.monitored.insert(reference.clone(), Monitored::ByGroup(group));
                Answer::Members(reference, members.unwrap_or_default())
            }
            Ask::MonitorScope(pid) => {
                let reference = cx.monitor(&pid);
                self.scope_monitors.insert(reference.clone(), pid);
                self.monitored.insert(reference.clone(), Monitored::ByScope);
                Answer::Groups(reference, self.groups())
            }
            Ask::Demonitor(reference) => {
                let is = !matches!(self.monitored.get(&reference), None | Some(Monitored::Watch(_)));
                if is {
                    cx.demonitor(&reference);
                    self.forget(&reference);
                }
                Answer::Done(is)
            }
        };
        Ok(from.reply(answer))
    }

    async fn handle_cast(&mut self, cast: Term, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match Message::from_cast(&cast) {
            Some(message) => self.told(message, cx),
            None => cx.local().count_dropped("not understood by pg"),
        }
        Ok(())
    }

    async fn handle_info(&mut self, info: Term, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match Told::from_term(&info) {
            Some(Told::Scope(message)) => self.told(message, cx),
            Some(Told::NodeUp(node)) => {
                let effects = self.core.node_up(node);
                self.follow(effects, cx);
            }
            // Its scope is monitored, and that says so.
            Some(Told::NodeDown) => {}
            Some(Told::Down(reference)) => {
                if let Some(watch) = self.forget(&reference) {
                    if cx.world().planted("pg-kept") && matches!(watch, Watch::Peer(_)) {
                        return Ok(());
                    }
                    let effects = self.core.down(watch);
                    self.follow(effects, cx);
                }
            }
            // An Erlang scope crashes; any node could have this one do so.
            None => cx.local().count_dropped("not understood by pg"),
        }
        Ok(())
    }

    /// `#{Group => Pids}`.
    fn state(&self) -> Term {
        let pids = |pids: Vec<Pid>| Term::list(pids.into_iter().map(Term::from).collect::<Vec<_>>());
        Term::map(self.groups().into_iter().map(|(group, members)| (group, pids(members))))
    }
}

impl Scope {
    fn groups(&self) -> BTreeMap<Term, Vec<Pid>> {
        let groups = self.table.0.read();
        groups.iter().map(|(group, members)| (group.clone(), members.all.clone())).collect()
    }

    fn told(&mut self, message: Message, cx: &mut Context<Self>) {
        let node = &message.sender().node;
        // It is lost already: to monitor its scope would be to connect to it again.
        if !cx.local().is_local(node) && connection(node, cx).is_none() {
            return;
        }
        let effects = self.core.told(message);
        self.follow(effects, cx);
    }

    fn follow(&mut self, effects: Vec<Effect>, cx: &mut Context<Self>) {
        for effect in effects {
            match effect {
                Effect::Monitor(watch) => {
                    let (Watch::Member(pid) | Watch::Peer(pid)) = &watch;
                    let reference = cx.monitor(pid);
                    if matches!(watch, Watch::Peer(_)) && !cx.local().is_local(&pid.node) {
                        match cx.monitored_over(&reference) {
                            Some(over) if connection(&pid.node, cx) == Some(over) => {
                                self.met_over.insert(pid.clone(), over);
                            }
                            // It is lost, or is connected to only now: it was not met, and there will be a `nodeup`.
                            _ => {
                                cx.demonitor(&reference);
                                self.core.down(watch);
                                return;
                            }
                        }
                    }
                    self.watches.insert(watch.clone(), reference.clone());
                    self.monitored.insert(reference, Monitored::Watch(watch));
                }
                Effect::Demonitor(watch) => {
                    if let Some(reference) = self.watches.remove(&watch) {
                        self.monitored.remove(&reference);
                        cx.demonitor(&reference);
                    }
                }
                Effect::Send(to, message) => {
                    for pid in to {
                        let over = self.met_over.get(&pid).copied();
                        send(pid.into(), over, &message, cx);
                    }
                }
                Effect::Discover(node) => {
                    if let Some(over) = connection(&node, cx) {
                        let to = Destination::Remote(self.name.clone(), node);
                        send(to, Some(over), &Message::Discover(cx.pid().clone()), cx);
                    }
                }
                Effect::Change(change) => {
                    self.table.0.apply(&change);
                    self.notify(change, cx);
                }
            }
        }
    }

    fn notify(&self, change: Change, cx: &Context<Self>) {
        let Change { action, group, pids, .. } = change;
        let of_group = self.group_monitors.get(&group).into_iter().flatten();
        for (reference, pid) in self.scope_monitors.iter().chain(of_group) {
            let event = GroupEvent(reference.clone(), action, group.clone(), pids.clone());
            // One that has ended is about to be forgotten.
            let _ = cx.send(pid, event);
        }
    }

    /// A monitor is gone. Returns why the core wanted it, if it did.
    fn forget(&mut self, reference: &Reference) -> Option<Watch> {
        match self.monitored.remove(reference)? {
            Monitored::Watch(watch) => {
                self.watches.remove(&watch);
                if let Watch::Peer(peer) = &watch {
                    self.met_over.remove(peer);
                }
                return Some(watch);
            }
            Monitored::ByScope => {
                self.scope_monitors.remove(reference);
            }
            Monitored::ByGroup(group) => {
                if let Some(monitors) = self.group_monitors.get_mut(&group) {
                    monitors.remove(reference);
                    if monitors.is_empty() {
                        self.group_monitors.remove(&group);
                    }
                }
            }
        }
        None
    }
}

fn connection(node: &Atom, cx: &Context<Scope>) -> Option<ConnectionId> {
    cx.local().distribution()?.connection_to(node)
}

/// Sends over a connection; or to a process of this node, that others may take for a scope.
fn send(to: Destination, over: Option<ConnectionId>, message: &Message, cx: &Context<Scope>) {
    const GEN_CAST: Atom = Atom::from_static("$gen_cast");
    let sent = match (message, over) {
        (Message::Sync(..), Some(over)) => cx.send_over(over, &to, &(GEN_CAST, message)),
        (Message::Sync(..), None) => cx.cast(to, message),
        (_, Some(over)) => cx.send_over(over, &to, message),
        (_, None) => cx.send(to, message.clone()),
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "a scope of pg is not told");
    }
}
