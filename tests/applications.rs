//! Applications of a node, from their start to that node's end.

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use beamline::application::{Application, ApplicationError, StartType};
use beamline::epmd::EpmdOptions;
use beamline::gen_server::{Context, GenServer, Reply, ReplyTo, Server};
use beamline::node::Node;
use beamline::process::{CallError, ExitReason};
use beamline::supervisor::{ChildSpec, Supervisor, SupervisorSpec};
use beamline::term::{Atom, Pid, Term};
use beamline::testing::TestNode;

async fn node(name: &str) -> Node {
    let mut epmd = EpmdOptions::default();
    epmd.port = common::free_port();
    let builder = Node::builder(name).cookie("secret").epmd(epmd).listen("127.0.0.1", 0).env("size", 1);
    builder.env("colour", Term::atom("red")).start().await.expect("the node starts")
}

/// What was done, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// A server that tells what it belongs to.
struct Worker {
    name: &'static str,
    log: Log,
}

impl GenServer for Worker {
    type Args = (&'static str, Log);
    type Call = Atom;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;

    async fn init((name, log): Self::Args, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.trap_exit(true);
        log.note(format!("{name} starts"));
        Ok(Self { name, log })
    }

    async fn handle_call(
        &mut self,
        ask: Atom,
        from: ReplyTo<Term>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(match ask.as_str() {
            "application" => cx.application().map_or(Term::atom("undefined"), Term::from),
            "group_leader" => cx.group_leader().into(),
            // One that outlives its parent, unless somebody minds.
            "stray" => {
                let stray = cx.spawn(|mut cx| async move { ExitReason::Term(cx.receive().await) });
                stray?.into()
            }
            "crash" => panic!("as told"),
            key => cx.env(key).unwrap_or(Term::atom("undefined")),
        }))
    }

    async fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        self.log.note(format!("{} ends", self.name));
    }
}

fn application(name: &'static str, log: &Log) -> Application {
    let spec = SupervisorSpec::one_for_one()
        .intensity(0, Duration::from_secs(1))
        .child(ChildSpec::worker::<Worker>("worker", (name, log.clone())).name(name));
    Application::new(name).description("an application").vsn("1.0").root(ChildSpec::supervisor("sup", spec))
}

async fn ask(node: &Node, worker: &str, what: &'static str) -> Term {
    let worker = Server::<Worker>::named(node, worker).expect("it runs");
    worker.call(Atom::from_static(what)).await.expect("it answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_is_what_its_processes_belong_to() {
    let (node, log) = (node("a@127.0.0.1").await, Log::default());
    let before = node.process_count();
    node.load_application(application("shop", &log).env("size", 2)).await.unwrap();
    node.start_application("shop", StartType::Temporary).await.unwrap();
    assert_eq!(ask(&node, "shop", "application").await, Term::atom("shop"));
    assert_eq!(ask(&node, "shop", "size").await, Term::from(2), "the application's over the node's");
    assert_eq!(ask(&node, "shop", "colour").await, Term::atom("red"), "the node's");
    let running = node.which_applications().await.unwrap();
    assert_eq!(running, [(Atom::from_static("shop"), "an application".to_owned(), "1.0".to_owned())]);
    let stray: Pid = ask(&node, "shop", "stray").await.as_pid().unwrap().clone();
    assert!(node.is_process_alive(&stray));
    node.stop_application("shop").await.unwrap();
    assert_eq!(log.take(), ["shop starts", "shop ends"]);
    common::eventually(|| !node.is_process_alive(&stray)).await;
    // The controller stays.
    common::eventually(|| node.process_count() == before + 1).await;
    assert_eq!(
        node.stop_application("shop").await,
        Err(ApplicationError::NotStarted(Atom::from_static("shop")))
    );
    // A second life.
    node.start_application("shop", StartType::Temporary).await.unwrap();
    assert_eq!(log.take(), ["shop starts"]);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn callbacks_come_in_their_order() {
    let (node, log) = (TestNode::new(1).await, Log::default());
    let noted = |what: &'static str| {
        let log = log.clone();
        move || {
            let log = log.clone();
            async move { log.note(what) }
        }
    };
    let phase = |what: &'static str, outcome: Result<(), ExitReason>| {
        let log = log.clone();
        move || {
            let (log, outcome) = (log.clone(), outcome.clone());
            async move {
                log.note(what);
                outcome
            }
        }
    };
    let shop = application("shop", &log)
        .start_phase("warm", phase("warm", Ok(())))
        .start_phase("open", phase("open", Ok(())))
        .prep_stop(noted("prep_stop"))
        .stop(noted("stop"));
    node.load_application(shop).await.unwrap();
    node.start_application("shop", StartType::Temporary).await.unwrap();
    node.stop_application("shop").await.unwrap();
    assert_eq!(log.take(), ["shop starts", "warm", "open", "prep_stop", "shop ends", "stop"]);
    // A phase that fails stops what has started.
    let bad = application("bad", &log)
        .start_phase("warm", phase("warm", Err(ExitReason::atom("cold"))))
        .start_phase("open", phase("open", Ok(())));
    node.load_application(bad).await.unwrap();
    let error = node.start_application("bad", StartType::Temporary).await.unwrap_err();
    assert_eq!(error.to_string(), "the application bad did not start: {start_phase,warm,cold}");
    assert_eq!(log.take(), ["bad starts", "warm", "bad ends"]);
    Node::clone(&node).stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_applications_processes_print_passes_its_master() {
    let (node, log) = (TestNode::new(1).await, Log::default());
    node.load_application(application("shop", &log)).await.unwrap();
    node.start_application("shop", StartType::Temporary).await.unwrap();
    let master = ask(&node, "shop", "group_leader").await.as_pid().unwrap().clone();
    assert_ne!(Some(&master), node.whereis("user").as_ref());
    node.io(master.clone()).format("~s is ~p~n", &["shop".into(), Term::atom("open")]).await.unwrap();
    assert_eq!(node.printed(), "shop is open\n");
    node.stop_application("shop").await.unwrap();
    assert!(node.io(master).put_chars("closed").await.is_err(), "it has ended with its application");
    assert_eq!(node.printed(), "");
}

#[tokio::test(start_paused = true)]
async fn a_node_stops_its_applications_in_reverse_order() {
    let (node, log) = (TestNode::new(1).await, Log::default());
    node.load_application(application("top", &log).depends_on("base")).await.unwrap();
    let error = node.ensure_all_started("top", StartType::Permanent).await.unwrap_err();
    assert_eq!(error, ApplicationError::NotLoaded(Atom::from_static("base")));
    node.load_application(application("base", &log)).await.unwrap();
    let error = node.start_application("top", StartType::Permanent).await.unwrap_err();
    assert_eq!(error, ApplicationError::NotStarted(Atom::from_static("base")));
    let started = node.ensure_all_started("top", StartType::Permanent).await.unwrap();
    assert_eq!(started, ["base", "top"]);
    Node::clone(&node).run_until(async {}).await.unwrap();
    assert_eq!(log.take(), ["base starts", "top starts", "top ends", "base ends"]);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_application_takes_the_node_along() {
    let (node, log) = (TestNode::new(1).await, Log::default());
    node.load_application(application("fragile", &log)).await.unwrap();
    node.load_application(application("other", &log)).await.unwrap();
    node.start_application("other", StartType::Temporary).await.unwrap();
    node.start_application("fragile", StartType::Permanent).await.unwrap();
    let fragile = Server::<Worker>::named(&node, "fragile").unwrap();
    let crashed = fragile.call(Atom::from_static("crash")).await;
    assert!(matches!(crashed, Err(CallError::Exit(_))));
    let why = Node::clone(&node).run_until(std::future::pending()).await.unwrap_err();
    assert_eq!(why.0.to_string(), "{application_terminated,fragile,shutdown}");
    assert_eq!(log.take(), ["other starts", "fragile starts", "fragile ends", "other ends"]);
}

#[tokio::test(start_paused = true)]
async fn a_temporary_application_ends_alone() {
    let (node, log) = (TestNode::new(1).await, Log::default());
    node.load_application(application("fragile", &log)).await.unwrap();
    node.start_application("fragile", StartType::Temporary).await.unwrap();
    let fragile = Server::<Worker>::named(&node, "fragile").unwrap();
    let _ = fragile.call(Atom::from_static("crash")).await;
    node.settle().await;
    assert!(node.which_applications().await.unwrap().is_empty());
    node.start_application("fragile", StartType::Temporary).await.unwrap();
    Node::clone(&node).stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_hangs_does_not_hold_the_node_up_for_ever() {
    let mut epmd = EpmdOptions::default();
    epmd.port = common::free_port();
    let builder = Node::builder("a@127.0.0.1").epmd(epmd).listen("127.0.0.1", 0);
    let node = builder.shutdown_timeout(Duration::from_millis(300)).start().await.unwrap();
    let hangs = Application::new("hangs").prep_stop(std::future::pending);
    node.load_application(hangs).await.unwrap();
    node.start_application("hangs", StartType::Temporary).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
    let begin = Instant::now();
    node.stop().await;
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(20), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn another_node_starts_what_it_may() {
    let ([a, b], log) = (TestNode::cluster(1, ["a@test", "b@test"]).await, Log::default());
    b.load_application(application("closed", &log)).await.unwrap();
    b.load_application(application("open", &log).remote_start(true)).await.unwrap();
    let error = a.start_application_on("b@test", "closed", StartType::Temporary).await.unwrap_err();
    assert_eq!(error.to_string(), "the other node refused: {not_allowed,closed}");
    let error = a.start_application_on("b@test", "none", StartType::Temporary).await.unwrap_err();
    assert_eq!(error.to_string(), "the other node refused: {not_loaded,none}");
    a.start_application_on("b@test", "open", StartType::Temporary).await.unwrap();
    assert_eq!(ask(&b, "open", "application").await, Term::atom("open"));
    let error = a.stop_application_on("b@test", "closed").await.unwrap_err();
    assert_eq!(error.to_string(), "the other node refused: {not_allowed,closed}");
    a.stop_application_on("b@test", "open").await.unwrap();
    assert_eq!(log.take(), ["open starts", "open ends"]);
    // What is offered is loaded by name, and nothing else is.
    b.offer_application(application("offered", &log).remote_start(true)).await.unwrap();
    let error = a.start_application_on("b@test", "offered", StartType::Temporary).await.unwrap_err();
    assert_eq!(error.to_string(), "the other node refused: {not_loaded,offered}");
    a.load_application_on("b@test", "offered").await.unwrap();
    let error = a.load_application_on("b@test", "offered").await.unwrap_err();
    assert_eq!(error.to_string(), "the other node refused: {already_loaded,offered}");
    let error = a.load_application_on("b@test", "none").await.unwrap_err();
    assert_eq!(error.to_string(), "the other node refused: {not_loaded,none}");
    a.start_application_on("b@test", "offered", StartType::Temporary).await.unwrap();
    assert_eq!(log.take(), ["offered starts"]);
}

#[tokio::test(start_paused = true)]
async fn a_root_that_does_not_start_says_why() {
    let (node, log) = (TestNode::new(1).await, Log::default());
    let worker = |name| ChildSpec::worker::<Worker>(name, ("shop", log.clone())).name("taken");
    let spec = SupervisorSpec::one_for_one().child(worker("a")).child(worker("b"));
    node.load_application(Application::new("shop").root(ChildSpec::supervisor("sup", spec))).await.unwrap();
    let error = node.start_application("shop", StartType::Permanent).await.unwrap_err();
    let text = error.to_string();
    let begins = "the application shop did not start: {shutdown,{failed_to_start_child,b,{already_started,";
    assert!(text.starts_with(begins), "{text}");
    // It can be tried again, and the node lives.
    assert!(node.start_application("shop", StartType::Permanent).await.is_err());
    assert!(Server::<Supervisor>::named(&node, "sup").is_none());
    Node::clone(&node).stop().await;
}
