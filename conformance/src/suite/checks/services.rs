//! What a node does for a cluster: `global` does not hang because of it, and `pg` knows who is in a group.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::spawn::returned;
use super::{Check, Lane, check};
use crate::handshake::PUBLISHED;
use crate::peer::{Peer, op};
use crate::target::Target;
use crate::term::{Term, list, tuple};
use crate::wire::{CLOSING, LOOK, PATIENCE};
use crate::{Failure, Outcome, seen};

pub(super) const CHECKS: &[Check] =
    &[check(71, "global-sync", Lane::Waits, global_sync), check(72, "pg", Lane::Services, pg)];

/// Each step on a stock node that sees the one under test; what hangs is ended from outside.
const GLOBAL: &str = r#"
    pong = net_adm:ping(N),
    io:put_chars("connected\n"),
    ok = global:sync(),
    io:put_chars("sync\n"),
    done = global:trans({beamline_conformance, self()}, fun() -> done end),
    io:put_chars("trans\n"),
    true = global:set_lock({beamline_conformance, self()}),
    true = global:del_lock({beamline_conformance, self()}),
    io:put_chars("set_lock\n"),
    yes = global:register_name(beamline_conformance, self()),
    io:put_chars("register_name\n"),
    Self = global:whereis_name(beamline_conformance),
    Self = self(),
    _ = global:unregister_name(beamline_conformance),
    io:put_chars("unregister_name\n"),
    halt(0)
"#;

fn global_sync(target: &Target) -> Result<Outcome, Failure> {
    let erl = std::env::var("BEAMLINE_ERL").unwrap_or_else(|_| "erl".to_owned());
    let name = target.fresh_name("stock");
    let kind = if target.host().contains('.') { "-name" } else { "-sname" };
    let child = Command::new(&erl)
        .args(["-noshell", "-boot", "no_dot_erlang", "-start_epmd", "false", kind, &name])
        .args(["-setcookie", &target.cookie, "-kernel", "net_ticktime"])
        .arg(target.ticktime.as_secs().to_string())
        .args(["-eval", &format!("N = '{}', {GLOBAL}.", target.name)])
        .env("ERL_EPMD_PORT", target.epmd.port.to_string())
        .env("ERL_CRASH_DUMP_SECONDS", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        return Ok(Outcome::Skipped(format!("needs a stock node, and {erl} does not run")));
    };
    let end = Instant::now() + PATIENCE * 2;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if Instant::now() < end => std::thread::sleep(LOOK),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
        }
    };
    let mut said = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        let _ = stdout.read_to_string(&mut said);
    }
    let steps: Vec<&str> = said.lines().take(8).collect();
    match status {
        Some(status) if status.success() => Ok(Outcome::Passed),
        Some(_) => Err(seen(format!("the stock node fails after the steps {steps:?}"))),
        None => Err(seen(format!("the stock node hangs after the steps {steps:?}"))),
    }
}

/// The members of a group, as the node itself knows them.
fn members(peer: &mut Peer, group: &str) -> Result<Vec<Term>, Failure> {
    let members = returned(peer, ("pg", "get_members"), list![group])?;
    Ok(members.elements().unwrap_or_default().to_vec())
}

fn until(peer: &mut Peer, what: &str, group: &str, right: &[Term]) -> Result<(), Failure> {
    let end = Instant::now() + CLOSING;
    loop {
        let got = members(peer, group)?;
        if got == right {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(seen(format!("the members {got:?} after {what}")));
        }
        std::thread::sleep(LOOK);
    }
}

fn pg(target: &Target) -> Result<Outcome, Failure> {
    let mut control = Peer::connect(target)?;
    let mut me = target.me();
    me.flags |= PUBLISHED;
    let mut peer = Peer::connect_as(target, me)?;
    let (scope, member) = (peer.pid(), peer.pid());
    let name = Term::from("pg");
    // A visible node is looked for.
    let theirs = peer.wait("discover", PATIENCE, |it| {
        let wanted = it.op() == op::REG_SEND && it.at(3).is("pg");
        wanted.then(|| it.at(1).clone())
    })?;
    peer.send(&scope, &name, tuple!["discover", &scope])?;
    let sync = peer.message(&scope)?;
    let echo = peer.whereis("echo")?;
    let groups = match sync.items() {
        Some([cast, sync]) if cast.is("$gen_cast") => match sync.items() {
            Some([word, pid, groups]) if word.is("sync") && *pid == theirs => groups.clone(),
            _ => return Err(seen(format!("{sync:?} in place of sync from {theirs:?}"))),
        },
        _ => return Err(seen(format!("{sync:?} in place of sync"))),
    };
    if !groups.elements().unwrap_or_default().contains(&tuple!["fixture", list![&echo]]) {
        return Err(seen(format!("the groups {groups:?}, where fixture should have {echo:?}")));
    }
    let group = format!("group_{}", std::process::id());
    peer.send(
        &scope,
        &name,
        tuple!["$gen_cast", tuple!["sync", &scope, list![tuple![&group, list![&member]]]]],
    )?;
    until(&mut control, "sync", &group, std::slice::from_ref(&member))?;
    peer.send(&scope, &name, tuple!["join", &scope, &group, &member])?;
    until(&mut control, "a second join", &group, &[member.clone(), member.clone()])?;
    peer.send(&scope, &name, tuple!["leave", &scope, &member, list![&group]])?;
    until(&mut control, "leave", &group, std::slice::from_ref(&member))?;
    // The scope dies: whoever monitors it is told.
    let monitor = peer.wait("a monitor of our scope", PATIENCE, |it| {
        (it.op() == op::MONITOR && *it.at(2) == scope).then(|| it.clone())
    })?;
    let down = tuple![op::PAYLOAD_MONITOR_EXIT, &scope, monitor.at(1), monitor.at(3)];
    peer.signal(down, "shutdown")?;
    until(&mut control, "the scope's death", &group, &[])?;
    // And once more, with the whole node.
    let scope = peer.pid();
    peer.send(&scope, &name, tuple!["discover", &scope])?;
    peer.send(&scope, &name, tuple!["join", &scope, &group, &member])?;
    until(&mut control, "join", &group, &[member])?;
    drop(peer);
    until(&mut control, "the node's end", &group, &[])?;
    Ok(Outcome::Passed)
}
