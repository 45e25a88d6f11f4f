//! What a real Erlang node says of some hundred inputs; see `make.escript`.

use std::cmp::Ordering;

use bytes::Bytes;

use super::{Limits, Reader, decode, to_bytes};
use crate::term::Term;

const OTP25: &str = include_str!("otp25.txt");

struct Golden {
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
    let lines = OTP25.lines().enumerate().filter(|(_, line)| line.starts_with("83"));
    let golden = |(line, text): (usize, &'static str)| {
        let columns: Vec<&'static str> = text.splitn(3, '\t').collect();
        let canonical = (columns[1] != "error").then(|| unhex(columns[1]));
        let text = (columns[2] != "-").then_some(columns[2]);
        Golden { line: line + 1, input: unhex(columns[0]), canonical, text }
    };
    lines.map(golden).collect()
}

fn accepted() -> impl Iterator<Item = (Golden, Bytes, Term)> {
    goldens().into_iter().filter_map(|mut golden| {
        let canonical = golden.canonical.take()?;
        let (term, _) = decode(&golden.input, &Limits::default())
            .unwrap_or_else(|error| panic!("line {}: {error}", golden.line));
        Some((golden, canonical, term))
    })
}

#[test]
fn what_erlang_refuses_is_refused_and_nothing_else() {
    assert!(goldens().len() > 500);
    for golden in goldens() {
        let decoded = decode(&golden.input, &Limits::default());
        match golden.canonical {
            Some(_) => assert!(decoded.is_ok(), "line {}: {decoded:?}", golden.line),
            None => assert!(decoded.is_err(), "line {}: {decoded:?}", golden.line),
        }
    }
}

#[test]
fn terms_are_encoded_again_as_erlang_encodes_them() {
    for (golden, canonical, term) in accepted() {
        let bytes = to_bytes(&term).unwrap();
        assert_eq!(bytes, canonical, "line {}: {term}", golden.line);
        assert_eq!(decode(&bytes, &Limits::default()).unwrap(), (term, bytes.len()), "line {}", golden.line);
    }
}

#[test]
fn terms_are_printed_as_erlang_prints_them() {
    for (golden, _, term) in accepted() {
        if let Some(text) = golden.text {
            assert_eq!(term.to_string(), text, "line {}", golden.line);
        }
    }
}

#[test]
fn text_that_erlang_prints_is_parsed_as_the_term() {
    for (golden, _, term) in accepted() {
        if let Some(text) = golden.text {
            let parsed = text.parse::<Term>();
            assert_eq!(parsed.as_ref(), Ok(&term), "line {}: {text}", golden.line);
        }
    }
}

#[test]
fn terms_are_sorted_as_erlang_sorts_them() {
    let line = OTP25.lines().find_map(|line| line.strip_prefix("sort\t")).unwrap();
    let erlangs: Vec<usize> = line.split('\t').map(|number| number.parse().unwrap()).collect();
    let mut ours: Vec<(usize, Term)> = accepted().map(|(golden, _, term)| (golden.line - 1, term)).collect();
    ours.sort_by(|(_, a), (_, b)| a.erlang_cmp(b));
    let by_line = |number: usize| ours.iter().find(|(line, _)| *line == number).map(|(_, term)| term);
    for (place, ((line, term), erlang)) in ours.iter().zip(&erlangs).enumerate() {
        assert_eq!(line, erlang, "at {place} we have {term}, Erlang has {:?}", by_line(*erlang));
    }
    assert_eq!(ours.len(), erlangs.len());
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
            assert!(cut.is_err(), "line {} cut at {len}: {cut:?}", golden.line);
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
        assert_eq!(skipped.ok(), decoded.ok(), "line {}", golden.line);
    }
}
