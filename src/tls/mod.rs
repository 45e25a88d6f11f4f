//! Distribution over TLS, for nodes whose network is not theirs alone (the cargo feature `tls`).
//!
//! [`Builder::tls`](crate::node::Builder::tls) has all connections of a node to others in TLS 1.2 or 1.3, those it makes and those it
//! takes. The protocol inside is the same, its cookie too, and so is EPMD, which stays in the clear and does not say who speaks TLS:
//! all nodes of a cluster do, or none.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use beamline::node::Node;
//! use beamline::tls::Tls;
//!
//! let tls = Tls::mutual("ca.pem", "cert.pem", "key.pem");
//! let node = Node::builder("shop@shop.example.com").cookie("secret").tls(tls).start().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # A cluster with Erlang nodes
//!
//! A node has a certificate and its key, and all have the certificate of the authority that signed them. The certificate names the
//! host as the node's name does, after the `@`, in its `subjectAltName`: a DNS name; if the node's name has an IP address, that address
//! both as one, for nodes of this kind, and as a DNS name, for Erlang's (`IP:10.0.0.1,DNS:10.0.0.1`). A subject's common name does not
//! count. It serves for both roles: if it has an extended key usage at all, that has both
//! `serverAuth` and `clientAuth`. With OpenSSL, for the host `shop.example.com`:
//!
//! ```sh
//! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=cluster" -keyout ca.key -out ca.pem
//! openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=shop" -keyout key.pem -out shop.csr
//! echo "subjectAltName=DNS:shop.example.com" > shop.ext
//! openssl x509 -req -in shop.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 -extfile shop.ext -out cert.pem
//! ```
//!
//! An Erlang node gets the same three files through an option file, `ssl_dist.conf`, the second file that an operator writes:
//!
//! ```erlang
//! [{server, [{certfile, "cert.pem"}, {keyfile, "key.pem"}, {cacertfile, "ca.pem"},
//!            {verify, verify_peer}, {fail_if_no_peer_cert, true}, {versions, ['tlsv1.3']}]},
//!  {client, [{certfile, "cert.pem"}, {keyfile, "key.pem"}, {cacertfile, "ca.pem"},
//!            {verify, verify_peer}, {versions, ['tlsv1.3']}]}].
//! ```
//!
//! Without `versions`, OTP 25 and 27 use TLS 1.2 for distribution. It works too, but in it an Erlang node closes a connection once
//! it has sent 2^28 messages over it, to connect again with the next: it wants to negotiate anew, which is no part of TLS
//! here, as it is none of TLS 1.3.
//!
//! ```sh
//! erl -name app@app.example.com -setcookie secret -proto_dist inet_tls -ssl_dist_optfile ssl_dist.conf
//! ```
//!
//! # What is verified
//!
//! | | the node that is connected to shows a certificate of the CA, for the host it was called by | the node that connects shows one of the CA | and that for the host in its name |
//! |---|---|---|---|
//! | [`Tls::mutual`] | yes | yes | no |
//! | with [`Clients::OfTheirHost`] | yes | yes | yes |
//! | with [`Clients::NotAsked`] | yes | no | no |
//! | [`Tls::unverified`] | **no** | **no** | **no** |
//!
//! Names, chains and times are checked anew for each connection, as no TLS session is resumed. Lists of revoked certificates are not
//! looked at. The files are read when the node starts.
//!
//! Source: *Using TLS for Erlang Distribution* in the user's guide of Erlang's `ssl`.

mod config;
mod error;
mod stream;

use std::fmt;
use std::path::{Path, PathBuf};

pub use self::error::{TlsConfigError, TlsError};

pub(crate) use self::config::Endpoint;
pub(crate) use self::stream::{Certificate, Secured};

/// Text in PEM: certificates, or a private key.
#[derive(Clone)]
#[non_exhaustive]
pub enum Pem {
    /// In a file.
    File(PathBuf),
    /// As it is.
    Bytes(Vec<u8>),
}

impl From<&str> for Pem {
    /// The path of a file.
    fn from(path: &str) -> Self {
        Self::File(path.into())
    }
}

impl From<&Path> for Pem {
    fn from(path: &Path) -> Self {
        Self::File(path.into())
    }
}

impl From<PathBuf> for Pem {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<Vec<u8>> for Pem {
    /// The text itself.
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.fmt(f),
            // It may be a secret.
            Self::Bytes(bytes) => write!(f, "{} bytes of PEM", bytes.len()),
        }
    }
}

/// What a node asks of the nodes that connect to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Clients {
    /// Nothing but the cookie.
    NotAsked,
    /// A certificate of the CA.
    Verified,
    /// A certificate of the CA for the host that is in the name of the node. Without this, who has any certificate of the CA, and the
    /// cookie, can be a node on any host.
    OfTheirHost,
}

/// What a node needs for TLS, and what it asks of others: see the [module](self).
#[derive(Debug, Clone)]
#[must_use = "it is given to a node's builder"]
pub struct Tls {
    certificates: Pem,
    key: Pem,
    /// `None` if nobody is verified.
    ca: Option<Pem>,
    clients: Clients,
}

impl Tls {
    /// This node and its peers show each other certificates of the same authority.
    ///
    /// `ca` has the certificates of the authorities that are trusted, and these alone; `certificates` the node's own and
    /// those between it and the authority, if there are any, in this order; `key` the private key of the first.
    pub fn mutual(ca: impl Into<Pem>, certificates: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        let (certificates, key) = (certificates.into(), key.into());
        Self { certificates, key, ca: Some(ca.into()), clients: Clients::Verified }
    }

    /// **Verifies nobody**: what is sent cannot be read on its way by who only listens, but whoever can answer in a peer's place can
    /// read and change all of it, and the cookie alone keeps strangers out. For tests, and for a cluster that is yet to get
    /// certificates of an authority. A node that starts with it says so in the log.
    pub fn unverified(certificates: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        let (certificates, key) = (certificates.into(), key.into());
        Self { certificates, key, ca: None, clients: Clients::NotAsked }
    }

    /// What nodes that connect to this one have to show: [`Clients::Verified`] if nothing is said. Without a CA there is nothing to
    /// verify them against, and no node starts with anything but [`Clients::NotAsked`].
    pub fn clients(mut self, clients: Clients) -> Self {
        self.clients = clients;
        self
    }
}

#[cfg(test)]
mod tests;
