//! An attempt to connect, and what waits for it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::ConnectError;
use super::connection::Connection;
use super::connections::unsent;
use super::options::Options;
use crate::dist::Control;
use crate::dist::channel::Outgoing;
use crate::etf::{EncodeError, Payload};
use crate::process::{Busy, ConnectionId, Encode, Local, Sent};
use crate::term::{Atom, Pid};

/// Who waits to hear how an attempt ended.
pub(super) type Waiter = oneshot::Sender<Result<(), ConnectError>>;

/// An attempt to connect. A simultaneous attempt of the peer may take it over.
pub(super) struct Attempt {
    /// The id that the connection will have.
    pub(super) id: ConnectionId,
    pub(super) peer: Atom,
    /// Holds up who sends more than a connection would queue.
    busy: Arc<Busy>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Who works on it.
    task: Option<AbortHandle>,
    /// What was sent meanwhile, in order.
    signals: Vec<(Option<Pid>, Control<Payload>)>,
    queued_bytes: usize,
    /// Of the largest of them, which is not limited.
    largest: usize,
    interested: BTreeSet<Pid>,
    waiters: Vec<Waiter>,
    /// How it ended, once it has.
    outcome: Option<Result<(), ConnectError>>,
}

/// The peer's attempt, as the accepting task knows it.
pub(super) struct Incoming {
    pub(super) task: AbortHandle,
    pub(super) attempt: Mutex<Option<Arc<Attempt>>>,
}

impl Incoming {
    /// The peer's attempt goes on in place of any former one.
    pub(super) fn take_over(&self, attempt: Arc<Attempt>) {
        attempt.run_by(self.task.clone());
        *self.attempt.lock().unwrap_or_else(PoisonError::into_inner) = Some(attempt);
    }
}

impl Attempt {
    pub(super) fn new(id: ConnectionId, peer: Atom) -> Self {
        Self { id, peer, busy: Arc::default(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another task works on it from now on.
    pub(super) fn run_by(&self, task: AbortHandle) {
        if let Some(former) = self.state().task.replace(task) {
            former.abort();
        }
    }

    /// Has `waiter` told how the attempt ends. If it has ended already, returns how.
    pub(super) fn wait(&self, waiter: Waiter) -> Option<Result<(), ConnectError>> {
        let mut state = self.state();
        if state.outcome.is_none() {
            state.waiters.push(waiter);
        }
        state.outcome.clone()
    }

    /// Queues a signal until the connection stands. `None` if the attempt has ended.
    pub(super) fn push(
        &self,
        options: &Options,
        sender: Option<&Pid>,
        interest: Option<&Pid>,
        control: &Control<Encode<'_>>,
    ) -> Result<Option<Sent>, EncodeError> {
        // Before the lock is taken. What the peer can do is not known yet, so atoms are spelled out.
        let mut len = size_of::<(Option<Pid>, Control<Payload>)>();
        let control = control.clone().try_map(|encode| {
            let payload = Payload::from_writer(encode)?;
            len += payload.len();
            Ok::<_, EncodeError>(payload)
        })?;
        let mut state = self.state();
        if state.outcome.is_some() {
            return Ok(None);
        }
        // The connection may be made for a large message: that one waits whatever its length, and leaves to all others what they may take.
        let (queued, largest) = (state.queued_bytes + len, state.largest.max(len));
        if queued - largest > options.pending_bytes_max {
            tracing::warn!(peer = %self.peer, "too much waits for the connection: a signal is dropped");
            return Ok(Some(Sent::NoConnection));
        }
        (state.queued_bytes, state.largest) = (queued, largest);
        state.signals.push((sender.cloned(), control));
        if let Some(pid) = interest {
            state.interested.insert(pid.clone());
        }
        let busy = (state.queued_bytes > options.dist_buf_busy_limit).then(|| {
            self.busy.set();
            self.busy.clone()
        });
        Ok(Some(Sent::Queued { connection: self.id, busy }))
    }

    /// The connection stands: sends what has waited for it.
    pub(super) fn succeeded(&self, local: &Local, connection: &Connection) {
        let mut state = self.state();
        state.outcome = Some(Ok(()));
        self.busy.clear();
        for pid in std::mem::take(&mut state.interested) {
            connection.interest(&pid);
        }
        for (sender, control) in std::mem::take(&mut state.signals) {
            match Outgoing::forward(connection.flags, sender.as_ref(), &control) {
                Ok(outgoing) => {
                    connection.push(outgoing);
                    if local.world.planted("sent-twice")
                        && let Ok(again) = Outgoing::forward(connection.flags, sender.as_ref(), &control)
                    {
                        connection.push(again);
                    }
                }
                Err(error) => {
                    unsent(local, &self.peer, &control, &error);
                }
            }
        }
        for waiter in std::mem::take(&mut state.waiters) {
            // Who has given up waiting does not mind.
            let _ = waiter.send(Ok(()));
        }
    }

    /// No connection can be made: returns who must hear so.
    pub(super) fn failed(&self, error: &ConnectError) -> (BTreeSet<Pid>, Vec<Waiter>) {
        let mut state = self.state();
        state.outcome = Some(Err(error.clone()));
        self.busy.clear();
        state.signals = Vec::new();
        (std::mem::take(&mut state.interested), std::mem::take(&mut state.waiters))
    }
}
