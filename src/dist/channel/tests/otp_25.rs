//! Packets of a live node: `erl -name x@127.0.0.1`, OTP 25.2.3, talking to a node `py@127.0.0.1` that had the flags
//! 0xd07df7fbd, over one connection.

use super::*;

const X: Atom = Atom::from_static("x@127.0.0.1");

/// Right after nodeup: to `rex`, and to `global_name_server`.
const NODEUP: [&str; 2] = [
    "8344048fdc007b0b78403132372e302e302e3105005703726578411066656174757265735f726571756573746804610658520000000036000000006b047dab52015202680258520000000036000000006b047dab5203",
    "83440907fddd8e0b7b050412676c6f62616c5f6e616d655f7365727665725f092467656e5f636173749d0c696e69745f636f6e6e656374be066c6f636b65721c0f6e6f5f6c6f6e6765725f615f7069649a0d636f6e6e656374696f6e5f6964460c7079403132372e302e302e316804610658520000000037000000006b047dab520152026802520368045204680261086e080100000000000000085200680452055206740000000168025207520862001b3cf158520000000038000000006b047dab",
];
/// `hello` sent twice to `<py.42.0>`: the second time with nothing new for the cache.
const SMALL: [&str; 2] = [
    "834403370f7b46cf0568656c6c6f6803611658520000000055000000006b047dab5852010000002a00000000000000075202",
    "83440337077b46cf6803611658520000000055000000006b047dab5852010000002a00000000000000075202",
];
/// The first fragment of `{big, <<"abab...">>, Pid}` up to the binary's content, of 200 000 bytes, and how long it is.
const BIG: (&str, usize) = (
    "8345000002a80000055300000000000000040337087b4659036269676803611658520000000055000000006b047dab5852010000002a0000000000000007680352026d00030d40",
    65564,
);
/// Its later fragments up to their content.
const BIG_NEXT: [(&str, usize); 3] = [
    ("8346000002a8000005530000000000000003", 65554),
    ("8346000002a8000005530000000000000002", 65554),
    ("8346000002a8000005530000000000000001", 3468),
];
/// `monitor(process, P), link(P), exit(P, bye), unlink(P)`, and then the process, which was monitored by name, exits with
/// `{shutdown, [P]}`.
const SIGNALS: [&str; 6] = [
    "83440237007b466804611358520000000055000000006b047dab5852010000002a00000000000000075a000352006b047dab000119a96a580002432840c4",
    "83440237007b466803610158520000000055000000006b047dab5852010000002a0000000000000007",
    "834403370e7b46c4036279656803611a58520000000055000000006b047dab5852010000002a00000000000000075202",
    "83440237007b4668046123610158520000000055000000006b047dab5852010000002a0000000000000007",
    "83440237007b466804611458520000000055000000006b047dab5852010000002a00000000000000075a000352006b047dab000119a96a580002432840c4",
    "834403390aa3017446630873687574646f776e6804611c52005852010000002a00000000000000075a0003520100000007000000010000000200000003680252026c000000015852010000002a00000000000000076a",
];
/// Right after nodeup, to a node without DIST_HDR_ATOM_CACHE and FRAGMENTS.
const PASS_THROUGH_NODEUP: [&str; 2] = [
    "70836804610658770b78403132372e302e302e3100000036000000006b047dab7700770372657883680258770b78403132372e302e302e3100000036000000006b047dab771066656174757265735f72657175657374",
    "70836804610658770b78403132372e302e302e3100000037000000006b047dab77007712676c6f62616c5f6e616d655f73657276657283680277092467656e5f636173746804770c696e69745f636f6e6e656374680261086e0801fdffffffffffff07770b78403132372e302e302e31680477066c6f636b6572770f6e6f5f6c6f6e6765725f615f70696474000000016802770d636f6e6e656374696f6e5f6964770c7079403132372e302e302e3162001b3cf258770b78403132372e302e302e3100000038000000006b047dab",
];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn session(flags: Flags) -> Receiver {
    Receiver::new(X, flags, Limits::default())
}

fn receive(receiver: &mut Receiver, body: &[u8]) -> Option<Control> {
    match receiver.receive(&mut packet(&[body])).unwrap() {
        None => None,
        Some(Received::Signal(control)) => Some(control),
        Some(Received::Tick) => panic!("a tick"),
    }
}

fn tokens(payload: &Payload) -> Vec<String> {
    let mut reader = payload.reader();
    let mut tokens = Vec::new();
    while reader.offset() < payload.len() {
        tokens.push(match reader.next_token().unwrap() {
            Token::Pid(pid) => format!("{}.{}.{}", pid.node.as_str(), pid.id, pid.serial),
            Token::Binary(binary) => format!("{} bytes", binary.len()),
            Token::Atom(atom) => atom.as_str().to_owned(),
            token => format!("{token:?}"),
        });
    }
    tokens
}

#[test]
fn a_session_is_understood() {
    let mut receiver = session(Flags(0xd_07df_7fbd));
    let mut next = |hex: &str| receive(&mut receiver, &bytes(hex)).unwrap();

    let Control::Send { from: Some(from), to: Target::Name(name), message, .. } = next(NODEUP[0]) else {
        panic!()
    };
    assert_eq!((from.node, from.id, from.creation, name.as_str()), (X, 0x36, 0x6b04_7dab, "rex"));
    assert_eq!(tokens(&message), ["Tuple(2)", "x@127.0.0.1.54.0", "features_request"]);
    let Control::Send { to: Target::Name(name), message, .. } = next(NODEUP[1]) else { panic!() };
    assert_eq!(name.as_str(), "global_name_server");
    assert_eq!(tokens(&message)[..3], ["Tuple(2)", "$gen_cast", "Tuple(4)"]);

    for hex in SMALL {
        let Control::Send { to: Target::Pid(to), message, .. } = next(hex) else { panic!() };
        assert_eq!((to.node.as_str(), to.id, to.creation), ("py@127.0.0.1", 42, 7));
        assert_eq!(tokens(&message), ["hello"]);
    }

    let whole = |head: &str, len: usize, from: &mut usize| {
        let mut packet = bytes(head);
        let end = *from + len - packet.len();
        packet.extend((*from..end).map(|i| if i < 200_000 { b"ab"[i % 2] } else { 0 }));
        *from = end;
        packet
    };
    let mut from = 0;
    assert!(receive(&mut receiver, &whole(BIG.0, BIG.1, &mut from)).is_none());
    let mut last = None;
    for (i, (head, len)) in BIG_NEXT.into_iter().enumerate() {
        let mut packet = whole(head, len, &mut from);
        if i == 2 {
            // The pid after the binary: <py@127.0.0.1.42.0>.
            let pid = bytes("5852010000002a0000000000000007");
            let at = packet.len() - pid.len();
            packet[at..].copy_from_slice(&pid);
        }
        assert!(last.is_none());
        last = receive(&mut receiver, &packet);
    }
    let Some(Control::Send { message, .. }) = last else { panic!() };
    assert_eq!(tokens(&message), ["Tuple(3)", "big", "200000 bytes", "py@127.0.0.1.42.0"]);
    assert_eq!(receiver.buffered(), 0);

    let mut next = |hex: &str| receive(&mut receiver, &bytes(hex)).unwrap();
    let Control::Monitor { item: Item::Pid(_), reference: first, .. } = next(SIGNALS[0]) else { panic!() };
    assert_eq!(first.words().len(), 3);
    assert!(matches!(next(SIGNALS[1]), Control::Link { .. }));
    let Control::Exit2 { to: Target::Pid(_), reason, .. } = next(SIGNALS[2]) else { panic!() };
    assert_eq!(tokens(&reason), ["bye"]);
    let Control::UnlinkId { id, .. } = next(SIGNALS[3]) else { panic!() };
    assert_eq!(id.get(), 1);
    let Control::Demonitor { item: Item::Pid(_), reference, .. } = next(SIGNALS[4]) else { panic!() };
    assert_eq!(reference, first);
    let Control::MonitorExit { item: Item::Name(name), reference, reason, .. } = next(SIGNALS[5]) else {
        panic!()
    };
    assert_eq!((name.as_str(), reference.words()), ("t", &[1, 2, 3][..]));
    assert_eq!(tokens(&reason), ["Tuple(2)", "shutdown", "List(1)", "py@127.0.0.1.42.0", "Nil"]);
}

#[test]
fn a_session_without_distribution_header_is_understood() {
    let mut receiver = session(Flags(0xd_075f_5fbd));
    let names = PASS_THROUGH_NODEUP.map(|hex| match receive(&mut receiver, &bytes(hex)).unwrap() {
        Control::Send { to: Target::Name(name), .. } => name.as_str().to_owned(),
        control => panic!("{control:?}"),
    });
    assert_eq!(names, ["rex", "global_name_server"]);
}

#[test]
fn what_it_sends_without_distribution_header_is_sent_on_byte_for_byte() {
    let flags = Flags(0xd_075f_5fbd);
    let (mut receiver, mut sender) = (session(flags), Sender::new(flags));
    for hex in PASS_THROUGH_NODEUP {
        let control = receive(&mut receiver, &bytes(hex)).unwrap();
        sender.push(Outgoing::forward(flags, None, &control).unwrap());
        assert_eq!(drain(&mut sender, 1), packet(&[&bytes(hex)]));
    }
}
