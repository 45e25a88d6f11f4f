//! Messages of which the next begins with what the last one did: a sender's writer goes back to it, and a receiver does not read it again.
//! Neither may make a difference.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::etf::{EncodeError, Writer};

/// One signal: from whom, to whom, and what it says.
#[derive(Debug, Clone)]
struct Step {
    from: u32,
    to: Control<()>,
    tag: u8,
    number: i64,
    len: usize,
    /// Whether it turns out at its end to have no external form, the first time.
    fails: bool,
}

fn target() -> impl Strategy<Value = Target> {
    let alias = |node, (words, last): (usize, u32)| {
        Target::Alias(Reference::new(node, 5, &[1, 2, 3, 4, last][5 - words..]).unwrap())
    };
    prop_oneof![
        (1..3_u32).prop_map(|id| Target::Pid(Pid { id, ..to() })),
        (0..2_u8).prop_map(|n| Target::Name(atom(&format!("name_{n}")))),
        // As the calls of one process have: few nodes, and words of which the last differ.
        (3..6_usize, 0..4_u32).prop_map(move |words| alias(PEER, words)),
        (3..6_usize, 0..4_u32).prop_map(move |words| alias(US, words)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let reference = Reference::new(US, 5, &[1, 2, 3]).unwrap();
    let send = |from: u32, to, priority| Control::Send { from: Some(pid(from)), to, message: (), priority };
    let control = prop_oneof![
        16 => (1..3_u32, target(), prop::bool::weighted(0.05))
            .prop_map(move |(from, to, priority)| (from, send(from, to, priority))),
        1 => Just((1, Control::Send { from: None, to: Target::Pid(to()), message: (), priority: false })),
        1 => Just((1, Control::Link { from: pid(1), to: to() })),
        1 => Just((1, Control::Monitor { from: pid(1), item: Item::Pid(to()), reference })),
        1 => Just((1, Control::Exit2 { from: pid(1), to: Target::Pid(to()), reason: (), priority: false })),
    ];
    // The same again is what all this is about; long ones leave in parts, and in fragments.
    let len = prop_oneof![20 => Just(3), 1 => Just(9_000), 1 => Just(200_000)];
    let tag = prop_oneof![8 => 0..3_u8, 1 => 0..40_u8];
    (control, tag, 0..300_i64, len, prop::bool::weighted(0.05))
        .prop_map(|((from, to), tag, number, len, fails)| Step { from, to, tag, number, len, fails })
}

fn payload(step: &Step, time: usize) -> impl Fn(&(), &mut Writer) -> Result<(), EncodeError> {
    let Step { tag, number, len, fails, .. } = *step;
    move |(), w| {
        w.tuple(3)?;
        w.atom(&atom(&format!("tag_{tag}")));
        w.integer(number);
        w.shared_binary(&Bytes::from(vec![7; len]))?;
        if fails && time == 0 {
            w.raw(&[7; 100]);
            return Err(EncodeError::TooLong(0));
        }
        Ok(())
    }
}

/// What was received, as the node's router takes it: of a message the message alone.
fn taken(receiver: &mut Receiver) -> Option<Control> {
    let place = receiver.signal();
    match place {
        Some(Control::Send { from, to, message, priority }) => Some(Control::Send {
            from: from.clone(),
            to: to.clone(),
            message: std::mem::replace(message, Payload::none()),
            priority: *priority,
        }),
        _ => place.take(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_not_encoded_and_not_read_again_is_the_same(
        steps in vec((step(), 1..4_usize), 1..40),
        flags in prop::sample::select(FLAG_SETS.to_vec()),
    ) {
        let (mut reused, mut anew) = (Sender::new(flags), Sender::new(flags));
        for (step, times) in &steps {
            for time in 0..*times {
                let sender = pid(step.from);
                let encoded = Outgoing::encode(flags, Some(&sender), &step.to, payload(step, time));
                let fresh = Fresh::with(flags, Some(&sender), &step.to, payload(step, time), |signal| reused.push_fresh(signal));
                prop_assert_eq!(fresh.is_ok(), encoded.is_ok());
                if let Ok(encoded) = encoded {
                    anew.push(encoded);
                }
            }
        }
        let mut stream = drain(&mut reused, usize::MAX);
        prop_assert!(stream == drain(&mut anew, usize::MAX), "the same bytes");

        let mut expected = Vec::new();
        for received in receive_all(&mut receiver(flags), &mut stream.clone()).unwrap() {
            let Received::Signal(control) = received else { panic!("{received:?}") };
            expected.push(format!("{control:?}"));
        }
        let (mut again, mut found) = (receiver(flags), Vec::new());
        loop {
            match again.receive_next(&mut stream).unwrap() {
                Next::Signal => found.push(format!("{:?}", taken(&mut again).unwrap())),
                Next::Fragment => {}
                Next::Tick => panic!("there is none"),
                Next::Incomplete => break,
            }
        }
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn an_alias_in_another_form_is_read_as_a_whole_each_time() {
    // REFERENCE_EXT: its words are followed by its creation.
    let message = |creation: u8| {
        let front = b"\x83\x44\x01\x08\x00\x01a";
        let known = b"\x83\x44\x01\x00\x00";
        let control = b"\x68\x03\x61\x21\x58\x52\x00\0\0\0\x01\0\0\0\0\0\0\0\x06\x65\x52\x00\0\0\0\x07";
        (
            packet(&[front, control, &[creation], b"\x61\x05"]),
            packet(&[known, control, &[creation], b"\x61\x05"]),
        )
    };
    let mut receiver = receiver(Flags::VISIBLE);
    let mut input = message(1).0;
    for creation in [2, 2, 3] {
        input.extend_from_slice(&message(creation).1);
    }
    let mut creations = Vec::new();
    while receiver.receive_next(&mut input).unwrap() == Next::Signal {
        let Some(Control::Send { to: Target::Alias(alias), .. }) = taken(&mut receiver) else { panic!() };
        assert_eq!(alias.words(), [7]);
        creations.push(alias.creation);
    }
    assert_eq!(creations, [1, 2, 2, 3]);
}
