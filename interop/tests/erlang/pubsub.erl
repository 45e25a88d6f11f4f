%% What Phoenix.PubSub's default adapter does, as far as other nodes can tell.
-module(pubsub).
-export([start/2, subscribe/2, broadcast/3, broadcasts/3, direct_broadcast/4]).

groups(Name, Size) ->
    Adapter = atom_to_list(Name) ++ ".Adapter",
    [list_to_atom(Adapter) | [list_to_atom(Adapter ++ "_" ++ integer_to_list(N)) || N <- lists:seq(2, Size)]].

start(Name, Size) ->
    Parent = self(),
    spawn(fun() ->
        case pg:start('Elixir.Phoenix.PubSub') of
            {ok, _} -> ok;
            {error, {already_started, _}} -> ok
        end,
        Name = ets:new(Name, [named_table, public, duplicate_bag]),
        Groups = groups(Name, Size),
        persistent_term:put(Name, list_to_tuple(Groups)),
        [worker(Name, Group) || Group <- Groups],
        Parent ! {self(), started},
        receive stop -> ok end
    end),
    receive {_, started} -> ok end.

worker(Name, Group) ->
    Parent = self(),
    Pid = spawn(fun() ->
        true = register(Group, self()),
        ok = pg:join('Elixir.Phoenix.PubSub', Group, self()),
        Parent ! {self(), joined},
        work(Name)
    end),
    receive {Pid, joined} -> ok end.

work(Name) ->
    receive
        {forward_to_local, Topic, Message, Dispatcher} when is_binary(Topic), is_atom(Dispatcher) ->
            dispatch(Name, Topic, Message),
            work(Name)
    end.

dispatch(Name, Topic, Message) ->
    [Pid ! Message || {_, Pid} <- ets:lookup(Name, Topic)],
    ok.

subscribe(Name, Topic) ->
    true = ets:insert(Name, {Topic, self()}),
    ok.

group(Name) ->
    Groups = persistent_term:get(Name),
    element(erlang:phash2(self(), tuple_size(Groups)) + 1, Groups).

broadcast(Name, Topic, Message) ->
    Forward = {forward_to_local, Topic, Message, 'Elixir.Phoenix.PubSub'},
    [Pid ! Forward || Pid <- pg:get_members('Elixir.Phoenix.PubSub', group(Name)), node(Pid) =/= node()],
    dispatch(Name, Topic, Message).

%% Each from a process of its own, so that all groups have their turn. Returns which they were.
broadcasts(Name, Topic, Messages) ->
    Parent = self(),
    lists:usort([begin
        Pid = spawn(fun() -> broadcast(Name, Topic, Message), Parent ! {self(), group(Name)} end),
        receive {Pid, Group} -> Group end
    end || Message <- Messages]).

direct_broadcast(Node, Name, Topic, Message) ->
    {group(Name), Node} ! {forward_to_local, Topic, Message, 'Elixir.Phoenix.PubSub'},
    ok.
