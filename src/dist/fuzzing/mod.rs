//! What the fuzz targets run: bytes as a sequence of operations on the cores, with what must hold after each of them.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};

use crate::etf::Payload;
use crate::term::Atom;

use super::channel::{ChannelError, Limits, Next, Outgoing, OutgoingError, Received, Receiver, Sender};
use super::handshake::{Acceptor, AcceptorStep, Answer, Initiator, InitiatorStep, Local};
use super::{Control, Flags};

const PEER: Atom = Atom::from_static("a@h");

/// The peer of [`frames`] sends what these bytes say: one byte for the flags, then chunks, each with a 16-bit length in front.
///
/// Whatever a receiver takes for a signal can be read, sent on, and received again. Returns how many there were.
pub(crate) fn frames(mut data: &[u8]) -> usize {
    let Some((&choice, rest)) = data.split_first() else { return 0 };
    data = rest;
    let dropped = match choice % 4 {
        0 => Flags::default(),
        1 => Flags::FRAGMENTS,
        2 => Flags::DIST_HDR_ATOM_CACHE | Flags::FRAGMENTS,
        _ => Flags::UNLINK_ID | Flags::EXIT_PAYLOAD,
    };
    let flags = Flags(Flags::VISIBLE.0 & !dropped.0);
    let limits = Limits {
        frame_len: 1 << 16,
        message_len: 1 << 16,
        open_messages: 8,
        buffered_len: 1 << 17,
        ..Limits::default()
    };
    let mut receiver = Receiver::new(PEER, flags, limits);
    let (mut forwarder, mut next) = (Sender::new(flags), Receiver::new(PEER, flags, Limits::default()));
    // It has what a message begins with in common with the last one, where the other reads each as a whole.
    let mut keeping = Receiver::new(PEER, flags, limits);
    let mut kept = BytesMut::new();
    let (mut input, mut signals) = (BytesMut::new(), 0);
    while data.len() >= 2 {
        let len = usize::from(data.get_u16()).min(data.len());
        let (chunk, rest) = data.split_at(len);
        data = rest;
        input.extend_from_slice(chunk);
        kept.extend_from_slice(chunk);
        loop {
            let received = receiver.receive(&mut input);
            assert_eq!(said(&received), said(&receive_keeping(&mut keeping, &mut kept)));
            match received {
                Ok(Some(Received::Signal(control))) => {
                    signals += 1;
                    forward(&control, flags, &mut forwarder, &mut next);
                }
                Ok(Some(Received::Tick)) => {}
                Ok(None) => break,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    return signals;
                }
            }
        }
        assert!(receiver.wants(&input) <= 4 + (1 << 16));
        assert!(input.len() < 4 + (1 << 16), "a whole packet is taken");
    }
    signals
}

fn said(received: &Result<Option<Received>, ChannelError>) -> String {
    match received {
        Ok(received) => format!("{received:?}"),
        Err(error) => error.to_string(),
    }
}

/// As [`Receiver::receive`], in the way of a node: of a message it takes the message alone.
fn receive_keeping(receiver: &mut Receiver, input: &mut BytesMut) -> Result<Option<Received>, ChannelError> {
    Ok(match receiver.receive_next(input)? {
        Next::Tick => Some(Received::Tick),
        Next::Signal => receiver.signal().as_mut().map(|signal| {
            let whole = signal.clone();
            if let Control::Send { message, .. } = signal {
                *message = Payload::none();
            }
            Received::Signal(whole)
        }),
        Next::Fragment | Next::Incomplete => None,
    })
}

fn forward(control: &Control, flags: Flags, sender: &mut Sender, receiver: &mut Receiver) {
    match Outgoing::forward(flags, None, control) {
        Ok(outgoing) => sender.push(outgoing),
        Err(OutgoingError::NotAgreed(_)) => return,
        Err(error) => panic!("{control:?}: {error}"),
    }
    let mut stream = BytesMut::from(sender.transmit(usize::MAX).concat().as_slice());
    assert!(sender.is_empty() && sender.queued_bytes() == 0);
    let received = receiver.receive(&mut stream);
    let Ok(Some(Received::Signal(received))) = received else { panic!("{control:?} became {received:?}") };
    match (control, &received) {
        // The older form says less.
        (Control::UnlinkId { .. }, Control::Unlink { .. }) => assert!(!flags.contains(Flags::UNLINK_ID)),
        _ => assert_eq!(std::mem::discriminant(&received), std::mem::discriminant(control)),
    }
    assert!(stream.is_empty());
}

/// Two ends shake hands over a line that does what these bytes say: deliver, drop, repeat, change or replace messages.
///
/// Without the same cookie on both ends, neither takes the other for its peer. Returns how many ends finished.
pub(crate) fn handshake(data: &[u8]) -> usize {
    let mut data = data.iter().copied();
    let Some(choice) = data.next() else { return 0 };
    let same_cookie = choice & 1 != 0;
    let answer = match choice >> 1 & 7 {
        0 => Answer::Nok,
        1 => Answer::NotAllowed,
        2 | 3 => Answer::Alive,
        4 => Answer::OkSimultaneous,
        _ => Answer::Ok,
    };
    let initiator = if choice & 0x10 != 0 {
        Local::unnamed(Atom::from_static("h"), Flags::VISIBLE)
    } else {
        Local::new(PEER, 4, Flags::HIDDEN)
    };
    let (Ok(initiator), Ok(acceptor)) = (initiator, Local::new("b@h".into(), 5, Flags::VISIBLE)) else {
        return 0;
    };
    let cookie: &[u8] = if same_cookie { b"cookie" } else { b"another" };
    let (initiator, to_acceptor) = Initiator::new(initiator, "b@h".into(), b"cookie", 1);
    let (mut initiator, mut acceptor) = (Some(initiator), Some(Acceptor::new(acceptor)));
    let (mut to_acceptor, mut to_initiator) = (VecDeque::from(to_acceptor), VecDeque::new());
    let mut established = 0;

    while let Some(operation) = data.next() {
        // The line.
        let queue = if operation & 1 == 0 { &mut to_acceptor } else { &mut to_initiator };
        let mut message = match operation >> 1 & 7 {
            0 => data.by_ref().take(usize::from(operation >> 4) * 4).collect(),
            1 => queue.front().cloned().unwrap_or_default(),
            _ => match queue.pop_front() {
                Some(message) => message,
                None => continue,
            },
        };
        match operation >> 1 & 7 {
            2 => continue,
            3 => message.truncate(usize::from(operation >> 4)),
            4 => {
                let (at, value) = (data.next().unwrap_or(0), data.next().unwrap_or(0));
                if let Some(byte) = message.get_mut(usize::from(at)) {
                    *byte = value;
                }
            }
            5 => message.extend(data.next()),
            _ => {}
        }
        // The end that gets the message.
        if operation & 1 == 0 {
            let Some(state) = acceptor.take() else { continue };
            let step = state.receive(&message);
            let introduction = match step {
                Ok(AcceptorStep::Continue(next, send)) => {
                    acceptor = Some(next);
                    to_initiator.extend(send);
                    continue;
                }
                Ok(AcceptorStep::Established(peer, send)) => {
                    assert!(
                        !peer.flags.contains(Flags::NAME_ME)
                            && peer.peer_flags.missing(Flags::MANDATORY_26).is_none()
                    );
                    established += 1;
                    to_initiator.extend(send);
                    continue;
                }
                Ok(AcceptorStep::NameMe(request)) => request.name(Atom::from_static("z@h"), 9).ok(),
                Ok(AcceptorStep::Introduced(introduction)) => Some(introduction),
                Err(error) => {
                    to_initiator.extend(error.reply().map(<[u8]>::to_vec));
                    None
                }
            };
            match introduction.map(|introduction| introduction.answer(answer, cookie, 2)) {
                Some(Ok((next, send))) => {
                    acceptor = Some(next);
                    to_initiator.extend(send);
                }
                Some(Err(error)) => to_initiator.extend(error.reply().map(<[u8]>::to_vec)),
                None => {}
            }
        } else {
            let Some(state) = initiator.take() else { continue };
            match state.receive(&message) {
                Ok(InitiatorStep::Continue(next, send)) => {
                    initiator = Some(next);
                    to_acceptor.extend(send);
                }
                Ok(InitiatorStep::Alive(question)) => {
                    let (next, send) = question.replace();
                    initiator = Some(next);
                    to_acceptor.extend(send);
                }
                Ok(InitiatorStep::Established(peer)) => {
                    assert_eq!(peer.peer, "b@h");
                    established += 1;
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
    assert!(same_cookie || established == 0, "a wrong cookie was accepted");
    established
}

#[cfg(test)]
mod tests;
