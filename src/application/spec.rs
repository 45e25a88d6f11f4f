//! What an application is: OTP's resource file and callback module in one.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::process::ExitReason;
use crate::supervisor::ChildSpec;
use crate::term::{Atom, Term};
use crate::world::BoxFuture;

/// What the end of an application means for its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartType {
    /// The node stops with it, whatever the reason.
    Permanent,
    /// The node stops with it unless the reason is `normal`.
    Transient,
    /// It is only reported.
    #[default]
    Temporary,
}

type Callback = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;
type StartPhase = Arc<dyn Fn() -> BoxFuture<'static, Result<(), ExitReason>> + Send + Sync>;

/// An application: a tree of processes that is started and stopped as one.
///
/// ```
/// use beamline::application::Application;
/// use beamline::supervisor::{ChildSpec, SupervisorSpec};
///
/// let shop = Application::new("shop")
///     .description("sells things")
///     .vsn("1.2.0")
///     .depends_on("metrics")
///     .env("currency", "eur")
///     .root(ChildSpec::supervisor("shop_sup", SupervisorSpec::one_for_one()).name("shop_sup"));
/// # let _ = shop;
/// ```
#[derive(Clone)]
#[must_use = "an application does nothing until a node has loaded and started it"]
pub struct Application {
    pub(super) name: Atom,
    pub(super) description: String,
    pub(super) vsn: String,
    pub(super) depends_on: Vec<Atom>,
    pub(super) env: Vec<(Atom, Term)>,
    pub(super) root: Option<ChildSpec>,
    pub(super) start_phases: Vec<(Atom, StartPhase)>,
    pub(super) prep_stop: Option<Callback>,
    pub(super) stop: Option<Callback>,
    pub(super) remote_start: bool,
}

impl Application {
    /// An application without processes: a library, or one that other applications depend on.
    pub fn new(name: impl Into<Atom>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            vsn: String::new(),
            depends_on: Vec::new(),
            env: Vec::new(),
            root: None,
            start_phases: Vec::new(),
            prep_stop: None,
            stop: None,
            remote_start: false,
        }
    }

    /// Its name.
    pub fn name(&self) -> &Atom {
        &self.name
    }

    /// One line on what it is.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Its version.
    pub fn vsn(mut self, vsn: impl Into<String>) -> Self {
        self.vsn = vsn.into();
        self
    }

    /// Another application that must run before this one starts.
    pub fn depends_on(mut self, application: impl Into<Atom>) -> Self {
        self.depends_on.push(application.into());
        self
    }

    /// A variable that its processes find with [`Context::env`](crate::process::Context::env), over the node's.
    pub fn env(mut self, key: impl Into<Atom>, value: impl Into<Term>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// What starts its processes: the supervisor on top of its tree. The application ends with it.
    pub fn root(mut self, root: ChildSpec) -> Self {
        self.root = Some(root);
        self
    }

    /// `start_phase/3`: what is done once the root has started, one after the other. An error stops the application again.
    pub fn start_phase<F>(
        mut self,
        phase: impl Into<Atom>,
        run: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), ExitReason>> + Send + 'static,
    {
        self.start_phases.push((phase.into(), Arc::new(move || Box::pin(run()))));
        self
    }

    /// `prep_stop/1`: what is done before the root is stopped.
    pub fn prep_stop<F>(mut self, run: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.prep_stop = Some(Arc::new(move || Box::pin(run())));
        self
    }

    /// `stop/1`: what is done after the root has ended, for whatever reason.
    pub fn stop<F>(mut self, run: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.stop = Some(Arc::new(move || Box::pin(run())));
        self
    }

    /// Whether other nodes may start and stop it; they may not by default.
    pub fn remote_start(mut self, allowed: bool) -> Self {
        self.remote_start = allowed;
        self
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application")
            .field("name", &self.name)
            .field("vsn", &self.vsn)
            .field("depends_on", &self.depends_on)
            .finish_non_exhaustive()
    }
}
