//! OTP's functions of `pg`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::server::{Answer, Ask, Scope};
use super::table::Table;
use crate::etf::{EncodeError, Payload};
use crate::gen_server::Server;
use crate::node::Node;
use crate::process::{CallError, Context, Local, ProcessMessage};
use crate::term::{Atom, Pid, Reference, Term};

/// Why a scope did not do what it was asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScopeError {
    /// Processes join and leave on their own node only.
    #[error("{0} is not a process of this node (nolocal)")]
    NotLocal(Pid),
    /// No other node could be told of the group.
    #[error("the group has no external form: {0}")]
    Group(#[from] EncodeError),
    /// There is no such scope on this node, or it ended.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// `pg`'s functions for a scope of this node, whether it runs now or not. Where it does not, no group has members.
///
/// ```
/// # use beamline::{node::Node, pg::ScopeError, term::{Atom, Pid}};
/// # async fn example(node: &Node, worker: Pid) -> Result<(), ScopeError> {
/// let pg = node.pg("pg");
/// let workers = Atom::from("workers");
/// pg.join(workers.clone(), [worker]).await?;
/// for pid in pg.get_members(workers) {
///     let _ = node.send(pid, "hello".to_owned());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ScopeRef {
    local: Arc<Local>,
    name: Atom,
    table: Arc<Table>,
}

impl std::fmt::Debug for ScopeRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ScopeRef({})", self.name)
    }
}

impl ScopeRef {
    pub(super) fn new(local: Arc<Local>, name: Atom) -> Self {
        let table = local.shown_by(&name);
        Self { local, name, table }
    }

    /// `pg:join/3`: processes of this node join a group, each as often as it is given. It is known here when this returns.
    ///
    /// # Errors
    /// If a process is not of this node, or the scope does not run.
    pub async fn join(
        &self,
        group: impl Into<Term>,
        pids: impl IntoIterator<Item = Pid>,
    ) -> Result<(), ScopeError> {
        let group = group.into();
        Payload::encode(&group)?;
        self.done(Ask::Join(group, self.local(pids)?)).await.map(drop)
    }

    /// `pg:leave/3`: processes of this node leave a group, each once for each time that it is given. Returns whether any of them was a
    /// member (else `not_joined` in OTP).
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub async fn leave(
        &self,
        group: impl Into<Term>,
        pids: impl IntoIterator<Item = Pid>,
    ) -> Result<bool, ScopeError> {
        self.done(Ask::Leave(group.into(), self.local(pids)?)).await
    }

    /// `pg:get_members/2`: the processes in a group, on all nodes, in no particular order; one that has joined several times is
    /// there as often.
    pub fn get_members(&self, group: impl Into<Term>) -> Vec<Pid> {
        self.table.read().get(&group.into()).map(|members| members.all.clone()).unwrap_or_default()
    }

    /// `pg:get_local_members/2`: those of this node.
    pub fn get_local_members(&self, group: impl Into<Term>) -> Vec<Pid> {
        self.table.read().get(&group.into()).map(|members| members.local.clone()).unwrap_or_default()
    }

    /// `pg:which_groups/1`: the groups that have members, in the order of terms.
    pub fn which_groups(&self) -> Vec<Term> {
        self.table.read().keys().cloned().collect()
    }

    /// `pg:which_local_groups/1`: the groups that have members of this node.
    pub fn which_local_groups(&self) -> Vec<Term> {
        let groups = self.table.read();
        let local = groups.iter().filter(|(_, members)| !members.local.is_empty());
        local.map(|(group, _)| group.clone()).collect()
    }

    /// `pg:monitor/2`: the members of a group, and `to` is sent a [`GroupEvent`](super::GroupEvent) for each change from then on. It ends with that
    /// process, or with [`demonitor`](Self::demonitor).
    ///
    /// # Errors
    /// If the scope does not run.
    pub async fn monitor(
        &self,
        group: impl Into<Term>,
        to: &Pid,
    ) -> Result<(Reference, Vec<Pid>), CallError> {
        match self.ask(Ask::Monitor(group.into(), to.clone())).await? {
            Answer::Members(reference, members) => Ok((reference, members)),
            _ => Err(CallError::NoProc),
        }
    }

    /// `pg:monitor_scope/1`: all groups with their members, and `to` is sent a [`GroupEvent`](super::GroupEvent) for each change of any.
    ///
    /// # Errors
    /// If the scope does not run.
    pub async fn monitor_scope(&self, to: &Pid) -> Result<(Reference, BTreeMap<Term, Vec<Pid>>), CallError> {
        match self.ask(Ask::MonitorScope(to.clone())).await? {
            Answer::Groups(reference, groups) => Ok((reference, groups)),
            _ => Err(CallError::NoProc),
        }
    }

    /// `pg:demonitor/2`: the process that monitors is told of no further change; what it was sent before may still wait for it.
    /// Returns whether there was such a monitor.
    ///
    /// # Errors
    /// If the scope does not run.
    pub async fn demonitor(&self, reference: &Reference) -> Result<bool, CallError> {
        Ok(matches!(self.ask(Ask::Demonitor(reference.clone())).await?, Answer::Done(true)))
    }

    fn local(&self, pids: impl IntoIterator<Item = Pid>) -> Result<Vec<Pid>, ScopeError> {
        let is_local = |pid: Pid| match self.local.is_local(&pid.node) {
            true => Ok(pid),
            false => Err(ScopeError::NotLocal(pid)),
        };
        pids.into_iter().map(is_local).collect()
    }

    async fn done(&self, ask: Ask) -> Result<bool, ScopeError> {
        Ok(matches!(self.ask(ask).await?, Answer::Done(true)))
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, CallError> {
        let process = self.local.names.get(&self.name).ok_or(CallError::NoProc)?;
        let process = process.into_any().downcast().map_err(|_| CallError::NoProc)?;
        Server::<Scope>::new(process).call(ask).infinity().await
    }
}

impl Node {
    /// `pg`'s functions for a scope of this node; the default one's name is `pg`.
    pub fn pg(&self, scope: impl Into<Atom>) -> ScopeRef {
        ScopeRef::new(self.local().clone(), scope.into())
    }
}

impl<M: ProcessMessage> Context<M> {
    /// `pg`'s functions for a scope of this node; the default one's name is `pg`.
    pub fn pg(&self, scope: impl Into<Atom>) -> ScopeRef {
        ScopeRef::new(self.shared().local().clone(), scope.into())
    }
}
