//! Requests to EPMD and its answers, both ways. A request is preceded by its length in 16 bits, an answer by
//! nothing.

use std::fmt::Write as _;

/// The longest request that the daemon takes, in bytes without the length before it: OTP's refuses more.
pub const REQUEST_LEN_MAX: usize = 3057;
/// The most characters that a name may have.
pub const NAME_CHARS_MAX: usize = 255;
/// The most bytes of extra that a node may register: OTP's daemon refuses more.
pub const EXTRA_LEN_MAX: usize = 4 * NAME_CHARS_MAX;
/// The most bytes that a client reads of an answer. Only NAMES and DUMP grow, by the number of nodes on one
/// host: this holds about 4000 of the longest names.
pub const ANSWER_LEN_MAX: usize = 4 << 20;
/// The creation in a refusal.
pub const REFUSED_CREATION: u32 = 99;

const ALIVE2: u8 = 120;
const ALIVE2_RESP: u8 = 121;
const ALIVE2_X_RESP: u8 = 118;
const PORT_PLEASE2: u8 = 122;
const PORT2_RESP: u8 = 119;
const NAMES: u8 = 110;
const DUMP: u8 = 100;
const KILL: u8 = 107;
const STOP: u8 = 115;

/// The answer to an allowed KILL.
pub const KILL_OK: &[u8] = b"OK";
/// The answer to a KILL while nodes are registered.
pub const KILL_NO: &[u8] = b"NO";
/// The answer to STOP.
pub const STOPPED: &[u8] = b"STOPPED";
/// What precedes [`STOPPED`] if there is no such name.
pub const NO_EXIST: &[u8] = b"NOEXIST";

/// Bytes that are no message of EPMD's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The message ends too early.
    #[error("the message ends within its {field}, at byte {offset}")]
    Truncated {
        /// The part that is cut short.
        field: &'static str,
        /// Where that part begins.
        offset: usize,
    },
    /// There is no such message.
    #[error("no message begins with {tag}")]
    Unknown {
        /// Its first byte.
        tag: u8,
    },
    /// The request is longer than a daemon takes.
    #[error("a request has at most {REQUEST_LEN_MAX} bytes, this one has {len}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// A request without a name that needs one.
    #[error("the name is empty")]
    EmptyName,
    /// A name with a NUL byte, which ends names in the daemon.
    #[error("the name has a NUL at its byte {offset}")]
    NulInName {
        /// Where in the name.
        offset: usize,
    },
    /// A line of NAMES that does not read `name NAME at port PORT`.
    #[error("line {line} does not name a node and its port")]
    BadLine {
        /// Which, counted from 1.
        line: usize,
    },
}

/// What a node tells the daemon about itself, and the daemon others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The part of the node's name before `@`. UTF-8, unless a peer sent something else.
    pub name: Vec<u8>,
    /// Where the node listens.
    pub port: u16,
    /// 77 for a node, 72 for a hidden one; OTP sends 77 for both.
    pub node_type: u8,
    /// 0: TCP over IPv4.
    pub protocol: u8,
    /// The highest version of the distribution protocol that the node speaks.
    pub highest: u16,
    /// The lowest.
    pub lowest: u16,
    /// Handed on as it is.
    pub extra: Vec<u8>,
}

impl Registration {
    /// What OTP's nodes send: type 77, version 6 only, no extra.
    pub fn new(name: &str, port: u16) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            port,
            node_type: 77,
            protocol: 0,
            highest: 6,
            lowest: 6,
            extra: Vec::new(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.port.to_be_bytes());
        out.extend_from_slice(&[self.node_type, self.protocol]);
        out.extend_from_slice(&self.highest.to_be_bytes());
        out.extend_from_slice(&self.lowest.to_be_bytes());
        // Lengths past 16 bits make a request longer than `REQUEST_LEN_MAX`, which is refused as a whole.
        out.extend_from_slice(&(self.name.len() as u16).to_be_bytes());
        out.extend_from_slice(&self.name);
        out.extend_from_slice(&(self.extra.len() as u16).to_be_bytes());
        out.extend_from_slice(&self.extra);
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, MessageError> {
        let port = fields.u16("port")?;
        let node_type = fields.u8("node type")?;
        let protocol = fields.u8("protocol")?;
        let highest = fields.u16("highest version")?;
        let lowest = fields.u16("lowest version")?;
        let name_len = fields.u16("name length")?;
        let name = fields.bytes("name", name_len.into())?.to_vec();
        check_name(&name)?;
        let extra_len = fields.u16("extra length")?;
        let extra = fields.bytes("extra", extra_len.into())?.to_vec();
        Ok(Self { name, port, node_type, protocol, highest, lowest, extra })
    }
}

/// A question to the daemon, or an order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// ALIVE2_REQ: register a node for as long as the connection lives.
    Alive2(Registration),
    /// PORT_PLEASE2_REQ: where does this node listen?
    PortPlease2(Vec<u8>),
    /// NAMES_REQ: which nodes are there?
    Names,
    /// DUMP_REQ: which are there and which were?
    Dump,
    /// KILL_REQ: end the daemon.
    Kill,
    /// STOP_REQ: unregister a node.
    Stop(Vec<u8>),
}

impl Request {
    /// The request as it is sent, with its length before it.
    ///
    /// # Errors
    /// If it is longer than a daemon takes, or its name is empty or has a NUL.
    pub fn encode(&self) -> Result<Vec<u8>, MessageError> {
        let mut out = vec![0, 0];
        match self {
            Self::Alive2(registration) => {
                check_name(&registration.name)?;
                out.push(ALIVE2);
                registration.write(&mut out);
            }
            Self::PortPlease2(name) | Self::Stop(name) => {
                check_name(name)?;
                out.push(if matches!(self, Self::Stop(_)) { STOP } else { PORT_PLEASE2 });
                out.extend_from_slice(name);
            }
            Self::Names => out.push(NAMES),
            Self::Dump => out.push(DUMP),
            Self::Kill => out.push(KILL),
        }
        let len = out.len() - 2;
        if len > REQUEST_LEN_MAX {
            return Err(MessageError::TooLong { len });
        }
        out[..2].copy_from_slice(&(len as u16).to_be_bytes());
        Ok(out)
    }

    /// The request in these bytes, which do not include the length before it. Bytes past its end are ignored.
    ///
    /// # Errors
    /// If they are none.
    pub fn decode(body: &[u8]) -> Result<Self, MessageError> {
        if body.len() > REQUEST_LEN_MAX {
            return Err(MessageError::TooLong { len: body.len() });
        }
        let mut fields = Fields::new(body);
        match fields.u8("tag")? {
            ALIVE2 => Registration::read(&mut fields).map(Self::Alive2),
            PORT_PLEASE2 => named(fields.rest()).map(Self::PortPlease2),
            NAMES => Ok(Self::Names),
            DUMP => Ok(Self::Dump),
            KILL => Ok(Self::Kill),
            STOP => named(fields.rest()).map(Self::Stop),
            tag => Err(MessageError::Unknown { tag }),
        }
    }
}

/// A name that fills the rest of a request; old clients end it with a NUL.
fn named(rest: &[u8]) -> Result<Vec<u8>, MessageError> {
    let name = rest.strip_suffix(&[0]).unwrap_or(rest);
    check_name(name)?;
    Ok(name.to_vec())
}

fn check_name(name: &[u8]) -> Result<(), MessageError> {
    if name.is_empty() {
        return Err(MessageError::EmptyName);
    }
    match name.iter().position(|&byte| byte == 0) {
        Some(offset) => Err(MessageError::NulInName { offset }),
        None => Ok(()),
    }
}

/// ALIVE2_RESP or ALIVE2_X_RESP: the answer to a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alive2Answer {
    /// 0 if the node is registered now.
    pub result: u8,
    /// Which of the lives of its name this is.
    pub creation: u32,
}

impl Alive2Answer {
    /// The answer as it is sent to a node whose highest version is `highest`: before 6 a creation was 1, 2 or 3.
    pub fn encode(&self, highest: u16) -> Vec<u8> {
        if highest >= 6 {
            let mut out = vec![ALIVE2_X_RESP, self.result];
            out.extend_from_slice(&self.creation.to_be_bytes());
            return out;
        }
        let creation = match self.result {
            0 => (self.creation % 3 + 1) as u16,
            _ => self.creation as u16,
        };
        let mut out = vec![ALIVE2_RESP, self.result];
        out.extend_from_slice(&creation.to_be_bytes());
        out
    }

    /// The answer that these bytes begin with.
    ///
    /// # Errors
    /// [`MessageError::Truncated`] if more of it is to come.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let mut fields = Fields::new(bytes);
        let tag = fields.u8("tag")?;
        if !matches!(tag, ALIVE2_X_RESP | ALIVE2_RESP) {
            return Err(MessageError::Unknown { tag });
        }
        let result = fields.u8("result")?;
        let creation = match tag {
            ALIVE2_X_RESP => fields.u32("creation")?,
            _ => fields.u16("creation")?.into(),
        };
        Ok(Self { result, creation })
    }
}

/// PORT2_RESP as it is sent, for a node that is registered or for none.
pub fn encode_port2(found: Option<&Registration>) -> Vec<u8> {
    let mut out = vec![PORT2_RESP, u8::from(found.is_none())];
    if let Some(registration) = found {
        registration.write(&mut out);
    }
    out
}

/// PORT2_RESP as it is received: the node, or `None` if there is none of that name.
///
/// # Errors
/// [`MessageError::Truncated`] if more of it is to come.
pub fn decode_port2(bytes: &[u8]) -> Result<Option<Registration>, MessageError> {
    let mut fields = Fields::new(bytes);
    match fields.u8("tag")? {
        PORT2_RESP if fields.u8("result")? == 0 => Registration::read(&mut fields).map(Some),
        PORT2_RESP => Ok(None),
        tag => Err(MessageError::Unknown { tag }),
    }
}

/// The answer to NAMES.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// The port of the daemon itself, which OTP compares with the one that it asked.
    pub epmd_port: u32,
    /// The nodes and the ports that they listen on, as the daemon lists them.
    pub nodes: Vec<(String, u16)>,
}

impl Names {
    /// The answer in these bytes, which are all that the daemon sent.
    ///
    /// # Errors
    /// If they are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let mut fields = Fields::new(bytes);
        let epmd_port = fields.u32("daemon's port")?;
        let text = String::from_utf8_lossy(fields.rest());
        let nodes = text.lines().enumerate().map(|(at, line)| {
            line.strip_prefix("name ")
                .and_then(|line| line.rsplit_once(" at port "))
                .and_then(|(name, port)| Some((name.to_owned(), port.parse().ok()?)))
                .ok_or(MessageError::BadLine { line: at + 1 })
        });
        Ok(Self { epmd_port, nodes: nodes.collect::<Result<_, _>>()? })
    }
}

/// One line of the answer to NAMES.
pub(super) fn write_name(out: &mut Vec<u8>, registration: &Registration) {
    out.extend_from_slice(b"name ");
    out.extend_from_slice(&registration.name);
    write_text(out, format_args!(" at port {}\n", registration.port));
}

/// One entry of the answer to DUMP for a living node; `connection` stands where OTP's daemon puts a descriptor.
pub(super) fn write_active(out: &mut Vec<u8>, registration: &Registration, connection: u64) {
    out.extend_from_slice(b"active name     <");
    out.extend_from_slice(&registration.name);
    write_text(out, format_args!("> at port {}, fd = {connection}\n\0", registration.port));
}

/// One entry of the answer to DUMP for a node that is gone.
pub(super) fn write_unused(out: &mut Vec<u8>, name: &[u8], port: u16, connection: u64) {
    out.extend_from_slice(b"old/unused name <");
    out.extend_from_slice(name);
    write_text(out, format_args!(">, port = {port}, fd = {connection} \n\0"));
}

fn write_text(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let mut buffer = String::new();
    // Writing to a string cannot fail.
    let _ = buffer.write_fmt(text);
    out.extend_from_slice(buffer.as_bytes());
}

/// Fixed fields one after the other, from bytes that may end anywhere.
struct Fields<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    fn bytes(&mut self, field: &'static str, len: usize) -> Result<&'a [u8], MessageError> {
        let end = self.offset.saturating_add(len);
        let bytes =
            self.bytes.get(self.offset..end).ok_or(MessageError::Truncated { field, offset: self.offset })?;
        self.offset = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], MessageError> {
        let offset = self.offset;
        self.bytes(field, N)?.try_into().map_err(|_| MessageError::Truncated { field, offset })
    }

    fn u8(&mut self, field: &'static str) -> Result<u8, MessageError> {
        Ok(u8::from_be_bytes(self.array(field)?))
    }

    fn u16(&mut self, field: &'static str) -> Result<u16, MessageError> {
        Ok(u16::from_be_bytes(self.array(field)?))
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, MessageError> {
        Ok(u32::from_be_bytes(self.array(field)?))
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
