//! Terms from text in Erlang's syntax.

use std::str::FromStr;

use num_bigint::BigInt as Big;

use super::text::{begins_atom, continues_atom, is_reserved};
use super::{Atom, BigInt, Binary, Fun, Map, Pid, Port, Reference, Term, bits_term};
use crate::etf::Limits;

/// Base 10 takes quadratic time; bases that are powers of two do not.
const DECIMAL_DIGITS_MAX: usize = 10_000;

/// A few characters of text should not ask for much memory.
const SEGMENT_BITS_MAX: usize = 4096;

/// Text that is no term: what is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {kind}")]
pub struct ParseError {
    /// The fault.
    pub kind: ParseErrorKind,
    /// Where in the text, in bytes from its start.
    pub offset: usize,
}

/// The fault in a [`ParseError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// The text ends within a term.
    #[error("the text ends where {0} has to be")]
    End(&'static str),
    /// Something else stands where there has to be this.
    #[error("here has to be {0}")]
    Expected(&'static str),
    /// A number that is not well formed, or out of its range.
    #[error("not a number that can be here")]
    Number,
    /// A backslash and something that it does not go with.
    #[error("no such escape sequence")]
    Escape,
    /// An atom of more than 255 characters.
    #[error("an atom has more than 255 characters")]
    AtomLength,
    /// A map with two equal keys.
    #[error("a map with two equal keys")]
    DuplicateKey,
    /// More levels than [`Limits::depth`].
    #[error("the term nests deeper than the limit")]
    Depth,
    /// More values than [`Limits::values`].
    #[error("the term has more values than the limit")]
    Values,
    /// An integer longer than [`Limits::integer_len`], or of more than 10 000 decimal digits.
    #[error("an integer is over the limit")]
    IntegerLength,
}

impl FromStr for Term {
    type Err = ParseError;

    /// Reads a term in Erlang's syntax, within the default [`Limits`]: what `Display` writes, and constants as
    /// they are written in programs.
    ///
    /// ```
    /// use beamline::term::Term;
    ///
    /// let term: Term = "{ok, [1, 2|3], #{a => <<1, 2:4>>}, fun m:f/1, 16#ff, $a, \"text\", 'q a'}".parse().unwrap();
    /// assert_eq!(term.to_string(), "{ok,[1,2|3],#{a => <<1,2:4>>},fun m:f/1,255,97,\"text\",'q a'}");
    /// ```
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text, &Limits::default())
    }
}

impl Term {
    /// As [`Term::from_str`], within these limits.
    ///
    /// # Errors
    /// If the text is not one term, which a full stop may follow; comments may be around all its parts.
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, ParseError> {
        let mut parser = Parser { text, offset: 0, limits, values: 0 };
        let term = parser.term()?;
        parser.blanks();
        parser.eat(".");
        parser.blanks();
        if parser.offset < text.len() {
            return parser.fault(ParseErrorKind::Expected("the end"));
        }
        Ok(term)
    }
}

/// A container whose children are being read.
struct Frame {
    kind: Kind,
    children: Vec<Term>,
    offset: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    List,
    Tail,
    Tuple,
    Map,
}

struct Parser<'a> {
    text: &'a str,
    offset: usize,
    limits: &'a Limits,
    values: usize,
}

type Parsed<T> = Result<T, ParseError>;

impl<'a> Parser<'a> {
    fn fault<T>(&self, kind: ParseErrorKind) -> Parsed<T> {
        self.fault_at(kind, self.offset)
    }

    fn fault_at<T>(&self, kind: ParseErrorKind, offset: usize) -> Parsed<T> {
        Err(ParseError { kind, offset })
    }

    fn expected<T>(&self, what: &'static str) -> Parsed<T> {
        let end = self.offset == self.text.len();
        self.fault(if end { ParseErrorKind::End(what) } else { ParseErrorKind::Expected(what) })
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.offset..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let char = self.peek()?;
        self.offset += char.len_utf8();
        Some(char)
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.offset += token.len();
        }
        found
    }

    fn need(&mut self, token: &'static str) -> Parsed<()> {
        self.blanks();
        if self.eat(token) { Ok(()) } else { self.expected(token) }
    }

    /// Steps over white space and comments.
    fn blanks(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if !self.eat("%") {
                return;
            }
            self.take_while(|char| char != '\n');
        }
    }

    fn take_while(&mut self, mut is: impl FnMut(char) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|char| !is(char)).unwrap_or(rest.len());
        self.offset += len;
        &rest[..len]
    }

    fn term(&mut self) -> Parsed<Term> {
        let mut stack: Vec<Frame> = Vec::new();
        loop {
            self.blanks();
            let offset = self.offset;
            let opened = if self.eat("[") {
                Some(Kind::List)
            } else if self.eat("{") {
                Some(Kind::Tuple)
            } else if self.eat("#{") {
                Some(Kind::Map)
            } else {
                None
            };
            let mut term = match opened {
                Some(kind) => {
                    if stack.len() >= self.limits.depth as usize {
                        return self.fault_at(ParseErrorKind::Depth, offset);
                    }
                    self.blanks();
                    if !self.eat(if kind == Kind::List { "]" } else { "}" }) {
                        stack.push(Frame { kind, children: Vec::new(), offset });
                        continue;
                    }
                    match kind {
                        Kind::List | Kind::Tail => Term::nil(),
                        Kind::Tuple => Term::tuple([]),
                        Kind::Map => Term::Map(Map::new()),
                    }
                }
                None => self.simple()?,
            };
            self.values += 1;
            // Hands the term to what it stands in, and that, if it ends there, in turn.
            loop {
                if self.values > self.limits.values {
                    return self.fault_at(ParseErrorKind::Values, offset);
                }
                let Some(frame) = stack.last_mut() else { return Ok(term) };
                self.blanks();
                if frame.kind != Kind::Tail {
                    frame.children.push(term);
                    if frame.kind == Kind::Map && frame.children.len() % 2 == 1 {
                        self.need("=>")?;
                        break;
                    }
                    if self.eat(",") {
                        break;
                    }
                    if frame.kind == Kind::List && self.eat("|") {
                        frame.kind = Kind::Tail;
                        break;
                    }
                    term = Term::nil();
                }
                let close = if matches!(frame.kind, Kind::List | Kind::Tail) { "]" } else { "}" };
                self.need(close)?;
                let Some(Frame { kind, children, offset }) = stack.pop() else { return Ok(term) };
                self.values += 1;
                term = match kind {
                    Kind::List | Kind::Tail => Term::list_with_tail(children, term),
                    Kind::Tuple => Term::Tuple(children.into()),
                    Kind::Map => match Map::from_flat(children) {
                        Ok(map) => Term::Map(map),
                        Err(_) => return self.fault_at(ParseErrorKind::DuplicateKey, offset),
                    },
                };
            }
        }
    }

    /// A term without terms in it.
    fn simple(&mut self) -> Parsed<Term> {
        let offset = self.offset;
        match self.peek() {
            Some('\'') => Ok(Term::Atom(self.atom()?)),
            Some('"') => {
                let text = self.quoted('"')?;
                self.values += text.chars().count();
                Ok(Term::charlist(&text))
            }
            Some('0'..='9' | '-' | '+' | '$') => self.number(),
            Some('<') if self.eat("<<") => self.binary(),
            Some('<') => {
                self.offset += 1;
                Ok(Term::Pid(self.pid()?))
            }
            Some('#') if self.eat("#Port<") => Ok(self.port()?.into()),
            Some('#') if self.eat("#Ref<") => Ok(self.reference()?.into()),
            Some(char) if begins_atom(char) => {
                let word = self.take_while(continues_atom);
                if word == "fun" {
                    return Ok(self.fun()?.into());
                }
                self.offset = offset;
                Ok(Term::Atom(self.atom()?))
            }
            _ => self.expected("a term"),
        }
    }

    fn atom(&mut self) -> Parsed<Atom> {
        self.blanks();
        let offset = self.offset;
        let quoted;
        let text = match self.peek() {
            Some('\'') => {
                quoted = self.quoted('\'')?;
                &quoted
            }
            Some(char) if begins_atom(char) => {
                let word = self.take_while(continues_atom);
                // These two are reserved only since OTP 27, and older nodes print them without quotes.
                if is_reserved(word) && !matches!(word, "maybe" | "else") {
                    return self.fault_at(ParseErrorKind::Expected("a term, not a reserved word"), offset);
                }
                word
            }
            _ => return self.expected("an atom"),
        };
        Atom::new(text).or_else(|_| self.fault_at(ParseErrorKind::AtomLength, offset))
    }

    fn quoted(&mut self, quote: char) -> Parsed<String> {
        self.offset += 1;
        let mut text = String::new();
        loop {
            text.push_str(self.take_while(|char| char != quote && char != '\\'));
            match self.next() {
                Some('\\') => text.push(self.escape()?),
                Some(_) => return Ok(text),
                None => return self.expected("a closing quote"),
            }
        }
    }

    /// The character that stands after a backslash.
    fn escape(&mut self) -> Parsed<char> {
        let offset = self.offset;
        let code = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
        let char = match self.next() {
            Some('b') => Some('\x08'),
            Some('d') => Some('\x7f'),
            Some('e') => Some('\x1b'),
            Some('f') => Some('\x0c'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('s') => Some(' '),
            Some('t') => Some('\t'),
            Some('v') => Some('\x0b'),
            Some('^') => self.next().filter(char::is_ascii).map(|char| char::from(char as u8 & 0x1f)),
            Some('x') if self.eat("{") => {
                let digits = self.take_while(|char| char.is_ascii_hexdigit());
                if self.eat("}") { code(digits, 16) } else { None }
            }
            Some('x') => {
                let mut left = 2;
                code(self.limited(&mut left, |char| char.is_ascii_hexdigit()), 16).filter(|_| left == 0)
            }
            Some('0'..='7') => {
                self.offset = offset;
                code(self.limited(&mut 3, |char| matches!(char, '0'..='7')), 8)
            }
            char => char,
        };
        match char {
            Some(char) => Ok(char),
            None => self.fault_at(ParseErrorKind::Escape, offset),
        }
    }

    /// At most `left` characters of a kind.
    fn limited(&mut self, left: &mut u32, is: impl Fn(char) -> bool) -> &'a str {
        self.take_while(|char| {
            let go_on = *left > 0 && is(char);
            *left -= u32::from(go_on);
            go_on
        })
    }

    fn digits(&mut self, radix: u32) -> Parsed<String> {
        let digits = self.take_while(|char| char.is_digit(radix) || char == '_');
        let well_formed = !digits.is_empty()
            && !digits.starts_with('_')
            && !digits.ends_with('_')
            && !digits.contains("__");
        if !well_formed {
            return self.fault(ParseErrorKind::Number);
        }
        Ok(digits.replace('_', ""))
    }

    fn number(&mut self) -> Parsed<Term> {
        let offset = self.offset;
        let negative = self.eat("-");
        if !negative {
            self.eat("+");
        }
        if self.eat("$") {
            let char = match self.next() {
                Some('\\') => self.escape()?,
                Some(char) => char,
                None => return self.expected("a character"),
            };
            let code = i64::from(u32::from(char));
            return Ok(Term::Integer(if negative { -code } else { code }));
        }
        let mut radix = 10;
        let mut digits = self.digits(10)?;
        if self.eat("#") {
            radix = match digits.parse() {
                Ok(radix @ 2..=36) => radix,
                _ => return self.fault_at(ParseErrorKind::Number, offset),
            };
            digits = self.digits(radix)?;
        } else if self.rest().as_bytes().first() == Some(&b'.')
            && self.rest().as_bytes().get(1).is_some_and(u8::is_ascii_digit)
        {
            self.offset += 1;
            let mut text = format!("{digits}.{}", self.digits(10)?);
            if self.eat("e") || self.eat("E") {
                text.push('e');
                if self.eat("-") {
                    text.push('-');
                } else {
                    self.eat("+");
                }
                text.push_str(&self.digits(10)?);
            }
            return match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(Term::Float(if negative { -value } else { value })),
                _ => self.fault_at(ParseErrorKind::Number, offset),
            };
        }
        if let Ok(value) = i64::from_str_radix(&digits, radix) {
            return Ok(Term::Integer(if negative { -value } else { value }));
        }
        // A digit of base 16 is half a byte, and no base has digits of a whole byte.
        let max = if radix.is_power_of_two() { self.limits.integer_len } else { DECIMAL_DIGITS_MAX };
        if digits.len() / 2 > max || (!radix.is_power_of_two() && digits.len() > max) {
            return self.fault_at(ParseErrorKind::IntegerLength, offset);
        }
        match Big::parse_bytes(digits.as_bytes(), radix) {
            Some(value) => Ok(BigInt(if negative { -value } else { value }).into()),
            None => self.fault_at(ParseErrorKind::Number, offset),
        }
    }

    /// A number of an identifier.
    fn plain<T: FromStr>(&mut self) -> Parsed<T> {
        self.blanks();
        let offset = self.offset;
        let digits = self.take_while(|char| char.is_ascii_digit());
        digits.parse().or_else(|_| self.fault_at(ParseErrorKind::Number, offset))
    }

    fn pid(&mut self) -> Parsed<Pid> {
        let node = self.atom()?;
        self.need(".")?;
        let id = self.plain()?;
        self.need(".")?;
        let serial = self.plain()?;
        Ok(Pid { node, id, serial, creation: self.creation()? })
    }

    fn port(&mut self) -> Parsed<Port> {
        let node = self.atom()?;
        self.need(".")?;
        let id = self.plain()?;
        Ok(Port { node, id, creation: self.creation()? })
    }

    fn reference(&mut self) -> Parsed<Reference> {
        let offset = self.offset;
        let node = self.atom()?;
        let mut words = Vec::new();
        while self.eat(".") {
            words.push(self.plain()?);
        }
        words.reverse();
        let creation = self.creation()?;
        match Reference::new(node, creation, &words) {
            Some(reference) => Ok(reference),
            None => self.fault_at(ParseErrorKind::Number, offset),
        }
    }

    /// What ends an identifier.
    fn creation(&mut self) -> Parsed<u32> {
        self.need("/")?;
        let creation = self.plain()?;
        self.need(">")?;
        Ok(creation)
    }

    fn fun(&mut self) -> Parsed<Fun> {
        let module = self.atom()?;
        self.need(":")?;
        let function = self.atom()?;
        self.need("/")?;
        Ok(Fun::External { module, function, arity: self.plain()? })
    }

    fn binary(&mut self) -> Parsed<Term> {
        let mut bits = Bits::default();
        self.blanks();
        if self.eat(">>") {
            return Ok(Term::Binary(Binary::new()));
        }
        loop {
            self.blanks();
            if self.peek() == Some('"') {
                let offset = self.offset;
                let text = self.quoted('"')?;
                if self.eat("/utf8") {
                    text.bytes().for_each(|byte| bits.push(u64::from(byte), 8));
                } else {
                    // Without a type the characters are bytes.
                    for char in text.chars() {
                        match u8::try_from(char) {
                            Ok(byte) => bits.push(u64::from(byte), 8),
                            Err(_) => {
                                return self
                                    .fault_at(ParseErrorKind::Expected("text of bytes, or /utf8"), offset);
                            }
                        }
                    }
                }
            } else {
                self.segment(&mut bits)?;
            }
            self.blanks();
            if !self.eat(",") {
                break;
            }
        }
        self.need(">>")?;
        let used = if bits.used == 0 { 8 } else { bits.used };
        Ok(bits_term(bits.bytes.into(), used))
    }

    /// An integer, in two's complement, with its size in bits.
    fn segment(&mut self, bits: &mut Bits) -> Parsed<()> {
        let offset = self.offset;
        let value = match self.peek() {
            Some('0'..='9' | '-' | '+' | '$') => self.number()?,
            _ => return self.expected("an integer or text"),
        };
        self.blanks();
        let size: usize = if self.eat(":") { self.plain()? } else { 8 };
        if size > SEGMENT_BITS_MAX {
            return self.fault_at(ParseErrorKind::Number, offset);
        }
        let value = match value {
            Term::Integer(value) => Big::from(value),
            Term::BigInt(value) => value.0,
            _ => return self.fault_at(ParseErrorKind::Number, offset),
        };
        let bytes = value.to_signed_bytes_le();
        let sign = if value.sign() == num_bigint::Sign::Minus { 0xff } else { 0 };
        for index in (0..size.div_ceil(8)).rev() {
            let width = if (index + 1) * 8 > size { size % 8 } else { 8 };
            bits.push(u64::from(bytes.get(index).copied().unwrap_or(sign)), width as u8);
        }
        Ok(())
    }
}

/// Bits put together from the high end on.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    /// The used bits of the last byte, 0 for all.
    used: u8,
}

impl Bits {
    /// The low `width` (1 to 8) bits of `value`.
    fn push(&mut self, value: u64, width: u8) {
        for bit in (0..width).rev() {
            let set = (value >> bit) & 1 == 1;
            if self.used == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from(set) << (7 - self.used);
            }
            self.used = (self.used + 1) % 8;
        }
    }
}
