//! Nodes of one program, over loopback where sockets matter: what two beamline nodes do without Erlang between them.

mod common;

use std::time::Duration;

use beamline::epmd::EpmdOptions;
use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::node::{ConnectError, Node};
use beamline::process::{self, CallError, Destination, ExitReason};
use beamline::term::{Atom, Reference, Term};
use beamline::testing::TestNode;
use bytes::Bytes;
use tokio::sync::mpsc;

/// An EPMD port that was free a moment ago.
fn epmd() -> EpmdOptions {
    let mut options = EpmdOptions::default();
    options.port = common::free_port();
    options
}

async fn node(name: &str, cookie: &str, epmd: &EpmdOptions) -> Node {
    let builder = Node::builder(name).cookie(cookie).epmd(epmd.clone()).listen("127.0.0.1", 0);
    builder.start().await.expect("the node starts")
}

fn term(text: &str) -> Term {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Shows every message, and answers every call with it.
struct Probe(mpsc::UnboundedSender<Term>);

impl GenServer for Probe {
    type Args = mpsc::UnboundedSender<Term>;
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;

    async fn init(seen: Self::Args, _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self(seen))
    }

    async fn handle_call(
        &mut self,
        call: Term,
        from: ReplyTo<Term>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(if call.is_atom("alias") { cx.alias().into() } else { call }))
    }

    async fn handle_cast(&mut self, cast: Term, _: &mut Context<Self>) -> Result<(), ExitReason> {
        let _ = self.0.send(cast);
        Ok(())
    }

    async fn handle_info(&mut self, info: Term, _: &mut Context<Self>) -> Result<(), ExitReason> {
        let _ = self.0.send(info);
        Ok(())
    }
}

#[tokio::test]
async fn a_name_stands_for_who_has_it_now_whomever_it_stood_for_before() {
    let epmd = epmd();
    let (one, other) = (node("one@127.0.0.1", "c", &epmd).await, node("other@127.0.0.1", "c", &epmd).await);
    let probe = async || {
        let (seen, casts) = mpsc::unbounded_channel();
        (Probe::start(&one, seen).await.expect("it starts"), casts)
    };
    let ((first, mut of_first), (second, mut of_second)) = (probe().await, probe().await);
    let probe = ("probe", "one@127.0.0.1");
    let cast = |n: i64| other.cast(probe, &n).expect("it is sent");
    let nobody = async |n| {
        let before = one.dropped_messages();
        cast(n);
        common::eventually(|| one.dropped_messages() > before).await;
    };
    one.register("probe", first.pid()).expect("the name is free");
    for n in 0..3 {
        cast(n);
        assert_eq!(of_first.recv().await, Some(Term::from(n)));
    }
    assert!(one.unregister("probe"));
    nobody(3).await;
    one.register("probe", second.pid()).expect("the name is free");
    cast(4);
    assert_eq!(of_second.recv().await, Some(Term::from(4)));
    second.stop(ExitReason::Normal).await;
    nobody(5).await;
    one.register("probe", first.pid()).expect("the name is free");
    cast(6);
    assert_eq!(of_first.recv().await, Some(Term::from(6)));
    for node in [one, other] {
        node.stop().await;
    }
}

#[tokio::test]
async fn each_gets_what_is_for_it_whomever_the_last_message_was_for() {
    let epmd = epmd();
    let (one, other) = (node("one@127.0.0.1", "c", &epmd).await, node("other@127.0.0.1", "c", &epmd).await);
    let probe = async |name: &'static str| {
        let (seen, casts) = mpsc::unbounded_channel();
        let probe = Probe::start(&one, seen).name(name).await.expect("it starts");
        let pid = Destination::from(probe.pid().clone());
        let alias: Reference = other.call(pid.clone(), Atom::from("alias")).await.expect("an alias");
        let name = Destination::from((name, "one@127.0.0.1"));
        (probe, casts, [pid, name, Destination::from(&alias)])
    };
    let (_first, mut of_first, to_first) = probe("first").await;
    let (second, mut of_second, to_second) = probe("second").await;
    let cast = |to: &Destination, n: i64| other.cast(to.clone(), &n).expect("it is sent");
    for to_one in &to_first {
        for to_other in &to_second {
            for n in 0..3 {
                cast(to_one, n);
                cast(to_other, -n);
            }
            common::eventually(|| of_first.len() + of_second.len() == 6).await;
            for n in 0..3 {
                assert_eq!(of_first.try_recv(), Ok(Term::from(n)), "{to_one}, {to_other}");
                assert_eq!(of_second.try_recv(), Ok(Term::from(-n)), "{to_one}, {to_other}");
            }
        }
    }
    second.stop(ExitReason::Shutdown).await;
    for to_other in &to_second {
        let before = one.dropped_messages();
        cast(to_other, 0);
        cast(&to_first[0], 1);
        common::eventually(|| of_first.len() == 1).await;
        assert_eq!(of_first.try_recv(), Ok(Term::from(1)));
        assert_eq!(one.dropped_messages(), before + 1, "{to_other}");
    }
    for node in [one, other] {
        node.stop().await;
    }
}

#[tokio::test]
async fn what_comes_together_is_received_in_the_order_in_which_it_was_sent() {
    let epmd = epmd();
    let (one, other) = (node("one@127.0.0.1", "c", &epmd).await, node("other@127.0.0.1", "c", &epmd).await);
    let receiver = |names: &'static str| {
        let (seen, messages) = mpsc::unbounded_channel();
        let body = move |mut cx: process::Context<Term>| async move {
            cx.trap_exit(true);
            cx.register(names).expect("the name is free");
            while seen.send(cx.receive().await).is_ok() {}
            ExitReason::Normal
        };
        (one.spawn(body).expect("it starts"), messages)
    };
    let ((first, mut of_first), (second, mut of_second)) = (receiver("first"), receiver("second"));
    other.connect("one@127.0.0.1").await.expect("they connect");
    let (to_first, to_second) = (first.clone(), second.clone());
    let sender = move |cx: process::Context<Term>| async move {
        // In one turn: they share a write, and a read.
        for round in 0..20_i64 {
            for n in 0..100 {
                cx.send(("first", "one@127.0.0.1"), 100 * round + n).expect("it is sent");
            }
            cx.exit(&to_first, ExitReason::atom("signal"));
            cx.send(to_first.clone(), -round).expect("it is sent");
            for n in 0..3 {
                cx.send(to_second.clone(), 3 * round + n).expect("it is sent");
                cx.send(to_first.clone(), n).expect("it is sent");
            }
        }
        for n in 0..10 {
            cx.send(to_second.clone(), n).expect("it is sent");
        }
        ExitReason::Normal
    };
    let sender = other.spawn(sender).expect("it starts");
    let exit = Term::tuple([Term::atom("EXIT"), sender.into(), Term::atom("signal")]);
    for round in 0..20_i64 {
        for n in 0..100 {
            assert_eq!(of_first.recv().await, Some(Term::from(100 * round + n)));
        }
        assert_eq!(of_first.recv().await.as_ref(), Some(&exit));
        for n in [-round, 0, 1, 2] {
            assert_eq!(of_first.recv().await, Some(Term::from(n)));
        }
        for n in 0..3 {
            assert_eq!(of_second.recv().await, Some(Term::from(3 * round + n)));
        }
    }
    for n in 0..10 {
        assert_eq!(of_second.recv().await, Some(Term::from(n)), "nothing follows them");
    }
    for node in [one, other] {
        node.stop().await;
    }
}

#[tokio::test]
async fn what_was_cast_before_a_node_stops_arrives() {
    let epmd = epmd();
    let (one, other) = (node("one@127.0.0.1", "c", &epmd).await, node("other@127.0.0.1", "c", &epmd).await);
    let (seen, mut casts) = mpsc::unbounded_channel();
    Probe::start(&one, seen).name("probe").await.expect("it starts");
    other.connect("one@127.0.0.1").await.expect("they connect");
    let payload = "x".repeat(100_000);
    for n in 0..200 {
        other.cast(("probe", "one@127.0.0.1"), &(n, &payload)).expect("it is sent");
    }
    other.stop().await;
    for n in 0..200 {
        let cast = casts.recv().await.expect("a cast");
        assert_eq!(cast.as_tuple().and_then(|cast| cast[0].as_integer()), Some(n));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_stops_as_soon_as_what_was_cast_is_written() {
    const CASTS: i64 = 4;
    let [one, other] = TestNode::cluster(2, ["one@test", "other@test"]).await;
    let (seen, mut casts) = mpsc::unbounded_channel();
    Probe::start(&one, seen).name("probe").await.expect("it starts");
    other.connect("one@test").await.expect("they connect");
    let begun = one.elapsed();
    // More than is on its way at once.
    let payload = "x".repeat(1_000_000);
    for n in 0..CASTS {
        other.cast(("probe", "one@test"), &(n, &payload)).expect("it is sent");
    }
    Node::clone(&other).stop().await;
    // A second is as long as it would wait for a peer that does not read.
    assert!(one.elapsed() - begun < Duration::from_secs(1), "{:?}", one.elapsed() - begun);
    for n in 0..CASTS {
        let cast = casts.recv().await.expect("a cast");
        assert_eq!(cast.as_tuple().and_then(|cast| cast[0].as_integer()), Some(n));
    }
}

#[tokio::test]
async fn a_wrong_cookie_is_an_error_that_says_so_and_harms_nobody() {
    let epmd = epmd();
    let (one, other) = (node("one@127.0.0.1", "c", &epmd).await, node("other@127.0.0.1", "d", &epmd).await);
    let refused = other.connect("one@127.0.0.1").await;
    let Err(error @ ConnectError::Closed) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains("cookie"), "{error}");
    assert!(!one.ping("other@127.0.0.1").await);
    let third = node("third@127.0.0.1", "c", &epmd).await;
    assert!(third.ping("one@127.0.0.1").await);
    assert_eq!(third.nodes(), ["one@127.0.0.1"]);
    let unknown = third.connect("nobody@127.0.0.1").await;
    assert!(matches!(unknown, Err(ConnectError::Unknown(_))), "{unknown:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_through_an_alias_of_another_node_is_answered_until_the_alias_is_gone() {
    let [one, other] = TestNode::cluster(1, ["one@test", "other@test"]).await;
    let (seen, _casts) = mpsc::unbounded_channel();
    let probe = Probe::start(&one, seen).name("probe").await.expect("it starts");
    let alias: Reference = other.call(("probe", "one@test"), Atom::from("alias")).await.expect("an alias");
    assert_eq!(other.call::<Term, _>(&alias, term("{hello, 1}")).await, Ok(term("{hello, 1}")));
    assert_eq!(one.call::<Term, _>(&alias, term("here")).await, Ok(term("here")));
    probe.stop(ExitReason::Shutdown).await;
    let gone = other.call::<Term, _>(&alias, term("x")).await;
    assert_eq!(gone, Err(CallError::Timeout(Duration::from_secs(5))));
    assert_eq!(one.call::<Term, _>(&alias, term("x")).await, Err(CallError::NoProc));
}

#[tokio::test]
async fn a_sender_that_outruns_its_connection_is_suspended_and_nothing_is_lost() {
    const MESSAGES: i64 = 300;
    let epmd = epmd();
    let (one, other) = (node("one@127.0.0.1", "c", &epmd).await, node("other@127.0.0.1", "c", &epmd).await);
    let (seen, mut messages) = mpsc::unbounded_channel();
    Probe::start(&one, seen).name("probe").await.expect("it starts");
    let sender = other.spawn(|cx| async move {
        for n in 0..MESSAGES {
            let block = "y".repeat(1 << 20);
            cx.send(("probe", "one@127.0.0.1"), (n, block)).expect("it is sent");
            // Where a process lets others run, it waits for the connection, too.
            cx.yield_now().await;
        }
        ExitReason::Normal
    });
    sender.expect("there is room");
    for n in 0..MESSAGES {
        let message = messages.recv().await.expect("a message");
        assert_eq!(message.as_tuple().and_then(|message| message[0].as_integer()), Some(n));
    }
}

/// A node to whose connections little may wait while they are made.
async fn impatient(epmd: &EpmdOptions) -> Node {
    let builder = Node::builder("other@127.0.0.1").cookie("c").epmd(epmd.clone()).listen("127.0.0.1", 0);
    builder.pending_bytes_max(200_000).start().await.expect("the node starts")
}

#[tokio::test]
async fn a_connection_is_made_for_one_message_of_any_length_and_small_ones_wait_beside_it() {
    const PROBE: (&str, &str) = ("probe", "one@127.0.0.1");
    let epmd = epmd();
    let one = node("one@127.0.0.1", "c", &epmd).await;
    let (seen, mut casts) = mpsc::unbounded_channel();
    Probe::start(&one, seen).name("probe").await.expect("it starts");
    let other = impatient(&epmd).await;
    let large = "x".repeat(1_000_000);
    // The connection is made by a task, which does not run in between.
    other.cast(PROBE, &(0, &large)).expect("it has an external form");
    other.cast(PROBE, &(1, &large)).expect("it has an external form");
    other.cast(PROBE, &(2, "small")).expect("it has an external form");
    let (answered, refused) = tokio::join!(
        other.call::<Term, _>(PROBE, Term::from(3)),
        other.call::<Term, _>(PROBE, Term::from(Bytes::from(vec![7; 1_000_000])))
    );
    assert_eq!(answered, Ok(Term::from(3)));
    assert_eq!(refused, Err(CallError::NoConnection("one@127.0.0.1".into())));
    // Now it stands, and is for messages of any length.
    other.cast(PROBE, &(4, &large)).expect("it has an external form");
    for expected in [0, 2, 4] {
        let cast = casts.recv().await.expect("a cast");
        assert_eq!(cast.as_tuple().and_then(|cast| cast[0].as_integer()), Some(expected));
    }
}

#[tokio::test]
async fn signals_without_end_do_not_wait_for_a_connection() {
    let epmd = epmd();
    let one = node("one@127.0.0.1", "c", &epmd).await;
    let (seen, mut casts) = mpsc::unbounded_channel();
    Probe::start(&one, seen).name("probe").await.expect("it starts");
    let other = impatient(&epmd).await;
    for n in 0..10_000 {
        other.cast(("probe", "one@127.0.0.1"), &n).expect("it has an external form");
    }
    other.connect("one@127.0.0.1").await.expect("they connect");
    other.cast(("probe", "one@127.0.0.1"), &"last").expect("it has an external form");
    let mut arrived = Vec::new();
    while let Some(n) = casts.recv().await.expect("a cast").as_integer() {
        arrived.push(n);
    }
    // A few bytes each, but it takes more than that to keep them.
    assert!((200..2000).contains(&arrived.len()), "{}", arrived.len());
    assert!(arrived.iter().copied().eq(0..arrived.len() as i64), "{arrived:?}");
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_leaves_nothing_of_what_has_waited_for_it() {
    const LATE: (&str, &str) = ("probe", "late@127.0.0.1");
    let epmd = epmd();
    let other = impatient(&epmd).await;
    let large = "x".repeat(2 << 20);
    let (tell, told) = tokio::sync::oneshot::channel();
    let message = (0, large.clone());
    let sender = other.spawn(|cx| async move {
        cx.cast(LATE, &message).expect("it has an external form");
        // Suspended: more than a connection would queue waits.
        cx.yield_now().await;
        let _ = tell.send(());
        ExitReason::Normal
    });
    sender.expect("there is room");
    let refused = Err(CallError::NoConnection("late@127.0.0.1".into()));
    let calls = tokio::join!(
        other.call::<Term, _>(LATE, Term::from(1)),
        other.call::<Term, _>(LATE, Term::from(Bytes::from(vec![7; 3 << 20]))),
        told
    );
    assert_eq!(calls, (refused.clone(), refused, Ok(())), "the sender goes on");
    // The next attempt takes as much, and nothing of the former.
    let late = node("late@127.0.0.1", "c", &epmd).await;
    let (seen, mut casts) = mpsc::unbounded_channel();
    Probe::start(&late, seen).name("probe").await.expect("it starts");
    other.cast(LATE, &(2, &large)).expect("it has an external form");
    assert_eq!(other.call::<Term, _>(LATE, Term::from(3)).await, Ok(Term::from(3)));
    let cast = casts.recv().await.expect("a cast");
    assert_eq!(cast.as_tuple().and_then(|cast| cast[0].as_integer()), Some(2));
}

#[tokio::test]
async fn a_priority_message_from_another_node_overtakes_if_the_receiver_has_opted_in() {
    let epmd = epmd();
    let (one, other) = (node("one@127.0.0.1", "c", &epmd).await, node("other@127.0.0.1", "c", &epmd).await);
    let (tell, mut told) = mpsc::unbounded_channel();
    let (go, mut gone) = mpsc::unbounded_channel::<()>();
    let (seen, mut messages) = mpsc::unbounded_channel();
    let receiver = one.spawn(|mut cx| async move {
        tell.send([cx.alias(), cx.alias_priority()]).unwrap();
        gone.recv().await;
        loop {
            if seen.send(cx.receive().await).is_err() {
                return ExitReason::Normal;
            }
        }
    });
    let (receiver, [plain, priority]) = (receiver.expect("there is room"), told.recv().await.unwrap());
    let (done, sent) = tokio::sync::oneshot::channel();
    let sender = other.spawn(|cx: process::Context<Term>| async move {
        cx.send(&receiver, 1).unwrap();
        cx.send_priority(&plain, &2).unwrap();
        cx.send(&priority, 3).unwrap();
        cx.send_priority(&priority, &"first").unwrap();
        cx.send_priority(&priority, &"second").unwrap();
        // Answered once the others have come, over the same connection.
        let asked = cx.call::<Term, _>(("net_kernel", "one@127.0.0.1"), term("{is_auth, 'other@127.0.0.1'}"));
        done.send(asked.await).unwrap();
        ExitReason::Normal
    });
    sender.expect("there is room");
    assert_eq!(sent.await.unwrap(), Ok(term("yes")));
    go.send(()).unwrap();
    for expected in ["<<\"first\">>", "<<\"second\">>", "1", "2", "3"] {
        assert_eq!(messages.recv().await, Some(term(expected)));
    }
}
