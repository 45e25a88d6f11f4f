//! What is decoded is encoded and printed, and read back as the same term.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| beamline::fuzzing::etf_round_trip(input));
