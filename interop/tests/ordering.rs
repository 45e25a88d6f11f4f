//! Twenty senders at once: each one's messages arrive in the order in which it sent them, whole, whether they are small or
//! travel in fragments with others' between them.

use std::time::Duration;

use beamline::node::Node;
use beamline::process::{Context, ExitReason};
use beamline::term::{Atom, Pid, Term};
use beamline::world::World;
use beamline_interop::{Cluster, ErlNode, within};
use bytes::Bytes;

const ORDERING: &str = include_str!("erlang/ordering.erl");
const SENDERS: i64 = 20;
const COUNT: i64 = 2000;
/// Some fragments long, of 64 KiB each.
const BIG: usize = 300_000;

async fn erl_and_node(cluster: &Cluster) -> (ErlNode, Node) {
    let mut erl = cluster.erl("erl").start().await;
    erl.load(ORDERING).await;
    (erl, cluster.node("rust").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_erlang_senders_keep_their_order() {
    let Some(cluster) = Cluster::start().await else { return };
    let (mut erl, node) = erl_and_node(&cluster).await;
    let (all, collected) = tokio::sync::oneshot::channel();
    let collector = node.spawn(|mut cx| async move {
        all.send(collect(&mut cx).await).unwrap();
        ExitReason::Normal
    });
    node.register("collector", &collector.unwrap()).unwrap();
    erl.eval(&format!("ordering:send_all({{collector, 'rust@127.0.0.1'}}, {SENDERS}, {COUNT}, {BIG})")).await;
    assert_eq!(within("all arrive", collected).await.unwrap(), Ok(()));
}

async fn collect(cx: &mut Context<Term>) -> Result<(), String> {
    let mut next = vec![1; SENDERS as usize];
    for _ in 0..SENDERS * COUNT {
        let message = cx.receive().await;
        let Some([Term::Integer(sender), Term::Integer(number), filler]) = message.as_tuple() else {
            return Err(format!("{message}"));
        };
        let next = &mut next[*sender as usize - 1];
        let whole = match filler.as_binary() {
            Some(filler) => number % 100 == 0 && filler.len() == BIG,
            None => filler.as_integer() == Some(*number),
        };
        if number != next || !whole {
            return Err(format!("{next} of {sender} is due, {number} came (whole: {whole})"));
        }
        *next += 1;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_rust_senders_keep_their_order() {
    let Some(cluster) = Cluster::start().await else { return };
    let (mut erl, node) = erl_and_node(&cluster).await;
    erl.eval("register(collector, self())").await;
    let to = ("collector", Atom::new(erl.name()).unwrap());
    let filler = Bytes::from(vec![b'x'; BIG]);
    for sender in 1..=SENDERS {
        let (to, filler) = (to.clone(), filler.clone());
        node.spawn(move |cx| async move {
            for number in 1..=COUNT {
                let filler = if number % 100 == 0 { Term::from(filler.clone()) } else { Term::from(number) };
                cx.send(to.clone(), (sender, number, filler)).unwrap();
                if number % 7 == 0 {
                    cx.yield_now().await;
                }
            }
            ExitReason::Normal
        })
        .unwrap();
    }
    let collected = erl.eval(&format!("ordering:collect({SENDERS}, {COUNT}, {BIG})")).await;
    assert_eq!(collected, (SENDERS * COUNT).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_pids_of_a_process_are_one_queue() {
    let Some(cluster) = Cluster::start().await else { return };
    let (mut erl, node) = erl_and_node(&cluster).await;
    let (all, collected) = tokio::sync::oneshot::channel();
    let receiver = node.spawn(|mut cx| async move {
        let mut numbers = Vec::new();
        for _ in 0..1000 {
            numbers.push(cx.receive().await.as_integer().unwrap_or(-1));
        }
        all.send(numbers).unwrap();
        ExitReason::Normal
    });
    let receiver: Pid = receiver.unwrap();
    node.register("receiver", &receiver).unwrap();
    let bytes = beamline::etf::to_vec(&receiver).unwrap();
    erl.eval(&format!(
        "Pid = binary_to_term(<<{}>>), Name = {{receiver, 'rust@127.0.0.1'}},
         [case N rem 2 of 0 -> Pid ! N; 1 -> Name ! N end || N <- lists:seq(1, 1000)]",
        bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
    ))
    .await;
    assert_eq!(within("all arrive", collected).await.unwrap(), (1..=1000).collect::<Vec<_>>());
}

/// Large messages that others talk beside wait for the peer to say how far it has come; one that says nothing, for the next tick.
#[tokio::test(flavor = "multi_thread")]
async fn erlang_says_how_far_it_has_come_with_large_messages_that_others_talk_beside() {
    const LARGE: usize = 8;
    let Some(cluster) = Cluster::start().await else { return };
    let (mut erl, node) = erl_and_node(&cluster).await;
    erl.eval(
        "register(echo, spawn(fun F() -> receive {From, N} -> From ! N, F() end end)),
         register(collector, self())",
    )
    .await;
    let name = Atom::new(erl.name()).unwrap();
    let (echo, collector) = (("echo", name.clone()), ("collector", name));
    let talks = node.spawn(move |mut cx| async move {
        loop {
            let me = cx.pid().clone();
            cx.send(echo.clone(), (me, 1)).unwrap();
            cx.receive().await;
        }
    });
    talks.unwrap();
    let filler = Bytes::from(vec![b'x'; 16 << 20]);
    let sends = node.spawn(move |cx| async move {
        for _ in 0..LARGE {
            cx.send(collector.clone(), ("large", Term::from(filler.clone()))).unwrap();
            cx.yield_now().await;
        }
        ExitReason::Normal
    });
    sends.unwrap();
    let sizes = format!("[receive {{<<\"large\">>, B}} -> byte_size(B) end || _ <- lists:seq(1, {LARGE})]");
    // Less than a tick.
    let sizes = World::tokio().timeout(Duration::from_secs(12), erl.eval(&sizes)).await;
    assert_eq!(sizes, Ok(format!("[{}]", ["16777216"; LARGE].join(","))));
}
