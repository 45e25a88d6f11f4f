//! The tasks of a node: one listens, one for each connection reads and one writes.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::connection::Connection;
use super::half::Half;
use super::handshake::{self, Greeted};
use super::lone;
use super::pending::{Attempt, Incoming};
use super::reading::Reader;
use super::{ConnectError, DisconnectReason, Inner};
use crate::dist::channel::Outgoing;
use crate::dist::handshake::{HandshakeFault, Refusal};
use crate::dist::{Control, Target, Ticker};
use crate::epmd;
use crate::etf;
use crate::term::Atom;
use crate::world::{Conn, Listener};

/// Less than a call's default timeout; an idle node wakes so often.
const PULSE: Duration = Duration::from_secs(1);
/// How long a peer may take to close its end after this node has closed its own.
const LINGER: Duration = Duration::from_secs(1);

impl Inner {
    /// Accepts connections until the node stops.
    pub(super) async fn listen(self: Arc<Self>, mut listener: Box<dyn Listener>) {
        while !self.is_stopping() {
            let accepted = tokio::select! {
                biased;
                () = self.stop.notified() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok(conn) if self.handshakes.load(Ordering::Relaxed) < self.options.handshakes_max => {
                    self.handshakes.fetch_add(1, Ordering::Relaxed);
                    let (start, started) = oneshot::channel();
                    let task = self.local.world.spawn(self.clone().accept(conn, started));
                    // The task is told how it can be ended before it begins.
                    let _ = start.send(task.abort_handle());
                }
                Ok(conn) => {
                    tracing::warn!(peer = %conn.peer, "too many connections in their handshake: closed");
                }
                Err(error) => {
                    // Out of file descriptors, or a connection that ended while it waited. Others go on.
                    tracing::warn!(%error, "accepting a connection failed");
                    self.local.world.sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Keeps a timer running that is due before the deadlines of most calls. tokio wakes its driver through the system for each timer
    /// that is due before all others, so a call from outside any process would cost a system call for its deadline alone.
    pub(super) async fn pulse(self: Arc<Self>) {
        while !self.is_stopping() {
            tokio::select! {
                biased;
                () = self.stop.notified() => {}
                () = self.local.world.sleep(PULSE) => {}
            }
        }
    }

    async fn accept(self: Arc<Self>, conn: Conn, started: oneshot::Receiver<tokio::task::AbortHandle>) {
        let counted = HandshakeCount(self.clone());
        let Ok(task) = started.await else { return };
        let address = conn.peer;
        let incoming = Incoming { task, attempt: Mutex::default() };
        let accepting = handshake::accept(&self, conn, &incoming);
        let outcome = self.local.world.timeout(self.options.net_setuptime, accepting).await;
        drop(counted);
        let attempt = incoming.attempt.lock().unwrap_or_else(PoisonError::into_inner).take();
        let outcome = outcome.unwrap_or(Err(ConnectError::Timeout));
        match outcome {
            Ok(greeted) => {
                let peer = &greeted.established.peer;
                let attempt = attempt.or_else(|| self.replace(peer, incoming.task));
                if let Some(attempt) = attempt {
                    self.greeted(attempt, greeted).await;
                }
            }
            Err(error) => {
                tracing::info!(node = %self.local.node, peer = %address, %error, "connection refused");
                if let Some(attempt) = attempt {
                    self.connect_failed(&attempt, &error);
                }
            }
        }
    }

    /// Connects to a peer that something is to be sent to.
    pub(super) async fn dial(self: Arc<Self>, peer: Atom, attempt: Arc<Attempt>) {
        let setuptime = self.options.net_setuptime;
        let outcome = self.local.world.timeout(setuptime, self.try_dial(&peer)).await;
        match outcome.unwrap_or(Err(ConnectError::Timeout)) {
            Ok(greeted) => self.greeted(attempt, greeted).await,
            Err(ConnectError::Handshake(error)) if error.fault == HandshakeFault::Refused(Refusal::Nok) => {
                // The peer's own attempt goes on: it takes this one over, and ends this wait.
                self.local.world.sleep(setuptime).await;
                self.connect_failed(&attempt, &ConnectError::Handshake(error));
            }
            Err(error) => {
                tracing::info!(node = %self.local.node, %peer, %error, "not connected");
                self.connect_failed(&attempt, &error);
            }
        }
    }

    async fn try_dial(&self, peer: &Atom) -> Result<Greeted, ConnectError> {
        let world = &self.local.world;
        let (name, host) = peer.split_once('@').ok_or_else(|| ConnectError::NotAllowed(peer.clone()))?;
        let registration = epmd::port_please(world, host, self.options.epmd.port, name)
            .await
            .map_err(|error| ConnectError::Epmd(Arc::new(error)))?;
        let registration = registration.ok_or_else(|| ConnectError::Unknown(peer.clone()))?;
        let conn = world.net.connect(host, registration.port).await?;
        handshake::initiate(self, conn, peer).await
    }

    /// Runs a connection from the end of its handshake until it is lost.
    async fn greeted(self: Arc<Self>, attempt: Arc<Attempt>, greeted: Greeted) {
        let Greeted { established, mut conn, rest, farewell } = greeted;
        let last_word = async {
            conn.write.write_all(&farewell).await?;
            conn.write.flush().await
        };
        let written = self.local.world.timeout(self.options.net_setuptime, last_word).await;
        if !matches!(written, Ok(Ok(()))) {
            self.connect_failed(&attempt, &ConnectError::Closed);
            return;
        }
        let busy_limit = self.options.dist_buf_busy_limit;
        let connection = self.connected(&attempt, |id| {
            let (clock, last_sent) = (self.local.world.clock.clone(), self.last_sent.clone());
            // What a thread can wait for is the socket itself, which keeps nothing back.
            let half = Half::new(conn.write, conn.wait.is_none());
            Connection::new(id, self.local.pid(0, 0), &established, half, busy_limit, clock, last_sent)
        });
        let Some(connection) = connection else { return };
        let _live = Live::new(self.clone());
        if self.is_stopping() {
            connection.close(DisconnectReason::Stopping);
        }
        tracing::debug!(node = %self.local.node, peer = %connection.peer, creation = connection.creation, "node up");
        self.welcome(&connection);
        let writer = self.local.world.spawn(connection.clone().write());
        let ticktime = self.options.net_ticktime;
        let ticker = (!ticktime.is_zero()).then(|| {
            let now = self.local.world.clock.mono();
            Ticker::new(ticktime, self.options.net_tickintensity, !connection.is_visible(), now)
        });
        let mut reader = Box::new(Reader::new(&self, &connection, conn.read, rest, ticker));
        let (reason, reader) = match conn.wait {
            Some(wait) => lone::read(&self, &connection, reader, wait).await,
            None => loop {
                if let Some(reason) = connection.read(&self, &mut reader, None).await {
                    break (reason, reader);
                }
            },
        };
        match &reason {
            DisconnectReason::Protocol(error) => {
                let world = &self.local.world;
                world.event(&self.local.node, "protocol error", &format_args!("{} {error}", connection.peer));
                tracing::warn!(node = %self.local.node, peer = %connection.peer, %error, "connection closed");
            }
            reason => tracing::debug!(node = %self.local.node, peer = %connection.peer, %reason, "node down"),
        }
        let ours = matches!(
            reason,
            DisconnectReason::Requested | DisconnectReason::Stopping | DisconnectReason::Replaced
        );
        connection.close(reason);
        self.disconnected(&connection);
        let _ = writer.await;
        if ours {
            // The peer has been told that no more comes. If the socket closed now, with something from the peer still unread, the
            // system would reset the connection, and what this node sent last could be lost on the way.
            let mut unread = [0; 4096];
            let mut read = reader.read;
            let drain = async { while read.read(&mut unread).await.is_ok_and(|len| len > 0) {} };
            let _ = self.local.world.timeout(LINGER, drain).await;
        }
    }

    /// Tells a visible peer's `global` that it need not wait for this node, which takes no part: `global:sync/0` would.
    ///
    /// Source: `global.erl` in kernel, the cast `in_sync`.
    fn welcome(&self, connection: &Connection) {
        if self.options.hidden || self.options.global.is_some() || !connection.is_visible() {
            return;
        }
        let from = self.local.pid(0, 0);
        let to = Target::Name(Atom::from_static("global_name_server"));
        let in_sync = (Atom::from_static("in_sync"), &self.local.node, true);
        let message = (Atom::from_static("$gen_cast"), in_sync);
        let control = Control::Send { from: Some(from.clone()), to, message, priority: false };
        // Over this connection only: if it is lost already, this is no reason to make another.
        let outgoing = Outgoing::encode(connection.flags, Some(&from), &control, etf::serialize);
        debug_assert!(outgoing.is_ok(), "it has an external form");
        if let Ok(outgoing) = outgoing {
            connection.push(outgoing);
        }
    }
}

/// Counts a connection among those that are not wholly closed, until it is dropped.
struct Live(Arc<Inner>);

impl Live {
    fn new(inner: Arc<Inner>) -> Self {
        inner.live.fetch_add(1, Ordering::AcqRel);
        Self(inner)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::AcqRel);
        self.0.closed.notify_waiters();
    }
}

/// Counts a connection among those in their handshake until it is dropped, also if its task is aborted.
struct HandshakeCount(Arc<Inner>);

impl Drop for HandshakeCount {
    fn drop(&mut self) {
        self.0.handshakes.fetch_sub(1, Ordering::Relaxed);
    }
}
