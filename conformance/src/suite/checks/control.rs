//! Control messages: what closes the connection, what is dropped, and the less common forms.

use super::spawn::replied;
use super::{Check, Lane, check};
use crate::handshake::ALTACT;
use crate::peer::{Peer, is_message, op};
use crate::target::Target;
use crate::term::{Pid, Reference, Term, list, tuple};
use crate::wire::PATIENCE;
use crate::{Failure, Outcome, seen};

pub(super) const CHECKS: &[Check] = &[
    check(48, "ctl-unknown", Lane::Services, unknown),
    check(49, "ctl-foreign-from", Lane::Services, foreign_from),
    check(50, "send-dead", Lane::Services, send_dead),
    check(57, "unlink-id-0", Lane::Services, unlink_id_zero),
    check(65, "tt-forms", Lane::Services, token_forms),
    check(66, "altact", Lane::Services, altact),
    check(67, "group-leader", Lane::Services, group_leader),
];

/// The same process in an earlier life of its node.
pub(super) fn former(pid: &Term) -> Term {
    match pid {
        Term::Pid(pid) => Term::Pid(Pid { creation: pid.creation - 1, ..pid.clone() }),
        other => other.clone(),
    }
}

/// Control messages that close the connection of the process `me`.
fn broken(me: &Term, victim: &Term) -> Vec<(&'static str, Term)> {
    vec![
        ("the operation 99", tuple![99]),
        ("the operation 5", tuple![5]),
        ("an operation that is an atom", tuple!["link"]),
        ("an operation past a small integer", tuple![1 << 40]),
        ("a negative operation", tuple![-1]),
        ("an integer", Term::Int(6)),
        ("a list", Term::string("ab")),
        ("an empty tuple", tuple![]),
        ("a link without a second pid", tuple![op::LINK, me]),
        ("a link with a pid too many", tuple![op::LINK, me, victim, victim]),
        ("a send to a name that is an integer", tuple![op::REG_SEND, me, "", 5]),
        ("a send without a payload", tuple![op::REG_SEND, me, "", "echo"]),
        ("an exit without a payload", tuple![op::PAYLOAD_EXIT2, me, victim]),
        ("a monitor whose reference is an atom", tuple![op::MONITOR, me, victim, "reference"]),
    ]
}

fn unknown(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    let victim = peer.victim()?;
    for at in 0..broken(&victim, &victim).len() {
        let mut peer = Peer::connect(target)?;
        let me = peer.pid();
        let (what, control) = broken(&me, &victim).swap_remove(at);
        peer.control(control)?;
        peer.closes(what)?;
    }
    let peer = Peer::connect(target)?;
    peer.wire.send(&[255, 255, 255, 255, 131, 68, 0])?;
    peer.closes("a packet of 2^32-1 bytes")?;
    peer_still_there(target, &victim)?;
    Ok(Outcome::Passed)
}

/// Fails unless this process lives; then has it end.
fn peer_still_there(target: &Target, victim: &Term) -> Result<(), Failure> {
    let mut peer = Peer::connect(target)?;
    let (_, reference) = peer.monitor(victim)?;
    peer.stop(victim, "told")?;
    let (_, reason) = peer.down(&reference)?;
    if reason.is("told") { Ok(()) } else { Err(seen(format!("the process ended before, with {reason:?}"))) }
}

fn foreign_from(target: &Target) -> Result<Outcome, Failure> {
    let mut control = Peer::connect(target)?;
    let victim = control.victim()?;
    let third = Term::Pid(Pid { node: "third@127.0.0.1".to_owned(), id: 1, serial: 0, creation: 1 });
    let reference =
        Term::Reference(Reference { node: "third@127.0.0.1".to_owned(), creation: 1, words: vec![1, 2, 3] });
    let cases = [
        (tuple![op::LINK, &third, &victim], None),
        (tuple![op::MONITOR, &third, &victim, &reference], None),
        (tuple![op::EXIT2, &third, &victim, "kill"], None),
        (tuple![op::PAYLOAD_EXIT2, &third, &victim], Some(Term::from("kill"))),
        (tuple![op::PAYLOAD_EXIT, &third, &victim], Some(Term::from("forged"))),
        (tuple![op::EXIT, &third, &victim, "forged"], None),
    ];
    for (control, payload) in cases {
        let mut peer = Peer::connect(target)?;
        peer.send_bytes(&control.bytes(), payload.map(|it| it.bytes()).as_deref())?;
        // Closed or not: what was sent has been read then.
        let _ = peer.stays("a signal of a third node");
    }
    peer_still_there(target, &victim)?;
    target.serves()?;
    Ok(Outcome::Passed)
}

fn send_dead(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    let me = peer.pid();
    let dead = peer.victim()?;
    let (_, reference) = peer.monitor(&dead)?;
    peer.stop(&dead, "normal")?;
    peer.down(&reference)?;
    let alive = peer.victim()?;
    let alias = peer.call("alias_server", "new")?;
    peer.call("alias_server", "drop")?;
    let third = Term::Pid(Pid { node: "third@127.0.0.1".to_owned(), id: 1, serial: 0, creation: 1 });
    for to in [dead, Term::from("no_such_name"), former(&alive), alias, third] {
        peer.send(&me, &to, tuple!["stop", "misdelivered"])?;
        peer.stays(&format!("a message to {to:?}"))?;
    }
    peer_still_there(target, &alive)?;
    Ok(Outcome::Passed)
}

fn unlink_id_zero(target: &Target) -> Result<Outcome, Failure> {
    for what in ["UNLINK_ID with the id 0", "the old UNLINK"] {
        let mut peer = Peer::connect(target)?;
        let (me, victim) = (peer.pid(), peer.victim()?);
        peer.control(tuple![op::LINK, &me, &victim])?;
        peer.control(match what {
            "the old UNLINK" => tuple![op::UNLINK, &me, &victim],
            _ => tuple![op::UNLINK_ID, 0, &me, &victim],
        })?;
        peer.closes(what)?;
    }
    target.serves()?;
    Ok(Outcome::Passed)
}

fn token_forms(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    let me = peer.pid();
    let echo = peer.whereis("echo")?;
    let token = tuple![1, 5, 1, &me, 0];
    for (what, control) in [
        ("12", tuple![op::SEND_TT, "", &echo, &token]),
        ("16", tuple![op::REG_SEND_TT, &me, "", "echo", &token]),
        ("23", tuple![op::SEND_SENDER_TT, &me, &echo, &token]),
    ] {
        peer.signal(control, tuple![&me, what])?;
        let reply = peer.message(&me).map_err(|error| seen(format!("for {what}: {error}")))?;
        if reply != tuple!["echo", what] {
            return Err(seen(format!("{reply:?} for {what}")));
        }
    }
    let alias = peer.call("alias_server", "new")?;
    peer.call("alias_server", "log")?;
    peer.signal(tuple![op::ALIAS_SEND_TT, &me, &alias, &token], "hello")?;
    let log = peer.call("alias_server", "log")?;
    if log != list!["hello"] {
        return Err(seen(format!("alias_server has {log:?} after 34")));
    }
    let exits = [
        (op::EXIT_TT, true, false),
        (op::PAYLOAD_EXIT_TT, true, true),
        (op::EXIT2_TT, false, false),
        (op::PAYLOAD_EXIT2_TT, false, true),
    ];
    for (op, link, payload) in exits {
        let victim = peer.victim()?;
        let me = peer.pid();
        // The same process signals all of it, so that the order is kept.
        let reference = peer.reference();
        peer.control(tuple![op::MONITOR, &me, &victim, &reference])?;
        if link {
            peer.control(tuple![op::LINK, &me, &victim])?;
        }
        match payload {
            true => peer.signal(tuple![op, &me, &victim, &token], "traced")?,
            false => peer.control(tuple![op, &me, &victim, &token, "traced"])?,
        }
        let (_, reason) = peer.down(&reference).map_err(|error| seen(format!("for {op}: {error}")))?;
        if !reason.is("traced") {
            return Err(seen(format!("the reason {reason:?} for {op}")));
        }
    }
    let request = peer.reference();
    let spawn = tuple![
        op::SPAWN_REQUEST_TT,
        &request,
        &me,
        &me,
        tuple!["fixture", "reply_to", 2],
        Term::nil(),
        &token
    ];
    peer.signal(spawn, list![&me, "spawned"])?;
    let (_, result) = replied(&mut peer, &request)?;
    if !matches!(result, Term::Pid(_)) {
        return Err(seen(format!("{result:?} for 30")));
    }
    let reply = peer.message(&me).map_err(|error| seen(format!("for 30: {error}")))?;
    if reply.is("spawned") { Ok(Outcome::Passed) } else { Err(seen(format!("{reply:?} for 30"))) }
}

fn altact(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    let me = peer.pid();
    let echo = peer.whereis("echo")?;
    if peer.node.flags & ALTACT != 0 {
        altact_agreed(target, &echo)?;
    }
    peer.signal(tuple![op::ALTACT, 0, &me, &echo], tuple![&me, "hello"])?;
    peer.closes("37, which was not agreed")?;
    target.serves()?;
    Ok(Outcome::Passed)
}

fn altact_agreed(target: &Target, echo: &Term) -> Result<(), Failure> {
    let mut ours = target.me();
    ours.flags |= ALTACT;
    let mut peer = Peer::connect_as(target, ours)?;
    let me = peer.pid();
    for (what, flags, to) in [
        ("to a pid", 0, echo.clone()),
        ("to a pid, with priority", 1, echo.clone()),
        ("to a name", 8, Term::from("echo")),
        ("to a name, with priority", 9, Term::from("echo")),
    ] {
        peer.signal(tuple![op::ALTACT, flags, &me, to], tuple![&me, "hello"])?;
        let reply = peer
            .wait(&format!("echo, sent 37 {what}"), PATIENCE, |it| is_message(it, &me).then(|| it.clone()))?
            .term()?;
        if reply != tuple!["echo", "hello"] {
            return Err(seen(format!("{reply:?} for 37 {what}")));
        }
    }
    let alias = peer.call("alias_server", "new")?;
    peer.call("alias_server", "log")?;
    peer.signal(tuple![op::ALTACT, 4, &me, &alias], "hello")?;
    let log = peer.call("alias_server", "log")?;
    if log != list!["hello"] {
        return Err(seen(format!("alias_server has {log:?} after 37 to its alias")));
    }
    let victim = peer.victim()?;
    let reference = peer.reference();
    peer.control(tuple![op::MONITOR, &me, &victim, &reference])?;
    peer.signal(tuple![op::ALTACT, 16, &me, &victim], "told")?;
    let (_, reason) = peer.down(&reference)?;
    if reason.is("told") { Ok(()) } else { Err(seen(format!("the reason {reason:?} for 37 as an exit"))) }
}

fn group_leader(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    let me = peer.pid();
    let dead = peer.victim()?;
    let (_, reference) = peer.monitor(&dead)?;
    peer.stop(&dead, "normal")?;
    peer.down(&reference)?;
    let alive = peer.victim()?;
    for to in [&dead, &former(&alive), &alive] {
        peer.control(tuple![op::GROUP_LEADER, &me, to])?;
        peer.stays(&format!("a group leader for {to:?}"))?;
    }
    peer_still_there(target, &alive)?;
    Ok(Outcome::Passed)
}
