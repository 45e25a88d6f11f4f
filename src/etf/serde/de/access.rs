//! What is inside containers: elements, pairs, variants.

use std::borrow::Cow;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::{Deserializer, RESULT, Result};
use crate::etf::serde::baton::{self, NATIVE};
use crate::etf::serde::describe::describe;
use crate::etf::serde::fault::Fault;
use crate::etf::serde::path::Step;
use crate::etf::{Limits, Token};
use crate::term::Term;

/// The elements of a list.
#[derive(Clone)]
pub(super) struct List<'de> {
    pub(super) de: Deserializer<'de>,
    /// Elements to come before the tail.
    pub(super) left: usize,
    /// Elements to come of a list in the short form.
    pub(super) bytes: &'de [u8],
    /// How many elements there are up to the tail.
    pub(super) end: usize,
    /// The tail was the empty list.
    pub(super) ended: bool,
}

impl<'de> List<'de> {
    /// How many elements were read.
    fn read(&self) -> usize {
        self.end - self.left - self.bytes.len()
    }

    /// Goes on to the next element: whether there is one. A tail that is a list continues the list.
    fn advance(&mut self) -> Result<bool> {
        while self.left == 0 && self.bytes.is_empty() && !self.ended {
            let start = self.de.reader.offset();
            match self.de.reader.next_token()? {
                Token::Nil => self.ended = true,
                Token::List(len) => {
                    self.left = len;
                    self.end += len;
                }
                Token::String(bytes) => {
                    self.bytes = bytes;
                    self.end += bytes.len();
                    self.ended = true;
                }
                _ => {
                    return Err(self.de.locate(start, de::Error::custom("expected a list's tail to be []")));
                }
            }
        }
        Ok(self.left > 0 || !self.bytes.is_empty())
    }

    /// What follows the list, which has to end here.
    pub(super) fn end(mut self) -> Result<&'de [u8]> {
        let read = self.read();
        if self.left == 0 && self.bytes.is_empty() && (self.ended || self.de.reader.eat_nil()) {
            return Ok(self.de.reader.rest);
        }
        match self.advance()? {
            false => Ok(self.de.reader.rest),
            true => Err(de::Error::invalid_length(read + 1, &format!("a list of {read} elements").as_str())),
        }
    }

    /// The next element of a list in the short form, if one is left; else whether another follows it, as the first one of a tail
    /// that is a list.
    #[inline(never)]
    fn continued<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Continued<T, T::Value>> {
        if !self.advance()? {
            return Ok(Continued::Not);
        }
        let Some((byte, rest)) = self.bytes.split_first() else { return Ok(Continued::Tail(seed)) };
        let offset = self.de.reader.offset() - self.bytes.len();
        self.bytes = rest;
        match seed.deserialize(Byte(*byte)) {
            Ok(value) => Ok(Continued::Byte(value)),
            Err(fault) => {
                let fault = fault.at(offset, || byte.to_string());
                Err(fault.within(Step::Index(self.read() - 1)))
            }
        }
    }
}

enum Continued<T, V> {
    Not,
    Byte(V),
    Tail(T),
}

impl<'de> SeqAccess<'de> for &mut List<'de> {
    type Error = Fault;

    #[inline(always)]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, mut seed: T) -> Result<Option<T::Value>> {
        if self.left == 0 {
            // With a copy, as the compiler then keeps the list in registers.
            let mut copy = self.clone();
            let continued = copy.continued(seed)?;
            **self = copy;
            seed = match continued {
                Continued::Not => return Ok(None),
                Continued::Byte(value) => return Ok(Some(value)),
                Continued::Tail(seed) => seed,
            };
        }
        // In one place, so that it is inlined.
        self.left -= 1;
        match seed.deserialize(&mut self.de) {
            Ok(value) => Ok(Some(value)),
            Err(fault) => Err(fault.within(Step::Index(self.read() - 1))),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        // A hint: serde bounds what it reserves for it. An element takes at least a byte, so the input bounds it too.
        Some(self.left + self.bytes.len())
    }
}

/// The elements of a tuple.
pub(super) struct Tuple<'a, 'de> {
    pub(super) de: &'a mut Deserializer<'de>,
    pub(super) left: usize,
    pub(super) len: usize,
}

impl Tuple<'_, '_> {
    /// What is wrong if the type did not read all elements.
    #[cold]
    pub(super) fn unread(len: usize, left: usize) -> Fault {
        let read = len - left;
        de::Error::invalid_length(len, &format!("a tuple of {read}").as_str())
    }
}

impl<'de> SeqAccess<'de> for &mut Tuple<'_, 'de> {
    type Error = Fault;

    #[inline(always)]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        match seed.deserialize(&mut *self.de) {
            Ok(value) => Ok(Some(value)),
            Err(fault) => Err(fault.within(Step::Index(self.len - self.left - 1))),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// What pairs of keys and values are written as.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Pairs {
    /// A map.
    Map,
    /// A map of whatever keys, for a type that takes what it finds.
    Any,
    /// A map whose keys name fields.
    Fields,
    /// A list of pairs whose keys name fields.
    Keywords,
}

pub(super) struct PairAccess<'a, 'de> {
    pub(super) de: &'a mut Deserializer<'de>,
    pub(super) pairs: Pairs,
    pub(super) left: usize,
    /// How many bytes were left where the last key begins.
    pub(super) key: usize,
}

impl<'de> PairAccess<'_, 'de> {
    /// Reads what is left: a type that knows all that it wants need not ask for the end.
    #[inline]
    pub(super) fn finish(&mut self) -> Result<()> {
        if self.left > 0 {
            return Err(de::Error::custom("expected fewer pairs"));
        }
        if self.pairs == Pairs::Keywords {
            return self.de.aside(|de| de.keywords_end());
        }
        Ok(())
    }

    #[inline(never)]
    fn any_key<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<K::Value> {
        seed.deserialize(AnyKey(self.de))
    }
}

impl<'de> Deserializer<'de> {
    #[cold]
    fn keywords_end(&mut self) -> Result<()> {
        let start = self.reader.offset();
        if self.reader.next_token()? != Token::Nil {
            return Err(self.locate(start, de::Error::custom("expected a list's tail to be []")));
        }
        Ok(())
    }

    #[cold]
    fn keyword_head(&mut self) -> Result<()> {
        let start = self.reader.offset();
        if self.reader.next_token()? != Token::Tuple(2) {
            return Err(self.locate(start, de::Error::custom("expected a pair of a keyword list")));
        }
        Ok(())
    }

    /// Says that a fault is in the value whose key has so many bytes left.
    #[cold]
    fn within(&self, pairs: Pairs, key: usize, fault: Fault) -> Fault {
        let key = self.reader.offset() + self.reader.left() - key;
        let name = match pairs {
            Pairs::Map | Pairs::Any => None,
            Pairs::Fields | Pairs::Keywords => {
                let mut key = self.reader.at(key);
                match key.next_token() {
                    Ok(Token::Atom(atom)) => Some(atom.to_string()),
                    Ok(Token::Binary(bytes)) => std::str::from_utf8(bytes).ok().map(str::to_owned),
                    _ => None,
                }
            }
        };
        match name {
            Some(name) => fault.within(Step::Field(&name)),
            None => fault.within(Step::Key(&describe(self.reader.at(key)))),
        }
    }
}

impl<'de> MapAccess<'de> for &mut PairAccess<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        if self.pairs == Pairs::Keywords {
            self.de.aside(|de| de.keyword_head())?;
        }
        self.key = self.de.reader.left();
        match self.pairs {
            Pairs::Any => self.any_key(seed).map(Some),
            _ => seed.deserialize(&mut *self.de).map(Some),
        }
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        match seed.deserialize(&mut *self.de) {
            Ok(value) => Ok(value),
            Err(fault) => {
                let (pairs, key) = (self.pairs, self.key);
                Err(self.de.aside(|de| de.within(pairs, key, fault)))
            }
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// A key that a type wants as text which takes what it finds otherwise: there an atom is text as well as a binary.
pub(super) struct AnyKey<'a, 'de>(&'a mut Deserializer<'de>);

impl<'de> de::Deserializer<'de> for AnyKey<'_, 'de> {
    type Error = Fault;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.0.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// A variant: an atom, or a tuple that begins with one.
pub(super) struct Variant<'a, 'de> {
    pub(super) de: &'a mut Deserializer<'de>,
    pub(super) name: &'static str,
    pub(super) variants: &'static [&'static str],
    pub(super) tag: Cow<'de, str>,
    /// What the tuple has behind its tag.
    pub(super) elements: Option<usize>,
    pub(super) start: usize,
}

impl<'de> Variant<'_, 'de> {
    fn result(&self) -> bool {
        self.name == "Result" && self.variants == RESULT
    }

    fn within<T>(tag: &str, result: Result<T>) -> Result<T> {
        result.map_err(|fault| fault.within(Step::Field(tag)))
    }

    /// Sees that the tuple has so many elements behind its tag.
    fn expect(&self, elements: usize) -> Result<()> {
        if self.elements == Some(elements) {
            return Ok(());
        }
        let fault = match elements {
            0 => de::Error::custom(format_args!("expected the atom {}", self.tag)),
            _ => de::Error::custom(format_args!("expected a tuple of {} elements", elements + 1)),
        };
        Self::within(&self.tag, Err(self.de.locate(self.start, fault)))
    }
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Fault;
    type Variant = Self;

    #[inline]
    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self)> {
        let value = seed.deserialize(StrDeserializer::<Fault>::new(&self.tag))?;
        Ok((value, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Fault;

    fn unit_variant(self) -> Result<()> {
        match self.elements {
            None => Ok(()),
            // The type takes what it does not know (`#[serde(other)]`), and so all that comes with it.
            Some(elements) if !self.variants.contains(&&*self.tag) => {
                for _ in 0..elements {
                    self.de.reader.skip(&Limits::default())?;
                }
                Ok(())
            }
            Some(_) => {
                let fault = de::Error::custom(format_args!("expected the atom {} alone", self.tag));
                Self::within(&self.tag, Err(self.de.locate(self.start, fault)))
            }
        }
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        if self.result() {
            let tag = if self.tag == "Ok" { "ok" } else { "error" };
            if self.elements.is_none() {
                // `ok` and `error` alone, for a unit.
                return Self::within(tag, seed.deserialize(Absent));
            }
            self.expect(1)?;
            return Self::within(tag, seed.deserialize(self.de));
        }
        self.expect(1)?;
        Self::within(&self.tag, seed.deserialize(self.de))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.expect(len)?;
        Self::within(&self.tag, self.de.tuple(self.start, "", len, len, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.expect(1)?;
        Self::within(&self.tag, de::Deserializer::deserialize_struct(self.de, "", fields, visitor))
    }
}

/// An element of a list in the short form.
struct Byte(u8);

impl<'de> de::Deserializer<'de> for Byte {
    type Error = Fault;

    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_u8(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value> {
        if name == NATIVE {
            return baton::lend_term(Term::Integer(self.0.into()), || visitor.visit_unit());
        }
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// What `ok` and `error` say when they stand alone.
struct Absent;

impl<'de> de::Deserializer<'de> for Absent {
    type Error = Fault;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value> {
        if name == NATIVE {
            return Err(de::Error::invalid_type(Unexpected::Unit, &visitor));
        }
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}
