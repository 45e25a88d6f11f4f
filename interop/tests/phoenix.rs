//! Topics shared with an Erlang process that behaves as the workers of Phoenix.PubSub's default adapter do.

use std::sync::{Arc, Mutex};

use beamline::gen_server::GenServer;
use beamline::node::Node;
use beamline::pg::phoenix::{Options, PubSub, PubSubRef, SCOPE};
use beamline::pg::{Limits, Scope};
use beamline::term::{Pid, Term};
use beamline_interop::{Cluster, eventually};

const NAME: &str = "Elixir.MyApp.PubSub";

async fn start(node: &Node, pool_size: usize) -> PubSubRef {
    let mut options = Options::default();
    options.pool_size = pool_size;
    Scope::start(node, Limits::default()).name(SCOPE).await.expect("the name is free");
    PubSub::start(node, options).name(NAME).await.expect("the name is free");
    node.pubsub(NAME)
}

/// A process that notes what it is sent.
fn subscriber(node: &Node) -> (Pid, Arc<Mutex<Vec<Term>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let notes = heard.clone();
    let body = |mut cx: beamline::process::Context<Term>| async move {
        loop {
            let message = cx.receive().await;
            notes.lock().unwrap().push(message);
        }
    };
    (node.spawn(body).expect("there is room"), heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn broadcasts_reach_the_subscribers_of_both() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = cluster.erl("erl").start().await;
    erl.load(include_str!("erlang/pubsub.erl")).await;
    let node = cluster.node("rust").await;
    let pubsub = start(&node, 3).await;
    let (pid, heard) = subscriber(&node);
    pubsub.subscribe("room:1", &pid).await.expect("it runs");
    erl.eval(&format!(
        "P = '{NAME}', pubsub:start(P, 3), pubsub:subscribe(P, <<\"room:1\">>), net_adm:ping('rust@127.0.0.1'),
         Get = fun() -> receive Message -> Message after 9000 -> nothing end end"
    ))
    .await;
    let groups = ["", "_2", "_3"].map(|number| Term::atom(format!("{NAME}.Adapter{number}").leak()));
    let scope = node.pg(SCOPE);
    eventually("they have met", async || {
        groups.iter().all(|group| scope.get_members(group.clone()).len() == 2)
    })
    .await;
    let theirs =
        "[length(pg:get_members('Elixir.Phoenix.PubSub', G)) || G <- tuple_to_list(persistent_term:get(P))]";
    eventually("on both sides", async || erl.eval(theirs).await == "[2,2,2]").await;

    // As a channel of Phoenix's sends it.
    let text = "#{'__struct__' => 'Elixir.Phoenix.Socket.Broadcast',event => <<\"new\">>,payload => #{<<\"n\">> => 1},topic => <<\"room:1\">>}";
    let message: Term = text.parse().expect("it is a term");
    pubsub.broadcast("room:1", &message).expect("it has an external form");
    pubsub.broadcast("room:2", &message).expect("it has an external form");
    pubsub.direct_broadcast("erl@127.0.0.1", "room:1", &7).expect("it has an external form");
    assert_eq!(erl.eval(&format!("[Get() =:= {text}, Get()]")).await, "[true,7]");
    eventually("ours too", async || *heard.lock().unwrap() == [message.clone()]).await;

    // From processes of all groups, and to one of them by its name.
    heard.lock().unwrap().clear();
    let used = erl.eval("length(pubsub:broadcasts(P, <<\"room:1\">>, lists:seq(1, 60)))").await;
    assert_eq!(used, "3");
    assert_eq!(erl.eval("pubsub:broadcast(P, <<\"room:2\">>, not_subscribed)").await, "ok");
    assert_eq!(erl.eval("pubsub:direct_broadcast('rust@127.0.0.1', P, <<\"room:1\">>, 61)").await, "ok");
    eventually("all have come", async || heard.lock().unwrap().len() == 61).await;
    let mut numbers: Vec<_> = heard.lock().unwrap().iter().filter_map(Term::as_integer).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=61).collect::<Vec<_>>());
    assert_eq!(erl.eval("lists:sort([Get() || _ <- lists:seq(1, 60)]) =:= lists:seq(1, 60)").await, "true");

    pubsub.unsubscribe("room:1", &pid).await.expect("it runs");
    pubsub.subscribe("room:3", &pid).await.expect("it runs");
    // From one process they arrive in order: what is not for it would be there before.
    erl.eval("[pubsub:broadcast(P, T, T) || T <- [<<\"room:1\">>, <<\"room:3\">>]]").await;
    eventually("the last", async || heard.lock().unwrap().len() > 61).await;
    assert_eq!(heard.lock().unwrap()[61..], [Term::from("room:3")]);
}
