//! A Rust program that asks a running Erlang node for something.
//!
//! ```text
//! erl -name app@127.0.0.1 -setcookie secret
//! cargo run --example erlang_client app@127.0.0.1 secret
//! ```

use beamline::prelude::*;
use beamline::term::Charlist;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(peer), Some(cookie)) = (args.next(), args.next()) else {
        return Err("usage: cargo run --example erlang_client NODE COOKIE".into());
    };
    let peer = Atom::new(&peer)?;

    // Hidden: this node does not show in the cluster's `nodes()`.
    let node = Node::builder("erlang_client@127.0.0.1").cookie(cookie).hidden(true).start().await?;
    node.connect(peer.clone()).await?;

    // A reply is decoded into the type that is asked for; `Term` takes any.
    let controller = ("application_controller", peer.clone());
    let applications: Vec<(Atom, Charlist, Charlist)> =
        node.call(controller, Atom::from("which_applications")).await?;
    for (name, _, version) in applications {
        println!("{name} {}", version.0);
    }
    let children: Term = node.call(("kernel_sup", peer.clone()), Atom::from("count_children")).await?;
    println!("kernel_sup: {children}");

    // What goes wrong is an error that says what it is.
    let nobody = node.call::<Term, _>(("nobody", peer.clone()), Atom::from("hello")).await;
    match nobody {
        Err(CallError::NoProc) => println!("nobody is not registered on {peer}"),
        other => println!("unexpected: {other:?}"),
    }
    node.stop().await;
    Ok(())
}
