//! Nodes that go and come back.

use std::time::Instant;

use super::control::former;
use super::{Check, Lane, check, no_start};
use crate::peer::{Peer, op};
use crate::target::Target;
use crate::term::{Term, tuple};
use crate::wire::{LOOK, PATIENCE, QUIET};
use crate::{Failure, Outcome, seen};

pub(super) const CHECKS: &[Check] = &[
    check(68, "nodedown", Lane::Services, nodedown),
    check(69, "reconnect", Lane::Services, reconnect),
    check(70, "creation", Lane::Starts, creation),
];

/// What `relations` hears until it has heard `last`, and a little longer.
fn heard(peer: &mut Peer, last: &Term) -> Result<Vec<Term>, Failure> {
    let mut all = Vec::new();
    let mut end = Instant::now() + PATIENCE;
    let mut found = false;
    while Instant::now() < end {
        let log = peer.call("relations", "log")?;
        all.extend(log.elements().unwrap_or_default().to_vec());
        if !found && all.contains(last) {
            found = true;
            end = Instant::now() + QUIET;
        }
        std::thread::sleep(LOOK);
    }
    Ok(all)
}

fn nodedown(target: &Target) -> Result<Outcome, Failure> {
    let mut control = Peer::connect(target)?;
    let mut peer = Peer::connect(target)?;
    let (linked, watched) = (peer.pid(), peer.pid());
    control.call("relations", "log")?;
    control.call("relations", tuple!["link", &linked])?;
    let reference = control.call("relations", tuple!["monitor", &watched])?;
    let by_name = control.call("relations", tuple!["monitor", tuple!["x", &peer.me.name]])?;
    control.call("relations", tuple!["monitor_node", &peer.me.name, true])?;
    // It has them all before the connection ends.
    peer.stays("relations")?;
    let down = tuple!["nodedown", &peer.me.name];
    let name = peer.me.name.clone();
    drop(peer);
    let mut all = heard(&mut control, &down)?;
    if all.last() != Some(&down) {
        return Err(seen(format!("{all:?}: nodedown is not the last")));
    }
    for wanted in [
        tuple!["EXIT", &linked, "noconnection"],
        tuple!["DOWN", &reference, "process", &watched, "noconnection"],
        tuple!["DOWN", &by_name, "process", tuple!["x", &name], "noconnection"],
        down,
    ] {
        match all.iter().position(|entry| *entry == wanted) {
            Some(at) => drop(all.remove(at)),
            None => return Err(seen(format!("no {wanted:?}, only {all:?}"))),
        }
    }
    if all.is_empty() { Ok(Outcome::Passed) } else { Err(seen(format!("also {all:?}"))) }
}

fn reconnect(target: &Target) -> Result<Outcome, Failure> {
    let mut me = target.me();
    let mut first = Peer::connect_as(target, me.clone())?;
    let old = first.pid();
    first.call("relations", "log")?;
    first.call("relations", tuple!["link", &old])?;
    let victim = first.victim()?;
    first.control(tuple![op::LINK, &old, &victim])?;
    first.stays("a link")?;
    first.wire.sender().shutdown(std::net::Shutdown::Both);
    drop(first);
    me.creation += 1;
    // It may not have seen yet that the former is gone.
    let mut again = None;
    for _ in 0..100 {
        match Peer::connect_as(target, me.clone()) {
            Ok(peer) => {
                again = Some(peer);
                break;
            }
            Err(_) => std::thread::sleep(LOOK),
        }
    }
    let mut peer = again.ok_or_else(|| seen("no connection for a new creation"))?;
    let lost = tuple!["EXIT", &old, "noconnection"];
    let all = heard(&mut peer, &lost)?;
    if all != [lost] {
        return Err(seen(format!("{all:?} for a link to the former")));
    }
    // The link was to a process that died with its node.
    let (_, reference) = peer.monitor(&victim)?;
    let (_, reason) = peer.down(&reference)?;
    if !reason.is("noconnection") && !reason.is("noproc") {
        return Err(seen(format!("{reason:?} for a process that was linked to the former")));
    }
    // What is linked to a new pid is told to the new one.
    let victim = peer.victim()?;
    let new = peer.pid();
    peer.control(tuple![op::LINK, &new, &victim])?;
    peer.send(&new, &victim, tuple!["stop", "told"])?;
    let reason = peer.exit(&victim, &new)?;
    if !reason.is("told") {
        return Err(seen(format!("the reason {reason:?} over a new link")));
    }
    peer.nothing(QUIET, |it| *it.at(2) == old)
        .map_err(|error| seen(format!("a signal to the former: {error}")))?;
    Ok(Outcome::Passed)
}

fn creation(target: &Target) -> Result<Outcome, Failure> {
    let Some(mut node) = target.another()? else { return no_start() };
    let mut peer = Peer::connect(&node.target)?;
    let first = peer.node.creation;
    let victim = peer.victim()?;
    drop(peer);
    node.stop()?;
    let name = node.target.name.clone();
    if !target.epmd.forgets(node.target.alive(), PATIENCE)? {
        return Err(seen("the name is not free"));
    }
    let Some(node) = target.start(name)? else { return no_start() };
    let mut peer = Peer::connect(&node.target)?;
    if peer.node.creation == first {
        return Err(seen(format!("the creation {first} again")));
    }
    let entry = former(&victim);
    for pid in [victim, entry] {
        let (_, reference) = peer.monitor(&pid)?;
        if !peer.down(&reference)?.1.is("noproc") {
            return Err(seen(
                "a monitor of a process of the former node ends with another reason than noproc",
            ));
        }
        let me = peer.pid();
        peer.control(tuple![op::LINK, &me, &pid])?;
        if !peer.exit(&pid, &me)?.is("noproc") {
            return Err(seen("a link to a process of the former node ends with another reason than noproc"));
        }
        peer.send(&me, &pid, "hello")?;
        peer.stays("a message to a process of the former node")?;
    }
    Ok(Outcome::Passed)
}
