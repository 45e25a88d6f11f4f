//! The end that is connected to.

use crate::term::Atom;

use super::super::Flags;
use super::{Established, HandshakeError, Local, NodeNameError};

/// The accepting end of a handshake.
#[derive(Debug)]
pub struct Acceptor(());

/// What a message led to.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptorStep {
    /// The peer said who it is: decide.
    Introduced(Introduction),
    /// The peer asks for a name.
    NameMe(NameRequest),
    /// Send this and wait for the next message.
    Continue(Acceptor, Vec<Vec<u8>>),
    /// The connection stands. If it [replaces](Established::replaces) another, close that one first; then send this.
    Established(Established, Vec<Vec<u8>>),
}

/// A verdict on a peer that wants to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Welcome.
    Ok,
    /// Welcome; this node drops the attempt of its own that it had begun.
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
pub struct Introduction(());

impl Introduction {
    /// Its name.
    pub fn peer(&self) -> &Atom {
        todo!()
    }

    /// Its flags.
    pub fn flags(&self) -> Flags {
        todo!()
    }

    /// Its incarnation; a version 5 peer tells it only later.
    pub fn creation(&self) -> Option<u32> {
        todo!()
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
        let _ = (answer, cookie, challenge);
        todo!()
    }
}

/// A peer that asks for a name (NAME_ME).
#[derive(Debug)]
pub struct NameRequest(());

impl NameRequest {
    /// The host that it says it is on.
    pub fn host(&self) -> &str {
        todo!()
    }

    /// Gives it a name and a creation that no other node has, and goes on.
    ///
    /// # Errors
    /// If that is no name.
    pub fn name(self, name: Atom, creation: u32) -> Result<Introduction, NodeNameError> {
        let _ = (name, creation);
        todo!()
    }

    /// Refuses. The error has the reply.
    pub fn refuse(self) -> HandshakeError {
        todo!()
    }
}

impl Acceptor {
    /// Waits for a peer's first message.
    pub fn new(local: Local) -> Self {
        let _ = local;
        todo!()
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// If the handshake failed; if the error has a [reply](HandshakeError::reply), send it. Then close the connection.
    pub fn receive(self, message: &[u8]) -> Result<AcceptorStep, HandshakeError> {
        let _ = message;
        todo!()
    }
}
