//! The decoder, which takes short ways, against one that takes none: token by token, as slowly as the format is told.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::etf::{
    DecodeError, DecodeErrorKind, Limits, Payload, Reader, Token, Writer, decode, from_slice, to_bytes,
};
use crate::term::strategy::term;
use crate::term::{Atom, BigInt, Binary, Fun, Map, Record, Term, bits_term};

/// The next term. It recurses on the depth, which is small here.
fn reference(reader: &mut Reader<'_>) -> Result<Term, DecodeError> {
    let at = reader.offset();
    let token = reader.next_token()?;
    let mut some =
        |count: usize| (0..count).map(|_| reference(reader)).collect::<Result<Vec<Term>, DecodeError>>();
    Ok(match token {
        Token::Integer(value) => value.into(),
        Token::BigInteger { negative, magnitude } => BigInt::from_bytes_le(negative, magnitude).into(),
        Token::Float(value) => value.into(),
        Token::Atom(atom) => atom.into(),
        Token::Binary(bytes) => Bytes::copy_from_slice(bytes).into(),
        Token::BitString { bytes, bits } => bits_term(Bytes::copy_from_slice(bytes), bits),
        Token::String(text) => Term::list(text.iter().map(|byte| Term::from(*byte))),
        Token::Nil => Term::nil(),
        Token::List(count) => {
            let elements = some(count)?;
            Term::list_with_tail(elements, reference(reader)?)
        }
        Token::Tuple(count) => Term::tuple(some(count)?),
        Token::Map(count) => {
            let duplicate = |_| DecodeError::new(DecodeErrorKind::DuplicateKey, at);
            Term::Map(Map::from_flat(some(count * 2)?).map_err(duplicate)?)
        }
        Token::Pid(pid) => pid.into(),
        Token::Port(port) => port.into(),
        Token::Reference(reference) => reference.into(),
        Token::Export { module, function, arity } => Fun::External { module, function, arity }.into(),
        Token::Fun { head, free } => Fun::Internal { head: *head, free: some(free)?.into() }.into(),
        Token::Record { module, name, exported, fields: count } => {
            let fields = (0..count).map(|_| reader.atom()).collect::<Result<_, _>>()?;
            let values = (0..count).map(|_| reference(reader)).collect::<Result<_, _>>()?;
            Term::Record(Box::new(Record { module, name, exported, fields, values }))
        }
    })
}

/// What is to come of bytes with a version byte.
fn expected(bytes: &[u8], atoms: &[Atom], limits: &Limits) -> Result<(Term, usize), DecodeError> {
    let mut reader = Reader::new(bytes, atoms);
    reader.u8()?;
    reader.clone().skip(limits)?;
    let term = reference(&mut reader)?;
    Ok((term, reader.offset()))
}

/// Bytes of which most begin as terms do, and go on.
fn near_terms() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop_oneof![
            Just(vec![97, 7]), Just(vec![98, 0, 0, 1, 0]), Just(vec![106]), Just(vec![82, 1]), Just(vec![82, 9]),
            Just(vec![119, 2, b'o', b'k']), Just(vec![119, 5, b'f', b'a', b'l', b's', b'f']),
            Just(vec![119, 2, 0xc3, 0xa9]), Just(vec![119, 2, 0xc3, b'a']), Just(vec![109, 0, 0, 0, 2, 1, 2]),
            Just([&[109, 0, 0, 0, 23][..], &[b'x'; 23]].concat()), Just([&[109, 0, 0, 0, 24][..], &[b'y'; 24]].concat()),
            Just(vec![107, 0, 1, 7]), Just([&[70][..], &[64; 8]].concat()), Just(vec![110, 1, 1, 9]),
        ],
        4 => (0..5_u8).prop_map(|count| vec![104, count]),
        3 => (0..12_u8).prop_map(|count| vec![108, 0, 0, 0, count]),
        3 => (0..4_u8).prop_map(|count| vec![116, 0, 0, 0, count]),
        2 => (0..3_u8, 0..14_usize).prop_map(|(index, len)| [&[88, 82, index][..], &vec![5; len]].concat()),
        2 => (0..8_u8, 0..3_u8, 0..26_usize)
            .prop_map(|(words, index, len)| [&[90, 0, words, 82, index][..], &vec![5; len]].concat()),
        1 => vec(any::<u8>(), 1..3),
    ];
    vec(piece, 0..40).prop_map(|pieces| [vec![131], pieces.concat(), vec![106; 20]].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_bytes_are_read_alike(
        bytes in near_terms(),
        depth in 1..8_u32,
        values in 1..60_usize,
        atoms in 0..6_usize,
        integer_len in 0..12_usize,
    ) {
        prop_assume!(bytes[1] != 80);
        let small = Limits { depth, values, atoms, integer_len, ..Limits::default() };
        for limits in [Limits::default(), small] {
            let shared = Bytes::from(bytes.clone());
            prop_assert_eq!(decode(&shared, &limits), expected(&bytes, &[], &limits));
        }
    }

    #[test]
    fn terms_with_numbered_atoms_are_skipped_and_built_as_they_are_read(bytes in near_terms()) {
        let atoms = [Atom::from("a"), Atom::from("b")];
        let (mut slow, mut skipped) = (Reader::new(&bytes[1..], &atoms), Reader::new(&bytes[1..], &atoms));
        let read = reference(&mut slow).map(|term| (slow.offset(), term)).ok();
        let skipped = skipped.skip(&Limits::default()).map(|()| skipped.offset()).ok();
        prop_assert_eq!(read.as_ref().map(|(len, _)| *len), skipped);
        if let Some((len, term)) = read {
            let payload = Bytes::copy_from_slice(&bytes[1..1 + len]);
            prop_assert_eq!(Payload::new(payload, atoms.to_vec()).term(), term);
        }
    }

    #[test]
    fn a_changed_term_is_read_alike(term in term(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = to_bytes(&term).unwrap().to_vec();
        let at = at.index(bytes.len() - 1) + 1;
        bytes[at] = byte;
        prop_assume!(bytes[1] != 80);
        let limits = Limits::default();
        prop_assert_eq!(decode(&bytes.clone().into(), &limits), expected(&bytes, &[], &limits));
    }

    #[test]
    fn a_payload_with_numbered_atoms_is_read_alike(term in term()) {
        let mut writer = Writer::with_atom_refs();
        writer.raw(&[131]);
        writer.term(&term).unwrap();
        let encoded = writer.finish();
        let bytes = Bytes::from(encoded.parts.concat());
        let atoms = encoded.atoms.atoms();
        let payload = Payload::new(bytes.slice(1..), atoms.to_vec());
        prop_assert_eq!(Ok((payload.term(), bytes.len())), expected(&bytes, atoms, &Limits::default()));
    }
}

/// The bytes of a term, written token by token.
fn written(term: &Term, writer: &mut Writer) {
    match term {
        Term::Tuple(elements) => {
            writer.tuple(elements.len()).unwrap();
            elements.iter().for_each(|term| written(term, writer));
        }
        Term::Map(map) => {
            writer.map(map.len()).unwrap();
            for (key, value) in map.iter() {
                written(key, writer);
                written(value, writer);
            }
        }
        Term::Binary(bytes) => writer.binary(bytes).unwrap(),
        Term::Atom(atom) => writer.atom_text(atom).unwrap(),
        Term::Float(value) => writer.float(*value).unwrap(),
        term => writer.term(term).unwrap(),
    }
}

proptest! {
    #[test]
    fn terms_are_written_alike_one_after_another(terms in vec(term(), 1..5)) {
        // The buffer of one is that of the next.
        for term in terms {
            let mut writer = Writer::new();
            writer.raw(&[131]);
            written(&term, &mut writer);
            prop_assert_eq!(to_bytes(&term).unwrap(), writer.finish().into_bytes());
        }
    }
}

#[test]
fn terms_longer_than_the_shared_buffer_are_written_whole() {
    let text = |len: usize| Term::from(Bytes::from(vec![7; len]));
    for len in [4000, 16_000, 16_384, 40_000, 1 << 20] {
        for term in [
            text(len),
            Term::tuple([text(3), text(len), 1.into()]),
            Term::list(vec![Term::Integer(1 << 20); len / 5]),
        ] {
            let bytes = to_bytes(&term).unwrap();
            let mut writer = Writer::new();
            writer.raw(&[131]);
            written(&term, &mut writer);
            assert!(bytes == writer.finish().into_bytes());
            assert!(decode(&bytes, &Limits::default()).unwrap() == (term, bytes.len()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn types_are_read_as_their_terms_are(bytes in near_terms()) {
        prop_assume!(bytes[1] != 80);
        let Ok((term, _)) = decode(&bytes.clone().into(), &Limits::default()) else { return Ok(()) };
        let atom = |term: &Term| term.as_atom().cloned();
        let integer = |term: &Term| term.as_integer();
        let ints = term.as_list().and_then(|list| list.iter().map(integer).collect::<Option<Vec<_>>>());
        prop_assert_eq!(from_slice::<Vec<i64>>(&bytes).ok(), ints);
        let atoms = term.as_list().and_then(|list| list.iter().map(atom).collect::<Option<Vec<_>>>());
        prop_assert_eq!(from_slice::<Vec<Atom>>(&bytes).ok(), atoms);
        let pair = match term.as_tuple() {
            Some([a, b]) => atom(a).zip(integer(b)),
            _ => None,
        };
        prop_assert_eq!(from_slice::<(Atom, i64)>(&bytes).ok(), pair);
        let text = |term: &Term| term.as_str().map(str::to_owned);
        prop_assert_eq!(from_slice::<&str>(&bytes).ok().map(str::to_owned), text(&term));
        let binaries = term.as_list().and_then(|list| list.iter().map(|term| term.as_binary().cloned()).collect::<Option<Vec<_>>>());
        prop_assert_eq!(from_slice::<Vec<Binary>>(&bytes).ok(), binaries);
    }
}
