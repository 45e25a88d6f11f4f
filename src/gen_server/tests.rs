//! Servers of one node, on virtual time where time matters.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::*;
use crate::Protocol;
use crate::process::{
    Call, CallError, Caller, Destination, Down, Fallback, Local, Mailbox, OnFull, SendError, SpawnOptions,
    spawn,
};
use crate::term::{Atom, Pid, Reference, Term};
use crate::testing::TestNode;
use crate::world::World;
use std::sync::Arc;
use std::task::Poll;

mod turns;

#[derive(Debug, Serialize, Deserialize, Protocol)]
#[serde(rename_all = "snake_case")]
enum Ask {
    #[reply(i64)]
    Get,
    #[reply(i64)]
    Add(i64),
    #[reply(String)]
    Later { ms: u64 },
    #[reply(())]
    Forget,
    #[reply(())]
    Panic,
    #[reply(())]
    Stop(String),
    #[reply(Vec<String>)]
    Log,
    #[reply(())]
    Continue,
    #[reply(())]
    Idle { ms: u64 },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tell {
    Add(i64),
    Fail,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Info {
    Note(String),
    Timeout,
    #[serde(rename = "DOWN")]
    Down(Reference, Atom, Term, ExitReason),
    #[serde(rename = "EXIT")]
    Exit(Pid, ExitReason),
}

struct Server {
    n: i64,
    log: Vec<String>,
    ended: mpsc::UnboundedSender<ExitReason>,
}

impl GenServer for Server {
    type Args = (i64, mpsc::UnboundedSender<ExitReason>);
    type Call = Ask;
    type Reply = AskReply;
    type Cast = Tell;
    type Info = Info;

    async fn init((n, ended): Self::Args, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        match n {
            -1 => return Err(ExitReason::atom("negative")),
            -2 => panic!("very negative"),
            -3 => cx.world().sleep(Duration::from_secs(3600)).await,
            _ => {}
        }
        Ok(Self { n, log: Vec::new(), ended })
    }

    async fn handle_call(
        &mut self,
        ask: Ask,
        from: ReplyTo<AskReply>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(match ask {
            Ask::Get => from.reply(AskReply::Get(self.n)),
            Ask::Add(n) => {
                self.n += n;
                from.reply(AskReply::Add(self.n))
            }
            Ask::Later { ms } => {
                let world = cx.world().clone();
                cx.task(async move {
                    world.sleep(Duration::from_millis(ms)).await;
                    from.reply(AskReply::Later("done".to_owned()));
                });
                Reply::Later
            }
            Ask::Forget => Reply::Later,
            Ask::Panic => panic!("as told"),
            Ask::Stop(why) => {
                cx.stop(ExitReason::Term(Term::from(why)));
                from.reply(AskReply::Stop(()))
            }
            Ask::Log => from.reply(AskReply::Log(std::mem::take(&mut self.log))),
            Ask::Continue => {
                cx.continue_with(Info::Note("continued".to_owned()));
                from.reply(AskReply::Continue(()))
            }
            Ask::Idle { ms } => {
                cx.timeout(Duration::from_millis(ms));
                from.reply(AskReply::Idle(()))
            }
        })
    }

    async fn handle_cast(&mut self, tell: Tell, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match tell {
            Tell::Add(n) => self.n += n,
            Tell::Fail => {
                "not a number".parse::<i64>()?;
            }
        }
        Ok(())
    }

    async fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Result<(), ExitReason> {
        self.log.push(match info {
            Info::Note(text) => text,
            Info::Timeout => "timeout".to_owned(),
            Info::Down(_, _, item, reason) => format!("{item} down: {reason}"),
            Info::Exit(_, reason) => format!("exit: {reason}"),
        });
        Ok(())
    }

    async fn terminate(&mut self, reason: &ExitReason, _: &mut Context<Self>) {
        let _ = self.ended.send(reason.clone());
    }
}

fn local() -> Arc<Local> {
    Arc::new(Local::new(Atom::from_static("test@127.0.0.1"), 4, World::tokio(), 1000))
}

async fn server(local: &Arc<Local>, n: i64) -> (super::Server<Server>, mpsc::UnboundedReceiver<ExitReason>) {
    let (ended, ends) = mpsc::unbounded_channel();
    let server = Start::<Server>::new(local.clone(), None, (n, ended)).await.expect("it starts");
    (server, ends)
}

fn untyped(local: &Arc<Local>, to: impl Into<Destination>, request: Term) -> Call<Term, Term> {
    Call::new(Caller::Node(local.clone()), to.into(), request)
}

fn term(text: &str) -> Term {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[tokio::test(start_paused = true)]
async fn typed_and_untyped_callers_get_the_same_answers() {
    let local = local();
    let (server, _) = server(&local, 7).await;
    assert_eq!(server.add(5).await, Ok(12));
    assert_eq!(server.get().await, Ok(12));
    let pid = server.pid();
    assert_eq!(untyped(&local, pid, term("{add, 3}")).await, Ok(term("15")));
    assert_eq!(untyped(&local, pid, term("get")).await, Ok(term("15")));
    assert_eq!(untyped(&local, pid, term("{later, #{ms => 10}}")).await, Ok(term("<<\"done\">>")));
    assert_eq!(untyped(&local, pid, term("{stop, <<\"x\">>}")).await, Ok(term("ok")));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_decode_is_answered_with_an_error_and_harms_nobody() {
    let local = local();
    let (server, _) = server(&local, 7).await;
    for request in ["{add, not_a_number}", "[]", "{unknown, 1}"] {
        let reply = untyped(&local, server.pid(), term(request)).await.expect("an answer");
        let [error, why] = reply.as_tuple().expect("a tuple") else { panic!("{reply}") };
        assert!(error.is_atom("error"));
        assert!(why.as_tuple().expect("a tuple")[0].is_atom("badarg"), "{reply}");
    }
    assert_eq!(server.get().await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn a_deferred_reply_leaves_the_server_free_for_others() {
    let local = local();
    let (server, _) = server(&local, 7).await;
    let slow = server.later(500);
    let fast = async {
        tokio::task::yield_now().await;
        server.get().await
    };
    let (slow, fast) = tokio::join!(slow, fast);
    assert_eq!((slow.as_deref(), fast), (Ok("done"), Ok(7)));
}

#[tokio::test(start_paused = true)]
async fn a_call_without_reply_times_out_and_the_server_goes_on() {
    let local = local();
    let (server, _) = server(&local, 7).await;
    let limit = Duration::from_millis(100);
    assert_eq!(server.forget().timeout(limit).await, Err(CallError::Timeout(limit)));
    assert_eq!(server.later(10_000).await, Err(CallError::Timeout(Duration::from_secs(5))), "the default");
    assert_eq!(server.later(10_000).infinity().await.as_deref(), Ok("done"));
    assert_eq!(server.get().await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn a_call_from_a_task_times_out_when_it_should_however_long_that_is() {
    let local = local();
    let (server, _) = server(&local, 7).await;
    let elapsed = async |millis| {
        let (limit, start) = (Duration::from_millis(millis), local.world.clock.mono());
        assert_eq!(server.forget().timeout(limit).await, Err(CallError::Timeout(limit)));
        local.world.clock.mono().since(start).as_millis() as u64
    };
    for millis in [0, 1, 20, 999, 1000, 1001, 1049, 1051, 2500, 60_000] {
        let took = elapsed(millis).await;
        assert!((millis..=millis + 2).contains(&took), "{took} instead of {millis}");
    }
    // Several of one task, which share what wakes it.
    let (short, long) = tokio::join!(elapsed(1500), elapsed(3000));
    assert!((1500..=1502).contains(&short) && (3000..=3002).contains(&long), "{short} {long}");
    // Behind calls that were answered.
    for _ in 0..3 {
        assert_eq!(server.get().await, Ok(7));
        local.world.sleep(Duration::from_millis(30)).await;
    }
    let took = elapsed(1200).await;
    assert!((1200..=1202).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_call_from_a_process_times_out_when_it_should_wherever_it_waits() {
    let local = local();
    let (server, _) = server(&local, 7).await;
    let (ends, mut done) = mpsc::unbounded_channel();
    let world = local.world.clone();
    let body = |_: crate::process::Context<Term>| async move {
        let check = async |millis, elsewhere| {
            let (limit, start) = (Duration::from_millis(millis), world.clock.mono());
            let mut call = Box::pin(server.forget().timeout(limit));
            let error = if elsewhere {
                // It is sent here, and then waits in a task.
                let first = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
                assert!(first.is_pending() || millis == 0);
                if let Poll::Ready(error) = first {
                    error
                } else {
                    world.spawn(call).await.expect("no panic")
                }
            } else {
                call.await
            };
            assert_eq!(error, Err(CallError::Timeout(limit)));
            let took = world.clock.mono().since(start).as_millis() as u64;
            assert!(
                (millis..=millis + 2).contains(&took),
                "{took} instead of {millis}, elsewhere: {elsewhere}"
            );
        };
        for millis in [0, 1, 20, 1000, 5000, 60_000] {
            check(millis, false).await;
            check(millis, true).await;
            // Behind calls that were answered, whose alarm is set to an earlier time, and goes off meanwhile.
            for _ in 0..3 {
                assert_eq!(server.get().await, Ok(7));
                world.sleep(Duration::from_millis(millis / 2)).await;
            }
        }
        // A shorter one beside a longer one, begun at the same time.
        tokio::join!(check(3000, false), check(1500, false));
        let _ = ends.send(());
        ExitReason::Normal
    };
    spawn(&local, SpawnOptions::default(), body).expect("room for a process");
    done.recv().await.expect("the process does not panic");
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_the_server_with_a_reason_that_every_waiting_caller_hears() {
    let local = local();
    let (server, mut ends) = server(&local, 7).await;
    let (first, waiting) = tokio::join!(server.panic(), server.later(1000));
    for error in [first.map(|()| String::new()), waiting] {
        let Err(CallError::Exit(reason)) = error else { panic!("{error:?}") };
        let reason = reason.to_string();
        assert!(reason.contains("rust_panic") && reason.contains("as told"), "{reason}");
        assert!(reason.contains("handle_call"), "{reason}");
    }
    assert!(ends.recv().await.is_some(), "terminate ran");
    assert_eq!(server.get().await, Err(CallError::NoProc));
    assert!(!server.is_alive());
}

#[tokio::test(start_paused = true)]
async fn stop_replies_first_and_then_terminates_with_its_reason() {
    let local = local();
    let (server, mut ends) = server(&local, 7).await;
    assert_eq!(server.request(Ask::Stop("enough".to_owned()), |_| Some(())).await, Ok(()));
    assert_eq!(ends.recv().await, Some(ExitReason::Term(term("<<\"enough\">>"))));
}

#[tokio::test(start_paused = true)]
async fn an_error_returned_from_a_callback_is_the_exit_reason() {
    let local = local();
    let (server, mut ends) = server(&local, 7).await;
    server.cast(Tell::Fail).unwrap();
    let reason = ends.recv().await.expect("it ends").to_string();
    assert!(reason.starts_with("{rust_error,") && reason.contains("invalid digit"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn casts_and_messages_of_the_own_type_keep_their_order() {
    let local = local();
    let (server, _) = server(&local, 0).await;
    for n in 0..100 {
        server.cast(Tell::Add(n)).unwrap();
        server.send(Info::Note(n.to_string())).unwrap();
    }
    assert_eq!(server.get().await, Ok(4950));
    let log = server.log().await.unwrap();
    assert_eq!(log, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_cast_through_a_view_arrives_as_a_local_one_or_says_that_nobody_is_there() {
    let local = local();
    let (server, _) = server(&local, 0).await;
    let view = |to| ServerRef::<Ask>::new(local.clone(), to);
    let by_pid = view(server.pid().into());
    by_pid.cast(&Tell::Add(3)).unwrap();
    by_pid.cast(&term("{add, 4}")).unwrap();
    assert_eq!(by_pid.get().await, Ok(7));
    let nobody = Destination::from("nobody");
    assert_eq!(view(nobody.clone()).cast(&Tell::Add(1)), Err(SendError::NoProc(nobody)));
}

#[tokio::test(start_paused = true)]
async fn continue_runs_before_any_message_and_a_timeout_after_silence() {
    let local = local();
    let (server, _) = server(&local, 0).await;
    let asked = server.request(Ask::Continue, |_| Some(()));
    server.send(Info::Note("before".to_owned())).unwrap();
    asked.await.unwrap();
    assert_eq!(server.log().await.unwrap(), ["before", "continued"]);
    server.idle(50).await.unwrap();
    let world = local.world.clone();
    world.sleep(Duration::from_millis(200)).await;
    assert_eq!(server.log().await.unwrap(), ["timeout"], "once");
}

#[tokio::test(start_paused = true)]
async fn exits_and_downs_decode_into_the_info_type() {
    let local = local();
    let (server, _) = server(&local, 0).await;
    let watcher =
        spawn(&local, SpawnOptions::default(), |mut cx: crate::process::Context<Term>| async move {
            cx.receive().await.into()
        })
        .expect("there is room");
    let watched = crate::process::AnyProcess::pid(&*watcher).clone();
    let down = Down(
        Atom::from_static("DOWN"),
        local.make_reference(),
        Atom::from_static("process"),
        watched.into(),
        ExitReason::NoConnection,
    );
    local.send(&local.pid(0, 0), &server.pid().into(), down).map(|_| ()).unwrap();
    assert_eq!(server.log().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_init_says_why_and_leaves_nothing_behind() {
    let node = TestNode::new(1).await;
    let start = |n| {
        let (ended, _) = mpsc::unbounded_channel();
        Server::start(&node, (n, ended)).name("server")
    };
    assert_eq!(start(-1).await.err(), Some(StartError::Init(ExitReason::atom("negative"))));
    let Err(StartError::Init(reason)) = start(-2).await else { panic!("it cannot start") };
    assert!(reason.to_string().contains("very negative"), "{reason}");
    let limit = Duration::from_millis(10);
    assert_eq!(start(-3).timeout(limit).await.err(), Some(StartError::Timeout(limit)));
    node.assert_clean().await;
    let first = start(1).await.expect("the name is free again");
    assert_eq!(start(2).await.err(), Some(StartError::AlreadyStarted(first.pid().clone())));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_traps_exits_terminates_with_its_parent() {
    struct Child(mpsc::UnboundedSender<ExitReason>);

    impl GenServer for Child {
        type Args = mpsc::UnboundedSender<ExitReason>;
        type Call = Term;
        type Reply = Term;
        type Cast = Term;
        type Info = Term;

        async fn init(ended: Self::Args, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
            cx.trap_exit(true);
            Ok(Self(ended))
        }

        async fn handle_call(
            &mut self,
            _: Term,
            _: ReplyTo<Term>,
            _: &mut Context<Self>,
        ) -> Result<Reply, ExitReason> {
            Ok(Reply::Later)
        }

        async fn terminate(&mut self, reason: &ExitReason, _: &mut Context<Self>) {
            let _ = self.0.send(reason.clone());
        }
    }

    struct Parent;

    impl GenServer for Parent {
        type Args = mpsc::UnboundedSender<ExitReason>;
        type Call = Term;
        type Reply = Term;
        type Cast = Term;
        type Info = Term;

        async fn init(ended: Self::Args, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
            cx.start_link::<Child>(ended).await?;
            Ok(Self)
        }

        async fn handle_call(
            &mut self,
            _: Term,
            _: ReplyTo<Term>,
            _: &mut Context<Self>,
        ) -> Result<Reply, ExitReason> {
            Err(ExitReason::atom("tired"))
        }
    }

    let node = TestNode::new(1).await;
    let (ended, mut ends) = mpsc::unbounded_channel();
    let parent = Parent::start(&node, ended).await.expect("it starts");
    assert_eq!(parent.call(term("x")).await, Err(CallError::Exit(ExitReason::atom("tired"))));
    assert_eq!(ends.recv().await, Some(ExitReason::atom("tired")));
    node.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_the_end_of_a_server_hears_of_it_however_signals_cross() {
    let local = local();
    let all = async {
        for _ in 0..40 {
            let mut servers = Vec::new();
            for _ in 0..100 {
                servers.push(server(&local, 0).await);
            }
            let local = local.clone();
            let stops = servers.iter().map(|(server, _)| {
                let (server, local) = (server.clone(), local.clone());
                // On other threads than the servers: an exit and a monitor come while it looks for a message, or between.
                local.world.clone().spawn(async move {
                    let _ = server.cast(Tell::Add(1));
                    server.stop(ExitReason::Shutdown).await
                })
            });
            for stop in stops.collect::<Vec<_>>() {
                let reason = stop.await.expect("no panic");
                assert!(matches!(reason, ExitReason::Shutdown | ExitReason::NoProc), "{reason}");
            }
        }
    };
    local.world.timeout(Duration::from_secs(60), all).await.expect("every wait ends");
}

fn sys(local: &Arc<Local>, server: &super::Server<Server>, request: &str) -> Call<Term, Term> {
    let request = Term::parse(request, &crate::etf::Limits::default()).unwrap();
    let caller = Caller::Node(local.clone());
    Call::labelled(caller, server.pid().clone().into(), Atom::from_static("system"), request)
}

/// Polls once: a request is sent when it is first polled.
async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_suspended_server_handles_system_messages_only() {
    let local = local();
    let (server, _ends) = server(&local, 5).await;
    assert_eq!(sys(&local, &server, "suspend").await, Ok(Term::atom("ok")));
    let mut waiting = std::pin::pin!(server.add(1));
    assert!(poll_once(waiting.as_mut()).await.is_none());
    server.cast(Tell::Add(10)).unwrap();
    server.send(Info::Note("waited".to_owned())).unwrap();
    let late = server.get().timeout(Duration::from_secs(1)).await;
    assert_eq!(late, Err(CallError::Timeout(Duration::from_secs(1))));
    // It is looked into, and changed, meanwhile.
    let status = sys(&local, &server, "get_status").await.unwrap();
    let parts = status.as_tuple().unwrap();
    assert!(parts[3].as_list().unwrap()[1].is_atom("suspended"), "{status}");
    assert_eq!(server.replace_state(|state| std::mem::replace(&mut state.n, 100)).await, Ok(5));
    assert_eq!(sys(&local, &server, "resume").await, Ok(Term::atom("ok")));
    // All that arrived is handled, in order.
    assert_eq!(waiting.await, Ok(101));
    assert_eq!(server.get().await, Ok(111));
    assert_eq!(server.log().await, Ok(vec!["waited".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_suspended_mailbox_has_its_bound_still() {
    let local = local();
    let (ended, _ends) = mpsc::unbounded_channel();
    let start = Start::<Server>::new(local.clone(), None, (0, ended)).mailbox(Mailbox::bounded(2));
    let server = start.await.unwrap();
    assert_eq!(sys(&local, &server, "suspend").await, Ok(Term::atom("ok")));
    for _ in 0..2 {
        server.cast(Tell::Add(1)).unwrap();
        // It has taken the message out of its queue by now, and holds it.
        local.world.sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(server.cast(Tell::Add(1)), Err(SendError::MailboxFull(server.pid().clone().into())));
    assert_eq!(local.process(server.pid()).unwrap().message_queue_len(), 2);
    assert_eq!(sys(&local, &server, "resume").await, Ok(Term::atom("ok")));
    assert_eq!(server.get().await, Ok(2));
    assert_eq!(local.process(server.pid()).unwrap().message_queue_len(), 0);
}

#[tokio::test]
async fn sys_terminate_ends_in_order() {
    let local = local();
    let (server, mut ends) = server(&local, 1).await;
    assert_eq!(sys(&local, &server, "{terminate, {shutdown, told}}").await, Ok(Term::atom("ok")));
    let told = ExitReason::ShutdownWith(Term::atom("told"));
    assert_eq!(ends.recv().await, Some(told.clone()));
    assert_eq!(server.stop(ExitReason::Normal).await, told);
}

#[tokio::test]
async fn events_are_logged_with_their_replies() {
    let local = local();
    let (server, _ends) = server(&local, 1).await;
    assert_eq!(sys(&local, &server, "{debug, {log, true}}").await, Ok(Term::atom("ok")));
    let add: Call<_, i64> = Call::new(Caller::Node(local.clone()), server.pid().clone().into(), Ask::Add(2));
    assert_eq!(add.await, Ok(3));
    let logged = sys(&local, &server, "{debug, {log, get}}").await.unwrap();
    let events = logged.as_tuple().unwrap()[1].as_list().unwrap().to_vec();
    let [received, sent] = &events[..] else { panic!("{logged}") };
    let (received, sent) = (received.as_tuple().unwrap(), sent.as_tuple().unwrap());
    assert!(received[0].is_atom("in") && sent[0].is_atom("out"), "{logged}");
    assert_eq!(received[1].as_tuple().unwrap()[2].to_string(), "{add,2}");
    assert_eq!(sent[1], Term::from(3));
    assert_eq!(sent[2], received[1].as_tuple().unwrap()[1], "the reply went to the caller");
}

/// A server that tells what it sees of its environment, and starts the next generation with a variable of its own.
struct Kin;

impl GenServer for Kin {
    type Args = (i64, mpsc::UnboundedSender<[Option<Term>; 2]>);
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;

    async fn init((generation, tell): Self::Args, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        tell.send([cx.env("colour"), cx.env("size")]).expect("the test listens");
        if generation == 1 {
            cx.start_link::<Self>((2, tell.clone())).await?;
            cx.start_link::<Self>((3, tell)).env("size", 2).await?;
        }
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        _: Term,
        _: ReplyTo<Term>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(Reply::Later)
    }
}

#[tokio::test(start_paused = true)]
async fn a_variable_of_a_server_is_over_its_parents_and_goes_to_its_children() {
    let local = local();
    let mut heritage = (*local.heritage()).clone();
    heritage.set_env(Atom::from_static("colour"), term("red"));
    local.set_heritage(heritage);
    let (tell, mut told) = mpsc::unbounded_channel();
    let start = |generation| Start::<Kin>::new(local.clone(), None, (generation, tell.clone()));
    start(0).await.unwrap();
    start(1).env("colour", term("blue")).env("size", 1).await.unwrap();
    let (one, two) = (Some(Term::from(1)), Some(Term::from(2)));
    for expected in [
        [Some(term("red")), None],
        [Some(term("blue")), one.clone()],
        [Some(term("blue")), one],
        [Some(term("blue")), two],
    ] {
        assert_eq!(told.recv().await, Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_server_says_so_to_its_callers_or_hands_them_on() {
    let local = local();
    let bounded = async |mailbox| {
        let (ended, _) = mpsc::unbounded_channel();
        Start::<Server>::new(local.clone(), None, (1, ended)).mailbox(mailbox).await.unwrap()
    };
    let refuses = bounded(Mailbox::bounded(2)).await;
    let full = |server: &super::Server<Server>| SendError::MailboxFull(server.pid().clone().into());
    // They wait until the server runs.
    refuses.cast(Tell::Add(1)).unwrap();
    refuses.send(Info::Note("waits".to_owned())).unwrap();
    assert_eq!(refuses.cast(Tell::Add(1)), Err(full(&refuses)));
    assert_eq!(refuses.send(Info::Note("refused".to_owned())), Err(full(&refuses)));
    assert_eq!(refuses.get().await, Err(CallError::MailboxFull));
    assert_eq!(untyped(&local, refuses.pid(), term("get")).await, Err(CallError::MailboxFull));
    tokio::task::yield_now().await;
    assert_eq!(refuses.get().await, Ok(2));

    let (other, _ends) = server(&local, 100).await;
    let (forwards, to) = (other.clone(), other.pid().clone());
    let fallback =
        Fallback::new(to, Term::atom("tag")).typed(move |message| forwards.forward(message).unwrap());
    let hands_on = bounded(Mailbox::bounded(1).on_full(OnFull::Fallback(fallback))).await;
    let (own, others) = tokio::join!(hands_on.get(), hands_on.get());
    assert_eq!((own, others), (Ok(1), Ok(100)), "each call is answered by who took it");
}

/// Casts itself a message, and sends itself an exit signal behind it.
struct Ends(mpsc::UnboundedSender<bool>);

impl GenServer for Ends {
    type Args = mpsc::UnboundedSender<bool>;
    type Call = Term;
    type Reply = Term;
    type Cast = bool;
    type Info = Term;

    async fn init(handled: Self::Args, _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self(handled))
    }

    async fn handle_call(
        &mut self,
        _: Term,
        _: ReplyTo<Term>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(Reply::Later)
    }

    async fn handle_cast(&mut self, first: bool, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let _ = self.0.send(first);
        if first {
            cx.server().cast(false).expect("it is alive");
            let pid = cx.pid().clone();
            cx.exit(&pid, ExitReason::atom("told"));
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_exit_signal_behind_a_message_that_waits_ends_the_server_before_that_is_handled() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = Start::<Ends>::new(local(), None, tell).await.expect("it starts");
    server.cast(true).expect("it is alive");
    assert_eq!(server.ended().await, ExitReason::atom("told"));
    assert_eq!(told.recv().await, Some(true));
    assert_eq!(told.recv().await, None);
}
