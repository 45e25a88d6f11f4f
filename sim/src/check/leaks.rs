//! What came goes again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lives::{Life, Lives, life_of};
use super::{Checker, Verdict, Violation};
use crate::trace::Event;

/// There is no more of anything in the end than there was [before](super::Report::usage_before), in each host's last life, and no more
/// connections are open than may be.
#[derive(Debug, Default)]
pub struct Leaks {
    lives: Lives,
    before: BTreeMap<(Life, String), usize>,
    after: BTreeMap<(Life, String), usize>,
    sockets_max: Option<i64>,
    sockets: BTreeMap<Life, i64>,
    at: Duration,
}

impl Leaks {
    /// How many connections each host may have open in the end; both ends of one within the host count.
    pub fn sockets(mut self, max: u32) -> Self {
        self.sockets_max = Some(max.into());
        self
    }
}

impl Checker for Leaks {
    fn property(&self) -> &'static str {
        "leaks"
    }

    fn event(&mut self, event: &Event) -> Result<(), Violation> {
        self.at = event.at;
        self.lives.event(event);
        let usage = match event.kind.as_str() {
            "usage_before" => &mut self.before,
            "usage_after" => &mut self.after,
            "connected" | "accepted" => {
                *self.sockets.entry(life_of(event)).or_default() += 1;
                return Ok(());
            }
            "closed" => {
                *self.sockets.entry(life_of(event)).or_default() -= 1;
                return Ok(());
            }
            _ => return Ok(()),
        };
        if let Some((what, count)) = event.detail.rsplit_once(' ')
            && let Ok(count) = count.parse()
        {
            usage.insert((life_of(event), what.to_owned()), count);
        }
        Ok(())
    }

    fn finish(&mut self) -> Verdict {
        let leak = self.after.iter().find(|(key, after)| {
            self.lives.is_current(&key.0) && self.before.get(*key).is_none_or(|before| before < *after)
        });
        let sockets = self.sockets.iter().find(|(life, open)| {
            self.lives.is_current(life) && self.sockets_max.is_some_and(|max| **open > max)
        });
        if let Some(((host, _), open)) = sockets {
            let text = format!("{host} has {open} connections open in the end");
            return Verdict::Violated(Violation::at_end("leaks", self.at, text));
        }
        let violation = leak.map(|((life, what), after)| {
            let before = self.before.get(&(life.clone(), what.clone())).copied().unwrap_or_default();
            let text = format!("{} had {before} {what} at first and has {after} in the end", life.0);
            let mut violation = Violation::at_end("leaks", self.at, text);
            violation.node = Some(life.0.clone());
            violation
        });
        violation.into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{holds, violated};
    use super::*;

    #[test]
    fn what_has_become_more_is_found() {
        let before = "0 a#1 boot\n1 a#1 usage_before processes 5\n1 a#1 usage_before sockets 1\n";
        let after = |processes, sockets| {
            format!("{before}9 a#1 usage_after processes {processes}\n9 a#1 usage_after sockets {sockets}")
        };
        holds(Leaks::default(), &after(5, 0));
        violated(Leaks::default(), &after(6, 1), "a had 5 processes at first and has 6");
        violated(Leaks::default(), &after(5, 2), "a had 1 sockets at first and has 2");
        holds(Leaks::default(), &format!("{}\n10 a#2 boot", after(6, 1)));
        violated(Leaks::default(), "9 a#1 usage_after timers 1", "had 0 timers");
    }

    #[test]
    fn connections_that_stay_open_are_found() {
        let leaks = || Leaks::default().sockets(1);
        let two = "0 a#1 boot\n1 a#1 connected 1 a:1 b:1\n2 a#1 accepted 2 a:2 b:2\n";
        violated(leaks(), two, "a has 2 connections open");
        holds(leaks(), &format!("{two}3 a#1 closed 1 b eof"));
        holds(leaks(), &format!("{two}3 a#2 boot"));
        holds(Leaks::default(), two);
    }
}
