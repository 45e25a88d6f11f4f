use rand_core::Rng;

use super::*;
use crate::world::Listener;

fn options(port: u16, embedded: bool) -> EpmdOptions {
    let mut options = EpmdOptions { port, embedded, ..EpmdOptions::default() };
    options.server.addresses = vec!["127.0.0.1".to_owned()];
    options
}

/// A port below those that the system gives to sockets which ask for any, so that none of them takes it meanwhile.
async fn free_port(world: &World) -> u16 {
    let mut random = world.entropy.fork("port");
    loop {
        let port = 10_000 + (random.next_u32() % 20_000) as u16;
        if world.net.listen("127.0.0.1", port).await.is_ok() {
            return port;
        }
    }
}

async fn start(world: &World, port: u16, name: &str) -> Registered {
    Registered::start(world, options(port, true), Registration::new(name, 1)).await.unwrap()
}

/// A bound for what has to happen at some time, so that a broken test fails instead of hanging.
async fn soon<T>(world: &World, future: impl Future<Output = T>) -> T {
    world.timeout(Duration::from_secs(30), future).await.expect("it happens within 30 s")
}

/// Something that listens where a daemon should be, and answers each connection with these bytes.
async fn impostor(world: &World, answer: &'static [u8]) -> u16 {
    let mut listener = world.net.listen("127.0.0.1", 0).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    world.spawn(async move {
        while let Ok(mut conn) = Listener::accept(&mut *listener).await {
            let _ = conn.read.read(&mut [0; 64]).await;
            let _ = conn.write.write_all(answer).await;
        }
    });
    port
}

#[tokio::test]
async fn with_no_daemon_a_node_runs_one_and_others_use_it() {
    let world = World::tokio();
    let port = free_port(&world).await;
    let first = start(&world, port, "first").await;
    let second = start(&world, port, "second").await;
    let listed = names(&world, "127.0.0.1", port).await.unwrap();
    assert_eq!(listed.epmd_port, u32::from(port));
    assert_eq!(listed.nodes, [("second".to_owned(), 1), ("first".to_owned(), 1)]);
    second.unregister().await;
    assert_eq!(port_please(&world, "127.0.0.1", port, "second").await.unwrap(), None);
    first.unregister().await;
    let gone = soon(&world, async {
        loop {
            if let Err(error) = names(&world, "127.0.0.1", port).await {
                break error;
            }
        }
    });
    let gone = gone.await;
    assert!(!matches!(gone, EpmdError::Timeout { .. }), "the daemon ended with its node: {gone}");
}

#[tokio::test]
async fn nodes_that_start_at_once_share_one_daemon() {
    let world = World::tokio();
    let port = free_port(&world).await;
    let nodes = ["a", "b", "c", "d", "e"].map(|name| {
        let world = world.clone();
        world.clone().spawn(async move { start(&world, port, name).await })
    });
    let mut started = Vec::new();
    for node in nodes {
        started.push(node.await.unwrap());
    }
    assert_eq!(names(&world, "127.0.0.1", port).await.unwrap().nodes.len(), 5);
}

#[tokio::test]
async fn when_the_daemons_node_goes_the_others_keep_name_and_creation() {
    let world = World::tokio();
    let port = free_port(&world).await;
    let owner = start(&world, port, "owner").await;
    let mut others =
        [start(&world, port, "a").await, start(&world, port, "b").await, start(&world, port, "c").await];
    let before = others.each_ref().map(Registered::creation);
    drop(owner);
    for other in &mut others {
        soon(&world, async { while other.changed().await != Status::Registered {} }).await;
    }
    assert_eq!(others.each_ref().map(Registered::creation), before);
    let mut listed = names(&world, "127.0.0.1", port).await.unwrap().nodes;
    listed.sort();
    assert_eq!(listed, ["a", "b", "c"].map(|name| (name.to_owned(), 1)));
}

#[tokio::test]
async fn errors_name_the_fault() {
    let world = World::tokio();
    let port = free_port(&world).await;
    let start = |port, name| Registered::start(&world, options(port, false), Registration::new(name, 1));

    let error = start(port, "a").await.unwrap_err();
    assert!(matches!(error, EpmdError::NoDaemon { .. }), "{error}");
    assert!(error.to_string().contains(&port.to_string()), "{error}");

    let _owner = Registered::start(&world, options(port, true), Registration::new("a", 1)).await.unwrap();
    let error = start(port, "a").await.unwrap_err();
    assert!(matches!(error, EpmdError::NameTaken { .. }), "{error}");

    let error = start(impostor(&world, b"HTTP/1.1 400 Bad Request").await, "a").await.unwrap_err();
    assert!(matches!(error, EpmdError::Protocol { .. }), "{error}");

    let error = start(impostor(&world, b"v\0").await, "a").await.unwrap_err();
    assert!(matches!(error, EpmdError::Closed { received: 2, .. }), "{error}");

    let error = start(port, "a\0b").await.unwrap_err();
    assert!(matches!(error, EpmdError::Request(MessageError::NulInName { offset: 1 })), "{error}");

    let mut unusable = options(free_port(&world).await, true);
    unusable.server.addresses = vec!["192.0.2.1".to_owned()];
    let error = Registered::start(&world, unusable, Registration::new("a", 1)).await.unwrap_err();
    assert!(matches!(error, EpmdError::Listen { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_says_nothing_is_given_up() {
    let world = World::tokio();
    let listener = world.net.listen("127.0.0.1", 0).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let error = names(&world, "127.0.0.1", port).await.unwrap_err();
    assert!(matches!(error, EpmdError::Timeout { .. }), "{error}");
}
