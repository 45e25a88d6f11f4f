//! Schedules in cron's syntax, with time zones. Needs the cargo feature `cron`.
//!
//! | to | use |
//! |---|---|
//! | know when | [`Schedule::parse`], [`Schedule::next_after`] |
//! | have a server sent a message at these times | [`Context::send_cron`](crate::gen_server::Context::send_cron) |
//! | run something, or send a message, without a server of one's own | [`Cron`] and its [`Job`]s |
//!
//! # The line
//!
//! | field | values | also |
//! |---|---|---|
//! | second, only in lines of 6 fields and more | 0 to 59 | |
//! | minute | 0 to 59 | |
//! | hour | 0 to 23 | |
//! | day of month | 1 to 31 | `L` the last, `LW` the last from Monday to Friday, `15W` the one of these that is closest to the 15th |
//! | month | 1 to 12, `jan` to `dec` | |
//! | day of week | 0 to 7, `sun` to `sat`; both 0 and 7 are Sunday | `fri#2` the second, `friL` the last of the month |
//! | year, only in lines of 7 fields | 1970 to 5000 | |
//!
//! A field is `*`, or a list of values, ranges and steps: `5`, `1,15`, `9-17`, `*/5`, `10-50/20`. In both fields of days `?` is `*`. If
//! neither of the two is `*`, a day that fits either will do, as in every cron; with a `+` before the day of the week it
//! must fit both: `0 0 13 * +fri`. `@yearly`, `@annually`, `@monthly`, `@weekly`, `@daily`, `@midnight` and `@hourly` are whole lines.
//!
//! # Clocks that change
//!
//! Time zones are those of the system's database, or else of the one that is compiled in.
//!
//! | | a schedule of certain hours | a schedule of every hour (`*`) |
//! |---|---|---|
//! | is for | times of the day | times of the hour |
//! | the hour that is skipped in spring | what lies in it fires once, right after it | does not exist |
//! | the hour that comes twice in autumn | fires the first time only | is two hours |
//!
//! A wall clock that is set forward over several times fires once for all of them. One that is set back by up to three hours
//! ([`CORRECTION`]) fires nothing again that has fired; one that is set back by more was wrong before, and the schedule begins anew.
//!
//! Source: `crontab(5)` and `cron(8)`, and the crate `croner`, whose syntax and calendar this is.

mod schedule;
mod server;
mod syntax;
mod ticker;

pub use self::schedule::{Schedule, ScheduleError};
#[doc(hidden)]
pub use self::server::{Answer, Ask, Due};
pub use self::server::{Cron, Job};
pub use self::ticker::{CORRECTION, LOOK_AGAIN};

#[cfg(test)]
mod tests;
