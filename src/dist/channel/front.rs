//! What the packets of two messages begin with that follow one another to the same process.

use std::hint::cold_path;

use crate::dist::{Control, Flags, Target};
use crate::etf::{Checkpoint, Reader, Writer};
use crate::term::{Atom, Pid, Reference};

/// A distribution header of a few atoms and the longest control message have no more.
const LEN_MAX: usize = 64;

/// The bytes of one word of an alias.
const WORD_LEN: usize = 4;

/// What the last packet began with: a distribution header without new entries, and a message's control message. A packet that begins with the
/// same says the same, and is not read again. The words of an alias follow it, as each call has others.
#[derive(Debug)]
pub(super) struct ReadFront {
    bytes: [u8; LEN_MAX],
    /// 0 if nothing is known.
    len: usize,
    words_len: usize,
}

impl ReadFront {
    pub(super) fn new() -> Self {
        Self { bytes: [0; LEN_MAX], len: 0, words_len: 0 }
    }

    /// Nothing is known of the next packet.
    #[inline]
    pub(super) fn forget(&mut self) {
        self.len = 0;
    }

    /// What ends with the control message from `start` on was read as this.
    #[inline]
    pub(super) fn learn(&mut self, front: &[u8], start: usize, atoms: &[Atom], control: &Control) {
        let words_len = match control {
            Control::Send { to: Target::Pid(_) | Target::Name(_), .. } => 0,
            Control::Send { to: Target::Alias(alias), .. }
                if ends_with_alias(front.get(start..).unwrap_or_default(), atoms) =>
            {
                WORD_LEN * alias.words().len()
            }
            _ => return,
        };
        let len = front.len() - words_len;
        if let Some(bytes) = self.bytes.get_mut(..len) {
            bytes.copy_from_slice(&front[..len]);
            (self.len, self.words_len) = (len, words_len);
        }
    }

    /// If a packet begins with the same: where its payload begins. What the last packet was read as is made what this one says.
    #[inline]
    pub(super) fn read(&self, packet: &[u8], control: &mut Control) -> Option<usize> {
        let known = self.bytes.get(..self.len)?;
        if known.is_empty() || packet.get(..known.len())? != known {
            cold_path();
            return None;
        }
        let Control::Send { to, message, .. } = control else { return None };
        if !message.is_empty() {
            cold_path();
            return None;
        }
        if self.words_len == 0 {
            return Some(self.len);
        }
        let Target::Alias(alias) = to else { return None };
        let end = self.len + self.words_len;
        alias.set_words(packet.get(self.len..end)?);
        Some(end)
    }
}

/// Whether a control message that goes to an alias ends with its words, which it does in its usual form.
#[inline]
fn ends_with_alias(control: &[u8], atoms: &[Atom]) -> bool {
    let mut reader = Reader::new(control, atoms);
    let usual = reader.short_operation().is_some()
        && reader.short_pid().is_some()
        && reader.short_reference().is_some();
    usual && reader.offset() == control.len()
}

/// The control message of a message to which the writer can go back that has encoded it: the next signal begins with the same if it is a
/// message of the same process to the same. The words of an alias are written anew.
#[derive(Default)]
pub(super) struct WrittenFront(Option<Written>);

struct Written {
    flags: Flags,
    from: Pid,
    to: Target,
    end: Checkpoint,
}

impl WrittenFront {
    /// The writer begins anew.
    #[inline]
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    /// `writer` has just written this control message.
    #[inline]
    pub(super) fn learn<P>(&mut self, flags: Flags, control: &Control<P>, writer: &Writer) {
        self.0 = match control {
            Control::Send { from: Some(from), to, priority: false, .. }
                if flags.contains(Flags::DIST_HDR_ATOM_CACHE) =>
            {
                let words_len =
                    if let Target::Alias(alias) = to { WORD_LEN * alias.words().len() } else { 0 };
                let end = writer.checkpoint(words_len);
                Some(Written { flags, from: from.clone(), to: to.clone(), end })
            }
            _ => None,
        };
    }

    /// Has `writer` go back to the control message that it has written last, if that is `control`, too. Returns the payload that follows it.
    #[inline(always)]
    pub(super) fn resume<'a, P>(
        &self,
        flags: Flags,
        control: &'a Control<P>,
        writer: &mut Writer,
    ) -> Option<&'a P> {
        let Some(written) = &self.0 else {
            cold_path();
            return None;
        };
        let Control::Send { from: Some(from), to, message, priority: false } = control else {
            cold_path();
            return None;
        };
        if written.flags != flags || written.from != *from {
            cold_path();
            return None;
        }
        let words: &[u32] = match (&written.to, to) {
            (Target::Alias(written), Target::Alias(alias)) if alike(written, alias) => alias.words(),
            (written, to) if written == to => &[],
            _ => {
                cold_path();
                return None;
            }
        };
        if !writer.resume(&written.end) {
            cold_path();
            return None;
        }
        if let [a, b, c, d] = words {
            // As those of processes have: no loop is left.
            writer.raw([a, b, c, d].map(|word| word.to_be_bytes()).as_flattened());
            return Some(message);
        }
        for word in words {
            cold_path();
            writer.raw(&word.to_be_bytes());
        }
        Some(message)
    }
}

/// Whether two references are the same but for what their words are.
#[inline(always)]
fn alike(one: &Reference, other: &Reference) -> bool {
    one.node == other.node && one.creation == other.creation && one.words().len() == other.words().len()
}
