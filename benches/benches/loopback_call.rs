//! What does a call between two nodes over loopback cost beside a bare TCP ping-pong of the same bytes?
//!
//! The two ends run on runtimes of their own in this one program.

use std::time::Duration;

use beamline::epmd::EpmdOptions;
use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::node::Node;
use beamline::process::ExitReason;
use beamline::term::{Atom, Term};
use beamline_benches::{Table, time_async};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

struct Echo;

impl GenServer for Echo {
    type Args = ();
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        term: Term,
        from: ReplyTo<Term>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(term))
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap_or_else(|error| panic!("{error}"))
}

fn node(runtime: &Runtime, name: &str) -> Node {
    let mut epmd = EpmdOptions::default();
    epmd.port = 24_370;
    let start = Node::builder(name).cookie("bench").epmd(epmd).start();
    runtime.block_on(start).unwrap_or_else(|error| panic!("{error}"))
}

/// What a call adds to its term: the packet's length and header, the control tuple, `$gen_call` with pid and alias. As
/// measured with the atom cache warm.
const REQUEST_OVERHEAD: usize = 122;
const REPLY_OVERHEAD: usize = 84;

fn main() {
    let (here, there) = (runtime(), runtime());
    let (client, server_node) = (node(&here, "client@127.0.0.1"), node(&there, "server@127.0.0.1"));
    there
        .block_on(async { Echo::start(&server_node, ()).name("echo").await })
        .unwrap_or_else(|error| panic!("{error}"));
    let to = (Atom::from_static("echo"), server_node.name().clone());

    let mut table = Table::new(
        "A call to a gen_server of another node over loopback, with its deadline armed",
        "bare TCP of as many bytes",
    );
    let pid = beamline::term::Pid { node: client.name().clone(), id: 1, serial: 0, creation: 1 };
    let terms: [(&str, Term, usize, u32); 4] = [
        ("integer", 42.into(), 2, 3_000),
        ("string", "twelve bytes".into(), 17, 3_000),
        ("tuple with a pid", Term::tuple([pid.into()]), 17, 3_000),
        ("1 MiB", Bytes::from(vec![7; 1 << 20]).into(), 5 + (1 << 20), 100),
    ];
    for (name, term, len, times) in terms {
        let mut tcp = TcpPair::new(&here, &there, len + REQUEST_OVERHEAD, len + REPLY_OVERHEAD);
        let subject = |times| {
            let (client, to, term) = (client.clone(), to.clone(), term.clone());
            let calls = async move {
                for _ in 0..times {
                    let reply = client.call::<Term, _>(to.clone(), term.clone()).await;
                    assert!(reply.is_ok(), "{reply:?}");
                }
            };
            run(&here, calls)
        };
        table.measure(name, times, subject, |times| tcp.round_trips(&here, times));
    }
    table.print();
    here.block_on(client.stop());
    there.block_on(server_node.stop());
}

/// Two sockets that send each other so many bytes in turn.
struct TcpPair {
    #[expect(clippy::disallowed_types, reason = "the floor is the socket itself")]
    stream: Option<tokio::net::TcpStream>,
    request: Vec<u8>,
    reply_len: usize,
}

impl TcpPair {
    #[expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "the floor is the socket itself")]
    fn new(here: &Runtime, there: &Runtime, request_len: usize, reply_len: usize) -> Self {
        let listener = there
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap_or_else(|error| panic!("{error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("{error}"));
        there.spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (mut request, reply) = (vec![0; request_len], vec![7; reply_len]);
            loop {
                stream.read_exact(&mut request).await?;
                stream.write_all(&reply).await?;
            }
            #[expect(unreachable_code, reason = "it tells the block's type")]
            Ok::<(), std::io::Error>(())
        });
        let stream =
            here.block_on(tokio::net::TcpStream::connect(address)).unwrap_or_else(|error| panic!("{error}"));
        stream.set_nodelay(true).unwrap_or_else(|error| panic!("{error}"));
        Self { stream: Some(stream), request: vec![7; request_len], reply_len }
    }

    fn round_trips(&mut self, runtime: &Runtime, times: u32) -> Duration {
        let Some(mut stream) = self.stream.take() else { return Duration::ZERO };
        let (request, mut reply) = (self.request.clone(), vec![0; self.reply_len]);
        let (sender, receiver) = std::sync::mpsc::channel();
        let took = run(runtime, async move {
            for _ in 0..times {
                stream.write_all(&request).await.unwrap_or_else(|error| panic!("{error}"));
                stream.read_exact(&mut reply).await.unwrap_or_else(|error| panic!("{error}"));
            }
            let _ = sender.send(stream);
        });
        self.stream = receiver.recv().ok();
        took
    }
}

#[expect(clippy::disallowed_methods, reason = "the benchmark is no node")]
fn run(runtime: &Runtime, work: impl Future<Output = ()> + Send + 'static) -> Duration {
    let task = runtime.spawn(time_async(work));
    runtime.block_on(task).unwrap_or_else(|error| panic!("{error}"))
}
