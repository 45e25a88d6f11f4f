//! The handshake, of both sides.

use std::time::{Duration, Instant};

use super::{Check, Lane, check, no_start};
use crate::epmd::Registration;
use crate::handshake::{
    DIGEST_25, HIDDEN, Lie, MANDATORY_25, MONITORS, Me, NAME_ME, UNLINK_ID, V4_NC, accept, answer, challenge,
    initiate, introduce, introduction, name_message, prove, status,
};
use crate::peer::{Peer, is_message, op};
use crate::target::{Started, Target, incoming};
use crate::term::{Term, number, take, tuple};
use crate::wire::{CLOSING, LOOK, PATIENCE, Wire, WireError};
use crate::{Failure, Outcome, seen};

pub(super) const CHECKS: &[Check] = &[
    check(7, "hs-ok", Lane::Services, right),
    check(8, "hs-wrong-cookie", Lane::Services, wrong_cookie),
    check(9, "hs-mutual", Lane::Starts, mutual),
    check(10, "hs-flags-each", Lane::Services, flags_each),
    check(11, "hs-digest-flag", Lane::Services, digest_flag),
    check(12, "hs-extra-bytes", Lane::Services, extra_bytes),
    check(13, "hs-unknown-flags", Lane::Services, unknown_flags),
    check(14, "hs-bad-name", Lane::Services, bad_name),
    check(15, "hs-bad-first", Lane::Services, bad_first),
    check(16, "hs-silent", Lane::Waits, silent),
    check(17, "hs-slowloris", Lane::Waits, slowloris),
    check(18, "hs-old-n", Lane::Services, old_n),
    check(19, "hs-alive", Lane::Services, alive_true),
    check(20, "hs-alive-false", Lane::Services, alive_false),
    check(21, "hs-simultaneous-lt", Lane::Starts, simultaneous_lt),
    check(22, "hs-simultaneous-gt", Lane::Starts, simultaneous_gt),
    check(23, "hs-name-me", Lane::Services, name_me),
    check(24, "hs-wrong-node", Lane::Starts, wrong_node),
    check(25, "hs-self", Lane::Services, own_name),
];

/// How much later than its limit a handshake may be ended.
const SETUP_SLACK: Duration = Duration::from_secs(3);
const BETWEEN_BYTES: Duration = Duration::from_secs(1);

fn right(target: &Target) -> Result<Outcome, Failure> {
    let peer = Peer::connect(target)?;
    let node = &peer.node;
    if node.name != target.name {
        return Err(seen(format!("the name {:?} in the challenge", node.name)));
    }
    let mandatory = MANDATORY_25 | V4_NC | UNLINK_ID | DIGEST_25;
    if node.flags & mandatory != mandatory {
        return Err(seen(format!("the flags {:#x}, which lack mandatory ones", node.flags)));
    }
    if node.creation < 4 {
        return Err(seen(format!("the creation {}", node.creation)));
    }
    let mut peer = peer;
    peer.stays("the handshake")?;
    Ok(Outcome::Passed)
}

fn wrong_cookie(target: &Target) -> Result<Outcome, Failure> {
    let mut wire = target.wire()?;
    let status = introduce(&mut wire, &target.me())?;
    if status != "ok" {
        return Err(seen(format!("the status {status:?}")));
    }
    let node = challenge(&mut wire)?;
    wire.send_short(&answer(&format!("{}x", target.cookie), node.challenge, 1))?;
    let more = wire.until_closed(PATIENCE)?;
    if !more.is_empty() {
        return Err(seen(format!("{more:?} before the close")));
    }
    target.serves()?;
    Ok(Outcome::Passed)
}

/// A connection that the node makes to us, up to its introduction, and the means to see what becomes of it.
struct Called {
    wire: Wire,
    me: Me,
    control: Peer,
    /// The name is ours for as long as it is there.
    _registration: Registration,
    node: Started,
}

/// Starts a node and has it connect to a peer whose name begins with `prefix`. `None` if no node can be started.
fn called(target: &Target, prefix: &str) -> Result<Option<Called>, Failure> {
    let Some(node) = target.another()? else { return Ok(None) };
    let me = Me { name: target.fresh_name(prefix), creation: 77, flags: HIDDEN };
    let alive = me.name.split_once('@').map_or("", |(alive, _)| alive);
    let (listener, registration) = target.epmd.listen(alive)?;
    let mut control = Peer::connect(&node.target)?;
    node.target.connect_to(&mut control, &me.name)?;
    let mut wire =
        incoming(&listener, PATIENCE)?.ok_or_else(|| seen("the node does not connect to a peer"))?;
    let introduction = introduction(&mut wire)?;
    if introduction.name != node.target.name || introduction.creation != control.node.creation {
        return Err(seen(format!(
            "the introduction of {:?} with creation {}",
            introduction.name, introduction.creation
        )));
    }
    if introduction.flags & MANDATORY_25 != MANDATORY_25 {
        return Err(seen(format!("the flags {:#x} in an introduction", introduction.flags)));
    }
    Ok(Some(Called { wire, me, control, _registration: registration, node }))
}

impl Called {
    /// Fails unless the node gives the connection up, and says so to who waits for it.
    fn is_given_up(&mut self, after: &str) -> Result<Outcome, Failure> {
        let more = self
            .wire
            .until_closed(PATIENCE)
            .map_err(|error| seen(format!("after {after} the connection stays open: {error}")))?;
        if more.len() > 8 {
            return Err(seen(format!("{} bytes after {after}", more.len())));
        }
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let log = self.control.call("relations", "log")?;
            for entry in log.elements().unwrap_or_default() {
                match entry.items() {
                    Some([down, _, _, item, reason]) if down.is("DOWN") => {
                        if *item == tuple!["x", &self.me.name] && reason.is("noconnection") {
                            return Ok(Outcome::Passed);
                        }
                        return Err(seen(format!("{entry:?}")));
                    }
                    _ => {}
                }
            }
            std::thread::sleep(LOOK);
        }
        Err(seen("a monitor over the connection never ends"))
    }
}

/// Fails unless the node uses this connection: it sends what it wanted to send to us.
fn goes_up(mut peer: Peer) -> Result<Outcome, Failure> {
    peer.wait("the monitor for which the node connected", PATIENCE, |it| {
        (it.op() == op::MONITOR && it.at(2).is("x")).then_some(())
    })?;
    peer.stays("the handshake")?;
    Ok(Outcome::Passed)
}

fn mutual(target: &Target) -> Result<Outcome, Failure> {
    let Some(mut called) = called(target, "peer")? else { return no_start() };
    accept(&mut called.wire, &called.me, &target.cookie, Lie::Digest)?;
    called.is_given_up("a wrong digest")
}

fn wrong_node(target: &Target) -> Result<Outcome, Failure> {
    let Some(mut called) = called(target, "peer")? else { return no_start() };
    // It may close before it answers the challenge.
    let _ = accept(&mut called.wire, &called.me, &target.cookie, Lie::Name);
    called.is_given_up("the name of another node")
}

fn flags_each(target: &Target) -> Result<Outcome, Failure> {
    for bit in (0..64).filter(|bit| MANDATORY_25 & 1 << bit != 0) {
        let mut me = target.me();
        me.flags &= !(1 << bit | DIGEST_25);
        let mut wire = target.wire()?;
        let status = introduce(&mut wire, &me)
            .map_err(|error| seen(format!("without the flag of bit {bit}: {error}")))?;
        if status != "not_allowed" {
            return Err(seen(format!("{status:?} without the flag of bit {bit}")));
        }
    }
    Ok(Outcome::Passed)
}

fn digest_flag(target: &Target) -> Result<Outcome, Failure> {
    let me = Me { flags: DIGEST_25 | UNLINK_ID | V4_NC, ..target.me() };
    let mut peer = Peer::connect_as(target, me)?;
    // Mandatory means that they are used.
    let term = tuple![1, Term::float(1.5), Term::Bits(vec![0x80], 1), Term::map(Vec::new()), "é"];
    let reply = peer.call("echo", &term)?;
    if reply != term {
        return Err(seen(format!("echo answers {reply:?}")));
    }
    // And what was not offered is not: no sender beside a message, no reason outside of the control message. Without
    // monitors there would be no DOWN at all.
    let me = Me { flags: DIGEST_25 | UNLINK_ID | V4_NC | MONITORS, ..target.me() };
    let mut peer = Peer::connect_as(target, me)?;
    let (me, victim) = (peer.pid(), peer.victim()?);
    let reference = peer.reference();
    peer.control(tuple![op::MONITOR, &me, &victim, &reference])?;
    peer.control(tuple![op::LINK, &me, &victim])?;
    peer.signal(tuple![op::SEND, "", &victim], tuple!["stop", "told"])?;
    let mut ops = Vec::new();
    for _ in 0..2 {
        let end = Instant::now() + PATIENCE;
        let signal =
            peer.next(end).map_err(|error| seen(format!("waiting for an exit and a DOWN: {error}")))?;
        ops.push(Term::Tuple(signal.control));
    }
    let right =
        [tuple![op::EXIT, &victim, &me, "told"], tuple![op::MONITOR_EXIT, &victim, &me, &reference, "told"]];
    if ops != right {
        return Err(seen(format!("{ops:?} for a link and a monitor")));
    }
    let tag = peer.reference();
    let call = tuple!["$gen_call", tuple![&me, &tag], "hello"];
    peer.signal(tuple![op::REG_SEND, &me, "", "echo"], call)?;
    match peer.wait("echo", PATIENCE, |it| is_message(it, &me).then(|| it.op()))? {
        op::SEND => Ok(Outcome::Passed),
        other => Err(seen(format!("a message as {other}"))),
    }
}

/// Fails unless the rest of the handshake succeeds, after an opening that was sent.
fn completes(target: &Target, mut wire: Wire, me: Me) -> Result<Peer, Failure> {
    let status = status(&mut wire)?;
    if status != "ok" {
        return Err(seen(format!("the status {status:?}")));
    }
    let node = challenge(&mut wire)?;
    prove(&mut wire, &target.cookie, node.challenge)?;
    let mut peer = Peer::up(wire, me, node);
    peer.stays("the handshake")?;
    Ok(peer)
}

fn extra_bytes(target: &Target) -> Result<Outcome, Failure> {
    let (wire, me) = (target.wire()?, target.me());
    let mut message = name_message(me.flags, me.creation, me.name.as_bytes());
    message.extend(b"what a later version may add");
    wire.send_short(&message)?;
    completes(target, wire, me)?;
    Ok(Outcome::Passed)
}

fn unknown_flags(target: &Target) -> Result<Outcome, Failure> {
    // Bits without a meaning in any version so far.
    let unknown: u64 = 0xf800_0000 | !0 << 40;
    let mut me = target.me();
    me.flags |= unknown;
    let peer = Peer::connect_as(target, me)?;
    if peer.node.flags & unknown != 0 {
        return Err(seen(format!("the flags {:#x} in the challenge", peer.node.flags)));
    }
    let mut peer = peer;
    peer.stays("flags without a meaning")?;
    Ok(Outcome::Passed)
}

fn bad_name(target: &Target) -> Result<Outcome, Failure> {
    let host = target.host();
    let names = [
        format!("no_host_{}", std::process::id()),
        format!("two@{host}@{host}"),
        format!("@{host}"),
        "no_host@".to_owned(),
        String::new(),
        "@".to_owned(),
        format!("{}@{host}", "x".repeat(255 - host.len())),
    ];
    for name in &names {
        let mut wire = target.wire()?;
        wire.send_short(&name_message(HIDDEN, 5, name.as_bytes()))?;
        refused(&mut wire, &format!("the name {name:?}"))?;
    }
    let mut wire = target.wire()?;
    let mut message = name_message(HIDDEN, 5, target.me().name.as_bytes());
    message[13..15].copy_from_slice(&1000u16.to_be_bytes());
    wire.send_short(&message)?;
    refused(&mut wire, "a name that is longer than its packet")?;
    target.serves()?;
    Ok(Outcome::Passed)
}

/// Fails unless the node closes the connection without a word.
fn refused(wire: &mut Wire, after: &str) -> Result<(), Failure> {
    let more = wire
        .until_closed(CLOSING)
        .map_err(|error| seen(format!("after {after} the connection stays open: {error}")))?;
    if more.is_empty() { Ok(()) } else { Err(seen(format!("{more:?} after {after}"))) }
}

fn bad_first(target: &Target) -> Result<Outcome, Failure> {
    let name = name_message(HIDDEN, 5, target.me().name.as_bytes());
    let cases: [(&str, &[u8]); 5] = [
        ("an empty packet", &[]),
        ("an unknown first byte", &[b'x', 1, 2, 3]),
        ("a lone N", b"N"),
        ("half of the flags", &name[..5]),
        ("a name of which half is missing", &name[..name.len() - 4]),
    ];
    for (what, bytes) in cases {
        let mut wire = target.wire()?;
        wire.send_short(bytes)?;
        refused(&mut wire, what)?;
    }
    target.serves()?;
    Ok(Outcome::Passed)
}

fn silent(target: &Target) -> Result<Outcome, Failure> {
    // One that the node itself has begun, where it can be told to.
    let called = called(target, "silent")?;
    let begun = Instant::now();
    let mut stages = Vec::new();
    stages.push(("nothing was sent", target.wire()?));
    let wire = target.wire()?;
    wire.send(&[0])?;
    stages.push(("half of a length", wire));
    let (mut wire, me) = (target.wire()?, target.me());
    introduce(&mut wire, &me)?;
    challenge(&mut wire)?;
    stages.push(("the challenge", wire));
    let me = target.me();
    let mut first = Peer::connect_as(target, me.clone())?;
    first.stays("the handshake")?;
    let mut wire = target.wire()?;
    let status = introduce(&mut wire, &me)?;
    if status != "alive" {
        return Err(seen(format!("the status {status:?} for a name that is connected")));
    }
    stages.push(("the status alive", wire));
    let end = begun + target.setup + SETUP_SLACK;
    for (what, wire) in &mut stages {
        let left = end.saturating_duration_since(Instant::now());
        match wire.until_closed(left.max(LOOK)) {
            Ok(_) => {}
            Err(WireError::Silent) => {
                return Err(seen(format!(
                    "after {what}, {} ms later, the connection is open",
                    begun.elapsed().as_millis()
                )));
            }
            Err(error) => return Err(error.into()),
        }
    }
    match called {
        Some(mut called) => called.is_given_up("silence from whom the node calls"),
        None => Ok(Outcome::Passed),
    }
}

fn slowloris(target: &Target) -> Result<Outcome, Failure> {
    let (mut wire, me) = (target.wire()?, target.me());
    let message = name_message(me.flags, me.creation, me.name.as_bytes());
    let mut bytes = (message.len() as u16).to_be_bytes().to_vec();
    bytes.extend(message);
    let end = Instant::now() + target.setup + SETUP_SLACK;
    for byte in bytes {
        if wire.send(&[byte]).is_err() {
            return Ok(Outcome::Passed);
        }
        target.serves()?;
        match wire.until_closed(BETWEEN_BYTES) {
            Ok(_) => return Ok(Outcome::Passed),
            Err(WireError::Silent) => {}
            Err(error) => return Err(error.into()),
        }
        if Instant::now() > end {
            return Err(seen("past the time for a handshake the connection is open"));
        }
    }
    Ok(Outcome::Passed)
}

fn old_n(target: &Target) -> Result<Outcome, Failure> {
    let (mut wire, me) = (target.wire()?, target.me());
    let mut message = vec![b'n', 0, 5];
    message.extend((me.flags as u32).to_be_bytes());
    message.extend(me.name.as_bytes());
    wire.send_short(&message)?;
    let status = status(&mut wire)?;
    if status != "ok" {
        return Err(seen(format!("the status {status:?}")));
    }
    let node = challenge(&mut wire)?;
    let mut complement = vec![b'c'];
    complement.extend(((me.flags >> 32) as u32).to_be_bytes());
    complement.extend(me.creation.to_be_bytes());
    wire.send_short(&complement)?;
    prove(&mut wire, &target.cookie, node.challenge)?;
    let mut peer = Peer::up(wire, me, node);
    peer.stays("an opening of version 5")?;
    Ok(Outcome::Passed)
}

fn alive_true(target: &Target) -> Result<Outcome, Failure> {
    let me = target.me();
    let mut first = Peer::connect_as(target, me.clone())?;
    // Between its acknowledgement and the first signal a node may still take the first connection for an attempt.
    first.stays("the handshake")?;
    let mut wire = target.wire()?;
    let first_status = introduce(&mut wire, &me)?;
    if first_status != "alive" {
        return Err(seen(format!("the status {first_status:?}")));
    }
    wire.send_short(b"strue")?;
    let node = challenge(&mut wire)?;
    prove(&mut wire, &target.cookie, node.challenge)?;
    first.closes("a new connection")?;
    let mut peer = Peer::up(wire, me, node);
    peer.stays("the new connection")?;
    Ok(Outcome::Passed)
}

fn alive_false(target: &Target) -> Result<Outcome, Failure> {
    let me = target.me();
    let mut first = Peer::connect_as(target, me.clone())?;
    first.stays("the handshake")?;
    let mut wire = target.wire()?;
    let status = introduce(&mut wire, &me)?;
    if status != "alive" {
        return Err(seen(format!("the status {status:?}")));
    }
    wire.send_short(b"sfalse")?;
    refused(&mut wire, "the answer false")?;
    first.stays("an attempt that was a mistake")?;
    Ok(Outcome::Passed)
}

fn simultaneous_lt(target: &Target) -> Result<Outcome, Failure> {
    // `a` is before `node`.
    let Some(mut called) = called(target, "a")? else { return no_start() };
    let mut mine = called.node.target.wire()?;
    let status = introduce(&mut mine, &called.me)?;
    if status != "nok" {
        return Err(seen(format!("the status {status:?}")));
    }
    drop(mine);
    accept(&mut called.wire, &called.me, &target.cookie, Lie::None)?;
    let node = called.control.node.clone();
    goes_up(Peer::up(called.wire, called.me, node))
}

fn simultaneous_gt(target: &Target) -> Result<Outcome, Failure> {
    let Some(mut called) = called(target, "z")? else { return no_start() };
    let mut mine = called.node.target.wire()?;
    let status = introduce(&mut mine, &called.me)?;
    if status != "ok_simultaneous" {
        return Err(seen(format!("the status {status:?}")));
    }
    let node = challenge(&mut mine)?;
    prove(&mut mine, &target.cookie, node.challenge)?;
    called.wire.until_closed(PATIENCE).map_err(|error| seen(format!("the node's own attempt: {error}")))?;
    goes_up(Peer::up(mine, called.me, node))
}

fn name_me(target: &Target) -> Result<Outcome, Failure> {
    let mut given = Vec::new();
    for _ in 0..2 {
        let mut wire = target.wire()?;
        wire.send_short(&name_message(HIDDEN | NAME_ME, 0, target.host().as_bytes()))?;
        let message = match wire.packet(2, Instant::now() + PATIENCE) {
            // Not to have the feature is fine.
            Err(WireError::Closed) => return Ok(Outcome::Passed),
            other => other?,
        };
        if message == b"snot_allowed" {
            return Ok(Outcome::Passed);
        }
        let Some(mut rest) = message.strip_prefix(b"snamed:") else {
            return Err(seen(format!("{message:?}")));
        };
        let parse = |rest: &mut &[u8]| {
            let len = number(rest, 2)? as usize;
            let name = String::from_utf8_lossy(take(rest, len)?).into_owned();
            Ok::<_, String>((name, number(rest, 4)? as u32))
        };
        let (name, creation) =
            parse(&mut rest).map_err(|error| seen(format!("{error} in the status {message:?}")))?;
        let right = name.strip_suffix(target.host()).is_some_and(|it| it.len() > 1 && it.ends_with('@'));
        if !right || creation == 0 {
            return Err(seen(format!("the name {name:?} with creation {creation}")));
        }
        let node = challenge(&mut wire)?;
        prove(&mut wire, &target.cookie, node.challenge)?;
        let mut peer = Peer::up(wire, Me { name: name.clone(), creation, flags: HIDDEN }, node);
        peer.stays("a name was given")?;
        given.push((name, peer));
    }
    if given[0].0 == given[1].0 {
        return Err(seen(format!("{:?} was given twice", given[0].0)));
    }
    Ok(Outcome::Passed)
}

fn own_name(target: &Target) -> Result<Outcome, Failure> {
    let mut wire = target.wire()?;
    let me = Me { name: target.name.clone(), creation: 5, flags: HIDDEN };
    match initiate(&mut wire, &me, &target.cookie) {
        Err(_) => {}
        Ok(_) => return Err(seen("a connection of the node to itself")),
    }
    target.serves()?;
    Ok(Outcome::Passed)
}
