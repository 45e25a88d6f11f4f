//! A socket whose every wait has an end.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the suite waits for whatever should come at once. A bound for nodes that are at fault, not a measure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The same for the end of a connection.
pub(crate) const CLOSING: Duration = Duration::from_secs(5);
/// How long the suite listens for what must not come.
pub(crate) const QUIET: Duration = Duration::from_millis(200);
/// Between two looks at what is to change.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

/// What went wrong with a connection.
#[derive(Debug)]
pub(crate) enum WireError {
    /// The node closed it.
    Closed,
    /// Nothing came in time.
    Silent,
    Other(std::io::Error),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => write!(f, "the node closed the connection"),
            Self::Silent => write!(f, "nothing came in time"),
            Self::Other(error) => write!(f, "{error}"),
        }
    }
}

impl From<std::io::Error> for WireError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Other(error),
        }
    }
}

/// The writing half; clones write to the same socket, a whole packet at a time.
#[derive(Clone)]
pub(crate) struct Sender(Arc<Mutex<TcpStream>>);

impl Sender {
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<(), WireError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes)?)
    }

    pub(crate) fn shutdown(&self, how: Shutdown) {
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).shutdown(how);
    }

    /// A sender that does not keep the socket open.
    pub(crate) fn downgrade(&self) -> std::sync::Weak<Mutex<TcpStream>> {
        Arc::downgrade(&self.0)
    }

    pub(crate) fn upgrade(weak: &std::sync::Weak<Mutex<TcpStream>>) -> Option<Self> {
        weak.upgrade().map(Self)
    }
}

/// A connection.
pub(crate) struct Wire {
    stream: TcpStream,
    sender: Sender,
    read: Vec<u8>,
    taken: usize,
}

impl Wire {
    pub(crate) fn connect(host: &str, port: u16) -> Result<Self, WireError> {
        let address = (host, port)
            .to_socket_addrs()?
            .find(std::net::SocketAddr::is_ipv4)
            .ok_or_else(|| std::io::Error::new(ErrorKind::NotFound, format!("{host} has no address")))?;
        Self::new(TcpStream::connect_timeout(&address, PATIENCE)?)
    }

    pub(crate) fn new(stream: TcpStream) -> Result<Self, WireError> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE * 3))?;
        let sender = Sender(Arc::new(Mutex::new(stream.try_clone()?)));
        Ok(Self { stream, sender, read: Vec::new(), taken: 0 })
    }

    pub(crate) fn sender(&self) -> &Sender {
        &self.sender
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> Result<(), WireError> {
        self.sender.send(bytes)
    }

    /// With a length prefix of two bytes, as the handshake and EPMD want it.
    pub(crate) fn send_short(&self, bytes: &[u8]) -> Result<(), WireError> {
        let mut packet = (bytes.len() as u16).to_be_bytes().to_vec();
        packet.extend(bytes);
        self.send(&packet)
    }

    /// Waits until there is something to read, and leaves it unread: a close is an RST then.
    pub(crate) fn wait_for_data(&mut self, within: Duration) -> Result<(), WireError> {
        self.stream.set_read_timeout(Some(within))?;
        match self.stream.peek(&mut [0]) {
            Ok(0) => Err(WireError::Closed),
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads `len` bytes until `end`.
    pub(crate) fn exactly(&mut self, len: usize, end: Instant) -> Result<Vec<u8>, WireError> {
        self.fill(len, end)?;
        let bytes = self.read[self.taken..self.taken + len].to_vec();
        self.taken += len;
        if self.taken > 1 << 20 || self.taken == self.read.len() {
            self.read.drain(..self.taken);
            self.taken = 0;
        }
        Ok(bytes)
    }

    /// Reads a packet with a length prefix of `prefix` bytes. A wait that ends early loses nothing of it.
    pub(crate) fn packet(&mut self, prefix: usize, end: Instant) -> Result<Vec<u8>, WireError> {
        self.fill(prefix, end)?;
        let head = &self.read[self.taken..self.taken + prefix];
        let len = head.iter().fold(0usize, |len, &byte| len << 8 | usize::from(byte));
        self.fill(prefix + len, end)?;
        self.exactly(prefix, end)?;
        self.exactly(len, end)
    }

    fn fill(&mut self, len: usize, end: Instant) -> Result<(), WireError> {
        while self.read.len() - self.taken < len {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(WireError::Silent);
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut chunk = [0; 1 << 16];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(WireError::Closed),
                Ok(count) => self.read.extend(&chunk[..count]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => return Err(error.into()),
                },
            }
        }
        Ok(())
    }

    /// Waits until the node closes the connection, and returns what it sent before.
    pub(crate) fn until_closed(&mut self, within: Duration) -> Result<Vec<u8>, WireError> {
        let end = Instant::now() + within;
        loop {
            match self.fill(self.read.len() - self.taken + 1, end) {
                Ok(()) => {}
                Err(WireError::Closed) => return Ok(self.read.split_off(self.taken)),
                Err(error) => return Err(error),
            }
        }
    }
}
