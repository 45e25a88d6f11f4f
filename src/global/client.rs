//! OTP's functions of `global`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::registrar::{Registration, What};
use super::resolve::Resolve;
use super::server::Inside;
use super::table::Table;
use crate::etf::{EncodeError, Payload};
use crate::process::{Context, Destination, Local, ProcessMessage, SendError, Signal, reply_cell};
use crate::term::{Atom, Pid, Term};
use serde::Serialize;

/// Why `global` did not do what it was asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GlobalError {
    /// The node was not started with [`Builder::global`](crate::node::Builder::global), or it has stopped.
    #[error("this node takes no part in global")]
    NotTakingPart,
    /// No other node could be told of the name.
    #[error("the name has no external form: {0}")]
    Name(#[from] EncodeError),
    /// Nobody has the name.
    #[error("nobody has the global name {0}")]
    NoName(Term),
    /// The message cannot be sent.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// `global`'s functions, from [`Node::global`](crate::node::Node::global) or [`Context::global`].
///
/// ```
/// # use beamline::{global::GlobalError, node::Node, term::{Atom, Pid}};
/// # async fn example(node: &Node, ledger: Pid) -> Result<(), GlobalError> {
/// let global = node.global();
/// if global.register_name(Atom::from("ledger"), &ledger).await? {
///     assert_eq!(global.whereis_name(Atom::from("ledger")), Some(ledger));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Global {
    local: Arc<Local>,
    table: Arc<Table>,
}

impl std::fmt::Debug for Global {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Global({})", self.local.node)
    }
}

impl Global {
    pub(crate) fn new(local: Arc<Local>) -> Self {
        let table = local.shown_by(&super::NAME);
        Self { local, table }
    }

    /// `global:whereis_name/1`: the process that has the name, as far as this node knows. It looks at a table, and asks nobody.
    pub fn whereis_name(&self, name: impl Into<Term>) -> Option<Pid> {
        super::whereis(&self.local, &self.table, &name.into())
    }

    /// `global:registered_names/0`, in the order of terms.
    pub fn registered_names(&self) -> Vec<Term> {
        self.table.read().names.keys().cloned().collect()
    }

    /// `global:register_name/2`: a process gets a name, on all nodes that take part. Returns whether it did: not if somebody has the name, or it has
    /// another one. The name goes with the process.
    ///
    /// # Errors
    /// If this node takes no part.
    pub async fn register_name(&self, name: impl Into<Term>, pid: &Pid) -> Result<bool, GlobalError> {
        self.register_name_with(name, pid, &Resolve::default()).await
    }

    /// `global:register_name/3`: as [`register_name`](Self::register_name), with what decides if the name turns out to be there twice.
    ///
    /// # Errors
    /// As [`register_name`](Self::register_name).
    pub async fn register_name_with(
        &self,
        name: impl Into<Term>,
        pid: &Pid,
        resolve: &Resolve,
    ) -> Result<bool, GlobalError> {
        self.register(name.into(), pid, resolve.to_term()).await
    }

    pub(super) async fn register(&self, name: Term, pid: &Pid, method: Term) -> Result<bool, GlobalError> {
        Payload::encode(&name)?;
        self.ask(What::Register((name, pid.clone(), method))).await
    }

    /// `global:re_register_name/2`: a process gets a name, whoever had it.
    ///
    /// # Errors
    /// As [`register_name`](Self::register_name).
    pub async fn re_register_name(&self, name: impl Into<Term>, pid: &Pid) -> Result<(), GlobalError> {
        self.re_register_name_with(name, pid, &Resolve::default()).await
    }

    /// `global:re_register_name/3`: as [`re_register_name`](Self::re_register_name), with what decides if the name turns out to be there
    /// twice.
    ///
    /// # Errors
    /// As [`register_name`](Self::register_name).
    pub async fn re_register_name_with(
        &self,
        name: impl Into<Term>,
        pid: &Pid,
        resolve: &Resolve,
    ) -> Result<(), GlobalError> {
        self.re_register(name.into(), pid, resolve.to_term()).await
    }

    pub(super) async fn re_register(&self, name: Term, pid: &Pid, method: Term) -> Result<(), GlobalError> {
        Payload::encode(&name)?;
        self.ask(What::ReRegister((name, pid.clone(), method))).await.map(drop)
    }

    /// `global:unregister_name/1`: nobody has the name any more.
    ///
    /// # Errors
    /// As [`register_name`](Self::register_name).
    pub async fn unregister_name(&self, name: impl Into<Term>) -> Result<(), GlobalError> {
        let name = name.into();
        match self.whereis_name(name.clone()) {
            Some(_) => self.ask(What::Unregister(name)).await.map(drop),
            None => Ok(()),
        }
    }

    /// `global:send/2`: sends a message to the process that has the name, and returns its pid.
    ///
    /// # Errors
    /// If nobody has the name, or the message cannot be sent.
    pub fn send<T: Serialize + Send + 'static>(
        &self,
        name: impl Into<Term>,
        message: T,
    ) -> Result<Pid, GlobalError> {
        let name = name.into();
        let pid = self.whereis_name(name.clone()).ok_or(GlobalError::NoName(name))?;
        self.local.send(&self.local.pid(0, 0), &Destination::from(&pid), message).map_err(SendError::from)?;
        Ok(pid)
    }

    /// `global:sync/0`: waits until this node has the same names as all that it is connected to now and that take part.
    ///
    /// # Errors
    /// If this node takes no part.
    pub async fn sync(&self) -> Result<(), GlobalError> {
        let server = self.table.read().server.clone().ok_or(GlobalError::NotTakingPart)?;
        let nodes = self.local.distribution().map(|distribution| distribution.nodes()).unwrap_or_default();
        let (giver, taker) = reply_cell();
        server.push(Inside::Sync(nodes.into_iter().collect::<BTreeSet<Atom>>(), giver));
        taker.await.map_err(|_| GlobalError::NotTakingPart)
    }

    async fn ask(&self, what: What) -> Result<bool, GlobalError> {
        let registrar = self.table.read().registrar.clone().ok_or(GlobalError::NotTakingPart)?;
        let (done, taker) = reply_cell();
        let _ = registrar.push_always(Signal::Message(Registration { what, done }));
        taker.await.map_err(|_| GlobalError::NotTakingPart)
    }
}

impl<M: ProcessMessage> Context<M> {
    /// `global`'s names.
    pub fn global(&self) -> Global {
        Global::new(self.shared().local().clone())
    }
}
