use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const FRESH: u32 = 1_000_000;

fn node(name: &str, port: u16) -> Registration {
    Registration::new(name, port)
}

#[test]
fn lists_are_those_of_the_stock_daemon() {
    // Taken from the epmd of OTP 25 after the same registrations; its connections are descriptors from 5 on.
    let mut registry = Registry::default();
    for (name, port, connection) in [("a", 1001, 5), ("b", 1002, 6), ("c", 1003, 7)] {
        registry.register(connection, node(name, port), FRESH).unwrap();
    }
    assert_eq!(
        registry.names(24369),
        b"\x00\x00_1name c at port 1003\nname b at port 1002\nname a at port 1001\n"
    );
    assert_eq!(
        registry.dump(24369),
        b"\x00\x00_1active name     <c> at port 1003, fd = 7\n\x00active name     <b> at port 1002, fd = 6\n\x00\
          active name     <a> at port 1001, fd = 5\n\x00"
    );
    assert!(registry.unregister(b"b", 6));
    assert_eq!(
        registry.dump(24369),
        b"\x00\x00_1active name     <c> at port 1003, fd = 7\n\x00active name     <a> at port 1001, fd = 5\n\x00\
          old/unused name <b>, port = 1002, fd = 6 \n\x00"
    );
}

#[test]
fn a_name_that_registers_again_gets_the_next_creation() {
    let mut registry = Registry::default();
    assert_eq!(registry.register(1, node("a", 1), FRESH), Ok(FRESH));
    assert_eq!(registry.register(2, node("a", 1), FRESH + 9), Err(Refused::Taken));
    assert!(registry.unregister(b"a", 1));
    assert_eq!(registry.register(3, node("a", 1), FRESH + 9), Ok(FRESH + 1));
    assert_eq!(registry.register(4, node("b", 1), FRESH + 9), Ok(FRESH + 9));
}

#[test]
fn creations_start_at_four_also_when_the_counter_wraps() {
    let mut registry = Registry::default();
    assert_eq!(registry.register(1, node("a", 1), 0), Ok(4));
    assert_eq!(registry.register(2, node("b", 1), u32::MAX), Ok(u32::MAX));
    registry.stop(b"b");
    assert_eq!(registry.register(2, node("b", 1), 77), Ok(4));
}

#[test]
fn only_the_connection_of_a_node_unregisters_it() {
    let mut registry = Registry::default();
    registry.register(1, node("a", 1), FRESH).unwrap();
    assert_eq!(registry.stop(b"a"), Some(1));
    registry.register(2, node("a", 2), FRESH).unwrap();
    assert!(!registry.unregister(b"a", 1), "the connection that had the name before");
    assert_eq!(registry.port_please(b"a").map(|node| node.port), Some(2));
    assert!(registry.unregister(b"a", 2));
    assert_eq!(registry.stop(b"a"), None);
}

#[test]
fn what_is_no_name_is_refused_and_a_long_one_counts_in_characters() {
    let mut registry = Registry::default();
    let mut bad = node("x", 1);
    bad.name = vec![0xff];
    assert_eq!(registry.register(1, bad, FRESH), Err(Refused::NotUtf8));
    assert_eq!(registry.register(1, node(&"x".repeat(256), 1), FRESH), Err(Refused::TooLong { chars: 256 }));
    assert_eq!(registry.register(1, node(&"é".repeat(255), 1), FRESH), Ok(FRESH));
    let mut extra = node("y", 1);
    extra.extra = vec![b'e'; 1021];
    assert_eq!(registry.register(2, extra.clone(), FRESH), Err(Refused::ExtraTooLong { len: 1021 }));
    extra.extra.pop();
    assert_eq!(registry.register(2, extra, FRESH), Ok(FRESH));
}

#[test]
fn the_registry_does_not_grow_past_its_limits() {
    let limits = RegistryLimits { names: 2, gone: 2 };
    let mut registry = Registry::new(limits);
    registry.register(1, node("a", 1), FRESH).unwrap();
    registry.register(2, node("b", 1), FRESH).unwrap();
    assert_eq!(registry.register(3, node("c", 1), FRESH), Err(Refused::Full { names: 2 }));
    registry.stop(b"a");
    registry.register(3, node("c", 1), FRESH).unwrap();
    for name in [b"b", b"c"] {
        registry.stop(name);
    }
    let dump = String::from_utf8(registry.dump(0)).unwrap();
    assert!(!dump.contains("<a>") && dump.contains("<b>") && dump.contains("<c>"), "the oldest is forgotten");
}

/// The registry, told as a list of who is there and what each name's creation was.
#[derive(Default)]
struct Model {
    active: BTreeMap<String, (u64, u32)>,
    gone: Vec<(String, u32)>,
}

proptest! {
    #[test]
    fn it_does_what_its_model_does(steps in prop::collection::vec((0..3u8, 0..6u8, 0..4u64), 0..200)) {
        let mut registry = Registry::new(RegistryLimits { names: 4, gone: 2 });
        let mut model = Model::default();
        for (fresh, (step, name, connection)) in (100u32..).step_by(1000).zip(steps) {
            let name = format!("n{name}");
            match step {
                0 => {
                    let expected = if model.active.contains_key(&name) {
                        Err(Refused::Taken)
                    } else if model.active.len() == 4 {
                        Err(Refused::Full { names: 4 })
                    } else {
                        let known = model.gone.iter().position(|(gone, _)| *gone == name);
                        let creation = known.map_or(fresh, |at| model.gone.remove(at).1 + 1);
                        model.active.insert(name.clone(), (connection, creation));
                        Ok(creation)
                    };
                    prop_assert_eq!(registry.register(connection, node(&name, 1), fresh), expected);
                }
                1 => {
                    let ours = model.active.get(&name).is_some_and(|(owner, _)| *owner == connection);
                    prop_assert_eq!(registry.unregister(name.as_bytes(), connection), ours);
                    if ours {
                        model.leave(&name);
                    }
                }
                _ => {
                    let owner = model.active.get(&name).map(|(owner, _)| *owner);
                    prop_assert_eq!(registry.stop(name.as_bytes()), owner);
                    if owner.is_some() {
                        model.leave(&name);
                    }
                }
            }
            prop_assert_eq!(registry.len(), model.active.len());
            prop_assert_eq!(registry.port_please(name.as_bytes()).is_some(), model.active.contains_key(&name));
        }
    }
}

impl Model {
    fn leave(&mut self, name: &str) {
        let (_, creation) = self.active.remove(name).unwrap();
        self.gone.push((name.to_owned(), creation));
        if self.gone.len() > 2 {
            self.gone.remove(0);
        }
    }
}
