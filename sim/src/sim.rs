//! A simulated cluster, its clockwork and its faults.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use beamline::world::{Entropy, Gate, World};
use rand_core::Rng;

use crate::clock::NodeClock;
use crate::entropy::NodeEntropy;
use crate::fault::{Fault, Schedule};
use crate::network::{NodeNetwork, Wires};
use crate::trace::{NodeProbe, Recorder, Trace};

/// The wall clock of every simulation at its start, since 1970: 1 January 2026, a constant so that no run depends
/// on its day.
pub const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// What a node's program returns.
pub type Body = Result<(), Box<dyn Error + Send + Sync>>;

/// A run that went wrong: why, and all that happened until then.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong.
    pub reason: String,
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

struct Host {
    gate: Arc<Gate>,
    // Absent for a service, for which no run waits.
    finished: Option<Rc<Cell<bool>>>,
}

/// A simulated cluster. Nodes are added, then the run is driven; faults happen between two drives.
pub struct Sim {
    inner: turmoil::Sim<'static>,
    seed: u64,
    recorder: Arc<Recorder>,
    wires: Arc<Wires>,
    hosts: BTreeMap<String, Host>,
    time_limit: Duration,
    schedule: Schedule,
    /// How many of its faults were done.
    done: usize,
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
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(20))
            // turmoil panics when a listener has more pending connections than this.
            .tcp_capacity(4096)
            .enable_random_order()
            .build();
        Self {
            inner,
            seed,
            recorder: Arc::default(),
            wires: Arc::default(),
            hosts: BTreeMap::new(),
            time_limit: Duration::from_secs(600),
            schedule: Schedule::default(),
            done: 0,
        }
    }

    /// How much simulated time a run may take before it counts as hung; 10 minutes if nothing is said.
    pub fn set_time_limit(&mut self, limit: Duration) {
        self.time_limit = limit;
    }

    /// What is to be done to the cluster, instead of what there was.
    pub fn set_schedule(&mut self, schedule: Schedule) {
        self.schedule = schedule;
        self.done = 0;
    }

    /// What is to be done to the cluster.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
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
        self.add(name, program, Some(Rc::default()));
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
        self.add(name, program, None);
    }

    fn add<F, Fut>(&mut self, name: &str, program: F, finished: Option<Rc<Cell<bool>>>)
    where
        F: Fn(World) -> Fut + 'static,
        Fut: Future<Output = Body> + Send + 'static,
    {
        assert!(self.wires.add_host(name), "there is a host {name} already");
        let gate = Arc::new(Gate::default());
        let incarnation = Cell::new(0);
        let host = Host { gate: gate.clone(), finished: finished.clone() };
        self.hosts.insert(name.to_owned(), host);
        let (seed, recorder, wires, name) =
            (self.seed, self.recorder.clone(), self.wires.clone(), name.to_owned());
        self.inner.host(name.clone(), move || {
            incarnation.set(incarnation.get() + 1);
            let world = world(seed, &name, incarnation.get(), &recorder, &wires, &gate);
            let task = program(world.clone());
            let finished = finished.clone();
            async move {
                world.event("", "boot", &"");
                // As a task, the program stands behind the node's gate as all its tasks do.
                let body = world.spawn(task).await?;
                world.event("", "finished", &body.is_ok());
                body.map_err(|error| -> Box<dyn Error> { error })?;
                if let Some(finished) = finished {
                    finished.set(true);
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

    /// Runs until the program of every node has returned.
    ///
    /// # Errors
    /// If one returns an error, anything in a node panics, or simulated time runs out.
    pub fn run(mut self) -> Result<Trace, Failure> {
        let all_finished =
            |sim: &Self| sim.hosts.values().all(|host| host.finished.as_ref().is_none_or(|done| done.get()));
        while !all_finished(&self) {
            if self.elapsed() >= self.time_limit {
                let waiting =
                    self.hosts.iter().filter(|(_, host)| host.finished.as_ref().is_some_and(|f| !f.get()));
                let waiting: Vec<_> = waiting.map(|(name, _)| name.as_str()).collect();
                let reason =
                    format!("{waiting:?} did not finish within {:?} of simulated time", self.time_limit);
                return Err(self.failure(reason));
            }
            self.step()?;
        }
        let trace = self.recorder.take();
        self.recorder.set_closed(true);
        Ok(trace)
    }

    /// Runs for so much simulated time.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_for(&mut self, duration: Duration) -> Result<(), Failure> {
        let end = self.elapsed() + duration;
        while self.elapsed() < end {
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), Failure> {
        while let Some(timed) = self.schedule.faults.get(self.done)
            && Duration::from_millis(timed.at_ms) <= self.elapsed()
        {
            let fault = timed.fault.clone();
            self.done += 1;
            self.apply(&fault)?;
        }
        let stepped = self.inner.step();
        if let Some(panic) = self.recorder.panics().first() {
            return Err(self.failure(format!("a task panicked: {panic}")));
        }
        stepped.map(drop).map_err(|error| self.failure(error.to_string()))
    }

    fn failure(&self, reason: String) -> Failure {
        Failure { reason, seed: self.seed, trace: self.recorder.take() }
    }

    fn apply(&mut self, fault: &Fault) -> Result<(), Failure> {
        match fault {
            Fault::Cut { one, other } => self.cut(one, other),
            Fault::Mend { one, other } => self.heal(one, other),
            Fault::Crash { node } => self.crash(node),
            Fault::Restart { node } => self.restart(node),
            Fault::Pause { node } => self.pause(node),
            Fault::Resume { node } => self.resume(node),
            other => return Err(self.failure(format!("there is no way yet to do {other:?}"))),
        }
        Ok(())
    }

    /// Cuts the wire between two hosts, in silence: what is sent waits for [`heal`](Self::heal), and dials time
    /// out.
    pub fn cut(&mut self, one: &str, other: &str) {
        self.fault("cut", &format!("{one} {other}"));
        self.wires.cut(one, other);
        self.inner.hold(one, other);
    }

    /// Mends the wire between two hosts; what was sent arrives.
    pub fn heal(&mut self, one: &str, other: &str) {
        self.fault("heal", &format!("{one} {other}"));
        self.wires.heal(one, other);
        self.inner.release(one, other);
    }

    /// Ends a node's process; its sockets close, its host is there no more until it is restarted.
    pub fn crash(&mut self, node: &str) {
        self.fault("crash", node);
        self.recorder.set_closed(true);
        self.inner.crash(node);
        self.recorder.set_closed(false);
    }

    /// Starts a node's program anew, in a new incarnation.
    pub fn restart(&mut self, node: &str) {
        self.fault("restart", node);
        if let Some(host) = self.hosts.get(node) {
            host.gate.resume();
        }
        self.recorder.set_closed(true);
        self.inner.bounce(node);
        self.recorder.set_closed(false);
    }

    /// Stops a node in its tracks, as SIGSTOP does; its sockets stay.
    pub fn pause(&mut self, node: &str) {
        self.fault("pause", node);
        if let Some(host) = self.hosts.get(node) {
            host.gate.pause();
        }
    }

    /// Lets a paused node run on.
    pub fn resume(&mut self, node: &str) {
        self.fault("resume", node);
        if let Some(host) = self.hosts.get(node) {
            host.gate.resume();
        }
    }

    fn fault(&self, kind: &str, detail: &str) {
        self.recorder.record(self.elapsed(), ("sim", 0), kind, &detail);
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // Nodes are torn down after this: what they do then is no part of the run.
        self.recorder.set_closed(true);
    }
}

fn world(
    seed: u64,
    host: &str,
    incarnation: u32,
    recorder: &Arc<Recorder>,
    wires: &Arc<Wires>,
    gate: &Arc<Gate>,
) -> World {
    let node = format!("{host}#{incarnation}");
    let probe = Arc::new(NodeProbe { recorder: recorder.clone(), node: host.to_owned(), incarnation });
    // A host's clocks outlive its incarnations.
    let mut draw = NodeEntropy::new(seed, host).fork("clock");
    let clock = NodeClock {
        recorder: recorder.clone(),
        mono_start: Duration::from_secs(u64::from(draw.next_u32() % 3600)),
        wall_ahead: Duration::from_millis(u64::from(draw.next_u32() % 3000)),
    };
    World {
        net: Arc::new(NodeNetwork { host: host.to_owned(), wires: wires.clone(), probe: probe.clone() }),
        clock: Arc::new(clock),
        entropy: Arc::new(NodeEntropy::new(seed, &node)),
        probe: Some(probe),
        gate: Some(gate.clone()),
    }
}
