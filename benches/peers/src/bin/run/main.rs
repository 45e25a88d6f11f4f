//! Runs beamline's benchmarks and the same work of other actor systems in turns. See the script `run`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

mod bars;
#[path = "../../../../src/markdown.rs"]
mod markdown;
mod samples;

use samples::Samples;

/// The files of `benches/benches`, and who does the same work besides us.
const QUESTIONS: [(&str, &[Who]); 15] = [
    ("local_call", &[Who::Rust, Who::Otp]),
    ("local_pairs", &[Who::Rust, Who::Otp]),
    ("one_way", &[Who::Rust, Who::Otp]),
    ("spawn", &[Who::Rust, Who::Otp]),
    ("idle_process", &[Who::Rust, Who::Otp]),
    ("loopback_call", &[Who::Cluster, Who::Otp]),
    ("loopback_pairs", &[Who::Cluster, Who::Otp]),
    ("loopback_one_way", &[Who::Cluster, Who::Otp]),
    ("start", &[Who::Cluster, Who::Otp]),
    ("etf", &[Who::Rust, Who::Otp]),
    ("fairness", &[]),
    ("back_pressure", &[]),
    ("system_calls", &[]),
    ("scaling_processes", &[]),
    ("scaling_peers", &[]),
];
/// An odd number has a median, and of fewer than seven a noisy machine makes anything.
const ROUNDS: usize = 7;
/// So many samples a start are taken of our lone calls and of bare TCP: what the system makes of two programs that wake each other differs from
/// one to the next by more than their bar.
const LONE_CALL_SAMPLES: &str = "5";
const EPMD_PORT: &str = "24398";

/// A program that does the work of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Beamline,
    /// xtra, kameo, ractor, actix and eetf.
    Rust,
    /// ractor_cluster.
    Cluster,
    Otp,
}

/// Ends the daemon that was started for Erlang.
struct Epmd(Child);

impl Drop for Epmd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Programs {
    quick: bool,
    /// Our benchmarks by name.
    ours: BTreeMap<String, PathBuf>,
    target: PathBuf,
    otp_installed: bool,
    /// What failed or was stuck once is not run again: a run must end, and a row of some rounds is no row.
    failed: BTreeSet<(String, Who)>,
}

impl Programs {
    fn new(quick: bool) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = here.join("target/release");
        let compiled = Command::new("erlc").arg("-o").arg(&target).arg(here.join("otp.erl")).status();
        let otp_installed = compiled.is_ok_and(|status| status.success());
        if !otp_installed {
            println!("Erlang/OTP is not installed: skipped.\n");
        }
        let ours = build(&here.join("../.."));
        Self { quick, ours, target, otp_installed, failed: BTreeSet::new() }
    }

    /// What all programs print for a question. The order is turned each round, so that none is always first on a machine that
    /// becomes warm.
    fn round(&mut self, question: &str, others: &[Who], round: usize, samples: &mut Samples) {
        let mut all = vec![Who::Beamline];
        all.extend_from_slice(others);
        all.retain(|who| *who != Who::Otp || self.otp_installed);
        let turn = round % all.len();
        all.rotate_left(turn);
        for who in all {
            let place = (question.to_owned(), who);
            if self.failed.contains(&place) {
                continue;
            }
            if let Err(why) = self.ask(question, who, samples) {
                println!("{question}: {who:?} {why}\n");
                self.failed.insert(place);
            }
        }
    }

    fn ask(&self, question: &str, who: Who, samples: &mut Samples) -> Result<(), String> {
        let quick = if self.quick { "--quick" } else { "--whole" };
        let mut command = self.limited(match who {
            Who::Beamline => self.ours.get(question).ok_or("is not built")?.clone(),
            Who::Rust => self.target.join("beamline-peers"),
            Who::Cluster => self.target.join("beamline-peers-cluster"),
            Who::Otp => PathBuf::from("erl"),
        });
        match who {
            Who::Beamline => {
                let samples = if question == "loopback_call" { LONE_CALL_SAMPLES } else { "1" };
                command.args(["--rounds", samples, "--tsv", quick])
            }
            Who::Rust | Who::Cluster => command.args([question, quick]),
            Who::Otp => {
                let target = self.target.display();
                let main = format!("otp:main(\"{question}\", {}, \"{target}\").", self.quick);
                command.args(["-noshell", "+P", "2000000", "-kernel", "logger_level", "error", "-pa"]);
                command.arg(&self.target).args(["-eval", &main])
            }
        };
        // To files: what a program that was ended has started itself could hold a pipe open.
        let (out, errors) = (self.target.join("output"), self.target.join("errors"));
        let file = |path: &Path| File::create(path).map_err(|error| format!("cannot write: {error}"));
        let status = command.stdin(Stdio::null()).stdout(file(&out)?).stderr(file(&errors)?).status();
        let status = status.map_err(|error| format!("did not start: {error}"))?;
        let text = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        let output = text(out);
        if !status.success() {
            // What `timeout` exits with.
            let stuck = if status.code() == Some(124) { "was stuck and is ended" } else { "failed" };
            return Err(format!("{stuck}, {status}: {}", text(errors).trim()));
        }
        if samples.add(&output) == 0 {
            print!("{output}");
        }
        Ok(())
    }

    /// A command that is ended, with what it started, when it takes so long that it is stuck.
    fn limited(&self, program: PathBuf) -> Command {
        let mut command = Command::new("timeout");
        let seconds = if self.quick { "30" } else { "120" };
        command.args(["--kill-after", "5", seconds]).arg(program).env("ERL_EPMD_PORT", EPMD_PORT);
        command
    }
}

/// Builds our benchmarks, and says where each is.
fn build(root: &Path) -> BTreeMap<String, PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(["bench", "--no-run", "--quiet", "-p", "beamline-benches", "--message-format", "json"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output();
    let Ok(output) = output else { return BTreeMap::new() };
    let field = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("\"{name}\":\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let executables = messages.lines().filter_map(|line| {
        let (_, target) = line.split_once("\"target\":")?;
        Some((field(target, "name")?, PathBuf::from(field(line, "executable")?)))
    });
    executables.collect()
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let only: Vec<&String> =
        args.windows(2).filter(|pair| pair[0] == "--only").map(|pair| &pair[1]).collect();
    if let Some(unknown) = only.iter().find(|only| QUESTIONS.iter().all(|(question, _)| *only != question)) {
        eprintln!("no such question: {unknown}");
        return ExitCode::FAILURE;
    }
    let mut programs = Programs::new(has("--quick"));
    let epmd =
        Command::new("epmd").args(["-port", EPMD_PORT]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let _epmd = epmd.map(Epmd);

    let mut samples = Samples::default();
    let start = Instant::now();
    for (question, others) in QUESTIONS {
        if !only.is_empty() && !only.iter().any(|only| *only == question) {
            continue;
        }
        eprint!("{question} ");
        let started = Instant::now();
        for round in 0..ROUNDS {
            programs.round(question, others, round, &mut samples);
            eprint!(".");
        }
        eprintln!(" {} s", started.elapsed().as_secs());
    }
    samples.print();
    let seconds = start.elapsed().as_secs();
    println!("It took {} minutes and {} seconds, {ROUNDS} rounds.", seconds / 60, seconds % 60);
    let lines = programs.target.join("samples.tsv");
    match std::fs::write(&lines, samples.lines()) {
        Ok(()) => println!("All samples: {}", lines.display()),
        Err(error) => eprintln!("{}: {error}", lines.display()),
    }
    // As the benchmark `system_calls` finds out.
    let strace = Command::new("strace").args(["-o", "/dev/null", "true"]).status();
    let strace_installed = strace.is_ok_and(|status| status.success());
    // As the benchmarks confine themselves to one core.
    let taskset = Command::new("taskset").args(["-c", "0", "true"]).status();
    let taskset_installed = taskset.is_ok_and(|status| status.success());
    if !has("--check") {
        return ExitCode::SUCCESS;
    }
    let run = bars::Run {
        all_asked: only.is_empty(),
        otp_installed: programs.otp_installed,
        strace_installed,
        taskset_installed,
    };
    let held = bars::hold(&samples, &run);
    if held && programs.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

// What is said of medians is said of them.
const _: () = assert!(ROUNDS >= 7 && ROUNDS % 2 == 1);
