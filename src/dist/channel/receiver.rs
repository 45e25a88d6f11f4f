//! Packets in.

use std::hint::cold_path;
use std::iter::repeat_n;

use bytes::{Buf, Bytes, BytesMut};

use crate::dist::atom_cache::ReceiveCache;
use crate::dist::control::Judge;
use crate::dist::fragment::{FragmentError, FragmentLimits, Reassembly, Unfinished};
use crate::dist::{Control, Flags, VERSION_MAGIC};
use crate::etf::{self, Atoms, Payload, Reader};
use crate::term::Atom;

use super::front::ReadFront;
use super::{ChannelError, DIST_FRAG_CONT, DIST_FRAG_HEADER, DIST_HEADER, PASS_THROUGH};

/// The length in front of a packet.
const LENGTH_LEN: usize = 4;

/// The most room that [`Receiver::wants`] asks for at once.
const WANTS_MAX: usize = 1 << 20;

/// A later fragment's version, tag and ids.
const FRAGMENT_HEAD_LEN: usize = 18;

/// A packet's length, and the above.
const NEXT_HEAD_LEN: usize = LENGTH_LEN + FRAGMENT_HEAD_LEN;

/// So many references to atoms are counted at once at most.
const COUNTS_MAX: usize = 32;

/// From so many missing bytes on, the rest of a fragment is read straight to its place.
const DIRECT_MIN: usize = 4 << 10;

/// What a connection's receiving half refuses to grow past.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes of one packet.
    pub frame_len: u32,
    /// The most bytes of one message that arrives in fragments.
    pub message_len: usize,
    /// How many messages may be under way in fragments at once.
    pub open_messages: usize,
    /// The most bytes of all messages that are under way in fragments.
    pub buffered_len: usize,
    /// Limits on each term.
    pub term: etf::Limits,
}

impl Default for Limits {
    /// 128 MiB for a message, in one packet or in fragments, and twice that for 1024 unfinished ones together: OTP has no limits,
    /// and binaries of many megabytes are in use.
    fn default() -> Self {
        Self {
            frame_len: 128 << 20,
            message_len: 128 << 20,
            open_messages: 1024,
            buffered_len: 256 << 20,
            term: etf::Limits::default(),
        }
    }
}

/// What arrived.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all are signals")]
pub enum Received {
    /// The peer is alive.
    Tick,
    /// A signal.
    Signal(Control),
}

/// The receiving half of a connection.
#[derive(Debug)]
pub struct Receiver {
    peer: Atom,
    flags: Flags,
    limits: Limits,
    cache: ReceiveCache,
    /// The signal that was read last, in a place of its own: it is large, and would be moved for each layer that returns it. Whoever takes a
    /// message out of it leaves the rest for the next one.
    signal: Option<Control>,
    /// What the packet of that signal began with.
    front: ReadFront,
    /// Whether that signal is a message to the same process or name as the one before, or to an alias, like that.
    again: bool,
    /// References to the atoms of that signal, for those that follow it and are like it: they are counted many at once, as those in use are
    /// dropped on other threads.
    counted: Vec<Atoms>,
    /// So many are counted the next time.
    counts: usize,
    reassembly: Reassembly,
    /// The later fragment that the next bytes belong to.
    fragment: Option<Fragment>,
    /// A message whose last fragment was read straight to its place.
    finished: Option<(Unfinished, Bytes)>,
}

/// What was at the front of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Tick,
    /// It is in its place.
    Signal,
    Fragment,
    Incomplete,
}

/// A later fragment whose head is read, and not yet all of its bytes.
#[derive(Debug, Clone, Copy)]
struct Fragment {
    sequence: u64,
    left: usize,
}

impl Receiver {
    /// Receives from `peer` what was agreed on in `flags`.
    pub fn new(peer: Atom, flags: Flags, limits: Limits) -> Self {
        let reassembly = Reassembly::new(FragmentLimits {
            open_messages: limits.open_messages,
            message_len: limits.message_len,
            buffered_len: limits.buffered_len,
        });
        Self {
            peer,
            flags,
            limits,
            cache: ReceiveCache::new(),
            signal: None,
            front: ReadFront::new(),
            again: false,
            counted: Vec::new(),
            counts: 1,
            reassembly,
            fragment: None,
            finished: None,
        }
    }

    /// Takes the next whole signal or tick off the front of what was received, or `None` if that takes more bytes. Nothing is copied
    /// but fragments: a signal's payload is a slice of `input`'s buffer.
    ///
    /// # Errors
    /// If the peer broke the protocol; the connection must be closed.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<Option<Received>, ChannelError> {
        Ok(match self.receive_next(input)? {
            Next::Tick => Some(Received::Tick),
            Next::Signal => self.signal.take().map(Received::Signal),
            Next::Fragment | Next::Incomplete => None,
        })
    }

    /// The place of the signal that was read last.
    #[inline]
    pub(crate) fn signal(&mut self) -> &mut Option<Control> {
        &mut self.signal
    }

    /// Whether the signal in that place is a message to the same process or name as the one before, or to an alias, like that.
    #[inline]
    pub(crate) fn is_again(&self) -> bool {
        self.again
    }

    /// As [`receive`](Self::receive), which leaves the signal in its [place](Self::signal).
    #[inline(always)]
    pub(crate) fn receive_next(&mut self, input: &mut BytesMut) -> Result<Next, ChannelError> {
        loop {
            if self.fragment.is_some() {
                cold_path();
                self.continue_fragment(input);
            }
            if let Some((head, payload)) = self.finished.take() {
                cold_path();
                self.front.forget();
                self.again = false;
                self.signal = Some(self.complete(head, &payload)?);
                return Ok(Next::Signal);
            }
            if self.fragment.is_some() {
                cold_path();
                return Ok(Next::Incomplete);
            }
            match self.next_packet(input)? {
                Next::Fragment => cold_path(),
                next => return Ok(next),
            }
        }
    }

    /// Takes the next packet off the front of what was received. It is there as a whole, or is a later fragment of which there is
    /// enough to know where it belongs.
    #[inline(always)]
    fn next_packet(&mut self, input: &mut BytesMut) -> Result<Next, ChannelError> {
        while let Some(len) = input.first_chunk().map(|len| u32::from_be_bytes(*len)) {
            if len > self.limits.frame_len {
                cold_path();
                return Err(ChannelError::FrameTooLong { len, max: self.limits.frame_len });
            }
            let len = len as usize;
            if self.begin_fragment(len, input)? {
                cold_path();
                return Ok(Next::Fragment);
            }
            if input.len() - LENGTH_LEN < len {
                cold_path();
                return Ok(Next::Incomplete);
            }
            if len == 0 {
                cold_path();
                input.advance(LENGTH_LEN);
                return Ok(Next::Tick);
            }
            if self.packet(input, len)? {
                return Ok(Next::Signal);
            }
        }
        Ok(Next::Incomplete)
    }

    /// Begins the packet of `len` bytes at the front of `input` if it is a later fragment and its head is there.
    #[inline]
    fn begin_fragment(&mut self, len: usize, input: &mut BytesMut) -> Result<bool, ChannelError> {
        let Some((packet, _)) =
            input.get(LENGTH_LEN..).and_then(<[u8]>::split_first_chunk::<FRAGMENT_HEAD_LEN>)
        else {
            return Ok(false);
        };
        let [VERSION_MAGIC, DIST_FRAG_CONT, ..] = *packet else { return Ok(false) };
        cold_path();
        if !self.flags.header() || len < FRAGMENT_HEAD_LEN {
            return Ok(false);
        }
        let (sequence, fragment, start) = fragment_ids(packet)?;
        self.reassembly.begin(sequence, fragment, len - start)?;
        input.advance(LENGTH_LEN + start);
        self.fragment = Some(Fragment { sequence, left: len - start });
        Ok(true)
    }

    #[inline(never)]
    fn continue_fragment(&mut self, input: &mut BytesMut) {
        let Some(Fragment { sequence, left }) = self.fragment else { return };
        let here = left.min(input.len());
        if let Some(payload) = self.reassembly.payload(sequence) {
            payload.extend_from_slice(&input[..here]);
        }
        input.advance(here);
        self.arrived(here);
    }

    /// So many bytes of the fragment have come.
    fn arrived(&mut self, len: usize) {
        let Some(fragment) = &mut self.fragment else { return };
        fragment.left -= len;
        if fragment.left == 0 {
            let sequence = fragment.sequence;
            self.fragment = None;
            self.finished = self.reassembly.end(sequence);
        }
    }

    /// After [`receive`](Self::receive) returned `None`: where the next bytes belong if they are those of a large fragment, and how many
    /// of them, with a few that follow. Room that is not there is made for no more than has come already. [`read`](Self::read) must be told how many
    /// were added there.
    #[inline]
    pub(crate) fn direct(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let Fragment { sequence, left } = self.fragment.filter(|fragment| fragment.left >= DIRECT_MIN)?;
        let payload = self.reassembly.payload(sequence)?;
        // With the head of the next fragment, so that a fragment takes one read.
        let room = payload.capacity() - payload.len();
        let len = (left + NEXT_HEAD_LEN).min(payload.len().max(DIRECT_MIN).max(room));
        if room < len {
            payload.reserve_exact(len.max(payload.len() / 2));
        }
        Some((payload, len))
    }

    /// So many bytes were added where [`direct`](Self::direct) said.
    pub(crate) fn read(&mut self, len: usize, input: &mut BytesMut) {
        let Some(Fragment { sequence, left }) = self.fragment else { return };
        if let Some(payload) = self.reassembly.payload(sequence)
            && len > left
        {
            let end = payload.len() - (len - left);
            input.extend_from_slice(&payload[end..]);
            payload.truncate(end);
        }
        self.arrived(len.min(left));
    }

    /// Gives up the memory that is kept for the next large message.
    pub(crate) fn relax(&self) {
        self.reassembly.relax();
    }

    /// How many more bytes to make room for, after [`receive`](Self::receive) returned `None`: what the packet that `input` begins
    /// with still lacks, but at most a mebibyte, so that a peer gets no memory for what it only announces.
    pub fn wants(&self, input: &BytesMut) -> usize {
        if let Some(fragment) = self.fragment {
            cold_path();
            return fragment.left.min(WANTS_MAX);
        }
        let wanted = match input.first_chunk() {
            Some(len) => {
                cold_path();
                LENGTH_LEN.saturating_add(u32::from_be_bytes(*len) as usize)
            }
            None => LENGTH_LEN,
        };
        wanted.saturating_sub(input.len()).min(WANTS_MAX)
    }

    /// Takes the packet of `len` bytes, which is whole, off the front of `input`. Returns whether it is a whole signal.
    #[inline(always)]
    fn packet(&mut self, input: &mut BytesMut, len: usize) -> Result<bool, ChannelError> {
        let packet = input.get(LENGTH_LEN..LENGTH_LEN + len).unwrap_or_default();
        let start = match self.signal.as_mut().and_then(|signal| self.front.read(packet, signal)) {
            Some(payload_at) => {
                self.again = true;
                if self.counted.is_empty() {
                    cold_path();
                    self.count_atoms();
                }
                payload_at
            }
            None => {
                self.front.forget();
                self.again = false;
                if self.counts > 1 {
                    self.counted.clear();
                    self.counts = 1;
                }
                match *packet {
                    [VERSION_MAGIC, DIST_HEADER, ..] if self.flags.header() => self.control(packet)?,
                    _ => {
                        cold_path();
                        let Some(start) = self.rarer_packet(packet)? else {
                            input.advance(LENGTH_LEN + len);
                            return Ok(false);
                        };
                        start
                    }
                }
            }
        };
        let atoms = match (self.counted.pop(), &self.signal) {
            (Some(atoms), _) => atoms,
            (None, Some(control)) if control.wants_payload() => {
                cold_path();
                self.atoms_for(control)
            }
            (None, _) => {
                cold_path();
                input.advance(LENGTH_LEN + len);
                return Ok(true);
            }
        };
        let payload_len = self.check_payload(packet.get(start..).unwrap_or_default(), &atoms)?;
        let payload = Payload::cut_off(input, LENGTH_LEN + len, LENGTH_LEN + start, payload_len, atoms);
        if let Some(control) = &mut self.signal {
            control.set_payload(payload);
        }
        Ok(true)
    }

    /// Reads the front of a packet in a form that few have; returns where its payload begins, or `None` if that is only its first fragment.
    #[inline(never)]
    fn rarer_packet(&mut self, packet: &[u8]) -> Result<Option<usize>, ChannelError> {
        if !self.flags.header() {
            let [PASS_THROUGH, VERSION_MAGIC, ..] = *packet else {
                return Err(framing(packet, "one without distribution header"));
            };
            return self.pass_through(packet).map(Some);
        }
        match *packet {
            [VERSION_MAGIC, DIST_FRAG_HEADER, ..] => {
                let (sequence, count, start) = fragment_ids(packet)?;
                self.reassembly.check_first(sequence, count)?;
                let (_, start) = self.header(packet, start)?;
                if count > 1
                    && let Some(control) = self.signal.take()
                {
                    let atoms = self.atoms_for(&control);
                    let head = Unfinished { control, atoms };
                    let payload = packet.get(start..).unwrap_or_default();
                    self.reassembly.first(sequence, count, head, packet.len(), payload)?;
                    return Ok(None);
                }
                Ok(Some(start))
            }
            // It ends within its ids, else it would have been found before.
            [VERSION_MAGIC, DIST_FRAG_CONT, ..] => Err(FragmentError::Truncated.into()),
            _ => Err(framing(packet, "one with distribution header")),
        }
    }

    /// Reads the control message of a packet without header; returns where its payload begins.
    fn pass_through(&mut self, packet: &[u8]) -> Result<usize, ChannelError> {
        let terms = packet.get(2..).unwrap_or_default();
        let judge = Judge { peer: &self.peer, flags: self.flags, limits: &self.limits.term };
        let len = Control::decode(terms, &[], &judge, &mut self.signal)?;
        let start = 2 + len;
        if !self.signal.as_ref().is_some_and(Control::wants_payload) {
            return Ok(start);
        }
        match packet.get(start) {
            None => Err(ChannelError::NoPayload),
            Some(&VERSION_MAGIC) => Ok(start + 1),
            Some(_) => Err(framing(terms.get(len..).unwrap_or_default(), "a payload with a version byte")),
        }
    }

    /// Reads the front of a packet that is not cut into fragments, for the next one that may have the same; returns where its payload begins.
    #[inline]
    #[hot(relations)]
    fn control(&mut self, packet: &[u8]) -> Result<usize, ChannelError> {
        let (control_at, payload_at) = self.header(packet, 2)?;
        if let Some(atoms) = self.cache.known_atoms()
            && let Some(signal) = &self.signal
        {
            self.front.learn(packet.get(..payload_at).unwrap_or_default(), control_at, atoms, signal);
        }
        Ok(payload_at)
    }

    /// Reads the distribution header at `start`, and the control message after it; returns where that and its payload begin.
    #[inline]
    #[hot(relations)]
    fn header(&mut self, packet: &[u8], start: usize) -> Result<(usize, usize), ChannelError> {
        let mut terms = packet.get(start..).unwrap_or_default();
        self.cache.read_header(&mut terms)?;
        let control_at = packet.len() - terms.len();
        let judge = Judge { peer: &self.peer, flags: self.flags, limits: &self.limits.term };
        let len = Control::decode(terms, self.cache.atoms(), &judge, &mut self.signal)?;
        Ok((control_at, control_at + len))
    }

    /// The atoms of the packet that was read last, if the signal has a payload that may refer to them.
    #[inline]
    #[hot(relations)]
    fn atoms_for(&self, control: &Control) -> Atoms {
        if self.flags.header() && control.wants_payload() {
            self.cache.shared_atoms()
        } else {
            Atoms::default()
        }
    }

    /// Counts references to the atoms of the packet that was read last, for packets that begin as it does. More each time: one that is
    /// not like it makes them useless.
    #[inline(never)]
    #[hot]
    fn count_atoms(&mut self) {
        self.counted.extend(repeat_n(self.cache.shared_atoms(), self.counts));
        self.counts = (2 * self.counts).min(COUNTS_MAX);
    }

    /// Joins a control message with the payload that came in fragments.
    #[inline(never)]
    fn complete(&self, head: Unfinished, payload: &Bytes) -> Result<Control, ChannelError> {
        let Unfinished { mut control, atoms } = head;
        if control.wants_payload() {
            let len = self.check_payload(payload, &atoms)?;
            control.set_payload(Payload::with_atoms(payload.slice(..len), atoms));
        }
        Ok(control)
    }

    /// Checks the term that `payload` begins with, so that a process never meets garbage: it is the connection that fails. Returns its
    /// length; what follows it is ignored, as OTP does.
    #[inline]
    fn check_payload(&self, payload: &[u8], atoms: &Atoms) -> Result<usize, ChannelError> {
        if payload.is_empty() {
            cold_path();
            return Err(ChannelError::NoPayload);
        }
        let mut reader = Reader::new(payload, atoms);
        reader.skip(&self.limits.term).map_err(ChannelError::Payload)?;
        Ok(reader.offset())
    }

    /// The bytes of unfinished messages that are kept.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.reassembly.buffered()
    }
}

/// The sequence id, the fragment id, and where they end.
fn fragment_ids(packet: &[u8]) -> Result<(u64, u64, usize), FragmentError> {
    let id = |at| {
        let bytes = packet.get(at..).and_then(<[u8]>::first_chunk).ok_or(FragmentError::Truncated)?;
        Ok(u64::from_be_bytes(*bytes))
    };
    Ok((id(2)?, id(10)?, 18))
}

#[cold]
fn framing(packet: &[u8], expected: &'static str) -> ChannelError {
    ChannelError::Framing { found: packet.iter().take(2).copied().collect(), expected }
}
