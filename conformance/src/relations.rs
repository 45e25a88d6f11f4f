//! `relations`: links, monitors and exits on demand; it remembers every signal that they bring.

use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::process::{Destination, ExitReason};
use beamline::term::{Atom, Pid, Reference, Term};
use serde::Deserialize;

#[derive(Default)]
pub(crate) struct Relations {
    log: Vec<Term>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    Log,
    Link(Pid),
    Unlink(Pid),
    Monitor(Item),
    Demonitor(Reference),
    MonitorNode(Atom, bool),
    SpawnVictim(),
    Exit(Pid, ExitReason),
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Item {
    Pid(Pid),
    Name(Atom, Atom),
}

impl GenServer for Relations {
    type Args = ();
    type Call = Ask;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;

    async fn init((): (), cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.trap_exit(true);
        Ok(Self::default())
    }

    async fn handle_call(
        &mut self,
        ask: Ask,
        from: ReplyTo<Term>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        let ok = Term::atom("ok");
        let reply = match ask {
            Ask::Log => Term::list(std::mem::take(&mut self.log)),
            Ask::Link(pid) => {
                cx.link(&pid);
                ok
            }
            Ask::Unlink(pid) => {
                cx.unlink(&pid);
                ok
            }
            Ask::Monitor(item) => cx
                .monitor(match item {
                    Item::Pid(pid) => Destination::Pid(pid),
                    Item::Name(name, node) => Destination::Remote(name, node),
                })
                .into(),
            Ask::Demonitor(reference) => {
                cx.demonitor(&reference);
                ok
            }
            Ask::MonitorNode(node, on) => {
                cx.monitor_node(node, on);
                ok
            }
            Ask::SpawnVictim() => Term::tuple([ok, cx.spawn(victim)?.into()]),
            Ask::Exit(pid, reason) => {
                cx.exit(&pid, reason);
                ok
            }
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

/// Does nothing until it is told to end.
async fn victim(mut cx: beamline::process::Context<Term>) -> ExitReason {
    loop {
        let message = cx.receive().await;
        if let Some([tag, reason]) = message.as_tuple()
            && tag.is_atom("stop")
        {
            return reason.clone().into();
        }
    }
}
