//! The link protocol, against a model: whatever crosses on the way, the two ends agree in the end.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::apply::apply_all;
use super::super::relations::Relations;
use super::super::{Relation, Signal};
use super::*;

/// Two ends and what is on the way between them, in order, as over a connection.
struct Pair {
    pids: [Pid; 2],
    ends: [Relations; 2],
    wire: [VecDeque<Wire>; 2],
}

enum Wire {
    Link,
    Unlink(u64),
    Ack(u64),
}

impl Pair {
    fn new() -> Self {
        let pid = |id| Pid { node: Atom::from_static("n@h"), id, serial: 0, creation: 4 };
        Self { pids: [pid(1), pid(2)], ends: Default::default(), wire: Default::default() }
    }

    fn link(&mut self, end: usize) {
        if self.ends[end].link(&self.pids[1 - end]) {
            self.wire[end].push_back(Wire::Link);
        }
    }

    fn unlink(&mut self, end: usize) {
        if let Some(id) = self.ends[end].unlink(&self.pids[1 - end]) {
            self.wire[end].push_back(Wire::Unlink(id));
        }
    }

    /// Delivers the oldest signal that `end` sent.
    fn deliver(&mut self, end: usize) -> bool {
        let (other, from) = (1 - end, self.pids[end].clone());
        match self.wire[end].pop_front() {
            None => return false,
            Some(Wire::Link) => self.ends[other].link_received(from, None),
            Some(Wire::Unlink(id)) => {
                self.wire[other].push_back(Wire::Ack(id));
                self.ends[other].unlink_received(&from);
            }
            Some(Wire::Ack(id)) => self.ends[other].unlink_acknowledged(&from, id),
        }
        true
    }

    fn is_linked(&mut self, end: usize) -> bool {
        let other = self.pids[1 - end].clone();
        let linked = self.ends[end].link_exited(&other);
        if linked {
            self.ends[end].link_received(other, None);
        }
        linked
    }
}

proptest! {
    #[test]
    fn two_ends_agree_on_their_link_once_all_signals_have_arrived(
        steps in prop::collection::vec((0..3u8, 0..2usize), 0..40),
    ) {
        let mut pair = Pair::new();
        for (step, end) in steps {
            match step {
                0 => pair.link(end),
                1 => pair.unlink(end),
                _ => {
                    pair.deliver(end);
                }
            }
        }
        while pair.deliver(0) || pair.deliver(1) {}
        prop_assert_eq!(pair.is_linked(0), pair.is_linked(1));
    }
}

#[test]
fn link_unlink_link_in_a_row_leaves_a_link() {
    let mut pair = Pair::new();
    pair.link(0);
    pair.unlink(0);
    pair.link(0);
    while pair.deliver(0) || pair.deliver(1) {}
    assert!(pair.is_linked(0) && pair.is_linked(1), "a late acknowledgement does not end the new link");
}

#[tokio::test(start_paused = true)]
async fn what_waits_with_relations_keeps_its_order_also_where_one_of_them_ends_the_process() {
    let process = spawn(&local(), SpawnOptions::default(), |cx: Context<Term>| async move {
        let _cx = cx;
        std::future::pending().await
    });
    let process = process.expect("there is room");
    let message = |n: i64| Signal::Message(Term::from(n));
    let relation = |reason| {
        let from = process.pid().clone();
        Signal::Relation(Box::new(Relation::LinkExit { from, reason }))
    };
    let kill = || {
        let from = process.pid().clone();
        Signal::Relation(Box::new(Relation::Exit { from, reason: ExitReason::Kill }))
    };
    let left = |signals: VecDeque<Signal<Term>>| -> Vec<Term> {
        let terms = signals.into_iter().map(|signal| match signal {
            Signal::Message(term) => term,
            _ => Term::atom("relation"),
        });
        terms.collect()
    };
    // From somebody who is not linked: it says nothing.
    let mut signals = VecDeque::from([
        message(1),
        message(2),
        relation(ExitReason::Normal),
        message(3),
        relation(ExitReason::Kill),
    ]);
    assert_eq!(apply_all(&process.shared, &mut signals, 2), None);
    assert_eq!(left(signals), [1, 2, 3].map(Term::from));
    let mut signals = VecDeque::from([message(1), message(2), kill(), message(3), message(4), message(5)]);
    assert_eq!(apply_all(&process.shared, &mut signals, 1), Some(ExitReason::Killed));
    assert_eq!(left(signals), [1, 2, 3, 4, 5].map(Term::from), "none of them is lost or overtaken");
}
