//! Connections whose messages come one by one, as those of a process that calls another: a thread of their own waits in the system's read,
//! and runs the process that a message is for.
//!
//! By way of the runtime each message wakes the runtime's driver, which wakes the reader's task, which wakes a scheduler, whose process
//! writes the answer. Here what comes next is read, delivered, handled and answered in one go, for as long as messages come alone and are
//! handled quickly; otherwise the reader's task goes on as before.

use std::hint::cold_path;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::connection::Connection;
use super::reading::Reader;
use super::{DisconnectReason, Inner};
use crate::process::{Guest, Spares};
use crate::world::Wait;

/// After so many messages that came alone, one after the other, a connection has a thread of its own.
const LONE_MESSAGES: u32 = 64;
/// After so few where it did well to have it until nothing came for a while: who calls again after a pause is most likely to go on.
const LONE_MESSAGES_AGAIN: u32 = 8;
/// After so many at most.
const LONE_MESSAGES_MAX: u32 = 1024;
/// What keeps its thread for so many did well to have it.
const WORTHWHILE: u64 = 256;
/// A process that runs for so long, twice in a row, would keep others of the connection from running beside it.
const QUICK: Duration = Duration::from_micros(100);
/// So often the time is taken: a reading of the clock is worth a percent of a message.
const TURNS_PER_LOOK: u64 = 16;
/// One that runs for so long, or blocks its thread, is left to itself: others of the connection go on without it.
const STUCK: Duration = Duration::from_millis(20);

/// Reads a connection, by turns as a task and on a thread of its own, until it is lost. Returns why it is.
pub(super) async fn read(
    inner: &Arc<Inner>,
    connection: &Arc<Connection>,
    mut reader: Box<Reader>,
    wait: Wait,
) -> (DisconnectReason, Box<Reader>) {
    let mut patience = LONE_MESSAGES;
    loop {
        if let Some(reason) = connection.read(inner, &mut reader, Some(patience)).await {
            return (reason, reader);
        }
        connection.forget_lone_messages();
        let Some(guest) = inner.local.guest() else { continue };
        wait.begin(&mut reader.read);
        let lone = Left(Arc::new(Lone {
            inner: inner.clone(),
            connection: connection.clone(),
            wait: wait.clone(),
            guest,
            turns: AtomicU64::new(0),
            is_left: AtomicBool::new(false),
            state: Mutex::new(State { reader: Some(reader), ..State::default() }),
        }));
        let state = Lone::on_thread(&lone.0).await;
        wait.end();
        connection.forget_lone_messages();
        reader = state.reader.expect("nobody else has taken it");
        if let Some(reason) = state.lost {
            return (reason, reader);
        }
        let turns = lone.0.turns.load(Ordering::Relaxed);
        patience = match state.paused {
            _ if turns < WORTHWHILE => (2 * patience).min(LONE_MESSAGES_MAX),
            true => LONE_MESSAGES_AGAIN,
            false => LONE_MESSAGES,
        };
    }
}

/// A connection that is read on a thread of its own.
struct Lone {
    inner: Arc<Inner>,
    connection: Arc<Connection>,
    wait: Wait,
    guest: Guest,
    /// So often something was read. Only the thread counts.
    turns: AtomicU64,
    /// Whether nobody waits for the thread any more.
    is_left: AtomicBool,
    /// Locked by the thread but while it runs processes.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None` once others go on reading.
    reader: Option<Box<Reader>>,
    lost: Option<DisconnectReason>,
    /// Whether nothing came for a while.
    paused: bool,
}

/// Has the thread end when its connection's task does.
struct Left(Arc<Lone>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.is_left.store(true, Ordering::Relaxed);
    }
}

impl Lone {
    /// Waits for the end of the thread, or until it is stuck.
    async fn on_thread(this: &Arc<Self>) -> State {
        let (lone, world) = (this.clone(), &this.inner.local.world);
        let mut thread = world.spawn_blocking(move || lone.run());
        let mut stuck = None;
        loop {
            match world.timeout(STUCK, &mut thread).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => match error.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    // The runtime ends, and has not begun it.
                    Err(_) => break,
                },
                Err(_) => {
                    let Ok(mut state) = this.state.try_lock() else { continue };
                    // It runs processes, or is about to.
                    let turns = this.turns.load(Ordering::Relaxed);
                    if stuck == Some(turns) {
                        return std::mem::take(&mut *state);
                    }
                    stuck = Some(turns);
                }
            }
        }
        std::mem::take(&mut *this.state())
    }

    /// The thread.
    #[hot]
    fn run(&self) {
        let clock = &self.inner.local.world.clock;
        let (mut state, mut spares, mut was_slow) = (self.state(), Spares::default(), false);
        let Some(due) = state.reader.as_ref().map(|reader| reader.due(clock.mono())) else { return };
        for turn in 1_u64.. {
            let State { reader: Some(reader), lost: None, .. } = &mut *state else { return };
            let len = match reader.wait_for_more(&self.wait) {
                Ok(Some(len)) => len,
                Ok(None) => {
                    state.paused = true;
                    return;
                }
                Err(error) => {
                    state.lost = Some(error.into());
                    return;
                }
            };
            self.connection.note_received(len);
            let looks = was_slow || turn.is_multiple_of(TURNS_PER_LOOK);
            let begun = if looks {
                cold_path();
                Some(clock.mono())
            } else {
                None
            };
            self.connection.lead(&self.inner.local, &mut spares);
            self.guest.turn(&mut spares, || {
                let mut state = state;
                let State { reader: Some(reader), lost, .. } = &mut *state else { return };
                if let Err(error) = self.connection.receive(&self.inner, reader) {
                    cold_path();
                    *lost = Some(DisconnectReason::Protocol(error));
                }
                self.turns.store(turn, Ordering::Relaxed);
                drop(state);
                self.guest.share();
            });
            let (slow, is_due) = match begun {
                Some(begun) => {
                    cold_path();
                    (clock.mono().since(begun) > QUICK, begun >= due)
                }
                None => (false, false),
            };
            // Once may be the system's doing, which ran something else on this core meanwhile.
            let ends = slow && was_slow || len >= Wait::LEN || self.connection.is_crowded();
            if ends || is_due || self.connection.closed().is_some() || self.is_left.load(Ordering::Relaxed) {
                return;
            }
            was_slow = slow;
            state = self.state();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
