//! What is done about a name that two partitions have when they join.
//!
//! Source: `exchange_names`, `resolve_it` and `random_exit_name` in `global.erl` in kernel.

use std::sync::Arc;

use super::message::{Entry, Op, tagged};
use super::table::Table;
use crate::process::{Context, Destination, Exported, Failed, Invocation, Local, NoValue, Outcome, Raise};
use crate::rpc::{Rpc, RpcError};
use crate::term::{Atom, Fun, Pid, Term};

const GLOBAL: Atom = Atom::from_static("global");
const RESOLVE_IT: Atom = Atom::from_static("resolve_it");

/// What decides when a name turns out to be registered to two processes, because two partitions of a cluster that have it both join.
/// It is asked once, on the node of one of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Resolve {
    /// `global:random_exit_name/3`: one of the two processes is killed, the other keeps the name. The default.
    #[default]
    RandomExit,
    /// `global:random_notify_name/3`: one of them keeps the name, the other is sent `{global_name_conflict, Name}`.
    RandomNotify,
    /// `global:notify_all_name/3`: none keeps it, and each is sent `{global_name_conflict, Name, OtherPid}`.
    NotifyAll,
    /// `fun Module:Function/3`, given the name and both pids: it returns the pid that keeps the name, or `none`. The node of the process must have it:
    /// an Erlang node in its code, one of this library among the functions that it [exports](crate::node::Node::export).
    Function {
        /// The module.
        module: Atom,
        /// The function.
        function: Atom,
    },
}

impl Resolve {
    pub(super) fn to_term(&self) -> Term {
        let of = |name: &'static str| (GLOBAL, Atom::from_static(name));
        let (module, function) = match self {
            Self::RandomExit => of("random_exit_name"),
            Self::RandomNotify => of("random_notify_name"),
            Self::NotifyAll => of("notify_all_name"),
            Self::Function { module, function } => (module.clone(), function.clone()),
        };
        Fun::External { module, function, arity: 3 }.into()
    }

    /// A fun of a name. `{Module, Function}` is an older form.
    pub(super) fn from_term(method: &Term) -> Option<Self> {
        let (module, function) = match (method.as_fun(), method.as_tuple()) {
            (Some(Fun::External { module, function, arity: 3 }), _) => (module.clone(), function.clone()),
            (_, Some([module, function])) => (module.as_atom()?.clone(), function.as_atom()?.clone()),
            _ => return None,
        };
        Some(match (module == GLOBAL, function.as_str()) {
            (true, "random_exit_name") => Self::RandomExit,
            (true, "random_notify_name") => Self::RandomNotify,
            (true, "notify_all_name") => Self::NotifyAll,
            _ => Self::Function { module, function },
        })
    }
}

/// What is to be done in this partition, and in the other one, whose names these are. Names that both have are decided by the node that
/// comes first.
pub(super) async fn resolve(
    cx: &Context<Term>,
    table: &Table,
    names: Vec<Entry>,
    node: &Atom,
) -> (Vec<Op>, Vec<Op>) {
    let (mut ops, mut his_ops) = (Vec::new(), Vec::new());
    for his in names {
        let Some(ours) = table.registered(&his.0) else {
            ops.push(Op::Insert(his));
            continue;
        };
        if ours.pid == his.1 || cx.node_name() >= node {
            continue;
        }
        let arguments = [ours.method.clone(), his.0.clone(), his.1.clone().into(), ours.pid.clone().into()];
        let rpc = Rpc::new(cx.shared().local().clone(), None, ours.pid.node.clone());
        let decided = match rpc.call::<Term>(GLOBAL, RESOLVE_IT, arguments).await {
            Ok(decided) | Err(RpcError::Throw(decided)) => decided,
            Err(error) => {
                tracing::info!(name = %his.0, %error, "global cannot ask what is to be done about a name that is there twice");
                ops.push(Op::Insert(his));
                continue;
            }
        };
        if matches!(decided.as_tuple(), Some([tag, _]) if tag.is_atom("EXIT")) {
            // To Erlang's `rpc` that is a failure too.
            tracing::info!(name = %his.0, method = %ours.method, %decided, "global's method failed");
            ops.push(Op::Insert(his));
            continue;
        }
        match decided.as_pid() {
            Some(pid) if *pid == his.1 => ops.push(Op::Insert(his)),
            Some(pid) if *pid == ours.pid => his_ops.push(Op::Insert((his.0, ours.pid, ours.method))),
            _ => {
                if !decided.is_atom("none") {
                    tracing::info!(name = %his.0, method = %ours.method, %decided, "global's method decided neither");
                }
                ops.push(Op::Delete(his.0.clone()));
                his_ops.push(Op::Delete(his.0));
            }
        }
    }
    (ops, his_ops)
}

/// The functions that name servers of other nodes call: `global:resolve_it/4`.
pub(super) fn functions(local: &Arc<Local>) -> [Exported; 1] {
    // The functions belong to the node, and would hold it.
    let weak = Arc::downgrade(local);
    let run = move |invocation: Invocation| -> crate::world::BoxFuture<'static, Outcome> {
        match weak.upgrade() {
            Some(local) => Box::pin(resolve_it(local, invocation)),
            None => Box::pin(async { Err(NoValue::Raised(Raise::error(Term::atom("undef")))) }),
        }
    };
    [Exported { module: GLOBAL, function: RESOLVE_IT, arity: 4, nodes: None, run: Arc::new(run) }]
}

async fn resolve_it(local: Arc<Local>, invocation: Invocation) -> Outcome {
    let Invocation { cx, caller, arguments } = invocation;
    let (method, name, one, two) = match <[Term; 4]>::try_from(arguments) {
        Ok([method, name, Term::Pid(one), Term::Pid(two)]) => (method, name, one, two),
        Ok(arguments) => return Err(NoValue::NoClause(arguments.into())),
        Err(arguments) => return Err(NoValue::NoClause(arguments)),
    };
    // Who is kept is the one whose node comes first: random enough, and the same wherever it is decided.
    let (kept, gone) = if one.node < two.node { (&one, &two) } else { (&two, &one) };
    let conflict = |with: Option<&Pid>| {
        tagged("global_name_conflict", [name.clone()].into_iter().chain(with.cloned().map(Term::from)))
    };
    let send = |to: &Pid, message: Term| {
        // One that has ended has no conflict.
        let _ = local.send(cx.pid(), &Destination::from(to), message);
    };
    match Resolve::from_term(&method) {
        Some(Resolve::RandomExit) => {
            tracing::info!(%name, pid = %gone, "global ends a process whose name another one has too");
            cx.exit(gone, crate::process::ExitReason::Kill);
            Ok(kept.clone().into())
        }
        Some(Resolve::RandomNotify) => {
            send(gone, conflict(None));
            Ok(kept.clone().into())
        }
        Some(Resolve::NotifyAll) => {
            send(&one, conflict(Some(&two)));
            send(&two, conflict(Some(&one)));
            Ok(Term::atom("none"))
        }
        Some(Resolve::Function { module, function }) => {
            let arguments = vec![name, one.into(), two.into()];
            match local.functions.apply(cx, caller, &module, &function, arguments).await {
                Ok(decided) | Err(Failed { raise: Raise::Throw(decided), .. }) => Ok(decided),
                Err(failed) => Ok(Term::tuple([Term::atom("EXIT"), exit_term(failed)])),
            }
        }
        // Its code is Erlang's.
        None => Ok(Term::tuple([Term::atom("EXIT"), Term::tuple([Term::atom("undef"), Term::nil()])])),
    }
}

fn exit_term(failed: Failed) -> Term {
    match failed.raise {
        Raise::Error(reason) => Term::tuple([reason, failed.stack]),
        Raise::Exit(reason) | Raise::Throw(reason) => reason,
    }
}
