//! Functions between nodes of this library. What Erlang sees of them is in `interop/tests/rpc.rs`.

use std::time::Duration;

use super::*;
use crate::gen_server::Context as Server;
use crate::node::Node;
use crate::process::{ExitReason, SpawnError};
use crate::term::{Pid, Term};
use crate::testing::TestNode;

const SECOND: Duration = Duration::from_secs(1);

/// For the import: a server's context has the same methods.
#[expect(dead_code, reason = "it only has to compile")]
fn a_server_may_call<S: crate::gen_server::GenServer>(cx: &Server<S>) -> Rpc {
    cx.rpc("b@two")
}

fn export(node: &Node) {
    node.export(Function::new("m", "add", |_, a: i64, b: i64| async move { Ok(a + b) }));
    node.export(Function::new("m", "none", |cx: Context<Term>| async move { Ok(cx.group_leader()) }));
    node.export(Function::new("m", "raise", |_, class: Atom, what: Term| async move {
        Err::<(), _>(match class.as_str() {
            "error" => Raise::Error(what),
            "exit" => Raise::Exit(what),
            "throw" => Raise::Throw(what),
            _ => panic!("no such class"),
        })
    }));
    node.export(Function::new("m", "sleep", |cx: Context<Term>, seconds: u64| async move {
        cx.world().sleep(SECOND * u32::try_from(seconds).unwrap_or(u32::MAX)).await;
        Ok(seconds)
    }));
    node.export(Function::new("m", "wait", |mut cx: Context<Term>| async move {
        Err::<(), _>(Raise::Exit(cx.receive().await))
    }));
}

async fn nodes() -> [TestNode; 2] {
    let nodes = TestNode::cluster(1, ["a@one", "b@two"]).await;
    export(&nodes[1]);
    nodes
}

/// Also of a node's own functions.
const NODES: [&str; 2] = ["a@one", "b@two"];

#[tokio::test(start_paused = true)]
async fn a_function_returns_or_raises() {
    let [a, b] = nodes().await;
    export(&a);
    for node in NODES {
        let rpc = a.rpc(node);
        assert_eq!(rpc.call::<i64>("m", "add", [2.into(), 3.into()]).await.unwrap(), 5);
        let raise = |class, what: i64| rpc.call::<Term>("m", "raise", [Term::atom(class), what.into()]);
        match raise("error", 1).await {
            Err(RpcError::Error { reason, stack }) => {
                assert_eq!((reason.to_string(), stack.to_string()), ("1".into(), "[{m,raise,2,[]}]".into()));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(raise("exit", 2).await, Err(RpcError::Exit(what)) if what == Term::from(2)));
        assert!(matches!(raise("throw", 3).await, Err(RpcError::Throw(what)) if what == Term::from(3)));
        let panicked = raise("other", 4).await.unwrap_err().to_string();
        assert_eq!(panicked, "{rust_panic,<<\"no such class\">>} in [{m,raise,2,[]}]");
        let undef = rpc.call::<Term>("m", "add", [1.into()]).await.unwrap_err().to_string();
        assert_eq!(undef, "undef in [{m,add,[1],[]}]", "the arity counts");
        let clause = rpc.call::<Term>("m", "add", [1.into(), Term::atom("x")]).await.unwrap_err().to_string();
        assert_eq!(clause, "function_clause in [{m,add,[1,x],[]}]");
        let decode = rpc.call::<String>("m", "add", [1.into(), 2.into()]).await.unwrap_err();
        assert!(matches!(decode, RpcError::Decode(_)), "{decode}");
    }
    a.assert_clean().await;
    b.assert_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_leaves_nobody_waiting() {
    let [a, b] = nodes().await;
    let rpc = a.rpc("b@two").timeout(SECOND);
    assert!(matches!(rpc.call::<u64>("m", "sleep", [9.into()]).await, Err(RpcError::Timeout(SECOND))));
    a.assert_clean().await;
    assert_eq!(a.elapsed(), SECOND);
    // The function runs on, as in Erlang.
    a.advance(8 * SECOND).await;
    b.assert_clean().await;
    let nobody = a.rpc("nobody@two").call::<u64>("m", "sleep", [1.into()]).await;
    assert!(matches!(&nobody, Err(RpcError::NoConnection(node)) if node == "nobody@two"), "{nobody:?}");
    // A process that is ended from outside, and a connection that is lost.
    for lost in [false, true] {
        let before = b.processes();
        let rpc = a.rpc("b@two");
        let call = a.world().spawn(async move { rpc.call::<Term>("m", "wait", []).await });
        a.settle().await;
        let started: Vec<Pid> = b.processes().into_iter().filter(|pid| !before.contains(pid)).collect();
        let [pid] = &started[..] else { panic!("{started:?}") };
        if lost {
            assert!(a.disconnect("b@two"));
            assert!(matches!(call.await.unwrap(), Err(RpcError::NoConnection(_))));
            b.exit(pid, ExitReason::Kill);
        } else {
            b.exit(pid, ExitReason::Kill);
            assert!(matches!(call.await.unwrap(), Err(RpcError::Signal(ExitReason::Killed))));
        }
    }
    a.assert_clean().await;
    b.assert_clean().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_revoked_or_not_for_a_node_is_not_there() {
    let [a, b] = nodes().await;
    let only = |node: &'static str| Function::new("m", "secret", |_| async { Ok(7) }).only([node]);
    let call =
        || async { a.rpc("b@two").call::<i64>("m", "secret", []).await.map_err(|error| error.to_string()) };
    let undef = Err("undef in [{m,secret,[],[]}]".to_owned());
    assert_eq!(call().await, undef);
    b.export(only("c@three"));
    assert_eq!(call().await, undef);
    b.export(only("a@one"));
    assert_eq!(call().await, Ok(7));
    assert!(b.revoke("m", "secret"));
    assert!(!b.revoke("m", "secret"));
    assert_eq!(call().await, undef);
}

#[tokio::test(start_paused = true)]
async fn what_a_function_prints_comes_to_the_caller() {
    let [a, b] = nodes().await;
    b.export(Function::new("m", "print", |cx: Context<Term>| async move {
        cx.io(cx.group_leader()).put_chars("printed").await.map_err(|error| Raise::error(error.to_string()))
    }));
    let process = a.spawn(|cx| async move {
        cx.rpc("b@two").call::<Term>("m", "print", []).await.map_or_else(Into::into, |_| ExitReason::Normal)
    });
    let mut probe = a.probe();
    let process = process.unwrap();
    probe.monitor(&process);
    assert_eq!(probe.expect_down(&process, SECOND).await, ExitReason::Normal);
    assert_eq!((&*a.printed(), &*b.printed()), ("printed", ""));
}

#[tokio::test(start_paused = true)]
async fn a_cast_runs_once_and_says_nothing() {
    let [a, b] = nodes().await;
    let probe = b.probe();
    let told = probe.pid().clone();
    b.export(Function::new("m", "tell", move |cx: Context<Term>, what: i64| {
        let told = told.clone();
        async move { cx.send(told, what).map_err(|error| Raise::error(error.to_string())) }
    }));
    let mut probe = probe;
    a.rpc("b@two").cast("m", "tell", [5.into()]);
    a.rpc("b@two").cast("m", "nothing", []);
    assert_eq!(probe.expect::<i64>(SECOND).await, 5);
    probe.expect_none(SECOND).await;
    a.assert_clean().await;
    b.assert_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_process_is_spawned_elsewhere_linked_and_monitored() {
    let [a, b] = nodes().await;
    export(&a);
    for node in NODES {
        let mut probe = a.probe();
        let tell = probe.pid().clone();
        let parent = a.spawn(move |mut cx| async move {
            cx.trap_exit(true);
            let spawned =
                cx.spawn_request(node, "m", "wait", []).link().monitor().await.expect("it is spawned");
            let _ = cx.send(&tell, spawned.pid.clone());
            // The link comes first, as from Erlang.
            for _ in 0..2 {
                let message = cx.receive().await;
                let _ = cx.send(&tell, message);
            }
            let gone = cx
                .spawn_request(node, "m", "unheard", [1.into()])
                .monitor()
                .await
                .expect("it is spawned, too");
            let down = cx.receive().await;
            let _ = cx.send(&tell, (gone.monitor == spawned.monitor, down));
            ExitReason::Normal
        });
        let parent = parent.unwrap();
        let pid: Pid = probe.expect(SECOND).await;
        assert_eq!(pid.node, node);
        probe.send(&pid, Term::atom("enough")).unwrap();
        let (exit, from, why): (Atom, Pid, Atom) = probe.expect(SECOND).await;
        assert_eq!((exit.as_str(), from, why.as_str()), ("EXIT", pid.clone(), "enough"));
        let (down, _, _, from, why): (Atom, Term, Atom, Pid, Atom) = probe.expect(SECOND).await;
        assert_eq!((down.as_str(), from, why.as_str()), ("DOWN", pid, "enough"));
        let (same, down): (bool, Term) = probe.expect(SECOND).await;
        assert!(!same);
        let reason = &down.as_tuple().expect("a DOWN")[4];
        assert_eq!(reason.to_string(), "{undef,[{m,unheard,[1],[]}]}");
        probe.monitor(&parent);
        probe.expect_down(&parent, SECOND).await;
    }
    // A linked process dies with its parent.
    let parent = a.spawn(|mut cx| async move {
        let spawned = cx.spawn_request("b@two", "m", "wait", []).link().await;
        assert!(spawned.is_ok_and(|spawned| spawned.monitor.is_none()));
        cx.receive().await.into()
    });
    a.settle().await;
    a.send(parent.unwrap(), Term::atom("over")).unwrap();
    b.assert_clean().await;
    a.assert_clean().await;
    // A node that is not there.
    let mut probe = a.probe();
    let tell = probe.pid().clone();
    a.spawn(move |cx| async move {
        let error = cx.spawn_request("nobody@two", "m", "wait", []).await;
        let _ = cx.send(tell, error == Err(SpawnError::NoConnection(Atom::from("nobody@two"))));
        ExitReason::Normal
    })
    .unwrap();
    assert!(probe.expect::<bool>(SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn a_spawned_process_that_nobody_waits_for_any_more_is_not_left_behind() {
    let [a, b] = nodes().await;
    // The parent has ended, or only given up, before the answer comes.
    for ends in [true, false] {
        let parent = a.spawn(move |mut cx| async move {
            let asked = cx.spawn_request("b@two", "m", "wait", []).link().monitor();
            // It is asked for, and not waited for.
            let mut asked = std::pin::pin!(asked.into_future());
            let once =
                std::future::poll_fn(|task| std::task::Poll::Ready(asked.as_mut().poll(task).is_pending()));
            assert!(once.await);
            if ends {
                return ExitReason::Normal;
            }
            asked.set(Box::pin(async { Err(SpawnError::NoConnection(Atom::from("x@x"))) }));
            cx.receive().await.into()
        });
        let parent = parent.unwrap();
        a.settle().await;
        b.assert_clean().await;
        a.exit(&parent, ExitReason::Kill);
        a.assert_clean().await;
    }
}
