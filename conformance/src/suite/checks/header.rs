//! Headers of packets, and the atom cache.

use super::{Check, Lane, check};
use crate::handshake::{FRAGMENTS, HEADER};
use crate::peer::{Peer, gen_call, is_message, op, prefixed};
use crate::target::Target;
use crate::term::{Pid, Term, list, tuple};
use crate::wire::PATIENCE;
use crate::{Failure, Outcome, seen};

pub(super) const CHECKS: &[Check] = &[
    check(38, "hdr-zero", Lane::Services, zero),
    check(39, "hdr-cache", Lane::Services, cache),
    check(40, "hdr-bad-ref", Lane::Services, bad_ref),
    check(41, "hdr-passthrough", Lane::Services, passthrough),
    check(42, "hdr-none", Lane::Services, none),
];

/// An atom of a header: its slot, and its text if it is new.
pub(super) struct Entry(pub(super) u16, pub(super) Option<String>);

/// What follows the type of a packet: the number of atoms, flags, and atoms.
pub(super) fn header(entries: &[Entry], long: bool) -> Vec<u8> {
    let mut out = vec![entries.len() as u8];
    if entries.is_empty() {
        return out;
    }
    let mut flags = vec![0u8; entries.len() / 2 + 1];
    let mut half = |at: usize, bits: u8| flags[at / 2] |= bits << (4 * (at % 2));
    for (at, Entry(slot, text)) in entries.iter().enumerate() {
        half(at, (slot >> 8) as u8 | if text.is_some() { 8 } else { 0 });
    }
    half(entries.len(), u8::from(long));
    out.extend(flags);
    for Entry(slot, text) in entries {
        out.push(*slot as u8);
        if let Some(text) = text {
            let len = (text.len() as u16).to_be_bytes();
            out.extend(if long { &len[..] } else { &len[1..] });
            out.extend(text.as_bytes());
        }
    }
    out
}

/// Calls `echo` in a packet with this header.
fn call(peer: &mut Peer, entries: &[Entry], long: bool, request: &[u8]) -> Result<Term, Failure> {
    let (me, tag) = (peer.pid(), peer.reference());
    let mut packet = vec![0, 0, 0, 0, 131, 68];
    packet.extend(header(entries, long));
    tuple![op::REG_SEND, &me, "", "echo"].write(&mut packet);
    packet.extend(gen_call(&me, &tag, request));
    peer.wire.send(&prefixed(packet))?;
    let reply = peer.wait("echo", PATIENCE, |it| is_message(it, &me).then(|| it.clone()))?.term()?;
    match reply.items() {
        Some([_, reply]) => Ok(reply.clone()),
        _ => Err(seen(format!("{reply:?} in place of a reply"))),
    }
}

/// A list of the atoms 0 to `count` of the header.
fn all_of(count: usize) -> Vec<u8> {
    let mut out = vec![108, 0, 0];
    out.extend((count as u16).to_be_bytes());
    (0..count).for_each(|at| out.extend([82, at as u8]));
    out.push(106);
    out
}

fn new(slot: u16, text: &str) -> Entry {
    Entry(slot, Some(text.to_owned()))
}

fn zero(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    let reply = call(&mut peer, &[], false, &Term::from("spelled_out").bytes())?;
    if reply.is("spelled_out") { Ok(Outcome::Passed) } else { Err(seen(format!("echo answers {reply:?}"))) }
}

fn cache(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    let expect = |what: &str, reply: Term, right: Term| {
        if reply == right { Ok(()) } else { Err(seen(format!("{reply:?} for {what}"))) }
    };
    let reply = call(&mut peer, &[new(5, "one")], false, &[82, 0])?;
    expect("a new atom", reply, Term::from("one"))?;
    let reply = call(&mut peer, &[Entry(5, None)], false, &[82, 0])?;
    expect("an atom that was sent before", reply, Term::from("one"))?;
    let reply = call(&mut peer, &[new(5, "two"), new(5 + 256, "three")], false, &all_of(2))?;
    expect("an atom in a slot that was taken", reply, list!["two", "three"])?;
    let reply = call(&mut peer, &[Entry(5 + 256, None), Entry(5, None), new(6, "two")], false, &all_of(3))?;
    expect("atoms of two segments", reply, list!["three", "two", "two"])?;
    // A cached atom in the control message itself.
    let (me, tag) = (peer.pid(), peer.reference());
    let mut packet = vec![0, 0, 0, 0, 131, 68];
    packet.extend(header(&[new(9, "echo"), new(10, "")], false));
    packet.extend([104, 4, 97, 6]);
    me.write(&mut packet);
    packet.extend([82, 1, 82, 0]);
    packet.extend(gen_call(&me, &tag, &[82, 0]));
    peer.wire.send(&prefixed(packet))?;
    let reply = peer.wait("echo", PATIENCE, |it| is_message(it, &me).then(|| it.clone()))?.term()?;
    expect("cached atoms in a control message", reply, tuple![&tag, "echo"])?;
    // All slots, as many in a packet as one can hold.
    let text = |slot: u16| format!("slot_{slot}_{}", "é".repeat(usize::from(slot % 50)));
    let slots: Vec<u16> = (0..2048).collect();
    for fresh in [true, false] {
        for some in slots.chunks(255) {
            let entries: Vec<_> = some.iter().map(|&slot| Entry(slot, fresh.then(|| text(slot)))).collect();
            let reply = call(&mut peer, &entries, false, &all_of(some.len()))?;
            let right = Term::List(some.iter().map(|&slot| Term::Atom(text(slot))).collect(), None);
            expect(&format!("{} atoms from slot {} on", some.len(), some[0]), reply, right)?;
        }
    }
    let longest = "\u{1f600}".repeat(255);
    let entries = [new(1, &longest), Entry(2, None), new(3, "short")];
    let reply = call(&mut peer, &entries, true, &all_of(3))?;
    expect("atoms with long lengths", reply, list![longest.as_str(), text(2).as_str(), "short"])?;
    let reply = call(&mut peer, &[Entry(1, None)], true, &[82, 0])?;
    expect("the longest atom", reply, Term::Atom(longest))?;
    Ok(Outcome::Passed)
}

fn bad_ref(target: &Target) -> Result<Outcome, Failure> {
    let me = target.me();
    let pid = Term::Pid(Pid { node: me.name, id: 1, serial: 0, creation: me.creation });
    let send = tuple![op::REG_SEND, &pid, "", "no_such_name"].bytes();
    let mut unfilled = header(&[Entry(1234, None)], false);
    unfilled.extend(&send);
    unfilled.extend([82, 0]);
    let mut control = header(&[new(1, "a")], false);
    control.extend([104, 4, 97, 6]);
    pid.write(&mut control);
    control.extend([82, 0, 82, 1, 106]);
    let mut bare = vec![0, 104, 4, 97, 6];
    pid.write(&mut bare);
    bare.extend([119, 0, 82, 0, 106]);
    let cases: [(&str, &[u8]); 8] = [
        ("an atom of an empty slot", &unfilled),
        ("an index past the header's atoms", &control),
        ("an index into an empty header", &bare),
        ("no header at all", &[]),
        ("flags that are cut short", &[255, 0, 0]),
        ("atoms that are cut short", &[2, 0x88, 0, 1]),
        ("a text that is cut short", &[1, 0x08, 1, 200, b'a']),
        ("an atom that is no UTF-8", &[1, 0x08, 1, 1, 0xc3, 104, 0]),
    ];
    for (what, bytes) in cases {
        let peer = Peer::connect(target)?;
        let mut packet = vec![0, 0, 0, 0, 131, 68];
        packet.extend(bytes);
        peer.wire.send(&prefixed(packet))?;
        peer.closes(what)?;
    }
    target.serves()?;
    Ok(Outcome::Passed)
}

fn passthrough(target: &Target) -> Result<Outcome, Failure> {
    let mut peer = Peer::connect(target)?;
    let me = peer.pid();
    let mut packet = vec![0, 0, 0, 0, 112, 131];
    tuple![op::REG_SEND, &me, "", "echo"].write(&mut packet);
    packet.push(131);
    tuple![&me, "hello"].write(&mut packet);
    peer.wire.send(&prefixed(packet))?;
    peer.closes("a packet without the header that was agreed")?;
    target.serves()?;
    Ok(Outcome::Passed)
}

fn none(target: &Target) -> Result<Outcome, Failure> {
    let mut me = target.me();
    me.flags &= !(HEADER | FRAGMENTS);
    let mut peer = Peer::connect_as(target, me)?;
    let term = tuple!["plain", Term::Binary(vec![1; 200_000])];
    let reply = peer.call("echo", &term)?;
    if reply != term {
        return Err(seen(format!("echo answers {reply:?}")));
    }
    match peer.packets.iter().find(|packet| packet.kind != 112) {
        None => Ok(Outcome::Passed),
        Some(packet) => Err(seen(format!("a packet of the type {}", packet.kind))),
    }
}
