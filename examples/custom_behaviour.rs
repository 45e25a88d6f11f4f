//! A behaviour of one's own: a trait whose implementors become servers. It is built as the library's own behaviours are, on `GenServer`, so it has
//! names, supervision, calls from Erlang, `sys` and panics that are exit reasons without a line for them.
//!
//! `cargo run --example custom_behaviour`

use std::time::Duration;

use beamline::gen_server::{Server, Start};
use beamline::prelude::*;
use serde::Deserialize;

/// The behaviour: something is looked up again and again, and whoever asks gets what was found last.
trait Poller: Sized + Send + 'static {
    type Args: Send + 'static;
    type Value: serde::Serialize + Clone + Send + Sync + 'static;

    fn init(args: Self::Args) -> Result<Self, ExitReason>;

    /// Looks it up once.
    fn poll(&mut self) -> impl Future<Output = Result<Self::Value, ExitReason>> + Send;

    /// How often.
    fn interval(&self) -> Duration;

    /// Starts one; what it returns is a server like any other.
    fn start(node: &Node, args: Self::Args) -> Start<Polling<Self>> {
        Polling::start(node, args)
    }
}

/// The server that every poller is.
struct Polling<P: Poller> {
    poller: P,
    last: Option<P::Value>,
    polls: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    Last,
    Polls,
}

/// What is sent by the timer only: it is moved here, and no message of another process is read as one.
#[derive(Clone, Deserialize)]
enum Tick {
    #[serde(skip)]
    Poll,
    #[serde(other)]
    Unknown,
}

#[derive(serde::Serialize)]
#[serde(untagged)]
enum Answer<V> {
    Last(Option<V>),
    Polls(u32),
}

impl<P: Poller> GenServer for Polling<P> {
    type Args = P::Args;
    type Call = Ask;
    type Reply = Answer<P::Value>;
    type Cast = Term;
    type Info = Tick;

    async fn init(args: P::Args, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        let poller = P::init(args)?;
        cx.send_interval(poller.interval(), Tick::Poll);
        cx.continue_with(Tick::Poll);
        Ok(Self { poller, last: None, polls: 0 })
    }

    async fn handle_call(
        &mut self,
        ask: Ask,
        from: ReplyTo<Self::Reply>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(match ask {
            Ask::Last => Answer::Last(self.last.clone()),
            Ask::Polls => Answer::Polls(self.polls),
        }))
    }

    async fn handle_info(&mut self, tick: Tick, _: &mut Context<Self>) -> Result<(), ExitReason> {
        if let Tick::Poll = tick {
            self.last = Some(self.poller.poll().await?);
            self.polls += 1;
        }
        Ok(())
    }
}

/// A use of it.
struct Weather {
    degrees: i64,
}

impl Poller for Weather {
    type Args = i64;
    type Value = i64;

    fn init(degrees: i64) -> Result<Self, ExitReason> {
        Ok(Self { degrees })
    }

    async fn poll(&mut self) -> Result<i64, ExitReason> {
        self.degrees += 1;
        if self.degrees > 24 { Err(ExitReason::atom("too_hot")) } else { Ok(self.degrees) }
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(50)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::builder("demo@127.0.0.1").cookie("secret").start().await?;
    let weather: Server<Polling<Weather>> = Weather::start(&node, 20).name("weather").await?;
    // As any node asks it: gen_server:call({weather, 'demo@127.0.0.1'}, last).
    let last: Term = node.call("weather", Atom::from("last")).await?;
    println!("it is {last} degrees");
    println!("sys:get_status says {}", node.sys("weather").get_status().await?);
    println!("it ends when its poller fails: {}", weather.ended().await);
    node.stop().await;
    Ok(())
}
