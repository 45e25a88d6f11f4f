//! TLS on top of a connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, Join, ReadBuf, ReadHalf, join};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::{Clients, Endpoint, TlsError};
use crate::world::{BoxRead, BoxWrite, Conn, ShutOnDrop};

/// How long a peer may take to hear why it is refused.
const LINGER: Duration = Duration::from_secs(1);
/// What may still be under way from it meanwhile.
const LINGER_BYTES: u64 = 64 << 10;

type Inner = Join<BoxRead, BoxWrite>;

/// A connection in TLS.
pub(crate) struct Secured {
    pub(crate) conn: Conn,
    /// What a node that connects has to be measured by, once it has said its name.
    pub(crate) certificate: Option<Certificate>,
}

/// A verified certificate of a peer.
pub(crate) struct Certificate(CertificateDer<'static>);

impl Certificate {
    /// Whether it is for this host.
    pub(crate) fn is_for(&self, host: &str) -> Result<(), TlsError> {
        let certificate = ParsedCertificate::try_from(&self.0).map_err(|error| TlsError::from(&error))?;
        verify_server_name(&certificate, &server_name(host)?).map_err(|error| TlsError::from(&error))
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(host.to_owned()).map_err(|_| TlsError::NoHost(host.to_owned()))
}

impl Endpoint {
    /// Begins TLS with the peer that was connected to, as the host that is in its name.
    pub(crate) async fn connect(&self, conn: Conn, host: &str) -> io::Result<Conn> {
        let name = server_name(host).map_err(TlsError::on_connection)?;
        let (inner, rest) = undress(conn);
        let connected = TlsConnector::from(self.client.clone()).connect(name, inner).await;
        let stream = connected.map_err(TlsError::in_handshake)?;
        Ok(rest.dress(stream.into()))
    }

    /// Begins TLS with a peer that has connected.
    pub(crate) async fn accept(&self, conn: Conn) -> io::Result<Secured> {
        let (inner, rest) = undress(conn);
        let accepted = TlsAcceptor::from(self.server.clone()).accept(inner).into_fallible().await;
        let stream = match accepted {
            Ok(stream) => stream,
            Err((error, inner)) => {
                // If the socket closed now, with something from the peer still unread, the system would reset the connection, and
                // the peer might not hear what is wrong.
                let _ = self.world.timeout(LINGER, linger(inner)).await;
                return Err(TlsError::in_handshake(error));
            }
        };
        let certificate = match self.clients {
            Clients::NotAsked | Clients::Verified => None,
            Clients::OfTheirHost => {
                let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let first = chain.first().ok_or_else(|| TlsError::NoCertificate.on_connection())?;
                Some(Certificate(first.clone()))
            }
        };
        Ok(Secured { conn: rest.dress(stream.into()), certificate })
    }
}

async fn linger(mut inner: Inner) {
    if inner.shutdown().await.is_ok() {
        let _ = tokio::io::copy(&mut inner.take(LINGER_BYTES), &mut tokio::io::sink()).await;
    }
}

/// What TLS does not touch.
struct Addresses {
    local: std::net::SocketAddr,
    peer: std::net::SocketAddr,
}

fn undress(conn: Conn) -> (Inner, Addresses) {
    let Conn { read, write, local, peer, .. } = conn;
    (join(read, write), Addresses { local, peer })
}

impl Addresses {
    fn dress(self, stream: TlsStream<Inner>) -> Conn {
        let (read, write) = tokio::io::split(stream);
        let Self { local, peer } = self;
        Conn { read: Box::new(Reader(read)), write: Box::new(ShutOnDrop(write)), wait: None, local, peer }
    }
}

struct Reader(ReadHalf<TlsStream<Inner>>);

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(cx, buf) {
            // A peer that is killed says no goodbye in TLS. Nothing can be cut off unnoticed by that: all messages have their length.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            polled => polled,
        }
    }
}
