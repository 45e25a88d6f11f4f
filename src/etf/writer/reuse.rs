//! One writer for many messages: a small one then costs no allocation.

use std::hint::cold_path;

use super::super::tags::VERSION_MAGIC;
use super::atom_refs::AtomsUsed;
use super::{AtomRefs, ListId, Writer};
use crate::term::Atom;

/// What a writer keeps of its room from one message to the next.
const KEPT_LEN_MAX: usize = 64 << 10;

/// Where a writer has been, whose next message begins with what it had written until then.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    len: usize,
    atoms: AtomsUsed,
}

impl Writer {
    /// Where it is, or so many bytes before: not before the last atom.
    pub(crate) fn checkpoint(&self, before: usize) -> Checkpoint {
        let atoms = self.atoms.as_ref().map_or_else(AtomsUsed::default, AtomRefs::used);
        Checkpoint { len: self.out.len() - before, atoms }
    }

    /// Begins a message with what the last one began with, if all of it was written in one piece and atoms are collected. If not, it is
    /// as before.
    #[inline(always)]
    pub(crate) fn resume(&mut self, checkpoint: &Checkpoint) -> bool {
        let whole = self.parts.is_empty() && self.out.len() >= checkpoint.len;
        if !whole || self.out.capacity() > KEPT_LEN_MAX {
            return false;
        }
        let Some(atoms) = &mut self.atoms else { return false };
        if !atoms.resume(checkpoint.atoms) {
            return false;
        }
        self.open_funs = 0;
        self.out.truncate(checkpoint.len);
        true
    }

    /// What was written, if it is in one piece.
    pub(crate) fn as_slice(&self) -> Option<&[u8]> {
        self.parts.is_empty().then_some(&self.out)
    }

    /// The atoms that are referred to by number.
    pub(crate) fn atom_refs(&self) -> &[Atom] {
        self.atoms.as_ref().map_or(&[], AtomRefs::atoms)
    }

    /// Which they are.
    #[inline]
    pub(crate) fn atom_list(&self) -> Option<ListId> {
        self.atoms.as_ref().and_then(AtomRefs::list)
    }

    /// Begins anew with the version byte, where no atoms are collected and what is left over is short.
    #[inline]
    pub(crate) fn restart(&mut self) {
        // An error may have left anything.
        if self.parts.is_empty() && self.open_funs == 0 && self.out.first() == Some(&VERSION_MAGIC) {
            self.out.truncate(1);
        } else {
            cold_path();
            *self = Self::EMPTY;
            self.out.push(VERSION_MAGIC);
        }
    }

    /// Begins anew, with or without the collecting of atoms.
    #[inline]
    pub(crate) fn begin(&mut self, atom_refs: bool) {
        if !self.parts.is_empty() {
            cold_path();
            self.parts.clear();
        }
        self.parts_len = 0;
        self.open_funs = 0;
        self.out.clear();
        if self.out.capacity() > KEPT_LEN_MAX {
            cold_path();
            self.out.shrink_to(KEPT_LEN_MAX);
        }
        match &mut self.atoms {
            Some(atoms) if atom_refs => atoms.begin(),
            atoms => {
                cold_path();
                *atoms = atom_refs.then(AtomRefs::default);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_of_one_message_is_left_in_the_next() {
        let mut writer = Writer::default();
        writer.begin(true);
        for n in 0..20 {
            writer.atom(&Atom::new(&format!("atom_{n}")).unwrap());
        }
        writer.shared_raw(&bytes::Bytes::from(vec![7; 100_000]));
        assert_eq!(writer.as_slice(), None, "a large piece is a part of its own");
        writer.begin(true);
        writer.atom(&Atom::from_static("atom_19"));
        assert_eq!(writer.as_slice(), Some(&[82, 0][..]), "ATOM_CACHE_REF of the first atom");
        assert_eq!(writer.atom_refs(), [Atom::from_static("atom_19")]);
        writer.begin(false);
        writer.atom(&Atom::from_static("a"));
        assert_eq!(writer.as_slice(), Some(&b"w\x01a"[..]));
        assert_eq!(writer.len(), 3);
        writer.restart();
        assert_eq!(writer.as_slice(), Some(&[131][..]));
        writer.raw(&[7; 10]);
        writer.shared_raw(&bytes::Bytes::from(vec![7; 100_000]));
        writer.restart();
        writer.atom(&Atom::from_static("b"));
        assert_eq!(writer.as_slice(), Some(&b"\x83w\x01b"[..]));
        writer.restart();
        assert_eq!(writer.as_slice(), Some(&[131][..]));
    }

    #[test]
    fn a_message_has_its_own_atoms_whatever_those_of_the_one_before() {
        let atoms =
            |texts: &[&'static str]| texts.iter().map(|text| Atom::from_static(text)).collect::<Vec<_>>();
        let messages = [
            &["a", "b", "c"][..],
            &["a", "b", "c"],
            &["a", "c"],
            &["a", "b", "c", "d"],
            &["b", "a"],
            &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
            &["0", "1", "2", "3", "4", "5", "6", "8", "7", "9"],
            &[],
            &["0", "1"],
        ];
        let mut writer = Writer::default();
        for message in messages {
            writer.begin(true);
            // Each of them twice.
            for atom in atoms(message).iter().chain(&atoms(message)) {
                writer.atom(atom);
            }
            assert_eq!(writer.atom_refs(), atoms(message));
            let numbers: Vec<u8> = (0..message.len() as u8).flat_map(|number| [82, number]).collect();
            assert_eq!(writer.as_slice(), Some(&numbers.repeat(2)[..]), "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn a_kept_writer_numbers_atoms_as_a_new_one_does(
            messages in vec(vec(0..12_u8, 0..24), 1..8),
        ) {
            let mut kept = Writer::default();
            for message in messages {
                let mut new = Writer::with_atom_refs();
                kept.begin(true);
                for letter in message {
                    let atom = Atom::new(&char::from(b'a' + letter).to_string()).unwrap();
                    new.atom(&atom);
                    kept.atom(&atom);
                }
                prop_assert_eq!(kept.atom_refs(), new.atom_refs());
                prop_assert_eq!(kept.as_slice(), new.as_slice());
            }
        }
    }

    #[test]
    fn an_atom_of_any_length_is_its_text_and_nothing_behind_it() {
        for len in 0..=64_u8 {
            let text: String = ('a'..='z').cycle().take(len.into()).collect();
            let mut writer = Writer::new();
            writer.atom(&Atom::new(&text).unwrap());
            writer.atom(&Atom::from_static("end"));
            let whole = [&[119, len], text.as_bytes(), b"w\x03end"].concat();
            assert_eq!(writer.as_slice(), Some(&whole[..]), "SMALL_ATOM_UTF8_EXT of {len} bytes");
        }
    }
}
