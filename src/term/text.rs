//! The text of atoms, strings and floats in Erlang's syntax.

use std::fmt;
use std::fmt::Write;

/// Words that are not atoms unless quoted. `maybe` and `else` are reserved where the feature is on, as it is from OTP 27.
const RESERVED: [&str; 29] = [
    "after", "and", "andalso", "band", "begin", "bnot", "bor", "bsl", "bsr", "bxor", "case", "catch", "cond",
    "div", "else", "end", "fun", "if", "let", "maybe", "not", "of", "or", "orelse", "receive", "rem", "try",
    "when", "xor",
];

fn is_lower(char: char) -> bool {
    matches!(char, 'a'..='z' | 'ß'..='ö' | 'ø'..='ÿ')
}

fn is_upper(char: char) -> bool {
    matches!(char, 'A'..='Z' | 'À'..='Ö' | 'Ø'..='Þ')
}

/// Whether an unquoted atom may begin with it.
pub(super) fn begins_atom(char: char) -> bool {
    is_lower(char)
}

/// Whether an unquoted atom may go on with it.
pub(super) fn continues_atom(char: char) -> bool {
    is_lower(char) || is_upper(char) || matches!(char, '0'..='9' | '_' | '@')
}

/// Whether it is a word that no unquoted atom can be.
pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

/// As `io_lib:write_atom/1`.
pub(super) fn write_atom(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if text.chars().next().is_some_and(begins_atom) && text.chars().all(continues_atom) && !is_reserved(text)
    {
        return f.write_str(text);
    }
    write_quoted(text.chars(), '\'', f)
}

/// As `io_lib:printable_unicode_list/1` of one character.
pub(crate) fn is_printable(code: u32) -> bool {
    matches!(code, 8..=13 | 27 | 0x20..=0x7e | 0xa0..=0xd7ff | 0xe000..=0xfffd | 0x10000..=0x0010_ffff)
}

pub(crate) fn write_quoted(
    chars: impl Iterator<Item = char>,
    quote: char,
    f: &mut impl Write,
) -> fmt::Result {
    f.write_char(quote)?;
    for char in chars {
        let escape = match char {
            '\x08' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\x0b' => 'v',
            '\x0c' => 'f',
            '\r' => 'r',
            '\x1b' => 'e',
            '\x7f' => 'd',
            '\\' => '\\',
            char if char == quote => quote,
            '\0'..='\x1f' | '\u{80}'..='\u{9f}' => {
                write!(f, "\\{:03o}", u32::from(char))?;
                continue;
            }
            char if !is_printable(u32::from(char)) => {
                write!(f, "\\x{{{:X}}}", u32::from(char))?;
                continue;
            }
            char => {
                f.write_char(char)?;
                continue;
            }
        };
        write!(f, "\\{escape}")?;
    }
    f.write_char(quote)
}

/// Floats from here on are always written with an exponent, as their last digits may not be exact.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The shortest text that is this float again, in the shorter one of the two notations, as `float_to_list(Float, [short])`.
pub(crate) fn write_float(value: f64, f: &mut impl Write) -> fmt::Result {
    if value == 0.0 || !value.is_finite() {
        // No Erlang float is NaN or infinite.
        return write!(f, "{value:?}");
    }
    let text = format!("{:e}", value.abs());
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits: String = digits.chars().filter(|char| *char != '.').collect();
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if value.is_sign_negative() {
        f.write_char('-')?;
    }
    let (len, place) = (digits.len() as i32, exponent + 1);
    let exponent_cost = exponent.to_string().len() as i32 + 1 + if len == 1 { 2 } else { 1 };
    let zeros = |count: i32| "0".repeat(count.unsigned_abs() as usize);
    let exact = value.abs() < EXACT_MAX;
    if exact && 0 < place && place < len {
        let (whole, fraction) = digits.split_at(place as usize);
        write!(f, "{whole}.{fraction}")
    } else if exact && place == 0 {
        write!(f, "0.{digits}")
    } else if exact && place < 0 && 2 - place <= exponent_cost {
        write!(f, "0.{}{digits}", zeros(place))
    } else if exact && place >= len && place - len + 2 <= exponent_cost {
        write!(f, "{digits}{}.0", zeros(place - len))
    } else {
        let (first, rest) = digits.split_at(1);
        write!(f, "{first}.{}e{exponent}", if rest.is_empty() { "0" } else { rest })
    }
}
