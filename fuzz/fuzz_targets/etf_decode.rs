//! Terms as a peer sends them: checked, then built.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| beamline::fuzzing::etf_decode(input));
