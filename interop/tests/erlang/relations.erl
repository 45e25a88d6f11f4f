%% Links, monitors, exits and aliases between a puppet X on one node and a puppet Y on another, as the Erlang Reference Manual
%% ("Processes": "Links", "Monitors", "Sending Exit Signals", "Receiving Exit Signals", "Process Aliases") has them.
-module(relations).
-export([run/3, names/0]).

%% Runs one; fails if it shows anything else than it should. Returns its name.
run(Name, NodeX, NodeY) ->
    scenario(Name, NodeX, NodeY),
    Name.

names() ->
    [link_exit, link_exit_trapped, exit_2, exit_2_trapped, killed_is_ordinary, exit_without_link, links_are_both_ways,
     link_noproc, unlink, link_unlink_link, crossing_links, crossing_unlinks, monitor_each_reason, monitors_are_independent,
     monitor_by_name, monitor_noproc, demonitor, order_before_the_end, alias, alias_of_a_monitor, tagged_monitor,
     dead_pids_are_silent, old_lives, unreachable_node].

reasons() ->
    [normal, shutdown, {shutdown, [1]}, boom, kill, killed, noproc, noconnection, {{badmatch, 1.5}, [{m, f, 0, []}]}].

new(Node) -> puppet:new(Node).

new_trapping(Node) ->
    Puppet = new(Node),
    [ok] = puppet:do(Puppet, [{trap_exit, true}]),
    Puppet.

%% A broken link ends whoever does not trap exits, unless the reason is normal. kill is an ordinary reason then.
scenario(link_exit, NodeX, NodeY) ->
    [begin
        X = new(NodeX), Y = new(NodeY),
        {Linker, Linked} = case Who of x -> {X, Y}; y -> {Y, X} end,
        [ok] = puppet:do(Linker, [{link, Linked}]),
        [] = puppet:sync(Linker, Linked),
        Fate = watch(Y),
        Reason = puppet:stop(X, Reason),
        case Reason of
            normal -> lives(Y), [] = puppet:log(Y);
            _ -> {Y, Reason} = {Y, fate(Fate)}
        end
     end || Reason <- reasons(), Who <- [x, y]];

scenario(link_exit_trapped, NodeX, NodeY) ->
    [begin
        X = new(NodeX), Y = new_trapping(NodeY),
        {Linker, Linked} = case Who of x -> {X, Y}; y -> {Y, X} end,
        % Twice is once.
        [ok, ok] = puppet:do(Linker, [{link, Linked}, {link, Linked}]),
        [] = puppet:sync(Linker, Linked),
        Reason = puppet:stop(X, Reason),
        [{'EXIT', X, Reason}] = puppet:logged(Y, 1),
        lives(Y)
     end || Reason <- reasons(), Who <- [x, y]];

scenario(exit_2, NodeX, NodeY) ->
    [begin
        X = new(NodeX), Y = new(NodeY),
        Fate = watch(Y),
        [ok] = puppet:do(X, [{exit, Y, Reason}]),
        case Reason of
            normal -> [] = puppet:sync(X, Y);
            kill -> killed = fate(Fate);
            _ -> Reason = fate(Fate)
        end
     end || Reason <- reasons()];

scenario(exit_2_trapped, NodeX, NodeY) ->
    [begin
        X = new(NodeX), Y = new_trapping(NodeY),
        Fate = watch(Y),
        [ok] = puppet:do(X, [{exit, Y, Reason}]),
        case Reason of
            kill -> killed = fate(Fate);
            _ -> [{'EXIT', X, Reason}] = puppet:sync(X, Y)
        end
     end || Reason <- reasons()];

scenario(killed_is_ordinary, NodeX, NodeY) ->
    X = new(NodeX), Y = new_trapping(NodeY),
    Second = new(NodeX), Third = new(NodeY),
    [ok, ok] = puppet:do(X, [{link, Y}, {link, Third}]),
    [ok] = puppet:do(Third, [{link, Second}]),
    [] = puppet:sync(X, Third),
    [] = puppet:sync(Third, Second),
    Fate = watch(Second),
    [ok] = puppet:do(Y, [{exit, X, kill}]),
    [{'EXIT', X, killed}] = puppet:logged(Y, 1),
    % Through X and Third.
    killed = fate(Fate);

scenario(exit_without_link, NodeX, NodeY) ->
    X = new(NodeX), Y = new_trapping(NodeY),
    [ok, ok, ok] = puppet:do(X, [{link, Y}, {unlink, Y}, {unlink, Y}]),
    [] = puppet:sync(X, Y),
    boom = puppet:stop(X, boom),
    settle(NodeX, Y),
    [] = puppet:log(Y);

scenario(links_are_both_ways, NodeX, NodeY) ->
    X = new_trapping(NodeX), Y = new_trapping(NodeY),
    Others = [new_trapping(NodeY) || _ <- lists:seq(1, 5)],
    puppet:do(X, [{link, Other} || Other <- [Y | Others]]),
    [[] = puppet:sync(X, Other) || Other <- [Y | Others]],
    boom = puppet:stop(Y, boom),
    [{'EXIT', Y, boom}] = puppet:logged(X, 1),
    bang = puppet:stop(X, bang),
    [[{'EXIT', X, bang}] = puppet:logged(Other, 1) || Other <- Others];

scenario(link_noproc, NodeX, NodeY) ->
    Dead = dead(NodeY),
    X = new_trapping(NodeX),
    [ok] = puppet:do(X, [{link, Dead}]),
    [{'EXIT', Dead, noproc}] = puppet:logged(X, 1),
    Other = new(NodeX),
    Fate = watch(Other),
    puppet:do(Other, [{link, Dead}]),
    noproc = fate(Fate);

%% After unlink there is no link, whoever made it.
scenario(unlink, NodeX, NodeY) ->
    [begin
        X = new(NodeX), Y = new_trapping(NodeY),
        {Linker, Unlinker} = case Who of x -> {X, Y}; y -> {Y, X} end,
        [ok] = puppet:do(Linker, [{link, Unlinker}]),
        [] = puppet:sync(Linker, Unlinker),
        [ok] = puppet:do(Unlinker, [{unlink, Linker}]),
        [] = puppet:sync(Unlinker, Linker),
        [] = puppet:sync(Linker, Unlinker),
        boom = puppet:stop(X, boom),
        settle(NodeX, Y),
        [] = puppet:log(Y)
     end || Who <- [x, y]];

%% The acknowledgement of the first unlink must not end the second link.
scenario(link_unlink_link, NodeX, NodeY) ->
    [begin
        X = new_trapping(NodeX), Y = new_trapping(NodeY),
        Script = lists:append(lists:duplicate(Times, [{link, Y}, {unlink, Y}])) ++ [{link, Y}],
        puppet:do(X, Script),
        [] = puppet:sync(X, Y),
        [] = puppet:sync(Y, X),
        {Ends, Sees} = case Who of x -> {X, Y}; y -> {Y, X} end,
        boom = puppet:stop(Ends, boom),
        [{'EXIT', Ends, boom}] = puppet:logged(Sees, 1)
     end || Times <- [1, 2, 20], Who <- [x, y]];

scenario(crossing_links, NodeX, NodeY) ->
    [begin
        X = new_trapping(NodeX), Y = new_trapping(NodeY),
        both(X, [{link, Y}], Y, [{link, X}]),
        [] = puppet:sync(X, Y),
        [] = puppet:sync(Y, X),
        boom = puppet:stop(X, boom),
        [{'EXIT', X, boom}] = puppet:logged(Y, 1)
     end || _ <- lists:seq(1, 50)];

%% Both ends agree on having no link, whatever crossed.
scenario(crossing_unlinks, NodeX, NodeY) ->
    [begin
        X = new_trapping(NodeX), Y = new_trapping(NodeY),
        both(X, lists:append(lists:duplicate(Times, [{link, Y}, {unlink, Y}])),
             Y, lists:append(lists:duplicate(Times, [{link, X}, {unlink, X}]))),
        [] = puppet:sync(X, Y),
        [] = puppet:sync(Y, X),
        boom = puppet:stop(X, boom),
        settle(NodeX, Y),
        [] = puppet:log(Y)
     end || Times <- lists:seq(1, 20)];

scenario(monitor_each_reason, NodeX, NodeY) ->
    [begin
        X = new(NodeX), Y = new(NodeY),
        [Monitor] = puppet:do(Y, [{monitor, X}]),
        [] = puppet:sync(Y, X),
        Reason = puppet:stop(X, Reason),
        [{'DOWN', Monitor, process, X, Reason}] = puppet:logged(Y, 1)
     end || Reason <- reasons()];

scenario(monitors_are_independent, NodeX, NodeY) ->
    X = new(NodeX), Y = new(NodeY),
    [One, Two, Three] = puppet:do(Y, [{monitor, X}, {monitor, X}, {monitor, X}]),
    [ok, ok] = puppet:do(Y, [{demonitor, Two}, {demonitor, Two}]),
    [] = puppet:sync(Y, X),
    [] = puppet:sync(X, Y),
    puppet:stop(X, boom),
    Downs = lists:sort(puppet:logged(Y, 2)),
    Downs = lists:sort([{'DOWN', Ref, process, X, boom} || Ref <- [One, Three]]);

%% The monitor is one of the process that has the name when it is set up.
scenario(monitor_by_name, NodeX, NodeY) ->
    X = new(NodeX), Y = new(NodeY), Heir = new(NodeX),
    [ok] = puppet:do(X, [{register, named}]),
    [Monitor, Dropped] = puppet:do(Y, [{monitor, {named, NodeX}}, {monitor, {named, NodeX}}]),
    [ok, ok] = puppet:do(Y, [{demonitor, Dropped}, {send, {named, NodeX}, hello}]),
    [hello] = puppet:sync(Y, X),
    [ok] = puppet:do(X, [{unregister, named}]),
    [ok] = puppet:do(Heir, [{register, named}]),
    boom = puppet:stop(Heir, boom),
    settle(NodeX, Y),
    [] = puppet:log(Y),
    bang = puppet:stop(X, bang),
    [{'DOWN', Monitor, process, {named, NodeX}, bang}] = puppet:logged(Y, 1);

scenario(monitor_noproc, NodeX, NodeY) ->
    Dead = dead(NodeY),
    X = new(NodeX),
    [One, Two] = puppet:do(X, [{monitor, Dead}, {monitor, {nobody, NodeY}}]),
    [{'DOWN', One, process, Dead, noproc}, {'DOWN', Two, process, {nobody, NodeY}, noproc}] = puppet:logged(X, 2);

scenario(demonitor, NodeX, NodeY) ->
    X = new(NodeX), Y = new(NodeY),
    [One] = puppet:do(Y, [{monitor, X}]),
    [ok] = puppet:do(Y, [{demonitor, One}]),
    [] = puppet:sync(Y, X),
    puppet:stop(X, boom),
    settle(NodeX, Y),
    [] = puppet:log(Y);

%% Signals from one process to another keep their order, whatever their kind.
scenario(order_before_the_end, NodeX, NodeY) ->
    [begin
        X = new(NodeX), Y = new_trapping(NodeY),
        [Monitor, ok] = puppet:do(Y, [{monitor, X}, {link, X}]),
        [] = puppet:sync(Y, X),
        puppet:do(X, [{send, Y, N} || N <- lists:seq(1, 100)] ++ [{exit, Y, first}, {send, Y, last}]),
        puppet:stop(X, boom),
        Numbers = lists:seq(1, 100),
        {Numbers, [{'EXIT', X, first}, last | Ends]} = lists:split(100, puppet:logged(Y, 104)),
        Sorted = lists:sort(Ends),
        Sorted = lists:sort([{'EXIT', X, boom}, {'DOWN', Monitor, process, X, boom}])
     end || _ <- lists:seq(1, 20)];

scenario(alias, NodeX, NodeY) ->
    X = new(NodeX), Y = new(NodeY),
    [One, Two] = puppet:do(Y, [alias, alias]),
    puppet:do(X, [{send, One, 1}, {send, Two, 2}, {send, One, 3}]),
    [1, 2, 3] = puppet:sync(X, Y),
    [ok] = puppet:do(Y, [{unalias, One}]),
    puppet:do(X, [{send, One, 4}, {send, Two, 5}]),
    [5] = puppet:sync(X, Y),
    puppet:stop(Y, normal),
    puppet:do(X, [{send, Two, 6}]),
    lives(X);

%% reply_demonitor: one message, and neither a second one nor a DOWN.
scenario(alias_of_a_monitor, NodeX, _) ->
    X = new(NodeX),
    Alias = monitor(process, X, [{alias, reply_demonitor}]),
    puppet:do(X, [{send, Alias, {Alias, 1}}, {send, Alias, {Alias, 2}}]),
    receive {Alias, 1} -> ok after 10000 -> error(no_reply) end,
    puppet:stop(X, boom),
    receive
        {Alias, 2} -> error(second_message);
        {'DOWN', Alias, _, _, _} -> error(down)
    after 0 -> ok
    end;

scenario(tagged_monitor, NodeX, _) ->
    X = new(NodeX),
    [ok] = puppet:do(X, [{register, tagged}]),
    One = monitor(process, X, [{tag, {my, tag}}]),
    Two = monitor(process, {tagged, NodeX}, [{tag, "other"}]),
    puppet:stop(X, boom),
    receive {{my, tag}, One, process, X, boom} -> ok after 10000 -> error(no_tag) end,
    receive {"other", Two, process, {tagged, NodeX}, boom} -> ok after 10000 -> error(no_tag) end;

scenario(dead_pids_are_silent, NodeX, NodeY) ->
    Dead = dead(NodeY),
    X = new_trapping(NodeX),
    puppet:do(X, [{send, Dead, hello}, {exit, Dead, boom}, {exit, Dead, kill}, {unlink, Dead},
                  {send, {nobody, NodeY}, hello}]),
    settle(NodeY, X),
    [] = puppet:log(X);

%% A pid of another life of the node is nobody's, even if its numbers are someone's.
scenario(old_lives, NodeX, NodeY) ->
    X = new_trapping(NodeX), Y = new_trapping(NodeY),
    Old = other_life(Y),
    [Monitor, ok] = puppet:do(X, [{monitor, Old}, {link, Old}]),
    Expected = lists:sort([{'DOWN', Monitor, process, Old, noproc}, {'EXIT', Old, noproc}]),
    Expected = lists:sort(puppet:logged(X, 2)),
    puppet:do(X, [{send, Old, hello}, {exit, Old, kill}]),
    [] = puppet:sync(X, Y);

scenario(unreachable_node, NodeX, _) ->
    Node = 'nobody@127.0.0.1',
    Name = atom_to_binary(Node),
    Gone = binary_to_term(<<131, 88, 119, (byte_size(Name)), Name/binary, 7:32, 0:32, 9:32>>),
    X = new_trapping(NodeX),
    [ok] = puppet:do(X, [{send, Gone, hello}]),
    [ok, One, Two, ok, ok] =
        puppet:do(X, [{link, Gone}, {monitor, Gone}, {monitor, {name, Node}}, {monitor_node, Node, true}, {exit, Gone, kill}]),
    Expected = lists:sort([{'EXIT', Gone, noconnection}, {'DOWN', One, process, Gone, noconnection},
                           {'DOWN', Two, process, {name, Node}, noconnection}, {nodedown, Node}]),
    Expected = lists:sort(puppet:logged(X, 4)).

%% A monitor that is set up when this returns, wherever the others' signals come from.
watch(Puppet) ->
    Monitor = monitor(process, Puppet),
    lives(Puppet),
    Monitor.

fate(Monitor) ->
    receive {'DOWN', Monitor, process, _, Reason} -> Reason after 10000 -> error(lives) end.

lives(Puppet) -> [] = puppet:do(Puppet, []).

dead(Node) ->
    Puppet = new(Node),
    puppet:stop(Puppet, normal),
    Puppet.

%% Makes sure that what an ended process of Node has sent Puppet has arrived, as far as that can be known: what is
%% sent later over the same connection has.
settle(Node, Puppet) ->
    Other = new(Node),
    puppet:sync(Other, Puppet),
    ok.

both(X, ScriptX, Y, ScriptY) ->
    Self = self(),
    Other = spawn_link(fun() -> puppet:do(X, ScriptX), Self ! {self(), done} end),
    puppet:do(Y, ScriptY),
    receive {Other, done} -> ok end.

other_life(Pid) ->
    Bytes = term_to_binary(Pid),
    Size = byte_size(Bytes) - 4,
    <<Head:Size/binary, Creation:32>> = Bytes,
    binary_to_term(<<Head/binary, (Creation bxor 4096):32>>).
