//! The simulated world behaves as the real one where a node could tell.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use beamline_sim::{SYN_PATIENCE, Sim};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Answers every byte with itself.
fn echo(sim: &mut Sim, host: &str) {
    sim.service(host, |world| async move {
        let mut listener = world.net.listen("0.0.0.0", 7).await?;
        loop {
            let mut conn = listener.accept().await?;
            world.spawn(async move {
                let mut byte = [0];
                while let Ok(1) = conn.read.read(&mut byte).await {
                    if conn.write.write_all(&byte).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
}

#[test]
fn a_dial_across_a_cut_times_out_and_is_not_refused() {
    let mut sim = Sim::new(1);
    echo(&mut sim, "server");
    sim.node("client", |world| async move {
        let before = world.clock.mono();
        let error = world.net.connect("server", 7).await.err().expect("the wire is cut");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        assert!(world.clock.mono().since(before) >= SYN_PATIENCE);
        Ok(())
    });
    sim.cut("client", "server");
    sim.run().unwrap();
}

#[test]
fn a_port_that_nobody_listens_on_refuses_and_an_unknown_host_is_not_found() {
    let mut sim = Sim::new(1);
    echo(&mut sim, "server");
    sim.node("client", |world| async move {
        let refused = world.net.connect("server", 8).await.err().expect("nobody listens");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let unknown = world.net.connect("nowhere", 7).await.err().expect("there is no such host");
        assert_eq!(unknown.kind(), std::io::ErrorKind::NotFound);
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn what_is_sent_across_a_short_cut_arrives_when_it_is_healed() {
    let mut sim = Sim::new(3);
    echo(&mut sim, "server");
    let answered = Arc::new(Mutex::new(None));
    let seen = answered.clone();
    sim.node("client", move |world| {
        let seen = seen.clone();
        async move {
            world.sleep(Duration::from_millis(1)).await;
            let mut conn = world.net.connect("server", 7).await?;
            world.sleep(Duration::from_secs(2)).await;
            conn.write.write_all(b"x").await?;
            let sent = world.clock.mono();
            let mut byte = [0];
            conn.read.read_exact(&mut byte).await?;
            *seen.lock().unwrap() = Some((byte, world.clock.mono().since(sent)));
            Ok(())
        }
    });
    sim.run_for(Duration::from_secs(1)).unwrap();
    sim.cut("client", "server");
    sim.run_for(Duration::from_secs(5)).unwrap();
    assert_eq!(*answered.lock().unwrap(), None);
    sim.heal("client", "server");
    sim.run().unwrap();
    let (byte, took) = answered.lock().unwrap().expect("the node finished");
    assert_eq!(byte, *b"x");
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_paused_node_stands_still_and_a_crashed_one_starts_anew() {
    let mut sim = Sim::new(1);
    let steps = Arc::new(Mutex::new(Vec::new()));
    let log = steps.clone();
    sim.service("ticker", move |world| {
        let log = log.clone();
        async move {
            loop {
                log.lock().unwrap().push(world.clock.mono());
                world.sleep(Duration::from_millis(100)).await;
            }
        }
    });
    sim.run_for(Duration::from_secs(1)).unwrap();
    let before = steps.lock().unwrap().len();
    sim.pause("ticker");
    sim.run_for(Duration::from_secs(2)).unwrap();
    assert_eq!(steps.lock().unwrap().len(), before);
    sim.resume("ticker");
    sim.run_for(Duration::from_secs(1)).unwrap();
    let gap = {
        let steps = steps.lock().unwrap();
        steps[before].since(steps[before - 1])
    };
    assert!(gap >= Duration::from_secs(2), "one long gap, as a stopped process sees it: {gap:?}");
    sim.crash("ticker");
    let before = steps.lock().unwrap().len();
    sim.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(steps.lock().unwrap().len(), before);
    sim.restart("ticker");
    sim.run_for(Duration::from_secs(1)).unwrap();
    assert!(steps.lock().unwrap().len() > before);
    let trace = sim.run().unwrap();
    assert!(
        trace.events().iter().any(|event| event.to_string().contains(" ticker#2 boot")),
        "{:?}",
        trace.events()
    );
}

#[test]
fn a_panic_in_any_task_fails_the_run() {
    let mut sim = Sim::new(1);
    sim.node("one", |world| async move {
        world.spawn(async { panic!("planted") });
        world.sleep(Duration::from_secs(1)).await;
        Ok(())
    });
    let failure = sim.run().unwrap_err();
    assert!(failure.reason.contains("planted"), "{failure}");
}

#[test]
fn a_run_that_does_not_end_names_who_is_waiting() {
    let mut sim = Sim::new(1);
    sim.time_limit(Duration::from_secs(2));
    sim.node("stuck", |_| std::future::pending());
    let failure = sim.run().unwrap_err();
    assert!(failure.reason.contains("stuck"), "{failure}");
}
