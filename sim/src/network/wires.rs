//! The wires between all hosts of a run, as the programs of nodes use them.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rand_core::Rng;
use tokio::io::ReadBuf;

use super::tcp::{ConnId, Dialled, EPHEMERAL, Host, Listening, Side, State, Target, WINDOW, What};
use crate::trace::Recorder;

/// A program on a host: of which of its incarnations a socket is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) host: &'a str,
    pub(super) owner: u32,
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

impl Wires {
    pub(crate) fn new(seed: u64, recorder: Arc<Recorder>) -> Self {
        let state = State::new(seed, recorder.clone());
        Self { recorder, state: Mutex::new(state) }
    }

    /// Does something to what all share; in a node, at the node's time.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
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
