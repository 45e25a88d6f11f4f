//! Erlang's `sys` on a state machine, an event manager and a supervisor: OTP's own, and ours, driven by the same Erlang program.

use std::time::Duration;

use beamline::gen_event::{self, EventHandler, EventManager, Modules, Next, Terminate};
use beamline::gen_server::{self, GenServer, Reply, ReplyTo};
use beamline::gen_statem::{self, Event, GenStatem, Transition, keep_state, next_state};
use beamline::node::Node;
use beamline::process::ExitReason;
use beamline::supervisor::{ChildSpec, Supervisor, SupervisorSpec};
use beamline::term::{Atom, Term};
use beamline_interop::{Cluster, eventually};
use serde::{Deserialize, Serialize};

const LOOKED_AT: &str = include_str!("erlang/looked_at.erl");

const TELLER: (&str, &str) = ("teller", "erl@127.0.0.1");

/// As `looked_at.erl`'s state machine.
struct Door(i64);

#[derive(Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum DoorState {
    Locked,
    Open,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    Pass,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tell {
    Open,
    Close,
}

impl Door {
    /// How much it has done before.
    fn count(&mut self) -> i64 {
        self.0 += 1;
        self.0 - 1
    }
}

impl GenStatem for Door {
    const STATE_ENTER: bool = true;
    type Args = ();
    type State = DoorState;
    type Call = Ask;
    type Reply = (Atom, i64);
    type Cast = Tell;
    type Info = Term;
    type Internal = ();

    async fn init((): (), _: &mut gen_statem::Context<Self>) -> Result<(Transition<Self>, Self), ExitReason> {
        Ok((next_state(DoorState::Locked), Self(0)))
    }

    async fn handle_event(
        &mut self,
        event: Event<Self>,
        state: &DoorState,
        _: &mut gen_statem::Context<Self>,
    ) -> Result<Transition<Self>, ExitReason> {
        Ok(match (event, state) {
            (Event::Enter(_), _) => return Ok(keep_state()),
            (pass @ Event::Call(..), DoorState::Locked) => return Ok(keep_state().postpone(pass)),
            (Event::Call(Ask::Pass, from), DoorState::Open) => {
                keep_state().reply(from, (Atom::from_static("come_in"), self.count()))
            }
            (Event::Cast(Tell::Open), _) => {
                self.count();
                next_state(DoorState::Open)
            }
            (Event::Cast(Tell::Close), _) => {
                self.count();
                next_state(DoorState::Locked)
            }
            (Event::Info(_) | Event::Internal(()) | Event::Timeout(..), _) => {
                self.count();
                keep_state()
            }
        })
    }

    async fn terminate(
        &mut self,
        reason: &ExitReason,
        state: &DoorState,
        cx: &mut gen_statem::Context<Self>,
    ) {
        let _ = cx.send(TELLER, (Atom::from_static("terminated"), reason.to_term(), state.clone(), self.0));
    }

    fn data(&self) -> Term {
        self.0.into()
    }
}

/// As `looked_at.erl`'s handler.
struct Counter(i64);

impl EventHandler for Counter {
    type Args = Atom;
    type Event = Term;
    type Call = Atom;
    type Reply = i64;

    async fn init(_: Atom, _: &mut gen_event::Context<Term>) -> Result<Self, ExitReason> {
        Ok(Self(0))
    }

    async fn handle_event(
        &mut self,
        _: &Term,
        _: &mut gen_event::Context<Term>,
    ) -> Result<Next<Term>, ExitReason> {
        self.0 += 1;
        Ok(Next::Ok)
    }

    async fn handle_info(
        &mut self,
        _: &Term,
        _: &mut gen_event::Context<Term>,
    ) -> Result<Next<Term>, ExitReason> {
        self.0 += 1;
        Ok(Next::Ok)
    }

    async fn handle_call(
        &mut self,
        _: Atom,
        _: &mut gen_event::Context<Term>,
    ) -> Result<(i64, Next<Term>), ExitReason> {
        Ok((self.0, Next::Ok))
    }

    async fn terminate(&mut self, why: Terminate, cx: &mut gen_event::Context<Term>) -> Term {
        let _ = cx.send(TELLER, (Atom::from_static("terminated"), why.to_term(), self.0));
        Term::atom("ok")
    }

    fn state(&self) -> Term {
        self.0.into()
    }
}

/// As `looked_at.erl`'s child.
struct Child(Atom);

impl GenServer for Child {
    type Args = Atom;
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;

    async fn init(id: Atom, cx: &mut gen_server::Context<Self>) -> Result<Self, ExitReason> {
        cx.trap_exit(true);
        let _ = cx.send(TELLER, (Atom::from_static("started"), id.clone()));
        Ok(Self(id))
    }

    async fn handle_call(
        &mut self,
        call: Term,
        from: ReplyTo<Term>,
        _: &mut gen_server::Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(call))
    }

    async fn terminate(&mut self, reason: &ExitReason, cx: &mut gen_server::Context<Self>) {
        let _ = cx.send(TELLER, (Atom::from_static("terminated"), reason.to_term(), self.0.clone()));
    }
}

/// Each answer in a line of its own, for the sake of who reads a difference.
fn lines(seen: &str) -> String {
    seen.replace("},{", "},\n{")
}

/// Compares line by line what was seen of Erlang's behaviour and of ours, which `start` starts as `looked_at`.
async fn compare(kind: &str, start: impl AsyncFn(&Node)) {
    let Some(cluster) = Cluster::start().await else { return };
    let (mut erl, node) = cluster.pair(LOOKED_AT).await;
    let idle = node.process_count();
    for reason in ["normal", "shutdown", "{shutdown, why}", "{bad, [reason]}"] {
        start(&node).await;
        let run = |to: &str| format!("looked_at:run({kind}, {to}, {reason})");
        let theirs = erl.eval(&format!("looked_at:start({kind}), {}", run("looked_at"))).await;
        let ours = erl.eval(&run("{looked_at, Rust}")).await;
        // A type of Rust is shown as its module.
        let ours = ours.replace("'sys_behaviours::Child'", "looked_at");
        assert_eq!(lines(&ours), lines(&theirs), "{kind} {reason}");
    }
    eventually("nothing is left", async || node.process_count() == idle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_machine_is_looked_at() {
    compare("gen_statem", async |node| {
        Door::start(node, ()).name("looked_at").await.expect("it starts");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_manager_is_looked_at() {
    compare("gen_event", async |node| {
        let modules = Modules::new().offer::<Counter>("looked_at");
        EventManager::start(node, modules).name("looked_at").await.expect("it starts");
        let manager = node.gen_event("looked_at");
        manager.add_handler("looked_at", Atom::from_static("handler")).await.expect("it is added");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_is_looked_at() {
    compare("supervisor", async |node| {
        let child = |id| ChildSpec::worker::<Child>(id, Atom::from_static(id));
        let spec = SupervisorSpec::one_for_one().intensity(10, Duration::from_secs(1));
        let spec = spec.child(child("a")).child(child("b"));
        Supervisor::start(node, spec).name("looked_at").await.expect("it starts");
    })
    .await;
}

/// What only Erlang can do in its own processes is answered as a failure, by the behaviour's own name.
#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_erlang_is_not_run() {
    let Some(cluster) = Cluster::start().await else { return };
    let (mut erl, node) = cluster.pair(LOOKED_AT).await;
    Door::start(&node, ()).name("door").await.expect("it starts");
    EventManager::start(&node, Modules::<Term>::new()).name("manager").await.expect("it starts");
    Supervisor::start(&node, SupervisorSpec::one_for_one()).name("sup").await.expect("it starts");
    for (name, module) in [("door", "gen_statem"), ("manager", "gen_event"), ("sup", "gen_server")] {
        let replace = format!(
            "try sys:replace_state({{{name}, Rust}}, fun(S) -> S end) catch error:E{name} -> E{name} end"
        );
        let failed = format!("{{callback_failed,{{{module},system_replace_state}},{{error,undef}}}}");
        assert_eq!(erl.eval(&replace).await, failed);
    }
}
