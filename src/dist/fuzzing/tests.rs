use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::*;

/// The seeds of a fuzz target.
fn corpus(target: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let seeds: BTreeMap<_, _> = folder
        .read_dir()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        })
        .collect();
    assert!(!seeds.is_empty());
    seeds
}

/// A seed with some bytes changed, removed or repeated.
fn mutated(target: &str) -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 0..6);
    (prop::sample::select(corpus(target).into_values().collect::<Vec<_>>()), edits).prop_map(
        |(mut seed, edits)| {
            for (at, value, edit) in edits {
                if seed.is_empty() {
                    break;
                }
                let at = at.index(seed.len());
                match edit {
                    0 => seed[at] = value,
                    1 => seed[at] = seed[at].wrapping_add(1),
                    2 => drop(seed.remove(at)),
                    _ => seed.extend_from_within(at..),
                }
            }
            seed
        },
    )
}

#[test]
fn the_corpus_holds_and_its_seeds_go_as_deep_as_they_are_meant_to() {
    let signals: BTreeMap<_, _> =
        corpus("dist_frames").into_iter().map(|(name, seed)| (name, frames(&seed))).collect();
    for (name, expected) in [
        ("atom_cache", 3),
        ("every_control", 32),
        ("every_control_pass_through", 32),
        ("fragments", 3),
        ("older_controls", 6),
        ("otp25_pass_through", 2),
        ("otp25_session", 5),
    ] {
        assert_eq!(signals[name], expected, "{name}");
    }
    let finished: BTreeMap<_, _> =
        corpus("dist_handshake").into_iter().map(|(name, seed)| (name, handshake(&seed))).collect();
    for (name, expected) in [
        ("alive", 2),
        ("changed_flag", 2),
        ("named", 2),
        ("nok", 0),
        ("not_allowed", 0),
        ("ok", 2),
        ("ok_simultaneous", 2),
        ("version_5", 0),
        ("wrong_cookie", 0),
    ] {
        assert_eq!(finished[name], expected, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn mutated_frames_hold(data in mutated("dist_frames")) {
        frames(&data);
    }

    #[test]
    fn mutated_handshakes_hold(data in mutated("dist_handshake")) {
        handshake(&data);
    }
}
