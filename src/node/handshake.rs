//! Drives the handshake over a connection, in both roles.

use std::io;

use bytes::BytesMut;
use rand_core::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::pending::Incoming;
use super::transport::{self, Secured};
use super::{ConnectError, Inner};
use crate::dist::handshake::{
    Acceptor, AcceptorStep, Answer, Established, Framer, HandshakeError, Initiator, InitiatorStep,
    Local as Identity,
};
use crate::term::Atom;
use crate::world::Conn;

/// The handshake's read buffer: its messages are short, and what follows them is the reader's.
const READ_CAPACITY: usize = 4096;

/// A connection whose handshake is done.
pub(super) struct Greeted {
    pub(super) established: Established,
    pub(super) conn: Conn,
    /// What the peer sent after its last message of the handshake.
    pub(super) rest: BytesMut,
    /// Messages to send before anything else.
    pub(super) farewell: BytesMut,
}

struct Wire {
    conn: Conn,
    framer: Framer,
    input: BytesMut,
}

impl Wire {
    fn new(secured: Secured) -> Self {
        let Secured { conn, prefix, .. } = secured;
        Self { conn, framer: Framer::new(prefix), input: BytesMut::with_capacity(READ_CAPACITY) }
    }

    async fn send<M: AsRef<[u8]>>(&mut self, messages: &[M]) -> io::Result<()> {
        let mut out = BytesMut::new();
        self.framer.send(messages, &mut out);
        self.conn.write.write_all(&out).await?;
        self.conn.write.flush().await
    }

    async fn receive(&mut self) -> Result<bytes::Bytes, ConnectError> {
        loop {
            if let Some(message) = self.framer.receive(&mut self.input)? {
                return Ok(message);
            }
            if self.conn.read.read_buf(&mut self.input).await? == 0 {
                return Err(ConnectError::Closed);
            }
        }
    }

    /// Sends the last word that a failed handshake may have, and makes the error the caller's.
    async fn fail(mut self, error: HandshakeError) -> ConnectError {
        if let Some(reply) = error.reply() {
            let reply = reply.to_vec();
            // The connection is closed next; whether the peer heard why is its loss.
            let _ = self.send(&[reply]).await;
        }
        ConnectError::Handshake(error)
    }
}

fn identity(inner: &Inner) -> Result<Identity, ConnectError> {
    Identity::new(inner.local.node.clone(), inner.local.creation, inner.options.flags())
        .map_err(|_| ConnectError::NodeName(inner.local.node.clone()))
}

fn challenge(inner: &Inner) -> u32 {
    inner.entropy().next_u32()
}

/// Connects as the initiator.
pub(super) async fn initiate(inner: &Inner, conn: Conn, peer: &Atom) -> Result<Greeted, ConnectError> {
    let cookie = inner.options.cookie_for(peer);
    let (mut state, opening) = Initiator::new(identity(inner)?, peer.clone(), cookie, challenge(inner));
    let mut wire = Wire::new(transport::connect(inner, conn, peer).await?);
    wire.send(&opening).await?;
    loop {
        let message = wire.receive().await?;
        let (next, replies) = match state.receive(&message) {
            Ok(InitiatorStep::Continue(next, replies)) => (next, replies),
            // This node has no connection to it, else it would not dial: the acceptor's is a dead one.
            Ok(InitiatorStep::Alive(question)) => question.replace(),
            Ok(InitiatorStep::Established(established)) => {
                let (conn, rest) = (wire.conn, wire.input);
                return Ok(Greeted { established, conn, rest, farewell: BytesMut::new() });
            }
            Err(error) => return Err(wire.fail(error).await),
        };
        wire.send(&replies).await?;
        state = next;
    }
}

/// Answers as the acceptor. `incoming` is entered in the table of connections once the peer has said who it is.
pub(super) async fn accept(inner: &Inner, conn: Conn, incoming: &Incoming) -> Result<Greeted, ConnectError> {
    let mut state = Acceptor::new(identity(inner)?);
    let (secured, guest) = transport::accept(inner, conn).await?;
    let mut wire = Wire::new(secured);
    loop {
        let message = wire.receive().await?;
        let introduction = match state.receive(&message) {
            Ok(AcceptorStep::Continue(next, replies)) => {
                wire.send(&replies).await?;
                state = next;
                continue;
            }
            Ok(AcceptorStep::NameMe(request)) => {
                let name = dynamic_name(&mut *inner.entropy(), request.host());
                let creation = inner.entropy().next_u32().max(4);
                let named = Atom::new(&name).map(|name| request.name(name, creation));
                let Ok(Ok(introduction)) = named else { return Err(ConnectError::Closed) };
                introduction
            }
            Ok(AcceptorStep::Introduced(introduction)) => introduction,
            Ok(AcceptorStep::Established(established, last)) => {
                let mut farewell = BytesMut::new();
                wire.framer.send(&last, &mut farewell);
                let (conn, rest) = (wire.conn, wire.input);
                return Ok(Greeted { established, conn, rest, farewell });
            }
            Err(error) => return Err(wire.fail(error).await),
        };
        let peer = introduction.peer().clone();
        let stranger = guest.is(&peer).err();
        let answer = match stranger {
            None => inner.introduce(&peer, incoming),
            Some(_) => Answer::NotAllowed,
        };
        let (next, replies) =
            match introduction.answer(answer, inner.options.cookie_for(&peer), challenge(inner)) {
                Ok(step) => step,
                Err(error) => {
                    let error = wire.fail(error).await;
                    return Err(stranger.unwrap_or(error));
                }
            };
        wire.send(&replies).await?;
        state = next;
    }
}

/// A name such as OTP gives: twelve random upper-case letters and digits.
fn dynamic_name(entropy: &mut impl Rng, host: &str) -> String {
    const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let name: String =
        (0..12).map(|_| char::from(LETTERS[entropy.next_u32() as usize % LETTERS.len()])).collect();
    format!("{name}@{host}")
}
