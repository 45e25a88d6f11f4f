//! What Erlang's tools ask a node whose inside they show: `observer`, `etop`, `appmon`, and a shell's `process_info/2`.
//!
//! Nothing of it answers until it is exported, as everything else that other nodes may run:
//!
//! ```
//! # use beamline::{node::Node, observer};
//! # fn example(node: &Node) {
//! for function in observer::functions() {
//!     node.export(function.only(["ops@10.0.0.7"])); // or for all, without `only`
//! }
//! # }
//! ```
//!
//! Then `observer:start()` on that node shows this one under *Nodes*: its System, Load Charts, Applications and Processes tabs, windows of processes with
//! their state, and empty lists of ports, sockets and tables.
//!
//! | figure | what it is here |
//! |---|---|
//! | reductions | messages that the process has received |
//! | memory of a process | the process and its state, without what that has allocated |
//! | memory of the node, `total` | that of the whole program, where the system tells; else, and for all other kinds, that of the processes or 0 |
//! | allocators | one, `system_alloc`, with all of the memory |
//! | input, output | bytes of all connections to other nodes |
//! | run queue | processes that wait for a thread |
//! | schedulers, their utilisation | threads of the runtime, and how much of the time since the node's start they were busy |
//! | ports | connections to other nodes |
//! | atoms, ETS tables | 0: an atom is text, and there are no tables; limits that nothing here has are 1 |
//! | OTP release, version | 25, whose protocol this is, and the version of this library |
//! | messages of a process | an empty list: what waits cannot be looked at |
//! | heap, stack, garbage collection | 0, or the defaults of Erlang |
//!
//! Source: `observer_backend.erl` and `appmon_info.erl` in runtime_tools.

mod appmon;
mod node;
mod process;

use crate::process::{ANY_MODULE, Context, Raise};
use crate::rpc::Function;
use crate::term::{Atom, Pid, Term};

/// The functions that the tools call.
pub fn functions() -> Vec<Function> {
    let backend = |name, function: fn(&str, Context<Term>) -> Term| {
        Function::new(
            "observer_backend",
            name,
            move |cx: Context<Term>| async move { ok(function(name, cx)) },
        )
    };
    let empty = |name| backend(name, |_, _| Term::nil());
    vec![
        backend("vsn", |_, _| Term::tuple([Term::atom("ok"), Term::charlist(VSN)])),
        backend("sys_info", |_, cx| node::sys_info(cx.local())),
        empty("get_port_list"),
        empty("get_socket_list"),
        empty("socket_info"),
        Function::new("observer_backend", "get_table_list", |_, _kind: Term, _options: Term| async {
            ok(Term::nil())
        }),
        Function::new("observer_backend", "procs_info", process::procs_info),
        Function::new("observer_backend", "etop_collect", process::etop_collect),
        Function::new("observer_backend", "fetch_stats", node::fetch_stats),
        Function::new("erlang", "process_info", |cx: Context<Term>, pid: Pid| async move {
            process::all(cx.local(), &pid)
        }),
        Function::new("erlang", "process_info", |cx: Context<Term>, pid: Pid, items: Term| async move {
            process::items(cx.local(), &pid, &items)
        }),
        Function::new("erlang", "system_info", |cx: Context<Term>, item: Atom| async move {
            node::system_info(cx.local(), &item)
        }),
        Function::new("erlang", "memory", |cx: Context<Term>| async move { ok(node::memory(cx.local())) }),
        Function::new("erlang", "statistics", |cx: Context<Term>, item: Atom| async move {
            node::statistics(cx.local(), &item)
        }),
        Function::new("erlang", "processes", |cx: Context<Term>| async move {
            let pids = cx.local().table.all().into_iter().map(|process| Term::from(process.pid().clone()));
            ok(Term::list(pids))
        }),
        Function::new("erlang", "registered", |cx: Context<Term>| async move {
            ok(Term::list(cx.local().names.all().into_iter().map(Term::from)))
        }),
        Function::new("erlang", "whereis", |cx: Context<Term>, name: Atom| async move {
            let process = cx.local().names.get(&name);
            ok(process.map_or(Term::atom("undefined"), |process| process.pid().clone().into()))
        }),
        Function::new("erlang", "is_process_alive", |cx: Context<Term>, pid: Pid| async move {
            ok(cx.local().process(&pid).is_some().into())
        }),
        Function::new("erlang", "garbage_collect", |cx: Context<Term>, pid: Pid| async move {
            ok(cx.local().process(&pid).is_some().into())
        }),
        Function::new(
            "erlang",
            "function_exported",
            |cx: Context<Term>, module: Atom, function: Atom, arity: usize| async move {
                ok(cx.local().functions.is_exported(&module, &function, arity).into())
            },
        ),
        Function::new("code", "ensure_loaded", |cx: Context<Term>, module: Atom| async move {
            let (tag, what) = match cx.local().functions.has_module(&module) {
                true => ("module", module.into()),
                false => ("error", Term::atom("nofile")),
            };
            ok(Term::tuple([Term::atom(tag), what]))
        }),
        Function::new("proc_lib", "translate_initial_call", process::translate_initial_call),
        Function::new(ANY_MODULE, "module_info", |_, _item: Atom| async { ok(Term::nil()) }),
        Function::new("sys", "get_status", process::get_status),
        Function::new("application", "which_applications", |cx: Context<Term>| async move {
            ok(appmon::ask(&cx, "which_applications").await.unwrap_or_default())
        }),
        Function::new("appmon_info", "start_link2", appmon::start_link),
    ]
}

/// That of the tools of OTP 25, which the answers are those of.
const VSN: &str = "2.14";

/// What a function returns that cannot fail.
fn ok(value: Term) -> Result<Term, Raise> {
    Ok(value)
}

fn badarg() -> Raise {
    Raise::Error(Term::atom("badarg"))
}

/// `{Key, Value}`.
fn item(key: &'static str, value: impl Into<Term>) -> Term {
    Term::tuple([Term::atom(key), value.into()])
}

fn number(number: impl TryInto<i64>) -> Term {
    Term::from(number.try_into().unwrap_or(i64::MAX))
}
