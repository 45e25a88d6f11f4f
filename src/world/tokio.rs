//! The real world, on tokio.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this is where the real world enters"
)]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::time::Instant;

use super::files::Directory;
use super::{BoxFuture, BoxRead, BoxWrite, Clock, Conn, Entropy, Listener, Mono, Network, Wait, World, busy};

/// Connections that may wait to be accepted, as far as the system allows: a whole cluster may reconnect at once.
const BACKLOG: u32 = 1024;

pub(super) fn world() -> World {
    World {
        net: Arc::new(Tcp { busy_poll: None }),
        clock: Arc::new(SystemClock { start: Instant::now() }),
        entropy: Arc::new(SystemEntropy),
        disk: Arc::new(Directory(".".into())),
        probe: None,
        gate: None,
    }
}

struct Tcp {
    busy_poll: Option<Duration>,
}

impl Network for Tcp {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Conn>> {
        Box::pin(async move {
            let stream = TcpStream::connect((host, port)).await?;
            let peer = stream.peer_addr()?;
            conn(stream, peer, self.busy_poll)
        })
    }

    fn busy_polling(&self, within: Duration) -> Option<Arc<dyn Network>> {
        Some(Arc::new(Self { busy_poll: Some(within) }))
    }

    fn listen<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
            for address in lookup_host((host, port)).await? {
                match bind(address) {
                    Ok(listener) => {
                        let accept = Accept { listener, busy_poll: self.busy_poll };
                        return Ok(Box::new(accept) as Box<dyn Listener>);
                    }
                    Err(error) => failure = error,
                }
            }
            Err(failure)
        })
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A node that starts again gets its port back at once. On Windows the option would let another program take
    // the port of a living one.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

struct Accept {
    listener: TcpListener,
    busy_poll: Option<Duration>,
}

impl Listener for Accept {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Conn>> {
        Box::pin(async move {
            let (stream, peer) = self.listener.accept().await?;
            conn(stream, peer, self.busy_poll)
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

fn conn(stream: TcpStream, peer: SocketAddr, busy_poll: Option<Duration>) -> io::Result<Conn> {
    // A node writes whole batches itself: waiting for more to send would only add latency.
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    if local == peer {
        // Nobody listens, and the system gave the socket the very port that it connects to: it would talk to itself (RFC 9293, section 3.5).
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let (read, write, wait) = match busy_poll {
        Some(within) => {
            let (read, write) = busy::split(stream, within)?;
            (read, write, None)
        }
        None => split(stream)?,
    };
    Ok(Conn { read, write, wait, local, peer })
}

#[cfg(target_os = "linux")]
fn split(stream: TcpStream) -> io::Result<(BoxRead, BoxWrite, Option<Wait>)> {
    let (read, write, wait) = super::socket::split(stream)?;
    // Who has one thread for all may count on that.
    let flavor = ::tokio::runtime::Handle::current().runtime_flavor();
    Ok((read, write, (flavor != ::tokio::runtime::RuntimeFlavor::CurrentThread).then_some(wait)))
}

#[cfg(not(target_os = "linux"))]
fn split(stream: TcpStream) -> io::Result<(BoxRead, BoxWrite, Option<Wait>)> {
    let (read, write) = stream.into_split();
    Ok((Box::new(read), Box::new(write), None))
}

struct SystemClock {
    // tokio's instant is the system's, except in a test that pauses the runtime's time.
    start: Instant,
}

impl Clock for SystemClock {
    #[hot]
    fn mono(&self) -> Mono {
        let elapsed = Instant::now().saturating_duration_since(self.start);
        // In 64 bits, which last for centuries: a call reads the clock.
        Mono(elapsed.as_secs() * 1_000_000_000 + u64::from(elapsed.subsec_nanos()))
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn resident_memory(&self) -> Option<u64> {
        // Linux's. Source: proc_pid_status(5).
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kilobytes * 1024)
    }

    fn busy(&self, thread: usize) -> Duration {
        let metrics = ::tokio::runtime::Handle::current().metrics();
        if thread < metrics.num_workers() {
            metrics.worker_total_busy_duration(thread)
        } else {
            Duration::ZERO
        }
    }

    fn watch(&self, interval: Duration, mut look: Box<dyn FnMut(Duration) -> bool + Send>) {
        // The system's: a runtime's time may be paused.
        let start = std::time::Instant::now();
        let watch = move || {
            while look(start.elapsed()) {
                std::thread::sleep(interval);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("beamline-watchdog".to_owned()).spawn(watch) {
            tracing::error!(%error, "there is no thread for the watchdog");
        }
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    /// Every stream has its own seed from the system, so that challenges drawn from it cannot be foretold.
    fn fork(&self, _label: &str) -> ChaCha8Rng {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).expect("the system has a source of randomness");
        ChaCha8Rng::from_seed(seed)
    }
}

/// Waits for the program to be told to end: SIGINT or SIGTERM, or what the system has in their place.
#[cfg(feature = "signal")]
pub(crate) fn terminate_signal() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        use ::tokio::signal::unix::{SignalKind, signal};
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(async move {
            ::tokio::select! {
                biased;
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    {
        Ok(async {
            // Where there is none to wait for, nothing ever tells the program.
            let _ = ::tokio::signal::ctrl_c().await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[::tokio::test]
    async fn a_socket_that_is_connected_to_itself_is_refused() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let itself = socket.local_addr().unwrap();
        let stream = socket.connect(itself).await.unwrap();
        let refused = conn(stream, itself, None).map(|_| ());
        assert_eq!(refused.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionRefused));
    }
}
