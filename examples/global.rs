//! Names and locks that hold on all nodes of a cluster. `cargo run --example global`

use std::time::Duration;

use beamline::global::{LockId, Options, Resolve};
use beamline::node::Node;
use beamline::process::ExitReason;
use beamline::term::{Atom, Pid};

async fn node(name: &str) -> Result<Node, Box<dyn std::error::Error>> {
    Ok(Node::builder(name).cookie("secret").global(Options::default()).start().await?)
}

/// A process that prints what it is sent.
fn printer(node: &Node, name: &'static str) -> Result<Pid, Box<dyn std::error::Error>> {
    Ok(node.spawn(move |mut cx| async move {
        loop {
            println!("  {name} gets {}", cx.receive().await);
        }
    })?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (one, two) = (node("one@127.0.0.1").await?, node("two@127.0.0.1").await?);
    let ledger = Atom::from("ledger");
    let (here, there) = (printer(&one, "one's")?, printer(&two, "two's")?);

    // Before they meet, each has a ledger.
    for (node, pid) in [(&one, &here), (&two, &there)] {
        node.global().register_name_with(ledger.clone(), pid, &Resolve::RandomNotify).await?;
    }
    println!("two partitions, each with a ledger");
    one.connect("two@127.0.0.1").await?;
    one.global().sync().await?;
    two.global().sync().await?;
    println!(
        "joined: the ledger is that of {}",
        two.global().send(ledger.clone(), "to whoever it is".to_owned())?.node
    );

    // A name that is taken.
    let other = printer(&two, "other")?;
    println!("registered again: {}", two.global().register_name(ledger.clone(), &other).await?);

    // Two processes, and a lock that both nodes know.
    let mut waiting = Vec::new();
    for node in [&one, &two] {
        let (done, is_done) = tokio::sync::oneshot::channel::<()>();
        node.spawn(move |cx| async move {
            let id = LockId::new(Atom::from("books"), cx.pid().clone());
            let open = async || {
                println!("  {} opens the books", cx.node_name());
                cx.world().sleep(Duration::from_millis(50)).await;
                println!("  {} closes them", cx.node_name());
            };
            cx.global_locks().trans(&id, open).await;
            drop(done);
            ExitReason::Normal
        })?;
        waiting.push(is_done);
    }
    for is_done in waiting {
        let _ = is_done.await;
    }

    // A name goes with its node.
    two.stop().await;
    while one.nodes().contains(&"two@127.0.0.1".into()) {
        one.world().sleep(Duration::from_millis(10)).await;
    }
    println!("two has stopped: {:?}", one.global().registered_names());
    one.stop().await;
    Ok(())
}
