//! What the fuzz targets call, and the replay of their corpus: each takes any bytes and panics only over a defect.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::dist;
use crate::etf::{Limits, Reader, decode, from_slice, to_bytes, to_bytes_compressed};
use crate::term::{Atom, Term};

/// Limits that keep one input quick.
fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.inflated_len, limits.values, limits.integer_len) = (1 << 20, 1 << 20, 1 << 14);
    limits
}

/// Terms as a peer sends them, with and without the atoms of a distribution header: what is checked and what is built agree.
pub fn etf_decode(input: &[u8]) {
    let atoms = [Atom::from_static("ok"), Atom::from_static(""), Atom::from_static("ok")];
    for atoms in [&atoms[..], &[]] {
        let mut reader = Reader::new(input, atoms);
        let skipped = reader.skip(&limits());
        assert!(reader.offset() <= input.len());
        let mut tokens = Reader::new(input, atoms);
        while tokens.offset() < input.len() && tokens.next_token().is_ok() {}
        // Without atoms of a header it is a term as a file may have it.
        if atoms.is_empty() {
            let bytes = Bytes::from([&[131], input].concat());
            let decoded = decode(&bytes, &limits());
            if input.first() != Some(&80) {
                assert_eq!(skipped.map(|()| reader.offset() + 1).ok(), decoded.map(|(_, used)| used).ok());
            }
        }
    }
}

/// What is decoded is encoded, compressed and printed, and read back as the same term.
pub fn etf_round_trip(input: &[u8]) {
    let Ok((term, _)) = decode(&Bytes::from([&[131], input].concat()), &limits()) else { return };
    let copy = term.clone();
    assert!(copy == term && copy.cmp(&term).is_eq() && copy.erlang_cmp(&term).is_eq());
    for bytes in [to_bytes(&term), to_bytes_compressed(&term, 1)] {
        let bytes = bytes.expect("what was decoded has an external form");
        let (again, used) = decode(&bytes, &Limits::default()).expect("what was encoded is decoded");
        assert!(again == term && used == bytes.len());
    }
    let text = term.to_string();
    // Internal funs and records are printed, but not read back.
    if !input.contains(&112) && !input.contains(&67) && input.first() != Some(&80) {
        let parsed = Term::parse(&text, &Limits::default());
        assert!(parsed.as_ref() == Ok(&term), "{text}: {parsed:?}");
    }
}

/// Text in Erlang's syntax: what is parsed is printed and parsed as the same term.
pub fn term_text(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(term) = Term::parse(text, &limits()) else { return };
    assert_eq!(term.to_string().parse(), Ok(term));
}

/// A request to an io device, in Erlang's syntax: whatever is asked is answered, and no more is written than a text may be long.
pub fn io_request(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(request) = Term::parse(text, &limits()) else { return };
    crate::io::answer(&request, &mut |text| {
        assert!(text.len() <= crate::io::TEXT_BYTES_MAX.max(input.len() * 4) + 4);
        Ok(())
    });
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "made by the decoder only")]
enum Message {
    Stop,
    Put(String, i64),
    Many(Vec<Self>),
    Set { key: Option<Box<Self>>, value: Result<u8, String> },
}

/// Terms straight into Rust's types, of which some take anything.
pub fn serde_decode(input: &[u8]) {
    let bytes = [&[131], input].concat();
    let _ = from_slice::<Message>(&bytes);
    let _ = from_slice::<Vec<(Atom, f64)>>(&bytes);
    let _ = from_slice::<std::collections::BTreeMap<String, Option<u32>>>(&bytes);
    let _ = from_slice::<IgnoredAny>(&bytes);
    let typed = from_slice::<Term>(&bytes).ok();
    let plain = decode(&Bytes::from(bytes), &Limits::default()).ok();
    // Nesting has a lower limit where types recurse, but what both read is the same.
    if let (Some(typed), Some((plain, _))) = (typed, plain) {
        assert!(typed == plain, "{typed} is not {plain}");
    }
}

/// A peer's packets: see the operations in `dist::fuzzing`.
pub fn dist_frames(input: &[u8]) {
    dist::fuzzing::frames(input);
}

/// A handshake over a bad line: see the operations in `dist::fuzzing`.
pub fn dist_handshake(input: &[u8]) {
    dist::fuzzing::handshake(input);
}
