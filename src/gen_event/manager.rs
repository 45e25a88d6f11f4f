//! The manager: which handlers there are, and what becomes of them.

use super::handler::{Handler, Outcome};
use super::message::{self, Ask, Info};
use super::{Context, Event, HandlerId, Modules, NewHandler, Next, Terminate};
use crate::etf::Payload;
use crate::gen_server::{GenServer, Reply, ReplyTo};
use crate::process::{ExitReason, GenMessage};
use crate::term::{Pid, Term};

/// A running event manager, whose events are of type `E`: a gen_server whose arguments are the [`Modules`] that others can name.
pub struct EventManager<E: Event> {
    /// The one that was added last is first.
    handlers: Vec<Entry<E>>,
    modules: Modules<E>,
}

/// A handler, and what the manager knows of it.
struct Entry<E: Event> {
    id: HandlerId,
    handler: Box<dyn Handler<E>>,
    /// The process that it was added for.
    supervised: Option<Pid>,
}

impl<E: Event> GenServer for EventManager<E> {
    type Args = Modules<E>;
    type Call = Ask<E>;
    type Reply = Term;
    type Cast = E;
    type Info = Info;

    async fn init(modules: Modules<E>, cx: &mut Context<E>) -> Result<Self, ExitReason> {
        cx.trap_exit(true);
        Ok(Self { handlers: Vec::new(), modules })
    }

    async fn handle_call(
        &mut self,
        ask: Ask<E>,
        from: ReplyTo<Term>,
        cx: &mut Context<E>,
    ) -> Result<Reply, ExitReason> {
        let ok = |(): ()| Term::atom("ok");
        let reply = match ask {
            Ask::SyncNotify(event) => {
                self.notify(&Told::Event(&event), cx).await;
                Term::atom("ok")
            }
            Ask::Call(handler, call) => self.call(&handler, call, cx).await,
            Ask::AddHandler(id, args) => {
                self.add(NewHandler::of_term(id, args), None, None, cx).await.map_or_else(|it| it, ok)
            }
            Ask::AddSupHandler(id, args, pid) => {
                self.add(NewHandler::of_term(id, args), None, Some(pid), cx).await.map_or_else(|it| it, ok)
            }
            Ask::Add(handler, supervised) => {
                self.add(handler, None, supervised, cx).await.map_or_else(|it| it, ok)
            }
            Ask::DeleteHandler(id, args) => match self.find(&id) {
                None => error(Term::atom("module_not_found")),
                Some(at) => {
                    let entry = self.handlers.remove(at);
                    end(entry, Terminate::Args(args), Term::atom("normal"), cx).await
                }
            },
            Ask::SwapHandler(old, args, new, new_args) => {
                self.swap(&old, args, NewHandler::of_term(new, new_args), None, cx).await
            }
            Ask::SwapSupHandler(old, args, new, new_args, pid) => {
                self.swap(&old, args, NewHandler::of_term(new, new_args), Some(pid), cx).await
            }
            Ask::Swap(old, args, new, supervised) => self.swap(&old, args, new, supervised, cx).await,
            Ask::WhichHandlers => {
                Term::list(self.handlers.iter().map(|entry| entry.id.to_term()).collect::<Vec<_>>())
            }
            Ask::GetModules => {
                let modules: std::collections::BTreeSet<_> =
                    self.handlers.iter().map(|entry| entry.id.module.clone()).collect();
                Term::list(modules.into_iter().map(Term::from).collect::<Vec<_>>())
            }
            Ask::Stop => {
                // The handlers have ended when the caller hears of it.
                self.stop_handlers(cx).await;
                cx.stop(ExitReason::Normal);
                Term::atom("ok")
            }
        };
        Ok(from.reply(reply))
    }

    async fn handle_cast(&mut self, event: E, cx: &mut Context<E>) -> Result<(), ExitReason> {
        self.notify(&Told::Event(&event), cx).await;
        Ok(())
    }

    async fn handle_info(&mut self, Info(info): Info, cx: &mut Context<E>) -> Result<(), ExitReason> {
        if let Some([tag, pid, reason]) = info.as_tuple()
            && tag.is_atom("EXIT")
            && let Some(pid) = pid.as_pid()
        {
            self.parent_ended(pid, &reason.clone().into(), cx).await;
        }
        self.notify(&Told::Info(&info), cx).await;
        Ok(())
    }

    async fn terminate(&mut self, _: &ExitReason, cx: &mut Context<E>) {
        self.stop_handlers(cx).await;
    }

    /// `[{Module, Id, State}]`.
    fn state(&self) -> Term {
        let states = self.handlers.iter().map(|entry| {
            Term::tuple([entry.id.module.clone().into(), entry.id.id.clone(), entry.handler.state()])
        });
        Term::list(states.collect::<Vec<_>>())
    }

    fn read(message: Payload) -> GenMessage {
        message::read(message)
    }

    fn event_out(&self, _: &Term, _: Option<Term>) -> Option<Term> {
        None
    }

    fn behaviour() -> (&'static str, &'static str) {
        ("gen_event", "Status for event handler")
    }
}

/// What all handlers are told.
enum Told<'a, E> {
    Event(&'a E),
    Info(&'a Term),
}

impl<E: Event> EventManager<E> {
    fn find(&self, id: &Term) -> Option<usize> {
        let id = HandlerId::from_term(id)?;
        self.handlers.iter().position(|entry| entry.id == id)
    }

    /// # Errors
    /// What `init` returned instead of a handler.
    async fn add(
        &mut self,
        new: NewHandler<E>,
        previous: Option<Term>,
        supervised: Option<Pid>,
        cx: &mut Context<E>,
    ) -> Outcome<()> {
        // It stays linked if the handler is not made, as in OTP.
        if let Some(pid) = &supervised {
            cx.link(pid);
        }
        let (id, handler) = new.make(previous, &self.modules, cx).await?;
        self.handlers.insert(0, Entry { id, handler, supervised });
        Ok(())
    }

    async fn swap(
        &mut self,
        old: &Term,
        args: Term,
        new: NewHandler<E>,
        supervised: Option<Pid>,
        cx: &mut Context<E>,
    ) -> Term {
        let (previous, supervised) = match self.find(old) {
            None => (Term::atom("error"), supervised),
            Some(at) => {
                let entry = self.handlers.remove(at);
                let supervised = supervised.or_else(|| entry.supervised.clone());
                let reason = swapped(&new.id, supervised.as_ref());
                (end(entry, Terminate::Args(args), reason, cx).await, supervised)
            }
        };
        match self.add(new, Some(previous), supervised, cx).await {
            Ok(()) => Term::atom("ok"),
            Err(other) => error(other),
        }
    }

    async fn call(&mut self, id: &Term, call: Term, cx: &mut Context<E>) -> Term {
        let Some(at) = self.find(id) else { return error(Term::atom("bad_module")) };
        match self.handlers[at].handler.handle_call(call, cx).await {
            Ok((reply, next)) => {
                self.follow(at, Ok(next), cx).await;
                reply
            }
            Err(other) => {
                self.follow(at, Err(other.clone()), cx).await;
                error(other)
            }
        }
    }

    async fn notify(&mut self, told: &Told<'_, E>, cx: &mut Context<E>) {
        let mut at = 0;
        while let Some(entry) = self.handlers.get_mut(at) {
            let next = match told {
                Told::Event(event) => entry.handler.handle_event(event, cx).await,
                Told::Info(info) => entry.handler.handle_info(info, cx).await,
            };
            if self.follow(at, next, cx).await {
                at += 1;
            }
        }
    }

    /// Does what the handler at this place wants, or removes it if it failed. Returns whether there is a handler in its place.
    async fn follow(&mut self, at: usize, next: Outcome<Next<E>>, cx: &mut Context<E>) -> bool {
        let (why, reason) = match next {
            Ok(Next::Ok) => return true,
            Ok(Next::Remove) => (Terminate::RemoveHandler, Term::atom("normal")),
            Err(other) => (Terminate::Error(other.clone()), other),
            Ok(Next::Swap(args, new)) => {
                let entry = self.handlers.remove(at);
                let (supervised, new_id) = (entry.supervised.clone(), new.id.clone());
                // Of a handler that swaps itself, who supervises it stays.
                let reason = swapped(&new_id, supervised.as_ref());
                let previous = end(entry, Terminate::Args(args), reason, cx).await;
                return match new.make(Some(previous), &self.modules, cx).await {
                    Ok((id, handler)) => {
                        self.handlers.insert(at, Entry { id, handler, supervised });
                        true
                    }
                    Err(other) => {
                        tracing::error!(handler = %new_id, reason = %other, "gen_event handler did not take the other's place");
                        // OTP tells no more of why.
                        report(&new_id, supervised.as_ref(), false, Term::atom("crash"), cx);
                        false
                    }
                };
            }
        };
        let entry = self.handlers.remove(at);
        end(entry, why, reason, cx).await;
        false
    }

    /// Removes the handlers that were added for a process that has ended.
    async fn parent_ended(&mut self, pid: &Pid, reason: &ExitReason, cx: &mut Context<E>) {
        let is_for = |entry: &Entry<E>| entry.supervised.as_ref() == Some(pid);
        loop {
            let Some(at) = self.handlers.iter().position(is_for) else { return };
            let entry = self.handlers.remove(at);
            end(entry, Terminate::ParentStopped(reason.clone()), Term::atom("shutdown"), cx).await;
        }
    }

    async fn stop_handlers(&mut self, cx: &mut Context<E>) {
        let mut supervisors = Vec::new();
        while !self.handlers.is_empty() {
            let entry = self.handlers.remove(0);
            supervisors.extend(entry.supervised.clone());
            end(entry, Terminate::Stop, Term::atom("shutdown"), cx).await;
        }
        // They have heard of their handlers' end: only the parent is to hear of the manager's.
        for pid in supervisors {
            if cx.parent() != Some(&pid) {
                cx.unlink(&pid);
            }
        }
    }
}

/// Terminates a handler, and tells its process. Returns what it left: what `terminate` returned, or `{'EXIT', Reason}` of its panic.
async fn end<E: Event>(mut entry: Entry<E>, why: Terminate, reason: Term, cx: &mut Context<E>) -> Term {
    let crashed = matches!(why, Terminate::Error(_));
    let left = entry.handler.terminate(why, cx).await.unwrap_or_else(|panic| panic);
    report(&entry.id.to_term(), entry.supervised.as_ref(), crashed, reason, cx);
    left
}

/// An error report of a handler that failed, and `{gen_event_EXIT, Handler, Reason}` to its process.
fn report<E: Event>(id: &Term, supervised: Option<&Pid>, crashed: bool, reason: Term, cx: &Context<E>) {
    if crashed {
        let name = cx.shared().name().map_or_else(|| cx.pid().to_string(), |name| name.to_string());
        tracing::error!(handler = %id, name, %reason, "gen_event handler crashed");
    }
    if let Some(pid) = supervised {
        // A process that has ended is not told.
        let _ = cx.send(pid, Term::tuple([Term::atom("gen_event_EXIT"), id.clone(), reason]));
    }
}

fn error(what: Term) -> Term {
    Term::tuple([Term::atom("error"), what])
}

/// `{swapped, NewHandler, Pid}`, or `false` for the pid.
fn swapped(new: &Term, supervised: Option<&Pid>) -> Term {
    let pid = supervised.map_or_else(|| Term::from(false), |pid| pid.clone().into());
    Term::tuple([Term::atom("swapped"), new.clone(), pid])
}
