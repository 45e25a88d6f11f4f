//! A peer that connects anew while its former connection is thought to stand, played by the test itself.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests against programs of this host"
)]

use std::time::Duration;

use beamline::dist::Flags;
use beamline::dist::handshake::{
    Acceptor, AcceptorStep, Answer, Framer, Initiator, InitiatorStep, LengthPrefix, Local,
};
use beamline::epmd::{EpmdOptions, Registered, Registration, port_please};
use beamline::node::Node;
use beamline::term::Atom;
use beamline::world::World;
use beamline_interop::{COOKIE, Cluster, eventually};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PEER: &str = "m@127.0.0.1";

fn local() -> Local {
    Local::new(Atom::from_static(PEER), 7, Flags::HIDDEN).unwrap()
}

/// A connection, a message of the handshake at a time.
struct Wire {
    stream: TcpStream,
    input: BytesMut,
}

impl Wire {
    fn new(stream: TcpStream) -> Self {
        Self { stream, input: BytesMut::new() }
    }

    async fn send(&mut self, messages: &[Vec<u8>]) {
        let mut out = BytesMut::new();
        Framer::new(LengthPrefix::Two).send(messages, &mut out);
        self.stream.write_all(&out).await.unwrap();
    }

    async fn receive(&mut self) -> Bytes {
        loop {
            if let Some(message) = Framer::new(LengthPrefix::Two).receive(&mut self.input).unwrap() {
                return message;
            }
            let len = self.stream.read_buf(&mut self.input).await.unwrap();
            assert_ne!(len, 0, "the node has closed the connection");
        }
    }

    /// Waits until these bytes have come.
    async fn comes(&mut self, bytes: &[u8]) {
        while !self.input.windows(bytes.len()).any(|window| window == bytes) {
            let len = self.stream.read_buf(&mut self.input).await.unwrap();
            assert_ne!(len, 0, "the node has closed the connection");
        }
    }
}

/// Connects to the node and introduces itself. Returns what the node answered.
async fn introduce(cluster: &Cluster, node: &Node) -> (Wire, InitiatorStep) {
    let name = node.name().split('@').next().unwrap();
    let registration = port_please(&World::tokio(), "127.0.0.1", cluster.epmd_port(), name).await.unwrap();
    let port = registration.expect("it is registered").port;
    let mut wire = Wire::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    let (initiator, opening) = Initiator::new(local(), node.name().clone(), COOKIE.as_bytes(), 42);
    wire.send(&opening).await;
    let status = wire.receive().await;
    (wire, initiator.receive(&status).unwrap())
}

/// Goes on to the end of the handshake.
async fn establish(wire: &mut Wire, mut step: InitiatorStep) {
    loop {
        let (initiator, replies) = match step {
            InitiatorStep::Continue(initiator, replies) => (initiator, replies),
            InitiatorStep::Alive(question) => question.replace(),
            _ => return,
        };
        wire.send(&replies).await;
        step = initiator.receive(&wire.receive().await).unwrap();
    }
}

/// The node loses the former connection only after it has said that it has one, and dials the peer, which goes on with its own attempt, as
/// its name is the greater one. So what the node was to send goes over that.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_while_a_peer_replaces_its_connection_goes_over_the_new_one() {
    let Some(cluster) = Cluster::start().await else { return };
    let node = cluster.node("a").await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let registration = Registration::new("m", listener.local_addr().unwrap().port());
    let mut options = EpmdOptions::default();
    (options.port, options.embedded) = (cluster.epmd_port(), false);
    let _registered = Registered::start(&World::tokio(), options, registration).await.unwrap();

    let (mut former, step) = introduce(&cluster, &node).await;
    establish(&mut former, step).await;
    let is_up = async || node.hidden_nodes() == [PEER];
    eventually("the peer is connected", is_up).await;
    let (mut next, step) = introduce(&cluster, &node).await;
    assert!(matches!(step, InitiatorStep::Alive(_)), "{step:?}");
    drop(former);
    eventually("the former connection is lost", async || node.hidden_nodes().is_empty()).await;

    node.send(("somebody", PEER), "twelve bytes").unwrap();
    let mut dialed = Wire::new(listener.accept().await.unwrap().0);
    let name = dialed.receive().await;
    let AcceptorStep::Introduced(introduction) = Acceptor::new(local()).receive(&name).unwrap() else {
        panic!("it says its name")
    };
    let nok = introduction.answer(Answer::Nok, COOKIE.as_bytes(), 42).unwrap_err();
    dialed.send(&[nok.reply().expect("it has one").to_vec()]).await;

    establish(&mut next, step).await;
    let sent = async {
        next.comes(b"twelve bytes").await;
        eventually("the peer is connected", is_up).await;
    };
    // Within less than the setup time.
    tokio::time::timeout(Duration::from_secs(5), sent).await.expect("what was sent comes at once");
}
