//! What a timeline shows, read from the events of a run: who was alive when, which wires were cut, what was sent and
//! when it was read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::fault::Fault;
use crate::trace::Event;

/// Whether a host's program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Alive,
    Paused,
    Crashed,
}

/// A stretch of a host's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Bar {
    pub(crate) lane: usize,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) state: State,
    pub(crate) incarnation: u32,
}

/// A wire that is cut: both ways, or in one direction, `one` to `other`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Band {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) one: usize,
    pub(crate) other: usize,
    pub(crate) one_way: bool,
}

/// What a host has to bear for a while: it is slow, say, or without EPMD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Strip {
    pub(crate) lane: usize,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) text: &'static str,
}

/// Something that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Arrow {
    /// The index of its event.
    pub(crate) event: usize,
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// When its last byte was read; none if it never was.
    pub(crate) read: Option<u64>,
    pub(crate) len: u64,
}

/// What a client asked for: from its event `invoke` to the next `return` or `unknown` with the same first word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Operation {
    pub(crate) lane: usize,
    /// The first that is free: operations that overlap are drawn above each other.
    pub(crate) row: usize,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) event: usize,
    /// The event that ended it, if one did, and whether its outcome is known.
    pub(crate) end: Option<usize>,
    pub(crate) known: bool,
}

/// All of it; times are microseconds of simulated time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Picture {
    pub(crate) lanes: Vec<String>,
    pub(crate) end: u64,
    /// When all was healed, if the run came so far.
    pub(crate) healed: Option<u64>,
    pub(crate) bars: Vec<Bar>,
    pub(crate) bands: Vec<Band>,
    pub(crate) strips: Vec<Strip>,
    pub(crate) arrows: Vec<Arrow>,
    pub(crate) operations: Vec<Operation>,
}

/// How a host was at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostState {
    pub(crate) state: Option<State>,
    pub(crate) incarnation: u32,
    /// How many connections to which hosts.
    pub(crate) connections: BTreeMap<String, usize>,
}

pub(crate) fn micros(at: Duration) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or(u64::MAX)
}

/// What was done to the cluster, if the event says that.
pub(crate) fn fault(event: &Event) -> Option<Fault> {
    (event.node == "sim" && event.kind == "fault").then(|| serde_json::from_str(&event.detail).ok()).flatten()
}

/// The hosts that a fault is about.
pub(crate) fn hosts(fault: &Fault) -> Vec<String> {
    match fault {
        Fault::Cut { one, other }
        | Fault::Mend { one, other }
        | Fault::Reset { one, other }
        | Fault::Latency { one, other, .. } => vec![one.clone(), other.clone()],
        Fault::CutOneWay { from, to } | Fault::Bandwidth { from, to, .. } => vec![from.clone(), to.clone()],
        Fault::HalfOpen { gone, left } => vec![gone.clone(), left.clone()],
        Fault::Partition { groups } => groups.concat(),
        // All others are about a node, or about no host.
        other => {
            let value = serde_json::to_value(other).unwrap_or_default();
            value.get("node").and_then(|node| node.as_str()).map(str::to_owned).into_iter().collect()
        }
    }
}

impl Picture {
    pub(crate) fn new(events: &[Event], end: Duration) -> Self {
        let mut names = BTreeSet::new();
        for event in events {
            if event.node != "sim" {
                names.insert(event.node.clone());
            }
            if let Some(fault) = fault(event) {
                names.extend(hosts(&fault));
            }
        }
        let end = events.iter().map(|event| event.at).max().unwrap_or_default().max(end);
        let lanes = names.into_iter().collect();
        let mut drawing = Drawing {
            picture: Self { lanes, end: micros(end), ..Self::default() },
            lives: BTreeMap::new(),
            cuts: BTreeMap::new(),
            strips: BTreeMap::new(),
            twins: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            asked: BTreeMap::new(),
        };
        for (index, event) in events.iter().enumerate() {
            drawing.event(index, event);
        }
        drawing.finish()
    }

    pub(crate) fn lane(&self, host: &str) -> Option<usize> {
        self.lanes.binary_search_by(|lane| lane.as_str().cmp(host)).ok()
    }

    /// How every host was after the events up to `at`.
    pub(crate) fn hosts_at(&self, events: &[Event], at: Duration) -> BTreeMap<String, HostState> {
        let mut open: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
        for event in events.iter().take_while(|event| event.at <= at) {
            let mut words = event.detail.split(' ');
            match (event.kind.as_str(), words.next()) {
                ("connected" | "accepted", Some(conn)) => {
                    let peer = words.nth(1).unwrap_or("?");
                    let peer = peer.rsplit_once(':').map_or(peer, |(host, _)| host).to_owned();
                    open.entry(&event.node).or_default().insert(conn, peer);
                }
                ("closed", Some(conn)) => {
                    open.entry(&event.node).or_default().remove(conn);
                }
                ("boot", _) => {
                    open.remove(event.node.as_str());
                }
                _ => {}
            }
        }
        let at = micros(at);
        let host = |(lane, name): (usize, &String)| {
            let mut bars = self.bars.iter().filter(|bar| bar.lane == lane && bar.from <= at);
            let bar = bars.next_back();
            let state = bar.map(|bar| bar.state);
            let mut connections = BTreeMap::new();
            if state.is_some_and(|state| state != State::Crashed) {
                for peer in open.get(name.as_str()).into_iter().flat_map(BTreeMap::values) {
                    *connections.entry(peer.clone()).or_default() += 1;
                }
            }
            (
                name.clone(),
                HostState { state, incarnation: bar.map_or(0, |bar| bar.incarnation), connections },
            )
        };
        self.lanes.iter().enumerate().map(host).collect()
    }
}

const TWIN: &str = "started twice";

/// A direction of a connection: its number, and who sends.
type Direction = (String, usize);

struct Drawing {
    picture: Picture,
    /// Since when a lane's host is as it is.
    lives: BTreeMap<usize, (u64, State, u32)>,
    /// Since when which direction between two lanes is cut.
    cuts: BTreeMap<(usize, usize), u64>,
    strips: BTreeMap<(usize, &'static str), u64>,
    /// How many second programs of a lane's host have been asked for and have not booted yet.
    twins: BTreeMap<usize, u32>,
    /// What was sent and not read yet: where it ends in its direction, and which arrow it is.
    in_flight: BTreeMap<Direction, Vec<(u64, usize)>>,
    /// What is asked for and not answered yet, by lane and client.
    asked: BTreeMap<(usize, String), usize>,
}

impl Drawing {
    fn event(&mut self, index: usize, event: &Event) {
        let at = micros(event.at);
        if event.node == "sim" {
            if event.kind == "healed" {
                self.picture.healed = Some(at);
                self.healed(at);
            } else if let Some(fault) = fault(event) {
                self.fault(at, &fault);
            }
            return;
        }
        let Some(lane) = self.picture.lane(&event.node) else { return };
        match event.kind.as_str() {
            "boot" => match self.twins.get_mut(&lane) {
                // It runs beside the first, whose life goes on.
                Some(twins) if *twins > 0 => *twins -= 1,
                _ => self.life(at, lane, State::Alive, event.incarnation),
            },
            "sent" => self.sent(index, lane, &event.detail),
            "got" => self.got(at, lane, &event.detail),
            "invoke" => self.invoke(at, lane, index, &event.detail),
            "return" | "unknown" => self.answered(at, lane, index, event),
            _ => {}
        }
    }

    fn life(&mut self, at: u64, lane: usize, state: State, incarnation: u32) {
        if let Some((from, state, incarnation)) = self.lives.insert(lane, (at, state, incarnation)) {
            self.picture.bars.push(Bar { lane, from, to: at, state, incarnation });
        }
    }

    /// A host that was never started has no state to change.
    fn state(&mut self, at: u64, host: &str, state: State) {
        if let Some(lane) = self.picture.lane(host)
            && let Some(&(_, before, incarnation)) = self.lives.get(&lane)
            && before != state
        {
            self.life(at, lane, state, incarnation);
        }
    }

    fn resume(&mut self, at: u64, lane: usize) {
        if let Some(&(_, State::Paused, incarnation)) = self.lives.get(&lane) {
            self.life(at, lane, State::Alive, incarnation);
        }
    }

    fn cut(&mut self, at: u64, from: usize, to: usize) {
        if from != to {
            self.cuts.entry((from, to)).or_insert(at);
        }
    }

    /// Ends the cuts in one direction or both, as the bands that they were.
    fn mend(&mut self, at: u64, one: usize, other: usize) {
        let (there, back) = (self.cuts.remove(&(one, other)), self.cuts.remove(&(other, one)));
        let mut band = |one: usize, other: usize, from: u64, to: u64, one_way: bool| {
            if from < to {
                self.picture.bands.push(Band { from, to, one, other, one_way });
            }
        };
        match (there, back) {
            (Some(there), Some(back)) => {
                if there < back {
                    band(one, other, there, back, true);
                } else {
                    band(other, one, back, there, true);
                }
                band(one.min(other), one.max(other), there.max(back), at, false);
            }
            (Some(there), None) => band(one, other, there, at, true),
            (None, Some(back)) => band(other, one, back, at, true),
            (None, None) => {}
        }
    }

    fn mend_all(&mut self, at: u64) {
        while let Some((&(one, other), _)) = self.cuts.first_key_value() {
            self.mend(at, one, other);
        }
    }

    fn strip(&mut self, at: u64, host: &str, text: &'static str, on: bool) {
        let Some(lane) = self.picture.lane(host) else { return };
        if on {
            self.strips.entry((lane, text)).or_insert(at);
        } else if let Some(from) = self.strips.remove(&(lane, text)) {
            self.picture.strips.push(Strip { lane, from, to: at, text });
        }
    }

    fn fault(&mut self, at: u64, fault: &Fault) {
        let lanes: Vec<usize> = hosts(fault).iter().filter_map(|host| self.picture.lane(host)).collect();
        match (fault, lanes.as_slice()) {
            (Fault::Cut { .. }, &[one, other]) => {
                self.cut(at, one, other);
                self.cut(at, other, one);
            }
            (Fault::CutOneWay { .. }, &[from, to]) => self.cut(at, from, to),
            (Fault::Mend { .. }, &[one, other]) => self.mend(at, one, other),
            (Fault::MendAll, _) => self.mend_all(at),
            (Fault::Partition { groups }, _) => {
                let group = |lane: &String| groups.iter().position(|group| group.contains(lane));
                let groups: Vec<Option<usize>> = self.picture.lanes.iter().map(group).collect();
                for one in 0..groups.len() {
                    for other in one + 1..groups.len() {
                        if groups[one].is_some() && groups[one] == groups[other] {
                            self.mend(at, one, other);
                        } else {
                            self.cut(at, one, other);
                            self.cut(at, other, one);
                        }
                    }
                }
            }
            (Fault::Crash { node } | Fault::PowerLoss { node }, _) => {
                self.state(at, node, State::Crashed);
                self.strip(at, node, TWIN, false);
            }
            (Fault::Pause { node }, _) => self.state(at, node, State::Paused),
            (Fault::Resume { .. }, &[lane]) => self.resume(at, lane),
            (Fault::Restart { node }, &[lane]) => {
                self.resume(at, lane);
                self.strip(at, node, TWIN, false);
            }
            // Beside a program that does not run there is no second one.
            (Fault::Twin { node }, &[lane])
                if self.lives.get(&lane).is_some_and(|(_, state, _)| *state != State::Crashed) =>
            {
                *self.twins.entry(lane).or_default() += 1;
                self.strip(at, node, TWIN, true);
            }
            (Fault::Slow { node, polls_per_ms }, _) => self.strip(at, node, "slow", polls_per_ms.is_some()),
            (Fault::Shake { node, percent }, _) => self.strip(at, node, "shaken", *percent > 0),
            (Fault::Chunks { node, max_len }, _) => self.strip(at, node, "chunks", max_len.is_some()),
            (Fault::EpmdDown { node }, _) => self.strip(at, node, "no EPMD", true),
            (Fault::EpmdUp { node }, _) => self.strip(at, node, "no EPMD", false),
            _ => {}
        }
    }

    fn healed(&mut self, at: u64) {
        self.mend_all(at);
        for lane in 0..self.picture.lanes.len() {
            self.resume(at, lane);
        }
        self.end_strips(at);
    }

    fn end_strips(&mut self, at: u64) {
        for ((lane, text), from) in std::mem::take(&mut self.strips) {
            self.picture.strips.push(Strip { lane, from, to: at, text });
        }
    }

    fn sent(&mut self, event: usize, from: usize, detail: &str) {
        let mut words = detail.split(' ');
        let (Some(conn), Some(peer), Some(offset), Some(len)) =
            (words.next(), words.next(), number(words.next()), number(words.next()))
        else {
            return;
        };
        // What a host sends to itself crosses no wire, and both its directions have one name.
        let Some(to) = self.picture.lane(peer).filter(|to| *to != from) else { return };
        let arrow = self.picture.arrows.len();
        self.picture.arrows.push(Arrow { event, from, to, read: None, len });
        self.in_flight.entry((conn.to_owned(), from)).or_default().push((offset.saturating_add(len), arrow));
    }

    fn got(&mut self, at: u64, to: usize, detail: &str) {
        let mut words = detail.split(' ');
        let (Some(conn), Some(peer), Some(offset), Some(len)) =
            (words.next(), words.next(), number(words.next()), number(words.next()))
        else {
            return;
        };
        let Some(from) = self.picture.lane(peer).filter(|from| *from != to) else { return };
        let Some(in_flight) = self.in_flight.get_mut(&(conn.to_owned(), from)) else { return };
        let read = offset.saturating_add(len);
        let arrows = &mut self.picture.arrows;
        in_flight.retain(|&(end, arrow)| {
            if end <= read {
                arrows[arrow].read = Some(at);
            }
            end > read
        });
    }

    fn invoke(&mut self, at: u64, lane: usize, event: usize, detail: &str) {
        let client = detail.split(' ').next().unwrap_or_default().to_owned();
        let open = self.asked.iter().filter(|((of, _), _)| *of == lane);
        let rows: BTreeSet<usize> = open.map(|(_, asked)| self.picture.operations[*asked].row).collect();
        let row = (0..).find(|row| !rows.contains(row)).unwrap_or_default();
        self.asked.insert((lane, client), self.picture.operations.len());
        let operation = Operation { lane, row, from: at, to: at, event, end: None, known: false };
        self.picture.operations.push(operation);
    }

    fn answered(&mut self, at: u64, lane: usize, event: usize, answer: &Event) {
        let client = answer.detail.split(' ').next().unwrap_or_default().to_owned();
        if let Some(asked) = self.asked.remove(&(lane, client)) {
            let operation = &mut self.picture.operations[asked];
            (operation.to, operation.end, operation.known) = (at, Some(event), answer.kind == "return");
        }
    }

    fn finish(mut self) -> Picture {
        let end = self.picture.end;
        for operation in &mut self.picture.operations {
            if operation.end.is_none() {
                operation.to = end;
            }
        }
        self.mend_all(end);
        self.end_strips(end);
        for (lane, (from, state, incarnation)) in std::mem::take(&mut self.lives) {
            self.picture.bars.push(Bar { lane, from, to: end, state, incarnation });
        }
        self.picture.bars.sort_by_key(|bar| (bar.from, bar.lane));
        self.picture.bands.sort_by_key(|band| (band.from, band.one, band.other));
        self.picture.strips.sort_by_key(|strip| (strip.from, strip.lane));
        self.picture
    }
}

fn number(word: Option<&str>) -> Option<u64> {
    word?.parse().ok()
}
