//! `fixture-node`: one small node with a fixed set of processes, so that any client of the Erlang distribution can be pointed at
//! it and judge it. Written only against beamline's public API.

mod alias_server;
mod counter;
mod echo;
mod functions;
mod relations;
mod tls;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use beamline::application::{Application, StartType};
use beamline::epmd::EpmdError;
use beamline::global;
use beamline::node::{Node, NodeStartError};
use beamline::pg;
use beamline::supervisor::{ChildSpec, SupervisorSpec};
use beamline::term::Atom;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// A node with an application of the processes echo, counter, relations and alias_server, for any client to judge.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// The node's name: a host with a dot makes a long name, one without a short name
    #[arg(long, value_name = "NAME@HOST")]
    name: String,
    /// The secret that the cluster shares
    #[arg(long)]
    cookie: String,
    /// The EPMD to register with; the embedded one is started if none answers
    #[arg(long, default_value_t = beamline::epmd::EPMD_PORT)]
    epmd_port: u16,
    /// The port to listen on; 0 is any free port
    #[arg(long, default_value_t = 0)]
    listen_port: u16,
    /// Do not show in the nodes() of others
    #[arg(long)]
    hidden: bool,
    /// After how many seconds of silence a peer is taken for dead; the same on both sides of a connection
    #[arg(long, default_value_t = 60)]
    net_ticktime: u64,
    /// Speak TLS: with a certificate and its key, and, if there is a CA, only with nodes that have a certificate of it (all are files
    /// in PEM); or with a certificate that the node makes itself, which nobody can verify and which is for tests: auto
    #[arg(long, value_name = "auto|CERT,KEY[,CA]")]
    tls: Option<tls::TlsOption>,
    /// Connect to this node at the start; may be repeated
    #[arg(long, value_name = "NODE")]
    peer: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) if error.use_stderr() => {
            // One line: a test reads it.
            let text = error.to_string();
            eprintln!("{}", text.lines().next().unwrap_or("bad options"));
            return ExitCode::from(2);
        }
        Err(help) => {
            print!("{help}");
            return ExitCode::SUCCESS;
        }
    };
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fixture-node: {error}");
            ExitCode::from(match error.downcast_ref::<NodeStartError>() {
                Some(NodeStartError::Name { .. } | NodeStartError::Cookie | NodeStartError::Tls(_)) => 2,
                Some(NodeStartError::Epmd(EpmdError::NameTaken { .. })) | Some(_) | None => 1,
            })
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    // Before anyone can find the node: a signal that follows must stop it in order.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let host = options.name.split_once('@').map_or("", |(_, host)| host);
    let tls = options.tls.map(|it| it.tls(host)).transpose()?;
    let builder = Node::builder(options.name)
        .cookie(options.cookie)
        .epmd_port(options.epmd_port)
        .listen("0.0.0.0", options.listen_port)
        .hidden(options.hidden)
        .global(global::Options::default())
        .net_ticktime(Duration::from_secs(options.net_ticktime), 4);
    let builder = match tls {
        Some(tls) => builder.tls(tls),
        None => builder,
    };
    let node = builder.start().await?;
    functions::export(&node);
    let tree = SupervisorSpec::one_for_one()
        .intensity(100, Duration::from_secs(10))
        .child(ChildSpec::worker::<pg::Scope>("pg", pg::Limits::default()).name("pg"))
        .child(ChildSpec::worker::<echo::Echo>("echo", ()).name("echo"))
        .child(ChildSpec::worker::<counter::Counter>("counter", ()).name("counter"))
        .child(ChildSpec::worker::<relations::Relations>("relations", ()).name("relations"))
        .child(ChildSpec::worker::<alias_server::AliasServer>("alias_server", ()).name("alias_server"));
    let fixture = Application::new("fixture")
        .description("processes for any client of the distribution to judge")
        .vsn(env!("CARGO_PKG_VERSION"))
        .root(ChildSpec::supervisor("fixture_sup", tree).name("fixture_sup"));
    node.load_application(fixture).await?;
    node.start_application("fixture", StartType::Temporary).await?;
    for peer in options.peer {
        let peer = Atom::new(&peer)?;
        if let Err(error) = node.connect(peer.clone()).await {
            eprintln!("fixture-node: not connected to {peer}: {error}");
        }
    }
    println!("ready {} port={}", node.name().as_str(), node.port());
    std::io::stdout().flush()?;
    let told = async {
        tokio::select! {
            biased;
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    node.run_until(told).await?;
    Ok(())
}
