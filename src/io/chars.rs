//! `unicode:chardata()`: characters in lists, however deep, and in binaries.
//!
//! Source: the types of *unicode* in stdlib.

use crate::term::Term;

/// What the integers and bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Integers are code points, binaries are UTF-8; a character may begin in one binary and end in the next.
    Unicode,
    /// Integers and bytes are code points up to 255.
    Latin1,
    /// As `~ts` reads: integers are code points, and each binary is UTF-8 or else Latin-1.
    UnicodeOrLatin1,
}

/// The characters as text, as `unicode:characters_to_binary/2` makes it.
pub(super) fn characters(data: &Term, encoding: Encoding) -> Option<String> {
    let mut text = Vec::new();
    let mut stack: Vec<&[Term]> = vec![match data {
        Term::Binary(_) => std::slice::from_ref(data),
        data => elements(data)?,
    }];
    while let Some(left) = stack.last_mut() {
        let Some((first, rest)) = left.split_first() else {
            stack.pop();
            continue;
        };
        *left = rest;
        match first {
            Term::Integer(code) => {
                let code = u32::try_from(*code).ok().and_then(char::from_u32)?;
                if encoding == Encoding::Latin1 && code > '\u{ff}' {
                    return None;
                }
                push(code, &mut text);
            }
            Term::Binary(binary) if encoding == Encoding::Unicode => text.extend_from_slice(binary),
            Term::Binary(binary)
                if encoding == Encoding::UnicodeOrLatin1 && std::str::from_utf8(binary).is_ok() =>
            {
                text.extend_from_slice(binary);
            }
            Term::Binary(binary) => binary.iter().for_each(|byte| push(char::from(*byte), &mut text)),
            list => stack.push(elements(list)?),
        }
    }
    String::from_utf8(text).ok()
}

fn push(char: char, text: &mut Vec<u8>) {
    text.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

/// The elements of a list, and a tail that is a binary after them.
fn elements(list: &Term) -> Option<&[Term]> {
    match list {
        Term::List(elements) => Some(elements),
        Term::ImproperList(improper) if matches!(improper.tail(), Term::Binary(_)) => Some(list.children()),
        _ => None,
    }
}

/// The same of a list that has no binaries in it.
pub(super) fn list_characters(data: &Term) -> Option<String> {
    let mut text = String::new();
    let mut stack = vec![data.as_list()?.iter()];
    while let Some(next) = stack.last_mut().map(Iterator::next) {
        match next {
            None => drop(stack.pop()),
            Some(Term::Integer(code)) => text.push(u32::try_from(*code).ok().and_then(char::from_u32)?),
            Some(Term::List(elements)) => stack.push(elements.iter()),
            Some(_) => return None,
        }
    }
    Some(text)
}
