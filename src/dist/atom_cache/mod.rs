//! The atom cache of a connection, one table a direction, and the part of the distribution header that keeps it.
//!
//! Source: *Distribution Protocol*, "Distribution Header".

use bytes::{BufMut, BytesMut};
use smallvec::SmallVec;

use crate::etf::Atoms;
use crate::term::{Atom, text_hash};

/// How many earlier headers are known by heart: the signals of a few processes have few different ones.
const KNOWN: usize = 256;

/// Headers of so many atoms are written at once.
const FEW: usize = 8;

/// The most bytes of a header that is kept.
const KNOWN_LEN_MAX: usize = 32;

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

    /// `slot` is below [`SLOTS`].
    fn set(&mut self, slot: u16, atom: Atom) {
        let place = &mut self.places[usize::from(slot)];
        if let Some(place) = usize::from(*place).checked_sub(1) {
            self.atoms[place] = atom;
        } else {
            self.atoms.push(atom);
            *place = self.atoms.len() as u16;
        }
    }
}

/// What the peer's headers have put into the cache.
#[derive(Debug)]
pub(crate) struct ReceiveCache {
    slots: Slots,
    /// Headers without new entries, and what they stand for, where their hash says. A slot that is given a new text makes them void.
    known: Vec<(SmallVec<[u8; KNOWN_LEN_MAX]>, Atoms)>,
    /// Where a header's atoms are gathered.
    gathered: Vec<Atom>,
}

impl ReceiveCache {
    pub(crate) fn new() -> Self {
        Self { slots: Slots::new(), known: Vec::new(), gathered: Vec::new() }
    }

    /// Reads the atoms of a header off the front of `input`, which begins with their number.
    pub(crate) fn read_header(&mut self, input: &mut &[u8]) -> Result<Atoms, HeaderError> {
        let whole = *input;
        let n = usize::from(take::<1>(input)?[0]);
        if n == 0 {
            return Ok(Atoms::default());
        }
        // As long as this if it has nothing new.
        let len = 1 + n / 2 + 1 + n;
        let same = whole.get(..len).filter(|_| len <= KNOWN_LEN_MAX);
        let place = same.map_or(0, |same| text_hash(same) as usize % KNOWN);
        if let (Some(same), Some((known, atoms))) = (same, self.known.get(place))
            && known[..] == *same
        {
            *input = &whole[len..];
            return Ok(atoms.clone());
        }
        let flags = take_slice(input, n / 2 + 1)?;
        // The length of `flags` covers every index up to and including `n`.
        let half = |i: usize| flags.get(i / 2).map_or(0, |byte| byte >> (4 * (i % 2)) & 0xf);
        let long_atoms = half(n) & LONG_ATOMS != 0;
        let mut changed = false;

        self.gathered.clear();
        for i in 0..n {
            let segment = u16::from(half(i) & !NEW_ENTRY);
            let slot = segment << 8 | u16::from(take::<1>(input)?[0]);
            if half(i) & NEW_ENTRY != 0 {
                let len =
                    if long_atoms { u16::from_be_bytes(take(input)?) } else { take::<1>(input)?[0].into() };
                let text = take_slice(input, len.into())?;
                changed = true;
                let atom = std::str::from_utf8(text).ok().and_then(|text| Atom::new(text).ok());
                // Three bits of segment and eight: there is such a slot.
                self.slots.set(slot, atom.ok_or(HeaderError::NotAnAtom(slot))?);
            }
            self.gathered.push(self.slots.get(slot).cloned().ok_or(HeaderError::EmptySlot(slot))?);
        }
        let atoms = Atoms::from(&self.gathered[..]);
        if changed {
            self.known.clear();
        } else if let Some(same) = same {
            if self.known.is_empty() {
                self.known.resize_with(KNOWN, Default::default);
            }
            self.known[place] = (same.into(), atoms.clone());
        }
        Ok(atoms)
    }
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
}

impl SendCache {
    pub(crate) fn new() -> Self {
        Self { slots: Slots::new() }
    }

    /// Writes the atoms of a header, at most [`HEADER_ATOMS_MAX`] distinct ones, and gives them slots. Headers must be sent in the
    /// order in which they are written.
    pub(crate) fn write_header(&mut self, atoms: &[Atom], out: &mut BytesMut) {
        debug_assert!(atoms.len() <= HEADER_ATOMS_MAX);
        if atoms.len() <= FEW && self.write_known(atoms, out) {
            return;
        }
        out.put_u8(atoms.len() as u8);
        if atoms.is_empty() {
            return;
        }
        // Their slots, and whether they are new.
        let mut refs = SmallVec::<[(u16, bool); 16]>::new();
        let mut long_atoms = false;
        for atom in atoms {
            let mut slot = home_slot(atom);
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
    /// Writes the header of a few atoms that are all in their first places already, as those of most signals are.
    fn write_known(&self, atoms: &[Atom], out: &mut BytesMut) -> bool {
        let mut header = [0; 1 + FEW / 2 + 1 + FEW];
        header[0] = atoms.len() as u8;
        let refs = 1 + atoms.len() / 2 + 1;
        for (i, atom) in atoms.iter().enumerate() {
            // Two different atoms are not in one place.
            let slot = home_slot(atom);
            if self.slots.get(slot) != Some(atom) {
                return false;
            }
            header[1 + i / 2] |= ((slot >> 8) as u8) << (4 * (i % 2));
            header[refs + i] = slot as u8;
        }
        let len = if atoms.is_empty() { 1 } else { refs + atoms.len() };
        out.put_slice(&header[..len]);
        true
    }
}

/// Where an atom goes first. It is fixed, so that the same run sends the same bytes.
fn home_slot(atom: &Atom) -> u16 {
    (atom.text_hash() % SLOTS as u32) as u16
}

#[cfg(test)]
mod tests;
