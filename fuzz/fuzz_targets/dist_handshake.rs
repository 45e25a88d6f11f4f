//! Two ends shake hands over a line that changes, drops and repeats messages.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| beamline::fuzzing::dist_handshake(input));
