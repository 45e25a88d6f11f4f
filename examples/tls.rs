//! Two nodes that talk over TLS, and a third that is not let in: its certificate is another authority's.
//! `cargo run --example tls --features tls`

use beamline::prelude::*;
use beamline::tls::{Clients, Tls};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// An authority, which an operator makes once, with OpenSSL for instance, and keeps.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    fn new(name: &str) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// What a node on this host gets. A program takes the paths of its files instead: `Tls::mutual("ca.pem", "cert.pem", "key.pem")`.
    fn tls(&self, host: &str) -> Result<Tls, rcgen::Error> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new([host.to_owned()])?.signed_by(&key, &self.issuer)?;
        let pem = |text: String| text.into_bytes();
        let tls =
            Tls::mutual(pem(self.certificate.clone()), pem(certificate.pem()), pem(key.serialize_pem()));
        Ok(tls.clients(Clients::OfTheirHost))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (ours, theirs) = (Authority::new("our CA")?, Authority::new("their CA")?);
    let start = |name: &str, tls| Node::builder(name).cookie("secret").tls(tls).start();
    let shop = start("shop@127.0.0.1", ours.tls("127.0.0.1")?).await?;
    let till = start("till@127.0.0.1", ours.tls("127.0.0.1")?).await?;
    let stranger = start("stranger@127.0.0.1", theirs.tls("127.0.0.1")?).await?;

    let (told, heard) = tokio::sync::oneshot::channel();
    let listener = shop.spawn(|mut cx| async move {
        let _ = told.send(cx.receive().await);
        ExitReason::Normal
    })?;
    till.send(&listener, "nobody else can read this")?;
    println!("the shop has heard: {}", heard.await?);
    if let Err(error) = stranger.connect("shop@127.0.0.1").await {
        println!("the stranger is not connected: {error}");
    }
    till.stop().await;
    shop.stop().await;
    Ok(())
}
