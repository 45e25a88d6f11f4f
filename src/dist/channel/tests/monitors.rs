//! Monitors are written by a way of their own: it must be the same on the wire as the one for all signals.

use super::*;
use crate::term::Term;

/// What a sender sends for signals that it is given by `push`, each twice: with new atoms, and with known ones.
fn sent(signals: &[Control<Payload>], push: impl Fn(&mut Sender, &Control<Payload>)) -> Vec<Bytes> {
    let mut sender = Sender::new(Flags::VISIBLE);
    let both = signals.iter().chain(signals);
    both.map(|signal| {
        push(&mut sender, signal);
        assert!(sender.queued_bytes() > 0);
        let packet = sender.transmit(usize::MAX).concat().into();
        assert_eq!(sender.queued_bytes(), 0);
        packet
    })
    .collect()
}

fn as_others(sender: &mut Sender, signal: &Control<Payload>) {
    sender.push(Outgoing::forward(Flags::VISIBLE, Some(&pid(1)), signal).unwrap());
}

#[test]
fn a_monitor_is_sent_as_other_signals_are() {
    let of_peer = Pid { node: PEER, id: 7, serial: 1, creation: u32::MAX };
    let long = atom(&"x".repeat(255));
    let mut signals = Vec::new();
    for item in
        [Item::Pid(of_peer), Item::Pid(pid(2)), Item::Name(atom("rex")), Item::Name(US), Item::Name(long)]
    {
        for words in 1..=5 {
            for node in [US, PEER] {
                let reference = Reference::new(node, 3, &[1, u32::MAX, 3, 4, 5][..words]).unwrap();
                let (from, item) = (pid(1), item.clone());
                signals.push(Control::Monitor {
                    from: from.clone(),
                    item: item.clone(),
                    reference: reference.clone(),
                });
                signals.push(Control::Demonitor { from, item, reference });
            }
        }
    }
    let short = sent(&signals, |sender, signal| assert!(sender.push_monitor(Some(&pid(1)), signal)));
    assert_eq!(short, sent(&signals, as_others));
}

#[test]
fn a_monitor_waits_behind_its_senders_large_message_and_for_who_has_no_atom_cache() {
    let reference = Reference::new(US, 3, &[1]).unwrap();
    let monitor = Control::<Payload>::Monitor { from: pid(1), item: Item::Name(atom("rex")), reference };
    let mut sender = Sender::new(Flags::VISIBLE);
    let message = Payload::encode(&Term::from(Bytes::from(vec![7; 1 << 20]))).unwrap();
    let send = Control::Send { from: Some(pid(1)), to: Target::Name(atom("rex")), message, priority: false };
    as_others(&mut sender, &send);
    assert!(!sender.push_monitor(Some(&pid(1)), &monitor), "in order with what it sent before");
    assert!(sender.push_monitor(Some(&pid(2)), &monitor), "nobody else waits for that");
    let plain = Flags(Flags::VISIBLE.0 & !Flags::DIST_HDR_ATOM_CACHE.0);
    assert!(!Sender::new(plain).push_monitor(Some(&pid(1)), &monitor));
}
