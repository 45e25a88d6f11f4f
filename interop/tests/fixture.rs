//! `fixture-node` as a program: its options, and how it ends.
#![expect(clippy::disallowed_methods, reason = "tests against programs of this host")]

use std::process::Output;

use beamline_interop::{COOKIE, Cluster, fixture_command, within};

/// Runs it with these arguments until it ends by itself.
async fn run(args: &[&str]) -> Output {
    let mut command = fixture_command();
    command.args(args);
    let ended = tokio::task::spawn_blocking(move || command.output().expect("it runs"));
    within("it ends", ended).await.expect("reading does not panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_option_is_one_line_and_exit_code_two() {
    let bad: [&[&str]; 4] = [
        &["--name", "x@127.0.0.1", "--cookie", COOKIE, "--no-such-option"],
        &["--name", "x@127.0.0.1"],
        &["--name", "x@127.0.0.1", "--cookie", COOKIE, "--epmd-port", "70000"],
        &["--name", "no host", "--cookie", COOKIE, "--epmd-port", "1"],
    ];
    for args in bad {
        let output = run(args).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{args:?}: {said}");
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_one_line_and_exit_code_one() {
    let Some(cluster) = Cluster::start().await else { return };
    let erl = cluster.erl("taken").start().await;
    let port = cluster.epmd_port().to_string();
    let output = run(&["--name", erl.name(), "--cookie", COOKIE, "--epmd-port", &port]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("taken") && said.contains("regist"), "it says so: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_leaves_in_order_when_it_is_told_to() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = cluster.erl("erl").start().await;
    for signal in ["TERM", "INT"] {
        let mut fixture = cluster.fixture("fixture", &["--peer", "erl@127.0.0.1"]).await;
        // It has connected by itself.
        assert_eq!(erl.eval("nodes()").await, "['fixture@127.0.0.1']");
        erl.eval("monitor_node('fixture@127.0.0.1', true)").await;
        fixture.signal(signal);
        assert_eq!(fixture.ended().await, Some(0), "{signal}");
        assert_eq!(
            erl.eval("receive {nodedown, Node} -> Node after 9000 -> none end").await,
            "'fixture@127.0.0.1'"
        );
        let names = "{ok, Names} = erl_epmd:names({127,0,0,1}), [Name || {Name, _} <- Names]";
        assert_eq!(erl.eval(names).await, "[\"erl\"]", "its name is free");
        erl.eval("f()").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_takes_part_in_global() {
    let Some(cluster) = Cluster::start().await else { return };
    let fixture = cluster.fixture("fixture", &[]).await;
    let mut erl = cluster.erl("erl").start().await;
    erl.eval("logger:set_primary_config(level, none), New = fun() -> spawn(fun() -> receive stop -> ok end end) end").await;
    erl.eval(&format!("F = '{}', pong = net_adm:ping(F)", fixture.name())).await;
    assert_eq!(within("sync", erl.eval("global:sync()")).await, "ok");
    assert_eq!(
        erl.eval("yes = global:register_name(it, P = New()), P =:= rpc:call(F, global, whereis_name, [it])")
            .await,
        "true"
    );
    assert_eq!(erl.eval("global:trans({it, self()}, fun() -> done end)").await, "done");
    assert_eq!(erl.eval("{E, _} = {rpc:call(F, erlang, whereis, [echo]), 0}, rpc:call(F, global, register_name, [echo, E])").await, "yes");
    assert_eq!(erl.eval("E =:= global:whereis_name(echo)").await, "true");
    assert_eq!(erl.eval("rpc:call(F, global, register_name, [echo, P])").await, "no");
    assert_eq!(
        erl.eval("global:unregister_name(it), rpc:call(F, global, whereis_name, [it])").await,
        "undefined"
    );
    assert_eq!(
        erl.eval("rpc:call(F, global, send, [nobody, 1])").await,
        "{badrpc,{'EXIT',{badarg,{nobody,1}}}}"
    );
    assert_eq!(erl.eval("lists:sort(rpc:call(F, global, registered_names, []))").await, "[echo]");
}
