//! The rules of a state machine: what becomes of its events, its postponed events and its timers. No time and nothing to
//! wait for: events, fired timers and what callbacks returned go in; the next event to handle and what to do with timers come out.
//!
//! ```text
//! received, fired ──▶ queue ──▶ next ──▶ (callback) ──▶ returned ──▶ commands
//!                       ▲                                  │
//!                       └──── inserted, retried, zero ◀────┘
//! ```

use std::collections::VecDeque;

use super::{Time, Timeout};

/// What the core must know of events.
pub(super) trait CoreEvent<S, C> {
    /// A state enter call.
    fn enter(old: S) -> Self;
    /// The event of a timeout.
    fn timeout(timeout: Timeout, content: C) -> Self;
    fn is_enter(&self) -> bool;
}

/// Where a callback wants to go.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum To<S> {
    Keep,
    Repeat,
    Next(S),
}

/// What a callback wants besides.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action<E, C> {
    Postpone(E),
    NextEvent(E),
    Timeout(Timeout, Set<C>),
}

/// What is to become of a timeout.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Set<C> {
    Start(Time, C),
    Update(C),
    Cancel,
}

/// What is to be done with the machine's timers, in this order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Command {
    Start(u64, Time),
    Cancel(u64),
}

/// What a callback must not return, and where it did.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bad<S> {
    /// A state enter call that goes to another state.
    EnterReturn(S),
    /// A state enter call that postpones or inserts an event.
    EnterAction(&'static str),
    /// A state enter call made up as an event.
    Action(&'static str),
}

/// A timeout that is set.
struct Timer<C> {
    timeout: Timeout,
    /// `None` if it is a zero timeout, which has no timer.
    number: Option<u64>,
    content: C,
}

/// The transition that is under way, from a callback for an event to the end of the last state enter call.
struct Transition<S, E, C> {
    /// The state before it, if it is another one.
    old: Option<S>,
    /// A state enter call is due, or under way.
    enter: bool,
    postponed: Vec<E>,
    inserted: Vec<E>,
    timeouts: Vec<(Timeout, Set<C>)>,
}

impl<S, E, C> Default for Transition<S, E, C> {
    fn default() -> Self {
        Self { old: None, enter: false, postponed: Vec::new(), inserted: Vec::new(), timeouts: Vec::new() }
    }
}

pub(super) struct Core<S, E, C> {
    state: S,
    state_enter: bool,
    /// Not yet handled, the next one first.
    queue: VecDeque<E>,
    /// The oldest first.
    postponed: Vec<E>,
    timers: Vec<Timer<C>>,
    /// The timeouts without a timer: their events are the newest in the queue.
    zero: Vec<Timeout>,
    transition: Transition<S, E, C>,
    commands: Vec<Command>,
    number: u64,
}

impl<S: Clone + PartialEq, E: CoreEvent<S, C>, C> Core<S, E, C> {
    /// A machine in its first state, with the actions of `init`.
    pub(super) fn new(
        state: S,
        state_enter: bool,
        actions: impl IntoIterator<Item = Action<E, C>>,
    ) -> Result<Self, Bad<S>> {
        let mut core = Self {
            state,
            state_enter,
            queue: VecDeque::new(),
            postponed: Vec::new(),
            timers: Vec::new(),
            zero: Vec::new(),
            transition: Transition::default(),
            commands: Vec::new(),
            number: 0,
        };
        core.returned(To::Repeat, actions)?;
        Ok(core)
    }

    /// Whether a state enter call has yet to end the transition.
    pub(super) fn is_entering(&self) -> bool {
        self.transition.enter
    }

    pub(super) fn state(&self) -> &S {
        &self.state
    }

    /// An event has arrived.
    pub(super) fn received(&mut self, event: E) {
        self.queue.push_back(event);
    }

    /// A timer has fired. One that was cancelled meanwhile does nothing.
    pub(super) fn fired(&mut self, number: u64) {
        let found = self.timers.iter().position(|timer| timer.number == Some(number));
        if let Some(at) = found {
            let Timer { timeout, content, .. } = self.timers.remove(at);
            self.queue.push_back(E::timeout(timeout, content));
        }
    }

    /// What to call the machine with next; what it returns goes to [`Core::returned`]. `None`: it waits.
    pub(super) fn next(&mut self) -> Option<E> {
        if self.transition.enter {
            return Some(E::enter(self.transition.old.as_ref().unwrap_or(&self.state).clone()));
        }
        if let Some(event) = self.queue.pop_front() {
            return Some(event);
        }
        if self.zero.is_empty() {
            return None;
        }
        let timeout = self.zero.remove(0);
        let at = self.timers.iter().position(|timer| timer.timeout == timeout)?;
        let content = self.timers.remove(at).content;
        Some(E::timeout(timeout, content))
    }

    /// A callback has returned.
    ///
    /// # Errors
    /// If it returned what it must not, which ends the machine.
    pub(super) fn returned(
        &mut self,
        to: To<S>,
        actions: impl IntoIterator<Item = Action<E, C>>,
    ) -> Result<(), Bad<S>> {
        let entering = self.transition.enter;
        let call_enter = match to {
            To::Next(state) if state == self.state => false,
            To::Next(state) if entering => return Err(Bad::EnterReturn(state)),
            To::Next(state) => {
                self.transition.old = Some(std::mem::replace(&mut self.state, state));
                true
            }
            To::Repeat => true,
            To::Keep => false,
        };
        for action in actions {
            let (event, name, events) = match action {
                Action::Timeout(timeout, set) => {
                    self.transition.timeouts.push((timeout, set));
                    continue;
                }
                Action::Postpone(event) => (event, "postpone", &mut self.transition.postponed),
                Action::NextEvent(event) => (event, "next_event", &mut self.transition.inserted),
            };
            if entering {
                return Err(Bad::EnterAction(name));
            }
            if event.is_enter() {
                return Err(Bad::Action(name));
            }
            events.push(event);
        }
        self.transition.enter = call_enter && self.state_enter;
        if !self.transition.enter {
            self.complete();
        }
        Ok(())
    }

    /// What is to be done with timers since this was last called.
    pub(super) fn commands(&mut self) -> impl Iterator<Item = Command> + use<'_, S, E, C> {
        self.commands.drain(..)
    }

    /// The last callback of a transition has returned.
    fn complete(&mut self) {
        let Transition { old, postponed, inserted, timeouts, .. } = std::mem::take(&mut self.transition);
        self.postponed.extend(postponed);
        self.cancel(&Timeout::Event);
        if old.is_some() {
            self.cancel(&Timeout::State);
            prepend(&mut self.queue, std::mem::take(&mut self.postponed));
        }
        self.set_timeouts(timeouts);
        prepend(&mut self.queue, inserted);
    }

    /// Of each timeout what was asked for last counts, and that is done from the last to the first.
    fn set_timeouts(&mut self, timeouts: Vec<(Timeout, Set<C>)>) {
        let (mut seen, mut zero) = (Vec::new(), Vec::new());
        for (timeout, set) in timeouts.into_iter().rev() {
            if seen.contains(&timeout) {
                continue;
            }
            seen.push(timeout.clone());
            let (number, content) = match set {
                Set::Cancel | Set::Start(Time::Infinity, _) => {
                    self.cancel(&timeout);
                    continue;
                }
                Set::Update(content) => {
                    if let Some(timer) = self.timers.iter_mut().find(|timer| timer.timeout == timeout) {
                        timer.content = content;
                        continue;
                    }
                    (None, content)
                }
                Set::Start(time, content) => {
                    self.cancel(&timeout);
                    match time {
                        Time::After(after) if after.is_zero() => (None, content),
                        time => {
                            self.number += 1;
                            self.commands.push(Command::Start(self.number, time));
                            (Some(self.number), content)
                        }
                    }
                }
            };
            if number.is_none() {
                zero.push(timeout.clone());
            }
            self.timers.push(Timer { timeout, number, content });
        }
        self.zero.extend(zero.into_iter().rev());
    }

    fn cancel(&mut self, timeout: &Timeout) {
        let Some(at) = self.timers.iter().position(|timer| timer.timeout == *timeout) else { return };
        match self.timers.swap_remove(at).number {
            Some(number) => self.commands.push(Command::Cancel(number)),
            None => self.zero.retain(|zero| zero != timeout),
        }
    }
}

/// Puts events before all others, in their order.
fn prepend<E>(queue: &mut VecDeque<E>, events: Vec<E>) {
    queue.reserve(events.len());
    for event in events.into_iter().rev() {
        queue.push_front(event);
    }
}
