//! From bytes to [`Term`]s.

use std::hint::cold_path;
use std::io::Read;
use std::mem;

use bytes::Bytes;
use flate2::read::ZlibDecoder;
use smallvec::SmallVec;

use super::reader::integer;
use super::tags::*;
use super::{DecodeError, DecodeErrorKind, Limits, Reader, Token};
use crate::term::{Atom, BigInt, Binary, Fun, FunHead, INLINE_MAX, Map, Record, Term, Terms, bits_term};

/// From so many values on a run of integers is looked for.
const SHORT_RUN: usize = 8;

/// So many elements a short tuple has at most.
const SHORT_TUPLE: u8 = 4;

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
/// Long binaries in the term are slices of `bytes` and keep them alive.
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

    /// Takes what a container at a depth needs besides its head, of which some bytes are left. `owed` values have to follow
    /// its own. Whether there is room.
    #[inline]
    fn enter(&mut self, depth: usize, count: usize, owed: usize, left: usize) -> bool {
        let (values, short) = self.values.overflowing_sub(count);
        self.values = values;
        // Each value takes a byte. So all that is reserved for values to come is bounded by the bytes that are there.
        !short && depth <= self.depth && owed.checked_add(count).is_some_and(|owed| owed <= left)
    }

    /// Takes what values and atoms are in so many bytes, as long as one value is. Whether there is room.
    fn take(&mut self, values: usize, atoms: usize) -> bool {
        let (values, short) = self.values.overflowing_sub(values);
        let (atoms, few) = self.atoms.overflowing_sub(atoms);
        (self.values, self.atoms) = (values, atoms);
        !short && !few
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
#[hot]
pub(super) fn build(reader: &mut Reader<'_>, source: Option<&Bytes>) -> Result<Term, DecodeError> {
    // What many a call asks for and is answered.
    if let Some(tuple) = short_tuple(reader) {
        return Ok(tuple);
    }
    if let Some(value) = reader.short_integer() {
        return Ok(Term::Integer(value));
    }
    if let Some(atom) = reader.short_atom_ref() {
        return Ok(Term::Atom(atom.clone()));
    }
    if let Some(slice) = reader.short_binary() {
        return Ok(Term::Binary(binary(slice, source)));
    }
    cold_path();
    match build_within(reader, source, Room::ENDLESS)? {
        Some(term) => Ok(term),
        None => Err(reader.truncated()),
    }
}

/// A tuple of a few values that have no children and take no look at a limit: as a rule, a short message has nothing else.
#[inline]
#[hot]
fn short_tuple(reader: &mut Reader<'_>) -> Option<Term> {
    let [SMALL_TUPLE_EXT, count @ 1..=SHORT_TUPLE, rest @ ..] = reader.rest else { return None };
    let before = mem::replace(&mut reader.rest, rest);
    let mut elements = Vec::with_capacity(usize::from(*count));
    for _ in 0..*count {
        if let Some(pid) = reader.short_pid() {
            put(&mut elements, || Term::Pid(pid));
        } else if let Some(value) = reader.short_integer() {
            put(&mut elements, || Term::Integer(value));
        } else if let Some(atom) = reader.short_atom_ref() {
            let atom = atom.clone();
            put(&mut elements, || Term::Atom(atom));
        } else {
            cold_path();
            reader.rest = before;
            return None;
        }
    }
    Some(Term::Tuple(elements.into()))
}

/// Builds the next term; `None` if there is no room for it.
fn build_within(
    reader: &mut Reader<'_>,
    source: Option<&Bytes>,
    mut room: Room,
) -> Result<Option<Term>, DecodeError> {
    let (kind, count) = match opened(reader, source, &mut room, 1)? {
        Some(Step::Open(kind, count)) => (kind, count),
        Some(Step::Whole(term)) => return Ok(Some(term)),
        None => return Ok(None),
    };
    if !room.enter(1, count, 0, reader.left()) {
        return Ok(None);
    }
    let mut children = Vec::with_capacity(count);
    let (left, atoms) = leaves(&mut children, count, reader, source);
    // Most messages have no containers in them, or few.
    if left > 0 || matches!(kind, Kind::List) && !reader.eat_nil() {
        return nested(reader, source, room, Frame { kind, children, left }, atoms);
    }
    if atoms <= room.atoms { kind.of(children).map(Some) } else { Ok(None) }
}

/// Goes on with a container that has others in it, or a tail. `atoms` are spelled out in it by now.
fn nested(
    reader: &mut Reader<'_>,
    source: Option<&Bytes>,
    mut room: Room,
    mut top: Frame,
    mut atoms: usize,
) -> Result<Option<Term>, DecodeError> {
    // Values that are to come in the containers of the stack.
    let mut owed = 0_usize;
    let mut stack: SmallVec<[Frame; 8]> = SmallVec::new();
    loop {
        while top.left > 0 {
            top.left -= 1;
            let depth = stack.len() + 2;
            match opened(reader, source, &mut room, depth)? {
                Some(Step::Open(kind, count)) => {
                    if !room.enter(depth, count, owed + top.left, reader.left()) {
                        return Ok(None);
                    }
                    if matches!((&kind, &top.kind), (Kind::List, Kind::Tail)) {
                        // The tail is a list, which continues the one before.
                        top.children.reserve(count);
                        (top.kind, top.left) = (Kind::List, count);
                    } else {
                        let mut children = Vec::with_capacity(count);
                        let (left, spelled) = leaves(&mut children, count, reader, source);
                        atoms += spelled;
                        if left > 0 || matches!(kind, Kind::List) && !reader.eat_nil() {
                            owed += top.left;
                            stack.push(mem::replace(&mut top, Frame { kind, children, left }));
                            continue;
                        }
                        match kind {
                            Kind::Tuple => put(&mut top.children, || Term::Tuple(children.into())),
                            Kind::Map(at) => {
                                let map = map(children, at)?;
                                put(&mut top.children, || Term::Map(map));
                            }
                            _ => {
                                let term = kind.of(children)?;
                                put(&mut top.children, || term);
                            }
                        }
                    }
                }
                Some(Step::Whole(term)) => put(&mut top.children, || term),
                None => return Ok(None),
            }
            if top.left > 0 {
                let (left, spelled) = leaves(&mut top.children, top.left, reader, source);
                top.left = left;
                atoms += spelled;
            }
        }
        if matches!(top.kind, Kind::List) && !reader.eat_nil() {
            (top.kind, top.left) = (Kind::Tail, 1);
            continue;
        }
        let Some(outer) = stack.pop() else {
            return if atoms <= room.atoms { top.kind.of(top.children).map(Some) } else { Ok(None) };
        };
        let inner = mem::replace(&mut top, outer);
        let term = inner.kind.of(inner.children)?;
        owed -= top.left;
        put(&mut top.children, || term);
        if top.left > 0 {
            let (left, spelled) = leaves(&mut top.children, top.left, reader, source);
            top.left = left;
            atoms += spelled;
        }
    }
}

/// Reads the beginning of a container, or a value that has no children; `None` if there is no room for it. The room of a
/// container's children is still to be taken.
#[inline]
fn opened(
    reader: &mut Reader<'_>,
    source: Option<&Bytes>,
    room: &mut Room,
    depth: usize,
) -> Result<Option<Step>, DecodeError> {
    let at = reader.offset();
    // The containers that most are.
    match reader.short_container() {
        Some((MAP_EXT, count)) => Ok(Some(Step::Open(Kind::Map(at), count * 2))),
        Some((LIST_EXT, count)) => Ok(Some(Step::Open(Kind::List, count))),
        Some((_, count)) => Ok(Some(Step::Open(Kind::Tuple, count))),
        None => rarer(reader, source, room, depth),
    }
}

/// What else a value may be.
#[inline(never)]
fn rarer(
    reader: &mut Reader<'_>,
    source: Option<&Bytes>,
    room: &mut Room,
    depth: usize,
) -> Result<Option<Step>, DecodeError> {
    if reader.at_empty_list_head() {
        // Its tail is not deeper here, but is where terms are only checked.
        room.depth = room.depth.saturating_sub(1);
    }
    let before = reader.left();
    let step = step(reader, source)?;
    let used = before - reader.left();
    let fits = match &step {
        Step::Open(Kind::Fun(_) | Kind::Record(_), count) => room.take(used, *count + 2),
        Step::Open(..) => true,
        // Its bytes are at least as many as its values.
        Step::Whole(_) => depth <= room.depth && used <= room.value_len && room.take(used, 2),
    };
    Ok(fits.then_some(step))
}

/// Pushes a term. To push is to ask for room, for which the term would first be put together elsewhere and then be waited for;
/// where room is known to be, it is put together in its place.
#[inline(always)]
fn put(terms: &mut Vec<Term>, term: impl FnOnce() -> Term) {
    if terms.len() == terms.capacity() {
        return put_slowly(terms, term());
    }
    terms.push(term());
}

#[cold]
fn put_slowly(terms: &mut Vec<Term>, term: Term) {
    terms.push(term);
}

/// Reads at most so many of a container's next values, as long as they are of those kinds that most values are, which have no
/// children. Returns how many are left, and how many of those read are atoms that are spelled out. What is not read yet is kept
/// in a register meanwhile.
fn leaves(
    children: &mut Vec<Term>,
    mut left: usize,
    reader: &mut Reader<'_>,
    source: Option<&Bytes>,
) -> (usize, usize) {
    let mut atoms = 0;
    if left > SHORT_RUN && reader.rest.first() == Some(&INTEGER_EXT) {
        let run = reader.integers(left);
        left -= run.len();
        children.extend(run.iter().map(|bytes| Term::Integer(integer(*bytes))));
    }
    let mut rest = reader.rest;
    while left > 0 {
        rest = match rest {
            [SMALL_INTEGER_EXT, value, after @ ..] => {
                put(children, || Term::Integer(i64::from(*value)));
                after
            }
            [INTEGER_EXT, a, b, c, d, after @ ..] => {
                let value = i64::from(i32::from_be_bytes([*a, *b, *c, *d]));
                put(children, || Term::Integer(value));
                after
            }
            [BINARY_EXT, a, b, c, d, after @ ..] => {
                let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                let Some((slice, after)) = after.split_at_checked(len) else { break };
                match rest.get(5..).and_then(|bytes| bytes.first_chunk()) {
                    Some(begin) if len <= INLINE_MAX => {
                        put(children, || Term::Binary(Binary::begin_of(begin, len)));
                    }
                    _ => {
                        let binary = binary(slice, source);
                        put(children, || Term::Binary(binary));
                    }
                }
                after
            }
            [SMALL_ATOM_UTF8_EXT, len, after @ ..] => {
                let Some((text, after)) = after.split_at_checked(usize::from(*len)) else { break };
                let atom = match Atom::known(text) {
                    Some(atom) => atom,
                    None => match std::str::from_utf8(text) {
                        Ok(text) => Atom::from_checked(text),
                        Err(_) => break,
                    },
                };
                put(children, || Term::Atom(atom));
                atoms += 1;
                after
            }
            [ATOM_CACHE_REF, index, after @ ..] => {
                let Some(atom) = reader.atoms.get(usize::from(*index)) else { break };
                let atom = atom.clone();
                put(children, || Term::Atom(atom));
                after
            }
            [NIL_EXT, after @ ..] => {
                put(children, Term::nil);
                after
            }
            [NEW_PID_EXT, ..] => {
                reader.rest = rest;
                let Some(pid) = reader.short_pid() else { break };
                put(children, || Term::Pid(pid));
                reader.rest
            }
            [NEWER_REFERENCE_EXT, ..] => {
                reader.rest = rest;
                let Some(reference) = reader.short_reference() else { break };
                put(children, || reference.into());
                reader.rest
            }
            _ => break,
        };
        left -= 1;
    }
    reader.rest = rest;
    (left, atoms)
}

impl Kind {
    /// The container, all of whose children are there.
    fn of(self, mut children: Vec<Term>) -> Result<Term, DecodeError> {
        Ok(match self {
            Self::List => Term::List(children.into()),
            Self::Tail => {
                let tail = children.pop().unwrap_or_default();
                Term::list_with_tail(children, tail)
            }
            Self::Tuple => Term::Tuple(children.into()),
            Self::Map(at) => {
                let duplicate = |_| DecodeError::new(DecodeErrorKind::DuplicateKey, at);
                Term::Map(Map::from_flat(children).map_err(duplicate)?)
            }
            Self::Fun(head) => Fun::Internal { head: *head, free: children.into() }.into(),
            Self::Record(mut record) => {
                record.values = children.into();
                Term::Record(record)
            }
        })
    }
}

/// The map that begins at an offset.
fn map(children: Vec<Term>, at: usize) -> Result<Map, DecodeError> {
    Map::from_flat(children).map_err(|_| DecodeError::new(DecodeErrorKind::DuplicateKey, at))
}

fn step(reader: &mut Reader<'_>, source: Option<&Bytes>) -> Result<Step, DecodeError> {
    let at = reader.offset();
    Ok(Step::Whole(match reader.next_token()? {
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
        Token::Tuple(left @ 1..) => return Ok(Step::Open(Kind::Tuple, left)),
        Token::Tuple(_) => Term::Tuple(Terms::new()),
        Token::Map(left @ 1..) => return Ok(Step::Open(Kind::Map(at), left * 2)),
        Token::Map(_) => Term::Map(Map::new()),
        Token::List(left) => return Ok(Step::Open(Kind::List, left)),
        Token::Integer(value) => Term::Integer(value),
        Token::Atom(atom) => Term::Atom(atom),
        Token::Binary(slice) => Term::Binary(binary(slice, source)),
        Token::Nil => Term::nil(),
    }))
}

fn binary(slice: &[u8], source: Option<&Bytes>) -> Binary {
    match source {
        Some(source) => Binary::slice_of(source, slice),
        None => slice.into(),
    }
}

fn bytes(slice: &[u8], source: Option<&Bytes>) -> Bytes {
    match source {
        Some(source) if !slice.is_empty() => source.slice_ref(slice),
        _ => Bytes::copy_from_slice(slice),
    }
}
