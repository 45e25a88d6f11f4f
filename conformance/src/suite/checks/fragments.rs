//! Messages in fragments.

use std::time::Instant;

use super::header::{Entry, header};
use super::{Check, Lane, check, no_start};
use crate::peer::{Peer, gen_call, is_message, op, prefixed};
use crate::target::Target;
use crate::term::{Pid, Term, list, tuple};
use crate::wire::PATIENCE;
use crate::{Failure, Outcome, seen};

pub(super) const CHECKS: &[Check] = &[
    check(43, "frag-basic", Lane::Services, basic),
    check(44, "frag-interleaved", Lane::Services, interleaved),
    check(45, "frag-order", Lane::Starts, order),
    check(46, "frag-flood", Lane::Starts, flood),
    check(47, "frag-out", Lane::Services, out),
];

/// A packet that begins a message of `fragment` fragments.
fn first(sequence: u64, fragment: u64, entries: &[Entry], control: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0, 0, 0, 0, 131, 69];
    packet.extend(sequence.to_be_bytes());
    packet.extend(fragment.to_be_bytes());
    packet.extend(header(entries, false));
    packet.extend(control);
    packet.extend(payload);
    prefixed(packet)
}

fn further(sequence: u64, fragment: u64, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0, 0, 0, 0, 131, 70];
    packet.extend(sequence.to_be_bytes());
    packet.extend(fragment.to_be_bytes());
    packet.extend(payload);
    prefixed(packet)
}

/// The packets of one message, its payload cut at these places.
pub(super) fn cut(sequence: u64, control: &[u8], payload: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let (mut from, mut left) = (0, cuts.len() as u64 + 1);
    for &to in cuts.iter().chain([&payload.len()]) {
        let part = &payload[from..to];
        packets.push(match from {
            0 if packets.is_empty() => first(sequence, left, &[], control, part),
            _ => further(sequence, left, part),
        });
        (from, left) = (to, left - 1);
    }
    packets
}

/// A call of `echo` as control message and payload, and the pid that the answer goes to.
fn call(peer: &mut Peer, request: &Term) -> (Vec<u8>, Vec<u8>, Term) {
    let (me, tag) = (peer.pid(), peer.reference());
    let control = tuple![op::REG_SEND, &me, "", "echo"].bytes();
    (control, gen_call(&me, &tag, &request.bytes()), me)
}

fn answered(peer: &mut Peer, me: &Term, right: &Term) -> Result<(), Failure> {
    let reply = peer.wait("echo", PATIENCE, |it| is_message(it, me).then(|| it.clone()))?.term()?;
    match reply.items() {
        Some([_, reply]) if reply == right => Ok(()),
        _ => Err(seen(format!("{reply:?} in answer to {right:?}"))),
    }
}

fn basic(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    let term = tuple!["three", Term::Binary((0..=255).collect()), list![1, 1000, "é"]];
    let len = call(&mut peer, &term).1.len();
    for cuts in
        [&[1, 7][..], &[len - 1], &[0, 3], &[3, 3], &[len / 3, 2 * len / 3], &(1..len).collect::<Vec<_>>()]
    {
        let (control, payload, me) = call(&mut peer, &term);
        for packet in cut(9, &control, &payload, cuts) {
            peer.wire.send(&packet)?;
        }
        answered(&mut peer, &me, &term)?;
    }
    // One fragment is a whole message; and the first one's atoms are those of all.
    let (control, payload, me) = call(&mut peer, &term);
    peer.wire.send(&first(10, 1, &[], &control, &payload))?;
    answered(&mut peer, &me, &term)?;
    let (me, tag) = (peer.pid(), peer.reference());
    let control = tuple![op::REG_SEND, &me, "", "echo"].bytes();
    let payload = gen_call(&me, &tag, &[104, 2, 82, 0, 82, 0]);
    let (front, back) = payload.split_at(payload.len() - 3);
    peer.wire.send(&first(11, 2, &[Entry(77, Some("cached".to_owned()))], &control, front))?;
    peer.wire.send(&further(11, 1, back))?;
    answered(&mut peer, &me, &tuple!["cached", "cached"])?;
    Ok(Outcome::Passed)
}

fn interleaved(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    let terms = [tuple!["first", Term::string("aaaaaaa")], tuple!["second", Term::string("bbbbbbb")]];
    let mut packets = Vec::new();
    let mut waiting = Vec::new();
    for (at, term) in terms.iter().enumerate() {
        let (control, payload, me) = call(&mut peer, term);
        packets.push(cut(at as u64 + 1, &control, &payload, &[10, 20]));
        waiting.push((me, term));
    }
    for at in 0..3 {
        for packets in &packets {
            peer.wire.send(&packets[at])?;
            if at < 2 {
                peer.stays("a message that is not finished")?;
            }
        }
    }
    for (me, term) in waiting {
        answered(&mut peer, &me, term)?;
    }
    Ok(Outcome::Passed)
}

fn order(target: &Target) -> Result<Outcome, Failure> {
    let me = Term::Pid(Pid { node: "a@b".to_owned(), id: 1, serial: 0, creation: 9 });
    let control = tuple![op::REG_SEND, &me, "", "no_such_name"].bytes();
    let begin = |sequence, fragment| first(sequence, fragment, &[], &control, &[104]);
    let safe = [
        ("a number that was left out", vec![begin(1, 3), further(1, 1, &[1])]),
        ("a number that comes twice", vec![begin(1, 3), further(1, 2, &[1]), further(1, 2, &[1])]),
        ("a fragment of no message", vec![further(1, 1, &[1])]),
        ("a message that begins twice", vec![begin(1, 3), begin(1, 3)]),
        ("a fragment after the last", vec![begin(1, 2), further(1, 1, &[0]), further(1, 1, &[0])]),
        ("a fragment without numbers", vec![prefixed(vec![0, 0, 0, 0, 131, 70, 0, 0])]),
    ];
    // These have ended stock machines.
    let unsafe_ = [
        ("a number that grows", vec![begin(1, 3), further(1, 4, &[1])]),
        ("the sequence 0", vec![begin(0, 2), further(0, 1, &[0])]),
        ("the fragment 0", vec![begin(1, 0)]),
        ("a further fragment 0", vec![begin(1, 2), further(1, 0, &[0])]),
    ];
    let run = |target: &Target, what: &str, packets: &[Vec<u8>]| {
        let peer = Peer::connect(target)?;
        for packet in packets {
            // It may be closed before the last is sent.
            let _ = peer.wire.send(packet);
        }
        peer.closes(what)
    };
    for (what, packets) in &safe {
        run(target, what, packets)?;
    }
    target.serves()?;
    for (what, packets) in &unsafe_ {
        let Some(mut node) = target.another()? else { break };
        let closed = run(&node.target, what, packets);
        if !node.runs() {
            return Err(seen(format!("{what} ended the node")));
        }
        closed?;
        node.target.serves()?;
    }
    Ok(Outcome::Passed)
}

fn flood(target: &Target) -> Result<Outcome, Failure> {
    const SEQUENCES: u64 = 100_000;
    /// Megabytes.
    const MOST: u64 = 512;
    let Some(node) = target.another()? else { return no_start() };
    let before = node.target.memory().unwrap_or_default();
    let mut peer = Peer::connect(&node.target)?;
    let me = peer.pid();
    let control = tuple![op::REG_SEND, &me, "", "no_such_name"].bytes();
    let part = [0; 100];
    for sequences in (1..=SEQUENCES).collect::<Vec<_>>().chunks(100) {
        let packets: Vec<u8> =
            sequences.iter().flat_map(|&sequence| first(sequence, 1000, &[], &control, &part)).collect();
        if peer.wire.send(&packets).is_err() {
            // A limit.
            break;
        }
        // At once, before the machine has none left.
        let more = node.target.memory().unwrap_or_default().saturating_sub(before) >> 20;
        if more > MOST {
            return Err(seen(format!("{more} MB more for {} open sequences", sequences[0])));
        }
    }
    node.target.serves()?;
    drop(peer);
    node.target.serves()?;
    Ok(Outcome::Passed)
}

fn out(target: &Target) -> Result<Outcome, Failure> {
    // More than the sockets of both sides hold, so that much still waits when a small message comes.
    const SIZE: usize = 32_000_000;
    const MOST: usize = 1 << 20;
    let mut peer = Peer::connect(target)?;
    let binary = Term::Binary((0..SIZE).map(|at| (at % 251) as u8).collect());
    let (control, payload, me) = call(&mut peer, &binary);
    peer.send_bytes(&control, Some(&payload))?;
    // Not read until another process has something small to say.
    peer.wire.wait_for_data(PATIENCE)?;
    let (other, tag) = (peer.pid(), peer.reference());
    peer.send(&other, &Term::from("counter"), tuple!["$gen_call", tuple![&other, &tag], "get"])?;
    let end = Instant::now() + PATIENCE * 3;
    let (mut small_after, mut reply) = (None, None);
    while small_after.is_none() || reply.is_none() {
        let signal = peer.step(end).map_err(|error| seen(format!("waiting for a large reply: {error}")))?;
        match signal {
            Some(signal) if is_message(&signal, &other) => small_after = Some(reply.is_some()),
            Some(signal) if is_message(&signal, &me) => reply = Some(signal),
            _ => {}
        }
    }
    if small_after == Some(true) {
        return Err(seen("a small message waits until a large one of another process is sent"));
    }
    let reply = reply.map(|it| it.term()).transpose()?;
    if reply.as_ref().and_then(|it| it.items()).and_then(|items| items.get(1)) != Some(&binary) {
        return Err(seen(format!("{reply:?}")));
    }
    // That they come in order, the peer checks of each.
    let parts = peer.packets.iter().filter(|packet| packet.kind != 68);
    let (count, longest) = parts.fold((0, 0), |(count, len), it| (count + 1, len.max(it.len)));
    if count < 2 || longest > MOST {
        return Err(seen(format!("{count} fragments, the longest of {longest} bytes")));
    }
    if let Some(zero) = peer.packets.iter().find(|it| it.kind != 68 && (it.sequence == 0 || it.fragment == 0))
    {
        return Err(seen(format!("{zero:?}")));
    }
    Ok(Outcome::Passed)
}
