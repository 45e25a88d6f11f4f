//! The application controller: one process a node, registered as `application_controller`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::core::{Applications, Ended, Phase};
use super::master::{Master, Outcome, stop_cell};
use super::{Application, ApplicationError, StartType};
use crate::gen_server::{Context, GenServer, Reply, ReplyTo, Server};
use crate::node::Stopper;
use crate::process::{ExitReason, Giver, reply_cell};
use crate::term::{Atom, Pid, Term};

pub(super) const NAME: Atom = Atom::from_static("application_controller");

/// What the controller is called with; those that come as terms are OTP's.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ask {
    WhichApplications,
    Info,
    IsRunning(Atom),
    StartApplication(Atom, StartType),
    StopApplication(Atom),
    LoadApplication(Term),
    #[serde(skip)]
    Load(Box<Application>),
    #[serde(skip)]
    Offer(Box<Application>),
    #[serde(skip)]
    Unload(Atom),
    #[serde(skip)]
    StartOrder(Atom),
    #[serde(skip)]
    Start(Atom, StartType),
    #[serde(skip)]
    Stop(Atom),
    #[serde(skip)]
    StopAll,
}

pub(super) enum Answer {
    Done(Result<(), ApplicationError>),
    /// `{Name, Description, Vsn}` of those that run.
    Which(Vec<(Atom, String, String)>),
    Order(Result<Vec<Atom>, ApplicationError>),
    Term(Term),
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Done(done) => done.as_ref().map_err(ApplicationError::to_term).serialize(serializer),
            Self::Order(order) => order.as_ref().map_err(ApplicationError::to_term).serialize(serializer),
            Self::Which(which) => which.iter().map(of_three).collect::<Vec<_>>().serialize(serializer),
            Self::Term(term) => term.serialize(serializer),
        }
    }
}

fn of_three((name, description, vsn): &(Atom, String, String)) -> Term {
    Term::tuple([name.clone().into(), Term::charlist(description), Term::charlist(vsn)])
}

#[derive(Deserialize)]
pub(super) enum Info {
    #[serde(rename = "EXIT")]
    Exit(Pid, ExitReason),
    #[serde(skip)]
    Started(Atom, Outcome),
}

/// An application that is being started, runs or is being stopped.
struct Life {
    master: Pid,
    /// Until it is told to stop.
    stop: Option<Giver<()>>,
    starters: Vec<ReplyTo<Answer>>,
    stoppers: Vec<ReplyTo<Answer>>,
    /// Why its master ended, if it did before it was known how the start went.
    ended: Option<ExitReason>,
}

pub(super) struct Controller {
    applications: Applications,
    /// What another node may load.
    offered: BTreeMap<Atom, Application>,
    lives: BTreeMap<Atom, Life>,
    node: Stopper,
    /// Who waits until none runs any more.
    shutdown: Vec<ReplyTo<Answer>>,
}

impl GenServer for Controller {
    type Args = Stopper;
    type Call = Ask;
    type Reply = Answer;
    type Cast = Term;
    type Info = Info;

    async fn init(node: Stopper, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.trap_exit(true);
        Ok(Self {
            applications: Applications::default(),
            offered: BTreeMap::new(),
            lives: BTreeMap::new(),
            node,
            shutdown: Vec::new(),
        })
    }

    async fn handle_call(
        &mut self,
        ask: Ask,
        from: ReplyTo<Answer>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        let answer = match ask {
            Ask::WhichApplications => Answer::Which(self.which()),
            Ask::Info => Answer::Term(self.info()),
            Ask::IsRunning(name) => {
                let runs = matches!(self.applications.phase(&name), Ok(Phase::Running(_)));
                Answer::Term(Term::from(runs))
            }
            Ask::LoadApplication(term) => Answer::Done(self.load_term(&term)),
            Ask::Load(application) => Answer::Done(self.applications.load(*application)),
            Ask::Offer(application) => {
                self.offered.insert(application.name.clone(), *application);
                Answer::Done(Ok(()))
            }
            Ask::Unload(name) => Answer::Done(self.applications.unload(&name)),
            Ask::StartOrder(name) => Answer::Order(self.applications.start_order(&name)),
            Ask::StartApplication(name, start_type) => match self.allowed(&name) {
                Ok(()) => return Ok(self.start(&name, start_type, from, cx).await),
                Err(error) => Answer::Done(Err(error)),
            },
            Ask::StopApplication(name) => match self.allowed(&name) {
                Ok(()) => return Ok(self.stop(&name, from)),
                Err(error) => Answer::Done(Err(error)),
            },
            Ask::Start(name, start_type) => return Ok(self.start(&name, start_type, from, cx).await),
            Ask::Stop(name) => return Ok(self.stop(&name, from)),
            Ask::StopAll => {
                self.shutdown.push(from);
                self.go_on_stopping(cx);
                return Ok(Reply::Later);
            }
        };
        Ok(from.reply(answer))
    }

    async fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match info {
            Info::Started(name, outcome) => {
                self.applications.started(&name, outcome.is_ok());
                let Some(life) = self.lives.get_mut(&name) else { return Ok(()) };
                let (ended, master) = (life.ended.take(), life.master.clone());
                for from in life.starters.drain(..) {
                    let outcome = outcome.clone();
                    let outcome =
                        outcome.map_err(|reason| ApplicationError::Start { name: name.clone(), reason });
                    from.reply(Answer::Done(outcome));
                }
                if outcome.is_err() {
                    self.lives.remove(&name);
                } else if let Some(reason) = ended {
                    self.exited(&master, &reason, cx);
                }
                if !self.shutdown.is_empty() {
                    self.go_on_stopping(cx);
                }
            }
            Info::Exit(pid, reason) => self.exited(&pid, &reason, cx),
        }
        Ok(())
    }

    fn state(&self) -> Term {
        self.info()
    }
}

impl Controller {
    fn which(&self) -> Vec<(Atom, String, String)> {
        let running = self.applications.stop_order().into_iter();
        let running = running.filter_map(|name| self.applications.get(&name).ok());
        running.map(|it| (it.name.clone(), it.description.clone(), it.vsn.clone())).collect()
    }

    /// As OTP's `application_controller:info/0`.
    fn info(&self) -> Term {
        let atom = |text| Term::from(Atom::from_static(text));
        let entry = |key, value| Term::tuple([atom(key), Term::list(value)]);
        let loaded = self
            .applications
            .all()
            .map(|(it, _)| of_three(&(it.name.clone(), it.description.clone(), it.vsn.clone())));
        let typed = |wanted: fn(Phase) -> Option<StartType>| {
            let all = self.applications.all();
            let all = all.filter_map(|(it, phase)| Some((it.name.clone(), wanted(phase)?)));
            all.map(|(name, start_type)| Term::tuple([name.into(), start_type.to_term()])).collect()
        };
        let started: Vec<Term> = typed(|phase| match phase {
            Phase::Running(start_type) | Phase::Stopping(start_type) => Some(start_type),
            _ => None,
        });
        let starting: Vec<Term> = typed(|phase| match phase {
            Phase::Starting(start_type) => Some(start_type),
            _ => None,
        });
        let running = self.applications.stop_order().into_iter().filter_map(|name| {
            let master = self.lives.get(&name)?.master.clone();
            Some(Term::tuple([name.into(), master.into()]))
        });
        Term::list([
            entry("loaded", loaded.collect()),
            entry("loading", Vec::new()),
            entry("started", started),
            entry("start_p_false", Vec::new()),
            entry("running", running.collect()),
            entry("starting", starting),
        ])
    }

    /// Another node can load what this one offers, by its name.
    fn load_term(&mut self, term: &Term) -> Result<(), ApplicationError> {
        let Some(name) = term.as_atom() else {
            let bad_application = Term::from(Atom::from_static("bad_application"));
            return Err(ApplicationError::Remote(Term::tuple([bad_application, term.clone()])));
        };
        match self.offered.get(name) {
            Some(offered) => self.applications.load(offered.clone()),
            None => {
                self.applications.get(name)?;
                Err(ApplicationError::AlreadyLoaded(name.clone()))
            }
        }
    }

    /// Whether a request in Erlang's form may start or stop it: whoever sends one may be on another node.
    fn allowed(&self, name: &Atom) -> Result<(), ApplicationError> {
        if self.applications.get(name)?.remote_start {
            return Ok(());
        }
        Err(ApplicationError::NotAllowed(name.clone()))
    }

    async fn start(
        &mut self,
        name: &Atom,
        start_type: StartType,
        from: ReplyTo<Answer>,
        cx: &mut Context<Self>,
    ) -> Reply {
        // Who asks for the same waits for the same.
        if matches!(self.applications.phase(name), Ok(Phase::Starting(_)))
            && let Some(life) = self.lives.get_mut(name)
        {
            life.starters.push(from);
            return Reply::Later;
        }
        if let Err(error) = self.applications.start(name, start_type) {
            return from.reply(Answer::Done(Err(error)));
        }
        let Ok(application) = self.applications.get(name).cloned() else { return Reply::Later };
        let (started, outcome) = reply_cell();
        let (stop, stopped) = stop_cell();
        let env = application.env.clone();
        let master = cx.start_link::<Master>((application, started, stopped)).application(name, env).await;
        let master = match master {
            Ok(master) => master,
            Err(error) => {
                self.applications.started(name, false);
                let reason = error.to_exit_reason();
                let error = ApplicationError::Start { name: name.clone(), reason };
                return from.reply(Answer::Done(Err(error)));
            }
        };
        let (this, told): (Server<Self>, _) = (cx.server(), name.clone());
        cx.task(async move {
            // Without an outcome something has ended who would have told.
            let outcome = outcome.await.unwrap_or(Err(ExitReason::Killed));
            // The controller ends with its node only.
            let _ = this.send(Info::Started(told, outcome));
        });
        let (starters, stoppers) = (vec![from], Vec::new());
        let life = Life { master: master.pid().clone(), stop: Some(stop), starters, stoppers, ended: None };
        self.lives.insert(name.clone(), life);
        Reply::Later
    }

    fn stop(&mut self, name: &Atom, from: ReplyTo<Answer>) -> Reply {
        // Who asks for the same waits for the same.
        let stopping = matches!(self.applications.phase(name), Ok(Phase::Stopping(_)));
        match self.applications.stop(name) {
            Err(error) if !stopping => from.reply(Answer::Done(Err(error))),
            _ => match self.lives.get_mut(name) {
                Some(life) => {
                    life.stoppers.push(from);
                    drop(life.stop.take());
                    Reply::Later
                }
                None => from.reply(Answer::Done(Ok(()))),
            },
        }
    }

    fn exited(&mut self, pid: &Pid, reason: &ExitReason, cx: &Context<Self>) {
        let found = self.lives.iter().find(|(_, life)| life.master == *pid).map(|(name, _)| name.clone());
        let Some(name) = found else { return };
        // What became of the start is on its way, and comes first.
        if matches!(self.applications.phase(&name), Ok(Phase::Starting(_)))
            && let Some(life) = self.lives.get_mut(&name)
        {
            life.ended = Some(reason.clone());
            return;
        }
        let Some(life) = self.lives.remove(&name) else { return };
        let ended = self.applications.ended(&name, reason);
        for from in life.stoppers {
            from.reply(Answer::Done(Ok(())));
        }
        if ended != Ended::AsTold {
            tracing::error!(target: "beamline::application", application = %name, exited = %reason, node_ends = ended == Ended::WithNode, "application exited");
        } else {
            tracing::debug!(target: "beamline::application", application = %name, "application stopped");
        }
        if ended == Ended::WithNode {
            let terminated = Atom::from_static("application_terminated").into();
            let why = Term::tuple([terminated, name.into(), reason.to_term()]);
            self.node.stop(ExitReason::Term(why));
        }
        if !self.shutdown.is_empty() {
            self.go_on_stopping(cx);
        }
    }

    /// Stops the one that was started last of those that run, and so on until there is none.
    fn go_on_stopping(&mut self, cx: &Context<Self>) {
        let stopping = self.applications.all().any(|(_, phase)| matches!(phase, Phase::Stopping(_)));
        if stopping {
            return;
        }
        if let Some(last) = self.applications.stop_order().first() {
            // It runs: it is in the list of those.
            let _ = self.applications.stop(last);
            if let Some(life) = self.lives.get_mut(last) {
                drop(life.stop.take());
            }
            return;
        }
        if self.applications.is_starting() {
            // What does not run yet is not waited for.
            for life in self.lives.values() {
                super::master::kill_group(cx.local(), &life.master);
                cx.exit(&life.master, ExitReason::Kill);
            }
            return;
        }
        for from in self.shutdown.drain(..) {
            from.reply(Answer::Done(Ok(())));
        }
    }
}
