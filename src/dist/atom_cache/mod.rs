//! The atom cache of a connection, one table a direction, and the part of the distribution header that keeps it.
//!
//! Source: *Distribution Protocol*, "Distribution Header".

use std::borrow::Borrow;
use std::hint::cold_path;

use bytes::BufMut;
use smallvec::SmallVec;

use crate::etf::{Atoms, ListId};
use crate::term::Atom;

/// How many earlier headers are known by heart: the signals of a few hundred processes have few different ones.
const KNOWN: usize = 512;

/// So many places are looked at for one: the headers that look for it there push one another out.
const WAYS: usize = 4;

/// An atom is in one of so many slots.
const PROBES: u16 = 4;

/// Headers of so many atoms are written at once.
const FEW: usize = 8;

/// The cache has 8 segments of 256 slots.
const SLOTS: usize = 8 * 256;

/// In the half byte of flags that an atom has: the slot is given a new text. The other three bits are the segment.
const NEW_ENTRY: u8 = 0b1000;

/// In the half byte after that of the last atom: new texts have a length of 16 bits instead of 8.
const LONG_ATOMS: u8 = 0b0001;

/// The most atoms that one header can list: their number is a byte.
pub(crate) const HEADER_ATOMS_MAX: usize = 255;

/// A distribution header that breaks the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The packet ends within it.
    #[error("the packet ends within the distribution header")]
    Truncated,
    /// It refers to a slot that was never filled.
    #[error("the atom cache has nothing in slot {0}")]
    EmptySlot(u16),
    /// A new entry is no atom: no UTF-8, or more than 255 characters.
    #[error("what the header puts into slot {0} of the atom cache is no atom")]
    NotAnAtom(u16),
}

/// What is in the slots. A connection uses few of them, and their atoms are kept together: with many connections none of them stays in
/// the processor's cache for long.
#[derive(Debug)]
struct Slots {
    /// For each slot, where its atom is, counted from 1; 0 for an empty one.
    places: Box<[u16]>,
    atoms: Vec<Atom>,
}

impl Slots {
    fn new() -> Self {
        Self { places: vec![0; SLOTS].into(), atoms: Vec::new() }
    }

    fn get(&self, slot: u16) -> Option<&Atom> {
        let place = usize::from(*self.places.get(usize::from(slot))?);
        self.atoms.get(place.checked_sub(1)?)
    }

    /// `slot` is below [`SLOTS`]. Returns whether it had an atom before.
    fn set(&mut self, slot: u16, atom: Atom) -> bool {
        let place = &mut self.places[usize::from(slot)];
        if let Some(place) = usize::from(*place).checked_sub(1) {
            self.atoms[place] = atom;
            return true;
        }
        self.atoms.push(atom);
        *place = self.atoms.len() as u16;
        false
    }
}

/// A header without new entries, as far as it fits here: of up to 15 atoms.
type Key = [u64; 3];

/// What the peer's headers have put into the cache.
#[derive(Debug)]
pub(crate) struct ReceiveCache {
    slots: Slots,
    /// Headers without new entries, and what they stand for, in one of the places where their hash says.
    known: Vec<Known>,
    /// So often was a slot given another text, which makes all that is known void.
    changes: u64,
    /// Which of its places the next header takes that has none.
    turn: usize,
    /// Where a header's atoms are gathered.
    gathered: Vec<Atom>,
    /// What the header that was read last stands for.
    last: Last,
}

#[derive(Debug, Default)]
struct Known {
    key: Key,
    changes: u64,
    atoms: Atoms,
}

#[derive(Debug)]
enum Last {
    /// It is known, in this place.
    Known(usize),
    Gathered,
}

impl ReceiveCache {
    pub(crate) fn new() -> Self {
        let (slots, last) = (Slots::new(), Last::Gathered);
        Self { slots, known: Vec::new(), changes: 0, turn: 0, gathered: Vec::new(), last }
    }

    /// Reads a header off the front of `input`, which begins with the number of its atoms.
    #[inline]
    pub(crate) fn read_header(&mut self, input: &mut &[u8]) -> Result<(), HeaderError> {
        let Some((key, rest)) = key(input) else {
            cold_path();
            return self.learn(input, None);
        };
        let first = set_of(&key);
        let places = self.known.get(first..first + WAYS).unwrap_or_default();
        if let Some(way) = places.iter().position(|it| it.key == key && it.changes == self.changes) {
            self.last = Last::Known(first + way);
            *input = rest;
            return Ok(());
        }
        cold_path();
        self.learn(input, Some(&key))
    }

    /// Reads a header that is not known, and will be if it has a key and no new entry.
    #[inline(never)]
    fn learn(&mut self, input: &mut &[u8], key: Option<&Key>) -> Result<(), HeaderError> {
        self.last = Last::Gathered;
        let new = self.gather(input)?;
        let Some(key) = key.filter(|_| !new) else { return Ok(()) };
        if self.known.is_empty() {
            self.known.resize_with(KNOWN, Default::default);
        }
        self.turn += 1;
        let place = set_of(key) + self.turn % WAYS;
        let atoms = Atoms::from(&self.gathered[..]);
        self.known[place] = Known { key: *key, changes: self.changes, atoms };
        self.last = Last::Known(place);
        Ok(())
    }

    /// Reads a header by the slots that it names. Returns whether it has a new entry.
    fn gather(&mut self, input: &mut &[u8]) -> Result<bool, HeaderError> {
        self.gathered.clear();
        let n = usize::from(take::<1>(input)?[0]);
        if n == 0 {
            return Ok(false);
        }
        let flags = take_slice(input, n / 2 + 1)?;
        // The length of `flags` covers every index up to and including `n`.
        let half = |i: usize| flags.get(i / 2).map_or(0, |byte| byte >> (4 * (i % 2)) & 0xf);
        let long_atoms = half(n) & LONG_ATOMS != 0;
        let mut new = false;
        for i in 0..n {
            let segment = u16::from(half(i) & !NEW_ENTRY);
            let slot = segment << 8 | u16::from(take::<1>(input)?[0]);
            if half(i) & NEW_ENTRY != 0 {
                let len =
                    if long_atoms { u16::from_be_bytes(take(input)?) } else { take::<1>(input)?[0].into() };
                let text = take_slice(input, len.into())?;
                new = true;
                let atom = std::str::from_utf8(text).ok().and_then(|text| Atom::new(text).ok());
                // Three bits of segment and eight: there is such a slot.
                if self.slots.set(slot, atom.ok_or(HeaderError::NotAnAtom(slot))?) {
                    self.changes += 1;
                }
            }
            self.gathered.push(self.slots.get(slot).cloned().ok_or(HeaderError::EmptySlot(slot))?);
        }
        Ok(new)
    }

    /// The atoms of the header that was read last.
    #[inline]
    pub(crate) fn atoms(&self) -> &[Atom] {
        match self.last {
            Last::Known(place) => &self.known[place].atoms,
            Last::Gathered => &self.gathered,
        }
    }

    /// They, if that header has no new entry and is known: the next one that is the same stands for them, too.
    #[inline]
    pub(crate) fn known_atoms(&self) -> Option<&[Atom]> {
        match self.last {
            Last::Known(place) => Some(&self.known[place].atoms),
            Last::Gathered => None,
        }
    }

    /// They, for a payload to keep.
    #[inline]
    pub(crate) fn shared_atoms(&self) -> Atoms {
        match self.last {
            Last::Known(place) => self.known[place].atoms.clone(),
            Last::Gathered => Atoms::from(&self.gathered[..]),
        }
    }
}

/// The header that `input` begins with, and what follows it, if it is short and has no new entry. One that has is never known: its flags
/// say so.
#[inline]
fn key(input: &[u8]) -> Option<(Key, &[u8])> {
    let n = usize::from(*input.first()?);
    let len = 1 + n / 2 + 1 + n;
    let bytes = input.first_chunk::<{ size_of::<Key>() }>()?;
    if n == 0 || len > bytes.len() {
        return None;
    }
    let (words, _) = bytes.as_chunks::<8>();
    let word = |at: usize| {
        let bits = 8 * len.saturating_sub(8 * at).min(8) as u32;
        u64::from_le_bytes(words[at]) & u64::MAX.checked_shr(64 - bits).unwrap_or(0)
    };
    Some(([word(0), word(1), word(2)], &input[len..]))
}

/// The first of the places of a header.
#[inline]
fn set_of(key: &Key) -> usize {
    let hash = key.iter().fold(0, |hash: u64, word| {
        let product = u128::from(hash ^ word ^ 0xcbf2_9ce4_8422_2325) * 0x9E37_79B9_7F4A_7C15;
        (product as u64) ^ (product >> 64) as u64
    });
    hash as usize % (KNOWN / WAYS) * WAYS
}

fn take<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], HeaderError> {
    let (head, rest) = input.split_first_chunk().ok_or(HeaderError::Truncated)?;
    *input = rest;
    Ok(*head)
}

fn take_slice<'a>(input: &mut &'a [u8], len: usize) -> Result<&'a [u8], HeaderError> {
    let (head, rest) = input.split_at_checked(len).ok_or(HeaderError::Truncated)?;
    *input = rest;
    Ok(head)
}

/// What our headers have put into the peer's cache.
#[derive(Debug)]
pub(crate) struct SendCache {
    slots: Slots,
    /// The last header of few atoms without new ones, and what it is by heart from its second time in a row on, as those of one kind of
    /// signal follow one another. Void when a slot is given a text.
    last: FewRefs,
    by_heart: Vec<Atom>,
    /// What that header's atoms were when it was written last, if that was said.
    list: Option<ListId>,
}

/// A header of few atoms without new ones, and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct FewRefs {
    bytes: [u8; 1 + FEW / 2 + 1 + FEW],
    len: u8,
}

impl SendCache {
    pub(crate) fn new() -> Self {
        Self { slots: Slots::new(), last: FewRefs::default(), by_heart: Vec::new(), list: None }
    }

    /// Writes the atoms of a header, at most [`HEADER_ATOMS_MAX`] distinct ones, and gives them slots. Headers must be sent in the
    /// order in which they are written. `list` says which atoms they are, if that is known: of the same ones as the last time they are not
    /// looked at.
    #[inline(always)]
    pub(crate) fn write_header<A: Borrow<Atom>>(
        &mut self,
        atoms: &[A],
        list: Option<ListId>,
        out: &mut Vec<u8>,
    ) {
        debug_assert!(atoms.len() <= HEADER_ATOMS_MAX);
        if atoms.is_empty() {
            cold_path();
            out.put_u8(0);
            return;
        }
        if atoms.len() <= FEW && self.write_known(atoms, list, out) {
            return;
        }
        cold_path();
        self.write_new(atoms, out);
    }

    /// Writes a header some of whose atoms may be new.
    #[inline(never)]
    fn write_new<A: Borrow<Atom>>(&mut self, atoms: &[A], out: &mut Vec<u8>) {
        self.by_heart.clear();
        self.list = None;
        out.put_u8(atoms.len() as u8);
        // Their slots, and whether they are new.
        let mut refs = SmallVec::<[(u16, bool); 16]>::new();
        let mut long_atoms = false;
        for atom in atoms {
            let atom: &Atom = atom.borrow();
            let (mut slot, _) = self.slot(atom);
            // An atom replaces whatever is in its slot, but not an atom of this same header: a receiver may fill its table before
            // it resolves the references.
            while refs.iter().any(|&(used, _)| used == slot) {
                slot = (slot + 1) % SLOTS as u16;
            }
            let new = self.slots.get(slot) != Some(atom);
            if new {
                self.slots.set(slot, atom.clone());
                long_atoms |= atom.len() > usize::from(u8::MAX);
            }
            refs.push((slot, new));
        }

        let half = |&(slot, new): &(u16, bool)| (slot >> 8) as u8 | if new { NEW_ENTRY } else { 0 };
        let last = if long_atoms { LONG_ATOMS } else { 0 };
        let mut halves = refs.iter().map(half).chain([last]);
        while let Some(low) = halves.next() {
            out.put_u8(low | halves.next().unwrap_or(0) << 4);
        }
        for (atom, &(slot, new)) in atoms.iter().zip(&refs) {
            let atom: &Atom = atom.borrow();
            out.put_u8(slot as u8);
            if !new {
                continue;
            }
            if long_atoms {
                out.put_u16(atom.len() as u16);
            } else {
                out.put_u8(atom.len() as u8);
            }
            out.put_slice(atom.as_bytes());
        }
    }
}

impl SendCache {
    /// Where an atom is, or goes: to the first of a few slots that is free, so that two do not push each other out as long as there is
    /// room, and else to the first of them. And whether it is there.
    #[inline]
    #[hot(relations)]
    fn slot(&self, atom: &Atom) -> (u16, bool) {
        let home = home_slot(atom);
        if self.slots.get(home) == Some(atom) { (home, true) } else { self.slot_behind(home, atom) }
    }

    #[inline(never)]
    fn slot_behind(&self, home: u16, atom: &Atom) -> (u16, bool) {
        for step in 0..PROBES {
            let slot = (home + step) % SLOTS as u16;
            match self.slots.get(slot) {
                None => return (slot, false),
                Some(other) if other == atom => return (slot, true),
                Some(_) => {}
            }
        }
        (home, false)
    }

    /// Writes the header of a few atoms that are all in their places already, as those of most signals are.
    #[hot]
    fn write_known<A: Borrow<Atom>>(&mut self, atoms: &[A], list: Option<ListId>, out: &mut Vec<u8>) -> bool {
        if list.is_none() || self.list != list {
            let same = self.by_heart.len() == atoms.len()
                && self.by_heart.iter().zip(atoms).all(|(known, atom)| known == atom.borrow());
            if !same {
                cold_path();
                if !self.find_known(atoms) {
                    return false;
                }
            }
            self.list = list;
        }
        // All of its room, and the rest taken back: a copy of a length known to the compiler takes no call.
        let end = out.len() + usize::from(self.last.len);
        out.put_slice(&self.last.bytes);
        out.truncate(end);
        true
    }

    /// Has that header be the last one.
    #[inline(never)]
    #[hot(relations)]
    fn find_known<A: Borrow<Atom>>(&mut self, atoms: &[A]) -> bool {
        let refs = 1 + atoms.len() / 2 + 1;
        let mut header = FewRefs { len: (refs + atoms.len()) as u8, ..FewRefs::default() };
        header.bytes[0] = atoms.len() as u8;
        for (i, atom) in atoms.iter().enumerate() {
            let atom: &Atom = atom.borrow();
            // Two different atoms are not in one place.
            let (slot, true) = self.slot(atom) else { return false };
            header.bytes[1 + i / 2] |= ((slot >> 8) as u8) << (4 * (i % 2));
            header.bytes[refs + i] = slot as u8;
        }
        self.by_heart.clear();
        if self.last == header {
            self.by_heart.extend(atoms.iter().map(|atom| atom.borrow().clone()));
        }
        self.last = header;
        true
    }
}

/// Where an atom goes first. It is fixed, so that the same run sends the same bytes.
fn home_slot(atom: &Atom) -> u16 {
    (atom.text_hash() % SLOTS as u32) as u16
}

#[cfg(test)]
mod tests;
