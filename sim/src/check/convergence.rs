//! Once the cluster has come to rest, all see the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::lives::{Life, Lives, life_of};
use super::{Checker, Verdict, Violation};
use crate::trace::Event;

/// All observers have the same last [view](super::Report::view) of a subject, in the life that their host lives last, and each name that is
/// [held](super::Report::holds) has one holder.
#[derive(Debug, Default)]
pub struct Convergence {
    lives: Lives,
    views: BTreeMap<String, BTreeMap<(Life, String), String>>,
    holders: BTreeMap<String, BTreeSet<(Life, String)>>,
    at: Duration,
}

impl Checker for Convergence {
    fn property(&self) -> &'static str {
        "convergence"
    }

    fn event(&mut self, event: &Event) -> Result<(), Violation> {
        self.at = event.at;
        self.lives.event(event);
        let mut fields = event.detail.splitn(3, ' ');
        let mut field = || fields.next().unwrap_or_default().to_owned();
        match event.kind.as_str() {
            "view" => {
                let (subject, observer, value) = (field(), field(), field());
                self.views.entry(subject).or_default().insert((life_of(event), observer), value);
            }
            "hold" => {
                let (name, holder) = (field(), field());
                self.holders.entry(name).or_default().insert((life_of(event), holder));
            }
            "release" => {
                let (name, holder) = (field(), field());
                if let Some(holders) = self.holders.get_mut(&name) {
                    holders.remove(&(life_of(event), holder));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> Verdict {
        for (subject, views) in &self.views {
            let mut views = views.iter().filter(|((life, _), _)| self.lives.is_current(life));
            let Some(((_, one), first)) = views.next() else { continue };
            if let Some(((_, other), second)) = views.find(|(_, value)| *value != first) {
                let text = format!("{one} and {other} do not see the same of {subject}");
                let details = [format!("{one}: {first}"), format!("{other}: {second}")];
                return Verdict::Violated(Violation::at_end("convergence", self.at, text).with(details));
            }
        }
        for (name, holders) in &self.holders {
            let holders: Vec<_> = holders.iter().filter(|(life, _)| self.lives.is_current(life)).collect();
            if let [(_, one), (_, other), ..] = holders.as_slice() {
                let text = format!("{name} is held by {one} and by {other}");
                return Verdict::Violated(Violation::at_end("convergence", self.at, text));
            }
        }
        Verdict::Holds
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{holds, violated};
    use super::*;

    #[test]
    fn the_last_views_count_and_only_those_of_hosts_that_live() {
        holds(
            Convergence::default(),
            "0 a#1 boot\n0 b#1 boot\n1 a#1 view g n@a x\n1 b#1 view g n@b x y\n2 a#1 view g n@a x y",
        );
        holds(
            Convergence::default(),
            "1 a#1 view g n@a x\n2 a#2 boot\n3 a#2 view g n@a y\n3 b#1 view g n@b y",
        );
        violated(
            Convergence::default(),
            "1 a#1 view g n@a x\n1 b#1 view g n@b x\n2 b#1 view g n@b x y",
            "n@a and n@b do not see the same of g",
        );
    }

    #[test]
    fn a_name_has_one_holder() {
        holds(Convergence::default(), "1 a#1 hold x p\n2 a#1 release x p\n3 b#1 hold x q\n3 a#1 hold y p");
        holds(Convergence::default(), "1 a#1 hold x p\n2 b#1 hold x q\n3 a#2 boot");
        violated(Convergence::default(), "1 a#1 hold x p\n2 b#1 hold x q", "x is held by p and by q");
    }
}
