//! What has to be done to terms of any depth, with stacks of its own instead of the program's.

use std::hash::{Hash, Hasher};
use std::hint::cold_path;
use std::mem;

use super::compare::integer_eq;
use super::{Fun, ImproperList, Map, Record, Term, Terms};

impl Term {
    /// The terms that it directly consists of, in order; keys and values of a map in turn, the tail of a list last.
    pub(crate) fn children(&self) -> &[Self] {
        match self {
            Self::List(terms) | Self::Tuple(terms) => terms,
            Self::ImproperList(list) => &list.0,
            Self::Map(map) => &map.0,
            Self::Fun(fun) => match &**fun {
                Fun::Internal { free, .. } => free,
                Fun::External { .. } => &[],
            },
            Self::Record(record) => &record.values,
            _ => &[],
        }
    }

    fn children_mut(&mut self) -> Option<&mut Vec<Self>> {
        match self {
            Self::List(terms) | Self::Tuple(terms) => Some(terms),
            Self::ImproperList(list) => Some(&mut list.0),
            Self::Map(map) => Some(&mut map.0),
            Self::Fun(fun) => match &mut **fun {
                Fun::Internal { free, .. } => Some(free),
                Fun::External { .. } => None,
            },
            Self::Record(record) => Some(&mut record.values),
            _ => None,
        }
    }

    /// A clone with these in place of its children.
    fn with_children(&self, children: Terms) -> Self {
        match self {
            Self::List(_) => Self::List(children),
            Self::Tuple(_) => Self::Tuple(children),
            Self::ImproperList(_) => Self::ImproperList(ImproperList(children)),
            Self::Map(_) => Self::Map(Map(children)),
            Self::Fun(fun) => Self::Fun(Box::new(match &**fun {
                Fun::Internal { head, .. } => Fun::Internal { head: head.clone(), free: children },
                external @ Fun::External { .. } => external.clone(),
            })),
            Self::Record(record) => {
                let Record { module, name, exported, fields, .. } = &**record;
                let (module, name, fields) = (module.clone(), name.clone(), fields.clone());
                Self::Record(Box::new(Record { module, name, exported: *exported, fields, values: children }))
            }
            Self::Integer(value) => Self::Integer(*value),
            Self::BigInt(value) => Self::BigInt(value.clone()),
            Self::Float(value) => Self::Float(*value),
            Self::Atom(atom) => Self::Atom(atom.clone()),
            Self::Pid(pid) => Self::Pid(pid.clone()),
            Self::Port(port) => Self::Port(port.clone()),
            Self::Reference(reference) => Self::Reference(reference.clone()),
            Self::Binary(bytes) => Self::Binary(bytes.clone()),
            Self::BitString(bits) => Self::BitString(bits.clone()),
        }
    }
}

/// How deep dropping goes on the program's stack before it goes on with one of its own.
const DROP_DEPTH_MAX: u32 = 16;

/// So few terms are looked through once more if there is something to drop in one of them.
const FEW: usize = 8;

/// Drops terms.
#[hot]
pub(super) fn drop(terms: Vec<Term>) {
    if terms.capacity() == 0 {
        return;
    }
    if terms.len() <= FEW && terms.iter().all(is_plain) {
        // Their memory alone is given back.
        terms.into_iter().for_each(mem::forget);
        return;
    }
    cold_path();
    let mut deeper = Vec::new();
    drop_within(terms, 0, &mut deeper);
    while let Some(terms) = deeper.pop() {
        drop_within(terms, 0, &mut deeper);
    }
}

/// Whether a term is one of those that most are, with nothing to drop in it.
#[inline(always)]
fn is_plain(term: &Term) -> bool {
    match term {
        Term::Integer(_) => true,
        Term::Atom(atom) => !atom.is_heap_allocated(),
        Term::Pid(pid) => !pid.node.is_heap_allocated(),
        _ => false,
    }
}

/// Drops terms down to the greatest depth, and moves away what is below.
fn drop_within(mut terms: Vec<Term>, depth: u32, deeper: &mut Vec<Vec<Term>>) {
    let plain = |term: &Term| matches!(term, Term::Integer(_) | Term::Float(_));
    let numbers = terms.iter().take_while(|term| plain(term)).count();
    for term in terms.iter_mut().skip(numbers) {
        let children = match term {
            // Most terms have nothing to drop in them.
            term if plain(term) => continue,
            Term::Atom(atom) if !atom.is_heap_allocated() => continue,
            Term::Binary(binary) if binary.shared().is_none() => continue,
            Term::Pid(pid) if !pid.node.is_heap_allocated() => continue,
            Term::List(children) | Term::Tuple(children) | Term::Map(Map(children)) => {
                mem::take(&mut children.0)
            }
            _ => {
                let children = term.children_mut().map(mem::take).unwrap_or_default();
                *term = Term::Integer(0);
                children
            }
        };
        if children.is_empty() {
            continue;
        }
        if depth < DROP_DEPTH_MAX {
            drop_within(children, depth + 1, deeper);
        } else {
            deeper.push(children);
        }
    }
    // In none of them is anything left to drop, which would be found out for each again.
    terms.into_iter().for_each(mem::forget);
}

#[hot]
pub(super) fn clone(terms: &[Term]) -> Terms {
    let mut out = Vec::with_capacity(terms.len());
    let mut source = terms;
    while let [term, rest @ ..] = source {
        out.push(match term {
            Term::Integer(value) => Term::Integer(*value),
            Term::Atom(atom) => Term::Atom(atom.clone()),
            Term::Pid(pid) => Term::Pid(pid.clone()),
            _ => {
                cold_path();
                return clone_rest(source, out);
            }
        });
        source = rest;
    }
    Terms(out)
}

/// Clones the terms behind those that are cloned already.
#[inline(never)]
fn clone_rest(mut source: &[Term], mut out: Vec<Term>) -> Terms {
    // The containers entered: the rest of what they stand in, and what of that is cloned already.
    let mut stack: Vec<(&[Term], Vec<Term>)> = Vec::new();
    loop {
        match source.split_first() {
            Some((term, rest)) if term.children().is_empty() => {
                out.push(term.with_children(Terms::new()));
                source = rest;
            }
            Some((term, _)) => {
                let children = term.children();
                stack.push((source, mem::replace(&mut out, Vec::with_capacity(children.len()))));
                source = children;
            }
            None => {
                let children = Terms(out);
                let Some((outer, outer_out)) = stack.pop() else { return children };
                (source, out) = (outer, outer_out);
                if let Some((term, rest)) = source.split_first() {
                    out.push(term.with_children(children));
                    source = rest;
                }
            }
        }
    }
}

/// Whether two terms are the same but for their children, and have as many of them.
fn same_head(a: &Term, b: &Term) -> bool {
    match (a, b) {
        (Term::Integer(a), Term::Integer(b)) => a == b,
        (Term::BigInt(_) | Term::Integer(_), Term::BigInt(_) | Term::Integer(_)) => integer_eq(a, b),
        (Term::Float(a), Term::Float(b)) => a.to_bits() == b.to_bits(),
        (Term::Atom(a), Term::Atom(b)) => a == b,
        (Term::Pid(a), Term::Pid(b)) => a == b,
        (Term::Port(a), Term::Port(b)) => a == b,
        (Term::Reference(a), Term::Reference(b)) => a == b,
        (Term::Binary(a), Term::Binary(b)) => a == b,
        (Term::BitString(a), Term::BitString(b)) => a == b,
        (Term::List(a), Term::List(b)) | (Term::Tuple(a), Term::Tuple(b)) => a.len() == b.len(),
        (Term::ImproperList(a), Term::ImproperList(b)) => a.0.len() == b.0.len(),
        (Term::Map(a), Term::Map(b)) => a.len() == b.len(),
        (Term::Fun(a), Term::Fun(b)) => match (&**a, &**b) {
            (Fun::Internal { head: a, free: x }, Fun::Internal { head: b, free: y }) => {
                a == b && x.len() == y.len()
            }
            (
                Fun::External { module: a, function: x, arity: m },
                Fun::External { module: b, function: y, arity: n },
            ) => a == b && x == y && m == n,
            _ => false,
        },
        (Term::Record(a), Term::Record(b)) => {
            (&a.module, &a.name, a.exported, &a.fields) == (&b.module, &b.name, b.exported, &b.fields)
                && a.values.len() == b.values.len()
        }
        _ => false,
    }
}

/// Exact equality of sequences.
pub(super) fn eq(a: &[Term], b: &[Term]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut pairs = a.iter().zip(b);
    let mut stack = Vec::new();
    loop {
        match pairs.next() {
            Some((a, b)) => {
                if !same_head(a, b) {
                    return false;
                }
                if !a.children().is_empty() {
                    stack.push(mem::replace(&mut pairs, a.children().iter().zip(b.children())));
                }
            }
            None => match stack.pop() {
                Some(outer) => pairs = outer,
                None => return true,
            },
        }
    }
}

pub(super) fn hash<H: Hasher>(terms: &[Term], state: &mut H) {
    state.write_usize(terms.len());
    let mut terms = terms.iter();
    let mut stack = Vec::new();
    loop {
        match terms.next() {
            Some(term) => {
                state.write_u8(term.rank());
                match term {
                    Term::Integer(value) => value.hash(state),
                    // One that fits is equal to the small one.
                    Term::BigInt(value) => match i64::try_from(value) {
                        Ok(value) => value.hash(state),
                        Err(_) => value.hash(state),
                    },
                    Term::Float(value) => value.to_bits().hash(state),
                    Term::Atom(atom) => atom.hash(state),
                    Term::Pid(pid) => pid.hash(state),
                    Term::Port(port) => port.hash(state),
                    Term::Reference(reference) => reference.hash(state),
                    Term::Binary(bytes) => bytes.hash(state),
                    Term::BitString(bits) => bits.hash(state),
                    Term::Fun(fun) => match &**fun {
                        Fun::Internal { head, .. } => head.hash(state),
                        Fun::External { .. } => fun.hash(state),
                    },
                    Term::Record(record) => (&record.module, &record.name, &record.fields).hash(state),
                    Term::List(_) | Term::ImproperList(_) | Term::Tuple(_) | Term::Map(_) => {}
                }
                let children = term.children();
                state.write_usize(children.len());
                if !children.is_empty() {
                    stack.push(mem::replace(&mut terms, children.iter()));
                }
            }
            None => match stack.pop() {
                Some(outer) => terms = outer,
                None => return,
            },
        }
    }
}

impl Clone for Term {
    #[hot]
    fn clone(&self) -> Self {
        if let Self::Integer(value) = self {
            return Self::Integer(*value);
        }
        if let Self::Tuple(elements) = self {
            return Self::Tuple(clone(elements));
        }
        if let Self::Binary(bytes) = self {
            return Self::Binary(bytes.clone());
        }
        let children = self.children();
        if children.is_empty() {
            self.with_children(Terms::new())
        } else {
            self.with_children(clone(children))
        }
    }
}

impl PartialEq for Term {
    fn eq(&self, other: &Self) -> bool {
        same_head(self, other) && (self.children().is_empty() || eq(self.children(), other.children()))
    }
}

impl Eq for Term {}

impl Hash for Term {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(std::slice::from_ref(self), state);
    }
}

impl PartialEq for Terms {
    fn eq(&self, other: &Self) -> bool {
        eq(self, other)
    }
}

impl Eq for Terms {}

impl Hash for Terms {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(self, state);
    }
}
