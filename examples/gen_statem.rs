//! A door with a code: states, state enter calls, a state timeout and a postponed call. `cargo run --example gen_statem`

use std::time::Duration;

use beamline::gen_statem::{
    Context, Event, GenStatem, Timeout, Transition, keep_state, next_state, state_functions,
};
use beamline::prelude::{Atom, ExitReason, Node, Protocol, Term};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Locked,
    Open,
}

// Erlang: `gen_statem:call(door, push)` waits until somebody opens the door.
#[derive(Serialize, Deserialize, Protocol)]
#[serde(rename_all = "snake_case")]
enum Ask {
    #[reply(Atom)]
    Push,
}

// Erlang: `gen_statem:cast(door, {button, 4})`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tell {
    Button(u8),
}

struct Lock;

struct Door {
    code: Vec<u8>,
    pressed: Vec<u8>,
}

impl GenStatem for Door {
    const STATE_ENTER: bool = true;
    type Args = Vec<u8>;
    type State = State;
    type Call = Ask;
    type Reply = AskReply;
    type Cast = Tell;
    type Info = Term;
    type Internal = Lock;

    async fn init(code: Vec<u8>, _: &mut Context<Self>) -> Result<(Transition<Self>, Self), ExitReason> {
        Ok((next_state(State::Locked), Self { code, pressed: Vec::new() }))
    }

    state_functions!(State { Locked => locked, Open => open });
}

impl Door {
    async fn locked(
        &mut self,
        event: Event<Self>,
        _: &mut Context<Self>,
    ) -> Result<Transition<Self>, ExitReason> {
        Ok(match event {
            Event::Enter(_) => {
                println!("door:   locked");
                self.pressed.clear();
                keep_state()
            }
            Event::Cast(Tell::Button(button)) => {
                self.pressed.push(button);
                println!("door:   pressed {:?}", self.pressed);
                if self.pressed.ends_with(&self.code) { next_state(State::Open) } else { keep_state() }
            }
            push @ Event::Call(..) => {
                println!("door:   somebody pushes, and waits");
                keep_state().postpone(push)
            }
            _ => keep_state(),
        })
    }

    async fn open(
        &mut self,
        event: Event<Self>,
        _: &mut Context<Self>,
    ) -> Result<Transition<Self>, ExitReason> {
        Ok(match event {
            Event::Enter(_) => {
                println!("door:   open");
                keep_state().state_timeout(Duration::from_millis(300), Lock)
            }
            Event::Call(Ask::Push, from) => {
                keep_state().reply(from, AskReply::Push(Atom::from_static("come_in")))
            }
            Event::Timeout(Timeout::State, Lock) => next_state(State::Locked),
            _ => keep_state(),
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::builder("house@127.0.0.1").cookie("secret").start().await?;
    let door = Door::start(&node, vec![1, 2, 3]).name("door").await?;
    // A call is sent when it is awaited.
    let (pushed, ()) = tokio::join!(door.push(), async {
        for button in [4, 1, 2, 3] {
            let _ = door.cast(Tell::Button(button));
            node.world().sleep(Duration::from_millis(50)).await;
        }
    });
    println!("caller: {}", pushed?);
    println!("sys:    {}", node.sys("door").get_state().await?);
    node.world().sleep(Duration::from_millis(500)).await;
    println!("sys:    {}", node.sys("door").get_state().await?);
    println!("ended:  {}", door.stop(ExitReason::Shutdown).await);
    node.stop().await;
    Ok(())
}
