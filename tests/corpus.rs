//! Replays the kept corpus of every fuzz target.

use std::fs;
use std::path::Path;

use beamline::{epmd, fuzzing};

/// A target's name, and what it calls.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 9] = [
    ("dist_frames", fuzzing::dist_frames),
    ("dist_handshake", fuzzing::dist_handshake),
    ("epmd_messages", epmd::fuzzing::messages),
    ("epmd_registry", epmd::fuzzing::registry),
    ("etf_decode", fuzzing::etf_decode),
    ("etf_round_trip", fuzzing::etf_round_trip),
    ("serde_decode", fuzzing::serde_decode),
    ("term_text", fuzzing::term_text),
    ("io_request", fuzzing::io_request),
];

#[test]
fn nothing_in_the_corpus_finds_a_defect() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (name, target) in TARGETS {
        let mut inputs = 0;
        for entry in fs::read_dir(fuzz.join("corpus").join(name)).unwrap() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            target(&fs::read(path).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "{name} has no corpus");
    }
}

#[test]
fn every_fuzz_target_is_replayed() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for entry in fs::read_dir(fuzz.join("fuzz_targets")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap();
        assert!(TARGETS.iter().any(|(target, _)| *target == name), "{name} is not in the list");
    }
}
