//! Two independent decoders and encoders, asked about the same terms.

use bytes::Bytes;
use proptest::prelude::*;

use crate::etf::{Limits, decode, to_bytes};
use crate::term::strategy::printable_term;
use crate::term::{Atom, BigInt, Fun, Pid, Port, Reference, Term, bits_term};

fn atom(text: &str) -> Atom {
    Atom::new(text).expect("it was one")
}

fn bits(bytes: Vec<u8>, bits: u8) -> Term {
    bits_term(bytes.into(), if bits == 0 { 8 } else { bits })
}

fn from_eetf(term: eetf::Term) -> Option<Term> {
    use eetf::Term as Other;
    let all = |terms: Vec<Other>| terms.into_iter().map(from_eetf).collect::<Option<Vec<Term>>>();
    Some(match term {
        Other::Atom(value) => atom(&value.name).into(),
        Other::FixInteger(value) => value.value.into(),
        Other::BigInteger(value) => value.value.to_string().parse::<BigInt>().ok()?.into(),
        Other::Float(value) => value.value.into(),
        Other::Pid(pid) => {
            Pid { node: atom(&pid.node.name), id: pid.id, serial: pid.serial, creation: pid.creation }.into()
        }
        Other::Port(port) => {
            Port { node: atom(&port.node.name), id: port.id, creation: port.creation }.into()
        }
        Other::Reference(value) => Reference::new(atom(&value.node.name), value.creation, &value.id)?.into(),
        Other::ExternalFun(fun) => Fun::External {
            module: atom(&fun.module.name),
            function: atom(&fun.function.name),
            arity: fun.arity,
        }
        .into(),
        Other::Binary(value) => Bytes::from(value.bytes).into(),
        Other::BitBinary(value) => {
            // Its last byte has the bits at the low end.
            let mut bytes = value.bytes;
            if let Some(last) = bytes.last_mut() {
                *last <<= 8 - value.tail_bits_size;
            }
            bits(bytes, value.tail_bits_size)
        }
        Other::ByteList(list) => Term::list(list.bytes.into_iter().map(Term::from)),
        Other::List(list) => Term::list(all(list.elements)?),
        Other::ImproperList(list) => Term::list_with_tail(all(list.elements)?, from_eetf(*list.last)?),
        Other::Tuple(tuple) => Term::tuple(all(tuple.elements)?),
        Other::Map(map) => {
            let pair = |(key, value)| Some((from_eetf(key)?, from_eetf(value)?));
            Term::map(map.map.into_iter().map(pair).collect::<Option<Vec<_>>>()?)
        }
        Other::InternalFun(_) => return None,
    })
}

fn from_erltf(term: erltf::OwnedTerm) -> Option<Term> {
    use erltf::OwnedTerm as Other;
    let all = |terms: Vec<Other>| terms.into_iter().map(from_erltf).collect::<Option<Vec<Term>>>();
    Some(match term {
        Other::Atom(value) => atom(value.as_str()).into(),
        Other::Integer(value) => value.into(),
        Other::BigInt(value) => BigInt::from_bytes_le(value.sign.is_negative(), &value.digits).into(),
        Other::Float(value) => value.into(),
        Other::Pid(pid) => {
            Pid { node: atom(pid.node.as_str()), id: pid.id, serial: pid.serial, creation: pid.creation }
                .into()
        }
        Other::Port(port) => {
            Port { node: atom(port.node.as_str()), id: port.id, creation: port.creation }.into()
        }
        Other::Reference(value) => {
            Reference::new(atom(value.node.as_str()), value.creation, &value.ids)?.into()
        }
        Other::ExternalFun(fun) => Fun::External {
            module: atom(fun.module.as_str()),
            function: atom(fun.function.as_str()),
            arity: fun.arity,
        }
        .into(),
        Other::Binary(bytes) => Bytes::from(bytes).into(),
        Other::BitBinary { bytes, bits: used } => bits(bytes, used),
        Other::Nil => Term::nil(),
        Other::List(list) => Term::list(all(list)?),
        Other::ImproperList { elements, tail } => Term::list_with_tail(all(elements)?, from_erltf(*tail)?),
        Other::Tuple(tuple) => Term::tuple(all(tuple)?),
        Other::Map(_) | Other::InternalFun(_) | Other::String(_) => return None,
    })
}

proptest! {
    // Not asked to encode: it writes [-1] as the string of byte 255.
    #[test]
    fn eetf_reads_what_we_write_as_the_same_term(term in printable_term()) {
        // To it 0.0 and -0.0 are one key, as they were before OTP 27.
        let text = term.to_string();
        prop_assume!(!(text.contains("#{") && text.contains("-0.0")));
        let theirs = eetf::Term::decode(&to_bytes(&term).unwrap()[..]);
        prop_assert!(theirs.is_ok(), "eetf refuses {}", term);
        prop_assert_eq!(theirs.ok().and_then(from_eetf), Some(term));
    }

    #[test]
    fn erltf_reads_what_we_write_and_we_read_what_it_writes(term in printable_term()) {
        // To it some keys are equal that are not: <<>> and <<0:1>>.
        prop_assume!(!term.to_string().contains("#{"));
        let theirs = erltf::decode(&to_bytes(&term).unwrap());
        // It does not know NEW_PORT_EXT, which Erlang writes for small numbers.
        prop_assume!(theirs.is_ok());
        let theirs = theirs.unwrap();
        let again = erltf::encode(&theirs);
        prop_assert!(again.is_ok(), "erltf does not write {}", term);
        prop_assert_eq!(from_erltf(theirs), Some(term.clone()));
        prop_assert_eq!(decode(&again.unwrap().into(), &Limits::default()).map(|(term, _)| term), Ok(term));
    }
}
