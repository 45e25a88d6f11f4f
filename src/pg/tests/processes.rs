//! Scopes as processes, on nodes in memory.

use std::time::Duration;

use crate::gen_server::{GenServer, StartError};
use crate::pg::{Action, GroupEvent, Limits, Scope, ScopeError, ScopeRef};
use crate::process::{CallError, ExitReason};
use crate::term::{Atom, Pid, Term};
use crate::testing::TestNode;

const NODES: [&str; 2] = ["a@test", "b@test"];
const SOON: Duration = Duration::from_secs(1);

fn group() -> Term {
    Term::tuple([Term::atom("workers"), Term::from(1)])
}

async fn start(node: &TestNode) -> ScopeRef {
    Scope::start(node, Limits::default()).name("pg").await.unwrap();
    node.settle().await;
    node.pg("pg")
}

fn sleeper(node: &TestNode) -> Pid {
    node.spawn(|mut cx| async move {
        cx.receive().await;
        ExitReason::Normal
    })
    .unwrap()
}

fn sorted(mut pids: Vec<Pid>) -> Vec<Pid> {
    pids.sort();
    pids
}

#[tokio::test(start_paused = true)]
async fn scopes_find_each_other_and_tell_each_other_who_joins_leaves_and_ends() {
    let [a, b] = TestNode::cluster(1, NODES).await;
    let (here, mine) = (start(&a).await, sleeper(&a));
    here.join(group(), [mine.clone(), mine.clone()]).await.unwrap();
    // It starts when there are members already.
    let (there, theirs) = (start(&b).await, sleeper(&b));
    assert_eq!(there.get_members(group()), [mine.clone(), mine.clone()]);
    there.join(group(), [theirs.clone()]).await.unwrap();
    a.settle().await;
    assert_eq!(sorted(here.get_members(group())), sorted(there.get_members(group())));
    assert_eq!(here.get_local_members(group()), [mine.clone(), mine.clone()]);
    assert_eq!((here.which_groups(), here.which_local_groups()), (vec![group()], vec![group()]));

    assert_eq!(here.leave(group(), [mine.clone()]).await, Ok(true));
    assert_eq!(here.leave(Atom::from("other"), [mine.clone()]).await, Ok(false), "not_joined");
    a.settle().await;
    assert_eq!(sorted(there.get_members(group())), sorted(vec![mine.clone(), theirs.clone()]));
    a.kill(&mine, ExitReason::Kill).await;
    assert_eq!(
        (here.get_members(group()), there.get_members(group())),
        (vec![theirs.clone()], vec![theirs.clone()])
    );
    assert_eq!(here.which_local_groups(), []);
    b.kill(&theirs, ExitReason::Kill).await;
    assert_eq!((here.which_groups(), there.which_groups()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn members_of_a_lost_node_are_back_when_it_is() {
    let [a, b] = TestNode::cluster(2, NODES).await;
    let (here, there) = (start(&a).await, start(&b).await);
    let (mine, theirs) = (sleeper(&a), sleeper(&b));
    here.join(group(), [mine.clone()]).await.unwrap();
    there.join(group(), [theirs.clone()]).await.unwrap();
    a.settle().await;
    assert!(a.disconnect("b@test"));
    a.settle().await;
    assert_eq!(
        (here.get_members(group()), there.get_members(group())),
        (vec![mine.clone()], vec![theirs.clone()])
    );
    assert!(a.nodes().is_empty(), "nothing has connected them again");
    // Changes in the meantime are known afterwards, as well as what stayed.
    here.join(group(), [mine.clone()]).await.unwrap();
    a.connect("b@test").await.unwrap();
    a.settle().await;
    let all = sorted(vec![mine.clone(), mine, theirs]);
    assert_eq!(sorted(here.get_members(group())), all);
    assert_eq!(sorted(there.get_members(group())), all);
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_ends_takes_its_groups_with_it() {
    let [a, b] = TestNode::cluster(3, NODES).await;
    let (here, there) = (start(&a).await, start(&b).await);
    let (mine, theirs) = (sleeper(&a), sleeper(&b));
    here.join(group(), [mine.clone()]).await.unwrap();
    there.join(group(), [theirs.clone()]).await.unwrap();
    a.settle().await;
    a.kill(&a.whereis("pg").unwrap(), ExitReason::Kill).await;
    assert_eq!((here.get_members(group()), there.get_members(group())), (vec![], vec![theirs.clone()]));
    let joined = here.join(group(), [mine.clone()]).await;
    assert_eq!(joined, Err(ScopeError::Call(CallError::NoProc)));
    // The same handle serves the next one.
    start(&a).await;
    assert_eq!(here.get_members(group()), std::slice::from_ref(&theirs));
    here.join(group(), [mine.clone()]).await.unwrap();
    a.settle().await;
    assert_eq!(there.get_members(group()), [theirs, mine]);
}

#[tokio::test(start_paused = true)]
async fn monitors_are_told_of_changes_from_then_on_until_they_end() {
    let [a, b] = TestNode::cluster(4, NODES).await;
    let (here, there) = (start(&a).await, start(&b).await);
    let (mine, theirs) = (sleeper(&a), sleeper(&b));
    here.join(group(), [mine.clone()]).await.unwrap();
    let (mut of_group, mut of_scope) = (a.probe(), a.probe());
    let (group_monitor, members) = here.monitor(group(), of_group.pid()).await.unwrap();
    assert_eq!(members, std::slice::from_ref(&mine));
    let (scope_monitor, groups) = here.monitor_scope(of_scope.pid()).await.unwrap();
    assert_eq!(groups.into_iter().collect::<Vec<_>>(), [(group(), vec![mine.clone()])]);

    there.join(group(), [theirs.clone(), theirs.clone()]).await.unwrap();
    there.join(Atom::from("other"), [theirs.clone()]).await.unwrap();
    b.kill(&theirs, ExitReason::Kill).await;
    let event = |monitor: &crate::term::Reference, action, group: Term, times| {
        GroupEvent(monitor.clone(), action, group, vec![theirs.clone(); times])
    };
    for expected in [
        event(&group_monitor, Action::Join, group(), 2),
        event(&group_monitor, Action::Leave, group(), 1),
        event(&group_monitor, Action::Leave, group(), 1),
    ] {
        assert_eq!(of_group.expect::<GroupEvent>(SOON).await, expected);
    }
    let other = || Term::atom("other");
    for expected in [
        event(&scope_monitor, Action::Join, group(), 2),
        event(&scope_monitor, Action::Join, other(), 1),
        event(&scope_monitor, Action::Leave, group(), 1),
        event(&scope_monitor, Action::Leave, group(), 1),
        event(&scope_monitor, Action::Leave, other(), 1),
    ] {
        assert_eq!(of_scope.expect::<GroupEvent>(SOON).await, expected);
    }
    assert_eq!(here.demonitor(&group_monitor).await, Ok(true));
    assert_eq!(here.demonitor(&group_monitor).await, Ok(false));
    here.leave(group(), [mine.clone()]).await.unwrap();
    of_group.expect_none(SOON).await;
    drop(of_scope);
    a.settle().await;
    assert_eq!(here.demonitor(&scope_monitor).await, Ok(false), "it has ended");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_is_an_error() {
    let [a, b] = TestNode::cluster(5, NODES).await;
    let here = a.pg("pg");
    let (mine, theirs) = (sleeper(&a), sleeper(&b));
    assert_eq!(here.join(group(), [mine.clone()]).await, Err(ScopeError::Call(CallError::NoProc)));
    assert_eq!(here.get_members(group()), []);
    let unnamed = Scope::start(&a, Limits::default()).await;
    assert!(matches!(unnamed, Err(StartError::Init(reason)) if reason == ExitReason::atom("badarg")));
    start(&a).await;
    let joined = here.join(group(), [mine.clone(), theirs.clone()]).await;
    assert_eq!(joined, Err(ScopeError::NotLocal(theirs)));
    assert!(matches!(here.join(f64::NAN, [mine.clone()]).await, Err(ScopeError::Group(_))));
    assert_eq!(here.which_groups(), [], "nobody has joined");
    // One that has ended already leaves at once, as in Erlang.
    a.kill(&mine, ExitReason::Kill).await;
    here.join(group(), [mine]).await.unwrap();
    a.settle().await;
    assert_eq!(here.which_groups(), []);
}

#[tokio::test(start_paused = true)]
async fn messages_that_are_none_of_a_scopes_are_dropped_and_counted() {
    let [a, b] = TestNode::cluster(6, NODES).await;
    let (here, there) = (start(&a).await, start(&b).await);
    let theirs = sleeper(&b);
    there.join(group(), [theirs.clone()]).await.unwrap();
    a.settle().await;
    let (pg, dropped) = (a.whereis("pg").unwrap(), a.dropped_messages());
    let peer = b.whereis("pg").unwrap();
    for message in [
        Term::atom("hello"),
        Term::tuple([Term::atom("join"), peer.clone().into(), group(), Term::from(1)]),
        Term::tuple([Term::atom("leave"), peer.clone().into(), theirs.clone().into(), group()]),
    ] {
        b.send(("pg", "a@test"), message.clone()).unwrap();
        b.cast(("pg", "a@test"), &message).unwrap();
    }
    a.settle().await;
    assert_eq!(a.dropped_messages(), dropped + 6);
    assert_eq!(a.whereis("pg"), Some(pg), "it lives");
    assert_eq!(here.get_members(group()), [theirs]);
}

#[tokio::test(start_paused = true)]
async fn a_scope_is_told_nothing_over_another_connection_than_it_was_met_over() {
    let [a, b] = TestNode::cluster(7, NODES).await;
    let here = start(&a).await;
    let mine = sleeper(&a);
    here.join(group(), [mine.clone()]).await.unwrap();
    // A scope that keeps what it is sent.
    let mut peer = b.probe();
    let discover = || Term::tuple([Term::atom("discover"), peer.pid().clone().into()]);
    b.send(("pg", "a@test"), discover()).unwrap();
    peer.expect_cast::<Term>(SOON).await;
    peer.expect::<Term>(SOON).await;
    // The leave waits for the scope before it hears that the peer is lost, and by then there is another connection.
    let sys = a.sys("pg");
    sys.suspend().await.unwrap();
    let leave = a.world().spawn({
        let here = here.clone();
        async move { here.leave(group(), [mine]).await }
    });
    a.settle().await;
    a.disconnect("b@test");
    a.settle().await;
    a.connect("b@test").await.unwrap();
    sys.resume().await.unwrap();
    assert_eq!(leave.await.unwrap(), Ok(true));
    // Had it been an Erlang scope that was discovered anew meanwhile, it would not know the group.
    peer.expect_none(SOON).await;
}

#[tokio::test(start_paused = true)]
async fn a_scope_connects_to_no_node_that_is_lost() {
    let [a, b] = TestNode::cluster(8, NODES).await;
    let here = start(&a).await;
    let peer = b.probe();
    let sys = a.sys("pg");
    sys.suspend().await.unwrap();
    let peer: Term = peer.pid().clone().into();
    b.send(("pg", "a@test"), Term::tuple([Term::atom("discover"), peer.clone()])).unwrap();
    b.cast(("pg", "a@test"), &Term::tuple([Term::atom("sync"), peer, Term::list([])])).unwrap();
    a.settle().await;
    a.disconnect("b@test");
    a.settle().await;
    sys.resume().await.unwrap();
    here.join(group(), [sleeper(&a)]).await.unwrap();
    a.advance(SOON).await;
    assert!(a.nodes().is_empty());
}
