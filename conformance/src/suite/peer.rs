//! A scripted peer: a connection that is up, with signals going out as bytes and coming in as terms.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::handshake::{self, Challenge, FRAGMENTS, HEADER, Me};
use crate::target::Target;
use crate::term::{Pid, Reference, Term, number, take, tuple};
use crate::wire::{CLOSING, LOOK, PATIENCE, Sender, Wire, WireError};
use crate::{Failure, seen};

/// The control messages that the suite names.
pub(crate) mod op {
    pub(crate) const LINK: i64 = 1;
    pub(crate) const SEND: i64 = 2;
    pub(crate) const EXIT: i64 = 3;
    pub(crate) const UNLINK: i64 = 4;
    pub(crate) const REG_SEND: i64 = 6;
    pub(crate) const GROUP_LEADER: i64 = 7;
    pub(crate) const EXIT2: i64 = 8;
    pub(crate) const SEND_TT: i64 = 12;
    pub(crate) const EXIT_TT: i64 = 13;
    pub(crate) const REG_SEND_TT: i64 = 16;
    pub(crate) const EXIT2_TT: i64 = 18;
    pub(crate) const MONITOR: i64 = 19;
    pub(crate) const DEMONITOR: i64 = 20;
    pub(crate) const MONITOR_EXIT: i64 = 21;
    pub(crate) const SEND_SENDER: i64 = 22;
    pub(crate) const SEND_SENDER_TT: i64 = 23;
    pub(crate) const PAYLOAD_EXIT: i64 = 24;
    pub(crate) const PAYLOAD_EXIT_TT: i64 = 25;
    pub(crate) const PAYLOAD_EXIT2: i64 = 26;
    pub(crate) const PAYLOAD_EXIT2_TT: i64 = 27;
    pub(crate) const PAYLOAD_MONITOR_EXIT: i64 = 28;
    pub(crate) const SPAWN_REQUEST: i64 = 29;
    pub(crate) const SPAWN_REQUEST_TT: i64 = 30;
    pub(crate) const SPAWN_REPLY: i64 = 31;
    pub(crate) const SPAWN_REPLY_TT: i64 = 32;
    pub(crate) const ALIAS_SEND: i64 = 33;
    pub(crate) const ALIAS_SEND_TT: i64 = 34;
    pub(crate) const UNLINK_ID: i64 = 35;
    pub(crate) const UNLINK_ID_ACK: i64 = 36;
    pub(crate) const ALTACT: i64 = 37;
}

/// A signal of the node.
#[derive(Debug, Clone)]
pub(crate) struct Signal {
    /// The control tuple, its number first.
    pub(crate) control: Vec<Term>,
    /// The payload, not read yet.
    pub(crate) payload: Vec<u8>,
    atoms: Vec<String>,
}

impl Signal {
    pub(crate) fn op(&self) -> i64 {
        match self.control.first() {
            Some(Term::Int(op)) => *op,
            _ => -1,
        }
    }

    /// The element of the control tuple with this index, the number being 0.
    pub(crate) fn at(&self, index: usize) -> &Term {
        static NIL: Term = Term::List(Vec::new(), None);
        self.control.get(index).unwrap_or(&NIL)
    }

    /// The payload as a term.
    pub(crate) fn term(&self) -> Result<Term, Failure> {
        let mut rest = &self.payload[..];
        Term::read(&mut rest, &self.atoms).map_err(|error| seen(format!("a payload with {error}")))
    }

    /// The reason of an exit or a DOWN.
    pub(crate) fn reason(&self) -> Result<Term, Failure> {
        match self.op() {
            op::EXIT | op::EXIT2 => Ok(self.at(3).clone()),
            op::MONITOR_EXIT | op::EXIT_TT => Ok(self.at(4).clone()),
            _ => self.term(),
        }
    }
}

/// A packet of the node: its type, and where it is one of several, which.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet {
    pub(crate) kind: u8,
    pub(crate) sequence: u64,
    pub(crate) fragment: u64,
    pub(crate) len: usize,
}

struct Open {
    left: u64,
    signal: Signal,
}

/// A connection that is up.
pub(crate) struct Peer {
    pub(crate) wire: Wire,
    pub(crate) me: Me,
    pub(crate) node: Challenge,
    pub(crate) ticks: Vec<Instant>,
    pub(crate) packets: Vec<Packet>,
    slots: Vec<Option<String>>,
    open: BTreeMap<u64, Open>,
    backlog: VecDeque<Signal>,
    numbers: u32,
}

impl Peer {
    pub(crate) fn connect(target: &Target) -> Result<Self, Failure> {
        Self::connect_as(target, target.me())
    }

    pub(crate) fn connect_as(target: &Target, me: Me) -> Result<Self, Failure> {
        let peer = Self::connect_silent(target, me)?;
        peer.tick(target.ticktime / 4);
        Ok(peer)
    }

    /// A peer that sends no ticks.
    pub(crate) fn connect_silent(target: &Target, me: Me) -> Result<Self, Failure> {
        let mut wire = target.wire()?;
        let node = handshake::initiate(&mut wire, &me, &target.cookie)?;
        Ok(Self::up(wire, me, node))
    }

    /// After a handshake.
    pub(crate) fn up(wire: Wire, me: Me, node: Challenge) -> Self {
        Self {
            wire,
            me,
            node,
            ticks: Vec::new(),
            packets: Vec::new(),
            slots: vec![None; 2048],
            open: BTreeMap::new(),
            backlog: VecDeque::new(),
            numbers: 0,
        }
    }

    /// Ticks from now on, for as long as the connection is open.
    pub(crate) fn tick(&self, every: Duration) {
        let sender = self.wire.sender().downgrade();
        std::thread::spawn(move || {
            let mut last = Instant::now();
            loop {
                // Often, so that the end of the connection is soon seen.
                std::thread::sleep(LOOK);
                let Some(sender) = Sender::upgrade(&sender) else { return };
                if last.elapsed() >= every {
                    last = Instant::now();
                    if sender.send(&[0; 4]).is_err() {
                        return;
                    }
                }
            }
        });
    }

    /// A pid of this peer that was not given before.
    pub(crate) fn pid(&mut self) -> Term {
        self.numbers += 1;
        Term::Pid(Pid { node: self.me.name.clone(), id: self.numbers, serial: 0, creation: self.me.creation })
    }

    /// A reference of this peer that was not given before.
    pub(crate) fn reference(&mut self) -> Term {
        self.numbers += 1;
        let words = vec![self.numbers, 0x8765_4321, 7];
        Term::Reference(Reference { node: self.me.name.clone(), creation: self.me.creation, words })
    }

    /// Whether packets begin with a header.
    fn header(&self) -> bool {
        self.me.flags & self.node.flags & (HEADER | FRAGMENTS) != 0
    }

    /// A whole packet of a control message and maybe a payload.
    pub(crate) fn frame(&self, control: &[u8], payload: Option<&[u8]>) -> Vec<u8> {
        let mut packet = vec![0; 4];
        if self.header() {
            packet.extend([131, 68, 0]);
            packet.extend(control);
            packet.extend(payload.unwrap_or_default());
        } else {
            packet.extend([112, 131]);
            packet.extend(control);
            if let Some(payload) = payload {
                packet.push(131);
                packet.extend(payload);
            }
        }
        prefixed(packet)
    }

    pub(crate) fn send_bytes(&self, control: &[u8], payload: Option<&[u8]>) -> Result<(), Failure> {
        Ok(self.wire.send(&self.frame(control, payload))?)
    }

    /// Sends a control message.
    pub(crate) fn control(&self, control: Term) -> Result<(), Failure> {
        self.send_bytes(&control.bytes(), None)
    }

    /// Sends a control message with a payload.
    pub(crate) fn signal(&self, control: Term, payload: impl Into<Term>) -> Result<(), Failure> {
        self.send_bytes(&control.bytes(), Some(&payload.into().bytes()))
    }

    /// Sends a message to a pid, or to a registered name.
    pub(crate) fn send(&self, from: &Term, to: &Term, message: impl Into<Term>) -> Result<(), Failure> {
        self.signal(send_control(from, to), message)
    }

    /// The next signal of the node, whatever came before it.
    pub(crate) fn next(&mut self, end: Instant) -> Result<Signal, WireError> {
        loop {
            if let Some(signal) = self.step(end)? {
                return Ok(signal);
            }
        }
    }

    /// Reads one packet, which may end a signal.
    pub(crate) fn step(&mut self, end: Instant) -> Result<Option<Signal>, WireError> {
        let packet = self.wire.packet(4, end)?;
        if packet.is_empty() {
            self.ticks.push(Instant::now());
            return Ok(None);
        }
        self.packet(&packet)
            .map_err(|error| WireError::Other(std::io::Error::other(format!("a packet with {error}"))))
    }

    fn packet(&mut self, packet: &[u8]) -> Result<Option<Signal>, String> {
        let mut rest = packet;
        let mut seen =
            Packet { kind: number(&mut rest, 1)? as u8, sequence: 0, fragment: 0, len: packet.len() };
        if seen.kind == 112 {
            self.packets.push(seen);
            if self.header() {
                return Err("no header, though one was agreed".to_owned());
            }
            let control = versioned(&mut rest)?;
            let payload = if rest.is_empty() { Vec::new() } else { version(&mut rest)?.to_vec() };
            return Ok(Some(signal(control, payload, Vec::new())?));
        }
        if seen.kind != 131 || !self.header() {
            return Err(format!("the first byte {}", seen.kind));
        }
        seen.kind = number(&mut rest, 1)? as u8;
        if seen.kind != 68 {
            (seen.sequence, seen.fragment) = (number(&mut rest, 8)?, number(&mut rest, 8)?);
        }
        self.packets.push(seen);
        match seen.kind {
            68 | 69 => {
                let atoms = self.atoms(&mut rest)?;
                let control = Term::read(&mut rest, &atoms)?;
                let signal = signal(control, rest.to_vec(), atoms)?;
                if seen.kind == 68 || seen.fragment == 1 {
                    return Ok(Some(signal));
                }
                match self.open.insert(seen.sequence, Open { left: seen.fragment, signal }) {
                    None => Ok(None),
                    Some(_) => Err(format!("a second start of the sequence {}", seen.sequence)),
                }
            }
            70 => {
                let open = self.open.get_mut(&seen.sequence).ok_or("a fragment of no sequence")?;
                if seen.fragment == 0 || open.left != seen.fragment.saturating_add(1) {
                    return Err(format!("fragment {} after {}", seen.fragment, open.left));
                }
                open.left = seen.fragment;
                open.signal.payload.extend(rest);
                Ok(if open.left == 1 { self.open.remove(&seen.sequence).map(|it| it.signal) } else { None })
            }
            other => Err(format!("the type {other}")),
        }
    }

    /// Reads the atoms of a header.
    fn atoms(&mut self, rest: &mut &[u8]) -> Result<Vec<String>, String> {
        let count = number(rest, 1)? as usize;
        if count == 0 {
            return Ok(Vec::new());
        }
        let flags = take(rest, count / 2 + 1)?;
        let half = |at: usize| flags[at / 2] >> (4 * (at % 2)) & 15;
        let long = half(count) & 1 == 1;
        let mut atoms = Vec::with_capacity(count);
        for at in 0..count {
            let slot = usize::from(half(at) & 7) * 256 + number(rest, 1)? as usize;
            if half(at) & 8 != 0 {
                let len = number(rest, if long { 2 } else { 1 })? as usize;
                let text = String::from_utf8(take(rest, len)?.to_vec());
                self.slots[slot] = Some(text.map_err(|_| "an atom that is no UTF-8")?);
            }
            atoms.push(self.slots[slot].clone().ok_or(format!("the empty slot {slot}"))?);
        }
        Ok(atoms)
    }

    /// The first signal for which `pick` has an answer, among those that came before or come in time. The others are kept.
    pub(crate) fn wait<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut pick: impl FnMut(&Signal) -> Option<T>,
    ) -> Result<T, Failure> {
        for at in 0..self.backlog.len() {
            if let Some(picked) = pick(&self.backlog[at]) {
                self.backlog.remove(at);
                return Ok(picked);
            }
        }
        let end = Instant::now() + within;
        loop {
            let signal = self.next(end).map_err(|error| {
                let last =
                    self.backlog.back().map_or(String::new(), |it| format!(", after {:?}", it.control));
                seen(format!("waiting for {what}: {error}{last}"))
            })?;
            if let Some(picked) = pick(&signal) {
                return Ok(picked);
            }
            self.backlog.push_back(signal);
        }
    }

    /// Fails if a signal comes that `unwanted` names, until this time has passed.
    pub(crate) fn nothing(
        &mut self,
        within: Duration,
        mut unwanted: impl FnMut(&Signal) -> bool,
    ) -> Result<(), Failure> {
        let end = Instant::now() + within;
        loop {
            match self.next(end) {
                Ok(signal) => self.backlog.push_back(signal),
                Err(WireError::Silent) => break,
                Err(error) => return Err(error.into()),
            }
        }
        match self.backlog.iter().find(|signal| unwanted(signal)) {
            None => Ok(()),
            Some(signal) => Err(seen(format!("{:?} with {} bytes", signal.control, signal.payload.len()))),
        }
    }

    /// The next message to this pid or alias of ours.
    pub(crate) fn message(&mut self, to: &Term) -> Result<Term, Failure> {
        self.message_within(to, PATIENCE)
    }

    pub(crate) fn message_within(&mut self, to: &Term, within: Duration) -> Result<Term, Failure> {
        self.wait("a message", within, |it| is_message(it, to).then(|| it.clone()))?.term()
    }

    /// The reply of a process to a gen call.
    pub(crate) fn call(&mut self, name: &str, request: impl Into<Term>) -> Result<Term, Failure> {
        self.call_within(name, request, PATIENCE)
    }

    pub(crate) fn call_within(
        &mut self,
        name: &str,
        request: impl Into<Term>,
        within: Duration,
    ) -> Result<Term, Failure> {
        let request = request.into().bytes();
        let reply = self.call_bytes(name, &request, within)?;
        match reply.term()?.items() {
            Some([_, reply]) => Ok(reply.clone()),
            _ => Err(seen(format!("{reply:?} in place of a reply"))),
        }
    }

    /// As [`call`](Self::call) with the request as bytes; the reply is `{Tag, Reply}`.
    pub(crate) fn call_bytes(
        &mut self,
        name: &str,
        request: &[u8],
        within: Duration,
    ) -> Result<Signal, Failure> {
        let from = self.pid();
        let tag = self.reference();
        let control = send_control(&from, &Term::from(name));
        self.send_bytes(&control.bytes(), Some(&gen_call(&from, &tag, request)))?;
        self.wait(&format!("{name} to answer"), within, |it| is_message(it, &from).then(|| it.clone()))
    }

    /// Monitors a pid or a name of the node; returns who monitors and the reference.
    pub(crate) fn monitor(&mut self, item: impl Into<Term>) -> Result<(Term, Term), Failure> {
        let (from, reference) = (self.pid(), self.reference());
        self.control(tuple![op::MONITOR, &from, item.into(), &reference])?;
        Ok((from, reference))
    }

    /// The end of a monitor: of whom, and the reason.
    pub(crate) fn down(&mut self, reference: &Term) -> Result<(Term, Term), Failure> {
        let down = self.wait("a DOWN", PATIENCE, |it| is_down(it, reference).then(|| it.clone()))?;
        Ok((down.at(1).clone(), down.reason()?))
    }

    /// The reason of the exit signal of `from` to `to`.
    pub(crate) fn exit(&mut self, from: &Term, to: &Term) -> Result<Term, Failure> {
        self.wait("an exit signal", PATIENCE, |it| is_exit(it, from, to).then(|| it.clone()))?.reason()
    }

    /// A fresh process of the node that does nothing until it is told.
    pub(crate) fn victim(&mut self) -> Result<Term, Failure> {
        let reply = self.call("relations", tuple!["spawn_victim"])?;
        match reply.items() {
            Some([ok, pid @ Term::Pid(_)]) if ok.is("ok") => Ok(pid.clone()),
            _ => Err(seen(format!("{reply:?} to spawn_victim"))),
        }
    }

    /// The pid of a registered process: that which its messages come from.
    pub(crate) fn whereis(&mut self, name: &str) -> Result<Term, Failure> {
        let from = self.pid();
        let tag = self.reference();
        self.send(&from, &Term::from(name), tuple!["$gen_call", tuple![&from, &tag], "log"])?;
        let reply = self.wait("an answer", PATIENCE, |it| is_message(it, &from).then(|| it.clone()))?;
        match reply.at(1) {
            pid @ Term::Pid(_) => Ok(pid.clone()),
            _ => Err(seen(format!("{:?} does not say who sent it", reply.control))),
        }
    }

    /// Has the victim end with this reason.
    pub(crate) fn stop(&mut self, victim: &Term, reason: impl Into<Term>) -> Result<(), Failure> {
        let from = self.pid();
        self.send(&from, victim, tuple!["stop", reason.into()])
    }

    /// Fails unless the node closes the connection.
    pub(crate) fn closes(mut self, after: &str) -> Result<(), Failure> {
        match self.wire.until_closed(CLOSING) {
            Ok(_) => Ok(()),
            Err(error) => Err(seen(format!("after {after} the connection stays open ({error})"))),
        }
    }

    /// Fails unless the connection is still of use.
    pub(crate) fn stays(&mut self, after: &str) -> Result<(), Failure> {
        match self.call("echo", "still_here") {
            Ok(reply) if reply.is("still_here") => Ok(()),
            Ok(reply) => Err(seen(format!("after {after} echo answers {reply:?}"))),
            Err(error) => Err(seen(format!("after {after}: {error}"))),
        }
    }
}

fn version<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], String> {
    match number(rest, 1)? {
        131 => Ok(rest),
        other => Err(format!("the version {other}")),
    }
}

fn versioned(rest: &mut &[u8]) -> Result<Term, String> {
    version(rest)?;
    Term::read(rest, &[])
}

fn signal(control: Term, payload: Vec<u8>, atoms: Vec<String>) -> Result<Signal, String> {
    match control {
        Term::Tuple(control) => Ok(Signal { control, payload, atoms }),
        other => Err(format!("the control message {other:?}")),
    }
}

/// Fills in the length of a packet that has four bytes for it in front.
pub(crate) fn prefixed(mut packet: Vec<u8>) -> Vec<u8> {
    let len = (packet.len() - 4) as u32;
    packet[..4].copy_from_slice(&len.to_be_bytes());
    packet
}

/// The control message of a send to a pid, an alias or a registered name.
pub(crate) fn send_control(from: &Term, to: &Term) -> Term {
    match to {
        Term::Atom(_) => tuple![op::REG_SEND, from, "", to],
        Term::Reference(_) => tuple![op::ALIAS_SEND, from, to],
        _ => tuple![op::SEND_SENDER, from, to],
    }
}

/// `{'$gen_call', {From, Tag}, Request}`.
pub(crate) fn gen_call(from: &Term, tag: &Term, request: &[u8]) -> Vec<u8> {
    let mut payload = vec![104, 3];
    Term::from("$gen_call").write(&mut payload);
    tuple![from, tag].write(&mut payload);
    payload.extend(request);
    payload
}

pub(crate) fn is_message(signal: &Signal, to: &Term) -> bool {
    let ops = [op::SEND, op::SEND_SENDER, op::SEND_TT, op::SEND_SENDER_TT, op::ALIAS_SEND, op::ALIAS_SEND_TT];
    ops.contains(&signal.op()) && signal.at(2) == to || signal.op() == op::ALTACT && signal.at(3) == to
}

pub(crate) fn is_down(signal: &Signal, reference: &Term) -> bool {
    [op::MONITOR_EXIT, op::PAYLOAD_MONITOR_EXIT].contains(&signal.op()) && signal.at(3) == reference
}

pub(crate) fn is_exit(signal: &Signal, from: &Term, to: &Term) -> bool {
    [op::EXIT, op::EXIT_TT, op::PAYLOAD_EXIT, op::PAYLOAD_EXIT_TT].contains(&signal.op())
        && signal.at(1) == from
        && signal.at(2) == to
}
