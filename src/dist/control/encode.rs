//! Control messages out.

use std::hint::cold_path;

use crate::etf::{EncodeError, Writer};
use crate::term::{Atom, Pid};

use super::super::channel::OutgoingError;
use super::super::{Flags, VERSION_MAGIC};
use super::{Control, Item, SpawnRequest, Target, altact, op, spawned};

/// What follows a control tuple, or ends it.
#[must_use = "the signal is not whole without its payload"]
pub(crate) enum Follows<'a, P> {
    /// Nothing.
    Nothing,
    /// A payload that is the tuple's last element.
    Within(&'a P),
    /// A payload after the tuple.
    After(&'a P),
}

impl<P> Follows<'_, P> {
    /// Writes the payload. Returns how many bytes belong to the control message.
    #[inline]
    pub(crate) fn encode(
        self,
        flags: Flags,
        w: &mut Writer,
        payload: impl FnOnce(&P, &mut Writer) -> Result<(), EncodeError>,
    ) -> Result<usize, OutgoingError> {
        match self {
            Self::Nothing => Ok(w.len()),
            Self::Within(reason) => {
                payload(reason, w)?;
                Ok(w.len())
            }
            Self::After(message) => {
                let control_len = w.len();
                version(flags, w);
                payload(message, w)?;
                Ok(control_len)
            }
        }
    }
}

/// Without a distribution header, each term has a version byte of its own.
#[inline]
fn version(flags: Flags, w: &mut Writer) {
    if !flags.header() {
        cold_path();
        w.raw(&[VERSION_MAGIC]);
    }
}

impl<P> Control<P> {
    /// Writes the control tuple in the newest form that `flags` allow.
    pub(crate) fn encode(&self, flags: Flags, w: &mut Writer) -> Result<Follows<'_, P>, OutgoingError> {
        version(flags, w);
        let need = |flag| if flags.contains(flag) { Ok(()) } else { Err(OutgoingError::NotAgreed(flag)) };
        let reason = |reason| {
            if flags.contains(Flags::EXIT_PAYLOAD) { Follows::After(reason) } else { Follows::Within(reason) }
        };
        // The newer operation, with its reason after the tuple, or the older one with a tuple that is longer by it.
        let exit = |w: &mut Writer, new, old, len| {
            if flags.contains(Flags::EXIT_PAYLOAD) {
                w.operation(len, new)
            } else {
                w.operation(len + 1, old)
            }
        };
        // What is sent over a connection has a sender, but for what the node itself sends.
        let pid_or_none = |w: &mut Writer, from: Option<&Pid>| match from {
            Some(from) => w.pid(from),
            None => {
                cold_path();
                w.pid(&Pid { node: Atom::from_static(""), id: 0, serial: 0, creation: 0 });
            }
        };
        Ok(match self {
            Self::Send { from, to, message, priority } => {
                let known = from.as_ref();
                match (to, known) {
                    (_, Some(from)) if *priority && flags.contains(Flags::ALTACT_SIG) => {
                        cold_path();
                        altact_sig(w, altact::PRIORITY, from, to);
                    }
                    (Target::Pid(to), Some(from)) if flags.contains(Flags::SEND_SENDER) => {
                        w.operation(3, op::SEND_SENDER);
                        w.pid(from);
                        w.pid(to);
                    }
                    (Target::Pid(to), _) => {
                        w.operation(3, op::SEND);
                        w.atom(&UNUSED);
                        w.pid(to);
                    }
                    (Target::Name(name), from) => {
                        w.operation(4, op::REG_SEND);
                        pid_or_none(w, from);
                        w.atom(&UNUSED);
                        w.atom(name);
                    }
                    (Target::Alias(alias), from) => {
                        need(Flags::ALIAS)?;
                        w.operation(3, op::ALIAS_SEND);
                        pid_or_none(w, from);
                        w.reference(alias);
                    }
                }
                Follows::After(message)
            }
            Self::Link { from, to } => {
                w.operation(3, op::LINK);
                w.pid(from);
                w.pid(to);
                Follows::Nothing
            }
            Self::UnlinkId { id, from, to } if flags.contains(Flags::UNLINK_ID) => {
                w.operation(4, op::UNLINK_ID);
                w.unsigned(id.get());
                w.pid(from);
                w.pid(to);
                Follows::Nothing
            }
            Self::Unlink { from, to } | Self::UnlinkId { from, to, .. } => {
                w.operation(3, op::UNLINK);
                w.pid(from);
                w.pid(to);
                Follows::Nothing
            }
            Self::UnlinkIdAck { id, from, to } => {
                need(Flags::UNLINK_ID)?;
                w.operation(4, op::UNLINK_ID_ACK);
                w.unsigned(id.get());
                w.pid(from);
                w.pid(to);
                Follows::Nothing
            }
            Self::Exit { from, to, reason: why } => {
                exit(w, op::PAYLOAD_EXIT, op::EXIT, 3);
                w.pid(from);
                w.pid(to);
                reason(why)
            }
            Self::Exit2 { from, to, reason: why, priority } => match to {
                Target::Pid(to) if !(*priority && flags.contains(Flags::ALTACT_SIG)) => {
                    exit(w, op::PAYLOAD_EXIT2, op::EXIT2, 3);
                    w.pid(from);
                    w.pid(to);
                    reason(why)
                }
                _ => {
                    need(Flags::ALTACT_SIG)?;
                    let priority = if *priority { altact::PRIORITY } else { 0 };
                    altact_sig(w, altact::EXIT | priority, from, to);
                    Follows::After(why)
                }
            },
            Self::GroupLeader { leader, to } => {
                w.operation(3, op::GROUP_LEADER);
                w.pid(leader);
                w.pid(to);
                Follows::Nothing
            }
            Self::Monitor { from, item, reference } | Self::Demonitor { from, item, reference } => {
                let demonitor = matches!(self, Self::Demonitor { .. });
                w.operation(4, if demonitor { op::DEMONITOR_P } else { op::MONITOR_P });
                w.pid(from);
                encode_item(w, item);
                w.reference(reference);
                Follows::Nothing
            }
            Self::MonitorExit { item, to, reference, reason: why } => {
                exit(w, op::PAYLOAD_MONITOR_P_EXIT, op::MONITOR_P_EXIT, 4);
                encode_item(w, item);
                w.pid(to);
                w.reference(reference);
                reason(why)
            }
            Self::SpawnRequest(request) => {
                let SpawnRequest { id, from, group_leader, module, function, arity, options, arguments } =
                    &**request;
                need(Flags::SPAWN)?;
                w.operation(6, op::SPAWN_REQUEST);
                w.reference(id);
                w.pid(from);
                w.pid(group_leader);
                w.tuple(3)?;
                w.atom(module);
                w.atom(function);
                w.integer((*arity).into());
                options.write(w);
                Follows::After(arguments)
            }
            Self::SpawnReply { id, to, link, monitor, result } => {
                need(Flags::SPAWN)?;
                w.operation(5, op::SPAWN_REPLY);
                w.reference(id);
                w.pid(to);
                let link = if *link { spawned::LINK } else { 0 };
                let monitor = if *monitor { spawned::MONITOR } else { 0 };
                w.integer(link | monitor);
                match result {
                    Ok(pid) => w.pid(pid),
                    Err(error) => w.atom(error),
                }
                Follows::Nothing
            }
        })
    }
}

/// What a tuple has in the place that once held a cookie.
const UNUSED: Atom = Atom::from_static("");

fn altact_sig(w: &mut Writer, flags: i64, from: &Pid, to: &Target) {
    w.operation(4, op::ALTACT_SIG_SEND);
    match to {
        Target::Pid(to) => {
            w.integer(flags);
            w.pid(from);
            w.pid(to);
        }
        Target::Name(name) => {
            w.integer(flags | altact::NAME);
            w.pid(from);
            w.atom(name);
        }
        Target::Alias(alias) => {
            w.integer(flags | altact::ALIAS);
            w.pid(from);
            w.reference(alias);
        }
    }
}

fn encode_item(w: &mut Writer, item: &Item) {
    match item {
        Item::Pid(pid) => w.pid(pid),
        Item::Name(name) => w.atom(name),
    }
}
