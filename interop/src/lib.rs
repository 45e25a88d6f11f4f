//! Tests of beamline against live Erlang and Elixir nodes
