//! What errors say, and where they say it is.

use super::*;

/// The text of the error of reading the term as a `T`.
#[track_caller]
fn fails<T: DeserializeOwned + Debug>(term: &str) -> String {
    from_slice::<T>(&erlang(term)).unwrap_err().to_string()
}

#[test]
fn a_mismatch_says_where_what_was_expected_and_what_was_found() {
    assert_eq!(fails::<Ask>("{add,<<\"up\">>}"), "byte 8: Ask.add: expected i64, found <<\"up\">>");
    assert_eq!(fails::<Ask>("{window,#{secs => -1}}"), "byte 22: Ask.window.secs: expected u32, found -1");
    assert_eq!(fails::<Ask>("{window,[{secs,a}]}"), "byte 24: Ask.window.secs: expected u32, found a");
    assert_eq!(fails::<Ask>("{inner,{move,1,2}}"), "byte 20: Ask.inner.move[1]: expected a string, found 2");
    assert_eq!(fails::<Vec<u8>>("[1,undefined,2]"), "byte 8: [1]: expected u8, found undefined");
    assert_eq!(fails::<Vec<u8>>("[97,256]"), "byte 8: [1]: expected u8, found 256");
    assert_eq!(fails::<Vec<bool>>("\"abc\""), "byte 4: [0]: expected a boolean, found 97");
    assert_eq!(fails::<(u8, Ask)>("{1,2}"), "byte 5: [1]: expected enum Ask, found 2");
    assert_eq!(
        fails::<BTreeMap<String, u8>>("#{<<\"a\">> => [1]}"),
        "byte 12: #{<<\"a\">>}: expected u8, found [1]"
    );
    assert_eq!(fails::<Result<Pid, ()>>("{ok,1}"), "byte 7: Result.ok: expected a pid, found 1");
    assert_eq!(
        fails::<User>("#{id => 7,name => <<\"Zoë\"/utf8>>,roles => [admin,1]}"),
        "byte 46: User.roles[1]: expected an atom, found 1"
    );
    assert_eq!(fails::<u8>("1.0"), "byte 1: expected u8, found 1.0");
    assert_eq!(fails::<String>("<<1,2,255>>"), "byte 1: expected a string, found <<1,2,255>>");
}

#[test]
fn a_wrong_shape_is_named() {
    assert_eq!(
        fails::<Ask>("unknown"),
        "byte 1: Ask: expected get or add or move or window or nothing or inner, found unknown"
    );
    assert_eq!(fails::<Ask>("add"), "byte 1: Ask.add: expected a tuple of 2 elements, found add");
    assert_eq!(fails::<Ask>("{get,1}"), "byte 1: Ask.get: expected the atom get alone, found {get,1}");
    assert_eq!(fails::<Ask>("{move,1}"), "byte 1: Ask.move: expected a tuple of 3 elements, found {move,1}");
    assert_eq!(fails::<Ask>("{1,2}"), "byte 1: expected enum Ask, found {1,2}");
    assert_eq!(fails::<User>("#{id => 7}"), "byte 1: User: expected a field name, found #{id=>7}");
    assert_eq!(fails::<(u8, u8)>("{1,2,3}"), "byte 1: expected a tuple of size 2, found {1,2,3}");
    assert_eq!(fails::<Vec<u8>>("[1|2]"), "byte 8: expected a list's tail to be [], found 2");
    assert_eq!(fails::<Vec<u8>>("{1,2}"), "byte 1: expected a sequence, found {1,2}");
    assert_eq!(fails::<Result<u8, ()>>("ok"), "byte 1: Result.ok: expected u8, found ok");
    assert_eq!(fails::<Result<u8, ()>>("get"), "byte 1: Result: expected ok or error, found get");
    assert_eq!(fails::<Tick>("get"), "byte 1: expected unit struct Tick, found get");
    assert_eq!(fails::<Charlist>("[1|2]"), "byte 1: expected a list of characters, found [1|2]");
}

#[test]
fn a_float_is_no_integer_and_an_atom_no_text() {
    assert!(from_slice::<i64>(&erlang("1.0")).is_err());
    assert!(from_slice::<String>(&erlang("get")).is_err());
    assert!(from_slice::<Atom>(&erlang("<<\"up\">>")).is_err());
    assert!(from_slice::<String>(&erlang("\"abc\"")).is_err());
    assert!(from_slice::<ByteBuf>(&erlang("\"abc\"")).is_err());
}

#[test]
fn the_term_found_is_cut_short() {
    let long = to_vec(&vec![(1, "text", 1.5); 100]).unwrap();
    let error = from_slice::<u8>(&long).unwrap_err().to_string();
    let found = "[{1,<<\"text\">>,1.5},{1,<<\"text\">>,1.5},{1,<<\"text\">>,1.5},{1...";
    assert_eq!(error, format!("byte 1: expected u8, found {found}"));
    let wide = to_vec(&"ë".repeat(100_000)).unwrap();
    let error = from_slice::<u8>(&wide).unwrap_err().to_string();
    assert_eq!(error, format!("byte 1: expected u8, found <<\"{}...", "ë".repeat(28)));
}

#[test]
fn a_fault_in_the_bytes_is_told_as_it_is() {
    assert_eq!(from_slice::<u8>(&[131, 98, 1]).unwrap_err().kind, DecodeErrorKind::Truncated);
    assert_eq!(from_slice::<u8>(&[97, 1]).unwrap_err().kind, DecodeErrorKind::Version(97));
    assert_eq!(from_slice::<u8>(&[]).unwrap_err().kind, DecodeErrorKind::Truncated);
}

#[test]
fn a_recursive_type_nests_only_so_deep() {
    #[derive(Debug, Deserialize)]
    struct Tree(Vec<Self>);

    fn depth(Tree(children): &Tree) -> usize {
        1 + children.iter().map(depth).max().unwrap_or(0)
    }
    let nested = |depth: usize| {
        [&[131][..], &[108, 0, 0, 0, 1].repeat(depth - 1), &[106], &[106].repeat(depth - 1)].concat()
    };
    assert_eq!(depth(&from_slice(&nested(128)).unwrap()), 128);
    let error = from_slice::<Tree>(&nested(100_000)).unwrap_err().to_string();
    assert!(error.contains("the type recurses, and the term nests too deep for it"), "{error}");
    // What is not asked for is skipped at any depth.
    from_slice::<IgnoredAny>(&nested(100_000)).unwrap();
}

#[test]
fn an_encode_error_says_where() {
    #[derive(Serialize)]
    enum Report {
        Speed { at: Vec<(u8, f64)> },
    }
    let error = to_vec(&Report::Speed { at: vec![(1, 0.5), (2, f64::NAN)] }).unwrap_err();
    assert_eq!(error.to_string(), "Report.Speed.at[1][1]: NaN is not a finite number");
    let error = to_vec(&BTreeMap::from([("a", f64::INFINITY)])).unwrap_err();
    assert_eq!(error.to_string(), "#{<<\"a\">>}: inf is not a finite number");
    assert_eq!(to_vec(&f32::NAN).unwrap_err().to_string(), "NaN is not a finite number");
    let error = to_vec(&vec![Err::<(), _>(Metres(f64::NAN))]).unwrap_err();
    assert_eq!(error.to_string(), "[0].error: NaN is not a finite number");
    let error = to_vec(&vec![Term::Float(f64::NAN)]).unwrap_err();
    assert_eq!(error.to_string(), "[0]: NaN is not a finite number");
}

#[test]
fn a_tuple_that_lies_about_its_length_is_refused() {
    struct Liar;
    impl Serialize for Liar {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeTuple;
            let mut tuple = serializer.serialize_tuple(2)?;
            tuple.serialize_element(&1)?;
            tuple.end()
        }
    }
    assert_eq!(to_vec(&Liar).unwrap_err().to_string(), "a tuple of 2 elements has 1");
}

#[test]
fn an_announced_size_reserves_nothing() {
    // Lists of 2^32 - 1 elements in each other, in a few bytes.
    let hostile = [&[131][..], &[108, 255, 255, 255, 255].repeat(50)].concat();
    assert!(from_slice::<Vec<Vec<Vec<u8>>>>(&hostile).is_err());
    assert!(from_slice::<Vec<Term>>(&hostile).is_err());
    assert!(from_slice::<IgnoredAny>(&hostile).is_err());
}

#[test]
fn every_truncation_of_a_message_is_an_error() {
    let bytes = erlang("#{id => 7,name => <<\"Zoë\"/utf8>>,roles => [admin,ops]}");
    for len in 0..bytes.len() {
        assert!(from_slice::<User>(&bytes[..len]).is_err(), "{len}");
    }
}
