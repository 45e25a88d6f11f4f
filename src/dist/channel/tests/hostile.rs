//! Peers that break the protocol: the connection fails, with an error that says how, and with memory bounded before that.

use super::*;
use crate::dist::ControlError;
use crate::dist::atom_cache::HeaderError;
use crate::dist::fragment::FragmentError;

const ALL: Flags = Flags::VISIBLE;
const NONE: Flags = Flags::MANDATORY_26;
const HEADER: &[u8] = &[131, 68, 0];
const NEXT: &[u8] = &[131, 70];
const FIRST: &[u8] = &[131, 69];

fn first(sequence: u64, count: u64, payload: &[u8]) -> BytesMut {
    packet(&[FIRST, &ids(sequence, count), &[0], SEND, payload])
}

fn next(sequence: u64, fragment: u64, payload: &[u8]) -> BytesMut {
    packet(&[NEXT, &ids(sequence, fragment), payload])
}

/// The fault that the last of these packets is; all before it are right.
fn fault(packets: &[BytesMut]) -> ChannelError {
    let mut receiver = receiver(ALL);
    let (last, right) = packets.split_last().unwrap();
    for packet in right {
        receiver.receive(&mut packet.clone()).unwrap();
    }
    receiver.receive(&mut last.clone()).unwrap_err()
}

#[test]
fn a_length_past_the_limit_is_refused_before_anything_is_buffered() {
    let mut input = BytesMut::from(&[0xff; 4][..]);
    let error = receiver(ALL).receive(&mut input).unwrap_err();
    assert_eq!(error, ChannelError::FrameTooLong { len: u32::MAX, max: 128 << 20 });

    let mut input = BytesMut::from(&(128_u32 << 20).to_be_bytes()[..]);
    let mut receiver = receiver(ALL);
    assert!(receiver.receive(&mut input).unwrap().is_none());
    assert_eq!(receiver.wants(&input), 1 << 20, "in steps");
    assert_eq!(receiver.wants(&BytesMut::new()), 4);
}

#[test]
fn packets_that_do_not_begin_as_agreed_are_refused() {
    let pass_through: &[&[u8]] = &[&[112, 131], SEND, &[131, 97, 1]];
    assert!(matches!(refused(ALL, pass_through), ChannelError::Framing { .. }));
    assert!(receiver(NONE).receive(&mut packet(pass_through)).unwrap().is_some());
    assert!(matches!(refused(NONE, &[HEADER, SEND, &[97, 1]]), ChannelError::Framing { .. }));
    assert!(matches!(refused(NONE, &[&[112]]), ChannelError::Framing { .. }));
    assert!(matches!(refused(NONE, &[&[112, 131], SEND, &[97, 1]]), ChannelError::Framing { .. }));
    for body in [&[131][..], &[0], &[131, 71], &[131, 80, 0, 0, 0, 1, 0]] {
        assert!(matches!(refused(ALL, &[body]), ChannelError::Framing { .. }));
    }
}

#[test]
fn atoms_that_no_header_defines_are_refused() {
    assert_eq!(refused(ALL, &[&[131, 68, 1, 0x03, 9], SEND]), HeaderError::EmptySlot(0x309).into());
    assert_eq!(refused(ALL, &[&[131, 68, 1]]), HeaderError::Truncated.into());
    assert_eq!(refused(ALL, &[&[131, 68]]), HeaderError::Truncated.into());
    // In the control message: an index past the header's atoms.
    let error = refused(ALL, &[&[131, 68, 1, 8, 0, 1, b'a'], &[104, 3, 97, 2, 82, 1]]);
    assert!(matches!(error, ChannelError::Control(ControlError::Undecodable(_))));
    // In the payload.
    assert!(matches!(
        refused(ALL, &[&[131, 68, 1, 8, 0, 1, b'a'], SEND, &[82, 1]]),
        ChannelError::Payload(_)
    ));
    assert!(matches!(refused(NONE, &[&[112, 131], SEND, &[131, 82, 0]]), ChannelError::Payload(_)));
}

#[test]
fn a_missing_or_broken_payload_is_refused_and_what_follows_it_is_ignored() {
    assert_eq!(refused(ALL, &[HEADER, SEND]), ChannelError::NoPayload);
    assert_eq!(refused(NONE, &[&[112, 131], SEND]), ChannelError::NoPayload);
    assert!(matches!(refused(NONE, &[&[112, 131], SEND, &[131]]), ChannelError::NoPayload));
    assert!(matches!(refused(ALL, &[HEADER, SEND, &[104, 2, 97, 1]]), ChannelError::Payload(_)));
    assert!(matches!(refused(ALL, &[HEADER, SEND, &[255]]), ChannelError::Payload(_)));
    // Counts and lengths that the packet does not have.
    for tag in [105, 108, 109, 111, 116] {
        assert!(matches!(
            refused(ALL, &[HEADER, SEND, &[tag, 255, 255, 255, 255]]),
            ChannelError::Payload(_)
        ));
    }
    let mut trailing = packet(&[HEADER, SEND, &[97, 1], b"more"]);
    let received = receiver(ALL).receive(&mut trailing).unwrap();
    let Some(Received::Signal(Control::Send { message, .. })) = received else { panic!() };
    assert_eq!(message.len(), 2);
}

#[test]
fn control_messages_that_break_the_protocol_are_refused() {
    for (control, error) in [
        (&b"\x61\x05"[..], ControlError::NoOperation),
        (b"\x68\x01\x61\x05", ControlError::UnknownOperation(5)),
        (b"\x68\x01\x61\x63", ControlError::UnknownOperation(99)),
        (b"\x68\x02\x61\x01\x6a", ControlError::Arity { operation: 1, len: 2 }),
    ] {
        assert_eq!(refused(ALL, &[HEADER, control]), error.clone().into());
        assert_eq!(refused(NONE, &[&[112, 131], control]), error.clone().into());
        assert_eq!(refused(ALL, &[FIRST, &ids(1, 2), &[0], control]), error.into());
    }
}

#[test]
fn fragments_out_of_order_are_refused() {
    assert_eq!(fault(&[first(0, 2, &[])]), FragmentError::Zero.into());
    assert_eq!(fault(&[first(1, 0, &[])]), FragmentError::Zero.into());
    assert_eq!(fault(&[next(0, 1, &[])]), FragmentError::Zero.into());
    assert_eq!(fault(&[first(1, 2, &[97]), next(1, 0, &[1])]), FragmentError::Zero.into());
    assert_eq!(fault(&[next(7, 1, &[])]), FragmentError::Unknown(7).into());
    assert_eq!(fault(&[first(1, 3, &[]), first(1, 3, &[])]), FragmentError::Duplicate(1).into());
    let order = |expected, found| FragmentError::Order { sequence: 1, expected, found }.into();
    assert_eq!(fault(&[first(1, 3, &[]), next(1, 1, &[])]), order(2, 1));
    assert_eq!(fault(&[first(1, 3, &[]), next(1, 3, &[])]), order(2, 3));
    assert_eq!(fault(&[first(1, 3, &[]), next(1, 2, &[]), next(1, 2, &[])]), order(1, 2));
    let done = [first(1, 2, &[97]), next(1, 1, &[1]), next(1, 1, &[])];
    assert_eq!(fault(&done), FragmentError::Unknown(1).into());
    assert_eq!(fault(&[packet(&[NEXT, &[0; 15]])]), FragmentError::Truncated.into());
    assert_eq!(fault(&[packet(&[FIRST, &[0; 7]])]), FragmentError::Truncated.into());
    assert_eq!(fault(&[first(1, 2, &[]), next(1, 1, &[])]), ChannelError::NoPayload);
    assert!(matches!(fault(&[first(1, 2, &[104]), next(1, 1, &[1])]), ChannelError::Payload(_)));
}

#[test]
fn fragments_cut_at_any_byte_and_interleaved_with_others_make_their_messages() {
    let payload = |tag: u8| [109, 0, 0, 0, 3, tag, tag, tag];
    let mut receiver = receiver(ALL);
    let mut receive = |mut packet: BytesMut| receiver.receive(&mut packet).unwrap();
    for cut in 0..8 {
        let (a, b) = (payload(1), payload(2));
        assert!(receive(first(1, 2, &a[..cut])).is_none());
        assert!(receive(first(u64::MAX, 3, &b[..cut])).is_none());
        assert!(matches!(receive(packet(&[HEADER, SEND, &payload(3)])), Some(Received::Signal(_))));
        assert!(receive(next(u64::MAX, 2, &b[cut..])).is_none());
        assert!(matches!(receive(packet(&[])), Some(Received::Tick)));
        for (packet, tag) in [(next(1, 1, &a[cut..]), 1), (next(u64::MAX, 1, &[]), 2)] {
            let Some(Received::Signal(Control::Send { message, .. })) = receive(packet) else { panic!() };
            assert_eq!(message.reader().next_token(), Ok(Token::Binary(&[tag; 3])));
        }
        let Some(Received::Signal(_)) = receive(first(9, 1, &a)) else {
            panic!("a single fragment is a message")
        };
    }
}

#[test]
fn open_sequences_are_limited() {
    let mut receiver = receiver(ALL);
    for sequence in 1..=1024 {
        assert!(receiver.receive(&mut first(sequence, 2, &[109])).unwrap().is_none());
    }
    let error = receiver.receive(&mut first(5000, 2, &[109])).unwrap_err();
    assert_eq!(error, FragmentError::TooMany(1024).into());
}

#[test]
fn the_bytes_of_unfinished_messages_are_limited() {
    let limits = Limits { message_len: 1000, buffered_len: 3000, ..Limits::default() };
    let mut receiver = Receiver::new(US, ALL, limits);
    assert!(receiver.receive(&mut first(1, 5, &[0; 800])).unwrap().is_none());
    let error = receiver.receive(&mut next(1, 4, &[0; 200])).unwrap_err();
    assert_eq!(error, FragmentError::TooLong(1000).into());

    let mut receiver = Receiver::new(US, ALL, limits);
    for sequence in 1..=3 {
        assert!(receiver.receive(&mut first(sequence, 5, &[0; 800])).unwrap().is_none());
    }
    assert!(receiver.buffered() <= 3000);
    let error = receiver.receive(&mut first(4, 5, &[0; 800])).unwrap_err();
    assert_eq!(error, FragmentError::TooMuch(3000).into());
}

#[test]
fn a_flood_of_a_million_fragments_stays_bounded() {
    let limits = Limits { buffered_len: 1 << 20, ..Limits::default() };
    let mut receiver = Receiver::new(US, ALL, limits);
    let mut input = first(1, u64::MAX, &[109]);
    let mut most = 0;
    for i in 1..=1_000_000_u64 {
        input.extend_from_slice(&next(1, u64::MAX - i, if i % 4 == 0 { &[0] } else { &[] }));
        assert!(receiver.receive(&mut input).unwrap().is_none());
        most = most.max(receiver.buffered());
    }
    assert!(input.is_empty());
    assert!(most <= 251_000, "{most}: a byte of payload costs a byte");
    // And one that does have bytes ends at the limit.
    let mut sent = 0;
    let error = loop {
        sent += 1;
        let fragment = next(1, u64::MAX - 1_000_000 - sent, &[0; 1000]);
        if let Err(error) = receiver.receive(&mut fragment.clone()) {
            break error;
        }
    };
    assert_eq!(error, FragmentError::TooMuch(1 << 20).into());
    assert!(sent < 1000);
}
