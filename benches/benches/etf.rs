//! What do encoding and decoding cost beside copying the same bytes?

use std::collections::BTreeMap;
use std::hint::black_box;

use beamline::etf::{self, Limits};
use beamline::term::{Atom, Term};
use beamline_benches::{Table, time};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Item<'a> {
    id: i64,
    name: &'a str,
}

/// The terms, as the program's own values where their type says more than a `Term`.
fn terms() -> Vec<(&'static str, Term, u32)> {
    let tuple = Term::tuple([Term::atom("ok"), 42.into(), Term::atom("foo")]);
    let ints = Term::list((1000..2000).map(Term::from));
    let map = Term::map((1..=100).map(|n| {
        let fields = [("id", Term::from(n)), ("name", format!("name-{n}").into())];
        let value = Term::map(fields.map(|(key, value)| (Term::from(key), value)));
        (format!("key{n}").into(), value)
    }));
    let props = Term::list((1..=50).map(|n| {
        let key = Atom::new(&format!("opt_{n}")).unwrap_or_else(|error| panic!("{error}"));
        let value = ["true", "false", "undefined"][n % 3];
        Term::tuple([key.into(), Term::atom(value)])
    }));
    let binary = Term::from(Bytes::from(vec![7; 1 << 20]));
    vec![
        ("tuple", tuple, 100_000),
        ("ints1000", ints, 2_000),
        ("map100", map, 1_000),
        ("props50", props, 4_000),
        ("bin1m", binary, 200),
    ]
}

fn main() {
    let mut encode = Table::new("Encoding a `Term`", "ns", "memcpy of its bytes");
    let mut decode = Table::new("Decoding into a `Term`", "ns", "memcpy of its bytes");
    let limits = Limits::default();
    for (name, term, times) in terms() {
        let bytes = etf::to_bytes(&term).unwrap_or_else(|error| panic!("{name}: {error}"));
        let copy = |times| {
            let mut into = vec![0; bytes.len()];
            time(times, || {
                into.copy_from_slice(black_box(&bytes));
                black_box(&mut into);
            })
        };
        encode.measure(
            format!("encode {name}"),
            times,
            |times| time(times, || drop(black_box(etf::to_bytes(black_box(&term))))),
            copy,
        );
        decode.measure(
            format!("decode {name}"),
            times,
            |times| time(times, || drop(black_box(etf::decode(black_box(&bytes), &limits)))),
            copy,
        );
    }
    encode.print();
    decode.print();

    let mut typed = Table::new("Decoding into Rust types", "ns", "memcpy of the same bytes");
    typed_rows(&mut typed);
    typed.print();
}

fn typed_rows(table: &mut Table) {
    fn row<T: for<'de> Deserialize<'de>>(table: &mut Table, name: &str, bytes: &[u8], times: u32) {
        let subject = |times| time(times, || drop(black_box(etf::from_slice::<T>(black_box(bytes)))));
        let floor = |times| {
            let mut into = vec![0; bytes.len()];
            time(times, || {
                into.copy_from_slice(black_box(bytes));
                black_box(&mut into);
            })
        };
        table.measure(format!("decode {name}, typed"), times, subject, floor);
    }
    let by_name: BTreeMap<&str, Term> = terms().into_iter().map(|(name, term, _)| (name, term)).collect();
    let bytes = |name: &str| etf::to_bytes(&by_name[name]).unwrap_or_else(|error| panic!("{error}"));
    row::<(Atom, i64, Atom)>(table, "tuple", &bytes("tuple"), 100_000);
    row::<Vec<i64>>(table, "ints1000", &bytes("ints1000"), 2_000);
    row::<Vec<(Atom, Atom)>>(table, "props50", &bytes("props50"), 4_000);
    let map = bytes("map100");
    let subject =
        |times| time(times, || drop(black_box(etf::from_slice::<BTreeMap<&str, Item<'_>>>(black_box(&map)))));
    let floor = |times| {
        let mut into = vec![0; map.len()];
        time(times, || {
            into.copy_from_slice(black_box(&map));
            black_box(&mut into);
        })
    };
    table.measure("decode map100, typed", 1_000, subject, floor);
}
