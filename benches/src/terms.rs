//! The five terms that codecs are compared on, which Erlang writes as `peers/otp.erl` has them.

use std::collections::HashMap;

use beamline::etf;
use beamline::term::{Atom, Term};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Their names.
pub const NAMES: [&str; 5] = ["tuple", "ints1000", "map100", "props50", "bin1m"];

/// The type that says of `map100` what a program knows: the map that most programs would take, as the order of its keys
/// means nothing. Its hasher is the standard library's.
pub type Items<'a> = HashMap<&'a str, Item<'a>>;

/// The type that says of `props50` what a program knows: each option is set, or not, or `undefined`.
pub type Props = Vec<(Atom, Option<bool>)>;

/// A value of `map100`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Item<'a> {
    id: i64,
    name: &'a str,
}

/// A term by its name.
pub fn term(name: &str) -> Term {
    match name {
        "tuple" => Term::tuple([Term::atom("ok"), 42.into(), Term::atom("foo")]),
        "ints1000" => Term::list((1000..2000).map(Term::from)),
        "map100" => Term::map((1..=100).map(|n| {
            let fields = [("id", Term::from(n)), ("name", format!("name-{n}").into())];
            let value = Term::map(fields.map(|(key, value)| (Term::from(key), value)));
            (format!("key{n}").into(), value)
        })),
        "props50" => Term::list((1..=50).map(|n| {
            let key = Atom::new(&format!("opt_{n}")).unwrap_or_else(|error| panic!("{error}"));
            let value = ["true", "false", "undefined"][n % 3];
            Term::tuple([key.into(), Term::atom(value)])
        })),
        "bin1m" => Term::from(Bytes::from(vec![7; 1 << 20])),
        _ => panic!("no such term: {name}"),
    }
}

/// A term's external form.
pub fn bytes(name: &str) -> Bytes {
    etf::to_bytes(&term(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
