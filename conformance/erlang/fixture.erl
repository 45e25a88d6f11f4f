%% The processes and functions of fixture-node for a stock Erlang, so that the suite can judge it with the same calls.
-module(fixture).
-behaviour(gen_server).
-behaviour(supervisor).
-compile({no_auto_import, [exit/1, throw/1]}).

-export([start/0, start_server/1, init/1, handle_call/3, handle_cast/2, handle_info/2, victim/0]).
-export([reply_to/2, double/1, node_name/0, sleep/1, fail/1, throw/1, exit/1]).

%% Starts all, under a process that lives as long as the node.
start() ->
    Self = self(),
    Starter = spawn(fun() ->
        {ok, _} = pg:start_link(),
        {ok, _} = supervisor:start_link({local, fixture_sup}, ?MODULE, supervisor),
        Self ! {self(), started},
        receive stop -> ok end
    end),
    receive {Starter, started} -> ok end.

start_server(Name) -> gen_server:start_link({local, Name}, ?MODULE, {server, Name}, []).

init(supervisor) ->
    Servers = [#{id => Name, start => {?MODULE, start_server, [Name]}}
               || Name <- [echo, counter, relations, alias_server]],
    {ok, {#{strategy => one_for_one, intensity => 100, period => 10}, Servers}};
init({server, echo}) ->
    ok = pg:join(fixture, self()),
    {ok, {echo, none}};
init({server, counter}) -> {ok, {counter, 0}};
init({server, relations}) ->
    process_flag(trap_exit, true),
    {ok, {relations, []}};
init({server, alias_server}) -> {ok, {alias_server, {none, []}}}.

handle_call(Request, From, {Name, State}) ->
    case call(Name, Request, From, State) of
        {reply, Reply, Next} -> {reply, Reply, {Name, Next}};
        {stop, Reason, Reply, Next} -> {stop, Reason, Reply, {Name, Next}};
        noreply -> {noreply, {Name, State}}
    end.

call(echo, Term, _, State) -> {reply, Term, State};
call(counter, get, _, Count) -> {reply, Count, Count};
call(counter, {add, N}, _, Count) -> {reply, Count + N, Count + N};
call(counter, {stop, Reason}, _, Count) -> {stop, Reason, ok, Count};
call(counter, crash, _, _) -> error(crash);
call(counter, noreply, _, _) -> noreply;
call(counter, {delay, Ms, Term}, From, _) ->
    spawn(fun() -> timer:sleep(Ms), gen_server:reply(From, Term) end),
    noreply;
call(relations, log, _, Log) -> {reply, lists:reverse(Log), []};
call(relations, {link, Pid}, _, Log) -> link(Pid), {reply, ok, Log};
call(relations, {unlink, Pid}, _, Log) -> unlink(Pid), {reply, ok, Log};
call(relations, {monitor, Item}, _, Log) -> {reply, monitor(process, Item), Log};
call(relations, {demonitor, Ref}, _, Log) -> demonitor(Ref, [flush]), {reply, ok, Log};
call(relations, {monitor_node, Node, Bool}, _, Log) -> monitor_node(Node, Bool), {reply, ok, Log};
call(relations, {spawn_victim}, _, Log) -> {reply, {ok, spawn(?MODULE, victim, [])}, Log};
call(relations, {exit, Pid, Reason}, _, Log) -> erlang:exit(Pid, Reason), {reply, ok, Log};
call(alias_server, new, _, {Former, Log}) ->
    Former =:= none orelse unalias(Former),
    Alias = alias(),
    {reply, Alias, {Alias, Log}};
call(alias_server, drop, _, {Alias, Log}) ->
    Alias =:= none orelse unalias(Alias),
    {reply, ok, {none, Log}};
call(alias_server, log, _, {Alias, Log}) -> {reply, lists:reverse(Log), {Alias, []}}.

handle_cast({send, Pid, Term}, {echo, _} = State) -> Pid ! Term, {noreply, State};
handle_cast({add, N}, {counter, Count}) -> {noreply, {counter, Count + N}};
handle_cast(_, State) -> {noreply, State}.

handle_info({From, Term}, {echo, _} = State) when is_pid(From) -> From ! {echo, Term}, {noreply, State};
handle_info(Info, {relations, Log}) -> {noreply, {relations, [Info | Log]}};
handle_info(Info, {alias_server, {Alias, Log}}) -> {noreply, {alias_server, {Alias, [Info | Log]}}};
handle_info(_, State) -> {noreply, State}.

victim() ->
    receive
        {stop, Reason} -> erlang:exit(Reason);
        _ -> ?MODULE:victim()
    end.

reply_to(Pid, Term) -> Pid ! Term.
double(N) -> 2 * N.
node_name() -> node().
sleep(Ms) -> timer:sleep(Ms).
fail(Reason) -> erlang:error(Reason).
throw(Term) -> erlang:throw(Term).
exit(Reason) -> erlang:exit(Reason).
