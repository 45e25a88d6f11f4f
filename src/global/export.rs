//! `global`'s functions for other nodes.

use crate::process::{Context, Raise};
use crate::rpc::Function;
use crate::term::{Pid, Term};

use super::client::GlobalError;

/// Functions of the module `global` that other nodes may call once they are [exported](crate::node::Node::export): those of names. Nothing of
/// it is needed to take part.
///
/// ```
/// # use beamline::{global, node::Node};
/// # fn example(node: &Node) {
/// for function in global::functions() {
///     node.export(function);
/// }
/// // rpc:call('shop@127.0.0.1', global, whereis_name, [ledger])
/// # }
/// ```
pub fn functions() -> Vec<Function> {
    let function = "global";
    vec![
        Function::new(function, "whereis_name", |cx: Context<Term>, name: Term| async move {
            ok(cx.global().whereis_name(name).map_or_else(|| Term::atom("undefined"), Term::from))
        }),
        Function::new(function, "registered_names", |cx: Context<Term>| async move {
            ok(Term::list(cx.global().registered_names()))
        }),
        Function::new(function, "register_name", |cx: Context<Term>, name: Term, pid: Pid| async move {
            yes_or_no(cx.global().register_name(name, &pid).await)
        }),
        Function::new(
            function,
            "register_name",
            |cx: Context<Term>, name: Term, pid: Pid, method: Term| async move {
                yes_or_no(cx.global().register(name, &pid, method).await)
            },
        ),
        Function::new(function, "re_register_name", |cx: Context<Term>, name: Term, pid: Pid| async move {
            yes_or_no(cx.global().re_register_name(name, &pid).await.map(|()| true))
        }),
        Function::new(
            function,
            "re_register_name",
            |cx: Context<Term>, name: Term, pid: Pid, method: Term| async move {
                yes_or_no(cx.global().re_register(name, &pid, method).await.map(|()| true))
            },
        ),
        Function::new(function, "unregister_name", |cx: Context<Term>, name: Term| async move {
            cx.global().unregister_name(name).await.map_err(raise)?;
            ok(Term::atom("ok"))
        }),
        Function::new(function, "send", |cx: Context<Term>, name: Term, message: Term| async move {
            match cx.global().send(name.clone(), message.clone()) {
                Ok(pid) => ok(pid.into()),
                Err(_) => {
                    let to = Term::tuple([name, message]);
                    Err(Raise::exit(Term::tuple([Term::atom("badarg"), to])))
                }
            }
        }),
        Function::new(function, "sync", |cx: Context<Term>| async move {
            cx.global().sync().await.map_err(raise)?;
            ok(Term::atom("ok"))
        }),
    ]
}

fn ok(value: Term) -> Result<Term, Raise> {
    Ok(value)
}

fn yes_or_no(done: Result<bool, GlobalError>) -> Result<Term, Raise> {
    done.map(|done| Term::atom(if done { "yes" } else { "no" })).map_err(raise)
}

/// As a call of Erlang's name server that is not there.
fn raise(error: GlobalError) -> Raise {
    match error {
        GlobalError::NotTakingPart => Raise::exit(Term::atom("noproc")),
        error => Raise::error(Term::from(error.to_string())),
    }
}
