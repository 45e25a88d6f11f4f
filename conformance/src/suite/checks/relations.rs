//! Links, monitors, exit signals and aliases.

use std::time::Duration;

use super::control::former;
use super::{Check, Lane, check};
use crate::peer::{Peer, is_down, is_exit, is_message, op};
use crate::target::Target;
use crate::term::{Term, list, tuple};
use crate::wire::{LOOK, PATIENCE, QUIET};
use crate::{Failure, Outcome, seen};

pub(super) const CHECKS: &[Check] = &[
    check(51, "link-noproc", Lane::Services, link_noproc),
    check(52, "monitor-noproc", Lane::Services, monitor_noproc),
    check(53, "monitor-down", Lane::Services, monitor_down),
    check(54, "demonitor", Lane::Services, demonitor),
    check(55, "unlink-ack", Lane::Services, unlink_ack),
    check(56, "unlink-race", Lane::Services, unlink_race),
    check(58, "exit-kinds", Lane::Services, exit_kinds),
    check(59, "alias", Lane::Services, alias),
];

/// How long a server that may not be started yet has for an answer.
const ATTEMPT: Duration = Duration::from_millis(500);

/// A process of the node that has ended.
fn dead(peer: &mut Peer) -> Result<Term, Failure> {
    let victim = peer.victim()?;
    let (_, reference) = peer.monitor(&victim)?;
    peer.stop(&victim, "normal")?;
    peer.down(&reference)?;
    Ok(victim)
}

fn is(what: &str, got: &Term, right: impl Into<Term>) -> Result<(), Failure> {
    let right = right.into();
    if *got == right { Ok(()) } else { Err(seen(format!("{got:?} in place of {right:?} for {what}"))) }
}

fn link_noproc(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    let (dead, alive) = (dead(&mut peer)?, peer.victim()?);
    for to in [dead, former(&alive)] {
        let me = peer.pid();
        peer.control(tuple![op::LINK, &me, &to])?;
        let reason = peer.exit(&to, &me)?;
        is(&format!("a link to {to:?}"), &reason, "noproc")?;
    }
    Ok(Outcome::Passed)
}

fn monitor_noproc(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    let (dead, alive) = (dead(&mut peer)?, peer.victim()?);
    for item in [dead, former(&alive), Term::from("no_such_name"), Term::from("")] {
        let (_, reference) = peer.monitor(&item)?;
        let (who, reason) = peer.down(&reference)?;
        is(&format!("a monitor of {item:?}"), &reason, "noproc")?;
        is("whom the DOWN names", &who, &item)?;
    }
    Ok(Outcome::Passed)
}

fn monitor_down(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    let reasons = [
        Term::from("normal"),
        Term::from("shutdown"),
        tuple!["shutdown", "x"],
        tuple!["boom", list![1, Term::float(2.0)]],
        Term::from("kill"),
        Term::from("noconnection"),
        Term::nil(),
        Term::Binary(vec![3; 200_000]),
    ];
    for reason in reasons {
        let victim = peer.victim()?;
        let first = peer.monitor(&victim)?;
        let second = peer.monitor(&victim)?;
        peer.stop(&victim, &reason)?;
        for (me, reference) in [first, second] {
            let down = peer.wait("a DOWN", PATIENCE, |it| is_down(it, &reference).then(|| it.clone()))?;
            is("whom the DOWN names", down.at(1), &victim)?;
            is("whom the DOWN is for", down.at(2), &me)?;
            is("the DOWN", &down.reason()?, &reason)?;
        }
    }
    // By a kill, by name, and of a server that stops and one that crashes.
    let victim = peer.victim()?;
    let (me, reference) = peer.monitor(&victim)?;
    peer.signal(tuple![op::PAYLOAD_EXIT2, &me, &victim], "kill")?;
    is("a kill", &peer.down(&reference)?.1, "killed")?;
    let (_, reference) = peer.monitor("counter")?;
    is("a stop", &peer.call("counter", tuple!["stop", tuple!["told", 1]])?, "ok")?;
    let (who, reason) = peer.down(&reference)?;
    is("a monitor by name", &who, "counter")?;
    is("a server that stops", &reason, tuple!["told", 1])?;
    restarted(&mut peer)?;
    let (me, reference) = peer.monitor("counter")?;
    let tag = peer.reference();
    peer.send(&me, &Term::from("counter"), tuple!["$gen_call", tuple![&me, &tag], "crash"])?;
    let (_, reason) = peer.down(&reference)?;
    if ["normal", "noproc", "killed"].iter().any(|quiet| reason.is(quiet)) {
        return Err(seen(format!("{reason:?} for a server that crashes")));
    }
    restarted(&mut peer)?;
    peer.nothing(QUIET, |it| [op::MONITOR_EXIT, op::PAYLOAD_MONITOR_EXIT].contains(&it.op()))
        .map_err(|error| seen(format!("a second DOWN: {error}")))?;
    Ok(Outcome::Passed)
}

/// Waits until the supervisor has started the counter again.
fn restarted(peer: &mut Peer) -> Result<(), Failure> {
    let mut reply = None;
    for _ in 0..20 {
        match peer.call_within("counter", "get", ATTEMPT) {
            Ok(count) => {
                reply = Some(count);
                break;
            }
            Err(_) => std::thread::sleep(LOOK),
        }
    }
    is("a counter that was started again", &reply.ok_or_else(|| seen("the counter is not restarted"))?, 0)
}

fn demonitor(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    let victim = peer.victim()?;
    let (me, kept) = peer.monitor(&victim)?;
    let dropped = peer.reference();
    peer.control(tuple![op::MONITOR, &me, &victim, &dropped])?;
    peer.control(tuple![op::DEMONITOR, &me, &victim, &dropped])?;
    let (other, by_name) = peer.monitor("counter")?;
    peer.control(tuple![op::DEMONITOR, &other, "counter", &by_name])?;
    // What never was is not missed.
    let never = peer.reference();
    peer.control(tuple![op::DEMONITOR, &me, &victim, &never])?;
    let from = me.clone();
    peer.send(&from, &victim, tuple!["stop", "told"])?;
    peer.down(&kept)?;
    let tag = peer.reference();
    peer.send(
        &other,
        &Term::from("counter"),
        tuple!["$gen_call", tuple![&other, &tag], tuple!["stop", "normal"]],
    )?;
    peer.message(&other)?;
    restarted(&mut peer)?;
    peer.nothing(QUIET, |it| [op::MONITOR_EXIT, op::PAYLOAD_MONITOR_EXIT].contains(&it.op()))?;
    Ok(Outcome::Passed)
}

fn unlink_ack(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    let echo = peer.whereis("echo")?;
    let (dead, alive) = (dead(&mut peer)?, peer.victim()?);
    let ids = [Term::Int(1), Term::integer(false, &[0xff; 8]), Term::Int(1 << 40)];
    for id in &ids {
        for (what, to, linked) in
            [("a link", &alive, true), ("no link", &alive, false), ("a dead process", &dead, false)]
        {
            let me = peer.pid();
            if linked {
                peer.control(tuple![op::LINK, &me, to])?;
            }
            peer.control(tuple![op::UNLINK_ID, id, &me, to])?;
            let ack = peer
                .wait("UNLINK_ID_ACK", PATIENCE, |it| (it.op() == op::UNLINK_ID_ACK).then(|| it.clone()))
                .map_err(|error| seen(format!("for {what}: {error}")))?;
            is(what, &Term::Tuple(ack.control), tuple![op::UNLINK_ID_ACK, id, to, &me])?;
        }
    }
    // Before any other signal to us.
    let me = peer.pid();
    let bytes = [
        peer.frame(&tuple![op::LINK, &me, &echo].bytes(), None),
        peer.frame(&tuple![op::UNLINK_ID, 7, &me, &echo].bytes(), None),
        peer.frame(&tuple![op::SEND_SENDER, &me, &echo].bytes(), Some(&tuple![&me, "after"].bytes())),
    ]
    .concat();
    peer.wire.send(&bytes)?;
    let first = peer.wait("any signal to us", PATIENCE, |it| {
        (is_message(it, &me) || it.op() == op::UNLINK_ID_ACK && *it.at(3) == me).then(|| it.op())
    })?;
    if first != op::UNLINK_ID_ACK {
        return Err(seen("a message before the ACK"));
    }
    Ok(Outcome::Passed)
}

fn unlink_race(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    let (me, victim) = (peer.pid(), peer.victim()?);
    let burst = [
        tuple![op::LINK, &me, &victim],
        tuple![op::UNLINK_ID, 3, &me, &victim],
        tuple![op::LINK, &me, &victim],
    ];
    let bytes: Vec<u8> = burst.iter().flat_map(|control| peer.frame(&control.bytes(), None)).collect();
    peer.wire.send(&bytes)?;
    peer.send(&me, &victim, tuple!["stop", "told"])?;
    is("a link after an unlink", &peer.exit(&victim, &me)?, "told")?;
    // Both ends unlink before either knows of the other's.
    let me = peer.pid();
    let relations = peer.whereis("relations")?;
    is("link", &peer.call("relations", tuple!["link", &me])?, "ok")?;
    peer.wait("LINK", PATIENCE, |it| (it.op() == op::LINK && *it.at(2) == me).then_some(()))?;
    is("unlink", &peer.call("relations", tuple!["unlink", &me])?, "ok")?;
    let id = peer.wait("UNLINK_ID", PATIENCE, |it| {
        (it.op() == op::UNLINK_ID && *it.at(3) == me).then(|| it.at(1).clone())
    })?;
    peer.control(tuple![op::UNLINK_ID, 9, &me, &relations])?;
    peer.control(tuple![op::UNLINK_ID_ACK, &id, &me, &relations])?;
    peer.wait("UNLINK_ID_ACK", PATIENCE, |it| {
        (it.op() == op::UNLINK_ID_ACK && *it.at(1) == Term::Int(9)).then_some(())
    })?;
    peer.signal(tuple![op::PAYLOAD_EXIT, &me, &relations], "without_a_link")?;
    is("an exit after both unlinked", &log_after(&mut peer, &me)?, Term::nil())?;
    // And a link anew is a link.
    peer.control(tuple![op::LINK, &me, &relations])?;
    peer.signal(tuple![op::PAYLOAD_EXIT, &me, &relations], "with_a_link")?;
    is("an exit over a new link", &log_after(&mut peer, &me)?, list![tuple!["EXIT", &me, "with_a_link"]])?;
    Ok(Outcome::Passed)
}

/// What `relations` remembers once it has all that `from` sent it.
fn log_after(peer: &mut Peer, from: &Term) -> Result<Term, Failure> {
    let tag = peer.reference();
    peer.send(from, &Term::from("relations"), tuple!["$gen_call", tuple![from, &tag], "log"])?;
    let reply = peer.message(from)?;
    match reply.items() {
        Some([_, log]) => Ok(log.clone()),
        _ => Err(seen(format!("{reply:?} in place of a log"))),
    }
}

fn exit_kinds(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    // Of a process that traps nothing: the kind of signal, whether it is linked, the reason, and what it dies of.
    let kinds = [
        (op::PAYLOAD_EXIT, true, "normal", None),
        (op::PAYLOAD_EXIT, true, "told", Some("told")),
        (op::PAYLOAD_EXIT, true, "kill", Some("kill")),
        (op::PAYLOAD_EXIT, true, "shutdown", Some("shutdown")),
        (op::PAYLOAD_EXIT, false, "told", None),
        (op::PAYLOAD_EXIT, false, "kill", None),
        (op::PAYLOAD_EXIT2, false, "normal", None),
        (op::PAYLOAD_EXIT2, false, "told", Some("told")),
        (op::PAYLOAD_EXIT2, false, "kill", Some("killed")),
        (op::PAYLOAD_EXIT2, true, "kill", Some("killed")),
        (op::EXIT, true, "told", Some("told")),
        (op::EXIT2, false, "kill", Some("killed")),
    ];
    for (op, linked, reason, dies) in kinds {
        let what = format!("{op} with {reason}, {}", if linked { "linked" } else { "not linked" });
        let victim = peer.victim()?;
        let (me, reference) = peer.monitor(&victim)?;
        if linked {
            peer.control(tuple![op::LINK, &me, &victim])?;
        }
        match op {
            op::EXIT | op::EXIT2 => peer.control(tuple![op, &me, &victim, reason])?,
            _ => peer.signal(tuple![op, &me, &victim], reason)?,
        }
        // If it lives on, this is what ends it.
        peer.send(&me, &victim, tuple!["stop", "it_lived"])?;
        is(&what, &peer.down(&reference)?.1, dies.unwrap_or("it_lived"))?;
    }
    // Of one that traps exits.
    let relations = peer.whereis("relations")?;
    for (op, linked, reason, told) in [
        (op::PAYLOAD_EXIT, true, "normal", true),
        (op::PAYLOAD_EXIT, true, "told", true),
        (op::PAYLOAD_EXIT, true, "kill", true),
        (op::PAYLOAD_EXIT, false, "told", false),
        (op::PAYLOAD_EXIT2, false, "normal", true),
        (op::PAYLOAD_EXIT2, false, "told", true),
    ] {
        let me = peer.pid();
        if linked {
            peer.control(tuple![op::LINK, &me, &relations])?;
        }
        peer.signal(tuple![op, &me, &relations], reason)?;
        let right = if told { list![tuple!["EXIT", &me, reason]] } else { Term::nil() };
        let what =
            format!("{op} with {reason} to one that traps, {}", if linked { "linked" } else { "not linked" });
        is(&what, &log_after(&mut peer, &me)?, right)?;
    }
    let me = peer.pid();
    let reference = peer.reference();
    peer.control(tuple![op::LINK, &me, &relations])?;
    peer.control(tuple![op::MONITOR, &me, &relations, &reference])?;
    peer.signal(tuple![op::PAYLOAD_EXIT2, &me, &relations], "kill")?;
    // A link is told first.
    let first = peer.wait("the end of one that traps", PATIENCE, |it| {
        (is_exit(it, &relations, &me) || is_down(it, &reference)).then(|| it.clone())
    })?;
    if is_down(&first, &reference) {
        return Err(seen("a DOWN before the exit of a link"));
    }
    is("a kill of one that traps, by its link", &first.reason()?, "killed")?;
    is("a kill of one that traps", &peer.down(&reference)?.1, "killed")?;
    for _ in 0..20 {
        if peer.call_within("relations", "log", ATTEMPT).is_ok() {
            return Ok(Outcome::Passed);
        }
    }
    Err(seen("relations is not started again"))
}

fn alias(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    let me = peer.pid();
    peer.call("alias_server", "log")?;
    let alias = peer.call("alias_server", "new")?;
    if !matches!(&alias, Term::Reference(reference) if reference.node == target.name) {
        return Err(seen(format!("the alias {alias:?}")));
    }
    peer.send(&me, &alias, "first")?;
    peer.send(&me, &alias, tuple!["second", &me])?;
    is("an alias", &peer.call("alias_server", "log")?, list!["first", tuple!["second", &me]])?;
    is("drop", &peer.call("alias_server", "drop")?, "ok")?;
    peer.send(&me, &alias, "third")?;
    is("an alias that was dropped", &peer.call("alias_server", "log")?, Term::nil())?;
    let second = peer.call("alias_server", "new")?;
    peer.send(&me, &alias, "to_the_first")?;
    peer.send(&me, &second, "to_the_second")?;
    is("a second alias", &peer.call("alias_server", "log")?, list!["to_the_second"])?;
    peer.stays("messages to dead aliases")?;
    Ok(Outcome::Passed)
}
