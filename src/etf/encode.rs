//! From [`Term`]s to bytes.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use smallvec::SmallVec;

use super::tags::{COMPRESSED, VERSION_MAGIC};
use super::{EncodeError, FunMark, Writer};
use crate::term::{Fun, Term};

impl Writer {
    /// A term, whole. Its binaries are shared, not copied, if they are large.
    ///
    /// # Errors
    /// If a float is not finite, or something does not fit the external form. What was written by then stays.
    pub fn term(&mut self, term: &Term) -> Result<(), EncodeError> {
        // The rest of each container entered, and how it ends.
        let mut stack: SmallVec<[(&[Term], End); 8]> = SmallVec::new();
        let mut rest = std::slice::from_ref(term);
        let mut end = End::Nothing;
        loop {
            while let Some((term, next)) = rest.split_first() {
                rest = next;
                // The most frequent of long lists' elements.
                if let Term::Integer(value) = term {
                    self.integer(*value);
                    continue;
                }
                if let Some((children, inner_end)) = self.head(term)? {
                    self.expect(children.len());
                    stack.push((rest, end));
                    (rest, end) = (children, inner_end);
                }
            }
            match end {
                End::Nothing => {}
                End::Nil => self.nil(),
                End::Fun(mark) => self.end_fun(mark)?,
            }
            match stack.pop() {
                Some(outer) => (rest, end) = outer,
                None => return Ok(()),
            }
        }
    }

    /// Writes what of a term stands before its children, and returns the children to write and what ends them.
    #[inline]
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
            Term::Tuple(elements) => {
                self.tuple(elements.len())?;
                return Ok(Some((elements, End::Nothing)));
            }
            Term::Map(map) => {
                self.map(map.len())?;
                return Ok(Some((term.children(), End::Nothing)));
            }
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
        let byte =
            |term: &Term| if let Term::Integer(value) = term { u8::try_from(*value).ok() } else { None };
        if u16::try_from(elements.len()).is_ok() && elements.iter().all(|term| byte(term).is_some()) {
            self.string(elements.len(), elements.iter().filter_map(byte));
            return Ok(None);
        }
        self.list(elements.len())?;
        Ok(Some((elements, End::Nil)))
    }
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
    let mut writer = Writer::new();
    writer.raw(&[VERSION_MAGIC]);
    writer.term(term)?;
    Ok(writer.into_bytes())
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
