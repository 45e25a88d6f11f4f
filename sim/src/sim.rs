//! A simulated cluster, its clockwork and its faults.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use beamline::testing::{MemoryDisk, Torn};
use beamline::world::{Entropy, Gate, World, simulated};
use rand_core::Rng;

use crate::check::{Checker, Verdict, Violation};
use crate::clock::HostClock;
use crate::entropy::NodeEntropy;
use crate::fault::{Fault, Schedule};
use crate::network::{NodeNetwork, Wires};
use crate::run::Outcome;
use crate::swarm::Swarm;
use crate::trace::{Mishap, NodeProbe, Recorder, Trace};

/// The wall clock of every simulation at its start, since 1970: 1 January 2026, a constant so that no run depends
/// on its day.
pub const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// How long programs may take to return once all is healed, if nothing else is said.
const CALM: Duration = Duration::from_secs(60);

/// How long a disk takes to sync, if nothing else is said: long enough for a crash to fall into it.
const SYNC_TIME: Duration = Duration::from_millis(1);

/// What a node's program returns.
pub type Body = Result<(), Box<dyn Error + Send + Sync>>;

/// A run that went wrong: why, and all that happened until then.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong, in words.
    pub reason: String,
    /// What went wrong: never [`Outcome::Passed`].
    pub outcome: Outcome,
    /// The seed that repeats it.
    pub seed: u64,
    /// What happened.
    pub trace: Trace,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let events = self.trace.events();
        writeln!(f, "seed {}: {}; the last of {} events:", self.seed, self.reason, events.len())?;
        for event in events.iter().skip(events.len().saturating_sub(50)) {
            writeln!(f, "  {event}")?;
        }
        Ok(())
    }
}

impl Error for Failure {}

/// What a host is to the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A node, whose program the run waits for.
    Node,
    /// A node whose program may run for ever.
    Service,
    /// A part of the test: the run waits for it, and of all faults only those of wires reach it.
    Client,
}

type Program = Rc<dyn Fn(World) -> Pin<Box<dyn Future<Output = Body> + Send>>>;

struct Host {
    role: Role,
    gate: Arc<Gate>,
    clock: Arc<HostClock>,
    disk: MemoryDisk,
    program: Program,
    /// How often the program was started.
    incarnation: Rc<Cell<u32>>,
    finished: Rc<Cell<bool>>,
    runs: bool,
    /// Programs that run beside it: what turmoil calls their hosts, and their incarnations.
    twins: Vec<(String, Rc<Cell<u32>>)>,
}

/// A simulated cluster. Nodes are added, then the run is driven; faults happen as its schedule says, or between two drives.
///
/// A run with a schedule has four phases: chaos, while faults are done; then all is healed; then calm, in which the programs of all nodes
/// and clients must return; then the checkers say their last word. The first violation ends the run.
pub struct Sim {
    inner: turmoil::Sim<'static>,
    seed: u64,
    recorder: Arc<Recorder>,
    wires: Arc<Wires>,
    hosts: BTreeMap<String, Host>,
    checkers: Vec<Box<dyn Checker>>,
    /// How many events the checkers have seen.
    seen: usize,
    time_limit: Duration,
    swarm: Option<Swarm>,
    drawn: Vec<(String, String)>,
    schedule: Schedule,
    /// How many of its faults were done.
    done: usize,
    /// Whether there is a time when all is healed that is still to come.
    to_heal: bool,
}

impl Sim {
    /// A cluster without nodes. All that is left to chance in it comes from the seed.
    pub fn new(seed: u64) -> Self {
        let inner = turmoil::Builder::new()
            .rng_seed(seed)
            .epoch(SystemTime::UNIX_EPOCH + EPOCH)
            // Ours is the limit that counts; turmoil's knows nothing of bodies.
            .simulation_duration(Duration::from_secs(u32::MAX.into()))
            .tick_duration(Duration::from_millis(1))
            .enable_random_order()
            .build();
        let recorder = Arc::<Recorder>::default();
        Self {
            inner,
            seed,
            wires: Arc::new(Wires::new(seed, recorder.clone())),
            recorder,
            hosts: BTreeMap::new(),
            checkers: Vec::new(),
            seen: 0,
            time_limit: Duration::from_secs(600),
            swarm: None,
            drawn: Vec::new(),
            schedule: Schedule::default(),
            done: 0,
            to_heal: false,
        }
    }

    /// How much simulated time a run may take at most, with all its phases; 10 minutes if nothing is said.
    pub fn time_limit(&mut self, limit: Duration) {
        self.time_limit = limit;
    }

    /// Something that must hold.
    pub fn check(&mut self, checker: impl Checker + 'static) {
        self.checkers.push(Box::new(checker));
    }

    /// Which faults the seed may draw. [`run`](crate::run) draws them, once the setup has said what nodes there are.
    pub fn swarm(&mut self, swarm: Swarm) {
        self.swarm = Some(swarm);
    }

    /// Has the library make a mistake, to see that it is found. It does so only if it is built with the feature `planted`.
    #[doc(hidden)]
    pub fn plant(&mut self, mistake: &'static str) {
        self.recorder.plant(mistake);
    }

    /// A number that the seed decides, in a stream of its own; reports name it.
    pub fn draw(&mut self, name: &str, range: Range<u64>) -> u64 {
        let number = NodeEntropy::new(self.seed, "draw").fork(name).next_u64();
        let number = range.start + number % (range.end.saturating_sub(range.start)).max(1);
        self.drawn.push((name.to_owned(), number.to_string()));
        number
    }

    /// What was drawn, by name.
    pub(crate) fn drawn(&self) -> &[(String, String)] {
        &self.drawn
    }

    /// Draws the faults, unless the setup has set its own.
    pub(crate) fn draw_schedule(&mut self) {
        let Some(swarm) = self.swarm.as_ref().filter(|_| !self.to_heal) else { return };
        let names = |keep: fn(Role) -> bool| -> Vec<&str> {
            let hosts = self.hosts.iter().filter(|(_, host)| keep(host.role));
            hosts.map(|(name, _)| name.as_str()).collect()
        };
        let (schedule, kinds) = swarm.draw(self.seed, &names(|role| role != Role::Client), &names(|_| true));
        let kinds: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
        self.drawn.push(("faults".to_owned(), kinds.join(" ")));
        self.set_schedule(schedule);
    }

    /// What is to be done to the cluster, instead of what there was. From the time on when all is healed the programs of nodes have as long as
    /// the [`Swarm`] says to return.
    pub fn set_schedule(&mut self, schedule: Schedule) {
        self.to_heal = schedule != Schedule::default();
        self.schedule = schedule;
        self.done = 0;
    }

    /// What is to be done to the cluster.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The seed of the run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Adds a host of this name with a program that [`run`](Self::run) waits for. After a [`crash`](Self::crash)
    /// the program starts anew, in a new incarnation. The node's tasks go on when its program has returned.
    ///
    /// # Panics
    /// If there is a host of that name.
    pub fn node<F, Fut>(&mut self, name: &str, program: F)
    where
        F: Fn(World) -> Fut + 'static,
        Fut: Future<Output = Body> + Send + 'static,
    {
        self.add(name, program, Role::Node);
    }

    /// Adds a host with a program that may run for ever.
    ///
    /// # Panics
    /// If there is a host of that name.
    pub fn service<F, Fut>(&mut self, name: &str, program: F)
    where
        F: Fn(World) -> Fut + 'static,
        Fut: Future<Output = Body> + Send + 'static,
    {
        self.add(name, program, Role::Service);
    }

    /// Adds a host with a program that [`run`](Self::run) waits for and that never crashes, stands still or loses its clock: the part of the
    /// test that asks the cluster for something. Wires to it may be cut.
    ///
    /// # Panics
    /// If there is a host of that name.
    pub fn client<F, Fut>(&mut self, name: &str, program: F)
    where
        F: Fn(World) -> Fut + 'static,
        Fut: Future<Output = Body> + Send + 'static,
    {
        self.add(name, program, Role::Client);
    }

    fn add<F, Fut>(&mut self, name: &str, program: F, role: Role)
    where
        F: Fn(World) -> Fut + 'static,
        Fut: Future<Output = Body> + Send + 'static,
    {
        assert!(self.wires.add_host(name), "there is a host {name} already");
        let clock = HostClock::new(self.recorder.clone(), NodeEntropy::new(self.seed, name).fork("clock"));
        let host = Host {
            role,
            gate: Arc::default(),
            clock: Arc::new(clock),
            disk: MemoryDisk::default(),
            program: Rc::new(move |world| Box::pin(program(world))),
            incarnation: Rc::default(),
            finished: Rc::default(),
            runs: true,
            twins: Vec::new(),
        };
        host.disk.set_sync_time(SYNC_TIME);
        self.hosts.insert(name.to_owned(), host);
        let finished = self.hosts[name].finished.clone();
        let gate = self.hosts[name].gate.clone();
        self.start_program(name, name, gate, Some(finished), Rc::default());
    }

    /// Has turmoil run a host's program, as `runs_as`. Without a flag for its end nobody cares how that is.
    fn start_program(
        &mut self,
        host: &str,
        runs_as: &str,
        gate: Arc<Gate>,
        finished: Option<Rc<Cell<bool>>>,
        current: Rc<Cell<u32>>,
    ) {
        let (seed, recorder, wires, name) =
            (self.seed, self.recorder.clone(), self.wires.clone(), host.to_owned());
        let host = &self.hosts[host];
        let (program, incarnation, (clock, disk)) =
            (host.program.clone(), host.incarnation.clone(), (host.clock.clone(), host.disk.clone()));
        self.inner.host(runs_as, move || {
            incarnation.set(incarnation.get() + 1);
            current.set(incarnation.get());
            let (name, incarnation, recorder) = (name.clone(), incarnation.get(), recorder.clone());
            let probe = Arc::new(NodeProbe { recorder: recorder.clone(), node: name.clone(), incarnation });
            let world = World {
                net: Arc::new(NodeNetwork { host: name.clone(), wires: wires.clone(), probe: probe.clone() }),
                clock: clock.clone(),
                entropy: Arc::new(NodeEntropy::new(seed, &format!("{name}#{incarnation}"))),
                disk: Arc::new(disk.clone()),
                probe: Some(probe),
                gate: Some(gate.clone()),
            };
            let task = program(world.clone());
            let finished = finished.clone();
            async move {
                world.event("", "boot", &"");
                // As a task, the program stands behind the node's gate as all its tasks do.
                match (world.spawn(task).await, finished) {
                    (Ok(Ok(())), finished) => {
                        world.event("", "finished", &"");
                        if let Some(finished) = finished {
                            finished.set(true);
                        }
                    }
                    (Ok(Err(error)), Some(_)) => {
                        let at = turmoil::sim_elapsed().unwrap_or_default();
                        recorder.program_failed(at, (&name, incarnation), &error);
                    }
                    // A node that finds its name taken is right to give up.
                    (Ok(Err(error)), None) => world.event("", "gave up", &error),
                    // It panicked, which is known already.
                    (Err(_), _) => {}
                }
                // turmoil would stop the host's clock, and with it the node's other tasks.
                std::future::pending::<turmoil::Result>().await
            }
        });
    }

    /// Simulated time since the start.
    pub fn elapsed(&self) -> Duration {
        self.inner.elapsed()
    }

    /// Runs until the program of every node and client has returned; with a schedule, through all its phases.
    ///
    /// # Errors
    /// If one returns an error, anything in a node panics, a checker objects, or simulated time runs out.
    pub fn run(mut self) -> Result<Trace, Box<Failure>> {
        match self.drive() {
            Outcome::Passed => Ok(self.into_trace()),
            outcome => Err(self.failure(outcome)),
        }
    }

    /// Runs for so much simulated time.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_for(&mut self, duration: Duration) -> Result<(), Box<Failure>> {
        let end = self.elapsed() + duration;
        while self.elapsed() < end {
            self.step().map_err(|outcome| self.failure(outcome))?;
        }
        Ok(())
    }

    /// What happened so far.
    pub fn trace(&self) -> Trace {
        self.recorder.trace()
    }

    /// What happened, when the run is over.
    pub(crate) fn into_trace(self) -> Trace {
        self.recorder.take()
    }

    fn failure(&self, outcome: Outcome) -> Box<Failure> {
        let reason = outcome.reason().unwrap_or_default();
        Box::new(Failure { reason, outcome, seed: self.seed, trace: self.recorder.take() })
    }

    /// Runs to the end.
    pub(crate) fn drive(&mut self) -> Outcome {
        let outcome = self.drive_programs().and_then(|()| self.finish());
        self.recorder.set_closed(true);
        outcome.err().unwrap_or(Outcome::Passed)
    }

    fn drive_programs(&mut self) -> Result<(), Outcome> {
        let calm = self.swarm.as_ref().map_or(CALM, Swarm::calm_time);
        let deadline = if self.to_heal { self.schedule.heal_at() + calm } else { self.time_limit };
        let is_waited_for = |host: &Host| host.role != Role::Service && !host.finished.get();
        while self.to_heal || self.hosts.values().any(is_waited_for) {
            if self.elapsed() >= deadline.min(self.time_limit) {
                let waiting = self.hosts.iter().filter(|(_, host)| is_waited_for(host));
                let waiting: Vec<_> = waiting.map(|(name, _)| name.clone()).collect();
                let text = format!("{} did not finish within {:?}", waiting.join(", "), self.elapsed());
                let (property, at, node) = ("progress".to_owned(), self.elapsed(), waiting.first().cloned());
                return Err(Outcome::Violated(Violation { property, text, at, node, details: waiting }));
            }
            self.step()?;
        }
        Ok(())
    }

    /// What the checkers say at the end.
    fn finish(&mut self) -> Result<(), Outcome> {
        let mut undecided = None;
        for checker in &mut self.checkers {
            match checker.finish() {
                Verdict::Holds => {}
                Verdict::Violated(violation) => return Err(Outcome::Violated(violation)),
                Verdict::Undecided(why) => {
                    undecided.get_or_insert(format!("{}: {why}", checker.property()));
                }
            }
        }
        undecided.map_or(Ok(()), |why| Err(Outcome::Undecided(why)))
    }

    fn step(&mut self) -> Result<(), Outcome> {
        self.wires.deliver(self.elapsed());
        while let Some(timed) = self.schedule.faults.get(self.done)
            && Duration::from_millis(timed.at_ms) <= self.elapsed()
            && (self.to_heal || timed.at_ms < self.schedule.heal_at_ms)
        {
            let fault = timed.fault.clone();
            self.done += 1;
            self.apply(&fault)?;
        }
        if self.to_heal && self.schedule.heal_at() <= self.elapsed() {
            self.to_heal = false;
            self.heal_all();
        }
        for host in self.hosts.values() {
            host.gate.refill();
        }
        let stepped = simulated(|| self.inner.step());
        self.look()?;
        stepped.map(drop).map_err(|error| Outcome::Broken(error.to_string()))
    }

    /// Shows the checkers what happened.
    fn look(&mut self) -> Result<(), Outcome> {
        let checkers = &mut self.checkers;
        let looked = self
            .recorder
            .each_from(self.seen, |event| checkers.iter_mut().try_for_each(|checker| checker.event(event)));
        self.seen = looked.map_err(Outcome::Violated)?;
        let Some(Mishap { property, event }) = self.recorder.mishap() else { return Ok(()) };
        let what = if property == "panic" { "a task panicked" } else { "its program failed" };
        let (property, text) = (property.to_owned(), format!("{}: {what}: {}", event.node, event.detail));
        let details = vec![event.to_string()];
        Err(Outcome::Violated(Violation { property, text, at: event.at, node: Some(event.node), details }))
    }

    fn apply(&mut self, fault: &Fault) -> Result<(), Outcome> {
        self.recorder.record(self.elapsed(), ("sim", 0), "fault", fault);
        let now = self.elapsed();
        let seed = self.seed;
        match fault {
            Fault::Cut { one, other } => {
                self.known(&[one, other])?;
                self.wires.cut(one, other);
                self.wires.cut(other, one);
            }
            Fault::CutOneWay { from, to } => {
                self.known(&[from, to])?;
                self.wires.cut(from, to);
            }
            Fault::Mend { one, other } => {
                self.known(&[one, other])?;
                self.wires.mend(one, other);
            }
            Fault::Partition { groups } => {
                self.known(&groups.iter().flatten().collect::<Vec<_>>())?;
                self.wires.partition(groups);
            }
            Fault::MendAll => self.wires.mend_all(),
            Fault::Reset { one, other } => {
                self.known(&[one, other])?;
                self.wires.reset(one, other);
            }
            Fault::HalfOpen { gone, left } => {
                self.known(&[gone, left])?;
                self.wires.half_open(gone, left);
            }
            Fault::Bandwidth { from, to, bytes_per_ms } => {
                self.known(&[from, to])?;
                self.wires.set_bandwidth(from, to, *bytes_per_ms);
            }
            Fault::Latency { one, other, min_ms, max_ms } => {
                self.known(&[one, other])?;
                self.wires.set_latency(one, other, (*min_ms, *max_ms));
            }
            Fault::Chunks { node, max_len } => {
                self.host(node)?;
                self.wires.set_chunk(node, *max_len);
            }
            Fault::Crash { node } => self.stop(node, false)?,
            Fault::PowerLoss { node } => self.stop(node, true)?,
            Fault::Restart { node } => self.start(node)?,
            Fault::Pause { node } => self.host(node)?.gate.pause(),
            Fault::Resume { node } => self.host(node)?.gate.resume(),
            Fault::Slow { node, polls_per_ms } => self.host(node)?.gate.slow(*polls_per_ms),
            Fault::Shake { node, percent } => {
                let label = format!("shake {}", now.as_millis());
                self.host(node)?.gate.shake(*percent, NodeEntropy::new(seed, node).fork(&label));
            }
            Fault::ClockJump { node, by_ms } => self.host(node)?.clock.jump(*by_ms),
            Fault::ClockDrift { node, ppm } => self.host(node)?.clock.drift(now, *ppm),
            Fault::EpmdDown { node } => {
                self.host(node)?;
                self.wires.set_epmd(node, false);
            }
            Fault::EpmdUp { node } => {
                self.host(node)?;
                self.wires.set_epmd(node, true);
            }
            Fault::Twin { node } => self.start_twin(node)?,
            Fault::SlowDisk { node, sync_ms } => {
                let time = sync_ms.map_or(SYNC_TIME, |ms| Duration::from_millis(ms.into()));
                self.host(node)?.disk.set_sync_time(time);
            }
            Fault::BadDisk { node, fails } => self.host(node)?.disk.set_failing(*fails),
        }
        Ok(())
    }

    /// Whether there are hosts of these names.
    fn known(&self, names: &[&String]) -> Result<(), Outcome> {
        match names.iter().find(|name| !self.hosts.contains_key(**name)) {
            None => Ok(()),
            Some(name) => Err(Outcome::Broken(format!("there is no host {name}"))),
        }
    }

    /// A host that node faults may hit.
    fn host(&mut self, name: &str) -> Result<&mut Host, Outcome> {
        match self.hosts.get_mut(name) {
            Some(host) if host.role != Role::Client => Ok(host),
            Some(_) => Err(Outcome::Broken(format!("{name} is a client, which only faults of wires reach"))),
            None => Err(Outcome::Broken(format!("there is no host {name}"))),
        }
    }

    fn stop(&mut self, node: &str, power: bool) -> Result<(), Outcome> {
        let host = self.host(node)?;
        let runs = std::mem::take(&mut host.runs);
        let twins = std::mem::take(&mut host.twins);
        if power {
            self.wires.power_lost(node);
        } else {
            self.wires.killed(node, None);
        }
        if runs {
            // What its tasks do while they are dropped is not seen: a killed process does nothing.
            self.recorder.set_closed(true);
            self.inner.crash(node);
            for (runs_as, _) in twins {
                self.inner.crash(runs_as);
            }
            self.recorder.set_closed(false);
        }
        if power {
            let now = self.elapsed();
            let mut rng = NodeEntropy::new(self.seed, node).fork(&format!("power {}", now.as_millis()));
            let host = self.host(node)?;
            let incarnation = host.incarnation.get();
            for Torn { name, had, kept, damaged } in host.disk.lose_power(&mut rng) {
                let damaged = damaged.map_or_else(String::new, |at| format!(", damaged at {at}"));
                let detail = format!("{name} kept {kept} of {} bytes, {} synced{damaged}", had.0, had.1);
                self.recorder.record(now, (node, incarnation), "torn", &detail);
            }
        }
        Ok(())
    }

    fn start(&mut self, node: &str) -> Result<(), Outcome> {
        self.stop(node, false)?;
        self.wires.powered(node);
        let host = self.host(node)?;
        host.finished.set(false);
        host.runs = true;
        host.gate.resume();
        simulated(|| self.inner.bounce(node));
        Ok(())
    }

    fn start_twin(&mut self, node: &str) -> Result<(), Outcome> {
        let host = self.host(node)?;
        if host.runs {
            let (runs_as, current) = (format!("{node}-twin-{}", host.incarnation.get() + 1), Rc::default());
            host.twins.push((runs_as.clone(), Rc::clone(&current)));
            self.start_program(node, &runs_as, Arc::default(), None, current);
        }
        Ok(())
    }

    /// Ends all faults.
    fn heal_all(&mut self) {
        let now = self.elapsed();
        self.recorder.record(now, ("sim", 0), "healed", &"");
        self.wires.heal();
        let names: Vec<_> = self.hosts.keys().cloned().collect();
        for name in &names {
            let Some(host) = self.hosts.get_mut(name) else { continue };
            host.clock.drift(now, 0);
            host.disk.set_sync_time(SYNC_TIME);
            host.disk.set_failing(false);
            host.gate.slow(None);
            host.gate.shake(0, NodeEntropy::new(self.seed, name).fork("shake"));
            host.gate.resume();
            for (runs_as, incarnation) in std::mem::take(&mut host.twins) {
                self.wires.killed(name, Some(incarnation.get()));
                self.recorder.set_closed(true);
                self.inner.crash(runs_as);
                self.recorder.set_closed(false);
            }
            if !self.hosts[name].runs {
                // Clients always run.
                let _ = self.start(name);
            }
        }
    }

    /// Does something to the cluster, now.
    ///
    /// # Panics
    /// If that cannot be done: there is no such host, or it is a client.
    pub fn inject(&mut self, fault: &Fault) {
        if let Err(outcome) = self.apply(fault) {
            panic!("{}", outcome.reason().unwrap_or_default());
        }
    }

    /// Cuts the wire between two hosts, as [`Fault::Cut`].
    ///
    /// # Panics
    /// As [`inject`](Self::inject), and so do the others.
    pub fn cut(&mut self, one: &str, other: &str) {
        self.inject(&Fault::Cut { one: one.to_owned(), other: other.to_owned() });
    }

    /// Mends it.
    pub fn heal(&mut self, one: &str, other: &str) {
        self.inject(&Fault::Mend { one: one.to_owned(), other: other.to_owned() });
    }

    /// Kills a node's process, as [`Fault::Crash`].
    pub fn crash(&mut self, node: &str) {
        self.inject(&Fault::Crash { node: node.to_owned() });
    }

    /// Starts a node's program anew, in a new incarnation.
    pub fn restart(&mut self, node: &str) {
        self.inject(&Fault::Restart { node: node.to_owned() });
    }

    /// Stops a node in its tracks, as [`Fault::Pause`].
    pub fn pause(&mut self, node: &str) {
        self.inject(&Fault::Pause { node: node.to_owned() });
    }

    /// Lets a paused node run on.
    pub fn resume(&mut self, node: &str) {
        self.inject(&Fault::Resume { node: node.to_owned() });
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // Nodes are torn down after this: what they do then is no part of the run.
        self.recorder.set_closed(true);
    }
}
