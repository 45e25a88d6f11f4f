//! What `--tls` says.

use std::path::PathBuf;
use std::str::FromStr;

use beamline::tls::Tls;

/// Where the node's certificate is from.
#[derive(Debug, Clone)]
pub(crate) enum TlsOption {
    /// It makes one itself.
    Auto,
    /// Files that others have made.
    Files { certificate: PathBuf, key: PathBuf, ca: Option<PathBuf> },
}

impl FromStr for TlsOption {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<_> = text.split(',').collect();
        match parts[..] {
            ["auto"] => Ok(Self::Auto),
            [certificate, key] => {
                Ok(Self::Files { certificate: certificate.into(), key: key.into(), ca: None })
            }
            [certificate, key, ca] => {
                Ok(Self::Files { certificate: certificate.into(), key: key.into(), ca: Some(ca.into()) })
            }
            _ => Err("it is auto, CERT,KEY or CERT,KEY,CA"),
        }
    }
}

impl TlsOption {
    /// The settings of a node on this host.
    pub(crate) fn tls(self, host: &str) -> Result<Tls, rcgen::Error> {
        Ok(match self {
            Self::Auto => {
                let own = rcgen::generate_simple_self_signed([host.to_owned()])?;
                Tls::unverified(own.cert.pem().into_bytes(), own.signing_key.serialize_pem().into_bytes())
            }
            Self::Files { certificate, key, ca: None } => Tls::unverified(certificate, key),
            Self::Files { certificate, key, ca: Some(ca) } => Tls::mutual(ca, certificate, key),
        })
    }
}
