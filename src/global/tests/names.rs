//! What is registered and locked on one node. As `insert_global_name` and `lock_still_set` in `global.erl`.

use std::sync::Arc;

use crate::global::global_resource;
use crate::global::names::{Locked, Names, Watch};
use crate::global::table::{LockId, Table};
use crate::term::{Atom, Pid, Term};

fn pid(id: u32) -> Pid {
    Pid { node: Atom::from("b@two"), id, serial: 0, creation: 1 }
}

/// A node's names, with `global`'s own lock held by a registrar, process 1.
fn locked() -> (Names, LockId) {
    let mut names = Names::new(Arc::<Table>::default(), 1 << 20);
    let id = LockId::new(global_resource(), pid(1));
    assert!(names.set_lock(&id, &pid(1), &mut Vec::new()));
    (names, id)
}

fn register(names: &mut Names, name: i64, locked: Locked<'_>) -> bool {
    names.insert((Term::from(name), pid(9), Term::nil()), None, locked, &mut Vec::new());
    names.entries().iter().any(|(it, _, _)| *it == Term::from(name))
}

#[test]
fn a_name_is_registered_by_who_has_the_lock() {
    let (mut names, _) = locked();
    assert!(register(&mut names, 1, Locked::By(&pid(1))));
    assert!(!register(&mut names, 2, Locked::By(&pid(2))));
}

#[test]
fn names_of_another_partition_come_with_the_lock_of_both() {
    let (mut names, id) = locked();
    assert!(register(&mut names, 1, Locked::With(Some(&id))));
    assert!(!register(&mut names, 2, Locked::With(Some(&LockId::new(global_resource(), pid(2))))));
    assert!(!register(&mut names, 3, Locked::With(None)));
}

#[test]
fn what_comes_late_of_a_registrar_that_was_lost_is_not_registered() {
    let (mut names, id) = locked();
    names.down(Watch::Lock(global_resource(), pid(1)), &mut Vec::new());
    assert!(!register(&mut names, 1, Locked::By(&pid(1))));
    // Once somebody has had the lock and given it back, that is over.
    assert!(names.set_lock(&id, &pid(3), &mut Vec::new()));
    names.del_lock(&id, &pid(3), &mut Vec::new());
    assert!(register(&mut names, 2, Locked::By(&pid(4))));
}
