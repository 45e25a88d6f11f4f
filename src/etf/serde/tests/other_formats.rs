//! Erlang's types in formats that are not Erlang's.

use serde::de::value::{BytesDeserializer, Error, StrDeserializer};

use super::*;

#[test]
fn an_atom_is_read_from_text() {
    let text = StrDeserializer::<Error>::new("get");
    assert_eq!(Atom::deserialize(text).unwrap(), "get");
}

#[test]
fn a_pid_is_read_from_the_bytes_of_term_to_binary() {
    let bytes = erlang("<0.42.0>");
    assert_eq!(Pid::deserialize(BytesDeserializer::<Error>::new(&bytes)).unwrap(), pid());
}

#[test]
fn text_and_bytes_that_are_another_term_are_refused() {
    let error = Pid::deserialize(StrDeserializer::<Error>::new("<'a@b'.42.0/1>")).unwrap_err();
    assert_eq!(error.to_string(), "invalid type: string \"<'a@b'.42.0/1>\", expected a pid");
    let error = Atom::deserialize(StrDeserializer::<Error>::new(&"a".repeat(256))).unwrap_err();
    assert_eq!(error.to_string(), "an atom has at most 255 characters, this text has 256");
    let error = Pid::deserialize(BytesDeserializer::<Error>::new(b"\x83a\x01")).unwrap_err();
    assert_eq!(error.to_string(), "invalid value: byte array, expected a pid");
}

#[test]
fn json_has_the_text_that_erlang_prints() {
    let value = (Atom::from("get"), pid(), Charlist("up".to_owned()), BigInt::from(u64::MAX));
    let json = serde_json::to_string(&value).unwrap();
    assert_eq!(json, r#"["get","<nonode@nohost.42.0/0>","up","18446744073709551615"]"#);
    let term: Term = "{a,[1|2],#{b => <<1,2:4>>}}".parse().unwrap();
    assert_eq!(serde_json::to_value(&term).unwrap(), "{a,[1|2],#{b => <<1,2:4>>}}");
    assert_eq!(serde_json::from_str::<Atom>("\"get\"").unwrap(), "get");
    let error = serde_json::from_str::<Pid>("7").unwrap_err().to_string();
    assert!(error.starts_with("invalid type: integer `7`, expected a pid"), "{error}");
}

#[test]
fn a_json_value_is_read_from_a_term_that_has_no_more_than_json() {
    let term = erlang("#{id => 7,name => <<\"Zoë\"/utf8>>,roles => [admin,ops]}");
    let json: serde_json::Value = from_slice(&term).unwrap();
    assert_eq!(json, serde_json::json!({"id": 7, "name": "Zoë", "roles": ["admin", "ops"]}));
}

#[test]
fn another_format_inside_this_one_does_not_see_its_writer() {
    struct Inside;
    impl Serialize for Inside {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(&serde_json::to_string(&vec![Atom::from("up")]).unwrap())
        }
    }
    writes(&vec![Inside], r#"[<<"[\"up\"]">>]"#);
}
