//! A node of an Erlang cluster.
