//! From [`Term`]s to bytes.

use std::cell::RefCell;
use std::hint::cold_path;
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use smallvec::SmallVec;

use super::tags::{COMPRESSED, VERSION_MAGIC};
use super::writer::COUNTED_LEN;
use super::{EncodeError, FunMark, Writer};
use crate::term::{Fun, Term};

impl Writer {
    /// A term, whole. Its binaries are shared, not copied, if they are large.
    ///
    /// # Errors
    /// If a float is not finite, or something does not fit the external form. What was written by then stays.
    #[hot]
    pub fn term(&mut self, term: &Term) -> Result<(), EncodeError> {
        if let Term::Integer(value) = term {
            self.integer(*value);
            return Ok(());
        }
        if let Term::Binary(binary) = term
            && let Some((bytes, len)) = binary.inline()
        {
            self.inline_binary(bytes, len);
            return Ok(());
        }
        let Some((children, end)) = self.enter(term)? else { return Ok(()) };
        let rest = self.children(children);
        // Most containers have no others in them.
        if rest.is_empty() {
            return self.end(end);
        }
        cold_path();
        self.nested(rest, end)
    }

    /// The rest of a container that has others in it, and what ends it.
    #[inline(never)]
    fn nested<'a>(&mut self, mut rest: &'a [Term], mut end: End) -> Result<(), EncodeError> {
        // The rest of each container entered, and how it ends.
        let mut stack: SmallVec<[(&'a [Term], End); 8]> = SmallVec::new();
        loop {
            while let Some((term, next)) = rest.split_first() {
                rest = next;
                if let Some((children, inner_end)) = self.enter(term)? {
                    let inner = self.children(children);
                    if inner.is_empty() {
                        self.end(inner_end)?;
                    } else {
                        stack.push((next, end));
                        (rest, end) = (inner, inner_end);
                        continue;
                    }
                }
                if !rest.is_empty() {
                    rest = self.leaves(rest);
                }
            }
            self.end(end)?;
            match stack.pop() {
                Some((next, outer_end)) => (rest, end) = (self.leaves(next), outer_end),
                None => return Ok(()),
            }
        }
    }

    /// Begins a container's children. Returns those that are left.
    #[inline]
    fn children<'a>(&mut self, children: &'a [Term]) -> &'a [Term] {
        if children.len() > MANY {
            cold_path();
            self.expect(children.len());
        }
        if let [Term::Pid(_), ..] = children {
            return self.pids(children);
        }
        let rest = self.leaves(children);
        if let [Term::Pid(_), ..] = rest { self.pids(rest) } else { rest }
    }

    /// As [`Writer::leaves`], for terms that begin with a pid: one kind more there would be a table to jump through for each term.
    #[inline(never)]
    #[hot]
    fn pids<'a>(&mut self, mut terms: &'a [Term]) -> &'a [Term] {
        while let [Term::Pid(pid), rest @ ..] = terms {
            self.pid(pid);
            if rest.is_empty() {
                return rest;
            }
            terms = self.leaves(rest);
        }
        terms
    }

    /// Writes terms up to the first that is not of those kinds that most are, and returns those that are left.
    #[inline]
    fn leaves<'a>(&mut self, mut terms: &'a [Term]) -> &'a [Term] {
        while let Some((term, next)) = terms.split_first() {
            match term {
                Term::Integer(value) => self.integer(*value),
                Term::Atom(atom) => self.atom(atom),
                Term::Binary(binary) => match binary.inline() {
                    Some((bytes, len)) => self.inline_binary(bytes, len),
                    None => break,
                },
                _ => break,
            }
            terms = next;
        }
        terms
    }

    fn end(&mut self, end: End) -> Result<(), EncodeError> {
        match end {
            End::Nothing => {}
            End::Nil => self.nil(),
            End::Fun(mark) => self.end_fun(mark)?,
        }
        Ok(())
    }

    /// As [`Writer::head`], which is not worth a call for what most containers are.
    #[inline(always)]
    fn enter<'a>(&mut self, term: &'a Term) -> Result<Option<(&'a [Term], End)>, EncodeError> {
        match term {
            Term::Tuple(elements) => {
                self.tuple(elements.len())?;
                Ok(Some((elements, End::Nothing)))
            }
            Term::Map(map) => {
                self.map(map.len())?;
                Ok(Some((term.children(), End::Nothing)))
            }
            term => self.head(term),
        }
    }

    /// Writes what of a term stands before its children, and returns the children to write and what ends them.
    fn head<'a>(&mut self, term: &'a Term) -> Result<Option<(&'a [Term], End)>, EncodeError> {
        match term {
            Term::Integer(value) => self.integer(*value),
            Term::BigInt(value) => {
                let (negative, magnitude) = value.to_bytes_le();
                self.big_integer(negative, &magnitude)?;
            }
            Term::Float(value) => self.float(*value)?,
            Term::Atom(atom) => self.atom(atom),
            Term::Pid(pid) => self.pid(pid),
            Term::Port(port) => self.port(port),
            Term::Reference(reference) => self.reference(reference),
            Term::Binary(binary) => self.term_binary(binary)?,
            Term::BitString(bits) => self.bit_string(bits.bytes(), bits.bits())?,
            Term::List(elements) => return self.proper_list(elements),
            Term::ImproperList(list) => {
                self.list(list.elements().len())?;
                return Ok(Some((term.children(), End::Nothing)));
            }
            Term::Tuple(_) | Term::Map(_) => return self.enter(term),
            Term::Fun(fun) => match &**fun {
                Fun::External { module, function, arity } => self.export(module, function, *arity),
                Fun::Internal { head, free } => {
                    let mark = self.fun(head, free.len())?;
                    return Ok(Some((free, End::Fun(mark))));
                }
            },
            Term::Record(record) => {
                // Both have as many, or what follows would be read as something else.
                if record.fields.len() != record.values.len() {
                    return Err(EncodeError::Record {
                        fields: record.fields.len(),
                        values: record.values.len(),
                    });
                }
                self.record(&record.module, &record.name, record.exported, &record.fields)?;
                return Ok(Some((&record.values, End::Nothing)));
            }
        }
        Ok(None)
    }

    /// A proper list: in its short form if its elements are bytes.
    fn proper_list<'a>(&mut self, elements: &'a [Term]) -> Result<Option<(&'a [Term], End)>, EncodeError> {
        if elements.is_empty() {
            self.nil();
            return Ok(None);
        }
        if is_string(elements) {
            self.string(elements.len(), elements.iter().filter_map(byte));
            return Ok(None);
        }
        self.list(elements.len())?;
        Ok(Some((elements, End::Nil)))
    }
}

/// The term, if it is an integer of a byte.
fn byte(term: &Term) -> Option<u8> {
    if let Term::Integer(value) = term { u8::try_from(*value).ok() } else { None }
}

/// Whether a list has a short form.
fn is_string(elements: &[Term]) -> bool {
    u16::try_from(elements.len()).is_ok() && elements.iter().all(|term| byte(term).is_some())
}

/// From so many values on room is made for them at once.
const MANY: usize = 32;

/// The longest term that is copied out of the buffer that it was written into.
const SCRATCH_LEN_MAX: usize = 16 * 1024;

/// A binary from so long on is copied to an address that differs from its own by a multiple of [`ALIGNMENT`]. Some processors copy
/// otherwise in 1.15 of the time, and none in less.
const ALIGNED_FROM: usize = 64 * 1024;
const ALIGNMENT: usize = 16;

thread_local! {
    /// A writer for [`to_bytes`]. A copy of just the right length costs less than a buffer that grows and then, as it is longer
    /// than what is in it, has to be shared through another allocation. What is in it has no meaning when nobody writes.
    static SCRATCH: RefCell<Writer> = const { RefCell::new(Writer::EMPTY) };
}

/// What follows a container's children.
enum End {
    Nothing,
    Nil,
    Fun(FunMark),
}

/// A term in the external format, as `erlang:term_to_binary/1` makes it (by OTP 26 and later).
///
/// # Errors
/// If a float in it is not finite, or something does not fit the external form.
pub fn to_bytes(term: &Term) -> Result<Bytes, EncodeError> {
    if let Term::Binary(binary) = term {
        return binary_to_bytes(binary);
    }
    SCRATCH.with_borrow_mut(|writer| {
        writer.restart();
        let written = writer.term(term);
        match writer.as_slice() {
            Some(bytes) if bytes.len() <= SCRATCH_LEN_MAX => written.map(|()| Bytes::copy_from_slice(bytes)),
            _ => {
                let writer = std::mem::take(writer);
                written.map(|()| writer.into_bytes())
            }
        }
    })
}

/// A binary alone: its length is known, and it is copied once.
fn binary_to_bytes(binary: &[u8]) -> Result<Bytes, EncodeError> {
    const HEAD_LEN: usize = 1 + COUNTED_LEN;
    let aligned = if binary.len() < ALIGNED_FROM { 1 } else { ALIGNMENT };
    let out = Vec::<u8>::with_capacity(aligned - 1 + HEAD_LEN + binary.len());
    let before = binary.as_ptr().addr().wrapping_sub(out.as_ptr().addr() + HEAD_LEN) % aligned;
    let mut writer = Writer::with_buffer(out);
    writer.raw(&[0; ALIGNMENT][..before]);
    writer.raw(&[VERSION_MAGIC]);
    writer.binary(binary)?;
    Ok(writer.into_bytes().split_off(before))
}

/// As [`to_bytes`], compressed with zlib at `level` (0 to 9), unless that would be longer; `term_to_binary/2` with `{compressed, Level}`.
///
/// # Errors
/// As [`to_bytes`].
pub fn to_bytes_compressed(term: &Term, level: u32) -> Result<Bytes, EncodeError> {
    let plain = to_bytes(term)?;
    let inflated = &plain[1..];
    let len = u32::try_from(inflated.len()).map_err(|_| EncodeError::TooLong(inflated.len()))?;
    let mut out = vec![VERSION_MAGIC, COMPRESSED];
    out.extend(len.to_be_bytes());
    let mut encoder = ZlibEncoder::new(out, Compression::new(level.min(9)));
    let compressed = encoder.write_all(inflated).and_then(|()| encoder.finish());
    // A vector takes all that is written to it.
    Ok(compressed.ok().filter(|out| out.len() < plain.len()).map_or(plain, Bytes::from))
}
