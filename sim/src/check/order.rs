//! Signals between two processes arrive in the order in which they were sent, and over a connection that stands none is lost.
//!
//! Source: *Processes*, "Delivery of Signals", in the Erlang Reference Manual.

use std::collections::{BTreeMap, VecDeque};

use super::lives::{Life, Lives, life_of, node_and_peer, node_of};
use super::{Checker, Violation};
use crate::trace::Event;

/// Each receiver gets the messages and signals of each sender in their order, none twice, and none is missing that was sent over a
/// connection which stood until the next was sent. It reads [`Report::sends`](super::Report::sends) and
/// [`Report::receives`](super::Report::receives).
#[derive(Debug, Default)]
pub struct Order {
    lives: Lives,
    pairs: BTreeMap<(String, String), Pair>,
}

#[derive(Debug, Default)]
struct Pair {
    sender: Option<Life>,
    sent: u64,
    received: u64,
    /// The connections that were lost before a message was sent: 0 as long as there is none.
    losses: u64,
    /// What is not received yet, each with the number of losses before it, or none if there was no connection.
    waiting: VecDeque<(u64, Option<u64>)>,
}

impl Checker for Order {
    fn property(&self) -> &'static str {
        "order"
    }

    fn event(&mut self, event: &Event) -> Result<(), Violation> {
        self.lives.event(event);
        if event.kind == "nodedown"
            && let Some((node, peer)) = node_and_peer(event)
        {
            for ((from, to), pair) in &mut self.pairs {
                if pair.sender.as_ref() == Some(&life_of(event))
                    && node_of(from) == node
                    && node_of(to) == peer
                {
                    pair.losses += 1;
                }
            }
        }
        if event.kind != "send" && event.kind != "receive" {
            return Ok(());
        }
        let fields: Vec<_> = event.detail.split(' ').collect();
        let [from, to, seq] = fields.as_slice() else { return Ok(()) };
        let Ok(seq) = seq.parse::<u64>() else { return Ok(()) };
        let pair = self.pairs.entry(((*from).to_owned(), (*to).to_owned())).or_default();
        let violation = |text: String| Err(Violation::by("order", event, text));
        if event.kind == "send" {
            let life = life_of(event);
            let (node, peer) = (node_of(from), node_of(to));
            let stands = node == peer || self.lives.is_up(&life, node, peer);
            pair.sender = Some(life);
            pair.sent = seq;
            pair.waiting.push_back((seq, stands.then_some(pair.losses)));
            return Ok(());
        }
        if seq > pair.sent {
            return violation(format!("{to} received number {seq} of {from}, which was not sent"));
        }
        if seq == pair.received {
            return violation(format!("{to} received number {seq} of {from} twice"));
        }
        if seq < pair.received {
            return violation(format!("{to} received number {seq} of {from} after number {}", pair.received));
        }
        pair.received = seq;
        let mut missing = Vec::new();
        let mut losses = None;
        while let Some((waiting, before)) = pair.waiting.front().copied()
            && waiting <= seq
        {
            pair.waiting.pop_front();
            if waiting < seq {
                missing.push((waiting, before));
            } else {
                losses = before;
            }
        }
        // Sent over the same connection as the one that arrived, which was behind it.
        let lost = missing.iter().find(|(_, before)| before.is_some() && *before == losses);
        match lost {
            Some((lost, _)) => violation(format!(
                "{to} received number {seq} of {from} and not number {lost}, though the connection stood"
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{holds, violated};
    use super::*;

    const UP: &str = "1 a#1 nodeup n@a 'n@b'\n1 b#1 nodeup n@b n@a\n";
    const THREE: &str = "2 a#1 send s/n@a r/n@b 1\n3 a#1 send s/n@a r/n@b 2\n4 a#1 send s/n@a r/n@b 3\n";

    fn run(rest: &str) -> String {
        format!("{UP}{THREE}{rest}")
    }

    #[test]
    fn what_arrives_in_order_is_as_it_should_be_also_if_the_end_is_missing() {
        holds(Order::default(), &run("5 b#1 receive s/n@a r/n@b 1\n6 b#1 receive s/n@a r/n@b 2"));
        holds(
            Order::default(),
            &run("5 b#1 receive s/n@a r/n@b 1\n5 b#1 receive s/n@a r/n@b 2\n5 b#1 receive s/n@a r/n@b 3"),
        );
    }

    #[test]
    fn what_comes_twice_or_out_of_order_or_was_never_sent_is_found() {
        violated(
            Order::default(),
            &run("5 b#1 receive s/n@a r/n@b 1\n6 b#1 receive s/n@a r/n@b 1"),
            "number 1 of s/n@a twice",
        );
        // Also if the connection was lost between.
        violated(
            Order::default(),
            &run(
                "5 b#1 receive s/n@a r/n@b 1\n5 b#1 receive s/n@a r/n@b 2\n6 a#1 nodedown n@a n@b\n7 a#1 nodeup n@a n@b\n8 b#1 receive s/n@a r/n@b 1",
            ),
            "number 1 of s/n@a after number 2",
        );
        violated(Order::default(), &run("5 b#1 receive s/n@a r/n@b 4"), "was not sent");
    }

    #[test]
    fn a_gap_needs_a_connection_that_was_lost_before_the_next_was_sent() {
        violated(
            Order::default(),
            &run("5 b#1 receive s/n@a r/n@b 1\n6 b#1 receive s/n@a r/n@b 3"),
            "and not number 2",
        );
        let lost = "5 b#1 receive s/n@a r/n@b 1\n6 a#1 nodedown n@a n@b\n7 a#1 nodeup n@a n@b\n8 a#1 send s/n@a r/n@b 4\n";
        holds(Order::default(), &run(&format!("{lost}9 b#1 receive s/n@a r/n@b 4")));
        // Number 3 went over the connection that was lost, so 2 was before it.
        violated(
            Order::default(),
            &run(&format!("{lost}9 b#1 receive s/n@a r/n@b 3\n9 b#1 receive s/n@a r/n@b 4")),
            "and not number 2",
        );
        // Another node's connection is no excuse.
        violated(
            Order::default(),
            &run("5 a#1 nodedown n@a n@c\n6 a#1 send s/n@a r/n@b 4\n7 b#1 receive s/n@a r/n@b 4"),
            "and not number 1",
        );
    }

    #[test]
    fn what_is_sent_without_a_connection_may_be_lost_with_the_attempt_to_make_one() {
        holds(
            Order::default(),
            "1 a#1 send s/n@a r/n@b 1\n2 a#1 nodeup n@a n@b\n3 a#1 send s/n@a r/n@b 2\n4 b#1 receive s/n@a r/n@b 2",
        );
        // On one node nothing is lost.
        violated(
            Order::default(),
            "1 a#1 send s/n@a r/n@a 1\n3 a#1 send s/n@a r/n@a 2\n4 a#1 receive s/n@a r/n@a 2",
            "and not number 1",
        );
    }
}
