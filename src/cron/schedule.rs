//! When: a line of cron, in a time zone.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use croner::parser::CronParser;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, Zoned};

use super::syntax;

/// What is wrong with a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The line has too few fields, or too many.
    #[error("a schedule has 5 fields, 6 with seconds, 7 with years, too, but this one has {0}")]
    Fields(usize),
    /// A field cannot be read.
    #[error("{field}, column {column}: {reason}")]
    Field {
        /// Which field.
        field: &'static str,
        /// Where in the line, in characters from 1.
        column: usize,
        /// Why.
        reason: String,
    },
    /// No such word stands for a schedule.
    #[error("{0} is none of @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly")]
    Nickname(String),
    /// The database of time zones does not have this one.
    #[error("there is no time zone {0}")]
    Zone(String),
    /// There is no such day, as 30 February.
    #[error("this day never comes")]
    Never,
}

/// Times that come again and again: a line in cron's syntax, in a time zone. See the [module](super) for both.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use beamline::cron::Schedule;
///
/// let schedule = Schedule::parse("30 7 * * mon-fri", "Europe/Oslo")?;
/// // Thursday, 1 January 2026, at midnight in Greenwich: Oslo is an hour ahead.
/// let new_year = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
/// let next = schedule.next_after(new_year).unwrap();
/// assert_eq!(next, new_year + Duration::from_secs(6 * 3600 + 30 * 60));
///
/// let error = Schedule::parse("30 25 * * *", "Europe/Oslo").unwrap_err();
/// assert_eq!(error.to_string(), "hour, column 4: 25 is not in 0 to 23");
/// # Ok::<(), beamline::cron::ScheduleError>(())
/// ```
#[derive(Clone)]
pub struct Schedule {
    line: String,
    // Shared by its clones: it is some kilobytes, a byte for each year.
    cron: Arc<croner::Cron>,
    zone: TimeZone,
    zone_name: String,
}

impl Schedule {
    /// Reads a line; `zone` is the name of a time zone, as `Europe/Oslo` or `UTC`.
    ///
    /// # Errors
    /// If the line says nothing, or a day that never comes, or there is no such zone.
    pub fn parse(line: &str, zone: &str) -> Result<Self, ScheduleError> {
        let normal = syntax::normalize(line)?;
        // All that it would refuse has been refused.
        let Ok(cron) = CronParser::new().parse(&normal) else { return Err(ScheduleError::Never) };
        if cron.find_next_occurrence(&DateTime::constant(1969, 12, 31, 23, 59, 59, 0), false).is_err() {
            return Err(ScheduleError::Never);
        }
        let Ok(time_zone) = TimeZone::get(zone) else { return Err(ScheduleError::Zone(zone.to_owned())) };
        Ok(Self {
            line: line.trim().to_owned(),
            cron: Arc::new(cron),
            zone: time_zone,
            zone_name: zone.to_owned(),
        })
    }

    /// The first time after `time`. `None` if the line names years, and they are over.
    pub fn next_after(&self, time: SystemTime) -> Option<SystemTime> {
        let time = Timestamp::try_from(time).ok()?;
        // The second that it is in: schedules know nothing smaller.
        let second = time.as_second() - i64::from(time.subsec_nanosecond() < 0);
        let time = Timestamp::from_second(second).ok()?.to_zoned(self.zone.clone());
        let next = if self.is_of_every_hour() {
            self.cron.find_next_occurrence(&time, false).ok()?.timestamp()
        } else {
            self.next_fixed(&time)?
        };
        Some(next.into())
    }

    /// Such a schedule is about minutes and seconds, and an hour that comes twice is two hours to it.
    fn is_of_every_hour(&self) -> bool {
        self.cron.pattern.hours.values().len() == 24
    }

    /// The times of the calendar, one after another, until one lies ahead: in the hour that comes twice they may be past.
    fn next_fixed(&self, time: &Zoned) -> Option<Timestamp> {
        let mut civil = time.datetime();
        loop {
            civil = self.cron.find_next_occurrence(&civil, false).ok()?;
            let next = self.instant(civil)?;
            if next > time.timestamp() {
                return Some(next);
            }
        }
    }

    /// When the clocks of the zone show this: the first time if they do twice; if they never do, when they skip it.
    fn instant(&self, civil: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
                offset.to_timestamp(civil).ok()
            }
            AmbiguousOffset::Gap { after, .. } => {
                let ahead = after.to_timestamp(civil).ok()?;
                self.zone.following(ahead).next().map(|change| change.timestamp())
            }
        }
    }
}

impl PartialEq for Schedule {
    /// Whether both mean the same times, in zones of the same name.
    fn eq(&self, other: &Self) -> bool {
        self.cron == other.cron && self.zone_name == other.zone_name
    }
}

impl fmt::Display for Schedule {
    /// The line, and the zone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.line, self.zone_name)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({self})")
    }
}
