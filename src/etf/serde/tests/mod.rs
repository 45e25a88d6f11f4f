//! The mapping against Erlang's own bytes: `golden.txt` has for each term used here what
//! `term_to_binary(T, [{minor_version, 2}, deterministic])` of Erlang/OTP 25.2.3 makes of it.

mod errors;
mod other_formats;
mod round_trips;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes as ByteSlice};

use super::*;
use crate::etf::{Encoded, Payload, Token};
use crate::term::{Atom, BigInt, Binary, BitString, Charlist, Fun, ImproperList, Map, Pid, Port, Reference};

/// Erlang's bytes for a term.
fn erlang(term: &str) -> Bytes {
    let line =
        include_str!("golden.txt").lines().find_map(|line| line.strip_prefix(term)?.strip_prefix("\t"));
    let hex = line.unwrap_or_else(|| panic!("golden.txt has no {term}"));
    let (pairs, _) = hex.as_bytes().as_chunks::<2>();
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.iter().map(|pair| byte(pair.as_slice())).collect()
}

/// The term is read as the value.
#[track_caller]
fn reads<T: DeserializeOwned + PartialEq + Debug>(term: &str, value: &T) {
    let bytes = erlang(term);
    assert_eq!(&from_slice::<T>(&bytes).unwrap(), value, "{term}");
    assert_eq!(&from_bytes::<T>(&bytes).unwrap(), value, "{term}");
    let decoded = crate::etf::decode(&bytes, &Limits::default()).unwrap().0;
    assert_eq!(&from_term::<T>(&decoded).unwrap(), value, "{term}");
    // As it comes over a connection: without a version byte, with atoms by number.
    let mut writer = Writer::with_atom_refs();
    writer.term(&decoded).unwrap();
    let Encoded { parts, atoms } = writer.finish();
    let payload = Payload::new(parts.concat().into(), atoms.atoms().into());
    assert_eq!(&payload.decode::<T>().unwrap(), value, "{term}");
}

/// The value is written as the term.
#[track_caller]
fn writes<T: Serialize + ?Sized>(value: &T, term: &str) {
    let bytes = erlang(term);
    assert_eq!(to_vec(value).unwrap(), bytes, "{term}");
    let decoded = crate::etf::decode(&bytes, &Limits::default()).unwrap().0;
    assert!(to_term(value).unwrap() == decoded, "{term}");
    // What serde makes of the value is what the codec of terms makes of the term, atoms by number included.
    let (mut by_value, mut by_term) = (Writer::with_atom_refs(), Writer::with_atom_refs());
    serialize(value, &mut by_value).unwrap();
    by_term.term(&decoded).unwrap();
    let (by_value, by_term) = (by_value.finish(), by_term.finish());
    assert_eq!((by_value.parts, by_value.atoms.atoms()), (by_term.parts, by_term.atoms.atoms()), "{term}");
}

#[track_caller]
fn both<T: Serialize + DeserializeOwned + PartialEq + Debug>(term: &str, value: &T) {
    writes(value, term);
    reads(term, value);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    Get,
    Add(i64),
    Move(i64, String),
    Window { secs: u32 },
    Nothing(),
    Inner(Box<Self>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<Vec<Atom>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Metres(f64);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pair(u8, Metres);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "tick")]
struct Tick;

fn user(roles: Option<Vec<Atom>>) -> User {
    User { id: 7, name: "Zoë".to_owned(), roles }
}

#[test]
fn variants_are_atoms_and_tagged_tuples() {
    both("get", &Ask::Get);
    both("{add,-5}", &Ask::Add(-5));
    both("{move,1,<<\"up\">>}", &Ask::Move(1, "up".to_owned()));
    both("{window,#{secs => 60}}", &Ask::Window { secs: 60 });
    both("{nothing}", &Ask::Nothing());
    both("{inner,{inner,get}}", &Ask::Inner(Box::new(Ask::Inner(Box::new(Ask::Get)))));
    reads("{window,#{<<\"secs\">> => 60,{other} => []}}", &Ask::Window { secs: 60 });
    reads("{window,[{secs,60}]}", &Ask::Window { secs: 60 });
}

#[test]
fn structs_are_maps_with_atom_keys() {
    both("#{id => 7,name => <<\"Zoë\"/utf8>>}", &user(None));
    let roles = Some(vec!["admin".into(), "ops".into()]);
    both("#{id => 7,name => <<\"Zoë\"/utf8>>,roles => [admin,ops]}", &user(roles));
    both("{3,1.5}", &Pair(3, Metres(1.5)));
    both("1.5", &Metres(1.5));
    both("tick", &Tick);
}

#[test]
fn structs_are_read_from_binary_keys_and_keyword_lists_and_beside_unknown_keys() {
    reads("#{<<\"id\">> => 7,<<\"name\">> => <<\"Zoë\"/utf8>>}", &user(None));
    reads("[{id,7},{name,<<\"Zoë\"/utf8>>},{roles,undefined}]", &user(None));
    reads("#{0 => [{}],id => 7,name => <<\"Zoë\"/utf8>>,other => #{a => [1|2]},{1,2} => 3.0}", &user(None));

    #[derive(Debug, PartialEq, Deserialize)]
    struct Optional {
        a: Option<u8>,
    }
    reads("[]", &Optional { a: None });
    reads("#{}", &Optional { a: None });
}

#[test]
fn results_are_ok_and_error() {
    type Plain = Result<u8, Atom>;
    both::<Plain>("{ok,1}", &Ok(1));
    both::<Plain>("{error,timeout}", &Err("timeout".into()));

    type Unit = Result<(), Atom>;
    both::<Unit>("ok", &Ok(()));
    both::<Unit>("{error,timeout}", &Err("timeout".into()));
    reads::<Unit>("{ok,ok}", &Ok(()));
    reads::<Unit>("{ok,undefined}", &Ok(()));
    reads::<Unit>("{ok,{}}", &Ok(()));

    // As `maps:find/2` answers.
    type NoReason = Result<u8, ()>;
    both::<NoReason>("error", &Err(()));
    both::<NoReason>("{ok,1}", &Ok(1));
    reads::<NoReason>("{error,nil}", &Err(()));
}

#[test]
fn results_nest_with_options_and_results() {
    type Maybe = Result<Option<u8>, ()>;
    both::<Maybe>("{ok,undefined}", &Ok(None));
    both::<Maybe>("{ok,1}", &Ok(Some(1)));
    both::<Result<Option<()>, ()>>("{ok,ok}", &Ok(Some(())));

    type Nested = Result<Result<(), Atom>, Atom>;
    both::<Nested>("{ok,ok}", &Ok(Ok(())));
    both::<Nested>("{ok,{error,timeout}}", &Ok(Err("timeout".into())));
    both::<Nested>("{error,timeout}", &Err("timeout".into()));
    both::<Result<Vec<Result<(), u8>>, ()>>("{ok,[ok,{error,1}]}", &Ok(vec![Ok(()), Err(1)]));
    both::<Option<Result<(), u8>>>("ok", &Some(Ok(())));
    both::<Result<Metres, ()>>("{ok,1.5}", &Ok(Metres(1.5)));
    both::<Result<Tick, ()>>("{ok,tick}", &Ok(Tick));
    both::<Result<Pid, ()>>("{ok,<0.42.0>}", &Ok(pid()));
}

#[test]
fn variants_called_ok_elsewhere_stay_as_they_are() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Status {
        Ok(u8),
        Err,
    }
    both("{'Ok',1}", &Status::Ok(1));
    both("'Err'", &Status::Err);
}

#[test]
fn none_is_undefined_and_nil_is_none_too() {
    both("undefined", &None::<u8>);
    both("1", &Some(1));
    reads("nil", &None::<u8>);
    both("[1,undefined,2]", &vec![Some(1), None, Some(2)]);
    both("undefined", &None::<Atom>);
    both("false", &Some(false));
    writes(&Some(None::<u8>), "undefined");
    reads("undefined", &None::<Option<u8>>);
}

#[test]
fn the_unit_is_ok() {
    both("ok", &());
    reads("nil", &());
    reads("undefined", &());
    reads("{}", &());
}

#[test]
fn booleans_are_atoms() {
    both("true", &true);
    both("false", &false);
    both("[true,false]", &[true, false].to_vec());
}

#[test]
fn integers_take_their_smallest_form() {
    both("0", &0_u8);
    both("255", &255_u8);
    both("256", &256_u16);
    both("-1", &-1_i8);
    both("2147483647", &i32::MAX);
    both("2147483648", &2_147_483_648_u32);
    both("-2147483648", &i64::from(i32::MIN));
    both("-2147483649", &-2_147_483_649_i64);
    both("9223372036854775807", &i64::MAX);
    both("-9223372036854775808", &i64::MIN);
    both("9223372036854775808", &9_223_372_036_854_775_808_u64);
    both("18446744073709551615", &u64::MAX);
    both("18446744073709551616", &18_446_744_073_709_551_616_u128);
    both("340282366920938463463374607431768211455", &u128::MAX);
    both("170141183460469231731687303715884105727", &i128::MAX);
    both("-170141183460469231731687303715884105728", &i128::MIN);
    both("-9223372036854775809", &-9_223_372_036_854_775_809_i128);
    both("1", &1_u128);
    both("-1", &-1_i128);
    let big: BigInt = "-1606938044258990275541962092341162602522202993782792835301376".parse().unwrap();
    both("-1606938044258990275541962092341162602522202993782792835301376", &big);
    both("0", &BigInt::from(0));
    both("18446744073709551616", &BigInt::from(18_446_744_073_709_551_616_u128));
}

#[test]
fn floats_are_read_from_integers_too() {
    both("1.5", &1.5_f64);
    both("1.5", &1.5_f32);
    writes(&0.1_f32, "0.10000000149011612");
    reads("3", &3.0_f64);
    reads("-9223372036854775809", &-9_223_372_036_854_775_809.0_f64);
    reads("18446744073709551616", &18_446_744_073_709_551_616.0_f64);
    assert!(from_slice::<f64>(&erlang("-0.0")).unwrap().is_sign_negative());
    writes(&-0.0, "-0.0");
}

#[test]
fn text_is_a_binary() {
    both("<<\"Zoë\"/utf8>>", &"Zoë".to_owned());
    both("<<>>", &String::new());
    both("<<\"ë\"/utf8>>", &'ë');
    both("[<<\"a\">>,<<\"b\">>]", &vec!["a".to_owned(), "b".to_owned()]);
}

#[test]
fn lists_of_bytes_take_the_short_form_whatever_their_type() {
    both("\"abc\"", &b"abc".to_vec());
    both("\"abc\"", &vec![97_i64, 98, 99]);
    both("\"abc\"", &BTreeSet::from([97_u128, 98, 99]));
    both("[97,256]", &vec![97, 256]);
    both("\"a\"", &vec![Some(97_u8)]);
    both("[]", &Vec::<u8>::new());
    both("[]", &Vec::<Ask>::new());
    reads("\"abc\"", &vec![97.0, 98.0, 99.0]);
    writes(&[[(); 0]; 3].to_vec(), "[{},{},{}]");

    let most = vec![1_u8; 65_535];
    assert_eq!(to_vec(&most).unwrap(), [&[131, 107, 255, 255][..], &most].concat());
    let long = vec![1_u8; 65_536];
    assert_eq!(to_vec(&long).unwrap().len(), 1 + 5 + 2 * 65_536 + 1);
    assert_eq!(from_slice::<Vec<u8>>(&to_vec(&long).unwrap()).unwrap(), long);
}

#[test]
fn sequences_of_unknown_length_are_lists() {
    struct Odd(usize);
    impl Serialize for Odd {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq((0..self.0).map(|n| n * 200).filter(|n| n % 400 == 200))
        }
    }
    writes(&Odd(4), "[200,600]");
    writes(&Odd(2), "[200]");
    writes(&Odd(1), "[]");
}

#[test]
fn a_list_may_come_in_pieces() {
    // `[1, 2 | [3 | "ab"]]`, as no Erlang node writes it but any may.
    let bytes = [131, 108, 0, 0, 0, 2, 97, 1, 97, 2, 108, 0, 0, 0, 1, 97, 3, 107, 0, 2, 97, 98];
    assert_eq!(from_slice::<Vec<u8>>(&bytes).unwrap(), [1, 2, 3, 97, 98]);
    // An empty short form.
    assert!(from_slice::<Vec<u8>>(&[131, 107, 0, 0]).unwrap().is_empty());
}

#[test]
fn serde_bytes_are_binaries() {
    both("<<1,2,255>>", &ByteBuf::from([1, 2, 255]));
    writes(ByteSlice::new(&[1, 2, 255]), "<<1,2,255>>");
    both("<<1,2,255>>", &Binary::from(vec![1, 2, 255]));
    both("[<<1,2,255>>]", &vec![Binary::from(vec![1, 2, 255])]);
}

#[test]
fn maps_are_maps_and_tuples_tuples() {
    both("#{1 => true,2 => false}", &BTreeMap::from([(1, true), (2, false)]));
    both("#{<<\"a\">> => [1]}", &HashMap::from([("a".to_owned(), vec![1_u8])]));
    both("#{get => 1}", &BTreeMap::from([(Atom::from("get"), 1)]));
    both("#{{1,2} => {3,4}}", &BTreeMap::from([((1, 2), (3, 4))]));
    both("#{}", &BTreeMap::<u8, u8>::new());
    both("{1,<<\"a\">>,get}", &(1_u8, "a".to_owned(), Ask::Get));
    both("{1,2,3}", &[1_u8, 2, 3]);
    both("{}", &[(); 0]);
    both("{3}", &(3_u8,));
    let large: [u16; 32] = std::array::from_fn(|n| n as u16);
    assert_eq!(from_slice::<[u16; 32]>(&to_vec(&large).unwrap()).unwrap(), large);
}

fn pid() -> Pid {
    Pid { node: "nonode@nohost".into(), id: 42, serial: 0, creation: 0 }
}

#[test]
fn what_only_erlang_has_is_itself() {
    both("undefined", &Atom::from("undefined"));
    both("'Zoë'", &Atom::from("Zoë"));
    both("<0.42.0>", &pid());
    both("{get,<0.42.0>}", &(Atom::from("get"), pid()));
    both("#Port<0.5>", &Port { node: "nonode@nohost".into(), id: 5, creation: 0 });
    both("#Ref<0.1.2.3>", &Reference::new("nonode@nohost".into(), 0, &[3, 2, 1]).unwrap());
    both("fun lists:map/2", &Fun::External { module: "lists".into(), function: "map".into(), arity: 2 });
    both("<<5:3>>", &BitString::new(Bytes::from_static(&[0b1010_0000]), 3).unwrap());
    both("\"abc\"", &Charlist("abc".to_owned()));
    both("[97,960]", &Charlist("aπ".to_owned()));
    both("[]", &Charlist::default());
    both("[1|2]", &improper());
    both("[{a,[1|2]}]", &vec![(Atom::from("a"), improper())]);
    both("#{1 => 2}", &Map::from([(1_u8.into(), 2_u8.into())]));
}

fn improper() -> ImproperList {
    match Term::list_with_tail([Term::Integer(1)], Term::Integer(2)) {
        Term::ImproperList(list) => list,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_term_takes_any_term_at_any_place() {
    for term in ["{move,1,<<\"up\">>}", "[1|2]", "#{}", "undefined", "\"abc\"", "fun lists:map/2", "<<5:3>>"]
    {
        let value = crate::etf::decode(&erlang(term), &Limits::default()).unwrap().0;
        both(term, &value);
    }
    let terms = vec![Term::atom("a"), Term::tuple([]), Term::Float(1.5)];
    both("[a,{},1.5]", &terms);
    both("#{a => {}}", &BTreeMap::from([(Term::atom("a"), Term::tuple([]))]));
    reads("\"abc\"", &vec![Term::Integer(97), Term::Integer(98), Term::Integer(99)]);
}

#[test]
fn a_term_inside_a_value_may_be_as_deep_as_terms_are() {
    let mut deep = Term::nil();
    for _ in 0..200_000 {
        deep = Term::tuple([deep]);
    }
    let value = Ok::<_, ()>(vec![deep]);
    let bytes = to_vec(&value).unwrap();
    assert!(from_slice::<Result<Vec<Term>, ()>>(&bytes).unwrap() == value);
}

#[test]
fn large_binaries_are_shared_both_ways() {
    let large = Bytes::from(vec![7; 100_000]);
    let value = ("head", vec![Binary::from(large.clone())], Term::Binary(large.clone().into()));

    let mut writer = Writer::new();
    serialize(&value, &mut writer).unwrap();
    let parts = writer.finish().parts;
    let shared = parts.iter().filter(|part| part.as_ptr() == large.as_ptr()).count();
    assert_eq!(shared, 2);

    let payload = Payload::new(parts.concat().into(), Vec::new());
    let token = payload.reader();
    let (_, binaries, term): (String, Vec<Binary>, Term) = payload.decode().unwrap();
    let whole = {
        let mut reader = token;
        let mut last = None;
        while let Ok(next) = reader.next_token() {
            if let Token::Binary(bytes) = next {
                last = Some(bytes.as_ptr());
            }
        }
        last.unwrap()
    };
    assert_eq!(term.as_binary().unwrap().as_ptr(), whole);
    assert_eq!(binaries[0], large);
}

#[test]
fn a_map_of_unknown_length_may_hold_a_large_shared_binary() {
    #[derive(Serialize)]
    struct Flat {
        a: Binary,
        #[serde(flatten)]
        rest: BTreeMap<String, u8>,
    }
    let a = Binary::from(vec![7; 100_000]);
    let term = to_term(&Flat { a: a.clone(), rest: BTreeMap::from([("b".to_owned(), 1)]) }).unwrap();
    let expected = Term::map([("a".into(), Term::Binary(a)), ("b".into(), 1_u8.into())]);
    assert!(term == expected);
}

#[test]
fn text_and_bytes_are_borrowed_from_a_slice() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Borrowed<'a> {
        name: &'a str,
        #[serde(with = "serde_bytes")]
        data: &'a [u8],
    }
    let bytes = erlang("#{data => <<1,2,255>>,name => <<\"Zoë\"/utf8>>}");
    let value: Borrowed<'_> = from_slice(&bytes).unwrap();
    assert_eq!(value, Borrowed { name: "Zoë", data: &[1, 2, 255] });
    assert!(bytes.as_ptr_range().contains(&value.name.as_ptr()));
}

#[test]
fn untagged_enums_are_chosen_by_what_is_there() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Any {
        Unit(Plain),
        Flag(bool),
        Count(i64),
        Pid(Pid),
        Reference(Reference),
        Name(String),
        Named { id: u8 },
        Two(u8, u8),
        Atom(Atom),
        Large(BigInt),
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Plain {
        Get,
    }
    both("get", &Any::Unit(Plain::Get));
    both("true", &Any::Flag(true));
    both("-5", &Any::Count(-5));
    both("<0.42.0>", &Any::Pid(pid()));
    both("<<\"up\">>", &Any::Name("up".to_owned()));
    both("#{id => 7}", &Any::Named { id: 7 });
    reads("#{<<\"id\">> => 7}", &Any::Named { id: 7 });
    both("{1,2}", &Any::Two(1, 2));
    both("-170141183460469231731687303715884105728", &Any::Large(i128::MIN.into()));
    // The buffer has no atoms, only text.
    reads("other", &Any::Name("other".to_owned()));
}

#[test]
fn text_in_an_untagged_enum_becomes_no_term() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged)]
    enum Any {
        Pid(Pid),
        Large(BigInt),
        Term(Term),
        Text(String),
    }
    for text in ["<'a@b'.42.0/1>", "7", "{a,b}"] {
        let any: Any = from_slice(&to_vec(text).unwrap()).unwrap();
        assert_eq!(any, Any::Text(text.to_owned()));
    }
}

#[test]
fn flattened_fields_with_equal_names_are_refused() {
    #[derive(Serialize)]
    struct Flat {
        id: u8,
        #[serde(flatten)]
        rest: BTreeMap<String, Binary>,
    }
    let rest = |key: &str| BTreeMap::from([(key.to_owned(), Binary::from(vec![7; 100_000]))]);
    assert!(to_vec(&Flat { id: 1, rest: rest("other") }).is_ok());
    // A node that receives two equal keys closes the connection.
    let error = to_vec(&vec![Flat { id: 1, rest: rest("id") }]).unwrap_err();
    assert_eq!(error.to_string(), "[0]: a map with two equal keys");
}

#[test]
fn adjacently_tagged_enums_keep_their_pids() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type", content = "value", rename_all = "snake_case")]
    enum Event {
        Down(Pid),
    }
    both("#{type => down,value => <0.42.0>}", &Event::Down(pid()));

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type", rename_all = "snake_case")]
    enum Internal {
        Down { pid: Pid },
    }
    reads("#{pid => <0.42.0>,type => <<\"down\">>}", &Internal::Down { pid: pid() });
}

#[test]
fn other_takes_unknown_tags_with_all_that_they_carry() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Info {
        Tick,
        #[serde(other)]
        Else,
    }
    reads("tick", &Info::Tick);
    reads("unknown", &Info::Else);
    reads("[{move,1,<<\"up\">>},tick]", &vec![Info::Else, Info::Tick]);
}

#[test]
fn anything_can_be_ignored() {
    for term in ["{move,1,<<\"up\">>}", "[1|2]", "#{}", "undefined", "\"abc\"", "<0.42.0>", "<<5:3>>"] {
        from_slice::<IgnoredAny>(&erlang(term)).unwrap();
    }
}

#[test]
fn a_compressed_term_is_read_from_shared_bytes_only() {
    let term = to_term(&vec!["again and again".to_owned(); 50]).unwrap();
    let bytes = crate::etf::to_bytes_compressed(&term, 6).unwrap();
    assert_eq!(bytes[1], COMPRESSED);
    assert_eq!(from_bytes::<Vec<String>>(&bytes).unwrap().len(), 50);
    assert!(from_slice::<Vec<String>>(&bytes).is_err());
}
