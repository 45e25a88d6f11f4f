//! Groups of processes that all nodes of a cluster know. `cargo run --example pg`

use beamline::etf;
use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::node::Node;
use beamline::pg::{GroupEvent, Limits, Scope};
use beamline::process::ExitReason;
use beamline::supervisor::{ChildSpec, Supervisor, SupervisorSpec};
use beamline::term::{Atom, Term};
use tokio::sync::mpsc;

/// A worker that joins the group `workers` when it starts, and says its name.
struct Worker(&'static str);

impl GenServer for Worker {
    type Args = &'static str;
    type Call = Term;
    type Reply = String;
    type Cast = Term;
    type Info = Term;

    async fn init(name: &'static str, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.pg("pg").join(Atom::from("workers"), [cx.pid().clone()]).await?;
        Ok(Self(name))
    }

    async fn handle_call(
        &mut self,
        _: Term,
        from: ReplyTo<String>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(self.0.to_owned()))
    }
}

/// A node whose supervisor starts the scope first, and again when it ends, with all that have joined.
async fn node(name: &'static str, workers: &[&'static str]) -> Result<Node, Box<dyn std::error::Error>> {
    let node = Node::builder(name).cookie("secret").start().await?;
    let mut tree =
        SupervisorSpec::rest_for_one().child(ChildSpec::worker::<Scope>("pg", Limits::default()).name("pg"));
    for worker in workers {
        tree = tree.child(ChildSpec::worker::<Worker>(*worker, *worker));
    }
    Supervisor::start(&node, tree).name("tree").await?;
    Ok(node)
}

type Events = mpsc::UnboundedReceiver<GroupEvent>;

/// Prints the next changes that the monitor tells of.
async fn hear(changes: usize, events: &mut Events) {
    for _ in 0..changes {
        let Some(GroupEvent(_, action, group, pids)) = events.recv().await else { return };
        println!("  {group}: {action:?} of {} on {}", pids.len(), pids[0].node);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (one, two) = (node("one@127.0.0.1", &["ann", "bob"]).await?, node("two@127.0.0.1", &["eve"]).await?);
    let pg = one.pg("pg");

    // A process that hears of changes, and hands them on.
    let (tell, mut events) = mpsc::unbounded_channel();
    let watcher = one.spawn(|mut cx| async move {
        loop {
            if let Ok(event) = etf::from_term(&cx.receive().await) {
                let _ = tell.send(event);
            }
        }
    })?;
    let (_, members) = pg.monitor(Atom::from("workers"), &watcher).await?;
    println!("{} workers before the nodes are connected, and then:", members.len());
    one.connect("two@127.0.0.1").await?;
    hear(1, &mut events).await;
    println!("each of all nodes:");
    for worker in pg.get_members(Atom::from("workers")) {
        let name: String = one.call(worker, Atom::from("who")).await?;
        println!("  {name}");
    }

    println!("one of them ends, and joins again when its supervisor has started it again:");
    let eve = two.pg("pg").get_local_members(Atom::from("workers"));
    two.exit(&eve[0], ExitReason::Kill);
    hear(2, &mut events).await;

    // With `--wait` they stay for Erlang:
    //   erl -name me@127.0.0.1 -setcookie secret
    //   1> pg:start(pg), net_adm:ping('one@127.0.0.1'), pg:get_members(workers).
    if std::env::args().any(|arg| arg == "--wait") {
        std::future::pending::<()>().await;
    }
    println!("a node stops:");
    two.stop().await;
    hear(1, &mut events).await;
    one.stop().await;
    Ok(())
}
