//! `beamline-epmd` as its users call it.
#![expect(clippy::disallowed_methods, reason = "tests of a program of this host")]

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use beamline::epmd::{EpmdOptions, Registered, Registration, names};
use beamline::world::World;
use beamline_interop::free_port;

const PROGRAM: &str = env!("CARGO_BIN_EXE_beamline-epmd");

/// A daemon that ends with its test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(port: u16) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env("ERL_EPMD_PORT", port.to_string()).env("ERL_EPMD_ADDRESS", "127.0.0.1").stdin(Stdio::null());
    command
}

async fn daemon(world: &World, args: &[&str]) -> (Daemon, u16) {
    let port = free_port();
    let daemon = Daemon(program(port).args(args).spawn().unwrap());
    let answers = async {
        while names(world, "127.0.0.1", port).await.is_err() {
            world.sleep(Duration::from_millis(10)).await;
        }
    };
    world.timeout(Duration::from_secs(30), answers).await.expect("the daemon answers");
    (daemon, port)
}

async fn run(port: u16, args: &[&str]) -> Output {
    let mut command = program(port);
    command.args(args);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn register(world: &World, port: u16, name: &str) -> Registered {
    let mut options = EpmdOptions::default();
    options.port = port;
    options.embedded = false;
    Registered::start(world, options, Registration::new(name, 4711)).await.unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn it_lists_nodes_and_does_not_end_while_there_are_any() {
    let world = World::tokio();
    let (mut daemon, port) = daemon(&world, &[]).await;
    let node = register(&world, port, "a").await;
    for arg in ["-names", "--names"] {
        let listed = run(port, &[arg]).await;
        assert!(listed.status.success());
        let expected = format!("epmd: up and running on port {port} with data:\nname a at port 4711\n");
        assert_eq!(text(&listed.stdout), expected);
    }
    let refused = run(port, &["-kill"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("while nodes are registered"), "{refused:?}");
    let refused = run(port, &["-stop", "a"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("-relaxed_command_check"), "{refused:?}");

    let second = run(port, &[]).await;
    assert!(second.status.success(), "each node that starts tries to start one: {second:?}");

    node.unregister().await;
    let killed = run(port, &["-kill"]).await;
    assert_eq!(text(&killed.stdout), "Killed\n");
    let ended = tokio::task::spawn_blocking(move || daemon.0.wait().unwrap());
    assert!(ended.await.unwrap().success());
}

#[tokio::test]
async fn with_relaxed_checks_it_unregisters_nodes_and_ends() {
    let world = World::tokio();
    let (mut daemon, port) = daemon(&world, &["-relaxed_command_check", "-packet_timeout", "5"]).await;
    let mut node = register(&world, port, "a").await;
    assert_eq!(text(&run(port, &["-stop", "a"]).await.stdout), "STOPPED\n");
    node.changed().await;
    let unknown = run(port, &["-stop", "b"]).await;
    assert!(text(&unknown.stderr).contains("no node b"), "{unknown:?}");
    assert_eq!(text(&run(port, &["-kill"]).await.stdout), "Killed\n");
    let ended = tokio::task::spawn_blocking(move || daemon.0.wait().unwrap());
    assert!(ended.await.unwrap().success());
}

#[tokio::test]
async fn without_a_daemon_its_tools_say_so() {
    let port = free_port();
    for args in [&["-names"][..], &["-kill"], &["-stop", "a"]] {
        let output = run(port, args).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("no EPMD in reach"), "{output:?}");
    }
    assert_eq!(run(port, &["-port", "99999"]).await.status.code(), Some(2));
}
