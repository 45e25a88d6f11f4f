//! The `sim` binary, as its users see it.

use std::path::PathBuf;
use std::process::{Command, Output};

fn sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim")).args(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A folder of one test, empty at first.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_help_teaches_and_the_list_has_every_scenario() {
    let help = sim(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(stdout(&help).contains("Examples:\n  sim list"));
    let list = stdout(&sim(&["list"]));
    let names: Vec<_> = list.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    let scenarios: Vec<_> = beamline_sim::scenario::ALL.iter().map(|scenario| scenario.name).collect();
    assert_eq!(names, scenarios);
}

#[test]
fn a_wrong_command_line_is_no_finding() {
    for (args, why) in [
        (&["run", "--scenario", "nope", "--seeds", "0..2"][..], "there is no scenario nope; there are epmd,"),
        (&["run", "--scenario", "epmd", "--seeds", "2..2"], "there is no seed in it"),
        (&["run", "--scenario", "epmd", "--seeds", "x"], "\"x\" is not a seed"),
        (&["run", "--scenario", "epmd", "--seeds", "7.."], "seeds without an end need a --time-budget"),
        (&["replay", "1", "--scenario", "epmd", "--schedule", "/no/such/file"], "/no/such/file: "),
        (&["walk"], "unrecognized subcommand 'walk'"),
    ] {
        let output = sim(args);
        assert_eq!(output.status.code(), Some(3), "{args:?}");
        assert!(stderr(&output).contains(why), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn runs_do_not_depend_on_how_many_run_at_a_time() {
    let folder = folder("jobs");
    let summary = |jobs: &str| {
        let json = folder.join(jobs);
        let file = json.to_str().unwrap();
        let args =
            ["run", "--scenario", "epmd", "--seeds", "10..16", "--jobs", jobs, "--double", "--json", file];
        let output = sim(&args);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(
            stdout(&output).contains("epmd                 6 of 6 passed, 6 the same twice; "),
            "{}",
            stdout(&output)
        );
        assert!(stdout(&output).contains(" a second\n"));
        assert_eq!(stderr(&output), "", "no progress where there is no terminal");
        let mut summary: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
        summary["header"].take();
        summary
    };
    let one = summary("1");
    assert_eq!(one["result"], "passed");
    assert_eq!(one["scenarios"][0]["doubled"], 6);
    assert_eq!(one, summary("3"));
}

#[test]
fn a_budget_ends_the_seeds_that_have_no_end() {
    let output = sim(&["run", "--scenario", "epmd", "--seeds", "5..", "--time-budget", "1"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains(" passed; "), "{}", stdout(&output));
}

#[test]
#[cfg(unix)]
fn a_second_run_that_differs_is_told_first_and_by_its_first_event() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder("double");
    let second = folder.join("second");
    // Runs what it is asked for, with a value that does not come from the seed.
    let script = format!("#!/bin/sh\n{} \"$@\" | sed '3s/.*/& leak/'\n", env!("CARGO_BIN_EXE_sim"));
    std::fs::write(&second, script).unwrap();
    std::fs::set_permissions(&second, std::fs::Permissions::from_mode(0o755)).unwrap();
    let out = folder.join("out");
    let double = format!("--double={}", second.display());
    let output = sim(&["run", "--scenario", "epmd", "--seeds", "3", &double, "--out", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("\nNOT DETERMINISTIC: epmd, seed 3"), "{text}");
    assert!(text.contains("after 2 events; then\n"), "{text}");
    let second = text.lines().find(|line| line.starts_with("    second: ")).unwrap();
    assert!(second.ends_with(" leak"), "{second}");
    let report = std::fs::read_to_string(out.join("report.txt")).unwrap();
    assert!(text.ends_with(&report));
}

#[test]
fn without_its_second_run_a_seed_does_not_pass() {
    let output = sim(&["run", "--scenario", "epmd", "--seeds", "3", "--double=/no/such/program"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("epmd, seed 3: no second run: /no/such/program"), "{}", stderr(&output));
}

#[test]
fn a_run_that_takes_too_long_is_named() {
    let output = sim(&["run", "--scenario", "cluster", "--seeds", "4", "--watchdog", "0"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains("cluster, seed 4 has taken more than 0ns of wall time"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_replay_shows_a_run_and_writes_it_down() {
    let out = folder("replay");
    let folder = out.to_str().unwrap();
    let output = sim(&["replay", "4", "--scenario", "epmd", "--trace", "--out", folder]);
    assert_eq!(output.status.code(), Some(0));
    let trace = stdout(&output);
    assert!(trace.lines().next().unwrap().ends_with(" boot "), "{trace}");
    assert_eq!(std::fs::read_to_string(out.join("trace.txt")).unwrap(), trace);
    assert!(std::fs::read_to_string(out.join("timeline.html")).unwrap().contains("<title>epmd 4</title>"));
    let report = std::fs::read_to_string(out.join("report.txt")).unwrap();
    assert!(report.starts_with("passed: epmd, seed 4\n"), "{report}");
    let hash = trace.lines().last().unwrap();
    let short = sim(&["replay", "4", "--scenario", "epmd"]);
    assert_eq!(stdout(&short).lines().last(), Some(hash));
}

#[test]
fn what_passes_is_not_shrunk() {
    let output = sim(&["shrink", "4", "--scenario", "epmd"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output), "epmd, seed 4 passes: there is nothing to shrink\n");
}

#[test]
fn a_finding_is_shrunk_and_what_is_left_of_it_is_found_again() {
    // A node of this scenario waits for another to crash: without that it waits for ever.
    let folder = folder("finding");
    let (file, out) = (folder.join("schedule.json"), folder.join("out"));
    std::fs::write(&file, r#"{ "faults": [{ "at_ms": 300, "fault": "mend_all" }], "heal_at_ms": 1000 }"#)
        .unwrap();
    let schedule = ["--scenario", "cluster-restart", "--schedule", file.to_str().unwrap()];
    let args = [&["shrink", "1", "--out", out.to_str().unwrap()], &schedule[..]].concat();
    let shrunk = sim(&args);
    assert_eq!(shrunk.status.code(), Some(1), "{}", stderr(&shrunk));
    let text = stdout(&shrunk);
    assert!(text.starts_with("VIOLATION of progress: cluster-restart, seed 1\n"), "{text}");
    assert!(text.contains("\nShrunk from 1 faults to 0 in "), "{text}");
    let left = out.join("regression.json");
    let args = ["replay", "1", "--scenario", "cluster-restart", "--schedule", left.to_str().unwrap()];
    let again = sim(&args);
    assert_eq!(again.status.code(), Some(1));
    let hash = |text: &str| text.lines().find(|line| line.starts_with("trace ")).map(str::to_owned);
    assert!(hash(&text).is_some());
    assert_eq!(hash(&stderr(&again)), hash(&text));
}
