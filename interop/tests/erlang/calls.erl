%% Servers to be called, and callers with every form of tag.
-module(calls).
-export([start/0, by_hand/3, in_flight/3, receive_none/1]).

%% The registered processes `server`, which does as it is told, and `gather`, which answers when it has Count calls.
start() ->
    register(server, spawn(fun server/0)),
    register(gather, spawn(fun() -> gather([]) end)).

server() ->
    receive
        {'$gen_call', _, {exit, Reason}} -> exit(Reason);
        {'$gen_call', _, noreply} -> server();
        {'$gen_call', From, {late, Ms}} -> timer:sleep(Ms), gen_server:reply(From, late), server();
        {'$gen_call', From, Request} -> gen_server:reply(From, {got, Request}), server();
        {'$gen_cast', {Pid, Term}} -> Pid ! {cast, Term}, server();
        {Pid, Term} -> Pid ! {info, Term}, server()
    end.

gather(Callers) ->
    receive
        {'$gen_call', From, {Number, Count}} when length(Callers) + 1 =:= Count ->
            [gen_server:reply(Caller, {answer, N}) || {Caller, N} <- [{From, Number} | Callers]],
            gather([]);
        {'$gen_call', From, {Number, _}} -> gather([{From, Number} | Callers])
    end.

%% Sends a call whose tag Tag is written by hand, and returns the reply that comes back with exactly that tag.
by_hand(Server, Tag, Request) ->
    Server ! {'$gen_call', {self(), Tag}, Request},
    receive {Tag, Reply} -> Reply after 5000 -> no_reply end.

%% Count calls at once, each from a process of its own: Server answers none before all have arrived.
in_flight(Server, Count, Timeout) ->
    Callers = [spawn_monitor(fun() -> {answer, N} = gen_server:call(Server, {N, Count}, Timeout) end)
               || N <- lists:seq(1, Count)],
    lists:usort([receive {'DOWN', Monitor, process, Pid, Reason} -> Reason end || {Pid, Monitor} <- Callers]).

receive_none(Ms) ->
    receive Message -> {unexpected, Message} after Ms -> none end.
