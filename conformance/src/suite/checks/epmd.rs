//! EPMD: names, and what it makes of garbage.

use std::net::Shutdown;
use std::time::Duration;

use super::{Check, Lane, check, no_start};
use crate::epmd::alive;
use crate::target::Target;
use crate::wire::{CLOSING, PATIENCE};
use crate::{Failure, Outcome, seen};

pub(super) const CHECKS: &[Check] = &[
    check(1, "epmd-registered", Lane::Services, registered),
    check(2, "epmd-unregister", Lane::Starts, unregister),
    check(3, "epmd-names", Lane::Services, names),
    check(4, "epmd-dup", Lane::Services, duplicate),
    check(5, "epmd-extra-byte", Lane::Services, extra_byte),
    check(6, "epmd-garbage", Lane::Services, garbage),
];

/// How long a name may outlive its node.
const FORGOTTEN: Duration = Duration::from_secs(2);

fn registered(target: &Target) -> Result<Outcome, Failure> {
    let entry = target.epmd.port_please(target.alive())?.ok_or_else(|| seen("not registered"))?;
    let version = entry.highest == 6 && entry.lowest <= 6;
    if entry.port == 0
        || ![77, 72].contains(&entry.kind)
        || entry.protocol != 0
        || !version
        || entry.name != target.alive()
    {
        return Err(seen(format!("{entry:?}")));
    }
    Ok(Outcome::Passed)
}

fn unregister(target: &Target) -> Result<Outcome, Failure> {
    let Some(mut node) = target.another()? else { return no_start() };
    node.stop()?;
    if target.epmd.forgets(node.target.alive(), FORGOTTEN)? {
        return Ok(Outcome::Passed);
    }
    Err(seen("the name is still registered 2 s after the node ended"))
}

fn names(target: &Target) -> Result<Outcome, Failure> {
    let answer = target.epmd.ask(&[110])?;
    let port = target
        .epmd
        .port_please(target.alive())?
        .map(|entry| entry.port)
        .ok_or_else(|| seen("not registered"))?;
    let wanted = format!("name {} at port {port}", target.alive());
    let text = String::from_utf8_lossy(answer.get(4..).unwrap_or_default()).into_owned();
    if answer.get(..4) != Some(&u32::from(target.epmd.port).to_be_bytes()) {
        return Err(seen(format!("EPMD's port is not what the answer begins with: {answer:?}")));
    }
    if !text.ends_with('\n') || !text.lines().any(|line| line == wanted) {
        return Err(seen(format!("no line {wanted:?} in {text:?}")));
    }
    Ok(Outcome::Passed)
}

fn duplicate(target: &Target) -> Result<Outcome, Failure> {
    match target.epmd.register(target.alive(), 1)? {
        None => Ok(Outcome::Passed),
        Some(_) => Err(seen("the name was given a second time")),
    }
}

fn extra_byte(target: &Target) -> Result<Outcome, Failure> {
    let name = target.fresh_name("byte");
    let name = name.split_once('@').map_or("byte", |(alive, _)| alive);
    let mut ours = target.epmd.register(name, 1)?.ok_or_else(|| seen("a fresh name is refused"))?;
    if target.epmd.port_please(name)?.is_none() {
        return Err(seen("a name that was just given is unknown"));
    }
    ours.wire.send(&[0])?;
    if !target.epmd.forgets(name, FORGOTTEN)? {
        return Err(seen("still registered"));
    }
    ours.wire.until_closed(PATIENCE).map_err(|error| seen(format!("the socket stays open: {error}")))?;
    Ok(Outcome::Passed)
}

fn garbage(target: &Target) -> Result<Outcome, Failure> {
    let mut nul = alive("a_b", 1);
    if let Some(byte) = nul.iter_mut().find(|byte| **byte == b'_') {
        *byte = 0;
    }
    let mut nul_packet = (nul.len() as u16).to_be_bytes().to_vec();
    nul_packet.extend(&nul);
    let mut bodiless = vec![0xff, 0xff];
    bodiless.extend([110; 65535]);
    // A request whose inner length is larger than itself.
    let mut lying = alive("lying", 1);
    lying.truncate(lying.len() - 4);
    let mut lying_packet = (lying.len() as u16).to_be_bytes().to_vec();
    lying_packet.extend(&lying);
    let cases: [(&str, &[u8]); 6] = [
        ("the length 0", &[0, 0]),
        ("the length 65535", &[0xff, 0xff]),
        ("a request of 65535 bytes", &bodiless),
        ("an unknown request", &[0, 1, 250]),
        ("a NUL in a name", &nul_packet),
        ("a name that is longer than its request", &lying_packet),
    ];
    for (what, bytes) in cases {
        let mut wire = target.epmd.connect()?;
        // It may be closed before all is written.
        let _ = wire.send(bytes);
        wire.until_closed(CLOSING).map_err(|error| seen(format!("after {what}: {error}")))?;
    }
    // Half a request is waited for; when no more can come, there is nothing to wait for.
    let mut wire = target.epmd.connect()?;
    wire.send(&[0, 10, 122, b'a'])?;
    wire.sender().shutdown(Shutdown::Write);
    wire.until_closed(CLOSING).map_err(|error| seen(format!("after half a request: {error}")))?;
    registered(target)
}
