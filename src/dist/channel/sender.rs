//! Packets out.

use std::collections::{BTreeMap, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};

use crate::dist::atom_cache::SendCache;
use crate::dist::fragment::FRAGMENT_LEN;
use crate::dist::{Control, Flags, VERSION_MAGIC};
use crate::etf::{AtomRefs, EncodeError, Encoded, Payload, Writer};
use crate::term::Pid;

use super::{DIST_FRAG_CONT, DIST_FRAG_HEADER, DIST_HEADER, OutgoingError, PASS_THROUGH};

/// How many messages are sent in fragments at once; more wait for their turn. It bounds how long a small message waits behind them
/// (one fragment of each), and how much a receiver must keep.
const OPEN_MESSAGES_MAX: usize = 16;

/// Parts of a message up to this length are copied into the chunk that is being filled, longer ones are chunks of their own: about
/// where copying costs as much as one more entry of a vectored write.
const COPY_MAX: usize = 8 << 10;

/// Room for a packet's length, version and tag, ids and atom references: a guess that is right for most packets.
const HEADER_LEN_GUESS: usize = 64;

/// The most bytes of a packet's terms. The length in front of a packet has 32 bits, and the header needs some of what they count.
const PACKET_LEN_MAX: usize = u32::MAX as usize - (1 << 20);

/// A process, by its numbers on its own node: what it sends stays in order.
type SenderKey = (u32, u32);

/// An encoded signal. Its sender's task can make it, away from the connection.
#[derive(Debug)]
pub struct Outgoing {
    parts: VecDeque<Bytes>,
    atoms: AtomRefs,
    /// How many bytes the control message has; the rest is payload.
    control_len: usize,
    len: usize,
    sender: Option<SenderKey>,
}

impl Outgoing {
    /// Encodes a signal in the newest form that the effective `flags` allow; `payload` writes the term that it carries.
    ///
    /// Signals of one `sender`, a process of this node, arrive in the order in which they are pushed. Those without a sender keep no
    /// order with any other.
    ///
    /// # Errors
    /// If a value has no external form, the peer does not know the signal, or it is too long for a peer that takes no fragments.
    pub fn encode<P>(
        flags: Flags,
        sender: Option<&Pid>,
        control: &Control<P>,
        payload: impl FnOnce(&P, &mut Writer) -> Result<(), EncodeError>,
    ) -> Result<Self, OutgoingError> {
        let cached = flags.contains(Flags::DIST_HDR_ATOM_CACHE);
        let mut writer = if cached { Writer::with_atom_refs() } else { Writer::new() };
        let control_len = control.encode(flags, &mut writer, payload)?;
        let len = writer.len();
        // The control message is never cut.
        let whole = if flags.contains(Flags::FRAGMENTS) { control_len } else { len };
        if whole > PACKET_LEN_MAX {
            return Err(OutgoingError::TooLong(len));
        }
        let sender = sender.map(|pid| (pid.id, pid.serial));
        let Encoded { parts, atoms } = writer.finish();
        Ok(Self { parts: parts.into(), atoms, control_len, len, sender })
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
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    fn payload_len(&self) -> usize {
        self.len - self.control_len
    }
}

/// The sending half of a connection: a queue.
///
/// Large messages are cut into fragments if the peer takes them. Between the fragments go those of other messages and whole small
/// messages, in turn; what the same process sends waits for the end of its large message.
#[derive(Debug)]
pub struct Sender {
    flags: Flags,
    cache: SendCache,
    /// What is sent next, in turn.
    turns: VecDeque<Turn>,
    /// How many of the turns are messages in fragments.
    open: usize,
    /// Large messages that wait until fewer are open.
    waiting: VecDeque<Outgoing>,
    /// What waits behind a large message of the same process. A process has an entry as long as its large message is open or waits.
    behind: BTreeMap<SenderKey, VecDeque<Outgoing>>,
    last_sequence: u64,
    tick: bool,
    queued: usize,
    /// The chunk that is being filled.
    chunk: BytesMut,
}

#[derive(Debug)]
enum Turn {
    Whole(Outgoing),
    Fragments(Fragments),
}

/// A message of which some fragments are still to be sent.
#[derive(Debug)]
struct Fragments {
    message: Outgoing,
    sequence: u64,
    /// The next one; they count down to 1.
    fragment: u64,
}

impl Sender {
    /// Sends what was agreed on in `flags`.
    pub fn new(flags: Flags) -> Self {
        Self {
            flags,
            cache: SendCache::new(),
            turns: VecDeque::new(),
            open: 0,
            waiting: VecDeque::new(),
            behind: BTreeMap::new(),
            last_sequence: 0,
            tick: false,
            queued: 0,
            chunk: BytesMut::new(),
        }
    }

    /// Queues a signal.
    pub fn push(&mut self, outgoing: Outgoing) {
        self.queued += outgoing.len;
        if let Some(behind) = outgoing.sender.and_then(|sender| self.behind.get_mut(&sender)) {
            behind.push_back(outgoing);
        } else {
            self.admit(outgoing);
        }
    }

    /// Sends a tick before anything else that is queued: between two packets, also between two fragments.
    pub fn push_tick(&mut self) {
        self.tick = true;
    }

    /// The bytes of all signals that are queued, for back-pressure.
    pub fn queued_bytes(&self) -> usize {
        self.queued
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        // What waits, waits for a turn.
        self.turns.is_empty() && !self.tick
    }

    /// Takes whole packets off the queue until they have `max_bytes` or more: the chunks of one vectored write, in order. Empty if
    /// nothing is queued. All of them must be written before those of the next call.
    pub fn transmit(&mut self, max_bytes: usize) -> Vec<Bytes> {
        let mut chunks = Vec::new();
        if self.tick {
            self.tick = false;
            self.chunk.put_u32(0);
        }
        let mut taken = 0;
        while taken < max_bytes {
            let Some(turn) = self.turns.pop_front() else { break };
            taken += match turn {
                Turn::Whole(message) => self.send_whole(message, &mut chunks),
                Turn::Fragments(fragments) => self.send_fragment(fragments, &mut chunks),
            };
        }
        self.flush(&mut chunks);
        chunks
    }

    /// Gives a message a turn, or lets it wait for one.
    fn admit(&mut self, message: Outgoing) {
        if !self.flags.contains(Flags::FRAGMENTS) || message.payload_len() <= FRAGMENT_LEN {
            self.turns.push_back(Turn::Whole(message));
            return;
        }
        if let Some(sender) = message.sender {
            self.behind.entry(sender).or_default();
        }
        if self.open < OPEN_MESSAGES_MAX {
            self.open_message(message);
        } else {
            self.waiting.push_back(message);
        }
    }

    fn open_message(&mut self, message: Outgoing) {
        self.open += 1;
        // 64 bits do not come round to a sequence that is still open, nor to 0.
        self.last_sequence += 1;
        let fragment = message.payload_len().div_ceil(FRAGMENT_LEN) as u64;
        self.turns.push_back(Turn::Fragments(Fragments { message, sequence: self.last_sequence, fragment }));
    }

    /// After the last fragment: lets go what waited for it.
    fn close_message(&mut self, sender: Option<SenderKey>) {
        self.open -= 1;
        // First, so that a process with many large messages does not keep the others from theirs.
        if let Some(message) = self.waiting.pop_front() {
            self.open_message(message);
        }
        if let Some(sender) = sender {
            let mut behind = self.behind.remove(&sender).unwrap_or_default();
            while let Some(message) = behind.pop_front() {
                self.admit(message);
                // It was a large one again.
                if let Some(entry) = self.behind.get_mut(&sender) {
                    *entry = behind;
                    break;
                }
            }
        }
    }

    /// Returns the packet's length.
    fn send_whole(&mut self, mut message: Outgoing, chunks: &mut Vec<Bytes>) -> usize {
        self.queued -= message.len;
        let start = self.begin_packet();
        if self.flags.header() {
            self.chunk.put_slice(&[VERSION_MAGIC, DIST_HEADER]);
            self.cache.write_header(message.atoms.atoms(), &mut self.chunk);
        } else {
            self.chunk.put_u8(PASS_THROUGH);
        }
        let len = message.len;
        self.end_packet(start, &mut message.parts, len, chunks)
    }

    fn send_fragment(&mut self, mut fragments: Fragments, chunks: &mut Vec<Bytes>) -> usize {
        let message = &mut fragments.message;
        let start = self.begin_packet();
        let first = message.control_len > 0;
        self.chunk.put_u8(VERSION_MAGIC);
        self.chunk.put_u8(if first { DIST_FRAG_HEADER } else { DIST_FRAG_CONT });
        self.chunk.put_u64(fragments.sequence);
        self.chunk.put_u64(fragments.fragment);
        if first {
            // Only now, because the slots must be given away in the order of the headers on the wire.
            self.cache.write_header(message.atoms.atoms(), &mut self.chunk);
        }
        let len = message.len.min(message.control_len + FRAGMENT_LEN);
        message.control_len = 0;
        message.len -= len;
        self.queued -= len;
        fragments.fragment -= 1;
        let sender = message.sender;
        let packet_len = self.end_packet(start, &mut message.parts, len, chunks);
        if fragments.fragment == 0 {
            self.close_message(sender);
        } else {
            self.turns.push_back(Turn::Fragments(fragments));
        }
        packet_len
    }

    /// Leaves room for the packet's length; returns where.
    fn begin_packet(&mut self) -> usize {
        self.chunk.reserve(HEADER_LEN_GUESS);
        let start = self.chunk.len();
        self.chunk.put_u32(0);
        start
    }

    /// Fills in the packet's length and takes the first `len` bytes off `parts` as the rest of the packet.
    fn end_packet(
        &mut self,
        start: usize,
        parts: &mut VecDeque<Bytes>,
        len: usize,
        chunks: &mut Vec<Bytes>,
    ) -> usize {
        let header_end = start + 4;
        let packet_len = self.chunk.len() - header_end + len;
        if let Some(length) = self.chunk.get_mut(start..header_end) {
            length.copy_from_slice(&(packet_len as u32).to_be_bytes());
        }
        let mut left = len;
        while left > 0 {
            let Some(part) = parts.front_mut() else { break };
            let piece = part.split_to(part.len().min(left));
            if part.is_empty() {
                parts.pop_front();
            }
            left -= piece.len();
            if piece.len() <= COPY_MAX {
                self.chunk.put_slice(&piece);
            } else {
                self.flush(chunks);
                chunks.push(piece);
            }
        }
        debug_assert_eq!(left, 0, "a message has as many bytes as it says");
        packet_len + 4
    }

    /// Ends the chunk that is being filled.
    fn flush(&mut self, chunks: &mut Vec<Bytes>) {
        if !self.chunk.is_empty() {
            chunks.push(self.chunk.split().freeze());
        }
    }
}
