//! What the signals that are not messages do to a process.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::bound::{Counted, Permit};
use super::functions::SpawnReply;
use super::relations::{Monitor, Monitored};
use super::{ConnectionId, ExitReason, Received, Relation, Shared, Signal, call};
use crate::etf::Payload;
use crate::term::{Atom, Pid, Reference, Term};

const EXIT: Atom = Atom::from_static("EXIT");
const DOWN: Atom = Atom::from_static("DOWN");
const MAILBOX_FULL: Atom = Atom::from_static("mailbox_full");
const NOCONNECTION: Atom = Atom::from_static("noconnection");
const PROCESS: Atom = Atom::from_static("process");

/// Applies the relations among `signals` in order; the first `messages` of them are none. What they have to tell the process
/// stays as a message in their place.
///
/// Returns the reason if one of them ends the process; nothing after it is applied then.
#[hot(relations)]
pub(super) fn apply_all<M>(
    shared: &Shared,
    signals: &mut VecDeque<Signal<M>>,
    messages: usize,
) -> Option<ExitReason> {
    // Those behind the messages come to the front, and what is left of them goes behind the messages again.
    let relations = signals.len() - messages;
    signals.rotate_left(messages);
    for left in (0..relations).rev() {
        let Some(signal) = signals.pop_front() else { break };
        let Signal::Relation(relation) = signal else {
            signals.push_back(signal);
            continue;
        };
        let relation = match *relation {
            Relation::Alias { alias, message, priority, permit } => {
                signals.extend(through_alias(shared, &alias, message, priority, permit));
                continue;
            }
            relation => relation,
        };
        let exit = apply(shared, relation, &mut |message| signals.push_back(Signal::Term(message)));
        if exit.is_some() {
            signals.rotate_left(left);
            return exit;
        }
    }
    None
}

/// The message, if the alias is active, and it is no priority message, which has a queue of its own.
fn through_alias<M>(
    shared: &Shared,
    alias: &Reference,
    message: Payload,
    priority: bool,
    permit: Option<Permit>,
) -> Option<Signal<M>> {
    let message = call::give_reply(shared, message).err()?;
    let alias = shared.with_relations(|relations| relations.takes_priority(alias)).flatten();
    let Some(takes_priority) = alias else {
        shared.local.count_dropped("inactive alias");
        return None;
    };
    if priority && takes_priority {
        shared.push_priority(message, permit);
        return None;
    }
    Some(match permit {
        None => Signal::Term(message),
        Some(permit) => Signal::Counted(Box::new(Counted { message: Received::Term(message), permit })),
    })
}

fn mailbox_full(bound: usize) -> ExitReason {
    let bound = Term::from(u64::try_from(bound).unwrap_or(u64::MAX));
    ExitReason::Term(Term::tuple([MAILBOX_FULL.into(), bound]))
}

#[hot(relations)]
fn apply(shared: &Shared, relation: Relation, deliver: &mut dyn FnMut(Payload)) -> Option<ExitReason> {
    match relation {
        Relation::Link { from, connection } => {
            shared.relations(|relations| relations.link_received(from, connection));
        }
        Relation::Unlink { from, id } => {
            // Before anything else that could be sent to that pid.
            shared.local.send_unlink_ack(&shared.pid, &from, id);
            if !shared.local.world.planted("half-unlink") {
                shared.with_relations(|relations| relations.unlink_received(&from));
            }
        }
        Relation::UnlinkAck { from, id } => {
            shared.with_relations(|relations| relations.unlink_acknowledged(&from, id));
        }
        Relation::LinkExit { from, reason } => {
            if shared.with_relations(|relations| relations.link_exited(&from)) == Some(true) {
                if shared.local.world.planted("link-kept") {
                    shared.relations(|relations| relations.link_received(from.clone(), None));
                }
                return link_exit(shared, &from, reason, deliver);
            }
        }
        Relation::Exit { reason: ExitReason::Kill, .. } => return Some(ExitReason::Killed),
        Relation::Exit { from, reason } => {
            if shared.trap_exit.load(Ordering::Relaxed) {
                encode(deliver, &(EXIT, &from, &reason));
            } else if reason != ExitReason::Normal || from == shared.pid {
                return Some(reason);
            }
        }
        Relation::Monitor { from, reference, name, connection } => {
            shared.relations(|relations| relations.watch(from, reference, name, connection));
        }
        Relation::Demonitor { from, reference } => {
            shared.with_relations(|relations| relations.unwatch(&from, &reference));
        }
        Relation::Down { reference, reason } => down(shared, &reference, reason, deliver),
        Relation::Alias { .. } => debug_assert!(false, "a message"),
        Relation::MailboxFull { bound } => return Some(mailbox_full(bound)),
        Relation::GroupLeader { leader } => shared.set_group_leader(leader),
        Relation::SpawnReply { reference, reply, connection } => {
            spawn_reply(shared, &reference, reply, connection);
        }
        Relation::NoConnection { connection } => {
            let lost = shared.with_relations(|relations| relations.connection_lost(connection))?;
            for caller in lost.spawns {
                caller.give(Err(NOCONNECTION));
            }
            let mut exit = None;
            for pid in lost.links {
                exit = exit.or(link_exit(shared, &pid, ExitReason::NoConnection, deliver));
            }
            for reference in lost.monitors {
                down(shared, &reference, ExitReason::NoConnection, deliver);
            }
            return exit;
        }
    }
    None
}

fn spawn_reply(shared: &Shared, reference: &Reference, reply: SpawnReply, connection: Option<ConnectionId>) {
    let caller = shared.with_relations(|relations| relations.take_spawn(reference)).flatten();
    let Some(caller) = caller.filter(|caller| !caller.is_abandoned()) else {
        shared.local.abandon_spawned(&shared.pid, reference, &reply, "abandoned");
        return;
    };
    if let Ok(pid) = &reply.result {
        shared.relations(|relations| {
            if reply.link {
                relations.link_received(pid.clone(), connection);
            }
            if reply.monitor {
                let target = Monitored::Process(pid.clone());
                relations.monitor(reference.clone(), Monitor { target, bound: None, connection: None });
                relations.monitor_over(reference, connection, None);
            }
        });
    }
    caller.give(reply.result);
}

fn link_exit(
    shared: &Shared,
    from: &Pid,
    reason: ExitReason,
    deliver: &mut dyn FnMut(Payload),
) -> Option<ExitReason> {
    if shared.trap_exit.load(Ordering::Relaxed) {
        encode(deliver, &(EXIT, from, &reason));
        None
    } else {
        (reason != ExitReason::Normal).then_some(reason)
    }
}

fn down(shared: &Shared, reference: &Reference, reason: ExitReason, deliver: &mut dyn FnMut(Payload)) {
    if let Some(Some(caller)) = shared.with_relations(|relations| relations.call_down(reference)) {
        if let Some(caller) = caller {
            // A caller that has gone has its answer already: a timeout.
            caller.give(Err(reason));
        }
        return;
    }
    let Some(Some(monitor)) = shared.with_relations(|relations| relations.demonitor(reference)) else {
        return;
    };
    if shared.local.world.planted("second-down") {
        let Monitor { target, bound, connection } = &monitor;
        let kept = Monitor { target: target.clone(), bound: bound.clone(), connection: *connection };
        shared.relations(|relations| relations.monitor(reference.clone(), kept));
    }
    match &monitor.target {
        Monitored::Process(pid) => encode(deliver, &(DOWN, reference, PROCESS, pid, &reason)),
        Monitored::Name(name, node) => encode(deliver, &(DOWN, reference, PROCESS, (name, node), &reason)),
    }
}

fn encode(deliver: &mut dyn FnMut(Payload), message: &impl Serialize) {
    match Payload::encode(message) {
        Ok(message) => deliver(message),
        Err(error) => tracing::error!(%error, "an exit reason has no external form"),
    }
}
