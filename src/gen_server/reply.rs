//! Replies, now or later.

use std::hint::cold_path;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;

use super::system::Replies;
use crate::etf::Payload;
use crate::process::{Giver, Local, ReplyAddress, spare};
use crate::term::Pid;

/// What a call's handler says of its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// `{reply, Reply, State}`: it is sent. [`ReplyTo::reply`] returns this.
    Sent,
    /// `{noreply, State}`: it comes later through the call's [`ReplyTo`], or never.
    Later,
}

/// Who waits for the reply to a call. It can be kept, and moved into a task; dropped, the caller waits in vain.
#[must_use = "dropped, the caller waits in vain"]
pub struct ReplyTo<R>(To<R>);

enum To<R> {
    Local(Giver<R>),
    // Boxed: it is larger than most messages, which all are as large as the largest.
    Term(Box<Caller>, PhantomData<fn(R)>),
}

/// Who waits for a reply as a term, and who gives it.
struct Caller {
    address: ReplyAddress,
    local: Arc<Local>,
    server: Pid,
    /// Where the reply is noted, if somebody looks at the server through `sys`.
    seen: Option<Replies>,
}

impl<R: Serialize> ReplyTo<R> {
    pub(super) fn local(caller: Giver<R>) -> Self {
        Self(To::Local(caller))
    }

    pub(super) fn term(address: ReplyAddress, local: Arc<Local>, server: Pid, seen: Option<Replies>) -> Self {
        Self(To::Term(spare::make(Caller { address, local, server, seen }), PhantomData))
    }

    /// `gen_server:reply/2`. A caller that has given up does not get it.
    pub fn reply(self, reply: R) -> Reply {
        match self.0 {
            To::Local(caller) => caller.give(reply),
            To::Term(caller, _) => {
                // It stays in its box: moved out, it would be copied.
                let Caller { address, local, server, seen } = &*caller;
                if let Some(seen) = seen {
                    cold_path();
                    if let Ok(reply) = Payload::encode(&reply) {
                        seen.note(address.to_term(), reply.term());
                    }
                }
                if let Err(error) = address.reply(local, server, &reply) {
                    cold_path();
                    tracing::error!(%server, %error, "a reply has no external form");
                }
                spare::drop_box(caller);
            }
        }
        Reply::Sent
    }

    /// Whether nobody waits any more. Of a caller on another node that is not known.
    pub fn is_abandoned(&self) -> bool {
        match &self.0 {
            To::Local(caller) => caller.is_abandoned(),
            To::Term(..) => false,
        }
    }

    /// The caller, if the call came as a term: a local typed call does not say.
    pub fn pid(&self) -> Option<&Pid> {
        match &self.0 {
            To::Local(_) => None,
            To::Term(caller, _) => Some(caller.address.pid()),
        }
    }
}

impl<R> std::fmt::Debug for ReplyTo<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            To::Local(_) => f.write_str("ReplyTo(a caller of this node)"),
            To::Term(caller, _) => write!(f, "ReplyTo({})", caller.address.pid()),
        }
    }
}
