%% Runs one history on a supervisor of any node, and tells what could be seen of it. The children of an Erlang supervisor are started here; those of a
%% beamline one are told what to do by the same collector.
-module(supervised).
-export([run/3, start_sup/1, start_collector/0, start_child/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

start_sup({Strategy, Intensity, Period, Auto}) ->
    Flags = #{strategy => Strategy, intensity => Intensity, period => Period, auto_shutdown => Auto},
    Specs = case Strategy of
        simple_one_for_one -> [#{id => any, start => {supervised, start_child, []}}];
        _ -> []
    end,
    {ok, Pid} = supervisor:start_link(supervised, {sup, Flags, Specs}),
    unlink(Pid),
    Pid.

start_collector() ->
    {ok, Pid} = gen_server:start(supervised, collector, []),
    Pid.

start_child(Id, Collector) ->
    gen_server:start_link(supervised, {child, Id, Collector}, []).

init({sup, Flags, Specs}) ->
    {ok, {Flags, Specs}};
init(collector) ->
    {ok, #{scripts => #{}, pids => #{}, hangs => #{}, log => []}};
init({child, Id, Collector}) ->
    process_flag(trap_exit, true),
    case gen_server:call(Collector, {start, Id, self()}, infinity) of
        ok -> {ok, {Id, Collector}};
        ignore -> ignore;
        {error, Reason} -> {stop, Reason}
    end.

%% The collector.
handle_call({start, Id, Pid}, _From, #{scripts := Scripts, pids := Pids} = State) ->
    {Outcome, Rest} = case maps:get(Id, Scripts, []) of
        [] -> {ok, []};
        [First | Others] -> {First, Others}
    end,
    NewPids = case Outcome of ok -> Pids#{Id => Pid}; _ -> Pids end,
    {reply, Outcome, note({start, Id, Outcome}, State#{scripts := Scripts#{Id => Rest}, pids := NewPids})};
handle_call({stop, Id, Reason}, _From, #{hangs := Hangs} = State) ->
    Answer = case Hangs of #{Id := true} -> hang; _ -> ok end,
    {reply, Answer, note({stop, Id, Reason, Answer}, State)};
handle_call({script, Id, Outcomes}, _From, #{scripts := Scripts} = State) ->
    {reply, ok, State#{scripts := Scripts#{Id => Outcomes}}};
handle_call({hang, Id, Whether}, _From, #{hangs := Hangs} = State) ->
    {reply, ok, State#{hangs := Hangs#{Id => Whether}}};
handle_call({pid, Id}, _From, #{pids := Pids} = State) ->
    {reply, maps:get(Id, Pids, none), State};
handle_call(log, _From, #{log := Log} = State) ->
    {reply, lists:reverse(Log), State#{log := []}}.

note(Event, #{log := Log} = State) -> State#{log := [Event | Log]}.

handle_cast(_, State) -> {noreply, State}.

%% A child.
handle_info({stop, Reason}, State) -> {stop, Reason, State};
handle_info(_, State) -> {noreply, State}.

terminate(Reason, {Id, Collector}) ->
    case gen_server:call(Collector, {stop, Id, Reason}, infinity) of
        hang -> receive never -> ok end;
        ok -> ok
    end;
terminate(_, _) -> ok.

%% The history.
run(Sup, Collector, Ops) ->
    Monitor = monitor(process, Sup),
    Seen = steps(Sup, Collector, Monitor, Ops, []),
    case lists:last(Seen) of
        {ended, _} -> ok;
        _ ->
            [gen_server:call(Collector, {hang, Id, false}) || Id <- [c0, c1]],
            exit(Sup, kill),
            receive {'DOWN', Monitor, process, _, _} -> ok end
    end,
    gen_server:stop(Collector),
    Seen.

steps(_, _, _, [], Seen) ->
    lists:reverse(Seen);
steps(Sup, Collector, Monitor, [Op | Ops], Seen) ->
    Answer = try do(Sup, Collector, Op) catch exit:_ -> no_answer end,
    case settled(Sup) of
        {alive, Children} ->
            Log = gen_server:call(Collector, log),
            step(Sup, Collector, Monitor, Ops, [{Op, plain(Answer), Log, plain(Children)} | Seen]);
        ended ->
            receive {'DOWN', Monitor, process, _, Reason} ->
                Log = case lists:keymember(simple, 2, Ops ++ [O || {O, _, _, _} <- Seen]) of
                    %% Children of one kind are stopped at once, in no order.
                    true -> lists:sort(gen_server:call(Collector, log));
                    false -> gen_server:call(Collector, log)
                end,
                %% What it was asked is not answered any more.
                lists:reverse([{ended, Reason}, {Op, Log} | Seen])
            end
    end.

step(Sup, Collector, Monitor, Ops, Seen) -> steps(Sup, Collector, Monitor, Ops, Seen).

%% Waits until nothing is restarting.
settled(Sup) ->
    try supervisor:which_children(Sup) of
        Children ->
            case lists:keymember(restarting, 2, Children) of
                true -> settled(Sup);
                false -> {alive, Children}
            end
    catch
        exit:_ -> ended
    end.

do(Sup, C, {start, simple, Id}) ->
    supervisor:start_child(Sup, [Id, C]);
do(Sup, C, {start, Id, Spec}) ->
    supervisor:start_child(Sup, Spec#{id => Id, start => {supervised, start_child, [Id, C]}});
do(Sup, _, {start_raw, Spec}) ->
    supervisor:start_child(Sup, Spec);
do(Sup, C, {exit, Ids, Reason}) ->
    %% All have ended before the supervisor looks.
    [gen_server:call(C, {hang, Id, false}) || Id <- Ids],
    Pids = [Pid || Id <- Ids, (Pid = gen_server:call(C, {pid, Id})) =/= none],
    sys:suspend(Sup),
    [ended(Pid, Reason) || Pid <- Pids],
    sys:resume(Sup);
do(_, C, {script, Id, Outcomes}) ->
    gen_server:call(C, {script, Id, Outcomes});
do(_, C, {hang, Id, Whether}) ->
    gen_server:call(C, {hang, Id, Whether});
do(Sup, C, {terminate_pid, Id}) ->
    case gen_server:call(C, {pid, Id}) of
        none -> none;
        Pid -> supervisor:terminate_child(Sup, Pid)
    end;
do(Sup, _, {terminate, Id}) -> supervisor:terminate_child(Sup, Id);
do(Sup, _, {restart, Id}) -> supervisor:restart_child(Sup, Id);
do(Sup, _, {delete, Id}) -> supervisor:delete_child(Sup, Id);
do(Sup, _, {spec, Id}) -> supervisor:get_childspec(Sup, Id);
do(Sup, _, count) -> supervisor:count_children(Sup).

ended(Pid, Reason) ->
    Monitor = monitor(process, Pid),
    case Reason of
        kill -> exit(Pid, kill);
        _ -> Pid ! {stop, Reason}
    end,
    receive {'DOWN', Monitor, process, Pid, _} -> ok end.

%% Pids differ from run to run.
plain(Pid) when is_pid(Pid) -> pid;
plain([Head | Tail]) -> [plain(Head) | plain(Tail)];
plain(Tuple) when is_tuple(Tuple) -> list_to_tuple(plain(tuple_to_list(Tuple)));
plain(Map) when is_map(Map) -> maps:map(fun(_, Value) -> plain(Value) end, Map);
plain(Other) -> Other.
