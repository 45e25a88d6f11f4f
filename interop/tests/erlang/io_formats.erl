%% What Erlang's own io_lib makes of formats and their arguments, and devices that remember what they are asked.
-module(io_formats).
-export([serve/1, device/1]).

%% A process of this name answers calls with a list of {Format, Arguments} by a list of texts, or badarg.
serve(Name) ->
    register(Name, spawn(fun serve/0)).

serve() ->
    receive
        {'$gen_call', {_, [alias | Alias] = Tag}, Formats} ->
            Alias ! {Tag, [text(Format, Arguments) || {Format, Arguments} <- Formats]},
            serve()
    end.

text(Format, Arguments) ->
    try unicode:characters_to_binary(io_lib:format(Format, Arguments)) of
        Text when is_binary(Text) -> Text;
        _ -> badarg
    catch
        error:_ -> badarg
    end.

%% A device that keeps what is put, as OTP's io protocol has it; it answers `get` with all of it.
device(Name) ->
    register(Name, spawn(fun() -> device_loop([]) end)).

device_loop(Kept) ->
    receive
        {io_request, From, As, {put_chars, unicode, Chars}} ->
            From ! {io_reply, As, ok},
            device_loop([Kept, Chars]);
        {io_request, From, As, _} ->
            From ! {io_reply, As, {error, request}},
            device_loop(Kept);
        {get, From} ->
            From ! {kept, unicode:characters_to_list(Kept)},
            device_loop(Kept);
        stop ->
            ok
    end.
