%% A process that does what a script says, in a row, and remembers whatever else it receives.
-module(puppet).
-export([start/0, new/1, do/2, log/1, logged/2, sync/2, stop/2]).

%% The registered process `puppets`, which makes puppets for whoever asks.
start() ->
    register(puppets, spawn(fun master/0)).

master() ->
    receive
        {new, From, Ref} -> From ! {Ref, spawn(fun() -> puppet([]) end)};
        _ -> ok
    end,
    master().

puppet(Log) ->
    receive
        {do, From, Ref, Script} -> From ! {Ref, [step(Step) || Step <- Script]}, puppet(Log);
        {log, From, Ref} -> From ! {Ref, lists:reverse(Log)}, puppet([]);
        {stop, Reason} -> exit(Reason);
        Other -> puppet([Other | Log])
    end.

step({link, Pid}) -> link(Pid), ok;
step({unlink, Pid}) -> unlink(Pid), ok;
step({monitor, Item}) -> monitor(process, Item);
step({demonitor, Ref}) -> demonitor(Ref, [flush]), ok;
step({exit, Pid, Reason}) -> exit(Pid, Reason), ok;
step({trap_exit, Trap}) -> process_flag(trap_exit, Trap), ok;
step({send, To, Message}) -> To ! Message, ok;
step({register, Name}) -> register(Name, self()), ok;
step({unregister, Name}) -> unregister(Name), ok;
step(alias) -> alias();
step({unalias, Alias}) -> unalias(Alias), ok;
step({monitor_node, Node, On}) -> monitor_node(Node, On), ok;
step({monitor_nodes, On}) -> net_kernel:monitor_nodes(On), ok.

%% For the processes that pull the strings.

new(Node) -> ask({puppets, Node}, fun(Ref) -> {new, self(), Ref} end).

do(Puppet, Script) -> ask(Puppet, fun(Ref) -> {do, self(), Ref, Script} end).

%% What it remembers; it forgets that.
log(Puppet) -> ask(Puppet, fun(Ref) -> {log, self(), Ref} end).

%% As log, once there are so many entries.
logged(Puppet, Count) -> logged(Puppet, Count, [], erlang:monotonic_time(millisecond) + 10000).

logged(Puppet, Count, Log, End) ->
    case Log ++ log(Puppet) of
        All when length(All) >= Count -> All;
        All ->
            erlang:monotonic_time(millisecond) < End orelse error({expected, Count, got, All}),
            timer:sleep(1),
            logged(Puppet, Count, All, End)
    end.

%% Waits until all that one puppet has sent to another has arrived: signals between two processes keep their order.
%% Returns what the other remembers.
sync(From, To) ->
    Mark = make_ref(),
    do(From, [{send, To, Mark}]),
    until(To, Mark, [], erlang:monotonic_time(millisecond) + 10000).

until(To, Mark, Log, End) ->
    All = Log ++ log(To),
    case lists:splitwith(fun(Entry) -> Entry =/= Mark end, All) of
        {Before, [Mark | After]} -> Before ++ After;
        _ ->
            erlang:monotonic_time(millisecond) < End orelse error({no_mark, All}),
            timer:sleep(1),
            until(To, Mark, All, End)
    end.

%% Ends it, and returns the reason that a monitor of it sees.
stop(Puppet, Reason) ->
    Monitor = monitor(process, Puppet),
    Puppet ! {stop, Reason},
    receive {'DOWN', Monitor, process, _, Seen} -> Seen after 10000 -> error({does_not_stop, Puppet}) end.

ask(Whom, Message) ->
    Monitor = monitor(process, Whom),
    Whom ! Message(Monitor),
    receive
        {Monitor, Answer} -> demonitor(Monitor, [flush]), Answer;
        {'DOWN', Monitor, process, _, Reason} -> error({Whom, Reason})
    after 10000 -> error({no_answer, Whom})
    end.
