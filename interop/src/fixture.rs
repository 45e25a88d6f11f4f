//! A `fixture-node` as a process of its own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use crate::cluster::{COOKIE, eventually};
use crate::erl::send_signal;

/// The program `fixture-node`, built where this test was. Built once: a test binary does not bring other crates' programs
/// with it.
///
/// # Panics
/// If it does not build.
pub fn fixture_command() -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let program = BUILT.get_or_init(|| {
        let test = std::env::current_exe().expect("a test has a path");
        let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/test");
        let target = profile.parent().expect("target/PROFILE");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "-q", "-p", "beamline-conformance", "--bin", "fixture-node", "--target-dir"]);
        build.arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.ends_with("release") {
            build.arg("--release");
        }
        let status = build.status().expect("cargo runs");
        assert!(status.success(), "fixture-node does not build");
        profile.join("fixture-node")
    });
    Command::new(program)
}

/// A running `fixture-node`. Dropped, it is killed, as by SIGKILL.
#[derive(Debug)]
pub struct Fixture {
    name: String,
    port: u16,
    child: Child,
}

impl Fixture {
    pub(crate) async fn start(name: &str, epmd_port: u16, args: &[&str]) -> Self {
        let mut command = fixture_command();
        command.args(["--name", name, "--epmd-port", &epmd_port.to_string()]);
        if !args.contains(&"--cookie") {
            command.args(["--cookie", COOKIE]);
        }
        let mut child = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("fixture-node runs");
        let stdout = child.stdout.take().expect("its standard output is piped");
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            line
        });
        let line = line.await.expect("reading does not panic");
        let port =
            line.trim_end().strip_prefix(&format!("ready {name} port=")).and_then(|it| it.parse().ok());
        let port = port.unwrap_or_else(|| panic!("{name} is not ready: {line:?}"));
        Self { name: name.to_owned(), port, child }
    }

    /// Its whole name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port on which it takes connections.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends it a signal, such as `STOP`, `CONT` or `KILL`.
    ///
    /// # Panics
    /// If that is not possible.
    pub fn signal(&self, signal: &str) {
        send_signal(self.child.id(), signal);
    }

    /// Waits until it has ended, and returns its exit code.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn ended(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("fixture-node ends", async || {
            status = self.child.try_wait().expect("it is a child of this process");
            status.is_some()
        })
        .await;
        status.and_then(|status| status.code())
    }

    /// How many bytes of memory it has in use now.
    ///
    /// # Panics
    /// If it does not run any more.
    pub fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most bytes of memory that it has had in use, since its start or [`Fixture::forget_peak`].
    ///
    /// # Panics
    /// If it does not run any more.
    pub fn peak_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// Has [`Fixture::peak_bytes`] count from now on.
    ///
    /// # Panics
    /// If the system does not let it.
    pub fn forget_peak(&self) {
        const PEAK: &str = "5";
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), PEAK)
            .expect("it is a child of this process");
    }

    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let value = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = value.and_then(|it| it.trim().strip_suffix(" kB")).and_then(|it| it.parse::<u64>().ok());
        kib.expect("a living process has memory") * 1024
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
