//! What becomes of messages that a server has no time for. `cargo run --example mailbox_policies`

use std::time::Duration;

use beamline::gen_server::{Message, Server};
use beamline::prelude::*;
use beamline::process::{Fallback, Mailbox, OnFull};

/// A baker, who takes orders as casts and is slow.
struct Baker(&'static str);

impl GenServer for Baker {
    type Args = &'static str;
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;

    async fn init(name: &'static str, _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self(name))
    }

    async fn handle_call(
        &mut self,
        _: Term,
        from: ReplyTo<Term>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(Term::atom("closed")))
    }

    async fn handle_cast(&mut self, order: Term, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        cx.world().sleep(Duration::from_millis(100)).await;
        println!("  {} has baked {order}", self.0);
        Ok(())
    }
}

/// Orders five loaves. The first is in the oven when the others are ordered, and two may wait.
async fn order(node: &Node, from: &Server<Baker>) {
    for loaf in 1..=5 {
        if let Err(error) = from.cast(Term::from(loaf)) {
            println!("  loaf {loaf}: {error}");
        }
        if loaf == 1 {
            node.world().sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::builder("bakery@127.0.0.1").cookie("secret").start().await?;
    let bounded = || Mailbox::<Message<Baker>>::bounded(2);

    println!("refuse: who orders too much learns of it.");
    let baker = Baker::start(&node, "Anna").mailbox(bounded()).await?;
    order(&node, &baker).await;
    let closed = baker.call(Term::atom("close")).await;
    println!("  and so does who calls: {closed:?}");
    baker.stop(ExitReason::Shutdown).await;

    println!("fall back: another baker has the rest, typed messages through a function,");
    let other = Baker::start(&node, "Carl").name("carl").await?;
    let colleague = other.clone();
    let fallback = Fallback::new("carl", "from_bea").typed(move |message| {
        let _ = colleague.forward(message);
    });
    let baker =
        Baker::start(&node, "Bea").name("bea").mailbox(bounded().on_full(OnFull::Fallback(fallback))).await?;
    order(&node, &baker).await;
    node.world().sleep(Duration::from_millis(400)).await;
    println!("and messages in their external form in a tuple.");
    let notes = node.spawn(|mut cx| async move {
        println!("  {}", cx.receive().await);
        ExitReason::Normal
    })?;
    let fallback = OnFull::Fallback(Fallback::new(&notes, Term::atom("too_late")));
    Baker::start(&node, "Dora").name("dora").mailbox(Mailbox::bounded(0).on_full(fallback)).await?;
    node.cast("dora", &Term::atom("cake"))?;
    node.world().sleep(Duration::from_millis(50)).await;

    println!("kill: a baker who cannot cope ends.");
    let baker = Baker::start(&node, "Emil").mailbox(bounded().on_full(OnFull::Kill)).await?;
    order(&node, &baker).await;
    println!("  ended: {}", baker.stop(ExitReason::Shutdown).await);
    node.stop().await;
    Ok(())
}
