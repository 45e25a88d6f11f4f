//! Peers that mean harm, or know no better: their connections are closed, the node lives on and keeps serving, and its memory
//! stays bounded.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests against programs of this host"
)]

use std::time::{Duration, Instant};

use beamline::dist::Flags;
use beamline::dist::handshake::{Framer, Initiator, InitiatorStep, LengthPrefix, Local};
use beamline::etf::Writer;
use beamline::process::{ExitReason, SpawnError};
use beamline::rpc::RpcError;
use beamline::term::{Atom, Pid, Term};
use beamline_interop::{COOKIE, Cluster, ErlNode, Fixture, eventually, within};
use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What serving a hostile peer may cost at most, above what the node had in use: a million levels of nesting, within the limits,
/// take about 115 MiB while they are looked at.
const MEMORY: u64 = 256 << 20;
/// What may stay in use afterwards: the allocator's own.
const LEFT_OVER: u64 = 128 << 20;

const CLOSED_WITHIN: Duration = Duration::from_secs(30);

struct Hostile {
    fixture: Fixture,
    witness: ErlNode,
    start: u64,
}

impl Hostile {
    async fn start(cluster: &Cluster) -> Self {
        let fixture = cluster.fixture("fixture", &[]).await;
        let mut witness = cluster.erl("witness").start().await;
        witness.eval("net_kernel:monitor_nodes(true)").await;
        witness.eval("pong = net_adm:ping('fixture@127.0.0.1'), receive {nodeup, _} -> ok end").await;
        let start = fixture.resident_bytes();
        Self { fixture, witness, start }
    }

    async fn dial(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.fixture.port())).await.expect("the node accepts")
    }

    /// A connection whose handshake is done, as the node `name`.
    async fn connect(&self, name: &'static str) -> TcpStream {
        let mut stream = self.dial().await;
        assert!(shake(&mut stream, name, COOKIE, usize::MAX).await, "the cookie is right");
        stream
    }

    /// The node serves others, over the connection that they had before, and has not grown.
    async fn lives(&mut self) {
        let echo = "gen_server:call({echo, 'fixture@127.0.0.1'}, {still, here}, 30000)";
        assert_eq!(self.witness.eval(echo).await, "{still,here}");
        let lost = "receive {nodedown, Node} -> Node after 0 -> none end";
        assert_eq!(self.witness.eval(lost).await, "none");
        self.bounded(LEFT_OVER);
    }

    fn bounded(&self, by: u64) {
        let grown = self.fixture.resident_bytes().saturating_sub(self.start);
        assert!(grown <= by, "{} MiB more than before", grown >> 20);
    }

    /// Sends `bytes`, and waits until the node closes the connection. The system tells how much memory it took at most meanwhile.
    async fn is_closed_after(&self, mut stream: TcpStream, bytes: &[u8]) {
        self.fixture.forget_peak();
        let (mut read, mut write) = stream.split();
        let sent = async {
            // The node may close before it has read all.
            let _ = write.write_all(bytes).await;
            let () = std::future::pending().await;
        };
        let closed = async {
            let mut buffer = [0; 4096];
            while let Ok(1..) = read.read(&mut buffer).await {}
        };
        let closed = async {
            tokio::select! {
                biased;
                () = closed => {}
                () = sent => {}
            }
        };
        let closed = tokio::time::timeout(CLOSED_WITHIN, closed).await;
        let grown = self.fixture.peak_bytes().saturating_sub(self.start);
        assert!(grown <= MEMORY, "{} MiB more than before", grown >> 20);
        assert!(closed.is_ok(), "not closed within {CLOSED_WITHIN:?}");
    }
}

/// Shakes hands for so many messages of ours. Returns whether the connection stands.
async fn shake(stream: &mut TcpStream, name: &'static str, cookie: &str, messages: usize) -> bool {
    shake_with(stream, "fixture@127.0.0.1", name, Flags::HIDDEN, cookie, messages).await
}

async fn shake_with(
    stream: &mut TcpStream,
    peer: &'static str,
    name: &'static str,
    flags: Flags,
    cookie: &str,
    messages: usize,
) -> bool {
    let framer = Framer::new(LengthPrefix::Two);
    let local = Local::new(Atom::from_static(name), 7, flags).unwrap();
    let peer = Atom::from_static(peer);
    let (mut state, mut replies) = Initiator::new(local, peer, cookie.as_bytes(), 42);
    let mut input = BytesMut::new();
    let mut sent = 0;
    while sent < messages {
        let mut out = BytesMut::new();
        framer.send(&replies, &mut out);
        stream.write_all(&out).await.unwrap();
        let message = loop {
            if let Some(message) = framer.receive(&mut input).unwrap() {
                break message;
            }
            if !matches!(stream.read_buf(&mut input).await, Ok(1..)) {
                return false;
            }
        };
        (state, replies) = match state.receive(&message) {
            Ok(InitiatorStep::Continue(state, replies)) => {
                sent += 1;
                (state, replies)
            }
            // The connection before this one is closed, and not yet forgotten.
            Ok(InitiatorStep::Alive(question)) => question.replace(),
            Ok(InitiatorStep::Established(_)) => return true,
            Ok(other) => panic!("{other:?}"),
            Err(_) => return false,
        };
    }
    false
}

/// A packet with a message for `echo`: a distribution header without atoms, REG_SEND, and the message's bytes.
fn to_echo(name: &'static str, message: &[u8]) -> Vec<u8> {
    let mut control = Writer::new();
    control.tuple(4).unwrap();
    control.integer(6);
    control.pid(&Pid { node: Atom::from_static(name), id: 1, serial: 0, creation: 7 });
    control.atom(&Atom::from_static(""));
    control.atom(&Atom::from_static("echo"));
    let body = [&[131, 68, 0][..], &control.finish().into_bytes(), message].concat();
    packet(&body)
}

fn packet(body: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.put_u32(u32::try_from(body.len()).unwrap());
    packet.put_slice(body);
    packet
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_that_nest_or_claim_too_much_close_the_connection() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut node = Hostile::start(&cluster).await;
    let name = "hostile@127.0.0.1";
    // Tuples of one element, lists of one element, and maps, each some levels deeper than a node takes.
    let levels = (1 << 20) + 1;
    let nested = [&[104, 1][..], &[108, 0, 0, 0, 1], &[116, 0, 0, 0, 1, 97, 1]];
    for level in nested {
        let message = to_echo(name, &[&level.repeat(levels)[..], &[106]].concat());
        node.is_closed_after(node.connect(name).await, &message).await;
        node.lives().await;
    }
    // A million are within the limits: dropped by echo as any other message, and the connection stays.
    let stream = node.connect(name).await;
    let fine = to_echo(name, &[&[104, 1].repeat(1_000_000)[..], &[106]].concat());
    let bad = packet(&[131, 68, 0, 104, 1, 97, 99]);
    node.is_closed_after(stream, &[fine, bad].concat()).await;
    node.lives().await;

    // Each counted tag, with a count of 2^32 - 1 and next to nothing behind it.
    for tag in [105, 108, 109, 111, 116] {
        let message = to_echo(name, &[tag, 0xFF, 0xFF, 0xFF, 0xFF, 1]);
        node.is_closed_after(node.connect(name).await, &message).await;
    }
    for message in [
        &[77, 0xFF, 0xFF, 0xFF, 0xFF, 3, 1][..],
        &[112, 0xFF, 0xFF, 0xFF, 0xFF],
        &[80, 0xFF, 0xFF, 0xFF, 0xFF, 1],
    ] {
        node.is_closed_after(node.connect(name).await, &to_echo(name, message)).await;
    }
    // A packet of that length; and ten bytes of one that claims as much as a node takes, and then no more.
    node.is_closed_after(node.connect(name).await, &[0xFF, 0xFF, 0xFF, 0xFF, 131, 68, 0, 104, 2, 97]).await;
    let mut waiting = node.connect(name).await;
    waiting.write_all(&[0x07, 0xFF, 0xFF, 0xFF, 131, 68, 0, 104, 2, 97]).await.unwrap();
    node.lives().await;
    drop(waiting);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_million_atoms_take_no_memory_that_stays() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut node = Hostile::start(&cluster).await;
    let name = "hostile@127.0.0.1";
    let mut stream = node.connect(name).await;
    for batch in 0..2000_u32 {
        let mut list = Writer::new();
        list.list(1000).unwrap();
        for number in 0..1000 {
            list.atom_text(&format!("an atom that nobody has seen before {batch} {number}")).unwrap();
        }
        list.nil();
        stream.write_all(&to_echo(name, &list.finish().into_bytes())).await.unwrap();
        if batch % 100 == 0 {
            node.bounded(LEFT_OVER);
        }
    }
    node.lives().await;
    // In one term they are more than a term may have.
    let mut list = Writer::new();
    list.list(2_000_000).unwrap();
    (0..2_000_000).for_each(|number| list.atom_text(&format!("atom {number}")).unwrap());
    list.nil();
    let message = to_echo(name, &list.finish().into_bytes());
    node.is_closed_after(stream, &message).await;
    node.lives().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_lead_nowhere_end_within_the_setup_time() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut node = Hostile::start(&cluster).await;
    let start = Instant::now();
    let mut half = Vec::new();
    // Nothing; a length without its message; a name and then nothing. Fifty each.
    for number in 0..150 {
        let mut stream = node.dial().await;
        match number % 3 {
            0 => {}
            1 => stream.write_all(&[0, 40, b'N', 0, 0]).await.unwrap(),
            _ => {
                let greeting = tokio::time::timeout(
                    Duration::from_secs(5),
                    shake(&mut stream, "half@127.0.0.1", COOKIE, 1),
                );
                assert_eq!(greeting.await, Ok(false));
            }
        }
        half.push(stream);
    }
    // Others are served meanwhile.
    assert!(shake(&mut node.dial().await, "other@127.0.0.1", COOKIE, usize::MAX).await);
    node.lives().await;
    for stream in half {
        node.is_closed_after(stream, &[]).await;
    }
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_secs(12), "the setup time is 7 s: {elapsed:?}");
    node.lives().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_garbage_are_shown_the_door() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut node = Hostile::start(&cluster).await;
    for _ in 0..50 {
        assert!(!shake(&mut node.dial().await, "stranger@127.0.0.1", "wrong", usize::MAX).await);
    }
    node.lives().await;
    // Garbage in place of a handshake, from a generator that gives the same every time.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = |len: usize| -> Vec<u8> {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..len).map(|_| next()).collect()
    };
    for len in [1, 2, 3, 10, 100, 10_000] {
        let bytes = [&[0xFF][..], &random(len)].concat();
        let mut stream = node.dial().await;
        if len < 3 {
            // Too few bytes to be wrong: closed by their sender instead.
            stream.write_all(&bytes).await.unwrap();
            drop(stream);
        } else {
            node.is_closed_after(stream, &bytes).await;
        }
    }
    for request in
        [&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], &[0, 0], &[0, 1, b'N'], &[0, 3, b'x', 0, 5]]
    {
        node.is_closed_after(node.dial().await, request).await;
    }
    // And after one, whole packets of it.
    let name = "hostile@127.0.0.1";
    for len in [1, 5, 50, 5000] {
        for head in [&[][..], &[131], &[131, 68], &[131, 69], &[131, 70], &[131, 112], &[112]] {
            let body = [head, &random(len)].concat();
            node.is_closed_after(node.connect(name).await, &packet(&body)).await;
        }
    }
    node.lives().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_spawns_nothing_is_asked_for_no_process() {
    let Some(cluster) = Cluster::start().await else { return };
    let node = cluster.node("rust").await;
    let mut stream = TcpStream::connect(("127.0.0.1", node.port())).await.unwrap();
    let (name, flags) = ("plain@127.0.0.1", Flags::MANDATORY_26);
    assert!(shake_with(&mut stream, "rust@127.0.0.1", name, flags, COOKIE, 3).await);
    eventually("it is connected", async || node.hidden_nodes() == [Atom::from_static(name)]).await;
    let (tell, told) = tokio::sync::oneshot::channel();
    node.spawn(move |cx| async move {
        let _ = tell.send(cx.spawn_request(name, "m", "f", []).link().monitor().await);
        ExitReason::Normal
    })
    .unwrap();
    let refused = SpawnError::Refused { node: Atom::from_static(name), reason: Atom::from_static("notsup") };
    assert_eq!(within("an answer", told).await.unwrap(), Err(refused));
    let called = node.rpc(name).call::<Term>("m", "f", []).await;
    assert!(matches!(&called, Err(RpcError::Refused { reason, .. }) if reason == "notsup"), "{called:?}");
    assert_eq!(node.hidden_nodes(), [Atom::from_static(name)], "the connection stands");
}
