//! A term as the text of an error: in Erlang's syntax, cut short.

use std::fmt::{self, Write};

use crate::etf::{Reader, Token};

/// The most bytes of text before it is cut.
const TEXT_MAX: usize = 60;

/// A container whose values are being printed.
struct Open {
    kind: Kind,
    /// Values still to come; those of a map are its keys and values.
    left: usize,
    first: bool,
}

#[derive(PartialEq)]
enum Kind {
    List,
    /// What follows a list's elements.
    Tail,
    Tuple,
    Map,
}

/// The reader's next term. Reads no more of it than it prints.
pub(super) fn describe(mut reader: Reader<'_>) -> String {
    let mut out = String::new();
    // A String takes any text, so the error is a reader's.
    let complete = print(&mut reader, &mut out);
    if complete == Ok(true) && out.len() <= TEXT_MAX {
        return out;
    }
    out.truncate(out.floor_char_boundary(TEXT_MAX));
    out + "..."
}

/// Whether the term is complete: it ended before the text was long enough.
fn print(reader: &mut Reader<'_>, out: &mut String) -> Result<bool, fmt::Error> {
    let mut open: Vec<Open> = Vec::new();
    while out.len() <= TEXT_MAX {
        let Ok(token) = reader.next_token() else { return Ok(false) };
        if let Some(top) = open.last_mut() {
            let separator = match (&top.kind, &token) {
                (Kind::Tail, Token::List(left)) => {
                    // The tail is a list: it continues this one.
                    *top = Open { kind: Kind::List, left: *left, first: false };
                    continue;
                }
                (Kind::Tail, Token::Nil) => "",
                (Kind::Tail, _) => "|",
                _ if top.first => "",
                (Kind::Map, _) if top.left % 2 == 1 => "=>",
                _ => ",",
            };
            out.push_str(separator);
            top.left -= 1;
            top.first = false;
        }
        let tail = open.last().is_some_and(|top| top.kind == Kind::Tail);
        let entered = match token {
            Token::List(left) => Some((Kind::List, left, "[")),
            Token::Tuple(left) => Some((Kind::Tuple, left, "{")),
            Token::Map(left) => Some((Kind::Map, left * 2, "#{")),
            Token::Nil if tail => None,
            token => {
                if !value(token, out)? {
                    return Ok(false);
                }
                None
            }
        };
        if let Some((kind, left, text)) = entered {
            out.push_str(text);
            open.push(Open { kind, left, first: true });
        }
        while let Some(top) = open.last_mut().filter(|top| top.left == 0) {
            let close = match top.kind {
                Kind::List => {
                    *top = Open { kind: Kind::Tail, left: 1, first: true };
                    break;
                }
                Kind::Tail => "]",
                Kind::Tuple | Kind::Map => "}",
            };
            out.push_str(close);
            open.pop();
        }
        if open.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Prints a value without parts; whether it was one.
fn value(token: Token<'_>, out: &mut String) -> Result<bool, fmt::Error> {
    match token {
        Token::Integer(value) => write!(out, "{value}")?,
        Token::BigInteger { negative, magnitude } => {
            let sign = if negative { "negative " } else { "" };
            write!(out, "({sign}integer of {} bytes)", magnitude.len())?;
        }
        Token::Float(value) => write!(out, "{value:?}")?,
        Token::Atom(atom) => write!(out, "{atom}")?,
        Token::Binary(bytes) => {
            out.push_str("<<");
            match text(bytes) {
                Some(text) if !bytes.is_empty() => write!(out, "{text:?}")?,
                _ => numbers(bytes, out)?,
            }
            out.push_str(">>");
        }
        Token::BitString { bytes, bits } => {
            write!(out, "(bit string of {} bits)", (bytes.len().max(1) - 1) * 8 + usize::from(bits))?;
        }
        Token::String(bytes) => match text(bytes) {
            Some(text) => write!(out, "{text:?}")?,
            None => {
                out.push('[');
                numbers(bytes, out)?;
                out.push(']');
            }
        },
        Token::Nil => out.push_str("[]"),
        Token::Pid(pid) => write!(out, "{pid}")?,
        Token::Port(port) => write!(out, "{port}")?,
        Token::Reference(reference) => write!(out, "{reference}")?,
        Token::Export { module, function, arity } => write!(out, "fun {module}:{function}/{arity}")?,
        Token::Fun { .. } => {
            out.push_str("(fun)");
            // Its free variables are not told, and so nothing behind them.
            return Ok(false);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// As much as is printed of bytes that are text.
fn text(bytes: &[u8]) -> Option<&str> {
    let start = &bytes[..bytes.len().min(TEXT_MAX)];
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // Cut within a character.
        Err(error) if error.error_len().is_none() && start.len() < bytes.len() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    (!text.contains(|c: char| c.is_control() && c != '\n' && c != '\t')).then_some(text)
}

fn numbers(bytes: &[u8], out: &mut String) -> fmt::Result {
    for (index, byte) in bytes.iter().take(TEXT_MAX).enumerate() {
        if index > 0 {
            out.push(',');
        }
        write!(out, "{byte}")?;
    }
    Ok(())
}
