use bytes::BytesMut;

use super::message::{ChallengeAck, ChallengeReply, SendChallenge, SendName, Status};
use super::*;

const COOKIE: &[u8] = b"c";

fn atom(text: &str) -> Atom {
    Atom::new(text).unwrap()
}

fn local(name: &str) -> Local {
    Local::new(atom(name), 7, Flags::VISIBLE).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn initiator(local: Local) -> (Initiator, Vec<u8>) {
    let (initiator, mut sent) = Initiator::new(local, atom("b@host"), COOKIE, 1111);
    assert_eq!(sent.len(), 1);
    (initiator, sent.remove(0))
}

fn introduction(opening: &[u8]) -> Introduction {
    match Acceptor::new(local("b@host")).receive(opening).unwrap() {
        AcceptorStep::Introduced(introduction) => introduction,
        step => panic!("{step:?}"),
    }
}

fn go_on(step: InitiatorStep) -> (Initiator, Vec<Vec<u8>>) {
    match step {
        InitiatorStep::Continue(initiator, send) => (initiator, send),
        step => panic!("{step:?}"),
    }
}

/// From the acceptor's verdict to the end.
fn finish(
    initiator: Initiator,
    acceptor: Acceptor,
    from_acceptor: Vec<Vec<u8>>,
) -> (Established, Established) {
    let mut initiator = initiator;
    let mut reply = Vec::new();
    for message in from_acceptor {
        let (next, send) = go_on(initiator.receive(&message).unwrap());
        initiator = next;
        reply.extend(send);
    }
    assert_eq!(reply.len(), 1);
    let AcceptorStep::Established(accepted, ack) = acceptor.receive(&reply[0]).unwrap() else { panic!() };
    let InitiatorStep::Established(initiated) = initiator.receive(&ack[0]).unwrap() else { panic!() };
    (initiated, accepted)
}

#[test]
fn two_ends_agree_on_each_other_and_on_common_flags() {
    for answer in [Answer::Ok, Answer::OkSimultaneous] {
        let (initiator, opening) = initiator(Local::new(atom("a@host"), 3, Flags::HIDDEN).unwrap());
        let introduction = introduction(&opening);
        assert_eq!(introduction.peer(), &atom("a@host"));
        assert_eq!(introduction.creation(), Some(3));
        let (acceptor, send) = introduction.answer(answer, COOKIE, 2222).unwrap();
        let (initiated, accepted) = finish(initiator, acceptor, send);
        assert_eq!((initiated.peer, initiated.creation), (atom("b@host"), 7));
        assert_eq!((accepted.peer, accepted.creation), (atom("a@host"), 3));
        assert_eq!(initiated.flags, accepted.flags);
        assert!(!initiated.flags.contains(Flags::PUBLISHED), "one of them is hidden");
        assert_eq!(initiated.peer_flags, Flags::VISIBLE);
        assert!(!accepted.replaces);
    }
}

#[test]
fn a_peer_that_is_believed_alive_replaces_its_old_connection() {
    let (initiator, opening) = initiator(local("a@host"));
    let (acceptor, send) = introduction(&opening).answer(Answer::Alive, COOKIE, 2222).unwrap();
    assert_eq!(send, [b"salive"]);
    let InitiatorStep::Alive(question) = initiator.receive(&send[0]).unwrap() else { panic!() };
    let (initiator, send) = question.replace();
    assert_eq!(send, [b"strue"]);
    let AcceptorStep::Continue(acceptor, send) = acceptor.receive(&send[0]).unwrap() else { panic!() };
    let (_, accepted) = finish(initiator, acceptor, send);
    assert!(accepted.replaces);
}

#[test]
fn a_peer_that_uses_its_old_connection_gives_up_the_new_one() {
    let (initiator, opening) = initiator(local("a@host"));
    let (acceptor, send) = introduction(&opening).answer(Answer::Alive, COOKIE, 2222).unwrap();
    let InitiatorStep::Alive(question) = initiator.receive(&send[0]).unwrap() else { panic!() };
    let error = question.give_up();
    assert_eq!(error.reply(), Some(b"sfalse".as_slice()));
    assert_eq!(error.fault, HandshakeFault::Refused(Refusal::Alive));
    let error = acceptor.receive(b"sfalse").unwrap_err();
    assert_eq!(error.fault, HandshakeFault::Refused(Refusal::Alive));
    assert_eq!(error.reply(), None);
}

#[test]
fn a_refusal_reaches_the_initiator() {
    for (answer, refusal) in [(Answer::Nok, Refusal::Nok), (Answer::NotAllowed, Refusal::NotAllowed)] {
        let (initiator, opening) = initiator(local("a@host"));
        let error = introduction(&opening).answer(answer, COOKIE, 2222).unwrap_err();
        assert_eq!(error.peer, Some(atom("a@host")));
        let told = initiator.receive(error.reply().unwrap()).unwrap_err();
        assert_eq!(told.fault, HandshakeFault::Refused(refusal));
        assert_eq!((told.phase, told.peer), (Phase::Status, Some(atom("b@host"))));
    }
}

#[test]
fn an_initiator_without_a_name_gets_one() {
    let (initiator, opening) = initiator(Local::unnamed(atom("host"), Flags::VISIBLE).unwrap());
    let AcceptorStep::NameMe(request) = Acceptor::new(local("b@host")).receive(&opening).unwrap() else {
        panic!()
    };
    assert_eq!(request.host(), "host");
    let introduction = request.name(atom("Z6KA@host"), 99).unwrap();
    let (acceptor, send) = introduction.answer(Answer::Ok, COOKIE, 2222).unwrap();
    let (initiated, accepted) = finish(initiator, acceptor, send);
    assert_eq!(initiated.named, Some((atom("Z6KA@host"), 99)));
    assert_eq!((accepted.peer, accepted.creation), (atom("Z6KA@host"), 99));
    assert!(!accepted.flags.contains(Flags::NAME_ME), "it is a request, not a capability");
}

#[test]
fn a_name_is_given_only_to_an_initiator_that_asks() {
    let (initiator_, opening) = initiator(Local::unnamed(atom("host"), Flags::VISIBLE).unwrap());
    let error = initiator_.receive(b"sok").unwrap_err();
    assert_eq!(error.fault, HandshakeFault::Violation(Violation::NotNamed));

    let named = Status::Named { name: "z@host".into(), creation: 5 }.encode();
    let (initiator, _) = initiator(local("a@host"));
    let error = initiator.receive(&named).unwrap_err();
    assert_eq!(error.fault, HandshakeFault::Violation(Violation::NamedUnasked));

    let AcceptorStep::NameMe(request) = Acceptor::new(local("b@host")).receive(&opening).unwrap() else {
        panic!()
    };
    assert_eq!(request.refuse().reply(), Some(b"snot_allowed".as_slice()));
}

#[test]
fn a_wrong_cookie_is_found_by_the_acceptor_first() {
    let (initiator, opening) = initiator(local("a@host"));
    let (acceptor, send) = introduction(&opening).answer(Answer::Ok, b"other", 2222).unwrap();
    let (initiator, _) = go_on(initiator.receive(&send[0]).unwrap());
    let (_, reply) = go_on(initiator.receive(&send[1]).unwrap());
    let error = acceptor.receive(&reply[0]).unwrap_err();
    assert_eq!(error.fault, HandshakeFault::WrongCookie);
    assert_eq!((error.phase, error.peer.as_ref()), (Phase::ChallengeReply, Some(&atom("a@host"))));
    assert_eq!(error.reply(), None, "an unproven peer learns nothing");
}

#[test]
fn an_acceptor_must_prove_the_cookie_too() {
    let (initiator, _) = initiator(local("a@host"));
    let (initiator, _) = go_on(initiator.receive(b"sok").unwrap());
    let (initiator, _) = go_on(initiator.receive(&challenge("b@host", Flags::VISIBLE)).unwrap());
    let error = initiator.receive(&ChallengeAck { digest: [0; 16] }.encode()).unwrap_err();
    assert_eq!(error.fault, HandshakeFault::WrongCookie);
    assert_eq!(error.phase, Phase::ChallengeAck);
}

fn challenge(name: &str, flags: Flags) -> Vec<u8> {
    SendChallenge { flags, challenge: 5, creation: 9, name: name.into() }.encode()
}

fn opening(name: &str, flags: Flags) -> Vec<u8> {
    SendName { flags, creation: Some(3), name: name.into() }.encode()
}

#[test]
fn an_initiator_wants_the_node_that_it_called() {
    let (initiator, _) = initiator(local("a@host"));
    let (initiator, _) = go_on(initiator.receive(b"sok").unwrap());
    let error = initiator.receive(&challenge("x@host", Flags::VISIBLE)).unwrap_err();
    assert_eq!(error.fault, HandshakeFault::Violation(Violation::WrongNode(atom("x@host"))));
}

#[test]
fn each_mandatory_flag_is_demanded_by_both_ends() {
    for bit in (0..64).filter(|bit| Flags::MANDATORY_26.0 & (1 << bit) != 0) {
        let lacking = Flags((Flags::VISIBLE.0 & !Flags::MANDATORY_25_DIGEST.0) & !(1 << bit));
        let error = Acceptor::new(local("b@host")).receive(&opening("a@host", lacking)).unwrap_err();
        let HandshakeFault::Incompatible(missing) = &error.fault else { panic!("{error}") };
        assert_eq!(missing.flags(), Flags(1 << bit));
        assert_eq!(error.reply(), Some(b"snot_allowed".as_slice()));

        let (initiator, _) = initiator(local("a@host"));
        let (initiator, _) = go_on(initiator.receive(b"sok").unwrap());
        let error = initiator.receive(&challenge("b@host", lacking)).unwrap_err();
        let HandshakeFault::Incompatible(missing) = error.fault else { panic!("{error}") };
        assert_eq!(missing.flags(), Flags(1 << bit));
    }
}

#[test]
fn missing_flags_are_named_with_the_release_that_demands_them() {
    let error = Acceptor::new(local("b@host"))
        .receive(&opening("a@host", Flags(Flags::MANDATORY_25.0 & !Flags::MAP_TAG.0)))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "handshake with a@host, at send_name: the peer lacks MAP_TAG (mandatory since OTP 25), \
         UNLINK_ID (mandatory since OTP 26), V4_NC (mandatory since OTP 26)"
    );
}

#[test]
fn one_flag_stands_for_all_that_otp_25_demands() {
    let few = Flags::MANDATORY_25_DIGEST | Flags::UNLINK_ID | Flags::V4_NC;
    let introduction = introduction(&opening("a@host", few));
    let (acceptor, _) = introduction.answer(Answer::Ok, COOKIE, 2222).unwrap();
    let reply = ChallengeReply { challenge: 1, digest: digest::Cookie::new(COOKIE).digest(2222) };
    let AcceptorStep::Established(established, _) = acceptor.receive(&reply.encode()).unwrap() else {
        panic!()
    };
    assert!(established.flags.contains(Flags::MANDATORY_26));
    assert!(!established.flags.contains(Flags::FRAGMENTS));
}

#[test]
fn unknown_flags_do_not_become_effective_and_trailing_bytes_are_ignored() {
    let mut message = opening("a@host", Flags(!Flags::NAME_ME.0));
    message.extend(b"to come");
    let (acceptor, _) = introduction(&message).answer(Answer::Ok, COOKIE, 2222).unwrap();
    let reply = ChallengeReply { challenge: 1, digest: digest::Cookie::new(COOKIE).digest(2222) };
    let AcceptorStep::Established(established, _) = acceptor.receive(&reply.encode()).unwrap() else {
        panic!()
    };
    assert_eq!(established.flags, Flags::VISIBLE);
}

#[test]
fn a_version_5_opening_is_completed_later() {
    let mut message = vec![b'n', 0, 5];
    message.extend((Flags::VISIBLE.0 as u32).to_be_bytes());
    message.extend(b"a@host");
    let introduction = introduction(&message);
    assert_eq!(introduction.creation(), None);
    let (acceptor, _) = introduction.answer(Answer::Ok, COOKIE, 2222).unwrap();

    let mut complement = vec![b'c'];
    complement.extend(((Flags::VISIBLE.0 >> 32) as u32).to_be_bytes());
    complement.extend(77_u32.to_be_bytes());
    let AcceptorStep::Continue(acceptor, send) = acceptor.receive(&complement).unwrap() else { panic!() };
    assert!(send.is_empty());
    let reply = ChallengeReply { challenge: 1, digest: digest::Cookie::new(COOKIE).digest(2222) };
    let AcceptorStep::Established(established, _) = acceptor.receive(&reply.encode()).unwrap() else {
        panic!()
    };
    assert_eq!((established.creation, established.flags), (77, Flags::VISIBLE));
}

#[test]
fn a_version_5_opening_without_version_6_or_without_its_upper_flags_is_refused() {
    let mut message = vec![b'n', 0, 5];
    message.extend(
        ((Flags::VISIBLE.0 & !Flags::HANDSHAKE_23.0 & !Flags::MANDATORY_25_DIGEST.0) as u32).to_be_bytes(),
    );
    message.extend(b"a@host");
    let error = Acceptor::new(local("b@host")).receive(&message).unwrap_err();
    let HandshakeFault::Incompatible(missing) = error.fault else { panic!("{error}") };
    assert_eq!(missing.flags(), Flags::HANDSHAKE_23);

    message[3..7].copy_from_slice(&(Flags::VISIBLE.0 as u32).to_be_bytes());
    let (acceptor, _) = introduction(&message).answer(Answer::Ok, COOKIE, 2222).unwrap();
    let error = acceptor.receive(&[b'c', 0, 0, 0, 0, 0, 0, 0, 1]).unwrap_err();
    let HandshakeFault::Incompatible(missing) = error.fault else { panic!("{error}") };
    assert_eq!(missing.flags(), Flags::V4_NC);
}

#[test]
fn a_malformed_name_is_refused() {
    let long = format!("{}@h", "x".repeat(254));
    let cases = [
        ("nohost", NodeNameError::At),
        ("a@b@c", NodeNameError::At),
        ("@host", NodeNameError::Empty),
        ("a@", NodeNameError::Empty),
        ("", NodeNameError::At),
        (&long, NodeNameError::TooLong),
    ];
    for (name, fault) in cases {
        let error = Acceptor::new(local("b@host")).receive(&opening(name, Flags::VISIBLE)).unwrap_err();
        assert_eq!(error.fault, HandshakeFault::Violation(Violation::NodeName(fault)), "{name:?}");
        assert_eq!(error.reply(), None);
        assert!(Local::new(Atom::new(name).unwrap_or(atom("x")), 1, Flags::VISIBLE).is_err());
    }
    assert_eq!(Local::new(atom("a@h\u{20ac}"), 1, Flags::VISIBLE).unwrap_err(), NodeNameError::NotLatin1);
    let host = opening("a@host", Flags::VISIBLE | Flags::NAME_ME);
    let error = Acceptor::new(local("b@host")).receive(&host).unwrap_err();
    assert_eq!(error.fault, HandshakeFault::Violation(Violation::NodeName(NodeNameError::At)));
}

#[test]
fn names_travel_in_latin_1() {
    let (_, message) = initiator(local("\u{e5}@host"));
    assert!(message.ends_with(b"\xe5@host"));
    assert_eq!(introduction(&message).peer(), &atom("\u{e5}@host"));
}

#[test]
fn garbage_in_the_place_of_a_message_is_undecodable() {
    let fault = |message: &[u8]| Acceptor::new(local("b@host")).receive(message).unwrap_err().fault;
    assert_eq!(fault(b""), HandshakeFault::Undecodable(Undecodable::Truncated));
    assert_eq!(fault(b"Q"), HandshakeFault::Undecodable(Undecodable::Tag(b'Q')));
    assert_eq!(fault(&[b'n', 0, 4, 0, 0, 0, 0]), HandshakeFault::Undecodable(Undecodable::Version(4)));
    let whole = opening("a@host", Flags::VISIBLE);
    for len in 1..whole.len() {
        assert_eq!(fault(&whole[..len]), HandshakeFault::Undecodable(Undecodable::Truncated), "{len}");
    }

    let (acceptor, _) = introduction(&whole).answer(Answer::Ok, COOKIE, 1).unwrap();
    let error = acceptor.receive(&[b'r', 0, 0, 0, 1]).unwrap_err();
    assert_eq!(error.fault, HandshakeFault::Undecodable(Undecodable::Truncated));
    let (acceptor, _) = introduction(&whole).answer(Answer::Ok, COOKIE, 1).unwrap();
    let mut reply = ChallengeReply { challenge: 1, digest: digest::Cookie::new(COOKIE).digest(1) }.encode();
    reply.push(0);
    let error = acceptor.receive(&reply).unwrap_err();
    assert_eq!(error.fault, HandshakeFault::Undecodable(Undecodable::TrailingBytes));
    let (acceptor, _) = introduction(&whole).answer(Answer::Alive, COOKIE, 1).unwrap();
    let error = acceptor.receive(b"smaybe").unwrap_err();
    assert_eq!(error.fault, HandshakeFault::Undecodable(Undecodable::Status));

    for (message, expected) in [
        (b"swhat".as_slice(), Undecodable::Status),
        (b"snamed:\0\x05a@h", Undecodable::Truncated),
        (b"a", Undecodable::Tag(b'a')),
        (b"", Undecodable::Truncated),
    ] {
        let (initiator, _) = initiator(local("a@host"));
        let error = initiator.receive(message).unwrap_err();
        assert_eq!(error.fault, HandshakeFault::Undecodable(expected));
    }
}

#[test]
fn the_greater_name_wins_a_simultaneous_connect() {
    assert_eq!(simultaneous(&atom("b@h"), &atom("a@h")), Simultaneous::KeepMine);
    assert_eq!(simultaneous(&atom("a@h"), &atom("b@h")), Simultaneous::TakeTheirs);
    assert_eq!(simultaneous(&atom("B@h"), &atom("a@h")), Simultaneous::TakeTheirs, "by bytes");
}

#[test]
fn the_cookie_stays_out_of_debug_output() {
    let (initiator, _) = Initiator::new(local("a@host"), atom("b@host"), b"sesame", 1);
    assert!(!format!("{initiator:?}").contains("sesame"));
    assert!(!format!("{initiator:?}").contains(&format!("{:?}", b"sesame")));
}

#[test]
fn messages_come_whole_out_of_a_stream_cut_anywhere() {
    for prefix in [LengthPrefix::Two, LengthPrefix::Four] {
        let framer = Framer::new(prefix);
        let mut stream = BytesMut::new();
        framer.send(&[b"sok".to_vec(), vec![], vec![7; 300]], &mut stream);
        stream.extend_from_slice(b"rest");
        let mut input = BytesMut::new();
        let mut messages = Vec::new();
        for byte in &stream[..stream.len() - 4] {
            input.extend_from_slice(&[*byte]);
            messages.extend(framer.receive(&mut input).unwrap());
        }
        input.extend_from_slice(b"rest");
        assert_eq!(messages, [&b"sok"[..], b"", &[7; 300]]);
        assert_eq!(input, b"rest"[..], "what follows is left alone");
    }
}

#[test]
fn a_message_that_is_too_long_is_refused_before_it_arrives() {
    let refused = |prefix, bytes: &[u8]| Framer::new(prefix).receive(&mut BytesMut::from(bytes));
    let too_long = |len| Err(Undecodable::TooLong { len, max: 4096 });
    assert_eq!(refused(LengthPrefix::Two, &[0xff, 0xff]), too_long(0xffff));
    assert_eq!(refused(LengthPrefix::Four, &[0xff; 4]), too_long(u32::MAX));
    assert_eq!(refused(LengthPrefix::Four, &[0xff; 3]), Ok(None));
}

/// What OTP 25.2.3 (`erl -name x@127.0.0.1 -setcookie c`) sent.
mod otp_25 {
    use super::*;

    #[test]
    fn as_acceptor_it_is_understood_and_proves_the_cookie() {
        let (initiator, sent) = Initiator::new(local("py@127.0.0.1"), atom("x@127.0.0.1"), COOKIE, u32::MAX);
        assert_eq!(sent[0], bytes("4e0000002d07df7fbd00000007000c7079403132372e302e302e31"));
        let (initiator, _) = go_on(initiator.receive(&bytes("736f6b")).unwrap());
        let challenge = bytes("4e0000000d07df7fbdb43e103f6b047dab000b78403132372e302e302e31");
        let (initiator, reply) = go_on(initiator.receive(&challenge).unwrap());
        assert_eq!(reply[0][..5], [b'r', 0xff, 0xff, 0xff, 0xff]);
        let step = initiator.receive(&bytes("61b6b9428ef079fc89ea04bb26bbf1a0da")).unwrap();
        let InitiatorStep::Established(established) = step else { panic!("{step:?}") };
        assert_eq!(established.creation, 0x6b04_7dab);
        assert_eq!(established.peer_flags, Flags(0xd_07df_7fbd));
        assert!(!established.flags.contains(Flags::ALTACT_SIG));
    }

    #[test]
    fn as_initiator_it_is_understood_and_proves_the_cookie() {
        let acceptor = Acceptor::new(Local::new(atom("peer@127.0.0.1"), 9, Flags(0xd_07df_7fbd)).unwrap());
        let send_name = bytes("4e0000000d07df7fbd6b047dab000b78403132372e302e302e31");
        let AcceptorStep::Introduced(introduction) = acceptor.receive(&send_name).unwrap() else { panic!() };
        assert_eq!(introduction.peer(), &atom("x@127.0.0.1"));
        let (acceptor, send) = introduction.answer(Answer::Ok, COOKIE, 123_456_789).unwrap();
        assert_eq!(send[1], bytes("4e0000000d07df7fbd075bcd1500000009000e70656572403132372e302e302e31"));
        let step = acceptor.receive(&bytes("72c429a5abeee113d44755c9a48ad47465b4d2da51")).unwrap();
        let AcceptorStep::Established(established, _) = step else { panic!("{step:?}") };
        assert_eq!(established.creation, 0x6b04_7dab);
    }

    #[test]
    fn its_alive_and_its_name_for_a_nameless_initiator_are_understood() {
        let (initiator_, _) = initiator(local("a@host"));
        let step = initiator_.receive(&bytes("73616c697665")).unwrap();
        assert!(matches!(step, InitiatorStep::Alive(_)));

        let unnamed = Local::unnamed(atom("127.0.0.1"), Flags::VISIBLE).unwrap();
        let (initiator, _) = Initiator::new(unnamed, atom("x@127.0.0.1"), COOKIE, 1);
        let named = bytes("736e616d65643a001642504952484b464838524e39403132372e302e302e318a9678dd");
        let (initiator, _) = go_on(initiator.receive(&named).unwrap());
        assert!(format!("{initiator:?}").contains("BPIRHKFH8RN9@127.0.0.1"));
        let challenge = bytes("4e0000000f07df7fbcefce4bf56b047dab000b78403132372e302e302e31");
        let (initiator, reply) = go_on(initiator.receive(&challenge).unwrap());
        assert_eq!(reply[0].len(), 21);
        assert!(format!("{initiator:?}").contains("NAME_ME"), "it repeats our request");
        assert!(!Flags::effective(Flags(0xf_07df_7fbc), Flags(0xf_07df_7fbc)).contains(Flags::NAME_ME));
    }
}
