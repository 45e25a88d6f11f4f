//! Topics that are shared with Phoenix.PubSub. `cargo run --example phoenix_pubsub`

use beamline::gen_server::GenServer;
use beamline::node::Node;
use beamline::pg::phoenix::{self, PubSub};
use beamline::pg::{Limits, Scope};
use beamline::process::{Context, ExitReason};
use beamline::term::Term;
use tokio::sync::mpsc;

const PUBSUB: &str = "Elixir.MyApp.PubSub";
const TOPIC: &str = "room:1";

async fn node(name: &'static str) -> Result<Node, Box<dyn std::error::Error>> {
    let node = Node::builder(name).cookie("secret").start().await?;
    Scope::start(&node, Limits::default()).name(phoenix::SCOPE).await?;
    PubSub::start(&node, phoenix::Options::default()).name(PUBSUB).await?;
    Ok(node)
}

/// Answers `{ping, N}` on the topic with `{pong, N}` to all others, and says what it hears.
async fn answer(mut cx: Context<Term>, heard: mpsc::UnboundedSender<String>) -> ExitReason {
    let pubsub = cx.pubsub(PUBSUB);
    if let Err(error) = pubsub.subscribe(TOPIC, cx.pid()).await {
        return ExitReason::from(error);
    }
    let _ = heard.send("has subscribed".to_owned());
    loop {
        let message = cx.receive().await;
        let _ = heard.send(format!("hears {message}"));
        if let Some([tag, n]) = message.as_tuple()
            && tag.is_atom("ping")
        {
            let pong = Term::tuple([Term::atom("pong"), n.clone()]);
            if let Err(error) = pubsub.broadcast_from(cx.pid(), TOPIC, &pong) {
                return ExitReason::from(error);
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (one, two) = (node("one@127.0.0.1").await?, node("two@127.0.0.1").await?);
    let (heard_by_one, mut one_heard) = mpsc::unbounded_channel();
    let (heard_by_two, mut two_heard) = mpsc::unbounded_channel();
    one.spawn(|cx| answer(cx, heard_by_one))?;
    two.spawn(|cx| answer(cx, heard_by_two))?;
    let say = |who: &str, what: Option<String>| println!("{who} {}", what.unwrap_or_default());
    say("one", one_heard.recv().await);
    say("two", two_heard.recv().await);

    one.connect("two@127.0.0.1").await?;
    // Before they know of each other's workers nothing goes from one to the other.
    let adapter = Term::atom("Elixir.MyApp.PubSub.Adapter");
    let knows = |node: &Node| node.pg(phoenix::SCOPE).get_members(adapter.clone()).len() == 2;
    while !(knows(&one) && knows(&two)) {
        tokio::task::yield_now().await;
    }
    println!("both know both");

    one.pubsub(PUBSUB).broadcast(TOPIC, &Term::tuple([Term::atom("ping"), Term::from(1)]))?;
    // Each hears the ping, and the other's pong.
    for _ in 0..2 {
        say("one", one_heard.recv().await);
        say("two", two_heard.recv().await);
    }

    // With `--wait` one of them stays for Elixir, in a project that depends on phoenix_pubsub:
    //   iex --name me@127.0.0.1 --cookie secret -S mix
    //   iex> Phoenix.PubSub.Supervisor.start_link(name: MyApp.PubSub); Node.connect(:"one@127.0.0.1")
    //   iex> Phoenix.PubSub.subscribe(MyApp.PubSub, "room:1"); Phoenix.PubSub.broadcast(MyApp.PubSub, "room:1", {:ping, 2}); flush()
    two.stop().await;
    while std::env::args().any(|arg| arg == "--wait") {
        say("one", one_heard.recv().await);
    }
    one.stop().await;
    Ok(())
}
