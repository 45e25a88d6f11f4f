//! Next times against an evaluator that knows neither croner nor jiff: it looks at one minute after another, on the clocks of two zones
//! whose rules are written here.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::cron::Schedule;

const DAY: i64 = 1440;

/// A zone, by its rules. All times are in minutes since 1970, in Greenwich.
struct Zone {
    name: &'static str,
    /// Ahead of Greenwich in winter.
    winter: i64,
    /// When summer time begins and ends, in the years from 2023 to 2033.
    summers: Vec<(i64, i64)>,
}

/// The last Sundays of March and October, at 01:00 in Greenwich.
fn oslo() -> Zone {
    let summer = |year| (last_sunday(year, 3) * DAY + 60, last_sunday(year, 10) * DAY + 60);
    Zone { name: "Europe/Oslo", winter: 60, summers: (2023..=2033).map(summer).collect() }
}

/// The second Sunday of March and the first of November, at 2 o'clock as the clocks show it.
fn new_york() -> Zone {
    let summer = |year| (sunday(year, 3, 2) * DAY + 7 * 60, sunday(year, 11, 1) * DAY + 6 * 60);
    Zone { name: "America/New_York", winter: -300, summers: (2023..=2033).map(summer).collect() }
}

impl Zone {
    fn offset(&self, minute: i64) -> i64 {
        let summer = self.summers.iter().any(|(begin, end)| (*begin..*end).contains(&minute));
        if summer { self.winter + 60 } else { self.winter }
    }

    fn local(&self, minute: i64) -> i64 {
        minute + self.offset(minute)
    }
}

/// Days since 1970.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let leaps = |year: i64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let before: i64 = (1..month).map(|month| length(year, month)).sum();
    (year - 1970) * 365 + leaps(year) - leaps(1970) + before + day - 1
}

fn length(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The year, the month and the day.
fn date(day: i64) -> (i64, i64, i64) {
    let mut year = 1970 + day / 366;
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days(year, month + 1, 1) <= day {
        month += 1;
    }
    (year, month, day - days(year, month, 1) + 1)
}

/// 0 is Sunday; 1 January 1970 was a Thursday.
fn weekday(day: i64) -> i64 {
    (day + 4) % 7
}

fn sunday(year: i64, month: i64, number: i64) -> i64 {
    (0..7).map(|day| days(year, month, day + 1)).find(|day| weekday(*day) == 0).unwrap() + (number - 1) * 7
}

fn last_sunday(year: i64, month: i64) -> i64 {
    (0..7).map(|day| days(year, month, length(year, month)) - day).find(|day| weekday(*day) == 0).unwrap()
}

/// A line, as the values of its fields.
struct Line {
    minutes: BTreeSet<i64>,
    hours: BTreeSet<i64>,
    days: Option<BTreeSet<i64>>,
    months: BTreeSet<i64>,
    weekdays: Option<BTreeSet<i64>>,
}

impl Line {
    fn read(line: &str) -> Self {
        let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
        let weekdays = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
        let fields: Vec<&str> = line.split(' ').collect();
        let star = |field: &str| field == "*";
        Self {
            minutes: values(fields[0], 0, 59, &[]),
            hours: values(fields[1], 0, 23, &[]),
            days: (!star(fields[2])).then(|| values(fields[2], 1, 31, &[])),
            months: values(fields[3], 1, 12, &months),
            weekdays: (!star(fields[4]))
                .then(|| values(fields[4], 0, 7, &weekdays).iter().map(|day| day % 7).collect()),
        }
    }

    /// Whether clocks that show this are at one of the line's times.
    fn fits(&self, local: i64) -> bool {
        let (day, minute) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        if !self.minutes.contains(&(minute % 60)) || !self.hours.contains(&(minute / 60)) {
            return false;
        }
        let (_, month, of_month) = date(day);
        let fits_day = match (&self.days, &self.weekdays) {
            (None, None) => true,
            (Some(days), None) => days.contains(&of_month),
            (None, Some(weekdays)) => weekdays.contains(&weekday(day)),
            (Some(days), Some(weekdays)) => days.contains(&of_month) || weekdays.contains(&weekday(day)),
        };
        fits_day && self.months.contains(&month)
    }

    /// Whether it fires in this minute.
    fn fires(&self, minute: i64, zone: &Zone) -> bool {
        let local = zone.local(minute);
        if self.hours.len() == 24 {
            return self.fits(local);
        }
        let before = zone.local(minute - 1);
        if local > before + 1 {
            return (before + 1..=local).any(|skipped| self.fits(skipped));
        }
        // What fits, and was not shown an hour ago.
        self.fits(local) && zone.local(minute - 60) < local
    }
}

fn values(field: &str, min: i64, max: i64, names: &[&str]) -> BTreeSet<i64> {
    let value = |text: &str| match names.iter().position(|name| *name == text) {
        Some(at) => at as i64 + min,
        None => text.parse().unwrap(),
    };
    let mut values = BTreeSet::new();
    for item in field.split(',') {
        let (range, step) = item.split_once('/').unwrap_or((item, "1"));
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (value(from), value(to)),
            None if range == "*" => (min, max),
            None => (value(range), value(range)),
        };
        values.extend((from..=to).step_by(step.parse().unwrap()));
    }
    values
}

/// Random lines, most of which fire often, and at night, when clocks change.
struct Lines(ChaCha8Rng);

impl Lines {
    fn below(&mut self, end: i64) -> i64 {
        i64::from(self.0.next_u32()) % end
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as i64) as usize]
    }

    fn range(&mut self, min: i64, max: i64) -> String {
        let (a, b) = (min + self.below(max - min + 1), min + self.below(max - min + 1));
        format!("{}-{}", a.min(b), a.max(b))
    }

    fn field(&mut self, min: i64, max: i64) -> String {
        let items = 1 + self.below(3);
        let items: Vec<String> = (0..items)
            .map(|_| match self.below(6) {
                0 => self.range(min, max),
                1 => format!("{}/{}", self.range(min, max), 1 + self.below(max - min)),
                2 => format!("*/{}", 1 + self.below(max - min)),
                _ => (min + self.below(max - min + 1)).to_string(),
            })
            .collect();
        items.join(",")
    }

    fn line(&mut self) -> String {
        let minute = if self.below(4) == 0 { "*".to_owned() } else { self.field(0, 59) };
        let hour = match self.below(4) {
            0 => "*".to_owned(),
            1 => self.field(0, 23),
            _ => self.field(0, 4),
        };
        let day = if self.below(2) == 0 { "*".to_owned() } else { self.field(1, 31) };
        let month = match self.below(4) {
            0 => self.pick(&["mar", "mar-may", "oct,nov", "sep-dec", "jan,mar,oct-nov"]).to_owned(),
            1 => self.field(1, 12),
            _ => "*".to_owned(),
        };
        let weekday = match self.below(4) {
            0 => self.pick(&["sun", "mon-fri", "sat,sun", "0", "7", "sun-tue/2"]).to_owned(),
            1 => self.field(0, 7),
            _ => "*".to_owned(),
        };
        [minute, hour, day, month, weekday].join(" ")
    }
}

#[test]
fn what_passes_the_check_of_a_line_can_be_read() {
    let words = [
        "*", "?", "+", "-", ",", "/", "#", "L", "W", "LW", "0", "1", "5", "7", "13", "31", "59", "60",
        "99999", "sun", "FRI", "jan", "x", "½",
    ];
    let mut random = Lines(ChaCha8Rng::seed_from_u64(7));
    let (mut good, mut bad) = (0, 0);
    for _ in 0..20_000 {
        let fields = 5 + random.below(3) as usize;
        let mut line = vec!["*".to_owned(); fields];
        for _ in 0..=random.below(2) {
            let (field, parts) = (random.below(fields as i64) as usize, 1 + random.below(4));
            line[field] = (0..parts).map(|_| random.pick(&words)).collect();
        }
        let line = line.join(" ");
        // What its check lets through, croner takes: it would refuse it without saying where.
        match crate::cron::syntax::normalize(&line) {
            Ok(normal) => {
                let read = croner::parser::CronParser::new().parse(&normal);
                assert!(read.is_ok(), "{line} as {normal}: {read:?}");
                good += 1;
            }
            Err(_) => bad += 1,
        }
    }
    assert!(good > 500 && bad > 5000, "{good} are good, {bad} are not");
}

#[test]
fn next_times_are_those_of_an_evaluator_that_looks_at_every_minute() {
    const HORIZON: i64 = 2 * DAY;
    let mut lines = Lines(ChaCha8Rng::seed_from_u64(20_260_329));
    let zones = [oslo(), new_york()];
    let (mut fired, mut cases) = (0, 0);
    for _ in 0..3000 {
        let text = lines.line();
        let line = Line::read(&text);
        let zone = &zones[lines.below(2) as usize];
        let Ok(schedule) = Schedule::parse(&text, zone.name) else {
            // It is one of the few days that never come.
            let minute = line.hours.first().unwrap() * 60 + line.minutes.first().unwrap();
            let ever = (days(2000, 1, 1)..days(2029, 1, 1)).any(|day| line.fits(day * DAY + minute));
            assert!(!ever, "{text}");
            continue;
        };
        let (begin, end) = zone.summers[1 + lines.below(8) as usize];
        let change = [begin, end][lines.below(2) as usize];
        // From a day before until the clocks have changed; some in the hours around it, some within a minute.
        let from = match lines.below(3) {
            0 => change - lines.below(DAY),
            _ => change - 150 + lines.below(300),
        };
        let seconds = lines.below(60);
        let mut after = SystemTime::UNIX_EPOCH + Duration::from_secs((from * 60 + seconds) as u64);
        let mut minute = from;
        for _ in 0..6 {
            let found = (minute + 1..=from + HORIZON).find(|minute| line.fires(*minute, zone));
            let next = schedule.next_after(after);
            let next = next.map(|next| next.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64);
            cases += 1;
            let Some(found) = found else {
                let late = next.is_none_or(|next| next > (from + HORIZON) * 60);
                assert!(late, "{schedule} after {after:?}: {next:?} instead of none in {HORIZON} minutes");
                break;
            };
            assert_eq!(next, Some(found * 60), "{schedule} after minute {minute}");
            fired += 1;
            minute = found;
            after = SystemTime::UNIX_EPOCH + Duration::from_secs(found as u64 * 60);
        }
    }
    assert!(fired > 5000 && cases > 7000, "{fired} of {cases} had a next time");
}
