%% Runs one history on an event manager of any node, and tells what could be seen of it. The handlers of an Erlang manager are of this module; those of a
%% beamline one do the same. A handler tells the driver what it is asked, before the manager answers.
-module(events).
-export([run/2]).
-export([init/1, handle_event/2, handle_call/2, handle_info/2, terminate/2]).

%% A handler: {Driver, Id, N}.
init({{Driver, Id, How}, Previous}) -> start(Driver, Id, How, {init_swapped, Previous});
init({Driver, Id, How}) -> start(Driver, Id, How, init).

start(Driver, Id, How, Called) ->
    Driver ! {log, {Id, Called}},
    case How of
        ok -> {ok, {Driver, Id, 0}};
        {error, Reason} -> {error, Reason};
        crash -> error(boom)
    end.

handle_event(Event, State) -> told(handle_event, Event, State).

handle_info(Info, State) -> told(handle_info, Info, State).

told(Callback, What, {Driver, Id, N} = State) ->
    Driver ! {log, {Id, Callback, What, N}},
    case What of
        {do, Id, Action} -> act(Action, State);
        _ -> {ok, {Driver, Id, N + 1}}
    end.

act(remove, _) -> remove_handler;
act({swap, Args, New, NewArgs}, {Driver, Id, N}) -> {swap_handler, Args, {Driver, Id, N + 1}, New, NewArgs};
act({fail, Reason}, _) -> Reason;
act(crash, _) -> error(boom);
act(_, {Driver, Id, N}) -> {ok, {Driver, Id, N + 1}}.

handle_call(Action, {Driver, Id, N} = State) ->
    Driver ! {log, {Id, handle_call, Action, N}},
    case act(Action, State) of
        remove_handler -> {remove_handler, {N, Action}};
        {swap_handler, Args, New, Handler, NewArgs} -> {swap_handler, {N, Action}, Args, New, Handler, NewArgs};
        {ok, New} -> {ok, {N, Action}, New};
        Other -> Other
    end.

terminate(Why, {Driver, Id, N}) ->
    Driver ! {log, {Id, terminate, Why, N}},
    case Why of
        crash -> error(boom);
        _ -> {left, Id, N}
    end.

%% The history.
run(Manager, Ops) ->
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() -> process_flag(trap_exit, true), Self ! {self(), history(Manager, Ops)} end),
    receive
        {Pid, Seen} -> demonitor(Monitor, [flush]), plain(Seen);
        {'DOWN', Monitor, process, Pid, Reason} -> {failed, Reason}
    end.

history(Manager, Ops) ->
    Monitor = monitor(process, Manager),
    ok = gen_event:add_handler(Manager, {events, witness}, {self(), witness, ok}),
    Seen = steps(Manager, Ops, #{}, []),
    receive {'DOWN', Monitor, process, _, Reason} -> [{ended, Reason} | Seen] end.

steps(Manager, [{stop, Reason}], Helpers, Seen) ->
    Reply = gen_event:stop(Manager, Reason, infinity),
    lists:reverse([{Reply, log(Helpers)} | Seen]);
steps(Manager, [], Helpers, Seen) ->
    Reply = gen_event:stop(Manager),
    lists:reverse([{Reply, log(Helpers)} | Seen]);
steps(Manager, [Op | Ops], Helpers, Seen) ->
    {Reply, Now} = do(Manager, Op, Helpers),
    Handlers = gen_event:which_handlers(Manager),
    steps(Manager, Ops, Now, [{Op, Reply, log(Now), Handlers} | Seen]).

%% Helpers have passed on what they were sent.
log(Helpers) ->
    [begin Pid ! {ping, self()}, receive {pong, Pid} -> ok end end || Pid <- maps:values(Helpers)],
    %% What different processes pass on has no order among itself.
    {Passed, Told} = lists:partition(fun(Entry) -> element(1, Entry) =:= helper end, collect()),
    {Told, lists:keysort(2, Passed)}.

collect() ->
    receive
        {log, Entry} -> [Entry | collect()];
        {gen_event_EXIT, _, _} = Exit -> [Exit | collect()]
    after 0 -> []
    end.

args(Id, How) -> {self(), Id, How}.

handler(Id) -> {events, Id}.

action({swap, Args, Id, How}) -> {swap, Args, handler(Id), args(Id, How)};
action({swap, Args, Module, Id, How}) -> {swap, Args, {Module, Id}, args(Id, How)};
action(Action) -> Action.

do(M, {add, Id, How}, H) -> {gen_event:add_handler(M, handler(Id), args(Id, How)), H};
do(M, {add_plain, How}, H) -> {gen_event:add_handler(M, events, args(plain, How)), H};
do(M, {add_module, Module, Id}, H) -> {gen_event:add_handler(M, {Module, Id}, args(Id, ok)), H};
do(M, {add_sup, Id, How}, H) -> {gen_event:add_sup_handler(M, handler(Id), args(Id, How)), H};
do(M, {add_sup, Helper, Id, How}, H) ->
    {Pid, Now} = helper(M, Helper, H),
    {ask(Pid, fun(Driver) -> gen_event:add_sup_handler(M, handler(Id), {Driver, Id, How}) end), Now};
do(M, {delete, Id, Args}, H) -> {gen_event:delete_handler(M, handler(Id), Args), H};
do(M, {delete_plain, Args}, H) -> {gen_event:delete_handler(M, events, Args), H};
do(M, {swap, Old, Args, New, How}, H) ->
    {gen_event:swap_handler(M, {handler(Old), Args}, {handler(New), args(New, How)}), H};
do(M, {swap_module, Old, Args, Module}, H) ->
    {gen_event:swap_handler(M, {handler(Old), Args}, {Module, args(Old, ok)}), H};
do(M, {swap_sup, Old, Args, New, How}, H) ->
    {gen_event:swap_sup_handler(M, {handler(Old), Args}, {handler(New), args(New, How)}), H};
do(M, {swap_sup, Helper, Old, Args, New, How}, H) ->
    {Pid, Now} = helper(M, Helper, H),
    Swap = fun(Driver) -> gen_event:swap_sup_handler(M, {handler(Old), Args}, {handler(New), {Driver, New, How}}) end,
    {ask(Pid, Swap), Now};
do(M, {notify, Id, Action}, H) -> {gen_event:notify(M, {do, Id, action(Action)}), H};
do(M, {sync_notify, Id, Action}, H) -> {gen_event:sync_notify(M, {do, Id, action(Action)}), H};
do(M, {info, Id, Action}, H) -> M ! {do, Id, action(Action)}, {ok, H};
do(M, {cast, Term}, H) -> {gen_server:cast(M, Term), H};
do(M, {strange, Term}, H) -> M ! Term, {ok, H};
do(M, {call, Id, Action}, H) -> {gen_event:call(M, handler(Id), action(Action)), H};
do(M, {call_plain, Action}, H) -> {gen_event:call(M, events, action(Action)), H};
do(M, {request, Id, Action}, H) ->
    Request = gen_event:send_request(M, handler(Id), action(Action)),
    {gen_event:receive_response(Request, infinity), H};
do(M, state, H) -> {sys:get_state(M), H};
do(M, modules, H) -> {gen:call(M, self(), get_modules, infinity), H};
do(_, {end_helper, Helper, Reason}, H) ->
    case maps:take(Helper, H) of
        error -> {none, H};
        {Pid, Now} ->
            Pid ! {stop, Reason},
            %% The manager has heard of it when the witness has.
            receive {log, {witness, handle_info, {'EXIT', Pid, Why}, _}} -> {Why, Now} end
    end.

helper(M, Name, Helpers) ->
    case Helpers of
        #{Name := Pid} -> {Pid, Helpers};
        #{} ->
            Driver = self(),
            Pid = spawn(fun() -> helping(Driver, Name) end),
            ok = ask(Pid, fun(_) -> gen_event:add_sup_handler(M, {events, Name}, {Driver, Name, ok}) end),
            {Pid, Helpers#{Name => Pid}}
    end.

ask(Pid, Fun) ->
    Pid ! {do, self(), Fun},
    receive {done, Pid, Reply} -> Reply end.

helping(Driver, Name) ->
    receive
        {do, From, Fun} -> From ! {done, self(), Fun(Driver)}, helping(Driver, Name);
        {gen_event_EXIT, _, _} = Exit -> Driver ! {log, {helper, Name, Exit}}, helping(Driver, Name);
        {ping, From} -> From ! {pong, self()}, helping(Driver, Name);
        {stop, Reason} -> exit(Reason)
    end.

%% Pids differ from run to run, and how a crash looks from language to language.
plain(Pid) when is_pid(Pid) -> pid;
plain({'EXIT', {undef, [{Module, Function, Args, _} | _]}}) -> {undef, Module, Function, plain(Args)};
plain({'EXIT', {_, [_ | _]}}) -> 'a crash';
plain([Head | Tail]) -> [plain(Head) | plain(Tail)];
plain(Tuple) when is_tuple(Tuple) -> list_to_tuple(plain(tuple_to_list(Tuple)));
plain(Other) -> Other.
