mod differential;
mod reference;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::term::strategy::term;
use crate::term::{Atom, Pid, Term};

fn decoded(bytes: &[u8]) -> Result<Term, DecodeError> {
    decode(&Bytes::copy_from_slice(bytes), &Limits::default()).map(|(term, _)| term)
}

fn kind(bytes: &[u8]) -> Option<DecodeErrorKind> {
    decoded(bytes).err().map(|error| error.kind)
}

/// A term with its version byte.
fn version(parts: &[&[u8]]) -> Vec<u8> {
    [&[131], parts.concat().as_slice()].concat()
}

proptest! {
    #[test]
    fn bytes_are_read_back_as_the_same_term(term in term()) {
        let bytes = to_bytes(&term).unwrap();
        prop_assert_eq!(decode(&bytes, &Limits::default()), Ok((term.clone(), bytes.len())));
        let compressed = to_bytes_compressed(&term, 6).unwrap();
        prop_assert!(compressed.len() <= bytes.len());
        prop_assert_eq!(decode(&compressed, &Limits::default()), Ok((term, compressed.len())));
    }

    #[test]
    fn numbered_atoms_are_read_back_as_the_same_term(term in term()) {
        let mut writer = Writer::with_atom_refs();
        writer.term(&term).unwrap();
        let Encoded { parts, atoms } = writer.finish();
        let bytes = Bytes::from(parts.concat());
        let mut reader = Reader::new(&bytes, atoms.atoms());
        prop_assert_eq!(reader.skip(&Limits::default()), Ok(()));
        prop_assert_eq!(reader.offset(), bytes.len());
        let payload = Payload::new(bytes, atoms.atoms().to_vec());
        prop_assert_eq!(&payload.term(), &term);
        let mut copy = Writer::new();
        payload.write(&mut copy);
        prop_assert_eq!(copy.finish().into_bytes(), to_bytes(&term).unwrap().slice(1..));
    }

    #[test]
    fn a_changed_byte_gives_a_term_or_an_error(term in term(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = to_bytes(&term).unwrap().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let bytes = Bytes::from(bytes);
        let skipped = Reader::new(&bytes[1..], &[]).skip(&Limits::default());
        match decode(&bytes, &Limits::default()) {
            Ok((term, _)) => {
                let again = to_bytes(&term).unwrap();
                prop_assert_eq!(decode(&again, &Limits::default()), Ok((term, again.len())));
            }
            Err(error) if at > 0 => prop_assert!(skipped.is_err() || error.offset == 1, "{}", error),
            Err(_) => {}
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decoded(&version(&[&bytes]));
        let atoms = [Atom::from("a"), Atom::from("b")];
        let _ = Reader::new(&bytes, &atoms).skip(&Limits::default());
    }
}

#[test]
fn short_and_long_forms_of_a_byte_list_are_equal_terms() {
    let short = decoded(&version(&[&[107, 0, 2], b"ab"])).unwrap();
    let long = decoded(&version(&[&[108, 0, 0, 0, 2, 97, 97, 98, 0, 0, 0, 98, 106]])).unwrap();
    assert_eq!(short, long);
    assert_eq!(short, Term::charlist("ab"));
}

#[test]
fn byte_lists_past_65535_elements_are_written_in_the_long_form() {
    for (len, tag) in [(65_535, 107), (65_536, 108)] {
        let term = Term::list((0..len).map(|_| Term::from(97)));
        let bytes = to_bytes(&term).unwrap();
        assert_eq!(bytes[1], tag);
        let mut writer = Writer::new();
        writer.byte_list(&vec![97; len]).unwrap();
        assert_eq!(writer.finish().into_bytes(), bytes.slice(1..));
        assert_eq!(decoded(&bytes), Ok(term));
    }
}

#[test]
fn what_later_otp_versions_refuse_is_refused() {
    // OTP 25 takes this one, and crashes when it prints it.
    let export = [113, 119, 1, b'm', 119, 1, b'f', 98, 0, 0, 1, 44];
    assert_eq!(kind(&version(&[&export])), Some(DecodeErrorKind::Arity(300)));
    for private in [73, 75, 121] {
        assert_eq!(kind(&version(&[&[private], &[0; 20]])), Some(DecodeErrorKind::Tag(private)));
    }
    assert_eq!(kind(&[97, 1]), Some(DecodeErrorKind::Version(97)));
}

#[test]
fn a_native_record_is_sent_on_as_it_came() {
    let record = version(&[&[
        67, 0, 0, 0, 2, 1, 119, 1, b'm', 119, 1, b'r', 119, 1, b'x', 119, 1, b'y', 97, 1, 104, 1, 97, 2,
    ]]);
    let term = decoded(&record).unwrap();
    assert_eq!(term.to_string(), "#m:r{x = 1,y = {2}}");
    assert_eq!(to_bytes(&term).unwrap(), record);
    for len in 1..record.len() {
        assert!(decoded(&record[..len]).is_err());
    }
}

#[test]
fn a_funs_wrong_size_does_not_matter() {
    let head: &[u8] = &[&[1][..], &[9; 16], &[0, 0, 0, 7, 0, 0, 0, 1, 119, 1, b'm', 97, 7, 97, 8]].concat();
    let pid: &[u8] = &[88, 119, 3, b'a', b'@', b'x', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let fun = |size: u32| version(&[&[112], &size.to_be_bytes(), head, pid, &[97, 5]]);
    let size = 4 + head.len() + pid.len() + 2;
    let term = decoded(&fun(9999)).unwrap();
    assert_eq!(to_bytes(&term).unwrap(), fun(size as u32));
}

#[test]
fn binaries_are_slices_of_the_input_and_large_ones_parts_of_the_output() {
    let large = Bytes::from(vec![7; 10_000]);
    let mut writer = Writer::new();
    writer.term(&Term::tuple([Term::atom("a"), Term::from(large.clone()), Term::atom("b")])).unwrap();
    assert_eq!(writer.len(), 2 + 3 + 5 + 10_000 + 3);
    let encoded = writer.finish();
    assert_eq!(encoded.parts.len(), 3);
    assert_eq!(encoded.parts[1].as_ptr(), large.as_ptr());
    assert_eq!(encoded.len(), 2 + 3 + 5 + 10_000 + 3);

    let input = Bytes::from(version(&[&encoded.into_bytes()]));
    let (term, _) = decode(&input, &Limits::default()).unwrap();
    let binary = term.as_tuple().unwrap()[1].as_binary().unwrap();
    assert_eq!(binary.as_ptr(), input[11..].as_ptr());
}

#[test]
fn a_large_binary_bound_by_a_fun_counts_in_its_size() {
    let head = crate::term::FunHead {
        arity: 0,
        uniq: [0; 16],
        index: 0,
        module: Atom::from("m"),
        old_index: 0,
        old_uniq: 0,
        pid: Pid { node: Atom::from("a@x"), id: 0, serial: 0, creation: 1 },
    };
    let free = vec![Term::from(Bytes::from(vec![0; 9000]))].into();
    let bytes = to_bytes(&crate::term::Fun::Internal { head, free }.into()).unwrap();
    let size = u32::from_be_bytes(bytes[2..6].try_into().unwrap());
    assert_eq!(size as usize, bytes.len() - 2);
}

#[test]
fn at_most_255_atoms_are_numbered_and_the_others_spelled_out() {
    let atoms: Vec<Atom> = (0..300).map(|number| Atom::new(&format!("atom_{number}")).unwrap()).collect();
    let mut writer = Writer::with_atom_refs();
    for atom in atoms.iter().chain(&atoms) {
        writer.atom(atom);
        writer.atom_text(atom.as_str()).unwrap();
    }
    let encoded = writer.finish();
    assert_eq!(encoded.atoms.atoms(), &atoms[..255]);
    let bytes = encoded.parts.concat();
    let mut reader = Reader::new(&bytes, encoded.atoms.atoms());
    for atom in atoms.iter().chain(&atoms) {
        assert_eq!(reader.next_token(), Ok(Token::Atom(atom.clone())));
        assert_eq!(reader.next_token(), Ok(Token::Atom(atom.clone())));
    }
    assert_eq!(reader.offset(), bytes.len());
}

#[test]
fn a_number_that_no_header_has_is_refused() {
    let atoms = [Atom::from("a")];
    let error = Reader::new(&[104, 2, 82, 0, 82, 1], &atoms).skip(&Limits::default()).unwrap_err();
    assert_eq!(error, DecodeError { kind: DecodeErrorKind::AtomRef { index: 1, len: 1 }, offset: 4 });
    assert_eq!(kind(&[131, 82, 0]), Some(DecodeErrorKind::AtomRef { index: 0, len: 0 }));
}

#[test]
fn equal_keys_are_found_whatever_their_form() {
    let atoms = [Atom::from("a"), Atom::from("b"), Atom::from("a")];
    let map = |keys: &[&[u8]]| {
        let pairs: Vec<u8> = keys.iter().flat_map(|key| [key, &[106][..]].concat()).collect();
        let bytes = [&[116, 0, 0, 0, keys.len() as u8][..], &pairs].concat();
        Reader::new(&bytes, &atoms).skip(&Limits::default()).map_err(|error| error.kind)
    };
    let duplicate = Err(DecodeErrorKind::DuplicateKey);
    assert_eq!(map(&[&[82, 0], &[82, 1]]), Ok(()));
    assert_eq!(map(&[&[82, 0], &[82, 2]]), duplicate, "a header may name an atom twice");
    assert_eq!(map(&[&[82, 0], &[82, 1], &[119, 1, b'a']]), duplicate);
    assert_eq!(map(&[&[97, 1], &[82, 1], &[110, 1, 0, 1]]), duplicate);
    assert_eq!(map(&[&[104, 1, 97, 1], &[82, 1], &[104, 1, 98, 0, 0, 0, 1]]), duplicate);
    assert_eq!(map(&[&[104, 1, 97, 1], &[82, 1], &[104, 1, 98, 0, 0, 0, 2]]), Ok(()));
    assert_eq!(map(&[&[107, 0, 1, 5], &[108, 0, 0, 0, 1, 97, 5, 106]]), duplicate);
    assert_eq!(map(&[&[107, 0, 1, 5], &[109, 0, 0, 0, 1, 5]]), Ok(()));
}

#[test]
fn a_binary_is_written_whole_wherever_it_begins() {
    let bytes: Bytes = (0..70_000_u32).map(|n| n as u8).collect();
    for len in [1, 100, 65_535, 65_536, 69_000] {
        for at in 0..=16 {
            let binary = bytes.slice(at..at + len);
            let expected = [&[131, 109][..], &(len as u32).to_be_bytes(), &binary].concat();
            assert_eq!(to_bytes(&Term::from(binary)).unwrap(), expected, "{len} bytes from {at} on");
        }
    }
}

#[test]
fn limits_are_kept_to_exactly() {
    let skip =
        |bytes: &[u8], limits: &Limits| Reader::new(bytes, &[]).skip(limits).map_err(|error| error.kind);
    let mut limits = Limits { depth: 3, ..Limits::default() };
    assert_eq!(skip(&[104, 1, 104, 1, 104, 1, 97, 1], &limits), Ok(()));
    assert_eq!(skip(&[104, 1, 104, 1, 104, 1, 104, 0], &limits), Err(DecodeErrorKind::Depth));
    // Lists that continue one another are one list.
    let chain = [&[108, 0, 0, 0, 1, 106].repeat(50)[..], &[106]].concat();
    assert_eq!(skip(&chain, &limits), Ok(()));

    limits.values = 5;
    assert_eq!(skip(&[104, 4, 106, 106, 106, 106], &limits), Ok(()));
    assert_eq!(skip(&[104, 5, 106, 106, 106, 106, 106], &limits), Err(DecodeErrorKind::Values));
    assert_eq!(skip(&[107, 0, 5, 1, 2, 3, 4, 5], &limits), Err(DecodeErrorKind::Values));

    let mut limits = Limits { atoms: 2, ..Limits::default() };
    assert_eq!(skip(&[104, 3, 119, 1, b'a', 119, 1, b'b', 119, 1, b'a'], &limits), Ok(()));
    let three = [104, 3, 119, 1, b'a', 119, 1, b'b', 119, 1, b'c'];
    assert_eq!(skip(&three, &limits), Err(DecodeErrorKind::Atoms));

    limits.integer_len = 9;
    let big = [&[110, 10, 0][..], &[1; 10]].concat();
    assert_eq!(skip(&big, &limits), Err(DecodeErrorKind::IntegerLength(10)));

    limits.inflated_len = 100;
    let long = to_bytes_compressed(&Term::from(Bytes::from(vec![0; 96])), 9).unwrap();
    assert_eq!(decode(&long, &limits).map_err(|error| error.kind), Err(DecodeErrorKind::InflatedLength(101)));
}

#[test]
fn what_is_not_finite_has_no_external_form() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(matches!(to_bytes(&Term::from(value)), Err(EncodeError::NotFinite(_))));
    }
}

#[test]
fn a_run_of_integers_ends_where_another_value_is() {
    for len in 1..30_i64 {
        let integers = (1000..1000 + len).map(Term::from);
        for other in 0..=len {
            let mut terms: Vec<Term> = integers.clone().collect();
            // Its last byte is the tag of an integer.
            terms.insert(other as usize, Term::from(Bytes::from_static(&[98; 3])));
            let list = Term::list(terms);
            let bytes = to_bytes(&list).unwrap();
            assert_eq!(decode(&bytes, &Limits::default()).unwrap(), (list, bytes.len()));
        }
    }
}
