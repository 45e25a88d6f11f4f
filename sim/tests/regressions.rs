//! What was once wrong stays right: every schedule in `regressions/` passes.

use std::path::Path;

use beamline_sim::scenario;
use beamline_sim::shrink::Regression;

#[test]
fn every_stored_schedule_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut failed = Vec::new();
    for (name, stored) in Regression::read_all(&folder).unwrap() {
        let Some(scenario) = scenario::find(&stored.scenario) else {
            failed.push(format!("{name}: there is no scenario {}", stored.scenario));
            continue;
        };
        match scenario.run(stored.seed, Some(&stored.schedule)).passed() {
            Ok(_) => println!("{name}: passed"),
            Err(why) => failed.push(format!("{name} ({}): {why}", stored.comment)),
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
