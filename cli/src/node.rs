//! `beamline node`: a node with a server called `echo`, until it is interrupted.

use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::node::Node;
use beamline::process::ExitReason;
use beamline::term::{Atom, Term};
use tokio::signal::unix::{SignalKind, signal};

use crate::cluster::{Cluster, NodeName};
use crate::failure::Failure;
use crate::print;

/// Run a node with a server called echo, until Ctrl-C
///
/// The server replies to a call with its request, and prints casts and other messages. The nodes that connect and disconnect are
/// printed, too.
#[derive(clap::Args)]
#[command(after_help = "\
A HOST with a dot makes a long name (erl -name), one without a short name (erl -sname).
If no EPMD runs on this host, the node is one itself.

Example, with Erlang as the other side:
  beamline node shop@127.0.0.1 --cookie secret
  erl -name app@127.0.0.1 -setcookie secret
  1> net_adm:ping('shop@127.0.0.1').
  2> gen_server:call({echo, 'shop@127.0.0.1'}, {hello, 1}).")]
pub(crate) struct Args {
    /// The node's name, as NAME@HOST
    name: NodeName,
    #[command(flatten)]
    cluster: Cluster,
    /// Do not show in the nodes() of others
    #[arg(long)]
    hidden: bool,
    /// The address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0")]
    listen: String,
    /// The port to listen on; 0 is any free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    listen_port: u16,
    /// Connect to this node at the start; may be repeated
    #[arg(long, value_name = "NODE")]
    peer: Vec<NodeName>,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::failed(error.to_string());
    let cookie = args.cluster.cookie()?.text;
    // Before anyone can find the node: a signal that follows must stop it in order.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| failed(&error))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| failed(&error))?;
    let node = Node::builder(args.name.atom.as_str())
        .cookie(cookie)
        .hidden(args.hidden)
        .epmd(args.cluster.epmd(&args.listen))
        .listen(args.listen, args.listen_port)
        .start()
        .await
        .map_err(|error| failed(&error))?;
    let echo = Echo::start(&node, ()).name("echo").await.map_err(|error| failed(&error))?;
    print(format_args!("ready {} port={}", node.name().as_str(), node.port()))?;
    for peer in args.peer {
        if let Err(error) = node.connect(peer.atom.clone()).await {
            print(format_args!("not connected to {}: {error}", peer.atom))?;
        }
    }
    tokio::select! {
        biased;
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    // First, so that it does not tell of the connections that the stop closes.
    echo.stop(ExitReason::Shutdown).await;
    node.stop().await;
    print("stopped")
}

struct Echo;

impl GenServer for Echo {
    type Args = ();
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;

    async fn init((): (), cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.monitor_nodes(true);
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        request: Term,
        from: ReplyTo<Term>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(request))
    }

    async fn handle_cast(&mut self, cast: Term, _: &mut Context<Self>) -> Result<(), ExitReason> {
        show(format_args!("cast {cast}"));
        Ok(())
    }

    /// Nodes that come and go; and `{From, Term}`, which is answered with `{echo, Term}`.
    async fn handle_info(&mut self, info: Term, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match info.as_tuple() {
            Some([event, Term::Atom(node)]) if event.is_atom("nodeup") => show(format_args!("nodeup {node}")),
            Some([event, Term::Atom(node)]) if event.is_atom("nodedown") => {
                show(format_args!("nodedown {node}"));
            }
            Some([Term::Pid(from), term]) => {
                show(format_args!("message {info}"));
                // A sender that has ended gets nothing, as in Erlang.
                let _ = cx.send(from, (Atom::from_static("echo"), term.clone()));
            }
            _ => show(format_args!("message {info}")),
        }
        Ok(())
    }
}

/// The node runs on if nobody reads what it prints.
fn show(line: std::fmt::Arguments<'_>) {
    let _ = print(line);
}
