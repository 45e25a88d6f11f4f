//! The core, one event at a time; what is to be sent is what `pg.erl` of OTP 25 sends.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::pg::core::{Change, Core, ENTRY_LEN, Effect, MEMBER_LEN, Watch};
use crate::pg::message::{Action, Message, Told};
use crate::pg::table::Table;
use crate::term::{Atom, Pid, Term};

const LIMIT: usize = 1 << 20;

pub(super) fn pid(node: &'static str, id: u32) -> Pid {
    Pid { node: Atom::from_static(node), id, serial: 0, creation: 1 }
}

fn here() -> Pid {
    pid("a@h", 1)
}

fn there() -> Pid {
    pid("b@h", 1)
}

fn group(name: &'static str) -> Term {
    Term::atom(name)
}

fn change(action: Action, name: &'static str, pids: &[Pid], local: bool) -> Effect {
    Effect::Change(Change { action, group: group(name), pids: pids.to_vec(), local })
}

fn to_there(message: Message) -> Effect {
    Effect::Send(vec![there()], message)
}

/// A core that a peer has discovered.
fn met() -> Core {
    let mut core = Core::new(here(), LIMIT);
    core.told(Message::Discover(there()));
    core
}

#[test]
fn who_discovers_is_told_of_the_members_and_discovered_once() {
    let mut core = Core::new(here(), LIMIT);
    let member = pid("a@h", 7);
    core.join_local(group("g"), vec![member.clone(), member.clone()]);
    let sync = Message::Sync(here(), vec![(group("g"), vec![member.clone(), member])]);
    assert_eq!(
        core.told(Message::Discover(there())),
        [Effect::Monitor(Watch::Peer(there())), to_there(sync.clone()), to_there(Message::Discover(here())),]
    );
    assert_eq!(core.told(Message::Discover(there())), [to_there(sync)], "it is known");
}

#[test]
fn nodes_are_discovered_when_they_come_up_but_not_the_own() {
    let mut core = Core::new(here(), LIMIT);
    let b = Atom::from_static("b@h");
    assert_eq!(core.node_up(b.clone()), [Effect::Discover(b)]);
    assert_eq!(core.node_up(Atom::from_static("a@h")), []);
    assert_eq!(core.told(Message::Discover(here())), [], "nor does it discover itself");
}

#[test]
fn a_process_is_monitored_while_it_is_in_any_group_and_its_end_is_told_with_each_membership() {
    let mut core = met();
    let member = pid("a@h", 7);
    let join = |name| to_there(Message::Join(here(), group(name), vec![member.clone()]));
    let leave = |groups| to_there(Message::Leave(here(), vec![member.clone()], groups));
    assert_eq!(
        core.join_local(group("g"), vec![member.clone()]),
        [
            Effect::Monitor(Watch::Member(member.clone())),
            change(Action::Join, "g", std::slice::from_ref(&member), true),
            join("g"),
        ]
    );
    core.join_local(group("g"), vec![member.clone()]);
    core.join_local(group("h"), vec![member.clone()]);
    let one = std::slice::from_ref(&member);
    assert_eq!(
        core.leave_local(group("h"), vec![member.clone()]),
        [change(Action::Leave, "h", one, true), leave(vec![group("h")])]
    );
    assert_eq!(
        core.down(Watch::Member(member.clone())),
        [
            change(Action::Leave, "g", one, true),
            change(Action::Leave, "g", one, true),
            leave(vec![group("g"), group("g")]),
        ]
    );
    core.join_local(group("g"), vec![member.clone()]);
    assert_eq!(
        core.leave_local(group("g"), vec![member.clone()]),
        [
            Effect::Demonitor(Watch::Member(member.clone())),
            change(Action::Leave, "g", one, true),
            leave(vec![group("g")]),
        ]
    );
}

#[test]
fn a_leave_that_is_none_is_told_to_nobody() {
    let mut core = met();
    let (member, other) = (pid("a@h", 7), pid("a@h", 8));
    core.join_local(group("g"), vec![member.clone()]);
    assert_eq!(core.leave_local(group("h"), vec![member.clone()]), []);
    assert_eq!(core.leave_local(group("g"), vec![other.clone()]), []);
    let effects = core.leave_local(group("g"), vec![other, member.clone(), member.clone()]);
    let left = Message::Leave(here(), vec![member], vec![group("g")]);
    assert_eq!(effects.last(), Some(&to_there(left)), "only who was there has left");
    assert_eq!(core.join_local(group("g"), Vec::new()), [], "and nobody joins");
}

#[test]
fn a_scope_that_has_not_been_told_of_all_members_is_told_of_no_change() {
    let mut core = Core::new(here(), LIMIT);
    let member = pid("a@h", 7);
    core.join_local(group("g"), vec![member.clone()]);
    // The answer to what this one asked.
    core.told(Message::Sync(there(), Vec::new()));
    let effects = core.leave_local(group("g"), vec![member]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Send(..))), "{effects:?}");
}

#[test]
fn what_a_peer_tells_is_dropped_with_it() {
    let mut core = met();
    let (one, two) = (pid("b@h", 7), pid("b@h", 8));
    let join = Message::Join(there(), group("g"), vec![one.clone(), two.clone()]);
    assert_eq!(core.told(join.clone()), [change(Action::Join, "g", &[one.clone(), two.clone()], false)]);
    let leave = Message::Leave(there(), vec![one.clone()], vec![group("g"), group("h")]);
    assert_eq!(core.told(leave.clone()), [change(Action::Leave, "g", &[one], false)]);
    assert_eq!(core.down(Watch::Peer(there())), [change(Action::Leave, "g", &[two], false)]);
    assert_eq!((core.told(join), core.told(leave)), (vec![], vec![]), "it is not known any more");
    assert_eq!(core.held(), 0);
}

#[test]
fn a_sync_replaces_what_was_known_and_tells_what_changed() {
    let mut core = met();
    let [one, two, three] = [7, 8, 9].map(|id| pid("b@h", id));
    core.told(Message::Join(there(), group("g"), vec![one.clone(), one.clone(), two.clone()]));
    core.told(Message::Join(there(), group("h"), vec![two.clone()]));
    let groups = vec![(group("g"), vec![one.clone(), three.clone()]), (group("i"), vec![two.clone()])];
    assert_eq!(
        core.told(Message::Sync(there(), groups)),
        [
            change(Action::Join, "g", std::slice::from_ref(&three), false),
            change(Action::Join, "i", std::slice::from_ref(&two), false),
            change(Action::Leave, "g", &[one.clone(), two.clone()], false),
            change(Action::Leave, "h", std::slice::from_ref(&two), false),
        ]
    );
    core.told(Message::Sync(there(), Vec::new()));
    assert_eq!(core.held(), ENTRY_LEN, "of the scope itself");
}

#[test]
fn nobody_says_of_a_process_that_it_joined_but_its_own_node() {
    let mut core = met();
    let join = Message::Join(there(), group("g"), vec![pid("a@h", 7), pid("c@h", 8), pid("b@h", 9)]);
    assert_eq!(core.told(join), [change(Action::Join, "g", &[pid("b@h", 9)], false)]);
}

#[test]
fn a_node_makes_a_scope_hold_no_more_than_the_limit() {
    let name = Term::from("x".repeat(1000));
    // The external form of the name has eleven bytes more at most.
    let mut core = Core::new(here(), 2 * ENTRY_LEN + 1011 + 3 * MEMBER_LEN);
    core.told(Message::Discover(there()));
    let members: Vec<Pid> = (0..100).map(|id| pid("b@h", id)).collect();
    let effects = core.told(Message::Join(there(), name.clone(), members.clone()));
    let change =
        Change { action: Action::Join, group: name.clone(), pids: members[..3].to_vec(), local: false };
    assert_eq!(effects, [Effect::Change(change)]);
    let full = core.held();
    assert_eq!(core.told(Message::Join(there(), group("other"), members.clone())), []);
    assert_eq!(core.told(Message::Join(there(), name.clone(), members.clone())), []);
    assert_eq!(core.told(Message::Discover(pid("b@h", 2))), [], "another scope of the same node");
    assert_eq!(core.told(Message::Sync(there(), vec![(name.clone(), members.clone())])), [], "as before");
    assert_eq!(core.held(), full);
    // Those that were not taken in leave, too, and then there is room.
    core.told(Message::Leave(there(), members.clone(), vec![name]));
    assert_eq!(core.held(), ENTRY_LEN);
    assert!(!core.told(Message::Join(there(), group("other"), members)).is_empty());
    assert!(core.held() <= full);
    assert!(!core.told(Message::Discover(pid("c@h", 1))).is_empty(), "other nodes have limits of their own");
}

#[test]
fn messages_are_told_from_whatever_else_arrives() {
    let p = there();
    let read = |text: &str| Told::from_term(&text.replace('P', &p.to_string()).parse().unwrap());
    let scope = |message| Some(Told::Scope(message));
    assert_eq!(read("{discover,P}"), scope(Message::Discover(there())));
    assert_eq!(read("{discover,P,1}"), scope(Message::Discover(there())));
    let join = || scope(Message::Join(there(), group("g"), vec![there()]));
    assert_eq!((read("{join,P,g,P}"), read("{join,P,g,[P]}")), (join(), join()));
    let leave = || scope(Message::Leave(there(), vec![there()], vec![group("g"), group("g")]));
    assert_eq!((read("{leave,P,P,[g,g]}"), read("{leave,P,[P],[g,g]}")), (leave(), leave()));
    assert_eq!(read("{nodeup,'b@h'}"), Some(Told::NodeUp(Atom::from_static("b@h"))));
    for other in [
        "hello",
        "{}",
        "{discover}",
        "{discover,1}",
        "{discover,P,1,2}",
        "{join,P,g}",
        "{join,P,g,x}",
        "{join,P,g,[P|P]}",
        "{join,P,g,[P,1]}",
        "{leave,P,P,g}",
        "{leave,P,P,[g|h]}",
        "{nodeup,1}",
        "{'DOWN',x,process,P,normal}",
        "{sync,P,[]}",
        "{1,P}",
    ] {
        assert_eq!(read(other), None, "{other}");
    }
    let cast = |text: &str| Message::from_cast(&text.replace('P', &p.to_string()).parse().unwrap());
    let sync = Message::Sync(there(), vec![(group("g"), vec![there(), there()])]);
    assert_eq!(cast("{sync,P,[{g,[P,P]}]}"), Some(sync));
    for other in
        ["{discover,P}", "{sync,P}", "{sync,1,[]}", "{sync,P,[g]}", "{sync,P,[{g,1}]}", "{sync,P,[{g,[]}|x]}"]
    {
        assert_eq!(cast(other), None, "{other}");
    }
}

fn message() -> impl Strategy<Value = Message> {
    let node = || prop::sample::select(vec!["a@h", "b@h", "c@h"]);
    let scope = || (node(), 1..3_u32).prop_map(|(node, id)| pid(node, id));
    let pids = || prop::collection::vec((node(), 7..10_u32).prop_map(|(node, id)| pid(node, id)), 0..5);
    let name = || prop::sample::select(vec![group("g"), group("h"), Term::from("x".repeat(500))]);
    let groups = move || prop::collection::vec((name(), pids()), 0..4);
    prop_oneof![
        2 => scope().prop_map(Message::Discover),
        2 => (scope(), groups()).prop_map(|(scope, groups)| Message::Sync(scope, groups)),
        4 => (scope(), name(), pids()).prop_map(|(scope, name, pids)| Message::Join(scope, name, pids)),
        3 => (scope(), pids(), prop::collection::vec(name(), 0..4))
            .prop_map(|(scope, pids, names)| Message::Leave(scope, pids, names)),
    ]
}

proptest! {
    #[test]
    fn whatever_scopes_say_what_is_held_is_counted_and_goes_with_them(
        said in prop::collection::vec((message(), any::<bool>()), 1..60),
    ) {
        let limit = 3 * ENTRY_LEN + 4 * MEMBER_LEN;
        let mut core = Core::new(here(), limit);
        let table = Table::default();
        let mut met = BTreeSet::new();
        for (message, ends) in said {
            let mut effects = core.told(message);
            if ends && let Some(peer) = met.pop_first() {
                effects.extend(core.down(Watch::Peer(peer)));
            }
            for effect in effects {
                match effect {
                    Effect::Monitor(Watch::Peer(peer)) => prop_assert!(met.insert(peer)),
                    Effect::Change(change) => table.apply(&change),
                    _ => {}
                }
            }
            let memberships: usize = table.read().values().map(|members| members.all.len()).sum();
            let least = met.len() * ENTRY_LEN + memberships * MEMBER_LEN;
            prop_assert!(least <= core.held() && core.held() <= 3 * limit, "{least} {}", core.held());
        }
        for peer in met {
            for effect in core.down(Watch::Peer(peer)) {
                let Effect::Change(change) = effect else { continue };
                table.apply(&change);
            }
        }
        prop_assert_eq!(core.held(), 0);
        prop_assert!(table.read().is_empty());
    }
}
