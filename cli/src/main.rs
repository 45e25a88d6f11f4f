//! `beamline`: without an argument the demo, else a small tool for the nodes of any Erlang, Elixir or beamline cluster.

mod client;
mod cluster;
mod demo;
mod failure;
mod names;
mod node;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  beamline                                       the demo: Rust nodes, and an Erlang one if erl is installed
  beamline node shop@127.0.0.1 --cookie secret   run a node with a server called echo
  beamline names                                 which nodes run on this host
  beamline ping app@127.0.0.1                    does the node answer, and is the cookie right
  beamline call shop@127.0.0.1 echo '{hello, [1, 2.5, <<\"text\">>]}'
  beamline rpc app@127.0.0.1 erlang system_info process_count

The cookie is that of --cookie, else of the variable BEAMLINE_COOKIE, else of the file ~/.erlang.cookie.
Exit codes: 0 done, 1 failed, 2 the command line is wrong.";

/// Talk to the nodes of an Erlang, Elixir or beamline cluster, or run one.
///
/// Without a command it runs a demo that takes a few seconds and touches nothing outside this host.
#[derive(Parser)]
#[command(name = "beamline", version, after_help = EXAMPLES)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    Node(node::Args),
    Ping(client::PingArgs),
    Call(client::CallArgs),
    Rpc(client::RpcArgs),
    Cast(client::CastArgs),
    Send(client::SendArgs),
    Names(names::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Options::parse().command {
        None => demo::run().await,
        Some(Command::Node(args)) => node::run(args).await,
        Some(Command::Ping(args)) => client::ping(args).await.and_then(print),
        Some(Command::Call(args)) => client::call(args).await.and_then(print),
        Some(Command::Rpc(args)) => client::rpc(args).await.and_then(print),
        Some(Command::Cast(args)) => client::cast(args).await.and_then(print),
        Some(Command::Send(args)) => client::send(args).await.and_then(print),
        Some(Command::Names(args)) => names::run(args).await.and_then(print),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // There is nobody else to tell if this fails.
            let _ = writeln!(std::io::stderr(), "beamline: {failure}");
            failure.exit_code()
        }
    }
}

/// Prints a line at once, also into a pipe. A reader that has gone away is a failure, not a panic.
fn print(line: impl std::fmt::Display) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::failed(format!("cannot write to the standard output: {error}")))
}
