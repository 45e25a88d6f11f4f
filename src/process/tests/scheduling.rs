//! Whose turn it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::{Context, local, mortal, send, start, term};
use crate::process::{AnyProcess, ExitReason, SpawnOptions, Status, spawn};
use crate::term::{Atom, Term};
use crate::world::{BoxFuture, World};

/// Two processes that send each other a message until `talk` is false, take a while for each, and count them.
fn talkers(local: &Arc<super::Local>, talk: &Arc<AtomicBool>, said: &Arc<AtomicU32>, each: Duration) {
    let rally = |talk: Arc<AtomicBool>, said: Arc<AtomicU32>| {
        move |mut cx: Context<Term>| async move {
            while talk.load(Ordering::Relaxed) {
                let Term::Pid(other) = cx.receive().await else { continue };
                said.fetch_add(1, Ordering::Relaxed);
                let clock = cx.world().clock.clone();
                let start = clock.mono();
                while clock.mono().since(start) < each {
                    std::hint::spin_loop();
                }
                let _ = cx.send(&other, Term::Pid(cx.pid().clone()));
            }
            ExitReason::Normal
        }
    };
    let one = start(local, rally(talk.clone(), said.clone()));
    let other = start(local, rally(talk.clone(), said.clone()));
    send(local, &one, Term::Pid(other));
}

/// That a third process, this task and the runtime's timers have their turn beside two talkers, with one thread for all.
async fn others_have_their_turn(each: Duration, turns: i64) {
    const PATIENCE: Duration = Duration::from_secs(5);
    let (local, talk) = (local(), Arc::new(AtomicBool::new(true)));
    let (said, said_then) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    talkers(&local, &talk, &said, each);
    let (turn, mut taken) = tokio::sync::mpsc::unbounded_channel();
    let third = start(&local, {
        let (said, said_then) = (said.clone(), said_then.clone());
        |mut cx| async move {
            loop {
                let message = cx.receive().await;
                let meanwhile = said.load(Ordering::Relaxed) - said_then.load(Ordering::Relaxed);
                let _ = turn.send((message, meanwhile));
            }
        }
    });
    let idle = start(&local, |mut cx| async move {
        loop {
            cx.receive().await;
        }
    });
    // The third is not woken last, so that it stands in the queue.
    let relay = start(&local, |mut cx| async move {
        loop {
            let message = cx.receive().await;
            said_then.store(said.load(Ordering::Relaxed), Ordering::Relaxed);
            let _ = cx.send(&third, message);
            let _ = cx.send(&idle, term("wake"));
        }
    });
    let world = World::tokio();
    for n in 0..turns {
        let start = world.clock.mono();
        send(&local, &relay, Term::from(n));
        let received = world.timeout(PATIENCE, taken.recv()).await.expect("it has its turn");
        let (message, meanwhile) = received.expect("it is alive");
        assert_eq!(message, Term::from(n));
        assert!(meanwhile <= 20, "{meanwhile} of others came first");
        world.sleep(Duration::from_millis(1)).await;
        let took = world.clock.mono().since(start);
        assert!(took < PATIENCE, "{took:?} for a turn of this task");
    }
    talk.store(false, Ordering::Relaxed);
}

#[tokio::test]
async fn two_that_talk_to_each_other_leave_others_their_turn() {
    others_have_their_turn(Duration::ZERO, 20).await;
}

#[tokio::test]
async fn two_that_take_long_leave_others_their_turn() {
    others_have_their_turn(Duration::from_millis(2), 3).await;
}

/// Waits until all schedulers sleep: all processes have run, and wait.
fn all_asleep(local: &Arc<super::Local>) {
    while !local.schedulers().all_asleep() {
        std::thread::yield_now();
    }
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
    const WAVES: usize = 3;
    const RECEIVERS: usize = 8;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _here = runtime.enter();
    let local = local();
    let (ran, runs) = mpsc::channel();
    let receivers: Vec<_> = (0..WAVES * RECEIVERS)
        .map(|_| {
            let ran = ran.clone();
            start(&local, |mut cx| async move {
                cx.receive().await;
                let _ = ran.send(());
                ExitReason::Normal
            })
        })
        .collect();
    all_asleep(&local);
    let (report, reported) = mpsc::channel();
    start(&local, {
        let local = local.clone();
        |cx| async move {
            let mut others = 0;
            for wave in receivers.chunks(RECEIVERS) {
                for receiver in wave {
                    let _ = cx.send(receiver, term("run"));
                }
                // All but those that this thread would run next.
                others +=
                    (0..RECEIVERS / 2).filter(|_| runs.recv_timeout(Duration::from_secs(10)).is_ok()).count();
                // Once the other thread has nothing more to do, it has to be woken for the next ones.
                let end = local.world.clock.mono() + Duration::from_secs(10);
                while !local.schedulers().any_asleep() {
                    assert!(
                        local.world.clock.mono() < end,
                        "what was sent so far has run, or is left to this thread"
                    );
                    std::thread::yield_now();
                }
                runs.try_iter().for_each(drop);
            }
            let _ = report.send(others);
            ExitReason::Normal
        }
    });
    assert_eq!(reported.recv_timeout(Duration::from_secs(60)), Ok(WAVES * RECEIVERS / 2));
}

#[test]
fn the_receiver_of_a_process_that_sends_without_end_runs_elsewhere() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _here = runtime.enter();
    let local = local();
    let (ran, runs) = mpsc::channel();
    let receiver = start(&local, |mut cx| async move {
        cx.receive().await;
        let _ = ran.send(());
        ExitReason::Normal
    });
    all_asleep(&local);
    let (report, reported) = mpsc::channel();
    start(&local, |cx| async move {
        for _ in 0..100_000 {
            let _ = cx.send(&receiver, term("run"));
        }
        // It would be the next on this thread, which it does not get.
        let _ = report.send(runs.recv_timeout(Duration::from_secs(10)).is_ok());
        ExitReason::Normal
    });
    assert_eq!(reported.recv_timeout(Duration::from_secs(60)), Ok(true));
}

#[tokio::test]
async fn a_process_that_lets_others_run_comes_after_those_that_it_has_sent_to() {
    let local = local();
    let (ran, mut runs) = tokio::sync::mpsc::unbounded_channel();
    let receiver = |name| {
        let ran = ran.clone();
        start(&local, move |mut cx| async move {
            cx.receive().await;
            let _ = ran.send(name);
            ExitReason::Normal
        })
    };
    let (one, other) = (receiver("receiver"), receiver("receiver"));
    start(&local, |cx| async move {
        let _ = cx.send(&one, term("run"));
        let _ = cx.send(&other, term("run"));
        cx.yield_now().await;
        let _ = ran.send("sender");
        ExitReason::Normal
    });
    let order = [runs.recv().await, runs.recv().await, runs.recv().await];
    assert_eq!(order, ["receiver", "receiver", "sender"].map(Some));
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
    all_asleep(&local);
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

#[tokio::test]
async fn a_process_that_has_ended_leaves_nothing_behind() {
    let local = local();
    let run = |body: fn(Context<Term>) -> BoxFuture<'static, ExitReason>| {
        let process = spawn(&local, SpawnOptions::default(), body).expect("there is room");
        (process.pid().clone(), Arc::downgrade(&process))
    };
    let (waits, waiting) = run(|cx| Box::pin(mortal(cx)));
    let (_, at_once) = run(|_| Box::pin(async { ExitReason::Normal }));
    let (killed, to_be_killed) = run(|cx| Box::pin(mortal(cx)));
    while local.process(&waits).is_none_or(|process| process.status() != Status::Waiting)
        || local.process(&killed).is_none_or(|process| process.status() != Status::Waiting)
    {
        tokio::task::yield_now().await;
    }
    send(&local, &waits, Term::from(Atom::from_static("normal")));
    local.send_exit(&waits, &killed, &ExitReason::Kill);
    for gone in [waiting, at_once, to_be_killed] {
        while gone.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
    }
}
