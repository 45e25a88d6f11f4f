//! Remote spawn, and the calls that are made with it.

use std::net::Shutdown;
use std::time::Instant;

use super::{Check, Lane, check};
use crate::peer::{Peer, is_down, is_exit, is_message, op};
use crate::target::Target;
use crate::term::{Term, list, tuple};
use crate::wire::{CLOSING, LOOK, PATIENCE, QUIET, WireError};
use crate::{Failure, Outcome, seen};

pub(super) const CHECKS: &[Check] = &[
    check(60, "spawn-ok", Lane::Services, spawns),
    check(61, "spawn-fail", Lane::Services, fails),
    check(62, "spawn-dead-parent", Lane::Services, dead_parent),
    check(63, "erpc", Lane::Services, erpc_results),
];

/// Asks for a process. Returns who asks and the request's reference.
fn request(
    peer: &mut Peer,
    function: (&str, &str),
    args: Term,
    options: Term,
) -> Result<(Term, Term), Failure> {
    let (me, id) = (peer.pid(), peer.reference());
    let arity = args.elements().map_or(0, |args| args.len() as i64);
    let what = tuple![function.0, function.1, arity];
    peer.signal(tuple![op::SPAWN_REQUEST, &id, &me, &me, what, options], args)?;
    Ok((me, id))
}

/// The flags and the result of the reply to a request.
pub(super) fn replied(peer: &mut Peer, id: &Term) -> Result<(Term, Term), Failure> {
    let reply = peer.wait("SPAWN_REPLY", PATIENCE, |it| {
        ([op::SPAWN_REPLY, op::SPAWN_REPLY_TT].contains(&it.op()) && it.at(1) == id).then(|| it.clone())
    })?;
    Ok((reply.at(3).clone(), reply.at(4).clone()))
}

/// Calls a function as `erpc:call` does. The reason of the process that runs it, without the reference that it begins with.
pub(super) fn erpc(peer: &mut Peer, function: (&str, &str), args: Term) -> Result<Vec<Term>, Failure> {
    let result = peer.reference();
    let args = list![&result, function.0, function.1, args];
    let (_, id) = request(peer, ("erpc", "execute_call"), args, list!["monitor"])?;
    let (_, spawned) = replied(peer, &id)?;
    if !matches!(spawned, Term::Pid(_)) {
        return Err(seen(format!("{spawned:?} in place of a process for erpc")));
    }
    let (_, reason) = peer.down(&id)?;
    match reason.items() {
        Some([reference, rest @ ..]) if *reference == result => Ok(rest.to_vec()),
        _ => Err(seen(format!("the reason {reason:?} of an erpc call"))),
    }
}

/// What a function returns.
pub(super) fn returned(peer: &mut Peer, function: (&str, &str), args: Term) -> Result<Term, Failure> {
    match &erpc(peer, function, args)?[..] {
        [class, value] if class.is("return") => Ok(value.clone()),
        other => Err(seen(format!("{other:?} from {}:{}", function.0, function.1))),
    }
}

fn spawns(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    let to = peer.pid();
    let (me, id) =
        request(&mut peer, ("fixture", "reply_to"), list![&to, "spawned"], list!["link", "monitor"])?;
    let (flags, pid) = replied(&mut peer, &id)?;
    if flags != Term::Int(3) || !matches!(pid, Term::Pid(_)) {
        return Err(seen(format!("the reply {flags:?}, {pid:?}")));
    }
    let message = peer.message(&to)?;
    if !message.is("spawned") {
        return Err(seen(format!("the message {message:?}")));
    }
    let first = peer
        .wait("its end", PATIENCE, |it| (is_exit(it, &pid, &me) || is_down(it, &id)).then(|| it.clone()))?;
    if !is_exit(&first, &pid, &me) {
        return Err(seen("a DOWN before the exit of the link"));
    }
    let (exit, down) = (first.reason()?, peer.down(&id)?.1);
    if !exit.is("normal") || !down.is("normal") {
        return Err(seen(format!("the reasons {exit:?} and {down:?}")));
    }
    // Without options there is the reply, and nothing after.
    let (_, id) = request(&mut peer, ("fixture", "reply_to"), list![&to, "again"], Term::nil())?;
    let (flags, pid) = replied(&mut peer, &id)?;
    peer.message(&to)?;
    peer.nothing(QUIET, |it| *it.at(1) == pid && !is_message(it, &to))?;
    if flags == Term::Int(0) {
        Ok(Outcome::Passed)
    } else {
        Err(seen(format!("the flags {flags:?} without options")))
    }
}

fn fails(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    let (_, id) = request(&mut peer, ("no_such_module", "f"), list![1], list!["monitor"])?;
    let (_, result) = replied(&mut peer, &id)?;
    match result {
        // It starts, and finds out.
        Term::Pid(_) => {
            let reason = peer.down(&id)?.1;
            let undef = match reason.items() {
                Some([undef, stack]) if undef.is("undef") => {
                    stack.elements().and_then(|stack| stack.first()).and_then(|it| it.items())
                }
                _ => None,
            };
            match undef {
                Some([module, function, args, ..])
                    if module.is("no_such_module") && function.is("f") && *args == list![1] => {}
                _ => return Err(seen(format!("the reason {reason:?} for an unknown function"))),
            }
        }
        Term::Atom(_) => {}
        other => return Err(seen(format!("{other:?} for an unknown function"))),
    }
    for options in [list!["nonsense"], list![tuple!["reply", "no"]], list![tuple!["priority", "nonsense"]]] {
        let (_, id) = request(&mut peer, ("fixture", "node_name"), Term::nil(), options.clone())?;
        let (flags, result) = replied(&mut peer, &id)?;
        if !result.is("badopt") || flags != Term::Int(0) {
            return Err(seen(format!("{result:?} with the flags {flags:?} for the options {options:?}")));
        }
    }
    // Options that are no list: an error or a close will do.
    let (me, id) = (peer.pid(), peer.reference());
    let control = tuple![
        op::SPAWN_REQUEST,
        &id,
        &me,
        &me,
        tuple!["fixture", "node_name", 0],
        Term::cons("monitor", "x")
    ];
    peer.signal(control, Term::nil())?;
    if let Ok((_, result)) = replied(&mut peer, &id)
        && matches!(result, Term::Pid(_))
    {
        return Err(seen("a process for options that are no list"));
    }
    let peer = Peer::connect(target)?;
    peer.signal(tuple![op::SPAWN_REQUEST, &id, &me, &me, "no_function", Term::nil()], Term::nil())?;
    peer.closes("a spawn request without a function")?;
    target.serves()?;
    Ok(Outcome::Passed)
}

/// How many processes the node has, if it says.
fn processes(peer: &mut Peer) -> Result<Option<i64>, Failure> {
    let result = erpc(peer, ("observer_backend", "sys_info"), Term::nil())?;
    let info = match &result[..] {
        [class, info] if class.is("return") => info,
        _ => return Ok(None),
    };
    Ok(info.elements().unwrap_or_default().iter().find_map(|entry| match entry.items() {
        Some([key, Term::Int(count)]) if key.is("process_count") => Some(*count),
        _ => None,
    }))
}

fn dead_parent(target: &Target) -> Result<Outcome, Failure> {
    const SPAWNED: i64 = 200;
    let mut control = Peer::connect(target)?;
    let before = processes(&mut control)?;
    let mut peer = Peer::connect(target)?;
    let mut bytes = Vec::new();
    for _ in 0..SPAWNED {
        let (me, id) = (peer.pid(), peer.reference());
        let control = tuple![op::SPAWN_REQUEST, &id, &me, &me, tuple!["fixture", "sleep", 1], list!["link"]];
        bytes.extend(peer.frame(&control.bytes(), Some(&list![600_000].bytes())));
    }
    peer.wire.send(&bytes)?;
    peer.wire.sender().shutdown(Shutdown::Write);
    // Those of which we still hear end with the connection.
    let mut heard = Vec::new();
    let end = Instant::now() + CLOSING;
    loop {
        match peer.next(end) {
            Ok(reply) if reply.op() == op::SPAWN_REPLY => heard.push(reply.at(4).clone()),
            Ok(_) => {}
            Err(WireError::Closed) => break,
            Err(error) => return Err(seen(format!("after a half-close: {error}"))),
        }
    }
    drop(peer);
    for pid in heard {
        if !matches!(pid, Term::Pid(_)) {
            return Err(seen(format!("{pid:?} in place of a process")));
        }
        let (_, reference) = control.monitor(&pid)?;
        let reason = control.down(&reference)?.1;
        if !["noproc", "noconnection"].iter().any(|gone| reason.is(gone)) {
            return Err(seen(format!("{reason:?} for a process whose parent's node is gone")));
        }
    }
    // And the others, as far as the node counts its processes.
    let end = Instant::now() + CLOSING;
    while let Some(before) = before
        && let Some(now) = processes(&mut control)?
    {
        // Other checks' processes come and go.
        if now < before + SPAWNED / 2 {
            break;
        }
        if Instant::now() > end {
            return Err(seen(format!("{now} processes, where there were {before}")));
        }
        std::thread::sleep(LOOK);
    }
    Ok(Outcome::Passed)
}

fn erpc_results(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    let node = Term::from(&target.name);
    let cases = [
        (("fixture", "double"), list![21], vec![Term::from("return"), Term::Int(42)]),
        (("fixture", "node_name"), Term::nil(), vec![Term::from("return"), node]),
        (("fixture", "sleep"), list![10], vec![Term::from("return"), Term::from("ok")]),
        (("fixture", "throw"), list!["ball"], vec![Term::from("throw"), Term::from("ball")]),
        (("fixture", "exit"), list![tuple!["bye", 1]], vec![Term::from("exit"), tuple!["bye", 1]]),
    ];
    for (function, args, right) in cases {
        let got = erpc(&mut peer, function, args)?;
        if got != right {
            return Err(seen(format!("{got:?} from {}:{}", function.0, function.1)));
        }
    }
    match &erpc(&mut peer, ("fixture", "fail"), list!["wrong"])?[..] {
        [class, reason, Term::List(_, None)] if class.is("error") && reason.is("wrong") => {}
        other => return Err(seen(format!("{other:?} from fixture:fail"))),
    }
    for (module, function) in [("fixture", "no_such_function"), ("no_such_module", "f")] {
        let got = erpc(&mut peer, (module, function), list![1, 2])?;
        let stack = match &got[..] {
            [class, reason, stack] if class.is("error") && reason.is("undef") => stack.elements(),
            _ => None,
        };
        match stack.and_then(|stack| stack.first()).and_then(|it| it.items()) {
            Some([m, f, args, ..]) if m.is(module) && f.is(function) && *args == list![1, 2] => {}
            _ => return Err(seen(format!("{got:?} from {module}:{function}, which does not exist"))),
        }
    }
    Ok(Outcome::Passed)
}
