//! Control messages in.

use std::hint::cold_path;
use std::num::NonZeroU64;

use bytes::Bytes;

use crate::etf::{DecodeError, Limits, Payload, Reader, Token};
use crate::term::{Atom, Pid, Reference};

use super::super::Flags;
use super::{Control, Item, SpawnRequest, Target, altact, op, spawned};

/// A control message that breaks the protocol: the connection must be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Its bytes are not a term.
    #[error("undecodable control message: {0}")]
    Undecodable(#[from] DecodeError),
    /// It is no tuple that begins with a small integer.
    #[error("a control message that is no tuple with an operation")]
    NoOperation,
    /// Its operation is unknown, or has been withdrawn from the protocol.
    #[error("control operation {0} is unknown")]
    UnknownOperation(u8),
    /// Its operation may only be used if both ends have agreed on it.
    #[error("control operation {0} was not agreed on")]
    NotAgreed(u8),
    /// Its tuple has a wrong number of elements.
    #[error("control operation {operation} with a tuple of {len} elements")]
    Arity {
        /// The operation.
        operation: u8,
        /// The elements, that of the operation included.
        len: usize,
    },
    /// An element has the wrong type or an impossible value.
    #[error("control operation {operation} with something else than {expected}")]
    Element {
        /// The operation.
        operation: u8,
        /// What must stand there.
        expected: &'static str,
    },
    /// It claims to come from a process of another node than the peer.
    #[error("control operation {operation} from a process of {node}")]
    ForeignSender {
        /// The operation.
        operation: u8,
        /// That other node.
        node: Atom,
    },
}

/// What a control message is judged by.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    pub(crate) peer: &'a Atom,
    pub(crate) flags: Flags,
    pub(crate) limits: &'a Limits,
}

impl Control {
    /// Reads a control tuple from the front of `input` into its place, as it is too large to be moved from one result into the next;
    /// returns its length. A payload that follows it is still to be set.
    #[inline]
    #[hot(relations)]
    pub(crate) fn decode(
        input: &[u8],
        atoms: &[Atom],
        judge: &Judge<'_>,
        place: &mut Option<Self>,
    ) -> Result<usize, ControlError> {
        let mut reader = Reader::new(input, atoms);
        let (len, operation) = match reader.short_operation() {
            Some(begun) => begun,
            None => {
                cold_path();
                begin(&mut reader)?
            }
        };

        let lens = match operation {
            op::LINK | op::SEND | op::UNLINK | op::GROUP_LEADER | op::SEND_SENDER | op::PAYLOAD_EXIT => 3..=3,
            op::PAYLOAD_EXIT2 | op::ALIAS_SEND => 3..=3,
            op::EXIT | op::REG_SEND | op::EXIT2 | op::SEND_TT | op::MONITOR_P | op::DEMONITOR_P => 4..=4,
            op::SEND_SENDER_TT | op::PAYLOAD_EXIT_TT | op::PAYLOAD_EXIT2_TT => 4..=4,
            op::PAYLOAD_MONITOR_P_EXIT | op::ALIAS_SEND_TT | op::UNLINK_ID | op::UNLINK_ID_ACK => 4..=4,
            op::EXIT_TT | op::REG_SEND_TT | op::EXIT2_TT | op::MONITOR_P_EXIT | op::SPAWN_REPLY => 5..=5,
            op::SPAWN_REQUEST | op::SPAWN_REPLY_TT => 6..=6,
            op::SPAWN_REQUEST_TT => 7..=7,
            op::ALTACT_SIG_SEND => 4..=5,
            _ => return Err(ControlError::UnknownOperation(operation)),
        };
        if !lens.contains(&len) {
            cold_path();
            return Err(ControlError::Arity { operation, len });
        }
        let mut elements = Elements { reader, input, atoms, operation, judge };
        elements.control(len, place)?;
        Ok(elements.reader.offset())
    }

    /// Whether a payload follows the control tuple, and is still to be set.
    #[inline]
    #[hot(relations)]
    pub(crate) fn wants_payload(&self) -> bool {
        match self {
            Self::Send { message: payload, .. }
            | Self::Exit { reason: payload, .. }
            | Self::Exit2 { reason: payload, .. }
            | Self::MonitorExit { reason: payload, .. } => payload.is_empty(),
            Self::SpawnRequest(request) => request.arguments.is_empty(),
            _ => false,
        }
    }

    /// Puts the payload that follows in its place.
    #[inline]
    pub(crate) fn set_payload(&mut self, following: Payload) {
        if let Self::Send { message, .. } = self {
            // As below.
            return std::mem::forget(std::mem::replace(message, following));
        }
        cold_path();
        let place = match self {
            Self::Send { message: payload, .. }
            | Self::Exit { reason: payload, .. }
            | Self::Exit2 { reason: payload, .. }
            | Self::MonitorExit { reason: payload, .. } => payload,
            Self::SpawnRequest(request) => &mut request.arguments,
            _ => return,
        };
        // What was there is no term and owns nothing, which is not known where it would be dropped.
        std::mem::forget(std::mem::replace(place, following));
    }
}

/// The number of elements, and the operation, in whatever form they are.
#[cold]
fn begin(reader: &mut Reader<'_>) -> Result<(usize, u8), ControlError> {
    let Token::Tuple(len) = reader.next_token()? else { return Err(ControlError::NoOperation) };
    if len == 0 {
        return Err(ControlError::NoOperation);
    }
    let Token::Integer(operation) = reader.next_token()? else { return Err(ControlError::NoOperation) };
    Ok((len, u8::try_from(operation).map_err(|_| ControlError::NoOperation)?))
}

/// The elements of a control tuple that are still to be read.
struct Elements<'a> {
    reader: Reader<'a>,
    input: &'a [u8],
    atoms: &'a [Atom],
    operation: u8,
    judge: &'a Judge<'a>,
}

impl Elements<'_> {
    #[inline(always)]
    fn control(&mut self, len: usize, place: &mut Option<Control>) -> Result<(), ControlError> {
        *place = Some(match self.operation {
            op::LINK => Control::Link { from: self.peer_pid()?, to: self.pid()? },
            op::SEND | op::SEND_TT => {
                self.skip()?;
                let to = Target::Pid(self.pid()?);
                self.token(op::SEND_TT)?;
                Control::Send { from: None, to, message: Payload::none(), priority: false }
            }
            op::SEND_SENDER | op::SEND_SENDER_TT => {
                let from = Some(self.pid()?);
                let to = Target::Pid(self.pid()?);
                self.token(op::SEND_SENDER_TT)?;
                Control::Send { from, to, message: Payload::none(), priority: false }
            }
            op::REG_SEND | op::REG_SEND_TT => {
                let from = Some(self.pid()?);
                self.skip()?;
                let to = Target::Name(self.atom()?);
                self.token(op::REG_SEND_TT)?;
                Control::Send { from, to, message: Payload::none(), priority: false }
            }
            op::ALIAS_SEND | op::ALIAS_SEND_TT => {
                let from = Some(self.pid()?);
                let to = Target::Alias(self.reference()?);
                self.token(op::ALIAS_SEND_TT)?;
                Control::Send { from, to, message: Payload::none(), priority: false }
            }
            op::EXIT | op::EXIT_TT => {
                let (from, to) = (self.peer_pid()?, self.pid()?);
                self.token(op::EXIT_TT)?;
                Control::Exit { from, to, reason: self.payload()? }
            }
            op::PAYLOAD_EXIT | op::PAYLOAD_EXIT_TT => {
                let (from, to) = (self.peer_pid()?, self.pid()?);
                self.token(op::PAYLOAD_EXIT_TT)?;
                Control::Exit { from, to, reason: Payload::none() }
            }
            op::EXIT2 | op::EXIT2_TT => {
                let (from, to) = (self.peer_pid()?, Target::Pid(self.pid()?));
                self.token(op::EXIT2_TT)?;
                Control::Exit2 { from, to, reason: self.payload()?, priority: false }
            }
            op::PAYLOAD_EXIT2 | op::PAYLOAD_EXIT2_TT => {
                let (from, to) = (self.peer_pid()?, Target::Pid(self.pid()?));
                self.token(op::PAYLOAD_EXIT2_TT)?;
                Control::Exit2 { from, to, reason: Payload::none(), priority: false }
            }
            // Withdrawn where UNLINK_ID is agreed on: its reader could not tell a late one from a new link's.
            op::UNLINK if self.judge.flags.contains(Flags::UNLINK_ID) => {
                return Err(ControlError::NotAgreed(self.operation));
            }
            op::UNLINK => Control::Unlink { from: self.peer_pid()?, to: self.pid()? },
            op::UNLINK_ID => {
                Control::UnlinkId { id: self.unlink_id()?, from: self.peer_pid()?, to: self.pid()? }
            }
            op::UNLINK_ID_ACK => {
                Control::UnlinkIdAck { id: self.unlink_id()?, from: self.peer_pid()?, to: self.pid()? }
            }
            op::GROUP_LEADER => Control::GroupLeader { leader: self.pid()?, to: self.pid()? },
            op::MONITOR_P => {
                let (from, item, reference) = (self.peer_pid()?, self.item()?, self.reference()?);
                Control::Monitor { from, item, reference }
            }
            op::DEMONITOR_P => {
                let (from, item, reference) = (self.peer_pid()?, self.item()?, self.reference()?);
                Control::Demonitor { from, item, reference }
            }
            op::MONITOR_P_EXIT | op::PAYLOAD_MONITOR_P_EXIT => {
                let item = self.item()?;
                if let Item::Pid(from) = &item {
                    self.check_peer(from)?;
                }
                let (to, reference) = (self.pid()?, self.reference()?);
                let within = self.operation == op::MONITOR_P_EXIT;
                let reason = if within { self.payload()? } else { Payload::none() };
                Control::MonitorExit { item, to, reference, reason }
            }
            op::SPAWN_REQUEST | op::SPAWN_REQUEST_TT => {
                let (id, from, group_leader) = (self.reference()?, self.peer_pid()?, self.pid()?);
                let Token::Tuple(3) = self.reader.next_token()? else {
                    return Err(self.element("a tuple of module, function and arity"));
                };
                let (module, function) = (self.atom()?, self.atom()?);
                let arity = u8::try_from(self.integer()?).map_err(|_| self.element("an arity"))?;
                let options = self.payload()?;
                self.token(op::SPAWN_REQUEST_TT)?;
                let arguments = Payload::none();
                let request =
                    SpawnRequest { id, from, group_leader, module, function, arity, options, arguments };
                Control::SpawnRequest(Box::new(request))
            }
            op::SPAWN_REPLY | op::SPAWN_REPLY_TT => {
                let (id, to, flags) = (self.reference()?, self.pid()?, self.integer()?);
                let result = match self.reader.next_token()? {
                    Token::Pid(pid) => Ok(pid),
                    Token::Atom(error) => Err(error),
                    _ => return Err(self.element("a pid or an atom")),
                };
                self.token(op::SPAWN_REPLY_TT)?;
                let (link, monitor) = (flags & spawned::LINK != 0, flags & spawned::MONITOR != 0);
                Control::SpawnReply { id, to, link, monitor, result }
            }
            // The operation is one of those that have an arity.
            _ => self.altact_sig(len)?,
        });
        Ok(())
    }

    #[inline(never)]
    fn altact_sig(&mut self, len: usize) -> Result<Control, ControlError> {
        if !self.judge.flags.contains(Flags::ALTACT_SIG) {
            return Err(ControlError::NotAgreed(self.operation));
        }
        let flags = self.integer()?;
        let has = |flag| flags & flag != 0;
        if has(altact::TOKEN) != (len == 5) {
            return Err(ControlError::Arity { operation: self.operation, len });
        }
        let from = if has(altact::EXIT) { self.peer_pid()? } else { self.pid()? };
        let to = match (has(altact::ALIAS), has(altact::NAME)) {
            (false, false) => Target::Pid(self.pid()?),
            (true, false) => Target::Alias(self.reference()?),
            (false, true) => Target::Name(self.atom()?),
            (true, true) => return Err(self.element("flags for one kind of receiver")),
        };
        if len == 5 {
            self.skip()?;
        }
        let priority = has(altact::PRIORITY);
        Ok(if has(altact::EXIT) {
            Control::Exit2 { from, to, reason: Payload::none(), priority }
        } else {
            Control::Send { from: Some(from), to, message: Payload::none(), priority }
        })
    }

    #[cold]
    fn element(&self, expected: &'static str) -> ControlError {
        ControlError::Element { operation: self.operation, expected }
    }

    #[inline]
    fn pid(&mut self) -> Result<Pid, ControlError> {
        if let Some(pid) = self.reader.short_pid() {
            return Ok(pid);
        }
        cold_path();
        self.reader.pid()?.ok_or_else(|| self.element("a pid"))
    }

    /// A pid that only the peer can speak for.
    #[hot(relations)]
    fn peer_pid(&mut self) -> Result<Pid, ControlError> {
        let pid = self.pid()?;
        self.check_peer(&pid)?;
        Ok(pid)
    }

    #[hot(relations)]
    fn check_peer(&self, pid: &Pid) -> Result<(), ControlError> {
        if pid.node == *self.judge.peer {
            return Ok(());
        }
        Err(ControlError::ForeignSender { operation: self.operation, node: pid.node.clone() })
    }

    #[hot(relations)]
    fn atom(&mut self) -> Result<Atom, ControlError> {
        if let Some(atom) = self.reader.short_atom_ref() {
            return Ok(atom.clone());
        }
        match self.reader.next_token()? {
            Token::Atom(atom) => Ok(atom),
            _ => Err(self.element("an atom")),
        }
    }

    #[inline]
    #[hot(relations)]
    fn reference(&mut self) -> Result<Reference, ControlError> {
        if let Some(reference) = self.reader.short_reference() {
            return Ok(reference);
        }
        cold_path();
        self.reader.reference()?.ok_or_else(|| self.element("a reference"))
    }

    #[hot(relations)]
    fn item(&mut self) -> Result<Item, ControlError> {
        if let Some(name) = self.reader.short_atom_ref() {
            return Ok(Item::Name(name.clone()));
        }
        match self.reader.next_token()? {
            Token::Pid(pid) => Ok(Item::Pid(pid)),
            Token::Atom(name) => Ok(Item::Name(name)),
            _ => Err(self.element("a pid or an atom")),
        }
    }

    fn integer(&mut self) -> Result<i64, ControlError> {
        match self.reader.next_token()? {
            Token::Integer(integer) => Ok(integer),
            _ => Err(self.element("a small integer")),
        }
    }

    /// 1 to 2^64 - 1.
    fn unlink_id(&mut self) -> Result<NonZeroU64, ControlError> {
        let id = match self.reader.next_token()? {
            Token::Integer(id) => u64::try_from(id).ok(),
            Token::BigInteger { negative: false, magnitude } if magnitude.len() <= 8 => {
                Some(magnitude.iter().rev().fold(0, |id, byte| id << 8 | u64::from(*byte)))
            }
            _ => None,
        };
        id.and_then(NonZeroU64::new).ok_or_else(|| self.element("an unlink id"))
    }

    #[inline(never)]
    #[hot(relations)]
    fn skip(&mut self) -> Result<(), ControlError> {
        if self.reader.short_atom_ref().is_some() {
            return Ok(());
        }
        Ok(self.reader.skip(self.judge.limits)?)
    }

    /// Drops the trace token, which only `operation` has.
    #[inline]
    fn token(&mut self, operation: u8) -> Result<(), ControlError> {
        if self.operation != operation {
            return Ok(());
        }
        cold_path();
        self.skip()
    }

    /// An element that stays encoded. Copied: such an element is rare, and short.
    fn payload(&mut self) -> Result<Payload, ControlError> {
        let start = self.reader.offset();
        self.skip()?;
        let element = self.input.get(start..self.reader.offset()).unwrap_or_default();
        let bytes = Bytes::copy_from_slice(element);
        Ok(Payload::with_atoms(bytes, self.atoms.to_vec().into()))
    }
}
