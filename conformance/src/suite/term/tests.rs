//! Against bytes of `term_to_binary` of Erlang/OTP 25.2.3, without the version.

use super::{Pid, Term, list, tuple};

/// Terms, and how Erlang writes them.
fn golden() -> [(Term, &'static str); 5] {
    let pid = Pid { node: "nonode@nohost".to_owned(), id: 5, serial: 1, creation: 0 };
    [
        (
            tuple!["ok", -1, 256, Term::integer(false, &[0, 0, 0, 0, 0, 0, 0, 0, 1]), -5_000_000_000],
            "680577026f6b62ffffffff62000001006e09000000000000000000016e050100f2052a01",
        ),
        (
            list![
                Term::float(1.5),
                Term::float(-0.0),
                Term::string("ab"),
                Term::cons("a", "b"),
                Term::Binary(b"xy".to_vec()),
                Term::Bits(vec![0xa0], 3),
                Term::Bits(vec![0, 0x80], 1),
            ],
            "6c00000007463ff80000000000004680000000000000006b000261626c000000017701617701626d0000000278794d0000000103a0\
             4d000000020100806a",
        ),
        (
            Term::map(vec![
                (Term::Binary(Vec::new()), tuple![]),
                (Term::float(1.0), Term::nil()),
                (Term::Int(1), Term::from("one")),
            ]),
            "7400000003610177036f6e65463ff00000000000006a6d000000006800",
        ),
        (Term::Export("lists".to_owned(), "map".to_owned(), 2), "7177056c6973747377036d61706102"),
        (Term::Pid(pid), "58770d6e6f6e6f6465406e6f686f7374000000050000000100000000"),
    ]
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex"))
        .collect()
}

#[test]
fn terms_are_read_as_erlang_wrote_them() {
    for (term, hex) in golden() {
        let bytes = bytes(hex);
        let mut rest = &bytes[..];
        assert_eq!(Term::read(&mut rest, &[]), Ok(term));
        assert!(rest.is_empty());
    }
}

#[test]
fn terms_are_written_as_erlang_writes_them() {
    // The order of a map's pairs means nothing, and is not the same.
    for (term, hex) in golden().into_iter().filter(|(term, _)| !matches!(term, Term::Map(_))) {
        assert_eq!(term.bytes(), bytes(hex), "{term:?}");
    }
}

#[test]
fn what_is_cut_short_is_an_error() {
    for (_, hex) in golden() {
        let bytes = bytes(hex);
        for len in 0..bytes.len() {
            assert!(Term::read(&mut &bytes[..len], &[]).is_err(), "{len} bytes of {hex}");
        }
    }
}

#[test]
fn numbers_that_differ_only_in_kind_or_sign_differ() {
    assert_ne!(Term::Int(1), Term::float(1.0));
    assert_ne!(Term::float(0.0), Term::float(-0.0));
    assert_eq!(Term::integer(false, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Term::Int(1));
    assert_eq!(Term::integer(true, &[0, 0, 0, 0, 0, 0, 0, 0x80]), Term::Int(i64::MIN));
}
