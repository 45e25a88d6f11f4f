#!/usr/bin/env escript
%%! +pc unicode
%% Asks a real Erlang node what external terms mean. Writes one line for each input:
%%     input <TAB> canonical <TAB> text
%% `input` is what is decoded, in hex. `canonical` is how this node encodes the decoded term again (with
%% `[{minor_version, 2}, deterministic]`), or `error` if it refuses the input. `text` is the term as `~0tp` prints it,
%% or `-` if it has a value in it whose text depends on the node. The last line, `sort`, has the numbers of the
%% accepted lines in the order of `lists:sort/1` of their terms.
%%
%%     escript make.escript > otp25.txt
%% and with a later version's escript > otp27.txt.

main(_) ->
    io:setopts([{encoding, unicode}]),
    io:put_chars(["# OTP ", erlang:system_info(otp_release), ", ERTS ", erlang:system_info(version), "\n"]),
    Inputs = [encode(T, Options) || {T, Options} <- terms()] ++ [iolist_to_binary([131 | Raw]) || Raw <- raw()],
    Accepted = lists:append([line(N, Input) || {N, Input} <- lists:enumerate(Inputs)]),
    Sorted = lists:sort(fun({_, A}, {_, B}) -> A =< B end, Accepted),
    io:put_chars(["sort", [[$\t, integer_to_list(N)] || {N, _} <- Sorted], "\n"]).

line(N, Input) ->
    try binary_to_term(Input) of
        Term ->
            Canonical = term_to_binary(Term, [{minor_version, 2}, deterministic]),
            Text = case plain(Term) of
                true -> unicode:characters_to_binary(io_lib:format("~0tp", [Term]));
                false -> "-"
            end,
            io:put_chars([hex(Input), $\t, hex(Canonical), $\t, Text, $\n]),
            [{N, Term}]
    catch
        error:badarg ->
            io:put_chars([hex(Input), "\terror\t-\n"]),
            []
    end.

hex(Binary) -> string:lowercase(binary:encode_hex(Binary)).

plain(T) when is_pid(T); is_port(T); is_reference(T) -> false;
plain(T) when is_function(T) -> erlang:fun_info(T, type) =:= {type, external};
plain([H | T]) -> plain(H) andalso plain(T);
plain(T) when is_tuple(T) -> plain(tuple_to_list(T));
%% Larger maps are printed in the order of their hashes.
plain(T) when is_map(T) -> map_size(T) =< 32 andalso plain(maps:to_list(T));
plain(_) -> true.

encode(T, Options) -> term_to_binary(T, Options).

terms() ->
    [{T, []} || T <- values()] ++
    [{T, [{minor_version, 0}]} || T <- [1.5, -0.1, 1.0e300, {a, 2.0}, 'å', [1.0, 3.5]]] ++
    [{T, [{minor_version, 1}]} || T <- [1.5, 'å', 'α', {a, [b, c]}, #{a => b}]] ++
    [{T, [{minor_version, 2}]} || T <- ['å', ok, {a, [b, c]}, #{a => b, 1 => c}]] ++
    [{T, [compressed]} || T <- [lists:duplicate(1000, a), lists:seq(1, 500), binary:copy(<<"abc">>, 400), ok, {}]] ++
    [{T, [{compressed, L}]} || L <- [0, 1, 6, 9], T <- [lists:seq(1000, 1200), binary:copy(<<0>>, 5000)]] ++
    [{T, [deterministic]} || T <- [maps:from_list([{N, N * N} || N <- lists:seq(1, 40)]), #{1 => a, 1.0 => b, a => c, {} => d, [] => e, <<>> => f}]].

values() ->
    Big = [N + D || S <- [7, 8, 15, 16, 27, 28, 31, 32, 59, 60, 62, 63, 64, 65, 127, 128, 255, 256, 1000, 2032, 2040, 2048, 8000], N <- [1 bsl S], D <- [-1, 0, 1]],
    [0, 1, 255, 256, -1, -128, -129] ++ Big ++ [-N || N <- Big] ++
    [0.0, -0.0, 1.0, -1.0, 0.1, 1.5, 100.0, 1000.0, 1.0e5, 123456.789, 123456789.0, 1.0e15, 1.0e16, 1.0e21, 1.0e22, 1.0e23,
     0.01, 0.001, 0.0001, 0.00012, 1.0e-5, 1.0e-7, 1.2345e-10, 5.0e-324, 2.2250738585072014e-308, 1.7976931348623157e308,
     9007199254740991.0, 9007199254740992.0, 9007199254740994.0, 4503599627370497.5, 9.223372036854775e18, 9.223372036854775807e18,
     1.8446744073709552e19, 3.141592653589793, -2.5e-3, 0.3333333333333333, 12345678901234567.0, 1.0e100, -1.0e300] ++
    ['', ok, true, false, undefined, 'EXIT', 'a b', 'q a', a@b, 'a@b.c', '_a', 'a_B@1', '1a', 'A', 'å', 'ß', 'ÿ', '÷', '÷a', 'a÷', 'aÅ', '×', 'À', 'þ', 'Þ',
     'α', 'aα', '日本', '😀', 'after', 'and', 'andalso', 'band', 'begin', 'bnot', 'bor', 'bsl', 'bsr', 'bxor', 'case', 'catch', 'cond', 'div', 'end',
     'fun', 'if', 'let', 'not', 'of', 'or', 'orelse', 'receive', 'rem', 'try', 'when', 'xor', 'module', 'ª', 'µ',
     'a\nb', 'a\'b', 'a"b', 'a\\b', 'a\x{0}b', 'a\x{1f}b', 'a\x{7f}b', 'a\x{80}b', 'a\x{9f}b', 'a\x{a0}b', 'a\eb', 'a\b\t\v\f\r\s', 'a%b', 'a-b', 'a.b', '@a', a@, '{}', '[]', '$a',
     list_to_atom(lists:duplicate(255, $x)), list_to_atom(lists:duplicate(255, 16#20ac)), list_to_atom(lists:duplicate(255, 16#1f600)), list_to_atom(lists:duplicate(128, 16#e5))] ++
    [[], [[]], [[], []], [a], [a, b], [a | b], [1 | 2], [1, 2 | 3], [[a | b] | c], [a | <<>>], [a | {}], "abc", "a\"b\\c", [0], [7], [27, $a], [127], [128], [160], [229, 228], [945], [97, 945], [16#1f600],
     [16#d7ff], [16#d800], [16#fffe], [16#10ffff], [16#110000], [-1], [8, 9, 10, 11, 12, 13, 27], [97, b], [97 | b], [255], [256], [97, 256], lists:seq(0, 255), lists:duplicate(300, 1000), ["ab", "cd"], [[97], 98],
     [{a, 1}, {b, "x"}], [1.0], [a, [b, [c, [d]]]], [1, 1.0]] ++
    [{}, {a}, {{}}, {ok, 42, foo}, {a, {b, {c}}}, list_to_tuple(lists:duplicate(255, a)), list_to_tuple(lists:duplicate(256, 1)), {1, 1.0}, {1.0, 1}, {"text", <<"text">>}] ++
    [<<>>, <<0>>, <<7>>, <<"abc">>, <<"a\"\n\\">>, <<27, 8>>, <<127>>, <<128>>, <<195, 165>>, <<229>>, <<229, 97>>, <<"ä€"/utf8>>, <<"日本 😀"/utf8>>, <<16#ef, 16#bf, 16#bf>>, <<0:800>>, <<255, 254>>, <<160>>, <<"a", 160>>,
     <<1:1>>, <<0:1>>, <<5:3>>, <<255:7>>, <<97:7>>, <<1, 2:4>>, <<"abc", 1:3>>, <<1, 1:1>>, <<128>>, <<64>>] ++
    [#{}, #{a => 1}, #{1 => a, 1.0 => b}, #{a => 1, "k" => <<"v">>, 1 => 2, 1.0 => 3}, #{{1} => 1}, #{{1.0} => 1}, #{2 => 1}, #{1.0 => 1}, #{1 => b, 2 => a}, #{1.0 => a, 2 => b}, #{1 => 1}, #{1 => 1.0},
     #{#{} => #{}}, #{#{a => 1} => [#{b => 2}]}, #{[] => 1, {} => 2, <<>> => 3, <<1:1>> => 4, fun m:f/1 => 5, ok => 6, 3.0 => 7, 3 => 8, (1 bsl 70) => 9, [a] => 10, #{} => 11},
     maps:from_list([{N, -N} || N <- lists:seq(1, 32)]), maps:from_list([{N, -N} || N <- lists:seq(1, 33)]), maps:from_list([{float(N), N} || N <- lists:seq(1, 33)]),
     maps:from_list([{<<N>>, N} || N <- lists:seq(1, 50)]), maps:from_list([{list_to_atom("k" ++ integer_to_list(N)), N} || N <- lists:seq(1, 100)]), #{'__struct__' => 'Elixir.A', name => <<"x">>}] ++
    [fun lists:map/2, fun 'A':'b c'/1, fun m:f/255, fun m:f/0, fun n:a/1, {'$gen_call', {self_free, [alias | x]}, "req"}].

%% What term_to_binary/2 does not make (any more), without the version byte.
raw() ->
    [pid(N, I, S, C) || N <- ["a@x", "b@x"], I <- [0, 1, 2, 16#ffffffff], S <- [0, 1, 16#ffffffff], C <- [0, 1, 2, 16#ffffffff]] ++
    [[89, atom(N), <<I:32, C:32>>] || N <- ["a@x", "b@x"], I <- [1, 2, 16#0fffffff, 16#10000000, 16#ffffffff], C <- [1, 2]] ++
    [[120, atom(N), <<I:64, C:32>>] || N <- ["a@x", "b@x"], I <- [1, 2, 16#0fffffff, 16#10000000, 16#ffffffff, 16#100000000, 16#ffffffffffffffff], C <- [1, 2]] ++
    [reference("a@x", Ws, C) || Ws <- [[1], [1, 2], [2, 1], [1, 2, 3], [2, 1, 3], [9, 9, 9], [1, 1, 1, 0, 1], [1, 2, 3, 4, 5], [16#3ffff, 16#ffffffff, 16#ffffffff, 16#ffffffff, 16#ffffffff], [16#ffffffff, 1, 1]], C <- [1, 2]] ++
    [reference("b@x", [1, 1, 1], 1), reference("a@x", [1, 2, 3, 4, 5, 6], 1)] ++
    %% The old forms.
    [[103, atom("a@x"), <<5:32, 6:32, C>>] || C <- [0, 3, 4]] ++ [[102, atom("a@x"), <<5:32, C>>] || C <- [0, 3, 4]] ++
    [[101, atom("a@x"), <<5:32, C>>] || C <- [0, 3, 4]] ++ [[101, atom("a@x"), <<W:32, 1>>] || W <- [16#3ffff, 16#40000]] ++
    [[114, <<3:16>>, atom("a@x"), <<C, W:32, 7:32, 8:32>>] || C <- [0, 3, 4], W <- [1, 16#3ffff, 16#40000]] ++
    [[100, <<2:16>>, "ok"], [100, <<1:16>>, 229], [115, 2, "ok"], [115, 1, 229], [115, 0], [100, <<255:16>>, lists:duplicate(255, 229)], [100, <<256:16>>, lists:duplicate(256, $a)],
     [118, <<2:16>>, "ok"], [118, <<256:16>>, lists:duplicate(256, $a)], [118, <<1024:16>>, lists:duplicate(256, <<16#1f600/utf8>>)], [119, 2, 16#c3, 16#a5]] ++
    [[99, pad("1.50000000000000000000e+00")], [99, pad("-1.00000000000000005551e-01")], [99, pad("nan")], [99, pad("inf")], [99, pad("1e999")], [99, pad("")], [99, pad("x")]] ++
    %% Other than the shortest form.
    [[98, <<1:32>>], [98, <<-1:32>>], [110, 0, 0], [110, 1, 0, 5], [110, 1, 1, 5], [110, 1, 2, 5], [110, 4, 0, 1, 0, 0, 0], [110, 8, 0, <<255:64/little>>], [110, 8, 1, <<(1 bsl 63):64/little>>], [110, 8, 0, <<(1 bsl 63):64/little>>],
     [110, 1, 1, 0], [111, <<1:32>>, 0, 5], [111, <<0:32>>, 1], [110, 12, 0, <<7:96/little>>], [110, 12, 0, <<(1 bsl 90):96/little>>]] ++
    [[105, <<0:32>>], [105, <<2:32>>, 97, 1, 97, 2], [108, <<0:32>>, 106], [108, <<0:32>>, 97, 1], [108, <<1:32>>, 97, 1, 106], [108, <<3:32>>, 97, $a, 97, $b, 97, $c, 106], [107, <<0:16>>], [107, <<1:16>>, 200],
     [108, <<1:32>>, 97, 1, 108, <<1:32>>, 97, 2, 106], [108, <<1:32>>, 97, 1, 107, <<2:16>>, 2, 3], [108, <<1:32>>, 97, 1, 108, <<1:32>>, 97, 2, 97, 3], [108, <<1:32>>, 97, 1, 108, <<0:32>>, 106],
     [108, <<0:32>>, 108, <<0:32>>, 108, <<1:32>>, 97, 1, 106], [109, <<0:32>>]] ++
    [[77, <<1:32>>, 1, 255], [77, <<1:32>>, 8, 255], [77, <<2:32>>, 3, 1, 255], [77, <<1:32>>, 0, 255], [77, <<1:32>>, 9, 255], [77, <<0:32>>, 1], [77, <<0:32>>, 0], [77, <<3:32>>, 7, 1, 2, 3]] ++
    [[116, <<0:32>>], [116, <<2:32>>, 97, 2, 97, 1, 97, 1, 97, 2], [116, <<2:32>>, 97, 1, 97, 1, 97, 1, 97, 2], [116, <<2:32>>, 97, 1, 97, 1, 98, <<1:32>>, 97, 2],
     [116, <<2:32>>, 97, 1, 97, 1, 70, <<1.0/float>>, 97, 2], [116, <<2:32>>, 107, <<1:16>>, 5, 106, 108, <<1:32>>, 97, 5, 106, 106], [116, <<2:32>>, 119, 1, $a, 106, 100, <<1:16>>, $a, 106],
     [116, <<2:32>>, 109, <<1:32>>, 1, 106, 77, <<1:32>>, 8, 1, 106], [116, <<2:32>>, 106, 97, 1, 107, <<0:16>>, 97, 2], [116, <<2:32>>, 104, 1, 97, 1, 97, 1, 104, 1, 98, <<1:32>>, 97, 1],
     [116, <<2:32>>, 119, 2, 16#c3, 16#a5, 106, 115, 1, 229, 106], [116, <<2:32>>, 119, 1, $b, 97, 1, 119, 1, $a, 97, 2],
     [116, <<40:32>>, [[97, N, 106] || N <- lists:seq(0, 39)]], [116, <<40:32>>, [[97, N, 106] || N <- lists:seq(0, 38)], 98, <<5:32>>, 106]] ++
    [[113, atom("m"), atom("f"), 97, 3], [113, atom("m"), atom("f"), 98, <<3:32>>], [113, atom("m"), atom("f"), 98, <<-1:32>>], [113, 97, 1, atom("f"), 97, 3], [113, atom("m"), atom("f"), atom("x")]] ++
    [int_fun(0, []), int_fun(2, [[97, 1], [106]]), int_fun(1, [[109, <<3:32>>, "abc"]]), int_fun(1, [int_fun(0, [])]), int_fun(3, lists:duplicate(255, [97, 1]))] ++
    [[70, <<16#7ff8:16, 0:48>>], [70, <<16#7ff0:16, 0:48>>], [70, <<16#fff0:16, 0:48>>], [70, <<16#8000:16, 0:48>>], [119, 1, 255], [119, 2, 16#c0, 16#80], [119, 3, 16#ed, 16#a0, 16#80], [119, 4, 16#f4, 16#90, 16#80, 16#80], [119, 1, 0]] ++
    [[T, 0, 0, 0, 0, 0, 0, 0, 0] || T <- [0, 66, 68, 69, 71, 72, 74, 76, 78, 79, 80, 81, 82, 83, 96, 117, 121, 122, 131, 255]] ++
    [[], [97], [98, 0, 0], [104, 2, 97, 1], [105, <<16#ffffffff:32>>], [108, <<16#ffffffff:32>>], [109, <<16#ffffffff:32>>], [116, <<16#ffffffff:32>>], [111, <<16#ffffffff:32>>, 0], [77, <<16#ffffffff:32>>, 1], [107, <<16#ffff:16>>], [108, <<1:32>>, 97, 1]] ++
    [[97, 1, 0, 1, 2], [104, 0, 131]] ++
    [zip(4, term([97, 1, 106, 106])), zip(2, [97, 1]), zip(1, [97, 1]), zip(3, [97, 1]), zip(7, [131, 97, 1, 0, 0, 0, 0]), zip(2, [97, 1]) ++ [1, 2, 3], [80, <<2:32>>, 1, 2, 3], [80, <<2:32>>],
     [80, <<10:32>>, zlib:compress(iolist_to_binary(zip(2, [97, 1])))]].

term([A, B | _]) -> [104, 1, A, B].
zip(Len, Raw) -> [80, <<Len:32>>, zlib:compress(iolist_to_binary(Raw))].
atom(Text) -> [119, length(Text), Text].
pid(N, I, S, C) -> [88, atom(N), <<I:32, S:32, C:32>>].
reference(N, Words, C) -> [90, <<(length(Words)):16>>, atom(N), <<C:32>>, [<<W:32>> || W <- Words]].
pad(Text) -> [Text, lists:duplicate(31 - length(Text), 0)].
int_fun(Arity, Free) ->
    Rest = iolist_to_binary([Arity, lists:seq(1, 16), <<7:32, (length(Free)):32>>, atom("no_such_module"), 97, 7, 98, <<12345678:32>>, pid("a@x", 0, 0, 1), Free]),
    [112, <<(byte_size(Rest) + 4):32>>, Rest].
