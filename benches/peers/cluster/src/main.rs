//! ractor_cluster: actors of another node stand in the local one as actors that pass their messages on, in protobuf.
//!
//! `beamline-peers-cluster QUESTION [--quick]` prints one sample a line, as `row TAB ractor_cluster TAB value`. Rows are named and
//! values counted as the benchmarks of the same name do. A pid cannot be sent, so there is no row of a tuple with one.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, pg};
use ractor_cluster::{NodeServer, NodeServerMessage, RactorClusterMessage};
use tokio::runtime::Runtime;

const SERVERS: usize = 120;
/// The servers of the peer, as a process group: that is how a node learns of another one's actors.
const GROUP: &str = "echo";

#[derive(RactorClusterMessage)]
enum Message {
    #[rpc]
    Call(i64, RpcReplyPort<i64>),
    #[rpc]
    CallText(String, RpcReplyPort<String>),
    #[rpc]
    CallBytes(Vec<u8>, RpcReplyPort<Vec<u8>>),
    Cast(i64),
    CastBytes(Vec<u8>),
}

struct Echo;

impl Actor for Echo {
    type Msg = Message;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Call(n, reply) => reply.send(n)?,
            Message::CallText(text, reply) => reply.send(text)?,
            Message::CallBytes(bytes, reply) => reply.send(bytes)?,
            Message::Cast(n) => drop(std::hint::black_box(n)),
            Message::CastBytes(bytes) => drop(std::hint::black_box(bytes)),
        }
        Ok(())
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let question = args.first().map(String::as_str).unwrap_or_default();
    let divisor = if args.iter().any(|arg| arg == "--quick") { 5 } else { 1 };
    let runtime = Runtime::new().expect("threads");
    match question {
        "peer" => runtime.block_on(serve()),
        "pong" => drop(runtime.block_on(connect(args[1].parse().expect("a port"), 1))),
        "node" => {
            runtime.block_on(node("bench"));
            println!("{}", resident_bytes());
        }
        "start" => {
            let peer = Peer::start();
            let start = Instant::now();
            run_again(&["pong", &peer.port.to_string()]);
            print("start to first pong", start.elapsed().as_nanos() as f64);
            print("idle node, bytes", run_again(&["node"]).trim().parse().expect("a number"));
        }
        _ => {
            let peer = Peer::start();
            let servers = runtime.block_on(connect(peer.port, SERVERS));
            ask(&runtime, question, divisor, &servers);
        }
    }
    // Its actors would be waited for.
    std::process::exit(0);
}

fn ask(runtime: &Runtime, question: &str, divisor: u32, servers: &[ActorRef<Message>]) {
    let server = &servers[0];
    let big = vec![7; 1 << 20];
    match question {
        "loopback_call" => {
            measure(runtime, "remote call, integer", 5_000 / divisor, |times| calls(server.clone(), times));
            measure(runtime, "remote call, string", 5_000 / divisor, |times| {
                let server = server.clone();
                async move {
                    for _ in 0..times {
                        let text = "twelve bytes".to_owned();
                        let reply = server.call(|reply| Message::CallText(text, reply), None).await;
                        assert_eq!(replied(reply).len(), 12);
                    }
                }
            });
            measure(runtime, "remote call, 1 MiB", 200 / divisor, |times| {
                let (server, big) = (server.clone(), big.clone());
                async move {
                    for _ in 0..times {
                        let bytes = big.clone();
                        let reply = server.call(|reply| Message::CallBytes(bytes, reply), None).await;
                        assert_eq!(replied(reply).len(), 1 << 20);
                    }
                }
            });
        }
        "loopback_pairs" => measure(runtime, "120 remote pairs", 60_000 / divisor, |times| {
            let servers = servers.to_vec();
            async move {
                let callers = servers.into_iter().map(|server| tokio::spawn(calls(server, times / 120)));
                for caller in callers.collect::<Vec<_>>() {
                    caller.await.expect("it does not panic");
                }
            }
        }),
        "loopback_one_way" => {
            measure(runtime, "remote one-way, small", 200_000 / divisor, |times| {
                let server = server.clone();
                async move {
                    for n in 0..i64::from(times) {
                        server.cast(Message::Cast(n)).expect("it is alive");
                    }
                    calls(server, 1).await;
                }
            });
            measure(runtime, "remote one-way, 1 MiB", 500 / divisor, |times| {
                let (server, big) = (server.clone(), big.clone());
                async move {
                    for _ in 0..times {
                        server.cast(Message::CastBytes(big.clone())).expect("it is alive");
                    }
                    calls(server, 1).await;
                }
            });
        }
        _ => {}
    }
}

async fn calls(server: ActorRef<Message>, times: u32) {
    for n in 0..i64::from(times) {
        let reply = server.call(|reply| Message::Call(n, reply), None).await;
        assert_eq!(replied(reply), n);
    }
}

fn replied<T>(reply: Result<ractor::rpc::CallResult<T>, ractor::MessagingErr<Message>>) -> T {
    reply.expect("it is alive").expect("it replies")
}

/// Does work once to warm up and once for the sample, as a task.
fn measure<F: Future<Output = ()> + Send + 'static>(
    runtime: &Runtime,
    row: &str,
    operations: u32,
    work: impl Fn(u32) -> F,
) {
    let run = |operations| {
        let start = Instant::now();
        runtime.block_on(runtime.spawn(work(operations))).expect("it does not panic");
        start.elapsed()
    };
    run(operations);
    print(row, run(operations).as_nanos() as f64 / f64::from(operations));
}

fn print(row: &str, value: f64) {
    println!("{row}\tractor_cluster\t{value}");
}

async fn node(name: &str) -> ActorRef<NodeServerMessage> {
    let cookie = "bench".to_owned();
    let server = NodeServer::new(0, cookie, name.to_owned(), "127.0.0.1".to_owned(), None, None);
    Actor::spawn(None, server, ()).await.expect("it starts").0
}

/// A node that is connected to the peer, and so many of its servers.
async fn connect(port: u16, many: usize) -> Vec<ActorRef<Message>> {
    let node = node("bench").await;
    ractor_cluster::client_connect(&node, ("127.0.0.1", port)).await.expect("it listens");
    loop {
        let servers: Vec<ActorCell> = pg::get_members(&GROUP.to_owned());
        if servers.len() >= many {
            return servers.into_iter().map(ActorRef::from).collect();
        }
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
}

/// The other operating-system process. A node does not tell at which free port it listens, so one is found for it.
async fn serve() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = port.expect("a port").port();
    let cookie = "bench".to_owned();
    let server = NodeServer::new(port, cookie, "peer".to_owned(), "127.0.0.1".to_owned(), None, None);
    let _node = Actor::spawn(None, server, ()).await.expect("it starts");
    let mut servers = Vec::new();
    for _ in 0..SERVERS {
        servers.push(Actor::spawn(None, Echo, ()).await.expect("it starts").0.get_cell());
    }
    pg::join(GROUP.to_owned(), servers);
    println!("{port}");
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    let _ = end.await;
}

struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    port: u16,
}

impl Peer {
    fn start() -> Self {
        let exe = std::env::current_exe().expect("a path");
        let pipes = Command::new(exe).arg("peer").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = pipes.expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("its port");
        let stdin = child.stdin.take();
        Self { child, stdin, port: line.trim().parse().expect("a port") }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

fn run_again(args: &[&str]) -> String {
    let output = Command::new(std::env::current_exe().expect("a path")).args(args).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn resident_bytes() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: f64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    pages * 4096.0
}
