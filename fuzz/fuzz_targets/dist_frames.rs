//! A peer's packets, in chunks, into a receiver.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| beamline::fuzzing::dist_frames(input));
