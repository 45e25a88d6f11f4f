//! What a decoder refuses to grow past.

/// Limits on one decoded term.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Limits {
    /// How deep terms may nest.
    pub depth: u32,
    /// The bytes that a compressed term may inflate to.
    pub inflated_len: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 4096, inflated_len: 64 << 20 }
    }
}
