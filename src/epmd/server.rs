//! The daemon on a [`World`]: a task for each connection. A node runs one itself when none is in reach; the
//! binary `beamline-epmd` is nothing but one.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::message::{
    Alive2Answer, KILL_NO, KILL_OK, NO_EXIST, REFUSED_CREATION, REQUEST_LEN_MAX, Registration, Request,
    STOPPED, encode_port2,
};
use super::registry::{Registry, RegistryLimits};
use crate::world::{BoxRead, Conn, Listener, World};

/// How long a listener rests after the system refused it a connection (it may be out of descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a daemon runs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Where to listen. Nodes of other hosts ask here, so the default is all of IPv4.
    pub addresses: Vec<String>,
    /// The port to listen on; 0 for any free one.
    pub port: u16,
    /// Within which a request must be there and its answer taken, else the connection is closed. OTP's is 60 s.
    pub packet_timeout: Duration,
    /// Whether a local client may end the daemon while nodes are registered, and unregister nodes of others.
    pub relaxed_command_check: bool,
    /// Connections that have not registered a node, at a time; one more is closed at once. Other hosts may take
    /// three quarters of them, so that they cannot keep a local node from registering.
    pub connections: usize,
    /// The registry's limits.
    pub limits: RegistryLimits,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            addresses: vec!["0.0.0.0".to_owned()],
            port: super::EPMD_PORT,
            packet_timeout: Duration::from_secs(60),
            relaxed_command_check: false,
            connections: 512,
            limits: RegistryLimits::default(),
        }
    }
}

/// A running daemon. Dropped, it ends, and with it every registration.
pub struct Server {
    shared: Arc<Shared>,
    port: u16,
}

struct Shared {
    world: World,
    options: ServerOptions,
    port: u16,
    ended: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    registry: Registry,
    creations: Option<ChaCha8Rng>,
    connections: BTreeMap<u64, Connection>,
    // How many of them have not registered a node.
    waiting: usize,
    next_connection: u64,
    listeners: Vec<AbortHandle>,
    ended: bool,
}

struct Connection {
    registered: bool,
    // Absent for the instant between the connection's number and its task.
    task: Option<AbortHandle>,
}

impl Server {
    /// Listens, and serves until the daemon is dropped or told to end.
    ///
    /// # Errors
    /// If one of the addresses cannot be listened on.
    pub async fn start(world: &World, options: ServerOptions) -> io::Result<Self> {
        let mut port = options.port;
        let mut listeners = Vec::new();
        for address in &options.addresses {
            let listener = world.net.listen(address, port).await?;
            // If any port will do, the further addresses take the one that the first was given.
            port = listener.local_addr()?.port();
            listeners.push(listener);
        }
        let state = State {
            registry: Registry::new(options.limits),
            creations: Some(world.entropy.fork("epmd creation")),
            ..State::default()
        };
        let shared = Arc::new(Shared {
            world: world.clone(),
            options,
            port,
            ended: Notify::new(),
            state: Mutex::new(state),
        });
        for listener in listeners {
            let task = world.spawn(accept(shared.clone(), listener));
            shared.lock().listeners.push(task.abort_handle());
        }
        tracing::info!(port, "EPMD listens");
        Ok(Self { shared, port })
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits until a client ends the daemon with KILL.
    pub async fn ended(&self) {
        self.shared.ended.notified().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        let (listeners, connections) = {
            let mut state = self.lock();
            state.ended = true;
            (std::mem::take(&mut state.listeners), std::mem::take(&mut state.connections))
        };
        for task in
            listeners.iter().chain(connections.values().filter_map(|connection| connection.task.as_ref()))
        {
            task.abort();
        }
    }

    /// A number for a new connection, if there is room for one.
    fn admit(&self, local: bool) -> Option<u64> {
        let all = self.options.connections;
        let room = if local { all } else { all - all / 4 };
        let mut state = self.lock();
        if state.ended || state.waiting >= room {
            return None;
        }
        state.waiting += 1;
        state.next_connection += 1;
        let id = state.next_connection;
        state.connections.insert(id, Connection { registered: false, task: None });
        Some(id)
    }

    fn register(&self, id: u64, registration: Registration) -> Alive2Answer {
        let name = String::from_utf8_lossy(&registration.name).into_owned();
        let mut state = self.lock();
        // OTP's daemon takes the seconds of its clock. An embedded one ends with its node, which may start again
        // within a second and must not live under the creation of its former life.
        let fresh = state.creations.as_mut().map_or(0, Rng::next_u32);
        match state.registry.register(id, registration, fresh) {
            Ok(creation) => {
                let creation = if self.world.planted("creation-again") { 4 } else { creation };
                state.waiting = state.waiting.saturating_sub(1);
                if let Some(connection) = state.connections.get_mut(&id) {
                    connection.registered = true;
                }
                drop(state);
                tracing::debug!(name, creation, "a node registered with EPMD");
                self.world.event("", "epmd registered", &format_args!("{name} {creation}"));
                Alive2Answer { result: 0, creation }
            }
            Err(refused) => {
                drop(state);
                tracing::info!(name, %refused, "EPMD refused a node");
                self.world.event("", "epmd refused", &format_args!("{name}: {refused}"));
                Alive2Answer { result: 1, creation: REFUSED_CREATION }
            }
        }
    }

    /// Unregisters a node at the request of another client.
    fn stop(&self, name: &[u8]) -> bool {
        let mut state = self.lock();
        let Some(id) = state.registry.stop(name) else { return false };
        let connection = state.connections.remove(&id);
        drop(state);
        if let Some(task) = connection.and_then(|connection| connection.task) {
            task.abort();
        }
        true
    }
}

async fn accept(shared: Arc<Shared>, mut listener: Box<dyn Listener>) {
    loop {
        let conn = match listener.accept().await {
            Ok(conn) => conn,
            Err(error) => {
                tracing::warn!(%error, "EPMD cannot accept a connection");
                shared.world.sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let local = is_local(conn.local, conn.peer);
        let Some(id) = shared.admit(local) else {
            tracing::warn!(peer = %conn.peer, "EPMD has too many connections and closed one");
            continue;
        };
        let seat = Seat { shared: shared.clone(), id, name: None };
        let task = shared.world.spawn(serve(seat, conn, local)).abort_handle();
        let mut state = shared.lock();
        if state.ended {
            task.abort();
        } else if let Some(connection) = state.connections.get_mut(&id) {
            connection.task = Some(task);
        }
    }
}

/// A connection's place in the daemon's state, given back however its task ends.
struct Seat {
    shared: Arc<Shared>,
    id: u64,
    name: Option<Vec<u8>>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.connections.remove(&self.id);
        match &self.name {
            None => state.waiting = state.waiting.saturating_sub(1),
            Some(name) => {
                let left = state.registry.unregister(name, self.id);
                drop(state);
                if left {
                    let name = String::from_utf8_lossy(name);
                    tracing::debug!(%name, "a node left EPMD");
                    self.shared.world.event("", "epmd unregistered", &name);
                }
            }
        }
    }
}

async fn serve(mut seat: Seat, mut conn: Conn, local: bool) {
    let shared = seat.shared.clone();
    let world = &shared.world;
    let limit = shared.options.packet_timeout;
    let keep = match world.timeout(limit, answer(&mut seat, &mut conn, local)).await {
        Ok(Ok(keep)) => keep,
        Ok(Err(error)) => {
            tracing::debug!(peer = %conn.peer, %error, "EPMD closed a connection");
            return;
        }
        Err(_) => {
            tracing::debug!(peer = %conn.peer, "EPMD closed a connection without a request");
            return;
        }
    };
    // OTP's daemon reads on after it answered a registration: the end of the connection unregisters the node,
    // and so does any byte on it. A refused client has the packet timeout to close its end.
    if keep {
        let mut byte = [0];
        if seat.name.is_some() {
            let _ = conn.read.read(&mut byte).await;
        } else {
            let _ = world.timeout(limit, conn.read.read(&mut byte)).await;
        }
    }
    // Before the connection ends: its end tells the client that the name is free.
    drop(seat);
    drop(conn);
}

/// Takes a request and answers it; returns whether the connection stays open after that.
async fn answer(seat: &mut Seat, conn: &mut Conn, local: bool) -> io::Result<bool> {
    let Some(body) = read_request(&mut conn.read).await? else { return Ok(false) };
    let request =
        Request::decode(&body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let shared = seat.shared.clone();
    if !local && !matches!(request, Request::PortPlease2(_) | Request::Names) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "a request that only local clients may make",
        ));
    }
    let relaxed = shared.options.relaxed_command_check;
    let answer = match request {
        Request::Alive2(registration) => {
            let (name, highest) = (registration.name.clone(), registration.highest);
            let answer = shared.register(seat.id, registration);
            if answer.result == 0 {
                seat.name = Some(name);
            }
            conn.write.write_all(&answer.encode(highest)).await?;
            return Ok(true);
        }
        Request::PortPlease2(name) => encode_port2(shared.lock().registry.port_please(&name)),
        Request::Names => shared.lock().registry.names(shared.port),
        Request::Dump => shared.lock().registry.dump(shared.port),
        Request::Kill if !relaxed && !shared.lock().registry.is_empty() => KILL_NO.to_vec(),
        Request::Kill => {
            conn.write.write_all(KILL_OK).await?;
            conn.write.shutdown().await?;
            shared.ended.notify_one();
            shared.end();
            return Ok(false);
        }
        Request::Stop(_) if !relaxed => return Ok(false),
        Request::Stop(name) if shared.stop(&name) => STOPPED.to_vec(),
        Request::Stop(_) => [NO_EXIST, STOPPED].concat(),
    };
    conn.write.write_all(&answer).await?;
    conn.write.shutdown().await?;
    Ok(false)
}

/// The one request of a connection, without its length; `None` if the peer sent nothing.
async fn read_request(read: &mut BoxRead) -> io::Result<Option<Vec<u8>>> {
    let invalid = |text: &'static str| io::Error::new(io::ErrorKind::InvalidData, text);
    let mut buffer = Vec::new();
    let mut chunk = [0; 512];
    loop {
        let received = match read.read(&mut chunk).await? {
            0 if buffer.is_empty() => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => chunk.get(..len).unwrap_or_default(),
        };
        buffer.extend_from_slice(received);
        let Some((&prefix, body)) = buffer.split_first_chunk::<2>() else { continue };
        let len = usize::from(u16::from_be_bytes(prefix));
        if len == 0 || len > REQUEST_LEN_MAX {
            return Err(invalid("a request of an impossible length"));
        }
        if body.len() > len {
            return Err(invalid("more bytes than the request announced"));
        }
        if body.len() == len {
            return Ok(Some(body.to_vec()));
        }
    }
}

/// Whether the peer is on this host, by the rule of OTP's daemon: a loopback address, or the one that the
/// connection came in on.
fn is_local(local: SocketAddr, peer: SocketAddr) -> bool {
    let canonical = |address: SocketAddr| -> IpAddr { address.ip().to_canonical() };
    canonical(peer).is_loopback() || canonical(peer) == canonical(local)
}

#[cfg(test)]
mod tests;
