%% The functions of fixture-node as Erlang has them.
-module(fixture).
-export([double/1, node_name/0, sleep/1, fail/1, throw/1, exit/1, reply_to/2]).

double(N) -> 2 * N.
node_name() -> node().
sleep(Milliseconds) -> timer:sleep(Milliseconds).
fail(Term) -> erlang:error(Term).
throw(Term) -> erlang:throw(Term).
exit(Term) -> erlang:exit(Term).
reply_to(Pid, Term) -> Pid ! Term, ok.
