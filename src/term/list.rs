//! Sequences of terms, and of bits.

use std::ops::{Deref, DerefMut};

use bytes::Bytes;

use super::{Term, deep};

/// The elements of a list or tuple: a `Vec<Term>` that can be cloned and dropped at any depth of nesting.
#[derive(Default)]
pub struct Terms(pub(super) Vec<Term>);

impl Terms {
    /// No terms.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The terms as a vector.
    pub fn into_vec(mut self) -> Vec<Term> {
        std::mem::take(&mut self.0)
    }
}

impl From<Vec<Term>> for Terms {
    fn from(terms: Vec<Term>) -> Self {
        Self(terms)
    }
}

impl<const N: usize> From<[Term; N]> for Terms {
    fn from(terms: [Term; N]) -> Self {
        Self(terms.into())
    }
}

impl FromIterator<Term> for Terms {
    fn from_iter<I: IntoIterator<Item = Term>>(terms: I) -> Self {
        Self(terms.into_iter().collect())
    }
}

impl IntoIterator for Terms {
    type Item = Term;
    type IntoIter = std::vec::IntoIter<Term>;

    fn into_iter(self) -> Self::IntoIter {
        self.into_vec().into_iter()
    }
}

impl<'a> IntoIterator for &'a Terms {
    type Item = &'a Term;
    type IntoIter = std::slice::Iter<'a, Term>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl Deref for Terms {
    type Target = Vec<Term>;

    fn deref(&self) -> &Vec<Term> {
        &self.0
    }
}

impl DerefMut for Terms {
    fn deref_mut(&mut self) -> &mut Vec<Term> {
        &mut self.0
    }
}

impl Clone for Terms {
    fn clone(&self) -> Self {
        deep::clone(self)
    }
}

impl Drop for Terms {
    #[inline]
    fn drop(&mut self) {
        deep::drop(std::mem::take(&mut self.0));
    }
}

/// A list whose last tail is not a list: at least one element, and the tail.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ImproperList(pub(super) Terms);

impl ImproperList {
    /// The elements, without the tail.
    pub fn elements(&self) -> &[Term] {
        self.0.split_last().map_or(&[], |(_, elements)| elements)
    }

    /// What stands after the last element.
    pub fn tail(&self) -> &Term {
        const NIL: &Term = &Term::List(Terms::new());
        self.0.last().unwrap_or(NIL)
    }

    /// The elements and the tail.
    pub fn into_parts(self) -> (Terms, Term) {
        let mut terms = self.0;
        let tail = terms.pop().unwrap_or_default();
        (terms, tail)
    }
}

/// A string of bits whose number is not a multiple of eight. The unused bits of its last byte are zero.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BitString {
    bytes: Bytes,
    bits: u8,
}

impl BitString {
    /// A bit string whose last byte has `bits` used bits, from the high end. The other bits are made zero.
    ///
    /// Returns `None` if there are no bytes, or `bits` is not 1 to 7.
    pub fn new(bytes: Bytes, bits: u8) -> Option<Self> {
        let last = *bytes.last()?;
        if !(1..=7).contains(&bits) {
            return None;
        }
        let clean = last & (0xff << (8 - bits));
        if clean == last {
            return Some(Self { bytes, bits });
        }
        let mut copy = bytes.to_vec();
        *copy.last_mut()? = clean;
        Some(Self { bytes: copy.into(), bits })
    }

    /// The bytes, the last one in part used.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many bits of the last byte are used, from the high end: 1 to 7.
    pub fn bits(&self) -> u8 {
        self.bits
    }
}
