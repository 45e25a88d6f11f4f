//! Signals from other nodes, on their way to the processes of this one.

use super::Inner;
use super::connection::Connection;
use crate::dist::{self, channel::Outgoing};
use crate::dist::{Control, Item, Target};
use crate::etf::Payload;
use crate::process::{
    AnyProcess, ExitReason, Found, Pushed, Relation, SpawnReply, SpawnRequest, Taking, is_reference_of,
};
use crate::term::{Pid, Reference};
use std::hint::cold_path;
use std::sync::Arc;

/// So many messages are queued together at most: whom they are for is not to wait for long.
const TOGETHER: usize = 32;

/// What the reader of a connection has from one signal to the next.
#[derive(Default)]
pub(super) struct Incoming {
    /// Whom the last name stood for.
    named: Option<Found>,
    /// Whom the last message to a pid or an alias was for, or those are for that are queued together.
    known: Option<Arc<dyn AnyProcess>>,
    /// Whether messages that are for it as well are queued together: the last two were, and have come with more.
    together: bool,
    messages: Vec<Payload>,
}

impl Inner {
    /// Acts on a signal from the peer, and takes it from its place: of a message the message alone, as the next one may have the rest in common
    /// with it. Signals to nobody are dropped, but a link or a monitor is answered. `again` is whether it is a message to the same process or
    /// name as the last one, or like that to an alias, and `more` whether more has come, which may be others.
    #[inline]
    pub(super) fn receive(
        &self,
        connection: &Connection,
        signal: &mut Option<Control>,
        again: bool,
        more: bool,
        incoming: &mut Incoming,
    ) {
        if incoming.together {
            cold_path();
            if again && let Some(Control::Send { message, .. }) = &mut *signal {
                incoming.messages.push(std::mem::replace(message, Payload::none()));
                if incoming.messages.len() == TOGETHER {
                    self.deliver_together(incoming);
                }
                return;
            }
            self.deliver(incoming);
        }
        match signal {
            Some(Control::Send { to, message, priority, .. }) => {
                let message = std::mem::replace(message, Payload::none());
                // From the third of its kind on: most messages are not one of many.
                self.message(to, message, *priority, again && more, incoming);
                return;
            }
            Some(Control::Monitor { from, item, reference }) => {
                self.monitor(connection, from, item, reference, &mut incoming.named);
            }
            Some(Control::Demonitor { from, item, reference }) => {
                self.demonitor(connection, from, item, reference);
            }
            _ => {
                if let Some(signal) = signal.take() {
                    self.receive_rarer(connection, signal);
                }
            }
        }
        *signal = None;
    }

    /// Delivers a message, which others may `follow` to the same process.
    #[inline(always)]
    fn message(&self, to: &Target, message: Payload, priority: bool, follow: bool, incoming: &mut Incoming) {
        let (local, Incoming { named, known, together, .. }) = (&self.local, incoming);
        let (process, nobody) = match to {
            Target::Pid(pid) => {
                if known.as_ref().is_none_or(|known| known.pid() != pid) {
                    cold_path();
                    *known = local.process(pid);
                }
                (known.as_ref(), "no such process")
            }
            Target::Name(name) => {
                let process = local.names.get_again(name, named);
                if follow {
                    *known = process.cloned();
                }
                (process, "no such name")
            }
            Target::Alias(alias) => {
                if known.as_ref().is_none_or(|known| !is_reference_of(alias, known.pid())) {
                    cold_path();
                    *known = local.process_of_alias(alias);
                }
                let taking = if priority { Taking::Priority } else { Taking::Message };
                let pushed = known
                    .as_ref()
                    .map_or(Pushed::Ended, |process| process.push_to_alias(alias, message, taking));
                return local.delivered(pushed, "no such alias");
            }
        };
        let pushed = process.map_or(Pushed::Ended, |process| process.push_term(message));
        *together = follow && process.is_some();
        local.delivered(pushed, nobody);
    }

    /// Delivers what is to be queued together: the next signal may go to another.
    #[inline]
    pub(super) fn deliver(&self, incoming: &mut Incoming) {
        if incoming.together {
            cold_path();
            self.deliver_together(incoming);
            incoming.together = false;
        }
    }

    #[inline(never)]
    fn deliver_together(&self, Incoming { known, together, messages, .. }: &mut Incoming) {
        let Some(process) = known else { return };
        if messages.is_empty() {
            return;
        }
        process.push_terms(messages, &mut |pushed| {
            // Another may have its name by now.
            *together &= !matches!(pushed, Pushed::Ended);
            self.local.delivered(pushed, "no such process");
        });
    }

    fn receive_rarer(&self, connection: &Connection, signal: Control) {
        let local = &self.local;
        match signal {
            Control::Send { .. } | Control::Monitor { .. } | Control::Demonitor { .. } => {
                debug_assert!(false, "not among the rarer ones");
            }
            Control::Link { from, to } => {
                let link = Relation::Link { from: from.clone(), connection: Some(connection.id) };
                if !relate(connection, local.process(&to), link) {
                    local.send_link_exit(&to, &from, &ExitReason::NoProc);
                }
            }
            Control::Unlink { from, to } => {
                // Its oldest form: nobody waits for an acknowledgement.
                let _ = local.deliver_relation(&to, Relation::Unlink { from, id: 0 });
            }
            Control::UnlinkId { id, from, to } => {
                let unlink = Relation::Unlink { from: from.clone(), id: id.get() };
                if local.deliver_relation(&to, unlink).is_err() {
                    local.send_unlink_ack(&to, &from, id.get());
                }
            }
            Control::UnlinkIdAck { id, from, to } => {
                let _ = local.deliver_relation(&to, Relation::UnlinkAck { from, id: id.get() });
            }
            Control::Exit { from, to, reason } => {
                let reason = exit_reason(&reason);
                let _ = local.deliver_relation(&to, Relation::LinkExit { from, reason });
            }
            Control::Exit2 { from, to, reason, .. } => {
                let process = match &to {
                    Target::Pid(pid) => local.process(pid),
                    Target::Name(name) => local.names.get(name),
                    Target::Alias(alias) => local.process_of_alias(alias),
                };
                if let Some(process) = process {
                    let exit = Relation::Exit { from, reason: exit_reason(&reason) };
                    let _ = process.push_relation(Box::new(exit));
                }
            }
            Control::MonitorExit { to, reference, .. }
                if to.id == 0 && to.serial == 0 && connection.answered(&reference) => {}
            Control::MonitorExit { to, reference, reason, .. } => {
                let reason = exit_reason(&reason);
                let _ = local.deliver_relation(&to, Relation::Down { reference, reason });
            }
            Control::SpawnRequest(request) => {
                let dist::SpawnRequest {
                    id, from, group_leader, module, function, options, arguments, ..
                } = *request;
                let options = options.term();
                let (reference, to) = (id.clone(), from.clone());
                let request = SpawnRequest { id, from, group_leader, module, function, options, arguments };
                local.spawn_requested(request, Some(connection.id), |reply| {
                    answer_spawn(connection, reference, to, reply);
                });
            }
            Control::GroupLeader { leader, to } => {
                let _ = local.deliver_relation(&to, Relation::GroupLeader { leader });
            }
            Control::SpawnReply { id, to, link, monitor, result } => {
                let reply = SpawnReply { link, monitor, result };
                let connection = Some(connection.id);
                let reply = Relation::SpawnReply { reference: id, reply, connection };
                if let Err(reply) = local.deliver_relation(&to, reply)
                    && let Relation::SpawnReply { reference, reply, .. } = *reply
                {
                    local.abandon_spawned(&to, &reference, &reply, "noproc");
                }
            }
        }
    }

    #[hot(relations)]
    fn monitor(
        &self,
        connection: &Connection,
        from: &Pid,
        item: &Item,
        reference: &Reference,
        named: &mut Option<Found>,
    ) {
        let (process, name) = match item {
            Item::Pid(pid) => (self.local.process(pid), None),
            Item::Name(name) => (self.local.names.get_again(name, named).cloned(), Some(name)),
        };
        if let (Some(process), Some(_)) = (&process, name) {
            // The name may stand for another process by the time of the demonitor.
            connection.remember_name_monitor(reference, process.pid());
        }
        let watch = Relation::Monitor {
            from: from.clone(),
            reference: reference.clone(),
            name: name.cloned(),
            connection: Some(connection.id),
        };
        if !relate(connection, process, watch) {
            if let Some(name) = name.filter(|name| **name == "undefined") {
                return connection.answer(name, from, reference);
            }
            let pid = match item {
                Item::Pid(pid) => pid.clone(),
                Item::Name(_) => self.local.pid(0, 0),
            };
            connection.forget_name_monitor(reference);
            self.local.send_down(&pid, name, from, reference, &ExitReason::NoProc);
        }
    }

    #[hot(relations)]
    fn demonitor(&self, connection: &Connection, from: &Pid, item: &Item, reference: &Reference) {
        let named;
        let pid = match item {
            Item::Pid(pid) => pid,
            Item::Name(_) => {
                let Some(pid) = connection.forget_name_monitor(reference) else { return };
                named = pid;
                &named
            }
        };
        let demonitor = Relation::Demonitor { from: from.clone(), reference: reference.clone() };
        let _ = self.local.deliver_relation(pid, demonitor);
    }
}

/// Before the new process runs, which has relations to one of the peer's.
fn answer_spawn(connection: &Connection, id: Reference, to: Pid, reply: SpawnReply) {
    let SpawnReply { link, monitor, result } = reply;
    if let Ok(pid) = &result
        && (link || monitor)
    {
        connection.interest(pid);
    }
    let reply = Control::SpawnReply { id, to, link, monitor, result };
    match Outgoing::forward(connection.flags, None, &reply) {
        Ok(outgoing) => drop(connection.push(outgoing)),
        Err(error) => tracing::error!(peer = %connection.peer, %error, "a spawn request is not answered"),
    }
}

/// Has a process related to one of the peer's, so that it hears of the connection's loss. Returns whether there is such a
/// process.
#[hot(relations)]
fn relate(connection: &Connection, process: Option<Arc<dyn AnyProcess>>, relation: Relation) -> bool {
    let Some(process) = process else { return false };
    // Before the process can act on it.
    connection.interest(process.pid());
    let related = process.push_relation(Box::new(relation)).is_ok();
    if !related {
        connection.forget(process.pid());
    }
    related
}

fn exit_reason(reason: &Payload) -> ExitReason {
    ExitReason::from(reason.term())
}
