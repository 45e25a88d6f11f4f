//! What a device does with a request.
//!
//! Source: *The Erlang I/O Protocol* in *stdlib*'s user's guide, and the answers of `user.erl` in kernel.

use std::io;

use super::chars::{Encoding, characters};
use super::format::format_term;
use crate::term::{Atom, Term};

const ERROR: Atom = Atom::from_static("error");
const OK: Atom = Atom::from_static("ok");

/// Answers a request, and writes what it wants written.
pub(crate) fn answer(request: &Term, write: &mut dyn FnMut(&str) -> io::Result<()>) -> Term {
    // Requests in a request are done one after the other; the first that fails is answered.
    let mut last = Term::from(OK);
    let mut stack = vec![std::slice::from_ref(request)];
    while let Some(left) = stack.last_mut() {
        let Some((first, rest)) = left.split_first() else {
            stack.pop();
            continue;
        };
        *left = rest;
        if let Some([tag, Term::List(requests)]) = first.as_tuple()
            && tag.is_atom("requests")
        {
            stack.push(requests);
            continue;
        }
        match one(first, write) {
            Ok(answer) => last = answer,
            Err(reason) => return Term::tuple([ERROR.into(), reason]),
        }
    }
    last
}

fn one(request: &Term, write: &mut dyn FnMut(&str) -> io::Result<()>) -> Result<Term, Term> {
    let unknown = || Err(Term::tuple([Atom::from_static("request").into(), request.clone()]));
    if request.is_atom("getopts") {
        let option = |key, value| Term::tuple([Term::atom(key), value]);
        return Ok(Term::list([option("binary", false.into()), option("encoding", Term::atom("unicode"))]));
    }
    let Some([tag, arguments @ ..]) = request.as_tuple() else { return unknown() };
    let Some(tag) = tag.as_atom() else { return unknown() };
    match (tag.as_str(), arguments) {
        // Without an encoding: as nodes before R13 ask.
        ("put_chars", [data]) => put(characters(data, Encoding::Latin1), write),
        ("put_chars", [encoding, data]) => put(characters(data, encoding_of(encoding)?), write),
        ("put_chars", [module, function, arguments]) => {
            put(applied(module, function, arguments, Encoding::Latin1), write)
        }
        ("put_chars", [encoding, module, function, arguments]) => {
            put(applied(module, function, arguments, encoding_of(encoding)?), write)
        }
        // There is nothing to read from.
        ("get_line", [_] | [_, _])
        | ("get_chars", [_, _] | [_, _, _])
        | ("get_until", [_, _, _, _] | [_, _, _, _, _]) => Ok(Term::atom("eof")),
        ("setopts", [Term::List(options)]) if options.iter().all(is_set) => Ok(OK.into()),
        ("setopts" | "get_geometry", [_]) => Err(Term::atom("enotsup")),
        _ => unknown(),
    }
}

/// Whether an option is as it always is.
fn is_set(option: &Term) -> bool {
    match option.as_tuple() {
        Some([key, value]) if key.is_atom("encoding") => value.is_atom("unicode") || value.is_atom("utf8"),
        // Nothing is read, neither as lists nor as binaries.
        Some([key, _]) => key.is_atom("binary"),
        _ => ["binary", "list", "unicode"].iter().any(|known| option.is_atom(known)),
    }
}

fn encoding_of(encoding: &Term) -> Result<Encoding, Term> {
    match encoding.as_atom().map(Atom::as_str) {
        Some("unicode" | "utf8") => Ok(Encoding::Unicode),
        Some("latin1") => Ok(Encoding::Latin1),
        _ => Err(Term::tuple([Atom::from_static("request").into(), encoding.clone()])),
    }
}

/// The functions of Erlang's that make text, of those that come with requests.
fn applied(module: &Term, function: &Term, arguments: &Term, encoding: Encoding) -> Option<String> {
    if !module.is_atom("io_lib") {
        return None;
    }
    let text = match (function.as_atom()?.as_str(), arguments.as_list()?) {
        ("format" | "fwrite", [format, Term::List(arguments)]) => format_term(format, arguments),
        // `io:format/1` and its kin take anything else for one argument.
        ("format" | "fwrite", [format, argument]) => format_term(format, std::slice::from_ref(argument)),
        ("write", [term]) => super::format("~tw", std::slice::from_ref(term)),
        ("nl", []) => Ok("\n".to_owned()),
        _ => return None,
    };
    let text = text.ok()?;
    (encoding != Encoding::Latin1 || text.chars().all(|char| char <= '\u{ff}')).then_some(text)
}

fn put(text: Option<String>, write: &mut dyn FnMut(&str) -> io::Result<()>) -> Result<Term, Term> {
    let text = text.ok_or_else(|| Term::atom("put_chars"))?;
    match write(&text) {
        Ok(()) => Ok(OK.into()),
        Err(error) => Err(Term::from(error.to_string())),
    }
}
