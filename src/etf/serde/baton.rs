//! How a value with no form in serde's data model (a pid, a term) meets this format, and keeps what serde cannot carry:
//! that a binary is shared, that an atom is numbered.
//!
//! Serde lets a value and a format know nothing of each other but the data model. So one hands the other over a baton: the
//! format lays down the writer, or the term it has read, in a place that both know, and calls the value, which
//! takes it up at once. The place is empty at all other times, which is how a value sees that
//! another format is calling. Outside of that one call there is nothing in it, so it is no state of a thread.

use std::cell::Cell;

use crate::etf::Writer;
use crate::term::Term;

/// The name of the newtype struct by which a value asks for the baton.
pub(crate) const NATIVE: &str = "$beamline::Term";

/// The name of the newtype struct by which a text says that it is an atom's. Serde can carry the rest.
pub(crate) const ATOM: &str = "$beamline::Atom";

thread_local! {
    static WRITER: Cell<Option<Writer>> = const { Cell::new(None) };
    static TERM: Cell<Option<Term>> = const { Cell::new(None) };
}

/// Calls `value` with the writer in the known place.
pub(super) fn lend_writer<T>(writer: &mut Writer, value: impl FnOnce() -> T) -> T {
    WRITER.set(Some(std::mem::take(writer)));
    let result = value();
    *writer = WRITER.take().unwrap_or_default();
    result
}

/// Gives `write` the writer, if this format is the caller.
pub(crate) fn with_writer<T>(write: impl FnOnce(&mut Writer) -> T) -> Option<T> {
    let mut writer = WRITER.take()?;
    let result = write(&mut writer);
    WRITER.set(Some(writer));
    Some(result)
}

/// Calls `visit` with the term in the known place.
pub(super) fn lend_term<T>(term: Term, visit: impl FnOnce() -> T) -> T {
    TERM.set(Some(term));
    let result = visit();
    TERM.set(None);
    result
}

/// The term, if this format is the caller.
pub(crate) fn take_term() -> Option<Term> {
    TERM.take()
}
