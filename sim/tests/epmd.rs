//! EPMD where it takes time, or more than one host.

use std::time::Duration;

use beamline::epmd::client::{RETRY_INTERVAL, ask};
use beamline::epmd::{
    EpmdError, EpmdOptions, Registered, Registration, Request, Server, ServerOptions, Status, names,
    port_please,
};
use beamline::world::World;
use beamline_sim::{Sim, scenario};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PORT: u16 = 4369;

/// A client of a daemon that others run.
async fn register(world: &World, name: &str, port: u16) -> Result<Registered, EpmdError> {
    let mut options = EpmdOptions::default();
    options.embedded = false;
    Registered::start(world, options, Registration::new(name, port)).await
}

#[test]
fn a_name_that_another_node_took_meanwhile_is_reported_and_won_back() {
    let mut sim = Sim::new(1);
    sim.node("host", |world| async move {
        let server = Server::start(&world, ServerOptions::default()).await?;
        let mut ours = register(&world, "name", 1).await?;
        let creation = ours.creation();
        drop(server);
        assert_eq!(ours.changed().await, Status::Lost);
        // It has looked for a daemon at once, and looks again two seconds later.
        world.sleep(Duration::from_secs(1)).await;
        let _server = Server::start(&world, ServerOptions::default()).await?;
        let thief = register(&world, "name", 2).await?;
        assert_eq!(ours.changed().await, Status::NameTaken);
        thief.unregister().await;
        let before = world.clock.mono();
        assert_eq!(ours.changed().await, Status::Registered);
        assert!(world.clock.mono().since(before) <= RETRY_INTERVAL + Duration::from_millis(10));
        let found = port_please(&world, "127.0.0.1", PORT, "name").await?;
        assert_eq!(found.map(|node| node.port), Some(1));
        assert_eq!(ours.creation(), creation);
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn a_silent_or_slow_client_is_closed_after_the_packet_timeout() {
    let mut sim = Sim::new(1);
    sim.node("host", |world| async move {
        let _server = Server::start(&world, ServerOptions::default()).await?;
        let _owner = register(&world, "a", 1).await?;
        let mut silent = world.net.connect("127.0.0.1", PORT).await?;
        let mut partial = world.net.connect("127.0.0.1", PORT).await?;
        partial.write.write_all(b"\0\x05n").await?;
        let mut slow = world.net.connect("127.0.0.1", PORT).await?;
        let mut slow_write = slow.write;
        let ticker = world.clone();
        world.spawn(async move {
            // A byte every ten seconds never makes a request.
            while slow_write.write_all(&[1]).await.is_ok() {
                ticker.sleep(Duration::from_secs(10)).await;
            }
        });
        let mut refused = world.net.connect("127.0.0.1", PORT).await?;
        refused.write.write_all(&Request::Alive2(Registration::new("a", 2)).encode()?).await?;
        refused.read.read_exact(&mut [0; 6]).await?;
        let before = world.clock.mono();
        for read in [&mut silent.read, &mut partial.read, &mut slow.read, &mut refused.read] {
            assert_eq!(read.read(&mut [0]).await.unwrap_or(0), 0);
            let after = world.clock.mono().since(before);
            assert!(after > Duration::from_secs(59) && after < Duration::from_secs(61), "{after:?}");
        }
        let found = port_please(&world, "127.0.0.1", PORT, "a").await?;
        assert_eq!(found.map(|node| node.port), Some(1), "a registered node may be silent");
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn other_hosts_may_look_up_and_nothing_else() {
    let mut sim = Sim::new(1);
    sim.service("server", scenario::epmd::daemon);
    sim.node("client", |world| async move {
        world.sleep(Duration::from_millis(10)).await;
        let registered = names(&world, "server", PORT).await?;
        assert_eq!((registered.epmd_port, registered.nodes), (PORT.into(), Vec::new()));
        assert_eq!(port_please(&world, "server", PORT, "a").await?, None);
        for request in [
            Request::Alive2(Registration::new("a", 1)),
            Request::Dump,
            Request::Kill,
            Request::Stop(b"a".to_vec()),
        ] {
            let refused = ask(&world, "server", PORT, &request).await;
            assert!(
                matches!(refused, Err(EpmdError::Closed { received: 0, .. })),
                "{request:?}: {refused:?}"
            );
        }
        names(&world, "server", PORT).await?;
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn a_daemon_behind_a_cut_is_not_waited_for() {
    let mut sim = Sim::new(1);
    sim.service("server", scenario::epmd::daemon);
    sim.node("client", |world| async move {
        let error = names(&world, "server", PORT).await.unwrap_err();
        assert!(matches!(error, EpmdError::Timeout { .. }), "{error}");
        Ok(())
    });
    sim.cut("server", "client");
    sim.run().unwrap();
}

#[test]
fn while_a_name_is_lost_and_found_a_program_sees_every_state() {
    let mut sim = Sim::new(1);
    sim.node("host", |world| async move {
        let server = Server::start(&world, ServerOptions::default()).await?;
        let mut node = register(&world, "a", 1).await?;
        assert_eq!(node.status(), Status::Registered);
        drop(server);
        assert_eq!(node.changed().await, Status::Lost);
        world.sleep(Duration::from_secs(30)).await;
        assert_eq!(node.status(), Status::Lost, "without a daemon, and not allowed to run one");
        let _server = Server::start(&world, ServerOptions::default()).await?;
        assert_eq!(node.changed().await, Status::Registered);
        Ok(())
    });
    sim.run().unwrap();
}
