//! What a server remembers of its own events while somebody looks: `sys:trace/2`, `log/2` and `statistics/2`.

use std::collections::VecDeque;
use std::time::SystemTime;

use super::{ERROR, OK};
use crate::term::{Atom, Term};

/// How many events are kept unless it is said.
const LOG_DEFAULT: usize = 10;
/// How many events are kept at most, whatever is asked for.
pub(crate) const LOG_MAX: usize = 10_000;

/// What is done with a server's events.
#[derive(Debug, Default)]
pub(crate) struct Debug {
    trace: bool,
    log: Option<Log>,
    statistics: Option<Statistics>,
}

#[derive(Debug)]
struct Log {
    events: VecDeque<Term>,
    len: usize,
}

impl Log {
    fn put(&mut self, event: Term) {
        if self.events.len() == self.len {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

#[derive(Debug)]
struct Statistics {
    start: SystemTime,
    messages_in: u64,
    messages_out: u64,
}

impl Debug {
    /// Notes an event of the server called `name`: a tuple whose first element says what happened, as its behaviour writes it.
    pub(crate) fn event(&mut self, name: &Term, event: Term) {
        let elements = event.as_tuple().unwrap_or_default();
        let tag = elements.first().and_then(Term::as_atom).map_or("", Atom::as_str);
        if self.trace {
            match (tag, elements) {
                ("in", [_, message]) => tracing::info!(target: "beamline::sys", "*DBG* {name} got {message}"),
                ("out", [_, reply, to, state]) => {
                    tracing::info!(target: "beamline::sys", "*DBG* {name} sent {reply} to {to}, new state {state}");
                }
                ("noreply", [_, state]) => {
                    tracing::info!(target: "beamline::sys", "*DBG* {name} new state {state}");
                }
                _ => tracing::info!(target: "beamline::sys", "*DBG* {name} : {event}"),
            }
        }
        if let Some(statistics) = &mut self.statistics {
            match tag {
                "in" => statistics.messages_in += 1,
                "out" => statistics.messages_out += 1,
                _ => {}
            }
        }
        if let Some(log) = &mut self.log {
            log.put(event);
        }
    }

    /// The events that are kept, oldest first.
    pub(crate) fn logged(&self) -> Vec<Term> {
        self.log.iter().flat_map(|log| &log.events).cloned().collect()
    }

    fn is_off(&self) -> bool {
        !self.trace && self.log.is_none() && self.statistics.is_none()
    }

    /// Does what `{debug, Command}` asks for, and returns the answer.
    pub(super) fn command(this: &mut Option<Self>, command: &Term, now: SystemTime) -> Term {
        let debug = this.get_or_insert_default();
        let answer = debug.obey(command, now);
        if debug.is_off() {
            *this = None;
        }
        answer
    }

    fn obey(&mut self, command: &Term, now: SystemTime) -> Term {
        let ok = || Term::from(OK);
        if command.is_atom("no_debug") {
            *self = Self::default();
            return ok();
        }
        let Some([what, flag]) = command.as_tuple() else { return unknown() };
        let what = what.as_atom().map_or("", Atom::as_str);
        match (what, flag.as_bool()) {
            ("trace", Some(on)) => self.trace = on,
            ("log", Some(false)) => self.log = None,
            ("log", Some(true)) => self.keep(LOG_DEFAULT),
            ("log", None) if flag.is_atom("get") => {
                return Term::tuple([OK.into(), Term::list(self.logged())]);
            }
            ("log", None) if flag.is_atom("print") => {
                for event in self.logged() {
                    tracing::info!(target: "beamline::sys", "*DBG* {event}");
                }
            }
            ("log", None) => match flag.as_tuple() {
                Some([on, len]) if on.as_bool() == Some(true) => {
                    let Some(len) = len.as_integer().filter(|len| *len >= 1) else { return unknown() };
                    self.keep(usize::try_from(len).unwrap_or(LOG_MAX).min(LOG_MAX));
                }
                _ => return unknown(),
            },
            // A file's name comes from whoever is connected: nothing is written on its word.
            ("log_to_file", Some(false)) => {}
            ("log_to_file", _) => {
                return Term::tuple([ERROR.into(), Atom::from_static("open_file").into()]);
            }
            ("statistics", Some(false)) => self.statistics = None,
            ("statistics", Some(true)) => {
                self.statistics.get_or_insert(Statistics { start: now, messages_in: 0, messages_out: 0 });
            }
            ("statistics", None) if flag.is_atom("get") => {
                return Term::tuple([OK.into(), self.statistics(now)]);
            }
            // What is to be installed is a function, which cannot be run here; there is none to be removed.
            ("remove", _) => {}
            _ => return unknown(),
        }
        ok()
    }

    /// A log that is kept already stays as it is, as in OTP.
    fn keep(&mut self, len: usize) {
        self.log.get_or_insert(Log { events: VecDeque::new(), len });
    }

    fn statistics(&self, now: SystemTime) -> Term {
        let Some(Statistics { start, messages_in, messages_out }) = &self.statistics else {
            return Atom::from_static("no_statistics").into();
        };
        let entry = |key, value| Term::tuple([Term::from(Atom::from_static(key)), value]);
        let count = |n: u64| Term::from(i64::try_from(n).unwrap_or(i64::MAX));
        Term::list([
            entry("start_time", date_time(*start)),
            entry("current_time", date_time(now)),
            // The work of a native server is not counted in reductions.
            entry("reductions", Term::from(0)),
            entry("messages_in", count(*messages_in)),
            entry("messages_out", count(*messages_out)),
        ])
    }
}

fn unknown() -> Term {
    Atom::from_static("unknown_debug").into()
}

/// `{{Year, Month, Day}, {Hour, Minute, Second}}`, in UTC: a node knows no time zone.
fn date_time(time: SystemTime) -> Term {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = ((seconds / 86_400) as i64, seconds % 86_400);
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days: years begin in March.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let triple = |a: i64, b: i64, c: i64| Term::tuple([a, b, c].map(Term::from));
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    Term::tuple([triple(year, month, day), triple(hour as i64, minute as i64, second as i64)])
}
