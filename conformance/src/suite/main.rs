//! `beamline-conformance`: judges any node of the Erlang distribution from outside, as a scripted peer. It shares no codec with
//! the library: every byte is written and read from the protocol's documents.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a client at the edge: it judges nodes of other processes, on real sockets and real time"
)]

mod checks;
mod epmd;
mod expected;
mod handshake;
mod peer;
mod target;
mod term;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Parser;

use self::checks::{Check, Lane};
use self::epmd::Epmd;
use self::expected::Expected;
use self::target::Target;
use self::wire::WireError;

/// What a check found.
pub(crate) enum Outcome {
    /// The node does what it must.
    Passed,
    /// The check could not be run, and why.
    Skipped(String),
}

/// Why a check did not pass.
pub(crate) enum Failure {
    /// What was seen in place of what must happen.
    Seen(String),
    /// The suite could not do its part.
    Harness(String),
}

/// A failure of the node.
pub(crate) fn seen(what: impl Into<String>) -> Failure {
    Failure::Seen(what.into())
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        seen(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seen(what) => write!(f, "{what}"),
            Self::Harness(what) => write!(f, "the suite itself: {what}"),
        }
    }
}

/// What `--help` teaches.
const HELP: &str = r"Judges a node of the Erlang distribution: connects to it as a peer and checks what it does, byte by byte.

The node has to run on this host, registered with the EPMD, with the processes echo, counter, relations and alias_server of
`fixture-node`. For a stock Erlang, conformance/erlang/node.sh starts such a node:

    epmd -port 4400 -daemon
    conformance/erlang/node.sh n@127.0.0.1 secret 4400 60 &
    beamline-conformance --node n@127.0.0.1 --cookie secret --epmd-port 4400 \
        --start 'conformance/erlang/node.sh {name} {cookie} {epmd} {ticktime}' \
        --expect conformance/expected/otp-25.txt

For this project's own:

    fixture-node --name n@127.0.0.1 --cookie secret --epmd-port 4500 &
    beamline-conformance --node n@127.0.0.1 --cookie secret --epmd-port 4500 --start 'fixture-node --name {name} \
        --cookie {cookie} --epmd-port {epmd} --net-ticktime {ticktime}' --expect conformance/expected/beamline.txt

One line a check: its number, its name, and `ok`, `FAIL:` with what was seen instead, or `skip:` with the reason; then a
summary. The exit code is 0 if all is as it must be (or, with --expect, as it is expected), 1 if not, and 2 if the suite
could not do its work.";

/// Judges a node of the Erlang distribution from outside, byte by byte
#[derive(Parser)]
#[command(version, long_about = HELP)]
struct Options {
    /// The node to judge
    #[arg(long, value_name = "NAME@HOST", required_unless_present = "list")]
    node: Option<String>,
    /// The secret that it shares with its cluster
    #[arg(long, required_unless_present = "list")]
    cookie: Option<String>,
    /// The port of the EPMD on the node's host
    #[arg(long, value_name = "PORT", default_value_t = 4369)]
    epmd_port: u16,
    /// Run only these: numbers, ranges of numbers, names, with commas between them
    #[arg(long, value_name = "LIST")]
    checks: Option<String>,
    /// A line of JSON for each check, and one for the summary
    #[arg(long)]
    json: bool,
    /// The failures that are expected, a line each: `name: reason`
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// The node's net_ticktime in seconds
    #[arg(long, value_name = "S", default_value_t = 60)]
    ticktime: u64,
    /// The node's net_setuptime in seconds
    #[arg(long, value_name = "S", default_value_t = 7)]
    setuptime: u64,
    /// Starts another node like the one under test, in the foreground; {name}, {cookie}, {epmd} (a port) and {ticktime} (in
    /// seconds) are filled in. Without it the checks that stop, restart or endanger a node are skipped
    #[arg(long, value_name = "COMMAND")]
    start: Option<String>,
    /// Only list the checks
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("beamline-conformance: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether all was as it must be.
fn run(options: Options) -> Result<bool, String> {
    let all = checks::all();
    let selected: Vec<Check> = match &options.checks {
        Some(list) => select(&all, list)?,
        None => all.clone(),
    };
    if options.list {
        for check in selected {
            println!("{:2} {}", check.number, check.name);
        }
        return Ok(true);
    }
    let expected = match &options.expect {
        Some(file) => Some(Expected::read(file, &all)?),
        None => None,
    };
    let (Some(node), Some(cookie)) = (options.node, options.cookie) else {
        return Err("--node and --cookie are needed".to_owned());
    };
    let Some((_, host)) = node.split_once('@') else {
        return Err(format!("{node} is no name of a node: it has no host"));
    };
    let epmd = Epmd { host: host.to_owned(), port: options.epmd_port };
    let (ticktime, setup) = (Duration::from_secs(options.ticktime), Duration::from_secs(options.setuptime));
    let target = Target::new(node, cookie, epmd, ticktime, setup, options.start);
    target.serves().map_err(|error| format!("{} cannot be judged: {error}", target.name))?;
    let mut tally = Tally { json: options.json, begun: Instant::now(), verdicts: BTreeMap::new() };
    let (done, results) = mpsc::channel();
    std::thread::scope(|scope| {
        for lane in [Lane::Services, Lane::Waits, Lane::Starts] {
            let checks = selected.iter().filter(move |check| check.lane == lane);
            let (done, target) = (done.clone(), &target);
            scope.spawn(move || {
                for check in checks {
                    let begun = Instant::now();
                    let result = std::panic::catch_unwind(|| (check.run)(target))
                        .unwrap_or_else(|_| Err(Failure::Harness("the check panicked".to_owned())));
                    let _ = done.send((check, result, begun.elapsed()));
                }
            });
        }
        drop(done);
        for (check, result, time) in results {
            let reason = expected.as_ref().and_then(|it| it.reason(check.name));
            tally.add(check, result, time, reason);
        }
    });
    tally.finish(expected.as_ref())
}

/// The checks that a list such as `1,7,30-33,alias` names.
fn select(all: &[Check], list: &str) -> Result<Vec<Check>, String> {
    let mut selected = Vec::new();
    for item in list.split(',').map(str::trim) {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let range = first.parse::<u8>().ok().zip(last.parse::<u8>().ok());
        let found = all.iter().filter(|check| {
            check.name == item || range.is_some_and(|(first, last)| (first..=last).contains(&check.number))
        });
        let before = selected.len();
        selected.extend(found.cloned());
        if selected.len() == before {
            return Err(format!("there is no check {item:?} (--list shows all)"));
        }
    }
    selected.sort_by_key(|check| check.number);
    selected.dedup_by_key(|check| check.number);
    Ok(selected)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    Skipped,
    Broken,
}

/// What was found so far.
struct Tally {
    json: bool,
    begun: Instant,
    verdicts: BTreeMap<&'static str, Verdict>,
}

impl Tally {
    /// Prints a check's line.
    fn add(&mut self, check: &Check, result: Result<Outcome, Failure>, time: Duration, reason: Option<&str>) {
        let (verdict, text) = match result {
            Ok(Outcome::Passed) => (Verdict::Passed, String::new()),
            Ok(Outcome::Skipped(why)) => (Verdict::Skipped, why),
            Err(Failure::Seen(what)) => (Verdict::Failed, what),
            Err(Failure::Harness(what)) => (Verdict::Broken, what),
        };
        self.verdicts.insert(check.name, verdict);
        let (word, ms) = (word(verdict), time.as_millis());
        if self.json {
            let line = serde_json::json!({
                "number": check.number, "name": check.name, "result": word, "text": text, "ms": ms as u64,
                "expected": reason,
            });
            println!("{line}");
        } else {
            let text = match verdict {
                Verdict::Passed => "ok".to_owned(),
                Verdict::Failed => format!("FAIL: {text}"),
                Verdict::Skipped => format!("skip: {text}"),
                Verdict::Broken => format!("ERROR: {text}"),
            };
            let reason = match (reason, verdict) {
                (Some(reason), Verdict::Failed) => format!(" [expected: {reason}]"),
                (Some(_), Verdict::Passed) => " [not expected to pass]".to_owned(),
                _ => String::new(),
            };
            println!("{:2} {:<20} {text}{reason} ({ms} ms)", check.number, check.name);
        }
        let _ = std::io::stdout().flush();
    }

    /// Prints the summary.
    fn finish(&self, expected: Option<&Expected>) -> Result<bool, String> {
        let count = |verdict| self.verdicts.values().filter(|it| **it == verdict).count();
        let names = |wanted: &dyn Fn(&str, Verdict) -> bool| -> Vec<&str> {
            self.verdicts
                .iter()
                .filter(|(name, verdict)| wanted(name, **verdict))
                .map(|(name, _)| *name)
                .collect()
        };
        let listed = |name: &str| expected.is_some_and(|it| it.reason(name).is_some());
        let bad = names(&|name, verdict| verdict == Verdict::Failed && !listed(name));
        let better = names(&|name, verdict| verdict == Verdict::Passed && listed(name));
        let broken = names(&|_, verdict| verdict == Verdict::Broken);
        let (passed, failed, skipped) =
            (count(Verdict::Passed), count(Verdict::Failed), count(Verdict::Skipped));
        let ms = self.begun.elapsed().as_millis();
        if self.json {
            let line = serde_json::json!({
                "checks": self.verdicts.len(), "passed": passed, "failed": failed, "skipped": skipped,
                "unexpected_failures": bad, "unexpected_passes": better, "errors": broken, "ms": ms as u64,
            });
            println!("{line}");
        } else {
            println!(
                "{} checks: {passed} passed, {failed} failed ({} of them expected), {skipped} skipped, {} errors \
                 ({ms} ms)",
                self.verdicts.len(),
                failed - bad.len(),
                broken.len(),
            );
            for (what, names) in [("failed, not expected", &bad), ("passed, not expected", &better)] {
                if !names.is_empty() {
                    println!("{what}: {}", names.join(", "));
                }
            }
        }
        if !broken.is_empty() {
            return Err(format!("could not run {}", broken.join(", ")));
        }
        Ok(bad.is_empty() && better.is_empty())
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "ok",
        Verdict::Failed => "fail",
        Verdict::Skipped => "skip",
        Verdict::Broken => "error",
    }
}
