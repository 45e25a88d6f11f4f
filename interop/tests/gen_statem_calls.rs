//! Erlang calls a state machine of ours, casts to it, looks into it and stops it.

use beamline::gen_statem::{Context, Event, GenStatem, Transition, keep_state, next_state};
use beamline::process::ExitReason;
use beamline::term::{Atom, Term};
use beamline_interop::Cluster;
use serde::{Deserialize, Serialize};

/// A door that Erlang opens.
struct Door;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    Pass,
    Crash,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tell {
    Open,
    Misbehave,
}

#[derive(Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum DoorState {
    Locked,
    Open,
    Broken,
}

impl GenStatem for Door {
    const STATE_ENTER: bool = true;
    type Args = ();
    type State = DoorState;
    type Call = Ask;
    type Reply = Atom;
    type Cast = Tell;
    type Info = Term;
    type Internal = ();

    async fn init((): (), _: &mut Context<Self>) -> Result<(Transition<Self>, Self), ExitReason> {
        Ok((next_state(DoorState::Locked), Self))
    }

    async fn handle_event(
        &mut self,
        event: Event<Self>,
        state: &DoorState,
        _: &mut Context<Self>,
    ) -> Result<Transition<Self>, ExitReason> {
        Ok(match (state, event) {
            (DoorState::Broken, enter @ Event::Enter(_)) => keep_state().postpone(enter),
            (DoorState::Open, Event::Call(Ask::Pass, from)) => {
                keep_state().reply(from, Atom::from_static("come_in"))
            }
            (DoorState::Locked, pass @ Event::Call(Ask::Pass, _)) => keep_state().postpone(pass),
            (_, Event::Call(Ask::Crash, _)) => panic!("as told"),
            (_, Event::Cast(Tell::Open)) => next_state(DoorState::Open),
            (_, Event::Cast(Tell::Misbehave)) => next_state(DoorState::Broken),
            _ => keep_state(),
        })
    }

    fn data(&self) -> Term {
        Atom::from_static("door").into()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn erlang_calls_casts_looks_into_and_stops_a_machine() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = cluster.erl("erl").start().await;
    let node = cluster.node("ours").await;
    let start = async || {
        Door::start(&node, ()).name("door").await.unwrap();
    };
    start().await;
    erl.eval("Door = {door, 'ours@127.0.0.1'}").await;
    // What is beside it is a stack with the state in it.
    erl.eval(
        "Ended = fun(M) -> receive {'DOWN', M, process, _, {Why, [{_, F, 0, At}]}} -> {Why, F, At};
                                  {'DOWN', M, process, _, Why} -> Why after 5000 -> none end end",
    )
    .await;
    let cases = [
        ("sys:get_state(Door)", "{locked,door}"),
        ("R = gen_statem:send_request(Door, pass), gen_statem:wait_response(R, 0)", "timeout"),
        ("gen_statem:cast(Door, open), gen_statem:wait_response(R, 5000)", "{reply,come_in}"),
        ("gen_statem:call(Door, pass)", "come_in"),
        ("element(1, gen_statem:call(Door, {no, such}))", "error"),
        ("sys:get_state(Door)", "{open,door}"),
        ("element(3, sys:get_status(Door))", "{module,gen_statem}"),
        ("M1 = monitor(process, Door), gen_statem:stop(Door)", "ok"),
        ("Ended(M1)", "normal"),
    ];
    for (expression, expected) in cases {
        assert_eq!(erl.eval(expression).await, expected, "{expression}");
    }
    start().await;
    let crashed = "M2 = monitor(process, Door), catch gen_statem:call(Door, crash), Ended(M2)";
    assert_eq!(erl.eval(crashed).await, "{{rust_panic,<<\"as told\">>},handle_event,[{state,locked}]}");
    start().await;
    let misbehaved = "M3 = monitor(process, Door), gen_statem:cast(Door, misbehave), Ended(M3)";
    assert_eq!(
        erl.eval(misbehaved).await,
        "{{bad_state_enter_action_from_state_function,postpone},handle_event,[{state,broken}]}"
    );
}
