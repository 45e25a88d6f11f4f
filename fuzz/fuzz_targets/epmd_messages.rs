//! EPMD's requests and answers.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| beamline::epmd::fuzzing::messages(input));
