//! What lies between a connection and its handshake: TLS, or nothing.

use super::{ConnectError, Inner};
use crate::dist::handshake::LengthPrefix;
use crate::term::Atom;
use crate::world::Conn;

/// A connection that is ready for the handshake.
pub(super) struct Secured {
    pub(super) conn: Conn,
    /// That of the handshake's messages.
    pub(super) prefix: LengthPrefix,
}

/// Who has connected, as far as that is known before it says its name.
#[derive(Default)]
pub(super) struct Guest {
    #[cfg(feature = "tls")]
    certificate: Option<crate::tls::Certificate>,
}

impl Guest {
    /// Whether it can be this node.
    pub(super) fn is(&self, peer: &Atom) -> Result<(), ConnectError> {
        #[cfg(feature = "tls")]
        if let Some(certificate) = &self.certificate {
            certificate.is_for(host(peer))?;
        }
        let _ = peer;
        Ok(())
    }
}

#[cfg(feature = "tls")]
fn host(node: &Atom) -> &str {
    node.split_once('@').map_or("", |(_, host)| host)
}

/// To a peer that is connected to.
pub(super) async fn connect(inner: &Inner, conn: Conn, peer: &Atom) -> Result<Secured, ConnectError> {
    #[cfg(feature = "tls")]
    if let Some(tls) = &inner.options.tls {
        let conn = tls.connect(conn, host(peer)).await?;
        return Ok(Secured { conn, prefix: LengthPrefix::Four });
    }
    let _ = (inner, peer);
    Ok(Secured { conn, prefix: LengthPrefix::Two })
}

/// To a peer that has connected.
pub(super) async fn accept(inner: &Inner, conn: Conn) -> Result<(Secured, Guest), ConnectError> {
    #[cfg(feature = "tls")]
    if let Some(tls) = &inner.options.tls {
        let crate::tls::Secured { conn, certificate } = tls.accept(conn).await?;
        return Ok((Secured { conn, prefix: LengthPrefix::Four }, Guest { certificate }));
    }
    let _ = inner;
    Ok((Secured { conn, prefix: LengthPrefix::Two }, Guest::default()))
}
