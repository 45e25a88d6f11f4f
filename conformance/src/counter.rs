//! `counter`: an integer, and the ways in which a server can end or delay.

use std::time::Duration;

use beamline::Protocol;
use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::process::ExitReason;
use beamline::term::{Atom, Term};
use serde::{Deserialize, Serialize};

pub(crate) struct Counter(i64);

#[derive(Serialize, Deserialize, Protocol)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    #[reply(i64)]
    Get,
    #[reply(i64)]
    Add(i64),
    #[reply(Atom)]
    Stop(ExitReason),
    #[reply(())]
    Crash,
    #[reply(())]
    Noreply,
    #[reply(Term)]
    Delay(u64, Term),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tell {
    Add(i64),
}

impl GenServer for Counter {
    type Args = ();
    type Call = Ask;
    type Reply = AskReply;
    type Cast = Tell;
    type Info = Term;

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self(0))
    }

    async fn handle_call(
        &mut self,
        ask: Ask,
        from: ReplyTo<AskReply>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(match ask {
            Ask::Get => from.reply(AskReply::Get(self.0)),
            Ask::Add(n) => {
                self.0 += n;
                from.reply(AskReply::Add(self.0))
            }
            Ask::Stop(reason) => {
                cx.stop(reason);
                from.reply(AskReply::Stop(Atom::from_static("ok")))
            }
            Ask::Crash => panic!("told to crash"),
            Ask::Noreply => Reply::Later,
            Ask::Delay(ms, term) => {
                let world = cx.world().clone();
                cx.task(async move {
                    world.sleep(Duration::from_millis(ms)).await;
                    from.reply(AskReply::Delay(term));
                });
                Reply::Later
            }
        })
    }

    async fn handle_cast(&mut self, tell: Tell, _: &mut Context<Self>) -> Result<(), ExitReason> {
        let Tell::Add(n) = tell;
        self.0 += n;
        Ok(())
    }

    fn state(&self) -> Term {
        Term::from(self.0)
    }
}
