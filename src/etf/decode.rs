//! From bytes to [`Term`]s.

use std::io::Read;
use std::mem;

use bytes::Bytes;
use flate2::read::ZlibDecoder;

use super::tags::*;
use super::{DecodeError, DecodeErrorKind, Limits, Reader, Token};
use crate::term::{BigInt, Fun, FunHead, Map, Record, Term, Terms, bits_term};

/// A container whose children are being read.
struct Frame {
    kind: Kind,
    children: Vec<Term>,
    left: usize,
}

enum Kind {
    List,
    /// The tail of a list; the elements are there.
    Tail,
    Tuple,
    /// Keys and values in turn. The offset is that of the map.
    Map(usize),
    Fun(Box<FunHead>),
    Record(Box<Record>),
}

/// What was read: a whole term, or the beginning of one with children (at least one).
enum Step {
    Whole(Term),
    Open(Kind, usize),
}

/// Decodes the term at the beginning of `bytes`: a version byte, and a term or a compressed one. Returns the term
/// and how many bytes it took, as `binary_to_term/2` with `used`; what follows is not looked at.
///
/// Binaries in the term are slices of `bytes` and keep them alive.
///
/// # Errors
/// If there is no term, or it goes past a limit.
///
/// ```
/// use beamline::etf::{Limits, decode};
///
/// let (term, used) = decode(&vec![131, 104, 2, 97, 1, 106, 0].into(), &Limits::default()).unwrap();
/// assert_eq!((term.to_string().as_str(), used), ("{1,[]}", 6));
/// ```
pub fn decode(bytes: &Bytes, limits: &Limits) -> Result<(Term, usize), DecodeError> {
    match bytes.first() {
        Some(&VERSION_MAGIC) => {}
        Some(&other) => return Err(DecodeError::new(DecodeErrorKind::Version(other), 0)),
        None => return Err(DecodeError::new(DecodeErrorKind::Truncated, 0)),
    }
    if bytes.get(1) == Some(&COMPRESSED) {
        let (inflated, used) = inflate(bytes, limits)?;
        // Offsets of a fault within the inflated bytes say nothing about the input.
        let (term, _) = whole(&inflated, limits).map_err(|error| DecodeError::new(error.kind, 1))?;
        return Ok((term, used));
    }
    let at_version = |error: DecodeError| DecodeError::new(error.kind, error.offset + 1);
    let (term, used) = whole(&bytes.slice(1..), limits).map_err(at_version)?;
    Ok((term, used + 1))
}

/// Checks and builds the term at the beginning of `bytes`.
fn whole(bytes: &Bytes, limits: &Limits) -> Result<(Term, usize), DecodeError> {
    Reader::new(bytes, &[]).skip(limits)?;
    let mut reader = Reader::new(bytes, &[]);
    let term = build(&mut reader, Some(bytes))?;
    Ok((term, reader.offset()))
}

/// The inflated bytes, and how many of `bytes` the compressed term takes.
fn inflate(bytes: &Bytes, limits: &Limits) -> Result<(Bytes, usize), DecodeError> {
    const HEADER_LEN: usize = 6;
    let fault = |kind| DecodeError::new(kind, 1);
    let Some((header, stream)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Err(fault(DecodeErrorKind::Truncated));
    };
    let [_, _, len @ ..] = *header;
    let announced = u32::from_be_bytes(len);
    if announced > limits.inflated_len {
        return Err(fault(DecodeErrorKind::InflatedLength(announced)));
    }
    let mut decoder = ZlibDecoder::new(stream);
    let mut inflated = Vec::new();
    // One byte more than announced tells a longer stream from one of the right length.
    let read = (&mut decoder).take(u64::from(announced) + 1).read_to_end(&mut inflated);
    if read.ok() != Some(announced as usize) {
        return Err(fault(DecodeErrorKind::Inflate));
    }
    Ok((inflated.into(), HEADER_LEN + decoder.total_in() as usize))
}

/// Builds the next term. Its counts have to be true, so [`Reader::skip`] goes first. Binaries are slices of `source`, if
/// the reader's input is part of it.
pub(super) fn build(reader: &mut Reader<'_>, source: Option<&Bytes>) -> Result<Term, DecodeError> {
    let mut top = match step(reader, source)? {
        Step::Whole(term) => return Ok(term),
        Step::Open(kind, left) => Frame { kind, children: Vec::with_capacity(left), left },
    };
    let mut stack: Vec<Frame> = Vec::new();
    loop {
        while top.left > 0 {
            // What most elements are goes straight into its place: on the way through a token it is copied three times.
            let flat = match reader.tag() {
                Some(SMALL_INTEGER_EXT | INTEGER_EXT) => Term::Integer(reader.small_integer()?),
                Some(SMALL_ATOM_UTF8_EXT | ATOM_CACHE_REF) => Term::Atom(reader.atom()?),
                Some(BINARY_EXT) => Term::Binary(bytes(reader.binary()?, source)),
                _ => {
                    if let Some((kind, left)) = other(&mut top, reader, source)? {
                        let inner = Frame { kind, children: Vec::with_capacity(left), left };
                        stack.push(mem::replace(&mut top, inner));
                    }
                    continue;
                }
            };
            top.children.push(flat);
            top.left -= 1;
        }
        if matches!(top.kind, Kind::List) && !reader.eat_nil() {
            (top.kind, top.left) = (Kind::Tail, 1);
            continue;
        }
        let mut children = top.children;
        let term = match top.kind {
            Kind::List => Term::List(children.into()),
            Kind::Tail => {
                let tail = children.pop().unwrap_or_default();
                Term::list_with_tail(children, tail)
            }
            Kind::Tuple => Term::Tuple(children.into()),
            Kind::Map(at) => {
                let duplicate = |_| DecodeError::new(DecodeErrorKind::DuplicateKey, at);
                Term::Map(Map::from_flat(children).map_err(duplicate)?)
            }
            Kind::Fun(head) => Fun::Internal { head: *head, free: children.into() }.into(),
            Kind::Record(mut record) => {
                record.values = children.into();
                Term::Record(record)
            }
        };
        match stack.pop() {
            Some(outer) => top = outer,
            None => return Ok(term),
        }
        top.children.push(term);
        top.left -= 1;
    }
}

/// Reads the next child of a container, or opens the container that it is.
fn other(
    top: &mut Frame,
    reader: &mut Reader<'_>,
    source: Option<&Bytes>,
) -> Result<Option<(Kind, usize)>, DecodeError> {
    match step(reader, source)? {
        Step::Whole(term) => {
            top.children.push(term);
            top.left -= 1;
        }
        // The tail is a list, which continues the one before.
        Step::Open(Kind::List, left) if matches!(top.kind, Kind::Tail) => {
            (top.kind, top.left) = (Kind::List, left);
        }
        Step::Open(kind, left) => return Ok(Some((kind, left))),
    }
    Ok(None)
}

#[inline]
fn step(reader: &mut Reader<'_>, source: Option<&Bytes>) -> Result<Step, DecodeError> {
    let at = reader.offset();
    Ok(Step::Whole(match reader.next_token()? {
        Token::Integer(value) => Term::Integer(value),
        Token::Atom(atom) => Term::Atom(atom),
        Token::Binary(slice) => Term::Binary(bytes(slice, source)),
        Token::Nil => Term::nil(),
        Token::List(left) => return Ok(Step::Open(Kind::List, left)),
        Token::Tuple(left @ 1..) => return Ok(Step::Open(Kind::Tuple, left)),
        Token::Map(left @ 1..) => return Ok(Step::Open(Kind::Map(at), left * 2)),
        token => return rarer_step(token, reader, source),
    }))
}

fn rarer_step(
    token: Token<'_>,
    reader: &mut Reader<'_>,
    source: Option<&Bytes>,
) -> Result<Step, DecodeError> {
    Ok(Step::Whole(match token {
        Token::BigInteger { negative, magnitude } => Term::BigInt(BigInt::from_bytes_le(negative, magnitude)),
        Token::Float(value) => Term::Float(value),
        Token::BitString { bytes: slice, bits } => bits_term(bytes(slice, source), bits),
        Token::String(text) => Term::List(text.iter().map(|byte| Term::Integer(i64::from(*byte))).collect()),
        Token::Pid(pid) => Term::Pid(pid),
        Token::Port(port) => port.into(),
        Token::Reference(reference) => reference.into(),
        Token::Export { module, function, arity } => Fun::External { module, function, arity }.into(),
        Token::Fun { head, free: left @ 1.. } => return Ok(Step::Open(Kind::Fun(head), left)),
        Token::Fun { head, .. } => Fun::Internal { head: *head, free: Terms::new() }.into(),
        Token::Record { module, name, exported, fields } => {
            let names = (0..fields).map(|_| reader.atom()).collect::<Result<_, _>>()?;
            let record = Box::new(Record { module, name, exported, fields: names, values: Terms::new() });
            if fields > 0 {
                return Ok(Step::Open(Kind::Record(record), fields));
            }
            Term::Record(record)
        }
        Token::Tuple(_) => Term::Tuple(Terms::new()),
        Token::Map(_) => Term::Map(Map::new()),
        Token::Integer(value) => Term::Integer(value),
        Token::Atom(atom) => Term::Atom(atom),
        Token::Binary(slice) => Term::Binary(bytes(slice, source)),
        Token::Nil | Token::List(_) => Term::nil(),
    }))
}

fn bytes(slice: &[u8], source: Option<&Bytes>) -> Bytes {
    match source {
        Some(source) if !slice.is_empty() => source.slice_ref(slice),
        _ => Bytes::copy_from_slice(slice),
    }
}
