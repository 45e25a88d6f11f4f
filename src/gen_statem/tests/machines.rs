//! Machines of one node, on virtual time.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::mpsc;

use crate::Protocol;
use crate::gen_server::{ReplyTo, Server, Start, StartError};
use crate::gen_statem::{
    Context, Event, GenStatem, Statem, Time, Timeout, Transition, keep_state, next_state, repeat_state,
};
use crate::process::{CallError, ExitReason, Local};
use crate::term::{Atom, Term};
use crate::world::World;

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Locked,
    Open { by: u8 },
}

#[derive(Debug, Serialize, Deserialize, Protocol)]
#[serde(rename_all = "snake_case")]
enum Ask {
    /// Answered only while it is open.
    #[reply(u8)]
    Pass,
    /// Answered when somebody casts `release`.
    #[reply(String)]
    Wait,
    #[reply(())]
    Open(u8),
    #[reply(())]
    Close,
    /// One timeout of each kind, 100 ms apart.
    #[reply(())]
    Arm,
    #[reply(())]
    Update,
    #[reply(())]
    Cancel,
    #[reply(())]
    Panic,
    #[reply(())]
    Spin,
    #[reply(())]
    Stop,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tell {
    Release,
    Repeat,
    Start,
}

/// It has no external form: it arrives only if it is moved.
#[derive(Debug, Deserialize)]
struct Moved(String);

impl Serialize for Moved {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it is to be moved"))
    }
}

/// What a machine noted, and after how many milliseconds.
type Log = mpsc::UnboundedReceiver<(u64, String)>;

struct Door {
    log: mpsc::UnboundedSender<(u64, String)>,
    waiting: Vec<ReplyTo<AskReply>>,
}

impl Door {
    fn note(&self, cx: &Context<Self>, what: String) {
        let at = cx.world().clock.mono().0 / 1_000_000;
        let _ = self.log.send((at, what));
    }
}

impl GenStatem for Door {
    const STATE_ENTER: bool = true;
    type Args = (State, mpsc::UnboundedSender<(u64, String)>);
    type State = State;
    type Call = Ask;
    type Reply = AskReply;
    type Cast = Tell;
    type Info = Moved;
    type Internal = &'static str;

    async fn init(
        (first, log): Self::Args,
        _: &mut Context<Self>,
    ) -> Result<(Transition<Self>, Self), ExitReason> {
        let first = match first {
            State::Open { by: 0 } => keep_state(),
            first => next_state(first).next_event(Event::Internal("first")),
        };
        Ok((first, Self { log, waiting: Vec::new() }))
    }

    async fn handle_event(
        &mut self,
        event: Event<Self>,
        state: &State,
        cx: &mut Context<Self>,
    ) -> Result<Transition<Self>, ExitReason> {
        let ms = Duration::from_millis;
        Ok(match (state, event) {
            (State::Open { by: 9 }, enter @ Event::Enter(_)) => keep_state().postpone(enter),
            (state, Event::Enter(old)) => {
                self.note(cx, format!("{state:?} from {old:?}"));
                keep_state()
            }
            (State::Open { by }, Event::Call(Ask::Pass, from)) => {
                keep_state().reply(from, AskReply::Pass(*by))
            }
            (State::Locked, pass @ Event::Call(Ask::Pass, _)) => keep_state().postpone(pass),
            (_, Event::Call(Ask::Wait, from)) => {
                self.waiting.push(from);
                keep_state()
            }
            (_, Event::Cast(Tell::Release)) => {
                self.waiting.drain(..).enumerate().fold(keep_state(), |to, (at, from)| {
                    to.reply(from, AskReply::Wait(format!("released {at}")))
                })
            }
            (_, Event::Call(Ask::Open(by), from)) => {
                next_state(State::Open { by }).reply(from, AskReply::Open(()))
            }
            (_, Event::Call(Ask::Close, from)) => next_state(State::Locked).reply(from, AskReply::Close(())),
            (_, Event::Call(Ask::Arm, from)) => {
                let at = cx.world().clock.mono() + ms(400);
                keep_state()
                    .timeout("at", at, "at")
                    .timeout("x", ms(300), "named")
                    .state_timeout(ms(200), "state")
                    .event_timeout(ms(100), "event")
                    .reply(from, AskReply::Arm(()))
            }
            (_, Event::Call(Ask::Update, from)) => keep_state()
                .update_timeout(Timeout::State, "updated")
                .update_timeout(Timeout::named("none"), "at once")
                .reply(from, AskReply::Update(())),
            (_, Event::Call(Ask::Cancel, from)) => keep_state()
                .cancel_timeout(Timeout::State)
                .timeout("x", Time::Infinity, "never")
                .reply(from, AskReply::Cancel(())),
            (_, Event::Call(Ask::Panic, _)) => panic!("as told"),
            (_, Event::Call(Ask::Spin, from)) => {
                keep_state().next_event(Event::Internal("spin")).reply(from, AskReply::Spin(()))
            }
            (_, Event::Internal("spin")) => keep_state().next_event(Event::Internal("spin")),
            (_, Event::Call(Ask::Stop, from)) => {
                cx.stop(ExitReason::Shutdown);
                next_state(State::Open { by: 1 }).reply(from, AskReply::Stop(()))
            }
            (_, Event::Cast(Tell::Repeat)) => repeat_state(),
            (_, Event::Cast(Tell::Start)) => {
                let _ = cx.start_link::<Statem<Self>>((State::Locked, self.log.clone())).await?;
                keep_state()
            }
            (_, Event::Info(Moved(text))) => {
                self.note(cx, text);
                keep_state()
            }
            (_, Event::Internal(what)) => {
                self.note(cx, what.to_owned());
                keep_state()
            }
            (state, Event::Timeout(_, what)) => {
                self.note(cx, format!("{what} in {state:?}"));
                keep_state()
            }
        })
    }

    async fn terminate(&mut self, reason: &ExitReason, state: &State, cx: &mut Context<Self>) {
        self.note(cx, format!("{reason} in {state:?}"));
    }
}

fn local() -> Arc<Local> {
    Arc::new(Local::new(Atom::from_static("test@127.0.0.1"), 4, World::tokio(), 1000))
}

/// A locked door whose start was noted already.
async fn door(local: &Arc<Local>) -> (Server<Statem<Door>>, Log) {
    let (log, mut noted) = mpsc::unbounded_channel();
    let door =
        Start::<Statem<Door>>::new(local.clone(), None, (State::Locked, log)).await.expect("it starts");
    assert_eq!(next(&mut noted).await, "Locked from Locked");
    assert_eq!(next(&mut noted).await, "first");
    (door, noted)
}

async fn next(log: &mut Log) -> String {
    log.recv().await.expect("it notes something").1
}

/// What is noted in the next seconds, and after how many milliseconds.
async fn noted(local: &Local, log: &mut Log) -> Vec<(u64, String)> {
    let start = local.world.clock.mono().0 / 1_000_000;
    local.world.sleep(Duration::from_secs(5)).await;
    let mut all = Vec::new();
    while let Ok((at, what)) = log.try_recv() {
        // Timers may be late by their granularity.
        all.push(((at - start) / 10 * 10, what));
    }
    all
}

fn at(entries: &[(u64, &str)]) -> Vec<(u64, String)> {
    entries.iter().map(|(at, what)| (*at, (*what).to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_postponed_call_is_answered_after_the_change_of_state_that_it_waits_for() {
    let local = local();
    let (door, _log) = door(&local).await;
    let (first, second, opened) = tokio::join!(door.pass(), door.pass(), door.open(3));
    assert_eq!((first, second, opened), (Ok(3), Ok(3), Ok(())));
    assert_eq!(door.pass().await, Ok(3), "it is open");
    door.close().await.unwrap();
    let limit = Duration::from_secs(1);
    assert_eq!(door.pass().timeout(limit).await, Err(CallError::Timeout(limit)));
}

#[tokio::test(start_paused = true)]
async fn several_calls_are_answered_later_and_at_once() {
    let local = local();
    let (door, _log) = door(&local).await;
    let release = async {
        local.world.sleep(Duration::from_secs(2)).await;
        door.cast(Tell::Release)
    };
    let (first, second, cast) = tokio::join!(door.wait(), door.wait(), release);
    assert_eq!((first.as_deref(), second.as_deref(), cast), (Ok("released 0"), Ok("released 1"), Ok(())));
}

#[tokio::test(start_paused = true)]
async fn each_timeout_fires_when_it_is_due_and_once() {
    let local = local();
    let (door, mut log) = door(&local).await;
    door.arm().await.unwrap();
    let fired =
        [(100, "event in Locked"), (200, "state in Locked"), (300, "named in Locked"), (400, "at in Locked")];
    assert_eq!(noted(&local, &mut log).await, at(&fired));
}

#[tokio::test(start_paused = true)]
async fn an_event_cancels_the_event_timeout_and_a_change_of_state_the_state_timeout() {
    let local = local();
    let (door, mut log) = door(&local).await;
    door.arm().await.unwrap();
    door.cast(Tell::Release).unwrap();
    let left = [(200, "state in Locked"), (300, "named in Locked"), (400, "at in Locked")];
    assert_eq!(noted(&local, &mut log).await, at(&left));
    door.arm().await.unwrap();
    door.open(2).await.unwrap();
    let left =
        [(0, "Open { by: 2 } from Locked"), (300, "named in Open { by: 2 }"), (400, "at in Open { by: 2 }")];
    assert_eq!(noted(&local, &mut log).await, at(&left));
    // To the same state is no change, to one with other data is.
    door.arm().await.unwrap();
    door.open(2).await.unwrap();
    assert_eq!(noted(&local, &mut log).await[0], at(&[(200, "state in Open { by: 2 }")])[0]);
    door.arm().await.unwrap();
    door.open(3).await.unwrap();
    assert_eq!(noted(&local, &mut log).await[1], at(&[(300, "named in Open { by: 3 }")])[0]);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_updated_cancelled_and_restarted() {
    let local = local();
    let (door, mut log) = door(&local).await;
    door.arm().await.unwrap();
    door.update().await.unwrap();
    let updated = [
        (0, "at once in Locked"),
        (200, "updated in Locked"),
        (300, "named in Locked"),
        (400, "at in Locked"),
    ];
    assert_eq!(noted(&local, &mut log).await, at(&updated));
    door.arm().await.unwrap();
    door.cancel().await.unwrap();
    assert_eq!(noted(&local, &mut log).await, at(&[(400, "at in Locked")]));
    door.arm().await.unwrap();
    local.world.sleep(Duration::from_millis(90)).await;
    door.arm().await.unwrap();
    let fired =
        [(100, "event in Locked"), (200, "state in Locked"), (300, "named in Locked"), (400, "at in Locked")];
    assert_eq!(noted(&local, &mut log).await, at(&fired));
}

#[tokio::test(start_paused = true)]
async fn a_repeated_state_is_entered_again() {
    let local = local();
    let (door, mut log) = door(&local).await;
    door.cast(Tell::Repeat).unwrap();
    assert_eq!(next(&mut log).await, "Locked from Locked");
}

#[tokio::test(start_paused = true)]
async fn a_panic_names_the_callback_and_the_state() {
    let local = local();
    let (door, mut log) = door(&local).await;
    door.open(4).await.unwrap();
    let Err(CallError::Exit(reason)) = door.panic().await else { panic!("it panics") };
    let expected = format!(
        "{{{{rust_panic,<<\"as told\">>}},[{{'{}',handle_event,0,[{{state,{{open,#{{by => 4}}}}}}]}}]}}",
        std::any::type_name::<Door>()
    );
    assert_eq!(reason.to_string(), expected);
    assert_eq!(next(&mut log).await, "Open { by: 4 } from Locked");
    assert_eq!(next(&mut log).await, format!("{expected} in Open {{ by: 4 }}"), "terminate ran");
}

#[tokio::test(start_paused = true)]
async fn what_a_state_enter_call_must_not_return_ends_the_machine_and_says_so() {
    let local = local();
    let (door, _log) = door(&local).await;
    door.open(9).await.unwrap();
    let Err(error) = door.pass().await else { panic!("it has ended") };
    let reason = door.stop(ExitReason::Normal).await.to_string();
    assert!(
        reason.starts_with("{{bad_state_enter_action_from_state_function,postpone},"),
        "{reason} {error}"
    );
    assert!(reason.contains("{state,{open,#{by => 9}}}"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn stop_goes_before_the_transition() {
    let local = local();
    let (door, mut log) = door(&local).await;
    assert_eq!(AskClient::stop(&door).await, Ok(()));
    assert_eq!(next(&mut log).await, "shutdown in Locked");
}

#[tokio::test(start_paused = true)]
async fn a_machine_without_a_first_state_does_not_start() {
    let local = local();
    let (log, _noted) = mpsc::unbounded_channel();
    let args = (State::Open { by: 0 }, log);
    let Err(StartError::Init(reason)) = Start::<Statem<Door>>::new(local, None, args).await else {
        panic!("it has no state")
    };
    assert!(reason.to_string().starts_with("{{bad_return_from_init,keep_state},"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_keeps_itself_busy_lets_others_run_and_can_be_killed() {
    let local = local();
    let (door, _log) = door(&local).await;
    door.spin().await.unwrap();
    let (other, _) = self::door(&local).await;
    other.open(1).await.unwrap();
    assert_eq!(other.pass().await, Ok(1));
    local.send_exit(&local.pid(0, 0), door.pid(), &ExitReason::Kill);
    let ended = door.pass().await;
    assert!(matches!(ended, Err(CallError::NoProc | CallError::Exit(ExitReason::Killed))), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_message_of_the_machines_own_type_is_moved() {
    let local = local();
    let (door, mut log) = door(&local).await;
    door.send(Moved("by its handle".to_owned())).unwrap();
    assert_eq!(next(&mut log).await, "by its handle");
    let to = door.pid().clone();
    let sent = local.send(&local.pid(0, 0), &to.into(), Moved("by its pid".to_owned()));
    assert!(sent.is_ok());
    assert_eq!(next(&mut log).await, "by its pid");
}

#[tokio::test(start_paused = true)]
async fn a_machine_ends_with_its_parent() {
    let local = local();
    let (door, mut log) = door(&local).await;
    door.cast(Tell::Start).unwrap();
    assert_eq!(next(&mut log).await, "Locked from Locked", "its child has started");
    assert_eq!(next(&mut log).await, "first");
    door.stop(ExitReason::Shutdown).await;
    assert_eq!(next(&mut log).await, "shutdown in Locked");
    drop(door);
    // The child held the last sender: it is dropped with the child.
    assert_eq!(log.recv().await, None);
}

#[derive(Clone, PartialEq, Serialize)]
enum Light {
    Red,
    Green,
}

/// A method for each state.
struct Lights;

impl GenStatem for Lights {
    type Args = ();
    type State = Light;
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;
    type Internal = ();

    async fn init((): (), _: &mut Context<Self>) -> Result<(Transition<Self>, Self), ExitReason> {
        Ok((next_state(Light::Red), Self))
    }

    crate::state_functions!(Light { Red => red, Green => green });
}

impl Lights {
    async fn red(
        &mut self,
        event: Event<Self>,
        _: &mut Context<Self>,
    ) -> Result<Transition<Self>, ExitReason> {
        Ok(match event {
            Event::Call(call, from) => next_state(Light::Green).reply(from, call),
            _ => keep_state(),
        })
    }

    async fn green(&mut self, _: Event<Self>, _: &mut Context<Self>) -> Result<Transition<Self>, ExitReason> {
        panic!("green")
    }
}

#[tokio::test(start_paused = true)]
async fn the_state_selects_the_method_and_a_panic_names_it() {
    let lights = Start::<Statem<Lights>>::new(local(), None, ()).await.expect("it starts");
    assert_eq!(lights.call(Term::from(1)).await, Ok(Term::from(1)));
    let Err(CallError::Exit(reason)) = lights.call(Term::from(2)).await else { panic!("it panics") };
    assert!(reason.to_string().contains(",green,0,[{state,'Green'}]"), "{reason}");
}
