//! The Erlang Port Mapper Daemon: its messages and registry (pure), a client and a server.
