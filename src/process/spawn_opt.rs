//! How a bare process is spawned.

use std::sync::Arc;

use super::{Context, Heritage, Local, Mailbox, Shared, SpawnOptions, SystemLimit, spawn};
use crate::process::{AnyProcess, ExitReason};
use crate::term::{Atom, Pid, Term};

/// What is asked of a bare process that is spawned, for [`Node::spawn_opt`](crate::node::Node::spawn_opt) and [`Context::spawn_opt`]. A
/// server has the same of [its start](crate::gen_server::Start).
///
/// ```
/// # use beamline::{node::Node, process::{ExitReason, Mailbox, SpawnOpt}};
/// # fn example(node: &Node) {
/// // Of what is sent to it faster than it receives, ten wait, and the others are refused.
/// let options = SpawnOpt::new().mailbox(Mailbox::bounded(10)).env("colour", "red");
/// let pid = node.spawn_opt(options, |mut cx| async move { ExitReason::from(cx.receive().await) });
/// # let _ = pid;
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use]
pub struct SpawnOpt {
    mailbox: Option<Mailbox<Term>>,
    env: Vec<(Atom, Term)>,
    link: bool,
}

impl SpawnOpt {
    /// As a process is spawned without options.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many messages may wait for it, and what becomes of one more. Without a bound by default, as in OTP.
    pub fn mailbox(mut self, mailbox: Mailbox<Term>) -> Self {
        self.mailbox = Some(mailbox);
        self
    }

    /// A variable of its environment, over those that it inherits; the processes that it spawns inherit it.
    pub fn env(mut self, key: impl Into<Atom>, value: impl Into<Term>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Links it with the process that spawns it, before it runs. One that a node spawns has nobody to be linked with.
    pub fn link(mut self) -> Self {
        self.link = true;
        self
    }

    pub(crate) fn spawn<F>(
        self,
        local: &Arc<Local>,
        parent: Option<&Shared>,
        body: impl FnOnce(Context<Term>) -> F,
    ) -> Result<Pid, SystemLimit>
    where
        F: Future<Output = ExitReason> + Send + 'static,
    {
        let mut heritage = parent.map(Shared::childrens_heritage);
        for (key, value) in self.env {
            let heritage: &mut Arc<Heritage> = heritage.get_or_insert_with(|| local.heritage());
            Arc::make_mut(heritage).set_env(key, value);
        }
        let link = parent.filter(|_| self.link);
        let options =
            SpawnOptions { link, heritage, bound: self.mailbox.map(Into::into), ..SpawnOptions::default() };
        spawn(local, options, body).map(|process| process.pid().clone()).ok_or(SystemLimit)
    }
}
