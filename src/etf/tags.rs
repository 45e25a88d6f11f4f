//! The tags, spelled as the specification spells them.

pub(crate) const VERSION_MAGIC: u8 = 131;
