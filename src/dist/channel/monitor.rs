//! Monitors out. Each call sets one up and takes it back, so they are written straight into the chunk, where other signals are encoded
//! in their sender's task first.
//!
//! Source: *Distribution Protocol*, "New Ctrlmessages for Erlang/OTP" (MONITOR_P, DEMONITOR_P).

use smallvec::SmallVec;

use super::sender::Sender;
use crate::dist::control::op;
use crate::dist::{Control, Flags, Item};
use crate::etf::{ATOM_CACHE_REF, NEW_PID_EXT, NEWER_REFERENCE_EXT, SMALL_INTEGER_EXT, SMALL_TUPLE_EXT};
use crate::term::{Atom, Pid, REFERENCE_WORDS_MAX, Reference};

/// The tuple with its operation, two pids and a reference.
const TERMS_LEN_MAX: usize = 4 + 2 * PID_LEN + 9 + 4 * REFERENCE_WORDS_MAX;
const PID_LEN: usize = 15;

/// The control tuple of a monitor, and the atoms in it.
struct Terms<'a> {
    bytes: [u8; TERMS_LEN_MAX],
    len: usize,
    atoms: SmallVec<[&'a Atom; 3]>,
}

impl<'a> Terms<'a> {
    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.bytes[self.len..self.len + N].copy_from_slice(&bytes);
        self.len += N;
    }

    /// The number of an atom.
    #[inline]
    #[hot(relations)]
    fn number(&mut self, atom: &'a Atom) -> u8 {
        let found = self.atoms.iter().position(|it| *it == atom);
        if found.is_none() {
            self.atoms.push(atom);
        }
        found.unwrap_or(self.atoms.len() - 1) as u8
    }

    #[inline]
    fn pid(&mut self, pid: &'a Pid) {
        let mut bytes =
            [NEW_PID_EXT, ATOM_CACHE_REF, self.number(&pid.node), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes[3..7].copy_from_slice(&pid.id.to_be_bytes());
        bytes[7..11].copy_from_slice(&pid.serial.to_be_bytes());
        bytes[11..].copy_from_slice(&pid.creation.to_be_bytes());
        self.put::<PID_LEN>(bytes);
    }

    #[inline]
    fn reference(&mut self, reference: &'a Reference) {
        let words = reference.words();
        let mut bytes = [
            NEWER_REFERENCE_EXT,
            0,
            words.len() as u8,
            ATOM_CACHE_REF,
            self.number(&reference.node),
            0,
            0,
            0,
            0,
        ];
        bytes[5..].copy_from_slice(&reference.creation.to_be_bytes());
        self.put(bytes);
        for word in words {
            self.put(word.to_be_bytes());
        }
    }
}

impl Sender {
    /// Queues a monitor or the end of one, if `control` is one and can be written at once. Returns whether it was.
    #[hot(relations)]
    pub(crate) fn push_monitor<P>(&mut self, sender: Option<&Pid>, control: &Control<P>) -> bool {
        let (operation, from, item, reference) = match control {
            Control::Monitor { from, item, reference } => (op::MONITOR_P, from, item, reference),
            Control::Demonitor { from, item, reference } => (op::DEMONITOR_P, from, item, reference),
            _ => return false,
        };
        if !self.flags().contains(Flags::DIST_HDR_ATOM_CACHE) || self.waits(sender) {
            return false;
        }
        let mut terms = Terms { bytes: [0; TERMS_LEN_MAX], len: 0, atoms: SmallVec::new() };
        terms.put([SMALL_TUPLE_EXT, 4, SMALL_INTEGER_EXT, operation]);
        terms.pid(from);
        match item {
            Item::Pid(pid) => terms.pid(pid),
            Item::Name(name) => {
                let number = terms.number(name);
                terms.put([ATOM_CACHE_REF, number]);
            }
        }
        terms.reference(reference);
        self.push_terms(&terms.atoms, None, &terms.bytes[..terms.len]);
        true
    }
}
