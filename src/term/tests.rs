use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::compare::{binary_prefix, text_prefix};
use super::strategy::{printable_term, term};
use super::*;
use crate::etf::Limits;

fn hash(term: &Term) -> u64 {
    let mut hasher = DefaultHasher::new();
    term.hash(&mut hasher);
    hasher.finish()
}

fn parse(text: &str) -> Term {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

proptest! {
    #[test]
    fn text_is_read_back_as_the_same_term(term in printable_term()) {
        let text = term.to_string();
        prop_assert_eq!(text.parse::<Term>().map_err(|error| format!("{text}: {error}")), Ok(term));
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "([ \\[\\]{}#=>|,.<>'\"$:/\\\\%0-9a-zé-]|fun |<<|>>|\\PC){0,40}") {
        if let Ok(term) = text.parse::<Term>() {
            prop_assert_eq!(term.to_string().parse::<Term>().ok(), Some(term));
        }
    }

    #[test]
    fn a_clone_is_equal_and_hashes_alike(term in term()) {
        let clone = term.clone();
        prop_assert_eq!(hash(&clone), hash(&term));
        prop_assert_eq!(clone.cmp(&term), Ordering::Equal);
        prop_assert_eq!(clone, term);
    }

    #[test]
    fn the_order_is_antisymmetric_and_agrees_with_equality(a in term(), b in term()) {
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a.erlang_cmp(&b), b.erlang_cmp(&a).reverse());
        prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b);
    }

    #[test]
    fn the_order_is_transitive(a in term(), b in term(), c in term()) {
        let mut sorted = [a, b, c];
        sorted.sort();
        prop_assert!(sorted[0] <= sorted[2]);
        sorted.sort_by(|a, b| a.erlang_cmp(b));
        prop_assert!(sorted[0].erlang_cmp(&sorted[2]) != Ordering::Greater);
    }

    #[test]
    fn a_map_behaves_as_an_ordered_set_of_keys(pairs in vec((printable_term(), 0..9_i64), 0..12)) {
        let mut map = Map::new();
        for (key, value) in &pairs {
            map.insert(key.clone(), Term::from(*value));
        }
        let keys: BTreeSet<&Term> = pairs.iter().map(|(key, _)| key).collect();
        prop_assert_eq!(map.len(), keys.len());
        for (key, _) in &pairs {
            let last = pairs.iter().rev().find(|(other, _)| other == key).map(|(_, value)| Term::from(*value));
            prop_assert_eq!(map.get(key).cloned(), last.clone());
            prop_assert_eq!(map.clone().remove(key), last);
        }
        let collected: Map = pairs.into_iter().map(|(key, value)| (key, Term::from(value))).collect();
        prop_assert_eq!(&collected, &map);
        prop_assert_eq!(map.clone().into_iter().collect::<Map>(), map);
    }
}

#[test]
fn integers_and_floats_are_equal_by_value_but_not_the_same() {
    let (one, one_float) = (Term::from(1), Term::from(1.0));
    assert_ne!(one, one_float);
    assert_eq!(one.erlang_cmp(&one_float), Ordering::Equal);
    assert_ne!(Term::from(0.0), Term::from(-0.0));
    assert_eq!(Term::from(0.0).erlang_cmp(&Term::from(-0.0)), Ordering::Equal);
    // 2^53 + 1 is no float; Erlang compares it with 2^53 exactly.
    assert_eq!(parse("9007199254740993").erlang_cmp(&parse("9007199254740992.0")), Ordering::Greater);
    assert_eq!(parse("18446744073709551616").erlang_cmp(&parse("1.8446744073709552e19")), Ordering::Equal);
    assert_eq!(parse("-3").erlang_cmp(&parse("-3.5")), Ordering::Greater);
    assert_eq!(parse("{1,5}").cmp(&parse("{1.0,3}")), Ordering::Greater);
}

#[test]
fn a_map_is_asked_for_an_atom_by_its_text() {
    let map = parse("#{1 => a, 2.0 => b, k => c, z => d, {k} => e, \"k\" => f, <<\"k\">> => g}");
    let map = map.as_map().unwrap();
    assert_eq!(map.get_atom("k"), Some(&Term::atom("c")));
    assert_eq!(map.get_atom("z"), Some(&Term::atom("d")));
    assert_eq!(map.get_atom("l"), None);
}

#[test]
fn an_integer_that_fits_is_the_small_one_however_it_was_made() {
    assert!(matches!(Term::from(BigInt::from(7_u128)), Term::Integer(7)));
    assert!(matches!(Term::from(i128::from(i64::MIN)), Term::Integer(i64::MIN)));
    assert!(matches!(Term::from(u64::MAX), Term::BigInt(_)));
    let by_hand = Term::BigInt(BigInt::from(7));
    assert_eq!(by_hand, Term::from(7));
    assert_eq!(hash(&by_hand), hash(&Term::from(7)));
    assert_eq!(by_hand.as_integer(), Some(7));
}

#[test]
fn a_tail_that_is_a_list_is_joined() {
    assert_eq!(Term::list_with_tail(vec![Term::from(1)], parse("[2|3]")), parse("[1,2|3]"));
    assert_eq!(Term::list_with_tail(vec![Term::from(1)], parse("[2]")), parse("[1,2]"));
    assert_eq!(Term::list_with_tail(vec![], parse("a")), parse("a"));
    let Term::ImproperList(list) = parse("[1,2|3]") else { panic!("it is improper") };
    assert_eq!((list.elements().len(), list.tail()), (2, &Term::from(3)));
    assert_eq!(list.into_parts(), (vec![Term::from(1), Term::from(2)].into(), Term::from(3)));
}

#[test]
fn identifiers_are_printed_with_all_that_identifies_them() {
    let node = Atom::new("a@127.0.0.1").unwrap();
    let pid = Pid { node: node.clone(), id: 91, serial: 2, creation: 1699 };
    assert_eq!(Term::from(pid).to_string(), "<'a@127.0.0.1'.91.2/1699>");
    let port = Port { node: node.clone(), id: 1 << 40, creation: 1 };
    assert_eq!(Term::from(port).to_string(), "#Port<'a@127.0.0.1'.1099511627776/1>");
    let reference = Reference::new(node, 7, &[1, 2, 3]).unwrap();
    assert_eq!(Term::from(reference).to_string(), "#Ref<'a@127.0.0.1'.3.2.1/7>");
}

#[test]
fn a_bit_strings_unused_bits_do_not_count() {
    assert_eq!(
        BitString::new(Bytes::from_static(&[1, 0b1010_1111]), 3),
        BitString::new(Bytes::from_static(&[1, 0b1010_0000]), 3)
    );
    assert_eq!(BitString::new(Bytes::new(), 3), None);
    assert_eq!(BitString::new(Bytes::from_static(&[1]), 8), None);
}

#[test]
fn text_as_programs_have_it_is_parsed() {
    for (text, same) in [
        ("  { a , % a comment\n 'b c' } . ", "{a,'b c'}"),
        ("16#ff", "255"),
        ("-36#zz", "-1295"),
        ("1_000_000", "1000000"),
        ("+5", "5"),
        ("$a", "97"),
        ("$\\n", "10"),
        ("$\\x{1F600}", "128512"),
        ("\"a\\x41\\101\\^a\\s\"", "[97,65,65,1,32]"),
        ("<<1:1, 3:2, 255:5>>", "<<255>>"),
        ("<<-1:16, 256>>", "<<255,255,0>>"),
        ("<<16#123456789abcdef0123:76>>", "<<18,52,86,120,154,188,222,240,18,3:4>>"),
        ("<<\"å\">>", "<<229>>"),
        ("<<\"å\"/utf8, 0>>", "<<195,165,0>>"),
        ("#{ b => 1, a => #{} }", "#{a => #{},b => 1}"),
        ("fun 'M x' : f / 2", "fun 'M x':f/2"),
        ("[]", "\"\""),
        ("1.5E+3", "1500.0"),
        ("-0.0", "-0.0"),
        ("9223372036854775808", "16#8000000000000000"),
        ("-9223372036854775808", "-16#8000000000000000"),
    ] {
        assert_eq!(parse(text), parse(same), "{text}");
    }
}

#[test]
fn text_that_is_no_term_is_refused_where_it_goes_wrong() {
    use ParseErrorKind::{AtomLength, DuplicateKey, End, Escape, Expected, IntegerLength, Number};
    let deep = "[".repeat(3);
    let long = "a".repeat(256);
    let digits = "9".repeat(10_001);
    for (text, kind, offset) in [
        ("", End("a term"), 0),
        ("{a,", End("a term"), 3),
        ("{a b}", Expected("}"), 3),
        (deep.as_str(), End("a term"), 3),
        ("[a|b,c]", Expected("]"), 4),
        ("[|b]", Expected("a term"), 1),
        ("a b", Expected("the end"), 2),
        ("Variable", Expected("a term"), 0),
        ("end", Expected("a term, not a reserved word"), 0),
        ("#{a => 1, a => 2}", DuplicateKey, 0),
        ("#{a}", Expected("=>"), 3),
        ("\"abc", End("a closing quote"), 4),
        ("\"\\xz\"", Escape, 2),
        ("\"\\x{d800}\"", Escape, 2),
        ("37#1", Number, 0),
        ("1__0", Number, 4),
        ("1.0e999", Number, 0),
        ("<<1:99999>>", Number, 2),
        ("<<1.5>>", Number, 2),
        ("fun m:f/256", Number, 8),
        ("<a.1.2>", Expected("/"), 6),
        (long.as_str(), AtomLength, 0),
        (digits.as_str(), IntegerLength, 0),
    ] {
        assert_eq!(text.parse::<Term>(), Err(ParseError { kind, offset }), "{text}");
    }
}

#[test]
fn parsing_keeps_to_its_limits() {
    let mut limits = Limits::default();
    (limits.depth, limits.values) = (3, 10);
    let kind = |text: &str| Term::parse(text, &limits).map_err(|error| error.kind);
    assert!(kind("[[[]]]").is_ok());
    assert_eq!(kind("[[[[]]]]"), Err(ParseErrorKind::Depth));
    assert_eq!(kind("[1,2,3,4,5,6,7,8,9,10,11]"), Err(ParseErrorKind::Values));
    assert_eq!(kind("\"abcdefghijkl\""), Err(ParseErrorKind::Values));
}

#[test]
fn a_huge_integer_is_printed_in_linear_time_and_read_back() {
    let term = Term::from(BigInt::from_bytes_le(true, &vec![0xab; 1 << 20]));
    let text = term.to_string();
    assert!(text.starts_with("-16#abab"));
    assert_eq!(text.parse(), Ok(term));
}

proptest! {
    #[test]
    fn a_binary_is_its_bytes_wherever_they_are(a in vec(any::<u8>(), 0..40), b in vec(0..3_u8, 0..30), more in any::<[u8; 23]>()) {
        let (x, y) = (Binary::from(a.clone()), Binary::from(b.clone()));
        prop_assert_eq!(&x[..], &a[..]);
        prop_assert_eq!((x.cmp(&y), x == y), (a.cmp(&b), a == b));
        prop_assert_eq!(x.shared().is_some(), a.len() > 23);
        prop_assert_eq!(Bytes::from(x.clone()), &a[..]);
        let slice = Bytes::from(a.clone());
        prop_assert_eq!(&Binary::from(slice.clone()), &x);
        prop_assert_eq!(&Binary::slice_of(&slice, &slice), &x);
        // What stands behind it in the input is not part of it.
        let len = usize::from(more[0]) % 24;
        prop_assert_eq!(&Binary::begin_of(&more, len)[..], &more[..len]);
        prop_assert_eq!(Binary::begin_of(&more, len), Binary::copy_from_slice(&more[..len]));
    }

    #[test]
    fn the_first_bytes_of_texts_order_them(a in vec(0..3_u8, 0..12), b in vec(0..3_u8, 0..12)) {
        let (x, y) = (text_prefix(&a), text_prefix(&b));
        prop_assert!(x == y || x.cmp(&y) == a.cmp(&b));
        let mut padded = a.clone();
        padded.resize(8, 0);
        prop_assert_eq!(&x.to_be_bytes()[..], &padded[..8]);
        // What stands behind a binary's bytes has no part in it.
        let mut more = [7; 23];
        more[..a.len()].copy_from_slice(&a);
        prop_assert_eq!(binary_prefix(&Binary::begin_of(&more, a.len())), x);
        prop_assert_eq!(binary_prefix(&a.repeat(9).into()), text_prefix(&a.repeat(9)));
    }
}

#[test]
fn an_atom_has_its_text_whatever_its_length() {
    let letters: String = ('a'..='z').cycle().take(255).collect();
    for len in 0..=255 {
        let text = &letters[..len];
        let atom = Atom::new(text).unwrap();
        assert_eq!((atom.as_str(), &atom), (text, &atom.clone()));
        assert_eq!(
            Term::Atom(atom.clone()).to_string().trim_matches('\''),
            text,
            "it is that atom as a term too"
        );
    }
    for text in ["ok", "nil", "true", "false", "error", "undefined", "é", "日本", "no", "trus", "errol"] {
        assert_eq!(Atom::new(text).unwrap().as_str(), text);
        assert!(Atom::known(text.as_bytes()).is_none_or(|atom| atom == text));
    }
}

#[test]
fn bytes_are_text_where_the_standard_library_says_so() {
    for len in 0..=40 {
        let plain = vec![b'a'; len];
        assert_eq!(text(&plain), str::from_utf8(&plain).ok());
        for at in 0..len {
            // Half of a character, and a whole one where there is room.
            for piece in [&[0xc3][..], &[0x80], &[0xc3, 0xa9], &[0xff]] {
                let mut bytes = plain.clone();
                let end = len.min(at + piece.len());
                bytes[at..end].copy_from_slice(&piece[..end - at]);
                assert_eq!(text(&bytes), str::from_utf8(&bytes).ok(), "{bytes:?}");
            }
        }
    }
}
