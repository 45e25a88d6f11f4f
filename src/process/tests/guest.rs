//! Who runs processes where it delivers to them.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{ThreadId, current};
use std::time::Duration;

use super::{local, send, start, term};
use crate::process::{Local, Spares};
use crate::term::Pid;

const PATIENCE: Duration = Duration::from_secs(60);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A process that tells on which thread it receives each message, and passes it on.
fn receiver(local: &Arc<Local>, ran: &mpsc::Sender<ThreadId>, next: Option<Pid>) -> Pid {
    let ran = ran.clone();
    start(local, move |mut cx| async move {
        loop {
            let message = cx.receive().await;
            let _ = ran.send(current().id());
            if let Some(next) = &next {
                let _ = cx.send(next, message);
            }
        }
    })
}

fn all_asleep(local: &Arc<Local>) {
    while !local.schedulers().all_asleep() {
        std::thread::yield_now();
    }
}

#[test]
fn what_is_delivered_is_received_before_the_turn_ends_and_so_is_what_follows_from_it() {
    let runtime = runtime();
    let _here = runtime.enter();
    let local = local();
    let (ran, runs) = mpsc::channel();
    let last = receiver(&local, &ran, None);
    let first = receiver(&local, &ran, Some(last));
    all_asleep(&local);
    let guest = local.guest().expect("there is room");
    for _ in 0..3 {
        let delivered = guest.turn(&mut Spares::default(), || {
            send(&local, &first, term("go"));
            runs.try_recv().is_err()
        });
        assert!(delivered, "nothing runs before all is delivered");
        assert_eq!(runs.try_iter().collect::<Vec<_>>(), [current().id(); 2]);
    }
}

#[test]
fn what_one_turn_is_too_short_for_runs_elsewhere() {
    const RECEIVERS: usize = 20;
    let runtime = runtime();
    let _here = runtime.enter();
    let local = local();
    let (ran, runs) = mpsc::channel();
    let receivers: Vec<_> = (0..RECEIVERS).map(|_| receiver(&local, &ran, None)).collect();
    let slow = start(&local, |mut cx| async move {
        cx.receive().await;
        let clock = cx.world().clock.clone();
        let start = clock.mono();
        while clock.mono().since(start) < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        // The turn is looked at from time to time.
        for _ in 0..100 {
            cx.yield_now().await;
        }
        std::future::pending().await
    });
    all_asleep(&local);
    let guest = local.guest().expect("there is room");
    guest.turn(&mut Spares::default(), || {
        send(&local, &slow, term("go"));
        receivers.iter().for_each(|receiver| send(&local, receiver, term("go")));
    });
    // Nobody calls the guest again.
    for _ in 0..RECEIVERS {
        runs.recv_timeout(PATIENCE).expect("it runs");
    }
}

#[test]
fn the_only_one_that_a_turn_leaves_is_run_by_a_scheduler() {
    let runtime = runtime();
    let _here = runtime.enter();
    let local = local();
    let (done, is_done) = mpsc::channel();
    // It is never one of several, of which others would take some.
    let slow = start(&local, |mut cx| async move {
        cx.receive().await;
        for _ in 0..100 {
            let clock = cx.world().clock.clone();
            let start = clock.mono();
            while clock.mono().since(start) < Duration::from_micros(100) {
                std::hint::spin_loop();
            }
            cx.yield_now().await;
        }
        let _ = done.send(current().id());
        std::future::pending().await
    });
    all_asleep(&local);
    let guest = local.guest().expect("there is room");
    guest.turn(&mut Spares::default(), || send(&local, &slow, term("go")));
    assert!(is_done.try_recv().is_err(), "its turn is over before it is done");
    let on = is_done.recv_timeout(PATIENCE).expect("it goes on");
    assert_ne!(on, current().id());
}

#[test]
fn there_are_so_many_guests_and_one_that_leaves_makes_room() {
    let runtime = runtime();
    let _here = runtime.enter();
    let local = local();
    let guests: Vec<_> = std::iter::from_fn(|| local.guest()).take(100).collect();
    assert_eq!(guests.len(), 64);
    drop(guests);
    let (ran, runs) = mpsc::channel();
    let receiver = receiver(&local, &ran, None);
    all_asleep(&local);
    let guest = local.guest().expect("there is room again");
    guest.turn(&mut Spares::default(), || send(&local, &receiver, term("go")));
    assert_eq!(runs.try_recv(), Ok(current().id()));
    // Without a guest, a scheduler runs it.
    drop(guest);
    send(&local, &receiver, term("go"));
    assert_ne!(runs.recv_timeout(PATIENCE), Ok(current().id()));
}

#[test]
fn a_process_that_ends_in_a_guests_turn_ends_for_all() {
    let runtime = runtime();
    let _here = runtime.enter();
    let local = local();
    let mortal = start(&local, super::mortal);
    all_asleep(&local);
    let guest = local.guest().expect("there is room");
    guest.turn(&mut Spares::default(), || send(&local, &mortal, term("shutdown")));
    assert!(local.process(&mortal).is_none());
}
