//! The application master: the group leader of an application's processes, and beside it the process that starts and stops them.
//!
//! Two, because the first must hand output on while the second waits for a root that may print as it starts.
//!
//! Source: `application_master.erl` in kernel.

use std::sync::Arc;

use super::Application;
use crate::gen_server::{Context, GenServer, Reply, ReplyTo};
use crate::process::{
    self, AnyProcess, ExitReason, Giver, Local, ProcessMessage, Received, Taker, end_of, reply_cell,
};
use crate::supervisor::{Parent, StartedChild, start_child};
use crate::term::{Atom, Pid, Term};

/// What became of a start.
pub(super) type Outcome = Result<(), ExitReason>;

/// The group leader.
pub(super) struct Master {
    /// Where output goes.
    group_leader: Pid,
    starter: Pid,
}

impl GenServer for Master {
    type Args = (Application, Giver<Outcome>, Taker<()>);
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;

    async fn init(
        (application, started, stop): Self::Args,
        cx: &mut Context<Self>,
    ) -> Result<Self, ExitReason> {
        cx.trap_exit(true);
        let group_leader = cx.group_leader();
        // What is started from here on belongs to the application.
        cx.set_group_leader(cx.pid().clone());
        let master = cx.pid().clone();
        let starter = cx
            .spawn_linked::<Unused, _>(|cx| run(cx, application, master, started, stop))
            .ok_or_else(|| ExitReason::atom("system_limit"))?;
        Ok(Self { group_leader, starter: starter.pid().clone() })
    }

    async fn handle_call(
        &mut self,
        call: Term,
        from: ReplyTo<Term>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        // Nobody asks it for anything.
        Ok(from.reply(Term::tuple([Atom::from_static("error").into(), call])))
    }

    async fn handle_info(&mut self, info: Term, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match info.as_tuple() {
            Some([tag, ..]) if tag.is_atom("io_request") => {
                // The device answers whoever asked.
                let _ = cx.send(&self.group_leader, info);
            }
            Some([tag, pid, reason]) if tag.is_atom("EXIT") && pid.as_pid() == Some(&self.starter) => {
                kill_group(cx.local(), cx.pid());
                cx.stop(reason.clone().into());
            }
            _ => {}
        }
        Ok(())
    }
}

/// The starter is sent nothing but terms.
struct Unused;

impl ProcessMessage for Unused {
    type Brief = std::convert::Infallible;

    fn from_brief(brief: Self::Brief) -> Self {
        match brief {}
    }

    fn take(_: &mut dyn std::any::Any) -> Option<Self> {
        None
    }
}

/// Starts the application, and stops it when its root ends or the controller says so. Ends with the application's reason.
async fn run(
    mut cx: process::Context<Unused>,
    application: Application,
    master: Pid,
    started: Giver<Outcome>,
    stop: Taker<()>,
) -> ExitReason {
    cx.trap_exit(true);
    let this: Arc<dyn AnyProcess> = cx.process().clone();
    let root = match start_root(&this, &application).await {
        Ok(root) => root,
        Err(reason) => {
            started.give(Err(reason));
            return ExitReason::Normal;
        }
    };
    for (phase, run) in &application.start_phases {
        if let Err(reason) = run().await {
            stop_root(&this, root.as_ref()).await;
            let start_phase = Atom::from_static("start_phase").into();
            let reason = Term::tuple([start_phase, phase.clone().into(), reason.to_term()]);
            started.give(Err(ExitReason::Term(reason)));
            return ExitReason::Normal;
        }
    }
    started.give(Ok(()));
    // Until the root ends, or the controller or the master has gone, who stop it.
    let ended = tokio::select! {
        biased;
        ended = root_ended(&mut cx, root.as_ref(), &master) => ended,
        _ = stop => None,
    };
    let reason = match ended {
        Some(reason) => reason,
        None => {
            if let Some(prep_stop) = &application.prep_stop {
                prep_stop().await;
            }
            stop_root(&this, root.as_ref()).await;
            ExitReason::Normal
        }
    };
    if let Some(stop) = &application.stop {
        stop().await;
    }
    reason
}

async fn start_root(this: &Arc<dyn AnyProcess>, application: &Application) -> StartedChild {
    let Some(root) = &application.root else { return Ok(None) };
    let parent = Parent::of(this.clone(), root);
    start_child(&parent, &root.start).await
}

/// Waits for the end of the root, and returns why it ended; or for that of the master, which returns nothing.
async fn root_ended(
    cx: &mut process::Context<Unused>,
    root: Option<&Pid>,
    master: &Pid,
) -> Option<ExitReason> {
    loop {
        let Received::Term(message) = cx.receive_signal().await else { continue };
        match message.decode::<(Atom, Pid, ExitReason)>() {
            Ok((tag, pid, reason)) if tag == "EXIT" && Some(&pid) == root => return Some(reason),
            Ok((tag, pid, _)) if tag == "EXIT" && pid == *master => return None,
            _ => {}
        }
    }
}

/// Ends what an application has left behind, or will not let go of: all that have the master for their group leader.
pub(super) fn kill_group(local: &Local, master: &Pid) {
    for process in local.table.all() {
        if process.pid() != master && process.shared().heritage().group_leader == *master {
            local.send_exit(master, process.pid(), &ExitReason::Kill);
        }
    }
}

/// However long it takes: the root's own children have their limits.
async fn stop_root(this: &Arc<dyn AnyProcess>, root: Option<&Pid>) {
    if let Some(root) = root {
        let end = end_of(this.clone(), root);
        this.shared().local().send_exit(this.pid(), root, &ExitReason::Shutdown);
        end.await;
    }
}

/// The way to stop an application: dropped, or given, it stops.
pub(super) fn stop_cell() -> (Giver<()>, Taker<()>) {
    reply_cell()
}
