%% The work of beamline's benchmarks, done by Erlang/OTP: otp:main(Question, Quick, Dir) prints one sample a line, as
%% `row TAB otp TAB value`. Rows are named and values counted as the benchmarks of the same name do.
-module(otp).
-behaviour(gen_server).
-export([main/3, serve/0, init/1, handle_call/3, handle_cast/2]).

init(none) -> {ok, none}.
handle_call(Call, _From, State) -> {reply, Call, State}.
handle_cast(stop, State) -> {stop, normal, State};
handle_cast(_Cast, State) -> {noreply, State}.

start() ->
    {ok, Pid} = gen_server:start(?MODULE, none, []),
    Pid.

main(Question, Quick, Dir) ->
    put(divisor, case Quick of true -> 5; false -> 1 end),
    put(dir, Dir),
    run(Question),
    halt().

print(Row, Value) -> io:format("~ts\totp\t~w~n", [Row, Value]).

%% Work runs once to warm up and once for the sample.
measure(Row, Operations, Work) ->
    Times = Operations div get(divisor),
    Work(Times),
    print(Row, Work(Times) / Times).

time(Fun) ->
    Start = erlang:monotonic_time(nanosecond),
    Fun(),
    erlang:monotonic_time(nanosecond) - Start.

repeat(0, _Fun) -> ok;
repeat(N, Fun) -> Fun(), repeat(N - 1, Fun).

%% Each fun runs in a process of its own.
all(Funs) ->
    time(fun() ->
        Refs = [element(2, spawn_monitor(Fun)) || Fun <- Funs],
        [receive {'DOWN', Ref, process, _, normal} -> ok end || Ref <- Refs]
    end).

run("local_call") ->
    Pid = start(),
    measure("local call", 100000, fun(N) -> time(fun() -> repeat(N, fun() -> 42 = gen_server:call(Pid, 42) end) end) end);
run("local_pairs") ->
    Pids = [start() || _ <- lists:seq(1, 120)],
    pairs("120 pairs", 1200000, Pids);
run("one_way") ->
    Pid = start(),
    [measure("one-way " ++ integer_to_list(Senders) ++ " to 1", 1000000, fun(N) ->
        Sender = fun() ->
            repeat(N div Senders, fun() -> gen_server:cast(Pid, 42) end),
            gen_server:call(Pid, 42, infinity)
        end,
        all(lists:duplicate(Senders, Sender))
    end) || Senders <- [1, 4]];
run("spawn") ->
    Many = 100000 div get(divisor),
    start_and_stop(Many),
    {Start, Stop} = start_and_stop(Many),
    print("start a server", Start / Many),
    print("stop a server", Stop / Many);
run("idle_process") ->
    Many = case get(divisor) of 1 -> 1000000; _ -> 50000 end,
    Before = resident(),
    Pids = [begin Pid = start(), 42 = gen_server:call(Pid, 42), Pid end || _ <- lists:seq(1, Many)],
    print("idle process, bytes", (resident() - Before) / length(Pids));
run("loopback_call") ->
    Peer = peer(),
    Pid = pid(0, Peer),
    [measure("remote call" ++ Name, Times, fun(N) ->
        time(fun() -> repeat(N, fun() -> Term = gen_server:call(To, Term) end) end)
    end) || {Name, To, Term, Times} <- [
        {", integer", Pid, 42, 5000}, {", string", Pid, <<"twelve bytes">>, 5000},
        {", tuple with a pid", Pid, {self()}, 5000}, {", 1 MiB", Pid, binary:copy(<<7>>, 1 bsl 20), 200},
        {" to a name", {echo_0, Peer}, 42, 5000}]];
run("loopback_pairs") ->
    Peer = peer(),
    pairs("120 remote pairs", 60000, [pid(N, Peer) || N <- lists:seq(0, 119)]),
    pairs("120 remote pairs, by name", 60000, [{name(N), Peer} || N <- lists:seq(0, 119)]);
run("loopback_one_way") ->
    To = {echo_0, peer()},
    [measure("remote one-way, " ++ Name, Times, fun(N) ->
        time(fun() ->
            repeat(N, fun() -> gen_server:cast(To, Term) end),
            gen_server:call(To, 42, infinity)
        end)
    end) || {Name, Term, Times} <- [{"small", 42, 200000}, {"1 MiB", binary:copy(<<7>>, 1 bsl 20), 500}]];
run("start") ->
    Peer = peer(),
    Erl = "erl -noshell -name pong@127.0.0.1 -setcookie bench -eval ",
    Pong = Erl ++ "\"io:format(\\\"~p\\\", [net_adm:ping('" ++ atom_to_list(Peer) ++ "')]), erlang:halt(0, [{flush, true}]).\"",
    print("start to first pong", time(fun() -> "pong" = os:cmd(Pong) end)),
    print("idle node, bytes", erpc:call(Peer, fun resident/0));
run("etf") ->
    [begin
        Bytes = term_to_binary(Term),
        measure("encode " ++ Name, Times, fun(N) -> time(fun() -> repeat(N, fun() -> term_to_binary(Term) end) end) end),
        measure("decode " ++ Name, Times, fun(N) -> time(fun() -> repeat(N, fun() -> binary_to_term(Bytes) end) end) end)
    end || {Name, Term, Times} <- terms()].

pairs(Row, Calls, Servers) ->
    measure(Row, Calls, fun(N) ->
        all([fun() -> repeat(N div 120, fun() -> 42 = gen_server:call(Server, 42) end) end || Server <- Servers])
    end).

start_and_stop(Many) ->
    Self = self(),
    Start = time(fun() -> Self ! {pids, [start() || _ <- lists:seq(1, Many)]} end),
    Pids = receive {pids, All} -> All end,
    Stop = time(fun() ->
        Refs = [monitor(process, Pid) || Pid <- Pids],
        [gen_server:cast(Pid, stop) || Pid <- Pids],
        [receive {'DOWN', Ref, process, _, normal} -> ok end || Ref <- Refs]
    end),
    {Start, Stop}.

terms() ->
    Map = maps:from_list([
        {<<"key", (integer_to_binary(N))/binary>>, #{<<"id">> => N, <<"name">> => <<"name-", (integer_to_binary(N))/binary>>}}
        || N <- lists:seq(1, 100)]),
    Props = [{list_to_atom("opt_" ++ integer_to_list(N)), element(N rem 3 + 1, {true, false, undefined})} || N <- lists:seq(1, 50)],
    [{"tuple", {ok, 42, foo}, 1000000}, {"ints1000", lists:seq(1000, 1999), 10000}, {"map100", Map, 5000},
     {"props50", Props, 20000}, {"bin1m", binary:copy(<<7>>, 1 bsl 20), 1000}].

name(N) -> list_to_atom("echo_" ++ integer_to_list(N)).

pid(N, Peer) -> erpc:call(Peer, erlang, whereis, [name(N)]).

%% Another node, with echo_0 to echo_119.
peer() ->
    {ok, _} = net_kernel:start('otp@127.0.0.1', #{name_domain => longnames}),
    erlang:set_cookie(bench),
    {ok, _, Peer} = peer:start_link(#{
        name => peer, host => "127.0.0.1", longnames => true, connection => standard_io,
        args => ["-setcookie", "bench", "-pa", get(dir)]}),
    pong = net_adm:ping(Peer),
    ok = erpc:call(Peer, ?MODULE, serve, []),
    Peer.

serve() ->
    [register(name(N), start()) || N <- lists:seq(0, 119)],
    ok.

resident() ->
    {ok, Statm} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = binary:split(Statm, <<" ">>, [global]),
    binary_to_integer(Pages) * 4096.
