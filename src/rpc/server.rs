//! What other nodes reach exported functions by: `erpc`'s functions, and the process `rex`.
//!
//! Source: `erpc.erl` and `rpc.erl` in kernel.

use std::sync::Arc;

use crate::process::{
    AnyProcess, Context, Destination, ExitReason, Exported, Failed, GenMessage, Heritage, Invocation, Local,
    NoValue, Outcome, Raise, Received, ReplyAddress, SpawnOptions, spawn,
};
use crate::term::{Atom, Pid, Term};
use crate::world::BoxFuture;

const ERPC: Atom = Atom::from_static("erpc");
const REX: Atom = Atom::from_static("rex");

/// Exports `erpc`'s functions, and starts `rex`.
pub(crate) fn start(local: &Arc<Local>) {
    let erpc = |function: &'static str,
                arity,
                run: fn(Arc<Local>, Invocation) -> BoxFuture<'static, Outcome>| {
        // The functions belong to the node, and would hold it.
        let weak = Arc::downgrade(local);
        let run = move |invocation: Invocation| -> BoxFuture<'static, Outcome> {
            match weak.upgrade() {
                Some(local) => run(local, invocation),
                None => Box::pin(async { Err(NoValue::Raised(Raise::error(Term::atom("undef")))) }),
            }
        };
        let function = Atom::from_static(function);
        local.functions.export(Exported { module: ERPC, function, arity, nodes: None, run: Arc::new(run) });
    };
    erpc("execute_call", 4, |local, invocation| Box::pin(execute_call(local, invocation)));
    erpc("execute_cast", 3, |local, invocation| Box::pin(execute_cast(local, invocation)));
    if let Some(rex) = spawn(local, SpawnOptions::default(), rex) {
        // Nobody can have the name yet.
        let _ = local.names.register(REX, rex);
    }
}

/// `[Module, Function, Arguments]`.
fn mfa(terms: [Term; 3]) -> Result<(Atom, Atom, Vec<Term>), [Term; 3]> {
    match terms {
        [Term::Atom(module), Term::Atom(function), Term::List(arguments)] => {
            Ok((module, function, arguments.into_vec()))
        }
        terms => Err(terms),
    }
}

/// The process ends with what the function returned: the caller monitors it.
async fn execute_call(local: Arc<Local>, invocation: Invocation) -> Outcome {
    let Invocation { cx, caller, arguments } = invocation;
    let (reference, (module, function, arguments)) = match <[Term; 4]>::try_from(arguments) {
        Ok([reference, module, function, arguments]) => match mfa([module, function, arguments]) {
            Ok(mfa) => (reference, mfa),
            Err([module, function, arguments]) => {
                return Err(NoValue::NoClause(vec![reference, module, function, arguments]));
            }
        },
        Err(arguments) => return Err(NoValue::NoClause(arguments)),
    };
    let (class, what, stack) = match local.functions.apply(cx, caller, &module, &function, arguments).await {
        Ok(value) => ("return", value, None),
        Err(Failed { raise, stack }) => match raise {
            Raise::Throw(thrown) => ("throw", thrown, None),
            Raise::Exit(reason) => ("exit", reason, None),
            Raise::Error(reason) => ("error", reason, Some(stack)),
        },
    };
    let result = [reference, Term::atom(class), what].into_iter().chain(stack);
    Err(NoValue::Raised(Raise::Exit(Term::tuple(result))))
}

/// Nobody hears how it went, but for the log.
async fn execute_cast(local: Arc<Local>, invocation: Invocation) -> Outcome {
    let Invocation { cx, caller, arguments } = invocation;
    let (module, function, arguments) = match <[Term; 3]>::try_from(arguments).map(mfa) {
        Ok(Ok(mfa)) => mfa,
        Ok(Err(terms)) => return Err(NoValue::NoClause(terms.into())),
        Err(arguments) => return Err(NoValue::NoClause(arguments)),
    };
    match local.functions.apply(cx, caller, &module, &function, arguments).await {
        Ok(_) => Ok(Term::atom("ok")),
        Err(Failed { raise: Raise::Error(reason), stack }) => {
            tracing::error!(%module, %function, %reason, "a function that was cast to failed");
            Err(NoValue::Raised(Raise::Error(Term::tuple([
                Term::atom("exception"),
                Term::tuple([reason, stack]),
            ]))))
        }
        Err(Failed { raise, .. }) => Err(NoValue::Raised(raise)),
    }
}

/// Who is told what a function returned.
enum ReplyTo {
    /// A call of `gen_server`'s.
    Call(ReplyAddress),
    /// A C or Java node's process, which is sent `{rex, Result}`.
    Process(Pid),
}

impl ReplyTo {
    fn reply(&self, local: &Arc<Local>, from: &Pid, result: Term) {
        let sent = match self {
            Self::Call(address) => address.reply(local, from, &result).map_err(|error| error.to_string()),
            Self::Process(pid) => {
                let result = Term::tuple([REX.into(), result]);
                local.send(from, &Destination::from(pid), result).map(drop).map_err(|error| error.to_string())
            }
        };
        if let Err(error) = sent {
            tracing::error!(error, "the result of a function cannot be sent");
        }
    }
}

async fn rex(mut cx: Context<Term>) -> ExitReason {
    cx.trap_exit(true);
    let local = cx.process().shared().local().clone();
    loop {
        let message = match cx.receive_signal().await {
            Received::Own(_) => continue,
            Received::Term(message) => message,
        };
        match GenMessage::new(message) {
            GenMessage::Call { from, request } => {
                let caller = from.pid().node.clone();
                match request.term().as_tuple() {
                    // Here it does not hold up other requests.
                    Some([tag, call @ ..]) if tag.is_atom("call") || tag.is_atom("block_call") => {
                        run(&local, caller, call, Some(ReplyTo::Call(from)));
                    }
                    _ => {}
                }
            }
            GenMessage::Cast(request) => {
                // Of an unknown node: nothing says who casts. That is one that may run what all may.
                if let Some([tag, call @ ..]) = request.term().as_tuple()
                    && tag.is_atom("cast")
                {
                    run(&local, Atom::from_static(""), call, None);
                }
            }
            GenMessage::Info(message) => {
                let message = message.term();
                if let Some([from, request]) = message.as_tuple()
                    && let Some(from) = from.as_pid()
                {
                    info(&cx, &local, from, request);
                }
            }
            GenMessage::System { .. } => {}
        }
    }
}

fn info(cx: &Context<Term>, local: &Arc<Local>, from: &Pid, request: &Term) {
    let node = || Term::from(local.node.clone());
    if request.is_atom("features_request") {
        let features = Term::list([ERPC.into()]);
        let _ = cx.send(from, Term::tuple([Term::atom("features_reply"), node(), features]));
        return;
    }
    match request.as_tuple() {
        Some([tag, call @ ..]) if tag.is_atom("call") => {
            run(local, from.node.clone(), call, Some(ReplyTo::Process(from.clone())));
        }
        Some([tag, name, message]) if tag.is_atom("sbcast") => {
            let sent = name.as_atom().is_some_and(|name| cx.send(name.clone(), message.clone()).is_ok());
            let nobody = || Term::tuple([Term::atom("nonexisting_name"), name.clone()]);
            let _ = cx.send(from, Term::tuple([REX.into(), node(), if sent { node() } else { nobody() }]));
        }
        _ => {}
    }
}

/// Runs `[Module, Function, Arguments, GroupLeader]` in a process of its own.
fn run(local: &Arc<Local>, caller: Atom, call: &[Term], reply_to: Option<ReplyTo>) {
    let [module, function, arguments, leader] = call else { return };
    let badrpc = |reason| Term::tuple([Term::atom("badrpc"), Term::tuple([Term::atom("EXIT"), reason])]);
    let Ok((module, function, arguments)) = mfa([module.clone(), function.clone(), arguments.clone()]) else {
        return;
    };
    let group_leader = match leader.as_pid() {
        Some(leader) => leader.clone(),
        // `user`, as C nodes say, which is the node's own.
        None => local.heritage().group_leader.clone(),
    };
    let heritage = Arc::new(Heritage { group_leader, ..(*local.heritage()).clone() });
    let options = SpawnOptions { heritage: Some(heritage), ..SpawnOptions::default() };
    let mut waits = reply_to;
    let spawned = spawn(local, options, |cx: Context<Term>| {
        let (local, pid, reply_to) = (local.clone(), cx.pid().clone(), waits.take());
        // If the process is ended from outside.
        let mut unanswered = Unanswered { local, pid, reply_to };
        async move {
            let local = unanswered.local.clone();
            let result = match local.functions.apply(cx, caller, &module, &function, arguments).await {
                Ok(value) | Err(Failed { raise: Raise::Throw(value), .. }) => value,
                Err(Failed { raise: Raise::Exit(reason), .. }) => badrpc(reason),
                Err(Failed { raise: Raise::Error(reason), stack }) => badrpc(Term::tuple([reason, stack])),
            };
            unanswered.reply(result);
            ExitReason::Normal
        }
    });
    if let (None, Some(waits)) = (spawned, waits) {
        waits.reply(local, &local.pid(0, 0), badrpc(Term::atom("system_limit")));
    }
}

/// A call that is answered however its process ends.
struct Unanswered {
    local: Arc<Local>,
    pid: Pid,
    reply_to: Option<ReplyTo>,
}

impl Unanswered {
    fn reply(&mut self, result: Term) {
        if let Some(reply_to) = self.reply_to.take() {
            reply_to.reply(&self.local, &self.pid, result);
        }
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if self.reply_to.is_none() {
            return;
        }
        let process = self.local.process(&self.pid);
        let reason = process.and_then(|process| process.shared().exit_reason().cloned());
        let reason = reason.unwrap_or(ExitReason::Killed).to_term();
        self.reply(Term::tuple([Term::atom("badrpc"), Term::tuple([Term::atom("EXIT"), reason])]));
    }
}
