//! `alias_server`: makes and drops an alias; it remembers what comes through it.

use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::process::ExitReason;
use beamline::term::{Reference, Term};
use serde::Deserialize;

#[derive(Default)]
pub(crate) struct AliasServer {
    alias: Option<Reference>,
    log: Vec<Term>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    New,
    Drop,
    Log,
}

impl AliasServer {
    fn drop_alias(&mut self, cx: &Context<Self>) {
        if let Some(alias) = self.alias.take() {
            cx.unalias(&alias);
        }
    }
}

impl GenServer for AliasServer {
    type Args = ();
    type Call = Ask;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self::default())
    }

    async fn handle_call(
        &mut self,
        ask: Ask,
        from: ReplyTo<Term>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        let reply = match ask {
            Ask::New => {
                self.drop_alias(cx);
                self.alias.insert(cx.alias()).clone().into()
            }
            Ask::Drop => {
                self.drop_alias(cx);
                Term::atom("ok")
            }
            Ask::Log => Term::list(std::mem::take(&mut self.log)),
        };
        Ok(from.reply(reply))
    }

    async fn handle_info(&mut self, info: Term, _: &mut Context<Self>) -> Result<(), ExitReason> {
        self.log.push(info);
        Ok(())
    }

    fn state(&self) -> Term {
        Term::list(self.log.clone())
    }
}
