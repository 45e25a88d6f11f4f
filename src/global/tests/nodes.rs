//! Nodes that take part, without sockets.

use crate::global::{LockId, Options, Resolve};
use crate::process::ExitReason;
use crate::term::{Atom, Term};
use crate::testing::TestNode;
use std::time::Duration;

async fn cluster<const N: usize>(seed: u64, names: [&str; N]) -> [TestNode; N] {
    let nodes = TestNode::cluster_with(seed, names, |builder| builder.global(Options::default())).await;
    for node in &nodes {
        node.global().sync().await.expect("it takes part");
    }
    nodes
}

#[tokio::test(start_paused = true)]
async fn nodes_that_start_together_know_all_names() {
    for seed in 0..20 {
        let [a, b, c] = cluster(seed, ["a@one", "b@two", "c@three"]).await;
        let nodes = [&a, &b, &c];
        let probes = nodes.map(|node| node.probe());
        // At once, each one of its own.
        let globals = nodes.map(|node| node.global());
        let registered = tokio::join!(
            globals[0].register_name_with(1, probes[0].pid(), &Resolve::RandomNotify),
            globals[1].register_name_with(2, probes[1].pid(), &Resolve::NotifyAll),
            globals[2].register_name(3, probes[2].pid()),
        );
        assert_eq!(registered, (Ok(true), Ok(true), Ok(true)));
        for node in nodes {
            assert_eq!(node.global().registered_names(), [Term::from(1), Term::from(2), Term::from(3)]);
            for (number, probe) in [1, 2, 3].into_iter().zip(&probes) {
                assert_eq!(node.global().whereis_name(number).as_ref(), Some(probe.pid()), "seed {seed}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_those_who_want_a_name_gets_it() {
    for seed in 0..20 {
        let [a, b, c] = cluster(seed, ["a@one", "b@two", "c@three"]).await;
        let nodes = [&a, &b, &c];
        let probes = nodes.map(|node| node.probe());
        let globals = nodes.map(|node| node.global());
        let registered = tokio::join!(
            globals[0].register_name(Term::nil(), probes[0].pid()),
            globals[1].register_name(Term::nil(), probes[1].pid()),
            globals[2].register_name(Term::nil(), probes[2].pid()),
        );
        let winners: Vec<_> = <[_; 3]>::from(registered).into_iter().map(Result::unwrap).collect();
        let owner = winners.iter().position(|won| *won).expect("somebody has it");
        assert_eq!(winners.iter().filter(|won| **won).count(), 1, "seed {seed}: {winners:?}");
        for node in nodes {
            assert_eq!(node.global().whereis_name(Term::nil()).as_ref(), Some(probes[owner].pid()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_held_by_one_requester_at_a_time() {
    let [a, b] = cluster(3, ["a@one", "b@two"]).await;
    let (told, mut was_told) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..10 {
        let told = told.clone();
        let node = [&a, &b][number % 2];
        node.spawn(move |cx| async move {
            let id = LockId::new(Atom::from("it"), cx.pid().clone());
            let held = async || {
                let _ = told.send((number, true));
                cx.world().sleep(Duration::from_millis(100)).await;
                let _ = told.send((number, false));
            };
            cx.global_locks().trans(&id, held).await;
            ExitReason::Normal
        })
        .unwrap();
    }
    drop(told);
    let mut order = Vec::new();
    while let Some(event) = was_told.recv().await {
        order.push(event);
    }
    assert_eq!(order.len(), 20, "{order:?}");
    for turn in order.chunks(2) {
        assert_eq!(turn, [(turn[0].0, true), (turn[0].0, false)], "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_takes_no_part_has_no_names() {
    let [a, b] = TestNode::cluster(1, ["a@one", "b@two"]).await;
    let probe = a.probe();
    let error = a.global().register_name(1, probe.pid()).await.unwrap_err();
    assert_eq!(error.to_string(), "this node takes no part in global");
    assert!(a.global().sync().await.is_err());
    assert_eq!(a.global().whereis_name(1), None);
    assert_eq!(a.global().send(1, 1).unwrap_err().to_string(), "nobody has the global name 1");
    // Locks ask nobody else, then, and hold nothing.
    let (told, was_told) = tokio::sync::oneshot::channel();
    b.spawn(move |cx| async move {
        let _ = told.send(cx.global_locks().set_lock(&LockId::new(1, 1)).await);
        ExitReason::Normal
    })
    .unwrap();
    assert!(was_told.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_names_and_locks_may_take_is_limited() {
    let few = |builder: crate::node::Builder| builder.global(Options::default().table_len(4 << 10));
    let [a] = TestNode::cluster_with(1, ["a@one"], few).await;
    let mut probes = Vec::new();
    for number in 0..20 {
        let probe = a.probe();
        a.global().register_name(number, probe.pid()).await.unwrap();
        probes.push(probe);
    }
    let names = a.global().registered_names().len();
    assert!((5..20).contains(&names), "{names}");
    // What is given back is free again.
    for number in 0..20 {
        a.global().unregister_name(number).await.unwrap();
    }
    assert!(a.global().register_name(100, probes[0].pid()).await.unwrap());
    assert_eq!(a.global().registered_names(), [Term::from(100)]);
    let (told, was_told) = tokio::sync::oneshot::channel();
    a.spawn(move |cx| async move {
        let mut set = 0;
        while cx.global_locks().retries(0).set_lock(&LockId::new(set, 1)).await {
            set += 1;
        }
        let _ = told.send(set);
        ExitReason::Normal
    })
    .unwrap();
    let set = was_told.await.unwrap();
    assert!((3..20).contains(&set), "{set}");
    // The process has ended, and with it its locks.
    a.settle().await;
    let (told, was_told) = tokio::sync::oneshot::channel();
    a.spawn(move |cx| async move {
        let _ = told.send(cx.global_locks().retries(0).set_lock(&LockId::new(set, 2)).await);
        ExitReason::Normal
    })
    .unwrap();
    assert!(was_told.await.unwrap());
}
