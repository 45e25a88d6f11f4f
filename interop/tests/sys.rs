//! Erlang's `sys`, `supervisor` and application functions on `fixture-node`, whose processes are those of an application.

use beamline_interop::{Cluster, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn every_server_answers_sys() {
    let Some(cluster) = Cluster::start().await else { return };
    let _fixture = cluster.fixture("fixture", &[]).await;
    let mut erl = cluster.erl("erl").start().await;
    erl.eval("At = fun(Name) -> {Name, 'fixture@127.0.0.1'} end, Counter = At(counter)").await;
    erl.eval("Pid = fun(Name) -> element(2, sys:get_status(At(Name))) end").await;
    let all = "[echo, counter, relations, alias_server, fixture_sup, application_controller]";
    let cases = [
        ("gen_server:call(Counter, {add, 5}), sys:get_state(Counter)", "5"),
        (&*format!("[sys:suspend(At(Name)) || Name <- {all}]"), "[ok,ok,ok,ok,ok,ok]"),
        (
            &*format!("[element(2, list_to_tuple(element(4, sys:get_status(At(Name))))) || Name <- {all}]"),
            "[suspended,suspended,suspended,suspended,suspended,suspended]",
        ),
        // What is asked meanwhile waits.
        (
            "R = gen_server:send_request(Counter, get), {timeout, gen_server:wait_response(R, 100)}",
            "{timeout,timeout}",
        ),
        ("sys:get_state(Counter)", "5"),
        (&*format!("[sys:resume(At(Name)) || Name <- {all}]"), "[ok,ok,ok,ok,ok,ok]"),
        ("gen_server:wait_response(R, 5000)", "{reply,5}"),
        // The form that tools read.
        (
            "{status, P, {module, M}, [_, S, Parent, _, [{header, H}, {data, D}, {data, [{\"State\", State}]}]]} = sys:get_status(Counter), {P =:= Parent, M, S, H, [K || {K, _} <- D], State}",
            "{false,gen_server,running,\"Status for generic server counter\",[\"Status\",\"Parent\",\"Logged events\"],5}",
        ),
        ("Parent =:= Pid(fixture_sup)", "true"),
        ("sys:log(Counter, {true, 3})", "ok"),
        (
            "gen_server:call(Counter, get), gen_server:cast(Counter, {add, 1}), gen_server:call(Counter, {add, 1})",
            "7",
        ),
        (
            "{ok, Log} = sys:log(Counter, get), [case Event of {in, {'$gen_call', _, Q}} -> {call, Q}; {out, A, {From, _}, State7} -> {reply, A, From =:= self(), State7}; Other -> Other end || Event <- Log]",
            "[{noreply,6},{call,{add,1}},{reply,7,true,7}]",
        ),
        ("sys:log(Counter, false)", "ok"),
        ("sys:statistics(Counter, true)", "ok"),
        (
            "gen_server:call(Counter, get), gen_server:cast(Counter, {add, 1}), gen_server:call(Counter, get)",
            "8",
        ),
        (
            "{ok, Counted} = sys:statistics(Counter, get), {{_, _, _}, {_, _, _}} = proplists:get_value(start_time, Counted), [proplists:get_value(Key, Counted) || Key <- [messages_in, messages_out]]",
            "[3,2]",
        ),
        ("sys:no_debug(Counter)", "ok"),
        ("sys:trace(Counter, true), gen_server:call(Counter, get), sys:trace(Counter, false)", "ok"),
        // A function cannot be run natively, and is answered as one that fails.
        (
            "try sys:replace_state(Counter, fun(S1) -> S1 + 1 end) catch error:E -> E end",
            "{callback_failed,{gen_server,system_replace_state},{error,undef}}",
        ),
        ("sys:get_state(Counter)", "8"),
    ];
    for (expression, expected) in cases {
        assert_eq!(erl.eval(expression).await, expected, "{expression}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fixtures_processes_are_children_of_its_application() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut fixture = cluster.fixture("fixture", &[]).await;
    let mut erl = cluster.erl("erl").start().await;
    erl.eval("Node = 'fixture@127.0.0.1', Sup = {fixture_sup, Node}, Counter = {counter, Node}").await;
    erl.eval("Before = element(2, lists:keyfind(counter, 1, supervisor:which_children(Sup)))").await;
    let cases = [
        (
            "[Id || {Id, _, worker, [_]} <- supervisor:which_children(Sup)]",
            "[alias_server,relations,counter,echo,pg]",
        ),
        ("supervisor:count_children(Sup)", "[{specs,5},{active,5},{supervisors,0},{workers,5}]"),
    ];
    for (expression, expected) in cases {
        assert_eq!(erl.eval(expression).await, expected, "{expression}");
    }
    // It comes back, without what it held, as another process of the same name.
    for end in ["crash", "{stop, normal}"] {
        assert_eq!(erl.eval("gen_server:call(Counter, {add, 5})").await, "5");
        erl.eval(&format!("catch gen_server:call(Counter, {end})")).await;
        eventually("the counter is back", async || {
            erl.eval("catch gen_server:call(Counter, get)").await == "0"
        })
        .await;
    }
    let cases = [
        ("Before =:= element(2, lists:keyfind(counter, 1, supervisor:which_children(Sup)))", "false"),
        ("supervisor:terminate_child(Sup, echo)", "ok"),
        ("try gen_server:call({echo, Node}, hello) catch exit:{Why, _} -> Why end", "noproc"),
        ("element(1, supervisor:restart_child(Sup, echo))", "ok"),
        ("gen_server:call({echo, Node}, hello)", "hello"),
        (
            "[{fixture, Description, _}] = gen_server:call({application_controller, Node}, which_applications), is_list(Description)",
            "true",
        ),
        (
            "Info = gen_server:call({application_controller, Node}, info), {[Name || {Name, _, _} <- proplists:get_value(loaded, Info)], proplists:get_value(started, Info)}",
            "{[fixture],[{fixture,temporary}]}",
        ),
        // What a node does not allow, another node cannot have.
        (
            "gen_server:call({application_controller, Node}, {stop_application, fixture})",
            "{error,{not_allowed,fixture}}",
        ),
        (
            "gen_server:call({application_controller, Node}, {start_application, nothing, permanent})",
            "{error,{not_loaded,nothing}}",
        ),
    ];
    for (expression, expected) in cases {
        assert_eq!(erl.eval(expression).await, expected, "{expression}");
    }
    fixture.signal("TERM");
    assert_eq!(fixture.ended().await, Some(0));
}
