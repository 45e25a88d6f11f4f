//! EPMD, both ways: stock tools and nodes against our daemon, our client against the stock daemon.
#![expect(clippy::disallowed_methods, reason = "tests against programs of this host")]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use beamline::epmd::{EpmdError, EpmdOptions, Registered, Registration, Server, ServerOptions, Status};
use beamline::epmd::{names, port_please};
use beamline::world::World;
use beamline_interop::{StockEpmd, erl, eventually, free_port};

async fn serve(world: &World) -> Server {
    let mut options = ServerOptions::default();
    options.addresses = vec!["127.0.0.1".to_owned()];
    options.port = 0;
    Server::start(world, options).await.unwrap()
}

fn options(port: u16, embedded: bool) -> EpmdOptions {
    let mut options = EpmdOptions::default();
    options.port = port;
    options.embedded = embedded;
    options.server.addresses = vec!["127.0.0.1".to_owned()];
    options
}

/// A bound for what has to happen at some time, so that a broken test fails instead of hanging.
async fn within_patience(future: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it happens within 30 s");
}

/// What the stock tool prints, as a client of the daemon on `port`.
async fn epmd_tool(port: u16, arg: &str) -> String {
    let arg = arg.to_owned();
    let output = tokio::task::spawn_blocking(move || {
        StockEpmd::command()
            .args(["-port", &port.to_string(), &arg])
            .stdin(Stdio::null())
            .output()
            .expect("erl comes with epmd")
    });
    let output = output.await.unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_nodes_register_with_our_daemon_and_find_each_other() {
    let Some(erl) = erl() else { return };
    let world = World::tokio();
    let server = serve(&world).await;
    let port = server.port();

    let mut one = erl.node("one@127.0.0.1", port).start().await;
    let mut two = erl.node("two@127.0.0.1", port).start().await;
    assert_eq!(one.eval("net_adm:ping('two@127.0.0.1')").await, "pong");
    assert_eq!(
        two.eval("{ok, N} = net_adm:names({127,0,0,1}), lists:sort([A || {A, _} <- N])").await,
        r#"["one","two"]"#
    );

    let listed = names(&world, "127.0.0.1", port).await.unwrap();
    assert_eq!(listed.epmd_port, u32::from(port));
    let registration = port_please(&world, "127.0.0.1", port, "two").await.unwrap().unwrap();
    assert_eq!(
        (registration.node_type, registration.highest),
        (77, 6),
        "OTP 25 registers as 6 to 5, later ones as 6 to 6"
    );
    assert_eq!(listed.nodes[0], ("two".to_owned(), registration.port), "the youngest first");

    let tool = epmd_tool(port, "-names").await;
    let expected =
        format!("name two at port {}\nname one at port {}\n", listed.nodes[0].1, listed.nodes[1].1);
    assert!(tool.ends_with(&expected), "{tool}");
    let tool = epmd_tool(port, "-kill").await;
    assert!(tool.contains("living nodes"), "refused while nodes are registered: {tool}");

    let taken = erl.node("two@127.0.0.1", port).try_start().await;
    assert!(taken.is_err(), "a second node of that name must not start");

    two.stop().await;
    within_patience(async {
        while port_please(&world, "127.0.0.1", port, "two").await.unwrap().is_some() {}
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_tool_ends_our_daemon_when_no_node_is_registered() {
    if erl().is_none() {
        return;
    }
    let world = World::tokio();
    let server = serve(&world).await;
    let tool = epmd_tool(server.port(), "-kill").await;
    assert!(tool.contains("Killed"), "{tool}");
    server.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_client_registers_with_the_stock_daemon() {
    if erl().is_none() {
        return;
    }
    let world = World::tokio();
    let port = free_port();
    let _epmd = StockEpmd::start(port, &[]).await;

    let mut registration = Registration::new("ours", 4711);
    registration.extra = b"x\0y".to_vec();
    let registered = Registered::start(&world, options(port, false), registration.clone()).await.unwrap();
    assert!(registered.creation() >= 4);
    assert_eq!(port_please(&world, "127.0.0.1", port, "ours").await.unwrap(), Some(registration.clone()));
    assert_eq!(port_please(&world, "127.0.0.1", port, "nobody").await.unwrap(), None);
    let listed = names(&world, "127.0.0.1", port).await.unwrap();
    assert_eq!(listed.nodes, [("ours".to_owned(), 4711)]);

    let second = Registered::start(&world, options(port, true), registration.clone()).await;
    assert!(matches!(second, Err(EpmdError::NameTaken { .. })), "{second:?}");

    let creation = registered.creation();
    registered.unregister().await;
    assert_eq!(port_please(&world, "127.0.0.1", port, "ours").await.unwrap(), None, "gone when it returns");
    let again = Registered::start(&world, options(port, false), registration).await.unwrap();
    assert_eq!(again.creation(), creation + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_stock_daemon_dies_our_node_becomes_the_daemon_and_stock_nodes_register_with_it() {
    let Some(erl) = erl() else { return };
    let world = World::tokio();
    let port = free_port();
    let epmd = StockEpmd::start(port, &[]).await;
    let mut theirs = erl.node("theirs@127.0.0.1", port).start().await;
    let creation = theirs.eval("erlang:system_info(creation)").await;
    let mut ours =
        Registered::start(&world, options(port, true), Registration::new("ours", 4711)).await.unwrap();
    let before = ours.creation();

    drop(epmd);
    within_patience(async { while ours.changed().await != Status::Registered {} }).await;
    assert_eq!(ours.creation(), before);
    // The stock node finds the new daemon by itself, within its two seconds.
    eventually("both nodes are registered", async || {
        names(&world, "127.0.0.1", port).await.unwrap().nodes.len() == 2
    })
    .await;
    assert_eq!(theirs.eval("erlang:system_info(creation)").await, creation);
    let listed = epmd_tool(port, "-names").await;
    assert!(
        listed.contains("name ours at port 4711\n") && listed.contains("name theirs at port "),
        "{listed}"
    );
}

/// A process of its own that is registered under a name, or is the daemon as well.
struct Process(Child);

impl Process {
    async fn start(world: &World, name: &str, port: u16) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_registered"));
        let process = Self(command.args([name, &port.to_string()]).stdout(Stdio::null()).spawn().unwrap());
        eventually("the process is registered", async || {
            matches!(port_please(world, "127.0.0.1", port, name).await, Ok(Some(_)))
        })
        .await;
        process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL: it has no chance to say goodbye.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_process_with_the_daemon_is_killed_nobodys_registration_is_lost() {
    let Some(erl) = erl() else { return };
    let world = World::tokio();
    let port = free_port();
    let daemon = Process::start(&world, "daemon", port).await;
    let _others = (Process::start(&world, "a", port).await, Process::start(&world, "b", port).await);
    let mut theirs = erl.node("theirs@127.0.0.1", port).start().await;
    assert_eq!(names(&world, "127.0.0.1", port).await.unwrap().nodes.len(), 4);

    drop(daemon);
    eventually("all but the killed one are registered", async || {
        let listed = names(&world, "127.0.0.1", port).await.map(|names| names.nodes).unwrap_or_default();
        let mut listed: Vec<_> = listed.into_iter().map(|(name, _)| name).collect();
        listed.sort();
        listed == ["a", "b", "theirs"]
    })
    .await;
    let known = "{ok, N} = net_adm:names({127,0,0,1}), lists:sort([A || {A, _} <- N])";
    assert_eq!(theirs.eval(known).await, r#"["a","b","theirs"]"#);
}
