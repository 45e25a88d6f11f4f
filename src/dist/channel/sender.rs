//! Packets out.

use bytes::Bytes;

use crate::dist::{Control, Flags};
use crate::etf::{EncodeError, Payload, Writer};
use crate::term::Pid;

use super::OutgoingError;

/// An encoded signal. It can be made by its sender's task, away from the connection.
#[derive(Debug)]
pub struct Outgoing(());

impl Outgoing {
    /// Encodes a signal in the form that `flags` allow; `payload` writes what the control message carries.
    ///
    /// Signals of one `sender` arrive in the order in which they are pushed; without a sender, in any.
    ///
    /// # Errors
    /// If a value has no external form, or the signal is too long for a peer that takes no fragments.
    pub fn encode<P>(
        flags: Flags,
        sender: Option<&Pid>,
        control: &Control<P>,
        payload: impl FnOnce(&P, &mut Writer) -> Result<(), EncodeError>,
    ) -> Result<Self, OutgoingError> {
        let _ = (flags, sender, control, payload);
        todo!()
    }

    /// Encodes a signal whose payload is encoded already.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn forward(
        flags: Flags,
        sender: Option<&Pid>,
        control: &Control<Payload>,
    ) -> Result<Self, OutgoingError> {
        Self::encode(flags, sender, control, |payload, writer| {
            payload.write(writer);
            Ok(())
        })
    }

    /// Its bytes, without headers.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Whether it has no bytes: it always has.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// The sending half of a connection: a queue.
#[derive(Debug)]
pub struct Sender(());

impl Sender {
    /// Sends what was agreed on in `flags`.
    pub fn new(flags: Flags) -> Self {
        let _ = flags;
        todo!()
    }

    /// Queues a signal.
    pub fn push(&mut self, outgoing: Outgoing) {
        let _ = outgoing;
        todo!()
    }

    /// Sends a tick before anything else that is queued.
    pub fn push_tick(&mut self) {
        todo!()
    }

    /// The bytes of all signals that are queued, for back-pressure.
    pub fn queued_bytes(&self) -> usize {
        todo!()
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        todo!()
    }

    /// Takes whole packets off the queue until they have `max_bytes` or more: the chunks of one vectored write. Empty if nothing is queued.
    pub fn transmit(&mut self, max_bytes: usize) -> Vec<Bytes> {
        let _ = max_bytes;
        todo!()
    }
}
