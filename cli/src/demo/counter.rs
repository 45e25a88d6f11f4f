//! The server of the demo: a number that can be added to.

use std::time::Duration;

use beamline::Protocol;
use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::process::ExitReason;
use beamline::term::{Pid, Term};
use serde::{Deserialize, Serialize};

/// What the panic says that the demo plans.
pub(super) const PLANNED_PANIC: &str = "told to crash";

pub(super) struct Counter(i64);

/// From Erlang: `get`, `{add, 5}`, `{get_after, 300}`, `pid`.
#[derive(Serialize, Deserialize, Protocol)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ask {
    #[reply(i64)]
    Get,
    #[reply(i64)]
    Add(i64),
    /// After so many milliseconds.
    #[reply(i64)]
    GetAfter(u64),
    #[reply(Pid)]
    Pid,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tell {
    Crash,
}

impl GenServer for Counter {
    type Args = i64;
    type Call = Ask;
    type Reply = AskReply;
    type Cast = Tell;
    type Info = Term;

    async fn init(start: i64, _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self(start))
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
                self.0 = self.0.saturating_add(n);
                from.reply(AskReply::Add(self.0))
            }
            Ask::GetAfter(ms) => {
                let (n, world) = (self.0, cx.world().clone());
                cx.task(async move {
                    world.sleep(Duration::from_millis(ms)).await;
                    from.reply(AskReply::GetAfter(n));
                });
                Reply::Later
            }
            Ask::Pid => from.reply(AskReply::Pid(cx.pid().clone())),
        })
    }

    async fn handle_cast(&mut self, Tell::Crash: Tell, _: &mut Context<Self>) -> Result<(), ExitReason> {
        panic!("{PLANNED_PANIC}")
    }
}
