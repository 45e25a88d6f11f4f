//! A simulated disk keeps what was synced, and of the rest what a real one might.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use beamline_sim::{Fault, Sim};

const SECOND: Duration = Duration::from_secs(1);

fn one() -> String {
    "one".to_owned()
}

/// What a node finds after a fault that falls into its fourth append: it has synced three.
fn found_after(seed: u64, fault: &Fault) -> Vec<u8> {
    let mut sim = Sim::new(seed);
    let found = Arc::new(Mutex::new(None));
    let seen = found.clone();
    sim.service("one", move |world| {
        let seen = seen.clone();
        async move {
            match world.disk.read("log").await {
                Ok(bytes) => *seen.lock().unwrap() = Some(bytes),
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
                    let mut log = world.disk.open_log("log").await?;
                    for _ in 0..3 {
                        log.append(b"synced").await?;
                    }
                    log.sync().await?;
                    assert_eq!(log.append(b"unsynced").await?, 18);
                    world.disk.replace("whole", b"new").await?;
                }
            }
            std::future::pending().await
        }
    });
    let soon = SECOND / 20;
    sim.run_for(soon).unwrap();
    sim.inject(fault);
    sim.run_for(soon).unwrap();
    sim.inject(&Fault::Restart { node: one() });
    sim.run_for(soon).unwrap();
    let found = found.lock().unwrap().take();
    found.expect("the file is there")
}

#[test]
fn a_killed_process_loses_nothing_and_a_host_without_power_what_was_not_synced() {
    let mut seen = BTreeSet::new();
    for seed in 0..40 {
        let kept = found_after(seed, &Fault::Crash { node: one() });
        assert_eq!(kept, b"syncedsyncedsyncedunsynced");
        let kept = found_after(seed, &Fault::PowerLoss { node: one() });
        assert_eq!(kept[..18], *b"syncedsyncedsynced");
        let rest = &kept[18..];
        let damaged = rest.iter().zip(b"unsynced").filter(|(left, right)| left != right).count();
        assert!(damaged <= 1, "{rest:?}");
        seen.insert((rest.len(), damaged));
        assert_eq!(kept, found_after(seed, &Fault::PowerLoss { node: one() }), "seed {seed}");
    }
    let lens: BTreeSet<_> = seen.iter().map(|(len, _)| len).collect();
    assert!(lens.len() == 9 && seen.iter().any(|(_, damaged)| *damaged == 1), "{seen:?}");
}

#[test]
fn a_loss_of_power_may_fall_into_a_sync() {
    let mut sim = Sim::new(1);
    sim.service("one", |world| async move {
        let mut log = world.disk.open_log("log").await?;
        world.event("", "found", &log.len());
        log.append(&[7; 1000]).await?;
        log.sync().await?;
        world.event("", "synced", &"");
        std::future::pending().await
    });
    sim.inject(&Fault::SlowDisk { node: one(), sync_ms: Some(2000) });
    sim.run_for(SECOND).unwrap();
    sim.inject(&Fault::PowerLoss { node: one() });
    sim.inject(&Fault::SlowDisk { node: one(), sync_ms: None });
    sim.restart("one");
    sim.run_for(SECOND).unwrap();
    let trace = sim.trace();
    let of = |kind: &str| -> Vec<_> { trace.events().iter().filter(|event| event.kind == kind).collect() };
    assert!(of("torn")[0].detail.contains("of 1000 bytes, 0 synced"), "{}", of("torn")[0]);
    assert_eq!(of("synced").len(), 1, "by the second life alone");
    assert!(of("found")[1].detail.parse::<u32>().unwrap() < 1000);
}

#[test]
fn a_file_whose_disk_has_failed_once_is_opened_anew_before_it_is_trusted() {
    let mut sim = Sim::new(1);
    sim.node("one", |world| async move {
        let mut log = world.disk.open_log("log").await?;
        log.append(b"first").await?;
        world.sleep(2 * SECOND).await;
        assert!(log.sync().await.is_err());
        assert!(world.disk.read("log").await.is_err());
        assert!(world.disk.open_log("log").await.is_err());
        world.sleep(2 * SECOND).await;
        assert!(log.append(b"second").await.is_err() && log.sync().await.is_err());
        let mut log = world.disk.open_log("log").await?;
        log.append(b"third").await?;
        log.sync().await?;
        assert_eq!(world.disk.read("log").await?, b"firstthird");
        Ok(())
    });
    sim.run_for(SECOND).unwrap();
    sim.inject(&Fault::BadDisk { node: one(), fails: true });
    sim.run_for(2 * SECOND).unwrap();
    sim.inject(&Fault::BadDisk { node: one(), fails: false });
    sim.run().unwrap();
}
