use std::fmt::Display;
use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ::tokio::task::yield_now;
use rand_core::Rng;

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
