//! What programs report to checkers, in one place: each is an event, so a run's trace has all that its checkers have seen.
//!
//! Names have no blanks. A process is named `NAME/NODE`, as in `sink/n@two`.

use std::cell::Cell;
use std::fmt::{self, Display};
use std::time::Duration;

use beamline::world::World;

/// Reports of a node's program, or of one of its processes.
#[derive(Clone)]
pub struct Report {
    world: World,
}

/// Which other children a supervisor restarts with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// None.
    OneForOne,
    /// All.
    OneForAll,
    /// Those that were started after it.
    RestForOne,
}

impl Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneForOne => "one_for_one",
            Self::OneForAll => "one_for_all",
            Self::RestForOne => "rest_for_one",
        })
    }
}

impl Strategy {
    pub(super) fn named(name: &str) -> Option<Self> {
        let all = [Self::OneForOne, Self::OneForAll, Self::RestForOne];
        all.into_iter().find(|strategy| strategy.to_string() == name)
    }
}

impl Report {
    /// Reports to the run that the world is of; to nobody, if it is the real one.
    pub fn new(world: &World) -> Self {
        Self { world: world.clone() }
    }

    fn event(&self, kind: &'static str, detail: fmt::Arguments<'_>) {
        self.world.event("", kind, &detail);
    }

    // Order.

    /// `from` is about to send `to` its message or signal number `seq`, counted from 1 for each pair.
    pub fn sends(&self, from: &str, to: &str, seq: u64) {
        self.event("send", format_args!("{from} {to} {seq}"));
    }

    /// `to` has received message or signal number `seq` of `from`.
    pub fn receives(&self, from: &str, to: &str, seq: u64) {
        self.event("receive", format_args!("{from} {to} {seq}"));
    }

    // Processes, monitors, links.

    /// A process begins; it ends when what is returned is dropped: to be kept in its body.
    pub fn life(&self, process: &str) -> Life {
        self.event("start", format_args!("{process}"));
        Life { report: self.clone(), process: process.to_owned() }
    }

    /// `owner` is about to monitor `target`; the monitor has a number that is the owner's own.
    pub fn monitor(&self, owner: &str, number: u64, target: &str) {
        self.event("monitor", format_args!("{owner} {number} {target}"));
    }

    /// `owner` has taken a monitor back, and what it had already led to.
    pub fn demonitor(&self, owner: &str, number: u64) {
        self.event("demonitor", format_args!("{owner} {number}"));
    }

    /// `owner` has received the `DOWN` of a monitor.
    pub fn down(&self, owner: &str, number: u64, reason: &dyn Display) {
        self.event("down", format_args!("{owner} {number} {reason}"));
    }

    /// `owner`, which traps exits, is about to link to `target`.
    pub fn link(&self, owner: &str, target: &str) {
        self.event("link", format_args!("{owner} {target}"));
    }

    /// `owner` has unlinked `target`.
    pub fn unlink(&self, owner: &str, target: &str) {
        self.event("unlink", format_args!("{owner} {target}"));
    }

    /// `owner` has received the exit of `target`.
    pub fn exit(&self, owner: &str, target: &str, reason: &dyn Display) {
        self.event("told_exit", format_args!("{owner} {target} {reason}"));
    }

    /// Whom `owner` is linked to, once the cluster has come to rest.
    pub fn links(&self, owner: &str, targets: &[String]) {
        self.event("links", format_args!("{owner} {}", targets.join(" ")));
    }

    // Nodes.

    /// `observer` has called `monitor_nodes`.
    pub fn monitors_nodes(&self, observer: &str) {
        self.event("monitor_nodes", format_args!("{observer}"));
    }

    /// A node is about to start that is hidden: who monitors nodes is not told of it.
    pub fn hidden(&self, node: &str) {
        self.event("hidden", format_args!("{node}"));
    }

    /// `observer` was told that a node came, or went.
    pub fn node_event(&self, observer: &str, up: bool, peer: &str) {
        let change = if up { "nodeup" } else { "nodedown" };
        self.event("told_node", format_args!("{observer} {change} {peer}"));
    }

    // Supervisors.

    /// A supervisor is about to start, with its children in their order.
    pub fn supervisor(
        &self,
        supervisor: &str,
        strategy: Strategy,
        (intensity, period): (u32, Duration),
        children: &[&str],
    ) {
        let period = period.as_millis();
        self.event(
            "supervisor",
            format_args!("{supervisor} {strategy} {intensity} {period} {}", children.join(" ")),
        );
    }

    /// A child of a supervisor runs; it has ended when what is returned is dropped.
    pub fn child(&self, supervisor: &str, child: &str) -> Life {
        self.life(&format!("{supervisor} {child}"))
    }

    /// A child is about to end by itself, or to be killed by somebody who is not its supervisor.
    pub fn kills(&self, supervisor: &str, child: &str) {
        self.event("kill", format_args!("{supervisor} {child}"));
    }

    /// A supervisor was told to stop.
    pub fn stops(&self, supervisor: &str) {
        self.event("stop", format_args!("{supervisor}"));
    }

    /// A supervisor has ended.
    pub fn ended(&self, supervisor: &str) {
        self.event("ended", format_args!("{supervisor}"));
    }

    // What must be the same everywhere in the end.

    /// What `observer` sees of a subject that all observers must agree on once the cluster has come to rest.
    pub fn view(&self, subject: &str, observer: &str, value: &dyn Display) {
        self.event("view", format_args!("{subject} {observer} {value}"));
    }

    /// `holder` holds a name that only one may hold.
    pub fn holds(&self, name: &str, holder: &str) {
        self.event("hold", format_args!("{name} {holder}"));
    }

    /// It holds it no more.
    pub fn releases(&self, name: &str, holder: &str) {
        self.event("release", format_args!("{name} {holder}"));
    }

    /// How much there is of something before anything else happens: what must not have become more in the end.
    pub fn usage_before(&self, what: &str, count: usize) {
        self.event("usage_before", format_args!("{what} {count}"));
    }

    /// How much there is of it in the end.
    pub fn usage_after(&self, what: &str, count: usize) {
        self.event("usage_after", format_args!("{what} {count}"));
    }

    // Clients.

    /// A client asks for something that concerns `key`. One that does not know what became of an operation goes on under another
    /// name: its operation may still take effect.
    pub fn invoke(&self, client: &str, key: &str, operation: &dyn Display) -> Operation {
        self.event("invoke", format_args!("{client} {key} {operation}"));
        Operation {
            report: self.clone(),
            client: client.to_owned(),
            key: key.to_owned(),
            open: Cell::new(true),
        }
    }

    /// Something that should happen in some run, if not in each, has happened.
    pub fn sometimes(&self, fact: &str) {
        self.event("sometimes", format_args!("{fact}"));
    }
}

/// The life of a process: it ends when this is dropped.
pub struct Life {
    report: Report,
    process: String,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.report.event("end", format_args!("{}", self.process));
    }
}

/// An operation of a client. Dropped before it has an outcome, that is unknown.
#[must_use = "an operation has an outcome"]
pub struct Operation {
    report: Report,
    client: String,
    key: String,
    open: Cell<bool>,
}

impl Operation {
    fn close(&self, kind: &'static str, detail: &dyn Display) {
        if self.open.replace(false) {
            self.report.event(kind, format_args!("{} {} {detail}", self.client, self.key));
        }
    }

    /// It took effect, and this was the answer.
    pub fn returned(self, result: &dyn Display) {
        self.close("return", result);
    }

    /// It had no effect, and will not have any.
    pub fn failed(self, why: &dyn Display) {
        self.close("fail", why);
    }

    /// Nobody knows whether it took effect, or will.
    pub fn unknown(self, why: &dyn Display) {
        self.close("unknown", why);
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        self.close("unknown", &"dropped");
    }
}
