//! What can be wrong with bytes, and with values.

/// Bytes that are not a term: what is wrong, and where. The sender of the bytes is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {kind}")]
pub struct DecodeError {
    /// The fault.
    pub kind: DecodeErrorKind,
    /// Where in the input, in bytes from its start: of the tag of the value at fault, as far as one value is.
    pub offset: usize,
}

impl DecodeError {
    #[cold]
    pub(crate) fn new(kind: DecodeErrorKind, offset: usize) -> Self {
        Self { kind, offset }
    }
}

/// The fault in a [`DecodeError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The input ends within a term, or a count or length goes past its end.
    #[error("the input ends within a term")]
    Truncated,
    /// The input does not begin with the version byte.
    #[error("a term begins with the version byte 131, not with {0}")]
    Version(u8),
    /// No such tag, or one that has no place here.
    #[error("{0} is not the tag of a term")]
    Tag(u8),
    /// A tag of a value stands where another kind of value has to: an atom, a pid or an integer.
    #[error("tag {0} stands where {1} has to")]
    Expected(u8, &'static str),
    /// The text of an atom is not UTF-8.
    #[error("an atom is not UTF-8")]
    AtomText,
    /// An atom of more than 255 characters.
    #[error("an atom has more than 255 characters")]
    AtomLength,
    /// A reference to an atom that the distribution header does not have.
    #[error("atom {index} of a distribution header with {len}")]
    AtomRef {
        /// The number asked for.
        index: u8,
        /// How many there are.
        len: usize,
    },
    /// A float that is NaN, infinite, or not a number's text.
    #[error("not a finite float")]
    Float,
    /// A bit string whose count of used bits does not fit its length.
    #[error("a bit string of {len} bytes with {bits} bits in the last")]
    Bits {
        /// Its bytes.
        len: usize,
        /// The bits said to be used in the last byte.
        bits: u8,
    },
    /// A reference of more than five words.
    #[error("a reference of {0} words")]
    ReferenceWords(usize),
    /// A creation or a number that the identifier's old form cannot have.
    #[error("an identifier's number is out of its range")]
    Identifier,
    /// An arity that is not 0 to 255.
    #[error("a fun of arity {0}")]
    Arity(i64),
    /// More free variables than a fun can have.
    #[error("a fun with {0} free variables")]
    FreeVariables(usize),
    /// A map with two equal keys.
    #[error("a map with two equal keys")]
    DuplicateKey,
    /// A compressed term that does not inflate to the announced size.
    #[error("a compressed term does not inflate to its announced size")]
    Inflate,
    /// A compressed term that announces more bytes than [`Limits::inflated_len`](super::Limits).
    #[error("a compressed term of {0} bytes is over the limit")]
    InflatedLength(u32),
    /// More levels than [`Limits::depth`](super::Limits).
    #[error("the term nests deeper than the limit")]
    Depth,
    /// More values than [`Limits::values`](super::Limits).
    #[error("the term has more values than the limit")]
    Values,
    /// More distinct atoms than [`Limits::atoms`](super::Limits).
    #[error("the term has more distinct atoms than the limit")]
    Atoms,
    /// An integer longer than [`Limits::integer_len`](super::Limits).
    #[error("an integer of {0} bytes is over the limit")]
    IntegerLength(usize),
    /// A term that is not of the type that it is decoded into.
    #[error(transparent)]
    Mismatch(Box<Mismatch>),
}

/// Where and why a term does not fit a type. The offset in the [`DecodeError`] is that of the term found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Where in the value: `Ask.window.secs`, `[3]`, `#{key}`; empty at its root.
    pub path: String,
    /// What was expected there.
    pub reason: String,
    /// The term found there, in Erlang's syntax, cut short.
    pub found: String,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}, found {}", self.reason, self.found)
    }
}

impl std::error::Error for Mismatch {}

/// A value that has no external form. The program that encodes it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// NaN and the infinities are no Erlang floats.
    #[error("{0} is not a finite number")]
    NotFinite(f64Bits),
    /// A length or count that does not fit the 32 bits that it has on the wire.
    #[error("{0} bytes or elements do not fit a term")]
    TooLong(usize),
    /// A native record whose names and values differ in number.
    #[error("a native record of {fields} fields with {values} values")]
    Record {
        /// The names.
        fields: usize,
        /// The values.
        values: usize,
    },
    /// A text that is no atom.
    #[error(transparent)]
    Atom(#[from] crate::term::AtomError),
    /// A bit string's last byte has 1 to 7 used bits, and there is one.
    #[error("a bit string of {len} bytes with {bits} bits in the last")]
    Bits {
        /// Its bytes.
        len: usize,
        /// The bits said to be used in the last byte.
        bits: u8,
    },
    /// A value that its own type refuses to serialize, or that says one length and has another.
    #[error("{0}")]
    Refused(String),
    /// A fault within a value.
    #[error("{path}: {fault}")]
    Within {
        /// Where in the value: `Ask.window.secs`, `[3]`, `#{key}`.
        path: String,
        /// The fault there.
        #[source]
        fault: Box<Self>,
    },
}

/// A float by its bits, so that errors can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub struct f64Bits(pub u64);

impl std::fmt::Display for f64Bits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", f64::from_bits(self.0))
    }
}
