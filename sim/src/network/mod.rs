//! The simulated network, as a node sees it. turmoil drives hosts, runtimes and time; its sockets are not used: they know no
//! retransmission, no patience and no limit in bytes, answer a dial across a cut at once, and lose a port for each dial that fails.

mod outages;
mod stream;
mod tcp;
mod wires;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use beamline::world::{BoxFuture, Conn, Listener, Network, Probe};

use self::stream::{ReadHalf, WriteHalf};
pub(crate) use self::tcp::LATENCY_MS;
use self::tcp::{ConnId, Dialled, Side};
pub use self::tcp::{TCP_PATIENCE, WINDOW};
use self::wires::Place;
pub(crate) use self::wires::Wires;
use crate::trace::NodeProbe;

/// How long a dial waits for a host that does not answer, before it fails as timed out.
pub const SYN_PATIENCE: Duration = Duration::from_secs(20);

/// How long a dial waits before it asks again; then twice as long, and so on.
const SYN_RETRY: Duration = Duration::from_secs(1);

/// The network of one incarnation of a node.
pub(crate) struct NodeNetwork {
    pub(crate) host: String,
    pub(crate) wires: Arc<Wires>,
    pub(crate) probe: Arc<NodeProbe>,
}

impl NodeNetwork {
    #[expect(clippy::disallowed_methods, reason = "the simulated network waits in the simulation's time")]
    async fn dial(&self, host: &str, port: u16) -> io::Result<Conn> {
        let place = Place { host: &self.host, owner: self.probe.incarnation };
        let target = self.wires.resolve(place, host)?;
        let (mut waited, mut retry) = (Duration::ZERO, SYN_RETRY);
        loop {
            if let Some(round_trip) = self.wires.round_trip(target) {
                if !round_trip.is_zero() {
                    tokio::time::sleep(round_trip).await;
                }
                match self.wires.establish(target, place.owner, port) {
                    Dialled::Established { conn, local, peer } => {
                        return Ok(halves(&self.wires, conn, 0, local, peer));
                    }
                    Dialled::Refused => return Err(io::ErrorKind::ConnectionRefused.into()),
                    Dialled::Lost => {}
                }
                waited += round_trip;
            }
            let left = SYN_PATIENCE.saturating_sub(waited);
            tokio::time::sleep(retry.min(left)).await;
            if retry >= left {
                return Err(io::ErrorKind::TimedOut.into());
            }
            waited += retry;
            retry *= 2;
        }
    }
}

fn halves(wires: &Arc<Wires>, conn: ConnId, side: Side, local: SocketAddr, peer: SocketAddr) -> Conn {
    let read = Box::new(ReadHalf { wires: wires.clone(), conn, side });
    let write = Box::new(WriteHalf { wires: wires.clone(), conn, side });
    Conn { read, write, wait: None, local, peer }
}

impl Network for NodeNetwork {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Conn>> {
        Box::pin(async move {
            let dialled = self.dial(host, port).await;
            if let Err(error) = &dialled {
                self.probe.event("", "not connected", &format_args!("{host}:{port} {}", error.kind()));
            }
            dialled
        })
    }

    fn listen<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let place = Place { host: &self.host, owner: self.probe.incarnation };
            let loopback = matches!(host, "127.0.0.1" | "localhost");
            let local = self.wires.listen(place, port, loopback)?;
            let (wires, host, owner) = (self.wires.clone(), self.host.clone(), place.owner);
            Ok(Box::new(Accept { wires, host, owner, local }) as Box<dyn Listener>)
        })
    }
}

struct Accept {
    wires: Arc<Wires>,
    host: String,
    owner: u32,
    local: SocketAddr,
}

impl Accept {
    fn place(&self) -> Place<'_> {
        Place { host: &self.host, owner: self.owner }
    }
}

impl Listener for Accept {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Conn>> {
        Box::pin(async move {
            let (conn, local, peer) =
                poll_fn(|cx| self.wires.poll_accept(cx, self.place(), self.local.port())).await?;
            Ok(halves(&self.wires, conn, 1, local, peer))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}

impl Drop for Accept {
    fn drop(&mut self) {
        self.wires.unlisten(self.place(), self.local.port());
    }
}
