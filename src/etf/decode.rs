//! From bytes to [`Term`]s.

use std::io::Read;
use std::mem;

use bytes::Bytes;
use flate2::read::ZlibDecoder;
use smallvec::SmallVec;

use super::reader::integer;
use super::tags::*;
use super::{DecodeError, DecodeErrorKind, Limits, Reader, Token};
use crate::term::{Atom, BigInt, Fun, FunHead, Map, Record, Term, Terms, bits_term};

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
        let term = checked(&mut Reader::new(&inflated, &[]), limits, Some(&inflated));
        let term = term.map_err(|error| DecodeError::new(error.kind, 1))?;
        return Ok((term, used));
    }
    let mut reader = Reader::new(bytes, &[]);
    reader.u8()?;
    let term = checked(&mut reader, limits, Some(bytes))?;
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

/// What a term that nobody has checked may still take. It is stricter than [`Reader::skip`], so a term that keeps to it
/// would pass there.
struct Room {
    depth: usize,
    values: usize,
    atoms: usize,
    /// The bytes of one value that is none of the common ones.
    value_len: usize,
}

impl Room {
    const ENDLESS: Self =
        Self { depth: usize::MAX, values: usize::MAX, atoms: usize::MAX, value_len: usize::MAX };

    fn new(limits: &Limits) -> Self {
        Self {
            depth: limits.depth as usize,
            // One for the term itself.
            values: limits.values.saturating_sub(1),
            atoms: limits.atoms,
            value_len: limits.integer_len,
        }
    }

    /// Takes what a step at a depth needs that used some bytes and has some left. `owed` values have to follow those of
    /// what it opened.
    #[inline]
    fn take(&mut self, step: &Step, depth: usize, owed: usize, used: usize, left: usize) -> Option<()> {
        if depth > self.depth {
            return None;
        }
        let (values, atoms) = match step {
            Step::Open(Kind::List | Kind::Tail | Kind::Tuple | Kind::Map(_), count) => (*count, 0),
            Step::Open(Kind::Fun(_) | Kind::Record(_), count) => (*count + used, *count + 2),
            // Its bytes are at least as many as its values.
            Step::Whole(_) if used <= self.value_len => (used, 2),
            Step::Whole(_) => return None,
        };
        // Each value takes a byte. So all that is reserved for values to come is bounded by the bytes that are there.
        if let Step::Open(_, count) = step
            && owed.checked_add(*count)? > left
        {
            return None;
        }
        self.values = self.values.checked_sub(values)?;
        self.atoms = self.atoms.checked_sub(atoms)?;
        Some(())
    }
}

/// Checks and builds the next term. Binaries are slices of `source`, if the reader's input is part of it.
pub(super) fn checked(
    reader: &mut Reader<'_>,
    limits: &Limits,
    source: Option<&Bytes>,
) -> Result<Term, DecodeError> {
    // A term that is far from all limits is checked while it is built. What is wrong with another, if anything, is
    // said by who looks at it first.
    let mut once = reader.clone();
    if let Ok(Some(term)) = build_within(&mut once, source, Room::new(limits)) {
        *reader = once;
        return Ok(term);
    }
    reader.clone().skip(limits)?;
    build(reader, source)
}

/// Builds the next term. Its counts have to be true, so [`Reader::skip`] goes first. Binaries are slices of `source`, if
/// the reader's input is part of it.
pub(super) fn build(reader: &mut Reader<'_>, source: Option<&Bytes>) -> Result<Term, DecodeError> {
    match build_within(reader, source, Room::ENDLESS)? {
        Some(term) => Ok(term),
        None => Err(reader.truncated()),
    }
}

/// Builds the next term; `None` if there is no room for it.
fn build_within(
    reader: &mut Reader<'_>,
    source: Option<&Bytes>,
    mut room: Room,
) -> Result<Option<Term>, DecodeError> {
    let before = reader.left();
    let root = step(reader, source)?;
    if room.take(&root, 1, 0, before - reader.left(), reader.left()).is_none() {
        return Ok(None);
    }
    let mut top = match root {
        Step::Whole(term) => return Ok(Some(term)),
        Step::Open(kind, left) => Frame { kind, children: Vec::with_capacity(left), left },
    };
    // Values that are to come in the containers of the stack.
    let mut owed = 0_usize;
    let mut stack: SmallVec<[Frame; 8]> = SmallVec::new();
    let mut atoms = 0;
    loop {
        while top.left > 0 {
            // Integers are extended by, not pushed: to push is to ask for room, for which the whole term is first put
            // together elsewhere, and waited for.
            let Frame { children, left, .. } = &mut top;
            let before = *left;
            let run = reader.integers(*left);
            *left -= run.len();
            children.extend(run.iter().map(|bytes| Term::Integer(integer(*bytes))));
            let run = reader.small_integers(*left);
            *left -= run.len();
            children.extend(run.iter().map(|[_, value]| Term::Integer(i64::from(*value))));
            while *left > 0
                && let Some(slice) = reader.short_binary()
            {
                children.push(Term::Binary(bytes(slice, source)));
                *left -= 1;
            }
            while *left > 0
                && let Some(atom) = reader.short_atom_ref()
            {
                children.push(Term::Atom(atom.clone()));
                *left -= 1;
            }
            while *left > 0
                && let Some(text) = reader.short_atom()
            {
                children.push(Term::Atom(Atom::from_checked(text)));
                *left -= 1;
                atoms += 1;
            }
            if *left < before {
                continue;
            }
            top.left -= 1;
            if reader.at_empty_list_head() {
                // Its tail is not deeper here, but is where terms are only checked.
                room.depth = room.depth.saturating_sub(1);
            }
            let before = reader.left();
            let step = step(reader, source)?;
            let (used, depth) = (before - reader.left(), stack.len() + 2);
            if room.take(&step, depth, owed + top.left, used, reader.left()).is_none() {
                return Ok(None);
            }
            match step {
                Step::Whole(term) => top.children.push(term),
                // The tail is a list, which continues the one before.
                Step::Open(Kind::List, left) if matches!(top.kind, Kind::Tail) => {
                    (top.kind, top.left) = (Kind::List, left);
                }
                Step::Open(kind, left) => {
                    let inner = Frame { kind, children: Vec::with_capacity(left), left };
                    owed += top.left;
                    stack.push(mem::replace(&mut top, inner));
                }
            }
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
            None => return Ok((atoms <= room.atoms).then_some(term)),
        }
        owed -= top.left;
        top.children.push(term);
    }
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
