mod fronts;
mod hostile;
mod monitors;
mod order;
mod otp_25;
mod pace;

use bytes::{BufMut, Bytes, BytesMut};

use super::*;
use crate::dist::{Control, Flags, Item, SpawnRequest, Target};
use crate::etf::{Payload, Token};
use crate::term::{Atom, Pid, Reference};

const US: Atom = Atom::from_static("us@h");
const PEER: Atom = Atom::from_static("peer@h");

/// All flags, and what is left of them for peers that know less.
const FLAG_SETS: [Flags; 5] = [
    Flags::VISIBLE,
    Flags(Flags::VISIBLE.0 & !Flags::DIST_HDR_ATOM_CACHE.0),
    Flags(Flags::VISIBLE.0 & !Flags::FRAGMENTS.0),
    Flags(Flags::VISIBLE.0 & !Flags::FRAGMENTS.0 & !Flags::DIST_HDR_ATOM_CACHE.0),
    Flags::MANDATORY_26,
];

/// A process of the sending node.
fn pid(id: u32) -> Pid {
    Pid { node: US, id, serial: 1, creation: 5 }
}

fn to() -> Pid {
    Pid { node: PEER, id: 9, serial: 1, creation: 6 }
}

fn atom(text: &str) -> Atom {
    Atom::new(text).unwrap()
}

/// A message from process `id`: `{Tag, Number, Binary}`.
fn message(flags: Flags, id: u32, tag: &str, number: i64, binary: &Bytes) -> Outgoing {
    let control = Control::Send { from: Some(pid(id)), to: Target::Pid(to()), message: (), priority: false };
    Outgoing::encode(flags, Some(&pid(id)), &control, |(), w| {
        w.tuple(3)?;
        w.atom(&atom(tag));
        w.integer(number);
        w.shared_binary(binary)
    })
    .unwrap()
}

fn body(payload: &Payload) -> (String, i64, Bytes) {
    let mut reader = payload.reader();
    let (Ok(Token::Tuple(3)), Ok(Token::Atom(tag)), Ok(Token::Integer(number)), Ok(Token::Binary(binary))) =
        (reader.next_token(), reader.next_token(), reader.next_token(), reader.next_token())
    else {
        panic!("{payload:?}")
    };
    (tag.to_string(), number, Bytes::copy_from_slice(binary))
}

fn receiver(flags: Flags) -> Receiver {
    Receiver::new(US, flags, Limits::default())
}

/// Everything that is queued, as one stream.
fn drain(sender: &mut Sender, max_bytes: usize) -> BytesMut {
    let mut stream = BytesMut::new();
    while !sender.is_empty() {
        sender.transmit(max_bytes).iter().for_each(|chunk| stream.extend_from_slice(chunk));
    }
    stream
}

fn receive_all(receiver: &mut Receiver, input: &mut BytesMut) -> Result<Vec<Received>, ChannelError> {
    let mut all = Vec::new();
    while let Some(received) = receiver.receive(input)? {
        all.push(received);
    }
    Ok(all)
}

/// What a message says, and who says it: `None` if it is a tick.
fn read(received: &Received) -> Option<(u32, String, i64, Bytes)> {
    match received {
        Received::Tick => None,
        Received::Signal(Control::Send { from, message, .. }) => {
            let (tag, number, binary) = body(message);
            Some((from.as_ref().map_or(0, |pid| pid.id), tag, number, binary))
        }
        Received::Signal(control) => panic!("{control:?}"),
    }
}

/// The bodies of packets, each with the tag that its second byte is.
fn packets(mut stream: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut packets = Vec::new();
    while let Some((len, rest)) = stream.split_first_chunk::<4>() {
        let (packet, rest) = rest.split_at(u32::from_be_bytes(*len) as usize);
        packets.push((packet.get(1).copied().unwrap_or(0), packet.to_vec()));
        stream = rest;
    }
    packets
}

fn packet(parts: &[&[u8]]) -> BytesMut {
    let body = parts.concat();
    let mut packet = BytesMut::new();
    packet.put_u32(body.len() as u32);
    packet.extend_from_slice(&body);
    packet
}

fn refused(flags: Flags, parts: &[&[u8]]) -> ChannelError {
    receiver(flags).receive(&mut packet(parts)).unwrap_err()
}

/// A control message that a payload follows: `{2, '', <peer@h.1.0>}`.
const SEND: &[u8] = b"\x68\x03\x61\x02\x77\x00\x58\x77\x06peer@h\0\0\0\x01\0\0\0\0\0\0\0\x06";
/// Seq and frag.
fn ids(sequence: u64, fragment: u64) -> Vec<u8> {
    [sequence.to_be_bytes(), fragment.to_be_bytes()].concat()
}

#[test]
fn signals_of_every_kind_arrive_as_they_were_sent() {
    let reference = Reference::new(US, 5, &[1, 2, 3, 4, 5]).unwrap();
    let value = Payload::new(Bytes::from_static(b"\x61\x2a"), Vec::new());
    let nil = Payload::new(Bytes::from_static(b"\x6a"), Vec::new());
    let id = std::num::NonZeroU64::new(u64::MAX).unwrap();
    let signals = [
        Control::Send {
            from: Some(pid(1)),
            to: Target::Name(atom("rex")),
            message: value.clone(),
            priority: false,
        },
        Control::Send {
            from: Some(pid(1)),
            to: Target::Alias(reference.clone()),
            message: value.clone(),
            priority: false,
        },
        Control::Send { from: Some(pid(1)), to: Target::Pid(to()), message: value.clone(), priority: true },
        Control::Link { from: pid(1), to: to() },
        Control::UnlinkId { id, from: pid(1), to: to() },
        Control::UnlinkIdAck { id, from: pid(1), to: to() },
        Control::Exit { from: pid(1), to: to(), reason: value.clone() },
        Control::Exit2 { from: pid(1), to: Target::Pid(to()), reason: value.clone(), priority: false },
        Control::GroupLeader { leader: pid(1), to: to() },
        Control::Monitor { from: pid(1), item: Item::Pid(to()), reference: reference.clone() },
        Control::Demonitor { from: pid(1), item: Item::Name(atom("rex")), reference: reference.clone() },
        Control::MonitorExit {
            item: Item::Pid(pid(1)),
            to: to(),
            reference: reference.clone(),
            reason: value.clone(),
        },
        Control::SpawnRequest(Box::new(SpawnRequest {
            id: reference.clone(),
            from: pid(1),
            group_leader: pid(2),
            module: atom("m"),
            function: atom("f"),
            arity: 0,
            options: nil.clone(),
            arguments: nil,
        })),
        Control::SpawnReply { id: reference, to: to(), link: true, monitor: false, result: Ok(pid(3)) },
    ];
    for flags in FLAG_SETS {
        let (mut sender, mut receiver) = (Sender::new(flags), receiver(flags));
        for signal in &signals {
            match Outgoing::forward(flags, Some(&pid(1)), signal) {
                Ok(outgoing) => sender.push(outgoing),
                Err(OutgoingError::NotAgreed(flag)) => {
                    assert!(!flags.contains(flag));
                    continue;
                }
                Err(error) => panic!("{error}"),
            }
            let mut stream = drain(&mut sender, usize::MAX);
            let received = receive_all(&mut receiver, &mut stream).unwrap();
            let [Received::Signal(received)] = &received[..] else { panic!("{received:?}") };
            let mut expected = signal.clone();
            if let Control::Send { from, to, priority, .. } = &mut expected {
                *priority &= flags.contains(Flags::ALTACT_SIG);
                if matches!(to, Target::Pid(_)) && !flags.contains(Flags::SEND_SENDER) {
                    *from = None;
                }
            }
            // Payloads are equal if their bytes are, as there are no atoms in them.
            let text = |control: &Control| {
                let text = format!("{control:?}");
                let at = text.find("atoms: [").map_or(text.len(), |at| at + 8);
                text[..at].to_owned()
            };
            assert_eq!(text(received), text(&expected), "{flags:?}");
        }
    }
}
