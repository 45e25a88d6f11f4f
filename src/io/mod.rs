//! Erlang's io protocol: printing to devices of any node, `io_lib:format/2`, and what a node does with the output that it is sent.
//!
//! Every process has a group leader, which it inherits from the one that spawned it, and which stands for where its output goes. That of a
//! node itself is its process `user`; those of the processes of an [application](crate::application) lead to it, too. What they
//! are sent is written to the standard output, unless [`Builder::user`](crate::node::Builder::user) says otherwise; so `io:format` of an
//! Erlang process prints here whose group leader is a process of this node, or that names one: `io:format({user, Node}, ...)` by the pid
//! behind that name.
//!
//! | request | answer of `user` |
//! |---|---|
//! | `put_chars`, in all of its forms, with `io_lib:format/2`, `fwrite/2`, `write/1` and `nl/0` | `ok`, or `{error, put_chars}` for what is no text |
//! | `{requests, List}` | that of the last, or of the first that fails |
//! | `get_line`, `get_chars`, `get_until` | `eof`: there is nothing to read |
//! | `getopts`, `setopts` | `[{binary, false}, {encoding, unicode}]`; `{error, enotsup}` for anything else |
//! | `get_geometry` | `{error, enotsup}` |
//! | others | `{error, {request, Request}}` |
//!
//! A node also takes the log events that Erlang's nodes send to where the group leader of a process is: its process
//! `logger_proxy` makes events of `tracing` of them, target `beamline::logger`.
//!
//! Source: *The Erlang I/O Protocol* in *stdlib*'s user's guide.

mod chars;
mod format;
mod layout;
mod request;
#[cfg(test)]
mod tests;
mod user;

use std::sync::Arc;

pub use self::format::{FormatError, FormatErrorKind, TEXT_BYTES_MAX, format};
pub(crate) use self::request::answer;
pub(crate) use self::user::{standard_output, start};

use crate::process::{
    AnyProcess, Asking, Context, Destination, ExitReason, Giver, Local, ProcessMessage, SendError,
    SpawnOptions, reply_cell, spawn,
};
use crate::term::{Atom, Reference, Term};

/// Where the output of a node's `user` goes.
pub(crate) type Output = Box<dyn FnMut(&str) -> std::io::Result<()> + Send>;

const IO_REQUEST: Atom = Atom::from_static("io_request");

/// Why a device did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IoError {
    /// There is no such device, or it has ended before it answered.
    #[error("the device {device} does not answer: {reason}")]
    Terminated {
        /// The device.
        device: Destination,
        /// `noproc` if there is none.
        reason: ExitReason,
    },
    /// It answered `{error, Reason}`.
    #[error("the device {device} refuses: {reason}")]
    Refused {
        /// The device.
        device: Destination,
        /// What it said.
        reason: Term,
    },
    /// The format or its arguments.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The node has no room for the process that waits for the answer.
    #[error("the node has too many processes")]
    SystemLimit,
}

/// A device of any node, from [`Context::io`] or [`Node::io`](crate::node::Node::io): a group leader, `user`, or any other process
/// that follows the protocol. Each request waits until it is answered or the device has ended, as in Erlang.
///
/// ```
/// # use beamline::{io::IoError, process::Context, term::Term};
/// # async fn example(cx: &Context<Term>) -> Result<(), IoError> {
/// let leader = cx.io(cx.group_leader());
/// leader.put_chars("ready\n").await?;
/// leader.format("~p of ~p~n", &[3.into(), Term::atom("tea")]).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Io {
    local: Arc<Local>,
    device: Destination,
}

impl Io {
    pub(crate) fn new(local: Arc<Local>, device: Destination) -> Self {
        Self { local, device }
    }

    /// `io:put_chars/2`.
    ///
    /// # Errors
    /// If the device is not there, or does not take it.
    pub async fn put_chars(&self, text: &str) -> Result<(), IoError> {
        let request = [Term::atom("put_chars"), Term::atom("unicode"), Term::from(text)];
        self.request(Term::tuple(request)).await.map(drop)
    }

    /// `io:format/3`; the text is made [here](format()), so that also devices take it that have no such function.
    ///
    /// # Errors
    /// If the format does not fit its arguments, the device is not there, or does not take it.
    pub async fn format(&self, format: &str, arguments: &[Term]) -> Result<(), IoError> {
        self.put_chars(&self::format(format, arguments)?).await
    }

    /// Any request, and its answer.
    ///
    /// # Errors
    /// If the device is not there, or answers with `{error, Reason}`.
    pub async fn request(&self, request: Term) -> Result<Term, IoError> {
        let (giver, taker) = reply_cell();
        let device = self.device.clone();
        // A device answers a pid, and what it answers must not be among the messages of whoever asks.
        let asking = spawn(&self.local, SpawnOptions::default(), |cx| ask(cx, device, request, giver));
        let asking = Asking::new(&self.local, asking.ok_or(IoError::SystemLimit)?.pid());
        let terminated = |reason| IoError::Terminated { device: self.device.clone(), reason };
        let answer = taker.await.unwrap_or(Err(ExitReason::Killed)).map_err(terminated)?;
        drop(asking);
        match answer.as_tuple() {
            Some([tag, reason]) if tag.is_atom("error") => {
                Err(IoError::Refused { device: self.device.clone(), reason: reason.clone() })
            }
            _ => Ok(answer),
        }
    }
}

async fn ask(
    mut cx: Context<Term>,
    device: Destination,
    request: Term,
    answer: Giver<Result<Term, ExitReason>>,
) -> ExitReason {
    let monitor = cx.monitor(device.clone());
    let request = Term::tuple([IO_REQUEST.into(), cx.pid().clone().into(), monitor.clone().into(), request]);
    match cx.send(device, request) {
        // If there is no such process, the monitor says so.
        Ok(()) | Err(SendError::NoProc(_)) => {}
        Err(error) => {
            answer.give(Err(ExitReason::Term(Term::from(error.to_string()))));
            return ExitReason::Normal;
        }
    }
    let is_ours =
        |term: &Term| term.as_reference().is_some_and(|reference: &Reference| *reference == monitor);
    loop {
        let message = cx.receive().await;
        match message.as_tuple() {
            Some([tag, reference, reply]) if tag.is_atom("io_reply") && is_ours(reference) => {
                answer.give(Ok(reply.clone()));
                return ExitReason::Normal;
            }
            Some([tag, reference, _, _, reason]) if tag.is_atom("DOWN") && is_ours(reference) => {
                answer.give(Err(reason.clone().into()));
                return ExitReason::Normal;
            }
            _ => {}
        }
    }
}

impl<M: ProcessMessage> Context<M> {
    /// A device, to print to: the own [group leader](Context::group_leader), or any other.
    pub fn io(&self, device: impl Into<Destination>) -> Io {
        Io::new(self.shared().local().clone(), device.into())
    }
}
