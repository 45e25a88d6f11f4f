use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsConnector;

use super::config::roots;
use super::{Clients, Endpoint, Pem, Secured, Tls, TlsConfigError, TlsError};
use crate::dist::handshake::{HandshakeFault, Refusal};
use crate::node::{ConnectError, Node, NodeStartError};
use crate::process::ExitReason;
use crate::term::Term;
use crate::testing::TestNode;
use crate::world::{BoxWrite, Clock, Conn, Mono, World};

struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self(Issuer::new(params, key), pem)
    }

    /// A certificate and its key.
    fn sign(&self, host: &str, edit: impl FnOnce(&mut CertificateParams)) -> (Pem, Pem) {
        let mut params = CertificateParams::new([host.to_owned()]).expect("a host");
        edit(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate.pem().into_bytes().into(), key.serialize_pem().into_bytes().into())
    }

    fn pem(&self) -> Pem {
        self.1.clone().into_bytes().into()
    }

    fn tls(&self, host: &str) -> Tls {
        self.tls_with(host, |_| ())
    }

    fn tls_with(&self, host: &str, edit: impl FnOnce(&mut CertificateParams)) -> Tls {
        let (certificate, key) = self.sign(host, edit);
        Tls::mutual(self.pem(), certificate, key)
    }
}

/// A node in the same memory as another, on the same host.
async fn beside(one: &TestNode, name: &str, tls: Option<Tls>) -> Node {
    let builder = Node::builder(name).cookie("c").world(one.world().clone());
    let builder = match tls {
        Some(tls) => builder.tls(tls),
        None => builder,
    };
    builder.start().await.expect("it starts")
}

async fn one(tls: &Tls) -> TestNode {
    let [one] = TestNode::cluster_with(1, ["one@test"], |it| it.cookie("c").tls(tls.clone())).await;
    one
}

#[tokio::test(start_paused = true)]
async fn nodes_talk_over_tls_and_what_is_sent_arrives_without_anything_after_it() {
    let tls = Authority::new("ours").tls("test");
    let one = one(&tls).await;
    let other = beside(&one, "other@test", Some(tls)).await;
    // What does not fit into a network's buffers waits in TLS's own.
    for len in [1, 60_000, 70_000, 1 << 20, 5 << 20] {
        let (sent, arrived) = tokio::sync::oneshot::channel();
        let sink = one.spawn(|mut cx| async move {
            let _ = sent.send(cx.receive().await);
            ExitReason::Normal
        });
        other.send(sink.expect("it starts"), Term::from("x".repeat(len))).expect("it is sent");
        assert_eq!(arrived.await.expect("it arrives"), Term::from("x".repeat(len)));
    }
    assert!(one.elapsed() < Duration::from_secs(1), "a tick pushed it: {:?}", one.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_connects_is_told_what_is_wrong_and_the_node_lives() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let last_year = |params: &mut CertificateParams| params.not_after = date_time_ymd(2025, 12, 31);
    let next_year = |params: &mut CertificateParams| params.not_before = date_time_ymd(2027, 1, 1);
    let good = ours.tls("test");
    let (certificate, key) = theirs.sign("test", |_| ());
    let strangers = Tls::mutual(ours.pem(), certificate, key);
    let elsewhere = good.clone().clients(Clients::OfTheirHost);
    let other_host = "not for the host test, which is in the peer's name, but for DnsName(\"elsewhere\")";
    let cases = [
        (Some(&good), Some(theirs.tls("test")), "the peer's certificate is not of this node's CA"),
        (
            Some(&good),
            Some(strangers),
            "the peer refuses this node's certificate: it is not of the peer's CA",
        ),
        (
            Some(&good),
            Some(ours.tls_with("test", last_year)),
            "refuses this node's certificate: it has expired",
        ),
        (Some(&ours.tls_with("test", last_year)), Some(good.clone()), "the peer's certificate has expired"),
        (
            Some(&ours.tls_with("test", next_year)),
            Some(good.clone()),
            "the peer's certificate is not valid yet",
        ),
        (Some(&ours.tls("elsewhere")), Some(good.clone()), other_host),
        (Some(&elsewhere), Some(ours.tls("elsewhere")), "not allowed"),
        (Some(&good), None, "the peer speaks TLS, and this node does not"),
        (None, Some(good.clone()), "does it speak TLS?"),
    ];
    for (its, mine, expected) in cases {
        let one = match its {
            Some(tls) => one(tls).await,
            None => {
                let [one] = TestNode::cluster_with(1, ["one@test"], |it| it.cookie("c")).await;
                one
            }
        };
        let refused = beside(&one, "refused@test", mine.clone()).await;
        let error = refused.connect("one@test").await.expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}, not {expected}");
        assert!(one.elapsed() < Duration::from_secs(8), "{expected}: only after {:?}", one.elapsed());
        let welcome = beside(&one, "welcome@test", its.map(|_| good.clone())).await;
        if its.is_none_or(|its| std::ptr::eq(its, &good)) {
            assert!(welcome.ping("one@test").await, "after {expected}");
            assert!(!one.ping("refused@test").await, "{expected}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_on_another_host_than_the_certificates_is_not_allowed_and_the_right_one_is() {
    let ours = Authority::new("ours");
    let one = one(&ours.tls("test").clients(Clients::OfTheirHost)).await;
    let other = beside(&one, "other@test", Some(ours.tls("elsewhere"))).await;
    match other.connect("one@test").await {
        Err(ConnectError::Handshake(error)) => {
            assert_eq!(error.fault, HandshakeFault::Refused(Refusal::NotAllowed));
        }
        outcome => panic!("{outcome:?}"),
    }
    assert!(beside(&one, "third@test", Some(ours.tls("test"))).await.ping("one@test").await);
}

#[tokio::test(start_paused = true)]
async fn the_cookie_counts_over_tls_too() {
    let tls = Authority::new("ours").tls("test");
    let one = one(&tls).await;
    let builder = Node::builder("other@test").cookie("d").world(one.world().clone()).tls(tls);
    let other = builder.start().await.expect("it starts");
    let error = other.connect("one@test").await.expect_err("the cookies differ");
    assert!(matches!(error, ConnectError::Closed), "{error}");
}

#[tokio::test(start_paused = true)]
async fn without_verification_anybody_with_the_cookie_is_let_in() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let ((certificate, key), (certificate2, key2)) = (ours.sign("a", |_| ()), theirs.sign("b", |_| ()));
    let one = one(&Tls::unverified(certificate, key)).await;
    let other = beside(&one, "other@test", Some(Tls::unverified(certificate2, key2))).await;
    assert!(other.ping("one@test").await);
}

/// Both ends of a connection in memory.
fn wire() -> (Conn, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    (conn(ours), theirs)
}

fn conn(stream: DuplexStream) -> Conn {
    let (read, write) = tokio::io::split(stream);
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Conn { read: Box::new(read), write: Box::new(write), wait: None, local: nowhere, peer: nowhere }
}

fn endpoint(tls: &Tls) -> Endpoint {
    Endpoint::new(tls, &World::tokio()).expect("the settings are good")
}

/// What the accepting end makes of a peer.
fn fault(accepted: io::Result<Secured>) -> TlsError {
    let error = accepted.err().expect("it is refused");
    TlsError::of(&error).unwrap_or_else(|| panic!("not TLS's own: {error}"))
}

#[tokio::test]
async fn the_accepting_end_knows_what_is_wrong_with_its_peer() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = endpoint(&ours.tls("test"));
    let (certificate, key) = theirs.sign("test", |_| ());
    let stranger = endpoint(&Tls::mutual(ours.pem(), certificate, key));
    let mut nameless = endpoint(&ours.tls("test"));
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("there are some")
        .with_root_certificates(roots(&ours.pem()).expect("an authority"))
        .with_no_client_auth();
    nameless.client = Arc::new(config);
    for (client, expected) in [(stranger, TlsError::UnknownCa), (nameless, TlsError::NoCertificate)] {
        let (ours, theirs) = wire();
        let (accepted, connected) = tokio::join!(server.accept(ours), async {
            let mut conn = client.connect(conn(theirs), "test").await?;
            conn.read.read_u8().await
        });
        assert_eq!(fault(accepted), expected);
        let heard = TlsError::of(&connected.expect_err("it is refused"));
        assert!(matches!(heard, Some(TlsError::Refused(_))), "{heard:?}");
    }
}

#[tokio::test]
async fn an_end_that_closes_says_so_in_tls() {
    let server = endpoint(&Authority::new("ours").tls("test").clients(Clients::NotAsked));
    let mut client = (*server.client).clone();
    client.enable_sni = false;
    let (ours, theirs) = wire();
    let connector = TlsConnector::from(Arc::new(client));
    let name = ServerName::try_from("test").expect("a name");
    let (accepted, connected) = tokio::join!(server.accept(ours), connector.connect(name, theirs));
    let (accepted, mut connected) = (accepted.expect("TLS"), connected.expect("TLS"));
    let Conn { read, write, .. } = accepted.conn;
    let mut write: BoxWrite = write;
    write.write_all(b"last words").await.expect("they are written");
    drop(write);
    let mut heard = Vec::new();
    // Else this is an error.
    connected.read_to_end(&mut heard).await.expect("it is closed in order");
    assert_eq!(heard, b"last words");
    drop(read);
}

/// The clock of a world where it is another time.
struct At(SystemTime);

impl Clock for At {
    fn mono(&self) -> Mono {
        Mono::default()
    }

    fn wall(&self) -> SystemTime {
        self.0
    }
}

#[tokio::test]
async fn certificates_are_valid_by_the_clock_of_the_nodes_world() {
    let ours = Authority::new("ours");
    let tls = ours.tls_with("test", |params| params.not_after = date_time_ymd(2001, 1, 1));
    let at = |seconds| {
        let clock = Arc::new(At(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)));
        Endpoint::new(&tls, &World { clock, ..World::tokio() }).expect("the settings are good")
    };
    // 1 January 2000 and 2010.
    for (seconds, valid) in [(946_684_800, true), (1_262_304_000, false)] {
        let (ours, theirs) = wire();
        let (accepted, connected) = (at(seconds), at(seconds));
        let (accepted, _) = tokio::join!(accepted.accept(ours), connected.connect(conn(theirs), "test"));
        assert_eq!(accepted.is_ok(), valid, "{seconds}");
    }
}

/// A record of TLS 1.2.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u16).to_be_bytes();
    [&[kind, 3, 3], &len[..], body].concat()
}

#[tokio::test]
async fn bytes_that_mean_harm_end_the_handshake_soon_and_without_more_memory_than_one_message() {
    let server = endpoint(&Authority::new("ours").tls("test"));
    let garbage: Vec<u8> = (0..5000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let endless = record(22, &[&[1, 0xFF, 0xFF, 0xFF][..], &[0; 16_000]].concat());
    let more = record(22, &[0; 16_000]).repeat(1000);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("garbage", garbage),
        ("an opening without TLS", [&[0, 28][..], b"N", &[0; 27]].concat()),
        ("the largest length", [&[22, 3, 3, 0xFF, 0xFF][..], &[0; 70_000]].concat()),
        ("the largest record of the wrong kind", record(23, &[0; 16_384])),
        ("a message of 16 MiB", [endless, more].concat()),
        ("empty records", record(22, &[]).repeat(100_000)),
        ("warnings", record(21, &[1, 0]).repeat(100_000)),
        ("a hello that is none", record(22, &[&[1, 0, 0, 64][..], &[0xFF; 64]].concat())),
    ];
    for (what, bytes) in cases {
        let (ours, mut theirs) = wire();
        let (mut taken, mut accepting) = (0, std::pin::pin!(server.accept(ours)));
        let accepted = loop {
            tokio::select! {
                biased;
                accepted = &mut accepting => break accepted,
                written = theirs.write(&bytes[taken..]), if taken < bytes.len() => taken += written.expect("it is open"),
            }
            // A message of 64 KiB, as much that is not looked at any more, and what is on its way.
            assert!(taken <= 3 * (64 << 10), "{what}: still reading after {taken} bytes");
            if taken == bytes.len() {
                let _ = theirs.shutdown().await;
            }
        };
        let error = accepted.err().unwrap_or_else(|| panic!("{what} is taken for TLS"));
        assert!(TlsError::of(&error).is_some(), "{what}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_in_the_tls_handshake_ends_with_the_setup_time_and_counts_as_a_handshake() {
    let tls = Authority::new("ours").tls("test");
    let configure = |it: crate::node::Builder| it.cookie("c").tls(tls.clone()).handshakes_max(2);
    let [one] = TestNode::cluster_with(1, ["one@test"], configure).await;
    let hello = record(22, &[&[1, 0, 1, 0][..], &[0; 100]].concat());
    let mut silent = Vec::new();
    for part in [&[][..], &hello[..3], &hello] {
        let mut conn = one.world().net.connect("test", one.port()).await.expect("it accepts");
        conn.write.write_all(part).await.expect("it is written");
        one.settle().await;
        silent.push(conn);
    }
    // The third was one too many.
    let mut third = silent.pop().expect("three");
    assert_eq!(third.read.read(&mut [0]).await.expect("it is closed"), 0);
    assert!(one.elapsed() < Duration::from_secs(1), "{:?}", one.elapsed());
    for mut conn in silent {
        assert_eq!(conn.read.read(&mut [0]).await.expect("it is closed"), 0);
    }
    assert!(one.elapsed() < Duration::from_secs(8), "{:?}", one.elapsed());
    assert!(beside(&one, "other@test", Some(tls)).await.ping("one@test").await);
}

#[test]
fn settings_that_cannot_work_are_named() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let ((certificate, key), (_, other_key)) = (ours.sign("test", |_| ()), theirs.sign("test", |_| ()));
    let error = |tls: &Tls| Endpoint::new(tls, &World::tokio()).err().expect("it cannot work").to_string();
    let missing = Tls::mutual("no/such/ca.pem", certificate.clone(), key.clone());
    assert!(error(&missing).starts_with("cannot read no/such/ca.pem: "), "{}", error(&missing));
    let swapped = Tls::mutual(ours.pem(), key.clone(), certificate.clone());
    assert!(error(&swapped).contains("has no certificate"), "{}", error(&swapped));
    let keyless = Tls::mutual(ours.pem(), certificate.clone(), certificate.clone());
    assert!(error(&keyless).contains("has no private key"), "{}", error(&keyless));
    let other = Tls::mutual(ours.pem(), certificate.clone(), other_key);
    assert!(error(&other).contains("is not that of the certificate"), "{}", error(&other));
    let no_ca = Tls::unverified(certificate, key.clone()).clients(Clients::Verified);
    let no_ca = Endpoint::new(&no_ca, &World::tokio()).err();
    assert!(matches!(no_ca, Some(TlsConfigError::NoCa(Clients::Verified))), "{no_ca:?}");
    assert!(!format!("{key:?}").contains("PRIVATE"), "a key is not shown");
}

#[tokio::test]
async fn a_node_does_not_start_without_its_files() {
    let builder = Node::builder("one@127.0.0.1").tls(Tls::mutual("no-ca.pem", "no.pem", "no.key"));
    let error = builder.start().await.expect_err("it does not start");
    assert!(matches!(error, NodeStartError::Tls(_)), "{error}");
    assert!(error.to_string().contains("no-ca.pem"), "{error}");
}
