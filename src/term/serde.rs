//! How the types that only Erlang has pass through serde.
//!
//! Within the external term format each is itself, handed over by the baton of `etf::serde`. In another format that is
//! text (JSON, TOML) each is written as text in Erlang's syntax, and only an [`Atom`] is read back from it: a text that
//! looks like a pid must not become one where an untagged enum has a choice. In a format that
//! is not text each is the bytes that `term_to_binary` makes of it.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};
use serde::ser::{self, Serialize, Serializer};

use super::{Atom, BigInt, Binary, BitString, Fun, ImproperList, Map, Pid, Port, Reference, Term};
use crate::etf::{self, ATOM, EncodeError, NATIVE, Writer};

/// Text as a list of characters, as in Erlang's `"text"` and Elixir's `~c"text"`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Charlist(pub String);

/// A type that is a kind of term.
trait Native: Sized {
    /// What an error says was expected.
    const EXPECTED: &'static str;

    fn write(&self, writer: &mut Writer) -> Result<(), EncodeError>;

    /// The value, if the term is of its kind.
    fn from_term(term: Term) -> Option<Self>;

    /// What a text format is given.
    fn to_text(&self) -> String;
}

/// The value without its marker: what a format finds that looks into the newtype struct.
struct Unmarked<'a, T>(&'a T);

impl<T: Native> Serialize for Unmarked<'_, T> {
    #[hot]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(written) = etf::with_writer(|writer| self.0.write(writer)) {
            written.map_err(ser::Error::custom)?;
            return serializer.serialize_unit();
        }
        let mut writer = Writer::new();
        writer.raw(&[etf::VERSION_MAGIC]);
        self.0.write(&mut writer).map_err(ser::Error::custom)?;
        serializer.serialize_bytes(&writer.into_bytes())
    }
}

fn serialize<T: Native, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.serialize_str(&value.to_text())
    } else {
        serializer.serialize_newtype_struct(NATIVE, &Unmarked(value))
    }
}

struct NativeVisitor<T>(PhantomData<T>);

impl<'de, T: Native> Visitor<'de> for NativeVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    /// From the external term format.
    fn visit_unit<E: de::Error>(self) -> Result<T, E> {
        let value = etf::take_term().and_then(T::from_term);
        value.ok_or_else(|| E::invalid_type(Unexpected::Other("another term"), &self))
    }

    /// From another format, or from a buffer in which serde kept the term.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(self)
        } else {
            deserializer.deserialize_bytes(self)
        }
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<T, E> {
        let term = etf::decode(&Bytes::copy_from_slice(bytes), &etf::Limits::default());
        let value = term.ok().and_then(|(term, _)| T::from_term(term));
        value.ok_or_else(|| E::invalid_value(Unexpected::Bytes(bytes), &self))
    }
}

macro_rules! native {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serialize(self, serializer)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_newtype_struct(NATIVE, NativeVisitor(PhantomData))
            }
        }
    )*};
}

native!(Pid, Port, Reference, Fun, BigInt, BitString, Binary, Charlist, ImproperList, Map, Term);

impl Serialize for Atom {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(ATOM, self.as_str())
    }
}

impl<'de> Deserialize<'de> for Atom {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(ATOM, AtomVisitor)
    }
}

struct AtomVisitor;

impl<'de> Visitor<'de> for AtomVisitor {
    type Value = Atom;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an atom")
    }

    #[inline]
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Atom, E> {
        match Atom::check(text) {
            Ok(()) => Ok(Atom::from_checked(text)),
            Err(error) => Err(E::custom(error)),
        }
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Atom, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Native for Pid {
    const EXPECTED: &'static str = "a pid";

    fn write(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.pid(self);
        Ok(())
    }

    fn from_term(term: Term) -> Option<Self> {
        if let Term::Pid(pid) = term { Some(pid) } else { None }
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl Native for Port {
    const EXPECTED: &'static str = "a port";

    fn write(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.port(self);
        Ok(())
    }

    fn from_term(term: Term) -> Option<Self> {
        if let Term::Port(port) = term { Some(*port) } else { None }
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl Native for Reference {
    const EXPECTED: &'static str = "a reference";

    fn write(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.reference(self);
        Ok(())
    }

    fn from_term(term: Term) -> Option<Self> {
        if let Term::Reference(reference) = term { Some(*reference) } else { None }
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl Native for BigInt {
    const EXPECTED: &'static str = "an integer";

    fn write(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        let (negative, magnitude) = self.to_bytes_le();
        writer.big_integer(negative, &magnitude)
    }

    fn from_term(term: Term) -> Option<Self> {
        match term {
            Term::Integer(value) => Some(value.into()),
            Term::BigInt(value) => Some(value),
            _ => None,
        }
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl Native for BitString {
    const EXPECTED: &'static str = "a bit string that is not of whole bytes";

    fn write(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.bit_string(self.bytes(), self.bits())
    }

    fn from_term(term: Term) -> Option<Self> {
        if let Term::BitString(bits) = term { Some(*bits) } else { None }
    }

    fn to_text(&self) -> String {
        Term::BitString(Box::new(self.clone())).to_string()
    }
}

impl Native for Binary {
    const EXPECTED: &'static str = "a binary";

    fn write(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.term_binary(self)
    }

    fn from_term(term: Term) -> Option<Self> {
        if let Term::Binary(binary) = term { Some(binary) } else { None }
    }

    fn to_text(&self) -> String {
        Term::Binary(self.clone()).to_string()
    }
}

impl Native for Charlist {
    const EXPECTED: &'static str = "a list of characters";

    fn write(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        // Short form or long: as a term's list of integers chooses.
        writer.term(&Term::charlist(&self.0))
    }

    fn from_term(term: Term) -> Option<Self> {
        term.to_charlist_string().map(Self)
    }

    fn to_text(&self) -> String {
        self.0.clone()
    }
}

impl Native for Term {
    const EXPECTED: &'static str = "a term";

    fn write(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.term(self)
    }

    fn from_term(term: Term) -> Option<Self> {
        Some(term)
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl Native for Fun {
    const EXPECTED: &'static str = "a fun";

    fn write(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        match self {
            Self::External { module, function, arity } => {
                writer.export(module, function, *arity);
                Ok(())
            }
            Self::Internal { head, free } => {
                let mark = writer.fun(head, free.len())?;
                free.iter().try_for_each(|term| writer.term(term))?;
                writer.end_fun(mark)
            }
        }
    }

    fn from_term(term: Term) -> Option<Self> {
        if let Term::Fun(fun) = term { Some(*fun) } else { None }
    }

    fn to_text(&self) -> String {
        Term::from(self.clone()).to_string()
    }
}

impl Native for ImproperList {
    const EXPECTED: &'static str = "an improper list";

    fn write(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.list(self.elements().len())?;
        self.elements().iter().try_for_each(|term| writer.term(term))?;
        writer.term(self.tail())
    }

    fn from_term(term: Term) -> Option<Self> {
        if let Term::ImproperList(list) = term { Some(list) } else { None }
    }

    fn to_text(&self) -> String {
        Term::from(self.clone()).to_string()
    }
}

impl Native for Map {
    const EXPECTED: &'static str = "a map";

    fn write(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.map(self.len())?;
        self.iter().try_for_each(|(key, value)| {
            writer.term(key)?;
            writer.term(value)
        })
    }

    fn from_term(term: Term) -> Option<Self> {
        if let Term::Map(map) = term { Some(map) } else { None }
    }

    fn to_text(&self) -> String {
        Term::from(self.clone()).to_string()
    }
}
