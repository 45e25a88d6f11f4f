//! What a supervisor is told: its flags, and the specifications of its children.

use std::any::type_name;
use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use super::core::Policy;
use super::start::{Parent, StartFn, StartedChild};
use super::{Supervisor, Template};
use crate::gen_server::{GenServer, StartError};
use crate::process::ExitReason;
use crate::term::{Atom, Term};
use crate::world::BoxFuture;

/// Which other children are restarted with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    OneForOne,
    OneForAll,
    RestForOne,
    SimpleOneForOne,
}

/// When a child is restarted after its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// Unless its reason was `normal`, `shutdown` or `{shutdown, _}`.
    Transient,
    /// Never; its specification goes with it.
    Temporary,
}

/// How a child is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// With `kill`, at once.
    BrutalKill,
    /// With `shutdown`, and with `kill` if it has not ended in time.
    Timeout(Duration),
    /// With `shutdown`, however long it takes: for supervisors, whose own children have their limits.
    Infinity,
}

/// Whether a supervisor ends with its significant children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AutoShutdown {
    /// It does not.
    #[default]
    Never,
    /// With the first that ends by itself and is not restarted.
    AnySignificant,
    /// With the last one.
    AllSignificant,
}

/// What a child is, for those who look at the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildType {
    /// A process that does the work.
    Worker,
    /// A supervisor.
    Supervisor,
}

/// How long the restart of a child is put off: an extension, off by default. The wait doubles from `min` to `max` with every
/// start that is put off, and begins anew with a child that ran for longer than `max`; half of it is left to chance, so that children which fell
/// together do not rise together. A child that waits shows as `restarting`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Before the first restart.
    pub min: Duration,
    /// Before any later one.
    pub max: Duration,
}

#[derive(Debug, Clone)]
pub(crate) struct Flags {
    pub(crate) strategy: Strategy,
    pub(crate) intensity: u32,
    pub(crate) period: Duration,
    pub(crate) auto_shutdown: AutoShutdown,
}

impl Flags {
    pub(crate) fn new(strategy: Strategy) -> Self {
        let (intensity, period) = (1, Duration::from_secs(5));
        Self { strategy, intensity, period, auto_shutdown: AutoShutdown::Never }
    }

    /// OTP counts in whole seconds.
    pub(crate) fn period_seconds(&self) -> u64 {
        self.period.as_secs() + u64::from(self.period.subsec_nanos() > 0)
    }
}

/// A supervisor's flags and children, what OTP's `init/1` returns. Plain data: starting a supervisor again starts from a clone of it.
#[derive(Clone)]
#[must_use = "a specification does nothing until a supervisor is started with it"]
pub struct SupervisorSpec {
    pub(crate) flags: Flags,
    pub(crate) children: Vec<ChildSpec>,
    pub(crate) template: Option<Template>,
    pub(crate) exported: Vec<Exported>,
}

/// A start function that Erlang may name in a child's specification.
#[derive(Clone)]
pub(crate) struct Exported {
    pub(crate) module: Atom,
    pub(crate) function: Atom,
    pub(crate) start: ExportedFn,
}

pub(crate) type ExportedFn =
    Arc<dyn Fn(&Parent, Vec<Term>) -> BoxFuture<'static, StartedChild> + Send + Sync>;

impl SupervisorSpec {
    fn new(strategy: Strategy) -> Self {
        Self { flags: Flags::new(strategy), children: Vec::new(), template: None, exported: Vec::new() }
    }

    /// A child that ends is restarted, and no other.
    pub fn one_for_one() -> Self {
        Self::new(Strategy::OneForOne)
    }

    /// With a child that ends all others are stopped, and all are started again.
    pub fn one_for_all() -> Self {
        Self::new(Strategy::OneForAll)
    }

    /// With a child that ends those started after it are stopped, and all of these are started again.
    pub fn rest_for_one() -> Self {
        Self::new(Strategy::RestForOne)
    }

    /// Children of one kind, all started by [`start_child_with`](crate::gen_server::Server::start_child_with) with an argument of their own.
    pub fn simple_one_for_one(template: Template) -> Self {
        Self { template: Some(template), ..Self::new(Strategy::SimpleOneForOne) }
    }

    /// How many restarts there may be within a period, counted in whole seconds: with one more the supervisor stops its children and ends
    /// with `shutdown`. 1 within 5 seconds by default.
    pub fn intensity(mut self, restarts: u32, period: Duration) -> Self {
        self.flags.intensity = restarts;
        self.flags.period = period;
        self
    }

    /// Whether the supervisor ends with its significant children; never by default.
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.flags.auto_shutdown = auto_shutdown;
        self
    }

    /// Adds a child. They are started in this order, and stopped in reverse.
    pub fn child(mut self, child: ChildSpec) -> Self {
        self.children.push(child);
        self
    }

    /// Lets `supervisor:start_child/2` of an Erlang node start children by naming `{module, function, Args}`; a child of any other is refused as one
    /// whose function is undefined.
    pub fn export<I, T>(
        mut self,
        module: impl Into<Atom>,
        function: impl Into<Atom>,
        start: impl Fn(&Parent, Vec<Term>) -> I + Send + Sync + 'static,
    ) -> Self
    where
        I: IntoFuture<Output = Result<T, StartError>, IntoFuture: Send + 'static>,
        T: Into<StartedPid>,
    {
        let start = Arc::new(move |parent: &Parent, args: Vec<Term>| boxed(start(parent, args)));
        self.exported.push(Exported { module: module.into(), function: function.into(), start });
        self
    }

    /// Looks for what OTP refuses.
    ///
    /// # Errors
    /// `{start_spec, What}`, where OTP says which child it is and what is wrong.
    pub(crate) fn check(&self) -> Result<(), ExitReason> {
        let refuse = |what: Term| {
            let start_spec = Atom::from_static("start_spec").into();
            Err(ExitReason::Term(Term::tuple([start_spec, what])))
        };
        let mut ids = std::collections::BTreeSet::new();
        for child in &self.children {
            if let Err(what) = child.check(self.flags.auto_shutdown) {
                return refuse(what);
            }
            if !ids.insert(&child.id) {
                let duplicate = Atom::from_static("duplicate_child_name").into();
                return refuse(Term::tuple([duplicate, child.id.clone()]));
            }
        }
        match &self.template {
            Some(template) => template.spec.check(self.flags.auto_shutdown).or_else(refuse),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for SupervisorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorSpec")
            .field("flags", &self.flags)
            .field("children", &self.children)
            .finish_non_exhaustive()
    }
}

/// The pid of a child that was started, or none if it chose not to run (`ignore`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartedPid(pub(crate) Option<crate::term::Pid>);

impl<S: GenServer> From<crate::gen_server::Server<S>> for StartedPid {
    fn from(server: crate::gen_server::Server<S>) -> Self {
        Self(Some(server.pid().clone()))
    }
}

impl From<crate::term::Pid> for StartedPid {
    fn from(pid: crate::term::Pid) -> Self {
        Self(Some(pid))
    }
}

impl From<Option<crate::term::Pid>> for StartedPid {
    fn from(pid: Option<crate::term::Pid>) -> Self {
        Self(pid)
    }
}

/// How a child is started, restarted and stopped.
#[derive(Clone)]
#[must_use = "a specification does nothing until a supervisor has it"]
pub struct ChildSpec {
    pub(crate) id: Term,
    pub(crate) name: Option<Atom>,
    pub(crate) start: StartFn,
    /// `{Module, Function, Args}`, as far as others are told.
    pub(crate) mfa: Term,
    pub(crate) modules: Term,
    pub(crate) restart: Restart,
    pub(crate) significant: bool,
    pub(crate) shutdown: Shutdown,
    pub(crate) child_type: ChildType,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) start_timeout: Option<Duration>,
}

impl ChildSpec {
    /// A server that is started with a clone of `args`. A permanent worker, stopped within 5 seconds, unless it is said otherwise.
    pub fn worker<S: GenServer<Args: Clone + Sync>>(id: impl Into<Atom>, args: S::Args) -> Self {
        let id = Term::from(id.into());
        let start = move |parent: &Parent| boxed(parent.start_link::<S>(args.clone()));
        Self::of(id, Arc::new(start), type_name::<S>())
    }

    /// A supervisor, permanent, stopped however long its children take.
    pub fn supervisor(id: impl Into<Atom>, spec: SupervisorSpec) -> Self {
        let id = Term::from(id.into());
        let start = move |parent: &Parent| boxed(parent.start_link::<Supervisor>(spec.clone()));
        Self {
            shutdown: Shutdown::Infinity,
            child_type: ChildType::Supervisor,
            ..Self::of(id, Arc::new(start), type_name::<Supervisor>())
        }
    }

    /// A child with a start function of its own. What it starts must be linked to the supervisor, as [`Parent::start_link`] and
    /// [`Parent::spawn_link`] do.
    ///
    /// ```
    /// use beamline::supervisor::ChildSpec;
    /// # use beamline::{process::ExitReason, term::Pid, gen_server::StartError};
    ///
    /// let child = ChildSpec::new("logger", |parent| {
    ///     let pid = parent.spawn_link(|mut cx| async move {
    ///         loop {
    ///             println!("{}", cx.receive().await);
    ///         }
    ///     });
    ///     async move { Ok(pid?) }
    /// });
    /// # let _ = child;
    /// ```
    pub fn new<I, T>(id: impl Into<Atom>, start: impl Fn(&Parent) -> I + Send + Sync + 'static) -> Self
    where
        I: IntoFuture<Output = Result<T, StartError>, IntoFuture: Send + 'static>,
        T: Into<StartedPid>,
    {
        let start = move |parent: &Parent| boxed(start(parent));
        Self::of(id.into().into(), Arc::new(start), "rust")
    }

    /// What a supervisor without a template has in its place.
    pub(super) fn none() -> Self {
        Self::of(Atom::from_static("undefined").into(), Arc::new(|_| Box::pin(async { Ok(None) })), "rust")
    }

    pub(super) fn of(id: Term, start: StartFn, module: &str) -> Self {
        let module = Term::from(Atom::new(module).unwrap_or(Atom::from_static("rust")));
        let start_link = Atom::from_static("start_link").into();
        Self {
            id,
            name: None,
            start,
            mfa: Term::tuple([module.clone(), start_link, Term::list([])]),
            modules: Term::list([module]),
            restart: Restart::Permanent,
            significant: false,
            shutdown: Shutdown::Timeout(Duration::from_secs(5)),
            child_type: ChildType::Worker,
            backoff: None,
            start_timeout: None,
        }
    }

    /// The name that the child is registered under, in each of its lives.
    pub fn name(mut self, name: impl Into<Atom>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Another id, which may be any term.
    pub fn id(mut self, id: impl Into<Term>) -> Self {
        self.id = id.into();
        self
    }

    /// When it is restarted; always by default.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// How it is stopped.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// Whether its end may end the supervisor: see [`AutoShutdown`]. Of a permanent child, or where that is never, it is refused.
    pub fn significant(mut self, significant: bool) -> Self {
        self.significant = significant;
        self
    }

    /// Puts its restarts off.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.backoff = Some(Backoff { min, max });
        self
    }

    /// How long its `init` may take; for ever by default, as in OTP, and its supervisor does nothing else meanwhile.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = Some(timeout);
        self
    }

    /// As it is kept of a temporary child that runs: it is not started again, and what it was started with is let go.
    pub(super) fn spent(&self) -> Self {
        let undefined = || Term::from(Atom::from_static("undefined"));
        let mfa = match self.mfa.as_tuple() {
            Some([module, function, _]) => Term::tuple([module.clone(), function.clone(), undefined()]),
            _ => undefined(),
        };
        Self { mfa, start: Self::none().start, ..self.clone() }
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy { restart: self.restart, significant: self.significant, backoff: self.backoff }
    }

    /// # Errors
    /// What OTP says of a specification that it does not take.
    pub(crate) fn check(&self, auto_shutdown: AutoShutdown) -> Result<(), Term> {
        let pair = |key, value| Term::tuple([Term::from(Atom::from_static(key)), value]);
        let significant = pair("significant", true.into());
        let atom = |text| Term::from(Atom::from_static(text));
        let other = match (self.significant, auto_shutdown, self.restart) {
            (true, AutoShutdown::Never, _) => pair("auto_shutdown", atom("never")),
            (true, _, Restart::Permanent) => pair("restart", atom("permanent")),
            _ => return Ok(()),
        };
        Err(Term::tuple([atom("bad_combination"), Term::list([other, significant])]))
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("id", &self.id)
            .field("restart", &self.restart)
            .field("shutdown", &self.shutdown)
            .finish_non_exhaustive()
    }
}

/// Any start, as a supervisor waits for it.
pub(crate) fn boxed<I, T>(start: I) -> BoxFuture<'static, StartedChild>
where
    I: IntoFuture<Output = Result<T, StartError>, IntoFuture: Send + 'static>,
    T: Into<StartedPid>,
{
    let start = start.into_future();
    Box::pin(async move {
        match start.await {
            Ok(started) => Ok(started.into().0),
            Err(error) => Err(error.to_exit_reason()),
        }
    })
}
