//! Next times against a table made by hand, and what is said of bad lines.

use std::time::SystemTime;

use jiff::Timestamp;

use super::time;
use crate::cron::{Schedule, ScheduleError};

/// The next times of a line after `after`.
#[track_caller]
fn check(line: &str, zone: &str, after: &str, expected: &[&str]) {
    let schedule = Schedule::parse(line, zone).unwrap();
    let mut now = time(after);
    for expected in expected {
        let next = schedule.next_after(now).unwrap();
        assert_eq!(Timestamp::try_from(next).unwrap().to_string(), *expected, "{schedule} after {after}");
        now = next;
    }
}

const OSLO: &str = "Europe/Oslo";
const NEW_YORK: &str = "America/New_York";

#[test]
fn the_next_times_are_those_of_a_table_made_by_hand() {
    // 1 January 2026 is a Thursday.
    check("* * * * *", "UTC", "2026-01-01T00:00:00Z", &["2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"]);
    check("* * * * *", "UTC", "2026-01-01T00:00:59.9Z", &["2026-01-01T00:01:00Z"]);
    check("0 0 * * *", "UTC", "2025-12-31T23:59:59.999Z", &["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]);
    check(
        "*/20 * * * * *",
        "UTC",
        "2026-01-01T00:00:19.5Z",
        &["2026-01-01T00:00:20Z", "2026-01-01T00:00:40Z"],
    );
    check(
        "*/5 9-17 * * mon-fri",
        OSLO,
        "2026-01-02T16:54:00Z",
        &["2026-01-02T16:55:00Z", "2026-01-05T08:00:00Z", "2026-01-05T08:05:00Z"],
    );
    check(
        "0 12 * * sat-sun",
        "UTC",
        "2026-01-01T00:00:00Z",
        &["2026-01-03T12:00:00Z", "2026-01-04T12:00:00Z"],
    );
    check("0 12 * * 7", "UTC", "2026-01-01T00:00:00Z", &["2026-01-04T12:00:00Z", "2026-01-11T12:00:00Z"]);
    check("0 0 31 * *", "UTC", "2026-01-31T00:00:00Z", &["2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"]);
    check("0 0 29 feb *", "UTC", "2026-01-01T00:00:00Z", &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]);
    // Either day will do, or both must fit: 13 February and 13 March 2026 are Fridays.
    check("0 0 13 * fri", "UTC", "2026-01-09T00:00:00Z", &["2026-01-13T00:00:00Z", "2026-01-16T00:00:00Z"]);
    check("0 0 13 * +fri", "UTC", "2026-01-09T00:00:00Z", &["2026-02-13T00:00:00Z", "2026-03-13T00:00:00Z"]);
    check("0 0 L * ?", "UTC", "2026-01-31T00:00:00Z", &["2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"]);
    // 31 January 2026 is a Saturday, 15 February a Sunday.
    check("0 0 LW * *", "UTC", "2026-01-01T00:00:00Z", &["2026-01-30T00:00:00Z", "2026-02-27T00:00:00Z"]);
    check("0 0 15W feb *", "UTC", "2026-01-01T00:00:00Z", &["2026-02-16T00:00:00Z"]);
    check("0 0 * * fri#2", "UTC", "2026-01-01T00:00:00Z", &["2026-01-09T00:00:00Z", "2026-02-13T00:00:00Z"]);
    check("0 0 * * friL", "UTC", "2026-01-01T00:00:00Z", &["2026-01-30T00:00:00Z", "2026-02-27T00:00:00Z"]);
    check(
        "0 0 0 1 1 * 2027-2031/2",
        "UTC",
        "2026-06-01T00:00:00Z",
        &["2027-01-01T00:00:00Z", "2029-01-01T00:00:00Z"],
    );
    check("@weekly", "UTC", "2026-01-01T00:00:00Z", &["2026-01-04T00:00:00Z"]);
    check("@YEARLY", NEW_YORK, "2026-01-01T05:00:00Z", &["2027-01-01T05:00:00Z"]);
    check("0 10 * * *", "UTC", "1969-12-30T09:59:59.5Z", &["1969-12-30T10:00:00Z"]);
}

#[test]
fn what_lies_in_the_hour_that_is_skipped_fires_once_right_after_it() {
    // Oslo: 29 March 2026 at 01:00 UTC, from 2 to 3.
    check("30 2 * * *", OSLO, "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    check("*/15 2 * * *", OSLO, "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]);
    check("30 2,14 * * *", OSLO, "2026-03-28T14:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-29T12:30:00Z"]);
    check("0 2-4 * * *", OSLO, "2026-03-28T14:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"]);
    // New York: 8 March 2026 at 07:00 UTC, from 2 to 3.
    check("59 2 8 3 *", NEW_YORK, "2026-03-08T06:59:59Z", &["2026-03-08T07:00:00Z", "2027-03-08T07:59:00Z"]);
    // The same minute is not there for a schedule of every hour.
    check("*/30 * * * *", OSLO, "2026-03-29T00:00:00Z", &["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"]);
    check("30 * * * *", NEW_YORK, "2026-03-08T06:00:00Z", &["2026-03-08T06:30:00Z", "2026-03-08T07:30:00Z"]);
    // A whole day was skipped in Samoa: 30 December 2011, at 10:00 UTC.
    check(
        "0 12 * * *",
        "Pacific/Apia",
        "2011-12-29T22:30:00Z",
        &["2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"],
    );
}

#[test]
fn in_the_hour_that_comes_twice_a_schedule_of_certain_hours_fires_the_first_time_only() {
    // Oslo: 25 October 2026 at 01:00 UTC, from 3 to 2.
    check("30 2 * * *", OSLO, "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    check("30 2 * * *", OSLO, "2026-10-25T01:10:00Z", &["2026-10-26T01:30:00Z"]);
    check("*/30 2-3 * * *", OSLO, "2026-10-25T00:15:00Z", &["2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z"]);
    check(
        "*/30 * * * *",
        OSLO,
        "2026-10-25T00:15:00Z",
        &["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"],
    );
    // New York: 1 November 2026 at 06:00 UTC, from 2 to 1.
    check("15 1 * * *", NEW_YORK, "2026-11-01T05:00:00Z", &["2026-11-01T05:15:00Z", "2026-11-02T06:15:00Z"]);
    check("15 * * * *", NEW_YORK, "2026-11-01T05:00:00Z", &["2026-11-01T05:15:00Z", "2026-11-01T06:15:00Z"]);
}

#[test]
fn an_error_says_which_field_is_wrong_where_and_why() {
    for (line, zone, expected) in [
        ("", "UTC", "a schedule has 5 fields, 6 with seconds, 7 with years, too, but this one has 0"),
        ("* * * *", "UTC", "a schedule has 5 fields, 6 with seconds, 7 with years, too, but this one has 4"),
        (
            "* * * * * * * *",
            "UTC",
            "a schedule has 5 fields, 6 with seconds, 7 with years, too, but this one has 8",
        ),
        ("60 * * * *", "UTC", "minute, column 1: 60 is not in 0 to 59"),
        ("  0  9,24 * * *", "UTC", "hour, column 8: 24 is not in 0 to 23"),
        ("61 0 0 * * *", "UTC", "second, column 1: 61 is not in 0 to 59"),
        ("0 0 0 * *", "UTC", "day of month, column 5: 0 is not in 1 to 31"),
        ("0 0 * 99999 *", "UTC", "month, column 7: 99999 is not in 1 to 12"),
        ("0 0 * * mo", "UTC", "day of week, column 9: `mo` is neither a number nor a name from sun to sat"),
        ("0 0 * mon *", "UTC", "month, column 7: `mon` is neither a number nor a name from jan to dec"),
        ("0 0 * * fri-mon", "UTC", "day of week, column 9: the range fri-mon is empty"),
        ("0 17-9 * * *", "UTC", "hour, column 3: the range 17-9 is empty"),
        ("0 9- * * *", "UTC", "hour, column 5: a value is missing"),
        ("1,,2 * * * *", "UTC", "minute, column 3: a value is missing"),
        ("*/0 * * * *", "UTC", "minute, column 3: a step is a number from 1 to 59"),
        ("*/90 * * * *", "UTC", "minute, column 3: a step is a number from 1 to 59"),
        ("5/10 * * * *", "UTC", "minute, column 1: a step belongs after `*` or a range"),
        ("*,5 * * * *", "UTC", "minute, column 1: `*` stands alone, or before a step"),
        ("+5 * * * *", "UTC", "minute, column 1: `+5` is not a number"),
        ("½ 9x * * *", "UTC", "minute, column 1: `½` is not a number"),
        ("0 0 * * fri#6", "UTC", "day of week, column 13: a number from 1 to 5 belongs after `#`"),
        ("0 0 * * L", "UTC", "day of week, column 9: a value is missing"),
        (
            "0 0 0 * * * */2",
            "UTC",
            "year, column 13: which year is the first? Write a range, as in 2026-2099/2",
        ),
        (
            "@reboot",
            "UTC",
            "@reboot is none of @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly",
        ),
        ("0 0 30 2 *", "UTC", "this day never comes"),
        ("0 0 31 apr,jun *", "UTC", "this day never comes"),
        ("0 0 0 29 2 * 2025-2027", "UTC", "this day never comes"),
        ("0 0 * * *", "Europe/Olso", "there is no time zone Europe/Olso"),
        ("0 0 * * *", "", "there is no time zone "),
        ("0 0 * * *", "../../etc/passwd", "there is no time zone ../../etc/passwd"),
    ] {
        let error = Schedule::parse(line, zone).unwrap_err();
        assert_eq!(error.to_string(), expected, "{line} in {zone}");
    }
    assert_eq!(Schedule::parse("0 * *", "UTC"), Err(ScheduleError::Fields(3)));
}

#[test]
fn a_schedule_whose_years_are_over_has_no_next_time() {
    let schedule = Schedule::parse("0 0 0 1 1 * 2026", "UTC").unwrap();
    assert_eq!(schedule.next_after(time("2025-06-01T00:00:00Z")), Some(time("2026-01-01T00:00:00Z")));
    assert_eq!(schedule.next_after(time("2026-01-01T00:00:00Z")), None);
    let beyond = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1 << 40);
    assert_eq!(Schedule::parse("* * * * *", "UTC").unwrap().next_after(beyond), None);
}
