//! Another node's name server may say anything.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::global::Options;
use crate::term::{Atom, Pid, Term, strategy};
use crate::testing::TestNode;

/// Terms that look like what name servers tell each other.
fn message() -> impl Strategy<Value = Term> {
    let node = prop_oneof![Just("a@one"), Just("b@two"), Just("c@three")]
        .prop_map(|node| Term::from(Atom::from(node)));
    let pid = (0..3_usize, 0..20_u32).prop_map(|(node, id)| {
        let node = Atom::from(["a@one", "b@two", "c@three"][node]);
        Term::from(Pid { node, id, serial: 0, creation: 1 })
    });
    let tag = (-1..6_i64).prop_map(Term::from);
    let lock = prop_oneof![Just("global"), Just("it")].prop_flat_map({
        let pid = pid.clone();
        move |resource| pid.clone().prop_map(move |pid| tuple([Term::atom(resource), Term::list([pid])]))
    });
    let name = (0..3_i64).prop_map(Term::from);
    let entry = (name.clone(), pid.clone(), Just(Term::nil()))
        .prop_map(|(name, pid, method)| tuple([name, pid, method]));
    let op = prop_oneof![
        entry.clone().prop_map(|entry| tuple([Term::atom("insert"), entry])),
        name.clone().prop_map(|name| tuple([Term::atom("delete"), name])),
    ];
    let known = (node.clone(), -1..9_i64).prop_map(|(node, vsn)| tuple([node, vsn.into()]));
    let list = |element: BoxedStrategy<Term>| proptest::collection::vec(element, 0..3).prop_map(Term::list);
    let (names, ops, knowns) = (list(entry.boxed()), list(op.boxed()), list(known.boxed()));
    let bool = any::<bool>().prop_map(Term::from);
    let cast = |strategy: BoxedStrategy<Term>| {
        strategy.prop_map(|term| tuple([Term::atom("$gen_cast"), term])).boxed()
    };
    let well_formed = prop_oneof![
        cast(
            (0..9_i64, tag.clone(), node.clone(), pid.clone())
                .prop_map(|(vsn, tag, node, pid)| {
                    let locker = tuple([Term::atom("locker"), Term::nil(), Term::nil(), pid]);
                    tuple([Term::atom("init_connect"), tuple([vsn.into(), tag]), node, locker])
                })
                .boxed()
        ),
        (node.clone(), tag.clone(), tag.clone()).prop_map(|(node, mine, theirs)| tuple([
            Term::atom("init_connect_ack"),
            node,
            mine,
            theirs
        ])),
        (node.clone(), tag.clone()).prop_map(|(node, tag)| tuple([Term::atom("cancel_connect"), node, tag])),
        cast(
            (pid.clone(), bool, tag.clone())
                .prop_map(|(pid, set, tag)| { tuple([Term::atom("lock_set"), pid, set, Term::nil(), tag]) })
                .boxed()
        ),
        cast(
            (node.clone(), names, tag.clone())
                .prop_map(|(node, names, tag)| {
                    tuple([Term::atom("exchange"), node, names, Term::nil(), tag])
                })
                .boxed()
        ),
        cast(
            (node.clone(), ops.clone(), knowns.clone(), tag.clone())
                .prop_map(|(node, ops, known, tag)| {
                    tuple([Term::atom("resolved"), node, ops, known, Term::nil(), Term::nil(), tag])
                })
                .boxed()
        ),
        cast(
            (node.clone(), ops, knowns, lock)
                .prop_map(|(node, ops, nodes, lock)| {
                    let lock = Term::list([tuple([Term::atom("lock"), lock])]);
                    tuple([Term::atom("new_nodes"), node, ops, Term::nil(), nodes, lock])
                })
                .boxed()
        ),
        cast(node.clone().prop_map(|node| tuple([Term::atom("in_sync"), node, true.into()])).boxed()),
        (node.clone(), tag.clone(), tag.clone(), node.clone()).prop_map(|(from, creation, id, node)| {
            tuple([Term::atom("lost_connection"), from, creation, id, node])
        }),
        node.clone().prop_map(|node| tuple([Term::atom("remove_connection"), node])),
        (name, pid, tag).prop_map(|(name, pid, tag)| tuple([Term::atom("whereis"), name, tuple([pid, tag])])),
        node.clone().prop_map(|node| tuple([Term::atom("nodedown"), node])),
        node.prop_map(|node| tuple([Term::atom("nodeup"), node])),
    ];
    // Whole, or with something else in one place.
    prop_oneof![
        4 => well_formed.clone(),
        1 => (well_formed, any::<prop::sample::Index>(), strategy::term()).prop_map(|(term, at, other)| {
            let mut elements = term.as_tuple().unwrap_or_default().to_vec();
            let at = at.index(elements.len());
            elements[at] = other;
            tuple(elements)
        }),
        1 => strategy::term(),
    ]
}

fn tuple(elements: impl IntoIterator<Item = Term>) -> Term {
    Term::tuple(elements)
}

#[tokio::test(start_paused = true)]
async fn a_node_outlives_whatever_name_servers_say() {
    let mut runner = TestRunner::deterministic();
    for seed in 0..150 {
        let nodes =
            TestNode::cluster_with(seed, ["a@one", "b@two"], |builder| builder.global(Options::default()));
        let [a, b] = nodes.await;
        let messages = proptest::collection::vec(message(), 1..30).new_tree(&mut runner).unwrap().current();
        for message in &messages {
            // The connection may be gone: that is among the things that another node may ask for.
            let _ = b.send(("global_name_server", "a@one"), message.clone());
            if messages.len() % 2 == 0 {
                a.settle().await;
            }
        }
        a.advance(std::time::Duration::from_secs(60)).await;
        let vsn: i64 =
            a.call("global_name_server", Atom::from("get_protocol_version")).await.expect("it is alive");
        assert_eq!(vsn, 8, "{messages:?}");
        // Nor is it locked up: what others have locked goes with them.
        b.clone().stop().await;
        a.advance(std::time::Duration::from_secs(60)).await;
        for name in a.global().registered_names() {
            a.global().re_register_name(name, a.probe().pid()).await.expect("it takes part");
        }
    }
}
