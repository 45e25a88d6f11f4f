//! Validation of a whole term in one pass: what stands between a peer's bytes and all that trusts them.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::hint::cold_path;

use smallvec::SmallVec;

use super::{AtomText, Reader, Token};
use crate::etf::decode;
use crate::etf::tags::*;
use crate::etf::{DecodeError, DecodeErrorKind, Limits};
use crate::term::REFERENCE_WORDS_MAX;

/// The longest term that is skipped without a stack.
const SHORT: usize = 256;

/// A container whose values are being read.
#[derive(Clone, Copy)]
struct Frame {
    /// Values still to come; those of a map are its keys and values.
    left: usize,
    kind: Kind,
    /// For a map, where its keys begin in the stack of keys.
    keys: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    /// The elements of a list; its tail is still to come.
    List,
    Tail,
    Map,
}

/// What can be said of a map's keys at first sight.
enum Keys {
    Distinct,
    Equal(usize),
    /// There are keys among them that have more than one form on the wire.
    Unclear,
}

/// A key that can be compared as it stands on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PlainKey<'a> {
    Integer(i64),
    Atom(&'a [u8]),
    Binary(&'a [u8]),
    String(&'a [u8]),
}

impl PlainKey<'_> {
    fn hash(&self) -> u64 {
        // An odd number with its bits well mixed: of the golden ratio.
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let mix = |hash: u64, word: u64| {
            let mixed = (hash ^ word).wrapping_mul(FACTOR);
            mixed ^ (mixed >> 32)
        };
        let (kind, text) = match *self {
            Self::Integer(value) => return mix(0, value as u64),
            Self::Atom(text) => (1, text),
            Self::Binary(text) => (2, text),
            Self::String(text) => (3, text),
        };
        let (words, last) = text.as_chunks::<8>();
        let whole = words.iter().fold(kind, |hash, word| mix(hash, u64::from_le_bytes(*word)));
        // The length tells a short last word from one with zeros.
        let last = last.iter().fold(text.len() as u64, |word, byte| (word << 8) | u64::from(*byte));
        mix(whole, last)
    }
}

impl<'a> Reader<'a> {
    /// Skips one whole term, checking all of it against `limits`, without recursion. All that is wrong with a term is found here.
    ///
    /// # Errors
    /// If the bytes there are not a term, or go past a limit.
    #[hot]
    pub fn skip(&mut self, limits: &Limits) -> Result<(), DecodeError> {
        if self.rest.len() <= SHORT && self.skip_short(limits) {
            return Ok(());
        }
        cold_path();
        self.skip_any(limits)
    }

    /// As [`skip`](Self::skip), of any length, with a stack.
    #[inline(never)]
    fn skip_any(&mut self, limits: &Limits) -> Result<(), DecodeError> {
        let start = self.clone();
        let mut stack: SmallVec<[Frame; 16]> = SmallVec::new();
        let mut keys: SmallVec<[&'a [u8]; 16]> = SmallVec::new();
        let mut top = Frame { left: 1, kind: Kind::Plain, keys: 0 };
        let (mut values, mut atoms, mut unclear) = (1_usize, 0_usize, false);
        let depth = limits.depth as usize;
        loop {
            let run = if stack.is_empty() { 0 } else { top.left - 1 };
            atoms += self.skip_flat(&mut top, run, &mut keys);
            let at = self.offset();
            if top.kind == Kind::Map && top.left.is_multiple_of(2) {
                keys.push(self.rest);
            }
            top.left -= 1;
            let tag = self.u8()?;
            let entered = match tag {
                SMALL_INTEGER_EXT => {
                    self.take(1)?;
                    None
                }
                INTEGER_EXT => {
                    self.take(4)?;
                    None
                }
                SMALL_ATOM_UTF8_EXT | ATOM_UTF8_EXT | ATOM_EXT | SMALL_ATOM_EXT => {
                    atoms += 1;
                    self.skip_atom(tag, at)?;
                    None
                }
                ATOM_CACHE_REF => {
                    self.atom_text(tag, at)?;
                    None
                }
                BINARY_EXT => {
                    let len = self.u32()? as usize;
                    self.take(len)?;
                    None
                }
                NIL_EXT => None,
                STRING_EXT => {
                    let len = usize::from(self.u16()?);
                    self.take(len)?;
                    values += len;
                    None
                }
                SMALL_TUPLE_EXT => {
                    let count = usize::from(self.u8()?);
                    Some((Kind::Plain, self.count(count, 1)?))
                }
                LARGE_TUPLE_EXT => {
                    let count = self.u32()? as usize;
                    Some((Kind::Plain, self.count(count, 1)?))
                }
                LIST_EXT => {
                    let count = self.u32()? as usize;
                    let count = self.count(count, 1)?;
                    if top.kind == Kind::Tail {
                        // It continues the list that it is the tail of, which is no deeper.
                        top = Frame { left: count, kind: Kind::List, keys: 0 };
                        values += count;
                        None
                    } else {
                        Some((Kind::List, count))
                    }
                }
                MAP_EXT => {
                    let count = self.u32()? as usize;
                    Some((Kind::Map, self.count(count, 2)? * 2))
                }
                NEW_FLOAT_EXT => {
                    self.float(at)?;
                    None
                }
                SMALL_BIG_EXT => {
                    let len = usize::from(self.u8()?);
                    self.skip_big(len, limits, at)?;
                    None
                }
                LARGE_BIG_EXT => {
                    let len = self.u32()? as usize;
                    self.skip_big(len, limits, at)?;
                    None
                }
                NEW_PID_EXT | NEWER_REFERENCE_EXT if self.skip_short_identifier(tag) => None,
                _ => {
                    atoms += 2;
                    match self.rarer_token(tag, at)? {
                        Token::Fun { free, .. } => Some((Kind::Plain, free)),
                        Token::Record { fields, .. } => {
                            for _ in 0..fields {
                                self.atom()?;
                            }
                            atoms += fields;
                            values += fields;
                            Some((Kind::Plain, fields))
                        }
                        _ => None,
                    }
                }
            };
            if let Some((kind, left)) = entered {
                values += left;
                stack.push(top);
                if stack.len() > depth {
                    return Err(DecodeError::new(DecodeErrorKind::Depth, at));
                }
                top = Frame { left, kind, keys: keys.len() };
            }
            if values > limits.values {
                return Err(DecodeError::new(DecodeErrorKind::Values, at));
            }
            while top.left == 0 {
                match top.kind {
                    Kind::List => {
                        top = Frame { left: 1, kind: Kind::Tail, keys: 0 };
                        break;
                    }
                    Kind::Map => {
                        match self.compare_keys(&keys[top.keys..]) {
                            Keys::Distinct => {}
                            Keys::Unclear => unclear = true,
                            Keys::Equal(at) => {
                                return Err(DecodeError::new(DecodeErrorKind::DuplicateKey, at));
                            }
                        }
                        keys.truncate(top.keys);
                    }
                    Kind::Plain | Kind::Tail => {}
                }
                match stack.pop() {
                    Some(outer) => top = outer,
                    None => {
                        if atoms > limits.atoms {
                            start.clone().count_atoms(self.offset(), limits)?;
                        }
                        if unclear {
                            // The structure is known to be sound, so building it is bounded; it looks at every map.
                            decode::build(&mut start.clone(), None)?;
                        }
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Steps over a short term without maps in it, which is what most messages are, if one is there. No level of it has to be known: a
    /// term is no deeper than it has containers.
    #[inline(always)]
    fn skip_short(&mut self, limits: &Limits) -> bool {
        let (mut left, mut values, mut atoms, mut containers) = (1, 1, 0, 0);
        let mut rest = self.rest;
        if let Some((after, within, entered)) = self.after_gen_front() {
            (rest, values, containers) = (after, 1 + within, entered);
        }
        while left > 0 {
            left -= 1;
            let Some((&tag, after)) = rest.split_first() else { return false };
            // The tail of a list is a value like its elements.
            let (count, tail, after) = match (tag, after) {
                (SMALL_TUPLE_EXT, [count, after @ ..]) => (usize::from(*count), 0, after),
                (LIST_EXT, [a, b, c, d, after @ ..]) => {
                    (u32::from_be_bytes([*a, *b, *c, *d]) as usize, 1, after)
                }
                _ => {
                    let Some((after, spelled)) = self.after_plain(tag, after) else { return false };
                    rest = after;
                    atoms += spelled;
                    continue;
                }
            };
            if count > after.len() {
                return false;
            }
            left += count + tail;
            values += count;
            containers += 1;
            rest = after;
        }
        let within = containers <= limits.depth && values <= limits.values && atoms <= limits.atoms;
        if within {
            self.rest = rest;
        }
        within
    }

    /// What follows all of a call or a reply of `gen` but its request, or what it is answered with; how many values that is besides the
    /// term itself, and how many containers. Nearly all calls have these forms on a connection: they are looked at without a jump, which
    /// counts where nothing was run for a while.
    ///
    /// `{'$gen_call', {Pid, [alias | Alias]}, Request}` and `{[alias | Alias], Reply}`.
    #[inline(always)]
    #[rustfmt::skip]
    fn after_gen_front(&self) -> Option<(&'a [u8], usize, u32)> {
        const PID_NUMBERS_LEN: usize = 3 * 4;
        let (tag, values, containers, highest) = match self.rest {
            [SMALL_TUPLE_EXT, 3, ATOM_CACHE_REF, label,
                SMALL_TUPLE_EXT, 2, NEW_PID_EXT, ATOM_CACHE_REF, node, rest @ ..] => {
                (rest.get(PID_NUMBERS_LEN..)?, 3 + 2 + 1, 3, (*label).max(*node))
            }
            [SMALL_TUPLE_EXT, 2, rest @ ..] => (rest, 2 + 1, 2, 0),
            _ => return None,
        };
        let [LIST_EXT, 0, 0, 0, 1, ATOM_CACHE_REF, alias,
            NEWER_REFERENCE_EXT, 0, len, ATOM_CACHE_REF, node, rest @ ..] = tag else { return None };
        let (len, highest) = (usize::from(*len), highest.max(*alias).max(*node));
        // The creation and the words.
        let after = rest.get(4 + 4 * len..)?;
        let known = usize::from(highest) < self.atoms.len() && (1..=REFERENCE_WORDS_MAX).contains(&len);
        // The last value is still to come.
        if known && !after.is_empty() { Some((after, values, containers)) } else { None }
    }

    /// Steps over at most so many of the next values of a container, as long as they are what most values are. Returns how many
    /// of them are atoms that are spelled out. What is not read yet is kept in a register meanwhile.
    #[inline]
    #[hot]
    fn skip_flat(&mut self, top: &mut Frame, run: usize, keys: &mut SmallVec<[&'a [u8]; 16]>) -> usize {
        let (mut rest, mut left, mut atoms) = (self.rest, run, 0);
        while left > 0 {
            let Some((&tag, after)) = rest.split_first() else { break };
            let Some((after, spelled)) = self.after_plain(tag, after) else { break };
            atoms += spelled;
            // The last value of the container is not among those left.
            if top.kind == Kind::Map && left % 2 == 1 {
                keys.push(rest);
            }
            rest = after;
            left -= 1;
        }
        self.rest = rest;
        top.left -= run - left;
        atoms
    }

    /// What follows a value, after its tag, if that is what most values are; and how many atoms it spells out.
    #[inline(always)]
    fn after_plain(&self, tag: u8, input: &'a [u8]) -> Option<(&'a [u8], usize)> {
        let after = match tag {
            SMALL_INTEGER_EXT => input.get(1..)?,
            INTEGER_EXT => input.get(4..)?,
            NIL_EXT => input,
            SMALL_ATOM_UTF8_EXT => {
                let (len, after) = input.split_first()?;
                let (text, after) = after.split_at_checked(usize::from(*len))?;
                return text.is_ascii().then_some((after, 1));
            }
            BINARY_EXT => {
                let (len, after) = input.split_first_chunk()?;
                after.get(u32::from_be_bytes(*len) as usize..)?
            }
            ATOM_CACHE_REF => {
                let (index, after) = input.split_first()?;
                if usize::from(*index) >= self.atoms.len() {
                    return None;
                }
                after
            }
            NEW_PID_EXT | NEWER_REFERENCE_EXT => self.after_short_identifier(tag, input)?,
            _ => return None,
        };
        Some((after, 0))
    }

    /// What follows a pid or a reference, after its tag, whose node is given by its number.
    #[inline]
    fn after_short_identifier(&self, tag: u8, input: &'a [u8]) -> Option<&'a [u8]> {
        let (index, numbers, after) = match input {
            [ATOM_CACHE_REF, index, after @ ..] if tag == NEW_PID_EXT => (index, 3, after),
            [0, len, ATOM_CACHE_REF, index, after @ ..]
                if tag == NEWER_REFERENCE_EXT && (1..=REFERENCE_WORDS_MAX).contains(&(*len).into()) =>
            {
                (index, 1 + usize::from(*len), after)
            }
            _ => return None,
        };
        if usize::from(*index) < self.atoms.len() { after.get(4 * numbers..) } else { None }
    }

    /// Steps over the rest of such a pid or reference, if it is one.
    #[inline]
    #[hot]
    fn skip_short_identifier(&mut self, tag: u8) -> bool {
        match self.after_short_identifier(tag, self.rest) {
            Some(after) => {
                self.rest = after;
                true
            }
            None => false,
        }
    }

    fn skip_big(&mut self, len: usize, limits: &Limits, at: usize) -> Result<(), DecodeError> {
        if len > limits.integer_len {
            return Err(DecodeError::new(DecodeErrorKind::IntegerLength(len), at));
        }
        self.take(1)?;
        self.take(len)?;
        Ok(())
    }

    fn compare_keys(&self, starts: &[&'a [u8]]) -> Keys {
        if starts.len() < 2 {
            return Keys::Distinct;
        }
        let mut keys: SmallVec<[(PlainKey<'a>, usize); 32]> = SmallVec::with_capacity(starts.len());
        let mut ascending = true;
        for &start in starts {
            let Some(key) = self.plain_key(start) else { return Keys::Unclear };
            ascending &= keys.last().is_none_or(|(last, _)| last.cmp(&key) == Ordering::Less);
            keys.push((key, self.input.len() - start.len()));
        }
        if !ascending {
            // Equal keys have equal hashes, which take less to sort than keys. Whoever makes hashes collide gains the longer way.
            let mut hashes: SmallVec<[u64; 32]> = keys.iter().map(|(key, _)| key.hash()).collect();
            hashes.sort_unstable();
            if hashes.windows(2).all(|pair| pair[0] != pair[1]) {
                return Keys::Distinct;
            }
            keys.sort_unstable();
            if let Some(pair) = keys.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Keys::Equal(pair[1].1);
            }
        }
        Keys::Distinct
    }

    #[inline]
    fn plain_key(&self, start: &'a [u8]) -> Option<PlainKey<'a>> {
        let mut reader = Self { rest: start, ..*self };
        let tag = reader.u8().ok()?;
        Some(match tag {
            SMALL_INTEGER_EXT => PlainKey::Integer(i64::from(reader.u8().ok()?)),
            INTEGER_EXT => PlainKey::Integer(i64::from(reader.u32().ok()? as i32)),
            SMALL_ATOM_UTF8_EXT => {
                let len = usize::from(reader.u8().ok()?);
                PlainKey::Atom(reader.take(len).ok()?)
            }
            ATOM_CACHE_REF | ATOM_UTF8_EXT | SMALL_ATOM_EXT | ATOM_EXT => {
                match reader.atom_text(tag, 0).ok()? {
                    AtomText::Ref(atom) => PlainKey::Atom(atom.as_str().as_bytes()),
                    AtomText::Utf8(text) => PlainKey::Atom(text.as_bytes()),
                    AtomText::Latin1(bytes) if bytes.is_ascii() => PlainKey::Atom(bytes),
                    AtomText::Latin1(_) => return None,
                }
            }
            BINARY_EXT => {
                let len = reader.u32().ok()? as usize;
                PlainKey::Binary(reader.take(len).ok()?)
            }
            STRING_EXT => {
                let len = usize::from(reader.u16().ok()?);
                // Without elements it is the empty list, which has its own tag, too.
                PlainKey::String(reader.take(len).ok().filter(|text| !text.is_empty())?)
            }
            _ => return None,
        })
    }

    /// Counts the distinct atoms up to `end`. Only a term that spells out more atoms than the limit comes here.
    #[cold]
    fn count_atoms(&mut self, end: usize, limits: &Limits) -> Result<(), DecodeError> {
        let mut seen = HashSet::new();
        while self.offset() < end {
            let at = self.offset();
            match self.next_token()? {
                Token::Atom(atom) => {
                    seen.insert(atom);
                }
                Token::Pid(pid) => {
                    seen.insert(pid.node);
                }
                Token::Port(port) => {
                    seen.insert(port.node);
                }
                Token::Reference(reference) => {
                    seen.insert(reference.node);
                }
                Token::Export { module, function, .. } => seen.extend([module, function]),
                Token::Fun { head, .. } => seen.extend([head.module, head.pid.node]),
                Token::Record { module, name, .. } => seen.extend([module, name]),
                _ => {}
            }
            if seen.len() > limits.atoms {
                return Err(DecodeError::new(DecodeErrorKind::Atoms, at));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::term::Atom;

    /// What is wrong with a packet of a call or a reply, wherever that is, is found as in terms of other forms.
    #[test]
    fn a_call_or_a_reply_of_gen_is_checked_as_any_other_term() {
        let atoms: Vec<Atom> = ["$gen_call", "one@h", "alias"].map(Atom::from_static).into();
        let tag = |words: u8| {
            let alias = [&[90, 0, words, 82, 1][..], &vec![7; 4 + 4 * usize::from(words)]].concat();
            [&[108, 0, 0, 0, 1, 82, 2][..], &alias].concat()
        };
        let pid: Vec<u8> = [&[88, 82, 1][..], &[7; 12]].concat();
        let limits = [
            Limits::default(),
            Limits { depth: 2, ..Limits::default() },
            Limits { depth: 3, ..Limits::default() },
            Limits { values: 4, ..Limits::default() },
            Limits { values: 7, ..Limits::default() },
        ];
        for last in
            [&[97, 42][..], &[82, 0], &[104, 1, 106], &[109, 0, 0, 0, 1, 7], &[119, 2, b'o', b'k'], &[]]
        {
            let call = |words| [&[104, 3, 82, 0, 104, 2][..], &pid, &tag(words), last].concat();
            let reply = |words| [&[104, 2][..], &tag(words), last].concat();
            let all_words = 0..=REFERENCE_WORDS_MAX as u8 + 1;
            for packet in [call(4), reply(4)] {
                let mut packets: Vec<Vec<u8>> = (0..packet.len()).map(|len| packet[..len].to_vec()).collect();
                let bytes =
                    [0, 1, 2, 3, 4, 5, 6, 82, 88, 90, 97, 98, 104, 105, 106, 107, 108, 109, 116, 119, 255];
                for (at, byte) in (0..packet.len()).flat_map(|at| bytes.map(move |byte| (at, byte))) {
                    let mut other = packet.clone();
                    other[at] = byte;
                    packets.push(other);
                }
                packets.push([&packet[..], &[97, 1]].concat());
                packets.extend(all_words.clone().flat_map(|words| [call(words), reply(words)]));
                for (packet, limits) in
                    packets.iter().flat_map(|it| limits.iter().map(move |limits| (it, limits)))
                {
                    for atoms in [&atoms[..], &atoms[..2], &[]] {
                        let (mut one, mut other) = (Reader::new(packet, atoms), Reader::new(packet, atoms));
                        let (skipped, expected) = (one.skip(limits), other.skip_any(limits));
                        assert_eq!(skipped, expected, "{packet:?}");
                        assert!(expected.is_err() || one.offset() == other.offset(), "{packet:?}");
                    }
                }
            }
        }
    }
}
