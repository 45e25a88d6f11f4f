//! Which children are started and stopped when one ends: OTP's rules, as data.
//!
//! The driver tells what happened, then takes one [`Step`] after the other with [`Core::next`] and reports what became of it, until
//! there is none. It learns of nothing else meanwhile, as OTP's supervisor does.
//!
//! Source: `supervisor.erl` in stdlib, `restart_child/3` and what it calls.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::spec::{AutoShutdown, Backoff, Flags, Restart, Strategy};
use crate::process::ExitReason;
use crate::term::{Pid, Term};
use crate::world::Mono;

/// Names a child: those that were added later have greater ones.
pub(crate) type Key = u64;

/// What is to be done next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Start the child, then call [`Core::started`].
    Start(Key),
    /// Stop the child and wait for its end, then call [`Core::stopped`].
    Stop(Key, Pid),
    /// Call [`Core::try_again`] after what has arrived meanwhile, and not before so long.
    TryAgain(Key, Option<Duration>),
    /// The supervisor ends with reason `shutdown`.
    Shutdown(Cause),
}

/// Why a supervisor ends of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// More restarts than its intensity within its period.
    MaxIntensity(Key),
    /// The end of significant children.
    AutoShutdown,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Status {
    /// It does not run, and nothing will change that by itself.
    Undefined,
    /// Its last start failed, or it waits for the next; the pid that it last had.
    Restarting(Option<Pid>),
    Running(Pid),
}

/// What the rules know of a child.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Policy {
    pub(crate) restart: Restart,
    pub(crate) significant: bool,
    pub(crate) backoff: Option<Backoff>,
}

/// A child, with what starts it.
#[derive(Debug)]
pub(crate) struct Child<S> {
    /// `undefined` under `simple_one_for_one`.
    pub(crate) id: Term,
    pub(crate) policy: Policy,
    pub(crate) status: Status,
    pub(crate) start: S,
    /// Since when it runs, and how many starts in a row were put off.
    since: Mono,
    attempts: u32,
}

/// A supervisor's children, and the restarts that count.
#[derive(Debug)]
pub(crate) struct Core<S> {
    flags: Flags,
    // In the order of their start.
    children: BTreeMap<Key, Child<S>>,
    by_id: HashMap<Term, Key>,
    by_pid: HashMap<Pid, Key>,
    next_key: Key,
    /// When the last restarts were, in whole seconds.
    restarts: VecDeque<u64>,
    plan: VecDeque<Step>,
}

impl<S> Core<S> {
    pub(crate) fn new(flags: Flags) -> Self {
        Self {
            flags,
            children: BTreeMap::new(),
            by_id: HashMap::new(),
            by_pid: HashMap::new(),
            next_key: 0,
            restarts: VecDeque::new(),
            plan: VecDeque::new(),
        }
    }

    pub(crate) fn flags(&self) -> &Flags {
        &self.flags
    }

    fn is_simple(&self) -> bool {
        self.flags.strategy == Strategy::SimpleOneForOne
    }

    /// Adds a child that does not run yet. Its id must be new.
    pub(crate) fn add(&mut self, id: Term, policy: Policy, start: S) -> Key {
        let key = self.next_key;
        self.next_key += 1;
        if !self.is_simple() {
            self.by_id.insert(id.clone(), key);
        }
        let child =
            Child { id, policy, status: Status::Undefined, start, since: Mono::default(), attempts: 0 };
        self.children.insert(key, child);
        key
    }

    pub(crate) fn child(&self, key: Key) -> Option<&Child<S>> {
        self.children.get(&key)
    }

    pub(crate) fn find(&self, id: &Term) -> Option<Key> {
        self.by_id.get(id).copied()
    }

    /// The running child of a pid, or under `simple_one_for_one` one that is to be restarted and last had it.
    pub(crate) fn find_pid(&self, pid: &Pid) -> Option<Key> {
        self.by_pid.get(pid).copied()
    }

    /// All children, in the order of their start.
    pub(crate) fn children(&self) -> impl DoubleEndedIterator<Item = (Key, &Child<S>)> {
        self.children.iter().map(|(key, child)| (*key, child))
    }

    /// The children from first to last are to be started.
    pub(crate) fn start_all(&mut self) {
        self.plan.extend(self.children.keys().map(|key| Step::Start(*key)));
    }

    /// The children from last to first are to be stopped, whatever was planned.
    pub(crate) fn stop_all(&mut self) {
        self.plan.clear();
        self.plan_stops(0);
    }

    pub(crate) fn next(&mut self) -> Option<Step> {
        self.plan.pop_front()
    }

    /// A child runs now; without a pid it chose not to.
    pub(crate) fn started(&mut self, key: Key, pid: Option<Pid>, now: Mono) {
        let Some(child) = self.children.get_mut(&key) else { return };
        child.since = now;
        if pid.is_none() && child.policy.restart == Restart::Temporary {
            self.remove(key);
            return;
        }
        self.set_status(key, pid.map_or(Status::Undefined, Status::Running));
    }

    /// A start that the rules asked for failed: it is tried again.
    pub(crate) fn start_failed(&mut self, key: Key) {
        // Those behind it are started with it.
        self.plan.clear();
        let Some(child) = self.children.get(&key) else { return };
        let last = match &child.status {
            Status::Running(pid) => Some(pid.clone()),
            Status::Restarting(last) => last.clone(),
            Status::Undefined => None,
        };
        self.set_status(key, Status::Restarting(last));
        self.plan_try_again(key);
    }

    /// A child was stopped, and is to stay so until it is started.
    pub(crate) fn stopped(&mut self, key: Key) {
        self.delete(key);
    }

    /// A process has ended. Returns which child it was.
    pub(crate) fn exited(&mut self, pid: &Pid, reason: &ExitReason, now: Mono) -> Option<Key> {
        let key = self.find_pid(pid)?;
        let child = self.children.get_mut(&key)?;
        if !matches!(child.status, Status::Running(_)) {
            return None;
        }
        let Policy { restart, significant, backoff } = child.policy;
        let again = match restart {
            Restart::Permanent => true,
            Restart::Transient => !reason.is_orderly(),
            Restart::Temporary => false,
        };
        if !again {
            self.delete(key);
            if self.shuts_down(significant) {
                self.plan.push_back(Step::Shutdown(Cause::AutoShutdown));
            }
        } else if let Some(backoff) = backoff {
            // One that ran for long is not one that fails again and again.
            if now.since(child.since) > backoff.max {
                child.attempts = 0;
            }
            self.set_status(key, Status::Restarting(Some(pid.clone())));
            self.plan_try_again(key);
        } else {
            self.restart(key, now);
        }
        Some(key)
    }

    /// What [`Step::TryAgain`] asked for.
    pub(crate) fn try_again(&mut self, key: Key, now: Mono) {
        if matches!(self.children.get(&key), Some(Child { status: Status::Restarting(_), .. })) {
            self.restart(key, now);
        }
    }

    /// Forgets a child that does not run: `supervisor:delete_child/2`.
    pub(crate) fn remove(&mut self, key: Key) {
        if let Some(child) = self.children.remove(&key) {
            self.by_id.remove(&child.id);
            self.forget_pid(&child.status, key);
        }
    }

    /// A child that ended, or was stopped, for good.
    fn delete(&mut self, key: Key) {
        let Some(child) = self.children.get(&key) else { return };
        if self.is_simple() || child.policy.restart == Restart::Temporary {
            self.remove(key);
        } else {
            self.set_status(key, Status::Undefined);
        }
    }

    fn set_status(&mut self, key: Key, status: Status) {
        let simple = self.is_simple();
        let Some(child) = self.children.get_mut(&key) else { return };
        let last = std::mem::replace(&mut child.status, status.clone());
        self.forget_pid(&last, key);
        match status {
            Status::Running(pid) => self.by_pid.insert(pid, key),
            Status::Restarting(Some(pid)) if simple => self.by_pid.insert(pid, key),
            Status::Restarting(_) | Status::Undefined => None,
        };
    }

    fn forget_pid(&mut self, status: &Status, key: Key) {
        if let Status::Running(pid) | Status::Restarting(Some(pid)) = status
            && self.by_pid.get(pid) == Some(&key)
        {
            self.by_pid.remove(pid);
        }
    }

    /// Whether the end of a child ends the supervisor.
    fn shuts_down(&self, significant: bool) -> bool {
        match self.flags.auto_shutdown {
            _ if !significant => false,
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => !self
                .children
                .values()
                .any(|child| child.policy.significant && child.status != Status::Undefined),
        }
    }

    fn restart(&mut self, key: Key, now: Mono) {
        if self.counts_too_many(now) {
            self.delete(key);
            self.plan.push_back(Step::Shutdown(Cause::MaxIntensity(key)));
            return;
        }
        match self.flags.strategy {
            Strategy::OneForOne | Strategy::SimpleOneForOne => {
                self.plan.push_back(Step::Start(key));
            }
            Strategy::OneForAll => self.restart_from(key, 0),
            Strategy::RestForOne => self.restart_from(key, key),
        }
    }

    /// Those that were started from `first` on are stopped, and started again with `failed`.
    fn restart_from(&mut self, failed: Key, first: Key) {
        self.set_status(failed, Status::Undefined);
        self.plan_stops(first);
        let again = self.children.range(first..);
        let again = again.filter(|(_, child)| child.policy.restart != Restart::Temporary);
        self.plan.extend(again.map(|(key, _)| Step::Start(*key)));
    }

    fn plan_stops(&mut self, first: Key) {
        let running = self.children.range(first..).rev().filter_map(|(key, child)| match &child.status {
            Status::Running(pid) => Some(Step::Stop(*key, pid.clone())),
            Status::Restarting(_) | Status::Undefined => None,
        });
        self.plan.extend(running);
        // Those that wait for their next start do not any more.
        let waiting = self.children.range(first..);
        let waiting = waiting.filter(|(_, child)| matches!(child.status, Status::Restarting(_)));
        for key in waiting.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.set_status(key, Status::Undefined);
        }
    }

    fn plan_try_again(&mut self, key: Key) {
        let Some(child) = self.children.get_mut(&key) else { return };
        let delay = child.policy.backoff.map(|backoff| {
            let delay = backoff.min.saturating_mul(1 << child.attempts.min(31)).min(backoff.max);
            child.attempts += 1;
            delay
        });
        self.plan.push_back(Step::TryAgain(key, delay));
    }

    /// Counts a restart. Returns whether there were more within the period than may be.
    fn counts_too_many(&mut self, now: Mono) -> bool {
        // As in OTP, in whole seconds and with both ends.
        let now = now.0 / 1_000_000_000;
        let first = now.saturating_sub(self.flags.period_seconds());
        while self.restarts.front().is_some_and(|restart| *restart < first) {
            self.restarts.pop_front();
        }
        self.restarts.push_back(now);
        self.restarts.len() > self.flags.intensity as usize
    }
}
