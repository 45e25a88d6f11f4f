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
