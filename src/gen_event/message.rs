//! What a manager is asked, and how it looks on the wire.

use serde::Deserialize;

use super::{Event, NewHandler};
use crate::etf::{Payload, Token};
use crate::process::{GenMessage, labelled_call};
use crate::term::{Pid, Term};

/// What a manager is asked, as OTP asks it: `{From, Tag, Request}`. Its users have methods instead.
#[doc(hidden)]
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", bound = "E: Event")]
pub enum Ask<E: Event> {
    SyncNotify(E),
    Call(Term, Term),
    AddHandler(Term, Term),
    AddSupHandler(Term, Term, Pid),
    DeleteHandler(Term, Term),
    SwapHandler(Term, Term, Term, Term),
    SwapSupHandler(Term, Term, Term, Term, Pid),
    WhichHandlers,
    GetModules,
    Stop,
    /// The same for a handler of a type that is known here.
    #[serde(skip)]
    Add(NewHandler<E>, Option<Pid>),
    #[serde(skip)]
    Swap(Term, Term, NewHandler<E>, Option<Pid>),
}

/// A message for the handlers' [`handle_info`](super::EventHandler::handle_info).
// Not a term: one that a process of this node sends may be a request, and is to be read as such.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Info(
    /// The message.
    pub Term,
);

/// Tells the manager's messages apart: `{notify, Event}` is a cast, `{_, {Pid, Tag}, Request}` a call if the request is one that
/// it knows, and everything else is for the handlers' `handle_info`, gen_server's calls and casts included.
pub(super) fn read(message: Payload) -> GenMessage {
    let call = match GenMessage::new(message.clone()) {
        system @ GenMessage::System { .. } => return system,
        GenMessage::Call { from, request } => Some((from, request)),
        GenMessage::Cast(_) => None,
        GenMessage::Info(_) => match notified(&message) {
            Some(event) => return GenMessage::Cast(event),
            None => labelled_call(&message),
        },
    };
    match call.filter(|(_, request)| is_request(request)) {
        Some((from, request)) => GenMessage::Call { from, request },
        None => GenMessage::Info(message),
    }
}

fn notified(message: &Payload) -> Option<Payload> {
    let mut reader = message.reader();
    let (Ok(Token::Tuple(2)), Ok(Token::Atom(tag))) = (reader.next_token(), reader.next_token()) else {
        return None;
    };
    (tag == "notify").then(|| message.slice(reader.offset()..message.len()))
}

fn is_request(request: &Payload) -> bool {
    let mut reader = request.reader();
    match reader.next_token() {
        Ok(Token::Atom(request)) => matches!(request.as_str(), "which_handlers" | "get_modules" | "stop"),
        Ok(Token::Tuple(len)) => match reader.next_token() {
            Ok(Token::Atom(tag)) => matches!(
                (tag.as_str(), len),
                ("sync_notify", 2)
                    | ("call" | "add_handler" | "delete_handler", 3)
                    | ("add_sup_handler", 4)
                    | ("swap_handler", 5)
                    | ("swap_sup_handler", 6)
            ),
            _ => false,
        },
        _ => false,
    }
}
