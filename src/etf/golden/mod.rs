//! What a real Erlang node says of some hundred inputs; see `make.escript`.

use std::cmp::Ordering;

use bytes::Bytes;

use super::tags::{NEW_FUN_EXT, NEW_PORT_EXT, V4_PORT_EXT};
use super::{Limits, Reader, decode, to_bytes};
use crate::term::Term;

const FILES: [(&str, &str); 2] =
    [("otp25.txt", include_str!("otp25.txt")), ("otp27.txt", include_str!("otp27.txt"))];

struct Golden {
    /// The file and the line.
    place: String,
    line: usize,
    input: Bytes,
    /// How Erlang encodes it again; `None` if Erlang refuses it.
    canonical: Option<Bytes>,
    text: Option<&'static str>,
}

fn unhex(text: &str) -> Bytes {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("hex") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn goldens() -> Vec<Golden> {
    FILES.iter().flat_map(|(name, file)| goldens_of(name, file)).collect()
}

fn goldens_of(name: &'static str, file: &'static str) -> Vec<Golden> {
    let lines = file.lines().enumerate().filter(|(_, line)| line.starts_with("83"));
    let golden = |(line, text): (usize, &'static str)| {
        let columns: Vec<&'static str> = text.splitn(3, '\t').collect();
        let canonical = (columns[1] != "error").then(|| unhex(columns[1]));
        let text = (columns[2] != "-").then_some(columns[2]);
        Golden { place: format!("{name}:{}", line + 1), line, input: unhex(columns[0]), canonical, text }
    };
    lines.map(golden).collect()
}

fn accepted() -> impl Iterator<Item = (Golden, Bytes, Term)> {
    decoded(goldens())
}

/// Those that Erlang takes, with the canonical bytes and what they are here.
fn decoded(goldens: Vec<Golden>) -> impl Iterator<Item = (Golden, Bytes, Term)> {
    goldens.into_iter().filter_map(|mut golden| {
        let canonical = golden.canonical.take()?;
        let (term, _) = decode(&golden.input, &Limits::default())
            .unwrap_or_else(|error| panic!("{}: {error}", golden.place));
        Some((golden, canonical, term))
    })
}

#[test]
fn what_erlang_refuses_is_refused_and_nothing_else() {
    assert!(goldens().len() > 500);
    for golden in goldens() {
        let decoded = decode(&golden.input, &Limits::default());
        // The empty bit string: OTP 25 takes it, later versions do not, and it does no harm.
        if golden.input[..] == [131, 77, 0, 0, 0, 0, 0] {
            continue;
        }
        match golden.canonical {
            Some(_) => assert!(decoded.is_ok(), "{}: {decoded:?}", golden.place),
            None => assert!(decoded.is_err(), "{}: {decoded:?}", golden.place),
        }
    }
}

#[test]
fn terms_are_encoded_again_as_erlang_encodes_them() {
    for (golden, canonical, term) in accepted() {
        let bytes = to_bytes(&term).unwrap();
        // Later versions write all ports in the long form. Both forms are read by all versions.
        if canonical[1] == V4_PORT_EXT && bytes[1] == NEW_PORT_EXT {
            assert_eq!(decode(&canonical, &Limits::default()).unwrap().0, term, "{}", golden.place);
            continue;
        }
        // From OTP 26 on a fun that is sent on names its sender's process 0 as creator; here it stays as it came.
        if canonical[1] == NEW_FUN_EXT && golden.place.starts_with("otp27") {
            continue;
        }
        assert_eq!(bytes, canonical, "{}: {term}", golden.place);
        assert_eq!(decode(&bytes, &Limits::default()).unwrap(), (term, bytes.len()), "{}", golden.place);
    }
}

#[test]
fn terms_are_printed_as_erlang_prints_them() {
    for (golden, _, term) in accepted() {
        // From OTP 26 on atom keys are printed in the order in which the node met the atoms.
        let in_order = golden.place.starts_with("otp25");
        if let Some(text) = golden.text.filter(|text| in_order || !text.contains("#{")) {
            assert_eq!(term.to_string(), text, "{}", golden.place);
        }
    }
}

#[test]
fn text_that_erlang_prints_is_parsed_as_the_term() {
    for (golden, _, term) in accepted() {
        if let Some(text) = golden.text {
            let parsed = text.parse::<Term>();
            assert_eq!(parsed.as_ref(), Ok(&term), "{}: {text}", golden.place);
        }
    }
}

#[test]
fn terms_are_sorted_as_erlang_sorts_them() {
    for (name, file) in FILES {
        let line = file.lines().find_map(|line| line.strip_prefix("sort\t")).unwrap();
        let erlangs: Vec<usize> = line.split('\t').map(|number| number.parse().unwrap()).collect();
        // Erlang counts the inputs from one, and one line stands before them.
        let mut ours: Vec<(usize, Term)> =
            decoded(goldens_of(name, file)).map(|(golden, _, term)| (golden.line, term)).collect();
        ours.sort_by(|(_, a), (_, b)| a.erlang_cmp(b));
        let by_line = |number: usize| ours.iter().find(|(line, _)| *line == number).map(|(_, term)| term);
        for (place, ((line, term), erlang)) in ours.iter().zip(&erlangs).enumerate() {
            assert_eq!(line, erlang, "{name}: at {place} is {term}, in Erlang {:?}", by_line(*erlang));
        }
        assert_eq!(ours.len(), erlangs.len());
    }
}

#[test]
fn the_order_is_total_and_agrees_with_equality() {
    let terms: Vec<Term> = accepted().map(|(_, _, term)| term).collect();
    for a in &terms {
        for b in &terms {
            assert_eq!(a.cmp(b), b.cmp(a).reverse(), "{a} and {b}");
            assert_eq!(a.cmp(b) == Ordering::Equal, a == b, "{a} and {b}");
        }
    }
}

#[test]
fn an_input_cut_anywhere_is_refused_without_a_panic() {
    for golden in goldens().iter().filter(|golden| golden.input.len() < 2000) {
        let Some(used) = decode(&golden.input, &Limits::default()).ok().map(|(_, used)| used) else {
            continue;
        };
        for len in 0..used {
            let cut = decode(&golden.input.slice(..len), &Limits::default());
            assert!(cut.is_err(), "{} cut at {len}: {cut:?}", golden.place);
        }
    }
}

#[test]
fn skipping_checks_as_decoding_does_and_ends_at_the_same_byte() {
    for golden in goldens().iter().filter(|golden| golden.input.get(1) != Some(&80)) {
        let Some(body) = golden.input.get(1..) else { continue };
        let mut reader = Reader::new(body, &[]);
        let skipped = reader.skip(&Limits::default()).map(|()| reader.offset() + 1);
        let decoded = decode(&golden.input, &Limits::default()).map(|(_, used)| used);
        assert_eq!(skipped.ok(), decoded.ok(), "{}", golden.place);
    }
}
