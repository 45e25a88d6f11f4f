//! Nodes that die, hang, or have nothing to say.
#![expect(clippy::disallowed_methods, reason = "tests against programs of this host")]

use std::time::{Duration, Instant};

use beamline_interop::{Cluster, ErlNode, puppet};

const TICKTIME: [&str; 3] = ["-kernel", "net_ticktime", "4"];
/// OTP drops a silent peer within a quarter of the tick time around it: a tick may have come up to a second before the
/// silence began. A second more for a busy machine.
const DROPPED_WITHIN: std::ops::RangeInclusive<f64> = 2.0..=6.0;

async fn erl_with_puppets(cluster: &Cluster, name: &str) -> ErlNode {
    let mut erl = cluster.erl(name).args(TICKTIME).start().await;
    erl.load(puppet::ERLANG).await;
    erl.eval("puppet:start()").await;
    erl
}

/// A puppet on the node `watching` has relations of all kinds to three on the node `dying`. In `erl`, which pulls the strings.
async fn relate(erl: &mut ErlNode, watching: &str, dying: &str) {
    erl.eval(&format!(
        "W = puppet:new('{watching}'), [A, B, C] = [puppet:new('{dying}') || _ <- [1, 2, 3]],
         puppet:do(A, [{{register, named}}]),
         [_, M1, M2, M3, Off | _] =
             puppet:do(W, [{{trap_exit, true}}, {{monitor, A}}, {{monitor, {{named, '{dying}'}}}}, {{monitor, B}}, {{monitor, C}},
                           {{link, A}}, {{link, B}}, {{link, C}}, {{unlink, C}}, {{link, C}},
                           {{monitor_node, '{dying}', true}}, {{monitor_node, '{dying}', true}}, {{monitor_nodes, true}}]),
         puppet:do(W, [{{demonitor, Off}}]), puppet:do(A, [{{link, W}}]), puppet:sync(W, A), puppet:sync(A, W)"
    ))
    .await;
}

/// The watching puppet hears of each relation once, and of the node last.
async fn hears_of_the_loss(erl: &mut ErlNode, dying: &str) {
    let heard = erl
        .eval(&format!(
            "Heard = puppet:logged(W, 9),
             Relations = lists:sort([{{'EXIT', P, noconnection}} || P <- [A, B, C]] ++
                 [{{'DOWN', M1, process, A, noconnection}}, {{'DOWN', M2, process, {{named, '{dying}'}}, noconnection}},
                  {{'DOWN', M3, process, B, noconnection}}]),
             {{First, Last}} = lists:split(6, Heard),
             {{lists:sort(First) =:= Relations, Last}}"
        ))
        .await;
    assert_eq!(
        heard,
        format!("{{true,[{{nodedown,'{dying}'}},{{nodedown,'{dying}'}},{{nodedown,'{dying}'}}]}}")
    );
}

/// After the node has come back: what was of its former life is dead, and nothing of it is heard twice.
async fn knows_the_new_life_from_the_old(erl: &mut ErlNode, watching: &str, dying: &str) {
    let heard = erl
        .eval(&format!(
            "New = puppet:new('{dying}'),
             puppet:sync(New, W),
             [M4, _, M5 | _] = puppet:do(W, [{{monitor, A}}, {{link, B}}, {{monitor, New}}, {{link, New}},
                                             {{send, A, hello}}, {{exit, C, kill}}]),
             Noproc = lists:sort([E || E <- puppet:logged(W, 2), element(1, E) =/= nodeup]),
             [] = puppet:sync(W, New),
             boom = puppet:stop(New, boom),
             Boom = lists:sort(puppet:logged(W, 2)),
             Final = puppet:new('{dying}'), puppet:sync(Final, W), [] = puppet:log(W),
             {{Noproc =:= lists:sort([{{'DOWN', M4, process, A, noproc}}, {{'EXIT', B, noproc}}]),
               Boom =:= lists:sort([{{'DOWN', M5, process, New, boom}}, {{'EXIT', New, boom}}])}}"
        ))
        .await;
    assert_eq!(heard, "{true,true}", "{watching} about {dying}");
}

#[tokio::test(flavor = "multi_thread")]
async fn we_hear_once_of_each_relation_to_an_erlang_node_that_is_killed_or_stops() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = erl_with_puppets(&cluster, "strings").await;
    let rust = cluster.node("rust").await;
    puppet::start(&rust);
    for killed in [true, false] {
        let dying = erl_with_puppets(&cluster, "dying").await;
        erl.eval("f()").await;
        relate(&mut erl, "rust@127.0.0.1", dying.name()).await;
        if killed {
            dying.signal("KILL");
            hears_of_the_loss(&mut erl, dying.name()).await;
            drop(dying);
        } else {
            dying.stop().await;
            hears_of_the_loss(&mut erl, "dying@127.0.0.1").await;
        }
        let dying = erl_with_puppets(&cluster, "dying").await;
        knows_the_new_life_from_the_old(&mut erl, "rust@127.0.0.1", dying.name()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_node_of_our_own_is_lost_to_another_and_to_erlang() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = erl_with_puppets(&cluster, "strings").await;
    let rust = cluster.node("rust").await;
    puppet::start(&rust);
    for watching in ["rust@127.0.0.1", "strings@127.0.0.1"] {
        let dying = cluster.node("dying").await;
        puppet::start(&dying);
        erl.eval("f()").await;
        relate(&mut erl, watching, "dying@127.0.0.1").await;
        dying.stop().await;
        hears_of_the_loss(&mut erl, "dying@127.0.0.1").await;
        let dying = cluster.node("dying").await;
        puppet::start(&dying);
        knows_the_new_life_from_the_old(&mut erl, watching, "dying@127.0.0.1").await;
        dying.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn erlang_hears_once_of_each_relation_to_our_killed_node() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = erl_with_puppets(&cluster, "strings").await;
    let fixture = cluster.fixture("dying", &["--net-ticktime", "4"]).await;
    // The fixture has victims in the place of puppets.
    erl.eval(
        "R = {relations, 'dying@127.0.0.1'},
         [A, B, C] = [element(2, gen_server:call(R, {spawn_victim})) || _ <- [1, 2, 3]],
         W = puppet:new(node()),
         [_, M1, M2, M3, Off | _] =
             puppet:do(W, [{trap_exit, true}, {monitor, A}, {monitor, R}, {monitor, B}, {monitor, C},
                           {link, A}, {link, B}, {link, C}, {unlink, C}, {link, C},
                           {monitor_node, 'dying@127.0.0.1', true}, {monitor_node, 'dying@127.0.0.1', true},
                           {monitor_nodes, true}]),
         puppet:do(W, [{demonitor, Off}]), [] = gen_server:call(R, log)",
    )
    .await;
    fixture.signal("KILL");
    let heard = erl
        .eval(
            "Heard = puppet:logged(W, 9),
             Relations = lists:sort([{'EXIT', P, noconnection} || P <- [A, B, C]] ++
                 [{'DOWN', M1, process, A, noconnection}, {'DOWN', M2, process, R, noconnection},
                  {'DOWN', M3, process, B, noconnection}]),
             {First, Last} = lists:split(6, Heard),
             {lists:sort(First) =:= Relations, Last}",
        )
        .await;
    let down = "{nodedown,'dying@127.0.0.1'}";
    assert_eq!(heard, format!("{{true,[{down},{down},{down}]}}"));
    drop(fixture);

    let _fixture = cluster.fixture("dying", &["--net-ticktime", "4"]).await;
    let heard = erl
        .eval(
            "{ok, New} = gen_server:call(R, {spawn_victim}),
             [M4, _, M5, _ | _] = puppet:do(W, [{monitor, A}, {link, B}, {monitor, New}, {link, New}, {send, A, {stop, boom}}]),
             Noproc = lists:sort([E || E <- puppet:logged(W, 3), element(1, E) =/= nodeup]),
             New ! {stop, boom},
             Boom = lists:sort(puppet:logged(W, 2)),
             {Noproc =:= lists:sort([{'DOWN', M4, process, A, noproc}, {'EXIT', B, noproc}]),
              Boom =:= lists:sort([{'DOWN', M5, process, New, boom}, {'EXIT', New, boom}])}",
        )
        .await;
    assert_eq!(heard, "{true,true}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fixture_remembers_what_a_killed_erlang_node_leaves() {
    let Some(cluster) = Cluster::start().await else { return };
    let _fixture = cluster.fixture("fixture", &["--net-ticktime", "4"]).await;
    let mut erl = erl_with_puppets(&cluster, "strings").await;
    let dying = erl_with_puppets(&cluster, "dying").await;
    erl.eval(
        "R = {relations, 'fixture@127.0.0.1'}, P = puppet:new('dying@127.0.0.1'), Q = puppet:new(node()),
         Call = fun(Request) -> gen_server:call(R, Request) end,
         ok = Call({link, P}), M1 = Call({monitor, P}), M2 = Call({monitor, {puppets, 'dying@127.0.0.1'}}),
         ok = Call({monitor_node, 'dying@127.0.0.1', true}), ok = Call({link, Q}), ok = Call({unlink, Q}),
         ok = Call({demonitor, Call({monitor, Q})}), ok = Call({exit, Q, boom}),
         ok = Call({monitor_node, 'nobody@127.0.0.1', true})",
    )
    .await;
    dying.signal("KILL");
    let log = erl
        .eval(
            "Collect = fun Collect(Log) when length(Log) >= 5 -> Log;
                           Collect(Log) -> timer:sleep(5), Collect(Log ++ Call(log)) end,
             [{nodedown, 'nobody@127.0.0.1'} | Log] = Collect([]),
             {lists:sort(lists:sublist(Log, 3)) =:=
                  lists:sort([{'EXIT', P, noconnection}, {'DOWN', M1, process, P, noconnection},
                              {'DOWN', M2, process, {puppets, 'dying@127.0.0.1'}, noconnection}]),
              lists:nthtail(3, Log)}",
        )
        .await;
    assert_eq!(log, "{true,[{nodedown,'dying@127.0.0.1'}]}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_stays_up() {
    let Some(cluster) = Cluster::start().await else { return };
    let _fixture = cluster.fixture("fixture", &["--net-ticktime", "4"]).await;
    let mut erl = erl_with_puppets(&cluster, "idle").await;
    let rust = cluster.builder("rust").net_ticktime(Duration::from_secs(4), 4).start().await.unwrap();
    let hidden =
        cluster.builder("hidden").hidden(true).net_ticktime(Duration::from_secs(4), 4).start().await.unwrap();
    rust.connect("fixture@127.0.0.1").await.unwrap();
    rust.connect("idle@127.0.0.1").await.unwrap();
    hidden.connect("idle@127.0.0.1").await.unwrap();
    let pings = "[net_adm:ping(N) || N <- ['fixture@127.0.0.1', 'rust@127.0.0.1']]";
    assert_eq!(erl.eval(pings).await, "[pong,pong]");
    erl.eval("net_kernel:monitor_nodes(true, [{node_type, all}])").await;
    // Fifteen seconds in which nobody says anything.
    let lost = "receive {nodedown, _, _} = Down -> Down after 15000 -> none end";
    assert_eq!(erl.eval(lost).await, "none");
    assert_eq!(
        erl.eval("lists:sort(nodes(connected))").await,
        "['fixture@127.0.0.1','hidden@127.0.0.1','rust@127.0.0.1']"
    );
    assert_eq!(rust.nodes().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_is_dropped_within_the_tick_time() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = erl_with_puppets(&cluster, "strings").await;
    let hanging = erl_with_puppets(&cluster, "hanging").await;
    let rust = cluster.builder("rust").net_ticktime(Duration::from_secs(4), 4).start().await.unwrap();
    puppet::start(&rust);
    let fixture = cluster.fixture("stopped", &["--net-ticktime", "4"]).await;
    erl.eval(
        "P = puppet:new('hanging@127.0.0.1'), Q = puppet:new('hanging@127.0.0.1'), W = puppet:new('rust@127.0.0.1'),
         [_, M, _ | _] = puppet:do(W, [{trap_exit, true}, {monitor, P}, {link, P}, {monitor_node, 'hanging@127.0.0.1', true}]),
         puppet:sync(W, P),
         F = monitor(process, {echo, 'stopped@127.0.0.1'}), pong = net_adm:ping('stopped@127.0.0.1')",
    )
    .await;
    let start = Instant::now();
    hanging.signal("STOP");
    fixture.signal("STOP");
    let heard = erl.eval(
        "Log = puppet:logged(W, 3),
         {lists:sort(lists:sublist(Log, 2)) =:= lists:sort([{'EXIT', P, noconnection}, {'DOWN', M, process, P, noconnection}]),
          lists:nthtail(2, Log)}",
    );
    assert_eq!(heard.await, "{true,[{nodedown,'hanging@127.0.0.1'}]}");
    let elapsed = start.elapsed().as_secs_f64();
    assert!(DROPPED_WITHIN.contains(&elapsed), "we: {elapsed}");
    // The other way about, Erlang drops ours.
    let dropped = erl.eval("receive {'DOWN', F, process, _, Why} -> Why after 10000 -> none end").await;
    assert_eq!(dropped, "noconnection");

    // Once they go on, they are taken for what they are: the same nodes, newly connected.
    hanging.signal("CONT");
    fixture.signal("CONT");
    let alive = "[M2] = puppet:do(W, [{monitor, Q}]), puppet:sync(W, Q), boom = puppet:stop(Q, boom),
         puppet:logged(W, 1) =:= [{'DOWN', M2, process, Q, boom}]";
    assert_eq!(erl.eval(alive).await, "true");
    assert_eq!(erl.eval("gen_server:call({echo, 'stopped@127.0.0.1'}, alive)").await, "alive");
}
