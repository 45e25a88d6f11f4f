//! What processes inherit.

use std::time::Duration;

use super::super::Relation;
use super::*;

/// What a process sees of its heritage.
type Seen = (Pid, Vec<Term>, Option<Term>);

fn seen(cx: &Context<Term>) -> Seen {
    (cx.group_leader(), cx.ancestors(), cx.env("colour"))
}

#[tokio::test(start_paused = true)]
async fn a_process_inherits_from_who_spawned_it_as_that_was_then() {
    let local = local();
    let mut heritage = (*local.heritage()).clone();
    heritage.set_env(Atom::from_static("colour"), term("red"));
    local.set_heritage(heritage);
    let (tell, mut told) = mpsc::unbounded_channel::<(&str, Seen)>();
    let leader = local.pid(77, 0);
    let parent = start(&local, |cx| {
        let leader = leader.clone();
        async move {
            tell.send(("parent", seen(&cx))).unwrap();
            let child = |cx: &Context<Term>, which, linked: bool| {
                let tell = tell.clone();
                let body = move |cx: Context<Term>| async move {
                    // By now its parent may have changed.
                    cx.world().sleep(Duration::from_millis(10)).await;
                    let grandchild = tell.clone();
                    tell.send((which, seen(&cx))).unwrap();
                    cx.spawn_link(move |cx| async move {
                        grandchild.send(("grandchild", seen(&cx))).unwrap();
                        ExitReason::Normal
                    })
                    .unwrap();
                    cx.world().sleep(Duration::from_secs(1)).await;
                    ExitReason::Normal
                };
                if linked { cx.spawn_link(body) } else { cx.spawn(body) }.unwrap()
            };
            let first = child(&cx, "before", false);
            cx.register("dad").unwrap();
            cx.set_group_leader(leader);
            cx.world().sleep(Duration::from_millis(100)).await;
            let second = child(&cx, "after", true);
            cx.world().sleep(Duration::from_millis(100)).await;
            let _ = (first, second);
            tell.send(("parent", seen(&cx))).unwrap();
            ExitReason::Normal
        }
    });
    let (node_leader, red) = (local.pid(0, 0), Some(term("red")));
    let pid = |pid: &Pid| Term::from(pid.clone());
    let mut next = async || told.recv().await.expect("there is more to tell");
    assert_eq!(next().await, ("parent", (node_leader.clone(), vec![], red.clone())));
    assert_eq!(next().await, ("before", (node_leader.clone(), vec![pid(&parent)], red.clone())));
    let (who, (of, ancestors, env)) = next().await;
    assert_eq!((who, of, env, ancestors.len()), ("grandchild", node_leader, red.clone(), 2));
    assert_eq!(ancestors[1], pid(&parent));
    assert_eq!(next().await, ("after", (leader.clone(), vec![term("dad")], red.clone())));
    let (who, (of, ancestors, env)) = next().await;
    assert_eq!((who, of, env), ("grandchild", leader.clone(), red.clone()));
    assert_eq!(ancestors[1], term("dad"));
    assert_eq!(next().await, ("parent", (leader, vec![], red)));
}

#[tokio::test(start_paused = true)]
async fn a_group_leader_that_another_process_sets_is_there_with_the_next_message() {
    let local = local();
    let (tell, mut told) = mpsc::unbounded_channel();
    let pid = start(&local, |mut cx| async move {
        loop {
            let message = cx.receive().await;
            if tell.send((message, cx.group_leader())).is_err() {
                return ExitReason::Normal;
            }
        }
    });
    let leader = |id| local.pid(id, 0);
    for id in 100..103 {
        assert!(local.deliver_relation(&pid, Relation::GroupLeader { leader: leader(id) }).is_ok());
        send(&local, &pid, Term::from(id));
        assert_eq!(told.recv().await, Some((Term::from(id), leader(id))));
    }
}

#[tokio::test(start_paused = true)]
async fn the_eldest_of_many_ancestors_are_forgotten() {
    fn generation(
        cx: Context<Term>,
        left: usize,
        tell: mpsc::UnboundedSender<(Pid, Vec<Term>)>,
    ) -> ExitReason {
        tell.send((cx.pid().clone(), cx.ancestors())).unwrap();
        if left > 0 {
            cx.spawn(move |cx| async move { generation(cx, left - 1, tell) }).unwrap();
        }
        ExitReason::Normal
    }
    let local = local();
    let (tell, mut told) = mpsc::unbounded_channel();
    start(&local, |cx| async move { generation(cx, 100, tell) });
    let mut line = Vec::new();
    while let Some((pid, ancestors)) = told.recv().await {
        let expected: Vec<Term> = line.iter().rev().take(32).cloned().collect();
        assert_eq!(ancestors, expected);
        line.push(Term::from(pid));
    }
    assert_eq!(line.len(), 101);
}

#[test]
fn what_all_processes_have_is_small() {
    // On a 64-bit machine. An idle gen_server has a place in its allocation's last 16 bytes for 8 of them and no more.
    assert!(size_of::<super::super::Shared>() <= 112);
}
