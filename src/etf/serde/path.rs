//! Where in a value an error is: `Ask.window.secs`, `[3]`, `#{key}`. Steps are put in front while the error travels
//! outwards, so a value without error pays nothing.

use std::fmt::Write;

/// One step into a value.
pub(super) enum Step<'a> {
    /// The type at the root.
    Type(&'a str),
    /// A field, or a variant.
    Field(&'a str),
    /// An element, from 0.
    Index(usize),
    /// The value under a key.
    Key(&'a str),
}

pub(super) fn prepend(path: &mut String, step: Step<'_>) {
    let mut whole = String::with_capacity(path.len() + 16);
    let written = match step {
        Step::Type(name) => write!(whole, "{name}"),
        Step::Field(name) => write!(whole, ".{name}"),
        Step::Index(index) => write!(whole, "[{index}]"),
        Step::Key(key) => write!(whole, "#{{{key}}}"),
    };
    debug_assert!(written.is_ok(), "a String takes any text");
    whole.push_str(path);
    *path = whole;
}
