//! `echo`: gives back what it gets.

use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::process::ExitReason;
use beamline::term::{Atom, Pid, Term};
use serde::Deserialize;

pub(crate) struct Echo;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tell {
    Send(Pid, Term),
}

impl GenServer for Echo {
    type Args = ();
    type Call = Term;
    type Reply = Term;
    type Cast = Tell;
    type Info = Term;

    async fn init((): (), cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.pg("pg").join(Atom::from("fixture"), [cx.pid().clone()]).await?;
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        call: Term,
        from: ReplyTo<Term>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(call))
    }

    async fn handle_cast(&mut self, tell: Tell, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let Tell::Send(to, term) = tell;
        // A receiver that has ended gets nothing, as in Erlang.
        let _ = cx.send(to, term);
        Ok(())
    }

    async fn handle_info(&mut self, info: Term, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        if let Some([Term::Pid(from), term]) = info.as_tuple() {
            let _ = cx.send(from, (Atom::from_static("echo"), term.clone()));
        }
        Ok(())
    }
}
