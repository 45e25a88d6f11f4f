//! A daemon in place of Erlang's `epmd`, with its options: `-names` and `--names` are the same.

use std::ffi::OsString;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use beamline::epmd::client::ask;
use beamline::epmd::{EPMD_PORT, EpmdError, Request, Server, ServerOptions, names};
use beamline::world::World;
use clap::{ArgAction, Parser};

/// Erlang Port Mapper Daemon: tells nodes where the other nodes of this host listen.
#[derive(Debug, Parser)]
#[command(
    name = "beamline-epmd",
    version,
    after_help = "Long options may begin with one dash, as those of epmd."
)]
struct Options {
    /// The port of the daemon
    #[arg(long, env = "ERL_EPMD_PORT", default_value_t = EPMD_PORT)]
    port: u16,
    /// Listen on these addresses only, and on 127.0.0.1 [default: all]
    #[arg(long, env = "ERL_EPMD_ADDRESS", value_delimiter = ',')]
    address: Vec<String>,
    /// Let local clients end the daemon while nodes are registered, and unregister nodes
    #[arg(long = "relaxed_command_check")]
    relaxed_command_check: bool,
    /// Close a connection whose request is not there within so many seconds
    #[arg(long = "packet_timeout", value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    packet_timeout: u64,
    /// Run in the background
    #[arg(long)]
    daemon: bool,
    /// Write what happens to the standard error stream; twice for more
    #[arg(short, long, action = ArgAction::Count)]
    debug: u8,
    /// List the nodes that are registered with the running daemon
    #[arg(long, conflicts_with_all = ["kill", "stop", "daemon"])]
    names: bool,
    /// End the running daemon
    #[arg(long, conflicts_with_all = ["stop", "daemon"])]
    kill: bool,
    /// Unregister a node from the running daemon
    #[arg(long, value_name = "NAME", conflicts_with = "daemon")]
    stop: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse_from(std::env::args_os().map(long_option));
    let world = World::tokio();
    let done = if options.names {
        list(&world, options.port).await
    } else if options.kill {
        kill(&world, options.port).await
    } else if let Some(name) = &options.stop {
        stop(&world, options.port, name).await
    } else if options.daemon {
        daemonize(&world, options.port).await
    } else {
        serve(&world, options).await
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("epmd: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Erlang's options are long ones with a single dash.
fn long_option(arg: OsString) -> OsString {
    match arg.to_str() {
        Some(text) if text.len() > 2 && text.starts_with('-') && !text.starts_with("--") => {
            let name = text.trim_start_matches('-').split('=').next().unwrap_or_default();
            // `-dd` is the short option twice.
            if name.bytes().all(|byte| byte == b'd') { arg } else { format!("-{text}").into() }
        }
        _ => arg,
    }
}

async fn list(world: &World, port: u16) -> Result<(), String> {
    let answer = names(world, "127.0.0.1", port).await.map_err(|error| error.to_string())?;
    println!("epmd: up and running on port {} with data:", answer.epmd_port);
    for (name, port) in answer.nodes {
        println!("name {name} at port {port}");
    }
    Ok(())
}

async fn kill(world: &World, port: u16) -> Result<(), String> {
    match ask(world, "127.0.0.1", port, &Request::Kill).await.map_err(|error| error.to_string())?.as_slice() {
        b"OK" => {
            println!("Killed");
            Ok(())
        }
        b"NO" => Err("killing is not allowed while nodes are registered".to_owned()),
        other => Err(format!("the daemon answered {:?}", String::from_utf8_lossy(other))),
    }
}

async fn stop(world: &World, port: u16, name: &str) -> Result<(), String> {
    match ask(world, "127.0.0.1", port, &Request::Stop(name.as_bytes().to_vec())).await {
        Ok(answer) if answer == b"STOPPED" => {
            println!("STOPPED");
            Ok(())
        }
        Ok(answer) if answer.starts_with(b"NOEXIST") => Err(format!("no node {name} is registered")),
        Ok(answer) => Err(format!("the daemon answered {:?}", String::from_utf8_lossy(&answer))),
        Err(EpmdError::Closed { .. }) => {
            Err("the daemon does not allow it: it runs without -relaxed_command_check".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

async fn serve(world: &World, options: Options) -> Result<(), String> {
    let mut server = ServerOptions::default();
    server.port = options.port;
    server.packet_timeout = Duration::from_secs(options.packet_timeout);
    // Set at all, the variable counts, whatever its value.
    server.relaxed_command_check =
        options.relaxed_command_check || std::env::var_os("ERL_EPMD_RELAXED_COMMAND_CHECK").is_some();
    // Where the system has IPv6, its unspecified address takes both.
    let candidates = if options.address.is_empty() {
        vec![vec!["::".to_owned()], vec!["0.0.0.0".to_owned()]]
    } else {
        let mut addresses = options.address.clone();
        if !addresses.iter().any(|address| matches!(address.as_str(), "127.0.0.1" | "0.0.0.0" | "::")) {
            addresses.push("127.0.0.1".to_owned());
        }
        vec![addresses]
    };
    if options.debug > 0 {
        log::install(options.debug);
    }
    let mut failure = String::new();
    for addresses in candidates {
        server.addresses = addresses;
        match Server::start(world, server.clone()).await {
            Ok(running) => {
                running.ended().await;
                return Ok(());
            }
            // Each node that starts tries to run a daemon; the one that is there will do.
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                eprintln!("epmd: port {} is taken: a daemon runs already", options.port);
                return Ok(());
            }
            Err(error) => {
                failure =
                    format!("cannot listen on {} port {}: {error}", server.addresses.join(","), options.port);
            }
        }
    }
    Err(failure)
}

/// Starts this program anew, without a terminal and in a process group of its own, and waits until it answers.
async fn daemonize(world: &World, port: u16) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let args =
        std::env::args_os().skip(1).filter(|arg| !matches!(arg.to_str(), Some("-daemon" | "--daemon")));
    let mut command = std::process::Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn().map_err(|error| format!("cannot start the daemon: {error}"))?;
    loop {
        if names(world, "127.0.0.1", port).await.is_ok() {
            return Ok(());
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("the daemon ended at once: {status}"));
        }
        world.sleep(Duration::from_millis(20)).await;
    }
}

/// Where `-debug` writes to: a subscriber of one line an event, since the daemon needs no more.
mod log {
    use std::fmt::{Debug, Write as _};

    use tracing::field::{Field, Visit};
    use tracing::{Event, Level, Metadata, Subscriber, span};

    struct ToStderr {
        most: Level,
    }

    pub(super) fn install(verbosity: u8) {
        let most = if verbosity > 1 { Level::TRACE } else { Level::DEBUG };
        // This is the program's only subscriber, so none can be in the way.
        let _ = tracing::subscriber::set_global_default(ToStderr { most });
    }

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            // Writing to a string cannot fail.
            let _ = match field.name() {
                "message" => write!(self.0, " {value:?}"),
                name => write!(self.0, " {name}={value:?}"),
            };
        }
    }

    impl Subscriber for ToStderr {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.is_event() && *metadata.level() <= self.most
        }

        fn event(&self, event: &Event<'_>) {
            let mut line = Line(format!("epmd: {}", event.metadata().level()));
            event.record(&mut line);
            eprintln!("{}", line.0);
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }
}
