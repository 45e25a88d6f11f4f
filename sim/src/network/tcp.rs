//! What all hosts of a run have on their wires: a model of TCP as programs see it.
//!
//! What is sent arrives in order after the wire's latency. Across a cut it waits, as retransmission makes it, until the wire is mended or
//! the sender's patience is over; a message to a socket that is gone is answered with a reset. A writer waits once a window of bytes was
//! not read. The simulation delivers what is due between two of its steps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use beamline::world::Entropy;
use bytes::{Buf, Bytes};
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;
use tokio::io::ReadBuf;

use crate::entropy::NodeEntropy;
use crate::trace::{Fnv, Recorder};

/// How long an end of a connection waits for what it has sent to be acknowledged, before it fails as timed out. Systems take minutes; this is short
/// enough to be seen in a run.
pub const TCP_PATIENCE: Duration = Duration::from_secs(7);

/// How many bytes of one connection may be on their way, in one direction, until the program at the other end reads them.
pub const WINDOW: usize = 128 << 10;

/// How long a message takes on a wire of which nothing else is said, in milliseconds.
pub(crate) const LATENCY_MS: (u32, u32) = (1, 20);

/// Connections that may wait to be accepted; who dials then tries again, and no one is refused.
const BACKLOG: usize = 1024;

/// What goes on a wire at once, where it takes only so many bytes a millisecond.
const SEGMENT: usize = 1460;

pub(super) const EPMD_PORT: u16 = 4369;

/// The first of the ports that dials come from.
pub(super) const EPHEMERAL: u16 = 49152;

pub(super) type ConnId = u64;
/// 0 is who dialled, 1 who accepted.
pub(super) type Side = usize;
pub(super) type HostId = usize;

pub(super) struct State {
    pub(super) recorder: Arc<Recorder>,
    /// When what was due was last delivered.
    pub(super) now: Duration,
    pub(super) hosts: Vec<Host>,
    /// What the first sends does not reach the second.
    pub(super) cuts: BTreeSet<(HostId, HostId)>,
    /// By pairs in order.
    pub(super) latencies: BTreeMap<(HostId, HostId), (u32, u32)>,
    pub(super) limits: BTreeMap<(HostId, HostId), u32>,
    /// When a wire with a limit has room again.
    pub(super) free_at: BTreeMap<(HostId, HostId), Duration>,
    pub(super) conns: BTreeMap<ConnId, [End; 2]>,
    pub(super) next_conn: ConnId,
    pub(super) queue: BTreeMap<(Duration, u64), Packet>,
    pub(super) next_packet: u64,
    /// The ends that have sent what is not acknowledged, because something is broken.
    pub(super) stuck: BTreeMap<(ConnId, Side), Duration>,
    pub(super) rng: ChaCha8Rng,
}

pub(super) struct Host {
    pub(super) name: String,
    pub(super) powered: bool,
    pub(super) listeners: BTreeMap<u16, Listening>,
    pub(super) next_port: u16,
    pub(super) chunk: Option<usize>,
    pub(super) epmd_down: bool,
}

pub(super) struct Listening {
    pub(super) owner: u32,
    pub(super) loopback: bool,
    pub(super) backlog: VecDeque<ConnId>,
    pub(super) waker: Option<Waker>,
}

/// One end of a connection.
pub(super) struct End {
    pub(super) host: HostId,
    pub(super) owner: u32,
    pub(super) local: SocketAddr,
    /// Whether the host knows the socket. It does not after an error, or once the program has dropped both halves.
    pub(super) open: bool,
    pub(super) dropped: [bool; 2],
    // What it sends.
    pub(super) offset: u64,
    pub(super) unread: usize,
    pub(super) last_due: Duration,
    pub(super) held: VecDeque<What>,
    pub(super) shut: bool,
    pub(super) reset_next: bool,
    pub(super) writer: Option<Waker>,
    // What it received.
    pub(super) received: VecDeque<Bytes>,
    pub(super) read_offset: u64,
    pub(super) at_end: bool,
    pub(super) error: Option<ErrorKind>,
    pub(super) reader: Option<Waker>,
}

pub(super) struct Packet {
    pub(super) conn: ConnId,
    /// Who sent it.
    pub(super) side: Side,
    pub(super) what: What,
}

pub(super) enum What {
    /// The last part of a handshake: the other end may be accepted.
    Established,
    Data(Bytes),
    End,
    Reset,
}

/// From where to where a dial goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) from: HostId,
    pub(super) to: HostId,
}

pub(super) enum Dialled {
    Established { conn: ConnId, local: SocketAddr, peer: SocketAddr },
    Refused,
    Lost,
}

impl State {
    pub(super) fn new(seed: u64, recorder: Arc<Recorder>) -> Self {
        Self {
            recorder,
            now: Duration::ZERO,
            hosts: Vec::new(),
            cuts: BTreeSet::new(),
            latencies: BTreeMap::new(),
            limits: BTreeMap::new(),
            free_at: BTreeMap::new(),
            conns: BTreeMap::new(),
            next_conn: 1,
            queue: BTreeMap::new(),
            next_packet: 0,
            stuck: BTreeMap::new(),
            rng: NodeEntropy::new(seed, "network").fork("wires"),
        }
    }

    pub(super) fn host(&self, name: &str) -> Option<HostId> {
        self.hosts.iter().position(|host| host.name == name)
    }

    pub(super) fn wire(&self, from: &str, to: &str) -> Option<(HostId, HostId)> {
        Some((self.host(from)?, self.host(to)?)).filter(|(from, to)| from != to)
    }

    pub(super) fn address(&self, id: HostId, loopback: bool) -> IpAddr {
        let number = u16::try_from(id + 1).unwrap_or(u16::MAX).to_be_bytes();
        if loopback { Ipv4Addr::LOCALHOST.into() } else { Ipv4Addr::new(10, 0, number[0], number[1]).into() }
    }

    pub(super) fn reaches(&self, from: HostId, to: HostId) -> bool {
        self.hosts[to].powered && !self.cuts.contains(&(from, to))
    }

    pub(super) fn latency(&mut self, from: HostId, to: HostId) -> Duration {
        if from == to {
            return Duration::ZERO;
        }
        let (min, max) = self.latencies.get(&(from.min(to), from.max(to))).copied().unwrap_or(LATENCY_MS);
        // Most are near the shortest.
        let drawn = u64::from(self.rng.next_u32() >> 16);
        let share = (drawn * drawn) >> 16;
        let range = u64::from(max.saturating_sub(min)) * 1000;
        Duration::from_micros(u64::from(min) * 1000 + ((range * share) >> 16))
    }

    pub(super) fn free_port(&mut self, id: HostId) -> io::Result<u16> {
        let taken: BTreeSet<u16> = {
            let ends = self.conns.values().flatten().filter(|end| end.host == id);
            ends.map(|end| end.local.port()).chain(self.hosts[id].listeners.keys().copied()).collect()
        };
        let host = &mut self.hosts[id];
        for _ in EPHEMERAL..=u16::MAX {
            let port = host.next_port;
            host.next_port = port.checked_add(1).unwrap_or(EPHEMERAL);
            if !taken.contains(&port) {
                return Ok(port);
            }
        }
        Err(ErrorKind::AddrInUse.into())
    }

    pub(super) fn establish(&mut self, from: HostId, to: HostId, owner: u32, port: u16) -> Dialled {
        if !self.reaches(from, to) || !self.reaches(to, from) {
            return Dialled::Lost;
        }
        let host = &self.hosts[to];
        let listening = host.listeners.get(&port).filter(|listening| !listening.loopback || from == to);
        let Some(listening) = listening.filter(|_| !(host.epmd_down && port == EPMD_PORT)) else {
            return Dialled::Refused;
        };
        if listening.backlog.len() >= BACKLOG {
            return Dialled::Lost;
        }
        let accepts = listening.owner;
        let Ok(from_port) = self.free_port(from) else { return Dialled::Refused };
        let local: SocketAddr = (self.address(from, from == to), from_port).into();
        let peer: SocketAddr = (self.address(to, from == to), port).into();
        let conn = self.next_conn;
        self.next_conn += 1;
        let mut acceptor = End::new(to, accepts, peer);
        // No program holds it until it is accepted.
        acceptor.dropped = [true, true];
        self.conns.insert(conn, [End::new(from, owner, local), acceptor]);
        self.tell(conn, 0, "connected", &format_args!("{}", self.between(conn, 0)));
        self.send(conn, 0, What::Established);
        Dialled::Established { conn, local, peer }
    }

    /// `CONN LOCAL PEER` of an end.
    pub(super) fn between(&self, conn: ConnId, side: Side) -> String {
        let ends = &self.conns[&conn];
        let place = |end: &End| format!("{}:{}", self.hosts[end.host].name, end.local.port());
        format!("{conn} {} {}", place(&ends[side]), place(&ends[1 - side]))
    }

    pub(super) fn tell(&self, conn: ConnId, side: Side, kind: &str, detail: &dyn std::fmt::Display) {
        let end = &self.conns[&conn][side];
        self.recorder.record(self.now, (&self.hosts[end.host].name, end.owner), kind, detail);
    }

    pub(super) fn send_data(&mut self, conn: ConnId, side: Side, mut data: Bytes) {
        let Some(ends) = self.conns.get_mut(&conn) else { return };
        if data.is_empty() {
            return;
        }
        let (end, to) = (&ends[side], ends[1 - side].host);
        let (offset, from) = (end.offset, end.host);
        let mut hash = Fnv::default();
        hash.write(&data);
        let detail = format!("{conn} {} {offset} {} {:016x}", self.hosts[to].name, data.len(), hash.0);
        self.tell(conn, side, "sent", &detail);
        let Some(ends) = self.conns.get_mut(&conn) else { return };
        ends[side].offset += data.len() as u64;
        ends[side].unread += data.len();
        if self.limits.contains_key(&(from, to)) {
            while data.len() > SEGMENT {
                let segment = data.split_to(SEGMENT);
                self.send(conn, side, What::Data(segment));
            }
        }
        self.send(conn, side, What::Data(data));
    }

    /// Puts something on its way.
    pub(super) fn send(&mut self, conn: ConnId, side: Side, what: What) {
        let Some(ends) = self.conns.get(&conn) else { return };
        let wire = (ends[side].host, ends[1 - side].host);
        let latency = self.latency(wire.0, wire.1);
        let mut leaves = self.now;
        if let (Some(limit), What::Data(data)) = (self.limits.get(&wire), &what) {
            let free_at = self.free_at.entry(wire).or_default();
            let takes = Duration::from_micros(data.len() as u64 * 1000 / u64::from(*limit));
            leaves = leaves.max(*free_at) + takes;
            *free_at = leaves;
        }
        let Some(ends) = self.conns.get_mut(&conn) else { return };
        let due = (leaves + latency).max(ends[side].last_due);
        ends[side].last_due = due;
        self.queue.insert((due, self.next_packet), Packet { conn, side, what });
        self.next_packet += 1;
    }

    pub(super) fn deliver(&mut self, now: Duration) {
        self.now = now;
        while let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= now
        {
            let packet = entry.remove();
            self.arrive(packet);
        }
        if self.stuck.is_empty() {
            return;
        }
        let over = self.stuck.iter().filter(|(_, since)| now.saturating_sub(**since) >= TCP_PATIENCE);
        let over: Vec<_> = over.map(|(end, _)| *end).collect();
        for (conn, side) in over {
            self.forget_sent(conn, side);
            self.fail(conn, side, ErrorKind::TimedOut, "timed out");
        }
    }

    pub(super) fn arrive(&mut self, Packet { conn, side, what }: Packet) {
        let Some(ends) = self.conns.get_mut(&conn) else { return };
        let (from, to) = (ends[side].host, ends[1 - side].host);
        if !self.reaches(from, to) {
            self.conns.entry(conn).and_modify(|ends| ends[side].held.push_back(what));
            self.stuck.entry((conn, side)).or_insert(self.now);
            return;
        }
        let answers = self.reaches(to, from);
        let Some(ends) = self.conns.get_mut(&conn) else { return };
        let peer = &mut ends[1 - side];
        match what {
            What::Established => {
                let port = peer.local.port();
                match self.hosts[to].listeners.get_mut(&port) {
                    Some(listening) if listening.owner == peer.owner => {
                        listening.backlog.push_back(conn);
                        if let Some(waker) = listening.waker.take() {
                            waker.wake();
                        }
                    }
                    _ => self.close(conn, 1, "not accepted", true),
                }
            }
            What::Data(data) if peer.open => {
                peer.received.push_back(data);
                peer.wake_reader();
                if !answers {
                    self.stuck.entry((conn, side)).or_insert(self.now);
                }
            }
            What::Data(_) => self.send(conn, 1 - side, What::Reset),
            What::End => {
                peer.at_end = true;
                peer.wake_reader();
            }
            What::Reset => self.fail(conn, 1 - side, ErrorKind::ConnectionReset, "reset"),
        }
    }

    pub(super) fn shut(&mut self, conn: ConnId, side: Side) {
        let Some(ends) = self.conns.get_mut(&conn) else { return };
        if ends[side].open && !std::mem::replace(&mut ends[side].shut, true) {
            self.send(conn, side, What::End);
        }
    }

    /// An end is gone, and tells the other.
    pub(super) fn close(&mut self, conn: ConnId, side: Side, why: &str, resets: bool) {
        let Some(ends) = self.conns.get(&conn) else { return };
        if ends[side].open {
            if resets {
                self.send(conn, side, What::Reset);
            } else {
                self.shut(conn, side);
            }
        }
        self.fail(conn, side, ErrorKind::NotConnected, why);
    }

    /// An end is gone.
    pub(super) fn fail(&mut self, conn: ConnId, side: Side, error: ErrorKind, why: &str) {
        let Some(ends) = self.conns.get_mut(&conn) else { return };
        let peer = ends[1 - side].host;
        let end = &mut ends[side];
        if std::mem::take(&mut end.open) {
            end.error = Some(error);
            end.wake_reader();
            if let Some(writer) = end.writer.take() {
                writer.wake();
            }
            self.stuck.remove(&(conn, side));
            self.tell(conn, side, "closed", &format_args!("{conn} {} {why}", self.hosts[peer].name));
        }
        // Once no program holds an end of it, nobody can see it.
        let unseen = |end: &End| !end.open && end.dropped == [true, true];
        if self.conns.get(&conn).is_some_and(|ends| ends.iter().all(unseen)) {
            self.conns.remove(&conn);
        }
    }

    /// What an end has sent and the other has not received never arrives.
    pub(super) fn forget_sent(&mut self, conn: ConnId, side: Side) {
        let mine = |packet: &Packet| (packet.conn, packet.side) == (conn, side);
        let queued: Vec<_> = self.queue.extract_if(.., |_, packet| mine(packet)).collect();
        let Some(ends) = self.conns.get_mut(&conn) else { return };
        let queued = queued.into_iter().map(|(_, packet)| packet.what);
        if ends[side].held.drain(..).chain(queued).any(|what| matches!(what, What::Established)) {
            // Nobody ever learns that there is an end to accept.
            ends[1].open = false;
        }
    }

    pub(super) fn cut(&mut self, wire: (HostId, HostId)) {
        self.cuts.insert(wire);
    }

    pub(super) fn mend(&mut self, wires: &[(HostId, HostId)]) {
        let mended: Vec<_> = wires.iter().copied().filter(|wire| self.cuts.remove(wire)).collect();
        self.send_again(&mended);
    }

    /// What waits for these wires, or is on its way on them, goes on its way now; nobody waits for an answer across them.
    pub(super) fn send_again(&mut self, wires: &[(HostId, HostId)]) {
        if wires.is_empty() {
            return;
        }
        let wires: BTreeSet<_> = wires.iter().copied().collect();
        let wire_of = |ends: &[End; 2], side: Side| (ends[side].host, ends[1 - side].host);
        let mut again: Vec<Packet> = Vec::new();
        for (&conn, ends) in &mut self.conns {
            for side in 0..2 {
                let wire = wire_of(ends, side);
                if wires.contains(&wire) {
                    again.extend(ends[side].held.drain(..).map(|what| Packet { conn, side, what }));
                    ends[side].last_due = Duration::ZERO;
                }
                if wires.contains(&wire) || wires.contains(&(wire.1, wire.0)) {
                    self.stuck.remove(&(conn, side));
                }
            }
        }
        let conns = &self.conns;
        let mine = |packet: &Packet| {
            conns.get(&packet.conn).is_some_and(|ends| wires.contains(&wire_of(ends, packet.side)))
        };
        again.extend(self.queue.extract_if(.., |_, packet| mine(packet)).map(|(_, packet)| packet));
        for Packet { conn, side, what } in again {
            self.send(conn, side, what);
        }
    }

    pub(super) fn between_hosts(&self, one: HostId, other: HostId) -> Vec<ConnId> {
        let is = |ends: &[End; 2]| {
            let hosts = (ends[0].host, ends[1].host);
            hosts == (one, other) || hosts == (other, one)
        };
        self.conns.iter().filter(|(_, ends)| is(ends)).map(|(conn, _)| *conn).collect()
    }

    /// Breaks a connection at both ends, in the middle of what is on its way; of the next thing that is sent if nothing is.
    pub(super) fn reset(&mut self, conn: ConnId) {
        let has_data = |packet: &Packet| packet.conn == conn && matches!(packet.what, What::Data(_));
        if !self.queue.values().any(has_data) {
            if let Some(ends) = self.conns.get_mut(&conn) {
                ends.iter_mut().for_each(|end| end.reset_next = true);
            }
            return;
        }
        for side in 0..2 {
            let first = self.queue.values().find(|packet| has_data(packet) && packet.side == side);
            let part = first.and_then(|packet| match &packet.what {
                What::Data(data) => Some(data.clone()),
                _ => None,
            });
            let waits = self.conns.get(&conn).is_some_and(|ends| !ends[side].held.is_empty());
            self.forget_sent(conn, side);
            if let Some(mut data) = part.filter(|_| !waits) {
                data.truncate(usize::try_from(self.rng.next_u64() % data.len().max(1) as u64).unwrap_or(0));
                if let Some(ends) = self.conns.get_mut(&conn)
                    && ends[1 - side].open
                    && !data.is_empty()
                {
                    ends[1 - side].received.push_back(data);
                }
            }
        }
        for side in 0..2 {
            self.fail(conn, side, ErrorKind::ConnectionReset, "reset");
        }
    }

    pub(super) fn end_programs(&mut self, host: &str, owner: Option<u32>, silently: bool) {
        let Some(id) = self.host(host) else { return };
        let is_theirs = |theirs: u32| owner.is_none_or(|owner| owner == theirs);
        let ends = self.conns.iter().flat_map(|(conn, ends)| (0..2).map(|side| (*conn, side, &ends[side])));
        let ends = ends.filter(|(_, _, end)| end.host == id && is_theirs(end.owner));
        let ends: Vec<_> = ends.map(|(conn, side, end)| (conn, side, !end.received.is_empty())).collect();
        for (conn, side, unread) in ends {
            if let Some(ends) = self.conns.get_mut(&conn) {
                ends[side].dropped = [true, true];
            }
            if silently {
                self.fail(conn, side, ErrorKind::NotConnected, "power lost");
            } else {
                self.close(conn, side, "killed", unread);
            }
        }
        self.hosts[id].listeners.retain(|_, listening| !is_theirs(listening.owner));
    }
}

impl End {
    pub(super) fn new(host: HostId, owner: u32, local: SocketAddr) -> Self {
        Self {
            host,
            owner,
            local,
            open: true,
            dropped: [false; 2],
            offset: 0,
            unread: 0,
            last_due: Duration::ZERO,
            held: VecDeque::new(),
            shut: false,
            reset_next: false,
            writer: None,
            received: VecDeque::new(),
            read_offset: 0,
            at_end: false,
            error: None,
            reader: None,
        }
    }

    /// Hands over what was received, up to so many bytes; how many it was.
    pub(super) fn take_received(&mut self, buf: &mut ReadBuf<'_>, max: usize) -> usize {
        let mut taken = 0;
        while let Some(first) = self.received.front_mut() {
            let len = first.len().min(buf.remaining()).min(max - taken);
            if len == 0 {
                break;
            }
            buf.put_slice(&first[..len]);
            first.advance(len);
            taken += len;
            if first.is_empty() {
                self.received.pop_front();
            }
        }
        taken
    }

    pub(super) fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
