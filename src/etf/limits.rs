//! What a decoder refuses to grow past.

/// Limits on one decoded term. Whoever sends the bytes is at fault when one is passed.
///
/// No count or length that the input claims is ever reserved before the bytes for it are known to be there, so these
/// bound what honest-looking input may cost.
///
/// ```
/// use beamline::etf::Limits;
///
/// let mut limits = Limits::default();
/// limits.depth = 100;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How deep containers may nest. The default, 2^20, is past what Erlang programs send: their deep terms are
    /// accumulators and parse trees of some thousand levels. Nothing recurses on the depth; a level costs about
    /// 100 bytes while a term is decoded.
    pub depth: u32,
    /// How many values a term may consist of: each element, key and tail, and each byte of a list of bytes. It bounds the
    /// memory of a decoded [`Term`](crate::term::Term), which takes up to 48 bytes a value (one byte on the wire is enough for a value).
    /// The default is 2^25.
    pub values: usize,
    /// How many distinct atoms a term may spell out. Atoms are not kept in a table here, but other
    /// nodes to which they are sent on do keep them, forever. The default is 2^20, the size of Erlang's table.
    pub atoms: usize,
    /// The bytes of an integer's magnitude. The default, 1 MiB, is what OTP accepts.
    pub integer_len: usize,
    /// The bytes that a compressed term may inflate to. The default is 64 MiB.
    pub inflated_len: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 1 << 20, values: 1 << 25, atoms: 1 << 20, integer_len: 1 << 20, inflated_len: 64 << 20 }
    }
}
