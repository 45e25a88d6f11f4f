//! The service: what a program would run in production. It knows nothing of simulations.
//!
//! Keys and values on three nodes. The first node is the primary: it orders all writes and hands them to the others. A node that is asked
//! for something asks the primary.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::node::Node;
use beamline::process::ExitReason;
use beamline::supervisor::{ChildSpec, Supervisor, SupervisorSpec};
use beamline::term::{Atom, Term};
use beamline::world::World;
use serde::{Deserialize, Serialize};

/// What the service is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// What is there?
    Get(String),
    /// Put this there.
    Put(String, String),
    /// Among its nodes: this is there now, by the write of that number.
    Copy(String, Entry),
}

/// What it answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// What is there, if anything is.
    Value(Option<String>),
    /// It is done.
    Done,
    /// It may have been done, or not.
    Unknown,
}

/// A value, and the number of the write that put it there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry(u64, String);

/// Which nodes there are, the primary first, and what they do when that cannot be reached.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// All of them.
    pub nodes: Vec<String>,
    /// Whether a node that cannot reach the primary answers with its own copy, so that reading goes on: it sounds harmless.
    pub reads_go_on: bool,
}

/// Starts one of the nodes, with all that runs on it.
///
/// # Errors
/// If it does not start.
pub(crate) async fn start(
    world: World,
    name: &str,
    config: &Config,
) -> Result<Node, Box<dyn Error + Send + Sync>> {
    let builder = Node::builder(name).cookie("kv").world(world);
    let node = builder.net_ticktime(Duration::from_secs(4), 4).start().await?;
    let args = (node.clone(), config.clone());
    let kv = ChildSpec::worker::<Kv>("kv", args).name("kv");
    Supervisor::start(&node, SupervisorSpec::one_for_one().child(kv)).name("kv_sup").await?;
    Ok(node)
}

struct Kv {
    node: Node,
    config: Config,
    entries: BTreeMap<String, Entry>,
    /// The number of the last write.
    last: u64,
}

impl Kv {
    fn primary(&self) -> &str {
        &self.config.nodes[0]
    }

    /// The server of another node. Names were taken by its own node, so they are atoms.
    fn at(name: &str) -> (Atom, Atom) {
        (Atom::from("kv"), Atom::new(name).unwrap_or_else(|_| Atom::from("nonode@nohost")))
    }

    /// A write, at the primary: it is done when the others have it, as far as they can be reached.
    fn put(&mut self, key: String, value: String, from: ReplyTo<Answer>, cx: &mut Context<Self>) {
        self.last += 1;
        let entry = Entry(self.last, value);
        self.entries.insert(key.clone(), entry.clone());
        let node = self.node.clone();
        let others: Vec<_> = self.config.nodes[1..].to_vec();
        cx.task(async move {
            for other in others {
                // One that cannot be reached gets it when it is back.
                let copy = Ask::Copy(key.clone(), entry.clone());
                let call = node.call::<Answer, _>(Self::at(&other), copy);
                let _ = call.timeout(Duration::from_millis(500)).await;
            }
            from.reply(Answer::Done);
        });
    }

    /// A request that the primary is to answer.
    fn forward(&mut self, ask: Ask, from: ReplyTo<Answer>, cx: &mut Context<Self>) {
        let call = self.node.call::<Answer, _>(Self::at(self.primary()), ask.clone());
        let own = match ask {
            Ask::Get(key) if self.config.reads_go_on => {
                Answer::Value(self.entries.get(&key).map(|Entry(_, value)| value.clone()))
            }
            _ => Answer::Unknown,
        };
        cx.task(async move {
            let answer = call.timeout(Duration::from_secs(2)).await;
            from.reply(answer.unwrap_or(own));
        });
    }
}

impl GenServer for Kv {
    type Args = (Node, Config);
    type Call = Ask;
    type Reply = Answer;
    type Cast = Ask;
    type Info = Term;

    async fn init((node, config): Self::Args, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.monitor_nodes(true);
        Ok(Self { node, config, entries: BTreeMap::new(), last: 0 })
    }

    async fn handle_call(
        &mut self,
        ask: Ask,
        from: ReplyTo<Answer>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        let is_primary = self.node.name().as_str() == self.primary();
        match ask {
            Ask::Copy(key, entry) => {
                self.copy(key, entry);
                return Ok(from.reply(Answer::Done));
            }
            ask if !is_primary => self.forward(ask, from, cx),
            Ask::Put(key, value) => self.put(key, value, from, cx),
            Ask::Get(key) => {
                let value = self.entries.get(&key).map(|Entry(_, value)| value.clone());
                return Ok(from.reply(Answer::Value(value)));
            }
        }
        Ok(Reply::Later)
    }

    async fn handle_cast(&mut self, cast: Ask, _: &mut Context<Self>) -> Result<(), ExitReason> {
        if let Ask::Copy(key, entry) = cast {
            self.copy(key, entry);
        }
        Ok(())
    }

    /// A node that is back gets what it has missed.
    async fn handle_info(&mut self, info: Term, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        if let Some([change, node]) = info.as_tuple()
            && let (true, Some(node)) = (change.is_atom("nodeup"), node.as_atom())
            && self.node.name().as_str() == self.primary()
        {
            for (key, entry) in &self.entries {
                // It may be gone again.
                let _ = cx.cast((Atom::from("kv"), node.clone()), &Ask::Copy(key.clone(), entry.clone()));
            }
        }
        Ok(())
    }
}

impl Kv {
    /// The last write stays, in whatever order they arrive.
    fn copy(&mut self, key: String, entry: Entry) {
        if self.entries.get(&key).is_none_or(|known| known.0 < entry.0) {
            self.entries.insert(key, entry);
        }
    }
}
