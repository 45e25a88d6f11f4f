//! Small messages beside a large one, on ways that hold all that they are given: as sockets do, which may be large ones.

use std::collections::VecDeque;
use std::time::Duration;

use super::*;
use crate::world::Mono;

const LARGE: usize = 48 << 20;
/// A process that calls, and never waits long before it calls again.
const PAUSE: Duration = Duration::from_micros(200);

fn paced(flags: Flags) -> Sender {
    Sender::new(flags).paced(Pace::new(Pid { node: US, id: 0, serial: 0, creation: 5 }))
}

/// A way to a peer, in virtual time.
struct Way {
    latency: Duration,
    bytes_per_second: usize,
    now: Mono,
    /// When the last byte that it was given is in the peer's hands.
    last: Mono,
    under_way: VecDeque<(Mono, Vec<Bytes>)>,
    receiver: Receiver,
    input: BytesMut,
    /// Answers on their way back.
    answers: VecDeque<(Mono, Reference)>,
    answering: bool,
}

/// What a large message and the small ones beside it took.
struct Took {
    large: Duration,
    /// The longest of the second half of the small ones.
    small: Duration,
}

impl Way {
    fn new(latency: Duration, bytes_per_second: usize) -> Self {
        Self {
            latency,
            bytes_per_second,
            now: Mono(1),
            last: Mono(1),
            under_way: VecDeque::new(),
            receiver: receiver(Flags::VISIBLE),
            input: BytesMut::new(),
            answers: VecDeque::new(),
            answering: true,
        }
    }

    fn send(&mut self, sender: &mut Sender) {
        let now = self.now;
        while sender.has_next() {
            let mut chunks = VecDeque::new();
            sender.transmit_into(1 << 20, &mut chunks, &|| now);
            let len: usize = chunks.iter().map(Bytes::len).sum();
            assert!(len > 0, "who has something to send sends it");
            let took = Duration::from_nanos(len as u64 * 1_000_000_000 / self.bytes_per_second as u64);
            self.last = self.last.max(now) + took;
            self.under_way.push_back((self.last + self.latency, chunks.into()));
        }
    }

    /// What arrives until the next thing happens: messages, by their tag and number.
    fn receive(&mut self) -> Vec<(String, i64)> {
        let mut arrived = Vec::new();
        while let Some((_, chunks)) = self.under_way.pop_front_if(|(at, _)| *at <= self.now) {
            chunks.iter().for_each(|chunk| self.input.extend_from_slice(chunk));
            for received in receive_all(&mut self.receiver, &mut self.input).unwrap() {
                match received {
                    Received::Signal(Control::Monitor { from, item, reference }) => {
                        assert_eq!((item, from.node), (Item::Name(atom("undefined")), US));
                        if self.answering {
                            self.answers.push_back((self.now + self.latency, reference));
                        }
                    }
                    message => {
                        let (_, tag, number, _) = read(&message).unwrap();
                        arrived.push((tag, number));
                    }
                }
            }
        }
        arrived
    }

    /// Sends a large message, and a small one each time that the last one has arrived, until the large one has.
    fn run(&mut self, sender: &mut Sender) -> Took {
        let begun = self.now;
        sender.push(message(Flags::VISIBLE, 1, "large", 0, &Bytes::from(vec![7; LARGE])));
        let (mut next, mut pushed, mut took) = (begun, None, Vec::new());
        loop {
            while let Some((_, reference)) = self.answers.pop_front_if(|(at, _)| *at <= self.now) {
                assert!(sender.answered(&reference, self.now));
            }
            if pushed.is_none() && next <= self.now {
                sender.push(message(Flags::VISIBLE, 2, "small", 1, &Bytes::new()));
                pushed = Some(self.now);
            }
            self.send(sender);
            let times = [
                self.under_way.front().map(|(at, _)| *at),
                self.answers.front().map(|(at, _)| *at),
                pushed.is_none().then_some(next),
            ];
            self.now = self.now.max(times.into_iter().flatten().min().expect("something is to come"));
            for (tag, _) in self.receive() {
                if tag == "large" {
                    took.extend(pushed.map(|pushed| self.now.since(pushed)));
                    let small = took.split_off(took.len() / 2).into_iter().max().unwrap_or_default();
                    return Took { large: self.now.since(begun), small };
                }
                // Or it was the last one of the run before.
                let Some(pushed) = pushed.take() else { continue };
                took.push(self.now.since(pushed));
                next = self.now + PAUSE;
            }
        }
    }
}

/// Runs the same with large messages that do not wait, and with those that do.
fn both(latency: Duration, bytes_per_second: usize) -> (Took, Took) {
    let run = |mut sender: Sender| Way::new(latency, bytes_per_second).run(&mut sender);
    (run(Sender::new(Flags::VISIBLE)), run(paced(Flags::VISIBLE)))
}

#[test]
fn a_small_message_does_not_wait_for_what_a_short_way_would_hold() {
    let (unpaced, paced) = both(Duration::from_micros(50), 1 << 30);
    assert!(unpaced.small > Duration::from_millis(40), "the way is one that holds much: {:?}", unpaced.small);
    assert!(paced.small < Duration::from_micros(600), "{:?}", paced.small);
    assert!(paced.large < unpaced.large * 6 / 5, "{:?} for {:?}", paced.large, unpaced.large);
}

#[test]
fn a_long_way_is_filled_but_no_more() {
    // It takes 4 MB to fill it.
    let (unpaced, paced) = both(Duration::from_millis(20), 100 << 20);
    assert!(unpaced.small > Duration::from_millis(400), "{:?}", unpaced.small);
    assert!(paced.small < Duration::from_millis(60), "{:?}", paced.small);
    assert!(paced.large < unpaced.large * 2, "{:?} for {:?}", paced.large, unpaced.large);
}

#[test]
fn a_way_that_becomes_longer_is_filled_again() {
    let mut sender = paced(Flags::VISIBLE);
    let mut way = Way::new(Duration::from_micros(100), 100 << 20);
    way.run(&mut sender);
    way.latency = Duration::from_millis(5);
    let took = [way.run(&mut sender).large, way.run(&mut sender).large, way.run(&mut sender).large];
    assert!(took[2] < Duration::from_secs(1), "0.5 s alone: {took:?}");
}

#[test]
fn who_does_not_answer_is_waited_for_once() {
    let mut sender = paced(Flags::VISIBLE);
    let mut way = Way::new(Duration::from_micros(50), 1 << 30);
    way.answering = false;
    sender.push(message(Flags::VISIBLE, 1, "large", 0, &Bytes::from(vec![7; LARGE])));
    sender.push(message(Flags::VISIBLE, 2, "small", 1, &Bytes::new()));
    way.send(&mut sender);
    let waiting = sender.queued_bytes();
    assert!(!sender.is_empty() && waiting > LARGE / 2, "{waiting}");
    sender.push(message(Flags::VISIBLE, 2, "small", 2, &Bytes::new()));
    assert!(sender.has_next(), "small ones go on");
    way.send(&mut sender);
    assert_eq!(sender.queued_bytes(), waiting);
    sender.relax();
    assert!(!sender.has_next(), "it may only be slow");
    sender.relax();
    sender.push(message(Flags::VISIBLE, 2, "small", 3, &Bytes::new()));
    way.send(&mut sender);
    assert!(sender.is_empty());
    way.now = Mono(u64::MAX);
    let arrived = way.receive();
    let expected = [("small", 1), ("small", 2), ("small", 3), ("large", 0)];
    assert_eq!(arrived, expected.map(|(tag, number)| (tag.to_owned(), number)));
}

#[test]
fn a_large_message_alone_asks_nothing() {
    let mut sender = paced(Flags::VISIBLE);
    sender.push(message(Flags::VISIBLE, 1, "large", 0, &Bytes::from(vec![7; LARGE])));
    let stream = drain(&mut sender, 1 << 20);
    assert_eq!(packets(&stream).iter().filter(|(tag, _)| *tag == DIST_HEADER).count(), 0);
}

#[test]
fn answers_to_a_peer_that_asks_are_no_reason_to_ask() {
    let mut sender = paced(Flags::VISIBLE);
    sender.push(message(Flags::VISIBLE, 1, "large", 0, &Bytes::from(vec![7; LARGE])));
    let reference = Reference::new(PEER, 6, &[0, 0, 0]).unwrap();
    let control =
        Control::MonitorExit { item: Item::Name(atom("undefined")), to: to(), reference, reason: () };
    Fresh::with(
        Flags::VISIBLE,
        None,
        &control,
        |(), w| {
            w.atom(&atom("noproc"));
            Ok(())
        },
        |signal| sender.push_aside(signal),
    )
    .unwrap();
    let stream = drain(&mut sender, 1 << 20);
    assert_eq!(packets(&stream).iter().filter(|(tag, _)| *tag == DIST_HEADER).count(), 1, "the answer alone");
}

#[test]
fn peers_that_take_no_fragments_or_monitors_are_not_asked() {
    for flag in [Flags::FRAGMENTS, Flags::DIST_MONITOR] {
        let flags = Flags(Flags::VISIBLE.0 & !flag.0);
        let mut sender = paced(flags);
        sender.push(message(flags, 1, "large", 0, &Bytes::from(vec![7; LARGE])));
        sender.push(message(flags, 2, "small", 1, &Bytes::new()));
        let mut chunks = VecDeque::new();
        while sender.has_next() {
            sender.transmit_into(1 << 20, &mut chunks, &Mono::default);
        }
        assert!(sender.is_empty());
    }
}
