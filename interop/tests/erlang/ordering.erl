%% Numbered messages from many senders, small ones and such as travel in fragments.
-module(ordering).
-export([send_all/4, collect/3]).

%% Senders processes send To {N, I, Filler} for I of 1..Count each, every 100th with Big bytes. To is told to begin by nobody.
send_all(To, Senders, Count, Big) ->
    Filler = binary:copy(<<"x">>, Big),
    Pids = [spawn_monitor(fun() ->
        [To ! {N, I, case I rem 100 of 0 -> Filler; _ -> I end} || I <- lists:seq(1, Count)]
    end) || N <- lists:seq(1, Senders)],
    [receive {'DOWN', Monitor, process, Pid, normal} -> ok end || {Pid, Monitor} <- Pids],
    ok.

%% Receives as many from each of Senders; fails where one of them is out of order. Returns Senders * Count.
collect(Senders, Count, Big) ->
    collect(maps:from_list([{N, 1} || N <- lists:seq(1, Senders)]), Count, Big, Senders * Count, 0).

collect(_, _, _, Total, Total) -> Total;
collect(Next, Count, Big, Total, Received) ->
    receive
        {N, I, Filler} ->
            {N, I} = {N, map_get(N, Next)},
            case I rem 100 of
                0 -> Big = byte_size(Filler);
                _ -> I = Filler
            end,
            collect(Next#{N := I + 1}, Count, Big, Total, Received + 1)
    after 30000 -> error({received, Received})
    end.
