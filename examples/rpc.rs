//! Functions that other nodes may call, and calls of theirs. `cargo run --example rpc`

use beamline::prelude::*;
use beamline::rpc::{Function, RpcError};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shop = Node::builder("shop@127.0.0.1").cookie("secret").start().await?;
    // Nothing of a node can be run from outside but what it exports. Arguments and results are any types of serde's.
    shop.export(Function::new("shop", "price", |_, what: Atom, count: u32| async move {
        match what.as_str() {
            "tea" => Ok(3 * count),
            _ => Err(beamline::rpc::Raise::error(Atom::from("unknown"))),
        }
    }));
    // A function runs in a process of its own, which it is given; this one is for one node only.
    shop.export(
        Function::new(
            "shop",
            "who",
            |cx: beamline::process::Context<Term>| async move { Ok(cx.pid().clone()) },
        )
        .only(["bank@127.0.0.1"]),
    );

    // From Erlang: rpc:call('shop@127.0.0.1', shop, price, [tea, 2]). From another node of Rust, or this one:
    let bank = Node::builder("bank@127.0.0.1").cookie("secret").start().await?;
    let rpc = bank.rpc("shop@127.0.0.1");
    println!("two teas are {}", rpc.call::<u32>("shop", "price", [Term::atom("tea"), 2.into()]).await?);
    println!("{} may ask who", rpc.call::<Pid>("shop", "who", []).await?.node);
    let failed: Result<u32, RpcError> = rpc.call("shop", "price", [Term::atom("milk"), 1.into()]).await;
    println!("milk: {}", failed.unwrap_err());
    let undef: Result<Term, RpcError> = shop.rpc("shop@127.0.0.1").call("shop", "who", []).await;
    println!("shop itself: {}", undef.unwrap_err());

    // Processes can be spawned there, too.
    let spawned = bank.spawn(|mut cx| async move {
        let there = cx
            .spawn_request("shop@127.0.0.1", "shop", "price", [Term::atom("tea"), 1.into()])
            .monitor()
            .await;
        match there {
            Ok(there) => println!("{} ran on {}: {}", there.pid, there.pid.node, cx.receive().await),
            Err(error) => println!("{error}"),
        }
        ExitReason::Normal
    })?;
    while bank.is_process_alive(&spawned) {
        tokio::task::yield_now().await;
    }
    bank.stop().await;
    shop.stop().await;
    Ok(())
}
