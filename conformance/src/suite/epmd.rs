//! Requests to an EPMD.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::term::{number, take};
use crate::wire::{LOOK, PATIENCE, Wire, WireError};
use crate::{Failure, seen};

/// Where an EPMD listens.
#[derive(Clone, Debug)]
pub(crate) struct Epmd {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// What EPMD says of a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) port: u16,
    pub(crate) kind: u8,
    pub(crate) protocol: u8,
    pub(crate) highest: u16,
    pub(crate) lowest: u16,
    pub(crate) name: String,
}

/// A name that is registered while this lives.
pub(crate) struct Registration {
    pub(crate) wire: Wire,
}

/// ALIVE2 of a visible node.
pub(crate) fn alive(name: &str, port: u16) -> Vec<u8> {
    let mut request = vec![120];
    request.extend(port.to_be_bytes());
    request.extend([77, 0, 0, 6, 0, 6]);
    request.extend((name.len() as u16).to_be_bytes());
    request.extend(name.as_bytes());
    request.extend([0, 0]);
    request
}

impl Epmd {
    pub(crate) fn connect(&self) -> Result<Wire, Failure> {
        Wire::connect(&self.host, self.port)
            .map_err(|error| seen(format!("no EPMD at {}:{}: {error}", self.host, self.port)))
    }

    /// Sends a request and returns all that comes until EPMD closes the connection.
    pub(crate) fn ask(&self, request: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut wire = self.connect()?;
        wire.send_short(request)?;
        Ok(wire.until_closed(PATIENCE)?)
    }

    /// PORT_PLEASE2.
    pub(crate) fn port_please(&self, name: &str) -> Result<Option<Entry>, Failure> {
        let mut request = vec![122];
        request.extend(name.as_bytes());
        let answer = self.ask(&request)?;
        let parse = || {
            let mut rest = &answer[..];
            if number(&mut rest, 1)? != 119 {
                return Err("no answer to PORT_PLEASE2".to_owned());
            }
            if number(&mut rest, 1)? != 0 {
                return Ok(None);
            }
            let port = number(&mut rest, 2)? as u16;
            let (kind, protocol) = (number(&mut rest, 1)? as u8, number(&mut rest, 1)? as u8);
            let (highest, lowest) = (number(&mut rest, 2)? as u16, number(&mut rest, 2)? as u16);
            let len = number(&mut rest, 2)? as usize;
            let name = String::from_utf8_lossy(take(&mut rest, len)?).into_owned();
            let len = number(&mut rest, 2)? as usize;
            take(&mut rest, len)?;
            Ok(Some(Entry { port, kind, protocol, highest, lowest, name }))
        };
        parse().map_err(|error| seen(format!("{error}: {answer:?}")))
    }

    /// ALIVE2; `None` if EPMD says that it cannot be.
    pub(crate) fn register(&self, name: &str, port: u16) -> Result<Option<Registration>, Failure> {
        let mut wire = self.connect()?;
        wire.send_short(&alive(name, port))?;
        let end = Instant::now() + PATIENCE;
        let head = wire.exactly(2, end)?;
        let len = match head[0] {
            118 => 4,
            121 => 2,
            _ => return Err(seen(format!("{head:?} in answer to ALIVE2"))),
        };
        let creation = wire.exactly(len, end)?;
        if head[1] == 0 && creation.iter().all(|&byte| byte == 0) {
            return Err(seen("the creation 0"));
        }
        Ok((head[1] == 0).then_some(Registration { wire }))
    }

    /// Whether the name goes away within this time.
    pub(crate) fn forgets(&self, name: &str, within: Duration) -> Result<bool, Failure> {
        let end = Instant::now() + within;
        loop {
            if self.port_please(name)?.is_none() {
                return Ok(true);
            }
            if Instant::now() > end {
                return Ok(false);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// A listener on loopback that is registered as `name`.
    pub(crate) fn listen(&self, name: &str) -> Result<(TcpListener, Registration), Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(WireError::from)?;
        let port = listener.local_addr().map_err(WireError::from)?.port();
        let registration =
            self.register(name, port)?.ok_or_else(|| Failure::Harness(format!("{name} is taken")))?;
        Ok((listener, registration))
    }
}
