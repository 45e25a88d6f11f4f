//! What goes wrong with TLS, and whose fault it is.

use std::io;
use std::path::PathBuf;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use super::{Clients, Pem};

/// Why a node does not start with the TLS settings that it was given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no PEM, or has nothing in it of what it is for.
    #[error("{pem:?} has no {wanted}: {reason}")]
    Pem {
        /// What was given.
        pem: Pem,
        /// What it is for.
        wanted: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The private key is another certificate's.
    #[error("the private key {key:?} is not that of the certificate {certificates:?}")]
    OtherKey {
        /// The certificate.
        certificates: Pem,
        /// The key.
        key: Pem,
    },
    /// Nobody's certificate can be verified, as there is no CA.
    #[error("without a CA nobody's certificate can be verified, yet of nodes that connect {0:?} is asked")]
    NoCa(Clients),
    /// The certificate or the key is of a kind that cannot be used.
    #[error("the certificate {certificates:?} cannot be used: {reason}")]
    Unusable {
        /// The certificate.
        certificates: Pem,
        /// Why not.
        reason: String,
    },
}

/// Why there is no TLS with a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// What the peer sends is not TLS.
    #[error("the peer speaks no TLS, and this node speaks nothing else")]
    NotTls,
    /// The peer closed the connection before TLS stood.
    #[error("the peer closed the connection in the TLS handshake; does it speak TLS?")]
    Closed,
    /// The peer's certificate is not signed by an authority that this node trusts.
    #[error("the peer's certificate is not of this node's CA")]
    UnknownCa,
    /// The peer's certificate has expired, or this node's clock is ahead.
    #[error("the peer's certificate has expired ({0})")]
    Expired(String),
    /// The peer's certificate is not valid yet, or this node's clock is behind.
    #[error("the peer's certificate is not valid yet ({0})")]
    NotYetValid(String),
    /// The peer's certificate is for other hosts than the one in the peer's name.
    #[error(
        "the peer's certificate is not for the host {host}, which is in the peer's name, but for {}",
        names(certified)
    )]
    OtherHost {
        /// The host in the peer's name.
        host: String,
        /// The hosts in its certificate.
        certified: Vec<String>,
    },
    /// The host in the peer's name is none that a certificate could be for.
    #[error("{0:?} is no host that a certificate could be for")]
    NoHost(String),
    /// The peer's certificate is wrong in another way.
    #[error("the peer's certificate is not accepted: {0}")]
    BadCertificate(String),
    /// The peer has shown no certificate.
    #[error("the peer has shown no certificate, and this node asks for one")]
    NoCertificate,
    /// The peer refuses this node's certificate.
    #[error("the peer refuses this node's certificate: {0}")]
    Refused(String),
    /// Anything else that one end finds fault with.
    #[error("TLS failed: {0}")]
    Other(String),
}

fn names(certified: &[String]) -> String {
    if certified.is_empty() { "none".to_owned() } else { certified.join(", ") }
}

impl TlsError {
    /// What TLS had to say, if it is the cause of an error on a connection.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        let cause = error.get_ref()?;
        cause.downcast_ref().cloned().or_else(|| cause.downcast_ref::<Error>().map(Self::from))
    }

    /// As an error on a connection.
    pub(super) fn on_connection(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, self)
    }

    /// Tells what an error means that ends the TLS handshake.
    pub(super) fn in_handshake(error: io::Error) -> io::Error {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
        let meaning = match (error.kind(), cause) {
            (BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof, _) => Self::Closed,
            (_, Some(Error::InvalidMessage(invalid))) => match invalid {
                // No record of TLS begins like that.
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge => Self::NotTls,
                other => Self::Other(format!("{other:?}")),
            },
            (_, Some(error)) => error.into(),
            (_, None) => return error,
        };
        meaning.on_connection()
    }
}

impl From<&Error> for TlsError {
    fn from(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(error) => error.into(),
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::AlertReceived(alert) => match alert {
                AlertDescription::UnknownCA => Self::Refused("it is not of the peer's CA".to_owned()),
                AlertDescription::CertificateExpired => {
                    Self::Refused("it has expired, or the peer's clock is wrong".to_owned())
                }
                AlertDescription::CertificateRequired => {
                    Self::Refused("the peer wants one, and got none".to_owned())
                }
                AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateRevoked
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::AccessDenied => Self::Refused(format!("{alert:?}")),
                // Erlang's word for a certificate that is for another host, and for none. Source: ssl_handshake.erl in ssl.
                AlertDescription::HandshakeFailure => Self::Other(
                    "the peer says HandshakeFailure: no offer of this node suits it, or the certificate does not, \
                     or is not for this node's host"
                        .to_owned(),
                ),
                alert => Self::Other(format!("the peer says {alert:?}")),
            },
            error => Self::Other(error.to_string()),
        }
    }
}

impl From<&CertificateError> for TlsError {
    fn from(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer => Self::UnknownCa,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Self::Expired(error.to_string())
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid(error.to_string())
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                Self::OtherHost { host: expected.to_str().into_owned(), certified: presented.clone() }
            }
            CertificateError::BadSignature => {
                let guess = "a signature is wrong; is it of another CA by the same name?";
                Self::BadCertificate(guess.to_owned())
            }
            error => Self::BadCertificate(error.to_string()),
        }
    }
}
