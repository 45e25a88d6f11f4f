%% Random terms of all types, and an echo to send others to.
-module(terms).
-export([echoed/3, serve/1, same/2]).

%% Calls Server with Count random terms; each has to come back as it is. Returns how many did.
echoed(Server, Count, Seed) ->
    rand:seed(exsss, Seed),
    Pool = pool(),
    lists:foreach(
        fun(_) ->
            Term = term(5, Pool),
            Back = gen_server:call(Server, Term, 30000),
            same(Term, Back) orelse error({sent, Term, got, Back})
        end,
        lists:seq(1, Count)
    ),
    Count.

%% Equal in value and in every bit of the external form: =:= alone does not tell 0.0 from -0.0 before OTP 27.
same(A, B) ->
    A =:= B andalso term_to_binary(A, [deterministic]) =:= term_to_binary(B, [deterministic]).

%% A registered process that answers every call with the request.
serve(Name) ->
    register(Name, spawn(fun Loop() ->
        receive
            {'$gen_call', From, Request} -> gen_server:reply(From, Request);
            _ -> ok
        end,
        Loop()
    end)).

%% Values that are costly to make, or must not be made anew without end: atoms stay for ever.
pool() ->
    Atoms = ['', 'EXIT', 'a b', true, nil, '\\', '$gen_call', list_to_atom(lists:duplicate(255, $x)),
             list_to_atom(lists:duplicate(255, 16#1F600))] ++
        [list_to_atom([unicode() || _ <- lists:seq(1, rand:uniform(30))]) || _ <- lists:seq(1, 500)],
    Local = [self(), group_leader(), spawn(fun() -> ok end), make_ref(), alias([reply]), hd(erlang:ports())],
    {list_to_tuple(Atoms), list_to_tuple(Local)}.

term(0, Pool) -> flat(rand:uniform(10), Pool);
term(Depth, Pool) ->
    case rand:uniform(16) of
        1 -> list(Depth, Pool);
        2 -> list(Depth, Pool) ++ term(Depth - 1, Pool);
        3 -> list_to_tuple(list(Depth, Pool));
        4 -> maps:from_list([{term(Depth - 1, Pool), term(Depth - 1, Pool)} || _ <- list(1, Pool)]);
        5 -> maps:from_list([{rand:uniform(1 bsl 70), term(0, Pool)} || _ <- lists:seq(1, rand:uniform(60))]);
        6 -> Bound = term(Depth - 1, Pool), fun(Argument) -> {Argument, Bound} end;
        7 -> list_to_tuple([term(0, Pool) || _ <- lists:seq(1, rand:uniform(300))]);
        _ -> flat(rand:uniform(10), Pool)
    end.

list(Depth, Pool) -> [term(Depth - 1, Pool) || _ <- lists:seq(1, rand:uniform(6) - 1)].

flat(1, _) -> rand:uniform(700) - 350;
flat(2, _) -> sign() * (1 bsl rand:uniform(80) + rand:uniform(3) - 2);
flat(3, _) -> sign() * binary:decode_unsigned(rand:bytes(rand:uniform(700)));
flat(4, _) -> float();
flat(5, {Atoms, _}) -> element(rand:uniform(tuple_size(Atoms)), Atoms);
flat(6, _) -> rand:bytes(rand:uniform(80) - 1);
flat(7, _) -> Size = rand:uniform(100), <<Bits:Size/bitstring, _/bitstring>> = rand:bytes(13), Bits;
flat(8, {_, Local}) -> element(rand:uniform(tuple_size(Local)), Local);
flat(9, {Atoms, _} = Pool) ->
    case rand:uniform(3) of
        1 -> fun lists:map/2;
        2 -> erlang:make_fun(element(rand:uniform(tuple_size(Atoms)), Atoms), any, rand:uniform(256) - 1);
        3 -> foreign(Pool)
    end;
flat(10, _) -> [rand:uniform(256) - 1 || _ <- lists:seq(1, rand:uniform(40))].

sign() -> rand:uniform(2) * 2 - 3.

float() ->
    case rand:bytes(8) of
        <<Float/float>> -> Float;
        _ -> -0.0
    end.

unicode() ->
    case rand:uniform(4) of
        1 -> rand:uniform(16#D7FF);
        2 -> 16#E000 + rand:uniform(16#100000);
        _ -> $a + rand:uniform(26) - 1
    end.

%% Pids, ports and references of other nodes, and of other lives of this one.
foreign({_, _}) ->
    Node = element(rand:uniform(3), {'other@127.0.0.1', 'öther@host.example', node()}),
    Name = atom_to_binary(Node),
    Atom = <<119, (byte_size(Name)), Name/binary>>,
    Creation = rand:bytes(3),
    Words = rand:uniform(5),
    Body = case rand:uniform(4) of
        1 -> <<88, Atom/binary, (rand:bytes(8))/binary, 1, Creation/binary>>;
        2 -> <<89, Atom/binary, 0:4, (rand:uniform(1 bsl 28) - 1):28, 1, Creation/binary>>;
        3 -> <<120, Atom/binary, (rand:bytes(8))/binary, 1, Creation/binary>>;
        4 -> <<90, Words:16, Atom/binary, 1, Creation/binary, 0:14, (rand:uniform(1 bsl 18) - 1):18,
               (rand:bytes((Words - 1) * 4))/binary>>
    end,
    binary_to_term(<<131, Body/binary>>).
