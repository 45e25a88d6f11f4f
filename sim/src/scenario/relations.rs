//! Links and monitors under chaos.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use beamline::gen_server::{self, GenServer, Reply, ReplyTo};
use beamline::node::Node;
use beamline::process::{Context, ExitReason};
use beamline::term::{Atom, Pid, Reference, Term};
use beamline::world::{BoxFuture, World};

use super::census::{self, Dice, HOSTS, Quiet, SILENCE, node_of, process};
use crate::check::{Links, Monitors, Nodes, Report};
use crate::{Body, Sim, Swarm};

/// How many processes of each node come and go.
const TARGETS: usize = 3;

/// How many of each node watch those of all.
const WATCHERS: usize = 2;

/// Processes of three nodes link to others of all of them that come and go, and monitor them.
pub(super) fn relations(sim: &mut Sim) {
    for host in HOSTS {
        sim.service(host, move |world| program(world, host));
    }
    census::add(sim, &["n@one", "n@two", "n@three"], Swarm::new());
    census::serves(sim);
    sim.check(Monitors::default());
    sim.check(Links::default());
    sim.check(Nodes::default().silence(SILENCE));
}

/// The processes of a node that others may watch, by their place.
#[derive(Clone, Default)]
struct Targets(Arc<Mutex<BTreeMap<usize, Pid>>>);

impl Targets {
    fn set(&self, place: usize, pid: Pid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(place, pid);
    }

    fn all(&self) -> Vec<Pid> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// Tells which there are.
struct Directory(Targets);

impl GenServer for Directory {
    type Args = Targets;
    type Call = Atom;
    type Reply = Vec<Pid>;
    type Cast = Term;
    type Info = Term;

    async fn init(targets: Targets, _: &mut gen_server::Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self(targets))
    }

    async fn handle_call(
        &mut self,
        _: Atom,
        from: ReplyTo<Vec<Pid>>,
        _: &mut gen_server::Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(self.0.all()))
    }
}

async fn program(world: World, host: &'static str) -> Body {
    let node = census::start(&world, &node_of(host), false).await;
    let (quiet, targets, before) = (Quiet::default(), Targets::default(), node.process_count());
    for place in 0..TARGETS {
        let (quiet, targets) = (quiet.clone(), targets.clone());
        node.spawn(move |cx| keep_target(cx, place, quiet, targets))?;
    }
    Directory::start(&node, targets.clone()).name("directory").await?;
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        let quiet = quiet.clone();
        watchers.push(node.spawn(|cx| watcher(cx, quiet))?);
    }
    // Each place has its keeper and its first target.
    census::started(&node, before, 2 * TARGETS + 1 + WATCHERS).await;
    let look = move |node: Node| -> BoxFuture<'static, ()> {
        let report = Report::new(node.world());
        for pid in watchers.iter().cloned().chain(targets.all()) {
            if let Some(info) = node.process_info(&pid) {
                report.links(&process(&pid), &info.links.iter().map(process).collect::<Vec<_>>());
            }
        }
        Box::pin(async {})
    };
    census::take_part(&node, quiet, look).await?;
    std::future::pending().await
}

/// Starts one target after the other.
async fn keep_target(mut cx: Context<Term>, place: usize, quiet: Quiet, targets: Targets) -> ExitReason {
    loop {
        let quiet = quiet.clone();
        let Ok(pid) = cx.spawn(|cx| target(cx, quiet)) else { return ExitReason::atom("system_limit") };
        targets.set(place, pid.clone());
        cx.monitor(&pid);
        cx.receive().await;
    }
}

/// Lives for a while.
async fn target(mut cx: Context<Term>, quiet: Quiet) -> ExitReason {
    let (world, name) = (cx.world().clone(), process(cx.pid()));
    let (report, mut dice) = (Report::new(&world), Dice::new(&world, "target"));
    let _life = report.life(&name);
    cx.trap_exit(true);
    let mut turns = 1 + dice.below(20);
    while turns > 0 {
        if !quiet.is_set() {
            turns -= 1;
        }
        if let Ok(message) = world.timeout(dice.millis(10, 300), cx.receive()).await
            && let Some([_, pid, reason]) = message.as_tuple()
            && let Some(pid) = pid.as_pid()
        {
            report.exit(&name, &process(pid), reason);
        }
    }
    if dice.below(2) == 0 { ExitReason::Normal } else { ExitReason::atom("tired") }
}

struct Watcher {
    report: Report,
    name: String,
    monitors: BTreeMap<Reference, u64>,
    links: Vec<Pid>,
}

impl Watcher {
    fn told(&mut self, message: &Term) {
        match message.as_tuple() {
            Some([tag, pid, reason]) if tag.is_atom("EXIT") => {
                let Some(pid) = pid.as_pid() else { return };
                self.links.retain(|known| known != pid);
                self.report.exit(&self.name, &process(pid), reason);
            }
            Some([tag, reference, _, _, reason]) if tag.is_atom("DOWN") => {
                let number = reference.as_reference().and_then(|it| self.monitors.get(it)).copied();
                self.report.down(&self.name, number.unwrap_or_default(), reason);
            }
            _ => {}
        }
    }
}

async fn watcher(mut cx: Context<Term>, quiet: Quiet) -> ExitReason {
    let (world, name) = (cx.world().clone(), process(cx.pid()));
    let (report, mut dice) = (Report::new(&world), Dice::new(&world, "watcher"));
    let _life = report.life(&name);
    cx.trap_exit(true);
    let mut this =
        Watcher { report: report.clone(), name: name.clone(), monitors: BTreeMap::new(), links: Vec::new() };
    let mut known: Vec<Pid> = Vec::new();
    loop {
        let until = dice.millis(5, 150);
        if let Ok(message) = world.timeout(until, cx.receive()).await {
            this.told(&message);
            continue;
        }
        if quiet.is_set() {
            continue;
        }
        let chosen = dice.pick(&known).cloned();
        match (dice.below(6), chosen) {
            (0 | 1, Some(pid)) => {
                let number = this.monitors.len() as u64 + 1;
                report.monitor(&name, number, &process(&pid));
                let reference = cx.monitor(&pid);
                this.monitors.insert(reference, number);
            }
            (2, Some(pid)) if !this.links.contains(&pid) => {
                report.link(&name, &process(&pid));
                cx.link(&pid);
                this.links.push(pid);
            }
            (3, _) if !this.links.is_empty() && dice.below(2) == 0 => {
                let place = dice.below(this.links.len() as u32) as usize;
                let pid = this.links.swap_remove(place);
                cx.unlink(&pid);
                report.unlink(&name, &process(&pid));
            }
            (4, _) if !this.monitors.is_empty() => {
                // One of the last: most of the others have fired.
                let last: Vec<_> = this.monitors.iter().rev().take(4).collect();
                if let Some((reference, number)) = dice.pick(&last) {
                    cx.demonitor(reference);
                    report.demonitor(&name, **number);
                }
            }
            _ => {
                let Ok(node) = Atom::new(&node_of(dice.host())) else { continue };
                let call = cx.call::<Vec<Pid>, _>(("directory", node), Atom::from_static("get"));
                if let Ok(pids) = call.timeout(Duration::from_secs(1)).await {
                    known.extend(pids);
                    // Some have ended since.
                    let old = known.len().saturating_sub(9);
                    known.drain(..old);
                }
                // Some have fired while the call waited, and what they led to is not received yet.
                let last: Vec<_> = this.monitors.iter().rev().take(6).collect();
                if dice.below(2) == 0
                    && let Some((reference, number)) = dice.pick(&last)
                {
                    cx.demonitor(reference);
                    report.demonitor(&name, **number);
                }
            }
        }
    }
}
