//! The other operating-system process: this program again, as a node with servers, and as a bare TCP server.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::node::Node;
use beamline::process::ExitReason;
use beamline::term::{Atom, Pid, Term};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

use crate::bare_calls;
use crate::echo::{Echo, free_port, node, output, run_all, runtime};
use crate::time_async;

/// How many servers the peer has: `echo_0` and so on.
pub const SERVERS: u32 = 120;

/// The peer. It ends when this is dropped.
pub struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    tcp_port: u16,
    /// Where it listens for connections whose both ends spin.
    pub spinning_port: u16,
    /// Where it listens for [calls of a bare program](crate::bare_calls).
    pub bare_calls_port: u16,
    /// Where its EPMD listens.
    pub epmd_port: u16,
}

impl Peer {
    /// Starts it; in the process that is started so this never returns.
    pub fn start() -> Self {
        Self::start_with(|_, _, _| {})
    }

    /// As [`Peer::start`], with more in the peer: it is given the node, its runtime, and the port of EPMD.
    pub fn start_with(more: impl FnOnce(&Runtime, &Node, u16)) -> Self {
        if let Some((role, epmd_port)) = crate::role()
            && role == "peer"
        {
            serve(epmd_port.parse().expect("a port"), more);
        }
        let epmd_port = free_port();
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .args(["--role", "peer", &epmd_port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("its ports");
        let mut ports = line.split_whitespace().map(|port| port.parse().expect("a port"));
        let mut port = || ports.next().expect("three ports");
        let (tcp_port, spinning_port, bare_calls_port) = (port(), port(), port());
        let stdin = child.stdin.take();
        Self { child, stdin, tcp_port, spinning_port, bare_calls_port, epmd_port }
    }

    /// The address of a server of the peer's node.
    pub fn server(n: u32) -> (Atom, Atom) {
        let name = Atom::new(&format!("echo_{n}")).expect("a short name");
        (name, Atom::from_static("peer@127.0.0.1"))
    }

    /// The pids of the servers of its node, or of a further one of it, as one who calls them again and again knows them.
    pub fn pids(runtime: &Runtime, node: &Node, peer: &Atom) -> Vec<Pid> {
        let servers = (Atom::from_static("servers"), peer.clone());
        let pids = runtime.block_on(async { node.call::<Vec<Pid>, _>(servers, ()).await });
        pids.unwrap_or_else(|error| panic!("{peer}: {error}"))
    }

    /// The operating system's number of it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where the peer's bare TCP server listens.
    pub fn tcp_port(&self) -> u16 {
        self.tcp_port
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

fn serve(epmd_port: u16, more: impl FnOnce(&Runtime, &Node, u16)) -> ! {
    let runtime = runtime();
    let node = node(&runtime, "peer@127.0.0.1", epmd_port);
    start_servers(&runtime, &node, SERVERS);
    more(&runtime, &node, epmd_port);
    println!("{} {} {}", serve_tcp(&runtime), serve_spinning_tcp(), bare_calls::serve(&runtime));
    let _ = std::io::stdin().read(&mut [0]);
    std::process::exit(0)
}

/// Starts so many servers, `echo_0` and so on, and one that tells their pids.
pub fn start_servers(runtime: &Runtime, node: &Node, servers: u32) {
    runtime.block_on(async {
        let mut pids = Vec::new();
        for n in 0..servers {
            let echo = Echo::<Term>::start(node, ()).name(Peer::server(n).0).await;
            pids.push(echo.expect("it starts").pid().clone());
        }
        Servers::start(node, pids).name("servers").await.expect("it starts");
    });
}

/// Replies with pids to whatever it is called with.
struct Servers(Vec<Pid>);

impl GenServer for Servers {
    type Args = Vec<Pid>;
    type Call = Term;
    type Reply = Vec<Pid>;
    type Cast = Term;
    type Info = Term;

    async fn init(pids: Vec<Pid>, _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self(pids))
    }

    async fn handle_call(
        &mut self,
        _: Term,
        from: ReplyTo<Vec<Pid>>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(self.0.clone()))
    }
}

#[expect(clippy::disallowed_types, reason = "the floor is the socket itself")]
fn serve_tcp(runtime: &Runtime) -> u16 {
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::runtime::Handle::current().spawn(answer(stream));
        }
    });
    port
}

/// The client says first how long requests and replies are.
#[expect(clippy::disallowed_types, reason = "the floor is the socket itself")]
async fn answer(mut stream: tokio::net::TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let request_len = stream.read_u64().await?;
    let reply = vec![7; usize::try_from(stream.read_u64().await?).unwrap_or_default()];
    let mut buffer = vec![0; 1 << 18];
    loop {
        let mut left = request_len;
        while left > 0 {
            let n = stream.read(&mut buffer).await?;
            if n == 0 {
                return Ok(());
            }
            left = left.saturating_sub(n as u64);
        }
        stream.write_all(&reply).await?;
    }
}

/// A bare connection to the peer: requests and replies of so many bytes, in turn.
#[derive(Clone)]
pub struct Tcp {
    #[expect(clippy::disallowed_types, reason = "the floor is the socket itself")]
    stream: Arc<Mutex<Option<tokio::net::TcpStream>>>,
    request_len: usize,
    reply_len: usize,
}

impl Tcp {
    /// Connects.
    #[expect(clippy::disallowed_types, reason = "the floor is the socket itself")]
    pub async fn connect(port: u16, request_len: usize, reply_len: usize) -> Self {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        stream.write_u64(request_len as u64).await.expect("it is written");
        stream.write_u64(reply_len as u64).await.expect("it is written");
        Self { stream: Arc::new(Mutex::new(Some(stream))), request_len, reply_len }
    }

    /// So many round trips. A request is written at most `write_max` bytes at a time.
    pub async fn round_trips(self, times: u32, write_max: usize) {
        let mut stream = self.stream.lock().ok().and_then(|mut stream| stream.take()).expect("not in use");
        let (request, mut reply) = (vec![7; self.request_len.min(write_max)], vec![0; self.reply_len]);
        for _ in 0..times {
            let mut left = self.request_len;
            while left > 0 {
                let n = left.min(request.len());
                stream.write_all(&request[..n]).await.expect("it is written");
                left -= n;
            }
            stream.read_exact(&mut reply).await.expect("a reply");
        }
        if let Ok(mut place) = self.stream.lock() {
            *place = Some(stream);
        }
    }
}

/// How long round trips take on each of the connections at the same time.
pub fn time_tcp(runtime: &Runtime, connections: &[Tcp], times: u32, write_max: usize) -> Duration {
    run_all(runtime, connections.iter().map(|tcp| tcp.clone().round_trips(times, write_max)))
}

/// How long round trips take on a connection once so many others have been there, by the same task.
pub fn time_settled_tcp(runtime: &Runtime, tcp: &Tcp, settling: u32, times: u32) -> Duration {
    let tcp = tcp.clone();
    output(runtime, async move {
        tcp.clone().round_trips(settling, usize::MAX).await;
        time_async(tcp.round_trips(times, usize::MAX)).await
    })
}

/// How long so many round trips take, each on the next of the connections.
pub fn time_tcp_in_turn(runtime: &Runtime, connections: &[Tcp], times: u32) -> Duration {
    let connections = connections.to_vec();
    let in_turn = async move {
        for (_, tcp) in (0..times).zip(connections.iter().cycle()) {
            tcp.clone().round_trips(1, usize::MAX).await;
        }
    };
    run_all(runtime, [in_turn])
}

/// Answers one connection after the other.
#[expect(clippy::disallowed_types, reason = "the floor is the socket itself")]
fn serve_spinning_tcp() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // It ends with an error when its client goes.
            let _ = answer_spinning(&mut stream);
        }
    });
    port
}

#[expect(clippy::disallowed_types, reason = "the floor is the socket itself")]
fn answer_spinning(stream: &mut std::net::TcpStream) -> std::io::Result<()> {
    let mut lens = [0; 2];
    stream.read_exact(&mut lens)?;
    let (mut request, reply) = (vec![0; lens[0].into()], vec![7; lens[1].into()]);
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    loop {
        spin_until_read(stream, &mut request)?;
        stream.write_all(&reply)?;
    }
}

/// How long round trips of so many bytes take over a connection to the peer both of whose ends spin.
#[expect(clippy::disallowed_types, reason = "the floor is the socket itself")]
pub fn time_spinning_tcp(port: u16, request_len: usize, reply_len: usize, times: u32) -> Duration {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let len = |len: usize| u8::try_from(len).expect("a small message");
    stream.write_all(&[len(request_len), len(reply_len)]).expect("it is written");
    stream.set_nodelay(true).expect("a socket");
    stream.set_nonblocking(true).expect("a socket");
    let (request, mut reply) = (vec![7; request_len], vec![0; reply_len]);
    crate::time(times, || {
        stream.write_all(&request).expect("the socket has room");
        spin_until_read(&mut stream, &mut reply).expect("a reply");
    })
}

#[expect(clippy::disallowed_types, reason = "the floor is the socket itself")]
fn spin_until_read(stream: &mut std::net::TcpStream, into: &mut [u8]) -> std::io::Result<()> {
    let mut filled = 0;
    while filled < into.len() {
        match stream.read(&mut into[filled..]) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => filled += n,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => std::hint::spin_loop(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
