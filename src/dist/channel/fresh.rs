//! Signals that were just encoded, one after the other in one buffer of their thread.

use std::cell::Cell;
use std::hint::cold_path;

use super::OutgoingError;
use super::front::WrittenFront;
use super::sender::{Outgoing, SenderKey};
use crate::dist::{Control, Flags};
use crate::etf::{EncodeError, Encoded, Writer};
use crate::term::Pid;

/// The most bytes of a packet's terms. The length in front of a packet has 32 bits, and the header needs some of what they count.
const PACKET_LEN_MAX: usize = u32::MAX as usize - (1 << 20);

thread_local! {
    /// What the small signals of a thread are encoded in, one after the other. Boxed, as it is taken out and put back each time.
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Where a signal is encoded.
#[derive(Default)]
pub(super) struct Scratch {
    writer: Writer,
    front: WrittenFront,
}

#[cold]
fn first_scratch() -> Box<Scratch> {
    Box::default()
}

/// An encoded signal whose bytes are still in the writer. A small one is copied from there into the packets of its connection and
/// costs no allocation.
pub(crate) struct Fresh<'a> {
    pub(super) writer: &'a mut Writer,
    control_len: usize,
    pub(super) sender: Option<SenderKey>,
}

impl<'a> Fresh<'a> {
    /// Encodes a signal as [`Outgoing::encode`] does, and hands it to `take`.
    #[hot]
    pub(crate) fn with<P, R>(
        flags: Flags,
        sender: Option<&Pid>,
        control: &Control<P>,
        payload: impl FnOnce(&P, &mut Writer) -> Result<(), EncodeError>,
        take: impl FnOnce(Fresh<'_>) -> R,
    ) -> Result<R, OutgoingError> {
        SCRATCH.with(|place| {
            // Taken out, because what `payload` runs may send signals itself.
            let mut scratch = place.take().unwrap_or_else(first_scratch);
            let taken = Fresh::encode(&mut scratch, flags, sender, control, payload).map(take);
            if let Some(other) = place.replace(Some(scratch)) {
                cold_path();
                drop(other);
            }
            taken
        })
    }

    pub(super) fn encode<P>(
        scratch: &'a mut Scratch,
        flags: Flags,
        sender: Option<&Pid>,
        control: &Control<P>,
        payload: impl FnOnce(&P, &mut Writer) -> Result<(), EncodeError>,
    ) -> Result<Self, OutgoingError> {
        let Scratch { writer, front } = scratch;
        let control_len = match front.resume(flags, control, writer) {
            Some(message) => {
                let control_len = writer.len();
                payload(message, writer)?;
                control_len
            }
            None => {
                cold_path();
                front.forget();
                writer.begin(flags.contains(Flags::DIST_HDR_ATOM_CACHE));
                let follows = control.encode(flags, writer)?;
                front.learn(flags, control, writer);
                follows.encode(flags, writer, payload)?
            }
        };
        let len = writer.len();
        // The control message is never cut.
        if len > PACKET_LEN_MAX && (control_len > PACKET_LEN_MAX || !flags.contains(Flags::FRAGMENTS)) {
            cold_path();
            return Err(OutgoingError::TooLong(len));
        }
        Ok(Self { writer, control_len, sender: sender.map(|pid| (pid.id, pid.serial)) })
    }

    pub(super) fn into_outgoing(self) -> Outgoing {
        let len = self.writer.len();
        let Encoded { parts, atoms } = std::mem::take(self.writer).finish();
        Outgoing { parts: parts.into(), atoms, control_len: self.control_len, len, sender: self.sender }
    }
}
