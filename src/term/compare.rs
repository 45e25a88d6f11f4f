//! Erlang's order of terms.
//!
//! Source: *Erlang Reference Manual*, "Expressions", "Term Comparisons".

use std::cmp::Ordering;

use bytes::Bytes;

use super::{BigInt, Binary, BitString, Fun, Pid, Port, Record, Reference, Term, Terms};

pub(super) const ATOM_RANK: u8 = 1;
const NIL_RANK: u8 = 9;
const LIST_RANK: u8 = 10;

impl Term {
    /// The rank of its type: number < atom < reference < fun < port < pid < tuple < map < nil < list < bit string.
    /// Native records stand after funs, as in OTP 29.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Integer(_) | Self::BigInt(_) | Self::Float(_) => 0,
            Self::Atom(_) => ATOM_RANK,
            Self::Reference(_) => 2,
            Self::Fun(_) => 3,
            Self::Record(_) => 4,
            Self::Port(_) => 5,
            Self::Pid(_) => 6,
            Self::Tuple(_) => 7,
            Self::Map(_) => 8,
            Self::List(terms) if terms.is_empty() => NIL_RANK,
            Self::List(_) | Self::ImproperList(_) => LIST_RANK,
            Self::Binary(_) | Self::BitString(_) => 11,
        }
    }

    /// Erlang's order of terms, that of `<` and `==`: integers and floats are compared by value, exactly, so that `1`
    /// and `1.0` are equal here (unlike by `==` in Rust, which is Erlang's `=:=`).
    pub fn erlang_cmp(&self, other: &Self) -> Ordering {
        compare(std::slice::from_ref(self), std::slice::from_ref(other), false)
    }
}

/// The order of map keys: as [`Term::erlang_cmp`], but all integers come before all floats.
#[inline]
pub(super) fn exact_cmp(a: &Term, b: &Term) -> Ordering {
    match (a, b) {
        (Term::Atom(a), Term::Atom(b)) => text_cmp(a.as_bytes(), b.as_bytes()),
        (Term::Integer(a), Term::Integer(b)) => a.cmp(b),
        (Term::Binary(a), Term::Binary(b)) => binary_prefix(a).cmp(&binary_prefix(b)).then_with(|| a.cmp(b)),
        _ => rarer_cmp(a, b),
    }
}

/// As [`exact_cmp`], for terms that need a stack.
#[inline(never)]
fn rarer_cmp(a: &Term, b: &Term) -> Ordering {
    compare(std::slice::from_ref(a), std::slice::from_ref(b), true)
}

/// The order of slices, most often without a call.
#[inline]
fn text_cmp(a: &[u8], b: &[u8]) -> Ordering {
    text_prefix(a).cmp(&text_prefix(b)).then_with(|| a.cmp(b))
}

/// The first eight bytes, with zeros behind a shorter text: where two differ, the texts are in the same order.
#[inline]
pub(super) fn text_prefix(text: &[u8]) -> u64 {
    if let Some(first) = text.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    let len = text.len();
    match (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        // The two may overlap: what is in both is put in the same place.
        (Some(first), Some(last)) => {
            u64::from(u32::from_be_bytes(*first)) << 32
                | u64::from(u32::from_be_bytes(*last)) << (8 * (8 - len) as u32)
        }
        _ => text
            .iter()
            .fold(0, |prefix, byte| prefix << 8 | u64::from(*byte))
            .unbounded_shl(8 * (8 - len) as u32),
    }
}

/// As [`text_prefix`]; a short binary's length takes no branch.
#[inline]
pub(super) fn binary_prefix(binary: &Binary) -> u64 {
    match binary.inline().map(|(bytes, len)| (bytes.first_chunk(), len)) {
        Some((Some(first), len)) => u64::from_be_bytes(*first) & !u64::MAX.unbounded_shr(8 * len as u32),
        _ => text_prefix(binary),
    }
}

pub(super) fn integer_eq(a: &Term, b: &Term) -> bool {
    integer_cmp(a, b) == Some(Ordering::Equal)
}

/// The order of two integers, whichever form they have.
fn integer_cmp(a: &Term, b: &Term) -> Option<Ordering> {
    Some(match (a, b) {
        (Term::Integer(a), Term::Integer(b)) => a.cmp(b),
        (Term::Integer(a), Term::BigInt(b)) => BigInt::from(*a).cmp(b),
        (Term::BigInt(a), Term::Integer(b)) => a.cmp(&BigInt::from(*b)),
        (Term::BigInt(a), Term::BigInt(b)) => a.cmp(b),
        _ => return None,
    })
}

/// Compares an integer with a float by their exact values. NaN, which is no Erlang float, comes last.
fn integer_float_cmp(integer: &Term, float: f64) -> Ordering {
    if float.is_nan() || float == f64::INFINITY {
        return Ordering::Less;
    }
    if float == f64::NEG_INFINITY {
        return Ordering::Greater;
    }
    let whole = float.trunc();
    let order = match integer {
        // Every whole float of less than 2^63 is an i64.
        Term::Integer(value) if whole.abs() < 9.2e18 => value.cmp(&(whole as i64)),
        _ => {
            let whole = float_to_big(whole);
            match integer {
                Term::Integer(value) => BigInt::from(*value).cmp(&whole),
                Term::BigInt(value) => value.cmp(&whole),
                _ => Ordering::Less,
            }
        }
    };
    // The whole parts are equal: what is after the point decides.
    order.then_with(|| whole.total_cmp(&float).then(Ordering::Equal))
}

/// The integer that a whole, finite float is.
fn float_to_big(whole: f64) -> BigInt {
    let bits = whole.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1075;
    let fraction = (bits & ((1 << 52) - 1)) | if exponent == -1075 { 0 } else { 1 << 52 };
    let magnitude = num_bigint::BigInt::from(fraction);
    let magnitude = if exponent >= 0 {
        magnitude << exponent.unsigned_abs()
    } else {
        magnitude >> exponent.unsigned_abs()
    };
    BigInt(if whole.is_sign_negative() { -magnitude } else { magnitude })
}

fn float_cmp(a: f64, b: f64, exact: bool) -> Ordering {
    if exact { a.total_cmp(&b) } else { a.partial_cmp(&b).unwrap_or_else(|| a.total_cmp(&b)) }
}

fn number_cmp(a: &Term, b: &Term, exact: bool) -> Ordering {
    match (a, b) {
        (Term::Float(a), Term::Float(b)) => float_cmp(*a, *b, exact),
        (Term::Float(_), _) if exact => Ordering::Greater,
        (_, Term::Float(_)) if exact => Ordering::Less,
        (Term::Float(a), _) => integer_float_cmp(b, *a).reverse(),
        (_, Term::Float(b)) => integer_float_cmp(a, *b),
        _ => integer_cmp(a, b).unwrap_or(Ordering::Equal),
    }
}

fn bits_cmp(a: &Term, b: &Term) -> Ordering {
    fn parts(term: &Term) -> (&[u8], u8) {
        match term {
            Term::Binary(bytes) => (bytes, 8),
            Term::BitString(bits) => (bits.bytes(), bits.bits()),
            _ => (&[], 8),
        }
    }
    let ((a, a_bits), (b, b_bits)) = (parts(a), parts(b));
    // Bit by bit, and a prefix comes first. Unused bits are zero, so that a byte used in part is not greater than a whole one.
    a.cmp(b).then(a_bits.cmp(&b_bits))
}

/// What is to be compared next.
enum Work<'a> {
    /// Sequences, element by element; the shorter one comes first, if it is a prefix.
    Terms {
        a: &'a [Term],
        b: &'a [Term],
        exact: bool,
    },
    /// Of maps of one size: the keys, in their order, and then the values.
    Keys {
        a: &'a [Term],
        b: &'a [Term],
        at: usize,
    },
    Values {
        a: &'a [Term],
        b: &'a [Term],
        at: usize,
        exact: bool,
    },
    /// What holds if all before was equal.
    Order(Ordering),
}

/// Compares sequences as lists are compared.
pub(super) fn compare(a: &[Term], b: &[Term], exact: bool) -> Ordering {
    let mut work = Work::Terms { a, b, exact };
    let mut stack: Vec<Work<'_>> = Vec::new();
    loop {
        let next = match &mut work {
            Work::Terms { a, b, exact } => match (a.split_first(), b.split_first()) {
                (Some((x, a_rest)), Some((y, b_rest))) => {
                    (*a, *b) = (a_rest, b_rest);
                    Some((x, y, *exact))
                }
                (None, None) => None,
                (None, Some(_)) => return Ordering::Less,
                (Some(_), None) => return Ordering::Greater,
            },
            Work::Keys { a, b, at } => {
                let pair = a.get(*at).zip(b.get(*at));
                *at += 2;
                pair.map(|(x, y)| (x, y, true))
            }
            Work::Values { a, b, at, exact } => {
                let pair = a.get(*at).zip(b.get(*at));
                *at += 2;
                pair.map(|(x, y)| (x, y, *exact))
            }
            Work::Order(Ordering::Equal) => None,
            Work::Order(order) => return *order,
        };
        let Some((x, y, exact)) = next else {
            match stack.pop() {
                Some(outer) => work = outer,
                None => return Ordering::Equal,
            }
            continue;
        };
        let order = head_cmp(x, y, exact);
        if order != Ordering::Equal {
            return order;
        }
        let (a, b) = (x.children(), y.children());
        if a.is_empty() && b.is_empty() {
            continue;
        }
        match (x, y) {
            (Term::Map(_), Term::Map(_)) => {
                stack.push(std::mem::replace(&mut work, Work::Keys { a, b, at: 0 }));
                stack.push(Work::Values { a, b, at: 1, exact });
                // The keys are the work at hand, the values wait.
            }
            (Term::List(_) | Term::ImproperList(_), _) => {
                let (a, b, after) = lists(x, y);
                stack.push(std::mem::replace(&mut work, Work::Terms { a, b, exact }));
                stack.push(Work::Order(after));
            }
            _ => stack.push(std::mem::replace(&mut work, Work::Terms { a, b, exact })),
        }
    }
}

/// The parts of two lists that have to be compared, equally long, and the order if they are equal.
fn lists<'a>(x: &'a Term, y: &'a Term) -> (&'a [Term], &'a [Term], Ordering) {
    fn parts(term: &Term) -> (&[Term], u8) {
        match term {
            Term::ImproperList(list) => (list.elements(), list.tail().rank()),
            _ => (term.children(), NIL_RANK),
        }
    }
    let ((a, a_tail), (b, b_tail)) = (parts(x), parts(y));
    // Where one ends, its tail stands against what is left of the other.
    match a.len().cmp(&b.len()) {
        Ordering::Equal if a_tail != b_tail => (a, b, a_tail.cmp(&b_tail)),
        Ordering::Equal => (x.children(), y.children(), Ordering::Equal),
        Ordering::Less => (a, &b[..a.len()], a_tail.cmp(&LIST_RANK)),
        Ordering::Greater => (&a[..b.len()], b, LIST_RANK.cmp(&b_tail)),
    }
}

/// The order of two terms as far as it does not depend on their children.
fn head_cmp(a: &Term, b: &Term, exact: bool) -> Ordering {
    let order = a.rank().cmp(&b.rank());
    if order != Ordering::Equal {
        return order;
    }
    match (a, b) {
        (Term::Atom(a), Term::Atom(b)) => a.cmp(b),
        (Term::Pid(a), Term::Pid(b)) => a.cmp(b),
        (Term::Port(a), Term::Port(b)) => a.cmp(b),
        (Term::Reference(a), Term::Reference(b)) => a.cmp(b),
        (Term::Fun(a), Term::Fun(b)) => fun_cmp(a, b),
        (Term::Record(a), Term::Record(b)) => record_cmp(a, b),
        (Term::Tuple(a), Term::Tuple(b)) => a.len().cmp(&b.len()),
        (Term::Map(a), Term::Map(b)) => a.len().cmp(&b.len()),
        (Term::Binary(_) | Term::BitString(_), _) => bits_cmp(a, b),
        (Term::Integer(_) | Term::BigInt(_) | Term::Float(_), _) => number_cmp(a, b, exact),
        _ => Ordering::Equal,
    }
}

fn fun_cmp(a: &Fun, b: &Fun) -> Ordering {
    match (a, b) {
        (Fun::Internal { .. }, Fun::External { .. }) => Ordering::Less,
        (Fun::External { .. }, Fun::Internal { .. }) => Ordering::Greater,
        (
            Fun::External { module: a, function: x, arity: m },
            Fun::External { module: b, function: y, arity: n },
        ) => (a, x, m).cmp(&(b, y, n)),
        (Fun::Internal { head: a, free: x }, Fun::Internal { head: b, free: y }) => {
            let key =
                |head: &super::FunHead| (head.old_index, head.old_uniq, head.index, head.uniq, head.arity);
            let order = a.module.cmp(&b.module).then_with(|| key(a).cmp(&key(b)));
            order.then_with(|| x.len().cmp(&y.len())).then_with(|| a.pid.cmp(&b.pid))
        }
    }
}

fn record_cmp(a: &Record, b: &Record) -> Ordering {
    let order = (&a.module, &a.name, a.exported, &a.fields).cmp(&(&b.module, &b.name, b.exported, &b.fields));
    order.then_with(|| a.values.len().cmp(&b.values.len()))
}

impl PartialOrd for Term {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Term {
    /// [`Term::erlang_cmp`]; of terms that are equal by it, the one with an integer where the other one has a float is first.
    fn cmp(&self, other: &Self) -> Ordering {
        self.erlang_cmp(other).then_with(|| exact_cmp(self, other))
    }
}

impl PartialOrd for Terms {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Terms {
    /// As lists are compared: element by element, and a prefix comes first.
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self, other, false).then_with(|| compare(self, other, true))
    }
}

/// The binary of these bits, or the bit string.
pub(crate) fn bits_term(bytes: Bytes, bits: u8) -> Term {
    if bits == 8 {
        return Term::Binary(bytes.into());
    }
    match BitString::new(bytes, bits) {
        Some(bits) => Term::BitString(Box::new(bits)),
        None => Term::Binary(Binary::new()),
    }
}

impl PartialOrd for Pid {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pid {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |pid: &Self| (pid.serial, pid.id);
        key(self)
            .cmp(&key(other))
            .then_with(|| (&self.node, self.creation).cmp(&(&other.node, other.creation)))
    }
}

impl PartialOrd for Port {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Port {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.node, self.creation, self.id).cmp(&(&other.node, other.creation, other.id))
    }
}

impl PartialOrd for Reference {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Reference {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = (&self.node, self.creation).cmp(&(&other.node, other.creation));
        // The last word is the most significant one; zeros above it do not count.
        let significant =
            |words: &[u32]| words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
        let (a, b) = (self.words(), other.words());
        let (a_words, b_words) = (&a[..significant(a)], &b[..significant(b)]);
        order
            .then_with(|| a_words.len().cmp(&b_words.len()))
            .then_with(|| a_words.iter().rev().cmp(b_words.iter().rev()))
            .then_with(|| a.len().cmp(&b.len()))
    }
}
