//! Children of one kind, `simple_one_for_one`: each is started with an argument of its own.

use std::any::{Any, type_name};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::spec::{Backoff, ChildSpec, ChildType, Restart, Shutdown, boxed};
use super::start::{Parent, StartFn};
use crate::etf::Payload;
use crate::gen_server::GenServer;
use crate::term::{Atom, Term};

/// What the children of a `simple_one_for_one` supervisor have in common.
///
/// ```
/// use beamline::supervisor::{Restart, SupervisorSpec, Template};
/// # use beamline::prelude::*;
/// # struct Basket;
/// # impl GenServer for Basket { type Args = (String, u64); type Call = Term; type Reply = Term; type Cast = Term; type Info = Term;
/// #     async fn init(_: (String, u64), _: &mut Context<Self>) -> Result<Self, ExitReason> { Ok(Self) }
/// #     async fn handle_call(&mut self, c: Term, from: ReplyTo<Term>, _: &mut Context<Self>) -> Result<Reply, ExitReason> { Ok(from.reply(c)) } }
///
/// // `start_child_with(42_u64)` from Rust, `supervisor:start_child(baskets, [42])` from Erlang.
/// let baskets = Template::worker::<Basket, u64>(|user| ("eur".to_owned(), user)).restart(Restart::Temporary);
/// let baskets = SupervisorSpec::simple_one_for_one(baskets);
/// # let _ = baskets;
/// ```
#[derive(Clone)]
#[must_use = "a template does nothing until a supervisor has it"]
pub struct Template {
    pub(crate) spec: ChildSpec,
    make: Arc<dyn Fn(Extra) -> Result<StartFn, Term> + Send + Sync>,
}

/// What one child is started with.
pub(crate) enum Extra {
    /// As it was given on this node.
    Value(Box<dyn Any + Send + Sync>),
    /// As Erlang gives it: more arguments.
    Terms(Vec<Term>),
}

impl Extra {
    fn take<X: DeserializeOwned + 'static>(self) -> Result<X, Term> {
        let bad = |why: String| Term::tuple([Atom::from_static("bad_start_args").into(), Term::from(why)]);
        match self {
            Self::Value(value) => match value.downcast::<X>() {
                Ok(value) => Ok(*value),
                Err(_) => {
                    Err(bad(format!("the supervisor's children are started with {}", type_name::<X>())))
                }
            },
            Self::Terms(mut terms) => {
                let term = if terms.len() == 1 { terms.remove(0) } else { Term::tuple(terms) };
                let decoded = Payload::encode(&term).map_err(|error| bad(error.to_string()))?.decode();
                decoded.map_err(|error| bad(error.to_string()))
            }
        }
    }
}

impl Template {
    /// Servers that are started with what `args` makes of each one's own argument. Erlang gives that argument in a list, or several as the elements
    /// of a tuple.
    pub fn worker<S, X>(args: impl Fn(X) -> S::Args + Send + Sync + 'static) -> Self
    where
        S: GenServer,
        X: DeserializeOwned + Clone + Send + Sync + 'static,
    {
        let args = Arc::new(args);
        let make = move |extra: Extra| {
            let (extra, args) = (extra.take::<X>()?, args.clone());
            let start: StartFn =
                Arc::new(move |parent: &Parent| boxed(parent.start_link::<S>(args(extra.clone()))));
            Ok(start)
        };
        // What starts them is made for each.
        let none: StartFn = Arc::new(|_| Box::pin(async { Ok(None) }));
        let undefined = Term::from(Atom::from_static("undefined"));
        Self { spec: ChildSpec::of(undefined, none, type_name::<S>()), make: Arc::new(make) }
    }

    pub(super) fn make(&self, extra: Extra) -> Result<StartFn, Term> {
        (self.make)(extra)
    }

    fn with(mut self, change: impl FnOnce(ChildSpec) -> ChildSpec) -> Self {
        self.spec = change(self.spec);
        self
    }

    /// When they are restarted; always by default.
    pub fn restart(self, restart: Restart) -> Self {
        self.with(|spec| spec.restart(restart))
    }

    /// How they are stopped. A time is for all of them together when the supervisor ends.
    pub fn shutdown(self, shutdown: Shutdown) -> Self {
        self.with(|spec| spec.shutdown(shutdown))
    }

    /// Whether the end of one may end the supervisor.
    pub fn significant(self, significant: bool) -> Self {
        self.with(|spec| spec.significant(significant))
    }

    /// What they are; workers by default.
    pub fn child_type(mut self, child_type: ChildType) -> Self {
        self.spec.child_type = child_type;
        self
    }

    /// Puts their restarts off.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.spec.backoff = Some(Backoff { min, max });
        self
    }

    /// How long the `init` of one may take; for ever by default.
    pub fn start_timeout(self, timeout: Duration) -> Self {
        self.with(|spec| spec.start_timeout(timeout))
    }
}
