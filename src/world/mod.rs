//! The one seam between a node and the world: network, clock, entropy, disk, probe, spawning.
//!
//! Everything a node cannot compute from its inputs enters here, so the same node runs on real sockets
//! ([`World::tokio`]) and inside a seeded simulation. Dynamic dispatch happens once a connection, file or
//! clock reading, never once a message.

mod busy;
mod disk;
mod files;
mod gate;
mod shut;
#[cfg(target_os = "linux")]
mod socket;
mod tokio;

use std::any::Any;
use std::cell::Cell;
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::ready;
use std::time::{Duration, SystemTime};

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::task::JoinHandle;
use ::tokio::time::{Sleep, Timeout};
use rand_chacha::ChaCha8Rng;

use crate::term::Pid;

pub use self::disk::{Disk, LogFile, NAME_MAX};
pub use self::gate::Gate;
pub(crate) use self::shut::ShutOnDrop;
#[cfg(target_os = "linux")]
pub use self::socket::Wait;

pub(crate) use self::disk::check_name;

#[cfg(feature = "signal")]
pub(crate) use self::tokio::terminate_signal;

/// A boxed future, as the object-safe traits of the world return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// The reading half of a connection.
pub type BoxRead = Box<dyn AsyncRead + Send + Unpin>;
/// The writing half of a connection.
pub type BoxWrite = Box<dyn AsyncWrite + Send + Unpin>;

/// An established connection, as two halves that are driven apart.
pub struct Conn {
    /// What the peer sends.
    pub read: BoxRead,
    /// What the peer receives.
    pub write: BoxWrite,
    /// A way for a thread to wait for what the reading half reads, if there is one: not where something lies between the halves and the
    /// socket.
    pub wait: Option<Wait>,
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub peer: SocketAddr,
}

/// Waits in the system's read for what a reading half reads, where there is a system that can be relied on for that.
#[cfg(not(target_os = "linux"))]
#[derive(Clone, Copy)]
pub enum Wait {}

#[cfg(not(target_os = "linux"))]
impl Wait {
    pub(crate) const LEN: usize = 0;

    pub(crate) fn begin(&self, _: &mut BoxRead) {
        match *self {}
    }

    pub(crate) fn end(&self) {
        match *self {}
    }

    pub(crate) fn for_more(&self, _: &mut bytes::BytesMut) -> io::Result<Option<usize>> {
        match *self {}
    }
}

/// A listening socket.
pub trait Listener: Send {
    /// Waits for the next connection. Cancel safe.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Conn>>;
    /// The address that peers connect to.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// Makes and accepts connections.
pub trait Network: Send + Sync {
    /// Connects to `host` (a name or an address) and `port`.
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Conn>>;
    /// Listens on `host` and `port`; port 0 asks for any free one.
    fn listen<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;
    /// The same network, but who reads from a connection that was active in the last `within` looks again and again instead of
    /// waiting to be told of data. `None` if that makes no difference here, as in a simulation.
    fn busy_polling(&self, within: Duration) -> Option<Arc<dyn Network>> {
        let _ = within;
        None
    }
}

/// A point on a node's own monotonic clock, in nanoseconds. A number, so that it can be logged, compared
/// over runs and skewed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Mono(pub u64);

impl Mono {
    /// The time since `earlier`, zero if that lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Mono {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        // In 64 bits: a call counts its deadline.
        let seconds = rhs.as_secs().saturating_mul(1_000_000_000);
        Self(self.0.saturating_add(seconds).saturating_add(u64::from(rhs.subsec_nanos())))
    }
}

/// A node's clocks.
pub trait Clock: Send + Sync {
    /// The monotonic clock.
    fn mono(&self) -> Mono;
    /// The wall clock.
    fn wall(&self) -> SystemTime;
    /// How long the runtime's timer must run for `local` to pass on this node's clock (a drifting clock differs).
    fn to_timer(&self, local: Duration) -> Duration {
        local
    }
    /// How many bytes of memory the whole program has, where the machine tells. A simulated one does not: it would tell each run something
    /// else.
    fn resident_memory(&self) -> Option<u64> {
        None
    }
    /// How long a thread of the runtime has worked, the first being 0. In virtual time that is nothing.
    fn busy(&self, thread: usize) -> Duration {
        let _ = thread;
        Duration::ZERO
    }
    /// Calls `look` at every `interval` with the time that has passed, from a thread of its own, which no task can hold up, until it
    /// returns false. A clock of virtual time never does: tasks take none of that.
    fn watch(&self, interval: Duration, look: Box<dyn FnMut(Duration) -> bool + Send>) {
        let _ = (interval, look);
    }
}

/// A node's randomness.
pub trait Entropy: Send + Sync {
    /// An independent stream for one purpose: a new consumer never shifts the numbers that another one draws.
    fn fork(&self, label: &str) -> ChaCha8Rng;
}

/// What a simulation observes. Absent in production.
pub trait Probe: Send + Sync {
    /// Something observable happened on `node`; an empty name is the node whose world this is.
    fn event(&self, node: &str, kind: &'static str, detail: &dyn Display);

    /// Whether [`Probe::signal`] is to be called. Asked when a process starts.
    fn traces_signals(&self) -> bool {
        false
    }

    /// Whether a certain mistake is to be made, to see that it is found. Asked only with the cargo feature `planted`.
    #[doc(hidden)]
    fn planted(&self, mistake: &str) -> bool {
        let _ = mistake;
        false
    }

    /// A signal reaches the process `to`. `from` is the process of its node that runs meanwhile, if one does.
    fn signal(&self, to: &Pid, from: Option<&Pid>, signal: &dyn Display) {
        let _ = (to, from, signal);
    }
}

thread_local! {
    /// Whether this thread is in a simulation: no state of a node, but what tells that one escapes.
    static SIMULATED: Cell<bool> = const { Cell::new(false) };
}

/// Does a step of a simulation: in it, [`World::tokio`] panics. For simulators alone.
#[doc(hidden)]
pub fn simulated<T>(step: impl FnOnce() -> T) -> T {
    struct Reset(bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            SIMULATED.set(self.0);
        }
    }
    let _reset = Reset(SIMULATED.replace(true));
    step()
}

/// Everything outside a node.
#[derive(Clone)]
pub struct World {
    /// Connections.
    pub net: Arc<dyn Network>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// The observer of a simulation.
    pub probe: Option<Arc<dyn Probe>>,
    /// What every spawned task passes before it is polled, in a simulation.
    pub gate: Option<Arc<Gate>>,
}

impl World {
    /// The real world: the system's sockets, clocks, randomness and files, on tokio. Its disk is the working directory; another is said with
    /// [`directory`](Self::directory).
    ///
    /// # Panics
    /// In a node of a simulation, which has a world of its own.
    #[track_caller]
    pub fn tokio() -> Self {
        let simulated = SIMULATED.get();
        assert!(
            !simulated,
            "World::tokio() in a simulated node: it has no sockets, clock or disk of its own; use World::net, World::clock and \
             World::disk of the world that its program is given, and give that to Node::builder with `world`"
        );
        tokio::world()
    }

    /// The same, but its disk is this directory, which is made with its first file.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> std::io::Result<()> {
    /// use beamline::world::World;
    ///
    /// let directory = std::env::temp_dir().join("a-node-s-files");
    /// let world = World::tokio().directory(&directory);
    /// let mut log = world.disk.open_log("log").await?;
    /// log.append(b"what must not be forgotten").await?;
    /// log.sync().await?;
    /// assert_eq!(world.disk.read("log").await?, b"what must not be forgotten");
    /// # std::fs::remove_dir_all(directory)
    /// # }
    /// ```
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.disk = Arc::new(files::Directory(directory.into()));
        self
    }

    /// Sleeps for `duration` of this node's clock.
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    pub fn sleep(&self, duration: Duration) -> Sleep {
        ::tokio::time::sleep(self.clock.to_timer(duration))
    }

    /// Waits for `future` for at most `duration` of this node's clock.
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    pub fn timeout<F: Future>(&self, duration: Duration, future: F) -> Timeout<F> {
        ::tokio::time::timeout(self.clock.to_timer(duration), future)
    }

    /// Runs `future` as a task of this node, behind its [`Gate`] if it has one.
    ///
    /// A panic is reported to the log and the probe, and then ends the task as tokio's own would.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let probe = self.probe.clone();
        self.spawn_as_is(async move {
            let mut future = std::pin::pin!(future);
            poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                Ok(poll) => poll,
                Err(panic) => {
                    let text = panic_text(panic.as_ref());
                    tracing::error!(panic = text, "a task of the node panicked");
                    if let Some(probe) = &probe {
                        probe.event("", "panic", &text);
                    }
                    resume_unwind(panic)
                }
            })
            .await
        })
    }

    /// As [`World::spawn`], for a task that catches its own panics.
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    pub(crate) fn spawn_as_is<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let Some(gate) = self.gate.clone() else { return ::tokio::spawn(future) };
        ::tokio::spawn(async move {
            let mut future = std::pin::pin!(future);
            poll_fn(move |cx| {
                ready!(gate.poll_admit(cx));
                future.as_mut().poll(cx)
            })
            .await
        })
    }

    /// Runs what may block its thread, on one that is there for such.
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    pub(crate) fn spawn_blocking(&self, work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
        ::tokio::task::spawn_blocking(work)
    }

    /// How many threads run the tasks of the runtime that this is called in.
    pub(crate) fn threads(&self) -> usize {
        ::tokio::runtime::Handle::current().metrics().num_workers()
    }

    /// Whether a test wants a certain mistake made here, to see that it is found.
    #[cfg(feature = "planted")]
    pub(crate) fn planted(&self, mistake: &str) -> bool {
        self.probe.as_ref().is_some_and(|probe| probe.planted(mistake))
    }

    /// Without the feature no mistake is made: what asks for one is compiled to nothing.
    #[cfg(not(feature = "planted"))]
    #[inline(always)]
    pub(crate) const fn planted(&self, _: &str) -> bool {
        false
    }

    /// Tells the simulation's observer, if there is one, that something happened on `node`.
    pub fn event(&self, node: &str, kind: &'static str, detail: &dyn Display) {
        if let Some(probe) = &self.probe {
            probe.event(node, kind, detail);
        }
    }
}

/// What a panic said, for logs and exit reasons.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "a panic without a text"
    }
}

#[cfg(test)]
mod tests;
