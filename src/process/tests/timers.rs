//! Timers on virtual time.

use std::time::Duration;

use tokio::time::Instant;

use super::*;

#[tokio::test(start_paused = true)]
async fn timers_fire_in_order_of_their_time_and_a_cancelled_one_never_does() {
    let local = local();
    let (seen, mut messages) = mpsc::unbounded_channel();
    #[expect(clippy::disallowed_methods, reason = "the test's clock is the paused one")]
    let begin = Instant::now();
    start(&local, |mut cx| async move {
        cx.send_after(Duration::from_millis(300), term("late"));
        let cancelled = cx.send_after(Duration::from_millis(200), term("never"));
        cx.send_after(Duration::from_millis(100), term("early"));
        let left = cx.cancel_timer(cancelled).expect("it was running");
        assert!(left <= Duration::from_millis(200) && left > Duration::from_millis(190), "{left:?}");
        assert_eq!(cx.cancel_timer(cancelled), None);
        for _ in 0..2 {
            let message = cx.receive().await;
            seen.send((message, begin.elapsed())).unwrap();
        }
        ExitReason::Normal
    });
    let (early, at) = messages.recv().await.unwrap();
    assert_eq!((early, at.as_millis() / 10), (term("early"), 10));
    let (late, at) = messages.recv().await.unwrap();
    assert_eq!((late, at.as_millis() / 10), (term("late"), 30));
    assert_eq!(messages.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn an_interval_repeats_without_drift_until_it_is_cancelled() {
    let local = local();
    let (seen, mut messages) = mpsc::unbounded_channel();
    #[expect(clippy::disallowed_methods, reason = "the test's clock is the paused one")]
    let begin = Instant::now();
    start(&local, |mut cx| async move {
        let interval = cx.send_interval(Duration::from_millis(100), || term("tick"));
        for _ in 0..10 {
            cx.receive().await;
            seen.send(begin.elapsed().as_millis() / 10).unwrap();
        }
        assert!(cx.cancel_timer(interval).is_some());
        cx.send_after(Duration::from_secs(10), term("after"));
        assert_eq!(cx.receive().await, term("after"));
        ExitReason::Normal
    });
    for n in 1..=10 {
        assert_eq!(messages.recv().await, Some(n * 10));
    }
    assert_eq!(messages.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_timer_fires_while_the_process_awaits_and_can_send_to_others() {
    let local = local();
    let (other, mut messages) = observer(&local, |_| {});
    start(&local, |cx| async move {
        cx.send_after_to(Duration::from_millis(50), &other, term("{from, timer}"));
        cx.world().sleep(Duration::from_secs(5)).await;
        cx.send_after_to(Duration::from_millis(50), &other, term("dies_with_its_process"));
        ExitReason::Normal
    });
    assert_eq!(messages.recv().await, Some(term("{from, timer}")));
    let nothing = local.world.timeout(Duration::from_secs(60), messages.recv()).await;
    assert!(nothing.is_err());
}
