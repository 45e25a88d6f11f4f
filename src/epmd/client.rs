//! A node's side of EPMD: look-ups, and a registration that outlives its daemon.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::message::{ANSWER_LEN_MAX, Alive2Answer, Names, Registration, Request, decode_port2};
use super::server::{Server, ServerOptions};
use super::{EpmdError, MessageError};
use crate::world::{Conn, World};

/// How long a daemon may take to be connected to, and then to answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a node that lost its daemon looks for another, as OTP's nodes do.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// How long a node waits for the daemon to confirm that it is unregistered.
const UNREGISTER_TIMEOUT: Duration = Duration::from_secs(1);
/// Nodes that find no daemon all try to run one; those that come too late for the port connect to the winner,
/// which needs a moment between binding and answering.
const RACE_TRIES: u32 = 20;
const RACE_PAUSE: Duration = Duration::from_millis(50);

/// Where a node finds its daemon.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EpmdOptions {
    /// The daemon's host: a node registers with that on its own.
    pub host: String,
    /// The daemon's port.
    pub port: u16,
    /// Whether the node runs a daemon itself while there is none.
    pub embedded: bool,
    /// How that one runs; its port is the one above.
    pub server: ServerOptions,
}

impl Default for EpmdOptions {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: super::EPMD_PORT,
            embedded: true,
            server: ServerOptions::default(),
        }
    }
}

/// How a registration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Other nodes find this one.
    Registered,
    /// The daemon is gone; the node looks for another, or becomes it.
    Lost,
    /// The daemon that followed has another node under this one's name. The node goes on asking.
    NameTaken,
}

/// A node's registration. It lasts until it is dropped or [unregistered](Self::unregister): when the daemon ends,
/// the node registers with the next one, or becomes it, and keeps its creation.
#[derive(Debug)]
pub struct Registered {
    creation: u32,
    status: watch::Receiver<Status>,
    leave: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Registered {
    /// Registers a node. If no daemon answers and `options.embedded` says so, runs one.
    ///
    /// # Errors
    /// [`EpmdError::NameTaken`] if another node has the name; other errors tell what is wrong with the daemon.
    pub async fn start(
        world: &World,
        options: EpmdOptions,
        registration: Registration,
    ) -> Result<Self, EpmdError> {
        let name = String::from_utf8_lossy(&registration.name).into_owned();
        let request = Request::Alive2(registration).encode()?;
        let mut keeper = Keeper { world: world.clone(), options, name, request, server: None };
        let (creation, conn) = keeper.register().await?;
        let (status_in, status) = watch::channel(Status::Registered);
        let (leave, left) = oneshot::channel();
        let task = world.spawn(keeper.keep(conn, status_in, left));
        Ok(Self { creation, status, leave: Some(leave), task })
    }

    /// Which of the lives of its name the node lives; a part of every pid and reference that it makes.
    pub fn creation(&self) -> u32 {
        self.creation
    }

    /// How the registration stands.
    pub fn status(&self) -> Status {
        *self.status.borrow()
    }

    /// Waits until the status has changed, and returns it. Cancel safe.
    pub async fn changed(&mut self) -> Status {
        if self.status.changed().await.is_err() {
            // The task has ended, which it does only in a runtime that shuts down: nothing will change any more.
            std::future::pending::<()>().await;
        }
        *self.status.borrow_and_update()
    }

    /// Unregisters the node and waits until the daemon has done so. An embedded daemon ends with it.
    pub async fn unregister(mut self) {
        if let Some(leave) = self.leave.take() {
            let _ = leave.send(());
        }
        let _ = (&mut self.task).await;
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asks the daemon of a host where one of its nodes listens; `None` if there is no node of that name.
///
/// # Errors
/// If no daemon answers there, or it answers nonsense.
pub async fn port_please(
    world: &World,
    host: &str,
    port: u16,
    name: &str,
) -> Result<Option<Registration>, EpmdError> {
    let request = Request::PortPlease2(name.as_bytes().to_vec()).encode()?;
    let dialogue = async {
        let mut conn = dial(world, host, port).await?;
        send(&mut conn, host, port, &request).await?;
        receive(&mut conn, host, port, decode_port2).await
    };
    within(world, host, port, dialogue).await
}

/// Asks the daemon of a host for all of its nodes.
///
/// # Errors
/// If no daemon answers there, or it answers nonsense.
pub async fn names(world: &World, host: &str, port: u16) -> Result<Names, EpmdError> {
    let answer = ask(world, host, port, &Request::Names).await?;
    Names::decode(&answer).map_err(|source| EpmdError::Protocol { daemon: daemon(host, port), source })
}

/// Sends a request and returns all that the daemon answers until it closes the connection.
///
/// # Errors
/// If no daemon answers there, or it closes the connection without an answer, as it does for what it does not
/// allow.
pub async fn ask(world: &World, host: &str, port: u16, request: &Request) -> Result<Vec<u8>, EpmdError> {
    let request = request.encode()?;
    let dialogue = async {
        let mut conn = dial(world, host, port).await?;
        send(&mut conn, host, port, &request).await?;
        let mut answer = Vec::new();
        let mut limited = (&mut conn.read).take(ANSWER_LEN_MAX as u64);
        let read = limited.read_to_end(&mut answer).await;
        // A daemon that closes a connection with bytes unread resets it, which says no more than its end does.
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(source) => return Err(EpmdError::Broken { daemon: daemon(host, port), source }),
        }
        if answer.is_empty() {
            return Err(EpmdError::Closed { daemon: daemon(host, port), received: 0 });
        }
        Ok(answer)
    };
    within(world, host, port, dialogue).await
}

fn daemon(host: &str, port: u16) -> String {
    format!("{host}:{port}")
}

async fn within<T>(
    world: &World,
    host: &str,
    port: u16,
    dialogue: impl Future<Output = Result<T, EpmdError>>,
) -> Result<T, EpmdError> {
    match world.timeout(ANSWER_TIMEOUT, dialogue).await {
        Ok(result) => result,
        Err(_) => Err(EpmdError::Timeout { daemon: daemon(host, port), after: ANSWER_TIMEOUT }),
    }
}

async fn dial(world: &World, host: &str, port: u16) -> Result<Conn, EpmdError> {
    let conn = world.net.connect(host, port).await;
    conn.map_err(|source| EpmdError::NoDaemon { daemon: daemon(host, port), source })
}

async fn send(conn: &mut Conn, host: &str, port: u16, request: &[u8]) -> Result<(), EpmdError> {
    let sent = conn.write.write_all(request).await;
    sent.map_err(|source| EpmdError::Broken { daemon: daemon(host, port), source })
}

/// Reads until `decode` has its answer.
async fn receive<T>(
    conn: &mut Conn,
    host: &str,
    port: u16,
    decode: impl Fn(&[u8]) -> Result<T, MessageError>,
) -> Result<T, EpmdError> {
    let mut answer = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        match decode(&answer) {
            Ok(value) => return Ok(value),
            // The lengths in an answer have 16 bits, so this ends.
            Err(MessageError::Truncated { .. }) => {}
            Err(source) => return Err(EpmdError::Protocol { daemon: daemon(host, port), source }),
        }
        match conn.read.read(&mut chunk).await {
            Ok(0) => return Err(EpmdError::Closed { daemon: daemon(host, port), received: answer.len() }),
            Ok(len) => answer.extend_from_slice(chunk.get(..len).unwrap_or_default()),
            Err(source) => return Err(EpmdError::Broken { daemon: daemon(host, port), source }),
        }
    }
}

/// Keeps a node registered.
struct Keeper {
    world: World,
    options: EpmdOptions,
    name: String,
    request: Vec<u8>,
    // The daemon, if it is ours.
    server: Option<Server>,
}

impl Keeper {
    /// Registers with the daemon in reach, and runs one first if there is none and that is wanted.
    async fn register(&mut self) -> Result<(u32, Conn), EpmdError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.register_once().await {
                Ok(registered) => return Ok(registered),
                Err(error) => error,
            };
            // Each of these happens also while one daemon ends and another takes its port.
            let passing = match &error {
                EpmdError::NoDaemon { source, .. } => {
                    self.options.embedded && source.kind() == io::ErrorKind::ConnectionRefused
                }
                EpmdError::Closed { .. } | EpmdError::Broken { .. } => self.options.embedded,
                _ => false,
            };
            if !passing || tries == RACE_TRIES {
                return Err(error);
            }
            if matches!(error, EpmdError::NoDaemon { .. }) && self.serve().await? {
                continue;
            }
            self.world.sleep(RACE_PAUSE).await;
        }
    }

    async fn register_once(&self) -> Result<(u32, Conn), EpmdError> {
        let EpmdOptions { host, port, .. } = &self.options;
        let dialogue = async {
            let mut conn = dial(&self.world, host, *port).await?;
            send(&mut conn, host, *port, &self.request).await?;
            let answer = receive(&mut conn, host, *port, Alive2Answer::decode).await?;
            match answer.result {
                0 => Ok((answer.creation, conn)),
                _ => Err(EpmdError::NameTaken { name: self.name.clone(), daemon: daemon(host, *port) }),
            }
        };
        within(&self.world, host, *port, dialogue).await
    }

    /// Becomes the daemon; returns whether the port was free.
    async fn serve(&mut self) -> Result<bool, EpmdError> {
        let EpmdOptions { host, port, server, .. } = &self.options;
        // One that ended has to give up its port before another can have it.
        self.server = None;
        let options = ServerOptions { port: *port, ..server.clone() };
        let address = options.addresses.join(", ");
        match Server::start(&self.world, options).await {
            Ok(server) => {
                tracing::info!(name = self.name, port, "no EPMD in reach: the node runs its own");
                self.world.event("", "epmd embedded", port);
                self.server = Some(server);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(false),
            Err(source) => Err(EpmdError::Listen { daemon: daemon(host, *port), address, source }),
        }
    }

    /// Holds the registration until the node leaves, and wins it back when the daemon is lost.
    async fn keep(mut self, mut conn: Conn, status: watch::Sender<Status>, mut left: oneshot::Receiver<()>) {
        loop {
            tokio::select! { biased;
                _ = &mut left => return self.leave(conn).await,
                () = end_of(&mut conn) => {}
            }
            drop(conn);
            tracing::warn!(name = self.name, "EPMD is lost");
            self.world.event("", "epmd lost", &self.name);
            let _ = status.send(Status::Lost);
            conn = tokio::select! { biased;
                _ = &mut left => return,
                conn = self.win_back(&status) => conn,
            };
            tracing::info!(name = self.name, "registered with EPMD again");
            self.world.event("", "epmd regained", &self.name);
            let _ = status.send(Status::Registered);
        }
    }

    async fn win_back(&mut self, status: &watch::Sender<Status>) -> Conn {
        loop {
            match self.register().await {
                // The creation that came with it is not taken: the node's pids have the old one.
                Ok((_, conn)) => return conn,
                Err(EpmdError::NameTaken { .. }) => {
                    let changed = status.send_if_modified(|status| {
                        std::mem::replace(status, Status::NameTaken) != Status::NameTaken
                    });
                    if changed {
                        tracing::error!(name = self.name, "another node has taken the name in EPMD");
                        self.world.event("", "epmd name taken", &self.name);
                    }
                }
                Err(error) => tracing::debug!(name = self.name, %error, "EPMD is still lost"),
            }
            self.world.sleep(RETRY_INTERVAL).await;
        }
    }

    /// Ends the registration: the daemon answers the end of our side with the end of its own.
    async fn leave(&self, mut conn: Conn) {
        if conn.write.shutdown().await.is_ok() {
            let _ = self.world.timeout(UNREGISTER_TIMEOUT, end_of(&mut conn)).await;
        }
    }
}

/// Waits until the daemon ends the connection; it has nothing more to say on it.
async fn end_of(conn: &mut Conn) {
    let mut chunk = [0; 64];
    while matches!(conn.read.read(&mut chunk).await, Ok(1..)) {}
}

#[cfg(test)]
mod tests;
