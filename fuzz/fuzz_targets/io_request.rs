//! Requests to an io device, in Erlang's syntax.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| beamline::fuzzing::io_request(input));
