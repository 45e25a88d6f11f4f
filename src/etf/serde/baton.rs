//! How a value with no form in serde's data model (a pid, a term) meets this format, and keeps what serde cannot carry:
//! that a binary is shared, that an atom is numbered.
//!
//! Serde lets a value and a format know nothing of each other but the data model. So one hands the other over a baton: the
//! format lays down where the writer is, or the term it has read, in a place that both know, and calls the value, which
//! takes it up at once. The place is empty at all other times, which is how a value sees that
//! another format is calling. Outside of that one call there is nothing in it, so it is no state of a thread.
//!
//! A pointer lies there, because moving the writer itself there and back takes five times the instructions of writing an integer.

#![expect(
    unsafe_code,
    reason = "a writer that is moved into the place and out of it costs more than what it writes"
)]

use std::cell::Cell;
use std::ptr;
use std::thread::LocalKey;

use crate::etf::Writer;
use crate::term::Term;

/// The name of the newtype struct by which a value asks for the baton.
pub(crate) const NATIVE: &str = "$beamline::Term";

/// The name of the newtype struct by which a text says that it is an atom's. Serde can carry the rest.
pub(crate) const ATOM: &str = "$beamline::Atom";

type Place<T> = LocalKey<Cell<*mut T>>;

thread_local! {
    static WRITER: Cell<*mut Writer> = const { Cell::new(ptr::null_mut()) };
    static TERM: Cell<*mut Option<Term>> = const { Cell::new(ptr::null_mut()) };
}

/// Puts back what lay in the place before, also when the value panics: nobody finds a pointer there whose time is over.
struct Laid<T: 'static> {
    place: &'static Place<T>,
    before: *mut T,
}

impl<T> Drop for Laid<T> {
    fn drop(&mut self) {
        self.place.set(self.before);
    }
}

/// Calls `value` while `baton` lies in the place.
fn lend<T, R>(place: &'static Place<T>, baton: &mut T, value: impl FnOnce() -> R) -> R {
    let _laid = Laid { place, before: place.replace(baton) };
    value()
}

/// Gives `take` what lies in the place, if anything does.
fn taken<T, R>(place: &'static Place<T>, take: impl FnOnce(&mut T) -> R) -> Option<R> {
    let baton = place.replace(ptr::null_mut());
    if baton.is_null() {
        return None;
    }
    // SAFETY: it was laid down by a `lend` of this thread that has not returned, which removes it before it does. That holds it by a
    // unique reference, and leaves it alone until then; and it is not in the place while this one is used, so there is no second.
    let result = take(unsafe { &mut *baton });
    place.set(baton);
    Some(result)
}

/// Calls `value` with the writer in the known place.
pub(super) fn lend_writer<T>(writer: &mut Writer, value: impl FnOnce() -> T) -> T {
    lend(&WRITER, writer, value)
}

/// Gives `write` the writer, if this format is the caller.
pub(crate) fn with_writer<T>(write: impl FnOnce(&mut Writer) -> T) -> Option<T> {
    taken(&WRITER, write)
}

/// Calls `visit` with the term in the known place.
#[hot]
pub(super) fn lend_term<T>(term: Term, visit: impl FnOnce() -> T) -> T {
    lend(&TERM, &mut Some(term), visit)
}

/// The term, if this format is the caller.
pub(crate) fn take_term() -> Option<Term> {
    taken(&TERM, Option::take)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_empty_before_and_after_and_while_the_baton_is_held() {
        assert_eq!(take_term(), None);
        let term = lend_term(Term::from(1), || {
            assert!(with_writer(|_| ()).is_none());
            (take_term(), take_term())
        });
        assert_eq!(term, (Some(Term::from(1)), None));
        let mut writer = Writer::new();
        lend_writer(&mut writer, || {
            let written = with_writer(|writer| {
                assert!(with_writer(|_| ()).is_none(), "it is held");
                writer.integer(1);
            });
            assert!(written.is_some());
            assert!(with_writer(|writer| writer.integer(2)).is_some(), "it was put back");
        });
        assert!(with_writer(|_| ()).is_none());
        assert_eq!(writer.into_bytes(), [97, 1, 97, 2][..]);
    }

    #[test]
    fn nothing_is_left_by_a_value_that_panics() {
        let mut writer = Writer::new();
        let panics = || lend_writer(&mut writer, || with_writer(|_| panic!("on purpose")));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        assert!(with_writer(|_| ()).is_none());
        assert!(std::panic::catch_unwind(|| lend_term(Term::from(1), || panic!("on purpose"))).is_err());
        assert_eq!(take_term(), None);
    }
}
