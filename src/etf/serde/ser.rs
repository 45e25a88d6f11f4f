//! From Rust values to bytes.

use serde::ser::{self, Impossible, Serialize};

use super::baton::{self, ATOM, NATIVE};
use super::describe::describe;
use super::path::{Step, prepend};
use crate::etf::writer::Mark;
use crate::etf::{EncodeError, Reader, Writer};

/// Writes one value.
pub(super) struct Serializer<'w> {
    writer: &'w mut Writer,
    /// No other value is around this one: an error's path begins with its type.
    root: bool,
}

impl<'w> Serializer<'w> {
    pub(super) fn new(writer: &'w mut Writer) -> Self {
        Self { writer, root: true }
    }

    fn inner(writer: &'w mut Writer) -> Self {
        Self { writer, root: false }
    }

    fn place(&self, name: &'static str, variant: Option<&'static str>) -> Place {
        Place { name: self.root.then_some(name), variant }
    }

    fn big(self, negative: bool, magnitude: u128) -> Result<(), EncodeError> {
        let bytes = magnitude.to_le_bytes();
        let len = bytes.len() - magnitude.leading_zeros() as usize / 8;
        self.writer.big_integer(negative, &bytes[..len])
    }
}

/// What an error's path says of an enum's or a struct's value.
struct Place {
    name: Option<&'static str>,
    variant: Option<&'static str>,
}

impl Place {
    #[cold]
    fn within(&self, error: EncodeError, step: Option<Step<'_>>) -> EncodeError {
        let steps = [step, self.variant.map(Step::Field), self.name.map(Step::Type)];
        if steps.iter().all(Option::is_none) {
            return error;
        }
        let (mut path, fault) = match error {
            EncodeError::Within { path, fault } => (path, fault),
            fault => (String::new(), Box::new(fault)),
        };
        steps.into_iter().flatten().for_each(|step| prepend(&mut path, step));
        EncodeError::Within { path, fault }
    }
}

impl ser::Error for EncodeError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Refused(message.to_string())
    }
}

impl<'w> ser::Serializer for Serializer<'w> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Elements<'w>;
    type SerializeTuple = Elements<'w>;
    type SerializeTupleStruct = Elements<'w>;
    type SerializeTupleVariant = Elements<'w>;
    type SerializeMap = Pairs<'w>;
    type SerializeStruct = Pairs<'w>;
    type SerializeStructVariant = Pairs<'w>;

    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), EncodeError> {
        self.writer.atom_text(if value { "true" } else { "false" })
    }

    #[inline]
    fn serialize_i8(self, value: i8) -> Result<(), EncodeError> {
        self.serialize_i64(value.into())
    }

    #[inline]
    fn serialize_i16(self, value: i16) -> Result<(), EncodeError> {
        self.serialize_i64(value.into())
    }

    #[inline]
    fn serialize_i32(self, value: i32) -> Result<(), EncodeError> {
        self.serialize_i64(value.into())
    }

    #[inline]
    fn serialize_i64(self, value: i64) -> Result<(), EncodeError> {
        self.writer.integer(value);
        Ok(())
    }

    fn serialize_i128(self, value: i128) -> Result<(), EncodeError> {
        match i64::try_from(value) {
            Ok(value) => self.serialize_i64(value),
            Err(_) => self.big(value < 0, value.unsigned_abs()),
        }
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Result<(), EncodeError> {
        self.serialize_i64(value.into())
    }

    #[inline]
    fn serialize_u16(self, value: u16) -> Result<(), EncodeError> {
        self.serialize_i64(value.into())
    }

    #[inline]
    fn serialize_u32(self, value: u32) -> Result<(), EncodeError> {
        self.serialize_i64(value.into())
    }

    #[inline]
    fn serialize_u64(self, value: u64) -> Result<(), EncodeError> {
        self.writer.unsigned(value);
        Ok(())
    }

    fn serialize_u128(self, value: u128) -> Result<(), EncodeError> {
        match u64::try_from(value) {
            Ok(value) => self.serialize_u64(value),
            Err(_) => self.big(false, value),
        }
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<(), EncodeError> {
        self.serialize_f64(value.into())
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<(), EncodeError> {
        self.writer.float(value)
    }

    fn serialize_char(self, value: char) -> Result<(), EncodeError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), EncodeError> {
        self.writer.binary(value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), EncodeError> {
        self.writer.binary(value)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), EncodeError> {
        self.writer.atom_text("undefined")
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), EncodeError> {
        self.writer.atom_text("ok")
    }

    #[inline]
    fn serialize_unit_struct(self, name: &'static str) -> Result<(), EncodeError> {
        self.writer.atom_text(name)
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), EncodeError> {
        self.writer.atom_text(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        match name {
            NATIVE => match baton::lend_writer(self.writer, || value.serialize(Passed { atom: None }))? {
                Pass::Unit => Ok(()),
                Pass::Encoded(term) => {
                    self.writer.raw(&term);
                    Ok(())
                }
            },
            ATOM => value.serialize(Passed { atom: Some(self.writer) }).map(drop),
            _ => value.serialize(self),
        }
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        let tag = match (name, variant) {
            ("Result", "Ok") => "ok",
            ("Result", "Err") => "error",
            _ => variant,
        };
        // `ok` and `error` stand alone if there is nothing to say with them.
        if name == "Result"
            && tag != variant
            && matches!(value.serialize(Passed { atom: None }), Ok(Pass::Unit))
        {
            return self.writer.atom_text(tag);
        }
        let place = self.place(name, Some(tag));
        self.writer.tuple(2)?;
        self.writer.atom_text(tag)?;
        value.serialize(Serializer::inner(self.writer)).map_err(|error| place.within(error, None))
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Elements<'w>, EncodeError> {
        let mark = self.writer.begin_list(len.unwrap_or(0))?;
        Ok(Elements {
            writer: self.writer,
            place: Place { name: None, variant: None },
            kind: Kind::List(mark),
            len: 0,
        })
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Elements<'w>, EncodeError> {
        self.writer.tuple(len)?;
        let place = Place { name: None, variant: None };
        Ok(Elements { writer: self.writer, place, kind: Kind::Tuple(len), len: 0 })
    }

    #[inline]
    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Elements<'w>, EncodeError> {
        self.writer.tuple(len)?;
        let place = self.place(name, None);
        Ok(Elements { writer: self.writer, place, kind: Kind::Tuple(len), len: 0 })
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Elements<'w>, EncodeError> {
        self.writer.tuple(len + 1)?;
        self.writer.atom_text(variant)?;
        let place = self.place(name, Some(variant));
        Ok(Elements { writer: self.writer, place, kind: Kind::Tuple(len), len: 0 })
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Pairs<'w>, EncodeError> {
        let mark = self.writer.begin_map(len.unwrap_or(0))?;
        Ok(Pairs { writer: self.writer, place: Place { name: None, variant: None }, mark, len: 0 })
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Pairs<'w>, EncodeError> {
        let mark = self.writer.begin_map(len)?;
        let place = self.place(name, None);
        Ok(Pairs { writer: self.writer, place, mark, len: 0 })
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Pairs<'w>, EncodeError> {
        self.writer.tuple(2)?;
        self.writer.atom_text(variant)?;
        let mark = self.writer.begin_map(len)?;
        let place = self.place(name, Some(variant));
        Ok(Pairs { writer: self.writer, place, mark, len: 0 })
    }
}

/// The elements of a list or a tuple.
pub(super) struct Elements<'w> {
    writer: &'w mut Writer,
    place: Place,
    kind: Kind,
    len: usize,
}

enum Kind {
    List(Mark),
    /// Of so many elements, the tag of a variant not counted.
    Tuple(usize),
}

impl Elements<'_> {
    #[inline]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        let written = value.serialize(Serializer::inner(self.writer));
        if let Err(error) = written {
            return Err(self.place.within(error, Some(Step::Index(self.len))));
        }
        self.len += 1;
        Ok(())
    }

    #[inline]
    fn finish(self) -> Result<(), EncodeError> {
        match self.kind {
            Kind::List(mark) => self.writer.end_list(mark, self.len),
            Kind::Tuple(len) if len == self.len => Ok(()),
            Kind::Tuple(len) => {
                let text = format!("a tuple of {len} elements has {}", self.len);
                Err(self.place.within(EncodeError::Refused(text), None))
            }
        }
    }
}

macro_rules! elements {
    ($($kind:ident :: $method:ident),*) => {$(
        impl ser::$kind for Elements<'_> {
            type Ok = ();
            type Error = EncodeError;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
                self.element(value)
            }

            #[inline]
            fn end(self) -> Result<(), EncodeError> {
                self.finish()
            }
        }
    )*};
}

elements!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

/// The pairs of a map.
pub(super) struct Pairs<'w> {
    writer: &'w mut Writer,
    place: Place,
    mark: Mark,
    len: usize,
}

impl Pairs<'_> {
    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), EncodeError> {
        self.writer.atom_text(key)?;
        self.len += 1;
        let written = value.serialize(Serializer::inner(self.writer));
        written.map_err(|error| self.place.within(error, Some(Step::Field(key))))
    }
}

impl ser::SerializeMap for Pairs<'_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        self.len += 1;
        key.serialize(Serializer::inner(self.writer))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.serialize(Serializer::inner(self.writer))
    }

    #[inline]
    fn serialize_entry<K: Serialize + ?Sized, V: Serialize + ?Sized>(
        &mut self,
        key: &K,
        value: &V,
    ) -> Result<(), EncodeError> {
        self.serialize_key(key)?;
        self.serialize_value(value).map_err(|error| {
            let text = super::to_vec(key).map(|bytes| describe(Reader::new(&bytes[1..], &[])));
            self.place.within(error, Some(Step::Key(&text.unwrap_or_default())))
        })
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.writer.end_map(self.mark, self.len)
    }
}

macro_rules! fields {
    ($($kind:ident),*) => {$(
        impl ser::$kind for Pairs<'_> {
            type Ok = ();
            type Error = EncodeError;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), EncodeError> {
                self.field(key, value)
            }

            #[inline]
            fn end(self) -> Result<(), EncodeError> {
                self.writer.end_map(self.mark, self.len)
            }
        }
    )*};
}

fields!(SerializeStruct, SerializeStructVariant);

/// Looks at a value that should pass as a unit, as an atom's text, or as the encoded term that it became in a buffer of serde's.
/// All else is an error, found before the value is looked into.
struct Passed<'w> {
    /// Where text is written as an atom, if it may be one.
    atom: Option<&'w mut Writer>,
}

enum Pass {
    Unit,
    /// Without the version byte.
    Encoded(Vec<u8>),
}

/// Without an allocation: it is the common answer.
fn no<T>() -> Result<T, EncodeError> {
    Err(EncodeError::Refused(String::new()))
}

macro_rules! refuse {
    ($($method:ident($($argument:ty),*) -> $result:ty;)*) => {$(
        #[inline]
        fn $method(self, $(_: $argument),*) -> Result<$result, EncodeError> {
            no()
        }
    )*};
}

type Never = Impossible<Pass, EncodeError>;

impl ser::Serializer for Passed<'_> {
    type Ok = Pass;
    type Error = EncodeError;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    refuse! {
        serialize_bool(bool) -> Pass;
        serialize_i8(i8) -> Pass;
        serialize_i16(i16) -> Pass;
        serialize_i32(i32) -> Pass;
        serialize_i64(i64) -> Pass;
        serialize_i128(i128) -> Pass;
        serialize_u8(u8) -> Pass;
        serialize_u16(u16) -> Pass;
        serialize_u32(u32) -> Pass;
        serialize_u64(u64) -> Pass;
        serialize_u128(u128) -> Pass;
        serialize_f32(f32) -> Pass;
        serialize_f64(f64) -> Pass;
        serialize_char(char) -> Pass;
        serialize_none() -> Pass;
        serialize_unit_struct(&'static str) -> Pass;
        serialize_unit_variant(&'static str, u32, &'static str) -> Pass;
        serialize_seq(Option<usize>) -> Never;
        serialize_tuple(usize) -> Never;
        serialize_tuple_struct(&'static str, usize) -> Never;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Never;
        serialize_map(Option<usize>) -> Never;
        serialize_struct(&'static str, usize) -> Never;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Never;
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Result<Pass, EncodeError> {
        let Some(writer) = self.atom else { return no() };
        writer.atom_text(text)?;
        Ok(Pass::Unit)
    }

    #[inline]
    fn serialize_unit(self) -> Result<Pass, EncodeError> {
        Ok(Pass::Unit)
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Pass, EncodeError> {
        bytes.split_first().map_or_else(no, |(_, term)| Ok(Pass::Encoded(term.to_vec())))
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<Pass, EncodeError> {
        no()
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Pass, EncodeError> {
        if matches!(name, NATIVE | ATOM) { no() } else { value.serialize(self) }
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Pass, EncodeError> {
        no()
    }
}
