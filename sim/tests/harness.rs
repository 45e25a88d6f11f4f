//! Simulations as tests, as their users see them: each is run as `cargo test` runs it, in a process of its own.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use beamline_sim::shrink::Regression;
use beamline_sim::{Schedule, Sim};

/// A test of this file that is run only by another one.
fn child(name: &str, environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--ignored", "--nocapture"]);
    for name in ["BEAMLINE_SIM_SEED", "BEAMLINE_SIM_SEEDS", "BEAMLINE_SIM_TIME", "BEAMLINE_SIM_SCHEDULE"] {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied()).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[beamline::sim(seeds = 3..6)]
#[ignore = "a test of this file runs it"]
fn sleeps(sim: &mut Sim) {
    sim.node("one", |world| async move {
        world.sleep(Duration::from_secs(1)).await;
        Ok(())
    });
}

#[beamline::sim]
fn an_attribute_without_seeds_is_a_test_too(sim: &mut Sim) {
    sim.node("one", |_| async { Ok(()) });
}

/// Something that does not come from the seed.
#[beamline::sim(seeds = 0..1)]
#[ignore = "a test of this file runs it"]
fn leaks(sim: &mut Sim) {
    let leak = std::process::id();
    sim.node("one", move |world| async move {
        world.event("", "leak", &leak);
        Ok(())
    });
}

/// A setup that is wrong.
#[test]
#[ignore = "a test of this file runs it"]
fn panics() {
    beamline_sim::Test::new("panics").seeds(0..5).run(|_| panic!("no hosts file"));
}

/// Some seeds fail: the clocks of a host do not all start alike.
#[test]
#[ignore = "a test of this file runs it"]
fn fails_by_seed() {
    beamline_sim::Test::new("fails-by-seed").seeds(10..60).run(|sim| {
        sim.node("one", |world| async move {
            if world.clock.mono().0 / 1_000_000_000 % 4 == 0 { Err("it went wrong".into()) } else { Ok(()) }
        });
    });
}

/// A run that never gives way.
#[test]
#[ignore = "a test of this file runs it"]
fn hangs() {
    let watchdog = beamline_sim::harness::Watchdog::start(Duration::from_millis(300));
    watchdog.watch("hangs", 4, || {
        loop {
            std::hint::spin_loop();
        }
    })
}

#[test]
fn every_seed_is_named_before_it_runs_and_the_environment_says_which() {
    let seeds = |environment: &[(&str, &str)]| {
        let output = child("sleeps", environment);
        assert!(output.status.success(), "{}", text(&output));
        let stdout = String::from_utf8(output.stdout).unwrap();
        let seeds = stdout.lines().filter_map(|line| line.split_once("sleeps: seed "));
        seeds.map(|(_, seed)| seed.parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(seeds(&[]), [3, 4, 5]);
    assert_eq!(seeds(&[("BEAMLINE_SIM_SEED", "77")]), [77]);
    assert_eq!(seeds(&[("BEAMLINE_SIM_SEEDS", "5")]), [3, 4, 5, 6, 7]);
    let fresh = seeds(&[("BEAMLINE_SIM_TIME", "1"), ("BEAMLINE_SIM_SEEDS", "2")]);
    assert!(fresh.len() <= 2 && fresh[0] > 1_000_000, "{fresh:?}");
}

#[test]
fn what_the_environment_says_wrongly_is_not_ignored() {
    let output = child("sleeps", &[("BEAMLINE_SIM_SEED", "seven")]);
    assert!(!output.status.success());
    let text = text(&output);
    assert!(text.contains(r#"BEAMLINE_SIM_SEED must be a whole number, not "seven""#), "{text}");
}

#[test]
fn a_run_that_is_not_deterministic_says_so_and_names_the_first_event() {
    let output = child("leaks", &[]);
    assert!(!output.status.success());
    let text = text(&output);
    assert!(text.contains("NOT DETERMINISTIC: leaks, seed 0"), "{text}");
    assert!(text.contains("first:  0 one#1 leak "), "{text}");
}

#[test]
fn a_setup_that_panics_is_no_finding() {
    let output = child("panics", &[]);
    assert!(!output.status.success());
    let text = text(&output);
    assert!(text.contains("BROKEN, not a finding: panics, seed 0"), "{text}");
    assert!(text.contains("no hosts file"), "{text}");
}

#[test]
fn a_failure_is_reported_with_its_seed_and_its_command_and_the_command_repeats_it() {
    let output = child("fails_by_seed", &[]);
    assert!(!output.status.success());
    let first = text(&output);
    assert!(first.contains("it went wrong"), "{first}");
    assert!(first.contains("double run     agreed (a second process)"), "{first}");
    let last =
        first.lines().filter_map(|line| line.strip_prefix("fails-by-seed: seed ")).nth_back(1).unwrap();
    let command =
        format!("BEAMLINE_SIM_SEED={last} cargo test -p beamline-sim fails_by_seed -- --exact --nocapture");
    assert!(first.contains(&command), "no {command:?} in {first}");
    let again = child("fails_by_seed", &[("BEAMLINE_SIM_SEED", last)]);
    let hash = |text: &str| text.lines().find(|line| line.starts_with("trace ")).map(str::to_owned);
    assert!(hash(&first).is_some());
    assert_eq!(hash(&text(&again)), hash(&first));
}

#[test]
fn what_is_stored_is_replayed_before_the_seeds() {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stored");
    let folder = package.join("regressions");
    let _ = std::fs::remove_dir_all(&package);
    std::fs::create_dir_all(&folder).unwrap();
    let failing = text(&child("fails_by_seed", &[]));
    let seed = failing.lines().find_map(|line| line.strip_suffix(" did not pass")).unwrap();
    let seed = seed.strip_prefix("fails-by-seed: seed ").unwrap().parse().unwrap();
    let store = |file: &str, scenario: &str, seed| {
        let (scenario, property, comment) =
            (scenario.to_owned(), "program".to_owned(), format!("about {file}"));
        let stored = Regression { scenario, seed, property, comment, schedule: Schedule::default() };
        std::fs::write(folder.join(file), stored.to_json()).unwrap();
    };
    store("early.json", "sleeps", 99);
    store("other.json", "fails-by-seed", seed);
    let root = [("CARGO_MANIFEST_DIR", package.to_str().unwrap())];
    let passes = text(&child("sleeps", &root));
    let lines: Vec<_> = passes.lines().filter(|line| line.starts_with("sleeps: ")).take(2).collect();
    assert_eq!(lines, ["sleeps: regressions/early.json: about early.json", "sleeps: seed 3"]);
    let fails = text(&child("fails_by_seed", &root));
    assert!(fails.contains("fails-by-seed: regressions/other.json: about other.json\n"), "{fails}");
    assert!(!fails.contains("fails-by-seed: seed 10\n"), "{fails}");
    let command =
        format!("BEAMLINE_SIM_SEED={seed} BEAMLINE_SIM_SCHEDULE={}", folder.join("other.json").display());
    assert!(fails.contains(&command), "{fails}");
}

#[test]
fn a_run_that_never_gives_way_is_named_and_ends_the_process() {
    let output = child("hangs", &[]);
    assert_eq!(output.status.code(), Some(3));
    let text = text(&output);
    assert!(text.contains("hangs, seed 4 has taken more than 300ms of wall time"), "{text}");
}
