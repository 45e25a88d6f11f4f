//! Terms from text in Erlang's syntax.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| beamline::fuzzing::term_text(input));
