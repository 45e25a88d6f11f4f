//! Terms for property tests: all kinds, with the values where forms and types change.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Atom, BigInt, Fun, FunHead, Pid, Port, Record, Reference, Term, bits_term};

pub(crate) fn atom() -> impl Strategy<Value = Atom> {
    let text = prop_oneof![
        4 => "[a-z][a-zA-Z0-9_@]{0,8}",
        1 => "(fun|maybe|end|else|EXIT|_|\\[\\]|a b|'|\\\\)",
        1 => "\\PC{0,20}",
        1 => vec(any::<char>(), 0..=255).prop_map(String::from_iter),
    ];
    text.prop_map(|text| Atom::new(&text).expect("at most 255 characters"))
}

fn integer() -> impl Strategy<Value = Term> {
    let near_power = (0..300_u32, -1..=1_i32, any::<bool>()).prop_map(|(bits, more, negative)| {
        let value = (num_bigint::BigInt::from(1) << bits) + more;
        Term::from(BigInt(if negative { -value } else { value }))
    });
    let long = (any::<bool>(), vec(any::<u8>(), 0..600))
        .prop_map(|(negative, magnitude)| Term::from(BigInt::from_bytes_le(negative, &magnitude)));
    prop_oneof![4 => (-300..300_i64).prop_map(Term::from), 2 => any::<i64>().prop_map(Term::from), 3 => near_power, 1 => long]
}

fn float() -> impl Strategy<Value = Term> {
    use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    let near_integer =
        (0..100_u32, -2..3_i8).prop_map(|(bits, more)| 2_f64.powi(bits as i32) + f64::from(more));
    let value = prop_oneof![
        POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO,
        near_integer,
        (-10..10_i8).prop_map(f64::from)
    ];
    value.prop_map(Term::Float)
}

fn pid() -> impl Strategy<Value = Pid> {
    (atom(), any::<[u32; 3]>()).prop_map(|(node, [id, serial, creation])| Pid { node, id, serial, creation })
}

fn identifier() -> impl Strategy<Value = Term> {
    let port = (atom(), prop_oneof![any::<u64>(), 0..3_u64, (1 << 28) - 2..(1 << 28) + 2_u64], any::<u32>());
    let reference = (atom(), any::<u32>(), vec(any::<u32>(), 0..=5));
    prop_oneof![
        pid().prop_map(Term::from),
        port.prop_map(|(node, id, creation)| Port { node, id, creation }.into()),
        reference.prop_map(|(node, creation, words)| {
            Reference::new(node, creation, &words).expect("at most five words").into()
        }),
    ]
}

fn bits() -> impl Strategy<Value = Term> {
    prop_oneof![
        "\\PC{0,12}".prop_map(Term::from),
        vec(any::<u8>(), 0..40).prop_map(|bytes| Term::Binary(bytes.into())),
        (vec(any::<u8>(), 1..8), 1..=7_u8).prop_map(|(bytes, bits)| bits_term(bytes.into(), bits)),
    ]
}

fn flat() -> impl Strategy<Value = Term> {
    let external = (atom(), atom(), any::<u8>())
        .prop_map(|(module, function, arity)| Fun::External { module, function, arity }.into());
    prop_oneof![
        4 => integer(), 2 => float(), 4 => atom().prop_map(Term::from), 2 => identifier(), 3 => bits(), 1 => external,
        1 => "\\PC{0,12}".prop_map(|text| Term::charlist(&text)),
    ]
}

fn containers(
    inner: BoxedStrategy<Term>,
    with: fn(BoxedStrategy<Term>) -> BoxedStrategy<Term>,
) -> BoxedStrategy<Term> {
    prop_oneof![
        3 => vec(inner.clone(), 0..6).prop_map(Term::list),
        1 => (vec(inner.clone(), 0..4), inner.clone()).prop_map(|(list, tail)| Term::list_with_tail(list, tail)),
        4 => vec(inner.clone(), 0..6).prop_map(Term::tuple),
        3 => vec((inner.clone(), inner.clone()), 0..6).prop_map(Term::map),
        1 => with(inner),
    ]
    .boxed()
}

/// Terms that can be written as text and read back.
pub(crate) fn printable_term() -> impl Strategy<Value = Term> {
    flat().prop_recursive(5, 60, 6, |inner| containers(inner.boxed(), |inner| inner))
}

/// All terms.
pub(crate) fn term() -> impl Strategy<Value = Term> {
    fn opaque(inner: BoxedStrategy<Term>) -> BoxedStrategy<Term> {
        let head = (any::<(u8, [u8; 16], u32)>(), atom(), any::<(i64, i32)>(), pid()).prop_map(
            |((arity, uniq, index), module, (old_index, old_uniq), pid)| FunHead {
                arity,
                uniq,
                index,
                module,
                old_index,
                old_uniq: i64::from(old_uniq),
                pid,
            },
        );
        let fun = (head, vec(inner.clone(), 0..3))
            .prop_map(|(head, free)| Fun::Internal { head, free: free.into() }.into());
        let record = (atom(), atom(), any::<bool>(), vec((atom(), inner), 0..3)).prop_map(
            |(module, name, exported, pairs)| {
                let (fields, values): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
                Term::Record(Box::new(Record { module, name, exported, fields, values: values.into() }))
            },
        );
        prop_oneof![fun, record].boxed()
    }
    flat().prop_recursive(5, 60, 6, |inner| containers(inner.boxed(), opaque))
}
