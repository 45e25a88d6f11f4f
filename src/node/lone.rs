//! Connections whose messages come one by one, as those of a process that calls another: a thread of their own waits in the system's read,
//! and runs the process that a message is for.
//!
//! By way of the runtime each message wakes the runtime's driver, which wakes the reader's task, which wakes a scheduler, whose process
//! writes the answer. Here what comes next is read, delivered, handled and answered in one go, for as long as messages come alone and are
//! handled quickly; otherwise the reader's task goes on as before.

use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::connection::Connection;
use super::{DisconnectReason, Inner};
use crate::process::Guest;
use crate::world::{BoxRead, Clock, Wait, World};

/// After so many messages that came alone, one after the other, a connection has a thread of its own.
const LONE_MESSAGES: u32 = 64;
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

/// What reads a connection. In the end it says why that is lost, and gives the reading half back.
type Reading = Pin<Box<dyn Future<Output = Lost> + Send>>;

type Lost = (DisconnectReason, BoxRead);

/// Reads a connection, by turns as a task and on a thread of its own.
pub(super) async fn read(
    inner: &Inner,
    connection: &Arc<Connection>,
    mut reading: Reading,
    wait: Wait,
) -> Lost {
    let mut patience = LONE_MESSAGES;
    loop {
        let lost = poll_fn(|cx| match reading.as_mut().poll(cx) {
            Poll::Ready(lost) => Poll::Ready(Some(lost)),
            Poll::Pending if connection.lone_messages() >= patience => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        if let Some(lost) = lost.await {
            return lost;
        }
        connection.forget_lone_messages();
        let Some(guest) = inner.local.guest() else { continue };
        wait.begin();
        let lone = Arc::new(Lone {
            connection: connection.clone(),
            wait: wait.clone(),
            guest,
            clock: inner.local.world.clock.clone(),
            state: Mutex::new(State { reading: Some(reading), ..State::default() }),
        });
        Lone::on_thread(&lone, &inner.local.world).await;
        wait.end();
        connection.forget_lone_messages();
        let mut state = lone.state();
        if let Some(lost) = state.lost.take() {
            return lost;
        }
        reading = state.reading.take().expect("it is lost, or goes on");
        patience =
            if state.turns < WORTHWHILE { (2 * patience).min(LONE_MESSAGES_MAX) } else { LONE_MESSAGES };
    }
}

/// A connection that is read on a thread of its own.
struct Lone {
    connection: Arc<Connection>,
    wait: Wait,
    guest: Guest,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    reading: Option<Reading>,
    lost: Option<Lost>,
    /// So often something was read.
    turns: u64,
    /// Whether processes run that it was delivered to.
    runs: bool,
    /// Whether the thread is to leave the reading to others. Said while it runs processes, so that it does not read meanwhile.
    is_left: bool,
}

impl Lone {
    /// Waits for the end of the thread, or until it is stuck. If the runtime ends, what the thread reads fails.
    async fn on_thread(this: &Arc<Self>, world: &World) {
        let lone = this.clone();
        let mut thread = world.spawn_blocking(move || lone.run());
        let mut stuck = None;
        loop {
            match world.timeout(STUCK, &mut thread).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => match error.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    // The runtime ends, and has not begun it.
                    Err(_) => return,
                },
                Err(_) => {
                    let mut state = this.state();
                    if state.runs && stuck == Some(state.turns) {
                        state.is_left = true;
                        return;
                    }
                    stuck = state.runs.then_some(state.turns);
                }
            }
        }
    }

    /// The thread.
    fn run(&self) {
        let (mut was_slow, mut buffer) = (false, Vec::new());
        for turn in 1_u64.. {
            let Some(len) = self.wait.for_more(&mut buffer) else { return };
            let looks = was_slow || turn.is_multiple_of(TURNS_PER_LOOK);
            let begun = looks.then(|| self.clock.mono());
            self.guest.turn(|| {
                self.receive();
                self.guest.share();
            });
            {
                let mut state = self.state();
                state.runs = false;
                if state.is_left || state.reading.is_none() {
                    return;
                }
            }
            let slow = begun.is_some_and(|begun| self.clock.mono().since(begun) > QUICK);
            // Once may be the system's doing, which ran something else on this core meanwhile.
            if slow && was_slow || len >= Wait::LEN || self.connection.is_crowded() {
                return;
            }
            was_slow = slow;
        }
    }

    /// Delivers what has come.
    fn receive(&self) {
        let mut state = self.state();
        let State { reading: Some(reading), is_left: false, .. } = &mut *state else { return };
        // The task polls it again, with a waker of its own, before anything else can wake it.
        if let Poll::Ready(lost) = reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            state.lost = Some(lost);
            state.reading = None;
        }
        state.turns += 1;
        state.runs = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
