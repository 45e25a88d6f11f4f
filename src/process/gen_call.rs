//! The messages of OTP's `gen`: calls, casts, and how a call is answered.
//!
//! Source: `gen.erl` in stdlib.

use super::{Encode, Local, Write};
use crate::dist::{Control, Target};
use crate::etf::{EncodeError, Payload, Reader, Token, Writer};
use crate::term::{Atom, Pid, Reference};
use serde::Serialize;

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
    /// Copied into the reply as it is: only the caller knows what is in it. There may be an alias in it.
    Other(Payload, Option<Reference>),
}

impl GenMessage {
    /// Looks at the message's outer form.
    pub fn new(message: Payload) -> Self {
        match Parts::parse(&message) {
            Some(Parts::Call { pid, alias: Some(alias), tag: None, request }) => Self::Call {
                from: ReplyAddress { pid, tag: Tag::Alias(alias) },
                request: message.slice(request),
            },
            Some(Parts::Call { pid, alias, tag, request }) => Self::Call {
                from: ReplyAddress { pid, tag: Tag::Other(message.slice(tag.unwrap_or(0..0)), alias) },
                request: message.slice(request),
            },
            Some(Parts::Cast { request }) => Self::Cast(message.slice(request)),
            None => Self::Info(message),
        }
    }
}

enum Parts {
    /// Without a tag if it is the alias alone.
    Call {
        pid: Pid,
        alias: Option<Reference>,
        tag: Option<std::ops::Range<usize>>,
        request: std::ops::Range<usize>,
    },
    Cast {
        request: std::ops::Range<usize>,
    },
}

impl Parts {
    fn parse(message: &Payload) -> Option<Self> {
        let mut reader = message.reader();
        let Token::Tuple(len @ (2 | 3)) = reader.next_token().ok()? else { return None };
        let Token::Atom(kind) = reader.next_token().ok()? else { return None };
        if len == 2 && kind == GEN_CAST {
            return Some(Self::Cast { request: reader.offset()..message.len() });
        }
        if len != 3 || kind != GEN_CALL {
            return None;
        }
        let Token::Tuple(2) = reader.next_token().ok()? else { return None };
        let Token::Pid(pid) = reader.next_token().ok()? else { return None };
        let start = reader.offset();
        let mut inner = reader.clone();
        if let Some((alias, true)) = tag_alias(&mut inner) {
            return Some(Self::Call {
                pid,
                alias: Some(alias),
                tag: None,
                request: inner.offset()..message.len(),
            });
        }
        let alias = tag_alias(&mut reader.clone()).map(|(alias, _)| alias);
        reader.skip(&crate::etf::Limits::default()).ok()?;
        let tag = Some(start..reader.offset());
        Some(Self::Call { pid, alias, tag, request: reader.offset()..message.len() })
    }
}

/// The alias in a tag: `[alias | Alias]`, or `[[alias | Alias] | Monitor]` of `multi_call`; and whether it is the whole tag.
fn tag_alias(reader: &mut Reader<'_>) -> Option<(Reference, bool)> {
    let Token::List(1) = reader.next_token().ok()? else { return None };
    let whole = match reader.next_token().ok()? {
        Token::Atom(atom) if atom == ALIAS => true,
        Token::List(1) if reader.next_token().ok()? == Token::Atom(ALIAS) => false,
        _ => return None,
    };
    match reader.next_token().ok()? {
        Token::Reference(alias) => Some((alias, whole)),
        _ => None,
    }
}

/// The reference in a reply's tag, as our own calls make it: `Ref` or `[alias | Ref]`; and where the reply begins.
pub(super) fn reply_reference(message: &Payload) -> Option<(Reference, usize)> {
    let mut reader = message.reader();
    let Token::Tuple(2) = reader.next_token().ok()? else { return None };
    let reference = match reader.next_token().ok()? {
        Token::Reference(reference) => reference,
        Token::List(1) if reader.next_token().ok()? == Token::Atom(ALIAS) => {
            match reader.next_token().ok()? {
                Token::Reference(reference) => reference,
                _ => return None,
            }
        }
        _ => return None,
    };
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

    /// Sends the reply, `{Tag, Reply}`.
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
                Tag::Other(tag, _) => tag.write(writer),
            }
            crate::etf::serialize(reply, writer)
        };
        let alias = match &self.tag {
            Tag::Alias(alias) | Tag::Other(_, Some(alias)) => Some(alias),
            Tag::Other(_, None) => None,
        };
        let node = alias.map_or(&self.pid.node, |alias| &alias.node);
        if !local.is_local(node) {
            let to = match alias {
                Some(alias) => Target::Alias(alias.clone()),
                None => Target::Pid(self.pid.clone()),
            };
            let from = Some(sender.clone());
            let control = Control::Send { from, to, message: &encode as Encode<'_>, priority: false };
            if let Some(distribution) = local.distribution() {
                distribution.send(node, Some(sender), None, control, Write::Now)?;
            }
            return Ok(());
        }
        let message = Payload::from_writer(encode)?;
        match alias {
            None => local.deliver(&self.pid, message),
            Some(alias) => {
                local.deliver_to_alias(alias, message);
            }
        }
        Ok(())
    }
}
