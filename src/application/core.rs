//! What the application controller knows, and what may be done when: plain data.
//!
//! Source: `application_controller.erl` in kernel.

use std::collections::BTreeMap;

use super::{Application, ApplicationError, StartType};
use crate::process::ExitReason;
use crate::term::Atom;

/// Where an application is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Loaded,
    Starting(StartType),
    Running(StartType),
    Stopping(StartType),
}

/// What the end of an application means for its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was told to.
    AsTold,
    /// It is only reported.
    Alone,
    /// The node ends, too.
    WithNode,
}

/// The loaded applications.
#[derive(Default)]
pub(super) struct Applications {
    loaded: BTreeMap<Atom, (Application, Phase)>,
    /// Those that run, in the order of their start.
    running: Vec<Atom>,
}

impl Applications {
    pub(super) fn load(&mut self, application: Application) -> Result<(), ApplicationError> {
        let name = application.name.clone();
        if self.loaded.contains_key(&name) {
            return Err(ApplicationError::AlreadyLoaded(name));
        }
        self.loaded.insert(name, (application, Phase::Loaded));
        Ok(())
    }

    pub(super) fn unload(&mut self, name: &Atom) -> Result<(), ApplicationError> {
        match self.phase(name)? {
            Phase::Loaded => {
                self.loaded.remove(name);
                Ok(())
            }
            _ => Err(ApplicationError::Running(name.clone())),
        }
    }

    pub(super) fn get(&self, name: &Atom) -> Result<&Application, ApplicationError> {
        match self.loaded.get(name) {
            Some((application, _)) => Ok(application),
            None => Err(ApplicationError::NotLoaded(name.clone())),
        }
    }

    pub(super) fn phase(&self, name: &Atom) -> Result<Phase, ApplicationError> {
        match self.loaded.get(name) {
            Some((_, phase)) => Ok(*phase),
            None => Err(ApplicationError::NotLoaded(name.clone())),
        }
    }

    fn set(&mut self, name: &Atom, to: Phase) {
        if let Some((_, phase)) = self.loaded.get_mut(name) {
            *phase = to;
        }
    }

    /// An application is to be started: all that it depends on must run.
    pub(super) fn start(&mut self, name: &Atom, start_type: StartType) -> Result<(), ApplicationError> {
        match self.phase(name)? {
            Phase::Loaded => {}
            Phase::Starting(_) | Phase::Running(_) => {
                return Err(ApplicationError::AlreadyStarted(name.clone()));
            }
            Phase::Stopping(_) => return Err(ApplicationError::Running(name.clone())),
        }
        let needs = self.get(name)?.depends_on.iter();
        let mut missing = needs.filter(|needed| !matches!(self.phase(needed), Ok(Phase::Running(_))));
        if let Some(missing) = missing.next() {
            return Err(ApplicationError::NotStarted(missing.clone()));
        }
        self.set(name, Phase::Starting(start_type));
        Ok(())
    }

    /// A start has come to its end.
    pub(super) fn started(&mut self, name: &Atom, runs: bool) {
        match self.phase(name) {
            Ok(Phase::Starting(start_type)) if runs => {
                self.set(name, Phase::Running(start_type));
                self.running.push(name.clone());
            }
            Ok(Phase::Starting(_)) => self.set(name, Phase::Loaded),
            _ => {}
        }
    }

    /// An application is to be stopped.
    pub(super) fn stop(&mut self, name: &Atom) -> Result<(), ApplicationError> {
        match self.phase(name) {
            Ok(Phase::Running(start_type)) => {
                self.set(name, Phase::Stopping(start_type));
                Ok(())
            }
            _ => Err(ApplicationError::NotStarted(name.clone())),
        }
    }

    /// An application has ended, for whatever reason.
    pub(super) fn ended(&mut self, name: &Atom, reason: &ExitReason) -> Ended {
        let phase = self.phase(name);
        self.set(name, Phase::Loaded);
        self.running.retain(|running| running != name);
        match phase {
            Ok(Phase::Running(StartType::Permanent)) => Ended::WithNode,
            Ok(Phase::Running(StartType::Transient)) if *reason != ExitReason::Normal => Ended::WithNode,
            Ok(Phase::Running(_)) => Ended::Alone,
            _ => Ended::AsTold,
        }
    }

    /// An application and all that it needs and that does not run, in an order in which each can be started.
    pub(super) fn start_order(&self, name: &Atom) -> Result<Vec<Atom>, ApplicationError> {
        let (mut order, mut path) = (Vec::new(), vec![(name.clone(), 0)]);
        while let Some((name, next)) = path.last_mut() {
            let needed = match self.phase(name)? {
                Phase::Running(_) => None,
                _ => self.get(name)?.depends_on.get(*next).cloned(),
            };
            let Some(needed) = needed else {
                let name = name.clone();
                if !order.contains(&name) && !matches!(self.phase(&name), Ok(Phase::Running(_))) {
                    order.push(name);
                }
                path.pop();
                continue;
            };
            *next += 1;
            if let Some(at) = path.iter().position(|(name, _)| *name == needed) {
                let cycle = path[at..].iter().map(|(name, _)| name.clone()).chain([needed]);
                return Err(ApplicationError::Cycle(cycle.collect()));
            }
            if !order.contains(&needed) {
                path.push((needed, 0));
            }
        }
        Ok(order)
    }

    /// Those that run, the last that was started first.
    pub(super) fn stop_order(&self) -> Vec<Atom> {
        self.running.iter().rev().cloned().collect()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Application, Phase)> {
        self.loaded.values().map(|(application, phase)| (application, *phase))
    }

    pub(super) fn is_starting(&self) -> bool {
        self.loaded.values().any(|(_, phase)| matches!(phase, Phase::Starting(_)))
    }
}
