//! Whose turn it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::{local, send, start, term};
use crate::process::{AnyProcess, ExitReason, SpawnOptions, spawn};
use crate::term::Term;
use crate::world::World;

/// Two processes that send each other a message for ever.
fn talkers(local: &Arc<super::Local>, talk: &Arc<AtomicBool>) {
    let rally = |talk: Arc<AtomicBool>| {
        move |mut cx: super::Context<Term>| async move {
            while talk.load(Ordering::Relaxed) {
                let Term::Pid(other) = cx.receive().await else { continue };
                let _ = cx.send(&other, Term::Pid(cx.pid().clone()));
            }
            ExitReason::Normal
        }
    };
    let one = start(local, rally(talk.clone()));
    let other = start(local, rally(talk.clone()));
    send(local, &one, Term::Pid(other));
}

#[tokio::test]
async fn two_that_talk_to_each_other_leave_others_their_turn() {
    let (local, talk) = (local(), Arc::new(AtomicBool::new(true)));
    talkers(&local, &talk);
    let turns = Arc::new(AtomicU32::new(0));
    let counter = start(&local, {
        let turns = turns.clone();
        |mut cx| async move {
            loop {
                cx.receive().await;
                turns.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    // The runtime's timers and this task have their turn too: there is one thread for all.
    for turn in 1..=20 {
        send(&local, &counter, term("turn"));
        World::tokio().sleep(Duration::from_millis(1)).await;
        assert_eq!(turns.load(Ordering::Relaxed), turn);
    }
    talk.store(false, Ordering::Relaxed);
}

#[test]
fn what_processes_own_is_dropped_with_their_runtime() {
    let owned = Arc::new(());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let local = {
        let _here = runtime.enter();
        let local = local();
        for _ in 0..10 {
            let owned = owned.clone();
            start(&local, |mut cx| async move {
                loop {
                    cx.receive().await;
                    assert!(Arc::strong_count(&owned) > 0);
                }
            });
        }
        local
    };
    assert_eq!(Arc::strong_count(&owned), 11);
    drop(runtime);
    assert_eq!(Arc::strong_count(&owned), 1, "they are gone, though their node is not");
    drop(local);
}

#[test]
fn a_process_that_blocks_its_thread_does_not_keep_those_it_sent_to_from_running_elsewhere() {
    const RECEIVERS: usize = 8;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _here = runtime.enter();
    let local = local();
    let (ran, runs) = mpsc::channel();
    let receivers: Vec<_> = (0..RECEIVERS)
        .map(|_| {
            let ran = ran.clone();
            start(&local, |mut cx| async move {
                cx.receive().await;
                let _ = ran.send(());
                ExitReason::Normal
            })
        })
        .collect();
    let (report, reported) = mpsc::channel();
    start(&local, |cx| async move {
        for receiver in &receivers {
            let _ = cx.send(receiver, term("run"));
        }
        // All but those that this thread would run next.
        let others = (0..RECEIVERS / 2).filter(|_| runs.recv_timeout(Duration::from_secs(10)).is_ok());
        let _ = report.send(others.count());
        ExitReason::Normal
    });
    assert_eq!(reported.recv_timeout(Duration::from_secs(60)), Ok(RECEIVERS / 2));
}

#[tokio::test]
async fn a_destructor_that_panics_ends_its_process_and_no_other() {
    struct Trap;
    impl Drop for Trap {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("sprung");
            }
        }
    }
    let local = local();
    let trapped = spawn::<Term, _>(&local, SpawnOptions::default(), |mut cx| async move {
        let _trap = Trap;
        cx.receive().await;
        std::future::pending().await
    })
    .unwrap();
    send(&local, trapped.pid(), term("go"));
    let kill = trapped.pid().clone();
    local.send_exit(&kill, &kill, &ExitReason::Kill);
    assert!(matches!(trapped.shared().end().await, ExitReason::Killed | ExitReason::Term(_)));
    assert_eq!(local.table.len(), 0);
    let next = spawn::<Term, _>(&local, SpawnOptions::default(), |_| async { ExitReason::Shutdown }).unwrap();
    assert_eq!(next.shared().end().await, ExitReason::Shutdown, "its scheduler goes on");
}
