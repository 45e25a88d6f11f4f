//! Erlang distribution: handshake, channel and control messages as pure state machines.
