//! Starting a node.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, RwLock, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::options::Options;
use super::{Inner, Node, Running, net_kernel};
use crate::dist::channel;
use crate::dist::handshake::{NodeNameError, check_node_name};
use crate::epmd::{EpmdError, EpmdOptions, Registered, Registration};
use crate::global;
use crate::io::{Output, standard_output};
use crate::process::{Distribution, Local};
use crate::term::{Atom, Term};
#[cfg(feature = "tls")]
use crate::tls::{self, Tls, TlsConfigError};
use crate::world::World;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeStartError {
    /// The name is no node name.
    #[error("{name:?} is not a node's name: {source}")]
    Name {
        /// What was given.
        name: String,
        /// What is wrong with it.
        source: NodeNameError,
    },
    /// A cookie has characters above 255, which the handshake's digest cannot take.
    #[error("a cookie has only Latin-1 characters")]
    Cookie,
    /// The node cannot listen.
    #[error("cannot listen on {host}:{port}: {source}")]
    Listen {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Why not.
        source: io::Error,
    },
    /// The settings of TLS are no good.
    #[cfg(feature = "tls")]
    #[error("TLS: {0}")]
    Tls(#[from] TlsConfigError),
    /// EPMD did not register the node; among others because the name is taken.
    #[error(transparent)]
    Epmd(#[from] EpmdError),
}

/// Settings of a node that is to start.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use beamline::node::Node;
///
/// let node = Node::builder("shop@127.0.0.1").cookie("secret").start().await?;
/// node.connect("app@127.0.0.1").await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a node runs once it is started"]
pub struct Builder {
    name: String,
    world: Option<World>,
    user: Option<Output>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
    options: Options,
}

impl Builder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            world: None,
            user: None,
            #[cfg(feature = "tls")]
            tls: None,
            options: Options::default(),
        }
    }

    /// The secret that all nodes of the cluster share. Without one it is the empty text, which no Erlang node has.
    pub fn cookie(mut self, cookie: impl Into<String>) -> Self {
        self.options.cookie = cookie.into();
        self
    }

    /// Another secret for one peer, as `erlang:set_cookie/2` sets it.
    pub fn cookie_for(mut self, peer: impl Into<Atom>, cookie: impl Into<String>) -> Self {
        self.options.cookies.insert(peer.into(), cookie.into());
        self
    }

    /// A hidden node is not in the `nodes()` of others and takes no part in their `global`. Visible by default.
    pub fn hidden(mut self, hidden: bool) -> Self {
        self.options.hidden = hidden;
        self
    }

    /// Has the node take part in [`global`]: it shares names and locks with the nodes that do, and is connected to all of them. It does not by
    /// default, and nothing waits for it then.
    pub fn global(mut self, global: global::Options) -> Self {
        self.options.global = Some(global);
        self
    }

    /// Where the node registers, and whether it runs a daemon itself while there is none (it does by default).
    pub fn epmd(mut self, epmd: EpmdOptions) -> Self {
        self.options.epmd = epmd;
        self
    }

    /// The port of EPMD, 4369 by default; on other hosts too.
    pub fn epmd_port(mut self, port: u16) -> Self {
        self.options.epmd.port = port;
        self
    }

    /// Where to listen: all addresses of the machine by default, and any free port (0).
    pub fn listen(mut self, host: impl Into<String>, port: u16) -> Self {
        self.options.listen_host = host.into();
        self.options.listen_port = port;
        self
    }

    /// After how much silence a peer is taken for dead, and how many ticks keep a connection alive within it: 60 seconds and 4 by
    /// default, and the same on all nodes of a cluster.
    pub fn net_ticktime(mut self, ticktime: Duration, intensity: u32) -> Self {
        self.options.net_ticktime = ticktime;
        self.options.net_tickintensity = intensity.max(1);
        self
    }

    /// How long connecting to a peer may take, EPMD's answer and the handshake included: 7 seconds by default.
    pub fn net_setuptime(mut self, setuptime: Duration) -> Self {
        self.options.net_setuptime = setuptime;
        self
    }

    /// How many connections may be in their handshake at once (1024 by default); further ones are closed.
    pub fn handshakes_max(mut self, handshakes: u32) -> Self {
        self.options.handshakes_max = handshakes.into();
        self
    }

    /// How many processes the node may have, 2^24 by default.
    pub fn processes_max(mut self, processes: usize) -> Self {
        self.options.processes_max = processes;
        self
    }

    /// How many bytes may be queued for a connection before the processes that send to it are suspended: 1 MiB by default, as in OTP.
    pub fn dist_buf_busy_limit(mut self, bytes: usize) -> Self {
        self.options.dist_buf_busy_limit = bytes;
        self
    }

    /// How many bytes of signals may wait for a connection that is being made (64 MiB by default); further ones are dropped as if it
    /// could not be made. The largest of those that wait may be of any length, as on a connection that stands, and is not counted.
    pub fn pending_bytes_max(mut self, bytes: usize) -> Self {
        self.options.pending_bytes_max = bytes;
        self
    }

    /// Has who reads from a connection look again and again for data, for as long as `within` after the connection was last active,
    /// instead of waiting to be told. Off by default, and with a `within` of zero.
    ///
    /// It saves the time that the system takes to wake a thread, on Linux 20 to 50 microseconds a message, and **costs a core that
    /// is busy** for as long: the thread does other work of the node at least every 20 microseconds, but never sleeps. The processes
    /// that are sent something run on the same thread, so one that neither awaits nor returns for long holds up its connection. It is for nodes with
    /// cores to spare, and a `within` somewhat longer than the time between two messages; both ends of a connection profit if both do
    /// it. In a simulated [world](Builder::world) it makes no difference.
    pub fn busy_poll(mut self, within: Duration) -> Self {
        self.options.busy_poll = within;
        self
    }

    /// Has a callback named in the log that runs for longer than `limit` without awaiting or returning, once, and again when it has
    /// ended after all: its process, server type and callback. Such a callback holds up a thread of the runtime. Off by
    /// default, and with a `limit` of zero.
    ///
    /// It takes a thread of its own, which looks eight times within `limit`, but at least once a second; times are as exact as that. In a
    /// simulated [world](Builder::world) there is none, as callbacks take no virtual time.
    pub fn watchdog(mut self, limit: Duration) -> Self {
        self.options.watchdog = limit;
        self
    }

    /// A variable of the environment that all processes of the node inherit; see [`Context::env`](crate::process::Context::env).
    pub fn env(mut self, key: impl Into<Atom>, value: impl Into<Term>) -> Self {
        self.options.env.insert(key.into(), value.into());
        self
    }

    /// Where the output goes that reaches the node's process `user`, which leads all processes that have no other group leader; see
    /// [`io`](crate::io). To the standard output by default. `write` is called for one request at a time, and holds up a thread of
    /// the runtime for as long as it takes; what it fails with is answered to whoever prints.
    pub fn user(mut self, write: impl FnMut(&str) -> io::Result<()> + Send + 'static) -> Self {
        self.user = Some(Box::new(write));
        self
    }

    /// How long the node's [applications](crate::application) may take to stop, all of them together, before the node stops without waiting
    /// any longer; 30 seconds by default.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.options.shutdown_timeout = timeout;
        self
    }

    /// Has the node speak TLS with all others, and nothing else; see [`tls`](crate::tls). It does not by default.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// What a peer may send: packets, fragments, terms.
    pub fn limits(mut self, limits: channel::Limits) -> Self {
        self.options.channel = limits;
        self
    }

    /// The world that the node lives in: the real one by default, a simulated one in a test.
    pub fn world(mut self, world: World) -> Self {
        self.world = Some(world);
        self
    }

    /// Starts the node: it listens, is registered with EPMD, and takes connections.
    ///
    /// # Errors
    /// If the name or a cookie is malformed, the files of TLS cannot be used, the address cannot be listened on, or EPMD does not register the name.
    pub async fn start(self) -> Result<Node, NodeStartError> {
        let Self {
            name,
            world,
            user,
            #[cfg(feature = "tls")]
            tls,
            mut options,
        } = self;
        let bad_name = |source| NodeStartError::Name { name: name.clone(), source };
        check_node_name(&name).map_err(bad_name)?;
        let node = Atom::new(&name).map_err(|_| bad_name(NodeNameError::TooLong))?;
        let cookies = options.cookies.values_mut().chain([&mut options.cookie]);
        for cookie in cookies {
            if cookie.chars().any(|character| u32::from(character) > 0xFF) {
                return Err(NodeStartError::Cookie);
            }
        }
        let mut world = world.unwrap_or_else(World::tokio);
        #[cfg(feature = "tls")]
        if let Some(tls) = tls {
            options.tls = Some(Arc::new(tls::Endpoint::new(&tls, &world)?));
        }
        let (host, port) = (options.listen_host.clone(), options.listen_port);
        let listening = |source| NodeStartError::Listen { host: host.clone(), port, source };
        // Nothing there is worth a busy core.
        let epmd_world = world.clone();
        if !options.busy_poll.is_zero() {
            match world.net.busy_polling(options.busy_poll) {
                Some(net) => world.net = net,
                None => options.busy_poll = Duration::ZERO,
            }
        }
        let listener = world.net.listen(&host, port).await.map_err(listening)?;
        let port = listener.local_addr().map_err(listening)?.port();
        let alive = name.split('@').next().unwrap_or_default();
        let registration = Registration::new(alive, port);
        let registered = Registered::start(&epmd_world, options.epmd.clone(), registration).await?;
        let creation = registered.creation();
        let entropy = world.entropy.fork("node");
        let local = Arc::new(Local::new(node, creation, world, options.processes_max));
        if !options.watchdog.is_zero() {
            local.set_watchdog(options.watchdog);
        }
        let mut heritage = (*local.heritage()).clone();
        heritage.env = Arc::new(std::mem::take(&mut options.env));
        local.set_heritage(heritage);
        let inner = Arc::new_cyclic(|this: &Weak<Inner>| Inner {
            local,
            options,
            port,
            peers: RwLock::default(),
            up: Mutex::default(),
            node_monitors: Mutex::default(),
            last_sent: Arc::default(),
            next_connection: AtomicU64::new(1),
            handshakes: AtomicU64::new(0),
            entropy: Mutex::new(entropy),
            stopping: AtomicBool::new(false),
            stop: Notify::new(),
            before_stop: OnceLock::new(),
            why: OnceLock::new(),
            stopped: Notify::new(),
            live: AtomicU64::new(0),
            read_before: AtomicU64::new(0),
            written_before: AtomicU64::new(0),
            closed: Notify::new(),
            epmd: Mutex::new(Some(registered)),
            this: this.clone(),
        });
        let distribution: Arc<dyn Distribution> = inner.clone();
        inner.local.connect_to(Arc::downgrade(&distribution));
        net_kernel::start(&inner.local);
        crate::rpc::start(&inner.local);
        if let Some(global) = &inner.options.global {
            global::start(&inner.local, global, inner.options.hidden);
        }
        crate::io::start(&inner.local, user.unwrap_or_else(standard_output));
        inner.local.world.spawn(inner.clone().listen(listener));
        // In simulated time no timer costs a system call, and a day of it would take a node 86,400 wake-ups.
        if inner.local.world.gate.is_none() {
            inner.local.world.spawn(inner.clone().pulse());
        }
        let running = Arc::new(Running(inner.clone()));
        Ok(Node { inner, _running: running })
    }
}
