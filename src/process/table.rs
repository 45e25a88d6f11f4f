//! The process table: a sharded slab whose keys are the pids' own numbers, so a look-up hashes nothing.

use std::hint::cold_path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::AnyProcess;

/// Fixed, not the machine's core count: pids must not depend on the machine in a simulation.
const SHARD_BITS: u32 = 4;
const SHARDS: usize = 1 << SHARD_BITS;
/// Erlang/OTP 25 takes pid numbers of 28 bits.
const ID_BITS: u32 = 28;

pub(crate) struct Table {
    shards: [RwLock<Shard>; SHARDS],
    /// Spreads new processes over the shards.
    turn: AtomicUsize,
    len: AtomicUsize,
    limit: usize,
}

#[derive(Default)]
struct Shard {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    /// Counts the slot's lives, so that a pid of an earlier one finds nothing.
    serial: u32,
    process: Option<Arc<dyn AnyProcess>>,
}

impl Table {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            turn: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            limit: limit.min(1 << ID_BITS),
        }
    }

    /// Adds the process that `make` builds for its pid's id and serial. `None` if the node has as many as it may.
    pub(crate) fn insert<P: AnyProcess + 'static>(
        &self,
        make: impl FnOnce(u32, u32) -> Arc<P>,
    ) -> Option<Arc<P>> {
        if self.len.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.len.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let shard_index = self.turn.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut shard = self.write(shard_index);
        let slot_index = shard.free.pop().unwrap_or_else(|| {
            shard.slots.push(Slot::default());
            (shard.slots.len() - 1) as u32
        });
        let slot = &mut shard.slots[slot_index as usize];
        let id = (slot_index << SHARD_BITS) | shard_index as u32;
        let process = make(id, slot.serial);
        slot.process = Some(process.clone());
        Some(process)
    }

    #[inline]
    pub(crate) fn get(&self, id: u32, serial: u32) -> Option<Arc<dyn AnyProcess>> {
        let shard = self.read(id as usize % SHARDS);
        let slot = shard.slots.get((id >> SHARD_BITS) as usize)?;
        if slot.serial != serial {
            cold_path();
            return None;
        }
        slot.process.clone()
    }

    pub(crate) fn remove(&self, id: u32, serial: u32) {
        let mut shard = self.write(id as usize % SHARDS);
        let slot_index = id >> SHARD_BITS;
        let Some(slot) = shard.slots.get_mut(slot_index as usize) else { return };
        if slot.serial != serial || slot.process.is_none() {
            return;
        }
        let gone = slot.process.take();
        slot.serial = slot.serial.wrapping_add(1);
        shard.free.push(slot_index);
        drop(shard);
        self.len.fetch_sub(1, Ordering::Relaxed);
        // What the process owned may run code of its own when dropped: not under the lock.
        drop(gone);
    }

    /// How many there may be.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// All processes, in the order of their slots.
    pub(crate) fn all(&self) -> Vec<Arc<dyn AnyProcess>> {
        (0..SHARDS)
            .flat_map(|index| {
                let shard = self.read(index);
                shard.slots.iter().filter_map(|slot| slot.process.clone()).collect::<Vec<_>>()
            })
            .collect()
    }

    fn read(&self, index: usize) -> RwLockReadGuard<'_, Shard> {
        self.shards[index].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, index: usize) -> RwLockWriteGuard<'_, Shard> {
        self.shards[index].write().unwrap_or_else(PoisonError::into_inner)
    }
}
