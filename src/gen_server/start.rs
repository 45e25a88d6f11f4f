//! Starting a server: `gen_server:start/3,4` and `start_link/3,4`.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use super::server::{self, Init};
use super::{Context, GenServer, Message, Server};
use crate::process::{
    AnyBound, AnyProcess, ExitReason, Heritage, Local, Mailbox, RegisterError, SpawnOptions, SystemLimit,
    reply_cell, spawn,
};
use crate::term::{Atom, Pid, Term};
use crate::world::BoxFuture;

/// Why a server did not start.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its name is registered to another process.
    #[error("already started as {0}")]
    AlreadyStarted(Pid),
    /// Its name cannot be registered.
    #[error(transparent)]
    Name(RegisterError),
    /// `init` returned an error or panicked, or an exit signal ended it.
    #[error("init failed: {0}")]
    Init(ExitReason),
    /// `init` took too long; the new process was killed.
    #[error("init took longer than {0:?}")]
    Timeout(Duration),
    /// The node has as many processes as it may.
    #[error("the node takes no more processes (system_limit)")]
    SystemLimit,
}

impl StartError {
    /// The reason with which OTP's `start_link` returns.
    pub(crate) fn to_exit_reason(&self) -> ExitReason {
        match self {
            Self::AlreadyStarted(pid) => {
                let already_started = Atom::from_static("already_started").into();
                ExitReason::Term(Term::tuple([already_started, pid.clone().into()]))
            }
            Self::Init(reason) => reason.clone(),
            Self::Timeout(_) => ExitReason::atom("timeout"),
            Self::SystemLimit => ExitReason::atom("system_limit"),
            Self::Name(error) => error.clone().into(),
        }
    }
}

impl From<SystemLimit> for StartError {
    fn from(_: SystemLimit) -> Self {
        Self::SystemLimit
    }
}

/// A server that starts when this is awaited, which waits until its `init` has returned.
#[must_use = "a server starts when this is awaited"]
pub struct Start<S: GenServer> {
    local: Arc<Local>,
    parent: Option<Arc<dyn AnyProcess>>,
    args: S::Args,
    name: Option<Atom>,
    timeout: Option<Duration>,
    heritage: Option<Arc<Heritage>>,
    bound: Option<AnyBound>,
}

impl<S: GenServer> Start<S> {
    pub(crate) fn new(local: Arc<Local>, parent: Option<Arc<dyn AnyProcess>>, args: S::Args) -> Self {
        Self { local, parent, args, name: None, timeout: None, heritage: None, bound: None }
    }

    /// Registers the server under a name before its `init` runs.
    pub fn name(mut self, name: impl Into<Atom>) -> Self {
        self.name = Some(name.into());
        self
    }

    pub(crate) fn linked(parent: Arc<dyn AnyProcess>, args: S::Args) -> Self {
        Self::new(parent.shared().local().clone(), Some(parent), args)
    }

    pub(crate) fn named(mut self, name: Option<Atom>, timeout: Option<Duration>) -> Self {
        self.name = name.or(self.name);
        self.timeout = timeout.or(self.timeout);
        self
    }

    /// How long `init` may take; for ever by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// A variable of the server's environment, over those that it inherits; the processes that it spawns inherit it.
    pub fn env(mut self, key: impl Into<Atom>, value: impl Into<Term>) -> Self {
        let inherited = self.inherited();
        Arc::make_mut(self.heritage.get_or_insert(inherited)).set_env(key.into(), value.into());
        self
    }

    /// How many messages may wait for the server, and what becomes of one more. Without a bound by default, as in OTP.
    pub fn mailbox(mut self, mailbox: Mailbox<Message<S>>) -> Self {
        self.bound = Some(mailbox.into());
        self
    }

    /// The server belongs to an application, with what that sets in its environment.
    pub(crate) fn application(mut self, name: &Atom, env: Vec<(Atom, Term)>) -> Self {
        for (key, value) in env {
            self = self.env(key, value);
        }
        let inherited = self.inherited();
        Arc::make_mut(self.heritage.get_or_insert(inherited)).application = Some(name.clone());
        self
    }

    fn inherited(&self) -> Arc<Heritage> {
        match &self.parent {
            Some(parent) => parent.shared().childrens_heritage(),
            None => self.local.heritage(),
        }
    }

    async fn start(self) -> Result<Server<S>, StartError> {
        let Self { local, parent, args, name, timeout, heritage, bound } = self;
        let (started, outcome) = reply_cell();
        let link = parent.as_ref().map(|parent| parent.shared());
        let options = SpawnOptions { link, heritage, bound, ..SpawnOptions::default() };
        let parent_pid = parent.as_ref().map(|parent| parent.pid().clone());
        let init = Box::new(Init { name, args, started });
        let process = spawn(&local, options, |cx| server::run(Context::new(cx, parent_pid), init));
        let process = process.ok_or(StartError::SystemLimit)?;
        let outcome = match timeout {
            None => outcome.await,
            Some(limit) => match local.world.timeout(limit, outcome).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    local.send_exit(process.pid(), process.pid(), &ExitReason::Kill);
                    return Err(StartError::Timeout(limit));
                }
            },
        };
        match outcome {
            Ok(Ok(())) => Ok(Server::new(process)),
            Ok(Err(error)) => Err(error),
            // An exit signal ended the process during its `init`.
            Err(_) => {
                let reason = process.shared().exit_reason().cloned();
                Err(StartError::Init(reason.unwrap_or(ExitReason::Killed)))
            }
        }
    }
}

impl<S: GenServer> IntoFuture for Start<S> {
    type Output = Result<Server<S>, StartError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}
