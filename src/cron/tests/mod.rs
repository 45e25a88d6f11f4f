mod model;
mod schedule;
mod server;
mod ticker;

use std::time::SystemTime;

/// A point in time, as `2026-01-31T12:00:00Z`.
fn time(text: &str) -> SystemTime {
    text.parse::<jiff::Timestamp>().unwrap().into()
}
