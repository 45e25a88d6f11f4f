//! TLS distribution with Erlang nodes: who is let in, who is not and why, and what is sent over it. Alone in its program: who listens
//! to `tracing` first is remembered by all.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use beamline::node::{ConnectError, Node};
use beamline::process::ExitReason;
use beamline::term::{Atom, Term};
use beamline::tls::{Clients, Tls, TlsError};
use beamline_interop::{Cluster, ErlNode, eventually, shared_dir, within};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, layer};

/// What nodes log of connections that they refuse: node and error.
static REFUSED: OnceLock<Refused> = OnceLock::new();

#[derive(Clone, Default)]
struct Refused(Arc<Mutex<Vec<String>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if matches!(field.name(), "node" | "error") {
            let _ = write!(self.0, "{value:?} ");
        }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Refused {
    fn on_event(&self, event: &tracing::Event<'_>, _: layer::Context<'_, S>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }
}

/// Waits until `node` has refused a connection for this reason.
async fn refused(node: &Node, reason: &str) {
    let events = REFUSED.get().expect("they are listened to").clone();
    eventually(reason, async || {
        let events = events.0.lock().unwrap();
        events.iter().any(|event| event.contains(node.name().as_str()) && event.contains(reason))
    })
    .await;
}

/// A directory of certificates, gone with it.
struct Certificates {
    ours: PathBuf,
    theirs: PathBuf,
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.ours);
    }
}

impl Certificates {
    /// Two authorities, each with a certificate for this host and one for another: `good`, `good-elsewhere`, `bad`, `bad-elsewhere`.
    fn new(test: &str) -> Self {
        REFUSED.get_or_init(|| {
            let events = Refused::default();
            let all = tracing_subscriber::registry().with(events.clone());
            tracing::subscriber::set_global_default(all).expect("nobody else does");
            events
        });
        let (ours, theirs) = shared_dir(&format!("tls-{test}"));
        let here = Self { ours, theirs };
        for authority in ["good", "bad"] {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(rcgen::DnType::CommonName, format!("the {authority} authority"));
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
            let key = KeyPair::generate().unwrap();
            here.write(&format!("{authority}-ca.pem"), &params.self_signed(&key).unwrap().pem());
            let issuer = Issuer::new(params, key);
            for (name, host) in [("", "127.0.0.1"), ("-elsewhere", "elsewhere.example")] {
                let mut params = CertificateParams::new([host.to_owned()]).unwrap();
                // Erlang looks for the host of a node's name among the DNS names, also if it is an address.
                params.subject_alt_names.push(SanType::DnsName(host.try_into().unwrap()));
                params.distinguished_name = rcgen::DistinguishedName::new();
                params.distinguished_name.push(rcgen::DnType::CommonName, "a node");
                let key = KeyPair::generate().unwrap();
                let pem = params.signed_by(&key, &issuer).unwrap().pem();
                here.write(&format!("{authority}{name}.pem"), &pem);
                here.write(&format!("{authority}{name}.key"), &key.serialize_pem());
            }
        }
        here
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.ours.join(name), text).expect("the disk has room");
    }

    /// Our settings with the certificate `name`, trusting one authority.
    fn tls(&self, name: &str, ca: &str) -> Tls {
        let file = |name: String| self.ours.join(name);
        Tls::mutual(file(format!("{ca}-ca.pem")), file(format!("{name}.pem")), file(format!("{name}.key")))
    }

    fn unverified(&self, name: &str) -> Tls {
        Tls::unverified(self.ours.join(format!("{name}.pem")), self.ours.join(format!("{name}.key")))
    }

    /// A file that a node of Erlang opens.
    fn file(&self, option: &str, name: &str) -> String {
        format!("{{{option}, \"{}\"}}", self.theirs.join(name).display())
    }

    fn shows(&self, name: &str) -> String {
        format!(
            "{}, {}",
            self.file("certfile", &format!("{name}.pem")),
            self.file("keyfile", &format!("{name}.key"))
        )
    }

    fn verifies(&self, ca: &str) -> String {
        format!("{}, {{verify, verify_peer}}", self.file("cacertfile", &format!("{ca}-ca.pem")))
    }

    /// A node of Erlang with these options of its two roles.
    async fn erl(&self, cluster: &Cluster, name: &str, server: &str, client: &str) -> ErlNode {
        let conf = format!("{name}.conf");
        self.write(&conf, &format!("[{{server, [{server}]}}, {{client, [{client}]}}].\n"));
        let conf = self.theirs.join(conf);
        let conf = conf.to_str().expect("it is of ASCII");
        let mut erl =
            cluster.erl(name).args(["-proto_dist", "inet_tls", "-ssl_dist_optfile", conf]).start().await;
        erl.eval("logger:set_primary_config(level, none)").await;
        erl
    }

    /// One that verifies others, and shows a certificate in both roles.
    async fn mutual_erl(&self, cluster: &Cluster, name: &str, more: &str) -> ErlNode {
        let both = format!("{}, {}{more}", self.shows("good"), self.verifies("good"));
        self.erl(cluster, name, &format!("{both}, {{fail_if_no_peer_cert, true}}"), &both).await
    }
}

async fn rust(cluster: &Cluster, name: &str, tls: Tls) -> Node {
    let builder = cluster.builder(name).tls(tls).net_setuptime(Duration::from_secs(4));
    let node = builder.start().await.expect("the node starts");
    // Sends back all it gets.
    let echo = node.spawn(|mut cx| async move {
        loop {
            let message = cx.receive().await;
            let Some([from, term]) = message.as_tuple() else { return ExitReason::Normal };
            let Some(from) = from.as_pid() else { return ExitReason::Normal };
            let _ = cx.send(from, Term::tuple([Atom::from("echo").into(), term.clone()]));
        }
    });
    node.register("echo", &echo.expect("it starts")).expect("the name is free");
    node
}

/// The error of a connection that is not made.
async fn fault(node: &Node, peer: &ErlNode) -> ConnectError {
    let peer = Atom::new(peer.name()).unwrap();
    within("an error", node.connect(peer)).await.expect_err("they are not to connect")
}

fn tls_fault(error: ConnectError) -> TlsError {
    match error {
        ConnectError::Tls(error) => error,
        error => panic!("not of TLS: {error}"),
    }
}

const PINGS: &str = "net_adm:ping('rust@127.0.0.1')";

/// What goes over a connection that stands: large messages both ways, and small ones in order.
async fn traffic(erl: &mut ErlNode) {
    let large = "Blob = crypto:strong_rand_bytes(1 bsl 20), To = {echo, 'rust@127.0.0.1'},
         [begin To ! {self(), {N, Blob}}, receive {echo, Echo} -> {N, Blob} = Echo end end || N <- lists:seq(1, 5)], ok";
    assert_eq!(erl.eval(large).await, "ok");
    let small = "[To ! {self(), N} || N <- lists:seq(1, 20000)],
         [receive Any -> {echo, N} = Any end || N <- lists:seq(1, 20000)], ok";
    assert_eq!(erl.eval(small).await, "ok");
    let mixed =
        "[To ! {self(), {N, Blob}} || N <- lists:seq(1, 20)], [To ! {self(), N} || N <- lists:seq(1, 2000)],
         [receive {echo, {N, Echo}} -> Blob = Echo end || N <- lists:seq(1, 20)],
         [receive {echo, N} -> ok end || N <- lists:seq(1, 2000)], ok";
    assert_eq!(erl.eval(mixed).await, "ok");
    erl.eval("f()").await;
}

/// Connects in both roles, several times.
async fn both_roles(cluster: &Cluster, erl: &mut ErlNode, node: &Node) {
    let name = Atom::new(erl.name()).unwrap();
    for round in 0..6 {
        if round % 2 == 0 {
            node.connect(name.clone()).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        } else {
            assert_eq!(erl.eval(PINGS).await, "pong", "round {round}");
        }
        if round < 2 {
            traffic(erl).await;
        }
        eventually("no connection is left", async || {
            if round % 3 == 0 {
                node.disconnect(erl.name());
            } else {
                erl.eval("erlang:disconnect_node('rust@127.0.0.1')").await;
            }
            node.nodes().is_empty() && erl.eval("nodes()").await == "[]"
        })
        .await;
    }
    // A peer that is killed.
    node.connect(name).await.expect("they connect");
    erl.signal("KILL");
    eventually("it is gone", async || node.nodes().is_empty()).await;
    let _ = cluster;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_verify_nobody_talk_in_both_roles_and_versions() {
    let Some(cluster) = Cluster::start_with("ssl").await else { return };
    let certificates = Certificates::new("none");
    let node = rust(&cluster, "rust", certificates.unverified("good")).await;
    let versions = [("erl12", "tlsv1.2", ", {secure_renegotiate, true}"), ("erl13", "tlsv1.3", "")];
    for (name, version, more) in versions {
        let server = format!("{}, {{versions, ['{version}']}}{more}", certificates.shows("bad"));
        let client = format!("{{verify, verify_none}}, {{versions, ['{version}']}}");
        let mut erl = certificates.erl(&cluster, name, &server, &client).await;
        both_roles(&cluster, &mut erl, &node).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_verify_each_other_talk_in_both_roles_and_versions() {
    let Some(cluster) = Cluster::start_with("ssl").await else { return };
    let certificates = Certificates::new("mutual");
    let tls = certificates.tls("good", "good").clients(Clients::OfTheirHost);
    let node = rust(&cluster, "rust", tls).await;
    for (name, version) in
        [("erl12", ", {versions, ['tlsv1.2']}"), ("erl13", ", {versions, ['tlsv1.3']}"), ("erl", "")]
    {
        let mut erl = certificates.mutual_erl(&cluster, name, version).await;
        both_roles(&cluster, &mut erl, &node).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_keys_are_taken_as_often_as_a_peer_wants_and_a_renegotiation_only_costs_the_connection() {
    let Some(cluster) = Cluster::start_with("ssl").await else { return };
    let certificates = Certificates::new("keys");
    let node = rust(&cluster, "rust", certificates.tls("good", "good")).await;
    // In TLS 1.3, after so many bytes.
    let often = ", {versions, ['tlsv1.3']}, {key_update_at, 100000}";
    let mut erl = certificates.mutual_erl(&cluster, "erl13", often).await;
    erl.eval("net_kernel:monitor_nodes(true)").await;
    assert_eq!(erl.eval(PINGS).await, "pong");
    assert_eq!(erl.eval("receive {nodeup, Node} -> Node end").await, "'rust@127.0.0.1'");
    traffic(&mut erl).await;
    assert_eq!(erl.eval("receive {nodedown, Node} -> Node after 0 -> none end").await, "none");
    // In TLS 1.2, after so many messages. Source: tls_sender.erl in ssl.
    let seldom = ", {versions, ['tlsv1.2']}, {renegotiate_at, 1000}";
    let mut erl = certificates.mutual_erl(&cluster, "erl12", seldom).await;
    erl.eval("net_kernel:monitor_nodes(true)").await;
    assert_eq!(erl.eval(PINGS).await, "pong");
    let sends = "Loop = fun Loop(N) -> {echo, 'rust@127.0.0.1'} ! {self(), N},
             receive {nodedown, 'rust@127.0.0.1'} -> closed; {echo, N} when N < 3000 -> Loop(N + 1); {echo, N} -> N end end,
         Loop(1)";
    assert_eq!(erl.eval(sends).await, "closed");
    eventually("it is connected again", async || erl.eval(PINGS).await == "pong").await;
    drop(node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_of_another_ca_is_refused_by_either_side_with_the_reason() {
    let Some(cluster) = Cluster::start_with("ssl").await else { return };
    let certificates = Certificates::new("ca");
    let here = &certificates;
    // We do not trust it.
    let node = rust(&cluster, "rust", here.tls("good", "good")).await;
    let bad = format!("{}, {{verify, verify_none}}", here.shows("bad"));
    let mut erl = here.erl(&cluster, "bad", &bad, &bad).await;
    assert_eq!(tls_fault(fault(&node, &erl).await), TlsError::UnknownCa);
    assert_eq!(erl.eval(PINGS).await, "pang");
    refused(&node, "the peer's certificate is not of this node's CA").await;
    // It does not trust us.
    let wary = format!("{}, {}, {{fail_if_no_peer_cert, true}}", here.shows("good"), here.verifies("bad"));
    let mut erl =
        here.erl(&cluster, "wary", &wary, &wary.replace(", {fail_if_no_peer_cert, true}", "")).await;
    let refusal = tls_fault(fault(&node, &erl).await);
    assert!(matches!(refusal, TlsError::Refused(_)), "{refusal}");
    assert_eq!(erl.eval(PINGS).await, "pang");
    refused(&node, "the peer refuses this node's certificate").await;
    // It shows us none.
    let mut erl = here.erl(&cluster, "nameless", &here.shows("good"), "{verify, verify_none}").await;
    assert_eq!(erl.eval(PINGS).await, "pang");
    refused(&node, "the peer has shown no certificate, and this node asks for one").await;
    // Nobody else is the worse for it.
    let mut erl = here.mutual_erl(&cluster, "good", "").await;
    assert_eq!(erl.eval(PINGS).await, "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_host_is_refused_by_either_side_with_the_reason() {
    let Some(cluster) = Cluster::start_with("ssl").await else { return };
    let certificates = Certificates::new("host");
    let here = &certificates;
    let node = rust(&cluster, "rust", here.tls("good", "good").clients(Clients::OfTheirHost)).await;
    let elsewhere = format!("{}, {}", here.shows("good-elsewhere"), here.verifies("good"));
    let mut erl = here.erl(&cluster, "elsewhere", &elsewhere, &elsewhere).await;
    let fault = tls_fault(fault(&node, &erl).await);
    assert!(matches!(&fault, TlsError::OtherHost { host, .. } if host == "127.0.0.1"), "{fault}");
    assert_eq!(erl.eval(PINGS).await, "pang");
    refused(&node, "not for the host 127.0.0.1, which is in the peer's name, but for").await;
    // Erlang looks at ours.
    let elsewhere = rust(&cluster, "elsewhere2", here.tls("good-elsewhere", "good")).await;
    let mut erl = here.mutual_erl(&cluster, "erl", "").await;
    assert_eq!(erl.eval("net_adm:ping('elsewhere2@127.0.0.1')").await, "pang");
    refused(&elsewhere, "the peer").await;
    assert_eq!(erl.eval(PINGS).await, "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_tls_and_one_with_it_refuse_each_other_and_live() {
    let Some(cluster) = Cluster::start_with("ssl").await else { return };
    let certificates = Certificates::new("plain");
    let node = rust(&cluster, "rust", certificates.tls("good", "good")).await;
    let mut plain = cluster.erl("plain").start().await;
    plain.eval("logger:set_primary_config(level, none)").await;
    assert_eq!(plain.eval(PINGS).await, "pang");
    refused(&node, "the peer speaks no TLS").await;
    // It waits for the rest of what it takes for a long message.
    let error = fault(&node, &plain).await;
    assert!(error.to_string().contains("do both ends speak TLS, or neither?"), "{error}");

    let plain_node = cluster.node("plain2").await;
    let mut erl = certificates.mutual_erl(&cluster, "erl", "").await;
    assert_eq!(erl.eval("net_adm:ping('plain2@127.0.0.1')").await, "pang");
    refused(&plain_node, "the peer speaks TLS, and this node does not").await;
    let error = fault(&plain_node, &erl).await;
    assert!(matches!(error, ConnectError::SpeaksTls), "{error}");

    assert!(plain_node.ping(Atom::new(plain.name()).unwrap()).await);
    assert_eq!(erl.eval(PINGS).await, "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixture_node_speaks_tls() {
    let Some(cluster) = Cluster::start_with("ssl").await else { return };
    let certificates = Certificates::new("fixture");
    let here = &certificates;
    let file = |name: &str| here.ours.join(name).display().to_string();
    let files = [file("good.pem"), file("good.key"), file("good-ca.pem")].join(",");
    let _auto = cluster.fixture("auto", &["--tls", "auto"]).await;
    let _files = cluster.fixture("files", &["--tls", &files]).await;
    let call = |node: &str| format!("gen_server:call({{echo, '{node}@127.0.0.1'}}, hello)");
    let mut erl = here.mutual_erl(&cluster, "erl", "").await;
    assert_eq!(erl.eval(&call("files")).await, "hello");
    assert_eq!(erl.eval("net_adm:ping('auto@127.0.0.1')").await, "pang", "nobody can verify it");
    let mut erl = here.erl(&cluster, "careless", &here.shows("good"), "{verify, verify_none}").await;
    assert_eq!(erl.eval(&call("auto")).await, "hello");
}
