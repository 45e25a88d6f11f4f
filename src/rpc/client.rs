//! Calling functions of other nodes.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::etf::{DecodeError, from_term};
use crate::process::{
    AnyProcess, Asking, Context, ExitReason, Giver, Local, RemoteSpawn, SpawnError, SpawnOptions, reply_cell,
    spawn,
};
use crate::term::{Atom, Pid, Term};

/// Why a call of a function of another node returned nothing. As the exceptions of `erpc:call/5`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RpcError {
    /// The function failed, `undef` if there is none.
    #[error("{reason} in {stack}")]
    Error {
        /// What `error/1` was given.
        reason: Term,
        /// Where: `[{Module, Function, ArgumentsOrArity, Info}]`.
        stack: Term,
    },
    /// The function called `exit/1`.
    #[error("exit: {0}")]
    Exit(Term),
    /// The function threw something.
    #[error("thrown: {0}")]
    Throw(Term),
    /// The process that ran it was ended.
    #[error("ended by a signal: {0}")]
    Signal(ExitReason),
    /// The connection is lost, or cannot be made.
    #[error("no connection to {0}")]
    NoConnection(Atom),
    /// There is no answer yet. The function may still run.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The node runs nothing for others, or has no room.
    #[error("{node} runs nothing: {reason}")]
    Refused {
        /// The node.
        node: Atom,
        /// What it said.
        reason: Atom,
    },
    /// The result is of another type.
    #[error("the result does not decode: {0}")]
    Decode(#[from] DecodeError),
    /// This node has no room for the process that waits.
    #[error("the node has too many processes")]
    SystemLimit,
}

/// The functions of another node, from [`Node::rpc`](crate::node::Node::rpc) or [`Context::rpc`]: `erpc:call/5` and `cast/4`.
///
/// ```
/// # use beamline::{node::Node, rpc::RpcError, term::Term};
/// # async fn example(node: &Node) -> Result<(), RpcError> {
/// let app = node.rpc("app@127.0.0.1");
/// let seconds: u64 = app.call("erlang", "system_time", [Term::atom("second")]).await?;
/// let nodes: Vec<String> = app.call("erlang", "nodes", []).await?;
/// println!("{seconds} {nodes:?}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Rpc {
    local: Arc<Local>,
    /// Where output of the functions goes; the node's own if there is none.
    group_leader: Option<Pid>,
    node: Atom,
    timeout: Option<Duration>,
}

impl Rpc {
    pub(crate) fn new(local: Arc<Local>, group_leader: Option<Pid>, node: Atom) -> Self {
        Self { local, group_leader, node, timeout: None }
    }

    /// How long calls wait; without a limit by default, as in Erlang.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// `erpc:call/5`: runs the function there, and waits for what it returns.
    ///
    /// # Errors
    /// If it failed, could not be run, took too long, or returned another type.
    pub async fn call<R: DeserializeOwned>(
        &self,
        module: impl Into<Atom>,
        function: impl Into<Atom>,
        arguments: impl IntoIterator<Item = Term>,
    ) -> Result<R, RpcError> {
        let (giver, taker) = reply_cell();
        let (node, module, function) = (self.node.clone(), module.into(), function.into());
        let arguments = Term::list(arguments);
        // In a process of its own: its monitor's DOWN is the answer, and must not be among the messages of whoever asks.
        let asking = spawn(&self.local, SpawnOptions::default(), |cx: Context<Term>| {
            if let Some(leader) = &self.group_leader {
                cx.set_group_leader(leader.clone());
            }
            ask(cx, node, [module.into(), function.into(), arguments], giver)
        });
        let _asking = Asking::new(&self.local, asking.ok_or(RpcError::SystemLimit)?.pid());
        let result = match self.timeout {
            None => taker.await,
            Some(limit) => match self.local.world.timeout(limit, taker).await {
                Ok(result) => result,
                Err(_) => return Err(RpcError::Timeout(limit)),
            },
        };
        let value = result.unwrap_or(Err(RpcError::Signal(ExitReason::Killed)))?;
        Ok(from_term(&value)?)
    }

    /// `erpc:cast/4`: runs the function there, and does not wait.
    pub fn cast(
        &self,
        module: impl Into<Atom>,
        function: impl Into<Atom>,
        arguments: impl IntoIterator<Item = Term>,
    ) {
        let node = self.node.clone();
        let arguments = vec![module.into().into(), function.into().into(), Term::list(arguments)];
        let spawned = spawn(&self.local, SpawnOptions::default(), |cx: Context<Term>| async move {
            let process: Arc<dyn AnyProcess> = cx.process().clone();
            RemoteSpawn::new(process, node, ERPC, EXECUTE_CAST, arguments).cast();
            ExitReason::Normal
        });
        if spawned.is_none() {
            tracing::error!(node = %self.node, "no room to cast from");
        }
    }
}

const ERPC: Atom = Atom::from_static("erpc");
const EXECUTE_CALL: Atom = Atom::from_static("execute_call");
const EXECUTE_CAST: Atom = Atom::from_static("execute_cast");

async fn ask(
    mut cx: Context<Term>,
    node: Atom,
    call: [Term; 3],
    answer: Giver<Result<Term, RpcError>>,
) -> ExitReason {
    let result = Term::from(cx.make_reference());
    let arguments = [result.clone()].into_iter().chain(call);
    let asked = cx.spawn_request(node.clone(), ERPC, EXECUTE_CALL, arguments).monitor().await;
    let monitor = match asked {
        Ok(spawned) => spawned.monitor.map(Term::from),
        Err(error) => {
            answer.give(Err(match error {
                SpawnError::NoConnection(node) => RpcError::NoConnection(node),
                SpawnError::Refused { node, reason } => RpcError::Refused { node, reason },
            }));
            return ExitReason::Normal;
        }
    };
    loop {
        let message = cx.receive().await;
        if let Some([tag, reference, _, _, reason]) = message.as_tuple()
            && tag.is_atom("DOWN")
            && Some(reference) == monitor.as_ref()
        {
            answer.give(outcome(&result, reason, node));
            return ExitReason::Normal;
        }
    }
}

fn outcome(result: &Term, reason: &Term, node: Atom) -> Result<Term, RpcError> {
    match reason.as_tuple() {
        Some([reference, class, what]) if reference == result => match class.as_atom().map(Atom::as_str) {
            Some("return") => Ok(what.clone()),
            Some("throw") => Err(RpcError::Throw(what.clone())),
            Some("exit") => Err(RpcError::Exit(what.clone())),
            // `{erpc, Reason}`: the request itself was at fault.
            _ => Err(RpcError::Error { reason: what.clone(), stack: Term::nil() }),
        },
        Some([reference, class, what, stack]) if reference == result && class.is_atom("error") => {
            Err(RpcError::Error { reason: what.clone(), stack: stack.clone() })
        }
        _ if reason.is_atom("noconnection") => Err(RpcError::NoConnection(node)),
        _ => Err(RpcError::Signal(reason.clone().into())),
    }
}
