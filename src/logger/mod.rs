//! What this program logs, as events of Erlang nodes' loggers.
//!
//! [`Node::logger`](crate::node::Node::logger) makes a layer of `tracing-subscriber` that sends events to a node, which logs them as its own: its
//! filters, formatters and handlers decide what becomes of them. The other way round needs nothing: what Erlang's nodes log of processes whose
//! group leader is here arrives as events of `tracing`; see [`io`](crate::io).
//!
//! ```
//! # use beamline::node::Node;
//! use tracing_subscriber::prelude::*;
//!
//! # fn example(node: &Node) {
//! // What is more than a remark goes to the node that the operators look at.
//! let to_erlang = node.logger("ops@10.0.0.7").max_level(tracing::Level::WARN);
//! tracing_subscriber::registry().with(to_erlang).init();
//! # }
//! ```
//!
//! An event is logged with its level, its message followed by its fields, and the metadata `pid` (the node's `user`), `time` and `domain`
//! `[rust]`; `mfa` and `line` are where it comes from. Nobody waits for it: while the connection has too much queued, or there is none, events
//! are dropped. Of this library's own events only crash and supervisor reports are sent.
//!
//! Source: `logger_proxy.erl` in kernel, whose messages they are.

use std::cell::Cell;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::process::{Busy, Delivery, Destination, Local};
use crate::term::{Atom, Term};

const LOGGER_PROXY: Atom = Atom::from_static("logger_proxy");
/// Of this library's own events those about processes are sent. The others are about connections, of which sending may need another one, and what
/// other nodes' loggers sent here.
const OWN: [&str; 2] = ["beamline::crash_report", "beamline::supervisor"];

fn is_sent(target: &str) -> bool {
    !target.starts_with("beamline::") || OWN.contains(&target)
}

thread_local! {
    /// Sending may itself be logged.
    static SENDING: Cell<bool> = const { Cell::new(false) };
}

/// Sends events to an Erlang node's logger: see the [module](self).
pub struct LoggerLayer {
    local: Weak<Local>,
    to: Destination,
    max_level: Level,
    busy: Mutex<Option<Arc<Busy>>>,
}

impl LoggerLayer {
    pub(crate) fn new(local: &Arc<Local>, node: Atom) -> Self {
        let to = Destination::from((LOGGER_PROXY, node));
        Self { local: Arc::downgrade(local), to, max_level: Level::INFO, busy: Mutex::default() }
    }

    /// The least important events that are sent, [`Level::INFO`] by default. An Erlang node itself logs from `notice` on, unless it is
    /// configured otherwise, so that it drops those of `INFO`.
    #[must_use]
    pub fn max_level(mut self, level: Level) -> Self {
        self.max_level = level;
        self
    }

    fn is_busy(&self) -> bool {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if busy.as_ref().is_some_and(|busy| !busy.is_set()) {
            *busy = None;
        }
        busy.is_some()
    }

    fn send(&self, local: &Local, event: &Event<'_>) {
        let user = local.heritage().group_leader.clone();
        let mut text = Text::default();
        event.record(&mut text);
        let metadata = event.metadata();
        let level = match *metadata.level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            _ => "debug",
        };
        let time = local.world.clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let module = Atom::new(metadata.target()).unwrap_or(Atom::from_static("rust"));
        let mut meta = vec![
            (Term::atom("pid"), Term::from(user.clone())),
            (Term::atom("time"), Term::from(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))),
            (Term::atom("domain"), Term::list([Term::atom("rust")])),
            (Term::atom("mfa"), Term::tuple([module.into(), Term::atom("event"), Term::from(0)])),
        ];
        if let Some(line) = metadata.line() {
            meta.push((Term::atom("line"), Term::from(i64::from(line))));
        }
        let arguments = Term::list([Term::from(text.into_text())]);
        let log = [Term::atom("log"), Term::atom(level), Term::charlist("~ts"), arguments, Term::map(meta)];
        if let Ok(Delivery::Busy(busy)) = local.send(&user, &self.to, Term::tuple(log)) {
            *self.busy.lock().unwrap_or_else(PoisonError::into_inner) = Some(busy);
        }
    }
}

impl<S: Subscriber> Layer<S> for LoggerLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() > self.max_level
            || !is_sent(metadata.target())
            || SENDING.get()
            || self.is_busy()
        {
            return;
        }
        let Some(local) = self.local.upgrade() else { return };
        SENDING.set(true);
        self.send(&local, event);
        SENDING.set(false);
    }
}

impl fmt::Debug for LoggerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoggerLayer({}, {})", self.to, self.max_level)
    }
}

/// The message, and the other fields as `name=value`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn into_text(self) -> String {
        match (self.message.is_empty(), self.fields.is_empty()) {
            (true, _) => self.fields,
            (_, true) => self.message,
            _ => format!("{} {}", self.message, self.fields),
        }
    }

    fn field(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // To a text nothing is written that can fail.
        if field.name() == "message" {
            let _ = write!(self.message, "{value}");
        } else {
            let space = if self.fields.is_empty() { "" } else { " " };
            let _ = write!(self.fields, "{space}{}={value}", field.name());
        }
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, format_args!("{value}"));
    }
}
