//! Exit signals, links and monitors, after "Processes" in the Erlang Reference Manual.

use std::time::Duration;

use super::super::relations::{Monitor, Monitored};
use super::super::{Call, CallError, Caller, RegisterError, Write};
use super::*;

#[tokio::test(start_paused = true)]
async fn messages_arrive_in_the_order_in_which_they_were_sent() {
    let local = local();
    let (pid, mut messages) = observer(&local, |_| {});
    for n in 0..1000 {
        send(&local, &pid, Term::from(n));
    }
    for n in 0..1000 {
        assert_eq!(messages.recv().await, Some(Term::from(n)));
    }
}

#[tokio::test(start_paused = true)]
async fn exits_that_are_trapped_keep_their_place_among_messages() {
    let local = local();
    // Busy with something else while the first half arrives, and receiving while the second does.
    let (seen, mut messages) = mpsc::unbounded_channel();
    let pid = start(&local, |mut cx| async move {
        cx.trap_exit(true);
        cx.world().sleep(Duration::from_secs(1)).await;
        loop {
            if seen.send(cx.receive().await).is_err() {
                return ExitReason::Normal;
            }
        }
    });
    let from = local.pid(u32::MAX, 0);
    let round = async |numbers: std::ops::Range<i64>| {
        for n in numbers {
            tokio::task::yield_now().await;
            send(&local, &pid, Term::from(n));
            local.send_exit(&from, &pid, &ExitReason::Term(Term::from(n)));
        }
    };
    round(0..100).await;
    local.world.sleep(Duration::from_secs(2)).await;
    round(100..200).await;
    for n in 0..200 {
        assert_eq!(messages.recv().await, Some(Term::from(n)));
        let exit = messages.recv().await.expect("an exit");
        assert_eq!(exit.as_tuple().and_then(|exit| exit.get(2)), Some(&Term::from(n)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_monitor_behind_the_signal_that_ends_a_process_is_answered() {
    let local = local();
    let (watcher, mut downs) = observer(&local, |_| {});
    let reference = local.make_reference();
    start(&local, |mut cx| {
        let (local, watcher) = (local.clone(), watcher.clone());
        async move {
            // Both come after the process has looked for relations and before it looks for a message.
            let target = Monitored::Process(cx.pid().clone());
            cx.exit(cx.pid(), ExitReason::Shutdown);
            let monitor = Monitor { target: target.clone(), bound: None, connection: None };
            let process = local.process(&watcher).expect("it is alive");
            process.shared().relations(|relations| relations.monitor(reference.clone(), monitor));
            local.send_monitor(&watcher, &target, &reference, Write::Now);
            cx.receive().await;
            ExitReason::Normal
        }
    });
    let down = local.world.timeout(Duration::from_secs(5), downs.recv()).await;
    assert!(matches!(down, Ok(Some(_))), "{down:?}");
}

/// The rows of the table "Exit Signals": what a process does on a signal, with and without `trap_exit`.
#[tokio::test(start_paused = true)]
async fn exit_signals_end_a_process_or_become_messages() {
    // (reason, trapping, the reason it ends with or else the message's reason)
    let table = [
        ("normal", false, None, None),
        ("normal", true, None, Some("normal")),
        ("kill", false, Some("killed"), None),
        ("kill", true, Some("killed"), None),
        ("shutdown", false, Some("shutdown"), None),
        ("{a,b}", true, None, Some("{a,b}")),
    ];
    for (reason, trapping, ends, message) in table {
        let local = local();
        let (pid, mut messages) = observer(&local, move |cx| {
            cx.trap_exit(trapping);
        });
        let (_, mut downs) = observer(&local, {
            let pid = pid.clone();
            move |cx| drop(cx.monitor(&pid))
        });
        tokio::task::yield_now().await;
        let from = local.pid(u32::MAX, 0);
        local.send_exit(&from, &pid, &ExitReason::from(term(reason)));
        if let Some(message) = message {
            let got = messages.recv().await.expect("a message");
            let [tag, sender, why] = got.as_tuple().expect("a tuple") else { panic!("{got}") };
            assert!(tag.is_atom("EXIT"));
            assert_eq!((sender.as_pid(), why), (Some(&from), &term(message)));
        }
        if let Some(ends) = ends {
            let down = downs.recv().await.expect("a DOWN");
            assert_eq!(down.as_tuple().and_then(|down| down.get(4)), Some(&term(ends)), "{reason}");
        } else {
            send(&local, &pid, term("still_there"));
            assert_eq!(messages.recv().await, Some(term("still_there")), "{reason}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn kill_over_a_link_is_an_ordinary_reason() {
    let local = local();
    let dying = start(&local, mortal);
    let (linked, mut messages) = observer(&local, {
        let dying = dying.clone();
        move |cx| cx.link(&dying)
    });
    let (_, mut downs) = observer(&local, {
        let linked = linked.clone();
        move |cx| drop(cx.monitor(&linked))
    });
    tokio::task::yield_now().await;
    send(&local, &dying, term("kill"));
    let down = downs.recv().await.expect("a DOWN");
    assert_eq!(down.as_tuple().and_then(|down| down.get(4)), Some(&term("kill")));
    assert_eq!(messages.recv().await, None, "it ended without a message");
}

#[tokio::test(start_paused = true)]
async fn an_exit_signal_ends_a_process_while_it_awaits_something_else() {
    let local = local();
    let (held, mut dropped) = mpsc::unbounded_channel::<()>();
    let pid = start(&local, |cx| async move {
        let _held = held;
        cx.world().sleep(Duration::from_secs(1_000_000)).await;
        ExitReason::Normal
    });
    let (_, mut downs) = observer(&local, {
        let pid = pid.clone();
        move |cx| drop(cx.monitor(&pid))
    });
    tokio::task::yield_now().await;
    local.send_exit(&local.pid(0, 0), &pid, &ExitReason::Kill);
    assert_eq!(dropped.recv().await, None, "what it held is released");
    let down = downs.recv().await.expect("a DOWN");
    assert_eq!(down.as_tuple().and_then(|down| down.get(4)), Some(&term("killed")));
    assert!(local.process(&pid).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_exit_with_its_text_and_nothing_more() {
    let local = local();
    let pid = start(&local, |mut cx| async move {
        let message = cx.receive().await;
        panic!("cannot bear {message}")
    });
    let (_, mut downs) = observer(&local, {
        let pid = pid.clone();
        move |cx| drop(cx.monitor(&pid))
    });
    tokio::task::yield_now().await;
    send(&local, &pid, term("it"));
    let down = downs.recv().await.expect("a DOWN").to_string();
    assert!(down.contains("rust_panic") && down.contains("cannot bear it"), "{down}");
}

#[tokio::test(start_paused = true)]
async fn a_link_to_a_dead_process_answers_noproc() {
    let local = local();
    let dead = start(&local, |_| async { ExitReason::Normal });
    while local.process(&dead).is_some() {
        tokio::task::yield_now().await;
    }
    let (_, mut messages) = observer(&local, {
        let dead = dead.clone();
        move |cx| {
            cx.trap_exit(true);
            cx.link(&dead);
        }
    });
    let exit = messages.recv().await.expect("an exit");
    assert_eq!(exit.as_tuple().and_then(|exit| exit.get(2)), Some(&term("noproc")));
    assert_eq!(exit.as_tuple().and_then(|exit| exit[1].as_pid()), Some(&dead));
}

#[tokio::test(start_paused = true)]
async fn linked_processes_end_together_unless_one_ends_normally() {
    for (reason, survives) in [("normal", true), ("oops", false)] {
        let local = local();
        let one = start(&local, mortal);
        let (other, mut messages) = observer(&local, {
            let one = one.clone();
            move |cx| cx.link(&one)
        });
        tokio::task::yield_now().await;
        send(&local, &one, term(reason));
        while local.process(&one).is_some() {
            tokio::task::yield_now().await;
        }
        send(&local, &other, term("hello"));
        assert_eq!(messages.recv().await, survives.then(|| term("hello")), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_unlink_no_exit_arrives() {
    let local = local();
    let one = start(&local, mortal);
    let (other, mut messages) = observer(&local, {
        let one = one.clone();
        move |cx| {
            cx.trap_exit(true);
            // The last of them counts.
            cx.link(&one);
            cx.unlink(&one);
            cx.link(&one);
            cx.unlink(&one);
        }
    });
    tokio::task::yield_now().await;
    send(&local, &one, term("oops"));
    while local.process(&one).is_some() {
        tokio::task::yield_now().await;
    }
    send(&local, &other, term("hello"));
    assert_eq!(messages.recv().await, Some(term("hello")));
}

#[tokio::test(start_paused = true)]
async fn a_monitor_fires_once_and_names_what_was_monitored() {
    let local = local();
    let target = start(&local, mortal);
    local.names.register(Atom::from_static("target"), local.process(&target).unwrap()).unwrap();
    let (watcher, mut messages) = observer(&local, {
        let target = target.clone();
        move |cx| {
            cx.monitor(&target);
            cx.monitor("target");
            cx.monitor("nobody");
        }
    });
    let noproc = messages.recv().await.expect("a DOWN");
    assert_eq!(noproc.as_tuple().unwrap()[3..], [term("{nobody, 'test@127.0.0.1'}"), term("noproc")]);
    send(&local, &target, term("done"));
    let mut items = Vec::new();
    for _ in 0..2 {
        let down = messages.recv().await.expect("a DOWN");
        assert!(
            down.as_tuple().unwrap()[0].is_atom("DOWN") && down.as_tuple().unwrap()[2].is_atom("process")
        );
        assert_eq!(down.as_tuple().unwrap()[4], term("done"));
        items.push(down.as_tuple().unwrap()[3].clone());
    }
    items.sort();
    assert_eq!(items, [target.into(), term("{target, 'test@127.0.0.1'}")]);
    send(&local, &watcher, term("finish"));
    assert_eq!(messages.recv().await, None, "nothing else arrived");
    assert!(local.names.get("target").is_none(), "a name is free when its process has ended");
}

#[tokio::test(start_paused = true)]
async fn demonitor_takes_back_a_down_that_has_arrived() {
    let local = local();
    let target = start(&local, mortal);
    let (outcome, mut outcomes) = mpsc::unbounded_channel();
    let watcher = start(&local, |mut cx| {
        let target = target.clone();
        async move {
            let (first, second) = (cx.monitor(&target), cx.monitor(&target));
            let before = cx.demonitor(&first);
            // Meanwhile the target ends and a message follows its DOWN.
            cx.world().sleep(Duration::from_secs(1)).await;
            let after = cx.demonitor(&second);
            outcome.send((before, after, cx.receive().await)).unwrap();
            ExitReason::Normal
        }
    });
    tokio::task::yield_now().await;
    send(&local, &target, term("done"));
    while local.process(&target).is_some() {
        tokio::task::yield_now().await;
    }
    send(&local, &watcher, term("next"));
    assert_eq!(outcomes.recv().await, Some((true, false, term("next"))));
}

#[tokio::test(start_paused = true)]
async fn a_pid_of_an_earlier_life_of_its_slot_finds_nobody() {
    let local = local();
    let mut pids = Vec::new();
    for _ in 0..64 {
        let pid = start(&local, |_| async { ExitReason::Normal });
        while local.process(&pid).is_some() {
            tokio::task::yield_now().await;
        }
        pids.push(pid);
    }
    let mut distinct = pids.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), pids.len());
    assert!(pids.iter().any(|pid| pid.serial > 0), "a slot was used again");
    let old_creation = Pid { creation: 3, ..start(&local, mortal) };
    assert!(local.process(&old_creation).is_none(), "another life of the node");
}

#[tokio::test(start_paused = true)]
async fn the_node_takes_no_more_processes_than_it_may() {
    let local = Arc::new(Local::new(Atom::from_static("test@h"), 4, World::tokio(), 2));
    let one = start(&local, mortal);
    start(&local, mortal);
    assert!(spawn(&local, SpawnOptions::default(), mortal).is_none());
    send(&local, &one, term("normal"));
    while local.process(&one).is_some() {
        tokio::task::yield_now().await;
    }
    assert!(spawn(&local, SpawnOptions::default(), mortal).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_name_has_one_process_and_a_process_one_name() {
    let local = local();
    let (one, other) = (start(&local, mortal), start(&local, mortal));
    let register = |name, pid| local.names.register(Atom::from_static(name), local.process(pid).unwrap());
    assert_eq!(register("a", &one), Ok(()));
    let taken = RegisterError::Taken { name: Atom::from_static("a"), pid: one.clone() };
    assert_eq!(register("a", &other), Err(taken));
    assert_eq!(register("b", &one), Err(RegisterError::Named(Atom::from_static("a"))));
    assert_eq!(register("undefined", &other), Err(RegisterError::Undefined));
    assert!(local.names.unregister(&Atom::from_static("a")));
    assert_eq!(register("a", &other), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn messages_through_an_alias_arrive_while_it_is_active() {
    let local = local();
    let (told, mut aliases) = mpsc::unbounded_channel();
    let (seen, mut messages) = mpsc::unbounded_channel();
    let pid = start(&local, |mut cx| async move {
        let alias = cx.alias();
        told.send(alias.clone()).unwrap();
        loop {
            let message = cx.receive().await;
            if message.is_atom("drop") {
                assert!(cx.unalias(&alias));
            }
            if seen.send(message).is_err() {
                return ExitReason::Normal;
            }
        }
    });
    let alias = aliases.recv().await.unwrap();
    let through = |message| local.send(&local.pid(0, 0), &alias.clone().into(), term(message)).is_ok();
    assert!(through("one"));
    assert_eq!(messages.recv().await, Some(term("one")));
    send(&local, &pid, term("drop"));
    assert_eq!(messages.recv().await, Some(term("drop")));
    through("two");
    send(&local, &pid, term("three"));
    assert_eq!(messages.recv().await, Some(term("three")), "the one through the inactive alias is dropped");
}

#[tokio::test(start_paused = true)]
async fn a_call_tells_why_there_is_no_reply() {
    let local = local();
    let call = |to: &Pid| Call::<_, Term>::new(Caller::Node(local.clone()), to.into(), Term::atom("hello"));
    let (mute, _messages) = observer(&local, |_| {});
    let timeout = call(&mute).timeout(Duration::from_millis(50)).await;
    assert_eq!(timeout, Err(CallError::Timeout(Duration::from_millis(50))));
    let dying = start(&local, |mut cx| async move {
        cx.receive().await;
        ExitReason::from(term("{bad, day}"))
    });
    assert_eq!(call(&dying).await, Err(CallError::Exit(term("{bad, day}").into())));
    assert_eq!(call(&dying).await, Err(CallError::NoProc));
    assert_eq!(local.table.len(), 1, "the callers are gone");
}

#[tokio::test]
async fn who_waits_for_the_end_of_a_process_waits_until_its_name_is_free_and_all_are_told() {
    let local = local();
    let process = spawn(&local, SpawnOptions::default(), mortal).expect("there is room");
    let waker = std::task::Waker::noop();
    let cx = std::task::Context::from_waker(waker);
    let shared = process.shared();
    assert!(shared.poll_end(&cx).is_pending());
    // As it is while the process's end is being told.
    shared.state().ended = true;
    assert!(shared.poll_end(&cx).is_pending());
    shared.state().ended = false;
    send(&local, process.pid(), term("done"));
    assert_eq!(shared.end().await, ExitReason::atom("done"));
    assert_eq!(local.table.len(), 0);
}
