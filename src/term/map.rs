//! Maps.

use std::cmp::Ordering;
use std::mem;

use smallvec::SmallVec;

use super::compare::{ATOM_RANK, binary_prefix, exact_cmp, text_prefix};
use super::{Term, Terms};

/// An Erlang map, kept in the order of its keys (integers before floats, then Erlang's term order), so that equal maps
/// print, encode and iterate alike.
#[derive(Default, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Map(pub(super) Terms); // key, value, key, value

impl Map {
    /// An empty map.
    pub const fn new() -> Self {
        Self(Terms::new())
    }

    /// A map of keys and values in turn. `Err` is an index of a key that is there twice.
    #[inline(always)]
    pub(crate) fn from_flat(mut terms: Vec<Term>) -> Result<Self, usize> {
        order(terms.as_chunks_mut().0)?;
        Ok(Self(Terms(terms)))
    }

    fn pairs(&self) -> &[[Term; 2]] {
        self.0.as_chunks::<2>().0
    }

    fn find(&self, key: &Term) -> Result<usize, usize> {
        self.pairs().binary_search_by(|pair| exact_cmp(&pair[0], key))
    }

    /// How many pairs it has.
    pub fn len(&self) -> usize {
        self.0.len() / 2
    }

    /// Whether it has no pairs.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &Term) -> Option<&Term> {
        self.find(key).ok().map(|index| &self.pairs()[index][1])
    }

    /// The value of a key that is an atom of this text.
    pub fn get_atom(&self, key: &str) -> Option<&Term> {
        let found = self.pairs().binary_search_by(|[other, _]| match other {
            Term::Atom(atom) => atom.as_str().cmp(key),
            other => other.rank().cmp(&ATOM_RANK),
        });
        found.ok().map(|index| &self.pairs()[index][1])
    }

    /// Puts a pair in, and returns the value that the key had.
    pub fn insert(&mut self, key: Term, value: Term) -> Option<Term> {
        match self.find(&key) {
            Ok(index) => Some(mem::replace(&mut self.0[index * 2 + 1], value)),
            Err(index) => {
                self.0.splice(index * 2..index * 2, [key, value]);
                None
            }
        }
    }

    /// Takes a pair out, and returns its value.
    pub fn remove(&mut self, key: &Term) -> Option<Term> {
        let index = self.find(key).ok()?;
        self.0.drain(index * 2..index * 2 + 2).next_back()
    }

    /// The pairs, by the order of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Term, &Term)> + DoubleEndedIterator {
        self.pairs().iter().map(|[key, value]| (key, value))
    }
}

/// Puts pairs in the order of their keys, in their place, so that what comes back fits registers. `Err` is an index of a key that is there twice.
#[inline(never)]
fn order(pairs: &mut [[Term; 2]]) -> Result<(), usize> {
    if pairs.windows(2).all(|two| exact_cmp(&two[0][0], &two[1][0]) == Ordering::Less) {
        return Ok(());
    }
    sort(pairs);
    match pairs.windows(2).position(|two| exact_cmp(&two[0][0], &two[1][0]) == Ordering::Equal) {
        Some(index) => Err(index),
        None => Ok(()),
    }
}

/// Sorts pairs by their keys.
#[inline(never)]
fn sort(pairs: &mut [[Term; 2]]) {
    // Where all keys are of one plain kind, most are told apart by their first bytes, without a look at the terms, and
    // each pair is moved once.
    let mut order: SmallVec<[(u64, usize); 32]> = SmallVec::with_capacity(pairs.len());
    for (index, [key, _]) in pairs.iter().enumerate() {
        match prefix(key) {
            Some(prefix) if mem::discriminant(key) == mem::discriminant(&pairs[0][0]) => {
                order.push((prefix, index));
            }
            _ => return pairs.sort_by(|a, b| exact_cmp(&a[0], &b[0])),
        }
    }
    order.sort_unstable_by(|(a, x), (b, y)| a.cmp(b).then_with(|| exact_cmp(&pairs[*x][0], &pairs[*y][0])));
    for first in 0..order.len() {
        // Along a cycle of pairs, each of which takes the place of the one before.
        let mut at = first;
        loop {
            let from = mem::replace(&mut order[at].1, at);
            if from == first {
                break;
            }
            pairs.swap(at, from);
            at = from;
        }
    }
}

/// A number that orders a key among those of its kind, as far as it goes.
fn prefix(key: &Term) -> Option<u64> {
    match key {
        Term::Integer(value) => Some((*value as u64) ^ (1 << 63)),
        Term::Atom(atom) => Some(text_prefix(atom.as_bytes())),
        Term::Binary(binary) => Some(binary_prefix(binary)),
        _ => None,
    }
}

impl FromIterator<(Term, Term)> for Map {
    /// Of equal keys the last one's value stays, as in `maps:from_list/1`.
    fn from_iter<I: IntoIterator<Item = (Term, Term)>>(pairs: I) -> Self {
        let mut pairs: Vec<(Term, Term)> = pairs.into_iter().collect();
        pairs.sort_by(|a, b| exact_cmp(&a.0, &b.0));
        let mut terms: Vec<Term> = Vec::with_capacity(pairs.len() * 2);
        for (key, value) in pairs {
            if terms.len() >= 2 && exact_cmp(&terms[terms.len() - 2], &key) == Ordering::Equal {
                terms.pop();
                terms.push(value);
            } else {
                terms.extend([key, value]);
            }
        }
        Self(Terms(terms))
    }
}

impl<const N: usize> From<[(Term, Term); N]> for Map {
    fn from(pairs: [(Term, Term); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl IntoIterator for Map {
    type Item = (Term, Term);
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter(self.0.into_iter())
    }
}

/// The pairs of a [`Map`], by the order of their keys.
#[derive(Debug)]
pub struct IntoIter(std::vec::IntoIter<Term>);

impl Iterator for IntoIter {
    type Item = (Term, Term);

    fn next(&mut self) -> Option<(Term, Term)> {
        Some((self.0.next()?, self.0.next()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.0.len() / 2;
        (len, Some(len))
    }
}

impl ExactSizeIterator for IntoIter {}
