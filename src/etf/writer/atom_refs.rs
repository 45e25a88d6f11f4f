//! The atoms of a packet by number.

use std::cell::Cell;
use std::hint::cold_path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::term::Atom;

/// A distribution header has at most 255 atoms.
const ATOM_REFS_MAX: usize = 255;

/// So many atoms are looked through one by one.
const FEW: usize = 8;

/// So many uses of atoms are remembered from the packet before.
const USES: usize = 16;

/// Slots of the table by which the number of a further one is found.
const SLOTS: usize = 512;

/// The distinct atoms of one distribution packet, in the order of their first use: at most 255; later ones are
/// spelled out in the term.
#[derive(Debug, Default)]
pub struct AtomRefs {
    /// Behind the packet's own may be those of the packet before, from when the next one has the same.
    atoms: Vec<Atom>,
    count: usize,
    /// The numbers that the first uses got in this packet, and behind them those in the one before: most packets are like it.
    uses: [u8; USES],
    used: usize,
    /// Open addressing by a hash of the text: number + 1, or 0 for a free slot. Empty as long as few atoms are there.
    slots: Vec<u8>,
    /// Of the atoms, those behind the packet's own included: another one since one of them was added, and that of no other atoms.
    /// 0 as long as there are none.
    version: u64,
}

/// Which atoms a packet has: two that are equal are of the same ones, in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListId {
    version: u64,
    count: usize,
}

/// So many versions are a thread's own.
const VERSIONS: u64 = 1 << 32;

thread_local! {
    static LAST_VERSION: Cell<u64> = const { Cell::new(0) };
}

fn next_version() -> u64 {
    static THREADS: AtomicU64 = AtomicU64::new(0);
    LAST_VERSION.with(|last| {
        let next = if last.get() % VERSIONS == 0 {
            cold_path();
            THREADS.fetch_add(1, Ordering::Relaxed) * VERSIONS + 1
        } else {
            last.get() + 1
        };
        last.set(next);
        next
    })
}

/// How many atoms a packet has had so far, and how many uses of them are remembered.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AtomsUsed {
    count: usize,
    used: usize,
}

impl AtomRefs {
    /// `None` if there are none.
    #[inline]
    pub(crate) fn list(&self) -> Option<ListId> {
        (self.version != 0).then_some(ListId { version: self.version, count: self.count })
    }

    pub(super) fn used(&self) -> AtomsUsed {
        AtomsUsed { count: self.count, used: self.used }
    }

    /// Begins the next packet with those atoms of this one, if they are as few as is remembered of a packet.
    #[inline]
    pub(super) fn resume(&mut self, used: AtomsUsed) -> bool {
        if self.count > FEW || self.count < used.count {
            return false;
        }
        (self.count, self.used) = (used.count, used.used);
        true
    }

    /// The atoms, by their number in the packet.
    pub fn atoms(&self) -> &[Atom] {
        &self.atoms[..self.count]
    }

    /// Begins the next packet.
    #[inline]
    pub(super) fn begin(&mut self) {
        if self.count > FEW {
            cold_path();
            *self = Self::default();
        }
        self.count = 0;
        self.used = 0;
    }

    /// The number of an atom; `None` if the header is full.
    #[inline(always)]
    pub(super) fn number(&mut self, atom: &Atom) -> Option<u8> {
        if let Some(number) = self.uses.get(self.used).copied().map(usize::from)
            && number <= self.count
            && let Some(same) = self.atoms.get(number)
            && same == atom
        {
            self.used += 1;
            self.count = self.count.max(number + 1);
            return Some(number as u8);
        }
        cold_path();
        self.other_use(atom)
    }

    /// As [`AtomRefs::number`], where the packet before had another atom, or none.
    #[inline(never)]
    fn other_use(&mut self, atom: &Atom) -> Option<u8> {
        let first = &self.atoms[..self.count.min(FEW)];
        let number = match first.iter().position(|it| it == atom) {
            Some(number) => number as u8,
            None => self.add(atom)?,
        };
        if let Some(place) = self.uses.get_mut(self.used) {
            *place = number;
            self.used += 1;
        }
        Some(number)
    }

    fn add(&mut self, atom: &Atom) -> Option<u8> {
        if self.count < FEW {
            if self.atoms.get(self.count) != Some(atom) {
                self.atoms.truncate(self.count);
                self.atoms.push(atom.clone());
                self.version = next_version();
            }
            self.count += 1;
            return Some(self.count as u8 - 1);
        }
        if self.slots.is_empty() {
            self.slots = vec![0; SLOTS];
            for number in 0..self.count {
                let slot = self.slot(&self.atoms[number]);
                self.slots[slot] = number as u8 + 1;
            }
        }
        let slot = self.slot(atom);
        if self.slots[slot] != 0 {
            return Some(self.slots[slot] - 1);
        }
        if self.count == ATOM_REFS_MAX {
            return None;
        }
        self.atoms.push(atom.clone());
        self.version = next_version();
        self.count += 1;
        self.slots[slot] = self.count as u8;
        Some(self.slots[slot] - 1)
    }

    /// The slot of an atom, or the free one where it belongs. With 255 atoms at most half of the slots are taken: whoever picks
    /// colliding atoms slows his own packet by at most 255 steps an atom.
    fn slot(&self, atom: &Atom) -> usize {
        let mut slot = atom.text_hash() as usize % SLOTS;
        while self.slots[slot] != 0 && self.atoms[usize::from(self.slots[slot]) - 1] != *atom {
            slot = (slot + 1) % SLOTS;
        }
        slot
    }
}
