//! Terms as text in Erlang's syntax.

use std::fmt;

use super::text::{is_printable, write_atom, write_float, write_quoted};
use super::{Atom, BigInt, BitString, Fun, Map, Pid, Port, Reference, Term, Terms};

impl fmt::Display for Term {
    /// In Erlang's syntax, on one line: what `io:format("~0tp")` prints in an `erl` started with `+pc unicode`. Lists of
    /// printable characters are strings, printable binaries are text, the keys of a map are in order.
    ///
    /// `Term::from_str` reads it back as an equal term. For that, pids, ports and references have their node and
    /// creation in them, unlike Erlang's: `<'a@host'.91.0/1699>`, `#Port<'a@host'.5/1699>`, `#Ref<'a@host'.3.2.1/1699>`
    /// (the words from the last to the first, as Erlang prints them). Two kinds are not read back: an internal fun, which is
    /// `#Fun<module.index.hash>`, and a native record, `#module:name{field = value}`. An integer of more than a
    /// kilobyte is `16#...`, as base 10 would take quadratic time.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The containers entered, and how many of their children are written.
        let mut stack: Vec<(&Self, usize)> = Vec::new();
        let mut term = self;
        loop {
            if head(term, f)? {
                stack.push((term, 0));
            }
            // The next child of the innermost container that has one.
            term = loop {
                let Some((outer, written)) = stack.last_mut() else { return Ok(()) };
                if let Some(child) = outer.children().get(*written) {
                    separator(outer, *written, f)?;
                    *written += 1;
                    break child;
                }
                f.write_str(if matches!(outer, Self::List(_) | Self::ImproperList(_)) { "]" } else { "}" })?;
                stack.pop();
            };
        }
    }
}

impl fmt::Debug for Term {
    /// As `Display`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes a term, or the beginning of one, and says whether its children are still to be written.
fn head(term: &Term, f: &mut fmt::Formatter<'_>) -> Result<bool, fmt::Error> {
    match term {
        Term::Integer(value) => write!(f, "{value}")?,
        Term::BigInt(value) => write!(f, "{value}")?,
        Term::Float(value) => write_float(*value, f)?,
        Term::Atom(atom) => write!(f, "{atom}")?,
        Term::Pid(pid) => write!(f, "{pid}")?,
        Term::Port(port) => write!(f, "{port}")?,
        Term::Reference(reference) => write!(f, "{reference}")?,
        Term::Binary(bytes) => write_binary(bytes, f)?,
        Term::BitString(bits) => write!(f, "{bits}")?,
        Term::Fun(fun) => write!(f, "{fun}")?,
        Term::List(elements) => {
            if let Some(text) = printable(elements) {
                write_quoted(text.into_iter(), '"', f)?;
                return Ok(false);
            }
            f.write_str("[")?;
            return Ok(true);
        }
        Term::ImproperList(_) => {
            f.write_str("[")?;
            return Ok(true);
        }
        Term::Tuple(_) => {
            f.write_str("{")?;
            return Ok(true);
        }
        Term::Map(_) => {
            f.write_str("#{")?;
            return Ok(true);
        }
        Term::Record(record) => {
            write!(f, "#{}:{}{{", record.module, record.name)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// What stands before a container's child of this index.
fn separator(outer: &Term, index: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match outer {
        Term::Map(_) if index % 2 == 1 => return f.write_str(" => "),
        Term::ImproperList(list) if index == list.elements().len() => return f.write_str("|"),
        _ if index > 0 => f.write_str(",")?,
        _ => {}
    }
    match outer {
        Term::Record(record) => match record.fields.get(index) {
            Some(field) => write!(f, "{field} = "),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// The text of a list of printable characters.
fn printable(elements: &[Term]) -> Option<Vec<char>> {
    fn char(term: &Term) -> Option<char> {
        let Term::Integer(value) = term else { return None };
        u32::try_from(*value).ok().filter(|code| is_printable(*code)).and_then(char::from_u32)
    }
    // Looked at twice, so that a long list that is no text costs no memory.
    if elements.is_empty() || !elements.iter().all(|term| char(term).is_some()) {
        return None;
    }
    Some(elements.iter().filter_map(char).collect())
}

fn write_binary(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match std::str::from_utf8(bytes) {
        Ok("") => f.write_str("<<>>"),
        Ok(text) if text.chars().all(|char| is_printable(u32::from(char))) => {
            f.write_str("<<")?;
            write_quoted(text.chars(), '"', f)?;
            f.write_str(if text.is_ascii() { ">>" } else { "/utf8>>" })
        }
        // What is not UTF-8 may still be Latin-1.
        Err(_) if bytes.iter().all(|byte| is_printable(u32::from(*byte))) => {
            f.write_str("<<")?;
            write_quoted(bytes.iter().map(|byte| char::from(*byte)), '"', f)?;
            f.write_str(">>")
        }
        _ => {
            f.write_str("<<")?;
            write_bytes(bytes, f)?;
            f.write_str(">>")
        }
    }
}

fn write_bytes(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, byte) in bytes.iter().enumerate() {
        write!(f, "{}{byte}", if index > 0 { "," } else { "" })?;
    }
    Ok(())
}

impl fmt::Display for Atom {
    /// In Erlang's syntax, quoted where that asks for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_atom(self.as_str(), f)
    }
}

impl fmt::Display for BigInt {
    /// In base 10, or as `16#...` if it is longer than a kilobyte.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_str_radix(10) {
            Some(digits) => f.write_str(&digits),
            None => write!(f, "{}16#{:x}", if self.is_negative() { "-" } else { "" }, self.0.magnitude()),
        }
    }
}

impl fmt::Display for BitString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<<")?;
        if let Some((last, whole)) = self.bytes().split_last() {
            write_bytes(whole, f)?;
            let comma = if whole.is_empty() { "" } else { "," };
            write!(f, "{comma}{}:{}", last >> (8 - self.bits()), self.bits())?;
        }
        f.write_str(">>")
    }
}

impl fmt::Display for Fun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::External { module, function, arity } => write!(f, "fun {module}:{function}/{arity}"),
            Self::Internal { head, .. } => {
                write!(f, "#Fun<{}.{}.{}>", head.module, head.index, head.old_uniq)
            }
        }
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}.{}.{}/{}>", self.node, self.id, self.serial, self.creation)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#Port<{}.{}/{}>", self.node, self.id, self.creation)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#Ref<{}", self.node)?;
        for word in self.words().iter().rev() {
            write!(f, ".{word}")?;
        }
        write!(f, "/{}>", self.creation)
    }
}

macro_rules! debug_as_display {
    ($($of:ty),*) => {$(
        impl fmt::Debug for $of {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

debug_as_display!(Atom, BigInt, BitString, Pid, Port, Reference);

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
