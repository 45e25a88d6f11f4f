//! The end that connects.

use crate::term::Atom;

use super::{Established, HandshakeError, Local};

/// The initiating end of a handshake.
#[derive(Debug)]
pub struct Initiator(());

/// What a message led to.
#[derive(Debug)]
#[non_exhaustive]
pub enum InitiatorStep {
    /// Send this and wait for the next message.
    Continue(Initiator, Vec<Vec<u8>>),
    /// The acceptor believes that it has a connection with this node already.
    Alive(AliveQuestion),
    /// The connection stands.
    Established(Established),
}

/// The acceptor still has a connection from this node: is it a dead one?
#[derive(Debug)]
pub struct AliveQuestion(());

impl AliveQuestion {
    /// Goes on with this connection; the acceptor closes its old one.
    pub fn replace(self) -> (Initiator, Vec<Vec<u8>>) {
        todo!()
    }

    /// Gives up: this node still uses the old connection. The error has the reply.
    pub fn give_up(self) -> HandshakeError {
        todo!()
    }
}

impl Initiator {
    /// Begins: the messages go to the node `peer`, the answers to [`receive`](Self::receive). `cookie` is the one held for `peer`,
    /// `challenge` a number that nobody can guess.
    pub fn new(local: Local, peer: Atom, cookie: &[u8], challenge: u32) -> (Self, Vec<Vec<u8>>) {
        let _ = (local, peer, cookie, challenge);
        todo!()
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// If the handshake failed; if the error has a [reply](HandshakeError::reply), send it. Then close the connection.
    pub fn receive(self, message: &[u8]) -> Result<InitiatorStep, HandshakeError> {
        let _ = message;
        todo!()
    }
}
