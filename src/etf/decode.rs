//! From bytes to [`Term`]s.

use std::io::Read;

use bytes::Bytes;
use flate2::read::ZlibDecoder;

use super::tags::{COMPRESSED, VERSION_MAGIC};
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
    let bytes = |slice: &[u8]| match source {
        Some(source) if !slice.is_empty() => source.slice_ref(slice),
        _ => Bytes::copy_from_slice(slice),
    };
    let mut stack: Vec<Frame> = Vec::new();
    loop {
        let at = reader.offset();
        let (kind, left) = match reader.next_token()? {
            Token::List(left) => {
                if let Some(Frame { kind: kind @ Kind::Tail, left: outer_left, .. }) = stack.last_mut() {
                    // The tail is a list, which continues the one before.
                    (*kind, *outer_left) = (Kind::List, left);
                    continue;
                }
                (Kind::List, left)
            }
            Token::Tuple(left @ 1..) => (Kind::Tuple, left),
            Token::Map(left @ 1..) => (Kind::Map(at), left * 2),
            Token::Fun { head, free: left @ 1.. } => (Kind::Fun(head), left),
            Token::Record { module, name, exported, fields: left @ 1.. } => {
                let fields = (0..left).map(|_| reader.atom()).collect::<Result<_, _>>()?;
                let values = Terms::new();
                (Kind::Record(Box::new(Record { module, name, exported, fields, values })), left)
            }
            token => {
                let mut term = match token {
                    Token::Integer(value) => Term::Integer(value),
                    Token::BigInteger { negative, magnitude } => {
                        Term::BigInt(BigInt::from_bytes_le(negative, magnitude))
                    }
                    Token::Float(value) => Term::Float(value),
                    Token::Atom(atom) => Term::Atom(atom),
                    Token::Binary(slice) => Term::Binary(bytes(slice)),
                    Token::BitString { bytes: slice, bits } => bits_term(bytes(slice), bits),
                    Token::String(text) => {
                        Term::List(text.iter().map(|byte| Term::Integer(i64::from(*byte))).collect())
                    }
                    Token::Nil | Token::List(_) => Term::nil(),
                    Token::Tuple(_) => Term::Tuple(Terms::new()),
                    Token::Map(_) => Term::Map(Map::new()),
                    Token::Pid(pid) => Term::Pid(pid),
                    Token::Port(port) => port.into(),
                    Token::Reference(reference) => reference.into(),
                    Token::Export { module, function, arity } => {
                        Fun::External { module, function, arity }.into()
                    }
                    Token::Fun { head, .. } => Fun::Internal { head: *head, free: Terms::new() }.into(),
                    Token::Record { module, name, exported, .. } => {
                        let (fields, values) = (Vec::new(), Terms::new());
                        Term::Record(Box::new(Record { module, name, exported, fields, values }))
                    }
                };
                // Hands the term to what it stands in, and that, if it is whole, in turn.
                loop {
                    let Some(frame) = stack.last_mut() else { return Ok(term) };
                    if !matches!(frame.kind, Kind::Tail) {
                        frame.children.push(term);
                        frame.left -= 1;
                        if frame.left > 0 {
                            break;
                        }
                        if matches!(frame.kind, Kind::List) {
                            frame.kind = Kind::Tail;
                            break;
                        }
                        term = Term::nil();
                    }
                    let Some(Frame { kind, children, .. }) = stack.pop() else { return Ok(term) };
                    term = match kind {
                        Kind::List | Kind::Tail => Term::list_with_tail(children, term),
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
                }
                continue;
            }
        };
        stack.push(Frame { kind, children: Vec::with_capacity(left), left });
    }
}
