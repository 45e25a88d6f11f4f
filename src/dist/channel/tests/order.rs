//! What the sender makes of a queue, and that a receiver gets it all.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::dist::fragment::FRAGMENT_LEN;

/// Each sender's messages, by its id, in the order of their arrival.
type BySender = BTreeMap<u32, Vec<(String, i64, Bytes)>>;

fn by_sender(received: &[Received]) -> BySender {
    let mut by_sender = BySender::new();
    for (from, tag, number, binary) in received.iter().filter_map(read) {
        by_sender.entry(from).or_default().push((tag, number, binary));
    }
    by_sender
}

#[derive(Debug, Clone)]
enum Step {
    Push { sender: u32, tag: String, len: usize },
    Tick,
    Transmit { max_bytes: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![4 => 0..200_usize, 1 => 8000..70_000_usize, 1 => 65_000..300_000_usize];
    let tag = (0..40_u32).prop_map(|tag| format!("tag_{tag}"));
    let step = prop_oneof![
        6 => (1..5_u32, tag, len).prop_map(|(sender, tag, len)| Step::Push { sender, tag, len }),
        1 => Just(Step::Tick),
        3 => (0..150_000_usize).prop_map(|max_bytes| Step::Transmit { max_bytes }),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_is_sent_arrives_in_the_order_of_each_sender(
        steps in steps(),
        flags in prop::sample::select(FLAG_SETS.to_vec()),
        cuts in prop::collection::vec(1..50_000_usize, 1..20),
    ) {
        // Without SEND_SENDER a message does not say whose it is.
        let flags = flags | Flags::SEND_SENDER;
        let mut sender = Sender::new(flags);
        let mut expected = BySender::new();
        let (mut stream, mut queued) = (BytesMut::new(), 0);
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Push { sender: from, tag, len } => {
                    let binary = Bytes::from(vec![number as u8; len]);
                    let outgoing = message(flags, from, &tag, number as i64, &binary);
                    queued += outgoing.len();
                    sender.push(outgoing);
                    expected.entry(from).or_default().push((tag, number as i64, binary));
                }
                Step::Tick => sender.push_tick(),
                Step::Transmit { max_bytes } => {
                    sender.transmit(max_bytes).iter().for_each(|chunk| stream.extend_from_slice(chunk));
                }
            }
            prop_assert!(sender.queued_bytes() <= queued);
        }
        stream.extend_from_slice(&drain(&mut sender, 1000));
        prop_assert_eq!(sender.queued_bytes(), 0);

        let directly = read_directly(flags, stream.clone(), &cuts);
        prop_assert_eq!(by_sender(&directly), expected.clone());

        let mut receiver = receiver(flags);
        let (mut input, mut received) = (BytesMut::new(), Vec::new());
        for cut in cuts.iter().cycle() {
            if stream.is_empty() {
                break;
            }
            input.extend_from_slice(&stream.split_to((*cut).min(stream.len())));
            received.extend(receive_all(&mut receiver, &mut input).unwrap());
            // What is wanted is never more than what comes.
            prop_assert!(receiver.wants(&input) <= stream.len().max(4));
        }
        prop_assert!(input.is_empty());
        prop_assert_eq!(by_sender(&received), expected);
        prop_assert_eq!(receiver.buffered(), 0);
    }
}

/// Receives as a connection does: what belongs to a large fragment goes straight to its place.
fn read_directly(flags: Flags, mut stream: BytesMut, cuts: &[usize]) -> Vec<Received> {
    let mut receiver = receiver(flags);
    let (mut input, mut received) = (BytesMut::new(), Vec::new());
    for cut in cuts.iter().cycle() {
        received.extend(receive_all(&mut receiver, &mut input).unwrap());
        if stream.is_empty() {
            break;
        }
        if let Some((payload, len)) = receiver.direct() {
            assert!(payload.capacity() <= 4 * payload.len().max(FRAGMENT_LEN), "room for what has come");
            let read = stream.split_to(len.min(*cut).min(stream.len()));
            payload.extend_from_slice(&read);
            receiver.read(read.len(), &mut input);
        } else {
            input.extend_from_slice(&stream.split_to((*cut).min(stream.len())));
        }
    }
    assert!(input.is_empty());
    received
}

#[test]
fn the_buffer_of_a_large_message_is_used_for_the_next() {
    let flags = Flags::VISIBLE;
    let (mut sender, mut receiver) = (Sender::new(flags), receiver(flags));
    let mut places = Vec::new();
    for (number, fragments) in [(0, 20), (1, 20), (2, 2), (3, 20)] {
        let binary = Bytes::from(vec![number as u8; fragments * FRAGMENT_LEN]);
        sender.push(message(flags, 1, "large", number, &binary));
        let received = receive_all(&mut receiver, &mut drain(&mut sender, 1)).unwrap();
        let [Received::Signal(Control::Send { message, .. })] = &received[..] else { panic!() };
        assert_eq!(body(message), ("large".to_owned(), number, binary));
        let mut reader = message.reader();
        let last = std::iter::from_fn(|| reader.next_token().ok()).last();
        let Some(Token::Binary(binary)) = last else { panic!() };
        places.push(binary.as_ptr());
    }
    assert_eq!(places[0], places[1]);
    assert_ne!(places[0], places[2], "a small message does not keep the buffer of a large one");
    assert_eq!(places[0], places[3]);
}

#[test]
fn small_signals_are_sent_from_two_places_in_turns_and_large_ones_from_their_own() {
    let flags = Flags::VISIBLE;
    let mut sender = Sender::new(flags);
    let (mut sent, mut places, mut stream) = (Vec::new(), Vec::new(), BytesMut::new());
    for number in 0..6 {
        for payload in [&b"text"[..], b"more"] {
            sender.push(message(flags, 1, "tag", number, &Bytes::from_static(payload)));
        }
        assert!(!sender.is_empty());
        assert!(sender.transmit_small(&mut sent), "nothing else is queued");
        assert!(sender.is_empty() && sender.queued_bytes() == 0);
        places.push(sent.as_ptr());
        stream.extend_from_slice(&sent);
        sent.clear();
    }
    assert_ne!(places[0], places[1]);
    assert!(places.iter().skip(2).eq(places.iter().take(4)), "{places:?}");
    let large = Bytes::from(vec![7; 100_000]);
    sender.push(message(flags, 1, "tag", 6, &large));
    assert!(!sender.transmit_small(&mut sent) && sent.is_empty());
    let chunks = sender.transmit(usize::MAX);
    assert!(chunks.iter().any(|chunk| chunk.as_ptr_range().contains(&large.as_ptr())), "it is not copied");
    stream.extend(chunks.concat());
    let received = receive_all(&mut receiver(flags), &mut stream).unwrap();
    let numbers: Vec<_> = received.iter().filter_map(read).map(|(_, _, number, _)| number).collect();
    assert_eq!(numbers, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6]);
}

#[test]
fn a_small_message_overtakes_the_large_one_of_another_process_but_not_of_its_own() {
    let flags = Flags::VISIBLE;
    let mut sender = Sender::new(flags);
    let large = Bytes::from(vec![1; 10 * FRAGMENT_LEN]);
    sender.push(message(flags, 1, "large", 0, &large));
    sender.push(message(flags, 1, "own", 1, &Bytes::new()));
    sender.push(message(flags, 2, "other", 2, &Bytes::new()));
    let received = receive_all(&mut receiver(flags), &mut drain(&mut sender, usize::MAX)).unwrap();
    let order: Vec<_> = received.iter().filter_map(read).map(|(_, tag, ..)| tag).collect();
    assert_eq!(order, ["other", "large", "own"]);
}

#[test]
fn a_down_by_name_stays_behind_the_large_message_of_its_process() {
    let flags = Flags::VISIBLE;
    let mut sender = Sender::new(flags);
    sender.push(message(flags, 1, "large", 0, &Bytes::from(vec![1; 3 * FRAGMENT_LEN])));
    let reference = Reference::new(PEER, 6, &[1]).unwrap();
    let down = Control::MonitorExit { item: Item::Name(atom("rex")), to: to(), reference, reason: () };
    let outgoing = Outgoing::encode(flags, Some(&pid(1)), &down, |(), w| {
        w.nil();
        Ok(())
    });
    sender.push(outgoing.unwrap());
    let received = receive_all(&mut receiver(flags), &mut drain(&mut sender, usize::MAX)).unwrap();
    assert!(matches!(
        received[..],
        [Received::Signal(Control::Send { .. }), Received::Signal(Control::MonitorExit { .. })]
    ));
}

#[test]
fn fragments_carry_64_kib_and_count_down_to_1() {
    let flags = Flags::VISIBLE;
    let mut sender = Sender::new(flags);
    // Another one is open.
    sender.push(message(flags, 2, "other", 0, &Bytes::from(vec![1; 200_000])));
    sender.push(message(flags, 1, "large", 0, &Bytes::from(vec![1; 220_000])));
    let mut packets = packets(&drain(&mut sender, 1));
    packets.retain(|(_, packet)| packet[2..10] == 2_u64.to_be_bytes());
    let tags: Vec<u8> = packets.iter().map(|(tag, _)| *tag).collect();
    assert_eq!(tags, [DIST_FRAG_HEADER, DIST_FRAG_CONT, DIST_FRAG_CONT, DIST_FRAG_CONT]);
    for (i, (_, packet)) in packets.iter().enumerate() {
        assert_eq!(packet[10..18], (4 - i as u64).to_be_bytes(), "the fragment");
        assert!(packet.len() <= FRAGMENT_LEN + 200);
    }
    assert_eq!(packets[1].1.len(), FRAGMENT_LEN + 18);
}

#[test]
fn a_mebibyte_that_is_alone_goes_out_at_once_in_few_fragments() {
    let flags = Flags::VISIBLE;
    let mut sender = Sender::new(flags);
    let large = |id| message(flags, id, "large", 0, &Bytes::from(vec![1; 1 << 20]));
    let count = |chunks: Vec<Bytes>| packets(&chunks.concat()).len();
    for _ in 0..2 {
        sender.push(large(1));
        assert_eq!(count(sender.transmit(1 << 20)), 5);
        assert!(sender.is_empty());
    }
    sender.push(large(1));
    sender.push(message(flags, 2, "small", 0, &Bytes::new()));
    assert_eq!(count(vec![drain(&mut sender, 1).freeze()]), 6);
    sender.push(large(1));
    assert_eq!(count(vec![drain(&mut sender, 1).freeze()]), 16, "a small one is not long ago");
}

#[test]
fn few_large_messages_are_open_at_once_and_all_get_through() {
    let flags = Flags::VISIBLE;
    let mut sender = Sender::new(flags);
    for id in 0..100 {
        sender.push(message(flags, id, "large", 0, &Bytes::from(vec![id as u8; 3 * FRAGMENT_LEN])));
        sender.push(message(flags, id, "small", 1, &Bytes::new()));
        sender.push(message(flags, id, "large", 2, &Bytes::from(vec![id as u8; 2 * FRAGMENT_LEN])));
    }
    let limits = Limits { open_messages: 16, ..Limits::default() };
    let mut receiver = Receiver::new(US, flags, limits);
    let received = receive_all(&mut receiver, &mut drain(&mut sender, 1 << 20)).unwrap();
    let by_sender = by_sender(&received);
    assert_eq!(by_sender.len(), 100);
    for messages in by_sender.values() {
        assert_eq!(messages.iter().map(|(_, number, _)| *number).collect::<Vec<_>>(), [0, 1, 2]);
    }
}

#[test]
fn a_small_message_waits_for_one_fragment_of_each_open_message() {
    let flags = Flags::VISIBLE;
    let mut sender = Sender::new(flags);
    for id in 0..1000 {
        sender.push(message(flags, id, "large", 0, &Bytes::from(vec![0; 20 * FRAGMENT_LEN])));
    }
    sender.transmit(1 << 20);
    sender.push(message(flags, 5000, "small", 0, &Bytes::new()));
    let mut waited = 0;
    loop {
        let sent: Vec<u8> = sender.transmit(1).concat();
        if packets(&sent)[0].0 == DIST_HEADER {
            break;
        }
        waited += sent.len();
    }
    assert!(waited <= 17 * (FRAGMENT_LEN + 200), "{waited}");
}

#[test]
fn a_large_message_that_is_not_alone_goes_out_in_short_turns_for_a_while() {
    let flags = Flags::VISIBLE;
    let mut sender = Sender::new(flags);
    let turn = |sender: &mut Sender| sender.transmit(1 << 20).iter().map(Bytes::len).sum::<usize>();
    sender.push(message(flags, 1, "large", 0, &Bytes::from(vec![0; 64 << 20])));
    assert!(turn(&mut sender) >= 1 << 20, "nobody else is there");
    sender.push(message(flags, 2, "small", 0, &Bytes::new()));
    let (mut short, mut sent) = (0, turn(&mut sender));
    while sent < 1 << 20 {
        assert!(sent <= 3 * FRAGMENT_LEN, "{sent}");
        short += sent;
        sent = turn(&mut sender);
    }
    assert!((8 << 20..32 << 20).contains(&short), "{short}");
}

#[test]
fn a_message_takes_the_smallest_buffer_with_room_for_it() {
    let flags = Flags::VISIBLE;
    let (mut sender, mut receiver) = (Sender::new(flags), receiver(flags));
    let mut receive = |fragments: usize| {
        sender.push(message(flags, 1, "large", 0, &Bytes::from(vec![7; fragments * FRAGMENT_LEN])));
        let mut received = receive_all(&mut receiver, &mut drain(&mut sender, 1)).unwrap();
        let Some(Received::Signal(Control::Send { message, .. })) = received.pop() else { panic!() };
        let mut reader = message.reader();
        let last = std::iter::from_fn(|| reader.next_token().ok()).last();
        let Some(Token::Binary(binary)) = last else { panic!() };
        let place = binary.as_ptr();
        (message, place)
    };
    // Both are kept until both are there, so they have a buffer each.
    let ((large, large_place), (small, small_place)) = (receive(20), receive(6));
    drop((large, small));
    let ((small, again), (large, large_again)) = (receive(6), receive(20));
    assert_eq!((again, large_again), (small_place, large_place));
    drop((small, large));
    // Its first fragment does not tell how long the others are.
    let (large, large_again) = receive(16);
    assert_eq!(large_again, large_place);
    drop(large);
}

#[test]
fn a_tick_goes_between_two_fragments() {
    let flags = Flags::VISIBLE;
    let mut sender = Sender::new(flags);
    sender.push(message(flags, 1, "large", 0, &Bytes::from(vec![1; 3 * FRAGMENT_LEN])));
    let mut stream = BytesMut::from(&sender.transmit(1).concat()[..]);
    sender.push_tick();
    let tick = sender.transmit(0).concat();
    assert_eq!(tick, [0; 4]);
    stream.extend_from_slice(&tick);
    stream.extend_from_slice(&drain(&mut sender, 1));
    let received = receive_all(&mut receiver(flags), &mut stream).unwrap();
    assert!(matches!(received[..], [Received::Tick, Received::Signal(_)]));
}

#[test]
fn small_messages_share_a_chunk_and_a_large_binary_is_not_copied() {
    for flags in FLAG_SETS {
        let mut sender = Sender::new(flags);
        let binary = Bytes::from(vec![7; 60_000]);
        for number in 0..10 {
            sender.push(message(flags, 1, "small", number, &Bytes::from_static(b"abc")));
        }
        sender.push(message(flags, 1, "large", 10, &binary));
        let chunks = sender.transmit(usize::MAX);
        assert_eq!(chunks.len(), 2);
        assert_eq!(chunks[1].as_ptr(), binary.as_ptr());
        assert!(sender.is_empty());
    }
}

#[test]
fn a_received_payload_is_a_slice_of_the_buffer_that_was_read_into() {
    let flags = Flags::VISIBLE;
    let mut sender = Sender::new(flags);
    sender.push(message(flags, 1, "tag", 1, &Bytes::from(vec![7; 30_000])));
    let mut input = drain(&mut sender, 1);
    let buffer = input.as_ptr_range();
    let received = receive_all(&mut receiver(flags), &mut input).unwrap();
    let [Received::Signal(Control::Send { message, .. })] = &received[..] else { panic!() };
    let mut reader = message.reader();
    let Some(Token::Binary(binary)) = std::iter::from_fn(|| reader.next_token().ok()).last() else {
        panic!()
    };
    assert!(buffer.contains(&binary.as_ptr()));
}

#[test]
fn slots_of_the_atom_cache_are_given_away_as_the_headers_go_out() {
    // Process 1's second message is encoded and pushed before process 2's, but goes out after it; both have new atoms, and
    // each of them uses those of the other afterwards.
    let flags = Flags::VISIBLE;
    let mut sender = Sender::new(flags);
    sender.push(message(flags, 1, "first", 0, &Bytes::from(vec![1; 3 * FRAGMENT_LEN])));
    sender.push(message(flags, 1, "second", 1, &Bytes::new()));
    sender.push(message(flags, 2, "second", 2, &Bytes::new()));
    sender.push(message(flags, 2, "third", 3, &Bytes::new()));
    sender.push(message(flags, 1, "third", 4, &Bytes::new()));
    let received = receive_all(&mut receiver(flags), &mut drain(&mut sender, 1)).unwrap();
    let by_sender = by_sender(&received);
    assert_eq!(by_sender[&1].iter().map(|m| m.0.as_str()).collect::<Vec<_>>(), ["first", "second", "third"]);
    assert_eq!(by_sender[&2].iter().map(|m| m.0.as_str()).collect::<Vec<_>>(), ["second", "third"]);
}

#[test]
fn a_message_with_more_atoms_than_a_header_lists_arrives() {
    let flags = Flags::VISIBLE;
    let mut sender = Sender::new(flags);
    let control = Control::Send { from: Some(pid(1)), to: Target::Pid(to()), message: (), priority: false };
    for _ in 0..2 {
        let outgoing = Outgoing::encode(flags, None, &control, |(), w| {
            w.list(400)?;
            (0..400).for_each(|i| w.atom(&atom(&format!("atom_{i}"))));
            w.nil();
            Ok(())
        });
        sender.push(outgoing.unwrap());
    }
    for received in receive_all(&mut receiver(flags), &mut drain(&mut sender, 1)).unwrap() {
        let Received::Signal(Control::Send { message, .. }) = received else { panic!() };
        let mut reader = message.reader();
        assert_eq!(reader.next_token(), Ok(Token::List(400)));
        for i in 0..400 {
            assert_eq!(reader.next_token(), Ok(Token::Atom(atom(&format!("atom_{i}")))));
        }
    }
}
