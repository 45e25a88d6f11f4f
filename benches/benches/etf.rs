//! What do encoding and decoding cost beside copying the same bytes?

use std::hint::black_box;

use beamline::etf::{self, Limits};
use beamline::term::Atom;
use beamline_benches::{Table, terms, time};
use bytes::Bytes;
use serde::Deserialize;

/// How many operations take so long that a pause of the machine is little beside them.
fn times(name: &str) -> u32 {
    match name {
        "tuple" => 1_000_000,
        "ints1000" => 10_000,
        "map100" => 5_000,
        "props50" => 20_000,
        _ => 1_000,
    }
}

fn main() {
    let mut encode = Table::new("Encoding a `Term`", "ns", "memcpy of its bytes");
    let mut decode = Table::new("Decoding into a `Term`", "ns", "memcpy of its bytes");
    for name in terms::NAMES {
        let (term, bytes) = (terms::term(name), terms::bytes(name));
        let encoded = || drop(black_box(etf::to_bytes(black_box(&term))));
        let subject = |times| time(times, encoded);
        // Of the others more than the copy can be saved.
        let machine = |times| (name == "bin1m").then(|| copy_to_fresh(&bytes, times));
        let floor = |times| copy(&bytes, times);
        encode.measure_beside(format!("encode {name}"), times(name), subject, floor, machine);
        let limits = Limits::default();
        let decoded = || drop(black_box(etf::decode(black_box(&bytes), &limits)));
        let subject = |times| time(times, decoded);
        decode.measure(format!("decode {name}"), times(name), subject, |times| copy(&bytes, times));
    }
    encode.print();
    decode.print();

    let mut typed = Table::new("Decoding into Rust types", "ns", "memcpy of the same bytes");
    typed_row(&mut typed, "tuple", |bytes| is::<(Atom, i64, Atom)>(bytes));
    typed_row(&mut typed, "ints1000", |bytes| is::<Vec<i64>>(bytes));
    typed_row(&mut typed, "map100", |bytes| is::<terms::Items<'_>>(bytes));
    typed_row(&mut typed, "props50", |bytes| is::<terms::Props>(bytes));
    typed_row(&mut typed, "bin1m", |bytes| is::<&[u8]>(bytes));
    typed.print();
}

fn copy(bytes: &Bytes, times: u32) -> std::time::Duration {
    let mut into = vec![0; bytes.len()];
    time(times, || {
        into.copy_from_slice(black_box(bytes));
        black_box(&mut into);
    })
}

/// What no encoding of a binary does without: memory for it, and the copy.
fn copy_to_fresh(bytes: &Bytes, times: u32) -> std::time::Duration {
    time(times, || {
        black_box(black_box(&**bytes).to_vec());
    })
}

/// Decodes, and drops what it is.
fn is<'a, T: Deserialize<'a>>(bytes: &'a Bytes) -> bool {
    black_box(etf::from_slice::<T>(black_box(bytes))).is_ok()
}

fn typed_row(table: &mut Table, name: &str, decode: fn(&Bytes) -> bool) {
    let bytes = terms::bytes(name);
    assert!(decode(&bytes), "{name} is of another type");
    let decoded = || {
        black_box(decode(&bytes));
    };
    let subject = |times| time(times, decoded);
    table.measure(format!("decode {name}, typed"), times(name), subject, |times| copy(&bytes, times));
}
