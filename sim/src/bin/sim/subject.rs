//! A scenario as what the harness runs: here, and in a second process.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use beamline_sim::harness::{Subject, Watchdog, run_caught};
use beamline_sim::scenario::{self, Scenario};
use beamline_sim::{Run, Schedule};

use crate::Failure;

pub(crate) struct Story {
    pub(crate) scenario: &'static Scenario,
    pub(crate) watchdog: Watchdog,
    /// After how many seconds it bites.
    pub(crate) patience: u64,
    /// What runs it a second time; this program if nothing is said.
    pub(crate) second: Option<PathBuf>,
}

impl Subject for Story {
    fn run(&self, seed: u64, schedule: Option<&Schedule>) -> Run {
        let Scenario { name, setup, .. } = self.scenario;
        self.watchdog.watch(name, seed, || run_caught(name, setup, seed, schedule))
    }

    fn run_elsewhere(&self, seed: u64, schedule: Option<&Schedule>) -> Result<(String, String), String> {
        let (program, by) = match &self.second {
            Some(program) => (program.clone(), program.display().to_string()),
            None => (std::env::current_exe().map_err(|e| e.to_string())?, "a second process".to_owned()),
        };
        let mut command = Command::new(&program);
        command.args(["replay", &seed.to_string(), "--scenario", self.scenario.name, "--trace"]);
        command.args(["--watchdog", &self.patience.to_string()]);
        if schedule.is_some() {
            command.args(["--schedule", "-"]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", program.display());
        let mut child = command.spawn().map_err(|e| failed(&e))?;
        if let (Some(mut stdin), Some(schedule)) = (child.stdin.take(), schedule) {
            let text = serde_json::to_string(schedule).map_err(|e| failed(&e))?;
            stdin.write_all(text.as_bytes()).map_err(|e| failed(&e))?;
        }
        let output = child.wait_with_output().map_err(|e| failed(&e))?;
        if output.stdout.is_empty() {
            return Err(failed(&format!("{}, and left no trace", output.status)));
        }
        Ok((by, String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    fn command(&self, seed: u64, schedule: Option<&Path>) -> String {
        let schedule = schedule.map(|path| format!(" --schedule {}", path.display())).unwrap_or_default();
        format!("cargo run -p beamline-sim -- replay {seed} --scenario {}{schedule}", self.scenario.name)
    }
}

pub(crate) fn find(name: &str) -> Result<&'static Scenario, Failure> {
    scenario::find(name).ok_or_else(|| {
        let names: Vec<_> = scenario::ALL.iter().map(|scenario| scenario.name).collect();
        format!("there is no scenario {name}; there are {}", names.join(", "))
    })
}
