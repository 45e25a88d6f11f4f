//! Mailboxes with a bound.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::super::{
    Call, CallError, Caller, Delivery, Fallback, GenMessage, Mailbox, OnFull, Received, SpawnOpt,
};
use super::*;
use crate::etf::Payload;

/// Sends what is the receiver's own type, so that it is moved.
fn typed(local: &Local, to: &Pid, text: &str) -> Delivery {
    local.send(&local.pid(0, 0), &to.into(), term(text)).expect("a term has an external form")
}

/// Sends what is not, so that it is encoded.
fn encoded(local: &Local, to: &Pid, number: i64) -> Delivery {
    local.send(&local.pid(0, 0), &to.into(), number).expect("a number has an external form")
}

fn call(local: &Arc<Local>, to: &Pid) -> Call<Term, Term> {
    Call::new(Caller::Node(local.clone()), to.into(), Term::atom("hello"))
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_refuses_until_a_message_is_received() {
    let local = local();
    let mut slow = Slow::start(&local, Mailbox::bounded(2), |_| {});
    let pid = slow.pid().clone();
    assert!(matches!(typed(&local, &pid, "one"), Delivery::Done));
    assert!(matches!(encoded(&local, &pid, 2), Delivery::Done));
    assert!(matches!(typed(&local, &pid, "three"), Delivery::Full));
    assert!(matches!(encoded(&local, &pid, 3), Delivery::Full));
    assert_eq!(call(&local, &pid).await, Err(CallError::MailboxFull));
    // From another node: the sender is not told.
    assert_eq!(local.dropped(), 0);
    deliver(&local, &pid, &3);
    assert_eq!(local.dropped(), 1);
    let process = local.process(&pid).unwrap();
    deliver_together(&local, &process, 3..6);
    assert_eq!(local.dropped(), 4);
    assert_eq!(slow.receive().await, Some(term("one")));
    assert!(matches!(typed(&local, &pid, "three"), Delivery::Done));
    assert!(matches!(typed(&local, &pid, "four"), Delivery::Full));
    assert_eq!(slow.receive().await, Some(term("2")));
    assert_eq!(slow.receive().await, Some(term("three")));
    local.send_exit(&pid, &pid, &ExitReason::Kill);
    settle().await;
    assert!(matches!(typed(&local, &pid, "five"), Delivery::NoProc));
    deliver_together(&local, &process, 5..8);
    assert_eq!(local.dropped(), 7);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_ordinary_message_is_taken_whatever_the_bound() {
    let local = local();
    let mortal = start(&local, mortal);
    let echo = start(&local, |mut cx| async move {
        let Received::Term(message) = cx.receive_signal().await else { return ExitReason::atom("badarg") };
        let GenMessage::Call { from, .. } = GenMessage::new(message) else {
            return ExitReason::atom("badarg");
        };
        from.reply(cx.local(), cx.pid(), &term("reply")).unwrap();
        ExitReason::Normal
    });
    let (tell, mut told) = mpsc::unbounded_channel();
    let target = mortal.clone();
    let mut slow = Slow::start(&local, Mailbox::bounded(0), move |cx| {
        cx.trap_exit(true);
        cx.monitor(&target);
        cx.link(&target);
        cx.send_after(Duration::from_millis(10), term("timer"));
        let call = cx.call::<Term, _>(&echo, Term::atom("hello")).into_future();
        let world = cx.world().clone();
        // Beside the process: the reply comes through its queue's door all the same.
        drop(world.spawn(async move { tell.send(call.await).unwrap() }));
    });
    let pid = slow.pid().clone();
    settle().await;
    assert!(matches!(typed(&local, &pid, "ordinary"), Delivery::Full));
    assert_eq!(told.recv().await, Some(Ok(term("reply"))));
    send(&local, &mortal, term("done"));
    local.send_exit(&mortal, &pid, &ExitReason::Shutdown);
    local.deliver_always(&pid, Payload::encode(&(Atom::from_static("nodedown"), "a@h")).unwrap());
    let system = (Atom::from_static("system"), local.pid(1, 1), Atom::from_static("suspend"));
    deliver(&local, &pid, &system);
    local.world.sleep(Duration::from_millis(20)).await;
    let mut tags = Vec::new();
    for _ in 0..6 {
        let message = slow.receive().await.expect("it is alive");
        let tag = message.as_tuple().map_or(&message, |elements| &elements[0]);
        tags.push(tag.to_string());
    }
    tags.sort();
    assert_eq!(tags, ["'DOWN'", "'EXIT'", "'EXIT'", "nodedown", "system", "timer"]);
    assert!(matches!(typed(&local, &pid, "ordinary"), Delivery::Full));
}

#[tokio::test(start_paused = true)]
async fn messages_to_an_alias_count_and_those_to_an_inactive_one_no_longer() {
    let local = local();
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut slow = Slow::start(&local, Mailbox::bounded(2), move |cx| {
        let (active, inactive) = (cx.alias(), cx.alias());
        cx.unalias(&inactive);
        tell.send([active, inactive]).unwrap();
    });
    let [active, inactive] = told.recv().await.unwrap();
    let through = |alias: &crate::term::Reference, number: i64| {
        local.send(&local.pid(0, 0), &alias.into(), number).unwrap()
    };
    assert!(matches!(through(&active, 1), Delivery::Done));
    assert!(matches!(through(&inactive, 2), Delivery::Done), "whether it is active is not known yet");
    assert!(matches!(through(&active, 3), Delivery::Full));
    settle().await;
    assert!(matches!(through(&active, 4), Delivery::Done), "it is now");
    assert!(matches!(typed(&local, slow.pid(), "five"), Delivery::Full));
    assert_eq!(slow.receive().await, Some(term("1")));
    assert_eq!(slow.receive().await, Some(term("4")));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_killed_for_a_full_mailbox_ends_at_once_and_says_why() {
    let local = local();
    let slow = Slow::start(&local, Mailbox::bounded(3).on_full(OnFull::Kill), |cx| {
        cx.trap_exit(true);
    });
    for number in 0..3 {
        assert!(matches!(encoded(&local, slow.pid(), number), Delivery::Done));
    }
    settle().await;
    assert!(local.process(slow.pid()).is_some());
    for number in 3..6 {
        assert!(matches!(encoded(&local, slow.pid(), number), Delivery::Full));
    }
    assert_eq!(slow.process.shared().end().await, term("{mailbox_full, 3}").into());
}

#[tokio::test(start_paused = true)]
async fn messages_fall_back_once_and_say_from_where() {
    let local = local();
    let (other, mut seen) = observer(&local, |_| {});
    let (take, mut taken) = mpsc::unbounded_channel();
    let fallback = Fallback::new(&other, Term::tuple([Term::atom("tag"), Term::from(1)]));
    let fallback = fallback.typed(move |message| take.send(message).unwrap());
    let slow = Slow::start(&local, Mailbox::bounded(0).on_full(OnFull::Fallback(fallback)), |_| {});
    let pid = slow.pid().clone();
    assert!(matches!(encoded(&local, &pid, 7), Delivery::Done));
    local.names.register(Atom::from_static("slow"), local.process(&pid).unwrap()).unwrap();
    deliver(&local, &pid, &term("#{a => [1, 2]}"));
    let pid = Term::from(pid);
    let of = |process: Term, message| {
        Term::tuple([Term::atom("fallback"), process, term("{tag, 1}"), term(message)])
    };
    assert_eq!(seen.recv().await, Some(of(pid, "7")));
    assert_eq!(seen.recv().await, Some(of(term("slow"), "#{a => [1, 2]}")));
    assert!(matches!(typed(&local, slow.pid(), "{typed, message}"), Delivery::Done));
    assert_eq!(taken.recv().await, Some(term("{typed, message}")));
    assert_eq!(local.dropped(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_fall_back_is_refused() {
    let local = local();
    let full = |to: &'static str| {
        let fallback = OnFull::Fallback(Fallback::new(to, Term::atom("tag")));
        Slow::start(&local, Mailbox::bounded(0).on_full(fallback), |_| {})
    };
    // Two that fall back on each other, and one on nobody.
    let (ping, pong, lost) = (full("pong"), full("ping"), full("nobody"));
    for (name, slow) in [("ping", &ping), ("pong", &pong)] {
        local.names.register(Atom::from_static(name), local.process(slow.pid()).unwrap()).unwrap();
    }
    for slow in [&ping, &pong, &lost] {
        assert!(matches!(encoded(&local, slow.pid(), 7), Delivery::Full));
        assert!(matches!(typed(&local, slow.pid(), "no_function"), Delivery::Full));
    }
    deliver(&local, ping.pid(), &7);
    assert_eq!(local.dropped(), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Typed,
    Encoded,
    Timer,
    Exit,
    Receive,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The model: a queue of what counts and what does not.
    #[test]
    fn what_waits_is_what_was_sent_and_never_more_than_the_bound(
        bound in 0_usize..5,
        steps in prop::collection::vec(
            prop_oneof![
                Just(Step::Typed), Just(Step::Encoded), Just(Step::Timer), Just(Step::Exit), Just(Step::Receive)
            ],
            0..60,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let local = local();
            let mut slow = Slow::start(&local, Mailbox::bounded(bound), |cx| { cx.trap_exit(true); });
            // Until it traps exits.
            settle().await;
            let pid = slow.pid().clone();
            let mut model: VecDeque<(bool, i64)> = VecDeque::new();
            for (number, step) in (0_i64..).zip(steps) {
                let room = model.iter().filter(|(counts, _)| *counts).count() < bound;
                let sent = match step {
                    Step::Typed => Some(typed(&local, &pid, &number.to_string())),
                    Step::Encoded => Some(encoded(&local, &pid, number)),
                    Step::Timer => {
                        slow.process.push_always(super::super::Signal::Message(Term::from(number)));
                        model.push_back((false, number));
                        None
                    }
                    Step::Exit => {
                        local.send_exit(&pid, &pid, &ExitReason::Term(Term::from(number)));
                        model.push_back((false, number));
                        None
                    }
                    Step::Receive => {
                        if let Some((_, expected)) = model.pop_front() {
                            let message = slow.receive().await.expect("it is alive");
                            let number = message.as_tuple().map_or(&message, |exit| &exit[2]);
                            assert_eq!(*number, Term::from(expected));
                        }
                        None
                    }
                };
                match sent {
                    Some(Delivery::Done) => {
                        assert!(room, "it has taken one too many");
                        model.push_back((true, number));
                    }
                    Some(Delivery::Full) => assert!(!room, "it has refused one too many"),
                    Some(_) => panic!("it is alive"),
                    None => {}
                }
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_bare_process_has_the_options_that_it_is_spawned_with() {
    let local = local();
    let (tell, mut told) = mpsc::unbounded_channel();
    let options = SpawnOpt::new().mailbox(Mailbox::bounded(1)).env("colour", "red").link();
    let parent = start(&local, move |mut cx| async move {
        let child = cx.spawn_opt(options, move |mut cx| async move {
            let _ = tell.send((cx.pid().clone(), cx.env("colour")));
            cx.world().sleep(Duration::from_secs(1)).await;
            cx.receive().await.into()
        });
        assert!(child.is_ok());
        cx.receive().await.into()
    });
    let (child, colour) = told.recv().await.unwrap();
    assert_eq!(colour, Some(Term::from("red")));
    assert!(matches!(encoded(&local, &child, 1), Delivery::Done));
    assert!(matches!(encoded(&local, &child, 2), Delivery::Full));
    // It is linked, and takes its parent along with the reason that it was sent.
    local.world.sleep(Duration::from_secs(2)).await;
    settle().await;
    assert!(local.process(&child).is_none());
    assert!(local.process(&parent).is_none());
}
