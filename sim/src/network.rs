//! The simulated network: turmoil's sockets behind a table of cuts of our own, since turmoil answers a dial
//! across a cut at once where a real network stays silent.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use beamline::world::{BoxFuture, BoxWrite, Conn, Listener, Network, Probe};
use tokio::io::AsyncWrite;
use turmoil::net::{TcpListener, TcpStream};

use crate::trace::{Fnv, NodeProbe};

/// How long a dial waits for a host that does not answer, before it fails as timed out.
pub const SYN_PATIENCE: Duration = Duration::from_secs(20);

/// How long a message takes on a wire of which nothing else is said, in milliseconds.
pub(crate) const LATENCY_MS: (u32, u32) = (1, 20);

/// What all nodes of a run share of the network.
#[derive(Debug, Default)]
pub(crate) struct Wires {
    state: Mutex<WiresState>,
}

#[derive(Debug, Default)]
struct WiresState {
    hosts: BTreeSet<String>,
    // Unordered pairs, the smaller name first.
    cuts: BTreeSet<(String, String)>,
}

fn pair(one: &str, other: &str) -> (String, String) {
    let (low, high) = if one <= other { (one, other) } else { (other, one) };
    (low.to_owned(), high.to_owned())
}

impl Wires {
    fn with<T>(&self, change: impl FnOnce(&mut WiresState) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn add_host(&self, host: &str) -> bool {
        self.with(|state| state.hosts.insert(host.to_owned()))
    }

    pub(crate) fn cut(&self, one: &str, other: &str) {
        self.with(|state| state.cuts.insert(pair(one, other)));
    }

    pub(crate) fn heal(&self, one: &str, other: &str) {
        self.with(|state| state.cuts.remove(&pair(one, other)));
    }

    fn is_cut(&self, one: &str, other: &str) -> bool {
        self.with(|state| state.cuts.contains(&pair(one, other)))
    }

    fn has_host(&self, host: &str) -> bool {
        self.with(|state| state.hosts.contains(host))
    }
}

pub(crate) struct NodeNetwork {
    pub(crate) host: String,
    pub(crate) wires: Arc<Wires>,
    pub(crate) probe: Arc<NodeProbe>,
}

impl NodeNetwork {
    /// The address of a host, and its name if that is known.
    fn resolve(&self, host: &str) -> io::Result<(IpAddr, Option<String>)> {
        if host == "localhost" || host == self.host {
            return Ok((IpAddr::V4(Ipv4Addr::LOCALHOST), None));
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok((address, turmoil::reverse_lookup(address)));
        }
        if !self.wires.has_host(host) {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no host {host}")));
        }
        Ok((turmoil::lookup(host), Some(host.to_owned())))
    }

    #[expect(clippy::disallowed_methods, reason = "the simulated network waits in the simulation's time")]
    async fn dial(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let (address, peer) = self.resolve(host)?;
        if peer.is_some_and(|peer| self.wires.is_cut(&self.host, &peer)) {
            tokio::time::sleep(SYN_PATIENCE).await;
            return Err(io::ErrorKind::TimedOut.into());
        }
        match tokio::time::timeout(SYN_PATIENCE, TcpStream::connect((address, port))).await {
            Ok(connected) => connected,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Network for NodeNetwork {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Conn>> {
        Box::pin(async move {
            match self.dial(host, port).await {
                Ok(stream) => {
                    let peer = stream.peer_addr()?;
                    conn(stream, peer, "connected", &self.probe)
                }
                Err(error) => {
                    self.probe.event("", "not connected", &format_args!("{host}:{port} {}", error.kind()));
                    Err(error)
                }
            }
        })
    }

    fn listen<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            // turmoil binds to these two alone, and a host has no other addresses.
            let address = match host {
                "127.0.0.1" | "localhost" => Ipv4Addr::LOCALHOST,
                _ => Ipv4Addr::UNSPECIFIED,
            };
            let listener = TcpListener::bind((address, port)).await?;
            Ok(Box::new(Accept { listener, probe: self.probe.clone() }) as Box<dyn Listener>)
        })
    }
}

struct Accept {
    listener: TcpListener,
    probe: Arc<NodeProbe>,
}

impl Listener for Accept {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Conn>> {
        Box::pin(async move {
            let (stream, peer) = self.listener.accept().await?;
            conn(stream, peer, "accepted", &self.probe)
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

fn conn(stream: TcpStream, peer: SocketAddr, kind: &'static str, probe: &Arc<NodeProbe>) -> io::Result<Conn> {
    let local = stream.local_addr()?;
    probe.event("", kind, &format_args!("{local} {peer}"));
    let (read, write) = stream.into_split();
    let write: BoxWrite = Box::new(Traced { inner: write, local, peer, probe: probe.clone() });
    Ok(Conn { read: Box::new(read), write, local, peer })
}

/// Records what is sent, so that the trace of a run covers every byte on the wire.
struct Traced<W> {
    inner: W,
    local: SocketAddr,
    peer: SocketAddr,
    probe: Arc<NodeProbe>,
}

impl<W> Traced<W> {
    fn sent<'a>(&self, len: usize, parts: impl Iterator<Item = &'a [u8]>) {
        let mut hash = Fnv::default();
        let mut left = len;
        for part in parts {
            let sent = &part[..part.len().min(left)];
            hash.write(sent);
            left -= sent.len();
        }
        self.probe.event("", "sent", &format_args!("{} {} {len} {:016x}", self.local, self.peer, hash.0));
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Traced<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let len = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        self.sent(len, std::iter::once(buf));
        Poll::Ready(Ok(len))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs))?;
        self.sent(len, bufs.iter().map(|part| &**part));
        Poll::Ready(Ok(len))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
