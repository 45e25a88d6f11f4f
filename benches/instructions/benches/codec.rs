//! How many instructions do encoding and decoding the five terms take?

use std::hint::black_box;

use beamline::etf::{self, DecodeError, EncodeError, Limits};
use beamline::term::{Atom, Term};
use beamline_benches::terms;
use bytes::Bytes;
use gungraun::{library_benchmark, library_benchmark_group, main};

fn term(name: &str) -> Term {
    terms::term(name)
}

fn bytes(name: &str) -> Bytes {
    terms::bytes(name)
}

#[library_benchmark(setup = term)]
#[bench::tuple("tuple")]
#[bench::ints1000("ints1000")]
#[bench::map100("map100")]
#[bench::props50("props50")]
#[bench::bin1m("bin1m")]
fn encode(term: Term) -> (Term, Result<Bytes, EncodeError>) {
    let bytes = etf::to_bytes(black_box(&term));
    (term, bytes)
}

#[library_benchmark(setup = bytes)]
#[bench::tuple("tuple")]
#[bench::ints1000("ints1000")]
#[bench::map100("map100")]
#[bench::props50("props50")]
#[bench::bin1m("bin1m")]
fn decode(bytes: Bytes) -> (Bytes, Result<(Term, usize), DecodeError>) {
    let term = etf::decode(black_box(&bytes), &Limits::default());
    (bytes, term)
}

#[library_benchmark(setup = bytes)]
#[bench::tuple("tuple")]
fn decode_typed_tuple(bytes: Bytes) -> (Bytes, Result<(Atom, i64, Atom), DecodeError>) {
    let value = etf::from_slice(black_box(&bytes));
    (bytes, value)
}

#[library_benchmark(setup = bytes)]
#[bench::ints1000("ints1000")]
fn decode_typed_ints(bytes: Bytes) -> (Bytes, Result<Vec<i64>, DecodeError>) {
    let value = etf::from_slice(black_box(&bytes));
    (bytes, value)
}

#[library_benchmark(setup = bytes)]
#[bench::map100("map100")]
fn decode_typed_map(bytes: Bytes) -> Bytes {
    drop(black_box(etf::from_slice::<terms::Items<'_>>(black_box(&bytes))));
    bytes
}

#[library_benchmark(setup = bytes)]
#[bench::props50("props50")]
fn decode_typed_props(bytes: Bytes) -> (Bytes, Result<terms::Props, DecodeError>) {
    let value = etf::from_slice(black_box(&bytes));
    (bytes, value)
}

library_benchmark_group!(
    name = codec,
    benchmarks =
        [encode, decode, decode_typed_tuple, decode_typed_ints, decode_typed_map, decode_typed_props]
);
main!(library_benchmark_groups = codec);
