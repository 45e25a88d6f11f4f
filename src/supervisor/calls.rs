//! The supervisor's calls: `which_children`, `count_children`, `start_child` and the like.

use std::any::Any;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::core::{Key, Status};
use super::simple::Extra;
use super::spec::{ChildSpec, ChildType, Restart};
use super::{ChildEntry, Supervisor, start};
use crate::gen_server::{Context, Server};
use crate::process::{CallError, ExitReason};
use crate::term::{Atom, Pid, Term};

/// A child as `which_children` shows it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ChildInfo {
    /// Its id; the atom `undefined` under `simple_one_for_one`.
    pub id: Term,
    /// Whether it runs.
    pub status: ChildStatus,
    /// What it is.
    pub child_type: ChildType,
    /// The modules that it is made of, as far as others are told.
    pub modules: Term,
}

/// Whether a child runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildStatus {
    /// As this process.
    Running(Pid),
    /// Its last start failed, or waits, and is tried again.
    Restarting,
    /// It does not.
    Undefined,
}

impl ChildStatus {
    /// The pid of a child that runs.
    pub fn pid(&self) -> Option<&Pid> {
        match self {
            Self::Running(pid) => Some(pid),
            Self::Restarting | Self::Undefined => None,
        }
    }
}

/// What `count_children` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ChildCount {
    /// Specifications.
    pub specs: usize,
    /// Children that run.
    pub active: usize,
    /// Supervisors, running or not.
    pub supervisors: usize,
    /// Workers, running or not.
    pub workers: usize,
}

/// Why a supervisor did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// It has no such child.
    #[error("no such child (not_found)")]
    NotFound,
    /// The child runs.
    #[error("the child runs (running)")]
    Running,
    /// The child is about to be restarted.
    #[error("the child is about to be restarted (restarting)")]
    Restarting,
    /// There is a child with this id, which runs.
    #[error("there is a child with this id: {0} (already_started)")]
    AlreadyStarted(Pid),
    /// There is a child with this id, which does not run.
    #[error("there is a child with this id, which does not run (already_present)")]
    AlreadyPresent,
    /// That cannot be asked of a `simple_one_for_one` supervisor, or only with a pid.
    #[error("not of a simple_one_for_one supervisor")]
    SimpleOneForOne,
    /// The child's specification is not taken.
    #[error("the child's specification is not taken: {0}")]
    Spec(Term),
    /// The child did not start.
    #[error("the child did not start: {reason}")]
    Start {
        /// Why not.
        reason: ExitReason,
        /// Its specification, as OTP tells it with a new child.
        child: Option<Term>,
    },
    /// The supervisor did not answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl ChildError {
    fn to_term(&self) -> Term {
        let atom = |text| Term::from(Atom::from_static(text));
        match self {
            Self::NotFound => atom("not_found"),
            Self::Running => atom("running"),
            Self::Restarting => atom("restarting"),
            Self::AlreadyStarted(pid) => Term::tuple([atom("already_started"), pid.clone().into()]),
            Self::AlreadyPresent => atom("already_present"),
            Self::SimpleOneForOne => atom("simple_one_for_one"),
            Self::Spec(what) => what.clone(),
            Self::Start { reason, child: None } => reason.to_term(),
            Self::Start { reason, child: Some(child) } => Term::tuple([reason.to_term(), child.clone()]),
            Self::Call(error) => ExitReason::from(error.clone()).to_term(),
        }
    }
}

/// What a supervisor is called with.
#[doc(hidden)]
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    WhichChildren,
    CountChildren,
    StartChild(Term),
    TerminateChild(Term),
    RestartChild(Term),
    DeleteChild(Term),
    GetChildspec(Term),
    #[serde(skip)]
    StartSpec(Box<ChildSpec>),
    #[serde(skip)]
    StartWith(Box<dyn Any + Send + Sync>),
}

/// What a supervisor answers.
#[doc(hidden)]
pub enum Answer {
    Children(Vec<ChildInfo>),
    Count(ChildCount),
    Started(Result<Option<Pid>, ChildError>),
    Done(Result<(), ChildError>),
    Spec(Result<Term, ChildError>),
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let atom = |text| Term::from(Atom::from_static(text));
        let entry = |key, count: usize| (Atom::from_static(key), count);
        match self {
            Self::Children(children) => {
                let children = children.iter().map(|child| {
                    let pid = match &child.status {
                        ChildStatus::Running(pid) => pid.clone().into(),
                        ChildStatus::Restarting => atom("restarting"),
                        ChildStatus::Undefined => atom("undefined"),
                    };
                    Term::tuple([child.id.clone(), pid, child.child_type.to_term(), child.modules.clone()])
                });
                serializer.collect_seq(children)
            }
            Self::Count(count) => [
                entry("specs", count.specs),
                entry("active", count.active),
                entry("supervisors", count.supervisors),
                entry("workers", count.workers),
            ]
            .as_slice()
            .serialize(serializer),
            Self::Started(started) => started.as_ref().map_err(ChildError::to_term).serialize(serializer),
            Self::Done(done) => done.as_ref().map_err(ChildError::to_term).serialize(serializer),
            Self::Spec(spec) => spec.as_ref().map_err(ChildError::to_term).serialize(serializer),
        }
    }
}

impl Supervisor {
    pub(super) async fn answer(&mut self, ask: Ask, cx: &Context<Self>) -> Answer {
        match ask {
            Ask::WhichChildren => Answer::Children(self.which_children()),
            Ask::CountChildren => Answer::Count(self.count_children(cx)),
            Ask::StartSpec(child) => Answer::Started(self.start_child(*child, cx).await),
            Ask::StartWith(extra) => Answer::Started(self.start_with(Extra::Value(extra), cx).await),
            Ask::StartChild(term) => Answer::Started(self.start_term(term, cx).await),
            Ask::TerminateChild(id) => Answer::Done(self.terminate_child(&id, cx).await),
            Ask::RestartChild(id) => Answer::Started(self.restart_child(&id, cx).await),
            Ask::DeleteChild(id) => Answer::Done(self.delete_child(&id)),
            Ask::GetChildspec(id) => Answer::Spec(self.get_childspec(&id)),
        }
    }

    fn which_children(&self) -> Vec<ChildInfo> {
        // The last that was started comes first.
        let children = self.core.children().rev().map(|(_, child)| ChildInfo {
            id: child.id.clone(),
            status: match &child.status {
                Status::Running(pid) => ChildStatus::Running(pid.clone()),
                Status::Restarting(_) => ChildStatus::Restarting,
                Status::Undefined => ChildStatus::Undefined,
            },
            child_type: child.start.spec.child_type,
            modules: child.start.spec.modules.clone(),
        });
        children.collect()
    }

    fn count_children(&self, cx: &Context<Self>) -> ChildCount {
        let mut count = ChildCount::default();
        for (_, child) in self.core.children() {
            count.specs += 1;
            // One that has ended is not counted, although the supervisor has not heard of it yet.
            if let Status::Running(pid) = &child.status
                && (!cx.local().is_local(&pid.node) || cx.local().process(pid).is_some())
            {
                count.active += 1;
            }
            match child.start.spec.child_type {
                ChildType::Supervisor => count.supervisors += 1,
                ChildType::Worker => count.workers += 1,
            }
        }
        if self.template.is_some() {
            count.specs = 1;
        }
        count
    }

    async fn start_term(&mut self, term: Term, cx: &Context<Self>) -> Result<Option<Pid>, ChildError> {
        if self.template.is_some() {
            let Some(args) = term.as_list() else {
                return Err(ChildError::Spec(Atom::from_static("badarg").into()));
            };
            return self.start_with(Extra::Terms(args.to_vec()), cx).await;
        }
        let child = ChildSpec::from_term(term, &self.exported).map_err(ChildError::Spec)?;
        self.start_child(child, cx).await
    }

    async fn start_with(&mut self, extra: Extra, cx: &Context<Self>) -> Result<Option<Pid>, ChildError> {
        let Some(template) = &self.template else {
            let no_template = Atom::from_static("not_simple_one_for_one");
            return Err(ChildError::Spec(no_template.into()));
        };
        let start = template.make(extra).map_err(ChildError::Spec)?;
        let spec = self.common.clone();
        let started = start::start(cx, &spec, &start).await;
        let pid = started.map_err(|reason| ChildError::Start { reason, child: None })?;
        if pid.is_some() {
            // Who is never restarted needs no arguments any more.
            let start = Some(start).filter(|_| spec.restart != Restart::Temporary);
            let (id, policy) = (spec.id.clone(), spec.policy());
            let key = self.core.add(id, policy, ChildEntry { spec, start });
            self.core.started(key, pid.clone(), cx.world().clock.mono());
        }
        Ok(pid)
    }

    async fn start_child(&mut self, child: ChildSpec, cx: &Context<Self>) -> Result<Option<Pid>, ChildError> {
        if self.template.is_some() {
            return Err(ChildError::SimpleOneForOne);
        }
        child.check(self.core.flags().auto_shutdown).map_err(ChildError::Spec)?;
        if let Some(child) = self.core.find(&child.id).and_then(|key| self.core.child(key)) {
            return Err(match &child.status {
                Status::Running(pid) => ChildError::AlreadyStarted(pid.clone()),
                Status::Restarting(_) | Status::Undefined => ChildError::AlreadyPresent,
            });
        }
        let spec = Arc::new(child);
        let started = start::start(cx, &spec, &spec.start).await;
        let pid = started.map_err(|reason| ChildError::Start { reason, child: Some(spec.to_record()) })?;
        if pid.is_some() || spec.restart != Restart::Temporary {
            let spec = if spec.restart == Restart::Temporary { Arc::new(spec.spent()) } else { spec };
            let (id, policy) = (spec.id.clone(), spec.policy());
            let key = self.core.add(id, policy, ChildEntry { spec, start: None });
            self.core.started(key, pid.clone(), cx.world().clock.mono());
        }
        Ok(pid)
    }

    async fn terminate_child(&mut self, id: &Term, cx: &Context<Self>) -> Result<(), ChildError> {
        let key = match (&self.template, id.as_pid()) {
            (None, _) => self.core.find(id).ok_or(ChildError::NotFound)?,
            (Some(_), None) => return Err(ChildError::SimpleOneForOne),
            (Some(_), Some(pid)) => match self.core.find_pid(pid) {
                Some(key) => key,
                // It has ended, as was wanted.
                None if cx.local().is_local(&pid.node) && cx.local().process(pid).is_none() => return Ok(()),
                None => return Err(ChildError::NotFound),
            },
        };
        match self.core.child(key).map(|child| child.status.clone()) {
            Some(Status::Running(pid)) => self.stop(key, &pid, cx).await,
            _ => self.core.stopped(key),
        }
        Ok(())
    }

    async fn restart_child(&mut self, id: &Term, cx: &Context<Self>) -> Result<Option<Pid>, ChildError> {
        let key = self.idle(id)?;
        self.start(key, cx).await.map_err(|reason| ChildError::Start { reason, child: None })
    }

    fn delete_child(&mut self, id: &Term) -> Result<(), ChildError> {
        let key = self.idle(id)?;
        self.core.remove(key);
        Ok(())
    }

    /// The child of an id, if it does not run.
    fn idle(&self, id: &Term) -> Result<Key, ChildError> {
        if self.template.is_some() {
            return Err(ChildError::SimpleOneForOne);
        }
        let key = self.core.find(id).ok_or(ChildError::NotFound)?;
        match self.core.child(key).map(|child| &child.status) {
            Some(Status::Undefined) => Ok(key),
            Some(Status::Restarting(_)) => Err(ChildError::Restarting),
            Some(Status::Running(_)) => Err(ChildError::Running),
            None => Err(ChildError::NotFound),
        }
    }

    fn get_childspec(&self, id: &Term) -> Result<Term, ChildError> {
        let key = match (&self.template, id.as_pid()) {
            (Some(_), Some(pid)) => self.core.find_pid(pid),
            _ => self.core.find(id),
        };
        let child = key.and_then(|key| self.core.child(key)).ok_or(ChildError::NotFound)?;
        Ok(child.start.spec.to_term())
    }
}

/// OTP's functions of `supervisor`, for one of this node. They wait for as long as it takes, as OTP's do.
impl Server<Supervisor> {
    async fn ask<T>(&self, ask: Ask, unwrap: fn(Answer) -> Option<T>) -> Result<T, CallError> {
        let answer = self.call(ask).infinity().await?;
        // A supervisor answers each question in its own way.
        unwrap(answer).ok_or(CallError::NoProc)
    }

    async fn started(&self, ask: Ask) -> Result<Option<Pid>, ChildError> {
        let started = |answer| match answer {
            Answer::Started(started) => Some(started),
            _ => None,
        };
        self.ask(ask, started).await?
    }

    async fn done(&self, ask: Ask) -> Result<(), ChildError> {
        let done = |answer| match answer {
            Answer::Done(done) => Some(done),
            _ => None,
        };
        self.ask(ask, done).await?
    }

    /// `supervisor:which_children/1`: the last that was started comes first.
    ///
    /// # Errors
    /// If the supervisor has ended.
    pub async fn which_children(&self) -> Result<Vec<ChildInfo>, CallError> {
        let children = |answer| match answer {
            Answer::Children(children) => Some(children),
            _ => None,
        };
        self.ask(Ask::WhichChildren, children).await
    }

    /// `supervisor:count_children/1`.
    ///
    /// # Errors
    /// If the supervisor has ended.
    pub async fn count_children(&self) -> Result<ChildCount, CallError> {
        let count = |answer| match answer {
            Answer::Count(count) => Some(count),
            _ => None,
        };
        self.ask(Ask::CountChildren, count).await
    }

    /// `supervisor:start_child/2`: adds a child behind the others, and starts it. Returns its pid, if it chose to run.
    ///
    /// # Errors
    /// If its id is taken, its specification is not one, or it does not start.
    pub async fn start_child(&self, child: ChildSpec) -> Result<Option<Pid>, ChildError> {
        self.started(Ask::StartSpec(Box::new(child))).await
    }

    /// `supervisor:start_child/2` of a `simple_one_for_one` supervisor: starts a child with an argument of its own, of the type that the
    /// [`Template`](super::Template) takes.
    ///
    /// # Errors
    /// If it does not start, or the argument is of another type.
    pub async fn start_child_with<X: Send + Sync + 'static>(
        &self,
        extra: X,
    ) -> Result<Option<Pid>, ChildError> {
        self.started(Ask::StartWith(Box::new(extra))).await
    }

    /// `supervisor:terminate_child/2`: stops a child, of an id or under `simple_one_for_one` of a pid. It stays known unless it is temporary.
    ///
    /// # Errors
    /// If there is no such child.
    pub async fn terminate_child(&self, id: impl Into<Term>) -> Result<(), ChildError> {
        self.done(Ask::TerminateChild(id.into())).await
    }

    /// `supervisor:restart_child/2`: starts a child that was stopped, or ended and was not restarted.
    ///
    /// # Errors
    /// If there is no such child, it runs already, or does not start.
    pub async fn restart_child(&self, id: impl Into<Term>) -> Result<Option<Pid>, ChildError> {
        self.started(Ask::RestartChild(id.into())).await
    }

    /// `supervisor:delete_child/2`: forgets a child that does not run.
    ///
    /// # Errors
    /// If there is no such child, or it runs.
    pub async fn delete_child(&self, id: impl Into<Term>) -> Result<(), ChildError> {
        self.done(Ask::DeleteChild(id.into())).await
    }

    /// `supervisor:get_childspec/2`: a child's specification as a map, in OTP's form.
    ///
    /// # Errors
    /// If there is no such child.
    pub async fn get_childspec(&self, id: impl Into<Term>) -> Result<Term, ChildError> {
        let spec = |answer| match answer {
            Answer::Spec(spec) => Some(spec),
            _ => None,
        };
        self.ask(Ask::GetChildspec(id.into()), spec).await?
    }
}
