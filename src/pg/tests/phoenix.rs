//! Topics on nodes in memory; that Phoenix takes them for its own is shown by interop's `phoenix` test.

use std::time::Duration;

use crate::gen_server::{GenServer, StartError};
use crate::pg::phoenix::{Options, PubSub, PubSubRef, SCOPE};
use crate::pg::{Limits, Scope};
use crate::process::{CallError, ExitReason};
use crate::term::{Atom, Term};
use crate::testing::TestNode;

const NAME: Atom = Atom::from_static("Elixir.MyApp.PubSub");
const SOON: Duration = Duration::from_secs(1);

async fn start(node: &TestNode, pool_size: usize) -> PubSubRef {
    Scope::start(node, Limits::default()).name(SCOPE).await.unwrap();
    PubSub::start(node, Options { pool_size }).name(NAME).await.unwrap();
    node.settle().await;
    node.pubsub(NAME)
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_reaches_the_subscribers_of_all_nodes_as_often_as_they_subscribed() {
    let [a, b] = TestNode::cluster(1, ["a@test", "b@test"]).await;
    let (here, there) = (start(&a, 1).await, start(&b, 2).await);
    let (mut mine, mut theirs, mut other) = (a.probe(), b.probe(), b.probe());
    here.subscribe("t", mine.pid()).await.unwrap();
    there.subscribe("t", theirs.pid()).await.unwrap();
    there.subscribe("t", theirs.pid()).await.unwrap();
    there.subscribe("u", other.pid()).await.unwrap();
    here.broadcast("t", &("hello", 1)).unwrap();
    assert_eq!(mine.expect::<(String, i64)>(SOON).await, ("hello".to_owned(), 1));
    for _ in 0..2 {
        assert_eq!(theirs.expect::<(String, i64)>(SOON).await, ("hello".to_owned(), 1));
    }
    // From the node with more groups to the one with one.
    there.broadcast_from(theirs.pid(), "t", &2).unwrap();
    assert_eq!(mine.expect::<i64>(SOON).await, 2);
    here.local_broadcast("t", &3).unwrap();
    assert_eq!(mine.expect::<i64>(SOON).await, 3);
    here.direct_broadcast("b@test", "u", &4).unwrap();
    assert_eq!(other.expect::<i64>(SOON).await, 4);
    for probe in [&mut mine, &mut theirs, &mut other] {
        probe.expect_none(SOON).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_unsubscribes_or_ends_is_forgotten() {
    let node = TestNode::new(2).await;
    let pubsub = start(&node, 1).await;
    let mut stays = node.probe();
    let ends = node.spawn(|mut cx| async move {
        cx.receive().await;
        ExitReason::Normal
    });
    let ends = ends.unwrap();
    for topic in ["t", "t", "u"] {
        pubsub.subscribe(topic, stays.pid()).await.unwrap();
        pubsub.subscribe(topic, &ends).await.unwrap();
    }
    pubsub.unsubscribe("t", stays.pid()).await.unwrap();
    pubsub.broadcast("t", &1).unwrap();
    node.settle().await;
    assert!(!node.is_process_alive(&ends), "it was sent one");
    pubsub.broadcast("u", &2).unwrap();
    assert_eq!(stays.expect::<i64>(SOON).await, 2);
    let topics = pubsub.subscribed_topics();
    assert_eq!(topics, ["u"], "with one that has ended nothing is kept");
    pubsub.unsubscribe("u", stays.pid()).await.unwrap();
    pubsub.unsubscribe("u", stays.pid()).await.unwrap();
    assert!(pubsub.subscribed_topics().is_empty());
}

#[tokio::test(start_paused = true)]
async fn it_starts_with_a_name_on_a_scope_and_ends_with_its_workers() {
    let node = TestNode::new(3).await;
    let init = |result: Result<_, StartError>| match result {
        Err(StartError::Init(reason)) => reason,
        other => panic!("{other:?}"),
    };
    let unnamed = PubSub::start(&node, Options::default()).await;
    assert_eq!(init(unnamed), ExitReason::atom("badarg"));
    let without_scope = PubSub::start(&node, Options::default()).name(NAME).await;
    assert!(init(without_scope).to_string().contains("noproc"));
    node.settle().await;
    let pubsub = node.pubsub(NAME);
    let probe = node.probe();
    assert_eq!(pubsub.subscribe("t", probe.pid()).await, Err(CallError::NoProc));
    pubsub.broadcast("t", &1).unwrap();

    start(&node, 2).await;
    pubsub.subscribe("t", probe.pid()).await.unwrap();
    let groups = ["Elixir.MyApp.PubSub.Adapter", "Elixir.MyApp.PubSub.Adapter_2"];
    assert_eq!(node.pg(SCOPE).which_groups(), groups.map(Term::atom));
    let worker = node.whereis(groups[1]).unwrap();
    node.kill(&worker, ExitReason::Kill).await;
    assert_eq!((node.whereis(groups[0]), node.whereis(NAME.as_str())), (None, None));
    assert!(pubsub.subscribed_topics().is_empty());
    assert_eq!(node.pg(SCOPE).which_groups(), []);
}
