//! `ping`, `call`, `rpc`, `cast` and `send`: a short-lived hidden node that asks another one for something.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use beamline::dist::handshake::{HandshakeFault, Violation};
use beamline::epmd;
use beamline::io;
use beamline::node::{ConnectError, Node};
use beamline::process::{CallError, Destination, ExitReason};
use beamline::rpc::RpcError;
use beamline::term::{Atom, ParseError, Term};
use beamline::world::World;
use tokio::sync::oneshot;

use crate::cluster::{Cluster, Cookie, NodeName, epmd_failure};
use crate::failure::Failure;

/// Ask a node whether it answers and takes this one for its own
#[derive(clap::Args)]
#[command(after_help = "Example:\n  beamline ping app@127.0.0.1 --cookie secret")]
pub(crate) struct PingArgs {
    /// The node, as NAME@HOST
    node: NodeName,
    #[command(flatten)]
    cluster: Cluster,
}

/// Call a gen_server, and print its reply in Erlang's syntax
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  beamline call app@127.0.0.1 counter '{add, 5}'
  beamline call app@127.0.0.1 Elixir.MyApp.Accounts '{fetch, 42}' --timeout 30
  beamline call app@127.0.0.1 application_controller which_applications")]
pub(crate) struct CallArgs {
    #[command(flatten)]
    to: To,
    /// The request, a term in Erlang's syntax
    #[arg(allow_negative_numbers = true)]
    term: String,
    /// How many seconds to wait for the reply
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    timeout: Duration,
}

/// Run a function of a node, and print what it returns; what it prints itself comes out here, too
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  beamline rpc app@127.0.0.1 erlang system_info otp_release
  beamline rpc app@127.0.0.1 io format '\"~p nodes~n\"' '[3]'
  beamline rpc app@127.0.0.1 Elixir.MyApp.Accounts fetch 42 '[preload]' --timeout 30

An Erlang or Elixir node runs any of its functions; a beamline node those that it exports.")]
pub(crate) struct RpcArgs {
    /// The node, as NAME@HOST
    node: NodeName,
    /// The module
    #[arg(value_parser = registered_name)]
    module: Atom,
    /// The function
    #[arg(value_parser = registered_name)]
    function: Atom,
    /// Its arguments, each a term in Erlang's syntax
    #[arg(value_name = "ARGUMENT", allow_negative_numbers = true)]
    arguments: Vec<String>,
    #[command(flatten)]
    cluster: Cluster,
    /// How many seconds to wait for it
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    timeout: Duration,
}

/// Cast to a gen_server: it gets the message, there is no reply
#[derive(clap::Args)]
#[command(after_help = "Example:\n  beamline cast app@127.0.0.1 counter '{add, 5}'")]
pub(crate) struct CastArgs {
    #[command(flatten)]
    to: To,
    /// The request, a term in Erlang's syntax
    #[arg(allow_negative_numbers = true)]
    term: String,
}

/// Send a plain message to a registered process, as `!` does
#[derive(clap::Args)]
#[command(after_help = "Example:\n  beamline send app@127.0.0.1 logger '{note, <<\"hello\">>}'")]
pub(crate) struct SendArgs {
    #[command(flatten)]
    to: To,
    /// The message, a term in Erlang's syntax
    #[arg(allow_negative_numbers = true)]
    term: String,
}

#[derive(clap::Args)]
struct To {
    /// The node, as NAME@HOST
    node: NodeName,
    /// The name under which the process is registered there
    #[arg(value_parser = registered_name)]
    name: Atom,
    #[command(flatten)]
    cluster: Cluster,
}

pub(crate) async fn ping(args: PingArgs) -> Result<String, Failure> {
    let client = Client::connect(&args.node, &args.cluster).await?;
    client.round_trip().await?;
    client.node.stop().await;
    Ok(Term::from(Atom::from_static("pong")).to_string())
}

pub(crate) async fn call(args: CallArgs) -> Result<Term, Failure> {
    let request = term(&args.term)?;
    let To { node, name, cluster } = args.to;
    let client = Client::connect(&node, &cluster).await?;
    let call = client.node.call::<Term, Term>((name.clone(), node.atom.clone()), request);
    let reply = call.timeout(args.timeout).await;
    client.node.stop().await;
    reply.map_err(|error| match error {
        CallError::NoProc => nobody(&name, &node),
        CallError::Timeout(after) => Failure::failed(format!(
            "{name} on {} did not reply within {after:?}; --timeout SECONDS waits longer",
            node.atom
        )),
        CallError::Exit(reason) => {
            Failure::failed(format!("{name} on {} ended before it replied: {reason}", node.atom))
        }
        error => Failure::failed(format!("{name} on {}: {error}", node.atom)),
    })
}

pub(crate) async fn rpc(args: RpcArgs) -> Result<String, Failure> {
    let arguments = args.arguments.iter().map(|text| term(text)).collect::<Result<Vec<_>, _>>()?;
    let client = Client::connect(&args.node, &args.cluster).await?;
    let called = format!("{}:{}/{} on {}", args.module, args.function, arguments.len(), args.node.atom);
    let rpc = client.node.rpc(args.node.atom.clone()).timeout(args.timeout);
    let result = rpc.call::<Term>(args.module, args.function, arguments).await;
    client.node.stop().await;
    let failed = |how: String| Err(Failure::failed(format!("{called} {how}")));
    match result {
        // A result of several lines is broken where Erlang's shell would break it.
        Ok(value) => io::format("~tp", &[value]).map_err(|error| Failure::failed(error.to_string())),
        Err(RpcError::Error { reason, stack }) if reason.is_atom("undef") => {
            failed(format!("is not there, or not exported (undef), or calls what is not there: {stack}"))
        }
        Err(RpcError::Error { reason, stack }) => failed(format!("failed: {reason} in {stack}")),
        Err(RpcError::Exit(reason)) => failed(format!("exited: {reason}")),
        Err(RpcError::Throw(thrown)) => failed(format!("threw {thrown}")),
        Err(RpcError::Timeout(after)) => {
            failed(format!("did not return within {after:?}; --timeout SECONDS waits longer"))
        }
        Err(error) => failed(format!("failed: {error}")),
    }
}

pub(crate) async fn cast(args: CastArgs) -> Result<Term, Failure> {
    // What `gen_server:cast/2` sends.
    let request = Term::tuple([Term::atom("$gen_cast"), term(&args.term)?]);
    deliver(args.to, request).await
}

pub(crate) async fn send(args: SendArgs) -> Result<Term, Failure> {
    deliver(args.to, term(&args.term)?).await
}

/// Sends a message, and makes sure that it has arrived: Erlang drops silently what nobody is there to receive.
async fn deliver(to: To, message: Term) -> Result<Term, Failure> {
    let To { node, name, cluster } = to;
    let client = Client::connect(&node, &cluster).await?;
    let there: Destination = (name.clone(), node.atom.clone()).into();
    let (sent, outcome) = oneshot::channel();
    let world = client.node.world().clone();
    let (node_of_process, peer) = (client.node.clone(), node.atom.clone());
    let spawned = client.node.spawn(|mut cx| async move {
        cx.monitor(there.clone());
        let done = cx.send(there, message);
        // One connection keeps the order: once this is answered the message has arrived, and so has the monitor's DOWN.
        let answer = node_of_process.try_ping(peer).await;
        let down = world.timeout(Duration::ZERO, cx.receive()).await;
        let _ = sent.send((done, answer, down.is_ok()));
        ExitReason::Normal
    });
    spawned.map_err(|error| Failure::failed(error.to_string()))?;
    let outcome = outcome.await;
    client.node.stop().await;
    match outcome {
        Ok((Ok(()), Ok(()), false)) => Ok(Term::atom("ok")),
        Ok((Ok(()), Ok(()), true)) => Err(nobody(&name, &node)),
        Ok((Err(error), _, _)) => Err(Failure::failed(error.to_string())),
        Ok((_, Err(error), _)) => Err(Failure::failed(format!("the connection was lost: {error}"))),
        Err(_) => Err(Failure::failed("the sending process ended early")),
    }
}

fn nobody(name: &Atom, node: &NodeName) -> Failure {
    Failure::failed(format!("no process is registered as {name} on {} (noproc)", node.atom))
}

/// A hidden node of this program that is connected to another.
struct Client {
    node: Node,
    peer: NodeName,
    cookie: Cookie,
}

impl Client {
    async fn connect(peer: &NodeName, cluster: &Cluster) -> Result<Self, Failure> {
        let cookie = cluster.cookie()?;
        find(peer, cluster.epmd_port()).await?;
        // Random, since the pids of two containers may be equal. Long names talk to long names, and short to short.
        let unique = RandomState::new().hash_one(0) & 0xFFFF_FFFF;
        let host = if peer.host.contains('.') { "127.0.0.1" } else { "localhost" };
        let node = Node::builder(format!("beamline-{}-{unique:08x}@{host}", std::process::id()))
            .cookie(&cookie.text)
            .hidden(true)
            .epmd(cluster.epmd("127.0.0.1"))
            .listen("127.0.0.1", 0)
            .start()
            .await
            .map_err(|error| Failure::failed(error.to_string()))?;
        let client = Self { node, peer: peer.clone(), cookie };
        client.node.connect(peer.atom.clone()).await.map_err(|error| client.connect_failure(&error))?;
        Ok(client)
    }

    async fn round_trip(&self) -> Result<(), Failure> {
        let peer = self.peer.atom.clone();
        self.node.try_ping(peer).await.map_err(|error| self.connect_failure(&error))
    }

    fn connect_failure(&self, error: &ConnectError) -> Failure {
        let (peer, cookie) = (&self.peer.atom, &self.cookie.origin);
        let fault = match error {
            ConnectError::Handshake(error) => Some(&error.fault),
            _ => None,
        };
        Failure::failed(match (error, fault) {
            // Erlang says nothing when the cookies differ.
            (ConnectError::Closed, _) => {
                format!(
                    "{peer} closed the connection; most likely its cookie is not ours, which is from {cookie}"
                )
            }
            (_, Some(HandshakeFault::WrongCookie)) => {
                format!("{peer} has another cookie than ours, which is from {cookie}")
            }
            (_, Some(HandshakeFault::Violation(Violation::WrongNode(name)))) => {
                format!("the node there is {name}, not {peer}; a node answers to its whole name only")
            }
            (error, _) => format!("cannot connect to {peer}: {error}"),
        })
    }
}

/// Asks EPMD for the node first, for an error that says more than that a connection failed.
async fn find(peer: &NodeName, epmd_port: u16) -> Result<(), Failure> {
    let world = World::tokio();
    let found = epmd::port_please(&world, &peer.host, epmd_port, &peer.alive).await;
    if found.map_err(|error| epmd_failure(&error))?.is_some() {
        return Ok(());
    }
    let known = epmd::names(&world, &peer.host, epmd_port).await.map(|names| names.nodes).unwrap_or_default();
    let known: Vec<_> = known.into_iter().map(|(name, _)| name).collect();
    let known = if known.is_empty() { "no node".to_owned() } else { known.join(", ") };
    Err(Failure::failed(format!(
        "no node {} is registered with EPMD at {}:{epmd_port}, which knows {known}",
        peer.atom, peer.host
    )))
}

/// The text is an atom in Erlang's syntax, or the name as it is: `Elixir.MyApp` needs no quotes.
fn registered_name(text: &str) -> Result<Atom, String> {
    match text.parse::<Term>() {
        Ok(Term::Atom(name)) => Ok(name),
        _ => Atom::new(text).map_err(|error| error.to_string()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn term(text: &str) -> Result<Term, Failure> {
    text.parse().map_err(|error| Failure::usage(not_a_term(text, &error)))
}

/// The fault, and a caret under the character where it is.
fn not_a_term(text: &str, error: &ParseError) -> String {
    let before = text.get(..error.offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let column = before[line_start..].chars().count();
    format!("not a term in Erlang's syntax: {}\n  {line}\n  {:column$}^", error.kind, "")
}

#[cfg(test)]
mod tests {
    use super::{not_a_term, registered_name, seconds};
    use beamline::term::Term;

    fn fault(text: &str) -> String {
        not_a_term(text, &text.parse::<Term>().unwrap_err())
    }

    #[test]
    fn the_caret_stands_under_the_fault_also_after_wide_characters_and_lines() {
        assert!(fault("{add, }").ends_with("\n  {add, }\n        ^"), "{}", fault("{add, }"));
        assert!(fault("{\"é\", }").ends_with("\n  {\"é\", }\n        ^"), "{}", fault("{\"é\", }"));
        assert!(fault("{a,\n [1, ]}").ends_with("\n   [1, ]}\n       ^"), "{}", fault("{a,\n [1, ]}"));
        assert!(fault("[1,").ends_with("\n  [1,\n     ^"), "{}", fault("[1,"));
    }

    #[test]
    fn a_name_is_an_atom_or_the_text_itself() {
        assert_eq!(registered_name("counter").unwrap().as_str(), "counter");
        assert_eq!(registered_name("'my server'").unwrap().as_str(), "my server");
        assert_eq!(registered_name("Elixir.MyApp").unwrap().as_str(), "Elixir.MyApp");
    }

    #[test]
    fn a_timeout_is_a_number_of_seconds_that_is_not_negative() {
        assert_eq!(seconds("0.25").unwrap().as_millis(), 250);
        assert!(seconds("-1").is_err() && seconds("soon").is_err() && seconds("NaN").is_err());
    }
}
