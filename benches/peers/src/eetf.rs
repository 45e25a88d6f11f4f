//! eetf: the external term format alone. The terms are those of the benchmark `etf`.

use std::hint::black_box;
use std::time::Instant;

use ::eetf::{Atom, Binary, FixInteger, List, Map, Term, Tuple};

use crate::{Options, print};

fn atom(name: &str) -> Term {
    Atom::from(name).into()
}

fn binary(text: &str) -> Term {
    Binary::from(text.as_bytes().to_vec()).into()
}

fn int(n: i32) -> Term {
    FixInteger::from(n).into()
}

fn terms() -> [(&'static str, Term, u32); 5] {
    let item = |n: i32| {
        let fields = [(binary("id"), int(n)), (binary("name"), binary(&format!("name-{n}")))];
        (
            binary(&format!("key{n}")),
            Map::from(fields.into_iter().collect::<std::collections::HashMap<_, _>>()).into(),
        )
    };
    let map: std::collections::HashMap<Term, Term> = (1..=100).map(item).collect();
    let props = (1..=50).map(|n: usize| {
        let value = ["true", "false", "undefined"][n % 3];
        Tuple::from(vec![atom(&format!("opt_{n}")), atom(value)]).into()
    });
    [
        ("tuple", Tuple::from(vec![atom("ok"), int(42), atom("foo")]).into(), 1_000_000),
        ("ints1000", List::from((1000..2000).map(int).collect::<Vec<Term>>()).into(), 10_000),
        ("map100", Map::from(map).into(), 5_000),
        ("props50", List::from(props.collect::<Vec<Term>>()).into(), 20_000),
        ("bin1m", Binary::from(vec![7; 1 << 20]).into(), 1_000),
    ]
}

pub fn run(options: &Options) {
    for (name, term, times) in terms() {
        let mut bytes = Vec::new();
        term.encode(&mut bytes).expect("it has an external form");
        let times = options.operations(times);
        let measure = |row: &str, operation: &dyn Fn()| {
            (0..times).for_each(|_| operation());
            let start = Instant::now();
            (0..times).for_each(|_| operation());
            print(row, "eetf", start.elapsed().as_nanos() as f64 / f64::from(times));
        };
        measure(&format!("encode {name}"), &|| {
            let mut bytes = Vec::new();
            black_box(&term).encode(&mut bytes).expect("it has an external form");
            black_box(bytes);
        });
        measure(&format!("decode {name}"), &|| {
            drop(black_box(Term::decode(black_box(&bytes[..])).expect("it is whole")));
        });
    }
}
