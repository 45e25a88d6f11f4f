//! What can be wrong with bytes, and with values.

/// Bytes that are not a term: what is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {kind}")]
pub struct DecodeError {
    /// The fault.
    pub kind: DecodeErrorKind,
    /// Where in the input, in bytes from its start.
    pub offset: usize,
}

/// The fault in a [`DecodeError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The input ends within a term.
    #[error("the input ends within a term")]
    Truncated,
}

/// A value that has no external form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// NaN and the infinities are no Erlang floats.
    #[error("{0} is not a finite number")]
    NotFinite(f64Bits),
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
