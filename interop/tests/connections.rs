//! Connections: who is there, who comes and goes, and who is not let in.

use std::time::Duration;

use beamline::node::ConnectError;
use beamline::term::Atom;
use beamline_interop::{Cluster, ErlNode, eventually, puppet, within};

const ROUNDS: usize = 200;

async fn erl_with_puppets(cluster: &Cluster, name: &str) -> ErlNode {
    let mut erl = cluster.erl(name).start().await;
    erl.load(puppet::ERLANG).await;
    erl.eval("puppet:start()").await;
    erl
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_connects_and_disconnects_by_either_side() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = cluster.erl("erl").start().await;
    let node = cluster.node("rust").await;
    let name = Atom::new(erl.name()).unwrap();
    erl.eval("net_kernel:monitor_nodes(true)").await;
    let processes = node.process_count();
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            node.try_ping(name.clone()).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        } else {
            assert_eq!(erl.eval("net_adm:ping('rust@127.0.0.1')").await, "pong", "round {round}");
        }
        // Erlang's own servers, which greet new nodes, may connect again at once.
        eventually("no connection is left", async || {
            if round % 4 < 2 {
                node.disconnect(erl.name());
            } else {
                erl.eval("erlang:disconnect_node('rust@127.0.0.1')").await;
            }
            node.nodes().is_empty() && erl.eval("nodes()").await == "[]"
        })
        .await;
    }
    // As they may after the last look: then it is up at the end, and both sides say so.
    let events = "Events = fun Events(Expected, Next, Count) ->
             receive {Expected, 'rust@127.0.0.1'} -> Events(Next, Expected, Count + 1)
             after 1000 -> {Expected, Count, process_info(self(), messages)} end end,
         {Expected, Count, {messages, []}} = Events(nodeup, nodedown, 0),
         Up = Expected =:= nodedown,
         {Count >= 400, Up =:= lists:member('rust@127.0.0.1', nodes()), Up}";
    let events = erl.eval(events).await;
    assert_eq!(events, format!("{{true,true,{}}}", !node.nodes().is_empty()), "up and down in turn");
    assert_eq!(node.process_count(), processes, "nothing is left of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn visible_and_hidden_nodes_are_listed_as_such() {
    let Some(cluster) = Cluster::start().await else { return };
    let _visible = cluster.fixture("visible", &[]).await;
    let _hidden = cluster.fixture("hidden", &["--hidden"]).await;
    let mut erl = cluster.erl("erl").start().await;
    let hidden_erl = cluster.erl("hidden_erl").args(["-hidden"]).start().await;
    let node = cluster.node("rust").await;
    for name in ["visible", "hidden", "rust"] {
        assert_eq!(erl.eval(&format!("net_adm:ping('{name}@127.0.0.1')")).await, "pong");
    }
    assert_eq!(erl.eval("lists:sort(nodes())").await, "['rust@127.0.0.1','visible@127.0.0.1']");
    assert_eq!(erl.eval("nodes(hidden)").await, "['hidden@127.0.0.1']");
    for name in [hidden_erl.name(), "hidden@127.0.0.1"] {
        node.try_ping(Atom::new(name).unwrap()).await.unwrap();
    }
    assert_eq!(node.hidden_nodes(), ["hidden@127.0.0.1", "hidden_erl@127.0.0.1"]);
    let visible = node.nodes();
    assert!(
        visible.contains(&"erl@127.0.0.1".into()) && !visible.contains(&"hidden@127.0.0.1".into()),
        "{visible:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_hear_of_nodes_that_come_and_go() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = erl_with_puppets(&cluster, "erl").await;
    let node = cluster.node("rust").await;
    puppet::start(&node);
    erl.eval(
        "W = puppet:new('rust@127.0.0.1'), puppet:do(W, [{monitor_nodes, true}, {monitor_node, 'b@127.0.0.1', false}]),
         E = puppet:new(node()), puppet:do(E, [{monitor_nodes, true}])",
    )
    .await;
    for _ in 0..3 {
        let coming = erl_with_puppets(&cluster, "b").await;
        let log = "{puppet:sync(puppet:new('b@127.0.0.1'), W), puppet:logged(E, 1)}";
        assert_eq!(
            erl.eval(log).await,
            "{[{nodeup,'b@127.0.0.1'}],[{nodeup,'b@127.0.0.1'}]}",
            "before any message"
        );
        drop(coming);
        let log = "{puppet:logged(W, 1), puppet:logged(E, 1)}";
        assert_eq!(erl.eval(log).await, "{[{nodedown,'b@127.0.0.1'}],[{nodedown,'b@127.0.0.1'}]}");
    }
    erl.eval("puppet:do(W, [{monitor_nodes, false}])").await;
    let _coming = erl_with_puppets(&cluster, "b").await;
    assert_eq!(erl.eval("puppet:sync(puppet:new('b@127.0.0.1'), W)").await, "[]");
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_connects() {
    let Some(cluster) = Cluster::start().await else { return };
    let _fixture = cluster.fixture("fixture", &[]).await;
    let mut erl = cluster.erl("erl").start().await;
    let node = cluster.node("rust").await;
    assert_eq!(erl.eval("nodes()").await, "[]");
    // A thousand messages before the connection stands, and in order after it does.
    let echoed = erl
        .eval(
            "[{echo, 'fixture@127.0.0.1'} ! {self(), N} || N <- lists:seq(1, 1000)],
             [receive {echo, N} -> N after 9000 -> error(N) end || N <- lists:seq(1, 1000)] =:= lists:seq(1, 1000)",
        )
        .await;
    assert_eq!(echoed, "true");
    erl.eval("register(here, self())").await;
    for number in 0..1000 {
        node.send(("here", "erl@127.0.0.1"), number).unwrap();
    }
    let received = "[receive N when is_integer(N) -> N after 9000 -> none end || _ <- lists:seq(1, 1000)] =:= lists:seq(0, 999)";
    assert_eq!(erl.eval(received).await, "true");
    assert_eq!(node.nodes(), ["erl@127.0.0.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_cookie_is_refused_by_both_sides_and_harms_nobody() {
    let Some(cluster) = Cluster::start().await else { return };
    let _fixture = cluster.fixture("fixture", &[]).await;
    let mut good = cluster.erl("good").start().await;
    let mut bad = cluster.erl("bad").cookie("wrong").start().await;
    for _ in 0..3 {
        assert_eq!(bad.eval("net_adm:ping('fixture@127.0.0.1')").await, "pang");
    }
    assert_eq!(good.eval("gen_server:call({echo, 'fixture@127.0.0.1'}, hello)").await, "hello");

    let node = cluster.node("rust").await;
    let error = node.try_ping("bad@127.0.0.1").await.unwrap_err();
    assert!(error.to_string().contains("cookie"), "{error}");
    for _ in 0..200 {
        let unknown = node.try_ping("nobody@127.0.0.1").await.unwrap_err();
        assert!(matches!(unknown, ConnectError::Unknown(_)), "{unknown}");
    }
    assert!(!node.ping("bad@127.0.0.1").await);
    assert!(node.ping("good@127.0.0.1").await, "the node lives on");

    // With its cookie for that peer, it is let in; so is the peer.
    let knows = cluster.builder("knows").cookie_for("bad@127.0.0.1", "wrong").start().await.unwrap();
    knows.try_ping("bad@127.0.0.1").await.unwrap();
    assert!(knows.ping("good@127.0.0.1").await);
    assert_eq!(bad.eval("net_adm:ping('knows@127.0.0.1')").await, "pong");
}

/// Names on either side of Erlang's, as the order of the names decides who wins.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_connect_to_each_other_at_once_end_up_with_one_connection() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = erl_with_puppets(&cluster, "m").await;
    let name = Atom::new(erl.name()).unwrap();
    for ours in ["a", "z"] {
        let node = cluster.node(ours).await;
        puppet::start(&node);
        let full = format!("{ours}@127.0.0.1");
        for round in 0..50 {
            let dialing = format!("net_adm:ping('{full}')");
            let (theirs, our) = tokio::join!(erl.eval(&dialing), node.try_ping(name.clone()));
            assert_eq!(theirs, "pong", "{ours}, round {round}");
            our.unwrap_or_else(|error| panic!("{ours}, round {round}: {error}"));
            assert_eq!(node.nodes(), std::slice::from_ref(&name));
            assert_eq!(erl.eval("nodes()").await, format!("['{full}']"));
            // Erlang's own servers, which greet new nodes, may connect again at once.
            eventually("no connection is left", async || {
                erl.eval(&format!("erlang:disconnect_node('{full}')")).await;
                node.nodes().is_empty()
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_nodes_live_in_one_program() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = erl_with_puppets(&cluster, "erl").await;
    let mut nodes = Vec::new();
    for number in 0..5 {
        let node = cluster.node(&format!("rust{number}")).await;
        puppet::start(&node);
        nodes.push(node);
    }
    for node in &nodes {
        for other in &nodes {
            node.try_ping(other.name().clone()).await.unwrap();
        }
    }
    let everywhere = erl
        .eval(
            "Nodes = [list_to_atom(lists:concat([rust, N, '@127.0.0.1'])) || N <- lists:seq(0, 4)],
             Ps = [puppet:new(Node) || Node <- Nodes],
             [puppet:do(P, [{trap_exit, true} | [{link, Q} || Q <- Ps, Q > P]]) || P <- Ps],
             [puppet:sync(P, Q) || P <- Ps, Q <- Ps, P =/= Q],
             boom = puppet:stop(hd(Ps), boom),
             [puppet:logged(P, 1) || P <- tl(Ps)] =:= [[{'EXIT', hd(Ps), boom}] || _ <- tl(Ps)]",
        )
        .await;
    assert_eq!(everywhere, "true");
    let gone = nodes.remove(0);
    erl.eval("net_kernel:monitor_nodes(true)").await;
    gone.stop().await;
    assert_eq!(
        erl.eval("receive {nodedown, Gone} -> Gone after 9000 -> none end").await,
        "'rust0@127.0.0.1'"
    );
    assert_eq!(erl.eval("[net_adm:ping(N) || N <- Nodes]").await, "[pang,pong,pong,pong,pong]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_cannot_be_reached_costs_no_more_than_the_setup_time() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = cluster.erl("hanging").start().await;
    let node = cluster.builder("rust").net_setuptime(Duration::from_secs(1)).start().await.unwrap();
    erl.eval("ok").await;
    erl.signal("STOP");
    // The system takes the connection, the node says nothing.
    let error = within("the setup time ends", node.try_ping("hanging@127.0.0.1")).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout), "{error}");
    erl.signal("CONT");
    node.try_ping("hanging@127.0.0.1").await.unwrap();
}
