//! Numbered calls and casts between all nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use beamline::gen_server::{Context, GenServer, Reply, ReplyTo, StartError};
use beamline::node::Node;
use beamline::process::{self, Destination, ExitReason};
use beamline::term::{Atom, Pid, Term};

use super::census::{Dice, Quiet, node_of, process};
use crate::check::{Model, Report};

/// A message: who sent it, whom to, and its number between these two.
type Stamp = (String, String, u64);

/// Reports what it is sent, and answers with the number and its own pid.
struct Sink {
    report: Report,
    /// The name and the pid that it is sent messages under.
    names: [String; 2],
}

impl Sink {
    fn receive(&self, (from, to, seq): &Stamp) {
        // What was meant for another life of this name is not sent to this one.
        let to = if self.names.contains(to) { to } else { &self.names[1] };
        self.report.receives(from, to, *seq);
    }
}

impl GenServer for Sink {
    type Args = ();
    type Call = Stamp;
    type Reply = (u64, Pid);
    type Cast = Stamp;
    type Info = Term;

    async fn init((): (), cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        let names = [format!("sink/{}", cx.node_name().as_str()), process(cx.pid())];
        Ok(Self { report: Report::new(cx.world()), names })
    }

    async fn handle_call(
        &mut self,
        stamp: Stamp,
        from: ReplyTo<(u64, Pid)>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        self.receive(&stamp);
        Ok(from.reply((stamp.2, cx.pid().clone())))
    }

    async fn handle_cast(&mut self, stamp: Stamp, _: &mut Context<Self>) -> Result<(), ExitReason> {
        self.receive(&stamp);
        Ok(())
    }
}

/// Each answer belongs to its question.
pub(super) struct Echo;

impl Model for Echo {
    type State = ();

    fn start(&self) {}

    fn step(&self, (): &(), operation: &str, result: Option<&str>) -> Option<()> {
        result.is_none_or(|result| result == operation).then_some(())
    }
}

/// Starts a node's sink, and so many processes that call and cast to those of all nodes.
pub(super) async fn start(node: &Node, quiet: &Quiet, sources: u32) -> Result<(), StartError> {
    Sink::start(node, ()).name("sink").await?;
    for _ in 0..sources {
        let quiet = quiet.clone();
        node.spawn(|cx| source(cx, quiet))?;
    }
    Ok(())
}

async fn source(cx: process::Context<Term>, quiet: Quiet) -> ExitReason {
    let (world, name) = (cx.world().clone(), process(cx.pid()));
    let (report, mut dice) = (Report::new(&world), Dice::new(&world, "source"));
    let mut known: BTreeMap<&str, Pid> = BTreeMap::new();
    let mut sent: BTreeMap<String, u64> = BTreeMap::new();
    let mut calls = 0;
    loop {
        world.sleep(dice.millis(20, 200)).await;
        if quiet.is_set() {
            continue;
        }
        let host = dice.host();
        let by_pid = known.get(host).filter(|_| dice.below(3) == 0).cloned();
        let (to, destination) = match &by_pid {
            Some(pid) => (process(pid), Destination::from(pid)),
            None => {
                let node = node_of(host);
                (format!("sink/{node}"), ("sink", Atom::new(&node).unwrap_or_else(|_| unreachable!())).into())
            }
        };
        let seq = sent.entry(to.clone()).or_default();
        *seq += 1;
        report.sends(&name, &to, *seq);
        let stamp: Stamp = (name.clone(), to, *seq);
        if dice.below(2) == 0 {
            // Who is not there does not get it.
            let _ = cx.cast(destination, &stamp);
            continue;
        }
        calls += 1;
        // A process that has had another life is not found, and should not be.
        let operation = by_pid
            .is_none()
            .then(|| report.invoke(&format!("{name}.{calls}"), "echo", &format!("{host}.{seq}")));
        match (cx.call::<(u64, Pid), _>(destination, stamp).timeout(Duration::from_secs(1)).await, operation)
        {
            (Ok((seq, pid)), operation) => {
                if let Some(operation) = operation {
                    operation.returned(&format!("{host}.{seq}"));
                }
                known.insert(host, pid);
            }
            (Err(error), operation) => {
                if let Some(operation) = operation {
                    operation.unknown(&error);
                }
                known.remove(host);
            }
        }
    }
}
