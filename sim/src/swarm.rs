//! What may be done to a cluster, and how a seed draws from that what is done.
//!
//! Each seed first draws which kinds of faults there are at all, about half of them: a run with everything on hides what needs one kind
//! alone. Every eighth seed has none: bugs of calm hide under chaos.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use beamline::world::Entropy;
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;
use serde::{Deserialize, Serialize};

use crate::entropy::NodeEntropy;
use crate::fault::{Fault, Schedule, Timed};

/// A kind of fault, with what ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// A wire is cut and mended.
    Cut,
    /// A wire is cut in one direction, and mended.
    CutOneWay,
    /// The hosts fall apart into groups.
    Partition,
    /// Connections are reset.
    Reset,
    /// Connections are gone for one end only.
    HalfOpen,
    /// A wire takes few bytes a millisecond.
    Bandwidth,
    /// A wire is long.
    Latency,
    /// A host reads and writes few bytes at once.
    Chunks,
    /// A process is killed and starts again.
    Crash,
    /// A host loses power and starts again.
    PowerLoss,
    /// A process is killed and starts again at once.
    Restart,
    /// A node stands still for a while.
    Pause,
    /// A node is slow.
    Slow,
    /// A node's tasks run in another order.
    Shake,
    /// A wall clock jumps.
    ClockJump,
    /// A node's clocks run at another rate.
    ClockDrift,
    /// EPMD dies and comes back.
    Epmd,
    /// A node is started twice.
    Twin,
    /// A disk takes long to sync.
    SlowDisk,
    /// A disk fails what is asked of it.
    BadDisk,
}

impl Kind {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Cut,
        Self::CutOneWay,
        Self::Partition,
        Self::Reset,
        Self::HalfOpen,
        Self::Bandwidth,
        Self::Latency,
        Self::Chunks,
        Self::Crash,
        Self::PowerLoss,
        Self::Restart,
        Self::Pause,
        Self::Slow,
        Self::Shake,
        Self::ClockJump,
        Self::ClockDrift,
        Self::Epmd,
        Self::Twin,
        Self::SlowDisk,
        Self::BadDisk,
    ];

    pub(crate) fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Whether meanwhile the node does nothing.
    fn takes_down(self) -> bool {
        matches!(self, Self::Crash | Self::PowerLoss | Self::Restart | Self::Pause)
    }
}

/// Which faults a seed may draw, and for how long.
#[derive(Debug, Clone)]
pub struct Swarm {
    kinds: BTreeSet<Kind>,
    chaos: Duration,
    calm: Duration,
}

impl Default for Swarm {
    fn default() -> Self {
        Self::new()
    }
}

impl Swarm {
    /// All kinds of faults, for 30 seconds, and then a minute in which the cluster must come to rest and its programs must return.
    pub fn new() -> Self {
        let kinds = Kind::ALL.iter().copied().collect();
        Self { kinds, chaos: Duration::from_secs(30), calm: Duration::from_secs(60) }
    }

    /// For how long there are faults.
    #[must_use]
    pub fn chaos(mut self, chaos: Duration) -> Self {
        self.chaos = chaos;
        self
    }

    /// How long the programs may take to return once all is healed.
    #[must_use]
    pub fn calm(mut self, calm: Duration) -> Self {
        self.calm = calm;
        self
    }

    /// Only these kinds of faults.
    #[must_use]
    pub fn only(mut self, kinds: impl IntoIterator<Item = Kind>) -> Self {
        self.kinds = kinds.into_iter().collect();
        self
    }

    /// None of these kinds.
    #[must_use]
    pub fn without(mut self, kinds: impl IntoIterator<Item = Kind>) -> Self {
        for kind in kinds {
            self.kinds.remove(&kind);
        }
        self
    }

    pub(crate) fn calm_time(&self) -> Duration {
        self.calm
    }

    /// What a seed does to these nodes, and to the wires between these hosts; and which kinds it chose.
    pub(crate) fn draw(&self, seed: u64, nodes: &[&str], hosts: &[&str]) -> (Schedule, Vec<Kind>) {
        let entropy = NodeEntropy::new(seed, "swarm");
        let heal_at_ms = u64::try_from(self.chaos.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut schedule = Schedule { faults: Vec::new(), heal_at_ms };
        if entropy.fork("class").next_u32().is_multiple_of(8) {
            return (schedule, Vec::new());
        }
        // Each kind draws from streams of its own: one that is added, or forbidden, leaves the others as they were.
        let drawn: Vec<_> = Kind::ALL
            .iter()
            .copied()
            .filter(|kind| {
                let on = entropy.fork(&format!("{kind:?} on")).next_u32().is_multiple_of(2);
                on && self.kinds.contains(kind)
            })
            .collect();
        // At most a minority is down at once, so that there is always a cluster to speak of.
        let down_max = (nodes.len().saturating_sub(1) / 2).max(1);
        let mut down: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
        for &kind in &drawn {
            let mut dice = Dice(entropy.fork(&format!("{kind:?}")));
            let episodes_max = (heal_at_ms / 5000).clamp(1, 8);
            for _ in 0..dice.between(1, episodes_max) {
                let from = dice.below(heal_at_ms);
                let to = from + dice.length();
                let Some((node, begin, end)) = dice.episode(kind, nodes, hosts) else { break };
                if kind.takes_down() {
                    let overlaps = |at: &(u64, u64)| at.0 <= to && from <= at.1;
                    let others = down.iter().filter(|(_, times)| times.iter().any(overlaps));
                    let others: Vec<_> = others.map(|(name, _)| *name).collect();
                    if others.contains(&node) || others.len() >= down_max {
                        continue;
                    }
                    down.entry(node).or_default().push((from, to));
                }
                schedule.faults.push(Timed { at_ms: from, fault: begin });
                if let Some(fault) = end
                    && to < heal_at_ms
                {
                    schedule.faults.push(Timed { at_ms: to, fault });
                }
            }
        }
        schedule.faults.sort_by_key(|timed| timed.at_ms);
        (schedule, drawn)
    }
}

struct Dice(ChaCha8Rng);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0.next_u64() % end.max(1)
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> Option<&'a str> {
        let place = self.below(from.len() as u64);
        from.get(usize::try_from(place).unwrap_or(0)).copied()
    }

    /// How long something lasts, in milliseconds: short ones matter as much as long ones.
    fn length(&mut self) -> u64 {
        let longest = [50, 500, 5000, 15_000][usize::try_from(self.below(4)).unwrap_or(0)];
        self.between(longest / 10, longest)
    }

    fn small(&mut self, low: u32, high: u32) -> u32 {
        u32::try_from(self.between(low.into(), high.into())).unwrap_or(high)
    }

    /// What begins and what ends a fault, and the node that it is done to; `None` if there are too few.
    fn episode<'a>(
        &mut self,
        kind: Kind,
        nodes: &[&'a str],
        hosts: &[&str],
    ) -> Option<(&'a str, Fault, Option<Fault>)> {
        let chosen = self.pick(nodes)?;
        let node = chosen.to_owned();
        let others: Vec<_> = hosts.iter().copied().filter(|host| *host != chosen).collect();
        let other = self.pick(&others).map(str::to_owned);
        // Which end of the wire is the first.
        let (one, two) = match other.clone() {
            Some(other) if self.below(2) == 0 => (other, node.clone()),
            Some(other) => (node.clone(), other),
            None => (node.clone(), String::new()),
        };
        let on_wire = matches!(
            kind,
            Kind::Cut
                | Kind::CutOneWay
                | Kind::Partition
                | Kind::Reset
                | Kind::HalfOpen
                | Kind::Bandwidth
                | Kind::Latency
        );
        if on_wire && other.is_none() {
            return None;
        }
        let mend = Some(Fault::Mend { one: one.clone(), other: two.clone() });
        let restart = Some(Fault::Restart { node: node.clone() });
        let (begin, end) = match kind {
            Kind::Cut => (Fault::Cut { one, other: two }, mend),
            Kind::CutOneWay => (Fault::CutOneWay { from: one, to: two }, mend),
            Kind::Partition => {
                let mut groups = vec![vec![node], Vec::new()];
                for host in others {
                    let place = usize::try_from(self.below(2)).unwrap_or(0);
                    groups[place].push(host.to_owned());
                }
                (Fault::Partition { groups }, Some(Fault::MendAll))
            }
            Kind::Reset => (Fault::Reset { one, other: two }, None),
            Kind::HalfOpen => (Fault::HalfOpen { gone: one, left: two }, None),
            Kind::Bandwidth => {
                let bytes_per_ms = Some([16, 64, 256, 1024][usize::try_from(self.below(4)).unwrap_or(0)]);
                let (from, to) = (one.clone(), two.clone());
                let end = Fault::Bandwidth { from, to, bytes_per_ms: None };
                (Fault::Bandwidth { from: one, to: two, bytes_per_ms }, Some(end))
            }
            Kind::Latency => {
                let min_ms = self.small(1, 200);
                let max_ms = min_ms + self.small(0, 300);
                let (min, max) = crate::network::LATENCY_MS;
                let end = Fault::Latency { one: one.clone(), other: two.clone(), min_ms: min, max_ms: max };
                (Fault::Latency { one, other: two, min_ms, max_ms }, Some(end))
            }
            Kind::Chunks => {
                let max_len = Some(self.small(1, 32));
                (Fault::Chunks { node: node.clone(), max_len }, Some(Fault::Chunks { node, max_len: None }))
            }
            Kind::Crash => (Fault::Crash { node }, restart),
            Kind::PowerLoss => (Fault::PowerLoss { node }, restart),
            Kind::Restart => (Fault::Restart { node }, None),
            Kind::Pause => (Fault::Pause { node: node.clone() }, Some(Fault::Resume { node })),
            Kind::Slow => {
                let polls_per_ms = Some(self.small(1, 10));
                let end = Fault::Slow { node: node.clone(), polls_per_ms: None };
                (Fault::Slow { node, polls_per_ms }, Some(end))
            }
            Kind::Shake => {
                let percent = u8::try_from(self.between(5, 60)).unwrap_or(5);
                let end = Fault::Shake { node: node.clone(), percent: 0 };
                (Fault::Shake { node, percent }, Some(end))
            }
            Kind::ClockJump => {
                let far = self.between(1, 7_200_000).cast_signed();
                let by_ms = if self.below(2) == 0 { far } else { -far };
                (Fault::ClockJump { node, by_ms }, None)
            }
            Kind::ClockDrift => {
                let far = i32::try_from(self.between(1, 50_000)).unwrap_or(1);
                let ppm = if self.below(2) == 0 { far } else { -far };
                let end = Fault::ClockDrift { node: node.clone(), ppm: 0 };
                (Fault::ClockDrift { node, ppm }, Some(end))
            }
            Kind::Epmd => (Fault::EpmdDown { node: node.clone() }, Some(Fault::EpmdUp { node })),
            Kind::Twin => (Fault::Twin { node }, None),
            Kind::SlowDisk => {
                let sync_ms = Some(self.small(1, 2000));
                let end = Fault::SlowDisk { node: node.clone(), sync_ms: None };
                (Fault::SlowDisk { node, sync_ms }, Some(end))
            }
            Kind::BadDisk => {
                let begin = Fault::BadDisk { node: node.clone(), fails: true };
                (begin, Some(Fault::BadDisk { node, fails: false }))
            }
        };
        Some((chosen, begin, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [&str; 3] = ["one", "two", "three"];
    const HOSTS: [&str; 4] = ["one", "two", "three", "client"];

    #[test]
    fn a_schedule_is_sorted_and_ends_before_it_is_healed_and_leaves_clients_alone() {
        for seed in 0..500 {
            let (schedule, _) = Swarm::new().draw(seed, &NODES, &HOSTS);
            assert!(schedule.faults.is_sorted_by_key(|timed| timed.at_ms));
            for timed in &schedule.faults {
                assert!(timed.at_ms < schedule.heal_at_ms);
                let text = serde_json::to_value(&timed.fault).unwrap();
                assert_ne!(text.get("node").and_then(|node| node.as_str()), Some("client"), "seed {seed}");
            }
            assert_eq!(schedule, Swarm::new().draw(seed, &NODES, &HOSTS).0);
        }
    }

    #[test]
    fn an_eighth_of_the_seeds_is_calm_and_each_kind_is_in_half_of_the_others() {
        let mut seen = BTreeMap::new();
        let mut calm = 0;
        for seed in 0..2000 {
            let (schedule, drawn) = Swarm::new().draw(seed, &NODES, &HOSTS);
            calm += u32::from(schedule.faults.is_empty());
            for kind in drawn {
                *seen.entry(kind).or_insert(0) += 1;
            }
        }
        assert!((200..300).contains(&calm), "{calm}");
        for kind in Kind::ALL {
            assert!((750..1000).contains(&seen[kind]), "{kind:?}: {}", seen[kind]);
        }
    }

    #[test]
    fn a_kind_that_is_forbidden_leaves_the_others_as_they_were() {
        let of_wires = |schedule: Schedule| -> Vec<_> {
            let faults = schedule.faults.into_iter();
            faults.filter(|timed| matches!(timed.fault, Fault::Cut { .. } | Fault::Latency { .. })).collect()
        };
        for seed in 0..100 {
            let all = of_wires(Swarm::new().draw(seed, &NODES, &HOSTS).0);
            let fewer = Swarm::new().without([Kind::Crash, Kind::Chunks, Kind::Reset]);
            assert_eq!(of_wires(fewer.draw(seed, &NODES, &HOSTS).0), all);
        }
    }

    #[test]
    fn a_minority_of_three_nodes_is_down_at_once() {
        for seed in 0..500 {
            let only = [Kind::Crash, Kind::PowerLoss, Kind::Pause];
            let (schedule, _) = Swarm::new().only(only).draw(seed, &NODES, &HOSTS);
            let mut down = BTreeSet::new();
            for timed in schedule.faults {
                match timed.fault {
                    Fault::Crash { node } | Fault::PowerLoss { node } | Fault::Pause { node } => {
                        assert!(down.insert(node), "seed {seed}");
                    }
                    Fault::Restart { node } | Fault::Resume { node } => assert!(down.remove(&node)),
                    other => panic!("{other:?}"),
                }
                assert!(down.len() <= 1, "seed {seed}: {down:?}");
            }
        }
    }
}
