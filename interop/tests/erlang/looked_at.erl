%% Looks with sys into a state machine, an event manager or a supervisor of any node, and tells what could be seen. Those of this node are started
%% here; those of a beamline one do the same.
-module(looked_at).
-export([start/1, run/3]).
-export([init/1, callback_mode/0, handle_event/4, terminate/3]).
-export([handle_event/2, handle_call/2, handle_info/2, terminate/2]).
-export([start_child/1, handle_call/3, handle_cast/2]).

start(gen_statem) ->
    {ok, Pid} = gen_statem:start({local, looked_at}, looked_at, statem, []), Pid;
start(gen_event) ->
    {ok, Pid} = gen_event:start({local, looked_at}), ok = gen_event:add_handler(Pid, looked_at, handler), Pid;
start(supervisor) ->
    {ok, Pid} = supervisor:start_link({local, looked_at}, looked_at, sup), unlink(Pid), Pid.

init(statem) -> {ok, locked, 0};
init(handler) -> {ok, 0};
init(sup) ->
    Child = fun(Id) -> #{id => Id, start => {looked_at, start_child, [Id]}} end,
    {ok, {#{strategy => one_for_one, intensity => 10, period => 1}, [Child(a), Child(b)]}};
init({child, Id}) ->
    process_flag(trap_exit, true), tell({started, Id}), {ok, Id}.

tell(What) -> catch teller ! What.

%% A state machine: a door that counts.
callback_mode() -> [handle_event_function, state_enter].

handle_event(enter, _, _, _) -> keep_state_and_data;
handle_event({call, From}, pass, open, N) -> {keep_state, N + 1, [{reply, From, {come_in, N}}]};
handle_event({call, _}, pass, locked, _) -> {keep_state_and_data, [postpone]};
handle_event(cast, open, _, N) -> {next_state, open, N + 1};
handle_event(cast, close, _, N) -> {next_state, locked, N + 1};
handle_event(info, _, _, N) -> {keep_state, N + 1}.

terminate(Reason, State, N) -> tell({terminated, Reason, State, N}).

%% An event handler that counts.
handle_event(_, N) -> {ok, N + 1}.
handle_call(get, N) -> {ok, N, N}.
handle_info(_, N) -> {ok, N + 1}.

%% Of the handler, and of a supervisor's child.
terminate(Why, State) -> tell({terminated, Why, State}).

%% A child.
start_child(Id) -> gen_server:start_link(looked_at, {child, Id}, []).
handle_call(_, _, Id) -> {reply, Id, Id}.
handle_cast(_, Id) -> {noreply, Id}.

%% What is asked, and answered at once unless the process is suspended.
request(gen_statem, P) -> gen_statem:cast(P, open), gen_statem:send_request(P, pass);
request(gen_event, P) -> gen_event:send_request(P, looked_at, get);
request(supervisor, P) -> gen_server:send_request(P, count_children).

%% Some work, which leaves the process as it was but for what it counts.
work(gen_statem, P) ->
    R = gen_statem:send_request(P, pass),
    gen_statem:cast(P, close),
    R2 = gen_statem:send_request(P, pass),
    gen_statem:cast(P, open),
    P ! hello,
    [gen_statem:wait_response(R, 5000), gen_statem:wait_response(R2, 5000), gen_statem:call(P, pass)];
work(gen_event, P) ->
    gen_event:notify(P, event),
    P ! hello,
    [gen_event:sync_notify(P, event), gen_event:call(P, looked_at, get), gen_event:call(P, nobody, get),
     gen_event:which_handlers(P)];
work(supervisor, P) ->
    flush(),
    exit(element(2, lists:keyfind(a, 1, supervisor:which_children(P))), kill),
    receive {started, a} -> ok after 5000 -> error(not_restarted) end,
    Children = supervisor:which_children(P),
    P ! hello,
    [Children, supervisor:delete_child(P, b), supervisor:restart_child(P, c), supervisor:count_children(P)].

%% What a process with this name does when somebody looks, and its end with a reason.
run(Kind, P, Reason) ->
    register(teller, self()),
    Seen = try look(Kind, P, Reason) after unregister(teller), flush() end,
    [{Label, plain(Kind, What)} || {Label, What} <- Seen].

look(Kind, P, Reason) ->
    Suspended = [
        {state, state(Kind, P)},
        {suspend, sys:suspend(P)},
        {status, status(P)}],
    R = request(Kind, P),
    Waiting = [
        {waits, gen_server:wait_response(R, 50)},
        {state, state(Kind, P)},
        {resume, sys:resume(P)},
        {answered, gen_server:wait_response(R, 5000)},
        {status, status(P)},
        {state, state(Kind, P)}],
    Log = [
        {log, sys:log(P, get)},
        {log, sys:log(P, true)},
        {work, work(Kind, P)},
        {log, sys:log(P, get)},
        {log, sys:log(P, {true, 50})},
        {work, work(Kind, P)},
        {logged, sys:log(P, get)},
        {print, sys:log(P, print)},
        {status, status(P)},
        {log, sys:log(P, {true, 2})},
        {log, sys:log(P, get)},
        {log, sys:log(P, {true, 0})},
        {log, sys:log(P, false)},
        {log, sys:log(P, get)}],
    Statistics = [
        {statistics, sys:statistics(P, get)},
        {statistics, sys:statistics(P, true)},
        {work, work(Kind, P)},
        {statistics, counted(P)},
        {statistics, sys:statistics(P, false)},
        {statistics, sys:statistics(P, get)}],
    Trace = [
        {trace, sys:trace(P, true)},
        {work, work(Kind, P)},
        {trace, sys:trace(P, false)},
        {log, sys:log(P, true)},
        {statistics, sys:statistics(P, true)},
        {no_debug, sys:no_debug(P)},
        {work, work(Kind, P)},
        {log, sys:log(P, get)},
        {statistics, sys:statistics(P, get)},
        {unknown, system(P, nonsense)},
        {unknown, system(P, {debug, nonsense})},
        {state, state(Kind, P)}],
    flush(),
    Monitor = monitor(process, P),
    % A suspended process ends as well.
    [sys:suspend(P) || Reason =/= normal],
    Ending = [
        {terminate, sys:terminate(P, Reason)},
        {ended, receive {'DOWN', Monitor, process, _, Why} -> Why after 5000 -> nothing end},
        {told, told()}],
    Suspended ++ Waiting ++ Log ++ Statistics ++ Trace ++ Ending.

% A supervisor's own state is its own affair.
state(supervisor, P) -> is_tuple(sys:get_state(P));
state(_, P) -> sys:get_state(P).

status(P) ->
    {status, Pid, {module, Module}, [Dictionary, SysState, Parent, _, [Header | Data]]} = sys:get_status(P),
    % What else each behaviour shows is for people to read.
    Titles = [Title || {data, Entries} <- Data, {Title, _} <- Entries, lists:member(Title, ["Status", "Parent"])],
    {Module, SysState, is_pid(Pid), is_pid(Parent), is_list(Dictionary), Header, lists:sort(Titles)}.

counted(P) ->
    {ok, Counted} = sys:statistics(P, get),
    {[Key || {Key, _} <- Counted], [proplists:get_value(Key, Counted) || Key <- [messages_in, messages_out]]}.

system(P, Request) ->
    Tag = make_ref(),
    P ! {system, {self(), Tag}, Request},
    receive {Tag, Answer} -> Answer after 5000 -> nothing end.

told() -> receive What when element(1, What) =:= terminated -> [What | told()] after 0 -> [] end.

flush() -> receive _ -> flush() after 0 -> ok end.

plain(supervisor, {out, Reply, From, _State}) -> {out, plain(supervisor, Reply), plain(supervisor, From), state};
plain(supervisor, {noreply, _State}) -> {noreply, state};
% Erlang makes aliases for calls of other nodes only.
plain(_, [alias | Reference]) when is_reference(Reference) -> ref;
plain(_, Pid) when is_pid(Pid) -> pid;
plain(_, Reference) when is_reference(Reference) -> ref;
plain(Kind, [Head | Tail]) -> [plain(Kind, Head) | plain(Kind, Tail)];
plain(Kind, Tuple) when is_tuple(Tuple) -> list_to_tuple(plain(Kind, tuple_to_list(Tuple)));
plain(_, Term) -> Term.
