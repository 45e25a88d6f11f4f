//! Control messages out.

use crate::etf::{EncodeError, Writer};
use crate::term::{Atom, Pid};

use super::super::channel::OutgoingError;
use super::super::{Flags, VERSION_MAGIC};
use super::{Control, Item, SpawnRequest, Target, altact, op, spawned};

/// Where a control message's payload goes.
enum Last<'a, P> {
    /// There is none.
    Nothing,
    /// It is the tuple's last element.
    Within(&'a P),
    /// It follows the tuple.
    After(&'a P),
}

impl<P> Control<P> {
    /// Writes the control tuple in the newest form that `flags` allow, and the payload. Returns how many bytes belong to the control
    /// message.
    pub(crate) fn encode(
        &self,
        flags: Flags,
        w: &mut Writer,
        payload: impl FnOnce(&P, &mut Writer) -> Result<(), EncodeError>,
    ) -> Result<usize, OutgoingError> {
        // Without a distribution header, each term has a version byte of its own.
        let version = !flags.header();
        if version {
            w.raw(&[VERSION_MAGIC]);
        }
        let last = self.encode_tuple(flags, w)?;
        match last {
            Last::Nothing => Ok(w.len()),
            Last::Within(reason) => {
                payload(reason, w)?;
                Ok(w.len())
            }
            Last::After(message) => {
                let control_len = w.len();
                if version {
                    w.raw(&[VERSION_MAGIC]);
                }
                payload(message, w)?;
                Ok(control_len)
            }
        }
    }

    fn encode_tuple(&self, flags: Flags, w: &mut Writer) -> Result<Last<'_, P>, OutgoingError> {
        let need = |flag| if flags.contains(flag) { Ok(()) } else { Err(OutgoingError::NotAgreed(flag)) };
        let reason = |reason| {
            if flags.contains(Flags::EXIT_PAYLOAD) { Last::After(reason) } else { Last::Within(reason) }
        };
        // The newer operation, with its reason after the tuple, or the older one with a tuple that is longer by it.
        let exit = |w: &mut Writer, new, old, len| {
            if flags.contains(Flags::EXIT_PAYLOAD) { begin(w, new, len) } else { begin(w, old, len + 1) }
        };
        Ok(match self {
            Self::Send { from, to, message, priority } => {
                let no_one = Pid { node: Atom::from_static(""), id: 0, serial: 0, creation: 0 };
                let known = from.as_ref();
                match (to, known) {
                    (_, Some(from)) if *priority && flags.contains(Flags::ALTACT_SIG) => {
                        altact_sig(w, altact::PRIORITY, from, to)?;
                    }
                    (Target::Pid(to), Some(from)) if flags.contains(Flags::SEND_SENDER) => {
                        begin(w, op::SEND_SENDER, 3)?;
                        w.pid(from);
                        w.pid(to);
                    }
                    (Target::Pid(to), _) => {
                        begin(w, op::SEND, 3)?;
                        w.atom(&UNUSED);
                        w.pid(to);
                    }
                    (Target::Name(name), from) => {
                        begin(w, op::REG_SEND, 4)?;
                        w.pid(from.unwrap_or(&no_one));
                        w.atom(&UNUSED);
                        w.atom(name);
                    }
                    (Target::Alias(alias), from) => {
                        need(Flags::ALIAS)?;
                        begin(w, op::ALIAS_SEND, 3)?;
                        w.pid(from.unwrap_or(&no_one));
                        w.reference(alias);
                    }
                }
                Last::After(message)
            }
            Self::Link { from, to } => {
                begin(w, op::LINK, 3)?;
                w.pid(from);
                w.pid(to);
                Last::Nothing
            }
            Self::UnlinkId { id, from, to } if flags.contains(Flags::UNLINK_ID) => {
                begin(w, op::UNLINK_ID, 4)?;
                w.unsigned(id.get());
                w.pid(from);
                w.pid(to);
                Last::Nothing
            }
            Self::Unlink { from, to } | Self::UnlinkId { from, to, .. } => {
                begin(w, op::UNLINK, 3)?;
                w.pid(from);
                w.pid(to);
                Last::Nothing
            }
            Self::UnlinkIdAck { id, from, to } => {
                need(Flags::UNLINK_ID)?;
                begin(w, op::UNLINK_ID_ACK, 4)?;
                w.unsigned(id.get());
                w.pid(from);
                w.pid(to);
                Last::Nothing
            }
            Self::Exit { from, to, reason: why } => {
                exit(w, op::PAYLOAD_EXIT, op::EXIT, 3)?;
                w.pid(from);
                w.pid(to);
                reason(why)
            }
            Self::Exit2 { from, to, reason: why, priority } => match to {
                Target::Pid(to) if !(*priority && flags.contains(Flags::ALTACT_SIG)) => {
                    exit(w, op::PAYLOAD_EXIT2, op::EXIT2, 3)?;
                    w.pid(from);
                    w.pid(to);
                    reason(why)
                }
                _ => {
                    need(Flags::ALTACT_SIG)?;
                    let priority = if *priority { altact::PRIORITY } else { 0 };
                    altact_sig(w, altact::EXIT | priority, from, to)?;
                    Last::After(why)
                }
            },
            Self::GroupLeader { leader, to } => {
                begin(w, op::GROUP_LEADER, 3)?;
                w.pid(leader);
                w.pid(to);
                Last::Nothing
            }
            Self::Monitor { from, item, reference } | Self::Demonitor { from, item, reference } => {
                let demonitor = matches!(self, Self::Demonitor { .. });
                begin(w, if demonitor { op::DEMONITOR_P } else { op::MONITOR_P }, 4)?;
                w.pid(from);
                encode_item(w, item);
                w.reference(reference);
                Last::Nothing
            }
            Self::MonitorExit { item, to, reference, reason: why } => {
                exit(w, op::PAYLOAD_MONITOR_P_EXIT, op::MONITOR_P_EXIT, 4)?;
                encode_item(w, item);
                w.pid(to);
                w.reference(reference);
                reason(why)
            }
            Self::SpawnRequest(request) => {
                let SpawnRequest { id, from, group_leader, module, function, arity, options, arguments } =
                    &**request;
                need(Flags::SPAWN)?;
                begin(w, op::SPAWN_REQUEST, 6)?;
                w.reference(id);
                w.pid(from);
                w.pid(group_leader);
                w.tuple(3)?;
                w.atom(module);
                w.atom(function);
                w.integer((*arity).into());
                options.write(w);
                Last::After(arguments)
            }
            Self::SpawnReply { id, to, link, monitor, result } => {
                need(Flags::SPAWN)?;
                begin(w, op::SPAWN_REPLY, 5)?;
                w.reference(id);
                w.pid(to);
                let link = if *link { spawned::LINK } else { 0 };
                let monitor = if *monitor { spawned::MONITOR } else { 0 };
                w.integer(link | monitor);
                match result {
                    Ok(pid) => w.pid(pid),
                    Err(error) => w.atom(error),
                }
                Last::Nothing
            }
        })
    }
}

/// What a tuple has in the place that once held a cookie.
const UNUSED: Atom = Atom::from_static("");

fn begin(w: &mut Writer, operation: u8, len: usize) -> Result<(), EncodeError> {
    w.tuple(len)?;
    w.integer(operation.into());
    Ok(())
}

fn altact_sig(w: &mut Writer, flags: i64, from: &Pid, to: &Target) -> Result<(), EncodeError> {
    begin(w, op::ALTACT_SIG_SEND, 4)?;
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
    Ok(())
}

fn encode_item(w: &mut Writer, item: &Item) {
    match item {
        Item::Pid(pid) => w.pid(pid),
        Item::Name(name) => w.atom(name),
    }
}
