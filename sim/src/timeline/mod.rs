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
use crate::fault::Fault;
use crate::report::fault_kind;
use crate::run::{Outcome, Run};
use crate::trace::Event;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const DRAWING: &str = include_str!("draw.js");
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
        let lanes = hosts(&fault).iter().filter_map(|host| picture.lane(host)).collect();
        Some(Flag { event: index, lanes, text: words(&fault) })
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
    page.replacen("{{drawing}}", DRAWING, 1).replacen("{{script}}", SCRIPT, 1).replacen("{{data}}", &data, 1)
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

/// A fault, to be read.
pub(crate) fn words(fault: &Fault) -> String {
    match fault {
        Fault::Cut { one, other } => format!("cut {one} | {other}"),
        Fault::CutOneWay { from, to } => format!("cut {from} → {to}"),
        Fault::Mend { one, other } => format!("mend {one} | {other}"),
        Fault::Partition { groups } => {
            let groups: Vec<String> = groups.iter().map(|group| group.join(" ")).collect();
            format!("partition {}", groups.join(" | "))
        }
        Fault::Reset { one, other } => format!("reset {one} | {other}"),
        Fault::HalfOpen { gone, left } => format!("half-open: gone for {gone}, {left} not told"),
        Fault::Bandwidth { from, to, bytes_per_ms: Some(n) } => format!("{n} bytes/ms {from} → {to}"),
        Fault::Bandwidth { from, to, bytes_per_ms: None } => format!("no limit {from} → {to}"),
        Fault::Latency { one, other, min_ms, max_ms } => {
            format!("latency {one} | {other} {min_ms}..{max_ms} ms")
        }
        Fault::Slow { node, polls_per_ms: Some(n) } => format!("slow {node}, {n} polls/ms"),
        Fault::Slow { node, polls_per_ms: None } => format!("{node} is slow no more"),
        Fault::Chunks { node, max_len: Some(n) } => format!("chunks {node}, {n} bytes"),
        Fault::Chunks { node, max_len: None } => format!("{node} has no chunks any more"),
        Fault::Shake { node, percent } => format!("shake {node}, {percent} %"),
        Fault::ClockJump { node, by_ms } => format!("clock of {node} {by_ms:+} ms"),
        Fault::ClockDrift { node, ppm } => format!("clock of {node} {ppm:+} ppm"),
        other => {
            // The kind, the hosts, and whatever else there is to it.
            let mut words = fault_kind(other).replace('_', " ");
            for host in hosts(other) {
                words = words + " " + &host;
            }
            let value = serde_json::to_value(other).unwrap_or_default();
            for (name, value) in value.as_object().into_iter().flatten() {
                if name != "fault" && name != "node" {
                    words += &format!(" {name}={value}");
                }
            }
            words
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('{', "&#123;")
}
