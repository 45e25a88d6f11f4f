//! Looking into a node with Erlang's tools. `cargo run --example observer`

use beamline::prelude::*;
use beamline::{io, observer};

/// A server with something to see.
struct Stock(i64);

impl GenServer for Stock {
    type Args = i64;
    type Call = i64;
    type Reply = i64;
    type Cast = Term;
    type Info = Term;

    async fn init(count: i64, _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self(count))
    }

    async fn handle_call(
        &mut self,
        more: i64,
        from: ReplyTo<i64>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        self.0 += more;
        Ok(from.reply(self.0))
    }

    fn state(&self) -> Term {
        self.0.into()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shop = Node::builder("shop@127.0.0.1").cookie("secret").start().await?;
    // Nothing of it is answered unless it is exported; with `only`, to certain nodes.
    for function in observer::functions() {
        shop.export(function);
    }
    let stock = Stock::start(&shop, 40).name("stock").await?;
    stock.call(2).await?;
    // An Erlang node in the same cluster sees it all in `observer:start()`, under Nodes. What observer asks, asked from here:
    let ops = Node::builder("ops@127.0.0.1").cookie("secret").start().await?;
    let rpc = ops.rpc("shop@127.0.0.1");
    let stock = Term::from(stock.pid().clone());
    let items = ["registered_name", "status", "reductions", "memory", "message_queue_len"].map(Term::atom);
    let info: Term = rpc.call("erlang", "process_info", [stock.clone(), Term::list(items)]).await?;
    let status: Term = rpc.call("sys", "get_status", [stock, 200.into()]).await?;
    let memory: Term = rpc.call("erlang", "memory", []).await?;
    print!("{}", io::format("~tp~n~tp~n~tp~n", &[info, status, memory])?);
    ops.stop().await;
    shop.stop().await;
    Ok(())
}
