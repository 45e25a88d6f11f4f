//! The registered process `net_kernel`, as far as other nodes ask it: it answers `net_adm:ping/1`.
//!
//! Source: `net_kernel.erl` in kernel.

use std::sync::Arc;

use crate::etf::Token;
use crate::process::{Context, ExitReason, GenMessage, Local, Received, SpawnOptions, spawn};
use crate::term::{Atom, Term};

pub(super) const NAME: Atom = Atom::from_static("net_kernel");
const YES: Atom = Atom::from_static("yes");

pub(super) fn start(local: &Arc<Local>) {
    let process = spawn(local, SpawnOptions::default(), |mut cx: Context<Term>| async move {
        loop {
            let Received::Term(message) = cx.receive_signal().await else { continue };
            let GenMessage::Call { from, request } = GenMessage::new(message) else { continue };
            let mut reader = request.reader();
            let is_auth = matches!(reader.next_token(), Ok(Token::Tuple(2)))
                && matches!(reader.next_token(), Ok(Token::Atom(name)) if name == "is_auth");
            let replied = if is_auth {
                from.reply(cx.local(), cx.pid(), &YES)
            } else {
                // As OTP's own answers what it does not know.
                let error = (Atom::from_static("error"), Atom::from_static("badarg"));
                from.reply(cx.local(), cx.pid(), &error)
            };
            if let Err(error) = replied {
                return ExitReason::Term(Term::from(error.to_string()));
            }
        }
    });
    if let Some(process) = process {
        // The first process of its node: nobody can have the name.
        let _ = local.names.register(NAME, process);
    }
}
