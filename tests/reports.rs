//! What is logged of a crash: OTP's crash and supervisor reports, as events of `tracing`. Alone in its program: who listens first is remembered by all.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span;

use beamline::prelude::*;
use beamline::supervisor::{ChildSpec, Restart, Supervisor, SupervisorSpec};
use beamline::testing::TestNode;

type Event = (&'static str, BTreeMap<String, String>);

/// Keeps all events.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<Event>>>);

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl tracing::Subscriber for Events {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::ERROR
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.0.lock().unwrap().push((event.metadata().target(), fields.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// A server that ends with whatever it is asked.
struct Child;

impl GenServer for Child {
    type Args = ();
    type Call = ExitReason;
    type Reply = ();
    type Cast = Term;
    type Info = Term;

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        why: ExitReason,
        _: ReplyTo<()>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Err(why)
    }

    fn state(&self) -> Term {
        Term::atom("content")
    }
}

async fn end(node: &TestNode, name: &str, why: &'static str) {
    let _ =
        Server::<Child>::named(node, name).expect("it runs").call(ExitReason::from(Term::atom(why))).await;
    node.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_reported_by_the_server_and_by_its_supervisor() {
    let events = Events::default();
    // The test's thread is the one that everything runs on.
    let _guard = tracing::subscriber::set_default(events.clone());
    let node = TestNode::new(1).await;
    let worker = |name| ChildSpec::worker::<Child>(name, ()).name(name);
    let spec = SupervisorSpec::one_for_one().intensity(1, Duration::from_secs(5));
    let spec = spec.child(worker("a")).child(worker("b").restart(Restart::Transient));
    let supervisor = Supervisor::start(&node, spec).name("top").await.unwrap();
    let pid = node.whereis("a").unwrap().to_string();
    end(&node, "a", "crash").await;
    let seen = std::mem::take(&mut *events.0.lock().unwrap());
    let [(crash, told), (report, heard)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((*crash, *report), ("beamline::crash_report", "beamline::supervisor"));
    for (field, expected) in [
        ("pid", &*pid),
        ("registered_name", "a"),
        ("callback", "terminate"),
        ("reason", "crash"),
        ("ancestors", "[top]"),
        ("state", "content"),
        ("message_queue_len", "0"),
    ] {
        assert_eq!(told[field], expected, "{field}: {told:?}");
    }
    assert!(told["initial_call"].ends_with("::Child"), "{told:?}");
    for (field, expected) in [
        ("supervisor", "top"),
        ("error_context", "child_terminated"),
        ("reason", "crash"),
        ("child.id", "a"),
        ("child.pid", &*pid),
        ("child.restart", "Permanent"),
    ] {
        assert_eq!(heard[field], expected, "{field}: {heard:?}");
    }
    // An orderly end of one that need not run is no report; one restart too many is.
    end(&node, "b", "normal").await;
    assert!(events.0.lock().unwrap().is_empty());
    end(&node, "a", "crash").await;
    assert_eq!(supervisor.ended().await, ExitReason::Shutdown);
    let contexts = events
        .0
        .lock()
        .unwrap()
        .iter()
        .filter_map(|(_, it)| it.get("error_context").cloned())
        .collect::<Vec<_>>();
    assert_eq!(contexts, ["child_terminated", "shutdown"]);
}
