//! A schedule on a wall clock, which may be set.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::Schedule;
use crate::gen_server::{Context, GenServer, Message, System};
use crate::process::{Signal, TimerReference};

/// How long at most until the wall clock is looked at again: timers run on another clock, and it may be set meanwhile.
pub const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// A clock that is set back by more was wrong before, and the schedule goes by what it shows now. One that is set back by less comes to
/// the same times again, which are not to fire twice.
pub const CORRECTION: Duration = Duration::from_secs(3 * 3600);

/// When a schedule fires, as the wall clock shows.
pub(super) struct Ticker {
    schedule: Schedule,
    due: Option<SystemTime>,
    /// The latest that the clock has shown.
    seen: SystemTime,
}

impl Ticker {
    pub(super) fn new(schedule: Schedule, wall: SystemTime) -> Self {
        let due = schedule.next_after(wall);
        Self { schedule, due, seen: wall }
    }

    /// Whether the schedule fires now: once, whatever was missed. It does again only after now.
    pub(super) fn fires(&mut self, wall: SystemTime) -> bool {
        if self.seen.duration_since(wall).is_ok_and(|back| back > CORRECTION) {
            *self = Self::new(self.schedule.clone(), wall);
            return false;
        }
        self.seen = self.seen.max(wall);
        let fires = self.due.is_some_and(|due| due <= wall);
        if fires {
            self.due = self.schedule.next_after(wall);
        }
        fires
    }

    /// How long until the clock is to be looked at again; `None` if the schedule never fires again.
    pub(super) fn wait(&self, wall: SystemTime) -> Option<Duration> {
        let left = self.due?.duration_since(wall).unwrap_or_default();
        Some(left.clamp(Duration::from_millis(1), LOOK_AGAIN))
    }
}

impl<S: GenServer> Context<S> {
    /// Sends the server `info` at the times of a schedule, as the node's wall clock shows them, until the timer is
    /// [cancelled](crate::process::Context::cancel_timer) or the server ends.
    ///
    /// Times that are missed, because the server is busy or the clock is set forward, fire once. See the [module](crate::cron) for a clock
    /// that is set back. A clock that is set is looked at within [`LOOK_AGAIN`].
    ///
    /// ```
    /// use beamline::cron::Schedule;
    /// use beamline::prelude::*;
    ///
    /// struct Backups(Schedule);
    ///
    /// impl GenServer for Backups {
    ///     type Args = Schedule;
    ///     type Call = Term;
    ///     type Reply = Term;
    ///     type Cast = Term;
    ///     type Info = Term;
    ///
    ///     async fn init(schedule: Schedule, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
    ///         cx.send_cron(schedule.clone(), Atom::from("backup").into());
    ///         Ok(Self(schedule))
    ///     }
    ///
    ///     async fn handle_call(
    ///         &mut self,
    ///         _: Term,
    ///         from: ReplyTo<Term>,
    ///         _: &mut Context<Self>,
    ///     ) -> Result<Reply, ExitReason> {
    ///         Ok(from.reply(self.0.to_string().into()))
    ///     }
    ///
    ///     async fn handle_info(&mut self, info: Term, _: &mut Context<Self>) -> Result<(), ExitReason> {
    ///         println!("time for a {info}");
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn send_cron(&self, schedule: Schedule, info: S::Info) -> TimerReference
    where
        S::Info: Clone,
    {
        let clock = self.world().clock.clone();
        let mut ticker = Ticker::new(schedule, clock.wall());
        let waits = Arc::new(AtomicBool::new(false));
        let after = ticker.wait(clock.wall()).unwrap_or_default();
        self.send_again(after, move |_, now| {
            let wall = clock.wall();
            // A server that has yet to take the last message gets no further one.
            let message = (ticker.fires(wall) && !waits.swap(true, Ordering::Relaxed)).then(|| {
                let (info, waits) = (info.clone(), waits.clone());
                Message::System(System::new(move |_, cx: &mut Self| {
                    waits.store(false, Ordering::Relaxed);
                    cx.process().push_always(Signal::Message(Message::Info(info)));
                }))
            });
            (message, ticker.wait(wall).map(|wait| now + wait))
        })
    }
}
