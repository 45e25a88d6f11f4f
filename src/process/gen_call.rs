//! The messages of OTP's `gen`: calls, casts, and how a call is answered.
//!
//! Source: `gen.erl` in stdlib.

use super::{Encode, Local, Taking, Write};
use crate::dist::{Control, Target};
use crate::etf::{EncodeError, Payload, Reader, Token, Writer};
use crate::term::{Atom, Pid, Reference, Term};
use serde::Serialize;
use std::hint::cold_path;

pub(super) const GEN_CALL: Atom = Atom::from_static("$gen_call");
pub(super) const GEN_CAST: Atom = Atom::from_static("$gen_cast");
pub(super) const ALIAS: Atom = Atom::from_static("alias");

/// A message, told apart by what `gen_server` puts around it.
#[derive(Debug)]
#[non_exhaustive]
pub enum GenMessage {
    /// `{'$gen_call', {Pid, Tag}, Request}`.
    Call {
        /// Who waits for the reply.
        from: ReplyAddress,
        /// The request.
        request: Payload,
    },
    /// `{'$gen_cast', Request}`.
    Cast(Payload),
    /// `{system, {Pid, Tag}, Request}`: see [`sys`](crate::sys).
    System {
        /// Who waits for the answer.
        from: ReplyAddress,
        /// The request.
        request: Payload,
    },
    /// Any other message.
    Info(Payload),
}

/// Who waits for the reply to a call that came as a term.
#[derive(Debug, Clone)]
pub struct ReplyAddress {
    pid: Pid,
    tag: Tag,
}

/// What a reply begins with, so that the caller knows which call it answers.
#[derive(Debug, Clone)]
enum Tag {
    /// `[alias | Alias]`, as nearly all callers have it.
    Alias(Reference),
    /// Copied into the reply as it is: only the caller knows what is in it. There may be an alias in it. Boxed, as few have it.
    Other(Box<(Payload, Option<Reference>)>),
}

impl Tag {
    #[inline]
    fn alias(&self) -> Option<&Reference> {
        match self {
            Self::Alias(alias) => Some(alias),
            Self::Other(other) => {
                cold_path();
                other.1.as_ref()
            }
        }
    }
}

impl GenMessage {
    /// Looks at the message's outer form.
    #[hot]
    pub fn new(message: Payload) -> Self {
        if let Some((from, start)) = usual_call(message.reader()) {
            return Self::Call { from, request: message.into_last(start) };
        }
        cold_path();
        Self::other(message)
    }

    /// In whatever form.
    fn other(message: Payload) -> Self {
        let mut reader = message.reader();
        if let Some(len @ (2 | 3)) = tuple(&mut reader)
            && let Some(label) = atom_of(&mut reader, ["$gen_call", "$gen_cast", "system"])
        {
            if len == 3
                && label != 1
                && let Some((from, start)) = call_from(reader.clone(), &message)
            {
                let request = message.into_last(start);
                if label == 0 {
                    return Self::Call { from, request };
                }
                cold_path();
                return Self::System { from, request };
            }
            if (len, label) == (2, 1) {
                let start = reader.offset();
                return Self::Cast(message.into_last(start));
            }
        }
        Self::Info(message)
    }
}

/// Who calls and where the request begins, of a call in the form that nearly all have on a connection.
#[inline(always)]
fn usual_call(mut reader: Reader<'_>) -> Option<(ReplyAddress, usize)> {
    let 3 = reader.short_tuple()? else { return None };
    if *reader.short_atom_ref()? != GEN_CALL {
        return None;
    }
    let 2 = reader.short_tuple()? else { return None };
    let pid = reader.short_pid()?;
    let alias = reader.short_alias(&ALIAS)?;
    Some((ReplyAddress { pid, tag: Tag::Alias(alias) }, reader.offset()))
}

/// `{Label, {Pid, Tag}, Request}` with whatever label: `gen_event`'s is the caller's pid.
pub(crate) fn labelled_call(message: &Payload) -> Option<(ReplyAddress, Payload)> {
    let mut reader = message.reader();
    let 3 = tuple(&mut reader)? else { return None };
    reader.skip(&crate::etf::Limits::default()).ok()?;
    let (from, start) = call_from(reader, message)?;
    Some((from, message.slice(start..message.len())))
}

/// Who calls and where the request begins, from behind the label.
#[inline]
fn call_from(mut reader: Reader<'_>, message: &Payload) -> Option<(ReplyAddress, usize)> {
    let 2 = tuple(&mut reader)? else { return None };
    let pid = reader.pid().ok()??;
    let mut inner = reader.clone();
    if let Some((alias, true)) = tag_alias(&mut inner) {
        let from = ReplyAddress { pid, tag: Tag::Alias(alias) };
        return Some((from, inner.offset()));
    }
    tagged_from(pid, reader, message)
}

/// As [`call_from`], of one whose tag is no alias, from behind the pid.
#[cold]
fn tagged_from(pid: Pid, mut reader: Reader<'_>, message: &Payload) -> Option<(ReplyAddress, usize)> {
    let start = reader.offset();
    let alias = tag_alias(&mut reader.clone()).map(|(alias, _)| alias);
    reader.skip(&crate::etf::Limits::default()).ok()?;
    let tag = Tag::Other(Box::new((message.slice(start..reader.offset()), alias)));
    Some((ReplyAddress { pid, tag }, reader.offset()))
}

/// The alias in a tag: `[alias | Alias]`, or `[[alias | Alias] | Monitor]` of `multi_call`; and whether it is the whole tag.
#[inline]
#[hot]
fn tag_alias(reader: &mut Reader<'_>) -> Option<(Reference, bool)> {
    let 1 = list(reader)? else { return None };
    let whole = match reader.short_list() {
        None => true,
        Some(within) => {
            cold_path();
            if within != 1 {
                return None;
            }
            false
        }
    };
    atom_of(reader, ["alias"])?;
    Some((reader.reference().ok()??, whole))
}

// The forms that messages have on a connection are read at once, all others as tokens.

#[inline]
fn tuple(reader: &mut Reader<'_>) -> Option<usize> {
    reader.short_tuple().or_else(|| long_tuple(reader))
}

#[cold]
fn long_tuple(reader: &mut Reader<'_>) -> Option<usize> {
    if let Ok(Token::Tuple(len)) = reader.next_token() { Some(len) } else { None }
}

#[inline]
fn list(reader: &mut Reader<'_>) -> Option<usize> {
    reader.short_list().or_else(|| long_list(reader))
}

#[cold]
fn long_list(reader: &mut Reader<'_>) -> Option<usize> {
    if let Ok(Token::List(len)) = reader.next_token() { Some(len) } else { None }
}

/// Which of some atoms is there.
#[inline(always)]
fn atom_of<const N: usize>(reader: &mut Reader<'_>, atoms: [&str; N]) -> Option<usize> {
    reader.short_atom_of(atoms).or_else(|| long_atom_of(reader, &atoms))
}

#[cold]
fn long_atom_of(reader: &mut Reader<'_>, atoms: &[&str]) -> Option<usize> {
    let Ok(Token::Atom(found)) = reader.next_token() else { return None };
    atoms.iter().position(|atom| *atom == found.as_str())
}

/// The reference in a reply's tag, as our own calls make it: `Ref` or `[alias | Ref]`; and where the reply begins.
#[inline]
pub(super) fn reply_reference(message: &Payload) -> Option<(Reference, usize)> {
    let mut reader = message.reader();
    if let Some(2) = reader.short_tuple()
        && let Some(alias) = reader.short_alias(&ALIAS)
    {
        return Some((alias, reader.offset()));
    }
    cold_path();
    let mut reader = message.reader();
    let 2 = tuple(&mut reader)? else { return None };
    if let Some(len) = reader.short_list() {
        let (1, Some(0)) = (len, atom_of(&mut reader, ["alias"])) else { return None };
    }
    let reference = reader.reference().ok()??;
    Some((reference, reader.offset()))
}

/// Whether the message is the DOWN of this monitor.
pub(super) fn is_down(message: &Payload, reference: &Reference) -> bool {
    let mut reader = message.reader();
    matches!(reader.next_token(), Ok(Token::Tuple(5)))
        && matches!(reader.next_token(), Ok(Token::Atom(tag)) if tag == "DOWN")
        && matches!(reader.next_token(), Ok(Token::Reference(monitor)) if monitor == *reference)
}

impl ReplyAddress {
    /// The caller.
    pub fn pid(&self) -> &Pid {
        &self.pid
    }

    /// Whether `sys:get_state/1` of the caller takes `{ok, State}`, as it does from OTP 26.1 on, and not the state itself, which is what it took
    /// before. Nothing says which it is but the alias: those of the older nodes have three words.
    pub(crate) fn takes_ok_state(&self) -> bool {
        self.tag.alias().is_some_and(|alias| alias.words().len() > 3)
    }

    /// `{Pid, Tag}`.
    pub(crate) fn to_term(&self) -> Term {
        let tag = match &self.tag {
            Tag::Alias(alias) => Term::list_with_tail(vec![ALIAS.into()], alias.clone().into()),
            Tag::Other(other) => other.0.term(),
        };
        Term::tuple([self.pid.clone().into(), tag])
    }

    /// Sends the reply, `{Tag, Reply}`.
    #[hot]
    pub(crate) fn reply<T: Serialize + ?Sized>(
        &self,
        local: &Local,
        sender: &Pid,
        reply: &T,
    ) -> Result<(), EncodeError> {
        let encode = |writer: &mut Writer| {
            writer.tuple(2)?;
            match &self.tag {
                Tag::Alias(alias) => {
                    writer.list(1)?;
                    writer.atom(&ALIAS);
                    writer.reference(alias);
                }
                Tag::Other(other) => {
                    cold_path();
                    other.0.write(writer);
                }
            }
            crate::etf::serialize(reply, writer)
        };
        let alias = self.tag.alias();
        let node = alias.map_or(&self.pid.node, |alias| &alias.node);
        if !local.is_local(node) {
            let control = Control::Send {
                from: Some(sender.clone()),
                to: match alias {
                    Some(alias) => Target::Alias(alias.clone()),
                    None => {
                        cold_path();
                        Target::Pid(self.pid.clone())
                    }
                },
                message: &encode as Encode<'_>,
                priority: false,
            };
            let sent = local.send_there(node, None, sender, &control, Write::Now);
            // A message, which is dropped without a look at what else it could be.
            if let Control::Send { from, to, .. } = control {
                drop((from, to));
            }
            return sent.map(drop);
        }
        let message = Payload::from_writer(encode)?;
        match alias {
            // A reply counts nowhere.
            None => local.deliver_always(&self.pid, message),
            Some(alias) => {
                local.deliver_to_alias(alias, message, Taking::Always);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_that_only_begins_as_an_alias_does_is_kept_as_it_is() {
        let alias = Reference::new(Atom::from_static("a@h"), 1, &[1, 2, 3]).unwrap();
        let pid = Pid { node: Atom::from_static("a@h"), id: 1, serial: 0, creation: 1 };
        let of = |elements: Vec<Term>| Term::list(elements);
        let whole = Term::list_with_tail(vec![Term::atom("alias")], alias.clone().into());
        let within = of(vec![Term::list_with_tail(vec![Term::atom("alias")], alias.clone().into())]);
        let longer = of(vec![of(vec![Term::atom("alias"), alias.clone().into()])]);
        for (tag, found) in [(whole, Some(&alias)), (within, Some(&alias)), (longer, None)] {
            let from = Term::tuple([pid.clone().into(), tag.clone()]);
            let call = Term::tuple([Term::atom("$gen_call"), from, Term::from(42)]);
            let GenMessage::Call { from, request } = GenMessage::new(Payload::encode(&call).unwrap()) else {
                panic!("{call} is a call")
            };
            assert_eq!(request.term(), Term::from(42), "{tag}");
            assert_eq!(from.tag.alias(), found, "{tag}");
            if let Tag::Other(other) = &from.tag {
                assert_eq!(other.0.term(), tag);
            }
        }
    }
}
