//! The wires between all hosts of a run, and what is on its way on them: a model of TCP as programs see it.
//!
//! What is sent arrives in order after the wire's latency. Across a cut it waits, as retransmission makes it, until the wire is mended or
//! the sender's patience is over; a message to a socket that is gone is answered with a reset. A writer waits once a window of bytes was
//! not read. The simulation delivers what is due between two of its steps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use beamline::world::Entropy;
use bytes::{Buf, Bytes};
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;
use tokio::io::ReadBuf;

use crate::entropy::NodeEntropy;
use crate::trace::{Fnv, Recorder};

/// How long a dial waits for a host that does not answer, before it fails as timed out.
pub const SYN_PATIENCE: Duration = Duration::from_secs(20);

/// How long an end of a connection waits for what it has sent to be acknowledged, before it fails as timed out. Systems take minutes; this is short
/// enough to be seen in a run.
pub const TCP_PATIENCE: Duration = Duration::from_secs(15);

/// How many bytes of one connection may be on their way, in one direction, until the program at the other end reads them.
pub const WINDOW: usize = 128 << 10;

/// How long a message takes on a wire of which nothing else is said, in milliseconds.
pub(crate) const LATENCY_MS: (u32, u32) = (1, 20);

/// Connections that may wait to be accepted; who dials then tries again, and no one is refused.
const BACKLOG: usize = 1024;

/// What goes on a wire at once, where it takes only so many bytes a millisecond.
const SEGMENT: usize = 1460;

const EPMD_PORT: u16 = 4369;

/// The first of the ports that dials come from.
const EPHEMERAL: u16 = 49152;

pub(super) type ConnId = u64;
/// 0 is who dialled, 1 who accepted.
pub(super) type Side = usize;
type HostId = usize;

/// A program on a host: of which of its incarnations a socket is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) host: &'a str,
    pub(super) owner: u32,
}

/// From where to where a dial goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    from: HostId,
    to: HostId,
}

pub(super) enum Dialled {
    Established { conn: ConnId, local: SocketAddr, peer: SocketAddr },
    Refused,
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Read,
    Write,
}

/// What all nodes of a run share of the network.
pub(crate) struct Wires {
    recorder: Arc<Recorder>,
    state: Mutex<State>,
}

struct State {
    recorder: Arc<Recorder>,
    /// When what was due was last delivered.
    now: Duration,
    hosts: Vec<Host>,
    /// What the first sends does not reach the second.
    cuts: BTreeSet<(HostId, HostId)>,
    /// By pairs in order.
    latencies: BTreeMap<(HostId, HostId), (u32, u32)>,
    limits: BTreeMap<(HostId, HostId), u32>,
    /// When a wire with a limit has room again.
    free_at: BTreeMap<(HostId, HostId), Duration>,
    conns: BTreeMap<ConnId, [End; 2]>,
    next_conn: ConnId,
    queue: BTreeMap<(Duration, u64), Packet>,
    next_packet: u64,
    /// The ends that have sent what is not acknowledged, because something is broken.
    stuck: BTreeMap<(ConnId, Side), Duration>,
    rng: ChaCha8Rng,
}

struct Host {
    name: String,
    powered: bool,
    listeners: BTreeMap<u16, Listening>,
    next_port: u16,
    chunk: Option<usize>,
    epmd_down: bool,
}

struct Listening {
    owner: u32,
    loopback: bool,
    backlog: VecDeque<ConnId>,
    waker: Option<Waker>,
}

/// One end of a connection.
struct End {
    host: HostId,
    owner: u32,
    local: SocketAddr,
    /// Whether the host knows the socket. It does not after an error, or once the program has dropped both halves.
    open: bool,
    dropped: [bool; 2],
    // What it sends.
    offset: u64,
    unread: usize,
    last_due: Duration,
    held: VecDeque<What>,
    shut: bool,
    reset_next: bool,
    writer: Option<Waker>,
    // What it received.
    received: VecDeque<Bytes>,
    read_offset: u64,
    at_end: bool,
    error: Option<ErrorKind>,
    reader: Option<Waker>,
}

struct Packet {
    conn: ConnId,
    /// Who sent it.
    side: Side,
    what: What,
}

enum What {
    /// The last part of a handshake: the other end may be accepted.
    Established,
    Data(Bytes),
    End,
    Reset,
}

impl Wires {
    pub(crate) fn new(seed: u64, recorder: Arc<Recorder>) -> Self {
        let state = State {
            recorder: recorder.clone(),
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
        };
        Self { recorder, state: Mutex::new(state) }
    }

    /// Does something to what all share; in a node, at the node's time.
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.recorder.is_closed()
            && let Some(now) = turmoil::sim_elapsed()
        {
            state.now = now;
        }
        change(&mut state)
    }

    pub(crate) fn add_host(&self, name: &str) -> bool {
        self.with(|state| {
            if state.host(name).is_some() {
                return false;
            }
            state.hosts.push(Host {
                name: name.to_owned(),
                powered: true,
                listeners: BTreeMap::new(),
                next_port: EPHEMERAL,
                chunk: None,
                epmd_down: false,
            });
            true
        })
    }

    /// Hands over what is due.
    pub(crate) fn deliver(&self, now: Duration) {
        self.with(|state| state.deliver(now));
    }

    pub(super) fn resolve(&self, from: Place<'_>, host: &str) -> io::Result<Target> {
        self.with(|state| {
            let not_found = || io::Error::new(ErrorKind::NotFound, format!("there is no host {host}"));
            let own = state.host(from.host).ok_or_else(not_found)?;
            if host == "localhost" {
                return Ok(Target { from: own, to: own });
            }
            let to = match host.parse() {
                Ok(IpAddr::V4(address)) if address.is_loopback() => Some(own),
                Ok(address) => (0..state.hosts.len()).find(|id| state.address(*id, false) == address),
                Err(_) => state.host(host),
            };
            Ok(Target { from: own, to: to.ok_or_else(not_found)? })
        })
    }

    /// How long it takes until a dial is answered; `None` if now it would not be.
    pub(super) fn round_trip(&self, Target { from, to }: Target) -> Option<Duration> {
        self.with(|state| {
            let there = state.reaches(from, to) && state.reaches(to, from);
            there.then(|| state.latency(from, to) + state.latency(to, from))
        })
    }

    pub(super) fn establish(&self, Target { from, to }: Target, owner: u32, port: u16) -> Dialled {
        self.with(|state| state.establish(from, to, owner, port))
    }

    pub(super) fn listen(&self, place: Place<'_>, port: u16, loopback: bool) -> io::Result<SocketAddr> {
        self.with(|state| {
            let id = state.host(place.host).ok_or(ErrorKind::NotFound)?;
            let port = if port == 0 { state.free_port(id)? } else { port };
            let host = &mut state.hosts[id];
            if host.listeners.contains_key(&port) {
                return Err(ErrorKind::AddrInUse.into());
            }
            let listening = Listening { owner: place.owner, loopback, backlog: VecDeque::new(), waker: None };
            host.listeners.insert(port, listening);
            let address = if loopback { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
            Ok((address, port).into())
        })
    }

    pub(super) fn unlisten(&self, place: Place<'_>, port: u16) {
        if self.recorder.is_closed() {
            return;
        }
        self.with(|state| {
            let Some(id) = state.host(place.host) else { return };
            let host = &mut state.hosts[id];
            if host.listeners.get(&port).is_some_and(|listening| listening.owner == place.owner) {
                let listening = host.listeners.remove(&port);
                for conn in listening.into_iter().flat_map(|listening| listening.backlog) {
                    state.close(conn, 1, "not accepted", true);
                }
            }
        });
    }

    pub(super) fn poll_accept(
        &self,
        cx: &Context<'_>,
        place: Place<'_>,
        port: u16,
    ) -> Poll<io::Result<(ConnId, SocketAddr, SocketAddr)>> {
        self.with(|state| {
            let Some(id) = state.host(place.host) else {
                return Poll::Ready(Err(ErrorKind::NotFound.into()));
            };
            let Some(listening) = state.hosts[id].listeners.get_mut(&port) else {
                return Poll::Ready(Err(ErrorKind::NotConnected.into()));
            };
            while let Some(conn) = listening.backlog.pop_front() {
                if let Some([dialler, acceptor]) = state.conns.get_mut(&conn) {
                    acceptor.dropped = [false, false];
                    let (local, peer) = (acceptor.local, dialler.local);
                    state.tell(conn, 1, "accepted", &format_args!("{}", state.between(conn, 1)));
                    return Poll::Ready(Ok((conn, local, peer)));
                }
            }
            listening.waker = Some(cx.waker().clone());
            Poll::Pending
        })
    }

    pub(super) fn poll_read(
        &self,
        cx: &Context<'_>,
        conn: ConnId,
        side: Side,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|state| {
            let Some(ends) = state.conns.get_mut(&conn) else {
                return Poll::Ready(Err(ErrorKind::NotConnected.into()));
            };
            let end = &mut ends[side];
            if end.received.is_empty() {
                return if let Some(error) = end.error {
                    Poll::Ready(Err(error.into()))
                } else if end.at_end {
                    Poll::Ready(Ok(()))
                } else {
                    end.reader = Some(cx.waker().clone());
                    Poll::Pending
                };
            }
            let chunk = state.hosts[end.host].chunk.unwrap_or(usize::MAX);
            let len = end.take_received(buf, chunk);
            if len == 0 {
                return Poll::Ready(Ok(()));
            }
            let offset = end.read_offset;
            end.read_offset += len as u64;
            let peer = &mut ends[1 - side];
            peer.unread = peer.unread.saturating_sub(len);
            if let Some(writer) = peer.writer.take() {
                writer.wake();
            }
            let host = peer.host;
            let peer = &state.hosts[host].name;
            state.tell(conn, side, "got", &format_args!("{conn} {peer} {offset} {len}"));
            Poll::Ready(Ok(()))
        })
    }

    pub(super) fn poll_write(
        &self,
        cx: &Context<'_>,
        conn: ConnId,
        side: Side,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|state| {
            let Some(ends) = state.conns.get_mut(&conn) else {
                return Poll::Ready(Err(ErrorKind::NotConnected.into()));
            };
            let end = &mut ends[side];
            if let Some(error) = end.error {
                return Poll::Ready(Err(error.into()));
            }
            if end.shut {
                return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
            }
            let asked: usize = bufs.iter().map(|part| part.len()).sum();
            let chunk = state.hosts[end.host].chunk.unwrap_or(usize::MAX);
            let mut len = asked.min(WINDOW.saturating_sub(end.unread)).min(chunk);
            if len == 0 && asked > 0 {
                end.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let resets = end.reset_next && len > 0;
            if resets {
                len = usize::try_from(state.rng.next_u64() % len as u64).unwrap_or(0);
            }
            let mut data = Vec::with_capacity(len);
            for part in bufs {
                data.extend_from_slice(&part[..part.len().min(len - data.len())]);
            }
            state.send_data(conn, side, data.into());
            if resets {
                state.send(conn, side, What::Reset);
                state.fail(conn, side, ErrorKind::ConnectionReset, "reset");
                if len == 0 {
                    return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
                }
            }
            Poll::Ready(Ok(len))
        })
    }

    pub(super) fn shut(&self, conn: ConnId, side: Side) {
        self.with(|state| state.shut(conn, side));
    }

    pub(super) fn drop_half(&self, conn: ConnId, side: Side, half: Half) {
        if self.recorder.is_closed() {
            return;
        }
        self.with(|state| {
            if half == Half::Write {
                state.shut(conn, side);
            }
            let Some(ends) = state.conns.get_mut(&conn) else { return };
            ends[side].dropped[half as usize] = true;
            if ends[side].dropped == [true, true] {
                // Who closes without having read all sends a reset.
                let unread = !ends[side].received.is_empty();
                state.close(conn, side, "closed", unread);
            }
        });
    }
}

/// What is done to the wires.
impl Wires {
    pub(crate) fn cut(&self, from: &str, to: &str) {
        self.with(|state| {
            if let Some(wire) = state.wire(from, to) {
                state.cut(wire);
            }
        });
    }

    pub(crate) fn mend(&self, one: &str, other: &str) {
        self.with(|state| {
            if let Some((one, other)) = state.wire(one, other) {
                state.mend(&[(one, other), (other, one)]);
            }
        });
    }

    pub(crate) fn mend_all(&self) {
        self.with(|state| {
            let cuts: Vec<_> = state.cuts.iter().copied().collect();
            state.mend(&cuts);
        });
    }

    pub(crate) fn partition(&self, groups: &[Vec<String>]) {
        self.with(|state| {
            let group_of = |state: &State, id: HostId| {
                groups.iter().position(|group| group.contains(&state.hosts[id].name))
            };
            let mut whole = Vec::new();
            for from in 0..state.hosts.len() {
                for to in (0..state.hosts.len()).filter(|to| *to != from) {
                    let group = group_of(state, from);
                    if group.is_some() && group == group_of(state, to) {
                        whole.push((from, to));
                    } else {
                        state.cut((from, to));
                    }
                }
            }
            state.mend(&whole);
        });
    }

    pub(crate) fn reset(&self, one: &str, other: &str) {
        self.with(|state| {
            let Some((one, other)) = state.wire(one, other) else { return };
            for conn in state.between_hosts(one, other) {
                state.reset(conn);
            }
        });
    }

    pub(crate) fn half_open(&self, gone: &str, left: &str) {
        self.with(|state| {
            let Some((gone, left)) = state.wire(gone, left) else { return };
            for conn in state.between_hosts(gone, left) {
                let side = usize::from(state.conns[&conn][0].host != gone);
                state.forget_sent(conn, side);
                state.fail(conn, side, ErrorKind::ConnectionReset, "half-open");
            }
        });
    }

    pub(crate) fn set_bandwidth(&self, from: &str, to: &str, bytes_per_ms: Option<u32>) {
        self.with(|state| {
            let Some(wire) = state.wire(from, to) else { return };
            match bytes_per_ms {
                Some(limit) => {
                    state.limits.insert(wire, limit.max(1));
                }
                None => {
                    state.limits.remove(&wire);
                    state.free_at.remove(&wire);
                    if !state.cuts.contains(&wire) {
                        state.send_again(&[wire]);
                    }
                }
            }
        });
    }

    pub(crate) fn set_latency(&self, one: &str, other: &str, latency: (u32, u32)) {
        self.with(|state| {
            if let Some((one, other)) = state.wire(one, other) {
                state.latencies.insert((one.min(other), one.max(other)), latency);
            }
        });
    }

    pub(crate) fn set_chunk(&self, host: &str, max_len: Option<u32>) {
        self.with(|state| {
            if let Some(id) = state.host(host) {
                state.hosts[id].chunk = max_len.map(|len| usize::try_from(len).unwrap_or(usize::MAX).max(1));
            }
        });
    }

    pub(crate) fn set_epmd(&self, host: &str, up: bool) {
        self.with(|state| {
            let Some(id) = state.host(host) else { return };
            state.hosts[id].epmd_down = !up;
            if up {
                return;
            }
            let of_epmd = |ends: &[End; 2]| ends[1].host == id && ends[1].local.port() == EPMD_PORT;
            let conns: Vec<_> =
                state.conns.iter().filter(|(_, ends)| of_epmd(ends)).map(|(conn, _)| *conn).collect();
            for conn in conns {
                for side in 0..2 {
                    state.forget_sent(conn, side);
                    state.fail(conn, side, ErrorKind::ConnectionReset, "epmd down");
                }
            }
        });
    }

    /// A process on the host is gone: all of them, or the one of this incarnation.
    pub(crate) fn killed(&self, host: &str, owner: Option<u32>) {
        self.with(|state| state.end_programs(host, owner, false));
    }

    /// The host is gone, in silence.
    pub(crate) fn power_lost(&self, host: &str) {
        self.with(|state| {
            state.end_programs(host, None, true);
            if let Some(id) = state.host(host) {
                state.hosts[id].powered = false;
            }
        });
    }

    /// The host is there.
    pub(crate) fn powered(&self, host: &str) {
        self.with(|state| {
            let Some(id) = state.host(host) else { return };
            state.hosts[id].powered = true;
            let wires: Vec<_> = (0..state.hosts.len()).map(|from| (from, id)).collect();
            let whole: Vec<_> = wires.into_iter().filter(|wire| !state.cuts.contains(wire)).collect();
            state.send_again(&whole);
        });
    }

    /// Ends all that was done, but for hosts without power.
    pub(crate) fn heal(&self) {
        self.mend_all();
        self.with(|state| {
            let limited: Vec<_> = state.limits.keys().copied().collect();
            state.limits.clear();
            state.free_at.clear();
            state.latencies.clear();
            state.send_again(&limited);
            for host in &mut state.hosts {
                (host.chunk, host.epmd_down) = (None, false);
            }
            for end in state.conns.values_mut().flatten() {
                end.reset_next = false;
            }
        });
    }
}

impl State {
    fn host(&self, name: &str) -> Option<HostId> {
        self.hosts.iter().position(|host| host.name == name)
    }

    fn wire(&self, from: &str, to: &str) -> Option<(HostId, HostId)> {
        Some((self.host(from)?, self.host(to)?)).filter(|(from, to)| from != to)
    }

    fn address(&self, id: HostId, loopback: bool) -> IpAddr {
        let number = u16::try_from(id + 1).unwrap_or(u16::MAX).to_be_bytes();
        if loopback { Ipv4Addr::LOCALHOST.into() } else { Ipv4Addr::new(10, 0, number[0], number[1]).into() }
    }

    fn reaches(&self, from: HostId, to: HostId) -> bool {
        self.hosts[to].powered && !self.cuts.contains(&(from, to))
    }

    fn latency(&mut self, from: HostId, to: HostId) -> Duration {
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

    fn free_port(&mut self, id: HostId) -> io::Result<u16> {
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

    fn establish(&mut self, from: HostId, to: HostId, owner: u32, port: u16) -> Dialled {
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
    fn between(&self, conn: ConnId, side: Side) -> String {
        let ends = &self.conns[&conn];
        let place = |end: &End| format!("{}:{}", self.hosts[end.host].name, end.local.port());
        format!("{conn} {} {}", place(&ends[side]), place(&ends[1 - side]))
    }

    fn tell(&self, conn: ConnId, side: Side, kind: &str, detail: &dyn std::fmt::Display) {
        let end = &self.conns[&conn][side];
        self.recorder.record(self.now, (&self.hosts[end.host].name, end.owner), kind, detail);
    }

    fn send_data(&mut self, conn: ConnId, side: Side, mut data: Bytes) {
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
    fn send(&mut self, conn: ConnId, side: Side, what: What) {
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

    fn deliver(&mut self, now: Duration) {
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

    fn arrive(&mut self, Packet { conn, side, what }: Packet) {
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

    fn shut(&mut self, conn: ConnId, side: Side) {
        let Some(ends) = self.conns.get_mut(&conn) else { return };
        if ends[side].open && !std::mem::replace(&mut ends[side].shut, true) {
            self.send(conn, side, What::End);
        }
    }

    /// An end is gone, and tells the other.
    fn close(&mut self, conn: ConnId, side: Side, why: &str, resets: bool) {
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
    fn fail(&mut self, conn: ConnId, side: Side, error: ErrorKind, why: &str) {
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
    fn forget_sent(&mut self, conn: ConnId, side: Side) {
        self.queue.retain(|_, packet| (packet.conn, packet.side) != (conn, side));
        if let Some(ends) = self.conns.get_mut(&conn) {
            ends[side].held.clear();
        }
    }

    fn cut(&mut self, wire: (HostId, HostId)) {
        self.cuts.insert(wire);
    }

    fn mend(&mut self, wires: &[(HostId, HostId)]) {
        for wire in wires {
            self.cuts.remove(wire);
        }
        self.send_again(wires);
    }

    /// What waits for these wires, or is on its way on them, goes on its way now; nobody waits for an answer across them.
    fn send_again(&mut self, wires: &[(HostId, HostId)]) {
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

    fn between_hosts(&self, one: HostId, other: HostId) -> Vec<ConnId> {
        let is = |ends: &[End; 2]| {
            let hosts = (ends[0].host, ends[1].host);
            hosts == (one, other) || hosts == (other, one)
        };
        self.conns.iter().filter(|(_, ends)| is(ends)).map(|(conn, _)| *conn).collect()
    }

    /// Breaks a connection at both ends, in the middle of what is on its way; of the next thing that is sent if nothing is.
    fn reset(&mut self, conn: ConnId) {
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

    fn end_programs(&mut self, host: &str, owner: Option<u32>, silently: bool) {
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
    fn new(host: HostId, owner: u32, local: SocketAddr) -> Self {
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
    fn take_received(&mut self, buf: &mut ReadBuf<'_>, max: usize) -> usize {
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

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
