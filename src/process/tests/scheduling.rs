//! Whose turn it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    let (turn, mut turns) = tokio::sync::mpsc::unbounded_channel();
    let third = start(&local, |mut cx| async move {
        loop {
            let _ = turn.send(cx.receive().await);
        }
    });
    // There is one thread for all: this task and the runtime's timers have their turn too.
    let world = World::tokio();
    for n in 0..20 {
        send(&local, &third, Term::from(n));
        let received = world.timeout(Duration::from_secs(10), turns.recv()).await;
        assert_eq!(received, Ok(Some(Term::from(n))));
        world.sleep(Duration::from_millis(1)).await;
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

#[test]
fn a_task_that_blocks_its_thread_does_not_keep_what_others_send_to_from_running() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _here = runtime.enter();
    let local = local();
    let (ran, runs) = mpsc::channel();
    let receiver = || {
        let ran = ran.clone();
        start(&local, |mut cx| async move {
            cx.receive().await;
            let _ = ran.send(());
            ExitReason::Normal
        })
    };
    let (of_task, of_other) = (receiver(), receiver());
    // Until all schedulers sleep: the processes have run, and wait.
    while !local.schedulers().all_asleep() {
        std::thread::yield_now();
    }
    let (sent, sends) = mpsc::channel();
    let task = World::tokio().spawn({
        let local = local.clone();
        async move {
            send(&local, &of_task, term("run"));
            let _ = sent.send(());
            // Holds its thread, and what the runtime would run next on it, until the other's receiver has run.
            runs.recv_timeout(Duration::from_secs(10)).is_ok()
        }
    });
    sends.recv().unwrap();
    send(&local, &of_other, term("run"));
    assert!(runtime.block_on(task).unwrap());
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
