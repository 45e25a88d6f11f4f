#!/bin/sh
# A stock Erlang node with the processes of fixture-node: node.sh NAME@HOST COOKIE EPMD-PORT TICKTIME
# It runs until it is told to end. BEAMLINE_ERL names another `erl` than that of the path.
case ${1#*@} in *.*) kind=-name ;; *) kind=-sname ;; esac
source=$(dirname "$0")/fixture.erl
export ERL_EPMD_PORT="$3" ERL_CRASH_DUMP_SECONDS=0
exec "${BEAMLINE_ERL:-erl}" -noinput -boot no_dot_erlang -start_epmd false "$kind" "$1" -setcookie "$2" \
    -kernel net_ticktime "$4" logger_level critical \
    -eval "{ok, M, B} = compile:file(\"$source\", [binary]), {module, M} = code:load_binary(M, \"fixture\", B), fixture:start(), io:put_chars(\"ready $1\\n\")."
