//! `io_lib:format/2`: text from a format string and its arguments.
//!
//! Source: `io:fwrite/2` in *stdlib*, and `io_lib_format.erl`.

use super::chars::{Encoding, characters, list_characters};
use super::layout::{self, Style};
use crate::term::{BigInt, Term};

/// A text that is longer is not made: a field of a billion spaces is twelve characters of a format.
pub const TEXT_BYTES_MAX: usize = 16 << 20;

/// Longer lines of `~p` are broken, where its field width does not say otherwise.
const LINE_LENGTH: usize = 80;

/// What is wrong with a format, or with its arguments. Erlang only says `badarg`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the format, from its character {at} on: {kind}")]
pub struct FormatError {
    /// Where the control sequence begins, in characters; the format's length for what concerns all of it.
    pub at: usize,
    /// What is wrong.
    pub kind: FormatErrorKind,
}

/// The kinds of a [`FormatError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatErrorKind {
    /// No format ends like this, or it is no text.
    #[error("it is not finished, or no text")]
    Malformed,
    /// A control character that there is not.
    #[error("there is no ~{0}")]
    UnknownControl(char),
    /// More arguments are asked for than there are.
    #[error("~{0} has no argument")]
    NoArgument(char),
    /// Fewer are.
    #[error("{0} more arguments than the format asks for")]
    ExtraArguments(usize),
    /// The argument, or a width, precision, base or padding, is none that the control takes.
    #[error("~{0} does not take this argument, field width, precision or padding")]
    BadArgument(char),
    /// The text would be longer than [`TEXT_BYTES_MAX`].
    #[error("the text is longer than {TEXT_BYTES_MAX} bytes")]
    TooLong,
}

/// As `io_lib:format/2`: all of its controls, with field widths, precisions, paddings and modifiers.
///
/// Where Erlang counts grapheme clusters, for the width of a `~ts`, characters are counted. What lists and binaries are
/// text follows an `erl` started with `+pc unicode`. Pids, ports, references and funs are written as [`Term`] displays
/// them. What is nested deeper than 128 levels is written as `...`, and integers of more than a kilobyte as `16#...`.
///
/// ```
/// use beamline::io;
/// use beamline::term::Term;
///
/// let arguments = [Term::from("tea"), Term::from(3.25), Term::tuple([Term::charlist("hot"), 2.into()])];
/// assert_eq!(io::format("~-6s|~6.2f ~p~n", &arguments)?, "tea   |  3.25 {\"hot\",2}\n");
/// # Ok::<(), io::FormatError>(())
/// ```
///
/// # Errors
/// Where Erlang's fails with `badarg`, and for a text of more than [`TEXT_BYTES_MAX`].
pub fn format(format: &str, arguments: &[Term]) -> Result<String, FormatError> {
    format_characters(&format.chars().collect::<Vec<_>>(), arguments)
}

/// The same for a format as Erlang's nodes send it: an atom, a binary of Latin-1, or a list of characters.
pub(super) fn format_term(format: &Term, arguments: &[Term]) -> Result<String, FormatError> {
    let characters: Option<Vec<char>> = match format {
        Term::Atom(atom) => Some(atom.as_str().chars().collect()),
        Term::Binary(bytes) => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Term::List(elements) => elements.iter().map(character).collect(),
        _ => None,
    };
    let malformed = FormatError { at: 0, kind: FormatErrorKind::Malformed };
    format_characters(&characters.ok_or(malformed)?, arguments)
}

fn character(term: &Term) -> Option<char> {
    char::from_u32(u32::try_from(term.as_integer()?).ok()?)
}

fn format_characters(format: &[char], arguments: &[Term]) -> Result<String, FormatError> {
    let mut scan = Scan { format, at: 0, arguments };
    let mut text = Text::default();
    while let Some(next) = scan.next_char() {
        let at = scan.at - 1;
        let written = if next == '~' {
            scan.spec().and_then(|spec| write(&spec, &mut scan, &mut text))
        } else {
            text.push(next)
        };
        written.map_err(|kind| FormatError { at, kind })?;
    }
    match scan.arguments.len() {
        0 => Ok(text.text),
        extra => Err(FormatError { at: format.len(), kind: FormatErrorKind::ExtraArguments(extra) }),
    }
}

/// What is made so far, and the column that it has come to.
#[derive(Default)]
struct Text {
    text: String,
    column: usize,
}

impl Text {
    fn push(&mut self, next: char) -> Result<(), FormatErrorKind> {
        self.column = match next {
            '\n' => 0,
            '\t' => (self.column + 8) / 8 * 8,
            _ => self.column + 1,
        };
        self.text.push(next);
        if self.text.len() > TEXT_BYTES_MAX { Err(FormatErrorKind::TooLong) } else { Ok(()) }
    }

    fn push_all(&mut self, text: &str) -> Result<(), FormatErrorKind> {
        text.chars().try_for_each(|next| self.push(next))
    }

    fn pad(&mut self, pad: char, count: usize) -> Result<(), FormatErrorKind> {
        std::iter::repeat_n(pad, count).try_for_each(|pad| self.push(pad))
    }
}

struct Scan<'a> {
    format: &'a [char],
    at: usize,
    arguments: &'a [Term],
}

/// A control sequence: `~F.P.PadModC`.
struct Spec {
    width: Option<usize>,
    left: bool,
    precision: Option<usize>,
    pad: char,
    unicode: bool,
    strings: bool,
    control: char,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<char> {
        self.format.get(self.at).copied()
    }

    fn next_char(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += 1;
        Some(next)
    }

    fn skip(&mut self, expected: char) -> bool {
        let is_next = self.peek() == Some(expected);
        self.at += usize::from(is_next);
        is_next
    }

    fn argument(&mut self, control: char) -> Result<&'a Term, FormatErrorKind> {
        let (first, rest) = self.arguments.split_first().ok_or(FormatErrorKind::NoArgument(control))?;
        self.arguments = rest;
        Ok(first)
    }

    /// Digits, or a `*` for the next argument; nothing if neither is there.
    fn value(&mut self) -> Result<Option<i64>, FormatErrorKind> {
        if self.skip('*') {
            let value = self.argument('*')?.as_integer().ok_or(FormatErrorKind::BadArgument('*'))?;
            return Ok(Some(value));
        }
        let mut value = None;
        while let Some(digit) = self.peek().and_then(|next| next.to_digit(10)) {
            self.at += 1;
            let longer =
                value.unwrap_or(0i64).checked_mul(10).and_then(|value| value.checked_add(digit.into()));
            value = Some(longer.ok_or(FormatErrorKind::TooLong)?);
        }
        Ok(value)
    }

    fn spec(&mut self) -> Result<Spec, FormatErrorKind> {
        let minus = self.skip('-');
        let (width, left) = match self.value()? {
            None if minus => return Err(FormatErrorKind::BadArgument('-')),
            None => (None, false),
            Some(width) => (Some(size(width.unsigned_abs())?), (width < 0) != minus && width != 0),
        };
        let mut precision = None;
        if self.skip('.')
            && let Some(value) = self.value()?
        {
            precision = Some(size(u64::try_from(value).map_err(|_| FormatErrorKind::BadArgument('.'))?)?);
        }
        let mut pad = ' ';
        if self.skip('.') {
            pad = self.next_char().ok_or(FormatErrorKind::Malformed)?;
            if pad == '*' {
                pad = character(self.argument('*')?).ok_or(FormatErrorKind::BadArgument('*'))?;
            }
        }
        let (mut unicode, mut strings) = (false, true);
        loop {
            match self.next_char().ok_or(FormatErrorKind::Malformed)? {
                't' => unicode = true,
                'l' => strings = false,
                control => return Ok(Spec { width, left, precision, pad, unicode, strings, control }),
            }
        }
    }
}

fn size(value: u64) -> Result<usize, FormatErrorKind> {
    let size = usize::try_from(value).ok().filter(|size| *size <= TEXT_BYTES_MAX);
    size.ok_or(FormatErrorKind::TooLong)
}

fn write(spec: &Spec, scan: &mut Scan<'_>, text: &mut Text) -> Result<(), FormatErrorKind> {
    let bad = FormatErrorKind::BadArgument(spec.control);
    match spec.control {
        '~' => spec.char('~', text),
        'n' => match spec.width {
            Some(_) if spec.left => Err(bad),
            width => text.pad('\n', width.unwrap_or(1)),
        },
        'i' => scan.argument('i').map(drop),
        'c' => {
            let code = scan.argument('c')?.as_integer().ok_or(bad.clone())?;
            let code = if spec.unicode { u32::try_from(code).ok() } else { Some((code & 0xFF) as u32) };
            spec.char(code.and_then(char::from_u32).ok_or(bad)?, text)
        }
        's' => {
            let argument = scan.argument('s')?;
            spec.string(&spec.text_of(argument).ok_or(bad)?, text)
        }
        'w' | 'p' => {
            let argument = scan.argument(spec.control)?;
            spec.written(argument, None, text)
        }
        'W' | 'P' => {
            let (argument, depth) = (scan.argument(spec.control)?, scan.argument(spec.control)?);
            // A negative depth is none.
            let depth = depth.as_integer().ok_or(bad)?;
            spec.written(argument, usize::try_from(depth).ok(), text)
        }
        'e' | 'f' | 'g' => {
            let Term::Float(value) = scan.argument(spec.control)? else { return Err(bad) };
            let float = spec.float(*value).ok_or(bad)?;
            spec.term(&float, spec.width, text)
        }
        'b' | 'B' | '+' | '#' => {
            let argument = scan.argument(spec.control)?;
            let base = spec.precision.unwrap_or(10);
            let prefix = if matches!(spec.control, '+' | '#') { format!("{base}#") } else { String::new() };
            spec.integer(argument, base, &prefix, text)
        }
        'x' | 'X' => {
            let (argument, prefix) = (scan.argument(spec.control)?, scan.argument(spec.control)?);
            let prefix = match prefix {
                Term::Atom(atom) => atom.as_str().to_owned(),
                prefix => list_characters(prefix).ok_or(bad)?,
            };
            spec.integer(argument, spec.precision.unwrap_or(10), &prefix, text)
        }
        unknown => Err(FormatErrorKind::UnknownControl(unknown)),
    }
}

impl Spec {
    fn bad(&self) -> FormatErrorKind {
        FormatErrorKind::BadArgument(self.control)
    }

    /// Writes what is as long as `len`, within `width`.
    fn adjust(
        &self,
        width: usize,
        len: usize,
        text: &mut Text,
        write: impl FnOnce(&mut Text) -> Result<(), FormatErrorKind>,
    ) -> Result<(), FormatErrorKind> {
        let pad = width.saturating_sub(len);
        if !self.left {
            text.pad(self.pad, pad)?;
        }
        write(text)?;
        if self.left { text.pad(self.pad, pad) } else { Ok(()) }
    }

    fn char(&self, char: char, text: &mut Text) -> Result<(), FormatErrorKind> {
        match (self.width, self.precision) {
            (None, None) => text.push(char),
            (Some(count), None) | (None, Some(count)) => text.pad(char, count),
            (Some(width), Some(count)) if width >= count => {
                self.adjust(width, count, text, |text| text.pad(char, count))
            }
            _ => Err(self.bad()),
        }
    }

    /// What `~s` takes.
    fn text_of(&self, argument: &Term) -> Option<String> {
        match argument {
            Term::Atom(atom) if self.unicode || atom.as_str().chars().all(|char| char <= '\u{ff}') => {
                Some(atom.as_str().to_owned())
            }
            Term::List(_) | Term::ImproperList(_) | Term::Binary(_) if self.unicode => {
                characters(argument, Encoding::UnicodeOrLatin1)
            }
            Term::List(_) | Term::ImproperList(_) | Term::Binary(_) => characters(argument, Encoding::Latin1),
            _ => None,
        }
    }

    fn string(&self, string: &str, text: &mut Text) -> Result<(), FormatErrorKind> {
        let len = string.chars().count();
        let (width, precision) = match (self.width, self.precision) {
            (None, None) => return text.push_all(string),
            (Some(width), None) => (width, len.min(width)),
            (Some(width), Some(precision)) if width == precision => (width, len.min(width)),
            // Up to the precision it is padded on the right, wherever it stands in its field.
            (Some(width), Some(precision)) if width > precision => (width, precision),
            (None, Some(precision)) => (precision, precision),
            _ => return Err(self.bad()),
        };
        self.adjust(width, precision, text, |text| {
            string.chars().take(precision).try_for_each(|next| text.push(next))?;
            text.pad(self.pad, precision.saturating_sub(len))
        })
    }

    /// What does not fit its field is written as stars.
    fn term(&self, term: &str, precision: Option<usize>, text: &mut Text) -> Result<(), FormatErrorKind> {
        let Some(width) = self.width.or(precision) else { return text.push_all(term) };
        let len = term.chars().count();
        let room = precision.map_or(width, |precision| precision.min(width)).min(len);
        if len > room {
            self.adjust(width, room, text, |text| text.pad('*', room))
        } else {
            self.adjust(width, len, text, |text| text.push_all(term))
        }
    }

    fn written(&self, argument: &Term, depth: Option<usize>, text: &mut Text) -> Result<(), FormatErrorKind> {
        if matches!(self.control, 'w' | 'W') {
            let style = Style { pretty: false, strings: false, unicode: self.unicode };
            return self.term(&layout::line(argument, depth, style), self.precision, text);
        }
        if self.left {
            return Err(self.bad());
        }
        let style = Style { pretty: true, strings: self.strings, unicode: self.unicode };
        let column = self.precision.unwrap_or(text.column + 1);
        let length = self.width.unwrap_or(LINE_LENGTH);
        text.push_all(&layout::lines(argument, depth, style, column, length))
    }

    fn integer(
        &self,
        argument: &Term,
        base: usize,
        prefix: &str,
        text: &mut Text,
    ) -> Result<(), FormatErrorKind> {
        let base = u32::try_from(base).ok().filter(|base| (2..=36).contains(base)).ok_or(self.bad())?;
        let value = match argument {
            Term::Integer(value) => BigInt::from(*value),
            Term::BigInt(value) => value.clone(),
            _ => return Err(self.bad()),
        };
        // Those of which base 10 would take too long are written as they are anywhere else.
        let mut digits = value.to_str_radix(base).unwrap_or_else(|| value.to_string());
        if matches!(self.control, 'B' | 'X' | '#') {
            digits.make_ascii_uppercase();
        }
        let (sign, digits) = digits.strip_prefix('-').map_or(("", &*digits), |digits| ("-", digits));
        self.term(&format!("{sign}{prefix}{digits}"), None, text)
    }

    fn float(&self, value: f64) -> Option<String> {
        let precision = self.precision.unwrap_or(6);
        match self.control {
            'e' => float_e(value, precision),
            'f' => float_f(value, precision),
            _ => float_g(value, precision),
        }
    }
}

/// The decimal digits of a float, and its power of ten: `0.d1d2d3... * 10^place`. As many digits as Erlang looks at.
fn digits(value: f64) -> (Vec<u8>, i32) {
    let text = format!("{:.20e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect();
    (digits, exponent.parse::<i32>().unwrap_or_default() + 1)
}

/// The first `whole` and the next `decimals` digits, the last rounded, half up; and whether a one is carried over their front.
fn mantissa(digits: &[u8], whole: usize, decimals: usize) -> (String, bool) {
    let len = whole + decimals;
    let mut kept: Vec<u8> = digits.iter().copied().chain(std::iter::repeat(0)).take(len).collect();
    let mut carry = digits.get(len).is_some_and(|next| *next >= 5);
    for digit in kept.iter_mut().rev() {
        if !carry {
            break;
        }
        (*digit, carry) = if *digit == 9 { (0, true) } else { (*digit + 1, false) };
    }
    let digit = |digit: &u8| char::from(b'0' + digit);
    let (whole, decimals) = kept.split_at(whole);
    let text = whole.iter().map(digit).chain(['.']).chain(decimals.iter().map(digit)).collect();
    (text, carry)
}

fn sign(value: f64) -> &'static str {
    if value.is_sign_negative() { "-" } else { "" }
}

fn float_e(value: f64, precision: usize) -> Option<String> {
    let (digits, place) = digits(value);
    let (text, carry) = mantissa(&digits, 1, precision.checked_sub(1).filter(|decimals| *decimals > 0)?);
    let (first, exponent) = if carry { ("1", place) } else { (&text[..1], place - 1) };
    let plus = if exponent >= 0 { "+" } else { "" };
    Some(format!("{}{first}{}e{plus}{exponent}", sign(value), &text[1..]))
}

fn float_f(value: f64, precision: usize) -> Option<String> {
    if precision == 0 {
        return None;
    }
    let (mut digits, place) = digits(value);
    let whole = usize::try_from(place).unwrap_or(0);
    let whole = if whole == 0 {
        digits.splice(0..0, std::iter::repeat_n(0, place.unsigned_abs() as usize + 1));
        1
    } else {
        whole
    };
    let (text, carry) = mantissa(&digits, whole, precision);
    Some(format!("{}{}{text}", sign(value), if carry { "1" } else { "" }))
}

/// As `~f` for what is neither large nor small, and else as `~e`.
fn float_g(value: f64, precision: usize) -> Option<String> {
    let precision_i = i64::try_from(precision).ok().filter(|precision| *precision >= 1)?;
    let exponent = match value.abs() {
        abs if abs < 1e-1 => Some(-2),
        abs if abs < 1e0 => Some(-1),
        abs if abs < 1e1 => Some(0),
        abs if abs < 1e2 => Some(1),
        abs if abs < 1e3 => Some(2),
        abs if abs < 1e4 => Some(3),
        _ => None,
    };
    let as_f = exponent.filter(|exponent| {
        (precision_i <= 1 && *exponent == -1) || (precision_i - 1 > *exponent && *exponent >= -1)
    });
    match as_f {
        Some(exponent) => float_f(value, usize::try_from(precision_i - 1 - exponent).ok()?),
        None => float_e(value, precision.max(2)),
    }
}
