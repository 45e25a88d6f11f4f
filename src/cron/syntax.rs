//! The line of a schedule: its fields, and what is wrong with them.

use super::ScheduleError;

/// One field of a line.
struct Field {
    name: &'static str,
    min: u16,
    max: u16,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const SECOND: Field = Field { name: "second", min: 0, max: 59, names: &[] };
const DAY_OF_MONTH: Field = Field { name: "day of month", min: 1, max: 31, names: &[] };
const DAY_OF_WEEK: Field = Field { name: "day of week", min: 0, max: 7, names: &DAYS };
const YEAR: Field = Field { name: "year", min: 1970, max: 5000, names: &[] };
const FIELDS: [Field; 7] = [
    SECOND,
    Field { name: "minute", min: 0, max: 59, names: &[] },
    Field { name: "hour", min: 0, max: 23, names: &[] },
    DAY_OF_MONTH,
    Field { name: "month", min: 1, max: 12, names: &MONTHS },
    DAY_OF_WEEK,
    YEAR,
];

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// Checks a line, and writes it with seven fields and numbers only.
pub(super) fn normalize(line: &str) -> Result<String, ScheduleError> {
    let nickname = NICKNAMES.iter().find(|(name, _)| line.trim().eq_ignore_ascii_case(name));
    let line = nickname.map_or(line, |(_, meaning)| meaning);
    let words: Vec<&str> = line.split_whitespace().collect();
    if let [word] = words[..]
        && word.starts_with('@')
    {
        return Err(ScheduleError::Nickname(word.to_owned()));
    }
    let (fields, mut normal) = match words.len() {
        5 => (&FIELDS[1..6], vec!["0".to_owned()]),
        6 => (&FIELDS[..6], Vec::new()),
        7 => (&FIELDS[..], Vec::new()),
        count => return Err(ScheduleError::Fields(count)),
    };
    for (field, word) in fields.iter().zip(words) {
        let field = In { line, field };
        normal.push(field.normalize(word)?);
    }
    if normal.len() == 6 {
        normal.push("*".to_owned());
    }
    Ok(normal.join(" "))
}

/// A field, in its line.
struct In<'a> {
    line: &'a str,
    field: &'static Field,
}

impl In<'_> {
    /// What is wrong with `part`, which is a part of the line.
    fn error<T>(&self, part: &str, reason: impl Into<String>) -> Result<T, ScheduleError> {
        let at = (part.as_ptr() as usize).saturating_sub(self.line.as_ptr() as usize);
        let column = self.line.get(..at).map_or(0, |before| before.chars().count()) + 1;
        Err(ScheduleError::Field { field: self.field.name, column, reason: reason.into() })
    }

    fn is(&self, field: &Field) -> bool {
        self.field.name == field.name
    }

    fn normalize(&self, word: &str) -> Result<String, ScheduleError> {
        let (and, word) = match word.strip_prefix('+') {
            Some(rest) if self.is(&DAY_OF_WEEK) => ("+", rest),
            _ => ("", word),
        };
        let days = self.is(&DAY_OF_MONTH) || self.is(&DAY_OF_WEEK);
        if word == "*" || (word == "?" && days) {
            return Ok(format!("{and}*"));
        }
        let items: Result<Vec<String>, _> = word.split(',').map(|item| self.item(item)).collect();
        Ok(format!("{and}{}", items?.join(",")))
    }

    fn item(&self, item: &str) -> Result<String, ScheduleError> {
        if item.is_empty() {
            return self.error(item, "a value is missing");
        }
        if let Some((range, step)) = item.split_once('/') {
            return self.stepped(range, step);
        }
        if item == "*" {
            return self.error(item, "`*` stands alone, or before a step");
        }
        if let Some((from, to)) = item.split_once('-') {
            return self.range(item, from, to);
        }
        if self.is(&DAY_OF_MONTH) {
            let upper = item.to_ascii_uppercase();
            if upper == "L" || upper == "LW" {
                return Ok(upper);
            }
            if let Some(day) = item.strip_suffix(['W', 'w']) {
                return Ok(format!("{}W", self.value(day)?));
            }
        }
        if self.is(&DAY_OF_WEEK) {
            if let Some((day, nth)) = item.split_once('#') {
                let day = self.value(day)?;
                return match nth {
                    "1" | "2" | "3" | "4" | "5" => Ok(format!("{day}#{nth}")),
                    _ => self.error(nth, "a number from 1 to 5 belongs after `#`"),
                };
            }
            if let Some(day) = item.strip_suffix(['L', 'l']) {
                return Ok(format!("{}#L", self.value(day)?));
            }
        }
        self.value(item).map(|value| value.to_string())
    }

    fn stepped(&self, range: &str, step: &str) -> Result<String, ScheduleError> {
        let span = self.field.max - self.field.min;
        let every = match number(step) {
            Some(every) if (1..=span).contains(&every) => every,
            _ => return self.error(step, format!("a step is a number from 1 to {span}")),
        };
        if range == "*" {
            if self.is(&YEAR) {
                return self.error(range, "which year is the first? Write a range, as in 2026-2099/2");
            }
            return Ok(format!("*/{every}"));
        }
        match range.split_once('-') {
            Some((from, to)) => Ok(format!("{}/{every}", self.range(range, from, to)?)),
            None => self.error(range, "a step belongs after `*` or a range"),
        }
    }

    fn range(&self, range: &str, from: &str, to: &str) -> Result<String, ScheduleError> {
        let (start, mut end) = (self.value(from)?, self.value(to)?);
        // A week that is named by its days ends on Sunday.
        if self.is(&DAY_OF_WEEK) && end == 0 && start > 0 && number(to).is_none() {
            end = 7;
        }
        if start > end {
            return self.error(range, format!("the range {range} is empty"));
        }
        Ok(format!("{start}-{end}"))
    }

    fn value(&self, text: &str) -> Result<u16, ScheduleError> {
        let Field { min, max, names, .. } = *self.field;
        if text.is_empty() {
            return self.error(text, "a value is missing");
        }
        if let Some(at) = names.iter().position(|name| text.eq_ignore_ascii_case(name)) {
            let first = if self.is(&DAY_OF_WEEK) { 0 } else { 1 };
            return Ok(first + at as u16);
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return match number(text) {
                Some(value) if (min..=max).contains(&value) => Ok(value),
                _ => self.error(text, format!("{text} is not in {min} to {max}")),
            };
        }
        match names {
            [] => self.error(text, format!("`{text}` is not a number")),
            [first, .., last] => {
                self.error(text, format!("`{text}` is neither a number nor a name from {first} to {last}"))
            }
            [_] => unreachable!("a field has more names than one, or none"),
        }
    }
}

fn number(text: &str) -> Option<u16> {
    // `parse` takes a sign, too.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
