use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::etf::Writer;

fn atom(text: &str) -> Atom {
    Atom::new(text).unwrap()
}

/// Reads a header with what else a packet has behind it: a cache looks at so many bytes at once.
fn read(cache: &mut ReceiveCache, header: &[u8]) -> Result<Vec<Atom>, HeaderError> {
    const TERMS: [u8; 24] = [0xfa; 24];
    let packet = [header, &TERMS].concat();
    let mut input = &packet[..];
    cache.read_header(&mut input)?;
    assert_eq!(input, TERMS, "all of the header is read, and no more");
    let shared = cache.shared_atoms();
    assert_eq!(&shared[..], cache.atoms());
    Ok(shared.to_vec())
}

fn write(cache: &mut SendCache, atoms: &[Atom]) -> Vec<u8> {
    let mut out = Vec::new();
    cache.write_header(atoms, None, &mut out);
    out
}

#[test]
fn the_headers_of_otp_25_build_upon_each_other() {
    let mut cache = ReceiveCache::new();
    // From the packets of OTP 25.2.3 right after nodeup, without their first two bytes.
    let header = b"\x04\x8f\xdc\x00\x7b\x0bx@127.0.0.1\x05\x00\x57\x03rex\x66\x10features_request";
    let atoms = read(&mut cache, header).unwrap();
    assert_eq!(atoms, ["x@127.0.0.1", "", "rex", "features_request"]);

    let header = b"\x09\x07\xfd\xdd\x8e\x0b\x7b\x05\x04\x12global_name_server\x5f\x09$gen_cast\
        \x9d\x0cinit_connect\xbe\x06locker\x1c\x0fno_longer_a_pid\x9a\x0dconnection_id\x46\x0cpy@127.0.0.1";
    let atoms = read(&mut cache, header).unwrap();
    let texts = [
        "x@127.0.0.1",
        "",
        "global_name_server",
        "$gen_cast",
        "init_connect",
        "locker",
        "no_longer_a_pid",
        "connection_id",
        "py@127.0.0.1",
    ];
    assert_eq!(atoms, texts);

    // Two of its messages to the same process: the second one has nothing new.
    let header = b"\x03\x37\x0f\x7b\x46\xcf\x05hello";
    assert_eq!(read(&mut cache, header).unwrap(), ["x@127.0.0.1", "py@127.0.0.1", "hello"]);
    let header = b"\x03\x37\x07\x7b\x46\xcf";
    assert_eq!(read(&mut cache, header).unwrap(), ["x@127.0.0.1", "py@127.0.0.1", "hello"]);
}

#[test]
fn a_header_without_atoms_is_one_byte() {
    assert_eq!(read(&mut ReceiveCache::new(), &[0]).unwrap(), [""; 0]);
    assert_eq!(write(&mut SendCache::new(), &[])[..], [0]);
}

#[test]
fn an_atom_is_spelled_out_once() {
    let mut cache = SendCache::new();
    let first = write(&mut cache, &[atom("rex")]);
    let again = write(&mut cache, &[atom("rex")]);
    assert_eq!(first.len(), 1 + 1 + 1 + 1 + 3);
    assert_eq!(again.len(), 1 + 1 + 1);
    let mut receiver = ReceiveCache::new();
    assert_eq!(read(&mut receiver, &first).unwrap(), ["rex"]);
    assert_eq!(read(&mut receiver, &again).unwrap(), ["rex"]);
}

#[test]
fn long_atoms_have_lengths_of_two_bytes() {
    let long = atom(&"\u{20ac}".repeat(255));
    let atoms = [atom("short"), long, atom("x")];
    let header = write(&mut SendCache::new(), &atoms);
    assert_eq!(header[2] >> 4, LONG_ATOMS, "the half byte after three others");
    assert_eq!(read(&mut ReceiveCache::new(), &header).unwrap(), atoms);
}

#[test]
fn a_header_of_255_atoms_never_fills_a_slot_twice() {
    // More than 2048 atoms in all, so that every slot is taken again and again.
    let (mut sender, mut receiver) = (SendCache::new(), ReceiveCache::new());
    for round in 0..40 {
        let atoms: Vec<Atom> = (0..255).map(|i| atom(&format!("atom_{}", round * 97 + i))).collect();
        let header = write(&mut sender, &atoms);
        // A receiver that fills its table first and resolves the references afterwards sees the same.
        let mut input = &header[..];
        receiver.read_header(&mut input).unwrap();
        let halves: Vec<u8> = header[1..129].iter().flat_map(|byte| [byte & 0xf, byte >> 4]).collect();
        let mut at = 129;
        for (i, expected) in atoms.iter().enumerate() {
            let slot = usize::from(halves[i] & 7) << 8 | usize::from(header[at]);
            assert_eq!(receiver.slots.get(slot as u16), Some(expected));
            at += if halves[i] & 8 == 0 { 1 } else { 2 + usize::from(header[at + 1]) };
        }
    }
}

#[test]
fn atoms_that_are_the_same_as_the_last_time_are_spelled_out_again_if_they_were_pushed_out() {
    let (mut sender, mut receiver, mut writer) = (SendCache::new(), ReceiveCache::new(), Writer::default());
    for round in 0..3 {
        for _ in 0..2 {
            writer.begin(true);
            writer.atom(&atom("same"));
            let mut header = Vec::new();
            sender.write_header(writer.atom_refs(), writer.atom_list(), &mut header);
            assert_eq!(read(&mut receiver, &header).unwrap(), ["same"]);
        }
        for n in 0..2 * SLOTS {
            let header = write(&mut sender, &[atom(&format!("{round}_{n}"))]);
            read(&mut receiver, &header).unwrap();
        }
    }
}

#[test]
fn all_2048_slots_can_be_used() {
    let mut cache = ReceiveCache::new();
    for slot in 0..SLOTS {
        let text = format!("{slot}");
        let mut header = vec![1, NEW_ENTRY | (slot >> 8) as u8, slot as u8, text.len() as u8];
        header.extend(text.as_bytes());
        read(&mut cache, &header).unwrap();
    }
    for slot in 0..SLOTS {
        let atoms = read(&mut cache, &[1, (slot >> 8) as u8, slot as u8]).unwrap();
        assert_eq!(atoms, [format!("{slot}").as_str()]);
    }
}

#[test]
fn a_header_that_breaks_the_protocol_is_refused() {
    let refused = |mut header: &[u8]| ReceiveCache::new().read_header(&mut header).unwrap_err();
    assert_eq!(refused(&[]), HeaderError::Truncated);
    assert_eq!(refused(&[3, 0]), HeaderError::Truncated);
    assert_eq!(refused(&[1, 0x02, 5]), HeaderError::EmptySlot(0x205));
    assert_eq!(refused(&[1, 0x08]), HeaderError::Truncated);
    assert_eq!(refused(&[1, 0x08, 5, 3, b'a', b'b']), HeaderError::Truncated);
    assert_eq!(refused(&[1, 0x08, 5, 2, 0xc0, 0x80]), HeaderError::NotAnAtom(5));
    let mut header = vec![1, 0x18, 5, 1, 0];
    header.extend([b'a'; 256]);
    assert_eq!(refused(&header), HeaderError::NotAnAtom(5));
}

proptest! {
    /// The receiver as a map from slots to texts, and the sender as whatever makes the receiver see the same atoms.
    #[test]
    fn what_the_sender_lists_the_receiver_reads(
        packets in prop::collection::vec(prop::collection::btree_set("[a-c]{0,3}|[a-z]{6}", 0..20), 1..20)
    ) {
        let (mut sender, mut receiver) = (SendCache::new(), ReceiveCache::new());
        let mut model = BTreeMap::<u16, String>::new();
        for packet in packets {
            let atoms: Vec<Atom> = packet.iter().map(|text| atom(text)).collect();
            let header = write(&mut sender, &atoms);
            prop_assert_eq!(&read(&mut receiver, &header).unwrap(), &atoms);

            let mut seen = Vec::new();
            if !atoms.is_empty() {
                let mut at = 1 + atoms.len() / 2 + 1;
                for i in 0..atoms.len() {
                    let half = header[1 + i / 2] >> (4 * (i % 2)) & 0xf;
                    let slot = u16::from(half & 7) * 256 + u16::from(header[at]);
                    at += 1;
                    if half & 8 != 0 {
                        let len = usize::from(header[at]);
                        let text = std::str::from_utf8(&header[at + 1..at + 1 + len]).unwrap();
                        model.insert(slot, text.to_owned());
                        at += 1 + len;
                    }
                    seen.push(model[&slot].clone());
                }
            }
            prop_assert_eq!(seen, packet.into_iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn two_atoms_with_one_home_do_not_push_each_other_out() {
    let texts: Vec<String> = (0..5000).map(|n| format!("atom_{n}")).collect();
    let other = texts[1..].iter().find(|text| home_slot(&atom(text)) == home_slot(&atom(&texts[0]))).unwrap();
    let mut cache = SendCache::new();
    for text in [&texts[0], other] {
        assert!(write(&mut cache, &[atom(text)]).ends_with(text.as_bytes()), "it is spelled out at first");
    }
    for text in [&texts[0], other] {
        assert_eq!(write(&mut cache, &[atom(text)]).len(), 3, "{text}: its number, its flags and its slot");
    }
}

#[test]
fn a_header_like_an_earlier_one_means_what_the_cache_says_now() {
    let (mut cache, mut receiver) = (SendCache::new(), ReceiveCache::new());
    // One more text than there are slots for texts with that home.
    let home = |text: &str| home_slot(&atom(text));
    let texts: Vec<String> = (0..50_000).map(|n| format!("atom_{n}")).collect();
    let same_home = texts.iter().filter(|text| home(text) == home(&texts[0]));
    let crowd: Vec<Atom> = same_home.take(usize::from(PROBES) + 1).map(|text| atom(text)).collect();
    assert_eq!(crowd.len(), usize::from(PROBES) + 1);
    for round in 0..20 {
        // Some of them again and again, so that both ends know it by heart, and then another one takes its slot.
        for one in &crowd {
            let atoms = [one.clone(), atom("b")];
            for _ in 0..=round % 5 {
                let header = write(&mut cache, &atoms);
                assert_eq!(read(&mut receiver, &header).unwrap(), atoms);
            }
        }
        // Right after the header that is known.
        let (first, last) = (&crowd[0], &crowd[usize::from(PROBES)]);
        for one in [first, first, first, first, last, first, last, last, last, first, last] {
            let atoms = [one.clone(), atom("b")];
            let header = write(&mut cache, &atoms);
            assert_eq!(read(&mut receiver, &header).unwrap(), atoms);
        }
        // More different headers than are kept.
        for n in 0..round {
            let atoms = [atom("b"), atom(&texts[100 + n])];
            let header = write(&mut cache, &atoms);
            assert_eq!(read(&mut receiver, &header).unwrap(), atoms);
        }
    }
}
