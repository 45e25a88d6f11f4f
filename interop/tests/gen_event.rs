//! The same histories on OTP's event manager and on ours, both driven by the same Erlang program, and ours as a client of OTP's.

use beamline::gen_event::{
    Context, EventHandler, EventManager, HandlerError, Modules, NewHandler, Next, Terminate,
};
use beamline::gen_server::{self, GenServer, Reply, ReplyTo};
use beamline::node::Node;
use beamline::process::ExitReason;
use beamline::term::{Atom, Pid, Term};
use beamline_interop::{Cluster, ErlNode};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const EVENTS: &str = include_str!("erlang/events.erl");
const HISTORIES: usize = 600;

/// A handler that does what it is told, as `events.erl`'s does.
struct Scripted {
    driver: Pid,
    id: Term,
    n: i64,
}

type Cx = Context<Term>;

fn atom(text: &'static str) -> Term {
    Term::atom(text)
}

/// Panics without a line on the screen.
fn crash_if(how: &Term) {
    if how.is_atom("crash") {
        std::panic::resume_unwind(Box::new("boom"));
    }
}

/// What a handler does after a callback, and whether it counts.
fn act(action: &Term) -> Result<Next<Term>, ExitReason> {
    if action.is_atom("remove") {
        return Ok(Next::Remove);
    }
    crash_if(action);
    match action.as_tuple() {
        Some([tag, reason]) if tag.is_atom("fail") => Err(reason.clone().into()),
        Some([tag, args, new, new_args]) if tag.is_atom("swap") => {
            let Some([module, id]) = new.as_tuple() else { panic!("{new} is {{Module, Id}}") };
            let module = module.as_atom().cloned().expect("a module is an atom");
            Ok(Next::Swap(args.clone(), NewHandler::named((module, id.clone()), new_args.clone())))
        }
        _ => Ok(Next::Ok),
    }
}

impl Scripted {
    fn log(&self, what: Vec<Term>, cx: &Cx) {
        let entry = Term::tuple([self.id.clone()].into_iter().chain(what).collect::<Vec<_>>());
        let _ = cx.send(&self.driver, Term::tuple([atom("log"), entry]));
    }

    fn start(args: (Pid, Term, Term), called: Term, cx: &Cx) -> Result<Self, ExitReason> {
        let (driver, id, how) = args;
        let handler = Self { driver, id, n: 0 };
        handler.log(vec![called], cx);
        crash_if(&how);
        match how.as_tuple() {
            Some([_, reason]) => Err(reason.clone().into()),
            _ => Ok(handler),
        }
    }

    fn act(&mut self, action: &Term) -> Result<Next<Term>, ExitReason> {
        let next = act(action)?;
        if !matches!(next, Next::Remove) {
            self.n += 1;
        }
        Ok(next)
    }

    fn told(&mut self, callback: &'static str, what: &Term, cx: &Cx) -> Result<Next<Term>, ExitReason> {
        self.log(vec![atom(callback), what.clone(), self.n.into()], cx);
        match what.as_tuple() {
            Some([tag, id, action]) if tag.is_atom("do") && *id == self.id => self.act(action),
            _ => self.act(&atom("ok")),
        }
    }
}

impl EventHandler for Scripted {
    type Args = (Pid, Term, Term);
    type Event = Term;
    type Call = Term;
    type Reply = Term;

    async fn init(args: Self::Args, cx: &mut Cx) -> Result<Self, ExitReason> {
        Self::start(args, atom("init"), cx)
    }

    async fn init_swapped(args: Self::Args, previous: Term, cx: &mut Cx) -> Result<Self, ExitReason> {
        Self::start(args, Term::tuple([atom("init_swapped"), previous]), cx)
    }

    async fn handle_event(&mut self, event: &Term, cx: &mut Cx) -> Result<Next<Term>, ExitReason> {
        self.told("handle_event", event, cx)
    }

    async fn handle_info(&mut self, info: &Term, cx: &mut Cx) -> Result<Next<Term>, ExitReason> {
        self.told("handle_info", info, cx)
    }

    async fn handle_call(&mut self, action: Term, cx: &mut Cx) -> Result<(Term, Next<Term>), ExitReason> {
        self.log(vec![atom("handle_call"), action.clone(), self.n.into()], cx);
        let reply = Term::tuple([self.n.into(), action.clone()]);
        Ok((reply, self.act(&action)?))
    }

    async fn terminate(&mut self, why: Terminate, cx: &mut Cx) -> Term {
        let why = why.to_term();
        self.log(vec![atom("terminate"), why.clone(), self.n.into()], cx);
        crash_if(&why);
        Term::tuple([atom("left"), self.id.clone(), self.n.into()])
    }

    fn state(&self) -> Term {
        Term::tuple([self.driver.clone().into(), self.id.clone(), self.n.into()])
    }
}

/// Starts managers of a node for whoever asks.
struct Starter(Node);

impl GenServer for Starter {
    type Args = Node;
    type Call = Term;
    type Reply = Pid;
    type Cast = Term;
    type Info = Term;

    async fn init(node: Node, _: &mut gen_server::Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self(node))
    }

    async fn handle_call(
        &mut self,
        _: Term,
        from: ReplyTo<Pid>,
        _: &mut gen_server::Context<Self>,
    ) -> Result<Reply, ExitReason> {
        let manager = EventManager::start(&self.0, Modules::new().offer::<Scripted>("events")).await?;
        Ok(from.reply(manager.pid().clone()))
    }
}

/// What is done to a manager, in Erlang's syntax.
fn history() -> impl Strategy<Value = Vec<String>> {
    let id = || (0..4_u32).prop_map(|id| format!("h{id}"));
    let helper = || prop::sample::select(vec!["s0", "s1"]);
    let how = || prop::sample::select(vec!["ok", "ok", "ok", "ok", "ok", "{error, no}", "crash"]);
    let args = || prop::sample::select(vec!["bye", "{go, 1}", "[a, <<\"b\">>]", "crash", "remove_handler"]);
    let action = move || {
        prop_oneof![
            6 => Just("work".to_owned()),
            2 => Just("remove".to_owned()),
            1 => Just("crash".to_owned()),
            1 => prop::sample::select(vec!["bad", "{error, bad}", "normal", "{shutdown, x}"])
                .prop_map(|reason| format!("{{fail, {reason}}}")),
            3 => (args(), id(), how()).prop_map(|(args, new, how)| format!("{{swap, {args}, {new}, {how}}}")),
            1 => (args(), id()).prop_map(|(args, new)| format!("{{swap, {args}, nomod, {new}, ok}}")),
        ]
    };
    let op = prop_oneof![
        6 => (id(), how()).prop_map(|(id, how)| format!("{{add, {id}, {how}}}")),
        1 => how().prop_map(|how| format!("{{add_plain, {how}}}")),
        1 => id().prop_map(|id| format!("{{add_module, nomod, {id}}}")),
        2 => (id(), how()).prop_map(|(id, how)| format!("{{add_sup, {id}, {how}}}")),
        3 => (helper(), id(), how()).prop_map(|(sup, id, how)| format!("{{add_sup, {sup}, {id}, {how}}}")),
        2 => (id(), args()).prop_map(|(id, args)| format!("{{delete, {id}, {args}}}")),
        1 => args().prop_map(|args| format!("{{delete_plain, {args}}}")),
        3 => (id(), args(), id(), how())
            .prop_map(|(old, args, new, how)| format!("{{swap, {old}, {args}, {new}, {how}}}")),
        1 => (id(), args()).prop_map(|(old, args)| format!("{{swap_module, {old}, {args}, nomod}}")),
        1 => (id(), args(), id(), how())
            .prop_map(|(old, args, new, how)| format!("{{swap_sup, {old}, {args}, {new}, {how}}}")),
        2 => (helper(), id(), args(), id(), how()).prop_map(|(sup, old, args, new, how)| {
            format!("{{swap_sup, {sup}, {old}, {args}, {new}, {how}}}")
        }),
        5 => (id(), action()).prop_map(|(id, action)| format!("{{notify, {id}, {action}}}")),
        5 => (id(), action()).prop_map(|(id, action)| format!("{{sync_notify, {id}, {action}}}")),
        2 => (id(), action()).prop_map(|(id, action)| format!("{{info, {id}, {action}}}")),
        1 => Just("{cast, hello}".to_owned()),
        // No request, though it looks like one.
        1 => prop::sample::select(vec![
            "{strange, hello}", "{strange, {self(), {self(), tag}, what}}", "{strange, {notify}}",
            "{strange, {self(), {self(), tag}, {call, 1}}}", "{strange, {notify, 1, 2}}",
        ]).prop_map(str::to_owned),
        4 => (id(), action()).prop_map(|(id, action)| format!("{{call, {id}, {action}}}")),
        1 => action().prop_map(|action| format!("{{call_plain, {action}}}")),
        1 => (id(), action()).prop_map(|(id, action)| format!("{{request, {id}, {action}}}")),
        1 => Just("state".to_owned()),
        1 => Just("modules".to_owned()),
        2 => (helper(), prop::sample::select(vec!["normal", "shutdown", "crashed", "{a, b}"]))
            .prop_map(|(sup, reason)| format!("{{end_helper, {sup}, {reason}}}")),
    ];
    let end = prop::sample::select(vec!["", "{stop, normal}", "{stop, shutdown}", "{stop, {bad, ending}}"]);
    (prop::collection::vec(op, 5..30), end).prop_map(|(mut ops, end)| {
        if !end.is_empty() {
            ops.push(end.to_owned());
        }
        ops
    })
}

async fn ready(cluster: &Cluster) -> (ErlNode, Node) {
    let (erl, node) = cluster.pair(EVENTS).await;
    Starter::start(&node, node.clone()).name("starter").await.expect("it starts");
    (erl, node)
}

#[tokio::test(flavor = "multi_thread")]
async fn otps_manager_and_ours_do_the_same() {
    let Some(cluster) = Cluster::start().await else { return };
    let (mut erl, node) = ready(&cluster).await;
    let idle = node.process_count();
    let mut runner = TestRunner::deterministic();
    let (mut crashes, mut swaps) = (0, 0);
    for number in 0..HISTORIES {
        let ops = history().new_tree(&mut runner).expect("there are no filters").current().join(", ");
        let theirs = erl.eval(&format!("events:run(element(2, gen_event:start()), [{ops}])")).await;
        let ours = erl.eval(&format!("events:run(gen_server:call({{starter, Rust}}, start), [{ops}])")).await;
        assert_eq!(ours, theirs, "history {number}: [{ops}]");
        assert!(!theirs.contains("failed"), "{theirs}");
        crashes += theirs.matches("{error,'a crash'}").count();
        swaps += theirs.matches("{init_swapped,{left,").count();
    }
    assert!(crashes > HISTORIES / 10 && swaps > HISTORIES / 2, "{crashes} crashes, {swaps} swaps");
    beamline_interop::eventually("nothing is left", async || node.process_count() == idle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_of_an_erlang_node_is_used_from_here() {
    let Some(cluster) = Cluster::start().await else { return };
    let (mut erl, node) = ready(&cluster).await;
    erl.eval("{ok, _} = gen_event:start({local, alarms})").await;
    // A process that there is not: nobody looks at what the handlers tell it.
    let driver = Pid { node: Atom::from_static("erl@127.0.0.1"), id: 1_000_000, serial: 0, creation: 1 };
    let args = |id: &'static str, how: Term| Term::tuple([driver.clone().into(), atom(id), how]);
    let alarms = node.gen_event(("alarms", "erl@127.0.0.1"));
    alarms.add_handler(("events", atom("a")), args("a", atom("ok"))).await.expect("it is added");
    alarms.add_handler("events", args("b", atom("ok"))).await.expect("it is added");
    let failed = alarms.add_handler("events", args("b", Term::tuple([atom("error"), atom("no")]))).await;
    assert_eq!(failed, Err(HandlerError::NotAdded(Term::tuple([atom("error"), atom("no")]))));
    let undefined = alarms.add_handler("nomod", 1).await;
    assert!(undefined.is_err_and(|error| error.to_string().contains("{'EXIT',{undef,")));
    assert_eq!(
        Term::list(alarms.which_handlers().await.expect("it answers")).to_string(),
        "[events,{events,a}]"
    );
    alarms.notify(7).expect("it is sent");
    alarms.sync_notify("event".to_owned()).await.expect("it is handled");
    let reply: Term = alarms.call(("events", atom("a")), atom("work")).await.expect("it answers");
    assert_eq!(reply.to_string(), "{2,work}");
    let reply: Term = alarms.call("nobody", 1).await.expect("it answers");
    assert_eq!(reply.to_string(), "{error,bad_module}");
    alarms
        .swap_handler(("events", atom("bye")), (("events", 2), args("c", atom("ok"))))
        .await
        .expect("swapped");
    let left = alarms.delete_handler(("events", 2), atom("bye")).await.expect("it answers");
    assert_eq!(left.to_string(), "{left,c,0}");
    alarms.stop().await.expect("it stops");
    assert_eq!(erl.eval("whereis(alarms)").await, "undefined");
    assert!(alarms.which_handlers().await.is_err(), "it has ended");
}
