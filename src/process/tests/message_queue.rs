//! How many messages wait, as others see it.

use std::time::Duration;

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
    local.deliver(&watcher, crate::etf::Payload::encode(&1).unwrap());
    assert_eq!(told.recv().await, Some(vec![3, 2, 1]));
}
