//! The forms that nearly all values have, read without the detour over a [`Token`](super::Token), whose many kinds cost more than
//! the value does. Each returns `None`, and reads nothing, where something else or something wrong stands; then
//! [`Reader::next_token`] is asked, which knows.

use std::hint::cold_path;

use super::{Reader, Token};
use crate::etf::DecodeError;
use crate::etf::tags::*;
use crate::term::{Atom, Pid, REFERENCE_WORDS_MAX, Reference, text};

/// Tag, node by its number, id, serial, creation.
const SHORT_PID_LEN: usize = 3 + 3 * 4;

impl<'a> Reader<'a> {
    #[inline]
    fn advance(&mut self, len: usize) {
        self.rest = self.rest.get(len..).unwrap_or_default();
    }

    /// The reader where it was at an offset.
    #[inline]
    pub(crate) fn at(&self, offset: usize) -> Self {
        Self { rest: self.input.get(offset..).unwrap_or_default(), ..*self }
    }

    #[inline]
    pub(crate) fn rewind(&mut self, offset: usize) {
        *self = self.at(offset);
    }

    #[inline(always)]
    pub(crate) fn short_integer(&mut self) -> Option<i64> {
        let (value, after) = match self.rest {
            [INTEGER_EXT, a, b, c, d, after @ ..] => (i64::from(i32::from_be_bytes([*a, *b, *c, *d])), after),
            [SMALL_INTEGER_EXT, value, after @ ..] => (i64::from(*value), after),
            _ => return None,
        };
        self.rest = after;
        Some(value)
    }

    #[inline(always)]
    pub(crate) fn short_binary(&mut self) -> Option<&'a [u8]> {
        let [BINARY_EXT, a, b, c, d, rest @ ..] = self.rest else { return None };
        let (bytes, after) = rest.split_at_checked(u32::from_be_bytes([*a, *b, *c, *d]) as usize)?;
        self.rest = after;
        Some(bytes)
    }

    /// The text of an atom.
    #[inline(always)]
    pub(crate) fn short_atom(&mut self) -> Option<&'a str> {
        let (text, after) = match self.rest {
            [SMALL_ATOM_UTF8_EXT, len, rest @ ..] => {
                let (bytes, after) = rest.split_at_checked(usize::from(*len))?;
                (text(bytes)?, after)
            }
            [ATOM_CACHE_REF, index, after @ ..] => (self.atoms.get(usize::from(*index))?.as_str(), after),
            _ => return None,
        };
        self.rest = after;
        Some(text)
    }

    /// Which of some texts the next term is an atom of; if it is of none, nothing is read.
    #[inline(always)]
    pub(crate) fn short_atom_of<const N: usize>(&mut self, texts: [&str; N]) -> Option<usize> {
        let (text, len) = match self.rest {
            [SMALL_ATOM_UTF8_EXT, len, rest @ ..] => (rest.get(..usize::from(*len))?, 2 + usize::from(*len)),
            [ATOM_CACHE_REF, index, ..] => (self.atoms.get(usize::from(*index))?.as_bytes(), 2),
            _ => return None,
        };
        let found = texts.iter().position(|wanted| wanted.as_bytes() == text)?;
        self.advance(len);
        Some(found)
    }

    /// An atom by its number, as a connection's signals have them.
    #[inline]
    pub(crate) fn short_atom_ref(&mut self) -> Option<&'a Atom> {
        let [ATOM_CACHE_REF, index, after @ ..] = self.rest else { return None };
        let atom = self.atoms.get(usize::from(*index))?;
        self.rest = after;
        Some(atom)
    }

    /// A pid whose node is given by its number.
    #[inline]
    #[hot]
    pub(crate) fn short_pid(&mut self) -> Option<Pid> {
        let ([NEW_PID_EXT, ATOM_CACHE_REF, index, numbers @ ..], after) =
            self.rest.split_first_chunk::<SHORT_PID_LEN>()?
        else {
            return None;
        };
        let node = self.atoms.get(usize::from(*index))?.clone();
        let ([id, serial, creation], []) = numbers.as_chunks::<4>() else { return None };
        self.rest = after;
        let number = |bytes: &[u8; 4]| u32::from_be_bytes(*bytes);
        Some(Pid { node, id: number(id), serial: number(serial), creation: number(creation) })
    }

    /// A reference of at most five words whose node is given by its number.
    #[inline]
    #[hot]
    pub(crate) fn short_reference(&mut self) -> Option<Reference> {
        let [NEWER_REFERENCE_EXT, 0, len, ATOM_CACHE_REF, index, after @ ..] = self.rest else { return None };
        let len = usize::from(*len);
        if !(1..=REFERENCE_WORDS_MAX).contains(&len) {
            return None;
        }
        let node = self.atoms.get(usize::from(*index))?.clone();
        let (creation, after) = after.split_first_chunk()?;
        // For each length by itself: no loop is left of it.
        let (words, after) = if len == 4 {
            words::<4>(after)?
        } else {
            cold_path();
            match len {
                3 => words::<3>(after)?,
                5 => words::<5>(after)?,
                2 => words::<2>(after)?,
                _ => words::<1>(after)?,
            }
        };
        self.rest = after;
        Some(Reference::of_words(node, u32::from_be_bytes(*creation), len, words))
    }

    /// `[Alias | Reference]` of two terms whose atoms are given by their numbers, where the atom is this one.
    #[inline(always)]
    pub(crate) fn short_alias(&mut self, alias: &Atom) -> Option<Reference> {
        let [LIST_EXT, 0, 0, 0, 1, ATOM_CACHE_REF, index, after @ ..] = self.rest else { return None };
        if self.atoms.get(usize::from(*index))? != alias {
            return None;
        }
        let mut within = Self { rest: after, ..*self };
        let reference = within.short_reference()?;
        *self = within;
        Some(reference)
    }

    /// A pid in whatever form; `None` if something else stands there.
    #[inline]
    pub(crate) fn pid(&mut self) -> Result<Option<Pid>, DecodeError> {
        match self.short_pid() {
            Some(pid) => Ok(Some(pid)),
            None => self.rarer_pid(),
        }
    }

    #[cold]
    fn rarer_pid(&mut self) -> Result<Option<Pid>, DecodeError> {
        Ok(if let Token::Pid(pid) = self.next_token()? { Some(pid) } else { None })
    }

    /// A reference in whatever form; `None` if something else stands there.
    #[inline]
    pub(crate) fn reference(&mut self) -> Result<Option<Reference>, DecodeError> {
        match self.short_reference() {
            Some(reference) => Ok(Some(reference)),
            None => self.rarer_reference(),
        }
    }

    #[cold]
    fn rarer_reference(&mut self) -> Result<Option<Reference>, DecodeError> {
        Ok(if let Token::Reference(reference) = self.next_token()? { Some(reference) } else { None })
    }

    /// The number of elements of a control tuple, and its operation.
    #[inline]
    pub(crate) fn short_operation(&mut self) -> Option<(usize, u8)> {
        let [SMALL_TUPLE_EXT, len, SMALL_INTEGER_EXT, operation, after @ ..] = self.rest else { return None };
        let len = usize::from(*len);
        // As many elements as there is room for, that of the operation included.
        if len == 0 || len > after.len() + 2 {
            return None;
        }
        self.rest = after;
        Some((len, *operation))
    }

    /// Whether the next term is an atom in another form than the common one.
    #[inline]
    pub(crate) fn at_long_atom(&self) -> bool {
        matches!(self.rest, [ATOM_UTF8_EXT | SMALL_ATOM_EXT | ATOM_EXT, ..])
    }

    /// The count of a list that has elements.
    #[inline]
    pub(crate) fn short_list(&mut self) -> Option<usize> {
        let count = self.counted(LIST_EXT)?;
        (count > 0).then(|| self.enter(5, count))
    }

    /// The count of a map.
    #[inline]
    pub(crate) fn short_map(&mut self) -> Option<usize> {
        let count = self.counted(MAP_EXT)?;
        Some(self.enter(5, count))
    }

    /// The count of a tuple.
    #[inline]
    pub(crate) fn short_tuple(&mut self) -> Option<usize> {
        let [SMALL_TUPLE_EXT, count, ..] = self.rest else { return None };
        Some(self.enter(2, usize::from(*count)))
    }

    /// The tag and the count of a tuple, a list or a map that has elements, which the bytes left can hold.
    #[inline]
    pub(crate) fn short_container(&mut self) -> Option<(u8, usize)> {
        let (tag, count, after) = match self.rest {
            [SMALL_TUPLE_EXT, count, after @ ..] => (SMALL_TUPLE_EXT, usize::from(*count), after),
            [tag @ (LIST_EXT | MAP_EXT), a, b, c, d, after @ ..] => {
                (*tag, u32::from_be_bytes([*a, *b, *c, *d]) as usize, after)
            }
            _ => return None,
        };
        let most = if tag == MAP_EXT { after.len() / 2 } else { after.len() };
        if count == 0 || count > most {
            return None;
        }
        self.rest = after;
        Some((tag, count))
    }

    /// A count that the bytes left can hold.
    #[inline]
    fn counted(&self, tag: u8) -> Option<usize> {
        let [first, a, b, c, d, rest @ ..] = self.rest else { return None };
        let count = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        (*first == tag && count <= rest.len()).then_some(count)
    }

    #[inline]
    fn enter(&mut self, len: usize, count: usize) -> usize {
        self.advance(len);
        count
    }

    /// Whether the next term is a list head without elements: only its tail follows.
    #[inline]
    pub(crate) fn at_empty_list_head(&self) -> bool {
        matches!(self.rest, [LIST_EXT, 0, 0, 0, 0, ..])
    }

    /// As many of the next `most` terms as are integers of 32 bits.
    #[inline]
    pub(crate) fn integers(&mut self, most: usize) -> &'a [[u8; 5]] {
        self.run(INTEGER_EXT, most)
    }

    /// As many of the next `most` terms as have a tag with which they take N bytes.
    #[inline]
    fn run<const N: usize>(&mut self, tag: u8, most: usize) -> &'a [[u8; N]] {
        if self.rest.first() != Some(&tag) {
            return &[];
        }
        let (all, _) = self.rest.as_chunks::<N>();
        let all = &all[..most.min(all.len())];
        // Eight at a time without a branch between them, as long as all of them are.
        let (eights, _) = all.as_chunks::<8>();
        let same = |same, bytes: &[u8; N]| same & (bytes[0] == tag);
        let len = 8 * eights.iter().take_while(|eight| eight.iter().fold(true, same)).count();
        let len = len + all[len..].iter().take_while(|bytes| bytes[0] == tag).count();
        self.rest = self.rest.get(len * N..).unwrap_or_default();
        all.get(..len).unwrap_or_default()
    }
}

/// So many words of a reference, and what follows them.
#[inline(always)]
fn words<const N: usize>(input: &[u8]) -> Option<([u32; REFERENCE_WORDS_MAX], &[u8])> {
    let (bytes, _) = input.as_chunks::<4>();
    let bytes = bytes.first_chunk::<N>()?;
    let mut words = [0; REFERENCE_WORDS_MAX];
    for (word, bytes) in words.iter_mut().zip(bytes) {
        *word = u32::from_be_bytes(*bytes);
    }
    Some((words, input.get(4 * N..)?))
}

/// The value of an INTEGER_EXT.
#[inline]
pub(crate) fn integer([_, a, b, c, d]: [u8; 5]) -> i64 {
    i64::from(i32::from_be_bytes([a, b, c, d]))
}
