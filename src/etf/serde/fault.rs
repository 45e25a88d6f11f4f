//! An error on its way out of a decoder: what is wrong, and as it travels, where.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::path::{Step, prepend};
use crate::etf::{DecodeError, DecodeErrorKind, EncodeError, Mismatch};

/// One word, so that a decoder without errors does not carry the room for one around.
#[derive(Debug)]
pub(super) struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    path: String,
}

#[derive(Debug)]
enum Kind {
    /// The bytes are not a term.
    Wire(DecodeError),
    /// The term does not fit the type; where it is, and what it is, once that is known.
    Type { reason: String, found: Option<(usize, String)> },
}

impl Fault {
    fn new(reason: String) -> Self {
        Self(Box::new(Inner { kind: Kind::Type { reason, found: None }, path: String::new() }))
    }

    pub(super) fn nesting() -> Self {
        Self::new("the type recurses, and the term nests too deep for it".to_owned())
    }

    /// For a term that has no external form.
    pub(super) fn unencodable(error: &EncodeError) -> Self {
        Self::new(format!("expected a term that has an external form: {error}"))
            .at(0, || "one that has none".to_owned())
    }

    /// Says where it is. The innermost place stands.
    pub(super) fn at(mut self, offset: usize, describe: impl FnOnce() -> String) -> Self {
        if let Kind::Type { found: found @ None, .. } = &mut self.0.kind {
            *found = Some((offset, describe()));
        }
        self
    }

    /// Says what it is in.
    #[cold]
    pub(super) fn within(mut self, step: Step<'_>) -> Self {
        prepend(&mut self.0.path, step);
        self
    }
}

impl From<DecodeError> for Fault {
    #[cold]
    fn from(error: DecodeError) -> Self {
        Self(Box::new(Inner { kind: Kind::Wire(error), path: String::new() }))
    }
}

impl From<Fault> for DecodeError {
    fn from(Fault(inner): Fault) -> Self {
        match inner.kind {
            Kind::Wire(error) => error,
            Kind::Type { reason, found } => {
                let (offset, found) = found.unwrap_or_default();
                let path = inner.path.strip_prefix('.').unwrap_or(&inner.path).to_owned();
                let mismatch = Mismatch { path, reason, found };
                Self { kind: DecodeErrorKind::Mismatch(Box::new(mismatch)), offset }
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            Kind::Wire(error) => error.fmt(f),
            Kind::Type { reason, .. } => f.write_str(reason),
        }
    }
}

impl std::error::Error for Fault {}

/// The text says what was expected; what was found is told of the term itself, in Erlang's words.
impl de::Error for Fault {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    #[cold]
    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}"))
    }

    #[cold]
    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}"))
    }

    #[cold]
    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}"))
    }

    #[cold]
    fn unknown_variant(_: &str, variants: &'static [&'static str]) -> Self {
        Self::new(format!("expected {}", one_of(variants)))
    }

    #[cold]
    fn unknown_field(field: &str, fields: &'static [&'static str]) -> Self {
        Self::new(format!("a field {field} that is none of {}", one_of(fields)))
    }

    #[cold]
    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("expected a field {field}"))
    }

    #[cold]
    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("expected the field {field} once"))
    }
}

fn one_of(names: &[&str]) -> String {
    // As serde names the variants of a `Result`; on the wire they have other names.
    if names == super::de::RESULT { "ok or error".to_owned() } else { names.join(" or ") }
}
