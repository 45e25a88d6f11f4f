//! Order, floods, odd ways to use a socket, and many peers at once.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::fragments::cut;
use super::header::{Entry, header};
use super::{Check, Lane, check, no_start};
use crate::handshake::name_message;
use crate::peer::{Peer, gen_call, is_message, op, prefixed, send_control};
use crate::target::Target;
use crate::term::{Term, tuple};
use crate::wire::{PATIENCE, WireError};
use crate::{Failure, Outcome, seen};

pub(super) const CHECKS: &[Check] = &[
    check(37, "etf-atoms-flood", Lane::Starts, atoms_flood),
    check(64, "order", Lane::Services, order),
    check(73, "tcp-edges", Lane::Services, tcp_edges),
    check(74, "parallel", Lane::Services, parallel),
];

fn atoms_flood(target: &Target) -> Result<Outcome, Failure> {
    const ATOMS: usize = 2_000_000;
    const MOST: u64 = 512 << 20;
    let Some(mut node) = target.another()? else { return no_start() };
    let before = node.target.memory().unwrap_or_default();
    let mut peer = Peer::connect(&node.target)?;
    let me = peer.pid();
    let control = tuple![op::REG_SEND, &me, "", "no_such_name"].bytes();
    let numbers: Vec<usize> = (0..ATOMS).collect();
    let mut most = before;
    for (at, numbers) in numbers.chunks(255).enumerate() {
        let slots = (0..).zip(numbers);
        let entries: Vec<_> =
            slots.map(|(slot, number)| Entry(slot, Some(format!("flood_{number}")))).collect();
        let mut packet = vec![0, 0, 0, 0, 131, 68];
        packet.extend(header(&entries, false));
        packet.extend(&control);
        packet.push(106);
        if peer.wire.send(&prefixed(packet)).is_err() {
            // A limit.
            break;
        }
        if at % 1000 == 0 {
            most = most.max(node.target.memory().unwrap_or_default());
        }
    }
    // What was sent is read before this is answered, if the connection is still there.
    let _ = peer.stays("the flood");
    if !node.runs() {
        return Err(seen("the node has ended"));
    }
    most = most.max(node.target.memory().unwrap_or_default());
    node.target.serves()?;
    if most > before + MOST {
        return Err(seen(format!("{} MB of memory more than before", (most - before) >> 20)));
    }
    Ok(Outcome::Passed)
}

fn order(target: &Target) -> Result<Outcome, Failure> {
    const MESSAGES: i64 = 100_000;
    let mut peer = Peer::connect(target)?;
    let me = peer.pid();
    let echo = peer.whereis("echo")?;
    let by_pid = tuple![op::SEND_SENDER, &me, &echo].bytes();
    let by_name = tuple![op::REG_SEND, &me, "", "echo"].bytes();
    // Whole packets each: a tick may go between them.
    let mut batches = vec![Vec::new()];
    for number in 0..MESSAGES {
        if number % 1000 == 0 {
            batches.push(Vec::new());
        }
        let Some(bytes) = batches.last_mut() else { break };
        let message = tuple![&me, number].bytes();
        let control = if number % 3 == 0 { &by_name } else { &by_pid };
        if number % 1000 == 999 {
            cut(number as u64, control, &message, &[5, 9]).iter().for_each(|packet| bytes.extend(packet));
        } else {
            bytes.extend(peer.frame(control, Some(&message)));
        }
        if number % 700 == 0 {
            bytes.extend(peer.frame(&tuple![op::LINK, &me, &echo].bytes(), None));
            bytes.extend(peer.frame(&tuple![op::UNLINK_ID, number + 1, &me, &echo].bytes(), None));
        }
    }
    let sender = peer.wire.sender().clone();
    let writer = std::thread::spawn(move || batches.iter().try_for_each(|batch| sender.send(batch)));
    let end = Instant::now() + PATIENCE * 4;
    let mut next = 0;
    while next < MESSAGES {
        let signal =
            peer.next(end).map_err(|error| seen(format!("after {next} of {MESSAGES} messages: {error}")))?;
        if !is_message(&signal, &me) {
            continue;
        }
        let message = signal.term()?;
        if message != tuple!["echo", next] {
            return Err(seen(format!("{message:?} where {next} is next")));
        }
        next += 1;
    }
    writer.join().map_err(|_| Failure::Harness("the writer panicked".to_owned()))??;
    Ok(Outcome::Passed)
}

fn tcp_edges(target: &Target) -> Result<Outcome, Failure> {
    // One byte a packet of TCP.
    let mut peer = Peer::connect_silent(target, target.me())?;
    let (me, tag) = (peer.pid(), peer.reference());
    let control = send_control(&me, &Term::from("echo")).bytes();
    let bytes = peer.frame(&control, Some(&gen_call(&me, &tag, &Term::from("slow").bytes())));
    for byte in bytes {
        peer.wire.send(&[byte])?;
    }
    let reply = peer.message(&me)?;
    if reply != tuple![&tag, "slow"] {
        return Err(seen(format!("{reply:?} for a call that came byte by byte")));
    }
    // A thousand in one write.
    const MANY: i64 = 1000;
    let mut bytes = Vec::new();
    for number in 0..MANY {
        bytes.extend(peer.frame(&control, Some(&tuple![&me, number].bytes())));
        bytes.extend([0; 4]);
    }
    peer.wire.send(&bytes)?;
    for number in 0..MANY {
        let reply = peer.message(&me)?;
        if reply != tuple!["echo", number] {
            return Err(seen(format!("{reply:?} where {number} is next")));
        }
    }
    // Nothing more will come: what came is dealt with, and the connection ends.
    let watched = peer.victim()?;
    peer.send(&me, &watched, tuple!["stop", "last_words"])?;
    let mut other = Peer::connect(target)?;
    let (_, reference) = other.monitor(&watched)?;
    peer.wire.sender().shutdown(Shutdown::Write);
    let reason = other.down(&reference)?.1;
    if !reason.is("last_words") && !reason.is("noproc") {
        return Err(seen(format!("{reason:?} for a message before a half-close")));
    }
    peer.closes("a half-close")?;
    // An RST, while there is much to send to us.
    let mut peer = Peer::connect(target)?;
    let me = peer.pid();
    let cast = tuple!["$gen_cast", tuple!["send", &me, Term::Binary(vec![1; 4_000_000])]];
    peer.send(&me, &Term::from("echo"), cast)?;
    // Unread data at a close is what makes one.
    peer.wire.wait_for_data(PATIENCE)?;
    drop(peer);
    target.serves()?;
    // And one in the handshake.
    let mut wire = target.wire()?;
    let name = target.me();
    wire.send_short(&name_message(name.flags, name.creation, name.name.as_bytes()))?;
    wire.wait_for_data(PATIENCE)?;
    drop(wire);
    target.serves()?;
    Ok(Outcome::Passed)
}

fn parallel(target: &Target) -> Result<Outcome, Failure> {
    const HANDSHAKES: usize = 500;
    const PEERS: usize = 100;
    const MOST: Duration = Duration::from_secs(5);
    let entry = target.epmd.port_please(target.alive())?.ok_or_else(|| seen("not registered"))?;
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        peers.push(Peer::connect(target)?);
    }
    let mut waiting = Vec::new();
    for number in 0..HANDSHAKES {
        // A node may refuse so many.
        let Ok(mut stream) = TcpStream::connect((&target.epmd.host[..], entry.port)) else { break };
        if number % 2 == 0 {
            let me = target.me();
            let name = name_message(me.flags, me.creation, me.name.as_bytes());
            let mut packet = (name.len() as u16).to_be_bytes().to_vec();
            packet.extend(name);
            let _ = stream.write_all(&packet);
        }
        waiting.push(stream);
    }
    let begun = Instant::now();
    for (number, peer) in peers.iter_mut().enumerate() {
        let reply = peer.call("echo", number as i64)?;
        if reply != Term::Int(number as i64) {
            return Err(seen(format!("{reply:?} for peer {number}")));
        }
    }
    target.serves().map_err(|error| seen(format!("with {} in handshake: {error}", waiting.len())))?;
    if begun.elapsed() > MOST {
        return Err(seen(format!(
            "{} ms to serve {PEERS} peers and a newcomer",
            begun.elapsed().as_millis()
        )));
    }
    for peer in peers.iter_mut() {
        match peer.wire.packet(4, Instant::now()) {
            Err(WireError::Silent) | Ok(_) => {}
            Err(error) => return Err(seen(format!("a peer's connection: {error}"))),
        }
    }
    Ok(Outcome::Passed)
}
