//! A state machine as a [`GenServer`]: calls from anywhere, system messages, exits and starting are those of servers.

use std::any::{Any, type_name};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer};

use super::core::{Action, Bad, Command, Core, CoreEvent, To};
use super::{Context, Event, GenStatem, Time, Timeout, Transition};
use crate::etf;
use crate::gen_server::{GenServer, Reply, ReplyTo};
use crate::process::{ExitReason, TimerReference};
use crate::term::{Atom, Term};
use crate::world::panic_text;

/// After so many events in a row that the machine made itself, it lets others run.
const EVENTS_PER_TURN: u32 = 256;

/// The server that a machine runs as: [`Server<Statem<M>>`](crate::gen_server::Server) is the handle of a running one, and
/// `cx.start_link::<Statem<M>>(args)` starts one that is linked.
pub struct Statem<M: GenStatem> {
    machine: M,
    core: Core<M::State, Seen<M>, M::Internal>,
    /// What runs for the core, by its numbers.
    timers: Vec<(u64, TimerReference)>,
}

/// An event, and what `sys` calls it, if somebody looked when it arrived.
struct Seen<M: GenStatem> {
    event: Event<M>,
    name: Option<Box<Term>>,
}

impl<M: GenStatem> From<Event<M>> for Seen<M> {
    fn from(event: Event<M>) -> Self {
        Self { event, name: None }
    }
}

impl<M: GenStatem> CoreEvent<M::State, M::Internal> for Seen<M> {
    fn enter(old: M::State) -> Self {
        Event::Enter(old).into()
    }

    fn timeout(timeout: Timeout, content: M::Internal) -> Self {
        Event::Timeout(timeout, content).into()
    }

    fn is_enter(&self) -> bool {
        matches!(self.event, Event::Enter(_))
    }
}

/// What a machine's process is sent besides calls and casts: made with `info.into()`.
#[derive(Debug, Clone)]
pub enum Info<I> {
    /// A message.
    Message(I),
    /// What the machine tells itself.
    #[doc(hidden)]
    Own(Own),
}

/// What a machine's process tells itself.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub enum Own {
    Started,
    Fired(u64),
}

impl<I> From<I> for Info<I> {
    fn from(info: I) -> Self {
        Self::Message(info)
    }
}

impl<'de, I: Deserialize<'de>> Deserialize<'de> for Info<I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        I::deserialize(deserializer).map(Self::Message)
    }
}

impl<M: GenStatem> GenServer for Statem<M> {
    type Args = M::Args;
    type Call = M::Call;
    type Reply = M::Reply;
    type Cast = M::Cast;
    type Info = Info<M::Info>;

    async fn init(args: M::Args, cx: &mut Context<M>) -> Result<Self, ExitReason> {
        let (Transition { to, actions }, machine) =
            caught(M::init(args, cx)).await.map_err(|what| crash::<M>(what, "init", None))??;
        let To::Next(state) = to else {
            let atom = |text| Term::from(Atom::from_static(text));
            let what = Term::tuple([atom("bad_return_from_init"), atom("keep_state")]);
            return Err(crash::<M>(what, "init", None));
        };
        // As in OTP, who starts it does not wait for the first state enter call, nor for what is inserted before any message.
        cx.continue_with(Info::Own(Own::Started));
        let core = Core::new(state, M::STATE_ENTER, seen(actions, &mut None));
        let core = core.map_err(|bad| crash::<M>(bad_return::<M>(bad), "init", None))?;
        Ok(Self { machine, core, timers: Vec::new() })
    }

    async fn handle_call(
        &mut self,
        call: M::Call,
        from: ReplyTo<M::Reply>,
        cx: &mut Context<M>,
    ) -> Result<Reply, ExitReason> {
        self.received(Event::Call(call, from), cx);
        self.run(cx).await.map(|()| Reply::Later)
    }

    async fn handle_cast(&mut self, cast: M::Cast, cx: &mut Context<M>) -> Result<(), ExitReason> {
        self.received(Event::Cast(cast), cx);
        self.run(cx).await
    }

    async fn handle_info(&mut self, info: Self::Info, cx: &mut Context<M>) -> Result<(), ExitReason> {
        match info {
            Info::Message(info) => self.received(Event::Info(info), cx),
            Info::Own(Own::Fired(number)) => {
                self.timers.retain(|(running, _)| *running != number);
                self.core.fired(number);
            }
            Info::Own(Own::Started) => self.command(cx),
        }
        self.run(cx).await
    }

    async fn terminate(&mut self, reason: &ExitReason, cx: &mut Context<M>) {
        self.machine.terminate(reason, self.core.state(), cx).await;
    }

    fn state(&self) -> Term {
        Term::tuple([state_term::<M>(self.core.state()), self.machine.data()])
    }

    fn event_in(&self, message: &Term) -> Term {
        Term::tuple([atom("in"), event_name(message), state_term::<M>(self.core.state())])
    }

    // What follows is noted as it happens.
    fn event_out(&self, _: &Term, _: Option<Term>) -> Option<Term> {
        None
    }

    fn behaviour() -> (&'static str, &'static str) {
        ("gen_statem", "Status for state machine")
    }

    fn take_info(value: &mut dyn Any) -> Option<Self::Info> {
        value.downcast_mut::<Option<M::Info>>()?.take().map(Info::Message)
    }
}

impl<M: GenStatem> Statem<M> {
    fn received(&mut self, event: Event<M>, cx: &mut Context<M>) {
        let name = cx.take_seen().map(|message| Box::new(event_name(&message)));
        self.core.received(Seen { event, name });
    }

    /// Handles events until there is none.
    async fn run(&mut self, cx: &mut Context<M>) -> Result<(), ExitReason> {
        let mut handled = 0;
        // The transition that is under way, as `sys` is told of it.
        let mut noted = None;
        while let Some(Seen { event, name }) = self.core.next() {
            if let Some(name) = name {
                noted = Some(Box::new(Noted {
                    tag: "consume",
                    event: name,
                    state: state_term::<M>(self.core.state()),
                }));
            }
            if handled == EVENTS_PER_TURN {
                handled = 0;
                cx.yield_now().await;
            }
            handled += 1;
            let Self { machine, core, .. } = self;
            let function = M::state_function(core.state());
            let callback = caught(machine.handle_event(event, core.state(), cx));
            let returned = callback.await.map_err(|what| crash::<M>(what, function, Some(core.state())));
            let Transition { to, actions } = returned??;
            if let Some(reason) = cx.take_stop() {
                return Err(reason);
            }
            core.returned(to, seen(actions, &mut noted))
                .map_err(|bad| crash::<M>(bad_return::<M>(bad), function, Some(core.state())))?;
            if cx.is_looked_at() {
                self.note(&mut noted, cx);
            }
            self.command(cx);
        }
        Ok(())
    }

    /// Notes the replies that were sent, and the end of a transition.
    fn note(&self, noted: &mut Option<Box<Noted>>, cx: &mut Context<M>) {
        for (to, reply) in cx.take_replies() {
            cx.note(|| Term::tuple([atom("out"), reply, to]));
        }
        if !self.core.is_entering()
            && let Some(noted) = noted.take()
        {
            let Noted { tag, event, state } = *noted;
            let next = state_term::<M>(self.core.state());
            cx.note(|| Term::tuple([atom(tag), *event, state, next]));
        }
    }

    /// Does what the core wants done with timers.
    fn command(&mut self, cx: &Context<M>) {
        for command in self.core.commands() {
            match command {
                Command::Start(number, time) => {
                    let after = match time {
                        Time::After(after) => after,
                        Time::At(due) => due.since(cx.world().clock.mono()),
                        Time::Infinity => Duration::MAX,
                    };
                    self.timers.push((number, cx.send_after(after, Info::Own(Own::Fired(number)))));
                }
                Command::Cancel(number) => {
                    if let Some(at) = self.timers.iter().position(|(running, _)| *running == number) {
                        cx.cancel_timer(self.timers.swap_remove(at).1);
                    }
                }
            }
        }
    }
}

/// Runs a callback; a panic in it becomes `{rust_panic, Text}`.
async fn caught<T>(callback: impl Future<Output = T>) -> Result<T, Term> {
    let mut callback = pin!(callback);
    poll_fn(|task| match catch_unwind(AssertUnwindSafe(|| callback.as_mut().poll(task))) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => {
            let text = Term::from(panic_text(&*panic).to_owned());
            Poll::Ready(Err(Term::tuple([Atom::from_static("rust_panic").into(), text])))
        }
    })
    .await
}

/// `{What, [{Module, Function, 0, [{state, State}]}]}`: the shape of an Erlang crash.
fn crash<M: GenStatem>(what: Term, function: &'static str, state: Option<&M::State>) -> ExitReason {
    let module = Atom::new(type_name::<M>()).unwrap_or(Atom::from_static("rust"));
    let state = state.map(|state| Term::tuple([Atom::from_static("state").into(), state_term::<M>(state)]));
    let function = Atom::from_static(function);
    let frame = Term::tuple([module.into(), function.into(), Term::from(0), Term::list(state)]);
    ExitReason::Term(Term::tuple([what, Term::list([frame])]))
}

/// What a callback returned and must not, as OTP says it.
fn bad_return<M: GenStatem>(bad: Bad<M::State>) -> Term {
    let atom = |text| Term::from(Atom::from_static(text));
    let (tag, what) = match bad {
        Bad::EnterReturn(state) => (
            "bad_state_enter_return_from_state_function",
            Term::tuple([atom("next_state"), state_term::<M>(&state)]),
        ),
        Bad::EnterAction(action) => ("bad_state_enter_action_from_state_function", atom(action)),
        Bad::Action(action) => ("bad_action_from_state_function", Term::tuple([atom(action), atom("enter")])),
    };
    Term::tuple([atom(tag), what])
}

/// An event that is handled while somebody looks.
struct Noted {
    /// `consume`, or `postpone`.
    tag: &'static str,
    event: Box<Term>,
    /// The state that it was handled in.
    state: Term,
}

/// Actions of a callback for the core. An event that is postponed keeps what `sys` calls it.
fn seen<M: GenStatem>(
    actions: Vec<Action<Event<M>, M::Internal>>,
    noted: &mut Option<Box<Noted>>,
) -> impl Iterator<Item = Action<Seen<M>, M::Internal>> {
    actions.into_iter().map(|action| match action {
        Action::Postpone(event) => {
            let name = noted.as_mut().map(|noted| {
                noted.tag = "postpone";
                noted.event.clone()
            });
            Action::Postpone(Seen { event, name })
        }
        Action::NextEvent(event) => Action::NextEvent(event.into()),
        Action::Timeout(timeout, set) => Action::Timeout(timeout, set),
    })
}

/// What `sys` calls the event of a message: `{{call, From}, Request}`, `{cast, Request}` or `{info, Message}`.
fn event_name(message: &Term) -> Term {
    match message.as_tuple() {
        Some([tag, from, request]) if tag.is_atom("$gen_call") => {
            Term::tuple([Term::tuple([atom("call"), from.clone()]), request.clone()])
        }
        // Of a typed call it is not known who waits.
        Some([tag, typed]) if tag.is_atom("$gen_call") => Term::tuple([atom("call"), typed.clone()]),
        Some([tag, request]) if tag.is_atom("$gen_cast") => Term::tuple([atom("cast"), request.clone()]),
        _ => Term::tuple([atom("info"), message.clone()]),
    }
}

fn atom(text: &'static str) -> Term {
    Atom::from_static(text).into()
}

fn state_term<M: GenStatem>(state: &M::State) -> Term {
    etf::to_term(state).unwrap_or_else(|error| Term::from(error.to_string()))
}
