//! OTP's `supervisor`: a process that starts others, and starts them again when they end.
//!
//! ```
//! use std::time::Duration;
//!
//! use beamline::supervisor::{ChildSpec, Restart, Supervisor, SupervisorSpec};
//! # use beamline::prelude::*;
//! # struct Stock; struct Payments;
//! # impl GenServer for Stock { type Args = (); type Call = Term; type Reply = Term; type Cast = Term; type Info = Term;
//! #     async fn init(_: (), _: &mut Context<Self>) -> Result<Self, ExitReason> { Ok(Self) }
//! #     async fn handle_call(&mut self, c: Term, from: ReplyTo<Term>, _: &mut Context<Self>) -> Result<Reply, ExitReason> { Ok(from.reply(c)) } }
//! # impl GenServer for Payments { type Args = u16; type Call = Term; type Reply = Term; type Cast = Term; type Info = Term;
//! #     async fn init(_: u16, _: &mut Context<Self>) -> Result<Self, ExitReason> { Ok(Self) }
//! #     async fn handle_call(&mut self, c: Term, from: ReplyTo<Term>, _: &mut Context<Self>) -> Result<Reply, ExitReason> { Ok(from.reply(c)) } }
//!
//! # async fn example(node: &Node) -> Result<(), Box<dyn std::error::Error>> {
//! let shop = SupervisorSpec::rest_for_one()
//!     .intensity(3, Duration::from_secs(5))
//!     .child(ChildSpec::worker::<Stock>("stock", ()).name("stock"))
//!     .child(ChildSpec::worker::<Payments>("payments", 8080).restart(Restart::Transient));
//! let shop = Supervisor::start(node, shop).name("shop_sup").await?;
//! println!("{:?}", shop.which_children().await?);
//! # Ok(())
//! # }
//! ```
//!
//! A child that ends is restarted as its [`Restart`] says, with the others that the strategy names; each life has a pid of its own, and what
//! stays is the name. The old life is over before the new one begins: its callbacks have returned, its name is free, and all that were linked to it
//! know. A supervisor that restarts more often than its intensity allows stops its children, in reverse order of their start, and ends with `shutdown`, so
//! that its own supervisor decides.
//!
//! All of OTP's functions work, from Rust as methods of [`Server<Supervisor>`](Server) and from Erlang as `supervisor:which_children/1`,
//! `count_children/1`, `start_child/2`, `terminate_child/2`, `restart_child/2`, `delete_child/2`, `get_childspec/2`.
//!
//! | differs from OTP | |
//! |---|---|
//! | [`ChildSpec::backoff`] | restarts that are put off, if it is asked for |
//! | [`ChildSpec::start_timeout`] | an `init` that takes too long is a start that failed, if it is asked for |
//! | `start_child/2` from Erlang | names a function that was [exported](SupervisorSpec::export); any other is undefined |
//!
//! Source: `supervisor.erl` in stdlib, and *Supervisor Behaviour* in OTP's Design Principles.

mod calls;
mod core;
mod erlang;
mod simple;
mod spec;
mod start;

use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use crate::gen_server::{Context, GenServer, Reply, ReplyTo};
use crate::process::ExitReason;
use crate::term::{Atom, Pid, Term};

pub use self::calls::{Answer, Ask, ChildCount, ChildError, ChildInfo, ChildStatus};
pub use self::simple::Template;
pub use self::spec::{
    AutoShutdown, Backoff, ChildSpec, ChildType, Restart, Shutdown, StartedPid, SupervisorSpec,
};
pub use self::start::Parent;

use self::core::{Cause, Core, Key, Status, Step};
use self::start::StartFn;

pub(crate) use self::start::{StartedChild, start_child};

#[cfg(doc)]
use crate::gen_server::Server;

/// A running supervisor: a gen_server whose arguments are a [`SupervisorSpec`].
pub struct Supervisor {
    core: Core<ChildEntry>,
    template: Option<Template>,
    /// What the children of a template have in common.
    common: Arc<ChildSpec>,
    exported: Vec<spec::Exported>,
    entropy: ChaCha8Rng,
}

/// What a supervisor knows of a child besides its policy.
pub(crate) struct ChildEntry {
    spec: Arc<ChildSpec>,
    /// What starts it, if that is its own.
    start: Option<StartFn>,
}

/// What a supervisor is sent besides calls.
#[doc(hidden)]
#[derive(serde::Deserialize)]
pub enum Info {
    #[serde(rename = "EXIT")]
    Exit(Pid, ExitReason),
    #[serde(skip)]
    TryAgain(Key),
}

impl GenServer for Supervisor {
    type Args = SupervisorSpec;
    type Call = Ask;
    type Reply = Answer;
    type Cast = Term;
    type Info = Info;

    async fn init(spec: SupervisorSpec, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.trap_exit(true);
        spec.check()?;
        let SupervisorSpec { mut flags, children, template, exported } = spec;
        if cx.world().planted("one-restart-more") {
            flags.intensity += 1;
        }
        let entropy = cx.world().entropy.fork("supervisor");
        let common = Arc::new(template.as_ref().map_or_else(ChildSpec::none, |it| it.spec.clone()));
        let mut supervisor = Self { core: Core::new(flags), template, common, exported, entropy };
        for child in children {
            let (id, policy) = (child.id.clone(), child.policy());
            supervisor.core.add(id, policy, ChildEntry { spec: Arc::new(child), start: None });
        }
        supervisor.core.start_all();
        while let Some(step) = supervisor.core.next() {
            let Step::Start(key) = step else { continue };
            if let Err(reason) = supervisor.start(key, cx).await {
                let id = supervisor.core.child(key).map_or(Term::from(0), |child| child.id.clone());
                supervisor.stop_all(cx).await;
                let failed =
                    Term::tuple([Atom::from_static("failed_to_start_child").into(), id, reason.to_term()]);
                return Err(ExitReason::ShutdownWith(failed));
            }
        }
        Ok(supervisor)
    }

    async fn handle_call(
        &mut self,
        ask: Ask,
        from: ReplyTo<Answer>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        let answer = self.answer(ask, cx).await;
        Ok(from.reply(answer))
    }

    async fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let now = cx.world().clock.mono();
        match info {
            Info::Exit(pid, reason) => {
                let child = self.core.find_pid(&pid).and_then(|key| self.core.child(key));
                if let Some(child) = child
                    && (child.policy.restart == Restart::Permanent || !reason.is_orderly())
                {
                    report(cx, "child_terminated", &reason, &child.start.spec, Some(&pid));
                }
                self.core.exited(&pid, &reason, now);
            }
            Info::TryAgain(key) => self.core.try_again(key, now),
        }
        self.work(cx).await
    }

    async fn terminate(&mut self, _: &ExitReason, cx: &mut Context<Self>) {
        self.stop_all(cx).await;
    }

    fn state(&self) -> Term {
        let children = self.core.children().map(|(_, child)| child.id.clone());
        Term::tuple([Atom::from_static("children").into(), Term::list(children.collect::<Vec<_>>())])
    }
}

impl Supervisor {
    /// Does what the rules ask for, until they ask for nothing.
    ///
    /// # Errors
    /// `shutdown` if that is the supervisor's end.
    async fn work(&mut self, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        while let Some(step) = self.core.next() {
            match step {
                Step::Start(key) => {
                    if let Err(reason) = self.start(key, cx).await {
                        if let Some(child) = self.core.child(key) {
                            report(cx, "start_error", &reason, &child.start.spec, None);
                        }
                        self.core.start_failed(key);
                    }
                }
                Step::Stop(key, pid) => self.stop(key, &pid, cx).await,
                Step::TryAgain(key, None) => {
                    // Behind what has arrived meanwhile, so that it is not kept waiting by a child that cannot start.
                    if cx.server().send(Info::TryAgain(key)).is_err() {
                        cx.send_after(Duration::ZERO, Info::TryAgain(key));
                    }
                }
                Step::TryAgain(key, Some(delay)) => {
                    // Half of it is left to chance.
                    let chance = self.entropy.next_u32() % 1000;
                    cx.send_after(delay / 2 + delay * chance / 2000, Info::TryAgain(key));
                }
                Step::Shutdown(cause) => {
                    if let Cause::MaxIntensity(key) = cause
                        && let Some(child) = self.core.child(key)
                    {
                        let reason = ExitReason::atom("reached_max_restart_intensity");
                        report(cx, "shutdown", &reason, &child.start.spec, None);
                    }
                    return Err(ExitReason::Shutdown);
                }
            }
        }
        Ok(())
    }

    /// Starts a child that the supervisor has.
    async fn start(&mut self, key: Key, cx: &Context<Self>) -> StartedChild {
        let Some(child) = self.core.child(key) else { return Ok(None) };
        let ChildEntry { spec, start } = &child.start;
        let started = start::start(cx, spec, start.as_ref().unwrap_or(&spec.start)).await;
        if let Ok(pid) = &started {
            self.core.started(key, pid.clone(), cx.world().clock.mono());
        }
        started
    }

    async fn stop(&mut self, key: Key, pid: &Pid, cx: &Context<Self>) {
        if let Some(child) = self.core.child(key) {
            let reason = start::stop(cx, pid, child.start.spec.shutdown).await;
            if !start::ended_as_told(&child.start.spec, &reason) {
                report(cx, "shutdown_error", &reason, &child.start.spec, Some(pid));
            }
        }
        self.core.stopped(key);
    }

    async fn stop_all(&mut self, cx: &Context<Self>) {
        self.core.stop_all();
        if let Some(template) = &self.template {
            let running = self.core.children().filter_map(|(_, child)| match &child.status {
                Status::Running(pid) => Some(pid.clone()),
                Status::Restarting(_) | Status::Undefined => None,
            });
            let running: Vec<_> = running.collect();
            start::stop_all(cx, &running, template.spec.shutdown).await;
            return;
        }
        while let Some(step) = self.core.next() {
            if let Step::Stop(key, pid) = step {
                self.stop(key, &pid, cx).await;
            }
        }
    }
}

/// A supervisor report, with the fields that OTP's has.
fn report(
    cx: &Context<Supervisor>,
    error_context: &'static str,
    reason: &ExitReason,
    child: &ChildSpec,
    pid: Option<&Pid>,
) {
    let supervisor = cx.shared().name().map_or_else(|| cx.pid().to_string(), |name| name.to_string());
    let pid = pid.map_or_else(|| "undefined".to_owned(), ToString::to_string);
    tracing::error!(
        target: "beamline::supervisor",
        supervisor, error_context, %reason, child.pid = pid, child.id = %child.id, child.start = %child.mfa,
        child.restart = ?child.restart, child.shutdown = ?child.shutdown, child.child_type = ?child.child_type,
        "supervisor report"
    );
}

#[cfg(test)]
mod tests;
