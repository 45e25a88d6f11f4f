//! A tree of supervised servers: what a crash takes along, and what comes back.
//!
//! `cargo run --example supervisor`

use std::time::Duration;

use beamline::prelude::*;
use beamline::supervisor::{ChildSpec, Restart, Supervisor, SupervisorSpec, Template};

/// A server that can be told to crash.
struct Worker(&'static str);

impl GenServer for Worker {
    type Args = &'static str;
    type Call = Atom;
    type Reply = Atom;
    type Cast = Term;
    type Info = Term;

    async fn init(name: &'static str, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        println!("  {name} starts as {}", cx.pid());
        cx.trap_exit(true);
        Ok(Self(name))
    }

    async fn handle_call(
        &mut self,
        ask: Atom,
        from: ReplyTo<Atom>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        if ask == "crash" {
            return Err(ExitReason::atom("as_told"));
        }
        Ok(from.reply(ask))
    }

    async fn terminate(&mut self, reason: &ExitReason, _: &mut Context<Self>) {
        println!("  {} ends: {reason}", self.0);
    }
}

async fn crash(node: &Node, name: &str) {
    let worker = Server::<Worker>::named(node, name).expect("it runs");
    println!("{name} is told to crash");
    // The call has no answer: its server ended.
    let _ = worker.call(Atom::from("crash")).await;
}

/// Waits until the supervisor has dealt with what has happened: it answers in order.
async fn show(supervisor: &Server<Supervisor>) -> Result<(), CallError> {
    for child in supervisor.which_children().await? {
        println!("  {} is {:?}", child.id, child.status);
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::builder("tree@127.0.0.1").cookie("secret").start().await?;

    println!("rest_for_one: what was started after a child that ends is started again with it");
    let spec = SupervisorSpec::rest_for_one()
        .intensity(3, Duration::from_secs(5))
        .child(ChildSpec::worker::<Worker>("config", "config").name("config"))
        .child(ChildSpec::worker::<Worker>("cache", "cache").name("cache"))
        .child(ChildSpec::worker::<Worker>("api", "api").name("api").restart(Restart::Transient));
    let tree = Supervisor::start(&node, spec).name("tree_sup").await?;
    crash(&node, "cache").await;
    show(&tree).await?;

    println!("children that are added and taken away");
    tree.start_child(ChildSpec::worker::<Worker>("extra", "extra").restart(Restart::Temporary)).await?;
    tree.terminate_child(Atom::from("extra")).await?;
    println!(
        "  the same id twice: {}",
        match tree.start_child(ChildSpec::worker::<Worker>("api", "api")).await {
            Ok(_) => "started".to_owned(),
            Err(error) => error.to_string(),
        }
    );

    println!("simple_one_for_one: children of one kind, each with an argument of its own");
    let template = Template::worker::<Worker, String>(|name| Box::leak(name.into_boxed_str()));
    let sessions = SupervisorSpec::simple_one_for_one(template.restart(Restart::Temporary));
    let sessions = Supervisor::start(&node, sessions).name("session_sup").await?;
    sessions.start_child_with("alice".to_owned()).await?;
    sessions.start_child_with("bob".to_owned()).await?;
    println!("  {:?}", sessions.count_children().await?);

    println!("more restarts than its intensity end a supervisor");
    for _ in 0..3 {
        crash(&node, "api").await;
        let _ = show(&tree).await;
    }
    println!("  the supervisor ended: {}", tree.ended().await);
    node.stop().await;
    Ok(())
}
