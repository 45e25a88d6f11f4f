//! The handshake's messages, without the length in front of them.
//!
//! Bytes after the fields of `send_name`, `send_challenge` and `named:` are room for later versions: they are ignored.

use crate::term::Atom;

use super::super::Flags;
use super::{NodeNameError, Undecodable};

/// Message 1 of version 6.
const SEND_NAME: u8 = b'N';
/// Message 1 of version 5.
const SEND_NAME_5: u8 = b'n';
const STATUS: u8 = b's';
/// Message 3. It has the same tag as message 1.
const SEND_CHALLENGE: u8 = b'N';
const SEND_COMPLEMENT: u8 = b'c';
const CHALLENGE_REPLY: u8 = b'r';
const CHALLENGE_ACK: u8 = b'a';

/// The most characters of a node's name: it is an atom.
const NODE_NAME_CHARS_MAX: usize = 255;

/// What each end proves the cookie with.
pub(super) type DigestBytes = [u8; 16];

/// Message 1: who connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SendName {
    pub(super) flags: Flags,
    /// `None` in version 5, whose initiator sends a [`SendComplement`] later.
    pub(super) creation: Option<u32>,
    /// The whole name, or with NAME_ME the host.
    pub(super) name: String,
}

impl SendName {
    /// The form of version 6; version 5 is only ever received.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![SEND_NAME];
        out.extend(self.flags.0.to_be_bytes());
        out.extend(self.creation.unwrap_or(0).to_be_bytes());
        put_name(&mut out, &self.name);
        out
    }

    pub(super) fn decode(message: &[u8]) -> Result<Self, Undecodable> {
        let mut fields = Fields(message);
        match fields.u8()? {
            SEND_NAME => {
                let flags = Flags(fields.u64()?);
                let creation = Some(fields.u32()?);
                Ok(Self { flags, creation, name: latin1(fields.sized()?) })
            }
            SEND_NAME_5 => match fields.u16()? {
                5 => {
                    let flags = Flags(fields.u32()?.into());
                    Ok(Self { flags, creation: None, name: latin1(fields.0) })
                }
                version => Err(Undecodable::Version(version)),
            },
            tag => Err(Undecodable::Tag(tag)),
        }
    }
}

/// Message 2: the acceptor's verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    OkSimultaneous,
    Nok,
    NotAllowed,
    Alive,
    Named { name: String, creation: u32 },
}

impl Status {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![STATUS];
        match self {
            Self::Ok => out.extend(b"ok"),
            Self::OkSimultaneous => out.extend(b"ok_simultaneous"),
            Self::Nok => out.extend(b"nok"),
            Self::NotAllowed => out.extend(b"not_allowed"),
            Self::Alive => out.extend(b"alive"),
            Self::Named { name, creation } => {
                out.extend(b"named:");
                out.extend((name.len() as u16).to_be_bytes());
                out.extend(name.as_bytes());
                out.extend(creation.to_be_bytes());
            }
        }
        out
    }

    pub(super) fn decode(message: &[u8]) -> Result<Self, Undecodable> {
        let mut fields = Fields(message);
        fields.tag(STATUS)?;
        match fields.0 {
            b"ok" => Ok(Self::Ok),
            b"ok_simultaneous" => Ok(Self::OkSimultaneous),
            b"nok" => Ok(Self::Nok),
            b"not_allowed" => Ok(Self::NotAllowed),
            b"alive" => Ok(Self::Alive),
            text => {
                let mut fields = Fields(text.strip_prefix(b"named:").ok_or(Undecodable::Status)?);
                let name = std::str::from_utf8(fields.sized()?).map_err(|_| Undecodable::Status)?.to_owned();
                Ok(Self::Named { name, creation: fields.u32()? })
            }
        }
    }
}

/// Message 2b: what the initiator says to `alive`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AliveAnswer(pub(super) bool);

impl AliveAnswer {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = vec![STATUS];
        out.extend(if self.0 { b"true".as_slice() } else { b"false" });
        out
    }

    pub(super) fn decode(message: &[u8]) -> Result<Self, Undecodable> {
        let mut fields = Fields(message);
        fields.tag(STATUS)?;
        match fields.0 {
            b"true" => Ok(Self(true)),
            b"false" => Ok(Self(false)),
            _ => Err(Undecodable::Status),
        }
    }
}

/// Message 3: who accepts, and a number to hash with the cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SendChallenge {
    pub(super) flags: Flags,
    pub(super) challenge: u32,
    pub(super) creation: u32,
    pub(super) name: String,
}

impl SendChallenge {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![SEND_CHALLENGE];
        out.extend(self.flags.0.to_be_bytes());
        out.extend(self.challenge.to_be_bytes());
        out.extend(self.creation.to_be_bytes());
        put_name(&mut out, &self.name);
        out
    }

    pub(super) fn decode(message: &[u8]) -> Result<Self, Undecodable> {
        let mut fields = Fields(message);
        fields.tag(SEND_CHALLENGE)?;
        let flags = Flags(fields.u64()?);
        let challenge = fields.u32()?;
        let creation = fields.u32()?;
        Ok(Self { flags, challenge, creation, name: latin1(fields.sized()?) })
    }
}

/// Between messages 3 and 4, what did not fit into version 5's `send_name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SendComplement {
    /// The upper 32 flags.
    pub(super) flags_high: u32,
    pub(super) creation: u32,
}

impl SendComplement {
    pub(super) fn decode(message: &[u8]) -> Result<Self, Undecodable> {
        let mut fields = Fields(message);
        fields.tag(SEND_COMPLEMENT)?;
        Ok(Self { flags_high: fields.u32()?, creation: fields.u32()? })
    }
}

/// Message 4: the initiator's proof, and its own number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChallengeReply {
    pub(super) challenge: u32,
    pub(super) digest: DigestBytes,
}

impl ChallengeReply {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![CHALLENGE_REPLY];
        out.extend(self.challenge.to_be_bytes());
        out.extend(self.digest);
        out
    }

    pub(super) fn decode(message: &[u8]) -> Result<Self, Undecodable> {
        let mut fields = Fields(message);
        fields.tag(CHALLENGE_REPLY)?;
        Ok(Self { challenge: fields.u32()?, digest: fields.digest()? })
    }
}

/// Message 5: the acceptor's proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChallengeAck {
    pub(super) digest: DigestBytes,
}

impl ChallengeAck {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![CHALLENGE_ACK];
        out.extend(self.digest);
        out
    }

    pub(super) fn decode(message: &[u8]) -> Result<Self, Undecodable> {
        let mut fields = Fields(message);
        fields.tag(CHALLENGE_ACK)?;
        Ok(Self { digest: fields.digest()? })
    }
}

/// Whether a text can be a node's name.
pub(crate) fn check_node_name(name: &str) -> Result<(), NodeNameError> {
    let (alive, host) = name.split_once('@').ok_or(NodeNameError::At)?;
    if host.contains('@') {
        return Err(NodeNameError::At);
    }
    if alive.is_empty() || host.is_empty() {
        return Err(NodeNameError::Empty);
    }
    if name.chars().count() > NODE_NAME_CHARS_MAX {
        return Err(NodeNameError::TooLong);
    }
    Ok(())
}

/// A node's name as an atom.
pub(super) fn node_name(name: &str) -> Result<Atom, NodeNameError> {
    check_node_name(name)?;
    Atom::new(name).map_err(|_| NodeNameError::TooLong)
}

/// Whether a text can be the host in a node's name.
pub(super) fn check_host(host: &str) -> Result<(), NodeNameError> {
    if host.contains('@') {
        return Err(NodeNameError::At);
    }
    if host.is_empty() {
        return Err(NodeNameError::Empty);
    }
    // At least one character and the `@` go in front of it.
    if host.chars().count() > NODE_NAME_CHARS_MAX - 2 {
        return Err(NodeNameError::TooLong);
    }
    Ok(())
}

/// Names travel in Latin-1; [`Local`](super::Local) has only names that fit.
fn put_name(out: &mut Vec<u8>, name: &str) {
    let name: Vec<u8> = name.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
    out.extend((name.len() as u16).to_be_bytes());
    out.extend(name);
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// The rest of a message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Undecodable> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Undecodable::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, Undecodable> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, Undecodable> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Undecodable> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Undecodable> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn tag(&mut self, expected: u8) -> Result<(), Undecodable> {
        match self.u8()? {
            tag if tag == expected => Ok(()),
            tag => Err(Undecodable::Tag(tag)),
        }
    }

    /// Bytes with a 16-bit length in front.
    fn sized(&mut self) -> Result<&'a [u8], Undecodable> {
        let len = self.u16()?.into();
        let (head, rest) = self.0.split_at_checked(len).ok_or(Undecodable::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    /// The last field: nothing may follow it.
    fn digest(&mut self) -> Result<DigestBytes, Undecodable> {
        let digest = self.array()?;
        if self.0.is_empty() { Ok(digest) } else { Err(Undecodable::TrailingBytes) }
    }
}
