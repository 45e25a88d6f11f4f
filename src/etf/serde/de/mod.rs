//! From bytes to Rust values.

mod access;

use std::borrow::Cow;

use serde::de::value::BytesDeserializer;
use serde::de::{self, Expected, Unexpected, Visitor};

use self::access::{List, PairAccess, Pairs, Tuple, Variant};
use crate::etf::serde::Source;
use crate::etf::serde::baton::{self, ATOM, NATIVE};
use crate::etf::serde::describe::describe;
use crate::etf::serde::fault::Fault;
use crate::etf::serde::path::Step;
use crate::etf::{Limits, Reader, Token, decode};
use crate::term::{Term, text};

/// How deep a value may nest where its own type recurses, which serde does on the stack. Terms of type
/// [`Term`](crate::term::Term) are not bound by it.
const NESTING_MAX: u32 = 128;

/// Reads one value.
#[derive(Clone)]
pub(super) struct Deserializer<'de> {
    reader: Reader<'de>,
    source: Source<'de>,
    /// How much deeper the value may nest.
    left: u32,
}

type Result<T> = std::result::Result<T, Fault>;

impl<'de> Deserializer<'de> {
    pub(super) fn new(reader: Reader<'de>, source: Source<'de>) -> Self {
        Self { reader, source, left: NESTING_MAX }
    }

    pub(super) fn into_reader(self) -> Reader<'de> {
        self.reader
    }

    /// Whether no value is around the one being read.
    fn root(&self) -> bool {
        self.left == NESTING_MAX
    }

    /// Does what is seldom needed, with a copy: whose address nothing else has the compiler keeps in registers.
    #[inline(always)]
    fn aside<T>(&mut self, seldom: impl FnOnce(&mut Self) -> T) -> T {
        let mut copy = self.clone();
        let result = seldom(&mut copy);
        self.reader.rest = copy.reader.rest;
        result
    }

    /// Says where a fault is, if that is not known yet.
    #[cold]
    fn locate(&self, start: usize, fault: Fault) -> Fault {
        fault.at(start, || describe(self.reader.at(start)))
    }

    /// As [`Deserializer::locate`], by how many bytes were left where it is.
    #[cold]
    fn locate_left(&self, left: usize, fault: Fault) -> Fault {
        self.locate(self.reader.offset() + self.reader.left() - left, fault)
    }

    #[cold]
    fn mismatch<T>(&self, start: usize, expected: &dyn Expected) -> Result<T> {
        Err(self.locate(start, de::Error::invalid_type(Unexpected::Other("another term"), expected)))
    }

    #[cold]
    fn wrong_len(&self, start: usize, len: usize, expected: &dyn Expected) -> Fault {
        self.locate(start, de::Error::invalid_length(len, expected))
    }

    #[cold]
    fn too_deep(&self, start: usize) -> Fault {
        self.locate(start, Fault::nesting())
    }

    /// Reads what is within a container.
    #[inline(always)]
    fn nest<T>(
        &mut self,
        start: usize,
        name: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        if self.left == 0 {
            return Err(self.aside(|de| de.too_deep(start)));
        }
        self.left -= 1;
        let result = read(self);
        self.left += 1;
        match result {
            Ok(value) => Ok(value),
            Err(fault) => Err(self.aside(|de| de.locate_type(start, name, fault))),
        }
    }

    /// As [`Deserializer::locate`], for a fault in the parts of a value.
    #[cold]
    fn locate_type(&self, start: usize, name: &'static str, fault: Fault) -> Fault {
        let fault = self.locate(start, fault);
        if self.root() { fault.within(Step::Type(name)) } else { fault }
    }

    /// Reads a value without parts.
    #[inline]
    fn leaf<V: Visitor<'de>>(
        &mut self,
        visitor: V,
        visit: impl FnOnce(Token<'de>, V) -> std::result::Result<Result<V::Value>, V>,
    ) -> Result<V::Value> {
        let start = self.reader.offset();
        let token = self.reader.next_token()?;
        match visit(token, visitor) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(fault)) => Err(self.locate(start, fault)),
            Err(visitor) => self.mismatch(start, &visitor),
        }
    }

    /// The next term as it is.
    fn term(&mut self) -> Result<Term> {
        Ok(match self.source {
            Source::Checked(source) => decode::build(&mut self.reader, source),
            Source::Unchecked(source) => decode::checked(&mut self.reader, &Limits::default(), source),
        }?)
    }

    /// The text of the next term, if it is an atom.
    #[inline]
    fn atom(&mut self) -> Result<Option<Cow<'de, str>>> {
        match self.reader.short_atom() {
            Some(text) => Ok(Some(Cow::Borrowed(text))),
            None => Ok(self.reader.atom_str()?),
        }
    }

    #[inline(never)]
    fn long_atom<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let start = self.reader.offset();
        match self.reader.atom_str()? {
            Some(text) => visitor.visit_str(&text).map_err(|fault| self.locate(start, fault)),
            None => self.mismatch(start, &visitor),
        }
    }

    /// A binary in a form that is not the common one, or what is no text.
    #[inline(never)]
    fn long_str<V: Visitor<'de>>(&mut self, left: usize, visitor: V) -> Result<V::Value> {
        let start = self.reader.offset() + self.reader.left() - left;
        self.reader.rewind(start);
        match self.binary()?.map(std::str::from_utf8) {
            Some(Ok(text)) => visitor.visit_borrowed_str(text).map_err(|fault| self.locate(start, fault)),
            _ => self.mismatch(start, &visitor),
        }
    }

    #[inline(never)]
    fn long_identifier<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let start = self.reader.offset();
        let visited = match self.reader.atom_str()? {
            Some(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Some(Cow::Owned(text)) => visitor.visit_string(text),
            None => match self.binary()? {
                Some(bytes) => visitor.visit_borrowed_bytes(bytes),
                None => {
                    self.reader.rewind(start);
                    self.reader.skip(&Limits::default())?;
                    visitor.visit_bytes(NO_NAME)
                }
            },
        };
        visited.map_err(|fault| self.locate(start, fault))
    }

    /// Which of some texts the next term is an atom of; if it is of none, nothing is read.
    #[inline(always)]
    fn atom_of<const N: usize>(&mut self, texts: [&str; N]) -> Result<Option<usize>> {
        match self.reader.short_atom_of(texts) {
            None if self.reader.at_long_atom() => self.long_atom_of(&texts),
            found => Ok(found),
        }
    }

    #[cold]
    fn long_atom_of(&mut self, texts: &[&str]) -> Result<Option<usize>> {
        let start = self.reader.offset();
        let atom = self.reader.atom_str()?;
        let found = texts.iter().position(|wanted| Some(*wanted) == atom.as_deref());
        if found.is_none() {
            self.reader.rewind(start);
        }
        Ok(found)
    }

    /// The bytes of the next term, if it is a binary; else something is read.
    #[inline]
    fn binary(&mut self) -> Result<Option<&'de [u8]>> {
        if let Some(bytes) = self.reader.short_binary() {
            return Ok(Some(bytes));
        }
        match self.reader.next_token()? {
            Token::Binary(bytes) => Ok(Some(bytes)),
            _ => Ok(None),
        }
    }

    /// How many elements follow, if the next term is a tuple; else something is read.
    #[inline(always)]
    fn tuple_head(&mut self) -> Result<Option<usize>> {
        match self.reader.short_tuple() {
            Some(len) => Ok(Some(len)),
            None => self.aside(|de| de.long_tuple_head()),
        }
    }

    #[inline(never)]
    fn long_tuple_head(&mut self) -> Result<Option<usize>> {
        match self.reader.next_token()? {
            Token::Tuple(len) => Ok(Some(len)),
            _ => Ok(None),
        }
    }

    /// How many elements follow of a list, those of its tail not counted, if the next term is one; else something is read.
    #[inline(never)]
    fn long_list_head(&mut self) -> Result<Option<usize>> {
        let start = self.reader.offset();
        match self.reader.next_token()? {
            Token::List(len) => Ok(Some(len)),
            // Its elements, none of them read yet, are the tail of a list without elements.
            Token::Nil | Token::String(_) => {
                self.reader.rewind(start);
                Ok(Some(0))
            }
            _ => Ok(None),
        }
    }

    /// How many pairs follow, if the next term is a map; else something is read.
    #[inline(never)]
    fn long_map_head(&mut self) -> Result<Option<usize>> {
        match self.reader.next_token()? {
            Token::Map(len) => Ok(Some(len)),
            _ => Ok(None),
        }
    }

    /// How many pairs of what kind follow, if the next term stands for a struct; else something is read.
    #[inline(never)]
    fn long_struct_head(&mut self) -> Result<Option<(Pairs, usize)>> {
        match self.reader.next_token()? {
            Token::Map(len) => Ok(Some((Pairs::Fields, len))),
            // A keyword list.
            Token::List(len) => Ok(Some((Pairs::Keywords, len))),
            Token::Nil => Ok(Some((Pairs::Fields, 0))),
            _ => Ok(None),
        }
    }

    #[inline(always)]
    fn integer<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let left = self.reader.left();
        let result = match self.reader.short_integer() {
            Some(value) => visitor.visit_i64(value),
            None => self.aside(|de| de.long_integer(visitor)),
        };
        // A fault is located here for both: as the compiler then follows each to its own end, a list of short ones is read without asking.
        match result {
            Ok(value) => Ok(value),
            Err(fault) => Err(self.aside(|de| de.locate_left(left, fault))),
        }
    }

    #[inline(never)]
    fn long_integer<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        self.leaf(visitor, |token, visitor| match token {
            Token::Integer(value) => Ok(visitor.visit_i64(value)),
            Token::BigInteger { negative, magnitude } => match (negative, big(magnitude)) {
                (false, Some(value)) => Ok(match u64::try_from(value) {
                    Ok(value) => visitor.visit_u64(value),
                    Err(_) => visitor.visit_u128(value),
                }),
                (true, Some(value)) => match 0_i128.checked_sub_unsigned(value) {
                    Some(value) => Ok(visitor.visit_i128(value)),
                    None => Err(visitor),
                },
                (_, None) => Err(visitor),
            },
            _ => Err(visitor),
        })
    }

    /// Reads a list. Its tail has to be the empty list.
    fn list<V: Visitor<'de>>(&mut self, start: usize, elements: usize, visitor: V) -> Result<V::Value> {
        self.nest(start, "", |de| {
            // Most lists are long enough for a copy that stays in registers.
            let mut list = List { de: de.clone(), left: elements, bytes: &[], end: elements, ended: false };
            let value = visitor.visit_seq(&mut list)?;
            de.reader.rest = list.end()?;
            Ok(value)
        })
    }

    /// Reads a map, or what stands for one.
    #[inline]
    fn pairs<V: Visitor<'de>>(
        &mut self,
        start: usize,
        name: &'static str,
        pairs: Pairs,
        left: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.nest(start, name, |de| {
            let key = de.reader.left();
            let mut access = PairAccess { de, pairs, left, key };
            let value = visitor.visit_map(&mut access)?;
            access.finish()?;
            Ok(value)
        })
    }

    /// Reads the rest of a tuple of so many elements.
    #[inline(always)]
    fn tuple<V: Visitor<'de>>(
        &mut self,
        start: usize,
        name: &'static str,
        left: usize,
        expected: usize,
        visitor: V,
    ) -> Result<V::Value> {
        if left != expected {
            return Err(self.aside(|de| de.wrong_len(start, left, &visitor)));
        }
        self.nest(start, name, |de| {
            let mut tuple = Tuple { de, left, len: left };
            let value = visitor.visit_seq(&mut tuple)?;
            match tuple.left {
                0 => Ok(value),
                unread => Err(Tuple::unread(left, unread)),
            }
        })
    }
}

/// A magnitude's value, if it fits.
fn big(magnitude: &[u8]) -> Option<u128> {
    let mut bytes = [0; 16];
    bytes.get_mut(..magnitude.len())?.copy_from_slice(magnitude);
    Some(u128::from_le_bytes(bytes))
}

/// The nearest float, unless that is infinite.
fn big_float(negative: bool, magnitude: &[u8]) -> Option<f64> {
    let value = magnitude.iter().rev().fold(0.0, |value, byte| value * 256.0 + f64::from(*byte));
    f64::is_finite(value).then_some(if negative { -value } else { value })
}

macro_rules! integers {
    ($($method:ident)*) => {$(
        #[inline(always)]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            self.integer(visitor)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for &mut Deserializer<'de> {
    type Error = Fault;

    fn is_human_readable(&self) -> bool {
        false
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    /// For types that take what they find. Atoms become text, as binaries do that are text.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let start = self.reader.offset();
        match self.reader.next_token()? {
            Token::Float(value) => visitor.visit_f64(value).map_err(|fault| self.locate(start, fault)),
            Token::Integer(value) => visitor.visit_i64(value).map_err(|fault| self.locate(start, fault)),
            Token::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => visitor.visit_borrowed_str(text),
                Err(_) => visitor.visit_borrowed_bytes(bytes),
            }
            .map_err(|fault| self.locate(start, fault)),
            Token::Atom(atom) => match atom.as_str() {
                "true" => visitor.visit_bool(true),
                "false" => visitor.visit_bool(false),
                "undefined" | "nil" => visitor.visit_unit(),
                text => visitor.visit_str(text),
            }
            .map_err(|fault| self.locate(start, fault)),
            Token::String(_) | Token::Nil | Token::List(_) => {
                self.reader.rewind(start);
                self.deserialize_seq(visitor)
            }
            Token::Tuple(len) => self.tuple(start, "", len, len, visitor),
            Token::Map(len) => self.pairs(start, "", Pairs::Any, len, visitor),
            Token::BigInteger { negative: false, magnitude } if magnitude.len() <= 8 => {
                self.reader.rewind(start);
                self.integer(visitor)
            }
            // What serde has no word for passes as a marked newtype struct of its encoding.
            _ => {
                self.reader.rewind(start);
                let term = self.term()?;
                let bytes = super::to_vec(&term).map_err(<Fault as de::Error>::custom)?;
                let visited = visitor.visit_newtype_struct(BytesDeserializer::new(&bytes));
                visited.map_err(|fault| self.locate(start, fault))
            }
        }
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let start = self.reader.offset();
        match self.atom_of(["false", "true"])? {
            Some(value) => visitor.visit_bool(value == 1).map_err(|fault| self.locate(start, fault)),
            None => self.mismatch(start, &visitor),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.leaf(visitor, |token, visitor| match token {
            Token::Float(value) => Ok(visitor.visit_f64(value)),
            Token::Integer(value) => Ok(visitor.visit_i64(value)),
            Token::BigInteger { negative, magnitude } => match big_float(negative, magnitude) {
                Some(value) => Ok(visitor.visit_f64(value)),
                None => Err(visitor),
            },
            _ => Err(visitor),
        })
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let left = self.reader.left();
        let Some(text) = self.reader.short_binary().and_then(text) else {
            return self.aside(|de| de.long_str(left, visitor));
        };
        match visitor.visit_borrowed_str(text) {
            Ok(value) => Ok(value),
            Err(fault) => Err(self.aside(|de| de.locate_left(left, fault))),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let start = self.reader.offset();
        match self.binary()? {
            Some(bytes) => visitor.visit_borrowed_bytes(bytes).map_err(|fault| self.locate(start, fault)),
            None => self.mismatch(start, &visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_bytes(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.atom_of(["undefined", "nil"])? {
            Some(_) => visitor.visit_none(),
            None => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let start = self.reader.offset();
        if self.atom_of(["ok", "nil", "undefined"])?.is_some() || self.tuple_head()? == Some(0) {
            return visitor.visit_unit();
        }
        self.mismatch(start, &visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value> {
        self.leaf(visitor, |token, visitor| match token {
            Token::Atom(atom) if atom == name => Ok(visitor.visit_unit()),
            _ => Err(visitor),
        })
    }

    #[inline(always)]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value> {
        let left = self.reader.left();
        let visited = match name {
            NATIVE => {
                let term = self.term()?;
                baton::lend_term(term, || visitor.visit_unit())
            }
            ATOM => match self.reader.short_atom() {
                Some(text) => visitor.visit_borrowed_str(text),
                None => return self.long_atom(visitor),
            },
            _ => return visitor.visit_newtype_struct(self),
        };
        match visited {
            Ok(value) => Ok(value),
            Err(fault) => Err(self.locate_left(left, fault)),
        }
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let start = self.reader.offset();
        let len = match self.reader.short_list() {
            Some(len) => Some(len),
            None => self.aside(|de| de.long_list_head())?,
        };
        match len {
            Some(len) => self.list(start, len, visitor),
            None => self.aside(|de| de.mismatch(start, &visitor)),
        }
    }

    #[inline(always)]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_tuple_struct("", len, visitor)
    }

    #[inline(always)]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        let start = self.reader.offset();
        match self.tuple_head()? {
            Some(found) => self.tuple(start, name, found, len, visitor),
            None => self.aside(|de| de.mismatch(start, &visitor)),
        }
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let start = self.reader.offset();
        let len = match self.reader.short_map() {
            Some(len) => Some(len),
            None => self.aside(|de| de.long_map_head())?,
        };
        match len {
            Some(len) => self.pairs(start, "", Pairs::Map, len, visitor),
            None => self.aside(|de| de.mismatch(start, &visitor)),
        }
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let start = self.reader.offset();
        let head = match self.reader.short_map() {
            Some(len) => Some((Pairs::Fields, len)),
            None => self.aside(|de| de.long_struct_head())?,
        };
        match head {
            Some((pairs, len)) => self.pairs(start, name, pairs, len, visitor),
            None => self.aside(|de| de.mismatch(start, &visitor)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let start = self.reader.offset();
        let (tag, elements) = match self.atom()? {
            Some(tag) => (Some(tag), None),
            None => match self.tuple_head()? {
                Some(len @ 1..) => (self.atom()?, Some(len - 1)),
                _ => (None, None),
            },
        };
        let Some(tag) = tag else { return self.mismatch(start, &visitor) };
        let tag = match (name, &*tag) {
            ("Result", "ok") if variants == RESULT => Cow::Borrowed("Ok"),
            ("Result", "error") if variants == RESULT => Cow::Borrowed("Err"),
            _ => tag,
        };
        self.nest(start, name, |de| visitor.visit_enum(Variant { de, name, variants, tag, elements, start }))
    }

    /// A field's name. Keys that are no name are those of no field, which the type ignores or refuses.
    #[inline]
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let left = self.reader.left();
        let visited = if let Some(bytes) = self.reader.short_binary() {
            visitor.visit_borrowed_bytes(bytes)
        } else if let Some(text) = self.reader.short_atom() {
            visitor.visit_borrowed_str(text)
        } else {
            return self.aside(|de| de.long_identifier(visitor));
        };
        match visited {
            Ok(value) => Ok(value),
            Err(fault) => Err(self.aside(|de| de.locate_left(left, fault))),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.reader.skip(&Limits::default())?;
        visitor.visit_unit()
    }
}

/// What serde calls the variants of a [`Result`](std::result::Result).
pub(super) const RESULT: &[&str] = &["Ok", "Err"];

/// Text that cannot be a field's name: it is not UTF-8.
const NO_NAME: &[u8] = &[0xff];
