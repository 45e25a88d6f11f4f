//! A process that does what a script says, in a row, and remembers whatever else it receives: [`ERLANG`] in Erlang, and the
//! same in Rust. A test that pulls the strings of two puppets on two nodes need not know which of them is which.

use beamline::etf;
use beamline::node::Node;
use beamline::process::{Context, Destination, ExitReason};
use beamline::term::{Atom, Pid, Reference, Term};
use serde::Deserialize;

/// The Erlang module `puppet`, with the functions that pull the strings.
pub const ERLANG: &str = include_str!("puppet.erl");

/// One thing to do.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Link(Pid),
    Unlink(Pid),
    Monitor(To),
    Demonitor(Reference),
    Exit(Pid, ExitReason),
    TrapExit(bool),
    Send(To, Term),
    Register(Atom),
    Unregister(Atom),
    Alias,
    Unalias(Reference),
    MonitorNode(Atom, bool),
    MonitorNodes(bool),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum To {
    Pid(Pid),
    Alias(Reference),
    Name(Atom, Atom),
}

impl From<To> for Destination {
    fn from(to: To) -> Self {
        match to {
            To::Pid(pid) => pid.into(),
            To::Alias(alias) => alias.into(),
            To::Name(name, node) => (name, node).into(),
        }
    }
}

/// Starts the registered process `puppets` on a node, which makes puppets for whoever asks.
///
/// # Panics
/// If the node has one.
pub fn start(node: &Node) {
    let master = node.spawn(master).expect("the node has room");
    node.register("puppets", &master).expect("the name is free");
}

async fn master(mut cx: Context<Term>) -> ExitReason {
    loop {
        let message = cx.receive().await;
        if let Some([_, from, reference]) = message.as_tuple()
            && let Some(from) = from.as_pid()
            && let Ok(pid) = cx.spawn(puppet)
        {
            let _ = cx.send(from, (reference.clone(), pid));
        }
    }
}

async fn puppet(mut cx: Context<Term>) -> ExitReason {
    let mut log = Vec::new();
    loop {
        let message = cx.receive().await;
        match message.as_tuple() {
            Some([tag, Term::Pid(from), reference, script]) if tag.is_atom("do") => {
                let Ok(script) = etf::from_term::<Vec<Step>>(script) else {
                    return Term::tuple([Term::atom("bad_script"), script.clone()]).into();
                };
                let results: Vec<Term> = script.into_iter().map(|it| step(&mut cx, it)).collect();
                let _ = cx.send(from, (reference.clone(), Term::list(results)));
            }
            Some([tag, Term::Pid(from), reference]) if tag.is_atom("log") => {
                let log = Term::list(std::mem::take(&mut log));
                let _ = cx.send(from, (reference.clone(), log));
            }
            Some([tag, reason]) if tag.is_atom("stop") => return reason.clone().into(),
            _ => log.push(message),
        }
    }
}

fn step(cx: &mut Context<Term>, step: Step) -> Term {
    match step {
        Step::Link(pid) => cx.link(&pid),
        Step::Unlink(pid) => cx.unlink(&pid),
        Step::Monitor(to) => return cx.monitor(Destination::from(to)).into(),
        Step::Demonitor(reference) => {
            cx.demonitor(&reference);
        }
        Step::Exit(pid, reason) => cx.exit(&pid, reason),
        Step::TrapExit(trap) => {
            cx.trap_exit(trap);
        }
        Step::Send(to, message) => {
            let _ = cx.send(Destination::from(to), message);
        }
        Step::Register(name) => cx.register(name).expect("the script registers free names"),
        Step::Unregister(name) => {
            cx.unregister(&name);
        }
        Step::Alias => return cx.alias().into(),
        Step::Unalias(alias) => {
            cx.unalias(&alias);
        }
        Step::MonitorNode(node, on) => cx.monitor_node(node, on),
        Step::MonitorNodes(on) => cx.monitor_nodes(on),
    }
    Term::atom("ok")
}
