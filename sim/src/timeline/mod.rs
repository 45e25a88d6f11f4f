//! A run as a picture: one HTML file that needs nothing else, with a lane for each host and time to the right.

mod picture;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

pub(crate) use self::picture::{HostState, Picture, State, fault};
use self::picture::{hosts, micros};
use crate::check::Violation;
use crate::run::{Outcome, Run};
use crate::trace::Event;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What the page's script draws.
#[derive(Serialize)]
struct Data<'a> {
    scenario: &'a str,
    seed: u64,
    hash: String,
    outcome: &'static str,
    /// Why, if nothing was violated and yet it did not pass.
    why: Option<&'a str>,
    drawn: &'a [(String, String)],
    violation: Option<Violated<'a>>,
    #[serde(flatten)]
    picture: Picture,
    kinds: Vec<&'a str>,
    /// Time, lane (none for what is done to the cluster), incarnation, kind, detail.
    events: Vec<(u64, Option<usize>, u32, usize, &'a str)>,
    flags: Vec<Flag>,
}

#[derive(Serialize)]
struct Violated<'a> {
    property: &'a str,
    text: &'a str,
    at: u64,
    lane: Option<usize>,
    details: &'a [String],
}

/// A fault, at the lanes that it is about; at all if none.
#[derive(Serialize)]
struct Flag {
    event: usize,
    lanes: Vec<usize>,
    text: String,
}

/// The page of a run.
pub fn timeline(run: &Run) -> String {
    let events = run.trace.events();
    let picture = Picture::new(events, run.simulated.max(end(run)));
    let mut kinds = BTreeMap::new();
    for event in events {
        kinds.entry(event.kind.as_str()).or_insert(0);
    }
    for (index, (_, number)) in kinds.iter_mut().enumerate() {
        *number = index;
    }
    let line = |event: &'_ Event| {
        (micros(event.at), picture.lane(&event.node), event.incarnation, kinds[event.kind.as_str()])
    };
    let lines = events.iter().map(|event| {
        let (at, lane, incarnation, kind) = line(event);
        (at, lane, incarnation, kind, event.detail.as_str())
    });
    let flags = events.iter().enumerate().filter_map(|(index, event)| {
        let fault = fault(event)?;
        let lanes = hosts(&fault).into_iter().filter_map(|host| picture.lane(host)).collect();
        Some(Flag { event: index, lanes, text: words(&event.detail) })
    });
    let (outcome, why, violation) = match &run.outcome {
        Outcome::Passed => ("passed", None, None),
        Outcome::Violated(violation) => ("violated", None, Some(violated(violation, &picture))),
        Outcome::Undecided(why) => ("undecided", Some(why.as_str()), None),
        Outcome::Broken(why) => ("broken", Some(why.as_str()), None),
    };
    let data = Data {
        scenario: &run.scenario,
        seed: run.seed,
        hash: format!("{:016x}", run.trace.hash()),
        outcome,
        why,
        drawn: &run.drawn,
        violation,
        events: lines.collect(),
        flags: flags.collect(),
        kinds: kinds.keys().copied().collect(),
        picture,
    };
    // Strings and numbers always have a text. No text in it may end the script that holds it.
    let data = serde_json::to_string(&data).unwrap_or_default().replace('<', "\\u003c");
    let title = format!("{} {}", escaped(&run.scenario), run.seed);
    // The data comes last: it may hold any text, also what looks like a place to fill.
    let page = PAGE.replacen("{{title}}", &title, 1).replacen("{{style}}", STYLE, 1);
    page.replacen("{{script}}", SCRIPT, 1).replacen("{{data}}", &data, 1)
}

fn end(run: &Run) -> Duration {
    match &run.outcome {
        Outcome::Violated(violation) => violation.at,
        _ => Duration::ZERO,
    }
}

fn violated<'a>(violation: &'a Violation, picture: &Picture) -> Violated<'a> {
    let lane = violation.node.as_deref().and_then(|node| picture.lane(node));
    let Violation { property, text, at, details, .. } = violation;
    Violated { property, text, at: micros(*at), lane, details }
}

/// A fault's line of JSON, to be read: `cut one=a other=b`.
pub(crate) fn words(json: &str) -> String {
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(json) else { return json.to_owned() };
    let mut text = fields.get("fault").and_then(|kind| kind.as_str()).unwrap_or("fault").replace('_', " ");
    for (name, value) in fields.iter().filter(|(name, _)| *name != "fault" && *name != "at_ms") {
        text += &match value {
            serde_json::Value::String(value) => format!(" {name}={value}"),
            value => format!(" {name}={value}"),
        };
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('{', "&#123;")
}
