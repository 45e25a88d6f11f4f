//! An event manager whose handlers come and go. `cargo run --example gen_event`

use beamline::gen_event::{Context, EventHandler, EventManager, Modules, NewHandler, Next, Terminate};
use beamline::gen_server::GenServer;
use beamline::node::Node;
use beamline::process::ExitReason;
use beamline::term::Term;
use serde::Deserialize;

// Erlang sends it as `{raised, <<"disk">>}`.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Alarm {
    Raised(String),
    Cleared(String),
}

/// Counts the alarms that are active; its caller asks it with any term.
struct Active {
    title: String,
    alarms: Vec<String>,
}

impl EventHandler for Active {
    type Args = String;
    type Event = Alarm;
    type Call = Term;
    type Reply = Vec<String>;

    async fn init(title: String, _: &mut Context<Alarm>) -> Result<Self, ExitReason> {
        Ok(Self { title, alarms: Vec::new() })
    }

    async fn handle_event(
        &mut self,
        alarm: &Alarm,
        _: &mut Context<Alarm>,
    ) -> Result<Next<Alarm>, ExitReason> {
        match alarm {
            Alarm::Raised(what) if what.is_empty() => return Err(ExitReason::atom("nothing_raised")),
            Alarm::Raised(what) => self.alarms.push(what.clone()),
            Alarm::Cleared(what) => self.alarms.retain(|alarm| alarm != what),
        }
        println!("{}: {:?}", self.title, self.alarms);
        Ok(Next::Ok)
    }

    async fn handle_call(
        &mut self,
        _: Term,
        _: &mut Context<Alarm>,
    ) -> Result<(Vec<String>, Next<Alarm>), ExitReason> {
        Ok((self.alarms.clone(), Next::Ok))
    }

    async fn terminate(&mut self, why: Terminate, _: &mut Context<Alarm>) -> Term {
        println!("{}: ends, {}", self.title, why.to_term());
        Term::atom("ok")
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::builder("events@127.0.0.1").cookie("secret").start().await?;
    // What is offered can be added from any node: gen_event:add_handler({alarms, 'events@127.0.0.1'}, active, <<"mine">>).
    let offered = Modules::new().offer::<Active>("active");
    let alarms = EventManager::start(&node, offered).name("alarms").await?;
    alarms.add_handler::<Active>(("active", 1), "first".to_owned()).await?;
    alarms.add_handler::<Active>(("active", 2), "second".to_owned()).await?;
    alarms.notify(Alarm::Raised("disk".to_owned()))?;
    alarms.sync_notify(Alarm::Raised("fan".to_owned())).await?;

    // One takes another's place, and begins anew.
    let third = NewHandler::new::<Active>(("active", 3), "third".to_owned());
    alarms.swap_handler(("active", 1), Term::atom("replaced"), third).await?;
    alarms.sync_notify(Alarm::Cleared("disk".to_owned())).await?;
    let active: Vec<String> = alarms.call_handler(("active", 2), Term::atom("get")).await?;
    println!("the second has {active:?}");

    // Handlers that fail are removed, and the manager lives.
    alarms.sync_notify(Alarm::Raised(String::new())).await?;
    println!("handlers left: {}", alarms.which_handlers().await?.len());

    // With `--wait` it stays for Erlang:
    //   erl -name me@127.0.0.1 -setcookie secret
    //   1> gen_event:notify({alarms, 'events@127.0.0.1'}, {raised, <<"door">>}).
    if std::env::args().any(|arg| arg == "--wait") {
        alarms.add_handler::<Active>("active", "from anywhere".to_owned()).await?;
        std::future::pending::<()>().await;
    }
    node.stop().await;
    Ok(())
}
