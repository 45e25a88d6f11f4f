//! The processes `user`, where the output of a node goes, and `logger_proxy`, which is sent the log events of other nodes.
//!
//! Source: `user.erl` and `logger_proxy.erl` in kernel.

use std::io::{self, Write};
use std::sync::Arc;

use super::Output;
use super::chars::{Encoding, characters};
use super::format::{format, format_term};
use super::request::answer;
use crate::process::{AnyProcess, Context, ExitReason, Local, SpawnOptions, spawn};
use crate::term::{Atom, Term};

const USER: Atom = Atom::from_static("user");
const LOGGER_PROXY: Atom = Atom::from_static("logger_proxy");
const IO_REPLY: Atom = Atom::from_static("io_reply");

/// Starts both; `user` leads what the node starts from then on.
pub(crate) fn start(local: &Arc<Local>, output: Output) {
    let user = spawn(local, SpawnOptions::default(), |cx| user(cx, output));
    if let Some(user) = user {
        let mut heritage = (*local.heritage()).clone();
        heritage.group_leader = user.pid().clone();
        local.set_heritage(heritage);
        // Nobody can have the name yet.
        let _ = local.names.register(USER, user);
    }
    if let Some(logger) = spawn(local, SpawnOptions::default(), logger) {
        let _ = local.names.register(LOGGER_PROXY, logger);
    }
}

/// To the program's standard output.
pub(crate) fn standard_output() -> Output {
    Box::new(|text| {
        let mut output = io::stdout().lock();
        output.write_all(text.as_bytes())?;
        output.flush()
    })
}

async fn user(mut cx: Context<Term>, mut output: Output) -> ExitReason {
    // It is a group leader: whoever is linked to it and ends, the others still print.
    cx.trap_exit(true);
    loop {
        let message = cx.receive().await;
        if let Some([tag, from, reply_as, request]) = message.as_tuple()
            && tag.is_atom("io_request")
            && let Some(from) = from.as_pid()
        {
            let reply = answer(request, &mut output);
            // Who has gone waits for no answer.
            let _ = cx.send(from, Term::tuple([IO_REPLY.into(), reply_as.clone(), reply]));
        }
    }
}

async fn logger(mut cx: Context<Term>) -> ExitReason {
    cx.trap_exit(true);
    loop {
        let message = cx.receive().await;
        let Some([tag, level, event @ ..]) = message.as_tuple() else { continue };
        let Some(level) = level.as_atom().filter(|_| tag.is_atom("log")) else { continue };
        let (text, meta) = match event {
            [text, arguments, meta] => (formatted(text, arguments), meta),
            [report, meta] => (reported(report), meta),
            _ => continue,
        };
        if let Some(text) = text {
            log(level, &text, meta);
        }
    }
}

fn formatted(text: &Term, arguments: &Term) -> Option<String> {
    format_term(text, arguments.as_list()?).ok().or_else(|| {
        // As Erlang's formatter does with what cannot be formatted.
        pretty(&Term::tuple([Term::atom("format_error"), text.clone(), arguments.clone()]))
    })
}

/// A text, what `error_logger` was given, or any other report: how that would be written, only a function of Erlang's knows.
fn reported(report: &Term) -> Option<String> {
    let of = |key| report.as_map().and_then(|report| report.get_atom(key));
    match (of("format"), of("args")) {
        (Some(text), Some(arguments)) => formatted(text, arguments),
        _ => characters(report, Encoding::Unicode).or_else(|| pretty(report)),
    }
}

fn pretty(term: &Term) -> Option<String> {
    format("~tp", std::slice::from_ref(term)).ok()
}

fn log(level: &Atom, text: &str, meta: &Term) {
    let of = |key| meta.as_map().and_then(|meta| meta.get_atom(key));
    let (pid, node) = match of("pid").and_then(Term::as_pid) {
        Some(pid) => (Some(pid.to_string()), Some(pid.node.as_str())),
        None => (None, None),
    };
    let pid = pid.as_deref();
    macro_rules! event {
        ($level:ident) => {
            tracing::event!(target: "beamline::logger", tracing::Level::$level, %level, pid, node, "{text}")
        };
    }
    match level.as_str() {
        "emergency" | "alert" | "critical" | "error" => event!(ERROR),
        "warning" => event!(WARN),
        "debug" => event!(DEBUG),
        _ => event!(INFO),
    }
}
