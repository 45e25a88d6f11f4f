//! The end that is connected to.

use crate::term::Atom;

use super::super::Flags;
use super::digest::Cookie;
use super::message::{
    AliveAnswer, ChallengeAck, ChallengeReply, SendChallenge, SendComplement, SendName, Status, check_host,
    node_name,
};
use super::{Established, HandshakeError, HandshakeFault, Local, NodeNameError, Phase, Refusal};

/// The accepting end of a handshake.
#[derive(Debug)]
pub struct Acceptor(State);

/// What is awaited.
#[derive(Debug)]
enum State {
    Name(Box<Local>),
    Alive(Box<Accepted>),
    /// Only in version 5: the rest of the peer's flags, and its creation.
    Complement(Box<Accepted>),
    Reply(Box<Accepted>),
}

/// A peer that was let in, and must now prove that it knows the cookie.
#[derive(Debug)]
struct Accepted {
    local: Local,
    peer: Peer,
    cookie: Cookie,
    challenge: u32,
    replaces: bool,
}

/// What a peer said of itself.
#[derive(Debug)]
struct Peer {
    name: Atom,
    flags: Flags,
    /// `None` until a version 5 peer has told it.
    creation: Option<u32>,
    /// Whether this end gave it its name.
    named: bool,
}

/// What a message led to.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptorStep {
    /// The peer said who it is: decide.
    Introduced(Introduction),
    /// The peer asks for a name.
    NameMe(NameRequest),
    /// Send these, if any, and wait for the next message.
    Continue(Acceptor, Vec<Vec<u8>>),
    /// The connection stands. If it [replaces](Established::replaces) another, close that one first; then send these.
    Established(Established, Vec<Vec<u8>>),
}

/// A verdict on a peer that wants to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Welcome.
    Ok,
    /// Welcome; this node drops the attempt of its own that it had begun: see [`simultaneous`](super::simultaneous).
    OkSimultaneous,
    /// This node has an attempt of its own under way and keeps that one, or the peer has this node's own name.
    Nok,
    /// Not wanted.
    NotAllowed,
    /// This node has a live connection with that name: ask.
    Alive,
}

/// A peer has introduced itself.
#[derive(Debug)]
pub struct Introduction {
    local: Box<Local>,
    peer: Peer,
}

impl Introduction {
    /// Its name.
    pub fn peer(&self) -> &Atom {
        &self.peer.name
    }

    /// Its flags; a version 5 peer tells the upper half later.
    pub fn flags(&self) -> Flags {
        self.peer.flags
    }

    /// Its incarnation; a version 5 peer tells it later.
    pub fn creation(&self) -> Option<u32> {
        self.peer.creation
    }

    /// Answers. `cookie` is the one held for the peer, `challenge` a number that nobody can guess.
    ///
    /// # Errors
    /// If the answer is a refusal; the error has the [reply](HandshakeError::reply) to send before closing.
    pub fn answer(
        self,
        answer: Answer,
        cookie: &[u8],
        challenge: u32,
    ) -> Result<(Acceptor, Vec<Vec<u8>>), HandshakeError> {
        let Self { local, peer } = self;
        let accepted =
            Accepted { local: *local, peer, cookie: Cookie::new(cookie), challenge, replaces: false };
        let status = match answer {
            Answer::Ok | Answer::OkSimultaneous if accepted.peer.named => Status::Named {
                name: accepted.peer.name.as_str().to_owned(),
                creation: accepted.peer.creation.unwrap_or_default(),
            },
            Answer::Ok => Status::Ok,
            Answer::OkSimultaneous => Status::OkSimultaneous,
            Answer::Nok => return Err(refuse(Some(accepted.peer.name), Refusal::Nok, Status::Nok)),
            Answer::NotAllowed => {
                return Err(refuse(Some(accepted.peer.name), Refusal::NotAllowed, Status::NotAllowed));
            }
            Answer::Alive => {
                let next = Acceptor(State::Alive(Box::new(accepted)));
                return Ok((next, vec![Status::Alive.encode()]));
            }
        };
        let (next, challenge) = accepted.challenge();
        Ok((next, vec![status.encode(), challenge]))
    }
}

/// A peer that asks for a name (NAME_ME).
#[derive(Debug)]
pub struct NameRequest {
    local: Box<Local>,
    host: String,
    flags: Flags,
}

impl NameRequest {
    /// The host that it says it is on.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Gives it a name and a creation that no other node has, and goes on: the answer to the introduction tells them to the peer.
    ///
    /// # Errors
    /// If that is no name.
    pub fn name(self, name: Atom, creation: u32) -> Result<Introduction, NodeNameError> {
        let name = node_name(&name)?;
        let peer = Peer { name, flags: self.flags, creation: Some(creation), named: true };
        Ok(Introduction { local: self.local, peer })
    }

    /// Refuses. The error has the reply to send.
    pub fn refuse(self) -> HandshakeError {
        refuse(None, Refusal::NotAllowed, Status::NotAllowed)
    }
}

impl Acceptor {
    /// Waits for a peer's first message.
    pub fn new(local: Local) -> Self {
        Self(State::Name(Box::new(local)))
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// If the handshake failed; if the error has a [reply](HandshakeError::reply), send it. Then close the connection.
    pub fn receive(self, message: &[u8]) -> Result<AcceptorStep, HandshakeError> {
        match self.0 {
            State::Name(local) => receive_name(local, message),
            State::Alive(accepted) => accepted.receive_alive(message),
            State::Complement(accepted) => accepted.receive_complement(message),
            State::Reply(accepted) => accepted.receive_reply(message),
        }
    }
}

fn receive_name(local: Box<Local>, message: &[u8]) -> Result<AcceptorStep, HandshakeError> {
    let fail = |fault: HandshakeFault| error(None, Phase::SendName, fault);
    let SendName { flags, creation, name } = SendName::decode(message).map_err(|fault| fail(fault.into()))?;
    let named = flags.contains(Flags::NAME_ME);
    let peer = if named {
        check_host(&name).map_err(|fault| fail(fault.into()))?;
        None
    } else {
        Some(node_name(&name).map_err(|fault| fail(fault.into()))?)
    };
    // Version 5 itself is only good for announcing that the peer can do version 6; its upper flags come later.
    let mandatory = match creation {
        Some(_) => local.mandatory,
        None => Flags(local.mandatory.0 & u64::from(u32::MAX)) | Flags::HANDSHAKE_23,
    };
    if let Some(missing) = flags.missing(mandatory) {
        let reply = Some(Status::NotAllowed.encode());
        let fault = HandshakeFault::Incompatible(missing);
        return Err(HandshakeError { peer, phase: Phase::SendName, fault, reply });
    }
    Ok(match peer {
        Some(name) => {
            AcceptorStep::Introduced(Introduction { local, peer: Peer { name, flags, creation, named } })
        }
        None => AcceptorStep::NameMe(NameRequest { local, host: name, flags }),
    })
}

impl Accepted {
    /// The challenge, and what is awaited after it.
    fn challenge(self) -> (Acceptor, Vec<u8>) {
        let challenge = SendChallenge {
            flags: self.local.flags,
            challenge: self.challenge,
            creation: self.local.creation,
            name: self.local.name.as_str().to_owned(),
        };
        let state = match self.peer.creation {
            Some(_) => State::Reply(Box::new(self)),
            None => State::Complement(Box::new(self)),
        };
        (Acceptor(state), challenge.encode())
    }

    fn receive_alive(mut self, message: &[u8]) -> Result<AcceptorStep, HandshakeError> {
        let AliveAnswer(replace) =
            AliveAnswer::decode(message).map_err(|fault| self.error(Phase::Status, fault.into()))?;
        if !replace {
            return Err(self.error(Phase::Status, Refusal::Alive.into()));
        }
        self.replaces = true;
        let (next, challenge) = self.challenge();
        Ok(AcceptorStep::Continue(next, vec![challenge]))
    }

    fn receive_complement(mut self, message: &[u8]) -> Result<AcceptorStep, HandshakeError> {
        let complement = SendComplement::decode(message)
            .map_err(|fault| self.error(Phase::ChallengeReply, fault.into()))?;
        self.peer.flags = self.peer.flags | Flags(u64::from(complement.flags_high) << 32);
        self.peer.creation = Some(complement.creation);
        if let Some(missing) = self.peer.flags.missing(self.local.mandatory) {
            return Err(self.error(Phase::ChallengeReply, HandshakeFault::Incompatible(missing)));
        }
        Ok(AcceptorStep::Continue(Acceptor(State::Reply(Box::new(self))), Vec::new()))
    }

    fn receive_reply(self, message: &[u8]) -> Result<AcceptorStep, HandshakeError> {
        let reply = ChallengeReply::decode(message)
            .map_err(|fault| self.error(Phase::ChallengeReply, fault.into()))?;
        if !self.cookie.proves(self.challenge, &reply.digest) {
            return Err(self.error(Phase::ChallengeReply, HandshakeFault::WrongCookie));
        }
        let ack = ChallengeAck { digest: self.cookie.digest(reply.challenge) };
        let established = Established {
            flags: Flags::effective(self.local.flags, self.peer.flags),
            peer: self.peer.name,
            creation: self.peer.creation.unwrap_or_default(),
            peer_flags: self.peer.flags,
            named: None,
            replaces: self.replaces,
        };
        Ok(AcceptorStep::Established(established, vec![ack.encode()]))
    }

    fn error(&self, phase: Phase, fault: HandshakeFault) -> HandshakeError {
        error(Some(self.peer.name.clone()), phase, fault)
    }
}

fn error(peer: Option<Atom>, phase: Phase, fault: HandshakeFault) -> HandshakeError {
    HandshakeError { peer, phase, fault, reply: None }
}

fn refuse(peer: Option<Atom>, refusal: Refusal, status: Status) -> HandshakeError {
    let fault = HandshakeFault::Refused(refusal);
    HandshakeError { peer, phase: Phase::Status, fault, reply: Some(status.encode()) }
}
