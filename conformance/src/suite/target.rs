//! The node under test, and nodes like it that the suite starts itself.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::epmd::Epmd;
use crate::handshake::{HIDDEN, Me};
use crate::peer::Peer;
use crate::term::{Term, tuple};
use crate::wire::{LOOK, PATIENCE, Wire, WireError};
use crate::{Failure, seen};

/// How long a node may take to start or to stop.
const START: Duration = Duration::from_secs(30);
/// How long a node that has just started may take for an answer, before it is asked again.
const ATTEMPT: Duration = Duration::from_millis(300);
/// How long a process that aborts may take to end.
const ABORTING: Duration = Duration::from_millis(500);
/// The ticktime of nodes that are started for a check that waits for it.
pub(crate) const SHORT_TICKTIME: Duration = Duration::from_secs(4);

/// A node to judge.
#[derive(Clone)]
pub(crate) struct Target {
    /// Its whole name.
    pub(crate) name: String,
    pub(crate) cookie: String,
    pub(crate) epmd: Epmd,
    pub(crate) ticktime: Duration,
    /// How long it lets a handshake take.
    pub(crate) setup: Duration,
    /// The command that starts another node like this one.
    pub(crate) start: Option<String>,
    /// Its process, if this suite started it.
    os_pid: Option<u32>,
    names: Arc<AtomicU32>,
}

impl Target {
    pub(crate) fn new(
        name: String,
        cookie: String,
        epmd: Epmd,
        ticktime: Duration,
        setup: Duration,
        start: Option<String>,
    ) -> Self {
        Self { name, cookie, epmd, ticktime, setup, start, os_pid: None, names: Arc::default() }
    }

    /// The name without its host, as EPMD has it.
    pub(crate) fn alive(&self) -> &str {
        self.name.split_once('@').map_or(&self.name, |(alive, _)| alive)
    }

    pub(crate) fn host(&self) -> &str {
        self.name.split_once('@').map_or("127.0.0.1", |(_, host)| host)
    }

    /// A name that no other check has, with the node's host.
    pub(crate) fn fresh_name(&self, prefix: &str) -> String {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        format!("{prefix}_{}_{number}@{}", std::process::id(), self.host())
    }

    /// A hidden peer with all that OTP 25 can do.
    pub(crate) fn me(&self) -> Me {
        Me { name: self.fresh_name("check"), creation: 0x1234_5678, flags: HIDDEN }
    }

    /// A connection to the node, before any handshake.
    pub(crate) fn wire(&self) -> Result<Wire, Failure> {
        let entry = self.epmd.port_please(self.alive())?;
        let port = entry.ok_or_else(|| seen(format!("EPMD does not know {}", self.alive())))?.port;
        Ok(Wire::connect(&self.epmd.host, port)?)
    }

    /// Fails unless the node still serves a newcomer.
    pub(crate) fn serves(&self) -> Result<(), Failure> {
        self.serves_within(PATIENCE)
    }

    fn serves_within(&self, patience: Duration) -> Result<(), Failure> {
        let mut peer =
            Peer::connect(self).map_err(|error| seen(format!("afterwards no connection: {error}")))?;
        match peer.call_within("echo", "still_there", patience) {
            Ok(reply) if reply.is("still_there") => Ok(()),
            Ok(reply) => Err(seen(format!("afterwards echo answers {reply:?}"))),
            Err(error) => Err(seen(format!("afterwards echo does not answer: {error}"))),
        }
    }

    /// Bytes of memory in use, of a node that this suite started.
    pub(crate) fn memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.os_pid?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    }

    /// Starts a node like this one under a new name. `None` if no command was given.
    pub(crate) fn another(&self) -> Result<Option<Started>, Failure> {
        self.start(self.fresh_name("node"))
    }

    pub(crate) fn start(&self, name: String) -> Result<Option<Started>, Failure> {
        let Some(command) = &self.start else { return Ok(None) };
        let command = command
            .replace("{name}", &name)
            .replace("{cookie}", &self.cookie)
            .replace("{epmd}", &self.epmd.port.to_string())
            .replace("{ticktime}", &SHORT_TICKTIME.as_secs().to_string());
        let child = Command::new("sh")
            .args(["-c", &format!("exec {command}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Failure::Harness(format!("{command}: {error}")))?;
        let mut target = self.clone();
        target.name = name;
        target.ticktime = SHORT_TICKTIME;
        target.os_pid = Some(child.id());
        let mut started = Started { target, child };
        let end = Instant::now() + START;
        loop {
            if started.target.epmd.port_please(started.target.alive())?.is_some()
                // Its name is known before it has its processes.
                && started.target.serves_within(ATTEMPT).is_ok()
            {
                return Ok(Some(started));
            }
            let ended = started.child.try_wait().ok().flatten();
            if ended.is_some() || Instant::now() > end {
                return Err(Failure::Harness(format!("no node from {command}: {ended:?}")));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Has `relations` monitor a name of ours, so that the node has to connect to us.
    pub(crate) fn connect_to(&self, control: &mut Peer, me: &str) -> Result<(), Failure> {
        let reply = control.call("relations", tuple!["monitor", tuple!["x", me]])?;
        match reply {
            Term::Reference(_) => Ok(()),
            other => Err(seen(format!("{other:?} from relations, told to monitor"))),
        }
    }
}

/// The next connection to a listener.
pub(crate) fn incoming(listener: &TcpListener, within: Duration) -> Result<Option<Wire>, Failure> {
    listener.set_nonblocking(true).map_err(WireError::from)?;
    let end = Instant::now() + within;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).map_err(WireError::from)?;
                return Ok(Some(Wire::new(stream)?));
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(WireError::from(error).into()),
        }
        if Instant::now() > end {
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

/// A node that this suite started. Dropped, it is killed.
pub(crate) struct Started {
    pub(crate) target: Target,
    child: Child,
}

impl Started {
    /// Ends the node in order, and waits until it has.
    pub(crate) fn stop(&mut self) -> Result<(), Failure> {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        if !told.is_ok_and(|status| status.success()) {
            return Err(Failure::Harness("kill -TERM does not work".to_owned()));
        }
        let end = Instant::now() + START;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > end {
                return Err(seen("it does not end after SIGTERM"));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Whether its process still runs.
    pub(crate) fn runs(&mut self) -> bool {
        let end = Instant::now() + ABORTING;
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        true
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
