//! The end that connects.

use crate::term::Atom;

use super::super::Flags;
use super::digest::Cookie;
use super::message::{AliveAnswer, ChallengeAck, ChallengeReply, SendChallenge, SendName, Status, node_name};
use super::{Established, HandshakeError, HandshakeFault, Local, Phase, Refusal, Violation};

/// The initiating end of a handshake.
#[derive(Debug)]
pub struct Initiator {
    shared: Box<Shared>,
    state: State,
}

/// What all states need.
#[derive(Debug)]
struct Shared {
    local: Local,
    peer: Atom,
    cookie: Cookie,
    challenge: u32,
}

/// What is awaited.
#[derive(Debug)]
enum State {
    Status,
    Challenge { named: Option<(Atom, u32)> },
    Ack { named: Option<(Atom, u32)>, creation: u32, peer_flags: Flags },
}

/// What a message led to.
#[derive(Debug)]
#[non_exhaustive]
pub enum InitiatorStep {
    /// Send these, if any, and wait for the next message.
    Continue(Initiator, Vec<Vec<u8>>),
    /// The acceptor believes that it has a connection with this node already.
    Alive(AliveQuestion),
    /// The connection stands.
    Established(Established),
}

/// The acceptor still has a connection from this node: is it a dead one?
#[derive(Debug)]
pub struct AliveQuestion(Box<Shared>);

impl AliveQuestion {
    /// Goes on with this connection; the acceptor closes its old one.
    pub fn replace(self) -> (Initiator, Vec<Vec<u8>>) {
        let next = Initiator { shared: self.0, state: State::Challenge { named: None } };
        (next, vec![AliveAnswer(true).encode()])
    }

    /// Gives up: this node still uses the old connection. The error has the reply to send.
    pub fn give_up(self) -> HandshakeError {
        let mut error = self.0.error(Phase::Status, Refusal::Alive);
        error.reply = Some(AliveAnswer(false).encode());
        error
    }
}

impl Initiator {
    /// Begins: the messages go to the node `peer`, its answers to [`receive`](Self::receive). `cookie` is the one held for `peer`,
    /// `challenge` a number that nobody can guess.
    pub fn new(local: Local, peer: Atom, cookie: &[u8], challenge: u32) -> (Self, Vec<Vec<u8>>) {
        let opening = SendName {
            flags: local.flags,
            creation: Some(local.creation),
            name: local.name.as_str().to_owned(),
        };
        let shared = Shared { local, peer, cookie: Cookie::new(cookie), challenge };
        (Self { shared: Box::new(shared), state: State::Status }, vec![opening.encode()])
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// If the handshake failed; if the error has a [reply](HandshakeError::reply), send it. Then close the connection.
    pub fn receive(self, message: &[u8]) -> Result<InitiatorStep, HandshakeError> {
        let Self { shared, state } = self;
        match state {
            State::Status => shared.receive_status(message),
            State::Challenge { named } => shared.receive_challenge(message, named),
            State::Ack { named, creation, peer_flags } => {
                shared.receive_ack(message, named, creation, peer_flags)
            }
        }
    }
}

impl Shared {
    fn receive_status(self: Box<Self>, message: &[u8]) -> Result<InitiatorStep, HandshakeError> {
        let fail = |fault: HandshakeFault| self.error(Phase::Status, fault);
        let wants_name = self.local.flags.contains(Flags::NAME_ME);
        let status = Status::decode(message).map_err(|fault| fail(fault.into()))?;
        let named = match status {
            Status::Ok | Status::OkSimultaneous | Status::Alive if wants_name => {
                return Err(fail(Violation::NotNamed.into()));
            }
            Status::Ok | Status::OkSimultaneous => None,
            Status::Nok => return Err(fail(Refusal::Nok.into())),
            Status::NotAllowed => return Err(fail(Refusal::NotAllowed.into())),
            Status::Alive => return Ok(InitiatorStep::Alive(AliveQuestion(self))),
            Status::Named { name, creation } if wants_name => {
                Some((node_name(&name).map_err(|fault| fail(fault.into()))?, creation))
            }
            Status::Named { .. } => return Err(fail(Violation::NamedUnasked.into())),
        };
        Ok(InitiatorStep::Continue(Initiator { shared: self, state: State::Challenge { named } }, Vec::new()))
    }

    fn receive_challenge(
        self: Box<Self>,
        message: &[u8],
        named: Option<(Atom, u32)>,
    ) -> Result<InitiatorStep, HandshakeError> {
        let fail = |fault: HandshakeFault| self.error(Phase::SendChallenge, fault);
        let theirs = SendChallenge::decode(message).map_err(|fault| fail(fault.into()))?;
        let name = node_name(&theirs.name).map_err(|fault| fail(fault.into()))?;
        if name != self.peer {
            return Err(fail(Violation::WrongNode(name).into()));
        }
        if let Some(missing) = theirs.flags.missing(self.local.mandatory) {
            return Err(fail(HandshakeFault::Incompatible(missing)));
        }
        let reply =
            ChallengeReply { challenge: self.challenge, digest: self.cookie.digest(theirs.challenge) };
        let state = State::Ack { named, creation: theirs.creation, peer_flags: theirs.flags };
        Ok(InitiatorStep::Continue(Initiator { shared: self, state }, vec![reply.encode()]))
    }

    fn receive_ack(
        self,
        message: &[u8],
        named: Option<(Atom, u32)>,
        creation: u32,
        peer_flags: Flags,
    ) -> Result<InitiatorStep, HandshakeError> {
        let ack = ChallengeAck::decode(message).map_err(|fault| self.error(Phase::ChallengeAck, fault))?;
        if !self.cookie.proves(self.challenge, &ack.digest) {
            return Err(self.error(Phase::ChallengeAck, HandshakeFault::WrongCookie));
        }
        Ok(InitiatorStep::Established(Established {
            flags: Flags::effective(self.local.flags, peer_flags),
            peer: self.peer,
            creation,
            peer_flags,
            named,
            replaces: false,
        }))
    }

    fn error(&self, phase: Phase, fault: impl Into<HandshakeFault>) -> HandshakeError {
        HandshakeError { peer: Some(self.peer.clone()), phase, fault: fault.into(), reply: None }
    }
}
