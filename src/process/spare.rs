//! What is made, found or dropped with each call or message, kept from one to the next until the scheduler's turn ends: memory, a waker,
//! a reference, and the way to another node.
#![expect(unsafe_code, reason = "an allocation outlives what was in it, and takes the next")]

use std::alloc::{Layout, dealloc};
use std::any::Any;
use std::cell::Cell;
use std::hint::cold_path;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::Waker;

use super::scheduler::InTurn;
use super::{ConnectionId, Encode, Link, Local, Sent, Write};
use crate::dist::Control;
use crate::etf::EncodeError;
use crate::term::{Atom, Pid};

thread_local! {
    /// What is kept on this thread. Nothing is outside a scheduler's turn.
    static SPARE: Spare = const {
        Spare {
            turn: Cell::new(false),
            kept: Cell::new(None),
            waker: InTurn::new(),
            server: InTurn::new(),
            way: InTurn::new(),
        }
    };
}

struct Spare {
    turn: Cell<bool>,
    /// Of a `Box` with this layout, which is not zero bytes long.
    kept: Cell<Option<(NonNull<u8>, Layout)>>,
    /// Of who was woken last for a reply, and mostly calls again at once.
    waker: InTurn<Waker>,
    /// The server that was called last, and mostly is called again.
    server: InTurn<Arc<dyn Any + Send + Sync>>,
    /// To where the last message went.
    way: InTurn<Way>,
}

/// The way from one node to another.
pub(crate) struct Way {
    /// The address of the one, which outlives the turn of its process.
    from: usize,
    to: Atom,
    /// `None` after the first message: most turns send no second one.
    link: Option<(ConnectionId, Arc<dyn Link>)>,
}

impl Way {
    pub(crate) fn new(from: &Local, to: Atom, link: Option<Arc<dyn Link>>) -> Self {
        Self { from: std::ptr::from_ref(from).addr(), to, link: link.map(|link| (link.id(), link)) }
    }

    /// Sends a message there, if there is a connection that stands.
    #[inline]
    pub(super) fn send(
        &self,
        from: &Local,
        sender: &Pid,
        control: &Control<Encode<'_>>,
        write: Write,
    ) -> Result<Sent, EncodeError> {
        match &self.link {
            Some((_, link)) => link.send(from, sender, control, write),
            None => {
                cold_path();
                Ok(Sent::NoConnection)
            }
        }
    }

    /// Whether it is the way over this connection.
    #[inline]
    pub(crate) fn is_over(&self, connection: ConnectionId) -> bool {
        self.link.as_ref().is_some_and(|(id, _)| *id == connection)
    }
}

/// Whether there is something to keep things for.
#[inline]
pub(crate) fn in_turn() -> bool {
    SPARE.with(|spare| spare.turn.get())
}

/// As `Arc::clone`, without counting if it is the one kept.
#[inline]
pub(crate) fn clone_server<T: Any + Send + Sync>(server: &Arc<T>) -> Arc<T> {
    SPARE.with(|spare| match spare.server.take() {
        Some(kept) if Arc::as_ptr(&kept).addr() == Arc::as_ptr(server).addr() => {
            kept.downcast().unwrap_or_else(|_| server.clone())
        }
        other => {
            // Nothing was put there since.
            spare.server.replace(other);
            server.clone()
        }
    })
}

/// Keeps a reference in the place of the former one.
#[inline]
pub(crate) fn keep_server(server: Arc<dyn Any + Send + Sync>) {
    SPARE.with(|spare| {
        if spare.turn.get() {
            drop(spare.server.replace(Some(server)));
        }
    });
}

/// As `Waker::clone`, without counting if it is the one kept.
#[inline]
pub(super) fn clone_waker(waker: &Waker) -> Waker {
    SPARE.with(|spare| match spare.waker.take() {
        Some(kept) if kept.will_wake(waker) => kept,
        other => {
            // Nothing was put there since.
            spare.waker.replace(other);
            waker.clone()
        }
    })
}

/// Keeps a waker in the place of the former one.
#[inline]
pub(super) fn keep_waker(waker: Waker) {
    SPARE.with(|spare| {
        if spare.turn.get()
            && let Some(former) = spare.waker.replace(Some(waker))
        {
            cold_path();
            drop(former);
        }
    });
}

/// The way that is kept.
#[inline]
pub(super) fn any_way() -> Option<Way> {
    SPARE.with(|spare| spare.way.take())
}

/// The way that is kept, if it is this one.
#[inline]
pub(super) fn take_way(from: &Local, to: &Atom) -> Option<Way> {
    let way = any_way()?;
    if way.from == std::ptr::from_ref(from).addr() && way.to == *to {
        return Some(way);
    }
    cold_path();
    None
}

/// Keeps a way in the place of the former one.
#[inline]
pub(super) fn keep_way(way: Way) {
    SPARE.with(|spare| {
        if !spare.turn.get() {
            cold_path();
            return drop(way);
        }
        if let Some(former) = spare.way.replace(Some(way)) {
            cold_path();
            drop(former);
        }
    });
}

/// As `Box::new`.
#[inline]
pub(crate) fn make<T>(value: T) -> Box<T> {
    let layout = Layout::new::<T>();
    let kept = SPARE.with(|spare| match spare.kept.get() {
        Some((memory, kept)) if kept == layout => {
            spare.kept.set(None);
            Some(memory.cast::<T>())
        }
        _ => None,
    });
    let Some(memory) = kept else { return Box::new(value) };
    // SAFETY: the memory is the global allocator's, with the layout of `T`, holds nothing, and is nobody else's: it was taken out.
    unsafe {
        memory.write(value);
        Box::from_raw(memory.as_ptr())
    }
}

/// Drops what is in a box, and keeps its memory if there is none kept.
#[inline(always)]
pub(crate) fn drop_box<T>(value: Box<T>) {
    let layout = Layout::new::<T>();
    let keeps = SPARE.with(|spare| spare.turn.get() && spare.kept.get().is_none());
    if layout.size() == 0 || !keeps {
        drop(value);
        return;
    }
    let memory = NonNull::from(Box::leak(value));
    // SAFETY: it was the box's value until here, and is not used again. If its destructor panics the memory is lost, which is safe.
    unsafe { memory.drop_in_place() };
    // That may have kept other memory.
    free(SPARE.with(|spare| spare.kept.replace(Some((memory.cast(), layout)))));
}

fn free(kept: Option<(NonNull<u8>, Layout)>) {
    if let Some((memory, layout)) = kept {
        // SAFETY: it is memory of a box with this layout whose value is dropped, so the global allocator's, and was taken out.
        unsafe { dealloc(memory.as_ptr(), layout) };
    }
}

/// What a guest keeps from one of its turns to the next.
#[derive(Default)]
pub(crate) struct Spares {
    pub(crate) way: Option<Way>,
    memory: Option<(NonNull<u8>, Layout)>,
}

impl Spares {
    /// Within a turn that has just begun: puts it where it is looked for.
    #[inline(always)]
    pub(super) fn lend(&mut self) {
        if let Some(way) = self.way.take() {
            keep_way(way);
        }
        if self.memory.is_some() {
            free(SPARE.with(|spare| spare.kept.replace(self.memory.take())));
        }
    }

    /// Before that turn ends.
    #[inline(always)]
    pub(super) fn take_back(&mut self) {
        self.memory = SPARE.with(|spare| spare.kept.take());
        if let Some(former) = std::mem::replace(&mut self.way, any_way()) {
            cold_path();
            drop(former);
        }
    }
}

// SAFETY: the memory holds nothing and is nobody else's: it is moved with its owner.
unsafe impl Send for Spares {}

impl Drop for Spares {
    fn drop(&mut self) {
        free(self.memory.take());
    }
}

/// The turn of a scheduler, within which memory is kept.
pub(super) struct Turn {
    /// There may be one within that of another node.
    outer: bool,
}

impl Turn {
    pub(super) fn begin() -> Self {
        Self { outer: SPARE.with(|spare| spare.turn.replace(true)) }
    }
}

impl Turn {
    #[inline(always)]
    pub(super) fn restore(&mut self) {
        SPARE.with(|spare| {
            spare.turn.set(self.outer);
            if let Some(kept) = spare.kept.take() {
                cold_path();
                free(Some(kept));
            }
            if let Some(waker) = spare.waker.take() {
                cold_path();
                drop(waker);
            }
            if let Some(server) = spare.server.take() {
                cold_path();
                drop(server);
            }
            if let Some(way) = spare.way.take() {
                cold_path();
                drop(way);
            }
        });
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.restore();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::world::World;

    fn address<T>(value: &T) -> usize {
        std::ptr::from_ref(value).addr()
    }

    #[test]
    fn memory_is_kept_for_a_value_of_the_same_layout_within_a_turn_alone() {
        let owned = Arc::new(());
        let kept = || SPARE.with(|spare| spare.kept.get().map(|(memory, _)| memory.addr().get()));
        drop_box(make((owned.clone(), 1_u64)));
        assert_eq!(kept(), None, "there is no turn");
        {
            let _turn = Turn::begin();
            let first = make((owned.clone(), 1_u64));
            let second = make((owned.clone(), 2_u64));
            let at = address(&*first);
            drop_box(first);
            drop_box(second);
            assert_eq!(
                (kept(), Arc::strong_count(&owned)),
                (Some(at), 1),
                "one is kept, and both values are gone"
            );
            drop_box(make([0_u8; 3]));
            assert_eq!(kept(), Some(at), "another layout");
            let third = make((3_u64, 4_usize));
            assert_eq!((address(&*third), *third, kept()), (at, (3, 4), None));
            drop_box(third);
            drop(Turn::begin());
            assert_eq!(kept(), None, "given back with a turn within it");
            drop_box(make(7));
            assert!(kept().is_some());
        }
        assert_eq!(kept(), None);
    }

    #[test]
    fn a_guest_keeps_memory_and_the_way_from_one_turn_to_the_next() {
        let link = Arc::new(One);
        let local = Local::new("here@h".into(), 1, World::tokio(), 10);
        let there = Atom::from("there@h");
        let mut spares = Spares::default();
        let at = {
            let _turn = Turn::begin();
            spares.lend();
            let first = make(1_u64);
            let at = address(&*first);
            drop_box(first);
            keep_way(Way::new(&local, there.clone(), Some(link.clone())));
            spares.take_back();
            at
        };
        assert_eq!(Arc::strong_count(&link), 2, "it is kept");
        for _ in 0..2 {
            let _turn = Turn::begin();
            assert_ne!(address(&*make(0_u64)), at, "another turn has it not");
        }
        let _turn = Turn::begin();
        drop_box(make([0_u8; 3]));
        spares.lend();
        let again = make(2_u64);
        assert_eq!((address(&*again), *again), (at, 2));
        drop_box(again);
        assert!(take_way(&local, &there).is_some());
        spares.take_back();
        assert_eq!(Arc::strong_count(&link), 1);
    }

    #[test]
    fn a_waker_and_a_reference_are_kept_for_who_wants_the_same_within_a_turn_alone() {
        struct Wakes;
        impl std::task::Wake for Wakes {
            fn wake(self: Arc<Self>) {}
        }
        let (one, other) = (Arc::new(Wakes), Arc::new(7));
        let waker = Waker::from(one.clone());
        let counts = || (Arc::strong_count(&one), Arc::strong_count(&other));
        keep_waker(clone_waker(&waker));
        keep_server(clone_server::<i32>(&other));
        assert_eq!(counts(), (2, 1), "there is no turn");
        {
            let _turn = Turn::begin();
            for _ in 0..2 {
                keep_waker(clone_waker(&waker));
                keep_server(clone_server::<i32>(&other));
                assert_eq!(counts(), (3, 2));
            }
            drop((clone_waker(Waker::noop()), clone_server(&Arc::new(7)), clone_server(&Arc::new("7"))));
            assert_eq!(counts(), (3, 2), "it is another one");
            keep_waker(Waker::noop().clone());
            keep_server(Arc::new(8));
            assert_eq!(counts(), (2, 1), "in its place");
            keep_waker(clone_waker(&waker));
            keep_server(clone_server::<i32>(&other));
        }
        assert_eq!(counts(), (2, 1), "the turn is over");
    }

    /// The connection 1, which takes all.
    struct One;

    impl Link for One {
        fn id(&self) -> ConnectionId {
            ConnectionId(1)
        }

        fn send(&self, _: &Local, _: &Pid, _: &Control<Encode<'_>>, _: Write) -> Result<Sent, EncodeError> {
            Ok(Sent::Queued { connection: self.id(), busy: None })
        }
    }

    #[test]
    fn the_way_to_another_node_is_kept_for_who_sends_there_again_within_a_turn_alone() {
        let (here, there, link) = (Atom::from("here@h"), Atom::from("there@h"), Arc::new(One));
        let one = Local::new(here.clone(), 1, World::tokio(), 10);
        let other = Local::new(here, 1, World::tokio(), 10);
        let way = || Way::new(&one, there.clone(), Some(link.clone()));
        keep_way(way());
        assert_eq!(Arc::strong_count(&link), 1, "there is no turn");
        {
            let _turn = Turn::begin();
            keep_way(way());
            assert_eq!(Arc::strong_count(&link), 2);
            let taken = take_way(&one, &there).expect("it is kept");
            assert_eq!([1, 2].map(|id| taken.is_over(ConnectionId(id))), [true, false]);
            assert!(!Way::new(&one, there.clone(), None).is_over(ConnectionId(1)), "it is not known yet");
            drop(taken);
            for (from, to) in [(&one, "elsewhere@h"), (&other, "there@h")] {
                keep_way(way());
                assert!(take_way(from, &Atom::from(to)).is_none(), "another way");
            }
            keep_way(way());
        }
        assert_eq!(Arc::strong_count(&link), 1, "the turn is over");
    }

    #[test]
    fn what_is_to_go_over_one_connection_takes_no_way_over_another() {
        // It has no connections but this one.
        let local = Local::new("here@h".into(), 1, World::tokio(), 10);
        let there = Atom::from("there@h");
        let to = Pid { node: there.clone(), ..local.pid(0, 0) }.into();
        let _turn = Turn::begin();
        for (over, goes) in [(1, true), (1, true), (2, false)] {
            keep_way(Way::new(&local, there.clone(), Some(Arc::new(One))));
            let sent = local.send_over(ConnectionId(over), &local.pid(1, 0), &to, &|_| Ok(()));
            assert_eq!(sent.expect("it has an external form").is_some(), goes);
        }
    }
}
