//! Group leaders across nodes: `erlang:group_leader/2` on a process of another node. What is expected is what it does to a process of
//! Erlang's.

use beamline::process::{Context, ExitReason};
use beamline::term::Term;
use beamline_interop::Cluster;

/// Whoever asks it is told its pid, its leader, and the leader of a process that it spawns.
async fn asked(mut cx: Context<Term>) -> ExitReason {
    loop {
        let message = cx.receive().await;
        let Some(from) = message.as_pid().cloned() else { return ExitReason::atom("badarg") };
        let (pid, leader) = (cx.pid().clone(), cx.group_leader());
        let tell = move |cx: Context<Term>| async move {
            let _ = cx.send(from, (pid, leader, cx.group_leader()));
            ExitReason::Normal
        };
        if cx.spawn(tell).is_err() {
            return ExitReason::atom("system_limit");
        }
    }
}

const ASKED: &str = "register(asked, spawn(fun Loop() ->
    receive From ->
        {Pid, Leader} = {self(), group_leader()},
        spawn(fun() -> From ! {Pid, Leader, group_leader()} end), Loop()
    end end))";

#[tokio::test(flavor = "multi_thread")]
async fn erlang_leads_a_process_of_another_node_and_what_that_spawns_from_then_on() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = cluster.erl("erl").start().await;
    let mut other = cluster.erl("other").start().await;
    assert_eq!(other.eval(ASKED).await, "true");
    let node = cluster.node("rust").await;
    let pid = node.spawn(asked).expect("the node has room");
    node.register("asked", &pid).expect("the name is free");
    erl.eval("Ask = fun(To) -> To ! self(), receive Told -> Told after 5000 -> none end end").await;
    erl.eval("Anybody = spawn(fun() -> ok end)").await;
    for to in ["{asked, 'other@127.0.0.1'}", "{asked, 'rust@127.0.0.1'}"] {
        let own = format!("(fun({{_, L, C}}) -> {{node(L) == element(2, {to}), L == C}} end)(Ask({to}))");
        assert_eq!(erl.eval(&own).await, "{true,true}", "{to}");
        // Set, it is there with the next message; whether the leader is alive does not matter.
        for leader in ["self()", "Anybody", "element(1, Ask({asked, 'rust@127.0.0.1'}))"] {
            let set = format!(
                "(fun() -> {{Pid, _, _}} = Ask({to}), New = {leader}, true = group_leader(New, Pid),
                 Ask({to}) == {{Pid, New, New}} end)()"
            );
            assert_eq!(erl.eval(&set).await, "true", "{to} led by {leader}");
        }
    }
}
