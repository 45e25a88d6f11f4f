//! What a process inherits from the one that spawned it: group leader, application, environment, ancestors.
//!
//! It is shared by all that one process spawns, so that it costs each of them a pointer; and by all that the node itself starts,
//! which costs them nothing more.
//!
//! Source: `group_leader/0` in *erlang*, `application:get_env/1` in *kernel*, and `$ancestors` in stdlib's `proc_lib.erl`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Shared;
use crate::term::{Atom, Pid, Term};

/// Each generation adds itself to the ancestors. Of a family that is older than this the eldest are forgotten.
const ANCESTORS_MAX: usize = 32;

/// What the processes inherit that one process spawns.
#[derive(Debug, Clone)]
pub(crate) struct Heritage {
    pub(crate) group_leader: Pid,
    pub(crate) application: Option<Atom>,
    /// What the node, the application and the processes above have set, the later over the earlier.
    pub(crate) env: Arc<BTreeMap<Atom, Term>>,
    /// The parent, its parent, and so on: the name of each that had one, or else its pid.
    pub(crate) ancestors: Vec<Term>,
}

impl Heritage {
    /// What a node gives to the processes that it starts.
    pub(crate) fn of_node(group_leader: Pid) -> Self {
        Self { group_leader, application: None, env: Arc::default(), ancestors: Vec::new() }
    }

    /// Sets a variable, over what is inherited.
    pub(crate) fn set_env(&mut self, key: Atom, value: Term) {
        Arc::make_mut(&mut self.env).insert(key, value);
    }
}

impl Shared {
    /// What the process has inherited.
    pub(crate) fn heritage(&self) -> Arc<Heritage> {
        let own = self.state().heritage.clone();
        own.unwrap_or_else(|| self.local.heritage())
    }

    /// What the processes inherit that this one spawns.
    pub(crate) fn childrens_heritage(&self) -> Arc<Heritage> {
        let mut state = self.state();
        if let Some(heritage) = state.rare.as_ref().and_then(|rare| rare.childrens_heritage.clone()) {
            return heritage;
        }
        let own = state.heritage.clone().unwrap_or_else(|| self.local.heritage());
        let name = state.rare.as_ref().and_then(|rare| rare.name.clone());
        let this = name.map_or_else(|| Term::from(self.pid.clone()), Term::from);
        let ancestors = [this].into_iter().chain(own.ancestors.iter().cloned()).take(ANCESTORS_MAX).collect();
        let heritage = Arc::new(Heritage { ancestors, ..(*own).clone() });
        state.rare().childrens_heritage = Some(heritage.clone());
        heritage
    }

    /// `group_leader/2`: those that it spawns from now on have the new leader, too.
    pub(super) fn set_group_leader(&self, leader: Pid) {
        let mut state = self.state();
        let heritage = state.heritage.get_or_insert_with(|| self.local.heritage());
        Arc::make_mut(heritage).group_leader = leader;
        state.forget_childrens_heritage();
    }
}

impl super::State {
    /// It is made anew, with what has changed, for the next process that is spawned.
    pub(super) fn forget_childrens_heritage(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.childrens_heritage = None;
        }
    }
}
