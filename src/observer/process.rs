//! The figures of processes.

use std::time::{Duration, SystemTime};

use super::{badarg, item, node, number, ok};
use crate::process::{AnyProcess, CallError, Context, ExitReason, Local, ProcessInfo, Raise};
use crate::term::{Atom, Pid, Term};

/// So many processes are told of in one message.
const CHUNK: usize = 10_000;

fn info(local: &Local, pid: &Pid) -> Option<ProcessInfo> {
    local.process(pid).map(|process| ProcessInfo::of(&*process))
}

/// `process_info/1`.
pub(super) fn all(local: &Local, pid: &Pid) -> Result<Term, Raise> {
    of_this_node(local, pid)?;
    ok(info(local, pid).map_or(Term::atom("undefined"), |info| info.to_term()))
}

fn of_this_node(local: &Local, pid: &Pid) -> Result<(), Raise> {
    if local.is_local(&pid.node) { Ok(()) } else { Err(badarg()) }
}

/// `process_info/2`, for one item or a list of them.
pub(super) fn items(local: &Local, pid: &Pid, wanted: &Term) -> Result<Term, Raise> {
    of_this_node(local, pid)?;
    let Some(info) = info(local, pid) else { return ok(Term::atom("undefined")) };
    let known = info.to_term();
    match wanted {
        Term::Atom(key) => match one(&known, key)? {
            // As in Erlang, alone among the items.
            None => ok(Term::nil()),
            Some(value) => ok(Term::tuple([key.clone().into(), value])),
        },
        Term::List(keys) => {
            let mut found = Vec::with_capacity(keys.len());
            for key in keys.iter() {
                let key = key.as_atom().ok_or_else(badarg)?;
                let value = one(&known, key)?.unwrap_or_default();
                found.push(Term::tuple([key.clone().into(), value]));
            }
            ok(Term::list(found))
        }
        _ => Err(badarg()),
    }
}

fn of(list: &Term, key: &str) -> Option<Term> {
    let pairs = list.as_list()?.iter().filter_map(Term::as_tuple);
    let mut values = pairs.filter_map(|pair| match pair {
        [it, value] if it.is_atom(key) => Some(value.clone()),
        _ => None,
    });
    values.next()
}

/// The value of an item; none for a name that there is not.
fn one(known: &Term, key: &Atom) -> Result<Option<Term>, Raise> {
    if let Some(value) = of(known, key.as_str()) {
        return Ok(Some(value));
    }
    Ok(Some(match key.as_str() {
        "registered_name" => return Ok(None),
        // What a native process has not, as one of Erlang's has it that does nothing.
        "binary" | "messages" | "suspending" | "sequential_trace_token" => Term::nil(),
        "catchlevel" | "heap_size" | "stack_size" | "total_heap_size" | "trace" => number(0),
        "error_handler" => Term::atom("error_handler"),
        "last_calls" => false.into(),
        "message_queue_data" => Term::atom("on_heap"),
        "backtrace" => Term::from(""),
        "garbage_collection" => Term::list([
            item("max_heap_size", Term::map([])),
            item("min_bin_vheap_size", number(0)),
            item("min_heap_size", number(0)),
            item("fullsweep_after", number(0)),
            item("minor_gcs", number(0)),
        ]),
        "current_stacktrace" => {
            let current = of(known, "current_function").unwrap_or_default();
            let call = current.as_tuple().unwrap_or_default();
            Term::list([Term::tuple(call.iter().cloned().chain([Term::nil()]))])
        }
        "current_location" => {
            let current = of(known, "current_function").unwrap_or_default();
            let call = current.as_tuple().unwrap_or_default();
            Term::tuple(call.iter().cloned().chain([Term::nil()]))
        }
        _ => return Err(badarg()),
    }))
}

/// `{etop_proc_info, Pid, Memory, Reductions, Name, Runtime, CurrentFunction, MessageQueue}`.
fn etop_proc_info(process: &dyn AnyProcess) -> Term {
    let info = ProcessInfo::of(process);
    let known = info.to_term();
    let name = info.registered_name.map(Term::from).or_else(|| of(&known, "initial_call"));
    Term::tuple([
        Term::atom("etop_proc_info"),
        info.pid.into(),
        number(info.memory),
        number(info.reductions),
        name.unwrap_or_default(),
        number(0),
        of(&known, "current_function").unwrap_or_default(),
        number(info.message_queue_len),
    ])
}

fn others(cx: &Context<Term>) -> Vec<Term> {
    let all = cx.local().table.all().into_iter();
    all.filter(|process| process.pid() != cx.pid()).map(|process| etop_proc_info(&*process)).collect()
}

/// Sends `{procs_info, Self, Processes}`, and ends.
pub(super) async fn procs_info(cx: Context<Term>, to: Pid) -> Result<Term, Raise> {
    for chunk in others(&cx).chunks(CHUNK) {
        let message = [Term::atom("procs_info"), cx.pid().clone().into(), Term::list(chunk.iter().cloned())];
        let _ = cx.send(&to, Term::tuple(message));
        cx.yield_now().await;
    }
    ok(Term::atom("ok"))
}

/// Sends `{Self, EtopInfo}`, and ends.
pub(super) async fn etop_collect(cx: Context<Term>, to: Pid) -> Result<Term, Raise> {
    let local = cx.local();
    let now = local.world.clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = now.as_secs();
    let processes = others(&cx);
    let memory = node::memory(local);
    let kinds = ["total", "processes", "ets", "atom", "code", "binary"];
    let kinds = kinds.map(|kind| item(kind, of(&memory, kind).unwrap_or_default()));
    let run_queue = node::statistics(local, &Atom::from_static("run_queue"))?;
    let info = Term::tuple([
        Term::atom("etop_info"),
        Term::tuple([number(seconds / 1_000_000), number(seconds % 1_000_000), number(now.subsec_micros())]),
        number(processes.len()),
        Term::atom("undefined"),
        node::scheduler_times(local),
        run_queue,
        Term::nil(),
        Term::list(kinds),
        Term::list(processes),
    ]);
    let _ = cx.send(&to, Term::tuple([cx.pid().clone().into(), info]));
    ok(Term::atom("ok"))
}

pub(super) async fn translate_initial_call(cx: Context<Term>, pid: Pid) -> Result<Term, Raise> {
    let call = info(cx.local(), &pid).and_then(|info| of(&info.to_term(), "initial_call"));
    call.ok_or_else(badarg)
}

/// `sys:get_status/2`. A process that is no server does not answer, as in Erlang.
pub(super) async fn get_status(cx: Context<Term>, pid: Pid, milliseconds: u64) -> Result<Term, Raise> {
    let status = cx.sys(&pid).get_status().timeout(Duration::from_millis(milliseconds)).await;
    status.map_err(|error: CallError| {
        let called = Term::tuple([
            Term::atom("sys"),
            Term::atom("get_status"),
            Term::list([pid.clone().into(), number(milliseconds)]),
        ]);
        let why = match error {
            CallError::Timeout(_) => Term::atom("timeout"),
            error => ExitReason::from(error).to_term(),
        };
        Raise::Exit(Term::tuple([why, called]))
    })
}
