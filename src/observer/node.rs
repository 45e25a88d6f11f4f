//! The figures of a node.

use std::time::Duration;

use super::{badarg, item, number, ok};
use crate::process::{Context, Local, Raise, Received, Status, Traffic};
use crate::term::{Atom, Pid, Term};

/// A limit that nothing here has: the tools divide by limits.
const NO_LIMIT: i64 = 1;
const WORD: i64 = size_of::<usize>() as i64;
const OTP_RELEASE: &str = "25";

fn uptime(local: &Local) -> Duration {
    local.world.clock.mono().since(local.started)
}

fn traffic(local: &Local) -> Traffic {
    local.distribution().map(|distribution| distribution.traffic()).unwrap_or_default()
}

fn of_processes(local: &Local) -> usize {
    local.table.all().iter().map(|process| process.memory()).sum()
}

fn run_queue(local: &Local) -> usize {
    local.table.all().iter().filter(|process| process.status() == Status::Runnable).count()
}

/// What all takes, and what of it the processes do.
fn total_and_processes(local: &Local) -> (u64, u64) {
    let processes = of_processes(local) as u64;
    (local.world.clock.resident_memory().unwrap_or(processes).max(processes), processes)
}

/// One allocator that has all of the memory. Observer divides by what all of them have, so there must be one.
fn alloc_info(local: &Local) -> Term {
    let (total, _) = total_and_processes(local);
    let size = |key, bytes: u64| Term::tuple([Term::atom(key), number(bytes), number(bytes), number(bytes)]);
    let carriers = |kind, blocks: Term, bytes| {
        item(kind, Term::list([item("blocks", blocks), size("carriers_size", bytes)]))
    };
    let blocks = Term::list([item("system_alloc", Term::list([size("size", total)]))]);
    let of_instance = Term::list([carriers("mbcs", blocks, total), carriers("sbcs", Term::nil(), 0)]);
    let instance = Term::tuple([Term::atom("instance"), number(0), of_instance]);
    Term::list([item("system_alloc", Term::list([instance]))])
}

/// `erlang:memory/0`, in its order.
pub(super) fn memory(local: &Local) -> Term {
    let (total, processes) = total_and_processes(local);
    let figures = [
        ("total", total),
        ("processes", processes),
        ("processes_used", processes),
        ("system", total - processes),
        ("atom", 0),
        ("atom_used", 0),
        ("binary", 0),
        ("code", 0),
        ("ets", 0),
    ];
    Term::list(figures.map(|(key, value)| item(key, number(value))))
}

/// What `erlang:system_info/1` says; none if it is not known here.
fn known(local: &Local, item: &str) -> Option<Term> {
    let threads = || number(local.world.threads() as i64);
    Some(match item {
        "process_count" => number(local.table.len()),
        "process_limit" => number(local.table.limit()),
        "port_count" => number(traffic(local).connections),
        "port_limit" => number(1_i64 << 16),
        "atom_count" | "ets_count" | "dirty_cpu_schedulers" | "dirty_io_schedulers" => number(0),
        "atom_limit" | "ets_limit" => number(NO_LIMIT),
        "schedulers" | "schedulers_online" | "schedulers_available" => threads(),
        "logical_processors" | "logical_processors_online" | "logical_processors_available" => threads(),
        "otp_release" => Term::charlist(OTP_RELEASE),
        "version" => Term::charlist(env!("CARGO_PKG_VERSION")),
        "system_architecture" => {
            Term::charlist(&format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS))
        }
        "kernel_poll" | "smp_support" | "threads" => true.into(),
        "thread_pool_size" => number(0),
        "wordsize" | "wordsize_internal" | "wordsize_external" => number(WORD),
        "alloc_info" => alloc_info(local),
        "dist_buf_busy_limit" => number(1_i64 << 20),
        "creation" => number(local.creation),
        _ => return None,
    })
}

pub(super) fn system_info(local: &Local, item: &Atom) -> Result<Term, Raise> {
    known(local, item.as_str()).ok_or_else(badarg)
}

pub(super) fn statistics(local: &Local, what: &Atom) -> Result<Term, Raise> {
    let milliseconds = number(uptime(local).as_millis());
    match what.as_str() {
        "wall_clock" => ok(Term::tuple([milliseconds, number(0)])),
        "run_queue" | "total_run_queue_lengths" => ok(number(run_queue(local))),
        "reductions" => {
            let all: u64 = local.table.all().iter().map(|process| process.reductions()).sum();
            ok(Term::tuple([number(all), number(0)]))
        }
        "io" => ok(io(local)),
        _ => Err(badarg()),
    }
}

/// `{{input, Bytes}, {output, Bytes}}`.
fn io(local: &Local) -> Term {
    let traffic = traffic(local);
    Term::tuple([item("input", number(traffic.read)), item("output", number(traffic.written))])
}

pub(super) fn sys_info(local: &Local) -> Term {
    const KNOWN: [&str; 24] = [
        "logical_processors",
        "logical_processors_online",
        "logical_processors_available",
        "schedulers",
        "schedulers_online",
        "schedulers_available",
        "otp_release",
        "version",
        "system_architecture",
        "kernel_poll",
        "smp_support",
        "threads",
        "thread_pool_size",
        "wordsize_internal",
        "wordsize_external",
        "alloc_info",
        "process_count",
        "process_limit",
        "atom_count",
        "atom_limit",
        "port_count",
        "port_limit",
        "ets_count",
        "ets_limit",
    ];
    let traffic = traffic(local);
    let figures = [
        item("uptime", number(uptime(local).as_millis())),
        item("run_queue", number(run_queue(local))),
        item("io_input", number(traffic.read)),
        item("io_output", number(traffic.written)),
        item("dist_buf_busy_limit", known(local, "dist_buf_busy_limit").unwrap_or_default()),
    ];
    let known = KNOWN.into_iter().filter_map(|key| Some(item(key, known(local, key)?)));
    let memory = memory(local).as_list().map(<[Term]>::to_vec).unwrap_or_default();
    Term::list(figures.into_iter().chain(known).chain(memory))
}

/// `[{Id, Active, Total}]`, as `erlang:statistics(scheduler_wall_time)` has it.
pub(super) fn scheduler_times(local: &Local) -> Term {
    let total = uptime(local).as_nanos();
    let time = |thread| {
        let active = local.world.clock.busy(thread).as_nanos().min(total);
        Term::tuple([number(thread + 1), number(active), number(total)])
    };
    Term::list((0..local.world.threads()).map(time))
}

/// Sends `{stats, 1, SchedulerWallTimes, IO, Memory}` every so many milliseconds, until it gets any message or its link breaks.
pub(super) async fn fetch_stats(mut cx: Context<Term>, to: Pid, milliseconds: u64) -> Result<Term, Raise> {
    let world = cx.world().clone();
    loop {
        let local = cx.local();
        let stats = [Term::atom("stats"), number(1), scheduler_times(local), io(local), memory(local)];
        if cx.send(&to, Term::tuple(stats)).is_err() {
            return ok(Term::atom("ok"));
        }
        let pause = Duration::from_millis(milliseconds.max(1));
        if let Ok(Received::Own(_) | Received::Term(_)) = world.timeout(pause, cx.receive_signal()).await {
            return ok(Term::atom("ok"));
        }
    }
}
