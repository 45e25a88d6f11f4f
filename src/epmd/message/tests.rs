use super::*;

#[test]
fn a_registration_is_what_erl_sends() {
    // What the erl_epmd of OTP 25 sent for a node one@127.0.0.1 that listens on 37071, taken from its socket.
    let sent = b"\x00\x10x\x90\xcfM\x00\x00\x06\x00\x05\x00\x03one\x00\x00";
    let registration = Registration { lowest: 5, ..Registration::new("one", 37071) };
    assert_eq!(Request::Alive2(registration.clone()).encode().unwrap(), sent);
    assert_eq!(Request::decode(&sent[2..]), Ok(Request::Alive2(registration)));
}

#[test]
fn answers_to_registrations_are_those_of_the_stock_daemon() {
    // Answers of the epmd of OTP 25, to registrations with highest version 6, then 5, then refused ones.
    let accepted = Alive2Answer { result: 0, creation: 0x6b04_7a6d };
    let refused = Alive2Answer { result: 1, creation: REFUSED_CREATION };
    let golden: [(_, u16, &[u8]); 3] = [
        (accepted, 6, b"v\x00\x6b\x04\x7a\x6d"),
        (refused, 6, b"v\x01\x00\x00\x00c"),
        (refused, 5, b"y\x01\x00c"),
    ];
    for (answer, highest, bytes) in golden {
        assert_eq!(answer.encode(highest), bytes);
        assert_eq!(Alive2Answer::decode(bytes), Ok(answer));
    }
    // The same daemon gave b the creation …597 and answered 1, then …598, then …599 and answered 3.
    for (creation, short) in [(1_795_455_597, 1), (1_795_455_598, 2), (1_795_455_599, 3)] {
        assert_eq!(Alive2Answer { result: 0, creation }.encode(5), [b'y', 0, 0, short]);
    }
}

#[test]
fn answers_to_port_please_are_those_of_the_stock_daemon() {
    let golden = b"w\x00\x03\xe9M\x00\x00\x06\x00\x06\x00\x01a\x00\x00";
    let registration = Registration::new("a", 1001);
    assert_eq!(encode_port2(Some(&registration)), golden);
    assert_eq!(decode_port2(golden), Ok(Some(registration)));
    assert_eq!(encode_port2(None), b"w\x01");
    assert_eq!(decode_port2(b"w\x01"), Ok(None));
}

#[test]
fn names_of_the_stock_daemon_are_understood() {
    let golden = b"\x00\x00_1name c at port 1003\nname a at port 1001\n";
    let names = Names::decode(golden).unwrap();
    assert_eq!(names.epmd_port, 24369);
    assert_eq!(names.nodes, [("c".to_owned(), 1003), ("a".to_owned(), 1001)]);
    let odd = Names::decode(b"\0\0\0\0name x at port y at port 5\n").unwrap();
    assert_eq!(odd.nodes, [("x at port y".to_owned(), 5)], "a name may hold anything");
}

#[test]
fn answers_that_are_none_say_where_they_go_wrong() {
    assert_eq!(
        Names::decode(b"\0\0"),
        Err(MessageError::Truncated { field: "daemon's port", offset: 0 }),
        "a daemon that says too little"
    );
    assert_eq!(
        Names::decode(b"\0\0\0\0name a at port 1\nHTTP/1.1\n"),
        Err(MessageError::BadLine { line: 2 })
    );
    assert_eq!(Names::decode(b"\0\0\0\0name a at port 65536\n"), Err(MessageError::BadLine { line: 1 }));
    assert_eq!(Alive2Answer::decode(b"HTTP"), Err(MessageError::Unknown { tag: b'H' }));
    assert_eq!(decode_port2(b"HTTP"), Err(MessageError::Unknown { tag: b'H' }));
}

#[test]
fn an_answer_is_incomplete_until_its_last_byte() {
    let mut registration = Registration::new("a", 1001);
    registration.extra = b"x\0y".to_vec();
    let answer = encode_port2(Some(&registration));
    for len in 0..answer.len() {
        assert!(matches!(decode_port2(&answer[..len]), Err(MessageError::Truncated { .. })), "{len} bytes");
    }
    assert_eq!(decode_port2(&answer), Ok(Some(registration)));
    for answer in
        [Alive2Answer { result: 0, creation: 4 }.encode(6), Alive2Answer { result: 0, creation: 4 }.encode(5)]
    {
        for len in 0..answer.len() {
            assert!(matches!(Alive2Answer::decode(&answer[..len]), Err(MessageError::Truncated { .. })));
        }
    }
}

#[test]
fn requests_that_the_stock_daemon_closes_upon_are_none() {
    // Each of these was closed without an answer by the epmd of OTP 25.
    assert_eq!(Request::decode(b""), Err(MessageError::Truncated { field: "tag", offset: 0 }));
    assert_eq!(Request::decode(b"Q"), Err(MessageError::Unknown { tag: b'Q' }));
    assert_eq!(Request::decode(b"z"), Err(MessageError::EmptyName));
    assert_eq!(Request::decode(b"z\0"), Err(MessageError::EmptyName));
    assert_eq!(Request::decode(b"za\0b"), Err(MessageError::NulInName { offset: 1 }));
    assert_eq!(Request::decode(b"s"), Err(MessageError::EmptyName));
    assert_eq!(Request::decode(b"x\x03\xe8M\0\0\x06\0\x06\0\0\0\0"), Err(MessageError::EmptyName));
    assert_eq!(
        Request::decode(b"x\x03\xe8M\0\0\x06\0\x06\0\x03a\0b\0\0"),
        Err(MessageError::NulInName { offset: 1 })
    );
    assert_eq!(
        Request::decode(b"x\x03\xe8M\0\0\x06\0\x06\0\x04abc"),
        Err(MessageError::Truncated { field: "name", offset: 11 })
    );
    assert_eq!(
        Request::decode(b"x\x03\xe8M\0\0\x06\0\x06\0\x01a\0\x01"),
        Err(MessageError::Truncated { field: "extra", offset: 14 })
    );
    assert_eq!(Request::decode(&[b'n'; 3058]), Err(MessageError::TooLong { len: 3058 }));
}

#[test]
fn requests_that_the_stock_daemon_answers_are_understood() {
    assert_eq!(Request::decode(b"za\0"), Ok(Request::PortPlease2(b"a".to_vec())));
    assert_eq!(Request::decode(b"nxx"), Ok(Request::Names));
    assert_eq!(Request::decode(&[b'n'; 3057]), Ok(Request::Names));
    assert_eq!(Request::decode(b"d"), Ok(Request::Dump));
    assert_eq!(Request::decode(b"k"), Ok(Request::Kill));
    assert_eq!(Request::decode(b"sa"), Ok(Request::Stop(b"a".to_vec())));
}

#[test]
fn a_request_that_no_daemon_takes_is_not_sent() {
    assert_eq!(Request::PortPlease2(Vec::new()).encode(), Err(MessageError::EmptyName));
    assert_eq!(Request::Stop(b"a\0".to_vec()).encode(), Err(MessageError::NulInName { offset: 1 }));
    let mut registration = Registration::new("a", 1);
    registration.extra = vec![0; 70_000];
    assert_eq!(Request::Alive2(registration).encode(), Err(MessageError::TooLong { len: 70_014 }));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_decoded_without_a_panic(bytes: Vec<u8>) {
        let _ = (Request::decode(&bytes), Alive2Answer::decode(&bytes), decode_port2(&bytes), Names::decode(&bytes));
    }

    #[test]
    fn a_request_survives_the_wire(name in "[^\0]{1,255}", port: u16, extra: [u8; 9], kind in 0..6) {
        let mut registration = Registration::new(&name, port);
        registration.extra = extra.to_vec();
        let name = name.into_bytes();
        let request = match kind {
            0 => Request::Alive2(registration),
            1 => Request::PortPlease2(name),
            2 => Request::Names,
            3 => Request::Dump,
            4 => Request::Kill,
            _ => Request::Stop(name),
        };
        let bytes = request.encode().unwrap();
        let (len, body) = bytes.split_first_chunk::<2>().unwrap();
        assert_eq!(usize::from(u16::from_be_bytes(*len)), body.len());
        assert_eq!(Request::decode(body), Ok(request));
    }
}
