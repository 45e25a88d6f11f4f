//! What Erlang's tools are told. The shapes are those of `observer_backend` and `appmon_info` of an Erlang node; the figures are a node's own.

use beamline_interop::{Cluster, ErlNode, eventually};

const FIXTURE: &str = "fixture@127.0.0.1";

/// The type of a term, as far as the tools look: keys of property lists and the like as they are, figures by their kind.
const SHAPE: &str = "Shape = fun S(T) when is_integer(T) -> integer; S(T) when is_pid(T) -> pid;
    S([C | _] = T) when is_integer(C) -> case io_lib:printable_unicode_list(T) of true -> string; false -> [S(X) || X <- T] end;
    S([]) -> []; S(T) when is_list(T) -> [S(X) || X <- T];
    S({K, V}) when is_atom(K) -> {K, S(V)}; S(T) when is_tuple(T) -> list_to_tuple([S(X) || X <- tuple_to_list(T)]);
    S(T) when is_boolean(T) -> boolean; S(T) when is_atom(T) -> atom; S(_) -> other end, ok";

async fn erl(cluster: &Cluster) -> ErlNode {
    let mut erl = cluster.erl("erl").start().await;
    erl.eval(SHAPE).await;
    erl.eval("F = 'fixture@127.0.0.1', Echo = fun() -> element(2, sys:get_status({echo, F})) end, ok").await;
    erl
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_of_a_node_have_the_shapes_of_erlangs() {
    let Some(cluster) = Cluster::start().await else { return };
    let _fixture = cluster.fixture("fixture", &[]).await;
    let mut erl = erl(&cluster).await;
    let same = |call: &str| {
        format!(
            "(fun([A, A]) -> same; (D) -> D end)([Shape(lists:sort(rpc:call(N, {call}))) || N <- [F, node()]])"
        )
    };
    // Keys and kinds are Erlang's own, of all that observer reads.
    let known = "Known = fun(L) -> [{K, V} || {K, V} <- L, not lists:member(K, [alloc_info, instance])] end,
        (fun([A, A]) -> same; ([A, B]) -> {A -- B, B -- A} end)([Shape(lists:usort(Known(rpc:call(N, observer_backend, sys_info, [])))) || N <- [F, node()]])";
    assert_eq!(erl.eval(known).await, "same");
    assert_eq!(erl.eval(&same("erlang, memory, []")).await, "same");
    for call in ["wordsize", "dirty_cpu_schedulers", "otp_release", "schedulers", "process_limit"] {
        let call = format!(
            "(fun([A, A]) -> same; (D) -> D end)([Shape(rpc:call(N, erlang, system_info, [{call}])) || N <- [F, node()]])"
        );
        assert_eq!(erl.eval(&call).await, "same", "{call}");
    }
    let cases = [
        ("rpc:call(F, observer_backend, vsn, [])", "{ok,\"2.14\"}"),
        ("rpc:call(F, observer_backend, get_table_list, [ets, [{sys_hidden, true}, {unread_hidden, true}]])", "[]"),
        ("[rpc:call(F, observer_backend, Get, []) || Get <- [get_port_list, get_socket_list, socket_info]]", "[[],[],[]]"),
        ("rpc:call(F, code, ensure_loaded, [observer_backend])", "{module,observer_backend}"),
        ("[rpc:call(F, erlang, function_exported, [observer_backend, procs_info, A]) || A <- [1, 2]]", "[true,false]"),
        ("rpc:call(F, erlang, system_info, [process_count]) =:= length(rpc:call(F, erlang, processes, [])) orelse near", "true"),
        ("{badrpc, {'EXIT', {badarg, _}}} = rpc:call(F, erlang, system_info, [what_is_this]), badarg", "badarg"),
        ("{ok, _} = {ok, proplists:get_value(uptime, rpc:call(F, observer_backend, sys_info, []))}, true", "true"),
        // What was read and written grows with what is asked.
        ("Io = fun() -> Info = rpc:call(F, observer_backend, sys_info, []), {proplists:get_value(io_input, Info), proplists:get_value(io_output, Info)} end,
          {I1, O1} = Io(), Grow = fun G(0) -> no; G(N) -> {I2, O2} = Io(), I2 - I1 > 50 andalso O2 - O1 > 50 orelse G(N - 1) end, Grow(100)", "true"),
        ("proplists:get_value(total, rpc:call(F, erlang, memory, [])) > 1000000", "true"),
        ("is_list(rpc:call(F, application, which_applications, [])) andalso lists:keymember(fixture, 1, rpc:call(F, application, which_applications, []))", "true"),
        ("rpc:call(F, erlang, whereis, [echo]) =:= Echo()", "true"),
    ];
    for (expressions, expected) in cases {
        assert_eq!(erl.eval(expressions).await, expected, "{expressions}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_of_a_process_have_the_shapes_of_erlangs() {
    let Some(cluster) = Cluster::start().await else { return };
    let _fixture = cluster.fixture("fixture", &[]).await;
    let mut erl = erl(&cluster).await;
    let items = "Items = [binary, catchlevel, current_function, error_handler, garbage_collection, group_leader, heap_size,
        initial_call, last_calls, links, memory, message_queue_len, monitored_by, monitors, priority, reductions, registered_name,
        sequential_trace_token, stack_size, status, suspending, total_heap_size, trace, trap_exit], ok";
    erl.eval(items).await;
    let cases = [
        ("[K || {K, _} <- rpc:call(F, erlang, process_info, [Echo(), Items])] =:= Items", "true"),
        // A server of Erlang's beside it: the same kinds.
        (
            "timer:start(), Kinds = fun(L) -> [{K, Shape(V)} || {K, V} <- L, not lists:member(K, [links, binary, garbage_collection, initial_call, current_function, monitors, monitored_by])] end,
             A = Kinds(rpc:call(F, erlang, process_info, [Echo(), Items])), B = Kinds(process_info(whereis(timer_server), Items)), {A -- B, B -- A}",
            "{[],[]}",
        ),
        ("rpc:call(F, erlang, process_info, [Echo(), registered_name])", "{registered_name,echo}"),
        ("gen_server:call({relations, F}, {spawn_victim}), element(2, gen_server:call({relations, F}, {spawn_victim}))", ""),
        ("rpc:call(F, erlang, process_info, [Victim, registered_name])", "[]"),
        ("exit(Victim, kill), Dead = fun D() -> case rpc:call(F, erlang, process_info, [Victim, status]) of undefined -> undefined; _ -> D() end end, Dead()", "undefined"),
        ("rpc:call(F, erlang, process_info, [Victim])", "undefined"),
        ("{badrpc, {'EXIT', {badarg, _}}} = rpc:call(F, erlang, process_info, [Echo(), what_is_this]), badarg", "badarg"),
        ("rpc:call(F, erlang, process_info, [Echo(), messages])", "{messages,[]}"),
        ("{current_stacktrace, [{StackM, StackF, StackA, []}]} = rpc:call(F, erlang, process_info, [Echo(), current_stacktrace]), is_atom(StackM) andalso is_atom(StackF) andalso is_integer(StackA)", "true"),
        // More messages, more reductions.
        ("Reds = fun() -> element(2, rpc:call(F, erlang, process_info, [Echo(), reductions])) end, R1 = Reds(), [gen_server:call({echo, F}, N) || N <- lists:seq(1, 100)], Reds() - R1 >= 100", "true"),
        ("element(2, rpc:call(F, erlang, process_info, [Echo(), memory])) > 100", "true"),
        ("{Module, init, 1} = rpc:call(F, proc_lib, translate_initial_call, [Echo()]), rpc:call(F, Module, module_info, [attributes])", "[]"),
        ("{status, P, {module, gen_server}, [_, running, _, [], [{header, H}, {data, _}, {data, [{\"State\", _}]}]]} = rpc:call(F, sys, get_status, [Echo(), 200]), P =:= Echo() andalso H", "\"Status for generic server echo\""),
        ("{badrpc, {'EXIT', {timeout, _}}} = rpc:call(F, sys, get_status, [rpc:call(F, erlang, whereis, [net_kernel]), 50]), timeout", "timeout"),
        // All of them, and no record of the process that collects.
        (
            "process_flag(trap_exit, true), C = spawn_link(F, observer_backend, procs_info, [self()]),
             receive {procs_info, C, L} -> ok after 5000 -> L = none end, receive {'EXIT', C, normal} -> ok end,
             {value, {etop_proc_info, _, Mem, Red, echo, 0, {_, _, _}, 0}} = lists:search(fun(T) -> element(5, T) =:= echo end, L),
             {Mem > 0, Red > 0, lists:keymember(C, 2, L), length(L) >= 8, lists:usort([{element(1, T), tuple_size(T)} || T <- L])}",
            "{true,true,false,true,[{etop_proc_info,8}]}",
        ),
        (
            "C2 = spawn_link(F, observer_backend, etop_collect, [self()]),
             receive {C2, Info} -> ok after 5000 -> Info = none end, receive {'EXIT', C2, normal} -> ok end,
             {etop_info, {_, _, _}, N, undefined, Times, Queue, [], Memory, Procs} = Info,
             {N =:= length(Procs), is_integer(Queue), [I || {I, Active, Total} <- Times, Active =< Total] =:= lists:seq(1, length(Times)), [K || {K, _} <- Memory]}",
            "{true,true,true,[total,processes,ets,atom,code,binary]}",
        ),
        (
            "S = spawn_link(F, observer_backend, fetch_stats, [self(), 20]),
             Stats = fun() -> receive {stats, 1, T, {{input, In}, {output, _}}, [{total, _} | _]} when is_integer(In) -> length(T) after 5000 -> none end end,
             Lengths = [Stats(), Stats(), Stats()], S ! exit, receive {'EXIT', S, normal} -> length(lists:usort(Lengths)) after 5000 -> none end",
            "1",
        ),
    ];
    for (expressions, expected) in cases {
        if expected.is_empty() {
            erl.eval(&format!("Victim = begin {expressions} end")).await;
        } else {
            assert_eq!(erl.eval(expressions).await, expected, "{expressions}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trees_of_applications_are_told_until_the_client_goes() {
    let Some(cluster) = Cluster::start().await else { return };
    let _fixture = cluster.fixture("fixture", &[]).await;
    let mut erl = erl(&cluster).await;
    let start = "process_flag(trap_exit, true), {ok, Server} = rpc:call(F, appmon_info, start_link2, [self(), self(), []]),
        {ok, Server} = rpc:call(F, appmon_info, start_link2, [self(), self(), []]),
        Order = fun(Cmd, About, On) -> gen_server:cast(Server, {self(), Cmd, About, On, []}) end,
        Told = fun(Cmd, About) -> receive {delivery, Server, Cmd, About, R} -> R after 9000 -> none end end, node(Server)";
    assert_eq!(erl.eval(start).await, "'fixture@127.0.0.1'");
    let applications =
        "Order(app_ctrl, F, true), [{Master, fixture, {fixture, Description, Version}}] = Told(app_ctrl, F),
        {node(Master), is_list(Description), is_list(Version)}";
    assert_eq!(erl.eval(applications).await, "{'fixture@127.0.0.1',true,true}");
    // As observer draws it: every text is of one process, and the links are a tree below the root.
    let tree = "Order(app, fixture, true), {Root, Procs, Links, []} = Told(app, fixture),
        Texts = [T || {_, T} <- Procs],
        Below = fun B(T) -> {T, lists:sort([B(C) || {P, C} <- Links, P =:= T])} end,
        {Root, [{_, [Sup]}]} = Below(Root),
        {lists:usort(Texts) =:= lists:sort(Texts), lists:all(fun({P, C}) -> lists:member(P, Texts) andalso lists:member(C, Texts) end, Links),
         length(Links) =:= length(Procs) - 1, Sup}";
    assert_eq!(
        erl.eval(tree).await,
        "{true,true,true,{\"fixture_sup\",[{\"alias_server\",[]},{\"counter\",[]},{\"echo\",[]},{\"pg\",[]},{\"relations\",[]}]}}"
    );
    // Only what changes is told again.
    let changes =
        "Old = element(2, sys:get_status({counter, F})), catch gen_server:call({counter, F}, {stop, bye}),
        {Root, Procs2, _, []} = Told(app, fixture), [Q || {Q, \"counter\"} <- Procs2] =/= [Old]";
    assert_eq!(erl.eval(changes).await, "true");
    assert_eq!(
        erl.eval("Order(app, nothing_of_the_kind, true), Told(app, nothing_of_the_kind)").await,
        "{[],[],[],[]}"
    );
    // Leaving, as observer does.
    assert_eq!(
        erl.eval("exit(Server, normal), receive {'EXIT', Server, Why} -> Why after 5000 -> none end").await,
        "normal"
    );
    // A client whose node is lost.
    let mut other = cluster.erl("other").start().await;
    let start = format!(
        "{{ok, S}} = rpc:call('{FIXTURE}', appmon_info, start_link2, [self(), self(), []]), gen_server:cast(S, {{self(), app_ctrl, '{FIXTURE}', true, []}}), ok"
    );
    assert_eq!(other.eval(&start).await, "ok");
    let runs = "rpc:call(F, erlang, whereis, [appmon_info])";
    assert_ne!(erl.eval(runs).await, "undefined");
    other.stop().await;
    eventually("the server ends with its last client", async || erl.eval(runs).await == "undefined").await;
}
