//! Finding out that bytes are text, and copying short text. The standard library looks at short text byte by byte: 68
//! instructions for six bytes.

/// The longest text that is looked at in words here.
const WORDS_MAX: usize = 32;

/// The bytes as text, if they are UTF-8.
#[inline(always)]
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    if is_short_ascii(bytes) {
        // SAFETY: each of the bytes is below 128, and ASCII is UTF-8.
        return Some(unsafe { std::str::from_utf8_unchecked(bytes) });
    }
    long_text(bytes)
}

#[inline(never)]
fn long_text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Whether so few bytes are all ASCII. The first and the last word of a slice overlap, and make up all of it.
#[inline(always)]
pub(crate) fn is_short_ascii(bytes: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let mut all = u64::from_ne_bytes(*first) | u64::from_ne_bytes(*last);
        if bytes.len() > 16 {
            if bytes.len() > WORDS_MAX {
                return false;
            }
            let (words, _) = bytes.as_chunks();
            all = words.iter().fold(all, |all, word| all | u64::from_ne_bytes(*word));
        }
        return all & HIGH == 0;
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return (u32::from_ne_bytes(*first) | u32::from_ne_bytes(*last)) & HIGH as u32 == 0;
    }
    bytes.iter().fold(0, |all, byte| all | byte) < 0x80
}

/// At most 16 bytes as two words, the first byte lowest.
#[inline(always)]
pub(crate) fn words(bytes: &[u8]) -> Option<[u64; 2]> {
    let len = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        // What of the last eight bytes is not among the first.
        let shift = 128_usize.checked_sub(8 * len)?;
        return Some([u64::from_le_bytes(*first), u64::from_le_bytes(*last).unbounded_shr(shift as u32)]);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        // Where they overlap they are the same.
        let last = u64::from(u32::from_le_bytes(*last)) << (8 * (len - 4));
        return Some([u64::from(u32::from_le_bytes(*first)) | last, 0]);
    }
    let low = match *bytes {
        [a, b, c] => [a, b, c],
        [a, b] => [a, b, 0],
        [a] => [a, 0, 0],
        _ => [0; 3],
    };
    Some([u64::from(low[0]) | u64::from(low[1]) << 8 | u64::from(low[2]) << 16, 0])
}
