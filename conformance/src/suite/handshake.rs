//! The handshake, a message at a time, from *Distribution Handshake* in Erlang's document of the protocol.

use std::time::Instant;

use md5::{Digest, Md5};

use crate::term::{number, take};
use crate::wire::{PATIENCE, Wire};
use crate::{Failure, seen};

pub(crate) const PUBLISHED: u64 = 1;
pub(crate) const HEADER: u64 = 1 << 13;
pub(crate) const FRAGMENTS: u64 = 1 << 23;
/// Of pids and of names.
pub(crate) const MONITORS: u64 = 1 << 3 | 1 << 5;
/// "I have all that OTP 25 demands."
pub(crate) const DIGEST_25: u64 = 1 << 26;
pub(crate) const UNLINK_ID: u64 = 1 << 25;
pub(crate) const NAME_ME: u64 = 1 << 33;
pub(crate) const V4_NC: u64 = 1 << 34;
pub(crate) const ALTACT: u64 = 1 << 37;
/// What OTP 25 demands of each peer.
pub(crate) const MANDATORY_25: u64 = 0x0107_0f94;
/// All that an OTP 25 offers, but for being visible.
pub(crate) const HIDDEN: u64 = 0xd_07df_7fbc;

/// What the suite says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Me {
    pub(crate) name: String,
    pub(crate) creation: u32,
    pub(crate) flags: u64,
}

/// What a node says of itself with its challenge.
#[derive(Clone, Debug)]
pub(crate) struct Challenge {
    pub(crate) flags: u64,
    pub(crate) challenge: u32,
    pub(crate) creation: u32,
    pub(crate) name: String,
}

/// The digest that proves the cookie to whoever drew the challenge.
pub(crate) fn digest(cookie: &str, challenge: u32) -> [u8; 16] {
    let cookie: Vec<u8> = cookie.chars().map(|char| char as u8).collect();
    Md5::new().chain_update(cookie).chain_update(challenge.to_string()).finalize().into()
}

/// The message `send_name`.
pub(crate) fn name_message(flags: u64, creation: u32, name: &[u8]) -> Vec<u8> {
    let mut message = vec![b'N'];
    message.extend(flags.to_be_bytes());
    message.extend(creation.to_be_bytes());
    message.extend((name.len() as u16).to_be_bytes());
    message.extend(name);
    message
}

/// Sends the name and returns the status that answers it.
pub(crate) fn introduce(wire: &mut Wire, me: &Me) -> Result<String, Failure> {
    wire.send_short(&name_message(me.flags, me.creation, me.name.as_bytes()))?;
    status(wire)
}

pub(crate) fn status(wire: &mut Wire) -> Result<String, Failure> {
    let message = short(wire, "a status")?;
    match message.split_first() {
        Some((b's', text)) => Ok(String::from_utf8_lossy(text).into_owned()),
        _ => Err(seen(format!("{message:?} in place of a status"))),
    }
}

/// A message of the handshake.
pub(crate) fn short(wire: &mut Wire, what: &str) -> Result<Vec<u8>, Failure> {
    wire.packet(2, Instant::now() + PATIENCE).map_err(|error| seen(format!("waiting for {what}: {error}")))
}

pub(crate) fn challenge(wire: &mut Wire) -> Result<Challenge, Failure> {
    let message = short(wire, "the challenge")?;
    let parse = || {
        let mut rest = &message[..];
        if number(&mut rest, 1)? != u64::from(b'N') {
            return Err("a challenge of an unknown version".to_owned());
        }
        let flags = number(&mut rest, 8)?;
        let challenge = number(&mut rest, 4)? as u32;
        let creation = number(&mut rest, 4)? as u32;
        let len = number(&mut rest, 2)?;
        let name = String::from_utf8_lossy(take(&mut rest, len as usize)?).into_owned();
        Ok(Challenge { flags, challenge, creation, name })
    };
    parse().map_err(|error| seen(format!("{error}, in the challenge {message:?}")))
}

/// Proves the cookie, and has the node prove that it knows it.
pub(crate) fn prove(wire: &mut Wire, cookie: &str, challenge: u32) -> Result<(), Failure> {
    // Any number will do: this end has no secret to guard.
    const MINE: u32 = 0xdead_beef;
    wire.send_short(&answer(cookie, challenge, MINE))?;
    let ack = short(wire, "the acknowledgement")?;
    let mut right = vec![b'a'];
    right.extend(digest(cookie, MINE));
    if ack == right { Ok(()) } else { Err(seen(format!("{ack:?} in place of the right digest"))) }
}

/// The message `send_challenge_reply`.
pub(crate) fn answer(cookie: &str, challenge: u32, mine: u32) -> Vec<u8> {
    let mut message = vec![b'r'];
    message.extend(mine.to_be_bytes());
    message.extend(digest(cookie, challenge));
    message
}

/// A whole handshake of the connecting side.
pub(crate) fn initiate(wire: &mut Wire, me: &Me, cookie: &str) -> Result<Challenge, Failure> {
    match &introduce(wire, me)?[..] {
        "ok" | "ok_simultaneous" => {}
        other => return Err(seen(format!("the status {other:?} for {}", me.name))),
    }
    let node = challenge(wire)?;
    prove(wire, cookie, node.challenge)?;
    Ok(node)
}

/// A message that asks for a connection, as the accepting side reads it.
pub(crate) struct Introduction {
    pub(crate) flags: u64,
    pub(crate) creation: u32,
    pub(crate) name: String,
}

pub(crate) fn introduction(wire: &mut Wire) -> Result<Introduction, Failure> {
    let message = short(wire, "a name")?;
    let parse = || {
        let mut rest = &message[..];
        if number(&mut rest, 1)? != u64::from(b'N') {
            return Err("a name of an unknown version".to_owned());
        }
        let (flags, creation) = (number(&mut rest, 8)?, number(&mut rest, 4)? as u32);
        let len = number(&mut rest, 2)?;
        let name = String::from_utf8_lossy(take(&mut rest, len as usize)?).into_owned();
        Ok(Introduction { flags, creation, name })
    };
    parse().map_err(|error| seen(format!("{error}, in {message:?}")))
}

/// How the accepting side goes wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    None,
    Digest,
    Name,
}

/// The rest of a handshake of the accepting side, after the introduction. A node that does not take a lie may end it.
pub(crate) fn accept(wire: &mut Wire, me: &Me, cookie: &str, lie: Lie) -> Result<(), Failure> {
    const MINE: u32 = 4_000_000_001;
    wire.send_short(b"sok")?;
    let name = if lie == Lie::Name { format!("not_{}", me.name) } else { me.name.clone() };
    let mut message = vec![b'N'];
    message.extend(me.flags.to_be_bytes());
    message.extend(MINE.to_be_bytes());
    message.extend(me.creation.to_be_bytes());
    message.extend((name.len() as u16).to_be_bytes());
    message.extend(name.as_bytes());
    wire.send_short(&message)?;
    let reply = short(wire, "the answer to a challenge")?;
    let right = digest(cookie, MINE);
    if reply.len() != 21 || reply[0] != b'r' || reply[5..] != right {
        return Err(seen(format!("{reply:?} in place of the right answer to a challenge")));
    }
    let theirs = u32::from_be_bytes([reply[1], reply[2], reply[3], reply[4]]);
    let mut ack = vec![b'a'];
    let mut proof = digest(cookie, theirs);
    if lie == Lie::Digest {
        proof[0] ^= 1;
    }
    ack.extend(proof);
    Ok(wire.send_short(&ack)?)
}
