//! The forms that nearly all values have, read without the detour over a [`Token`](super::Token), whose many kinds cost more than
//! the value does. Each returns `None`, and reads nothing, where something else or something wrong stands; then
//! [`Reader::next_token`] is asked, which knows.

use super::Reader;
use crate::etf::tags::*;
use crate::term::Atom;

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

    /// The text of an atom. A call costs less than what it keeps from being inlined around it.
    #[inline(never)]
    pub(crate) fn short_atom(&mut self) -> Option<&'a str> {
        let (text, after) = match self.rest {
            [SMALL_ATOM_UTF8_EXT, len, rest @ ..] => {
                let (text, after) = rest.split_at_checked(usize::from(*len))?;
                let text = match Atom::known_text(text) {
                    Some(text) => text,
                    None => std::str::from_utf8(text).ok()?,
                };
                (text, after)
            }
            [ATOM_CACHE_REF, index, after @ ..] => (self.atoms.get(usize::from(*index))?.as_str(), after),
            _ => return None,
        };
        self.rest = after;
        Some(text)
    }

    /// Which of some texts the next term is an atom of; if it is of none, nothing is read.
    #[inline]
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
        let len = all.iter().take(most).take_while(|bytes| bytes[0] == tag).count();
        self.rest = self.rest.get(len * N..).unwrap_or_default();
        all.get(..len).unwrap_or_default()
    }
}

/// The value of an INTEGER_EXT.
#[inline]
pub(crate) fn integer([_, a, b, c, d]: [u8; 5]) -> i64 {
    i64::from(i32::from_be_bytes([a, b, c, d]))
}
