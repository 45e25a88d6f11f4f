use std::num::NonZeroU64;

use bytes::Bytes;

use super::*;
use crate::dist::Flags;
use crate::dist::channel::OutgoingError;
use crate::etf::{Limits, Token, Writer};

const PEER: Atom = Atom::from_static("a@h");

fn pid(node: &str, id: u32) -> Pid {
    Pid { node: Atom::new(node).unwrap(), id, serial: 0, creation: 3 }
}

fn mine() -> Pid {
    pid("me@h", 1)
}

fn theirs() -> Pid {
    pid("a@h", 2)
}

fn reference() -> Reference {
    Reference::new(PEER, 3, &[1, 2, 3]).unwrap()
}

fn decode_as(bytes: &[u8], flags: Flags) -> Result<Control, ControlError> {
    let input = Bytes::copy_from_slice(bytes);
    let judge = Judge { peer: &PEER, flags, limits: &Limits::default() };
    let mut control = None;
    let len = Control::decode(&input, &[], &judge, &mut control)?;
    assert_eq!(len, bytes.len());
    Ok(control.unwrap())
}

fn decode(bytes: &[u8]) -> Result<Control, ControlError> {
    decode_as(bytes, Flags::VISIBLE)
}

/// A tuple, written element by element.
fn tuple(len: usize, elements: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::new();
    w.tuple(len).unwrap();
    elements(&mut w);
    w.finish().into_bytes().to_vec()
}

#[test]
fn forms_with_a_trace_token_mean_what_the_plain_ones_mean() {
    // The token that OTP 25 sends: {1,5,1,<pid>,0}.
    let token = |w: &mut Writer| {
        w.tuple(5).unwrap();
        w.integer(1);
        w.integer(5);
        w.integer(1);
        w.pid(&theirs());
        w.integer(0);
    };
    type Elements = fn(&mut Writer);
    let cases: [(i64, i64, usize, Elements, Elements); 9] = [
        (
            2,
            12,
            3,
            |w| {
                w.atom(&Atom::from_static(""));
                w.pid(&mine())
            },
            |_| (),
        ),
        (
            3,
            13,
            3,
            |w| {
                w.pid(&theirs());
                w.pid(&mine())
            },
            |w| w.integer(9),
        ),
        (
            6,
            16,
            4,
            |w| {
                w.pid(&theirs());
                w.nil();
                w.atom(&PEER)
            },
            |_| (),
        ),
        (
            8,
            18,
            3,
            |w| {
                w.pid(&theirs());
                w.pid(&mine())
            },
            |w| w.integer(9),
        ),
        (
            22,
            23,
            3,
            |w| {
                w.pid(&theirs());
                w.pid(&mine())
            },
            |_| (),
        ),
        (
            24,
            25,
            3,
            |w| {
                w.pid(&theirs());
                w.pid(&mine())
            },
            |_| (),
        ),
        (
            26,
            27,
            3,
            |w| {
                w.pid(&theirs());
                w.pid(&mine())
            },
            |_| (),
        ),
        (
            31,
            32,
            5,
            |w| {
                w.reference(&reference());
                w.pid(&mine());
                w.integer(3);
                w.pid(&theirs())
            },
            |_| (),
        ),
        (
            33,
            34,
            3,
            |w| {
                w.pid(&theirs());
                w.reference(&reference())
            },
            |_| (),
        ),
    ];
    for (plain, with_token, len, elements, reason) in cases {
        let within = if plain == 3 || plain == 8 { 1 } else { 0 };
        let one = tuple(len + within, |w| {
            w.integer(plain);
            elements(w);
            reason(w)
        });
        let other = tuple(len + within + 1, |w| {
            w.integer(with_token);
            elements(w);
            token(w);
            reason(w)
        });
        let (one, other) = (decode(&one).unwrap(), decode(&other).unwrap());
        assert_eq!(one.wants_payload(), other.wants_payload(), "{plain}");
        let term = |mut control: Control| {
            let following = Payload::new(Bytes::from_static(b"\x61\x09"), Vec::new());
            if control.wants_payload() {
                control.set_payload(following);
            }
            let token = |payload: Payload| Ok::<_, ()>(format!("{:?}", payload.reader().next_token()));
            format!("{:?}", control.try_map(token).unwrap())
        };
        assert_eq!(term(one), term(other), "{plain}");
    }

    let request = |op, token: &dyn Fn(&mut Writer)| {
        tuple(if op == 29 { 6 } else { 7 }, |w| {
            w.integer(op);
            w.reference(&reference());
            w.pid(&theirs());
            w.pid(&theirs());
            w.tuple(3).unwrap();
            w.atom(&Atom::from_static("m"));
            w.atom(&Atom::from_static("f"));
            w.integer(2);
            w.nil();
            token(w);
        })
    };
    for bytes in [request(29, &|_| ()), request(30, &token)] {
        let Control::SpawnRequest(request) = decode(&bytes).unwrap() else { panic!() };
        let SpawnRequest { id, module, arity, options, arguments, .. } = *request;
        assert_eq!((id, module.as_str(), arity), (reference(), "m", 2));
        assert_eq!(options.reader().next_token(), Ok(Token::Nil));
        assert!(arguments.is_empty(), "they follow");
    }
}

#[test]
fn priority_signals_arrive_as_the_signals_that_they_hasten() {
    let alt = |flags: i64, to: &dyn Fn(&mut Writer)| {
        let bytes = tuple(4, |w| {
            w.integer(37);
            w.integer(flags);
            w.pid(&theirs());
            to(w)
        });
        decode(&bytes).unwrap()
    };
    // Seen from OTP 29: {37,4,From,Ref} and {37,9,From,name}.
    let Control::Send { to: Target::Alias(alias), priority: false, .. } =
        alt(4, &|w| w.reference(&reference()))
    else {
        panic!()
    };
    assert_eq!(alias, reference());
    let Control::Send { to: Target::Name(name), priority: true, .. } = alt(9, &|w| w.atom(&PEER)) else {
        panic!()
    };
    assert_eq!(name, PEER);
    let Control::Send { to: Target::Pid(to), priority: true, .. } = alt(1, &|w| w.pid(&mine())) else {
        panic!()
    };
    assert_eq!(to, mine());
    let Control::Exit2 { to: Target::Pid(_), priority: true, .. } = alt(17, &|w| w.pid(&mine())) else {
        panic!()
    };

    let bytes = tuple(4, |w| {
        w.integer(37);
        w.integer(1);
        w.pid(&theirs());
        w.pid(&mine())
    });
    let not_agreed = decode_as(&bytes, Flags(Flags::VISIBLE.0 & !Flags::ALTACT_SIG.0));
    assert_eq!(not_agreed.unwrap_err(), ControlError::NotAgreed(37));
    let with_token = tuple(5, |w| {
        w.integer(37);
        w.integer(3);
        w.pid(&theirs());
        w.pid(&mine());
        w.nil()
    });
    assert!(decode(&with_token).unwrap().wants_payload());
    let token_unannounced = tuple(5, |w| {
        w.integer(37);
        w.integer(1);
        w.pid(&theirs());
        w.pid(&mine());
        w.nil()
    });
    assert_eq!(decode(&token_unannounced).unwrap_err(), ControlError::Arity { operation: 37, len: 5 });
}

#[test]
fn what_closes_the_link_in_otp_is_an_error() {
    assert_eq!(decode(b"\x61\x05").unwrap_err(), ControlError::NoOperation);
    assert_eq!(decode(b"\x68\x00").unwrap_err(), ControlError::NoOperation);
    assert_eq!(decode(b"\x68\x01\x77\x01a").unwrap_err(), ControlError::NoOperation);
    assert_eq!(decode(b"\x68\x01\x62\xff\xff\xff\xff").unwrap_err(), ControlError::NoOperation);
    assert_eq!(decode(b"\x68\x01\x61\x63").unwrap_err(), ControlError::UnknownOperation(99));
    assert_eq!(decode(b"\x68\x01\x61\x05").unwrap_err(), ControlError::UnknownOperation(5), "NODE_LINK");
    assert_eq!(
        decode(b"\x68\x02\x61\x01\x61\x01").unwrap_err(),
        ControlError::Arity { operation: 1, len: 2 }
    );
    assert!(matches!(decode(b"\x68\x03\x61\x01"), Err(ControlError::Undecodable(_))));

    let element = |bytes: &[u8]| match decode(bytes).unwrap_err() {
        ControlError::Element { operation, .. } => operation,
        error => panic!("{error}"),
    };
    let unlink = |id: u64| {
        tuple(4, |w| {
            w.integer(35);
            w.unsigned(id);
            w.pid(&theirs());
            w.pid(&mine())
        })
    };
    assert_eq!(element(&unlink(0)), 35);
    let name = tuple(4, |w| {
        w.integer(6);
        w.pid(&theirs());
        w.nil();
        w.integer(7)
    });
    assert_eq!(element(&name), 6);
    let not_mfa = tuple(6, |w| {
        w.integer(29);
        w.reference(&reference());
        w.pid(&theirs());
        w.pid(&theirs());
        w.tuple(2).unwrap();
        w.atom(&PEER);
        w.atom(&PEER);
        w.nil();
    });
    assert_eq!(element(&not_mfa), 29);

    let unlink = tuple(3, |w| {
        w.integer(4);
        w.pid(&theirs());
        w.pid(&mine())
    });
    assert_eq!(decode(&unlink).unwrap_err(), ControlError::NotAgreed(4));
    let older = decode_as(&unlink, Flags::MANDATORY_25).unwrap();
    assert!(matches!(older, Control::Unlink { .. }));
}

#[test]
fn a_process_of_a_third_node_cannot_link_monitor_or_exit() {
    let third = pid("c@h", 9);
    for op in [1, 24, 26] {
        let bytes = tuple(3, |w| {
            w.integer(op);
            w.pid(&third);
            w.pid(&mine())
        });
        let error = ControlError::ForeignSender { operation: op as u8, node: third.node.clone() };
        assert_eq!(decode(&bytes).unwrap_err(), error);
    }
    for op in [3, 8, 19, 20, 35, 36] {
        let bytes = tuple(4, |w| {
            w.integer(op);
            if op >= 35 {
                w.integer(1);
            }
            w.pid(&third);
            w.pid(&mine());
            if op < 35 {
                w.reference(&reference());
            }
        });
        let error = ControlError::ForeignSender { operation: op as u8, node: third.node.clone() };
        assert_eq!(decode(&bytes).unwrap_err(), error);
    }
    let forwarded = tuple(3, |w| {
        w.integer(22);
        w.pid(&third);
        w.pid(&mine())
    });
    assert!(decode(&forwarded).is_ok(), "a message may come from anyone");
}

#[test]
fn unlink_ids_have_64_bits() {
    for id in [1, 255, 256, 1 << 32, u64::MAX >> 1, 1 << 63, u64::MAX] {
        let bytes = tuple(4, |w| {
            w.integer(36);
            w.unsigned(id);
            w.pid(&theirs());
            w.pid(&mine())
        });
        let Control::UnlinkIdAck { id: decoded, .. } = decode(&bytes).unwrap() else { panic!() };
        assert_eq!(decoded.get(), id);
    }
}

/// The operation and length of the tuple that a control message is sent as.
fn sent_as(control: &Control<()>, flags: Flags) -> Result<(u8, u8, bool), OutgoingError> {
    let mut w = Writer::new();
    let flags = flags | Flags::FRAGMENTS;
    let control_len = control.encode(flags, &mut w)?.encode(flags, &mut w, |(), w| {
        w.atom(&PEER);
        Ok(())
    })?;
    let bytes = w.finish().into_bytes();
    assert_eq!((bytes[0], bytes[2]), (104, 97));
    Ok((bytes[3], bytes[1], control_len < bytes.len()))
}

#[test]
fn older_peers_get_older_forms() {
    let old = Flags::MANDATORY_25;
    let new = Flags::VISIBLE;
    let send = |to, priority| Control::Send { from: Some(mine()), to, message: (), priority };
    let exit2 = |to, priority| Control::Exit2 { from: mine(), to, reason: (), priority };
    let to_pid = || Target::Pid(theirs());
    let exit = Control::Exit { from: mine(), to: theirs(), reason: () };
    let down =
        Control::MonitorExit { item: Item::Name(PEER), to: theirs(), reference: reference(), reason: () };
    let unlink = Control::UnlinkId { id: NonZeroU64::MIN, from: mine(), to: theirs() };
    let alias = || Target::Alias(reference());

    for (control, new_form, old_form) in [
        (send(to_pid(), false), (22, 3, true), Some((2, 3, true))),
        (send(to_pid(), true), (37, 4, true), Some((2, 3, true))),
        (send(Target::Name(PEER), false), (6, 4, true), Some((6, 4, true))),
        (send(alias(), false), (33, 3, true), None),
        (exit, (24, 3, true), Some((3, 4, false))),
        (exit2(to_pid(), false), (26, 3, true), Some((8, 4, false))),
        (exit2(to_pid(), true), (37, 4, true), Some((8, 4, false))),
        (exit2(alias(), false), (37, 4, true), None),
        (down, (28, 4, true), Some((21, 5, false))),
        (unlink, (35, 4, false), Some((4, 3, false))),
    ] {
        assert_eq!(sent_as(&control, new).unwrap(), new_form, "{control:?}");
        assert_eq!(sent_as(&control, old).ok(), old_form, "{control:?}");
    }
    let reply =
        Control::SpawnReply { id: reference(), to: theirs(), link: true, monitor: true, result: Err(PEER) };
    assert_eq!(sent_as(&reply, old).unwrap_err(), OutgoingError::NotAgreed(Flags::SPAWN));
}
