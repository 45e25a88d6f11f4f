//! Packets out.

use std::borrow::Borrow;
use std::collections::{BTreeMap, VecDeque};
use std::hint::cold_path;

use bytes::{BufMut, Bytes, BytesMut};

use crate::dist::atom_cache::SendCache;
use crate::dist::fragment::{FRAGMENT_LEN, LONE_FRAGMENT_LEN};
use crate::dist::{Control, Flags, VERSION_MAGIC};
use crate::etf::{AtomRefs, EncodeError, ListId, Payload, Writer};
use crate::term::{Atom, Pid, Reference};
use crate::world::Mono;

use super::fresh::{Fresh, Scratch};
use super::{DIST_FRAG_CONT, DIST_FRAG_HEADER, DIST_HEADER, OutgoingError, PASS_THROUGH, Pace};

/// How many messages are sent in fragments at once; more wait for their turn. It bounds how long a small message waits behind them
/// (one fragment of each), and how much a receiver must keep.
const OPEN_MESSAGES_MAX: usize = 16;

/// What is left of a message goes with its last fragment if it is this short, as a packet of its own would cost more than it.
const REST_MAX: usize = 8 << 10;

/// A message up to this length that is alone goes out in larger fragments, which cost both ends less: nothing would go between smaller ones
/// anyway, as the system is handed all of it at once.
const LONE_MESSAGE_LEN: usize = (1 << 20) + REST_MAX;

/// Parts of a message up to this length are copied into the chunk that is being filled, longer ones are chunks of their own: about
/// where copying costs as much as one more entry of a vectored write.
const COPY_MAX: usize = 8 << 10;

/// Room for a packet's length, version and tag, ids and atom references: a guess that is right for most packets.
const HEADER_LEN_GUESS: usize = 64;

/// How much small packets share a buffer: large enough that its allocation costs them nothing, and what an idle connection keeps.
const CHUNK_LEN: usize = 16 << 10;

/// Once a small message came beside a large one, so many bytes go out in short turns: more such are to be expected, and what is handed
/// to the system at once stands before them.
const SHORT_TURNS_BYTES: usize = 16 << 20;

/// What a short turn sends.
const SHORT_TURN_BYTES: usize = 128 << 10;

const TICK: Bytes = Bytes::from_static(&[0; 4]);

/// A process, by its numbers on its own node: what it sends stays in order.
pub(super) type SenderKey = (u32, u32);

/// An encoded signal. Its sender's task can make it, away from the connection.
#[derive(Debug)]
pub struct Outgoing {
    pub(super) parts: VecDeque<Bytes>,
    pub(super) atoms: AtomRefs,
    /// How many bytes the control message has; the rest is payload.
    pub(super) control_len: usize,
    pub(super) len: usize,
    pub(super) sender: Option<SenderKey>,
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
        let mut scratch = Scratch::default();
        Ok(Fresh::encode(&mut scratch, flags, sender, control, payload)?.into_outgoing())
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
/// Signals become packets as they are queued. Large messages are cut into fragments if the peer takes them. Between the fragments
/// go those of other messages and whole small messages, in turn; what the same process sends waits for the end of its large message.
#[derive(Debug)]
pub struct Sender {
    flags: Flags,
    cache: SendCache,
    /// Whole packets, in the order in which their headers have changed the atom cache, and first fragments with them.
    ready: VecDeque<Ready>,
    /// The packets at the end of that queue, as far as they share a buffer.
    chunk: Vec<u8>,
    /// How much of the chunk is terms.
    chunk_terms: usize,
    /// Messages whose first fragment is out. Their other ones are sent in turn.
    open: VecDeque<Fragments>,
    /// How many messages have begun and are not wholly out.
    open_messages: usize,
    /// Whose turn it is, if both have something: a fragment's, or whole packets'.
    fragment_next: bool,
    /// How much is still to be sent in short turns.
    short_turns: usize,
    /// Keeps those from filling the sockets, if the peer can be asked how far it has come.
    pace: Option<Box<Pace>>,
    /// Large messages that wait until fewer are open.
    waiting: VecDeque<Outgoing>,
    /// What waits behind a large message of the same process. A process has an entry as long as its large message is open or waits.
    behind: BTreeMap<SenderKey, VecDeque<Outgoing>>,
    last_sequence: u64,
    tick: bool,
    queued: usize,
    /// What of that is in finished chunks.
    whole: usize,
    /// The headers of fragments.
    heads: BytesMut,
}

#[derive(Debug)]
enum Ready {
    Chunk {
        bytes: Bytes,
        /// How much of it is terms.
        terms: usize,
        /// Whether a packet ends where it ends.
        ends: bool,
    },
    /// The message whose first fragment stands before this.
    Open(Fragments),
}

/// A message of which some fragments are still to be sent.
#[derive(Debug)]
struct Fragments {
    parts: VecDeque<Bytes>,
    len: usize,
    sender: Option<SenderKey>,
    sequence: u64,
    /// How many bytes a fragment has that is not the last.
    each: usize,
    /// The next one; they count down to 1.
    fragment: u64,
}

impl Sender {
    /// Sends what was agreed on in `flags`.
    pub fn new(flags: Flags) -> Self {
        Self {
            flags,
            cache: SendCache::new(),
            ready: VecDeque::new(),
            chunk: Vec::new(),
            chunk_terms: 0,
            open: VecDeque::new(),
            open_messages: 0,
            fragment_next: false,
            short_turns: 0,
            pace: None,
            waiting: VecDeque::new(),
            behind: BTreeMap::new(),
            last_sequence: 0,
            tick: false,
            queued: 0,
            whole: 0,
            heads: BytesMut::new(),
        }
    }

    /// Has large messages wait for the peer while small signals go beside them, if it takes fragments and answers monitors.
    pub(crate) fn paced(mut self, pace: Pace) -> Self {
        if self.flags.contains(Flags::FRAGMENTS | Flags::DIST_MONITOR) {
            self.pace = Some(Box::new(pace));
        }
        self
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

    /// As [`push`](Self::push).
    #[inline(always)]
    pub(crate) fn push_fresh(&mut self, signal: Fresh<'_>) {
        let waits = signal.sender.is_some_and(|key| self.has_behind(key));
        match signal.writer.as_slice() {
            Some(terms) if terms.len() <= COPY_MAX && !waits => {
                self.push_terms(signal.writer.atom_refs(), signal.writer.atom_list(), terms);
            }
            _ => {
                cold_path();
                self.push(signal.into_outgoing());
            }
        }
    }

    /// As [`push`](Self::push), for a signal that needs no haste: large messages go on beside it as before.
    pub(crate) fn push_aside(&mut self, signal: Fresh<'_>) {
        self.aside(|sender| sender.push_fresh(signal));
    }

    fn aside(&mut self, push: impl FnOnce(&mut Self)) {
        let short_turns = self.short_turns;
        push(self);
        self.short_turns = short_turns;
    }

    /// Queues the packet of a small signal; `list` says which atoms it has, if that is known.
    #[inline(always)]
    pub(super) fn push_terms<A: Borrow<Atom>>(&mut self, atoms: &[A], list: Option<ListId>, terms: &[u8]) {
        self.queued += terms.len();
        self.make_room(terms.len());
        let start = self.begin_whole(atoms, list);
        self.chunk.put_slice(terms);
        self.chunk_terms += terms.len();
        self.end_packet(start, 0);
    }

    pub(super) fn flags(&self) -> Flags {
        self.flags
    }

    /// Whether what this process sends waits for the end of its large message.
    pub(super) fn waits(&self, sender: Option<&Pid>) -> bool {
        sender.is_some_and(|pid| self.has_behind((pid.id, pid.serial)))
    }

    #[inline]
    fn has_behind(&self, sender: SenderKey) -> bool {
        if self.behind.is_empty() {
            return false;
        }
        cold_path();
        self.behind.contains_key(&sender)
    }

    /// Sends a tick before anything else that is queued: between two packets, also between two fragments.
    pub fn push_tick(&mut self) {
        self.tick = true;
    }

    /// The bytes of all signals that are queued, for back-pressure.
    pub fn queued_bytes(&self) -> usize {
        self.queued
    }

    /// Those of them that a signal of this process waits for: not what other processes have in fragments, which gives way to it.
    pub(crate) fn queued_before(&self, sender: Option<&Pid>) -> usize {
        if self.waits(sender) { self.queued } else { self.whole + self.chunk_terms }
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        // What waits, waits for the end of a message that is open.
        self.ready.is_empty() && self.chunk.is_empty() && self.open.is_empty() && !self.tick
    }

    /// Whether something can be sent now: not what waits for the peer.
    pub(crate) fn has_next(&self) -> bool {
        !self.ready.is_empty()
            || !self.chunk.is_empty()
            || self.tick
            || !self.open.is_empty() && !self.holds()
    }

    fn holds(&self) -> bool {
        self.short_turns > 0 && self.pace.as_ref().is_some_and(|pace| pace.holds())
    }

    /// Returns whether the end of a monitor is the peer's answer to how far it has come.
    pub(crate) fn answered(&mut self, reference: &Reference, now: Mono) -> bool {
        self.pace.as_mut().is_some_and(|pace| pace.answered(reference, now))
    }

    /// A peer that does not answer is not asked any more. To be called once in a while.
    pub(crate) fn relax(&mut self) {
        self.pace.take_if(|pace| pace.is_ignored());
    }

    /// So much of large messages is sent.
    fn keep_pace(&mut self, len: usize, now: &impl Fn() -> Mono) {
        // Taken out, as the question is queued like other signals.
        let Some(mut pace) = self.pace.take() else { return };
        if self.short_turns > 0 && pace.sends(len) {
            self.aside(|sender| {
                sender.push_monitor(None, pace.question());
            });
            pace.asks(now());
        }
        self.pace = Some(pace);
    }

    /// Takes whole packets off the queue until they have `max_bytes` or more, or fewer while small messages come beside large ones: the
    /// chunks of one vectored write, in order. Empty if nothing is queued. All of them must be written before those of the next call.
    pub fn transmit(&mut self, max_bytes: usize) -> Vec<Bytes> {
        let mut chunks = VecDeque::new();
        self.transmit_into(max_bytes, &mut chunks, &Mono::default);
        chunks.into()
    }

    /// As [`transmit`](Self::transmit), if nothing but small signals is queued, as most often: they are one chunk, whose memory is changed
    /// for that of `empty`. Returns whether it is so.
    #[inline(always)]
    pub(crate) fn transmit_small(&mut self, empty: &mut Vec<u8>) -> bool {
        debug_assert!(empty.is_empty(), "what was taken before is written first");
        if !self.ready.is_empty() || !self.open.is_empty() || self.tick {
            return false;
        }
        self.queued -= std::mem::take(&mut self.chunk_terms);
        self.short_turns = self.short_turns.saturating_sub(self.chunk.len());
        std::mem::swap(&mut self.chunk, empty);
        true
    }

    /// As [`transmit`](Self::transmit), behind what is in `chunks`.
    #[inline(never)]
    pub(crate) fn transmit_into(
        &mut self,
        max_bytes: usize,
        chunks: &mut VecDeque<Bytes>,
        now: &impl Fn() -> Mono,
    ) {
        if std::mem::take(&mut self.tick) {
            chunks.push_back(TICK);
        }
        let max_bytes = if self.short_turns > 0 { max_bytes.min(SHORT_TURN_BYTES) } else { max_bytes };
        let mut taken = 0;
        while taken < max_bytes {
            let holds = self.holds();
            let len = match self.open.pop_front() {
                Some(fragments) if self.fragment_next && !holds => {
                    let len = self.send_fragment(fragments, chunks);
                    self.keep_pace(len, now);
                    len
                }
                Some(fragments) => {
                    self.open.push_front(fragments);
                    self.send_whole(FRAGMENT_LEN.min(max_bytes - taken), chunks)
                }
                None => self.send_whole(max_bytes - taken, chunks),
            };
            if len == 0 && (self.open.is_empty() || holds) {
                break;
            }
            self.fragment_next = !self.fragment_next;
            taken += len;
        }
        self.short_turns = self.short_turns.saturating_sub(taken);
    }

    /// Gives a message its packet, or the first of its fragments, or lets it wait.
    fn admit(&mut self, message: Outgoing) {
        if !self.flags.contains(Flags::FRAGMENTS) || message.payload_len() <= FRAGMENT_LEN + REST_MAX {
            return self.write_whole(message);
        }
        if let Some(sender) = message.sender {
            self.behind.entry(sender).or_default();
        }
        if self.open_messages < OPEN_MESSAGES_MAX {
            self.open_message(message);
        } else {
            self.waiting.push_back(message);
        }
    }

    fn write_whole(&mut self, mut message: Outgoing) {
        self.make_room(message.len.min(COPY_MAX));
        let start = self.begin_whole(message.atoms.atoms(), message.atoms.list());
        self.write_parts(start, &mut message.parts, message.len);
    }

    /// Queues a message's first fragment, and the rest behind it.
    fn open_message(&mut self, message: Outgoing) {
        let alone = self.open_messages == 0 && self.short_turns == 0 && message.len <= LONE_MESSAGE_LEN;
        let each = if alone { LONE_FRAGMENT_LEN } else { FRAGMENT_LEN };
        self.open_messages += 1;
        // 64 bits do not come round to a sequence that is still open, nor to 0.
        self.last_sequence += 1;
        let later = (message.payload_len() - FRAGMENT_LEN - REST_MAX).div_ceil(each) as u64;
        let (sequence, fragment) = (self.last_sequence, 1 + later);
        self.make_room(message.control_len.min(COPY_MAX));
        let start = self.begin_packet();
        self.chunk.put_slice(&[VERSION_MAGIC, DIST_FRAG_HEADER]);
        self.chunk.put_u64(sequence);
        self.chunk.put_u64(fragment);
        self.cache.write_header(message.atoms.atoms(), message.atoms.list(), &mut self.chunk);
        let Outgoing { mut parts, len, control_len, sender, .. } = message;
        let first = control_len + FRAGMENT_LEN;
        self.write_parts(start, &mut parts, first);
        self.flush(true);
        let (len, fragment) = (len - first, later);
        self.ready.push_back(Ready::Open(Fragments { parts, len, sender, sequence, each, fragment }));
    }

    /// After the last fragment: lets go what waited for it.
    fn close_message(&mut self, sender: Option<SenderKey>) {
        self.open_messages -= 1;
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

    /// Makes room in the chunk for a packet, or its first part. Only between two packets.
    fn make_room(&mut self, len: usize) {
        let len = len + HEADER_LEN_GUESS;
        if self.chunk.capacity() - self.chunk.len() < len {
            cold_path();
            self.flush(true);
            self.chunk.reserve(len.max(CHUNK_LEN));
        }
    }

    /// Leaves room for the packet's length; returns where.
    fn begin_packet(&mut self) -> usize {
        let start = self.chunk.len();
        self.chunk.put_u32(0);
        start
    }

    /// Begins a packet that is no fragment.
    #[inline(always)]
    fn begin_whole<A: Borrow<Atom>>(&mut self, atoms: &[A], list: Option<ListId>) -> usize {
        if self.open_messages > 0 {
            cold_path();
            if self.short_turns == 0
                && let Some(pace) = &mut self.pace
            {
                pace.begin();
            }
            self.short_turns = SHORT_TURNS_BYTES;
        }
        if self.flags.header() {
            let start = self.chunk.len();
            // The packet's length is filled in at its end.
            self.chunk.put_slice(&[0, 0, 0, 0, VERSION_MAGIC, DIST_HEADER]);
            self.cache.write_header(atoms, list, &mut self.chunk);
            return start;
        }
        cold_path();
        let start = self.begin_packet();
        self.chunk.put_u8(PASS_THROUGH);
        start
    }

    /// Fills in the length of the packet that ends `more` bytes behind the chunk.
    fn end_packet(&mut self, start: usize, more: usize) {
        let header_end = start + 4;
        let packet_len = self.chunk.len() - header_end + more;
        if let Some(length) = self.chunk.get_mut(start..header_end) {
            length.copy_from_slice(&(packet_len as u32).to_be_bytes());
        }
    }

    /// Takes the first `len` bytes off `parts` as the rest of the packet that begins at `start`.
    fn write_parts(&mut self, start: usize, parts: &mut VecDeque<Bytes>, len: usize) {
        self.end_packet(start, len);
        let mut left = len;
        while let Some(piece) = next_piece(parts, &mut left) {
            if piece.len() <= COPY_MAX {
                self.chunk.put_slice(&piece);
                self.chunk_terms += piece.len();
            } else {
                self.flush(false);
                self.whole += piece.len();
                self.ready.push_back(Ready::Chunk { terms: piece.len(), bytes: piece, ends: left == 0 });
            }
        }
        debug_assert_eq!(left, 0, "a message has as many bytes as it says");
    }

    /// What is in the chunk that is being filled, which is empty then. A little is copied, so that the memory is kept.
    fn cut_chunk(&mut self) -> Bytes {
        if self.chunk.len() > CHUNK_LEN / 2 {
            return std::mem::take(&mut self.chunk).into();
        }
        let bytes = Bytes::copy_from_slice(&self.chunk);
        self.chunk.clear();
        bytes
    }

    /// Ends the chunk that is being filled.
    fn flush(&mut self, ends: bool) {
        if !self.chunk.is_empty() {
            let bytes = self.cut_chunk();
            self.whole += self.chunk_terms;
            self.ready.push_back(Ready::Chunk { bytes, terms: std::mem::take(&mut self.chunk_terms), ends });
        }
    }

    /// Takes whole packets until they have `max_bytes` or more. Returns how many bytes they have.
    fn send_whole(&mut self, max_bytes: usize, chunks: &mut VecDeque<Bytes>) -> usize {
        let mut taken = 0;
        loop {
            match self.ready.pop_front() {
                Some(Ready::Chunk { bytes, terms, ends }) => {
                    self.queued -= terms;
                    self.whole -= terms;
                    taken += bytes.len();
                    chunks.push_back(bytes);
                    if ends && taken >= max_bytes {
                        return taken;
                    }
                }
                Some(Ready::Open(fragments)) => self.open.push_back(fragments),
                None => return taken + self.take_chunk(chunks),
            }
        }
    }

    /// Takes the chunk that is being filled, if there is one. Returns its length.
    fn take_chunk(&mut self, chunks: &mut VecDeque<Bytes>) -> usize {
        if self.chunk.is_empty() {
            return 0;
        }
        let bytes = self.cut_chunk();
        self.queued -= std::mem::take(&mut self.chunk_terms);
        let len = bytes.len();
        chunks.push_back(bytes);
        len
    }

    /// Takes the next fragment of a message. Returns the packet's length.
    fn send_fragment(&mut self, mut fragments: Fragments, chunks: &mut VecDeque<Bytes>) -> usize {
        let len = if fragments.fragment == 1 { fragments.len } else { fragments.each };
        if self.heads.capacity() == 0 {
            self.heads.reserve(CHUNK_LEN);
        }
        self.heads.put_u32((2 + 8 + 8 + len) as u32);
        self.heads.put_slice(&[VERSION_MAGIC, DIST_FRAG_CONT]);
        self.heads.put_u64(fragments.sequence);
        self.heads.put_u64(fragments.fragment);
        let packet_len = self.heads.len() + len;
        let mut left = len;
        while let Some(piece) = next_piece(&mut fragments.parts, &mut left) {
            if piece.len() <= COPY_MAX {
                self.heads.put_slice(&piece);
            } else {
                if !self.heads.is_empty() {
                    chunks.push_back(self.heads.split().freeze());
                }
                chunks.push_back(piece);
            }
        }
        if !self.heads.is_empty() {
            chunks.push_back(self.heads.split().freeze());
        }
        self.queued -= len;
        fragments.len -= len;
        fragments.fragment -= 1;
        if fragments.fragment == 0 {
            self.close_message(fragments.sender);
        } else {
            self.open.push_back(fragments);
        }
        packet_len
    }
}

/// Takes up to `left` bytes off the first of `parts`.
fn next_piece(parts: &mut VecDeque<Bytes>, left: &mut usize) -> Option<Bytes> {
    if *left == 0 {
        return None;
    }
    let part = parts.front_mut()?;
    let piece = part.split_to(part.len().min(*left));
    if part.is_empty() {
        parts.pop_front();
    }
    *left -= piece.len();
    Some(piece)
}
