//! The suite's own terms, written from the external term format's document: it shares no line with the library that it judges.

#[cfg(test)]
mod tests;

use std::fmt;

/// How deep a term may be nested that is read here. Deeper ones are compared as bytes.
const DEPTH: usize = 200;

/// A term. Two are equal exactly if Erlang's `=:=` (with `0.0` and `-0.0` apart) says so.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Term {
    Int(i64),
    /// What does not fit an `i64`: the sign, and the digits, least first, without leading zeros.
    Big(bool, Vec<u8>),
    /// The bits of the number.
    Float(u64),
    Atom(String),
    Pid(Pid),
    Port {
        node: String,
        id: u64,
        creation: u32,
    },
    Reference(Reference),
    Tuple(Vec<Self>),
    /// The elements, and the tail of an improper list. `[]` has neither.
    List(Vec<Self>, Option<Box<Self>>),
    Binary(Vec<u8>),
    /// A bit string whose last byte has 1 to 7 used bits.
    Bits(Vec<u8>, u8),
    /// Sorted by the keys' bytes.
    Map(Vec<(Self, Self)>),
    Export(String, String, u8),
    Fun(Box<Fun>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pid {
    pub(crate) node: String,
    pub(crate) id: u32,
    pub(crate) serial: u32,
    pub(crate) creation: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reference {
    pub(crate) node: String,
    pub(crate) creation: u32,
    pub(crate) words: Vec<u32>,
}

/// A fun of a module. Erlang may zero its creator, so that is not compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fun {
    pub(crate) arity: u8,
    pub(crate) uniq: [u8; 16],
    pub(crate) index: u32,
    pub(crate) module: String,
    pub(crate) old_index: Term,
    pub(crate) old_uniq: Term,
    pub(crate) free: Vec<Term>,
}

/// A tuple of what becomes a term.
macro_rules! tuple {
    ($($item:expr),* $(,)?) => { $crate::term::Term::Tuple(vec![$($crate::term::Term::from($item)),*]) };
}
/// A proper list of what becomes a term.
macro_rules! list {
    ($($item:expr),* $(,)?) => { $crate::term::Term::List(vec![$($crate::term::Term::from($item)),*], None) };
}
pub(crate) use {list, tuple};

impl From<i64> for Term {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}
impl From<&str> for Term {
    /// The atom of this text.
    fn from(value: &str) -> Self {
        Self::Atom(value.to_owned())
    }
}
impl From<&String> for Term {
    fn from(value: &String) -> Self {
        Self::Atom(value.clone())
    }
}
impl From<bool> for Term {
    fn from(value: bool) -> Self {
        Self::from(if value { "true" } else { "false" })
    }
}
impl From<&Self> for Term {
    fn from(value: &Self) -> Self {
        value.clone()
    }
}
impl From<Pid> for Term {
    fn from(value: Pid) -> Self {
        Self::Pid(value)
    }
}
impl From<&Pid> for Term {
    fn from(value: &Pid) -> Self {
        Self::Pid(value.clone())
    }
}
impl From<&Reference> for Term {
    fn from(value: &Reference) -> Self {
        Self::Reference(value.clone())
    }
}

impl Term {
    pub(crate) fn nil() -> Self {
        Self::List(Vec::new(), None)
    }

    pub(crate) fn float(value: f64) -> Self {
        Self::Float(value.to_bits())
    }

    /// `[Head | Tail]`.
    pub(crate) fn cons(head: impl Into<Self>, tail: impl Into<Self>) -> Self {
        Self::joined(vec![head.into()], tail.into())
    }

    /// A list of code points.
    pub(crate) fn string(text: &str) -> Self {
        Self::List(text.chars().map(|char| Self::Int(i64::from(u32::from(char)))).collect(), None)
    }

    pub(crate) fn map(mut pairs: Vec<(Self, Self)>) -> Self {
        pairs.sort_by_cached_key(|(key, _)| key.bytes());
        Self::Map(pairs)
    }

    /// An integer of this sign and these digits, least first.
    pub(crate) fn integer(negative: bool, digits: &[u8]) -> Self {
        let len = digits.iter().rposition(|&digit| digit != 0).map_or(0, |last| last + 1);
        let digits = &digits[..len];
        if len <= 8 {
            let value = digits.iter().rev().fold(0i128, |value, &digit| value << 8 | i128::from(digit));
            if let Ok(value) = i64::try_from(if negative { -value } else { value }) {
                return Self::Int(value);
            }
        }
        Self::Big(negative, digits.to_vec())
    }

    fn joined(mut items: Vec<Self>, tail: Self) -> Self {
        match tail {
            Self::List(more, tail) => {
                items.extend(more);
                Self::List(items, tail)
            }
            tail if items.is_empty() => tail,
            tail => Self::List(items, Some(Box::new(tail))),
        }
    }

    pub(crate) fn is(&self, atom: &str) -> bool {
        matches!(self, Self::Atom(text) if text == atom)
    }

    pub(crate) fn items(&self) -> Option<&[Self]> {
        match self {
            Self::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The elements of a proper list.
    pub(crate) fn elements(&self) -> Option<&[Self]> {
        match self {
            Self::List(items, None) => Some(items),
            _ => None,
        }
    }

    /// Its external form without the version byte, as Erlang itself would write it (but for the order in maps).
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(value) => match (u8::try_from(*value), i32::try_from(*value)) {
                (Ok(small), _) => out.extend([97, small]),
                (_, Ok(value)) => {
                    out.push(98);
                    out.extend(value.to_be_bytes());
                }
                _ => {
                    let digits = value.unsigned_abs().to_le_bytes();
                    let len = digits.iter().rposition(|&digit| digit != 0).map_or(0, |last| last + 1);
                    out.extend([110, len as u8, u8::from(*value < 0)]);
                    out.extend(&digits[..len]);
                }
            },
            Self::Big(negative, digits) => {
                match u8::try_from(digits.len()) {
                    Ok(len) => out.extend([110, len]),
                    Err(_) => counted(out, 111, digits.len()),
                }
                out.push(u8::from(*negative));
                out.extend(digits);
            }
            Self::Float(bits) => {
                out.push(70);
                out.extend(bits.to_be_bytes());
            }
            Self::Atom(text) => atom(out, text),
            Self::Pid(pid) => {
                out.push(88);
                atom(out, &pid.node);
                for number in [pid.id, pid.serial, pid.creation] {
                    out.extend(number.to_be_bytes());
                }
            }
            Self::Port { node, id, creation } => {
                out.push(120);
                atom(out, node);
                out.extend(id.to_be_bytes());
                out.extend(creation.to_be_bytes());
            }
            Self::Reference(reference) => {
                out.push(90);
                out.extend((reference.words.len() as u16).to_be_bytes());
                atom(out, &reference.node);
                out.extend(reference.creation.to_be_bytes());
                reference.words.iter().for_each(|word| out.extend(word.to_be_bytes()));
            }
            Self::Tuple(items) => {
                match u8::try_from(items.len()) {
                    Ok(len) => out.extend([104, len]),
                    Err(_) => counted(out, 105, items.len()),
                }
                items.iter().for_each(|item| item.write(out));
            }
            Self::List(items, None) if items.is_empty() => out.push(106),
            Self::List(items, tail) => {
                let byte = |item: &Self| match item {
                    Self::Int(value) => u8::try_from(*value).ok(),
                    _ => None,
                };
                let text: Option<Vec<u8>> = items.iter().map(byte).collect();
                match (text, tail, u16::try_from(items.len())) {
                    (Some(text), None, Ok(len)) => {
                        out.push(107);
                        out.extend(len.to_be_bytes());
                        out.extend(text);
                    }
                    _ => {
                        counted(out, 108, items.len());
                        items.iter().for_each(|item| item.write(out));
                        match tail {
                            Some(tail) => tail.write(out),
                            None => out.push(106),
                        }
                    }
                }
            }
            Self::Binary(data) => {
                counted(out, 109, data.len());
                out.extend(data);
            }
            Self::Bits(data, bits) => {
                counted(out, 77, data.len());
                out.push(*bits);
                out.extend(data);
            }
            Self::Map(pairs) => {
                counted(out, 116, pairs.len());
                for (key, value) in pairs {
                    key.write(out);
                    value.write(out);
                }
            }
            Self::Export(module, function, arity) => {
                out.push(113);
                atom(out, module);
                atom(out, function);
                out.extend([97, *arity]);
            }
            Self::Fun(fun) => fun.write(out),
        }
    }

    /// Reads one term from the front of `bytes`; `refs` are the atoms of the packet's header.
    pub(crate) fn read(bytes: &mut &[u8], refs: &[String]) -> Result<Self, String> {
        read(bytes, refs, DEPTH)
    }
}

impl Fun {
    /// With a creator of the node `nobody`.
    fn write(&self, out: &mut Vec<u8>) {
        out.push(112);
        let start = out.len();
        out.extend([0; 4]);
        out.push(self.arity);
        out.extend(self.uniq);
        out.extend(self.index.to_be_bytes());
        out.extend((self.free.len() as u32).to_be_bytes());
        atom(out, &self.module);
        self.old_index.write(out);
        self.old_uniq.write(out);
        Term::from(Pid { node: "nobody@127.0.0.1".to_owned(), id: 1, serial: 0, creation: 1 }).write(out);
        self.free.iter().for_each(|term| term.write(out));
        let size = (out.len() - start) as u32;
        out[start..start + 4].copy_from_slice(&size.to_be_bytes());
    }
}

fn counted(out: &mut Vec<u8>, tag: u8, count: usize) {
    out.push(tag);
    out.extend((count as u32).to_be_bytes());
}

fn atom(out: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()) {
        Ok(len) => out.extend([119, len]),
        Err(_) => {
            out.push(118);
            out.extend((text.len() as u16).to_be_bytes());
        }
    }
    out.extend(text.as_bytes());
}

/// Takes the first `len` bytes away.
pub(crate) fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], String> {
    let (front, rest) = bytes.split_at_checked(len).ok_or("what was sent is cut short")?;
    *bytes = rest;
    Ok(front)
}

/// Takes a big-endian number of `len` bytes away.
pub(crate) fn number(bytes: &mut &[u8], len: usize) -> Result<u64, String> {
    Ok(take(bytes, len)?.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| format!("an atom that is no UTF-8: {bytes:?}"))
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn read(bytes: &mut &[u8], refs: &[String], depth: usize) -> Result<Term, String> {
    let depth = depth.checked_sub(1).ok_or("a term that is nested too deep to read")?;
    let many = |bytes: &mut &[u8], count: u64| -> Result<Vec<Term>, String> {
        (0..count).map(|_| read(bytes, refs, depth)).collect()
    };
    let atom = |bytes: &mut &[u8]| match read(bytes, refs, depth)? {
        Term::Atom(text) => Ok(text),
        other => Err(format!("{other:?} in place of an atom")),
    };
    let small = |bytes: &mut &[u8]| match read(bytes, refs, depth)? {
        Term::Int(value) => u8::try_from(value).map_err(|_| format!("{value} in place of a small integer")),
        other => Err(format!("{other:?} in place of a small integer")),
    };
    let tag = number(bytes, 1)?;
    Ok(match tag {
        70 => Term::Float(number(bytes, 8)?),
        77 => {
            let (len, bits) = (number(bytes, 4)?, number(bytes, 1)?);
            Term::Bits(take(bytes, len as usize)?.to_vec(), bits as u8)
        }
        82 => {
            let index = number(bytes, 1)? as usize;
            Term::Atom(
                refs.get(index).ok_or(format!("atom {index} of a header with {}", refs.len()))?.clone(),
            )
        }
        88 | 103 => Term::Pid(Pid {
            node: atom(bytes)?,
            id: number(bytes, 4)? as u32,
            serial: number(bytes, 4)? as u32,
            creation: number(bytes, if tag == 88 { 4 } else { 1 })? as u32,
        }),
        89 | 102 | 120 => Term::Port {
            node: atom(bytes)?,
            id: number(bytes, if tag == 120 { 8 } else { 4 })?,
            creation: number(bytes, if tag == 102 { 1 } else { 4 })? as u32,
        },
        90 | 114 => {
            let count = number(bytes, 2)?;
            let node = atom(bytes)?;
            let creation = number(bytes, if tag == 90 { 4 } else { 1 })? as u32;
            let words = (0..count).map(|_| Ok(number(bytes, 4)? as u32)).collect::<Result<_, String>>()?;
            Term::Reference(Reference { node, creation, words })
        }
        97 => Term::Int(number(bytes, 1)? as i64),
        98 => Term::Int(i64::from(number(bytes, 4)? as i32)),
        100 => {
            let len = number(bytes, 2)?;
            Term::Atom(latin1(take(bytes, len as usize)?))
        }
        115 => {
            let len = number(bytes, 1)?;
            Term::Atom(latin1(take(bytes, len as usize)?))
        }
        104 | 105 => {
            let count = number(bytes, if tag == 104 { 1 } else { 4 })?;
            Term::Tuple(many(bytes, count)?)
        }
        106 => Term::nil(),
        107 => {
            let len = number(bytes, 2)?;
            Term::List(
                take(bytes, len as usize)?.iter().map(|&byte| Term::Int(i64::from(byte))).collect(),
                None,
            )
        }
        108 => {
            let count = number(bytes, 4)?;
            let items = many(bytes, count)?;
            Term::joined(items, read(bytes, refs, depth)?)
        }
        109 => {
            let len = number(bytes, 4)?;
            Term::Binary(take(bytes, len as usize)?.to_vec())
        }
        110 | 111 => {
            let len = number(bytes, if tag == 110 { 1 } else { 4 })?;
            let negative = number(bytes, 1)? != 0;
            Term::integer(negative, take(bytes, len as usize)?)
        }
        112 => {
            let _size = number(bytes, 4)?;
            let arity = number(bytes, 1)? as u8;
            let uniq = take(bytes, 16)?.try_into().map_err(|_| "sixteen bytes are sixteen")?;
            let (index, free) = (number(bytes, 4)? as u32, number(bytes, 4)?);
            let module = atom(bytes)?;
            let (old_index, old_uniq) = (read(bytes, refs, depth)?, read(bytes, refs, depth)?);
            let _creator = read(bytes, refs, depth)?;
            let free = many(bytes, free)?;
            Term::Fun(Box::new(Fun { arity, uniq, index, module, old_index, old_uniq, free }))
        }
        113 => Term::Export(atom(bytes)?, atom(bytes)?, small(bytes)?),
        116 => {
            let count = number(bytes, 4)?;
            let pair = |_| Ok((read(bytes, refs, depth)?, read(bytes, refs, depth)?));
            Term::map((0..count).map(pair).collect::<Result<_, String>>()?)
        }
        118 => {
            let len = number(bytes, 2)?;
            Term::Atom(text(take(bytes, len as usize)?)?)
        }
        119 => {
            let len = number(bytes, 1)?;
            Term::Atom(text(take(bytes, len as usize)?)?)
        }
        other => return Err(format!("the tag {other}, which a peer must not send")),
    })
}

impl fmt::Debug for Term {
    /// Roughly as Erlang prints it, cut where it gets long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 12;
        let comma = |f: &mut fmt::Formatter<'_>, items: &[Self]| {
            for (at, item) in items.iter().enumerate().take(SHOWN) {
                write!(f, "{}{item:?}", if at == 0 { "" } else { "," })?;
            }
            if items.len() > SHOWN { write!(f, ",... {} in all", items.len()) } else { Ok(()) }
        };
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Big(negative, digits) => {
                write!(f, "{}an integer of {} bytes", if *negative { "-" } else { "" }, digits.len())
            }
            Self::Float(bits) => write!(f, "{:?}", f64::from_bits(*bits)),
            Self::Atom(text) if text.starts_with(|c: char| c.is_ascii_lowercase()) && text.len() < 40 => {
                if text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '@') {
                    write!(f, "{text}")
                } else {
                    write!(f, "'{text}'")
                }
            }
            Self::Atom(text) => write!(f, "'{}'", text.chars().take(40).collect::<String>()),
            Self::Pid(pid) => write!(f, "<{}.{}.{}/{}>", pid.node, pid.id, pid.serial, pid.creation),
            Self::Port { node, id, creation } => write!(f, "#Port<{node}.{id}/{creation}>"),
            Self::Reference(Reference { node, creation, words }) => {
                write!(f, "#Ref<{node}.{words:?}/{creation}>")
            }
            Self::Tuple(items) => {
                write!(f, "{{")?;
                comma(f, items)?;
                write!(f, "}}")
            }
            Self::List(items, tail) => {
                write!(f, "[")?;
                comma(f, items)?;
                if let Some(tail) = tail {
                    write!(f, "|{tail:?}")?;
                }
                write!(f, "]")
            }
            Self::Binary(data) if data.len() > 32 => write!(f, "<<{} bytes>>", data.len()),
            Self::Binary(data) => write!(f, "<<{data:?}>>"),
            Self::Bits(data, bits) => write!(f, "<<{} bytes, {bits} bits in the last>>", data.len()),
            Self::Map(pairs) => {
                write!(f, "#{{")?;
                for (key, value) in pairs.iter().take(SHOWN) {
                    write!(f, "{key:?}=>{value:?},")?;
                }
                write!(f, "{} pairs}}", pairs.len())
            }
            Self::Export(module, function, arity) => write!(f, "fun {module}:{function}/{arity}"),
            Self::Fun(fun) => write!(f, "fun of {} with {} free variables", fun.module, fun.free.len()),
        }
    }
}
