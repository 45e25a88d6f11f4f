//! What reaches a process, told to who observes the node's world. A process that nobody observes has nothing of this: its queue
//! takes a signal at once, and only one that does not asks why.

use std::fmt;
use std::sync::Arc;

use super::deadline::polled;
use super::{AnyProcess, Process, ProcessMessage, Received, Relation, Signal};
use crate::etf::Payload;
use crate::term::Pid;

impl<M: ProcessMessage> Process<M> {
    /// Tells the observer of a signal. Returns whether there is one.
    #[cold]
    pub(super) fn trace(&self, signal: &Signal<M>) -> bool {
        self.tell(&Line(signal))
    }

    fn tell(&self, what: &dyn fmt::Display) -> bool {
        tell(self, what)
    }
}

/// Tells the observer, if there is one, of a reply that goes straight to the call which waits for it.
#[cold]
pub(super) fn trace_reply(to: &dyn AnyProcess, reply: &Payload) {
    tell(to, &format_args!("the reply {}", reply.term()));
}

fn tell(to: &dyn AnyProcess, what: &dyn fmt::Display) -> bool {
    let shared = to.shared();
    let Some(probe) = shared.local.world.probe.as_ref().filter(|probe| probe.traces_signals()) else {
        return false;
    };
    if shared.exit_reason().is_none() {
        probe.signal(&shared.pid, sender(to).as_ref(), what);
    }
    true
}

/// The process of the same node that this thread runs.
fn sender(to: &dyn AnyProcess) -> Option<Pid> {
    let polled = polled();
    let is_it = |process: &Arc<dyn AnyProcess>| Arc::as_ptr(process).addr() == polled;
    let processes = to.shared().local.table.all();
    processes.into_iter().find(is_it).map(|process| process.pid().clone())
}

struct Line<'a, M>(&'a Signal<M>);

impl<M: ProcessMessage> fmt::Display for Line<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Signal::Message(message) => f.write_str(&message.describe()),
            Signal::Term(message) => message.term().fmt(f),
            Signal::Counted(counted) => match &counted.message {
                Received::Own(message) => f.write_str(&message.describe()),
                Received::Term(message) => message.term().fmt(f),
            },
            Signal::Relation(relation) => relation.fmt(f),
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link { from, .. } => write!(f, "a link to {from}"),
            Self::Unlink { from, .. } => write!(f, "an unlink of {from}"),
            Self::UnlinkAck { from, .. } => write!(f, "that {from} is unlinked"),
            Self::LinkExit { from, reason } => {
                write!(f, "the exit of {from}, which it is linked to: {reason}")
            }
            Self::Exit { from, reason } => write!(f, "an exit signal of {from}: {reason}"),
            Self::Monitor { from, .. } => write!(f, "a monitor of {from}"),
            Self::Demonitor { from, .. } => write!(f, "a demonitor of {from}"),
            Self::Down { reference, reason } => write!(f, "the down of {reference}: {reason}"),
            Self::Alias { message, .. } => write!(f, "{} to an alias", message.term()),
            Self::MailboxFull { bound } => write!(f, "that its mailbox has more than {bound}"),
            Self::GroupLeader { leader } => write!(f, "the group leader {leader}"),
            Self::SpawnReply { reply, .. } => write!(f, "the reply to a spawn request: {:?}", reply.result),
            Self::NoConnection { .. } => f.write_str("the loss of a connection"),
        }
    }
}
