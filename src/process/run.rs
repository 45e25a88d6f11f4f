//! How a process runs: its body, and its signals whenever it is woken.

use std::any::Any;
use std::collections::VecDeque;
use std::future::Future;
use std::hint::cold_path;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use super::apply::apply_all;
use super::bound::AnyBound;
use super::deadline::{Alarm, Polling};
use super::mailbox::KEPT;
use super::task::Task;
use super::timer::Fire;
use crate::term::Term;
use pin_project_lite::pin_project;

use super::{
    Attention, Context, ExitReason, Heritage, Local, Process, ProcessMessage, Rare, Relation, Shared, Signal,
    SignalQueue, Taking, Write, call,
};

/// How a process starts.
#[derive(Default)]
pub(crate) struct SpawnOptions<'a> {
    /// The parent, if the two are to be linked before the new process runs. It must be the caller.
    pub(crate) link: Option<&'a Shared>,
    pub(crate) trap_exit: bool,
    /// That of a process which the parent spawns if there is one, else that of one which the node starts.
    pub(crate) heritage: Option<Arc<Heritage>>,
    /// Of its mailbox, which has none by default. It must be for its own message type.
    pub(crate) bound: Option<AnyBound>,
}

/// Starts a process. `None` if the node has as many as it may.
pub(crate) fn spawn<M, F>(
    local: &Arc<Local>,
    options: SpawnOptions<'_>,
    body: impl FnOnce(Context<M>) -> F,
) -> Option<Arc<Process<M>>>
where
    M: ProcessMessage,
    F: Future<Output = ExitReason> + Send + 'static,
{
    // Before there is a process that would need them.
    local.schedulers();
    let process = new_process(local, options)?;
    let body = body(Context::new(process.clone()));
    process.begin(Box::pin(Run::new(process.clone(), body)));
    Some(process)
}

/// Runs a process in the caller's own task: for requests from outside any process.
///
/// # Errors
/// `None` if the node has as many processes as it may, else why the process ended before its body did.
pub(crate) async fn run_inline<R, F: Future<Output = R>>(
    local: &Arc<Local>,
    body: impl FnOnce(Context<Term>) -> F,
) -> Result<R, Option<ExitReason>> {
    let process = new_process(local, SpawnOptions::default()).ok_or(None)?;
    let body = body(Context::new(process.clone()));
    let mut output = None;
    {
        let output = &mut output;
        let body = async move {
            *output = Some(body.await);
            ExitReason::Normal
        };
        Inline { run: Run::new(process.clone(), body), waker: None }.await;
    }
    output.ok_or_else(|| process.shared.exit_reason().cloned())
}

fn new_process<M: ProcessMessage>(local: &Arc<Local>, options: SpawnOptions<'_>) -> Option<Arc<Process<M>>> {
    let SpawnOptions { link, trap_exit, heritage, bound } = options;
    let heritage = heritage.or_else(|| link.map(Shared::childrens_heritage));
    let process = local.table.insert(|id, serial| {
        Arc::new(Process {
            shared: Shared::new(local.pid(id, serial), local.clone(), trap_exit, heritage),
            mailbox: SignalQueue::default(),
            timers: std::sync::Mutex::default(),
            task: Task::default(),
        })
    })?;
    let traced = local.world.probe.as_ref().is_some_and(|probe| probe.traces_signals());
    if bound.is_some() || traced {
        process.mailbox.set_bounded();
    }
    if let Some(bound) = bound {
        process.shared.state().rare().bound = Some(bound);
    }
    if let Some(parent) = link {
        process.shared.relations(|relations| relations.link_received(parent.pid.clone(), None));
        parent.relations(|relations| relations.link_received(process.shared.pid.clone(), None));
    }
    Some(process)
}

pin_project! {
    /// Polls a process's body, and acts on its signals whenever it is woken, whatever the body awaits.
    struct Run<M: ProcessMessage, F> {
        process: Arc<Process<M>>,
        #[pin]
        body: Option<F>,
        alarm: Alarm,
    }
}

impl<M: ProcessMessage, F> Run<M, F> {
    fn new(process: Arc<Process<M>>, body: F) -> Self {
        Self { process, body: Some(body), alarm: Alarm::default() }
    }
}

pin_project! {
    /// A process that its caller polls, whose waker may change.
    struct Inline<M: ProcessMessage, F> {
        #[pin]
        run: Run<M, F>,
        waker: Option<Waker>,
    }

    impl<M: ProcessMessage, F> PinnedDrop for Inline<M, F> {
        fn drop(this: Pin<&mut Self>) {
            let mut run = this.project().run.project();
            // It ends when its caller loses interest.
            if run.body.is_some() {
                run.body.set(None);
                run.process.finish(ExitReason::Normal);
            }
        }
    }
}

impl<M: ProcessMessage, F: Future<Output = ExitReason>> Future for Inline<M, F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let mut this = self.project();
        if !this.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            let run = this.run.as_mut().project();
            run.process.mailbox.wake_with(cx.waker().clone());
            *run.alarm = Alarm::default();
            *this.waker = Some(cx.waker().clone());
        }
        catch_unwind(AssertUnwindSafe(|| this.run.as_mut().poll(cx))).unwrap_or_else(|panic| {
            let mut run = this.run.project();
            // As everywhere, the body goes first.
            run.body.set(None);
            run.process.panicked(&*panic);
            Poll::Ready(())
        })
    }
}

impl<M: ProcessMessage, F: Future<Output = ExitReason>> Future for Run<M, F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let mut this = self.project();
        let process = &**this.process;
        let shared = &process.shared;
        let end = |mut body: Pin<&mut Option<F>>, reason| {
            // The body goes first: what it holds must be released before others hear of the end.
            body.set(None);
            process.finish(reason);
            Poll::Ready(())
        };
        if let Some(mut batch) = process.mailbox.take_relations() {
            cold_path();
            let exit = apply_all(shared, &mut batch.signals, batch.messages);
            process.mailbox.restore(batch);
            if let Some(reason) = exit {
                return end(this.body, reason);
            }
        }
        let elapsed = this.alarm.take_elapsed();
        let mut keeps = false;
        // One that calls has monitors, and nothing to do for them before it has run.
        if shared.has_more_than(Attention::MONITORS) {
            cold_path();
            keeps = shared.has(Attention::KEEPS);
            if elapsed && keeps {
                keeps = false;
                shared.forget(Attention::KEEPS);
                shared.notice(Attention::KEPT);
            }
            if elapsed && shared.has(Attention::TIMERS) {
                process.fire_timers();
            }
            if shared.has(Attention::SUSPENDED) && !shared.poll_busy(cx) {
                return Poll::Pending;
            }
        }
        let Some(body) = this.body.as_mut().as_pin_mut() else {
            cold_path();
            return Poll::Ready(());
        };
        let polling = Polling::begin(cx);
        if let Poll::Ready(reason) = body.poll(cx) {
            cold_path();
            drop(polling);
            return end(this.body, reason);
        }
        let mut wanted = polling.end();
        if shared.has_any() {
            if shared.has(Attention::EXITING) {
                cold_path();
                let exiting = shared.state().rare().exiting.take();
                if let Some(reason) = exiting {
                    return end(this.body, *reason);
                }
            }
            if shared.has(Attention::MONITORS) {
                call::release_monitors(shared);
            }
            if shared.has(Attention::TIMERS) {
                cold_path();
                let due = process.timers().as_ref().and_then(|timers| timers.next_due());
                match due {
                    Some(due) => wanted.at = wanted.at.min(due),
                    None => shared.forget(Attention::TIMERS),
                }
            }
            // Once: from then on the alarm is set to go off no later.
            if !keeps && shared.has(Attention::KEEPS) {
                wanted.at = wanted.at.min(shared.local.world.clock.mono() + KEPT);
            }
        }
        this.alarm.set(wanted, &shared.local.world, cx);
        Poll::Pending
    }
}

impl Shared {
    /// Whether the process may run on: it may not while a connection that it sent to has too much queued.
    fn poll_busy(&self, cx: &TaskContext<'_>) -> bool {
        let mut state = self.state();
        let busy = &mut state.rare().busy;
        let ready = busy.as_ref().is_none_or(|busy| busy.poll(cx.waker()));
        if ready {
            *busy = None;
            self.forget(Attention::SUSPENDED);
        }
        ready
    }
}

impl<M: ProcessMessage> Process<M> {
    fn fire_timers(&self) {
        let now = self.shared.local.world.clock.mono();
        loop {
            let fire = self.timers().as_mut().and_then(|timers| timers.fire(now));
            match fire {
                Some(Fire::Message(message)) => {
                    // The process is alive: it is the one that fires.
                    let _ = self.push_message(|| Signal::Message(message), Taking::Always);
                }
                Some(Fire::Do(act)) => act(&self.shared),
                Some(Fire::Repeat(..)) => unreachable!("a repeating timer fires as its message"),
                None => return,
            }
        }
    }

    /// Ends the process for a panic in it, once its body is dropped.
    pub(super) fn panicked(&self, panic: &(dyn Any + Send)) {
        let text = crate::world::panic_text(panic);
        tracing::error!(pid = %self.shared.pid, panic = text, "process panicked");
        self.finish(ExitReason::panic(text, "process", "run"));
    }

    /// Ends the process: everybody related to it hears why.
    pub(super) fn finish(&self, reason: ExitReason) {
        let shared = &self.shared;
        let (pid, local) = (&shared.pid, &shared.local);
        // Before the queue closes: a caller that finds it closed asks for the reason.
        let _ = shared.exit_reason.set(Box::new(reason.clone()));
        let mut rest = self.mailbox.close();
        let (rare, monitors_nodes) = {
            let mut state = shared.state();
            state.ended = true;
            (state.rare.take(), state.monitors_nodes)
        };
        if let Some(name) = rare.as_ref().and_then(|rare| rare.name.as_ref()) {
            local.names.ended(name, pid);
        }
        local.table.remove(pid.id, pid.serial);
        refuse(shared, &mut rest);
        let mut end_wakers = Vec::new();
        if let Some(rare) = rare {
            let Rare { relations, end_wakers: wakers, .. } = *rare;
            end_wakers = wakers;
            let connections: std::collections::BTreeSet<_> = relations.connections().collect();
            let (links, watchers, monitors) = relations.into_parts();
            for to in &links {
                local.send_link_exit(pid, to, &reason);
            }
            for ((to, reference), watcher) in &watchers {
                local.send_down(pid, watcher.name.as_ref(), to, reference, &reason);
            }
            for (reference, monitor) in &monitors {
                local.send_demonitor(pid, &monitor.target, monitor.bound.as_ref(), reference, Write::Now);
            }
            if let Some(distribution) = local.distribution() {
                for connection in connections {
                    distribution.forget(connection, pid);
                }
            }
        }
        if monitors_nodes && let Some(distribution) = local.distribution() {
            distribution.process_ended(pid);
        }
        local.world.event(&local.node, "exit", &format_args!("{}.{} {reason}", pid.id, pid.serial));
        let timers = self.timers().take();
        drop(timers);
        let late = {
            let mut state = shared.state();
            state.gone = true;
            state.rare.take().map(|rare| rare.end_wakers)
        };
        for waker in end_wakers.into_iter().chain(late.unwrap_or_default()) {
            waker.wake();
        }
        // Last: callers that wait for a reply hear of the end by losing what would carry it.
        drop(rest);
    }
}

/// Answers what reached a process too late as if it had never been there.
fn refuse<M>(shared: &Shared, rest: &mut VecDeque<Signal<M>>) {
    let (pid, local) = (&shared.pid, &shared.local);
    for signal in rest {
        let Signal::Relation(relation) = signal else { continue };
        match &**relation {
            Relation::Link { from, .. } => local.send_link_exit(pid, from, &ExitReason::NoProc),
            Relation::Monitor { from, reference, name, .. } => {
                local.send_down(pid, name.as_ref(), from, reference, &ExitReason::NoProc);
            }
            Relation::Unlink { from, id } => local.send_unlink_ack(pid, from, *id),
            Relation::SpawnReply { reference, reply, .. } => {
                local.abandon_spawned(pid, reference, reply, "noproc");
            }
            Relation::UnlinkAck { .. }
            | Relation::LinkExit { .. }
            | Relation::Exit { .. }
            | Relation::Demonitor { .. }
            | Relation::Down { .. }
            | Relation::Alias { .. }
            | Relation::MailboxFull { .. }
            | Relation::GroupLeader { .. }
            | Relation::NoConnection { .. } => {}
        }
    }
}
