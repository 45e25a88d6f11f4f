//! The suite, against `fixture-node` and against a stock Erlang: each does exactly what its file of expected failures says.
#![expect(clippy::disallowed_methods, reason = "tests against programs of this host")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use beamline_interop::{StockEpmd, erl, free_port};

const COOKIE: &str = "beamline";
const NODE: &str = "judged@127.0.0.1";
const FIXTURE: &str = env!("CARGO_BIN_EXE_fixture-node");
/// In seconds: short enough to be waited for.
const TICKTIME: &str = "8";

/// A program that is killed at the end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a node's program and waits until it says that it is ready.
fn start(command: &str, epmd_port: u16) -> Running {
    let command = command
        .replace("{name}", NODE)
        .replace("{cookie}", COOKIE)
        .replace("{epmd}", &epmd_port.to_string())
        .replace("{ticktime}", TICKTIME);
    let mut child = Command::new("sh")
        .args(["-c", &format!("exec {command}")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh runs");
    let stdout = child.stdout.take().expect("its standard output is piped");
    let running = Running(child);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("it prints text");
    assert!(line.starts_with(&format!("ready {NODE}")), "{command}: {line:?}");
    running
}

fn suite(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_beamline-conformance")).args(args).output().expect("it runs")
}

/// Judges a node that this command starts.
fn judge(command: &str, epmd_port: u16, expected: &str) {
    let _node = start(command, epmd_port);
    let expected = format!("{}/expected/{expected}", env!("CARGO_MANIFEST_DIR"));
    let port = epmd_port.to_string();
    let output = suite(&[
        "--node",
        NODE,
        "--cookie",
        COOKIE,
        "--epmd-port",
        &port,
        "--ticktime",
        TICKTIME,
        "--start",
        command,
        "--expect",
        &expected,
    ]);
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}{error}");
    assert!(said.contains("74 checks: "), "{said}");
    println!("{said}");
}

#[test]
fn fixture_node_is_as_expected() {
    let command = format!(
        "{FIXTURE} --name {{name}} --cookie {{cookie}} --epmd-port {{epmd}} --net-ticktime {{ticktime}}"
    );
    judge(&command, free_port(), "beamline.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_erlang_is_as_expected() {
    if erl().is_none() {
        return;
    }
    let epmd = StockEpmd::start(free_port(), &[]).await;
    let command =
        format!("{}/erlang/node.sh {{name}} {{cookie}} {{epmd}} {{ticktime}}", env!("CARGO_MANIFEST_DIR"));
    let port = epmd.port();
    tokio::task::spawn_blocking(move || judge(&command, port, "otp-25.txt")).await.expect("as expected");
}

#[test]
fn what_it_cannot_do_is_exit_code_two() {
    let file = format!("{}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
    let nobody = free_port().to_string();
    let node = ["--node", "nobody@127.0.0.1", "--cookie", COOKIE, "--epmd-port", &nobody];
    let cases: [&[&str]; 5] = [
        &["--no-such-option"],
        &["--node", "nobody@127.0.0.1"],
        &[&node[..], &["--checks", "75"]].concat(),
        &[&node[..], &["--expect", &file]].concat(),
        &node,
    ];
    for args in cases {
        let output = suite(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(!error.is_empty() && output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn a_list_of_checks_takes_numbers_ranges_and_names() {
    let output = suite(&["--list", "--checks", "73-80,alias,1,7-8,7"]);
    let listed = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = listed.lines().map(str::trim).collect();
    let right =
        ["1 epmd-registered", "7 hs-ok", "8 hs-wrong-cookie", "59 alias", "73 tcp-edges", "74 parallel"];
    assert_eq!(lines, right);
    let all = String::from_utf8_lossy(&suite(&["--list"]).stdout).lines().count();
    assert_eq!(all, 74);
}
