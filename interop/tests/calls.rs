//! Calls, casts and sends between Erlang's gen_servers and ours.

use std::time::Duration;

use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::node::Node;
use beamline::process::{CallError, ExitReason};
use beamline::term::{Atom, Pid, Reference, Term};
use beamline_interop::{Cluster, ErlNode, eventually, within};
use serde::Deserialize;

const CALLS: &str = include_str!("erlang/calls.erl");
const IN_FLIGHT: usize = 10_000;

async fn erl_with_calls(cluster: &Cluster) -> ErlNode {
    let mut erl = cluster.erl("erl").start().await;
    erl.load(CALLS).await;
    erl.eval("calls:start()").await;
    erl
}

#[tokio::test(flavor = "multi_thread")]
async fn erlang_calls_with_every_form_of_tag() {
    let Some(cluster) = Cluster::start().await else { return };
    let _fixture = cluster.fixture("fixture", &[]).await;
    let mut erl = erl_with_calls(&cluster).await;
    erl.eval("Counter = {counter, 'fixture@127.0.0.1'}, Echo = {echo, 'fixture@127.0.0.1'}").await;
    let cases = [
        ("gen_server:call(Counter, {add, 5})", "5"),
        ("gen_server:call(Counter, get, infinity)", "5"),
        ("gen_server:cast(Counter, {add, 2}), gen_server:call(Counter, get)", "7"),
        ("calls:by_hand(Echo, make_ref(), plain)", "plain"),
        ("calls:by_hand(Echo, {make_ref(), node()}, pair)", "pair"),
        ("calls:by_hand(Echo, [alias | alias()], alias)", "alias"),
        ("calls:by_hand(Echo, [[alias | alias()] | make_ref()], both)", "both"),
        ("calls:by_hand(Echo, [], strange)", "strange"),
        // The reply goes to the alias: an inactive one does not get it, although its owner waits.
        ("A = alias(), unalias(A), calls:by_hand(Echo, [alias | A], dropped)", "no_reply"),
        (
            "gen_server:multi_call(['fixture@127.0.0.1', 'nobody@127.0.0.1'], counter, get)",
            "{[{'fixture@127.0.0.1',7}],['nobody@127.0.0.1']}",
        ),
        (
            "R = gen_server:send_request(Counter, {delay, 10, later}), gen_server:receive_response(R, 5000)",
            "{reply,later}",
        ),
        // Info, cast and call, each with an answer of its own.
        ("Echo ! {self(), hello}, receive {echo, M} -> M after 5000 -> none end", "hello"),
        (
            "gen_server:cast(Echo, {send, self(), {to, you}}), receive {to, You} -> You after 5000 -> none end",
            "you",
        ),
        ("gen_server:abcast(['fixture@127.0.0.1'], counter, {add, 1}), gen_server:call(Counter, get)", "8"),
        ("net_adm:ping('fixture@127.0.0.1')", "pong"),
        // What a server does not understand is an error for the caller, and none for the server.
        ("element(1, gen_server:call(Counter, {no, such, [request]}))", "error"),
        ("Counter ! garbage, gen_server:cast(Counter, garbage), gen_server:call(Counter, get)", "8"),
    ];
    for (expression, expected) in cases {
        assert_eq!(erl.eval(expression).await, expected, "{expression}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_a_call_is_told_to_erlang() {
    let Some(cluster) = Cluster::start().await else { return };
    let fixture = cluster.fixture("fixture", &[]).await;
    let mut erl = erl_with_calls(&cluster).await;
    erl.eval("Counter = {counter, 'fixture@127.0.0.1'}").await;
    erl.eval("Why = fun(To, Request, Timeout) -> try gen_server:call(To, Request, Timeout) catch exit:{Reason, {gen_server, call, _}} -> {exit, Reason} end end")
        .await;
    let cases = [
        ("Why(Counter, noreply, 50)", "{exit,timeout}"),
        // The caller has given up: the reply is dropped at its alias.
        ("Why(Counter, {delay, 100, late}, 1)", "{exit,timeout}"),
        ("gen_server:call(Counter, {delay, 200, later}), calls:receive_none(0)", "none"),
        ("Why({nobody, 'fixture@127.0.0.1'}, get, 5000)", "{exit,noproc}"),
        ("Why({counter, 'nobody@127.0.0.1'}, get, 5000)", "{exit,{nodedown,'nobody@127.0.0.1'}}"),
        ("M = monitor(process, Counter), gen_server:call(Counter, {stop, {shutdown, enough}})", "ok"),
        (
            "receive {'DOWN', M, process, Counter, Stopped} -> Stopped after 5000 -> none end",
            "{shutdown,enough}",
        ),
    ];
    for (expression, expected) in cases {
        assert_eq!(erl.eval(expression).await, expected, "{expression}");
    }
    // One that is under way when the node dies.
    erl.eval(
        "Self = self(), spawn(fun() -> Self ! {died, Why({echo_later, 'fixture@127.0.0.1'}, x, infinity)} end)",
    )
    .await;
    assert_eq!(erl.eval("receive {died, R1} -> R1 after 5000 -> none end").await, "{exit,noproc}");
    drop(fixture);
    let fixture = cluster.fixture("fixture", &[]).await;
    erl.eval(
        "pong = net_adm:ping('fixture@127.0.0.1'),
         spawn(fun() -> Self ! {died, Why(Counter, noreply, infinity)} end),
         ok = gen_server:call(Counter, {delay, 50, ok})",
    )
    .await;
    fixture.signal("KILL");
    let died = erl.eval("receive {died, R2} -> R2 after 5000 -> none end").await;
    assert_eq!(died, "{exit,{nodedown,'fixture@127.0.0.1'}}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_panics_ends_its_server_only() {
    let Some(cluster) = Cluster::start().await else { return };
    let _fixture = cluster.fixture("fixture", &[]).await;
    let mut erl = erl_with_calls(&cluster).await;
    let crashed = erl
        .eval(
            "M = monitor(process, {counter, 'fixture@127.0.0.1'}),
             {'EXIT', {Reason, {gen_server, call, _}}} = (catch gen_server:call({counter, 'fixture@127.0.0.1'}, crash)),
             receive {'DOWN', M, process, _, Reason} -> element(1, element(1, Reason)) after 5000 -> none end",
        )
        .await;
    assert_eq!(crashed, "rust_panic");
    assert_eq!(erl.eval("gen_server:call({echo, 'fixture@127.0.0.1'}, alive)").await, "alive");
}

/// Answers nobody before all have asked.
struct Gather(Vec<(i64, ReplyTo<(Atom, i64)>)>);

impl GenServer for Gather {
    type Args = ();
    type Call = (i64, usize);
    type Reply = (Atom, i64);
    type Cast = Term;
    type Info = Term;

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self(Vec::new()))
    }

    async fn handle_call(
        &mut self,
        (number, count): (i64, usize),
        from: ReplyTo<(Atom, i64)>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        self.0.push((number, from));
        if self.0.len() == count {
            for (number, from) in self.0.drain(..) {
                from.reply((Atom::from_static("answer"), number));
            }
        }
        Ok(Reply::Later)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_calls_of_erlang_are_in_flight_at_once() {
    let Some(cluster) = Cluster::start().await else { return };
    let node = cluster.node("rust").await;
    Gather::start(&node, ()).name("gather").await.unwrap();
    let mut erl = erl_with_calls(&cluster).await;
    let ended = erl.eval(&format!("calls:in_flight({{gather, 'rust@127.0.0.1'}}, {IN_FLIGHT}, 50000)")).await;
    assert_eq!(ended, "[normal]");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_calls_to_erlang_are_in_flight_at_once() {
    let Some(cluster) = Cluster::start().await else { return };
    let node = cluster.node("rust").await;
    let erl = erl_with_calls(&cluster).await;
    let erl = Atom::new(erl.name()).unwrap();
    let calls = (0..IN_FLIGHT).map(|number| {
        let call = node.call::<(Atom, usize), _>(("gather", erl.clone()), (number, IN_FLIGHT));
        node.world().spawn(call.timeout(Duration::from_secs(50)).into_future())
    });
    let calls: Vec<_> = calls.collect();
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), Ok((Atom::from_static("answer"), number)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_calls_erlang_by_name_and_pid_and_learns_what_went_wrong() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = erl_with_calls(&cluster).await;
    let node = cluster.node("rust").await;
    let name = Atom::new(erl.name()).unwrap();
    let server = ("server", name.clone());

    assert_eq!(
        node.call::<(Atom, i64), _>(server.clone(), 1).await,
        Ok((Atom::from_static("got"), 1)),
        "by name"
    );
    let pid: Pid =
        beamline::etf::from_slice(&erl.eval_bytes("term_to_binary(whereis(server))").await).unwrap();
    assert_eq!(node.call::<(Atom, i64), _>(&pid, 2).await, Ok((Atom::from_static("got"), 2)), "by pid");

    let no_reply = node.call::<Term, _>(server.clone(), Term::atom("noreply"));
    let timeout = Duration::from_millis(30);
    assert_eq!(no_reply.timeout(timeout).await, Err(CallError::Timeout(timeout)));
    let late = node.call::<Term, _>(server.clone(), (Term::atom("late"), 100));
    assert_eq!(late.timeout(timeout).await, Err(CallError::Timeout(timeout)));
    let other_type = node.call::<i64, _>(server.clone(), 3).await;
    assert!(matches!(other_type, Err(CallError::Decode(_))), "{other_type:?}");

    let nobody = node.call::<Term, _>(("nobody", name.clone()), 1).await;
    assert_eq!(nobody, Err(CallError::NoProc));
    let nowhere = node.call::<Term, _>(("server", "nobody@127.0.0.1"), 1).await;
    assert_eq!(nowhere, Err(CallError::NoConnection("nobody@127.0.0.1".into())));
    let reason = Term::tuple([Term::atom("shutdown"), Term::from(7)]);
    let exit = node.call::<Term, _>(server.clone(), (Term::atom("exit"), reason)).await;
    assert_eq!(exit, Err(CallError::Exit(ExitReason::ShutdownWith(Term::from(7)))));
    assert_eq!(node.call::<Term, _>(server.clone(), 1).await, Err(CallError::NoProc), "it ended");
    assert_eq!(node.call::<Term, _>(&pid, 1).await, Err(CallError::NoProc), "it ended");

    let hanging = node.call::<Term, _>(("gather", name.clone()), (1, 2)).infinity().into_future();
    let hanging = node.world().spawn(hanging);
    // What follows it over the same connection has been answered: it has arrived.
    erl.eval(
        "register(server, spawn(fun() -> receive {'$gen_call', F, R} -> gen_server:reply(F, R) end end))",
    )
    .await;
    node.call::<Term, _>(server, 1).await.unwrap();
    erl.signal("KILL");
    let lost = within("a call ends with its node", hanging).await.unwrap();
    assert_eq!(lost, Err(CallError::NoConnection(name)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_comes_too_late_is_not_in_the_callers_mailbox() {
    let Some(cluster) = Cluster::start().await else { return };
    let erl = erl_with_calls(&cluster).await;
    let node = cluster.node("rust").await;
    let server = ("server", Atom::new(erl.name()).unwrap());
    let (found, finding) = tokio::sync::oneshot::channel();
    node.spawn(|mut cx| async move {
        let timeout = Duration::from_millis(10);
        let late = cx.call::<Term, _>(server.clone(), (Term::atom("late"), 60)).timeout(timeout).await;
        assert_eq!(late, Err(CallError::Timeout(timeout)));
        // The server answers in order: the late reply was sent before these.
        cx.call::<Term, _>(server.clone(), 1).await.unwrap();
        cx.send(server, (cx.pid().clone(), Term::atom("mark"))).unwrap();
        found.send(cx.receive().await).unwrap();
        ExitReason::Normal
    })
    .unwrap();
    let first = within("the mark arrives", finding).await.unwrap();
    assert_eq!(first.to_string(), "{info,mark}");
}

/// What a server's own info type makes of Erlang's messages.
#[derive(Deserialize)]
enum Heard {
    #[serde(rename = "DOWN")]
    Down(Reference, Atom, Term, ExitReason),
    #[serde(rename = "EXIT")]
    Exit(Pid, ExitReason),
    #[serde(rename = "nodeup")]
    NodeUp(Atom),
    #[serde(rename = "nodedown")]
    NodeDown(Atom),
    #[serde(rename = "plain")]
    Plain,
}

struct Listener {
    monitor: Reference,
    heard: Vec<String>,
}

impl GenServer for Listener {
    type Args = Atom;
    type Call = Pid;
    type Reply = Vec<String>;
    type Cast = Term;
    type Info = Heard;

    async fn init(erl: Atom, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.trap_exit(true);
        cx.monitor_nodes(true);
        Ok(Self { monitor: cx.monitor(("server", erl)), heard: Vec::new() })
    }

    async fn handle_call(
        &mut self,
        link: Pid,
        from: ReplyTo<Vec<String>>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        cx.link(&link);
        Ok(from.reply(self.heard.clone()))
    }

    async fn handle_info(&mut self, heard: Heard, _: &mut Context<Self>) -> Result<(), ExitReason> {
        self.heard.push(match heard {
            Heard::Down(monitor, kind, item, reason) => {
                assert_eq!(monitor, self.monitor);
                format!("DOWN {kind} {item} {reason}")
            }
            Heard::Exit(from, reason) => format!("EXIT {} {reason}", from.node),
            Heard::NodeUp(node) => format!("nodeup {node}"),
            Heard::NodeDown(node) => format!("nodedown {node}"),
            Heard::Plain => "plain".to_owned(),
        });
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_and_messages_of_erlang_are_decoded_into_a_servers_info_type() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = erl_with_calls(&cluster).await;
    let node: Node = cluster.node("rust").await;
    let listener = Listener::start(&node, Atom::new(erl.name()).unwrap()).name("listener").await.unwrap();
    erl.eval("Victim = spawn(fun() -> receive stop -> exit({shutdown, told}) end end)").await;
    erl.eval("Other = spawn(fun() -> receive stop -> ok end end)").await;
    for victim in ["Victim", "Other"] {
        erl.eval(&format!("gen_server:call({{listener, 'rust@127.0.0.1'}}, {victim})")).await;
    }
    erl.eval("{listener, 'rust@127.0.0.1'} ! plain, {listener, 'rust@127.0.0.1'} ! {not_, understood}").await;
    erl.eval("Victim ! stop").await;
    let me = node.spawn(|mut cx| async move { ExitReason::Term(cx.receive().await) }).unwrap();
    let heard = async |count: usize| {
        let mut all = Vec::new();
        eventually("the server hears", async || {
            all = listener.call(me.clone()).await.unwrap();
            all.len() >= count
        })
        .await;
        all
    };
    let erl_name = erl.name().to_owned();
    assert_eq!(
        heard(3).await,
        [&format!("nodeup '{erl_name}'"), "plain", &format!("EXIT '{erl_name}' {{shutdown,told}}")]
            .map(str::to_owned)
    );
    erl.signal("KILL");
    let all = heard(6).await;
    let mut ends = all[3..5].to_vec();
    ends.sort();
    assert_eq!(
        ends,
        [
            format!("DOWN process {{server,'{erl_name}'}} noconnection"),
            format!("EXIT '{erl_name}' noconnection")
        ]
    );
    assert_eq!(all[5..], [format!("nodedown '{erl_name}'")]);
}
