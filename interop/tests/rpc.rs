//! `rpc`, `erpc` and remote spawns, both ways. What is expected of `fixture-node` is what an Erlang node with the same functions does.

use std::time::Duration;

use beamline::process::{Context, ExitReason, SpawnError};
use beamline::rpc::{Function, RpcError};
use beamline::term::{Atom, Pid, Term};
use beamline_interop::{Cluster, ErlNode, eventually, within};

const FUNCTIONS: &str = include_str!("erlang/fixture_functions.erl");
const FIXTURE: &str = "fixture@127.0.0.1";
const OTHER: &str = "other@127.0.0.1";

/// A node that asks, and another that has the fixture's functions.
async fn erls(cluster: &Cluster) -> (ErlNode, ErlNode) {
    let (erl, mut other) = tokio::join!(cluster.erl("erl").start(), cluster.erl("other").start());
    other.load(FUNCTIONS).await;
    (erl, other)
}

/// Of a stack only the first function counts, with its arguments or its arity: what is below it is Erlang's own.
const TOP: &str = "Top = fun Top([{M, F, A, _} | _]) when is_atom(M), is_atom(F) -> [{M, F, A}];
        Top(T) when is_tuple(T) -> list_to_tuple(Top(tuple_to_list(T)));
        Top([H | T]) -> [Top(H) | Top(T)];
        Top(T) -> T end,
    Try = fun(F) -> try {returned, Top(F())} catch C:R -> {C, Top(R)} end end, ok";

#[tokio::test(flavor = "multi_thread")]
async fn erlang_calls_functions_here_as_on_a_node_of_its_own() {
    let Some(cluster) = Cluster::start().await else { return };
    let (mut erl, _other) = erls(&cluster).await;
    let _fixture = cluster.fixture("fixture", &[]).await;
    erl.eval(TOP).await;
    erl.eval("Get = fun() -> receive Got -> Got after 5000 -> none end end, ok").await;
    let results = [
        "double, [21]",
        "double, [16#7FFFFFFFFFFFFFFF]",
        "double, [-(1 bsl 200)]",
        "sleep, [1]",
        "fail, [oops]",
        "fail, [{with, \"more\"}]",
        "throw, [ball]",
        "throw, [{'EXIT', ball}]",
        "exit, [reason]",
        "exit, [normal]",
        "exit, [{a, <<\"b\">>}]",
        "unheard, [1, argument]",
        "unheard, []",
        "double, [1, 2]",
        "double, [1, 2, 3]",
    ];
    let calls = [
        "rpc:call(N, fixture, CALL)",
        "rpc:call(N, fixture, CALL, 5000)",
        "rpc:block_call(N, fixture, CALL)",
        "rpc:multicall([N, N], fixture, CALL)",
        "rpc:yield(rpc:async_call(N, fixture, CALL))",
        "erpc:call(N, fixture, CALL)",
        "erpc:call(N, fixture, CALL, 5000)",
        "erpc:multicall([N, N], fixture, CALL)",
        "erpc:receive_response(erpc:send_request(N, fixture, CALL))",
        "begin {rex, N} ! {self(), {call, fixture, CALL, user}}, receive {rex, R} -> R after 5000 -> none end end",
        "gen_server:call({rex, N}, {call, fixture, CALL, group_leader()})",
    ];
    let mut differ = Vec::new();
    for result in results {
        for call in calls {
            let call = call.replace("CALL", result);
            let both = format!("[Try(fun() -> {call} end) || N <- ['{FIXTURE}', '{OTHER}']]");
            let both =
                erl.eval(&format!("(fun([Same, Same]) -> same; (Differ) -> Differ end)({both})")).await;
            if both != "same" {
                differ.push(format!("{call}: {both}"));
            }
        }
    }
    let alike = [
        "rpc:call(N, fixture, node_name, []) =:= N",
        "rpc:cast(N, fixture, reply_to, [self(), cast]), Get()",
        "erpc:cast(N, fixture, reply_to, [self(), cast]), Get()",
        "erpc:cast(N, fixture, unheard, [])",
        "rpc:call(N, fixture, sleep, [5000], 30)",
        "rpc:block_call(N, fixture, sleep, [5000], 30)",
        "erpc:call(N, fixture, sleep, [5000], 30)",
        "erpc:multicall([N], fixture, sleep, [5000], 30)",
        "rpc:eval_everywhere([N], fixture, reply_to, [self(), everywhere]), Get()",
        "{[], [N]} = rpc:sbcast([N], nobody_has_this_name, hello), ok",
        "rpc:abcast([N], nobody_has_this_name, hello)",
        "{rex, N} ! {self(), features_request}, {features_reply, N, Features} = Get(), Features",
        // Arguments that do not fit: what the reason is depends on the function, that it is an error does not.
        "element(1, rpc:call(N, fixture, double, [atom]))",
        "element(1, rpc:call(N, fixture, reply_to, [no_pid_and_no_name, 1]))",
        // Spawned processes.
        "spawn(N, fixture, reply_to, [self(), spawned]), Get()",
        "node(spawn(N, fixture, reply_to, [self(), spawned])) =:= N, Get()",
        "P = spawn_link(N, fixture, reply_to, [self(), linked]), node(P) =:= N, Get()",
        "{P, M} = spawn_monitor(N, fixture, sleep, [10]), receive {'DOWN', M, process, P, W} -> W end",
        "{P, M} = spawn_monitor(N, fixture, exit, [reason]), receive {'DOWN', M, process, P, W} -> W end",
        "{P, M} = spawn_monitor(N, fixture, fail, [reason]), receive {'DOWN', M, process, P, W} -> W end",
        "{P, M} = spawn_monitor(N, fixture, throw, [ball]), receive {'DOWN', M, process, P, W} -> W end",
        "{P, M} = spawn_monitor(N, no_module, f, [1, 2]), receive {'DOWN', M, process, P, W} -> W end",
        "process_flag(trap_exit, true), P = spawn_link(N, fixture, exit, [reason]), receive {'EXIT', P, W} -> process_flag(trap_exit, false), W end",
        "process_flag(trap_exit, true), P = spawn_link(N, no_module, f, []), receive {'EXIT', P, W} -> process_flag(trap_exit, false), W end",
        "P = spawn_opt(N, fixture, reply_to, [self(), opt], [{priority, high}, {min_heap_size, 500}, {message_queue_data, off_heap}, {fullsweep_after, 10}]), is_pid(P), Get()",
        "R = spawn_request(N, fixture, sleep, [50], [monitor, link]), {spawn_reply, R, ok, P} = Get(), {'DOWN', R, process, P, W} = Get(), W",
        "R = spawn_request(N, fixture, sleep, [50], [{bad, option}]), {spawn_reply, R, E, Why} = Get(), {E, Why}",
        "R = spawn_request(N, fixture, sleep, [50], [{monitor, [{alias, explicit_unalias}]}, {reply_tag, tagged}]), {tagged, R, ok, P} = Get(), {'DOWN', R, process, P, W} = Get(), W",
        "R = spawn_request(N, fixture, reply_to, [self(), abandoned], [link, monitor]), A = spawn_request_abandon(R), {A, Get()}",
        // The output of what runs there comes back; and what it was led by is told.
        "P = spawn(N, fixture, sleep, [1000]), exit(P, kill)",
    ];
    for expressions in alike {
        let both = format!(
            "[begin {{_, Mon}} = spawn_monitor(fun() -> exit({{self(), Try(fun() -> {expressions} end)}}) end),
             receive {{'DOWN', Mon, _, Pid, {{Pid, R}}}} -> R; {{'DOWN', Mon, _, _, Why}} -> Why after 9000 -> none end end
             || N <- ['{FIXTURE}', '{OTHER}']]"
        );
        let both = erl.eval(&format!("(fun([Same, Same]) -> same; (Differ) -> Differ end)({both})")).await;
        if both != "same" {
            differ.push(format!("{expressions}: {both}"));
        }
    }
    assert!(differ.is_empty(), "here and on Erlang's:\n{}", differ.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_at_once_are_answered_once_or_time_out() {
    let Some(cluster) = Cluster::start().await else { return };
    let (mut erl, mut other) = erls(&cluster).await;
    let node = cluster.node("rust").await;
    node.export(Function::new("fixture", "sleep", |cx: Context<Term>, milliseconds: u64| async move {
        cx.world().sleep(Duration::from_millis(milliseconds)).await;
        Ok(milliseconds)
    }));
    assert!(node.ping("erl@127.0.0.1").await);
    let before = node.process_count();
    // Each asker is told once, and has nothing in its mailbox afterwards.
    let calls = "Self = self(), Ask = fun(I) ->
            Ms = I rem 40, Timeout = case I rem 4 of 0 -> 5; _ -> 20000 end,
            R = rpc:call('rust@127.0.0.1', fixture, sleep, [Ms], Timeout),
            timer:sleep(100), {message_queue_len, Left} = process_info(self(), message_queue_len),
            Self ! {told, I, case R of Ms -> ok; {badrpc, timeout} when Timeout == 5 -> timeout; Other -> Other end, Left}
        end,
        [spawn(fun() -> Ask(I) end) || I <- lists:seq(1, 1000)],
        Told = [receive {told, I, R, 0} -> R after 30000 -> lost end || I <- lists:seq(1, 1000)],
        {length([ok || ok <- Told]) >= 750, lists:usort(Told)}";
    assert_eq!(erl.eval(calls).await, "{true,[ok,timeout]}");
    eventually("no process is left over", async || node.process_count() == before).await;
    // The same from here, to Erlang.
    let calls: Vec<_> = (0..1000_u64)
        .map(|number| {
            let rpc = node.rpc(OTHER);
            let rpc = if number % 4 == 0 { rpc.timeout(Duration::from_millis(5)) } else { rpc };
            node.world().spawn(async move {
                let asleep = [Term::from(number as i64 % 40)];
                (number, rpc.call::<Atom>("fixture", "sleep", asleep).await)
            })
        })
        .collect();
    let mut timeouts = 0;
    for call in calls {
        match within("an answer", call).await.expect("no panic") {
            (_, Ok(ok)) => assert_eq!(ok, "ok"),
            (number, Err(RpcError::Timeout(_))) if number % 4 == 0 => timeouts += 1,
            (number, Err(error)) => panic!("{number}: {error}"),
        }
    }
    assert!(timeouts > 100, "{timeouts}");
    eventually("no process is left over", async || node.process_count() == before).await;
    assert_eq!(other.eval("length(nodes()) >= 1").await, "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_calls_erlangs_functions() {
    let Some(cluster) = Cluster::start().await else { return };
    let (_erl, _other) = erls(&cluster).await;
    let node = cluster.node("rust").await;
    let rpc = node.rpc(OTHER);
    assert_eq!(rpc.call::<i64>("fixture", "double", [21.into()]).await.unwrap(), 42);
    assert_eq!(rpc.call::<Atom>("erlang", "node", []).await.unwrap(), OTHER);
    let (major, minor): (u32, f64) = rpc
        .call("erlang", "list_to_tuple", [Term::list([7.into(), 1.5.into()])])
        .await
        .expect("a tuple of two");
    assert_eq!((major, minor.to_bits()), (7, 1.5_f64.to_bits()));
    let failed = |function: &'static str| rpc.call::<Term>("fixture", function, [Term::atom("reason")]);
    match failed("fail").await {
        Err(RpcError::Error { reason, stack }) => {
            assert!(reason.is_atom("reason"));
            assert!(stack.to_string().starts_with("[{fixture,fail,1,"), "{stack}");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(failed("exit").await, Err(RpcError::Exit(what)) if what.is_atom("reason")));
    assert!(matches!(failed("throw").await, Err(RpcError::Throw(what)) if what.is_atom("reason")));
    let undef = failed("unheard").await.unwrap_err().to_string();
    assert!(undef.starts_with("undef in [{fixture,unheard,[reason],[]}"), "{undef}");
    let short =
        rpc.clone().timeout(Duration::from_millis(30)).call::<Atom>("timer", "sleep", [5000.into()]).await;
    assert!(matches!(short, Err(RpcError::Timeout(_))), "{short:?}");
    let killed = rpc.call::<Term>(
        "erlang",
        "apply",
        [Term::atom("erlang"), Term::atom("exit"), Term::list([Term::atom("x")])],
    );
    assert!(matches!(killed.await, Err(RpcError::Exit(what)) if what.is_atom("x")));
    let nobody = node.rpc("nobody@127.0.0.1").call::<Term>("a", "b", []).await;
    assert!(matches!(nobody, Err(RpcError::NoConnection(_))), "{nobody:?}");
    // A cast, whose function answers with a message.
    let (send, mut received) = tokio::sync::mpsc::unbounded_channel();
    let told = node.spawn(move |mut cx| async move {
        loop {
            let _ = send.send(cx.receive().await);
        }
    });
    let told = told.expect("room");
    rpc.cast("fixture", "reply_to", [told.clone().into(), Term::atom("cast")]);
    assert_eq!(within("the cast", received.recv()).await, Some(Term::atom("cast")));
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_spawns_processes_on_an_erlang_node() {
    let Some(cluster) = Cluster::start().await else { return };
    let (_erl, mut other) = erls(&cluster).await;
    let node = cluster.node("rust").await;
    let (send, mut received) = tokio::sync::mpsc::unbounded_channel();
    let parent = node.spawn(move |mut cx| async move {
        cx.trap_exit(true);
        let pid = Term::from(cx.pid().clone());
        let spawned =
            cx.spawn_request(OTHER, "fixture", "reply_to", [pid, Term::atom("hello")]).link().monitor();
        let spawned = spawned.await.expect("it is spawned");
        for _ in 0..3 {
            let _ = send.send(cx.receive().await.to_string());
        }
        let _ = send.send(spawned.pid.to_string());
        let undef =
            cx.spawn_request(OTHER, "no_module", "f", [1.into()]).monitor().await.expect("it is spawned");
        let down = cx.receive().await;
        assert_eq!(down.as_tuple().map(|down| down[1].clone()), undef.monitor.map(Term::from));
        let _ = send.send(down.as_tuple().expect("a DOWN")[4].to_string());
        let nobody = cx.spawn_request("nobody@127.0.0.1", "a", "b", []).await;
        let _ = send.send(matches!(nobody, Err(SpawnError::NoConnection(_))).to_string());
        // One that lives for as long as its parent.
        let spawned = cx.spawn_request(OTHER, "timer", "sleep", [Term::atom("infinity")]).link().await;
        let _ = send.send(spawned.expect("it is spawned").pid.to_string());
        ExitReason::from(cx.receive().await)
    });
    let parent = parent.expect("room");
    let mut got = Vec::new();
    for _ in 0..7 {
        got.push(within("what the process gets", received.recv()).await.expect("it runs"));
    }
    assert_eq!(got[0], "hello");
    let pid: Pid = got[3].parse::<Term>().ok().and_then(|pid| pid.as_pid().cloned()).expect("a pid");
    assert_eq!(pid.node, OTHER);
    assert_eq!(got[1], format!("{{'EXIT',{pid},normal}}"));
    assert!(got[2].ends_with(&format!(",process,{pid},normal}}")), "{}", got[2]);
    assert!(got[4].starts_with("{undef,[{no_module,f,[1],[]}"), "{}", got[4]);
    assert_eq!(got[5], "true");
    let asleep = "length([P || P <- processes(), {links, L} <- [process_info(P, links)], lists:any(fun(X) -> is_pid(X) andalso node(X) == 'rust@127.0.0.1' end, L)])";
    assert_eq!(other.eval(asleep).await, "1");
    node.exit(&parent, ExitReason::atom("over"));
    eventually("the linked process ends with its parent", async || other.eval(asleep).await == "0").await;
}

/// Hands what is logged to a process.
const LOGGED: &str = "-module(logged).
-export([log/2]).
log(#{level := Level, msg := Msg, meta := #{pid := Pid} = Meta}, #{config := To}) ->
    To ! {logged, Pid, Level, Msg, lists:sort(maps:keys(Meta)), maps:get(error_logger, Meta, none)}.
";

#[tokio::test(flavor = "multi_thread")]
async fn a_spawned_process_that_fails_is_logged_where_its_group_leader_is() {
    let Some(cluster) = Cluster::start().await else { return };
    let (mut erl, _other) = erls(&cluster).await;
    let _fixture = cluster.fixture("fixture", &[]).await;
    erl.load(LOGGED).await;
    erl.eval("logger:add_handler(logged, logged, #{config => self()})").await;
    for (function, reason) in [
        ("fail", "{reason, [{fixture, fail, 1, _}]}"),
        ("throw", "{{nocatch, reason}, [{fixture, throw, 1, _}]}"),
    ] {
        let logged = format!(
            "[begin P = spawn(N, fixture, {function}, [reason]),
                receive {{logged, P, Level, {{Format, [P, N, {reason}]}}, Keys, Tags}} -> {{Level, Format, Keys, Tags}}; Else -> Else after 5000 -> none end
             end || N <- ['{FIXTURE}', '{OTHER}']]"
        );
        let same = erl.eval(&format!("(fun([Same, Same]) -> same; (Differ) -> Differ end)({logged})")).await;
        assert_eq!(same, "same", "{function}");
    }
    // Who exits, or has done its work, says nothing.
    let quiet = format!(
        "[spawn('{FIXTURE}', fixture, exit, [reason]), spawn('{FIXTURE}', fixture, double, [1])], receive {{logged, P, _, _, _, _}} -> P after 300 -> quiet end"
    );
    assert_eq!(erl.eval(&quiet).await, "quiet");
}
