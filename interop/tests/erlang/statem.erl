%% A gen_statem that does what its events say, and who runs one, of this node or of another, and tells all that it did.
-module(statem).
-behaviour(gen_statem).
-export([start/0, init/1, callback_mode/0, terminate/3, handle_event/4, a/3, b/3, c/3]).

%% A script that leads nowhere ends after 80 calls.

start() ->
    logger:set_primary_config(level, none),
    register(statem, spawn(fun loop/0)),
    ok.

loop() ->
    receive
        {'$gen_call', From, Request} ->
            spawn(fun() -> gen_server:reply(From, run(Request)) end),
            loop()
    end.

%% Where: erlang, or a node with `machines`. Mode: {StateFunctions, StateEnter}.
run({Where, Mode, Init, Steps}) ->
    Pid = machine(Where, Mode, Init),
    Monitor = monitor(process, Pid),
    Requests = lists:append([step(Step, Pid) || Step <- Steps]),
    catch sys:get_state(Pid),
    catch gen_statem:stop(Pid),
    receive {'DOWN', Monitor, process, Pid, Down} -> ok end,
    {Reason, State, Trace} = receive {trace, Why, Last, Seen} -> {reason(Why), Last, Seen} end,
    %% It may have ended before it was monitored.
    true = lists:member(reason(Down), [Reason, noproc]),
    {Reason, State, Trace, [reply(Request) || Request <- Requests]}.

machine(erlang, Mode, Init) ->
    {ok, Pid} = gen_statem:start(statem, {Mode, Init, self()}, []),
    Pid;
machine(Node, Mode, Init) ->
    gen_server:call({machines, Node}, {Mode, Init, self()}).

step({call, Script}, Pid) -> [gen_statem:send_request(Pid, Script)];
step({cast, Script}, Pid) -> gen_statem:cast(Pid, Script), [];
step({info, Script}, Pid) -> Pid ! Script, [];
step({await, Count}, Pid) ->
    case catch sys:get_state(Pid) of
        {_State, #{count := Reached}} when Reached < Count ->
            timer:sleep(20),
            step({await, Count}, Pid);
        _ ->
            []
    end.

reply(Request) ->
    case gen_statem:wait_response(Request, 5000) of
        {reply, Reply} -> Reply;
        {error, _} -> none
    end.

%% Without what is beside it; the stack is there when the process has ended.
reason({{Tag, _}, [_ | _]}) when is_atom(Tag) -> Tag;
reason({Tag, _}) when is_atom(Tag) -> Tag;
reason(Reason) -> Reason.

%% The machine.

callback_mode() -> get(mode).

init({{Functions, Enter}, {Enters, Actions}, Collector}) ->
    Mode = case Functions of true -> state_functions; false -> handle_event_function end,
    put(mode, [Mode | [state_enter || Enter]]),
    Data = #{count => 0, froms => [], trace => [], enters => Enters, collector => Collector},
    {Actions_1, Data_1} = actions(Actions, Data),
    {ok, a, Data_1, Actions_1}.

terminate(Reason, State, #{trace := Trace, collector := Collector}) ->
    Collector ! {trace, Reason, State, lists:reverse(Trace)}.

a(Type, Content, Data) -> handle_event(Type, Content, a, Data).
b(Type, Content, Data) -> handle_event(Type, Content, b, Data).
c(Type, Content, Data) -> handle_event(Type, Content, c, Data).

handle_event(_Type, _Content, _State, #{count := 80}) ->
    {stop, limit};
handle_event(enter, Old, State, #{enters := Enters} = Data) ->
    {{Goto, Actions}, Rest} = case Enters of [] -> {{keep, []}, []}; [First | More] -> {First, More} end,
    return(Goto, Actions, note({State, enter, Old}, Data#{enters := Rest}));
handle_event(Type, {Id, Goto, Actions, Enters}, State, #{froms := Froms} = Data) ->
    {Name, New} =
        case Type of
            {call, From} -> {call, case lists:member(postpone, Actions) of true -> []; false -> [From] end};
            _ -> {Type, []}
        end,
    return(Goto, Actions, note({State, Name, Id}, Data#{enters := Enters, froms := Froms ++ New})).

note(Entry, #{trace := Trace, count := Count} = Data) ->
    Data#{trace := [Entry | Trace], count := Count + 1}.

return({stop, Reason}, _, Data) ->
    {stop, Reason, Data};
return({stop_and_reply, Value}, _, Data) ->
    {Replies, Data_1} = actions([{reply, Value}], Data),
    {stop_and_reply, stopped, Replies, Data_1};
return(Goto, Actions, Data) ->
    {Actions_1, Data_1} = actions(Actions, Data),
    case Goto of
        keep -> {keep_state, Data_1, Actions_1};
        repeat -> {repeat_state, Data_1, Actions_1};
        {next, State} -> {next_state, State, Data_1, Actions_1}
    end.

actions(Actions, Data) ->
    {Actions_1, Data_1} = lists:mapfoldl(fun action/2, Data, Actions),
    {lists:append(Actions_1), Data_1}.

action({reply, _}, #{froms := []} = Data) -> {[], Data};
action({reply, Value}, #{froms := [From | Froms]} = Data) -> {[{reply, From, Value}], Data#{froms := Froms}};
action(Action, Data) -> {[action(Action)], Data}.

action(postpone) -> postpone;
action({next_event, {timeout, Which}, Script}) -> {next_event, which(Which), Script};
action({next_event, Type, Script}) -> {next_event, Type, Script};
action({start, Which, infinity, Script}) -> {which(Which), infinity, Script};
action({start, Which, {'after', Ms}, Script}) -> {which(Which), Ms, Script};
action({start, Which, {at, Ms}, Script}) ->
    {which(Which), erlang:monotonic_time(millisecond) + Ms, Script, [{abs, true}]};
action({update, Which, Script}) -> {which(Which), update, Script};
action({cancel, Which}) -> {which(Which), cancel}.

which(event) -> timeout;
which(state) -> state_timeout;
which({named, Name}) -> {timeout, Name}.
