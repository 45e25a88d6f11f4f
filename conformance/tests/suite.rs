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
        // It reports the crashes that it is told to have.
        .stderr(Stdio::null())
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

/// The options that name the node under test, and more.
fn options<'a>(epmd_port: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let node = ["--node", NODE, "--cookie", COOKIE, "--epmd-port", epmd_port, "--ticktime", TICKTIME];
    [&node[..], more].concat()
}

/// Judges a node that this command starts, and another one time and again.
fn judge(command: &str, epmd_port: u16, expected: &str) {
    let _node = start(command, epmd_port);
    let expected = format!("{}/expected/{expected}", env!("CARGO_MANIFEST_DIR"));
    let output = suite(&options(&epmd_port.to_string(), &["--start", command, "--expect", &expected]));
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}{error}");
    assert!(said.contains("74 checks: "), "{said}");
    println!("{said}");
}

fn fixture_node() -> String {
    format!("{FIXTURE} --name {{name}} --cookie {{cookie}} --epmd-port {{epmd}} --net-ticktime {{ticktime}}")
}

#[test]
fn fixture_node_is_as_expected() {
    judge(&fixture_node(), free_port(), "beamline.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_erlang_is_as_expected() {
    let Some(erl) = erl() else { return };
    let epmd = StockEpmd::start(free_port(), &[]).await;
    let release = erl.node("release@127.0.0.1", epmd.port()).start().await.otp_release();
    let expected = format!("otp-{release}.txt");
    let command =
        format!("{}/erlang/node.sh {{name}} {{cookie}} {{epmd}} {{ticktime}}", env!("CARGO_MANIFEST_DIR"));
    let port = epmd.port();
    tokio::task::spawn_blocking(move || judge(&command, port, &expected)).await.expect("as expected");
}

#[test]
fn the_exit_code_says_whether_all_is_as_expected() {
    let port = free_port();
    let _node = start(&fixture_node(), port);
    let port = port.to_string();
    let file = std::env::temp_dir().join(format!("beamline-conformance-{port}.txt"));
    let file = file.to_str().expect("a path that is text");
    let run = |more: &[&str]| {
        let output = suite(&options(&port, more));
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = run(&["--checks", "hs-ok,epmd-unregister"]);
    assert_eq!(code, Some(0), "what is skipped is no failure: {said}");
    assert!(said.contains(" 7 hs-ok ") && said.contains(" ok (") && said.contains("skip: "), "{said}");
    // A check that passes, though it is listed.
    std::fs::write(file, "# why\n\nhs-ok: it cannot\n").expect("a directory for files");
    let (code, said) = run(&["--checks", "hs-ok", "--expect", file]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("passed, not expected: hs-ok"), "{said}");
    // The failures of others are not asked for.
    let (code, said) = run(&["--checks", "epmd-names", "--expect", file]);
    assert_eq!(code, Some(0), "{said}");
    // One that fails, though it is not listed: no handshake is as short as that.
    let (code, said) = run(&["--checks", "hs-silent", "--setuptime", "1"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("FAIL: ") && said.contains("failed, not expected: hs-silent"), "{said}");
    std::fs::write(file, "hs-silent: it takes its time\n").expect("a directory for files");
    let (code, said) = run(&["--checks", "hs-silent", "--setuptime", "1", "--expect", file, "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let lines: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[0]["number"], &lines[0]["name"]), (&16.into(), &"hs-silent".into()));
    assert_eq!((&lines[0]["result"], &lines[0]["expected"]), (&"fail".into(), &"it takes its time".into()));
    assert_eq!((&lines[1]["checks"], &lines[1]["failed"]), (&1.into(), &1.into()));
    std::fs::remove_file(file).expect("it was written");
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
