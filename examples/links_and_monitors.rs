//! How processes learn of each other's end. `cargo run --example links_and_monitors`

use beamline::prelude::*;
use beamline::process;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::builder("family@127.0.0.1").cookie("secret").start().await?;
    let (done, outcome) = tokio::sync::oneshot::channel();
    node.spawn(|cx| async move {
        let _ = done.send(parent(cx).await);
        ExitReason::Normal
    })?;
    if let Err(reason) = outcome.await? {
        println!("it went wrong: {reason}");
    }
    node.stop().await;
    Ok(())
}

async fn parent(mut cx: process::Context<Term>) -> Result<(), ExitReason> {
    // A monitor: one message `{'DOWN', Reference, process, Pid, Reason}` when the other ends.
    let worker = cx.spawn(|mut cx| async move { cx.receive().await.into() })?;
    cx.monitor(&worker);
    cx.send(&worker, Term::atom("nothing_to_do"))?;
    println!("a monitor: {}", cx.receive().await);

    // A link: the end of the one, unless it is `normal`, ends the other. One that traps exits gets a message instead.
    cx.trap_exit(true);
    let child = cx.spawn_link(|mut cx| async move { cx.receive().await.into() })?;
    cx.send(&child, Term::atom("out_of_paper"))?;
    println!("a link:    {}", cx.receive().await);

    // An exit signal, as a supervisor sends it. `Kill` cannot be trapped, and is seen as `killed`.
    let stubborn = cx.spawn_link(|mut cx| async move {
        cx.trap_exit(true);
        cx.receive().await.into()
    })?;
    cx.exit(&stubborn, ExitReason::Kill);
    println!("a kill:    {}", cx.receive().await);
    Ok(())
}
