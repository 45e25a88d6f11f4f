//! Two applications that depend on each other, and a node that stops them in order.
//!
//! `cargo run --example application`

use beamline::application::{Application, StartType};
use beamline::prelude::*;
use beamline::supervisor::{ChildSpec, SupervisorSpec};

/// A server that knows what it belongs to.
struct Till;

impl GenServer for Till {
    type Args = ();
    type Call = Atom;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;

    async fn init((): (), cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        let application = cx.application().map_or("none".to_owned(), |name| name.to_string());
        println!("a till of {application} opens, in {}", cx.env("currency").unwrap_or(Term::atom("none")));
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        ask: Atom,
        from: ReplyTo<Term>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(ask.into()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node =
        Node::builder("mall@127.0.0.1").cookie("secret").env("currency", Term::atom("eur")).start().await?;
    let noted = |what: &'static str| move || async move { println!("{what}") };

    let tree = || SupervisorSpec::one_for_one().child(ChildSpec::worker::<Till>("till", ()));
    let ledger = Application::new("ledger")
        .description("keeps the books")
        .root(ChildSpec::supervisor("ledger_sup", tree()).name("ledger_sup"))
        .stop(noted("the ledger has stopped"));
    let shop = Application::new("shop")
        .description("sells things")
        .vsn("1.2.0")
        .depends_on("ledger")
        .env("currency", Term::atom("nok"))
        .root(ChildSpec::supervisor("shop_sup", tree()).name("shop_sup"))
        .start_phase("open", || async {
            println!("the shop opens its doors");
            Ok(())
        })
        .prep_stop(noted("the shop lets nobody in any more"))
        .stop(noted("the shop has stopped"));
    node.load_application(ledger).await?;
    node.load_application(shop).await?;

    match node.start_application("shop", StartType::Permanent).await {
        Ok(()) => println!("started"),
        Err(error) => println!("not yet: {error}"),
    }
    let started = node.ensure_all_started("shop", StartType::Permanent).await?;
    println!("started, in this order: {started:?}");
    for (name, description, vsn) in node.which_applications().await? {
        println!("  {name} {vsn} {description}");
    }

    println!("the node is told to stop");
    // With the feature `signal`, `node.run()` waits for SIGINT or SIGTERM.
    node.run_until(async {}).await?;
    Ok(())
}
