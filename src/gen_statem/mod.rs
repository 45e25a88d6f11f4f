//! OTP's `gen_statem`: a process that is in a state, and handles each event as its state says.
//!
//! ```
//! use std::time::Duration;
//!
//! use beamline::gen_statem::{Context, Event, GenStatem, Timeout, Transition, keep_state, next_state};
//! use beamline::process::ExitReason;
//! use beamline::term::Term;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, PartialEq, Serialize)]
//! #[serde(rename_all = "snake_case")]
//! enum State {
//!     Locked,
//!     Open,
//! }
//!
//! // Erlang casts `{button, 4}`, and calls `push`.
//! #[derive(Deserialize)]
//! #[serde(rename_all = "snake_case")]
//! enum Cast {
//!     Button(u8),
//! }
//!
//! #[derive(Deserialize)]
//! #[serde(rename_all = "snake_case")]
//! enum Ask {
//!     Push,
//! }
//!
//! struct Lock;
//!
//! struct Door {
//!     code: Vec<u8>,
//!     pressed: Vec<u8>,
//! }
//!
//! impl GenStatem for Door {
//!     type Args = Vec<u8>;
//!     type State = State;
//!     type Call = Ask;
//!     type Reply = String;
//!     type Cast = Cast;
//!     type Info = Term;
//!     type Internal = Lock;
//!
//!     async fn init(
//!         code: Vec<u8>,
//!         _: &mut Context<Self>,
//!     ) -> Result<(Transition<Self>, Self), ExitReason> {
//!         Ok((next_state(State::Locked), Self { code, pressed: Vec::new() }))
//!     }
//!
//!     async fn handle_event(
//!         &mut self,
//!         event: Event<Self>,
//!         state: &State,
//!         _: &mut Context<Self>,
//!     ) -> Result<Transition<Self>, ExitReason> {
//!         Ok(match (state, event) {
//!             (State::Locked, Event::Cast(Cast::Button(button))) => {
//!                 self.pressed.push(button);
//!                 if self.pressed.ends_with(&self.code) {
//!                     self.pressed.clear();
//!                     next_state(State::Open).state_timeout(Duration::from_secs(10), Lock)
//!                 } else {
//!                     keep_state()
//!                 }
//!             }
//!             // Who pushes a locked door waits until it is open.
//!             (State::Locked, push @ Event::Call(Ask::Push, _)) => keep_state().postpone(push),
//!             (State::Open, Event::Call(Ask::Push, from)) => keep_state().reply(from, "come in".to_owned()),
//!             (State::Open, Event::Timeout(Timeout::State, Lock)) => next_state(State::Locked),
//!             _ => keep_state(),
//!         })
//!     }
//! }
//! ```
//!
//! The data is the machine itself, `self`; the state is a type of its own, and only a returned [`Transition`] changes it. `handle_event` is OTP's
//! `handle_event_function`; [`state_functions!`] writes it for a machine with a method for each state. With [`STATE_ENTER`](GenStatem::STATE_ENTER) it is
//! also called with [`Event::Enter`] at the start, after each change of state and when a state is [repeated](repeat_state).
//!
//! # What a callback returns
//!
//! | here | OTP | |
//! |---|---|---|
//! | [`keep_state()`](keep_state) | `keep_state` | |
//! | [`next_state(State)`](next_state) | `{next_state, State, Data}` | a change of state, unless the machine is in that state |
//! | [`repeat_state()`](repeat_state) | `repeat_state` | stays, and makes the state enter call again |
//! | `Err(Reason)` | `{stop, Reason}` | |
//! | `from.reply(..); Err(Reason)` | `{stop_and_reply, Reason, Replies}` | `Err(ExitReason::Normal)` stops in order |
//!
//! # Actions, and when they act
//!
//! The actions of an event's callback and of the state enter calls that it leads to are one list. What they do is done at its end, in this order:
//!
//! | | action | what it does |
//! |---|---|---|
//! | at once | [`reply`](Transition::reply) | sends a reply, to this call or an older one |
//! | 1 | [`postpone`](Transition::postpone) | the event joins the postponed ones |
//! | 2 | | the event timeout is cancelled; after a change of state the state timeout too, and the postponed events, the oldest first, come before those that wait |
//! | 3 | [`event_timeout`](Transition::event_timeout), [`state_timeout`](Transition::state_timeout), [`timeout`](Transition::timeout), [`update_timeout`](Transition::update_timeout), [`cancel_timeout`](Transition::cancel_timeout) | for each timeout, what was asked for last; they are started from the last to the first |
//! | 4 | [`next_event`](Transition::next_event) | the inserted events, in their order, come before all others |
//! | 5 | | when no event waits, those of zero timeouts are handled, in the order of their actions; and then the next message is received |
//!
//! A state enter call that goes to another state, postpones or inserts an event ends the machine with
//! `{bad_state_enter_return_from_state_function, _}` or `{bad_state_enter_action_from_state_function, _}`, as in OTP; the frame beside it names the callback and
//! the state, and so does that of a panic.
//!
//! # As a server
//!
//! A machine runs as the gen_server [`Statem<M>`]: its handle is a [`Server<Statem<M>>`](crate::gen_server::Server), with `call`, `cast`, `send` and `stop`, and the
//! methods that [`#[derive(Protocol)]`](crate::Protocol) makes; `gen_statem:call/2`, `cast/2` and `stop/1` and `sys` work from Erlang; a supervisor starts it with
//! `ChildSpec::worker::<Statem<M>>`; and all that is said of messages which are not understood holds here.
//!
//! # Differences from OTP
//!
//! | | |
//! |---|---|
//! | an event is postponed by giving it back | so that a call cannot be both answered and postponed, and `{postpone, false}` has no use |
//! | the data is changed in place | so that what a callback did to it stays, also if what it returned is refused |
//! | [`Time::At`] | is on the node's clock, and zero is a point in the past, not a zero timeout |
//! | a zero timeout that waits and is started anew with a time | gets a timer; OTP 25 forgets it and delivers its message as `info` |
//! | `change_callback_module` and the like | do not exist |
//! | `hibernate` | does nothing |
//!
//! Source: `gen_statem.erl` in stdlib, and its manual page's *transition_option/0*.

mod core;
mod server;
mod transition;

use std::any::type_name;
use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::gen_server::{self, GenServer, ReplyTo, Start};
use crate::node::Node;
use crate::process::ExitReason;
use crate::term::Term;

pub use self::server::{Info, Statem};
pub use self::transition::{Time, Timeout, Transition, keep_state, next_state, repeat_state};
#[doc(inline)]
pub use crate::state_functions;

/// A machine's view of itself: that of a server, with all that a process has.
pub type Context<M> = gen_server::Context<Statem<M>>;

/// A state machine: its data, and what it does with events in each state. See [the module](self) for an example.
pub trait GenStatem: Sized + Send + 'static {
    /// `state_enter`: whether entering a state is an event too.
    const STATE_ENTER: bool = false;

    /// What [`init`](Self::init) makes the data of.
    type Args: Send + 'static;
    /// The states. One that holds data is another state when that differs. As a term it is what `sys:get_state/1` and crashes show.
    type State: Clone + PartialEq + Serialize + Send + Sync + 'static;
    /// The calls that it answers.
    type Call: DeserializeOwned + Send + 'static;
    /// What it answers them with.
    type Reply: Serialize + Send + 'static;
    /// The casts that it takes.
    type Cast: DeserializeOwned + Send + 'static;
    /// The other messages that it takes; [`Term`] takes all.
    type Info: DeserializeOwned + Send + 'static;
    /// What it tells itself: the contents of internal events and of timeouts.
    type Internal: Send + 'static;

    /// Makes the data, in the new process, and says with [`next_state`] which state is the first. Its actions are done before any message is handled.
    /// Whoever starts the machine waits for this, not for the state enter call that follows.
    fn init(
        args: Self::Args,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(Transition<Self>, Self), ExitReason>> + Send;

    /// Handles an event in a state; an error ends the machine.
    fn handle_event(
        &mut self,
        event: Event<Self>,
        state: &Self::State,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<Transition<Self>, ExitReason>> + Send;

    /// Cleans up, as [`GenServer::terminate`].
    fn terminate(
        &mut self,
        reason: &ExitReason,
        state: &Self::State,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (reason, state, cx);
        async {}
    }

    /// What `sys:get_state/1` shows beside the state. By default the name of the machine's type.
    fn data(&self) -> Term {
        Term::from(type_name::<Self>().to_owned())
    }

    /// What handles events in a state, for the reason of a crash.
    #[doc(hidden)]
    fn state_function(state: &Self::State) -> &'static str {
        let _ = state;
        "handle_event"
    }

    /// Starts a machine of `node`, linked to nothing.
    fn start(node: &Node, args: Self::Args) -> Start<Statem<Self>> {
        <Statem<Self> as GenServer>::start(node, args)
    }
}

/// What happens to a machine.
pub enum Event<M: GenStatem> {
    /// `enter`: the machine has entered its state, from this one. At the start and when a state is repeated that is the state itself.
    Enter(M::State),
    /// `{call, From}`.
    Call(M::Call, ReplyTo<M::Reply>),
    /// `cast`.
    Cast(M::Cast),
    /// `info`: any other message, trapped exits and `DOWN` among them.
    Info(M::Info),
    /// `internal`: only the machine itself makes them, with [`Transition::next_event`].
    Internal(M::Internal),
    /// `timeout`, `state_timeout`, `{timeout, Name}`.
    Timeout(Timeout, M::Internal),
}

/// `state_functions`: writes [`handle_event`](crate::gen_statem::GenStatem::handle_event) for a machine that has a method for each state.
///
/// ```
/// # use beamline::gen_statem::{Context, Event, GenStatem, Transition, keep_state, next_state};
/// # use beamline::process::ExitReason;
/// # use beamline::term::Term;
/// #[derive(Clone, PartialEq, serde::Serialize)]
/// enum State {
///     On,
///     Off,
/// }
///
/// struct Switch;
///
/// impl GenStatem for Switch {
///     // ...
/// #   type Args = ();
/// #   type State = State;
/// #   type Call = Term;
/// #   type Reply = Term;
/// #   type Cast = Term;
/// #   type Info = Term;
/// #   type Internal = ();
/// #   async fn init((): (), _: &mut Context<Self>) -> Result<(Transition<Self>, Self), ExitReason> {
/// #       Ok((next_state(State::Off), Self))
/// #   }
///     beamline::state_functions!(State { On => on, Off => off });
/// }
///
/// impl Switch {
///     async fn on(
///         &mut self,
///         event: Event<Self>,
///         _: &mut Context<Self>,
///     ) -> Result<Transition<Self>, ExitReason> {
///         Ok(match event {
///             Event::Cast(_) => next_state(State::Off),
///             _ => keep_state(),
///         })
///     }
///
///     async fn off(
///         &mut self,
///         event: Event<Self>,
///         _: &mut Context<Self>,
///     ) -> Result<Transition<Self>, ExitReason> {
///         Ok(match event {
///             Event::Cast(_) => next_state(State::On),
///             _ => keep_state(),
///         })
///     }
/// }
/// ```
#[macro_export]
macro_rules! state_functions {
    ($state:ident { $($variant:ident => $function:ident),+ $(,)? }) => {
        async fn handle_event(
            &mut self,
            event: $crate::gen_statem::Event<Self>,
            state: &$state,
            cx: &mut $crate::gen_statem::Context<Self>,
        ) -> Result<$crate::gen_statem::Transition<Self>, $crate::process::ExitReason> {
            match state {
                $($state::$variant => self.$function(event, cx).await,)+
            }
        }

        fn state_function(state: &$state) -> &'static str {
            match state {
                $($state::$variant => stringify!($function),)+
            }
        }
    };
}

#[cfg(test)]
mod tests;
