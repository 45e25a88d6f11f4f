//! A typed server that Rust and Erlang can call. `cargo run --example gen_server`

use beamline::prelude::*;
use serde::{Deserialize, Serialize};

// Erlang calls it with `get` and `{add, 5}`.
#[derive(Serialize, Deserialize, Protocol)]
#[serde(rename_all = "snake_case")]
enum Ask {
    #[reply(i64)]
    Get,
    #[reply(i64)]
    Add(i64),
}

struct Counter(i64);

impl GenServer for Counter {
    type Args = i64;
    type Call = Ask;
    type Reply = AskReply;
    type Cast = Term;
    type Info = Term;

    async fn init(start: i64, _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self(start))
    }

    async fn handle_call(
        &mut self,
        ask: Ask,
        from: ReplyTo<AskReply>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(match ask {
            Ask::Get => from.reply(AskReply::Get(self.0)),
            Ask::Add(n) => {
                self.0 += n;
                from.reply(AskReply::Add(self.0))
            }
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::builder("shop@127.0.0.1").cookie("secret").start().await?;
    let counter = Counter::start(&node, 7).name("counter").await?;
    println!("add 5: {}", counter.add(5).await?);
    println!("get:   {}", counter.get().await?);

    // With `--wait` it stays for Erlang:
    //   erl -name me@127.0.0.1 -setcookie secret
    //   1> gen_server:call({counter, 'shop@127.0.0.1'}, {add, 30}).
    if std::env::args().any(|arg| arg == "--wait") {
        std::future::pending::<()>().await;
    }
    node.stop().await;
    Ok(())
}
