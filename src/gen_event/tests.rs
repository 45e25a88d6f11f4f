//! The rules of a manager, one at a time; that they are OTP's is shown by the same histories on both (interop's `gen_event` test).

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc;

use super::*;
use crate::gen_server::{GenServer, Server, Start};
use crate::process::{
    AnyProcess, CallError, Caller, Context as ProcessContext, Destination, Local, SpawnOptions, spawn,
};
use crate::term::Pid;
use crate::world::World;

/// An event that has no external form: it can only be moved.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    Note(String),
    Remove(String),
    Swap(String, String),
    Fail(String),
    Panic(String),
    Sleep(u64),
}

type Log = mpsc::UnboundedSender<String>;

/// Notes what it is told, under its name, and does what is meant for it.
struct Noting {
    name: &'static str,
    log: Log,
}

impl Noting {
    fn note(&self, what: impl std::fmt::Display) {
        let _ = self.log.send(format!("{} {what}", self.name));
    }
}

impl EventHandler for Noting {
    type Args = (&'static str, Log);
    type Event = Event;
    type Call = i64;
    type Reply = i64;

    async fn init((name, log): Self::Args, _: &mut Context<Event>) -> Result<Self, ExitReason> {
        match name {
            "refused" => return Err(ExitReason::atom("refused")),
            "panics" => panic!("at once"),
            _ => {}
        }
        let handler = Self { name, log };
        handler.note("init");
        Ok(handler)
    }

    async fn init_swapped(
        args: Self::Args,
        previous: Term,
        cx: &mut Context<Event>,
    ) -> Result<Self, ExitReason> {
        let handler = Self::init(args, cx).await?;
        handler.note(previous);
        Ok(handler)
    }

    async fn handle_event(
        &mut self,
        event: &Event,
        cx: &mut Context<Event>,
    ) -> Result<Next<Event>, ExitReason> {
        match event {
            Event::Note(text) => self.note(text),
            Event::Remove(name) if *name == self.name => return Ok(Next::Remove),
            Event::Fail(name) if *name == self.name => return Err(ExitReason::atom("failed")),
            Event::Panic(name) if *name == self.name => panic!("told to"),
            Event::Swap(name, new) if *name == self.name => {
                let new = if new == "refused" { "refused" } else { "new" };
                let new = NewHandler::new::<Self>(("noting", new.to_owned()), (new, self.log.clone()));
                return Ok(Next::Swap(Term::atom("bye"), new));
            }
            Event::Sleep(ms) => {
                cx.world().sleep(Duration::from_millis(*ms)).await;
                self.note("slept");
            }
            _ => {}
        }
        Ok(Next::Ok)
    }

    async fn handle_call(
        &mut self,
        n: i64,
        _: &mut Context<Event>,
    ) -> Result<(i64, Next<Event>), ExitReason> {
        match n {
            0 => Ok((0, Next::Remove)),
            -1 => Err(ExitReason::atom("negative")),
            n => Ok((n + 1, Next::Ok)),
        }
    }

    async fn handle_info(&mut self, info: &Term, _: &mut Context<Event>) -> Result<Next<Event>, ExitReason> {
        self.note(info);
        Ok(Next::Ok)
    }

    async fn terminate(&mut self, why: Terminate, _: &mut Context<Event>) -> Term {
        let why = why.to_term();
        // A panic's text is not for a comparison.
        self.note(if why.to_string().contains("rust_panic") { Term::atom("panicked") } else { why });
        Term::from(self.name.to_owned())
    }
}

struct Fixture {
    local: Arc<Local>,
    manager: Server<EventManager<Event>>,
    log: Log,
    seen: mpsc::UnboundedReceiver<String>,
}

impl Fixture {
    async fn new() -> Self {
        let local = Arc::new(Local::new(Atom::from_static("test@127.0.0.1"), 4, World::tokio(), 1000));
        let manager = Start::new(local.clone(), None, Modules::new()).await.expect("it starts");
        let (log, seen) = mpsc::unbounded_channel();
        Self { local, manager, log, seen }
    }

    async fn with(names: &[&'static str]) -> Self {
        let mut fixture = Self::new().await;
        for name in names {
            fixture.manager.add_handler::<Noting>(*name, (name, fixture.log.clone())).await.expect("added");
        }
        fixture.seen().await;
        fixture
    }

    /// What was noted since, once the manager has done all that it was told.
    async fn seen(&mut self) -> Vec<String> {
        self.manager.which_handlers().await.expect("it is alive");
        std::iter::from_fn(|| self.seen.try_recv().ok()).collect()
    }

    async fn handlers(&self) -> String {
        Term::list(self.manager.which_handlers().await.expect("it is alive")).to_string()
    }

    /// A process that says what it is sent, and ends when it is told to.
    fn process(&self) -> (Pid, mpsc::UnboundedReceiver<String>) {
        let (said, hears) = mpsc::unbounded_channel();
        let body = |mut cx: ProcessContext<Term>| async move {
            cx.trap_exit(true);
            loop {
                let message = cx.receive().await;
                if message.is_atom("end") {
                    return ExitReason::atom("told_to");
                }
                let _ = said.send(message.to_string());
            }
        };
        let process = spawn(&self.local, SpawnOptions::default(), body).expect("there is room");
        (process.pid().clone(), hears)
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_is_told_to_all_handlers_the_last_added_first() {
    let mut it = Fixture::with(&["a", "b"]).await;
    it.manager.notify(Event::Note("one".into())).unwrap();
    assert_eq!(it.seen().await, ["b one", "a one"]);
    assert_eq!(it.handlers().await, "[b,a]");
    it.manager.sync_notify(Event::Sleep(10_000)).await.unwrap();
    // It waits for as long as that takes, and nobody is asked whether they have done it.
    assert_eq!(std::iter::from_fn(|| it.seen.try_recv().ok()).collect::<Vec<_>>(), ["b slept", "a slept"]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_or_panics_is_removed_and_the_manager_lives() {
    let mut it = Fixture::with(&["a", "b", "c"]).await;
    it.manager.notify(Event::Fail("b".into())).unwrap();
    it.manager.notify(Event::Panic("c".into())).unwrap();
    assert_eq!(it.seen().await, ["b {error,failed}", "c panicked"]);
    assert_eq!(it.handlers().await, "[a]");
    it.manager.notify(Event::Remove("a".into())).unwrap();
    assert_eq!(it.seen().await, ["a remove_handler"]);
    assert_eq!(it.handlers().await, "[]");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_not_made_is_not_added() {
    let it = Fixture::new().await;
    let refused = it.manager.add_handler::<Noting>("x", ("refused", it.log.clone())).await;
    assert_eq!(refused.unwrap_err().to_string(), "the handler is not added: {error,refused}");
    let panicked = it.manager.add_handler::<Noting>("x", ("panics", it.log.clone())).await;
    let text = panicked.unwrap_err().to_string();
    assert!(text.contains("{'EXIT',{{rust_panic,") && text.contains("at once"), "{text}");
    assert_eq!(it.handlers().await, "[]");
}

#[tokio::test(start_paused = true)]
async fn a_swap_hands_on_what_the_old_handler_left() {
    let mut it = Fixture::with(&["a", "b", "c"]).await;
    // By itself: in its place.
    it.manager.notify(Event::Swap("b".into(), "new".into())).unwrap();
    assert_eq!(it.seen().await, ["b bye", "new init", "new <<\"b\">>"]);
    assert_eq!(it.handlers().await, "[c,{noting,<<\"new\">>},a]");
    // By request: as the last added.
    let new = NewHandler::new::<Noting>("d", ("d", it.log.clone()));
    it.manager.swap_handler("a", 7, new).await.unwrap();
    assert_eq!(it.seen().await, ["a 7", "d init", "d <<\"a\">>"]);
    // In place of none.
    let new = NewHandler::new::<Noting>("e", ("e", it.log.clone()));
    it.manager.swap_handler("nobody", 7, new).await.unwrap();
    assert_eq!(it.seen().await, ["e init", "e error"]);
    // For one that is not made: the old one is gone.
    it.manager.notify(Event::Swap("c".into(), "refused".into())).unwrap();
    it.seen().await;
    assert_eq!(it.handlers().await, "[e,d,{noting,<<\"new\">>}]");
}

#[tokio::test(start_paused = true)]
async fn a_call_is_answered_by_one_handler() {
    let mut it = Fixture::with(&["a", "b"]).await;
    assert_eq!(it.manager.call_handler::<_, i64>("a", 41).await, Ok(42));
    let answers = [
        ("nobody", Term::from(1), "{error,bad_module}"),
        ("a", Term::from(-1), "{error,negative}"),
        ("a", Term::from(1), "{error,bad_module}"),
        ("b", Term::from(0), "0"),
        ("b", Term::from(0), "{error,bad_module}"),
    ];
    for (handler, call, expected) in answers {
        let answer: Term = it.manager.call_handler(handler, call).await.unwrap();
        assert_eq!(answer.to_string(), expected, "{handler}");
    }
    assert_eq!(it.seen().await, ["a {error,negative}", "b remove_handler"]);
    // What is not understood is answered, and the handler stays.
    let mut it = Fixture::with(&["a"]).await;
    let answer: Term = it.manager.call_handler("a", "text".to_owned()).await.unwrap();
    assert!(answer.to_string().starts_with("{error,{badarg,"), "{answer}");
    assert_eq!(it.seen().await, [""; 0]);
    assert_eq!(it.handlers().await, "[a]");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_handler_says_what_it_leaves() {
    let mut it = Fixture::with(&["a"]).await;
    assert_eq!(it.manager.delete_handler("a", Term::atom("args")).await.unwrap().to_string(), "<<\"a\">>");
    let none = it.manager.delete_handler("a", Term::atom("args")).await.unwrap();
    assert_eq!(none.to_string(), "{error,module_not_found}");
    assert_eq!(it.seen().await, ["a args"]);
}

#[tokio::test(start_paused = true)]
async fn who_supervises_a_handler_hears_of_its_end() {
    let it = Fixture::new().await;
    let (pid, mut hears) = it.process();
    let add = |id: (&'static str, i64)| it.manager.add_sup_handler::<Noting>(id, ("a", it.log.clone()), &pid);
    add(("a", 1)).await.unwrap();
    it.manager.delete_handler(("a", 1), Term::atom("args")).await.unwrap();
    assert_eq!(hears.recv().await.unwrap(), "{gen_event_EXIT,{a,1},normal}");
    add(("a", 2)).await.unwrap();
    it.manager.notify(Event::Fail("a".into())).unwrap();
    assert_eq!(hears.recv().await.unwrap(), "{gen_event_EXIT,{a,2},failed}");
    add(("a", 3)).await.unwrap();
    it.manager.notify(Event::Panic("a".into())).unwrap();
    let crashed = hears.recv().await.unwrap();
    assert!(crashed.starts_with("{gen_event_EXIT,{a,3},{'EXIT',{{rust_panic,"), "{crashed}");
    add(("a", 4)).await.unwrap();
    it.manager
        .swap_handler(("a", 4), 0, NewHandler::new::<Noting>("b", ("b", it.log.clone())))
        .await
        .unwrap();
    assert_eq!(hears.recv().await.unwrap(), format!("{{gen_event_EXIT,{{a,4}},{{swapped,b,{pid}}}}}"));
    // It is unlinked when the manager ends, and so is not told that.
    it.manager.stop(ExitReason::atom("whatever")).await;
    assert_eq!(hears.recv().await.unwrap(), "{gen_event_EXIT,b,shutdown}");
    it.local.send(&pid, &Destination::Pid(pid.clone()), Term::atom("end")).unwrap();
    assert_eq!(hears.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_handler_ends_with_the_process_that_supervises_it() {
    let mut it = Fixture::with(&["plain"]).await;
    let (pid, _hears) = it.process();
    it.manager.add_sup_handler::<Noting>("a", ("a", it.log.clone()), &pid).await.unwrap();
    it.manager.add_sup_handler::<Noting>("b", ("b", it.log.clone()), &pid).await.unwrap();
    it.seen().await;
    it.local.send(&pid, &Destination::Pid(pid.clone()), Term::atom("end")).unwrap();
    let expected = ["b {stop,told_to}".to_owned(), "a {stop,told_to}".to_owned()];
    let expected = expected.into_iter().chain([format!("plain {{'EXIT',{pid},told_to}}")]);
    for line in expected {
        assert_eq!(it.seen.recv().await.unwrap(), line);
    }
    assert_eq!(it.handlers().await, "[plain]");
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_ends_stops_its_handlers() {
    let mut it = Fixture::with(&["a", "b"]).await;
    let any = EventManagerRef::of(Caller::Node(it.local.clone()), it.manager.pid().into());
    any.stop().await.unwrap();
    assert_eq!(std::iter::from_fn(|| it.seen.try_recv().ok()).collect::<Vec<_>>(), ["b stop", "a stop"]);
    assert_eq!(it.manager.ended().await, ExitReason::Normal);
    assert_eq!(any.which_handlers().await, Err(CallError::NoProc));
}

#[tokio::test(start_paused = true)]
async fn terms_from_anywhere_are_events_requests_or_messages() {
    let mut it = Fixture::with(&["a"]).await;
    let any = EventManagerRef::of(Caller::Node(it.local.clone()), it.manager.pid().into());
    any.notify(Term::tuple([Term::atom("note"), Term::from("text".to_owned())])).unwrap();
    any.sync_notify(("note".parse::<Term>().unwrap(), "more".to_owned())).await.unwrap();
    // Not an event of this manager: it is not told to anybody, and who waits hears why.
    any.notify(5).unwrap();
    assert!(any.sync_notify(5).await.is_err_and(|error| error.to_string().contains("badarg")));
    for text in ["hello", "{notify}", "{notify,1,2}", "{a,{b,c},which_handlers}", "{'$gen_cast',x}"] {
        let term: Term = text.parse().unwrap();
        it.local.send(it.manager.pid(), &it.manager.pid().into(), term).unwrap();
    }
    assert_eq!(
        it.seen().await,
        [
            "a text",
            "a more",
            "a hello",
            "a {notify}",
            "a {notify,1,2}",
            "a {a,{b,c},which_handlers}",
            "a {'$gen_cast',x}"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn only_what_is_offered_can_be_named() {
    struct Named;
    impl EventHandler for Named {
        type Args = i64;
        type Event = Term;
        type Call = Term;
        type Reply = Term;
        async fn init(_: i64, _: &mut Context<Term>) -> Result<Self, ExitReason> {
            Ok(Self)
        }
        async fn handle_event(&mut self, _: &Term, _: &mut Context<Term>) -> Result<Next<Term>, ExitReason> {
            Ok(Next::Ok)
        }
        async fn handle_call(
            &mut self,
            call: Term,
            _: &mut Context<Term>,
        ) -> Result<(Term, Next<Term>), ExitReason> {
            Ok((call, Next::Ok))
        }
        fn state(&self) -> Term {
            Term::from(7)
        }
    }
    let local = Arc::new(Local::new(Atom::from_static("test@127.0.0.1"), 4, World::tokio(), 1000));
    let modules = Modules::new().offer::<Named>("named");
    let manager = Start::<EventManager<Term>>::new(local.clone(), None, modules).await.unwrap();
    let any = EventManagerRef::of(Caller::Node(local), manager.pid().into());
    any.add_handler(("named", 1), 5).await.unwrap();
    any.add_handler("named", 5).await.unwrap();
    let refusals = [
        (any.add_handler("named", Term::atom("five")).await, "{'EXIT',{badarg,"),
        (any.add_handler("other", 5).await, "{'EXIT',{undef,[{other,init,[5],[]}]}}"),
        (
            any.swap_handler(("nobody", 0), ("other", 5)).await,
            "{error,{'EXIT',{undef,[{other,init,[{5,error}],[]}]}}}",
        ),
    ];
    for (refused, expected) in refusals {
        let text = refused.unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
    let state = manager.replace_state(|manager| manager.state()).await.unwrap();
    assert_eq!(state.to_string(), "[{named,false,7},{named,1,7}]");
}
