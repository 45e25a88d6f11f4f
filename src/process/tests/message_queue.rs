//! How many messages wait, as others see it.

use std::mem::offset_of;
use std::time::Duration;

use super::super::{First, ProcessMessage, Relation, Shared, Signal, SignalQueue};
use super::*;

#[tokio::test(start_paused = true)]
async fn the_length_of_a_message_queue_is_what_was_sent_less_what_was_received() {
    let local = local();
    let mut slow = Slow::start(&local, None, |cx| {
        cx.trap_exit(true);
    });
    let pid = slow.pid().clone();
    let len = || i64::try_from(local.process(&pid).expect("it is alive").message_queue_len()).unwrap();
    assert_eq!(len(), 0);
    for number in 0..10 {
        send(&local, &pid, Term::from(number));
        assert_eq!(len(), number + 1);
    }
    // The first takes all of them out of the queue.
    for number in 0..4 {
        assert_eq!(slow.receive().await, Some(Term::from(number)));
        assert_eq!(len(), 9 - number);
    }
    for number in 10..13 {
        send(&local, &pid, Term::from(number));
    }
    assert_eq!(len(), 9);
    // A signal is a message once it has become one.
    local.send_exit(&pid, &pid, &ExitReason::Shutdown);
    send(&local, &pid, Term::from(13));
    assert_eq!(len(), 10);
    settle().await;
    assert_eq!(len(), 11);
    for left in (0..11).rev() {
        slow.receive().await;
        assert_eq!(len(), left);
    }
}

/// A process that shows every message it gets, and is there to be looked into.
fn shown(local: &Arc<Local>) -> (Arc<Process<Term>>, mpsc::UnboundedReceiver<Term>) {
    let (seen, messages) = mpsc::unbounded_channel();
    let process = spawn(local, SpawnOptions::default(), |mut cx: Context<Term>| async move {
        while seen.send(cx.receive().await).is_ok() {}
        ExitReason::Normal
    });
    (process.expect("there is room"), messages)
}

/// As [`shown`], but it waits as a server does: what arrives is left where it is.
fn shown_by_a_server(local: &Arc<Local>) -> (Arc<Process<Term>>, mpsc::UnboundedReceiver<Term>) {
    let (seen, messages) = mpsc::unbounded_channel();
    let process = spawn(local, SpawnOptions::default(), |mut cx: Context<Term>| async move {
        loop {
            if cx.first() == First::Nothing {
                cx.queued().await;
            } else if seen.send(cx.receive().await).is_err() {
                return ExitReason::Normal;
            }
        }
    });
    (process.expect("there is room"), messages)
}

#[tokio::test(start_paused = true)]
async fn the_memory_of_a_burst_is_kept_for_the_next_one_and_given_back_a_second_later() {
    keeps_a_burst(shown).await;
    keeps_a_burst(shown_by_a_server).await;
}

async fn keeps_a_burst(shown: impl Fn(&Arc<Local>) -> (Arc<Process<Term>>, mpsc::UnboundedReceiver<Term>)) {
    const BURST: usize = 10_000;
    let local = local();
    let (process, mut messages) = shown(&local);
    let burst = || (0..BURST).for_each(|number| send(&local, process.pid(), Term::from(number as i64)));
    settle().await;
    for _ in 0..2 {
        burst();
        let queued = process.mailbox.capacity();
        assert!(queued >= BURST - 1);
        for number in 0..BURST {
            assert_eq!(messages.recv().await, Some(Term::from(number as i64)));
        }
        settle().await;
        local.world.sleep(Duration::from_millis(400)).await;
        assert_eq!(process.mailbox.capacity(), queued, "where the next burst is queued");
    }
    // A second after the first.
    local.world.sleep(Duration::from_millis(300)).await;
    assert_eq!(process.mailbox.capacity(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_kept_even_for_a_while_is_given_back_at_once() {
    let local = local();
    let (process, mut messages) = shown(&local);
    settle().await;
    // The memory of so many signals takes more than 64 MiB.
    let burst = (65 << 20) / size_of::<Term>();
    (0..burst).for_each(|_| send(&local, process.pid(), Term::from(1)));
    assert!(process.mailbox.capacity() >= burst - 1);
    for _ in 0..burst {
        messages.recv().await;
    }
    settle().await;
    assert_eq!(process.mailbox.capacity(), 0);
}

#[test]
fn relations_alone_leave_no_memory_behind_and_those_before_a_message_leave_it_what_it_needs() {
    let queue = SignalQueue::<Term>::default();
    let relation = || Signal::Relation(Box::new(Relation::MailboxFull { bound: 1 }));
    let term = |number: i64| Signal::Term(Payload::encode(&number).unwrap());
    let push = |signal| assert!(queue.push_always(signal, || ()).is_ok());
    for _ in 0..3 {
        push(relation());
    }
    let mut batch = queue.take_relations().expect("there are some");
    assert_eq!((batch.signals.len(), batch.messages), (3, 0));
    batch.signals.clear();
    queue.restore(batch);
    assert!(!queue.is_allocated(), "an idle process is small");

    for signal in [relation(), term(0), relation(), term(1)] {
        push(signal);
    }
    // The first time it is looked through as a whole, and then only what came behind.
    for (looked_at, next) in [(0, 2), (2, 3), (3, 4)] {
        let mut batch = queue.take_relations().expect("there are some");
        assert_eq!(batch.messages, looked_at);
        batch.signals.retain(|signal| !matches!(signal, Signal::Relation(_)));
        push(term(next));
        queue.restore(batch);
        assert!(queue.take_relations().is_none());
        push(relation());
    }
    let numbers = queue.close().into_iter().filter_map(|signal| match signal {
        Signal::Term(number) => Some(number.decode::<i64>().unwrap()),
        _ => None,
    });
    assert!(numbers.eq(0..5), "in order");
}

#[tokio::test(start_paused = true)]
async fn a_flushed_down_waits_no_longer() {
    let local = local();
    let target = start(&local, mortal);
    let (tell, mut told) = mpsc::unbounded_channel();
    let of = target.clone();
    let watcher = start(&local, move |mut cx| async move {
        let first = cx.monitor(&of);
        let second = cx.monitor(&of);
        tell.send(vec![]).unwrap();
        let mut lens = vec![];
        assert!(cx.receive().await.is_atom("go"));
        // Until both have fired; they are behind a message that has left the queue with this one.
        cx.world().sleep(Duration::from_millis(1)).await;
        for monitor in [&second, &first] {
            lens.push(cx.message_queue_len());
            cx.demonitor(monitor);
        }
        lens.push(cx.message_queue_len());
        tell.send(lens).unwrap();
        ExitReason::Normal
    });
    assert_eq!(told.recv().await, Some(vec![]));
    send(&local, &watcher, term("go"));
    send(&local, &target, term("done"));
    deliver(&local, &watcher, &1);
    assert_eq!(told.recv().await, Some(vec![3, 2, 1]));
}

#[tokio::test]
async fn messages_that_come_together_are_received_in_order_with_those_before_and_after_them() {
    let local = local();
    let (pid, mut messages) = observer(&local, |_| {});
    let process = local.process(&pid).unwrap();
    // The first of them wakes it, or none does.
    for round in 0..3 {
        if round > 0 {
            send(&local, &pid, term("own"));
            deliver(&local, &pid, &"before");
        }
        deliver_together(&local, &process, 0..40);
        deliver_together(&local, &process, [0; 0]);
        deliver(&local, &pid, &"after");
        if round > 0 {
            assert_eq!(messages.recv().await, Some(term("own")));
            assert_eq!(messages.recv().await, Some(term("<<\"before\">>")));
        }
        for n in 0..40 {
            assert_eq!(messages.recv().await, Some(n.into()));
        }
        assert_eq!(messages.recv().await, Some(term("<<\"after\">>")));
    }
    // It waits: they wake it.
    deliver_together(&local, &process, 0..2);
    assert_eq!(messages.recv().await, Some(0.into()));
    assert_eq!(messages.recv().await, Some(1.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_several_threads_send_at_once_while_it_receives_arrives_whole_each_in_its_order() {
    const SENDERS: i64 = 4;
    const EACH: i64 = 20_000;
    let local = local();
    let (pid, mut messages) = observer(&local, |_| {});
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (local, pid) = (local.clone(), pid.clone());
            std::thread::spawn(move || {
                for number in 0..EACH {
                    send(&local, &pid, Term::from(sender * EACH + number));
                }
            })
        })
        .collect();
    let mut next: Vec<_> = (0..SENDERS).map(|sender| sender * EACH).collect();
    for _ in 0..SENDERS * EACH {
        let number = messages.recv().await.unwrap().as_integer().unwrap();
        let next = &mut next[usize::try_from(number / EACH).unwrap()];
        assert_eq!(number, *next);
        *next += 1;
    }
    for sender in senders {
        sender.join().unwrap();
    }
}

#[test]
fn what_a_process_looks_at_for_each_message_is_in_no_cache_line_that_its_senders_write() {
    const LINE: usize = 64;
    fn check<M: ProcessMessage>() {
        let attention = offset_of!(Process<M>, shared) + offset_of!(Shared, attention);
        let mailbox = offset_of!(Process<M>, mailbox);
        let end = mailbox + size_of::<SignalQueue<M>>();
        // A process may begin anywhere in a line.
        assert!(attention + LINE <= mailbox || end + LINE <= attention, "{attention}, {mailbox} to {end}");
    }
    check::<Term>();
    check::<crate::gen_server::Message<remote_calls::Echo>>();
}
