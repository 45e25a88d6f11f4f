//! A network in memory: what is sent is there at once, and nothing is lost.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use crate::world::{BoxFuture, Conn, Listener, Network, ShutOnDrop};

/// So much may be under way on a connection in each direction before its writer waits.
const CAPACITY: usize = 64 << 10;
/// Where free ports begin.
const FREE_PORTS: u16 = 49_152;

/// What all nodes of a test share: who listens where. A host is the part of a node's name after the `@`.
#[derive(Default)]
pub(super) struct Wires {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    listening: BTreeMap<(String, u16), mpsc::UnboundedSender<Conn>>,
    /// The number of a host is the last part of its address.
    hosts: Vec<String>,
    ports: u16,
}

impl State {
    fn address(&mut self, host: &str) -> IpAddr {
        let known = self.hosts.iter().position(|known| known == host);
        let number = known.unwrap_or_else(|| {
            self.hosts.push(host.to_owned());
            self.hosts.len() - 1
        });
        IpAddr::V4(Ipv4Addr::from(0x0A00_0001 + number as u32))
    }

    fn free_port(&mut self) -> u16 {
        self.ports = (self.ports + 1) % (u16::MAX - FREE_PORTS);
        FREE_PORTS + self.ports
    }
}

impl Wires {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The network as one host sees it.
pub(super) struct TestNetwork {
    pub(super) wires: Arc<Wires>,
    pub(super) host: String,
}

impl TestNetwork {
    fn resolve<'a>(&'a self, host: &'a str) -> &'a str {
        if matches!(host, "0.0.0.0" | "127.0.0.1" | "localhost") { &self.host } else { host }
    }

    fn dial(&self, host: &str, port: u16) -> io::Result<Conn> {
        let host = self.resolve(host);
        let mut state = self.wires.state();
        let local = SocketAddr::new(state.address(&self.host), state.free_port());
        let peer = SocketAddr::new(state.address(host), port);
        let (ours, theirs) = tokio::io::duplex(CAPACITY);
        // As of a host that is there: all are.
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let listener = state.listening.get(&(host.to_owned(), port)).ok_or_else(refused)?;
        listener.send(conn(theirs, peer, local)).map_err(|_| refused())?;
        Ok(conn(ours, local, peer))
    }
}

fn conn(stream: DuplexStream, local: SocketAddr, peer: SocketAddr) -> Conn {
    let (read, write) = tokio::io::split(stream);
    Conn { read: Box::new(read), write: Box::new(ShutOnDrop(write)), wait: None, local, peer }
}

impl Network for TestNetwork {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Conn>> {
        Box::pin(async move { self.dial(host, port) })
    }

    fn listen<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let host = self.resolve(host).to_owned();
            let mut state = self.wires.state();
            let port = if port == 0 { state.free_port() } else { port };
            let address = SocketAddr::new(state.address(&host), port);
            let place = (host, port);
            if state.listening.contains_key(&place) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            let (dialled, accepted) = mpsc::unbounded_channel();
            state.listening.insert(place.clone(), dialled);
            let wires = self.wires.clone();
            Ok(Box::new(Accept { accepted, wires, place, address }) as Box<dyn Listener>)
        })
    }
}

struct Accept {
    accepted: mpsc::UnboundedReceiver<Conn>,
    wires: Arc<Wires>,
    place: (String, u16),
    address: SocketAddr,
}

impl Listener for Accept {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Conn>> {
        Box::pin(async move { self.accepted.recv().await.ok_or_else(|| io::ErrorKind::NotConnected.into()) })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Drop for Accept {
    fn drop(&mut self) {
        self.wires.state().listening.remove(&self.place);
    }
}
