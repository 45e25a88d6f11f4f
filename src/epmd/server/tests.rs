use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::epmd::{EpmdError, client::ask, port_please};

async fn start(change: impl FnOnce(&mut ServerOptions)) -> (World, Server) {
    let world = World::tokio();
    let mut options =
        ServerOptions { addresses: vec!["127.0.0.1".to_owned()], port: 0, ..ServerOptions::default() };
    change(&mut options);
    let server = Server::start(&world, options).await.unwrap();
    (world, server)
}

async fn connect(world: &World, server: &Server) -> Conn {
    world.net.connect("127.0.0.1", server.port()).await.unwrap()
}

/// Sends bytes as they are, and returns what comes back until the daemon closes.
async fn raw(world: &World, server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut conn = connect(world, server).await;
    conn.write.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // Closed with our bytes unread, the connection may be reset instead of ended.
    let _ = conn.read.read_to_end(&mut answer).await;
    answer
}

async fn register(world: &World, server: &Server, name: &str) -> (Conn, Alive2Answer) {
    let mut conn = connect(world, server).await;
    let request = Request::Alive2(Registration::new(name, 1001)).encode().unwrap();
    conn.write.write_all(&request).await.unwrap();
    let mut answer = [0; 6];
    conn.read.read_exact(&mut answer).await.unwrap();
    (conn, Alive2Answer::decode(&answer).unwrap())
}

async fn is_registered(world: &World, server: &Server, name: &str) -> bool {
    port_please(world, "127.0.0.1", server.port(), name).await.unwrap().is_some()
}

/// The daemon has noticed the end of a connection at some time after it.
async fn until_unregistered(world: &World, server: &Server, name: &str) {
    let gone = async { while is_registered(world, server, name).await {} };
    world.timeout(Duration::from_secs(30), gone).await.expect("it is unregistered");
}

#[tokio::test]
async fn a_node_is_registered_for_as_long_as_its_connection_lives() {
    let (world, server) = start(|_| {}).await;
    let (conn, answer) = register(&world, &server, "a").await;
    assert_eq!(answer.result, 0);
    let found = port_please(&world, "127.0.0.1", server.port(), "a").await.unwrap();
    assert_eq!(found, Some(Registration::new("a", 1001)));
    let (_second, refused) = register(&world, &server, "a").await;
    assert_eq!(refused, Alive2Answer { result: 1, creation: REFUSED_CREATION });
    drop(conn);
    until_unregistered(&world, &server, "a").await;
    let (_conn, again) = register(&world, &server, "a").await;
    assert_eq!(again, Alive2Answer { result: 0, creation: answer.creation + 1 });
}

#[tokio::test]
async fn a_further_byte_on_its_connection_unregisters_a_node() {
    let (world, server) = start(|_| {}).await;
    let (mut conn, _) = register(&world, &server, "a").await;
    conn.write.write_all(b"!").await.unwrap();
    assert_eq!(conn.read.read(&mut [0]).await.unwrap_or(0), 0, "it is closed");
    assert!(!is_registered(&world, &server, "a").await);
}

#[tokio::test]
async fn what_is_no_request_is_closed_without_an_answer_and_the_daemon_lives() {
    let (world, server) = start(|_| {}).await;
    let requests: [&[u8]; 7] =
        [b"\0\0", b"\xff\xff", b"\x0b\xf2n", b"\0\x01Q", b"\0\x01n\0\x01n", b"\0\x01z", b"\0\x04za\0b"];
    for request in requests {
        assert_eq!(raw(&world, &server, request).await, b"", "{request:?}");
    }
    let mut conn = connect(&world, &server).await;
    conn.write.write_all(b"\0\x05z").await.unwrap();
    conn.write.shutdown().await.unwrap();
    assert_eq!(conn.read.read(&mut [0]).await.unwrap(), 0, "a request cut short");
    assert!(!is_registered(&world, &server, "a").await);
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let (world, server) = start(|_| {}).await;
    let mut conn = connect(&world, &server).await;
    for byte in b"\0\x02za" {
        conn.write.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = Vec::new();
    conn.read.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"w\x01");
}

#[tokio::test]
async fn names_and_dump_begin_with_the_daemons_own_port() {
    let (world, server) = start(|_| {}).await;
    let _held = register(&world, &server, "a").await;
    let port = u32::from(server.port()).to_be_bytes();
    let names = raw(&world, &server, b"\0\x01n").await;
    assert_eq!(names, [&port[..], b"name a at port 1001\n"].concat());
    let dump = raw(&world, &server, b"\0\x01d").await;
    assert!(dump.starts_with(&[&port[..], b"active name     <a> at port 1001, fd = "].concat()));
}

#[tokio::test]
async fn a_daemon_with_nodes_is_neither_killed_nor_made_to_drop_them() {
    let (world, server) = start(|_| {}).await;
    let (conn, _) = register(&world, &server, "a").await;
    assert_eq!(raw(&world, &server, b"\0\x01k").await, b"NO");
    assert_eq!(raw(&world, &server, b"\0\x02sa").await, b"");
    assert!(is_registered(&world, &server, "a").await);
    drop(conn);
    until_unregistered(&world, &server, "a").await;
    assert_eq!(raw(&world, &server, b"\0\x01k").await, b"OK");
    server.ended().await;
    let gone = ask(&world, "127.0.0.1", server.port(), &Request::Names).await;
    assert!(matches!(
        gone,
        Err(EpmdError::NoDaemon { .. } | EpmdError::Broken { .. } | EpmdError::Closed { .. })
    ));
}

#[tokio::test]
async fn with_relaxed_checks_nodes_are_unregistered_and_the_daemon_ends() {
    let (world, server) = start(|options| options.relaxed_command_check = true).await;
    let (mut conn, first) = register(&world, &server, "a").await;
    assert_eq!(raw(&world, &server, b"\0\x02sb").await, b"NOEXISTSTOPPED");
    assert_eq!(raw(&world, &server, b"\0\x02sa").await, b"STOPPED");
    assert!(!is_registered(&world, &server, "a").await);
    assert_eq!(conn.read.read(&mut [0]).await.unwrap_or(0), 0, "its connection is closed");
    let (mut conn, second) = register(&world, &server, "a").await;
    assert_eq!(second.creation, first.creation + 1);
    assert_eq!(raw(&world, &server, b"\0\x01k").await, b"OK");
    assert_eq!(conn.read.read(&mut [0]).await.unwrap_or(0), 0);
    server.ended().await;
}

#[tokio::test]
async fn connections_past_the_limit_are_closed_and_registered_nodes_do_not_count() {
    let (world, server) = start(|options| options.connections = 2).await;
    let _nodes = (register(&world, &server, "a").await, register(&world, &server, "b").await);
    let (one, _two) = (connect(&world, &server).await, connect(&world, &server).await);
    let mut three = connect(&world, &server).await;
    assert_eq!(three.read.read(&mut [0]).await.unwrap_or(0), 0);
    drop(one);
    let again =
        async { while !matches!(port_please(&world, "127.0.0.1", server.port(), "a").await, Ok(Some(_))) {} };
    world.timeout(Duration::from_secs(30), again).await.expect("a freed place is given to the next");
}

#[tokio::test]
async fn a_dropped_daemon_closes_its_connections_and_frees_its_port() {
    let (world, server) = start(|_| {}).await;
    let (mut conn, _) = register(&world, &server, "a").await;
    let port = server.port();
    drop(server);
    assert_eq!(conn.read.read(&mut [0]).await.unwrap_or(0), 0);
    let freed = async { while world.net.listen("127.0.0.1", port).await.is_err() {} };
    world.timeout(Duration::from_secs(30), freed).await.expect("the port is free");
}

#[test]
fn local_is_loopback_or_the_address_that_was_dialled() {
    let local = |local: &str, peer: &str| is_local(local.parse().unwrap(), peer.parse().unwrap());
    assert!(local("127.0.0.1:4369", "127.9.9.9:1"));
    assert!(local("[::1]:4369", "[::1]:1"));
    assert!(local("10.0.0.1:4369", "10.0.0.1:1"));
    assert!(local("[::ffff:127.0.0.1]:4369", "[::ffff:127.0.0.1]:1"), "IPv4 on a socket for both");
    assert!(!local("10.0.0.1:4369", "10.0.0.2:1"));
    assert!(!local("[::ffff:10.0.0.1]:4369", "[::ffff:10.0.0.2]:1"));
}

/// The daemon's side of a connection, which notes whether names were registered when it was let go.
struct Noted {
    write: tokio::io::WriteHalf<tokio::io::DuplexStream>,
    shared: Arc<Shared>,
    ended: std::sync::mpsc::Sender<bool>,
}

impl Drop for Noted {
    fn drop(&mut self) {
        let _ = self.ended.send(self.shared.lock().registry.is_empty());
    }
}

impl tokio::io::AsyncWrite for Noted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_name_is_free_before_the_connection_that_held_it_ends() {
    let (_world, server) = start(|_| {}).await;
    let shared = server.shared.clone();
    let (mut client, daemon) = tokio::io::duplex(1024);
    let (read, write) = tokio::io::split(daemon);
    let (ended, names_were_free) = std::sync::mpsc::channel();
    let write = Noted { write, shared: shared.clone(), ended };
    let local = "127.0.0.1:1".parse().unwrap();
    let conn = Conn { read: Box::new(read), write: Box::new(write), wait: None, local, peer: local };
    let id = shared.admit(true).unwrap();
    let client = async {
        let request = Request::Alive2(Registration::new("a", 1001)).encode().unwrap();
        client.write_all(&request).await.unwrap();
        let mut answer = [0; 6];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(Alive2Answer::decode(&answer).unwrap().result, 0);
        drop(client);
    };
    let seat = Seat { shared, id, name: None };
    tokio::join!(client, serve(seat, conn, true));
    assert_eq!(names_were_free.try_recv(), Ok(true));
}
