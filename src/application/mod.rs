//! OTP's `application`: trees of processes that are loaded, started and stopped by name, in the order of their dependencies.
//!
//! ```no_run
//! use beamline::application::{Application, StartType};
//! use beamline::node::Node;
//! use beamline::supervisor::{ChildSpec, SupervisorSpec};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::builder("shop@127.0.0.1").cookie("secret").start().await?;
//! let tree = SupervisorSpec::one_for_one();
//! node.load_application(Application::new("metrics")).await?;
//! node.load_application(
//!     Application::new("shop").depends_on("metrics").root(ChildSpec::supervisor("shop_sup", tree).name("shop_sup")),
//! )
//! .await?;
//! node.ensure_all_started("shop", StartType::Permanent).await?;
//! // Stops the applications, the last one first, and then the node, when the future is ready or a permanent application has ended.
//! node.run_until(std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Each application has a master, which is the group leader of all its processes: it hands their output on, and what is left of them when the
//! application stops is killed. The application controller, registered as `application_controller`, answers Erlang's `which_applications` and the like; it
//! starts and stops applications for other nodes only where [`Application::remote_start`] lets it.
//!
//! When a node [stops](Node::stop), its applications stop first, in reverse order of their start, all within
//! [`Builder::shutdown_timeout`](crate::node::Builder::shutdown_timeout).
//!
//! | callback of OTP's `application` | here |
//! |---|---|
//! | `start/2` | [`Application::root`] |
//! | `start_phase/3` | [`Application::start_phase`] |
//! | `prep_stop/1`, `stop/1` | [`Application::prep_stop`], [`Application::stop`] |
//! | `config_change/3`, included and distributed applications | none |
//!
//! Source: *Applications* in OTP's Design Principles; `application`, `application_controller.erl` and `application_master.erl` in kernel.

mod controller;
mod core;
mod error;
mod master;
mod spec;

use crate::gen_server::{GenServer, Server, StartError};
use crate::node::Node;
use crate::process::ExitReason;
use crate::term::{Atom, Term};

pub use self::error::{ApplicationError, Terminated};
pub use self::spec::{Application, StartType};

use self::controller::{Answer, Ask, Controller, NAME};

impl StartType {
    fn to_term(self) -> Term {
        Term::from(Atom::from_static(match self {
            Self::Permanent => "permanent",
            Self::Transient => "transient",
            Self::Temporary => "temporary",
        }))
    }
}

impl Node {
    /// The node's controller, which is started for the first application.
    async fn applications(&self) -> Result<Server<Controller>, ApplicationError> {
        if let Some(controller) = Server::named(self, NAME.as_str()) {
            return Ok(controller);
        }
        match Controller::start(self, self.stopper()).name(NAME).await {
            Ok(controller) => {
                let stops = controller.clone();
                self.before_stop(move || {
                    let stops = stops.clone();
                    Box::pin(async move {
                        // One that has ended has nothing left to stop.
                        let _ = stops.call(Ask::StopAll).infinity().await;
                    })
                });
                Ok(controller)
            }
            // Somebody else did at the same time.
            Err(StartError::AlreadyStarted(pid)) => {
                Server::of(self, &pid).ok_or(ApplicationError::Call(crate::process::CallError::NoProc))
            }
            Err(_) => Err(ApplicationError::Call(crate::process::CallError::SystemLimit)),
        }
    }

    async fn ask_applications(&self, ask: Ask) -> Result<Answer, ApplicationError> {
        Ok(self.applications().await?.call(ask).infinity().await?)
    }

    async fn do_applications(&self, ask: Ask) -> Result<(), ApplicationError> {
        match self.ask_applications(ask).await? {
            Answer::Done(done) => done,
            _ => Ok(()),
        }
    }

    /// `application:load/1`: makes an application known to the node.
    ///
    /// # Errors
    /// If there is one of its name.
    pub async fn load_application(&self, application: Application) -> Result<(), ApplicationError> {
        self.do_applications(Ask::Load(Box::new(application))).await
    }

    /// Lets other nodes [load](Node::load_application_on) an application, and start it if that is [allowed](Application::remote_start), too.
    ///
    /// # Errors
    /// If the controller has ended.
    pub async fn offer_application(&self, application: Application) -> Result<(), ApplicationError> {
        self.do_applications(Ask::Offer(Box::new(application))).await
    }

    /// Loads an application of another node, Erlang's or one that [offers](Node::offer_application) it.
    ///
    /// # Errors
    /// If the other node cannot be reached, has no such application, or has loaded it already.
    pub async fn load_application_on(
        &self,
        node: impl Into<Atom>,
        name: impl Into<Atom>,
    ) -> Result<(), ApplicationError> {
        self.ask_remote(node.into(), (Atom::from_static("load_application"), name.into())).await
    }

    /// `application:unload/1`.
    ///
    /// # Errors
    /// If there is none of that name, or it runs.
    pub async fn unload_application(&self, name: impl Into<Atom>) -> Result<(), ApplicationError> {
        self.do_applications(Ask::Unload(name.into())).await
    }

    /// `application:start/2`: waits until the application's root has started, and its start phases have run.
    ///
    /// # Errors
    /// If one that it depends on does not run, it runs already, or does not start.
    pub async fn start_application(
        &self,
        name: impl Into<Atom>,
        start_type: StartType,
    ) -> Result<(), ApplicationError> {
        self.do_applications(Ask::Start(name.into(), start_type)).await
    }

    /// `application:ensure_all_started/2`: starts what the application depends on, and then itself. Returns what was started, in that order.
    ///
    /// # Errors
    /// If they depend on each other in a circle, one is not loaded, or one does not start; those before it run then.
    pub async fn ensure_all_started(
        &self,
        name: impl Into<Atom>,
        start_type: StartType,
    ) -> Result<Vec<Atom>, ApplicationError> {
        let Answer::Order(order) = self.ask_applications(Ask::StartOrder(name.into())).await? else {
            return Ok(Vec::new());
        };
        let mut started = Vec::new();
        for name in order? {
            match self.start_application(name.clone(), start_type).await {
                Ok(()) => started.push(name),
                // Somebody else did meanwhile.
                Err(ApplicationError::AlreadyStarted(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(started)
    }

    /// `application:stop/1`: waits until the application has stopped.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn stop_application(&self, name: impl Into<Atom>) -> Result<(), ApplicationError> {
        self.do_applications(Ask::Stop(name.into())).await
    }

    /// `application:which_applications/0`: `(name, description, version)` of those that run, the last that was started first.
    ///
    /// # Errors
    /// If the controller has ended.
    pub async fn which_applications(&self) -> Result<Vec<(Atom, String, String)>, ApplicationError> {
        match self.ask_applications(Ask::WhichApplications).await? {
            Answer::Which(which) => Ok(which),
            _ => Ok(Vec::new()),
        }
    }

    /// Starts an application of another node, Erlang's or one that [allows](Application::remote_start) it.
    ///
    /// # Errors
    /// If the other node cannot be reached, does not allow it, or the application does not start.
    pub async fn start_application_on(
        &self,
        node: impl Into<Atom>,
        name: impl Into<Atom>,
        start_type: StartType,
    ) -> Result<(), ApplicationError> {
        let request = (Atom::from_static("start_application"), name.into(), start_type);
        self.ask_remote(node.into(), request).await
    }

    /// Stops an application of another node, Erlang's or one that [allows](Application::remote_start) it.
    ///
    /// # Errors
    /// As [`Node::start_application_on`].
    pub async fn stop_application_on(
        &self,
        node: impl Into<Atom>,
        name: impl Into<Atom>,
    ) -> Result<(), ApplicationError> {
        self.ask_remote(node.into(), (Atom::from_static("stop_application"), name.into())).await
    }

    async fn ask_remote<Q>(&self, node: Atom, request: Q) -> Result<(), ApplicationError>
    where
        Q: serde::Serialize + Send + Sync + 'static,
    {
        let answer: Result<(), Term> = self.call((NAME, node), request).infinity().await?;
        answer.map_err(ApplicationError::Remote)
    }

    /// Waits until `signal` is ready, or the node stops by itself because a permanent application has ended; then stops the applications and the
    /// node, in order.
    ///
    /// # Errors
    /// If it stopped by itself.
    pub async fn run_until(self, signal: impl Future<Output = ()>) -> Result<(), Terminated> {
        let why = tokio::select! {
            biased;
            why = self.stopped() => why,
            () = signal => ExitReason::Normal,
        };
        self.stop().await;
        if why == ExitReason::Normal { Ok(()) } else { Err(Terminated(why)) }
    }

    /// [`Node::run_until`] the program is told to end, by SIGINT or SIGTERM.
    ///
    /// # Errors
    /// As [`Node::run_until`]; also if the signals cannot be waited for.
    #[cfg(feature = "signal")]
    pub async fn run(self) -> Result<(), Terminated> {
        match crate::world::terminate_signal() {
            Ok(signal) => self.run_until(signal).await,
            Err(error) => Err(Terminated(error.into())),
        }
    }
}

#[cfg(test)]
mod tests;
