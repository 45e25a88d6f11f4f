//! Processes that a test holds.

use std::any::type_name;
use std::collections::VecDeque;
use std::fmt::Display;
use std::future::poll_fn;
use std::panic::Location;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::node::Test;
use crate::etf::Payload;
use crate::node::Node;
use crate::process::{
    AnyProcess, Call, Context, Destination, Down, ExitReason, GenMessage, Received, RegisterError,
    ReplyAddress, SendError, SpawnOptions, spawn,
};
use crate::term::{Atom, Pid, Reference, Term};

/// A process that the test holds: it sends, and says what it expects to receive. It ends, with reason `normal`, when it is dropped.
///
/// Each `expect` takes the next message, and none else: one that does not fit is a failure, whose text shows what came instead and what
/// else is queued. `within` is virtual time, its end included.
pub struct Probe {
    cx: Context<Term>,
    body: Arc<Body>,
    unread: VecDeque<Payload>,
    node: Node,
    test: Arc<Test>,
}

/// What the probe's process and the test tell each other.
#[derive(Default)]
struct Body(Mutex<State>);

#[derive(Default)]
struct State {
    ended: bool,
    news: bool,
    process: Option<Waker>,
    test: Option<Waker>,
}

impl Body {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whenever the process is woken, there may be something to receive.
    fn poll_process(&self, cx: &TaskContext<'_>) -> Poll<ExitReason> {
        let mut state = self.state();
        if state.ended {
            return Poll::Ready(ExitReason::Normal);
        }
        state.process = Some(cx.waker().clone());
        state.news = true;
        if let Some(test) = state.test.take() {
            test.wake();
        }
        Poll::Pending
    }

    fn poll_news(&self, cx: &TaskContext<'_>) -> Poll<()> {
        let mut state = self.state();
        if std::mem::take(&mut state.news) {
            return Poll::Ready(());
        }
        state.test = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Which monitor a [`Probe::expect_down`] is about: by its reference, or by the process that is monitored.
#[derive(Debug)]
pub enum Watched {
    /// The monitor.
    Reference(Reference),
    /// The process.
    Pid(Pid),
}

impl From<&Reference> for Watched {
    fn from(reference: &Reference) -> Self {
        Self::Reference(reference.clone())
    }
}

impl From<&Pid> for Watched {
    fn from(pid: &Pid) -> Self {
        Self::Pid(pid.clone())
    }
}

/// Who waits for the reply to a call that a probe took.
#[must_use = "dropped, the caller waits in vain"]
#[derive(Debug)]
pub struct ProbeReply {
    address: ReplyAddress,
    node: Node,
    probe: Pid,
}

impl ProbeReply {
    /// The caller. A call from outside any process has one of its own.
    pub fn pid(&self) -> &Pid {
        self.address.pid()
    }

    /// `gen_server:reply/2`.
    ///
    /// # Panics
    /// If the reply has no external form.
    #[track_caller]
    pub fn reply<T: Serialize + ?Sized>(self, reply: &T) {
        if let Err(error) = self.address.reply(self.node.local(), &self.probe, reply) {
            panic!("the reply has no external form: {error}");
        }
    }
}

impl Probe {
    pub(super) fn new(node: Node, test: Arc<Test>) -> Self {
        let body = Arc::new(Body::default());
        let mut held = None;
        let process = spawn(node.local(), SpawnOptions::default(), |cx| {
            held = Some(cx);
            let body = body.clone();
            poll_fn(move |cx| body.poll_process(cx))
        });
        let (Some(process), Some(cx)) = (process, held) else { panic!("the node takes no more processes") };
        test.probes().insert(process.pid().clone());
        Self { cx, body, unread: VecDeque::new(), node, test }
    }

    /// The probe's pid.
    pub fn pid(&self) -> &Pid {
        self.cx.pid()
    }

    /// `!`: see [`Context::send`].
    ///
    /// # Errors
    /// As there.
    pub fn send<T: Serialize + Send + 'static>(
        &self,
        to: impl Into<Destination>,
        message: T,
    ) -> Result<(), SendError> {
        self.cx.send(to, message)
    }

    /// `gen_server:cast/2`.
    ///
    /// # Errors
    /// As [`Context::cast`].
    pub fn cast<T: Serialize>(&self, to: impl Into<Destination>, request: &T) -> Result<(), SendError> {
        self.cx.cast(to, request)
    }

    /// `gen_server:call/2`.
    pub fn call<R, Q: Serialize>(&self, to: impl Into<Destination>, request: Q) -> Call<Q, R> {
        self.cx.call(to, request)
    }

    /// `link/1`. The probe ends with a process that it is linked to, unless it [traps exits](Probe::trap_exit).
    pub fn link(&self, to: &Pid) {
        self.cx.link(to);
    }

    /// `unlink/1`.
    pub fn unlink(&self, to: &Pid) {
        self.cx.unlink(to);
    }

    /// `monitor/2`, for [`Probe::expect_down`].
    pub fn monitor(&self, to: impl Into<Destination>) -> Reference {
        self.cx.monitor(to)
    }

    /// `demonitor/1`: a `DOWN` that has arrived stays.
    pub fn demonitor(&mut self, reference: &Reference) -> bool {
        self.drain();
        self.cx.demonitor(reference)
    }

    /// `exit/2`.
    pub fn exit(&self, to: &Pid, reason: ExitReason) {
        self.cx.exit(to, reason);
    }

    /// `process_flag(trap_exit, Flag)`, for [`Probe::expect_exit`]. Returns the former value.
    pub fn trap_exit(&self, trap: bool) -> bool {
        self.cx.trap_exit(trap)
    }

    /// `register/2`: the probe stands in for a server of that name.
    ///
    /// # Errors
    /// If the name is taken, or the probe has one.
    pub fn register(&self, name: impl Into<Atom>) -> Result<(), RegisterError> {
        self.cx.register(name)
    }

    /// The next message, as an `M`.
    ///
    /// # Panics
    /// If none comes in time, or it is none.
    #[track_caller]
    pub fn expect<M: DeserializeOwned>(&mut self, within: Duration) -> impl Future<Output = M> {
        self.take(within, Location::caller(), format!("a message of type {}", type_name::<M>()), decode)
    }

    /// The next message, as an `M` for which `fits` holds.
    ///
    /// # Panics
    /// If none comes in time, or it is none.
    #[track_caller]
    pub fn expect_where<M: DeserializeOwned>(
        &mut self,
        within: Duration,
        fits: impl Fn(&M) -> bool,
    ) -> impl Future<Output = M> {
        let wanted = format!("a certain message of type {}", type_name::<M>());
        self.take(within, Location::caller(), wanted, move |message| decode_where(message, &fits))
    }

    /// The first message that is an `M` for which `fits` holds; those before it stay, in order, for later.
    ///
    /// # Panics
    /// If none comes in time.
    #[track_caller]
    pub fn expect_among<M: DeserializeOwned>(
        &mut self,
        within: Duration,
        fits: impl Fn(&M) -> bool,
    ) -> impl Future<Output = M> {
        let at = Location::caller();
        async move {
            let end = self.test.clock.elapsed() + within;
            let mut looked = 0;
            loop {
                self.wait(end, looked).await;
                let Some(message) = self.unread.get(looked) else {
                    let wanted = type_name::<M>();
                    let text = format!(
                        "expected a certain message of type {wanted} within {within:?}, but none came"
                    );
                    self.fail(at, &text)
                };
                match decode_where(message, &fits) {
                    Ok(value) => {
                        self.unread.remove(looked);
                        return value;
                    }
                    Err(_) => looked += 1,
                }
            }
        }
    }

    /// Lets so much time pass, in which no message comes; none may be queued either.
    ///
    /// # Panics
    /// If there is one.
    #[track_caller]
    pub fn expect_none(&mut self, during: Duration) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let end = self.test.clock.elapsed() + during;
            self.wait(end, 0).await;
            if let Some(message) = self.unread.pop_front() {
                self.fail(at, &format!("expected no message for {during:?}, but got {}", message.term()));
            }
        }
    }

    /// The next message, which is the `DOWN` of a monitor of the probe's. Returns why the process ended.
    ///
    /// # Panics
    /// If none comes in time, or it is none.
    #[track_caller]
    pub fn expect_down(
        &mut self,
        watched: impl Into<Watched>,
        within: Duration,
    ) -> impl Future<Output = ExitReason> {
        let watched = watched.into();
        let wanted = match &watched {
            Watched::Reference(reference) => format!("the DOWN of {reference}"),
            Watched::Pid(pid) => format!("the DOWN of {pid}"),
        };
        self.take(within, Location::caller(), wanted, move |message| {
            let Down(tag, reference, _, item, reason) = decode(message)?;
            let is_it = match &watched {
                Watched::Reference(watched) => reference == *watched,
                Watched::Pid(watched) => item.as_pid() == Some(watched),
            };
            if tag == "DOWN" && is_it { Ok(reason) } else { Err("it is another's".to_owned()) }
        })
    }

    /// The next message, which is the trapped exit of `pid`. Returns the reason.
    ///
    /// # Panics
    /// If none comes in time, or it is none.
    #[track_caller]
    pub fn expect_exit(&mut self, pid: &Pid, within: Duration) -> impl Future<Output = ExitReason> {
        let pid = pid.clone();
        self.take(within, Location::caller(), format!("the EXIT of {pid}"), move |message| {
            let (tag, from, reason) = decode::<(Atom, Pid, ExitReason)>(message)?;
            if tag == "EXIT" && from == pid { Ok(reason) } else { Err("it is another's".to_owned()) }
        })
    }

    /// The next message, which is a call; and who waits for its reply.
    ///
    /// # Panics
    /// If none comes in time, or it is none.
    #[track_caller]
    pub fn expect_call<Q: DeserializeOwned>(
        &mut self,
        within: Duration,
    ) -> impl Future<Output = (Q, ProbeReply)> {
        let (node, probe) = (self.node.clone(), self.pid().clone());
        let wanted = format!("a call of type {}", type_name::<Q>());
        self.take(within, Location::caller(), wanted, move |message| match GenMessage::new(message.clone()) {
            GenMessage::Call { from, request } => {
                let reply = ProbeReply { address: from, node: node.clone(), probe: probe.clone() };
                Ok((decode(&request)?, reply))
            }
            _ => Err("it is no call".to_owned()),
        })
    }

    /// The next message, which is a cast.
    ///
    /// # Panics
    /// If none comes in time, or it is none.
    #[track_caller]
    pub fn expect_cast<Q: DeserializeOwned>(&mut self, within: Duration) -> impl Future<Output = Q> {
        let wanted = format!("a cast of type {}", type_name::<Q>());
        self.take(within, Location::caller(), wanted, |message| match GenMessage::new(message.clone()) {
            GenMessage::Cast(request) => decode(&request),
            _ => Err("it is no cast".to_owned()),
        })
    }

    async fn take<T>(
        &mut self,
        within: Duration,
        at: &'static Location<'static>,
        wanted: String,
        fits: impl Fn(&Payload) -> Result<T, String>,
    ) -> T {
        let end = self.test.clock.elapsed() + within;
        self.wait(end, 0).await;
        let Some(message) = self.unread.pop_front() else {
            self.fail(at, &format!("expected {wanted} within {within:?}, but nothing came"))
        };
        match fits(&message) {
            Ok(value) => value,
            Err(why) => self.fail(at, &format!("expected {wanted}, but got {}: {why}", message.term())),
        }
    }

    /// Waits until there are more unread messages than `known`, or it is `end`.
    async fn wait(&mut self, end: Duration, known: usize) {
        loop {
            // Before time passes, and for what becomes due at the very end.
            self.test.settle().await;
            self.drain();
            let left = end.saturating_sub(self.test.clock.elapsed());
            if self.unread.len() > known || left.is_zero() {
                return;
            }
            let news = poll_fn(|cx| self.body.poll_news(cx));
            let _ = self.node.world().timeout(left, news).await;
        }
    }

    /// Takes all that has arrived.
    fn drain(&mut self) {
        let mut cx = TaskContext::from_waker(Waker::noop());
        let mut idle = 0;
        // A process pauses after some messages, even if there are more.
        while idle < 2 {
            match pin!(self.cx.receive_signal()).poll(&mut cx) {
                Poll::Ready(Received::Term(message)) => self.unread.push_back(message),
                Poll::Ready(Received::Own(term)) => match Payload::encode(&term) {
                    Ok(message) => self.unread.push_back(message),
                    Err(error) => panic!("{term} has no external form: {error}"),
                },
                Poll::Pending => idle += 1,
            }
        }
    }

    fn fail(&self, at: &Location<'_>, text: &str) -> ! {
        let mut text = text.to_owned();
        let mut line = |what: &dyn Display| text.push_str(&format!("\n  {what}"));
        for (at, message) in self.unread.iter().enumerate() {
            line(&format_args!("queued {}: {}", at + 1, message.term()));
        }
        if let Some(reason) = self.cx.shared().exit_reason() {
            line(&format_args!("the probe has ended: {reason}"));
        }
        self.test.fail(at, &text)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let process = {
            let mut state = self.body.state();
            state.ended = true;
            state.process.take()
        };
        if let Some(process) = process {
            process.wake();
        }
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Probe({})", self.pid())
    }
}

fn decode<M: DeserializeOwned>(message: &Payload) -> Result<M, String> {
    message.decode().map_err(|error| error.to_string())
}

fn decode_where<M: DeserializeOwned>(message: &Payload, fits: impl Fn(&M) -> bool) -> Result<M, String> {
    let value = decode(message)?;
    if fits(&value) { Ok(value) } else { Err("it does not fit".to_owned()) }
}
