use std::fmt::Display;
use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ::tokio::task::yield_now;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::{Gate, Mono, Probe, World};

#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Probe for Recorder {
    fn event(&self, node: &str, kind: &'static str, detail: &dyn Display) {
        self.0.lock().unwrap().push(format!("{node}|{kind}|{detail}"));
    }
}

#[tokio::test]
async fn two_ends_of_a_connection_see_each_others_bytes_and_addresses() {
    let world = World::tokio();
    let mut listener = world.net.listen("127.0.0.1", 0).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (accepted, mut dialled) =
        ::tokio::join!(listener.accept(), async { world.net.connect("127.0.0.1", port).await.unwrap() });
    let mut accepted = accepted.unwrap();
    assert_eq!((accepted.local, accepted.peer), (dialled.peer, dialled.local));

    assert!(dialled.write.is_write_vectored(), "the system takes several buffers in one call");
    let parts = [IoSlice::new(b"two "), IoSlice::new(b"parts")];
    let written = poll_fn(|cx| Pin::new(&mut dialled.write).poll_write_vectored(cx, &parts)).await.unwrap();
    assert_eq!(written, 9, "both buffers went out in one call");
    dialled.write.shutdown().await.unwrap();
    let mut received = Vec::new();
    accepted.read.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"two parts");
}

#[tokio::test]
async fn a_port_that_is_listened_on_cannot_be_listened_on_again() {
    let world = World::tokio();
    let first = world.net.listen("127.0.0.1", 0).await.unwrap();
    let port = first.local_addr().unwrap().port();
    let second = world.net.listen("127.0.0.1", port).await;
    assert_eq!(second.err().unwrap().kind(), std::io::ErrorKind::AddrInUse);
}

#[test]
fn forks_of_the_systems_randomness_are_independent_even_with_one_label() {
    let world = World::tokio();
    let draw = || world.entropy.fork("challenge").next_u64();
    assert_ne!(draw(), draw());
}

#[tokio::test(start_paused = true)]
async fn the_monotonic_clock_follows_the_runtimes_time() {
    let world = World::tokio();
    let before = world.clock.mono();
    world.sleep(Duration::from_secs(5)).await;
    assert_eq!(world.clock.mono().since(before), Duration::from_secs(5));
    assert_eq!(Mono(u64::MAX) + Duration::from_secs(1), Mono(u64::MAX), "it saturates");
}

#[tokio::test]
async fn a_panic_in_a_task_is_reported_and_ends_the_task() {
    let recorder = Arc::new(Recorder::default());
    let world = World { probe: Some(recorder.clone()), ..World::tokio() };
    let task = world.spawn(async { panic!("out of {}", "luck") });
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(*recorder.0.lock().unwrap(), ["|panic|out of luck"]);
}

#[tokio::test]
async fn a_paused_node_stands_still_until_it_is_resumed() {
    let gate = Arc::new(Gate::default());
    let world = World { gate: Some(gate.clone()), ..World::tokio() };
    let steps = Arc::new(Mutex::new(0));
    let task = world.spawn({
        let steps = steps.clone();
        async move {
            for _ in 0..3 {
                *steps.lock().unwrap() += 1;
                yield_now().await;
            }
        }
    });
    yield_now().await;
    gate.pause();
    let seen = *steps.lock().unwrap();
    for _ in 0..10 {
        yield_now().await;
    }
    assert_eq!(*steps.lock().unwrap(), seen, "no step while the gate is shut");
    gate.resume();
    task.await.unwrap();
    assert_eq!(*steps.lock().unwrap(), 3);
}

#[tokio::test]
async fn a_slow_node_is_let_through_as_often_as_it_is_refilled() {
    let gate = Arc::new(Gate::default());
    let world = World { gate: Some(gate.clone()), ..World::tokio() };
    gate.slow(Some(2));
    let task = world.spawn(async {
        for _ in 0..9 {
            yield_now().await;
        }
    });
    for refills in 1..=4 {
        for _ in 0..10 {
            yield_now().await;
        }
        assert_eq!(gate.polls(), 2 * refills);
        gate.refill();
    }
    assert!(!task.is_finished());
    gate.slow(None);
    task.await.unwrap();
    assert_eq!(gate.polls(), 10, "as many polls as without");
}

#[tokio::test]
async fn a_shaken_node_s_tasks_run_in_another_order_and_all_of_them() {
    let gate = Arc::new(Gate::default());
    let world = World { gate: Some(gate.clone()), ..World::tokio() };
    let mut orders = std::collections::BTreeSet::new();
    for seed in 0..20 {
        gate.shake(50, ChaCha8Rng::seed_from_u64(seed));
        let order = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..4)
            .map(|task| {
                let order = order.clone();
                world.spawn(async move { order.lock().unwrap().push(task) })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        orders.insert(order.lock().unwrap().clone());
    }
    assert!(orders.len() > 5 && orders.iter().all(|order| order.len() == 4), "{orders:?}");
}

#[tokio::test]
async fn there_is_no_real_world_in_a_simulation() {
    let world = std::panic::catch_unwind(|| super::simulated(World::tokio));
    assert!(world.is_err());
    let _ = World::tokio();
}

/// A world whose disk is a directory of this test alone.
fn with_directory(name: &str) -> (World, std::path::PathBuf) {
    let directory = std::env::temp_dir().join(format!("beamline-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    (World::tokio().directory(&directory), directory)
}

/// What every disk does: the real one, and the one that tests have in its place.
async fn keeps_files(world: &World) {
    let disk = &world.disk;
    assert_eq!(disk.list().await.unwrap(), [""; 0]);
    let mut log = disk.open_log("log").await.unwrap();
    assert_eq!(log.append(b"one").await.unwrap(), 0);
    assert_eq!(log.append(b"two").await.unwrap(), 3);
    log.sync().await.unwrap();
    log.truncate(4).await.unwrap();
    assert_eq!((log.len(), log.append(b"hree").await.unwrap()), (4, 4));
    assert_eq!(disk.read("log").await.unwrap(), b"onethree");
    drop(log);
    assert_eq!(disk.open_log("log").await.unwrap().len(), 8, "it is opened, and not made anew");

    for content in [&b"first and long"[..], b"second"] {
        disk.replace("state", content).await.unwrap();
        assert_eq!(disk.read("state").await.unwrap(), content);
    }
    assert_eq!(disk.list().await.unwrap(), ["log", "state"]);
    disk.remove("log").await.unwrap();
    assert_eq!(disk.read("log").await.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    assert_eq!(disk.remove("log").await.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    for name in ["", "../log", "a/b", "a\\b", ".hidden", "c:log", &"x".repeat(201)] {
        assert_eq!(disk.read(name).await.unwrap_err().kind(), std::io::ErrorKind::InvalidInput, "{name}");
        let opened = disk.open_log(name).await.err().expect("it is refused");
        assert_eq!(opened.kind(), std::io::ErrorKind::InvalidInput, "{name}");
    }
}

#[tokio::test]
async fn the_real_disk_keeps_files_in_its_directory() {
    let (world, directory) = with_directory("files");
    keeps_files(&world).await;
    assert_eq!(std::fs::read(directory.join("state")).unwrap(), b"second");
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn the_disk_of_tests_does_what_the_real_one_does() {
    let disk = Arc::new(crate::testing::MemoryDisk::default());
    keeps_files(&World { disk, ..World::tokio() }).await;
}

#[tokio::test]
async fn a_file_that_is_being_replaced_is_not_seen() {
    let (world, directory) = with_directory("replaced");
    world.disk.replace("state", b"whole").await.unwrap();
    // What a process that was killed in between leaves.
    std::fs::write(directory.join(".new-state"), b"hal").unwrap();
    assert_eq!(world.disk.list().await.unwrap(), ["state"]);
    assert_eq!(world.disk.read("state").await.unwrap(), b"whole");
    world.disk.replace("state", b"next").await.unwrap();
    assert_eq!(world.disk.read("state").await.unwrap(), b"next");
    std::fs::remove_dir_all(directory).unwrap();
}
