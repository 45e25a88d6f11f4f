//! The watchdog, in real time: it is there for what virtual time does not know.

mod common;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::mpsc;
use std::time::Duration;

use beamline::epmd::EpmdOptions;
use beamline::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span;

/// A bound for a broken test, not a measure.
const PATIENCE: Duration = Duration::from_secs(30);

/// Shows the warnings of the library, as their fields.
struct Warnings(mpsc::Sender<Fields>);

type Fields = BTreeMap<&'static str, String>;

#[derive(Default)]
struct Collect(Fields);

impl Visit for Collect {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN && metadata.target().starts_with("beamline")
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Collect::default();
        event.record(&mut fields);
        let _ = self.0.send(fields.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Cast `block`, it holds its thread until it is let go; told anything else, it awaits for as long as it is told.
struct Blocker(mpsc::Receiver<()>);

impl GenServer for Blocker {
    type Args = mpsc::Receiver<()>;
    type Call = u64;
    type Reply = ();
    type Cast = Term;
    type Info = Term;

    async fn init(go: Self::Args, _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self(go))
    }

    async fn handle_call(
        &mut self,
        milliseconds: u64,
        from: ReplyTo<()>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        cx.world().sleep(Duration::from_millis(milliseconds)).await;
        Ok(from.reply(()))
    }

    async fn handle_cast(&mut self, _: Term, _: &mut Context<Self>) -> Result<(), ExitReason> {
        self.0.recv()?;
        Ok(())
    }
}

// With one thread, so that the one which could notice is blocked, and so are the runtime's timers.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_callback_that_blocks_its_thread_is_named_once_and_once_more_when_it_ends() {
    let (tell, warnings) = mpsc::channel();
    tracing::subscriber::set_global_default(Warnings(tell)).expect("the only test of this program");
    let mut epmd = EpmdOptions::default();
    epmd.port = common::free_port();
    let limit = Duration::from_millis(40);
    let builder = Node::builder("dog@127.0.0.1").cookie("c").epmd(epmd).listen("127.0.0.1", 0);
    let node = builder.watchdog(limit).start().await.expect("the node starts");
    let (go, gone) = mpsc::channel();
    let server = Blocker::start(&node, gone).name("blocker").await.expect("it starts");

    // One that awaits, for however long, is none.
    server.call(200).await.expect("it replies");
    assert_eq!(warnings.try_recv().ok(), None);

    for _ in 0..2 {
        server.cast(Term::atom("block")).unwrap();
        server.send(Term::atom("waits")).unwrap();
        let blocks = warnings.recv_timeout(PATIENCE).expect("a warning");
        assert_eq!(blocks["pid"], server.pid().to_string());
        assert_eq!(blocks["name"], "blocker");
        assert!(blocks["server"].ends_with("Blocker"), "{blocks:?}");
        assert_eq!((&*blocks["callback"], &*blocks["waiting"]), ("handle_cast", "1"));
        assert!(blocks["milliseconds"].parse::<u128>().unwrap() >= limit.as_millis(), "{blocks:?}");
        let further = warnings.recv_timeout(limit * 4);
        assert!(further.is_err(), "{further:?}");
        go.send(()).unwrap();
        let ended = warnings.recv_timeout(PATIENCE).expect("another warning");
        assert_eq!((&ended["pid"], &ended["callback"]), (&blocks["pid"], &blocks["callback"]));
        assert!(ended["milliseconds"].parse::<u128>().unwrap() >= limit.as_millis() * 4, "{ended:?}");
    }
    node.stop().await;
}
