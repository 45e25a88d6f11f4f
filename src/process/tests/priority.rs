//! Priority messages, against a model of two queues.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::term::Reference;

/// To whom, and how.
#[derive(Debug, Clone, Copy)]
enum Step {
    ToPid,
    /// Ordinary messages.
    ToPlainAlias,
    ToPriorityAlias,
    /// Priority messages.
    PriorityToPlainAlias,
    PriorityToPriorityAlias,
    /// The process acts on what has come; it waits for something else meanwhile.
    Settle,
    Receive,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::ToPid),
        1 => Just(Step::ToPlainAlias),
        1 => Just(Step::ToPriorityAlias),
        1 => Just(Step::PriorityToPlainAlias),
        2 => Just(Step::PriorityToPriorityAlias),
        1 => Just(Step::Settle),
        3 => Just(Step::Receive),
    ]
}

/// A process with a plain alias and a priority alias.
async fn with_aliases(local: &Arc<Local>) -> (Slow, [Reference; 2]) {
    let (tell, mut told) = mpsc::unbounded_channel();
    let slow = Slow::start(local, None, move |cx| tell.send([cx.alias(), cx.alias_priority()]).unwrap());
    let aliases = told.recv().await.expect("it tells them");
    (slow, aliases)
}

fn send_priority(local: &Local, alias: &Reference, number: i64) {
    local.send_priority(&local.pid(0, 0), &alias.into(), &number).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn priority_messages_are_received_before_all_others_and_each_kind_in_its_order(
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let local = local();
            let (mut slow, [plain, priority]) = with_aliases(&local).await;
            let pid = slow.pid().clone();
            let (mut first, mut ordinary) = (VecDeque::new(), VecDeque::new());
            let through = |alias: &Reference, number| {
                local.send(&local.pid(0, 0), &alias.into(), Term::from(number)).unwrap();
            };
            for (number, step) in (0_i64..).zip(steps) {
                match step {
                    Step::ToPid => send(&local, &pid, Term::from(number)),
                    Step::ToPlainAlias => through(&plain, number),
                    Step::ToPriorityAlias => through(&priority, number),
                    Step::PriorityToPlainAlias => send_priority(&local, &plain, number),
                    Step::PriorityToPriorityAlias => send_priority(&local, &priority, number),
                    Step::Settle => settle().await,
                    Step::Receive => {
                        if let Some(expected) = first.pop_front().or_else(|| ordinary.pop_front()) {
                            assert_eq!(slow.receive().await, Some(Term::from(expected)));
                            let len = local.process(&pid).unwrap().message_queue_len();
                            assert_eq!(len, first.len() + ordinary.len());
                        }
                    }
                }
                match step {
                    Step::PriorityToPriorityAlias => first.push_back(number),
                    Step::Settle | Step::Receive => {}
                    _ => ordinary.push_back(number),
                }
            }
            for expected in first.into_iter().chain(ordinary) {
                assert_eq!(slow.receive().await, Some(Term::from(expected)));
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_priority_message_is_received_next_while_the_process_waits_or_works_off_others() {
    let local = local();
    let (mut slow, [_, alias]) = with_aliases(&local).await;
    send_priority(&local, &alias, 0);
    assert_eq!(slow.receive().await, Some(term("0")));
    // It waits for any.
    slow.receive.send(()).unwrap();
    settle().await;
    send_priority(&local, &alias, 1);
    assert_eq!(slow.messages.recv().await, Some(term("1")));
    // It has taken many out of its queue.
    for number in 100..110 {
        send(&local, slow.pid(), Term::from(number));
    }
    assert_eq!(slow.receive().await, Some(term("100")));
    send_priority(&local, &alias, 2);
    send_priority(&local, &alias, 3);
    for expected in ["2", "3", "101", "102"] {
        assert_eq!(slow.receive().await, Some(term(expected)));
    }
    // Those to an alias that is inactive by now are dropped.
    let dropped = local.dropped();
    local.process(slow.pid()).unwrap().shared().relations(|relations| relations.unalias(&alias));
    send_priority(&local, &alias, 4);
    assert_eq!(slow.receive().await, Some(term("103")));
    assert_eq!(local.dropped(), dropped + 1);
}
