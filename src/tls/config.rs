//! What TLS is told at a node's start.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{
    CryptoProvider, GetRandomFailed, SecureRandom, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, InconsistentKeys, RootCertStore, ServerConfig,
    SignatureScheme,
};

use super::{Clients, Pem, Tls, TlsConfigError};
use crate::world::{Clock, World};

/// One node's end of all its TLS connections.
pub(crate) struct Endpoint {
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
    pub(super) clients: Clients,
    pub(super) world: World,
}

impl Endpoint {
    /// Reads the files.
    pub(crate) fn new(tls: &Tls, world: &World) -> Result<Self, TlsConfigError> {
        if tls.ca.is_none() && tls.clients != Clients::NotAsked {
            return Err(TlsConfigError::NoCa(tls.clients));
        }
        // rustls keeps it for ever: that is a few hundred bytes for each start of a node.
        let random: &'static WorldRandom =
            Box::leak(Box::new(WorldRandom(Mutex::new(world.entropy.fork("tls")))));
        let provider = Arc::new(CryptoProvider { secure_random: random, ..ring::default_provider() });
        let time = Arc::new(WorldTime(world.clock.clone()));
        let roots = tls.ca.as_ref().map(roots).transpose()?.map(Arc::new);

        let unusable =
            |reason: String| TlsConfigError::Unusable { certificates: tls.certificates.clone(), reason };
        let rejected = |error: Error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsConfigError::OtherKey { certificates: tls.certificates.clone(), key: tls.key.clone() }
            }
            error => unusable(error.to_string()),
        };
        let (chain, key) = (certificates(&tls.certificates)?, private_key(&tls.key)?);

        let verifier: Arc<dyn ServerCertVerifier> = match &roots {
            Some(roots) => WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
                .build()
                .map_err(|error| unusable(error.to_string()))?,
            None => Arc::new(Anybody(provider.clone())),
        };
        let mut client = ClientConfig::builder_with_details(provider.clone(), time.clone())
            .with_safe_default_protocol_versions()
            .map_err(rejected)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(rejected)?;
        client.resumption = Resumption::disabled();

        let verifier = match (tls.clients, roots) {
            (Clients::Verified | Clients::OfTheirHost, Some(roots)) => {
                WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
                    .build()
                    .map_err(|error| unusable(error.to_string()))?
            }
            (Clients::NotAsked, _) | (_, None) => WebPkiClientVerifier::no_client_auth(),
        };
        let mut server = ServerConfig::builder_with_details(provider, time)
            .with_safe_default_protocol_versions()
            .map_err(rejected)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(rejected)?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;

        if tls.ca.is_none() {
            tracing::warn!(
                "TLS verifies nobody: whoever can answer in a peer's place can read and change all that is sent"
            );
        }
        Ok(Self {
            client: Arc::new(client),
            server: Arc::new(server),
            clients: tls.clients,
            world: world.clone(),
        })
    }
}

fn read(pem: &Pem) -> Result<Vec<u8>, TlsConfigError> {
    match pem {
        Pem::File(path) => {
            std::fs::read(path).map_err(|source| TlsConfigError::Read { path: path.clone(), source })
        }
        Pem::Bytes(bytes) => Ok(bytes.clone()),
    }
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let bad = |reason: String| TlsConfigError::Pem { pem: pem.clone(), wanted: "certificate", reason };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(pem)?).collect();
    let found = found.map_err(|error| bad(error.to_string()))?;
    if found.is_empty() { Err(bad("there is none in it".to_owned())) } else { Ok(found) }
}

fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, TlsConfigError> {
    PrivateKeyDer::from_pem_slice(&read(pem)?).map_err(|error| {
        let reason = error.to_string();
        TlsConfigError::Pem { pem: pem.clone(), wanted: "private key", reason }
    })
}

pub(super) fn roots(pem: &Pem) -> Result<RootCertStore, TlsConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| {
            let reason = error.to_string();
            TlsConfigError::Pem { pem: pem.clone(), wanted: "certificate of an authority", reason }
        })?;
    }
    Ok(roots)
}

/// The node's clock, which certificates are valid by.
struct WorldTime(Arc<dyn Clock>);

impl TimeProvider for WorldTime {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.wall().duration_since(SystemTime::UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

impl fmt::Debug for WorldTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorldTime")
    }
}

/// The node's randomness. Key exchange draws from the system all the same: `ring` lets nobody else choose its keys.
struct WorldRandom(Mutex<ChaCha8Rng>);

impl SecureRandom for WorldRandom {
    fn fill(&self, buf: &mut [u8]) -> Result<(), GetRandomFailed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(buf);
        Ok(())
    }
}

impl fmt::Debug for WorldRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorldRandom")
    }
}

/// Takes any certificate, from whoever has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
