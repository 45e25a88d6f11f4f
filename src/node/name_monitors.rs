//! Whom the peer's monitors by name found.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};

use crate::term::{Pid, Reference};

/// A name may stand for another process by the time that its monitor is taken back.
#[derive(Default)]
pub(super) struct NameMonitors(HashMap<ByWords, Pid, Secret>);

impl NameMonitors {
    pub(super) fn insert(&mut self, reference: &Reference, process: &Pid) {
        self.0.insert(ByWords(reference.clone()), process.clone());
    }

    pub(super) fn remove(&mut self, reference: &Reference) -> Option<Pid> {
        self.0.remove(&ByWords(reference.clone()))
    }

    /// The process has ended.
    #[expect(clippy::disallowed_methods, reason = "in whatever order, the same are removed")]
    pub(super) fn forget(&mut self, process: &Pid) {
        if !self.0.is_empty() {
            self.0.retain(|_, bound| bound != process);
        }
    }
}

/// A reference that is hashed by its numbers alone: all of a connection's have the same node.
#[derive(PartialEq, Eq)]
struct ByWords(Reference);

impl Hash for ByWords {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (pairs, last) = self.0.words().as_chunks::<2>();
        for [a, b] in pairs {
            state.write_u64(u64::from(*a) << 32 | u64::from(*b));
        }
        last.iter().for_each(|word| state.write_u64((*word).into()));
    }
}

/// The peer chooses the references. It does not know the secret, so it cannot choose ones that collide.
struct Secret(u64);

impl Default for Secret {
    fn default() -> Self {
        Self(RandomState::new().hash_one(0))
    }
}

impl BuildHasher for Secret {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded(self.0)
    }
}

/// Multiplies and folds, a word at a time: the table's usual hasher takes more for four words than all else.
struct Folded(u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9E37_79B9_7F4A_7C15;
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::term::Atom;

    #[test]
    fn each_reference_finds_its_own_process_and_those_of_one_that_ended_are_gone() {
        let node = Atom::from_static("a@h");
        let pid = |id| Pid { node: node.clone(), id, serial: 0, creation: 1 };
        let all: Vec<_> = (0..1000_u32)
            .map(|n| {
                let words = [n % 10, n / 10 % 10, n / 100, 0, 0];
                let reference = Reference::new(node.clone(), 1, &words[..3 + n as usize % 3]).unwrap();
                (reference, pid(n % 7))
            })
            .collect();
        let mut monitors = NameMonitors::default();
        all.iter().for_each(|(reference, process)| monitors.insert(reference, process));
        monitors.forget(&pid(3));
        for (reference, process) in all {
            let found = monitors.remove(&reference);
            assert_eq!(found, (process != pid(3)).then_some(process), "{reference:?}");
            assert_eq!(monitors.remove(&reference), None);
        }
    }
}
