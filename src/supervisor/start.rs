//! Starting children and stopping them.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::Supervisor;
use super::spec::{ChildSpec, Shutdown};
use crate::gen_server::{Context, GenServer, Start};
use crate::process::{self, AnyProcess, ExitReason, SpawnOptions, SystemLimit, end_of, spawn};
use crate::term::{Atom, Pid, Term};
use crate::world::{BoxFuture, World, panic_text};

/// What a start led to: a pid, or none if the child chose not to run.
pub(crate) type StartedChild = Result<Option<Pid>, ExitReason>;

/// Starts a child, each time anew.
pub(crate) type StartFn = Arc<dyn Fn(&Parent) -> BoxFuture<'static, StartedChild> + Send + Sync>;

/// The supervisor, as the start functions of its children know it.
#[derive(Clone)]
pub struct Parent {
    pub(crate) process: Arc<dyn AnyProcess>,
    pub(crate) name: Option<Atom>,
    pub(crate) timeout: Option<Duration>,
}

impl Parent {
    /// A process that starts a child.
    pub(crate) fn of(process: Arc<dyn AnyProcess>, child: &ChildSpec) -> Self {
        Self { process, name: child.name.clone(), timeout: child.start_timeout }
    }

    /// The supervisor's pid.
    pub fn pid(&self) -> &Pid {
        self.process.pid()
    }

    /// The world that the supervisor's node lives in.
    pub fn world(&self) -> &World {
        &self.process.shared().local().world
    }

    /// A server that is linked to the supervisor, under the name and with the time that the child's specification says.
    pub fn start_link<S: GenServer>(&self, args: S::Args) -> Start<S> {
        Start::linked(self.process.clone(), args).named(self.name.clone(), self.timeout)
    }

    /// A bare process that is linked to the supervisor.
    ///
    /// # Errors
    /// If the node has as many processes as it may.
    pub fn spawn_link<F>(&self, body: impl FnOnce(process::Context<Term>) -> F) -> Result<Pid, SystemLimit>
    where
        F: Future<Output = ExitReason> + Send + 'static,
    {
        let shared = self.process.shared();
        let options = SpawnOptions { link: Some(shared), ..SpawnOptions::default() };
        spawn(shared.local(), options, body).map(|process| process.pid().clone()).ok_or(SystemLimit)
    }
}

impl std::fmt::Debug for Parent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Parent({})", self.pid())
    }
}

/// Starts a child of a supervisor.
pub(super) async fn start(cx: &Context<Supervisor>, child: &ChildSpec, start: &StartFn) -> StartedChild {
    start_child(&Parent::of(cx.process().clone(), child), start).await
}

/// Runs a child's start function. As in OTP, a panic in it is a start that failed.
pub(crate) async fn start_child(parent: &Parent, start: &StartFn) -> StartedChild {
    let failed = |panic: Box<dyn std::any::Any + Send>| {
        ExitReason::panic(panic_text(&*panic), "supervisor", "start_child")
    };
    let starting = catch_unwind(AssertUnwindSafe(|| start(parent))).map_err(failed)?;
    let mut starting = pin!(starting);
    poll_fn(|task| match catch_unwind(AssertUnwindSafe(|| starting.as_mut().poll(task))) {
        Ok(polled) => polled,
        Err(panic) => std::task::Poll::Ready(Err(failed(panic))),
    })
    .await
}

/// Stops a child, and returns why it ended.
pub(super) async fn stop(cx: &Context<Supervisor>, pid: &Pid, shutdown: Shutdown) -> ExitReason {
    let mut end = pin!(end_of(cx.process().clone(), pid));
    match shutdown {
        Shutdown::BrutalKill => cx.exit(pid, ExitReason::Kill),
        Shutdown::Infinity => cx.exit(pid, ExitReason::Shutdown),
        Shutdown::Timeout(limit) => {
            cx.exit(pid, ExitReason::Shutdown);
            match cx.world().timeout(limit, end.as_mut()).await {
                Ok(reason) => return reason,
                Err(_) => cx.exit(pid, ExitReason::Kill),
            }
        }
    }
    end.await
}

/// Stops children of one kind, all at once and within one time.
pub(super) async fn stop_all(cx: &Context<Supervisor>, pids: &[Pid], shutdown: Shutdown) -> Vec<ExitReason> {
    let ends: Vec<_> = pids.iter().map(|pid| end_of(cx.process().clone(), pid)).collect();
    let tell = |reason: ExitReason| {
        for pid in pids {
            cx.exit(pid, reason.clone());
        }
    };
    tell(if shutdown == Shutdown::BrutalKill { ExitReason::Kill } else { ExitReason::Shutdown });
    let mut all = pin!(async {
        let mut reasons = Vec::with_capacity(ends.len());
        for end in ends {
            reasons.push(end.await);
        }
        reasons
    });
    if let Shutdown::Timeout(limit) = shutdown {
        match cx.world().timeout(limit, all.as_mut()).await {
            Ok(reasons) => return reasons,
            Err(_) => tell(ExitReason::Kill),
        }
    }
    all.await
}

/// Whether OTP takes a child's end for what was asked of it, and reports nothing.
pub(super) fn ended_as_told(child: &ChildSpec, reason: &ExitReason) -> bool {
    let orderly = child.restart != super::Restart::Permanent && reason.is_orderly();
    let told = match child.shutdown {
        Shutdown::BrutalKill => ExitReason::Killed,
        Shutdown::Timeout(_) | Shutdown::Infinity => ExitReason::Shutdown,
    };
    orderly || *reason == told
}
