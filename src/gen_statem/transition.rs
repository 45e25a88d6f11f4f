//! What a callback returns: where the machine goes, and what it does besides.

use std::time::Duration;

use super::core::{Action, Set, To};
use super::{Event, GenStatem};
use crate::gen_server::ReplyTo;
use crate::term::Term;
use crate::world::Mono;

/// Which timeout: a machine has one event timeout, one state timeout, and any number of others by name.
#[derive(Debug, Clone, PartialEq)]
pub enum Timeout {
    /// `timeout`: any event cancels it.
    Event,
    /// `state_timeout`: a change of state cancels it.
    State,
    /// `{timeout, Name}`: only the machine cancels it.
    Named(Term),
}

impl Timeout {
    /// `{timeout, Name}`.
    pub fn named(name: impl Into<Term>) -> Self {
        Self::Named(name.into())
    }
}

/// When a timeout fires.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Time {
    /// After a while. A zero timeout fires before any message that has not been received, and has no timer.
    After(Duration),
    /// `{abs, true}`: at a point on the node's own clock, [`World::clock`](crate::world::World).
    At(Mono),
    /// Never: it cancels the timeout.
    Infinity,
}

impl From<Duration> for Time {
    fn from(after: Duration) -> Self {
        Self::After(after)
    }
}

impl From<Mono> for Time {
    fn from(at: Mono) -> Self {
        Self::At(at)
    }
}

/// Where a machine goes, made by [`keep_state`], [`next_state`] and [`repeat_state`]; and its actions, made by the methods.
#[must_use = "it does nothing unless it is returned"]
pub struct Transition<M: GenStatem> {
    pub(super) to: To<M::State>,
    pub(super) actions: Vec<Action<Event<M>, M::Internal>>,
}

/// `keep_state`: the machine stays in its state.
pub fn keep_state<M: GenStatem>() -> Transition<M> {
    Transition { to: To::Keep, actions: Vec::new() }
}

/// `{next_state, State, ..}`: the machine goes to `state`. If it is in it, that is no change of state.
pub fn next_state<M: GenStatem>(state: M::State) -> Transition<M> {
    Transition { to: To::Next(state), actions: Vec::new() }
}

/// `repeat_state`: as [`keep_state`], but the state enter call is made again.
pub fn repeat_state<M: GenStatem>() -> Transition<M> {
    Transition { to: To::Repeat, actions: Vec::new() }
}

impl<M: GenStatem> Transition<M> {
    fn action(mut self, action: Action<Event<M>, M::Internal>) -> Self {
        self.actions.push(action);
        self
    }

    /// `postpone`: the event, given back, is handled again after the next change of state.
    pub fn postpone(self, event: Event<M>) -> Self {
        self.action(Action::Postpone(event))
    }

    /// `{next_event, Type, Content}`: the event is handled next, before those that wait. Several are handled in the order of the actions.
    pub fn next_event(self, event: Event<M>) -> Self {
        self.action(Action::NextEvent(event))
    }

    /// `{timeout, Time, Content}`: an event timeout. Any event that is handled before cancels it, so that a zero one only comes if no events wait.
    pub fn event_timeout(self, time: impl Into<Time>, content: M::Internal) -> Self {
        self.start_timeout(Timeout::Event, time, content)
    }

    /// `{state_timeout, Time, Content}`: a timeout of the state that the machine goes to.
    pub fn state_timeout(self, time: impl Into<Time>, content: M::Internal) -> Self {
        self.start_timeout(Timeout::State, time, content)
    }

    /// `{{timeout, Name}, Time, Content}`: a generic timeout.
    pub fn timeout(self, name: impl Into<Term>, time: impl Into<Time>, content: M::Internal) -> Self {
        self.start_timeout(Timeout::named(name), time, content)
    }

    /// Starts a timeout of any kind. One of the same kind, or name, is restarted.
    pub fn start_timeout(self, timeout: Timeout, time: impl Into<Time>, content: M::Internal) -> Self {
        self.action(Action::Timeout(timeout, Set::Start(time.into(), content)))
    }

    /// `{state_timeout, update, Content}` and the like: changes what a timeout that is set comes with, not when. One that is not set comes at once,
    /// as a zero timeout.
    pub fn update_timeout(self, timeout: Timeout, content: M::Internal) -> Self {
        self.action(Action::Timeout(timeout, Set::Update(content)))
    }

    /// `{state_timeout, cancel}` and the like.
    pub fn cancel_timeout(self, timeout: Timeout) -> Self {
        self.action(Action::Timeout(timeout, Set::Cancel))
    }

    /// `{reply, From, Reply}`: answers a call, this one or an older one. It is sent at once, as by [`ReplyTo::reply`].
    pub fn reply(self, from: ReplyTo<M::Reply>, reply: M::Reply) -> Self {
        from.reply(reply);
        self
    }

    /// `hibernate`: accepted, and does nothing. A process that waits takes no more memory than it needs.
    pub fn hibernate(self) -> Self {
        self
    }
}
