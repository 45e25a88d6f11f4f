//! Atoms, without an atom table: short text lives in the value itself, longer text is shared. A peer that
//! sends new atoms therefore costs what its messages cost, and nothing that outlives them.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use super::atom_text::Text;

/// The most characters an atom may have.
pub const ATOM_CHARS_MAX: usize = 255;

/// An Erlang atom: UTF-8 text of at most 255 characters.
///
/// ```
/// use beamline::term::Atom;
///
/// const OK: Atom = Atom::from_static("ok");
/// assert_eq!(Atom::new("ok").unwrap(), OK);
/// ```
#[derive(Clone)]
pub struct Atom(Text);

/// The text has more characters than an atom can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an atom has at most {ATOM_CHARS_MAX} characters, this text has {chars}")]
pub struct AtomError {
    chars: usize,
}

impl Atom {
    /// An atom of this text.
    ///
    /// # Errors
    /// If the text has more than 255 characters.
    pub fn new(text: &str) -> Result<Self, AtomError> {
        Self::check(text)?;
        Ok(Self::from_checked(text))
    }

    /// Whether a text can be an atom's.
    #[inline]
    pub(crate) fn check(text: &str) -> Result<(), AtomError> {
        // A character takes at least a byte, so short text needs no count.
        if text.len() > ATOM_CHARS_MAX { Self::check_long(text) } else { Ok(()) }
    }

    #[cold]
    fn check_long(text: &str) -> Result<(), AtomError> {
        let chars = text.chars().count();
        if chars > ATOM_CHARS_MAX { Err(AtomError { chars }) } else { Ok(()) }
    }

    /// An atom of a text that [`Atom::check`] has passed.
    #[inline]
    pub(crate) fn from_checked(text: &str) -> Self {
        Self(Text::new(text))
    }

    /// The atom, if it is one of those that most atoms in messages are: their text is not looked at again.
    #[inline]
    pub(crate) fn known(text: &[u8]) -> Option<Self> {
        Some(Self::from_checked(match text {
            b"ok" => "ok",
            b"nil" => "nil",
            b"true" => "true",
            b"false" => "false",
            b"error" => "error",
            b"undefined" => "undefined",
            _ => return None,
        }))
    }

    /// An atom of a text known to the program.
    ///
    /// # Panics
    /// If the text has more than 255 bytes: a mistake in the program, found when it is compiled if the atom is a constant.
    pub const fn from_static(text: &'static str) -> Self {
        assert!(text.len() <= ATOM_CHARS_MAX, "an atom has at most 255 characters");
        Self(Text::from_static(text))
    }

    /// Whether its text is shared.
    #[inline]
    pub(super) fn is_heap_allocated(&self) -> bool {
        self.0.is_shared()
    }

    /// The same in each run of each program.
    #[inline]
    pub(crate) fn text_hash(&self) -> u32 {
        self.0.hash()
    }

    /// How long a text of at most 16 bytes is, and its bytes as two words, the first byte lowest.
    #[inline(always)]
    pub(crate) fn short(&self) -> Option<(usize, [u64; 2])> {
        self.0.short()
    }

    /// The atom's text.
    #[inline]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl From<&'static str> for Atom {
    /// As [`Atom::from_static`].
    fn from(text: &'static str) -> Self {
        Self::from_static(text)
    }
}

impl Deref for Atom {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Atom {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Atom {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Atom {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Atom {}

impl PartialEq<str> for Atom {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Atom {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialOrd for Atom {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Atom {
    /// By code point, as Erlang orders atoms.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Atom {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}
