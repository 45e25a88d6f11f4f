//! What does a call between two nodes over loopback cost beside a bare TCP ping-pong of the same bytes?
//!
//! The two ends run on runtimes of their own in this one program.

use std::time::Duration;

use beamline::dist::channel::{Outgoing, Sender};
use beamline::dist::{Control, Flags, Item, Target};
use beamline::epmd::EpmdOptions;
use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::node::Node;
use beamline::process::ExitReason;
use beamline::term::{Atom, Pid, Reference, Term};
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

/// How many bytes a call's request (monitor, message, demonitor) and its reply take on the wire, once the atom cache knows
/// their atoms.
fn wire_len(term: &Term, client: &Pid, server: &Pid) -> (usize, usize) {
    let reference = Reference::new(client.node.clone(), 1, &[1, 0, 1, 0]).unwrap_or_else(|| unreachable!());
    let item = Item::Name(Atom::from_static("echo"));
    let tag = Term::list_with_tail(vec![Term::atom("alias")], reference.clone().into());
    let call = Term::tuple([
        Term::atom("$gen_call"),
        Term::tuple([client.clone().into(), tag.clone()]),
        term.clone(),
    ]);
    let to_server = Target::Name(Atom::from_static("echo"));
    let request = [
        Control::Monitor { from: client.clone(), item: item.clone(), reference: reference.clone() },
        Control::Send { from: Some(client.clone()), to: to_server, message: call, priority: false },
        Control::Demonitor { from: client.clone(), item, reference: reference.clone() },
    ];
    let message = Term::tuple([tag, term.clone()]);
    let to_client = Target::Alias(reference);
    let reply = [Control::Send { from: Some(server.clone()), to: to_client, message, priority: false }];
    (sent_len(&request), sent_len(&reply))
}

fn sent_len(signals: &[Control<Term>]) -> usize {
    let mut sender = Sender::new(Flags::VISIBLE);
    let mut len = 0;
    // The second time, all atoms are in the cache.
    for _ in 0..2 {
        for signal in signals {
            let outgoing = Outgoing::encode(Flags::VISIBLE, None, signal, |term, writer| writer.term(term));
            sender.push(outgoing.unwrap_or_else(|error| panic!("{error}")));
        }
        len = sender.transmit(usize::MAX).iter().map(Bytes::len).sum();
    }
    len
}

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
    let pid = Pid { node: client.name().clone(), id: 1, serial: 0, creation: 1 };
    let server_pid = Pid { node: server_node.name().clone(), ..pid.clone() };
    let terms: [(&str, Term, u32); 4] = [
        ("integer", 42.into(), 3_000),
        ("string", "twelve bytes".into(), 3_000),
        ("tuple with a pid", Term::tuple([pid.clone().into()]), 3_000),
        ("1 MiB", Bytes::from(vec![7; 1 << 20]).into(), 100),
    ];
    for (name, term, times) in terms {
        let (request_len, reply_len) = wire_len(&term, &pid, &server_pid);
        let mut tcp = TcpPair::new(&here, &there, request_len, reply_len);
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
    #[expect(clippy::disallowed_types, reason = "the floor is the socket itself")]
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

fn run(runtime: &Runtime, work: impl Future<Output = ()> + Send + 'static) -> Duration {
    let task = runtime.spawn(time_async(work));
    runtime.block_on(task).unwrap_or_else(|error| panic!("{error}"))
}
