//! The name server without its process.

use std::sync::Arc;

use crate::global::Options;
use crate::global::core::{Core, Effect};
use crate::global::message::Message;
use crate::global::table::Table;
use crate::term::{Atom, Pid, Term};
use crate::world::Mono;

fn core(node: &'static str) -> Core {
    let node = Atom::from(node);
    let locker = Pid { node: node.clone(), id: 1, serial: 0, creation: 1 };
    Core::new(node, 1, locker, Arc::<Table>::default(), &Options::default())
}

/// What it says to `to`, as that receives it; and whether it disconnects from it.
fn said(core: &mut Core, to: &'static str) -> (Vec<Message>, bool) {
    let (mut messages, mut disconnects) = (Vec::new(), false);
    for effect in std::mem::take(&mut core.effects) {
        match effect {
            Effect::Cast(node, message) if node == to => messages.extend(Message::from_cast(&message)),
            Effect::Send(node, message) | Effect::Lost(node, message) if node == to => {
                messages.extend(Message::from_info(&message));
            }
            Effect::Disconnect(node) => disconnects |= node == to,
            _ => {}
        }
    }
    (messages, disconnects)
}

fn tell(core: &mut Core, messages: Vec<Message>) {
    for message in messages {
        core.told(message, Mono::default());
    }
}

#[test]
fn two_nodes_that_tell_each_other_to_disconnect_do() {
    let (mut a, mut b) = (core("a@one"), core("b@two"));
    tell(&mut a, vec![Message::NodeUp("b@two".into())]);
    tell(&mut b, vec![Message::NodeUp("a@one".into())]);
    let (hello, _) = said(&mut a, "b@two");
    let (answer, _) = said(&mut b, "a@one");
    tell(&mut b, hello);
    tell(&mut a, answer);
    // A third has lost both of them, in another life: each hears of the other, at the same time.
    let lost = |node: &'static str| Message::LostConnection {
        from: "c@three".into(),
        creation: Term::from(1),
        id: 1,
        node: node.into(),
    };
    said(&mut a, "b@two");
    said(&mut b, "a@one");
    tell(&mut a, vec![lost("b@two")]);
    tell(&mut b, vec![lost("a@one")]);
    let (to_b, a_disconnects) = said(&mut a, "b@two");
    let (to_a, b_disconnects) = said(&mut b, "a@one");
    assert!(!a_disconnects && !b_disconnects);
    assert!(to_b.contains(&Message::RemoveConnection { node: "a@one".into() }), "{to_b:?}");
    tell(&mut b, to_b);
    tell(&mut a, to_a);
    assert!(said(&mut a, "b@two").1 || said(&mut b, "a@one").1, "nobody disconnects");
}

#[test]
fn a_node_is_told_that_it_is_in_sync_only_while_it_is_meant() {
    let mut a = core("a@one");
    let new_nodes = Message::NewNodes {
        node: "b@two".into(),
        ops: Vec::new(),
        external: Vec::new(),
        nodes: vec![("c@three".into(), 8)],
        lock: None,
    };
    tell(&mut a, vec![new_nodes.clone()]);
    a.connected(&"c@three".into());
    assert_eq!(said(&mut a, "c@three").0, [Message::InSync { node: "a@one".into() }]);
    // Connecting takes long, and meanwhile the node is lost.
    tell(&mut a, vec![Message::NodeDown("c@three".into()), new_nodes, Message::NodeDown("c@three".into())]);
    said(&mut a, "c@three");
    a.connected(&"c@three".into());
    assert_eq!(said(&mut a, "c@three").0, []);
}

#[test]
fn a_locker_that_waits_for_an_attempt_that_is_none_is_refused() {
    let mut a = core("a@one");
    let locker = Pid { node: "b@two".into(), id: 1, serial: 0, creation: 1 };
    tell(&mut a, vec![Message::LockSet { locker: locker.clone(), set: true, tag: Some(7) }]);
    let (refused, _) = said(&mut a, "b@two");
    assert!(matches!(&refused[..], [Message::LockSet { set: false, tag: None, .. }]), "{refused:?}");
    // One that waits for nothing needs no answer.
    tell(&mut a, vec![Message::LockSet { locker, set: false, tag: Some(7) }]);
    assert_eq!(said(&mut a, "b@two").0, []);
}
