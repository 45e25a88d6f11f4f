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
    /// Copied into the reply as it is: only the caller knows what is in it.
    tag: Payload,
    alias: Option<Reference>,
}

impl GenMessage {
    /// Looks at the message's outer form.
    pub fn new(message: Payload) -> Self {
        match Parts::parse(&message) {
            Some(Parts::Call { pid, alias, tag, request }) => Self::Call {
                from: ReplyAddress { pid, alias, tag: message.slice(tag) },
                request: message.slice(request),
            },
            Some(Parts::Cast { request }) => Self::Cast(message.slice(request)),
            None => Self::Info(message),
        }
    }
}

enum Parts {
    Call { pid: Pid, alias: Option<Reference>, tag: std::ops::Range<usize>, request: std::ops::Range<usize> },
    Cast { request: std::ops::Range<usize> },
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
        let alias = tag_alias(&mut reader.clone());
        reader.skip(&crate::etf::Limits::default()).ok()?;
        let tag = start..reader.offset();
        Some(Self::Call { pid, alias, tag, request: reader.offset()..message.len() })
    }
}

/// The alias in a tag: `[alias | Alias]`, or `[[alias | Alias] | Monitor]` of `multi_call`.
fn tag_alias(reader: &mut Reader<'_>) -> Option<Reference> {
    let Token::List(1) = reader.next_token().ok()? else { return None };
    match reader.next_token().ok()? {
        Token::Atom(atom) if atom == ALIAS => {}
        Token::List(1) if reader.next_token().ok()? == Token::Atom(ALIAS) => {}
        _ => return None,
    }
    match reader.next_token().ok()? {
        Token::Reference(alias) => Some(alias),
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
            self.tag.write(writer);
            crate::etf::serialize(reply, writer)
        };
        let node = self.alias.as_ref().map_or(&self.pid.node, |alias| &alias.node);
        if !local.is_local(node) {
            let to = match &self.alias {
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
        match &self.alias {
            None => local.deliver(&self.pid, message),
            Some(alias) => {
                local.deliver_to_alias(alias, message);
            }
        }
        Ok(())
    }
}
