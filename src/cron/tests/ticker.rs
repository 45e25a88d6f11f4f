//! A schedule on a clock that is set.

use std::time::{Duration, SystemTime};

use super::time;
use crate::cron::ticker::Ticker;
use crate::cron::{LOOK_AGAIN, Schedule};

const MINUTE: Duration = Duration::from_secs(60);

fn ticker(line: &str, wall: SystemTime) -> Ticker {
    Ticker::new(Schedule::parse(line, "UTC").unwrap(), wall)
}

#[test]
fn it_waits_until_its_time_and_looks_at_the_clock_meanwhile() {
    let now = time("2026-01-01T11:30:00Z");
    let mut ticker = ticker("0 12 * * *", now);
    assert_eq!(ticker.wait(now), Some(LOOK_AGAIN));
    let noon = time("2026-01-01T12:00:00Z");
    assert_eq!(ticker.wait(noon - Duration::from_secs(30)), Some(Duration::from_secs(30)));
    // Timers and clocks need not agree on how long that was.
    assert!(!ticker.fires(noon - Duration::from_millis(1)));
    assert_eq!(ticker.wait(noon - Duration::from_millis(1)), Some(Duration::from_millis(1)));
    assert!(ticker.fires(noon));
    assert!(!ticker.fires(noon));
    assert_eq!(ticker.wait(noon), Some(LOOK_AGAIN));
}

#[test]
fn what_a_clock_jumps_over_fires_once() {
    let now = time("2026-01-01T12:00:00Z");
    let mut ticker = ticker("* * * * *", now);
    assert_eq!(ticker.wait(now), Some(MINUTE));
    let later = now + Duration::from_secs(10 * 3600 + 30);
    assert!(ticker.fires(later));
    assert!(!ticker.fires(later));
    assert_eq!(ticker.wait(later), Some(Duration::from_secs(30)));
}

#[test]
fn a_clock_that_is_set_back_fires_no_minute_twice() {
    let now = time("2026-01-01T12:00:00Z");
    let mut ticker = ticker("* * * * *", now);
    assert!(ticker.fires(now + MINUTE));
    for minute in 0..=60 {
        assert!(!ticker.fires(now + MINUTE - 60 * MINUTE + minute * MINUTE));
    }
    assert!(ticker.fires(now + 2 * MINUTE));
}

#[test]
fn a_clock_that_was_wrong_by_more_than_hours_is_believed_when_it_is_right() {
    let wrong = time("2030-01-01T00:00:00Z");
    let mut ticker = ticker("*/5 * * * *", wrong);
    let right = time("2026-01-01T12:01:00Z");
    assert!(!ticker.fires(right));
    assert!(!ticker.fires(right + 3 * MINUTE));
    assert!(ticker.fires(right + 4 * MINUTE));
}

#[test]
fn a_schedule_that_is_over_waits_for_nothing() {
    let now = time("2025-12-31T23:59:59Z");
    let mut ticker = ticker("0 0 0 1 1 * 2026", now);
    assert!(ticker.fires(now + MINUTE));
    assert_eq!(ticker.wait(now + MINUTE), None);
    assert!(!ticker.fires(now + 2 * MINUTE));
}
