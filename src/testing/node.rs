//! The node of a test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::Deref;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Probe;
use super::disk::MemoryDisk;
use super::network::{TestNetwork, Wires};
use super::trace::Recorder;
use super::world::{TestClock, TestEntropy};
use crate::node::{Builder, Node};
use crate::process::{ExitReason, Usage};
use crate::term::Pid;
use crate::world::{Gate, World};

/// So often must nothing have run before all is quiet. Once would do, but for tasks of the test that are none of the node's.
const QUIET_ROUNDS: u32 = 4;
/// Nodes that are not quiet after so many rounds never will be.
const ROUNDS_MAX: u32 = 20_000;

/// What all nodes of a test share.
pub(super) struct Test {
    pub(super) seed: u64,
    pub(super) clock: Arc<TestClock>,
    gate: Arc<Gate>,
    recorder: Arc<Recorder>,
    /// The probes' processes, which are the test's own.
    probes: Mutex<BTreeSet<Pid>>,
}

impl Test {
    pub(super) fn probes(&self) -> MutexGuard<'_, BTreeSet<Pid>> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn settle(&self) {
        let (mut quiet, mut rounds) = (0, 0);
        while quiet < QUIET_ROUNDS {
            let before = self.gate.polls();
            tokio::task::yield_now().await;
            quiet = if self.gate.polls() == before { quiet + 1 } else { 0 };
            rounds += 1;
            assert!(
                rounds < ROUNDS_MAX,
                "the node does not come to rest: something in it goes on and on without waiting for anything ({self})"
            );
        }
    }

    /// Fails the test.
    pub(super) fn fail(&self, at: &Location<'_>, text: &str) -> ! {
        panic!("{text}\n  {self}, at {at}")
    }
}

impl std::fmt::Display for Test {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "after {:?} of virtual time, seed {}", self.clock.elapsed(), self.seed)
    }
}

/// A node on virtual time, without sockets: see the [module](super).
pub struct TestNode {
    node: Node,
    test: Arc<Test>,
    at_start: BTreeSet<Pid>,
    printed: Arc<Mutex<String>>,
}

impl TestNode {
    /// Starts the node `test@test`. All that is left to chance in it comes from the seed.
    ///
    /// # Panics
    /// If the runtime's time is not paused.
    #[track_caller]
    pub fn new(seed: u64) -> impl Future<Output = Self> {
        let nodes = Self::cluster(seed, ["test@test"]);
        async {
            let [node] = nodes.await;
            node
        }
    }

    /// Starts nodes of these names, connected to each other over a network in memory: what one sends, another has at once.
    ///
    /// # Panics
    /// If a name is no node's, or the runtime's time is not paused.
    #[track_caller]
    pub fn cluster<const N: usize>(seed: u64, names: [&str; N]) -> impl Future<Output = [Self; N]> {
        Self::cluster_with(seed, names, |builder| builder)
    }

    /// As [`cluster`](Self::cluster), each node with further settings.
    ///
    /// # Panics
    /// As [`cluster`](Self::cluster).
    #[track_caller]
    pub fn cluster_with<const N: usize>(
        seed: u64,
        names: [&str; N],
        configure: impl Fn(Builder) -> Builder,
    ) -> impl Future<Output = [Self; N]> {
        let clock = Arc::new(TestClock::new());
        let recorder = Arc::new(Recorder { clock: clock.clone(), events: Mutex::default() });
        let test = Arc::new(Test { seed, clock, gate: Arc::default(), recorder, probes: Mutex::default() });
        let names = names.map(str::to_owned);
        async move {
            let wires = Arc::new(Wires::default());
            let mut nodes: Vec<(Node, Arc<Mutex<String>>)> = Vec::new();
            for name in &names {
                let printed = Arc::new(Mutex::new(String::new()));
                let node = start(name, &test, &wires, printed.clone(), &configure).await;
                for (other, _) in &nodes {
                    if let Err(error) = node.connect(other.name().clone()).await {
                        panic!("{name} does not connect to {}: {error}", other.name());
                    }
                }
                nodes.push((node, printed));
            }
            test.settle().await;
            let mut nodes = nodes.into_iter();
            names.map(|_| {
                let (node, printed) =
                    nodes.next().unwrap_or_else(|| unreachable!("there are as many as names"));
                let at_start = pids(&node);
                Self { node, test: test.clone(), at_start, printed }
            })
        }
    }

    /// The seed that repeats the test.
    pub fn seed(&self) -> u64 {
        self.test.seed
    }

    /// How much virtual time has passed since the test began.
    pub fn elapsed(&self) -> Duration {
        self.test.clock.elapsed()
    }

    /// What the node's `user` was given to print since the last time that this was asked; nothing of it reaches the standard
    /// output. See [`io`](crate::io).
    pub fn printed(&self) -> String {
        std::mem::take(&mut *self.printed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A process that the test holds.
    ///
    /// # Panics
    /// If the node has as many processes as it may.
    pub fn probe(&self) -> Probe {
        Probe::new(self.node.clone(), self.test.clone())
    }

    /// Waits until no process of the test's nodes has anything to do, while no time passes.
    ///
    /// # Panics
    /// If there is one that never waits.
    pub async fn settle(&self) {
        self.test.settle().await;
    }

    /// Lets so much time pass, in whole milliseconds. All that becomes due meanwhile happens in order, and when this returns no process
    /// has anything to do.
    pub async fn advance(&self, time: Duration) {
        self.settle().await;
        self.node.world().sleep(time).await;
        self.settle().await;
    }

    /// Sends an exit signal to a process, and waits until all that comes of it has happened.
    pub async fn kill(&self, pid: &Pid, reason: ExitReason) {
        self.node.exit(pid, reason);
        self.settle().await;
    }

    /// Waits until a name is registered.
    ///
    /// # Panics
    /// If it is not within this time.
    #[track_caller]
    pub fn expect_registered(&self, name: &str, within: Duration) -> impl Future<Output = Pid> {
        self.expect_name(name, None, within, Location::caller())
    }

    /// Waits until a name is registered to another process than `old`: it was started again.
    ///
    /// # Panics
    /// If it is not within this time.
    #[track_caller]
    pub fn expect_restart(&self, name: &str, old: &Pid, within: Duration) -> impl Future<Output = Pid> {
        self.expect_name(name, Some(old), within, Location::caller())
    }

    async fn expect_name(
        &self,
        name: &str,
        old: Option<&Pid>,
        within: Duration,
        at: &'static Location<'static>,
    ) -> Pid {
        let end = self.elapsed() + within;
        loop {
            self.settle().await;
            let pid = self.node.whereis(name);
            let left = end.saturating_sub(self.elapsed());
            match &pid {
                Some(pid) if Some(pid) != old => return pid.clone(),
                _ if !left.is_zero() => {
                    // Whatever a name changes by.
                    let polls = self.test.gate.polls();
                    let _ = self.node.world().timeout(left, self.test.gate.polled(polls)).await;
                }
                _ => {
                    let wanted = if old.is_some() { "registered to another process" } else { "registered" };
                    let is = pid.map_or("nobody has it".to_owned(), |pid| format!("{pid} still has it"));
                    let names = self.node.registered();
                    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
                    let registered = names.join(", ");
                    self.test.fail(
                        at,
                        &format!(
                            "expected {name} to be {wanted} within {within:?}, but {is}\n  registered: {registered}"
                        ),
                    )
                }
            }
        }
    }

    /// What a process got, sent to others of its node, and ended with, a line each, the oldest first. A message that was moved is
    /// shown by its type only, unless that is [`Term`](crate::term::Term).
    pub fn trace(&self, pid: &Pid) -> Vec<String> {
        let events = self.test.recorder.events();
        events.iter().filter(|event| event.is_of(pid)).map(ToString::to_string).collect()
    }

    /// All that happened on the nodes of the test, a line each: the same for the same seed.
    pub fn trace_all(&self) -> Vec<String> {
        self.test.recorder.events().iter().map(ToString::to_string).collect()
    }

    /// Fails if the node has processes that it did not have at its start, and says what they have: names, timers, calls that
    /// wait, links, monitors. [Probes](Probe) are the test's own, and do not count.
    ///
    /// # Panics
    /// If there are any.
    #[track_caller]
    pub fn assert_clean(&self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            self.settle().await;
            let probes = self.test.probes().clone();
            let mut left = BTreeMap::new();
            for process in self.node.local().table.all() {
                let pid = process.pid();
                if !self.at_start.contains(pid) && !probes.contains(pid) {
                    left.insert(pid.clone(), describe(&process.usage()));
                }
            }
            if left.is_empty() {
                return;
            }
            let mut text =
                format!("{} is not clean: {} left", self.node.name(), count(left.len(), "process"));
            for (pid, has) in left {
                let _ = write!(text, "\n  {pid}{has}");
            }
            self.test.fail(at, &text);
        }
    }
}

impl Deref for TestNode {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl std::fmt::Debug for TestNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TestNode({}, {})", self.node.name(), self.test)
    }
}

async fn start(
    name: &str,
    test: &Arc<Test>,
    wires: &Arc<Wires>,
    printed: Arc<Mutex<String>>,
    configure: impl Fn(Builder) -> Builder,
) -> Node {
    let host = name.split_once('@').map_or("", |(_, host)| host).to_owned();
    let entropy = TestEntropy { seed: test.seed, node: name.to_owned(), forks: Mutex::default() };
    let world = World {
        net: Arc::new(TestNetwork { wires: wires.clone(), host }),
        clock: test.clock.clone(),
        entropy: Arc::new(entropy),
        disk: Arc::new(MemoryDisk::default()),
        probe: Some(test.recorder.clone()),
        gate: Some(test.gate.clone()),
    };
    let user = move |text: &str| {
        printed.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
        Ok(())
    };
    match configure(Node::builder(name).cookie("test")).world(world).user(user).start().await {
        Ok(node) => node,
        Err(error) => panic!("{name} does not start: {error}"),
    }
}

fn pids(node: &Node) -> BTreeSet<Pid> {
    node.local().table.all().iter().map(|process| process.pid().clone()).collect()
}

fn count(number: usize, what: &str) -> String {
    let plural = match (number, what.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {what}{plural}")
}

fn describe(usage: &Usage) -> String {
    let Usage { name, timers, open_calls, links, monitors, monitored_by, aliases, queued } = usage;
    let mut text = name.as_ref().map_or_else(String::new, |name| format!(" registered as {name}"));
    let numbers = [
        (*timers, "timer"),
        (*open_calls, "open call"),
        (*links, "link"),
        (*monitors, "monitor"),
        (*aliases, "alias"),
        (*queued, "queued message"),
    ];
    let mut has: Vec<String> =
        numbers.iter().filter(|(n, _)| *n > 0).map(|(n, what)| count(*n, what)).collect();
    if *monitored_by > 0 {
        has.push(format!("monitored by {monitored_by}"));
    }
    if !has.is_empty() {
        let _ = write!(text, ": {}", has.join(", "));
    }
    text
}
