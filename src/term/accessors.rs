//! Making terms of Rust's values, and taking them apart.

use bytes::Bytes;

use super::{Atom, BigInt, Binary, Fun, ImproperList, Map, Pid, Port, Reference, Term, Terms};

impl Term {
    /// The atom of a text known to the program.
    ///
    /// # Panics
    /// If the text has more than 255 bytes: a mistake in the program.
    pub const fn atom(text: &'static str) -> Self {
        Self::Atom(Atom::from_static(text))
    }

    /// The empty list.
    pub const fn nil() -> Self {
        Self::List(Terms::new())
    }

    /// A proper list.
    pub fn list(elements: impl IntoIterator<Item = Self>) -> Self {
        Self::List(elements.into_iter().collect())
    }

    /// A tuple.
    pub fn tuple(elements: impl IntoIterator<Item = Self>) -> Self {
        Self::Tuple(elements.into_iter().collect())
    }

    /// A map; of equal keys the last one stays.
    pub fn map(pairs: impl IntoIterator<Item = (Self, Self)>) -> Self {
        Self::Map(pairs.into_iter().collect())
    }

    /// A list of the text's code points, Erlang's "string".
    pub fn charlist(text: &str) -> Self {
        Self::list(text.chars().map(|char| Self::Integer(i64::from(u32::from(char)))))
    }

    /// `[elements | tail]`, whatever kind of list that is: a proper one if the tail is one.
    pub fn list_with_tail(elements: impl Into<Terms>, tail: Self) -> Self {
        let mut elements = elements.into();
        match tail {
            tail if elements.is_empty() => tail,
            Self::List(mut rest) => {
                elements.append(&mut rest);
                Self::List(elements)
            }
            Self::ImproperList(ImproperList(mut rest)) => {
                elements.append(&mut rest);
                Self::ImproperList(ImproperList(elements))
            }
            tail => {
                elements.push(tail);
                Self::ImproperList(ImproperList(elements))
            }
        }
    }

    /// The integer, if it is one that fits.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            Self::BigInt(value) => i64::try_from(value).ok(),
            _ => None,
        }
    }

    /// The float, if it is one.
    pub fn as_float(&self) -> Option<f64> {
        if let Self::Float(value) = self { Some(*value) } else { None }
    }

    /// The atom, if it is one.
    pub fn as_atom(&self) -> Option<&Atom> {
        if let Self::Atom(atom) = self { Some(atom) } else { None }
    }

    /// Whether it is the atom of this text.
    pub fn is_atom(&self, text: &str) -> bool {
        self.as_atom().is_some_and(|atom| atom == text)
    }

    /// `true` or `false`, if it is one of these atoms.
    pub fn as_bool(&self) -> Option<bool> {
        match self.as_atom()?.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// The pid, if it is one.
    pub fn as_pid(&self) -> Option<&Pid> {
        if let Self::Pid(pid) = self { Some(pid) } else { None }
    }

    /// The port, if it is one.
    pub fn as_port(&self) -> Option<&Port> {
        if let Self::Port(port) = self { Some(port) } else { None }
    }

    /// The reference, if it is one.
    pub fn as_reference(&self) -> Option<&Reference> {
        if let Self::Reference(reference) = self { Some(reference) } else { None }
    }

    /// The fun, if it is one.
    pub fn as_fun(&self) -> Option<&Fun> {
        if let Self::Fun(fun) = self { Some(fun) } else { None }
    }

    /// The binary, if it is one of whole bytes.
    pub fn as_binary(&self) -> Option<&Binary> {
        if let Self::Binary(bytes) = self { Some(bytes) } else { None }
    }

    /// The text of a binary, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_binary()?).ok()
    }

    /// The text of a list of code points.
    pub fn to_charlist_string(&self) -> Option<String> {
        let char = |term: &Self| char::from_u32(u32::try_from(term.as_integer()?).ok()?);
        self.as_list()?.iter().map(char).collect()
    }

    /// The elements of a proper list.
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(elements) = self { Some(elements) } else { None }
    }

    /// The elements of a tuple.
    pub fn as_tuple(&self) -> Option<&[Self]> {
        if let Self::Tuple(elements) = self { Some(elements) } else { None }
    }

    /// The map, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        if let Self::Map(map) = self { Some(map) } else { None }
    }
}

impl Default for Term {
    /// The empty list.
    fn default() -> Self {
        Self::nil()
    }
}

macro_rules! from_integer {
    ($($small:ty),*; $($large:ty),*) => {
        $(impl From<$small> for Term {
            fn from(value: $small) -> Self {
                Self::Integer(i64::from(value))
            }
        })*
        $(impl From<$large> for Term {
            fn from(value: $large) -> Self {
                i64::try_from(value).map_or_else(|_| Self::BigInt(value.into()), Self::Integer)
            }
        })*
    };
}

from_integer!(i8, i16, i32, i64, u8, u16, u32; u64, i128, u128);

impl From<BigInt> for Term {
    fn from(value: BigInt) -> Self {
        i64::try_from(&value).map_or_else(|_| Self::BigInt(value), Self::Integer)
    }
}

impl From<bool> for Term {
    fn from(value: bool) -> Self {
        Self::atom(if value { "true" } else { "false" })
    }
}

macro_rules! from_value {
    ($($value:ty => $of:expr),* $(,)?) => {$(
        impl From<$value> for Term {
            fn from(value: $value) -> Self {
                $of(value)
            }
        }
    )*};
}

from_value! {
    f64 => Self::Float,
    Atom => Self::Atom,
    Pid => Self::Pid,
    Port => |port| Self::Port(Box::new(port)),
    Reference => |reference| Self::Reference(Box::new(reference)),
    Fun => |fun| Self::Fun(Box::new(fun)),
    Binary => Self::Binary,
    Bytes => |bytes: Bytes| Self::Binary(bytes.into()),
    Map => Self::Map,
    ImproperList => Self::ImproperList,
    &str => |text: &str| Self::Binary(text.as_bytes().into()),
    String => |text: String| Self::Binary(text.into()),
    Vec<Term> => |terms: Vec<Term>| Self::List(terms.into()),
}
