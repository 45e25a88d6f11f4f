//! Runs beamline's benchmarks and the same work of other actor systems in turns. See the script `run`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

mod bars;

const QUESTIONS: [&str; 10] = [
    "local_call",
    "local_pairs",
    "one_way",
    "spawn",
    "idle_process",
    "loopback_call",
    "loopback_pairs",
    "loopback_one_way",
    "start",
    "etf",
];
/// The columns of the table after our own.
const PEERS: [&str; 6] = ["floor", "otp", "xtra", "kameo", "ractor", "eetf"];
const EPMD_PORT: &str = "24398";
/// What takes longer than so many seconds is stuck, and ended.
const PROGRAM_SECONDS: &str = "120";

/// Samples by row, in the order in which rows were first seen, and by who did the work.
#[derive(Default)]
struct Samples {
    rows: Vec<String>,
    by_row: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
}

impl Samples {
    fn add(&mut self, output: &str) {
        for line in output.lines() {
            let mut fields = line.split('\t');
            let (Some(row), Some(peer), Some(Ok(value))) =
                (fields.next(), fields.next(), fields.next().map(str::parse::<f64>))
            else {
                continue;
            };
            if !self.by_row.contains_key(row) {
                self.rows.push(row.to_owned());
            }
            let peers = self.by_row.entry(row.to_owned()).or_default();
            peers.entry(peer.to_owned()).or_default().push(value);
        }
    }

    fn sorted(&self, row: &str, peer: &str) -> Option<Vec<f64>> {
        let mut samples = self.by_row.get(row)?.get(peer)?.clone();
        samples.sort_by(f64::total_cmp);
        Some(samples)
    }

    fn median(&self, row: &str, peer: &str) -> Option<f64> {
        let samples = self.sorted(row, peer)?;
        samples.get(samples.len() / 2).copied()
    }

    /// What others did for a row: a decoder that knows one kind of result is compared with it for ours into Rust types too.
    fn other(&self, row: &str, peer: &str) -> Option<f64> {
        self.median(row, peer).or_else(|| self.median(row.strip_suffix(", typed")?, peer))
    }

    fn print(&self) {
        println!("| ns, or as said | beamline | min to max | {} |", PEERS.join(" | "));
        println!("|---|---:|---:|{}", "---:|".repeat(PEERS.len()));
        for row in &self.rows {
            let Some(ours) = self.median(row, "beamline") else { continue };
            let samples = self.sorted(row, "beamline").unwrap_or_default();
            let (min, max) = (samples.first().unwrap_or(&ours), samples.last().unwrap_or(&ours));
            print!("| {row} | {} | {} to {} |", number(ours), number(*min), number(*max));
            for peer in PEERS {
                match self.other(row, peer) {
                    Some(theirs) => print!(" {} ({:.2}) |", number(theirs), ours / theirs),
                    None => print!(" |"),
                }
            }
            println!();
        }
        println!(
            "\nMedians of the rounds; in brackets ours divided by theirs: below 1 ours is faster or smaller."
        );
    }
}

fn number(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
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
    peers: PathBuf,
    /// Where the compiled module is, if Erlang is installed.
    otp: Option<PathBuf>,
}

impl Programs {
    fn new(quick: bool) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = here.join("target/release");
        let compiled = Command::new("erlc").arg("-o").arg(&target).arg(here.join("otp.erl")).status();
        let otp = compiled.is_ok_and(|status| status.success()).then(|| target.clone());
        if otp.is_none() {
            println!("Erlang/OTP is not installed: skipped.\n");
        }
        Self { quick, ours: build(&here.join("../..")), peers: target.join("beamline-peers"), otp }
    }

    /// What all programs print for a question. The order is turned each round, so that none is always first on a machine that
    /// becomes warm.
    fn round(&self, question: &str, round: usize, samples: &mut Samples) {
        let mut commands = Vec::new();
        let quick = if self.quick { "--quick" } else { "--whole" };
        if let Some(ours) = self.ours.get(question) {
            commands.push(("beamline", command(ours, &["--rounds", "1", "--tsv", quick])));
        }
        commands.push(("peers", command(&self.peers, &[question, quick])));
        if let Some(otp) = &self.otp {
            let main = format!("otp:main(\"{question}\", {}, \"{}\").", self.quick, otp.display());
            let path = otp.display().to_string();
            let erl = command(
                Path::new("erl"),
                &[
                    "-noshell",
                    "+P",
                    "2000000",
                    "-kernel",
                    "logger_level",
                    "error",
                    "-pa",
                    &path,
                    "-eval",
                    &main,
                ],
            );
            commands.push(("otp", erl));
        }
        let turn = round % commands.len();
        commands.rotate_left(turn);
        for (who, mut command) in commands {
            match command.output() {
                Ok(output) => {
                    samples.add(&String::from_utf8_lossy(&output.stdout));
                    if !output.status.success() {
                        let why = String::from_utf8_lossy(&output.stderr);
                        println!("{question}: {who} failed, {}: {}\n", output.status, why.trim());
                    }
                }
                Err(error) => println!("{question}: {who} did not start: {error}\n"),
            }
        }
    }
}

fn command(program: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.arg(PROGRAM_SECONDS).arg(program).args(args).env("ERL_EPMD_PORT", EPMD_PORT);
    command
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
    let quick = has("--quick");
    let only: Vec<&String> =
        args.windows(2).filter(|pair| pair[0] == "--only").map(|pair| &pair[1]).collect();
    let programs = Programs::new(quick);
    let epmd =
        Command::new("epmd").args(["-port", EPMD_PORT]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let _epmd = epmd.map(Epmd);

    let mut samples = Samples::default();
    for question in QUESTIONS {
        if !only.is_empty() && !only.iter().any(|only| *only == question) {
            continue;
        }
        eprint!("{question} ");
        for round in 0..if quick { 3 } else { 7 } {
            programs.round(question, round, &mut samples);
            eprint!(".");
        }
        eprintln!();
    }
    samples.print();
    if has("--check") && !bars::hold(&samples) {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
